//! Options of tables and of databases.

use sqlparser::tokenizer::Token;

use super::ast::*;
use super::column::charset_words;
use super::cursor::{Cursor, Parse, Stop};
use ilmenite_error::Error;

pub(crate) fn database_options(c: &mut Cursor) -> Parse<CharsetOptions> {
    let mut options = CharsetOptions::default();
    loop {
        c.word("DEFAULT");
        if charset_words(c) {
            c.token(&Token::Eq);
            options.charset = Some(c.name_or_string()?);
        } else if c.word("COLLATE") {
            c.token(&Token::Eq);
            options.collate = Some(c.name_or_string()?);
        } else if c.word("ENCRYPTION") {
            c.token(&Token::Eq);
            c.string()?;
        } else {
            return Ok(options);
        }
    }
}

/// Table options, separated by spaces or commas, as far as they go.
pub(crate) fn table_options(c: &mut Cursor, options: &mut TableOptions) -> Parse<bool> {
    let mut any = false;
    while table_option(c, options)? {
        any = true;
        // A comma between options, not one before the next action of ALTER TABLE.
        if c.peek_token(&Token::Comma) && starts_option(c, 1) {
            c.comma();
        }
    }
    Ok(any)
}

/// Options with a value of no consequence here.
const IGNORED_OPTIONS: &[&str] = &[
    "AUTOEXTEND_SIZE",
    "AVG_ROW_LENGTH",
    "CHECKSUM",
    "COMPRESSION",
    "CONNECTION",
    "DELAY_KEY_WRITE",
    "ENCRYPTION",
    "ENGINE_ATTRIBUTE",
    "INSERT_METHOD",
    "KEY_BLOCK_SIZE",
    "MAX_ROWS",
    "MIN_ROWS",
    "PACK_KEYS",
    "PASSWORD",
    "PRE_SPLIT_REGIONS",
    "ROW_FORMAT",
    "SECONDARY_ENGINE",
    "SECONDARY_ENGINE_ATTRIBUTE",
    "SHARD_ROW_ID_BITS",
    "STATS_AUTO_RECALC",
    "STATS_PERSISTENT",
    "STATS_SAMPLE_PAGES",
    "STORAGE",
    "TABLE_CHECKSUM",
    "TABLESPACE",
    "AUTO_ID_CACHE",
];

fn starts_option(c: &Cursor, at: usize) -> bool {
    [
        "DEFAULT",
        "CHARACTER",
        "CHARSET",
        "COLLATE",
        "COMMENT",
        "AUTO_INCREMENT",
        "ENGINE",
        "DATA",
        "INDEX",
    ]
    .iter()
    .chain(IGNORED_OPTIONS)
    .any(|word| c.peek_word_at(at, word))
}

fn table_option(c: &mut Cursor, options: &mut TableOptions) -> Parse<bool> {
    let defaulted = c.peek_word("DEFAULT")
        && ["CHARACTER", "CHARSET", "COLLATE"]
            .iter()
            .any(|w| c.peek_word_at(1, w));
    if defaulted {
        c.word("DEFAULT");
    }
    if charset_words(c) {
        c.token(&Token::Eq);
        options.charset.charset = Some(c.name_or_string()?);
    } else if c.word("COLLATE") {
        c.token(&Token::Eq);
        options.charset.collate = Some(c.name_or_string()?);
    } else if c.word("COMMENT") {
        c.token(&Token::Eq);
        options.comment = Some(c.string()?);
    } else if c.word("AUTO_INCREMENT") {
        c.token(&Token::Eq);
        options.auto_increment = Some(c.unsigned()?);
    } else if c.word("ENGINE") {
        c.token(&Token::Eq);
        options.engine = Some(c.name_or_string()?);
    } else if c.words(&["DATA", "DIRECTORY"]) || c.words(&["INDEX", "DIRECTORY"]) {
        c.token(&Token::Eq);
        c.string()?;
    } else if c.word("UNION") {
        c.token(&Token::Eq);
        return Err(Stop::Error(Error::not_supported_yet("MERGE tables")));
    } else if c.any_word(IGNORED_OPTIONS).is_some() {
        c.token(&Token::Eq);
        if c.unsigned().is_err() && !c.word("DEFAULT") {
            c.name_or_string()?;
        }
    } else {
        return Ok(false);
    }
    Ok(true)
}
