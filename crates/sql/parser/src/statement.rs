//! Which statement it is, and those whose grammar is a line or two.

use sqlparser::ast as sql;
use sqlparser::tokenizer::Token;

use super::ast::*;
use super::cursor::{Cursor, Parse, Stop};
use super::{account, admin, alter, create, load_data, rewrite, set, show};
use ilmenite_error::Error;

/// The statement that starts here, to the end of the tokens.
pub(crate) fn parse(c: &mut Cursor, text: &[u8]) -> Parse<Statement> {
    let statement = one(c, text)?;
    c.expect_end()?;
    Ok(statement)
}

fn one(c: &mut Cursor, text: &[u8]) -> Parse<Statement> {
    let keyword = match &c.parser.peek_token_ref().token {
        Token::Word(word) if word.quote_style.is_none() => word.value.to_ascii_uppercase(),
        Token::LParen => String::new(),
        _ => return c.stop(),
    };
    match keyword.as_str() {
        "" | "SELECT" | "WITH" | "VALUES" | "TABLE" | "INSERT" | "REPLACE" | "UPDATE" | "DELETE" => {
            Ok(Statement::Query(query(c, text)?))
        }
        "EXPLAIN" | "DESCRIBE" | "DESC" => explain(c, text),
        "CREATE" => create::create(c),
        "ALTER" => alter::alter(c),
        "DROP" => create::drop(c),
        "TRUNCATE" => {
            c.word("TRUNCATE");
            c.word("TABLE");
            Ok(Ddl::Truncate(c.table_name()?).into())
        }
        "RENAME" => rename(c),
        "SHOW" => show::show(c),
        "ADMIN" => admin::admin(c),
        "SET" => set::set(c),
        "LOAD" => load_data::load_data(c),
        "BEGIN" | "START" | "COMMIT" | "ROLLBACK" | "SAVEPOINT" | "RELEASE" => transaction(c),
        "PREPARE" | "EXECUTE" | "DEALLOCATE" => prepared(c),
        "USE" => {
            c.word("USE");
            Ok(Statement::Use(c.identifier()?))
        }
        "KILL" => kill(c),
        "DO" => {
            c.word("DO");
            Ok(Statement::Do(c.list(Cursor::expr)?))
        }
        "GRANT" | "REVOKE" => account::grant_or_revoke(c),
        "FLUSH" => flush(c),
        "LOCK" => lock_tables(c),
        "UNLOCK" => {
            c.word("UNLOCK");
            if c.any_word(&["TABLES", "TABLE", "INSTANCE"]).is_none() {
                return c.stop();
            }
            Ok(Statement::UnlockTables)
        }
        "ANALYZE" | "OPTIMIZE" | "CHECK" | "REPAIR" | "CHECKSUM" => maintain(c),
        "CALL" => {
            c.word("CALL");
            let name = c.table_name()?;
            let name = match name.database {
                Some(database) => format!("{database}.{}", name.name),
                None => name.name,
            };
            Err(Stop::Error(Error::does_not_exist("PROCEDURE", name)))
        }
        "HANDLER" | "XA" | "CHANGE" | "INSTALL" | "UNINSTALL" | "IMPORT" | "BINLOG" | "PURGE" | "RESET"
        | "CLONE" | "RESTART" | "SHUTDOWN" | "STOP" | "GET" | "SIGNAL" | "RESIGNAL" | "HELP" => {
            Err(Stop::Error(Error::not_supported_yet(keyword)))
        }
        _ => c.stop(),
    }
}

/// A statement of sqlparser's, with its columns named as MySQL names them.
pub(crate) fn query(c: &mut Cursor, text: &[u8]) -> Parse<Box<sql::Statement>> {
    let mut statement = c.sql(|p| p.parse_statement())?;
    match &mut statement {
        sql::Statement::Query(query) => rewrite::name_columns(query, text, &c.select_items),
        sql::Statement::Insert(_) | sql::Statement::Update(_) | sql::Statement::Delete(_) => {}
        _ => return c.stop(),
    }
    Ok(Box::new(statement))
}

fn explain(c: &mut Cursor, text: &[u8]) -> Parse<Statement> {
    c.parser.advance_token();
    let mut format = ExplainFormat::Row;
    let mut analyze = c.word("ANALYZE");
    if c.peek_word("FORMAT") && c.parser.peek_nth_token_ref(1).token == Token::Eq {
        c.parser.advance_token();
        c.parser.advance_token();
        let offset = c.offset();
        format = match c.name_or_string()?.to_ascii_lowercase().as_str() {
            "traditional" | "row" => ExplainFormat::Row,
            "brief" => ExplainFormat::Brief,
            "tree" => ExplainFormat::Tree,
            "json" | "tidb_json" => ExplainFormat::Json,
            "" => return Err(Stop::At(offset)),
            other => return Err(Stop::Error(Error::unknown_explain_format(other))),
        };
    } else if c.any_word(&["EXTENDED", "PARTITIONS"]).is_some() {
        // Old words for what EXPLAIN says anyway.
    }
    analyze |= c.word("ANALYZE");
    if c.words(&["FOR", "CONNECTION"]) {
        let id = c.unsigned()?;
        return Ok(Statement::Explain(Explain {
            format,
            analyze,
            target: ExplainTarget::Connection(id),
        }));
    }
    let is_query = c.peek_token(&Token::LParen)
        || [
            "SELECT", "WITH", "VALUES", "TABLE", "INSERT", "REPLACE", "UPDATE", "DELETE",
        ]
        .iter()
        .any(|word| c.peek_word(word));
    let target = if is_query {
        ExplainTarget::Query(query(c, text)?)
    } else if c.peek_word("ALTER") || c.peek_word("CREATE") {
        let statement = if c.peek_word("ALTER") {
            alter::alter(c)?
        } else {
            create::create(c)?
        };
        match statement {
            Statement::Ddl(ddl) => ExplainTarget::Ddl(ddl),
            _ => return c.stop(),
        }
    } else {
        // DESCRIBE t [column | 'pattern'].
        let table = c.table_name()?;
        let (column, filter) = if c.peek_string() {
            (None, Some(ShowFilter::Like(c.string()?)))
        } else if c.at_end() {
            (None, None)
        } else {
            (Some(c.identifier()?), None)
        };
        return Ok(Statement::Show(Box::new(Show {
            what: ShowWhat::Columns {
                table,
                full: false,
                column,
            },
            filter,
        })));
    };
    Ok(Statement::Explain(Explain {
        format,
        analyze,
        target,
    }))
}

fn rename(c: &mut Cursor) -> Parse<Statement> {
    c.word("RENAME");
    if c.peek_word("USER") {
        return account::rename_user(c);
    }
    if c.any_word(&["TABLE", "TABLES"]).is_none() {
        return c.stop();
    }
    let renames = c.list(|c| {
        let from = c.table_name()?;
        c.expect_word("TO")?;
        Ok((from, c.table_name()?))
    })?;
    Ok(Ddl::RenameTables(renames).into())
}

fn transaction(c: &mut Cursor) -> Parse<Statement> {
    use TransactionStatement::*;
    let statement = if c.word("BEGIN") {
        c.word("WORK");
        let pessimistic = c
            .any_word(&["PESSIMISTIC", "OPTIMISTIC"])
            .map(|word| word == "PESSIMISTIC");
        Begin {
            read_only: None,
            consistent_snapshot: false,
            pessimistic,
        }
    } else if c.word("START") {
        if !c.word("TRANSACTION") {
            if c.any_word(&["REPLICA", "SLAVE", "GROUP_REPLICATION"]).is_some() {
                return Err(Stop::Error(Error::not_supported_yet("replication")));
            }
            return c.stop();
        }
        let mut read_only = None;
        let mut consistent_snapshot = false;
        if !c.at_end() {
            loop {
                if c.words(&["READ", "ONLY"]) {
                    read_only = Some(true);
                } else if c.words(&["READ", "WRITE"]) {
                    read_only = Some(false);
                } else if c.words(&["WITH", "CONSISTENT", "SNAPSHOT"]) {
                    consistent_snapshot = true;
                } else {
                    return c.stop();
                }
                if !c.comma() {
                    break;
                }
            }
        }
        Begin {
            read_only,
            consistent_snapshot,
            pessimistic: None,
        }
    } else if c.word("COMMIT") {
        c.word("WORK");
        let (chain, release) = completion(c)?;
        Commit { chain, release }
    } else if c.word("ROLLBACK") {
        c.word("WORK");
        if c.word("TO") {
            c.word("SAVEPOINT");
            RollbackTo(c.identifier()?)
        } else {
            let (chain, release) = completion(c)?;
            Rollback { chain, release }
        }
    } else if c.word("SAVEPOINT") {
        Savepoint(c.identifier()?)
    } else {
        c.expect_words(&["RELEASE", "SAVEPOINT"])?;
        ReleaseSavepoint(c.identifier()?)
    };
    Ok(Statement::Transaction(statement))
}

/// `[AND [NO] CHAIN] [[NO] RELEASE]`
fn completion(c: &mut Cursor) -> Parse<(bool, bool)> {
    let mut chain = false;
    if c.word("AND") {
        chain = !c.word("NO");
        c.expect_word("CHAIN")?;
    }
    let mut release = false;
    if c.words(&["NO", "RELEASE"]) {
        // Said, and the default.
    } else if c.word("RELEASE") {
        release = true;
    }
    Ok((chain, release))
}

fn prepared(c: &mut Cursor) -> Parse<Statement> {
    if c.word("PREPARE") {
        let name = c.identifier()?.to_lowercase();
        c.expect_word("FROM")?;
        let source = if c.peek_string() {
            PrepareSource::Text(c.string()?)
        } else {
            PrepareSource::Variable(c.user_variable()?)
        };
        return Ok(Statement::Prepare { name, source });
    }
    if c.word("EXECUTE") {
        let name = c.identifier()?.to_lowercase();
        let using = if c.word("USING") {
            c.list(Cursor::user_variable)?
        } else {
            Vec::new()
        };
        return Ok(Statement::Execute { name, using });
    }
    c.expect_words(&["DEALLOCATE", "PREPARE"])?;
    Ok(Statement::Deallocate {
        name: c.identifier()?.to_lowercase(),
    })
}

fn kill(c: &mut Cursor) -> Parse<Statement> {
    c.word("KILL");
    c.word("TIDB");
    let query_only = match c.any_word(&["QUERY", "CONNECTION"]) {
        Some(word) => word == "QUERY",
        None => false,
    };
    Ok(Statement::Kill {
        connection_id: c.expr()?,
        query_only,
    })
}

fn flush(c: &mut Cursor) -> Parse<Statement> {
    c.word("FLUSH");
    c.any_word(&["NO_WRITE_TO_BINLOG", "LOCAL"]);
    let mut what = Vec::new();
    if c.any_word(&["TABLES", "TABLE"]).is_some() {
        if !c.at_end() && !c.peek_word("WITH") && !c.peek_word("FOR") {
            c.table_names()?;
        }
        what.push(if c.at_end() {
            "TABLES".to_string()
        } else {
            if !c.words(&["WITH", "READ", "LOCK"]) {
                c.expect_words(&["FOR", "EXPORT"])?;
            }
            "TABLES WITH READ LOCK".to_string()
        });
        return Ok(Statement::Flush(what));
    }
    loop {
        let word = c.any_word(&[
            "PRIVILEGES",
            "STATUS",
            "HOSTS",
            "LOGS",
            "BINARY",
            "ENGINE",
            "ERROR",
            "GENERAL",
            "SLOW",
            "RELAY",
            "OPTIMIZER_COSTS",
            "USER_RESOURCES",
        ]);
        match word {
            Some(word) => {
                if matches!(word, "BINARY" | "ENGINE" | "ERROR" | "GENERAL" | "SLOW" | "RELAY") {
                    c.expect_word("LOGS")?;
                }
                what.push(word.to_string());
            }
            None => return c.stop(),
        }
        if !c.comma() {
            return Ok(Statement::Flush(what));
        }
    }
}

fn lock_tables(c: &mut Cursor) -> Parse<Statement> {
    c.word("LOCK");
    if c.word("INSTANCE") {
        c.expect_words(&["FOR", "BACKUP"])?;
        return Ok(Statement::LockTables(Vec::new()));
    }
    if c.any_word(&["TABLES", "TABLE"]).is_none() {
        return c.stop();
    }
    let tables = c.list(|c| {
        let table = c.table_name()?;
        if c.word("AS") || !["READ", "WRITE", "LOW_PRIORITY"].iter().any(|w| c.peek_word(w)) {
            c.identifier()?;
        }
        if c.word("READ") {
            c.word("LOCAL");
        } else {
            c.word("LOW_PRIORITY");
            c.expect_word("WRITE")?;
        }
        Ok(table)
    })?;
    Ok(Statement::LockTables(tables))
}

fn maintain(c: &mut Cursor) -> Parse<Statement> {
    let kind = match c.any_word(&["ANALYZE", "OPTIMIZE", "CHECK", "REPAIR", "CHECKSUM"]) {
        Some("ANALYZE") => Maintenance::Analyze,
        Some("OPTIMIZE") => Maintenance::Optimize,
        Some("CHECK") => Maintenance::Check,
        Some("REPAIR") => Maintenance::Repair,
        _ => Maintenance::Checksum,
    };
    c.any_word(&["NO_WRITE_TO_BINLOG", "LOCAL"]);
    if c.any_word(&["TABLE", "TABLES"]).is_none() {
        return c.stop();
    }
    let tables = c.table_names()?;
    // What follows says how thoroughly; there is one way here.
    match kind {
        Maintenance::Analyze => c.skip_rest(),
        Maintenance::Check | Maintenance::Repair | Maintenance::Checksum => {
            while c
                .any_word(&["QUICK", "FAST", "MEDIUM", "EXTENDED", "CHANGED", "USE_FRM"])
                .is_some()
            {}
            c.words(&["FOR", "UPGRADE"]);
        }
        Maintenance::Optimize => {}
    }
    Ok(Statement::Maintain { kind, tables })
}
