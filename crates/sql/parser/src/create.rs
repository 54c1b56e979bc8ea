//! CREATE and DROP.

use sqlparser::tokenizer::Token;

use super::account;
use super::ast::*;
use super::column;
use super::cursor::{Cursor, Parse};
use super::index::{create_index, index_name, key, online_options, starts_key};
use super::options::{database_options, table_options};

pub(crate) fn create(c: &mut Cursor) -> Parse<Statement> {
    c.expect_word("CREATE")?;
    if c.any_word(&["DATABASE", "SCHEMA"]).is_some() {
        let if_not_exists = c.if_not_exists();
        let name = c.identifier()?;
        return Ok(Ddl::CreateDatabase {
            name,
            if_not_exists,
            options: database_options(c)?,
        }
        .into());
    }
    if c.peek_word("USER") {
        return account::create_user(c);
    }
    let temporary = c.word("TEMPORARY");
    if c.word("TABLE") {
        return Ok(Ddl::CreateTable(create_table(c, temporary)?).into());
    }
    if temporary {
        return c.stop();
    }
    if let Some(index) = create_index(c)? {
        return Ok(index.into());
    }
    let what = [
        ("VIEW", "CREATE VIEW"),
        ("TRIGGER", "CREATE TRIGGER"),
        ("PROCEDURE", "CREATE PROCEDURE"),
        ("FUNCTION", "CREATE FUNCTION"),
        ("EVENT", "CREATE EVENT"),
        ("ROLE", "CREATE ROLE"),
        ("SEQUENCE", "CREATE SEQUENCE"),
        ("TABLESPACE", "CREATE TABLESPACE"),
        ("SERVER", "CREATE SERVER"),
    ];
    // OR REPLACE, ALGORITHM =, DEFINER = and SQL SECURITY come before what is created.
    for _ in 0..24 {
        for (word, name) in what {
            if c.word(word) {
                c.skip_rest();
                return Ok(Ddl::Unsupported(name).into());
            }
        }
        let prefix = [
            "OR",
            "REPLACE",
            "ALGORITHM",
            "DEFINER",
            "SQL",
            "SECURITY",
            "AGGREGATE",
        ]
        .iter()
        .any(|word| c.peek_word(word));
        if !prefix {
            break;
        }
        let assigned = c.peek_word("ALGORITHM") || c.peek_word("DEFINER");
        c.parser.advance_token();
        if assigned {
            c.expect_token(&Token::Eq)?;
            c.name_or_string()?;
            if let Token::Word(word) = &c.parser.peek_token_ref().token
                && word.value.starts_with('@')
            {
                c.parser.advance_token();
            }
        } else {
            c.any_word(&["DEFINER", "INVOKER"]);
        }
    }
    c.stop()
}

fn create_table(c: &mut Cursor, temporary: bool) -> Parse<CreateTable> {
    let if_not_exists = c.if_not_exists();
    let mut found = CreateTable {
        table: c.table_name()?,
        temporary,
        if_not_exists,
        like: None,
        columns: Vec::new(),
        indexes: Vec::new(),
        foreign_keys: 0,
        checks: 0,
        options: TableOptions::default(),
        partitioned: false,
        select: None,
    };
    if c.word("LIKE") {
        found.like = Some(c.table_name()?);
        return Ok(found);
    }
    if c.peek_token(&Token::LParen) && c.peek_word_at(1, "LIKE") {
        c.token(&Token::LParen);
        c.word("LIKE");
        found.like = Some(c.table_name()?);
        c.expect_token(&Token::RParen)?;
        return Ok(found);
    }
    let select_next = |c: &Cursor, at: usize| {
        ["SELECT", "WITH", "TABLE", "VALUES"]
            .iter()
            .any(|word| c.peek_word_at(at, word))
    };
    if c.peek_token(&Token::LParen) && !select_next(c, 1) {
        c.token(&Token::LParen);
        loop {
            element(c, &mut found)?;
            if !c.comma() {
                break;
            }
        }
        c.expect_token(&Token::RParen)?;
    }
    table_options(c, &mut found.options)?;
    if c.words(&["PARTITION", "BY"]) {
        found.partitioned = true;
        c.skip_rest();
        return Ok(found);
    }
    c.any_word(&["IGNORE", "REPLACE"]);
    c.word("AS");
    if select_next(c, 0) || c.peek_token(&Token::LParen) {
        found.select = Some(c.sql(|p| p.parse_query())?);
    }
    Ok(found)
}

/// One element of a table's definition: a column, a key, or a constraint.
fn element(c: &mut Cursor, table: &mut CreateTable) -> Parse<()> {
    let mut constraint_name = None;
    if c.word("CONSTRAINT") {
        let named = !["PRIMARY", "UNIQUE", "FOREIGN", "CHECK"]
            .iter()
            .any(|w| c.peek_word(w));
        if named {
            constraint_name = Some(c.identifier()?);
        }
    } else if !starts_key(c) && !c.peek_word("FOREIGN") && !c.peek_word("CHECK") {
        table.columns.push(column::column_def(c)?);
        return Ok(());
    }
    if c.peek_word("FOREIGN") {
        column::foreign_key(c)?;
        table.foreign_keys += 1;
    } else if c.peek_word("CHECK") {
        column::check(c)?;
        table.checks += 1;
    } else if starts_key(c) {
        let mut index = key(c)?;
        if index.name.is_none() && index.kind != IndexKind::Primary {
            index.name = constraint_name;
        }
        table.indexes.push(index);
    } else {
        return c.stop();
    }
    Ok(())
}

pub(crate) fn drop(c: &mut Cursor) -> Parse<Statement> {
    c.expect_word("DROP")?;
    if c.any_word(&["DATABASE", "SCHEMA"]).is_some() {
        let if_exists = c.if_exists();
        return Ok(Ddl::DropDatabase {
            name: c.identifier()?,
            if_exists,
        }
        .into());
    }
    if c.peek_word("USER") {
        return account::drop_user(c);
    }
    let temporary = c.word("TEMPORARY");
    if c.any_word(&["TABLE", "TABLES"]).is_some() {
        let if_exists = c.if_exists();
        let tables = c.table_names()?;
        c.any_word(&["RESTRICT", "CASCADE"]);
        return Ok(Ddl::DropTables {
            tables,
            if_exists,
            temporary,
        }
        .into());
    }
    if c.word("VIEW") {
        let if_exists = c.if_exists();
        let views = c.table_names()?;
        c.any_word(&["RESTRICT", "CASCADE"]);
        return Ok(Ddl::DropViews { views, if_exists }.into());
    }
    if c.word("INDEX") {
        let if_exists = c.if_exists();
        let name = index_name(c)?;
        c.expect_word("ON")?;
        let table = c.table_name()?;
        let online = online_options(c)?;
        return Ok(Ddl::DropIndex {
            table,
            name,
            if_exists,
            online,
        }
        .into());
    }
    if c.words(&["PREPARE"]) {
        return Ok(Statement::Deallocate {
            name: c.identifier()?.to_lowercase(),
        });
    }
    for (word, name) in [
        ("TRIGGER", "DROP TRIGGER"),
        ("PROCEDURE", "DROP PROCEDURE"),
        ("FUNCTION", "DROP FUNCTION"),
        ("EVENT", "DROP EVENT"),
        ("ROLE", "DROP ROLE"),
        ("SEQUENCE", "DROP SEQUENCE"),
        ("TABLESPACE", "DROP TABLESPACE"),
    ] {
        if c.word(word) {
            c.skip_rest();
            return Ok(Ddl::Unsupported(name).into());
        }
    }
    c.stop()
}
