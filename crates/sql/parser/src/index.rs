//! Keys: in CREATE TABLE and ALTER TABLE, in CREATE INDEX and DROP INDEX, and how online their making is to be.

use sqlparser::tokenizer::Token;

use super::ast::*;
use super::column;
use super::cursor::{Cursor, Parse, Stop};
use ilmenite_error::Error;

pub(crate) fn starts_key(c: &Cursor) -> bool {
    ["PRIMARY", "UNIQUE", "INDEX", "KEY", "FULLTEXT", "SPATIAL"]
        .iter()
        .any(|word| c.peek_word(word))
}

/// `[UNIQUE | FULLTEXT | SPATIAL] {INDEX | KEY} [IF NOT EXISTS] [name] [USING …] (parts) options`, or `PRIMARY KEY …`.
pub(crate) fn key(c: &mut Cursor) -> Parse<IndexDef> {
    let kind = if c.word("PRIMARY") {
        c.expect_word("KEY")?;
        IndexKind::Primary
    } else if c.word("UNIQUE") {
        c.any_word(&["INDEX", "KEY"]);
        IndexKind::Unique
    } else if c.word("FULLTEXT") {
        c.any_word(&["INDEX", "KEY"]);
        IndexKind::Fulltext
    } else if c.word("SPATIAL") {
        c.any_word(&["INDEX", "KEY"]);
        IndexKind::Spatial
    } else if c.any_word(&["INDEX", "KEY"]).is_some() {
        IndexKind::Plain
    } else {
        return c.stop();
    };
    let if_not_exists = c.if_not_exists();
    let named = !c.peek_token(&Token::LParen) && !c.peek_word("USING") && !c.peek_word("TYPE");
    let name = if named { Some(c.identifier()?) } else { None };
    let mut index = IndexDef {
        kind,
        name: name.filter(|_| kind != IndexKind::Primary),
        if_not_exists,
        parts: Vec::new(),
        comment: String::new(),
        invisible: false,
        clustered: None,
        unsupported: None,
    };
    index_type(c)?;
    index_parts(c, &mut index)?;
    index_options(c, &mut index)?;
    Ok(index)
}

fn index_type(c: &mut Cursor) -> Parse<()> {
    if c.any_word(&["USING", "TYPE"]).is_some() && c.any_word(&["BTREE", "HASH", "RTREE"]).is_none() {
        return c.stop();
    }
    Ok(())
}

fn index_parts(c: &mut Cursor, index: &mut IndexDef) -> Parse<()> {
    c.expect_token(&Token::LParen)?;
    index.parts = c.list(|c| {
        if c.token(&Token::LParen) {
            let expr = c.expr()?;
            c.expect_token(&Token::RParen)?;
            c.any_word(&["ASC", "DESC"]);
            return Ok(IndexPartDef::Expression(expr));
        }
        let name = c.identifier()?;
        let mut length = None;
        if c.token(&Token::LParen) {
            length = Some(c.unsigned()?);
            c.expect_token(&Token::RParen)?;
        }
        let descending = c.any_word(&["ASC", "DESC"]) == Some("DESC");
        Ok(IndexPartDef::Column {
            name,
            length,
            descending,
        })
    })?;
    c.expect_token(&Token::RParen)
}

fn index_options(c: &mut Cursor, index: &mut IndexDef) -> Parse<()> {
    loop {
        if c.word("COMMENT") {
            index.comment = c.string()?;
        } else if c.word("VISIBLE") {
            index.invisible = false;
        } else if c.word("INVISIBLE") {
            index.invisible = true;
        } else if c.word("KEY_BLOCK_SIZE") {
            c.token(&Token::Eq);
            c.unsigned()?;
        } else if c.peek_word("USING") || c.peek_word("TYPE") {
            index_type(c)?;
        } else if c.words(&["WITH", "PARSER"]) {
            c.identifier()?;
        } else if c.word("ENGINE_ATTRIBUTE") || c.word("SECONDARY_ENGINE_ATTRIBUTE") {
            c.token(&Token::Eq);
            c.string()?;
        } else if let Some(clustered) = column::clustered(c) {
            index.clustered = Some(clustered);
        } else if c.word("LOCAL") {
            // The only kind there is without partitions.
        } else if c.word("GLOBAL") {
            index.unsupported = Some("GLOBAL indexes");
        } else if c.word("WHERE") {
            c.expr()?;
            index.unsupported = Some("partial indexes");
        } else {
            return Ok(());
        }
    }
}

/// `CREATE [UNIQUE] INDEX …`, after CREATE; `None` when something else is created.
pub(crate) fn create_index(c: &mut Cursor) -> Parse<Option<Ddl>> {
    let kind = if c.words(&["UNIQUE", "INDEX"]) {
        IndexKind::Unique
    } else if c.words(&["FULLTEXT", "INDEX"]) {
        IndexKind::Fulltext
    } else if c.words(&["SPATIAL", "INDEX"]) {
        IndexKind::Spatial
    } else if c.word("INDEX") {
        IndexKind::Plain
    } else {
        return Ok(None);
    };
    let if_not_exists = c.if_not_exists();
    let mut index = IndexDef {
        kind,
        name: Some(c.identifier()?),
        if_not_exists,
        parts: Vec::new(),
        comment: String::new(),
        invisible: false,
        clustered: None,
        unsupported: None,
    };
    index_type(c)?;
    c.expect_word("ON")?;
    let table = c.table_name()?;
    index_parts(c, &mut index)?;
    index_options(c, &mut index)?;
    let online = online_options(c)?;
    Ok(Some(Ddl::CreateIndex { table, index, online }))
}

/// An index's name; PRIMARY may be written without quotes.
pub(crate) fn index_name(c: &mut Cursor) -> Parse<String> {
    if c.word("PRIMARY") {
        return Ok("PRIMARY".into());
    }
    c.identifier()
}

/// `ALGORITHM = …`, `LOCK = …` at the end of CREATE INDEX and DROP INDEX.
pub(crate) fn online_options(c: &mut Cursor) -> Parse<OnlineOptions> {
    let mut options = OnlineOptions::default();
    loop {
        c.comma();
        if !online_option(c, &mut options)? {
            return Ok(options);
        }
    }
}

pub(crate) fn online_option(c: &mut Cursor, options: &mut OnlineOptions) -> Parse<bool> {
    let algorithm = if c.word("ALGORITHM") {
        true
    } else if c.word("LOCK") {
        false
    } else {
        return Ok(false);
    };
    c.token(&Token::Eq);
    let value = c.name_or_string()?.to_ascii_uppercase();
    let known: &[&str] = if algorithm {
        &["DEFAULT", "INSTANT", "INPLACE", "COPY"]
    } else {
        &["DEFAULT", "NONE", "SHARED", "EXCLUSIVE"]
    };
    if !known.contains(&value.as_str()) {
        return Err(Stop::Error(if algorithm {
            Error::unknown_alter_algorithm(value)
        } else {
            Error::unknown_alter_lock(value)
        }));
    }
    if algorithm {
        options.algorithm = Some(value);
    } else {
        options.lock = Some(value);
    }
    Ok(true)
}
