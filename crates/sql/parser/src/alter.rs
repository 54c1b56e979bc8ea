//! ALTER.

use sqlparser::tokenizer::Token;

use super::account;
use super::ast::*;
use super::column::{self, charset_words};
use super::cursor::{Cursor, Parse};
use super::index::{index_name, key, online_option, starts_key};
use super::options::{database_options, table_options};

pub(crate) fn alter(c: &mut Cursor) -> Parse<Statement> {
    c.expect_word("ALTER")?;
    if c.any_word(&["DATABASE", "SCHEMA"]).is_some() {
        return database(c);
    }
    if c.peek_word("USER") {
        return account::alter_user(c);
    }
    c.any_word(&["ONLINE", "OFFLINE"]);
    c.word("IGNORE");
    if c.word("TABLE") {
        let table = c.table_name()?;
        let mut actions = Vec::new();
        let mut online = OnlineOptions::default();
        if !c.at_end() {
            loop {
                one_action(c, &mut actions, &mut online)?;
                if !c.comma() {
                    break;
                }
            }
            if c.peek_word("PARTITION") || c.peek_word("REMOVE") {
                c.skip_rest();
                actions.push(AlterAction::Unsupported("partitions"));
            }
        }
        return Ok(Ddl::AlterTable {
            table,
            actions,
            online,
        }
        .into());
    }
    for (word, name) in [
        ("VIEW", "ALTER VIEW"),
        ("PROCEDURE", "ALTER PROCEDURE"),
        ("FUNCTION", "ALTER FUNCTION"),
        ("EVENT", "ALTER EVENT"),
        ("INSTANCE", "ALTER INSTANCE"),
        ("SERVER", "ALTER SERVER"),
        ("TABLESPACE", "ALTER TABLESPACE"),
        ("SEQUENCE", "ALTER SEQUENCE"),
    ] {
        if c.word(word) {
            c.skip_rest();
            return Ok(Ddl::Unsupported(name).into());
        }
    }
    c.stop()
}

fn database(c: &mut Cursor) -> Parse<Statement> {
    let option_next = ["CHARACTER", "CHARSET", "COLLATE", "DEFAULT", "ENCRYPTION"]
        .iter()
        .any(|word| c.peek_word(word));
    let name = if option_next { None } else { Some(c.identifier()?) };
    if c.at_end() {
        return c.stop();
    }
    Ok(Ddl::AlterDatabase {
        name,
        options: database_options(c)?,
    }
    .into())
}

fn one_action(c: &mut Cursor, actions: &mut Vec<AlterAction>, online: &mut OnlineOptions) -> Parse<()> {
    if c.word("ADD") {
        return add(c, actions);
    }
    let action = if c.word("DROP") {
        drop(c)?
    } else if c.word("MODIFY") {
        c.word("COLUMN");
        c.if_exists();
        let column = column::column_def(c)?;
        AlterAction::ModifyColumn {
            name: column.name.clone(),
            column,
            position: position(c)?,
        }
    } else if c.word("CHANGE") {
        c.word("COLUMN");
        c.if_exists();
        let name = c.identifier()?;
        let column = column::column_def(c)?;
        AlterAction::ModifyColumn {
            name,
            column,
            position: position(c)?,
        }
    } else if c.word("RENAME") {
        rename(c)?
    } else if c.word("ALTER") {
        alter_part(c)?
    } else if c.words(&["CONVERT", "TO"]) {
        if !charset_words(c) {
            return c.stop();
        }
        c.token(&Token::Eq);
        let charset = if c.word("DEFAULT") {
            None
        } else {
            Some(c.name_or_string()?)
        };
        let mut collate = None;
        if c.word("COLLATE") {
            c.token(&Token::Eq);
            collate = Some(c.name_or_string()?);
        }
        AlterAction::ConvertCharset(CharsetOptions { charset, collate })
    } else if c.words(&["DISABLE", "KEYS"])
        || c.words(&["ENABLE", "KEYS"])
        || c.word("FORCE")
        || c.words(&["WITH", "VALIDATION"])
        || c.words(&["WITHOUT", "VALIDATION"])
    {
        AlterAction::Nothing
    } else if c.words(&["ORDER", "BY"]) {
        c.list(|c| {
            c.identifier()?;
            c.any_word(&["ASC", "DESC"]);
            Ok(())
        })?;
        AlterAction::Nothing
    } else if online_option(c, online)? {
        return Ok(());
    } else if let Some(what) = partition_action(c) {
        c.skip_rest();
        AlterAction::Unsupported(what)
    } else {
        let mut options = TableOptions::default();
        if !table_options(c, &mut options)? {
            return c.stop();
        }
        AlterAction::Options(options)
    };
    actions.push(action);
    Ok(())
}

fn partition_action(c: &Cursor) -> Option<&'static str> {
    let found = [
        "PARTITION",
        "REMOVE",
        "TRUNCATE",
        "COALESCE",
        "REORGANIZE",
        "EXCHANGE",
        "ANALYZE",
        "CHECK",
        "OPTIMIZE",
        "REBUILD",
        "REPAIR",
    ]
    .iter()
    .any(|word| c.peek_word(word));
    if found {
        return Some("partitions");
    }
    ["DISCARD", "IMPORT"]
        .iter()
        .any(|word| c.peek_word(word))
        .then_some("tablespaces")
}

fn position(c: &mut Cursor) -> Parse<Option<ColumnPosition>> {
    if c.word("FIRST") {
        return Ok(Some(ColumnPosition::First));
    }
    if c.word("AFTER") {
        return Ok(Some(ColumnPosition::After(c.identifier()?)));
    }
    Ok(None)
}

fn add(c: &mut Cursor, actions: &mut Vec<AlterAction>) -> Parse<()> {
    if starts_key(c) {
        actions.push(AlterAction::AddIndex(key(c)?));
        return Ok(());
    }
    if c.word("CONSTRAINT") {
        let named = !["PRIMARY", "UNIQUE", "FOREIGN", "CHECK"]
            .iter()
            .any(|w| c.peek_word(w));
        let name = if named { Some(c.identifier()?) } else { None };
        if starts_key(c) {
            let mut index = key(c)?;
            if index.name.is_none() && index.kind != IndexKind::Primary {
                index.name = name;
            }
            actions.push(AlterAction::AddIndex(index));
            return Ok(());
        }
    }
    if c.peek_word("FOREIGN") {
        column::foreign_key(c)?;
        actions.push(AlterAction::Unsupported("foreign keys"));
        return Ok(());
    }
    if c.peek_word("CHECK") {
        column::check(c)?;
        actions.push(AlterAction::Unsupported("CHECK constraints"));
        return Ok(());
    }
    if c.peek_word("PARTITION") {
        c.skip_rest();
        actions.push(AlterAction::Unsupported("partitions"));
        return Ok(());
    }
    c.word("COLUMN");
    let if_not_exists = c.if_not_exists();
    if c.token(&Token::LParen) {
        loop {
            if starts_key(c) {
                actions.push(AlterAction::AddIndex(key(c)?));
            } else {
                actions.push(AlterAction::AddColumn {
                    column: column::column_def(c)?,
                    position: None,
                    if_not_exists,
                });
            }
            if !c.comma() {
                break;
            }
        }
        return c.expect_token(&Token::RParen);
    }
    actions.push(AlterAction::AddColumn {
        column: column::column_def(c)?,
        position: position(c)?,
        if_not_exists,
    });
    Ok(())
}

fn drop(c: &mut Cursor) -> Parse<AlterAction> {
    if c.words(&["PRIMARY", "KEY"]) {
        return Ok(AlterAction::DropPrimaryKey);
    }
    if c.any_word(&["INDEX", "KEY"]).is_some() {
        let if_exists = c.if_exists();
        return Ok(AlterAction::DropIndex {
            name: index_name(c)?,
            if_exists,
        });
    }
    if c.words(&["FOREIGN", "KEY"]) {
        c.if_exists();
        c.identifier()?;
        return Ok(AlterAction::Unsupported("foreign keys"));
    }
    if c.any_word(&["CHECK", "CONSTRAINT"]).is_some() {
        c.identifier()?;
        return Ok(AlterAction::Unsupported("CHECK constraints"));
    }
    if c.peek_word("PARTITION") {
        c.skip_rest();
        return Ok(AlterAction::Unsupported("partitions"));
    }
    c.word("COLUMN");
    let if_exists = c.if_exists();
    let name = c.identifier()?;
    c.any_word(&["RESTRICT", "CASCADE"]);
    Ok(AlterAction::DropColumn { name, if_exists })
}

fn rename(c: &mut Cursor) -> Parse<AlterAction> {
    if c.any_word(&["INDEX", "KEY"]).is_some() {
        let from = index_name(c)?;
        c.expect_word("TO")?;
        return Ok(AlterAction::RenameIndex {
            from,
            to: index_name(c)?,
        });
    }
    if c.word("COLUMN") {
        let from = c.identifier()?;
        c.expect_word("TO")?;
        return Ok(AlterAction::RenameColumn {
            from,
            to: c.identifier()?,
        });
    }
    if c.any_word(&["TO", "AS"]).is_none() {
        c.token(&Token::Eq);
    }
    Ok(AlterAction::RenameTable(c.table_name()?))
}

fn alter_part(c: &mut Cursor) -> Parse<AlterAction> {
    if c.word("INDEX") {
        let name = index_name(c)?;
        let invisible = match c.any_word(&["VISIBLE", "INVISIBLE"]) {
            Some(word) => word == "INVISIBLE",
            None => return c.stop(),
        };
        return Ok(AlterAction::IndexVisibility { name, invisible });
    }
    if c.any_word(&["CHECK", "CONSTRAINT"]).is_some() {
        c.skip_rest();
        return Ok(AlterAction::Unsupported("CHECK constraints"));
    }
    c.word("COLUMN");
    let column = c.identifier()?;
    if c.words(&["DROP", "DEFAULT"]) {
        return Ok(AlterAction::DropDefault { column });
    }
    c.expect_words(&["SET", "DEFAULT"])?;
    Ok(AlterAction::SetDefault {
        column,
        default: column::default_value(c)?,
    })
}
