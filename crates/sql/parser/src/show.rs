//! SHOW.

use sqlparser::tokenizer::Token;

use super::account;
use super::ast::*;
use super::column::charset_words;
use super::cursor::{Cursor, Parse};

pub(crate) fn show(c: &mut Cursor) -> Parse<Statement> {
    c.expect_word("SHOW")?;
    let what = what(c)?;
    let filter = filter(c)?;
    Ok(Statement::Show(Box::new(Show { what, filter })))
}

fn filter(c: &mut Cursor) -> Parse<Option<ShowFilter>> {
    if c.word("LIKE") {
        return Ok(Some(ShowFilter::Like(c.string()?)));
    }
    if c.word("WHERE") {
        return Ok(Some(ShowFilter::Where(c.expr()?)));
    }
    Ok(None)
}

/// `{FROM | IN} database`
fn in_database(c: &mut Cursor) -> Parse<Option<String>> {
    if c.any_word(&["FROM", "IN"]).is_some() {
        return Ok(Some(c.identifier()?));
    }
    Ok(None)
}

/// `{FROM | IN} table [{FROM | IN} database]`
fn in_table(c: &mut Cursor) -> Parse<TableName> {
    if c.any_word(&["FROM", "IN"]).is_none() {
        return c.stop();
    }
    let mut table = c.table_name()?;
    if let Some(database) = in_database(c)? {
        table.database = Some(database);
    }
    Ok(table)
}

fn what(c: &mut Cursor) -> Parse<ShowWhat> {
    if c.any_word(&["DATABASES", "SCHEMAS"]).is_some() {
        return Ok(ShowWhat::Databases);
    }
    let _extended = c.word("EXTENDED");
    let full = c.word("FULL");
    if c.word("TABLES") {
        return Ok(ShowWhat::Tables {
            database: in_database(c)?,
            full,
        });
    }
    if c.any_word(&["COLUMNS", "FIELDS"]).is_some() {
        return Ok(ShowWhat::Columns {
            table: in_table(c)?,
            full,
            column: None,
        });
    }
    if c.word("PROCESSLIST") {
        return Ok(ShowWhat::ProcessList { full });
    }
    if full {
        return c.stop();
    }
    if c.words(&["TABLE", "STATUS"]) {
        return Ok(ShowWhat::TableStatus {
            database: in_database(c)?,
        });
    }
    if c.words(&["OPEN", "TABLES"]) {
        return Ok(ShowWhat::OpenTables {
            database: in_database(c)?,
        });
    }
    if c.word("TABLE") {
        let table = c.table_name()?;
        let index = if c.word("INDEX") {
            Some(c.identifier()?)
        } else {
            None
        };
        c.expect_word("REGIONS")?;
        return Ok(ShowWhat::Regions { table, index });
    }
    if c.any_word(&["INDEX", "INDEXES", "KEYS"]).is_some() {
        return Ok(ShowWhat::Indexes { table: in_table(c)? });
    }
    if c.word("CREATE") {
        return create(c);
    }
    if let Some(found) = variables_and_status(c) {
        return Ok(found);
    }
    if let Some(found) = diagnostics(c)? {
        return Ok(found);
    }
    if c.words(&["STORAGE", "ENGINES"]) || c.word("ENGINES") {
        return Ok(ShowWhat::Engines);
    }
    if charset_words(c) {
        return Ok(ShowWhat::Charset);
    }
    if c.word("COLLATION") {
        return Ok(ShowWhat::Collation);
    }
    if c.word("PLUGINS") {
        return Ok(ShowWhat::Plugins);
    }
    if c.word("PRIVILEGES") {
        return Ok(ShowWhat::Privileges);
    }
    if c.word("GRANTS") {
        let account = if c.word("FOR") {
            Some(account::account_name(c)?)
        } else {
            None
        };
        if c.word("USING") {
            c.list(account::account_name)?;
        }
        return Ok(ShowWhat::Grants(account));
    }
    empty(c)
}

fn create(c: &mut Cursor) -> Parse<ShowWhat> {
    if c.word("TABLE") {
        return Ok(ShowWhat::CreateTable(c.table_name()?));
    }
    if c.word("VIEW") {
        return Ok(ShowWhat::CreateView(c.table_name()?));
    }
    if c.any_word(&["DATABASE", "SCHEMA"]).is_some() {
        let if_not_exists = c.if_not_exists();
        return Ok(ShowWhat::CreateDatabase {
            name: c.identifier()?,
            if_not_exists,
        });
    }
    if c.word("USER") {
        return Ok(ShowWhat::CreateUser(account::account_name(c)?));
    }
    c.stop()
}

fn variables_and_status(c: &mut Cursor) -> Option<ShowWhat> {
    for (scope, global) in [
        (Some("GLOBAL"), true),
        (Some("SESSION"), false),
        (Some("LOCAL"), false),
        (None, false),
    ] {
        for (word, is_status) in [("VARIABLES", false), ("STATUS", true)] {
            let found = match scope {
                Some(scope) => c.words(&[scope, word]),
                None => c.word(word),
            };
            if found {
                return Some(if is_status {
                    ShowWhat::Status { global }
                } else {
                    ShowWhat::Variables { global }
                });
            }
        }
    }
    None
}

fn diagnostics(c: &mut Cursor) -> Parse<Option<ShowWhat>> {
    if let Some(word) = c.any_word(&["WARNINGS", "ERRORS"]) {
        let mut limit = None;
        if c.word("LIMIT") {
            let first = c.unsigned()?;
            limit = Some(if c.comma() {
                (first, c.unsigned()?)
            } else if c.word("OFFSET") {
                (c.unsigned()?, first)
            } else {
                (0, first)
            });
        }
        return Ok(Some(ShowWhat::Warnings {
            errors_only: word == "ERRORS",
            limit,
        }));
    }
    if c.word("COUNT") {
        c.expect_token(&Token::LParen)?;
        c.expect_token(&Token::Mul)?;
        c.expect_token(&Token::RParen)?;
        return match c.any_word(&["WARNINGS", "ERRORS"]) {
            Some(word) => Ok(Some(ShowWhat::WarningCount {
                errors_only: word == "ERRORS",
            })),
            None => c.stop(),
        };
    }
    Ok(None)
}

fn empty(c: &mut Cursor) -> Parse<ShowWhat> {
    use EmptyShow::*;
    let found = if c.word("TRIGGERS") {
        in_database(c)?;
        Triggers
    } else if c.word("EVENTS") {
        in_database(c)?;
        Events
    } else if c.words(&["PROCEDURE", "STATUS"]) {
        ProcedureStatus
    } else if c.words(&["FUNCTION", "STATUS"]) {
        FunctionStatus
    } else if c.words(&["BINARY", "LOGS"]) || c.words(&["MASTER", "LOGS"]) {
        BinaryLogs
    } else if c.words(&["MASTER", "STATUS"]) || c.words(&["BINARY", "LOG", "STATUS"]) {
        BinaryLogStatus
    } else if c.words(&["SLAVE", "STATUS"])
        || c.words(&["REPLICA", "STATUS"])
        || c.words(&["ALL", "SLAVES", "STATUS"])
    {
        if c.words(&["FOR", "CHANNEL"]) {
            c.string()?;
        }
        ReplicaStatus
    } else if c.words(&["SLAVE", "HOSTS"]) || c.word("REPLICAS") {
        Replicas
    } else if c.word("PROFILES") {
        Profiles
    } else if c.word("PROFILE") {
        c.skip_rest();
        Profile
    } else {
        return c.stop();
    };
    Ok(ShowWhat::Empty(found))
}
