//! LOAD DATA.

use sqlparser::tokenizer::Token;

use super::ast::*;
use super::column::charset_words;
use super::cursor::{Cursor, Parse};

pub(crate) fn load_data(c: &mut Cursor) -> Parse<Statement> {
    c.expect_words(&["LOAD", "DATA"])?;
    c.any_word(&["LOW_PRIORITY", "CONCURRENT"]);
    let local = c.word("LOCAL");
    c.expect_word("INFILE")?;
    let file = c.string()?;
    let on_duplicate = match c.any_word(&["REPLACE", "IGNORE"]) {
        Some("REPLACE") => OnDuplicate::Replace,
        Some(_) => OnDuplicate::Ignore,
        None => OnDuplicate::Default,
    };
    c.expect_words(&["INTO", "TABLE"])?;
    let mut load = LoadData {
        local,
        file,
        on_duplicate,
        table: c.table_name()?,
        charset: None,
        fields_terminated_by: "\t".into(),
        fields_enclosed_by: String::new(),
        fields_optionally_enclosed: false,
        fields_escaped_by: "\\".into(),
        lines_starting_by: String::new(),
        lines_terminated_by: "\n".into(),
        ignore_lines: 0,
        columns: Vec::new(),
        assignments: Vec::new(),
    };
    if charset_words(c) {
        load.charset = Some(c.name_or_string()?);
    }
    if c.any_word(&["FIELDS", "COLUMNS"]).is_some() {
        fields(c, &mut load)?;
    }
    if c.word("LINES") {
        loop {
            if c.words(&["STARTING", "BY"]) {
                load.lines_starting_by = c.string_or_hex()?;
            } else if c.words(&["TERMINATED", "BY"]) {
                load.lines_terminated_by = c.string_or_hex()?;
            } else {
                break;
            }
        }
    }
    if c.word("IGNORE") {
        load.ignore_lines = c.unsigned()?;
        if c.any_word(&["LINES", "ROWS"]).is_none() {
            return c.stop();
        }
    }
    if c.token(&Token::LParen) && !c.token(&Token::RParen) {
        load.columns = c.list(|c| match &c.parser.peek_token_ref().token {
            Token::Word(word) if word.quote_style.is_none() && word.value.starts_with('@') => {
                Ok(LoadTarget::Variable(c.user_variable()?))
            }
            _ => Ok(LoadTarget::Column(c.identifier()?)),
        })?;
        c.expect_token(&Token::RParen)?;
    }
    if c.word("SET") {
        load.assignments = c.list(|c| {
            let mut column = c.identifier()?;
            if c.token(&Token::Period) {
                column = c.identifier()?;
            }
            c.expect_token(&Token::Eq)?;
            Ok((column, c.expr()?))
        })?;
    }
    Ok(Statement::LoadData(Box::new(load)))
}

fn fields(c: &mut Cursor, load: &mut LoadData) -> Parse<()> {
    let mut any = false;
    loop {
        if c.words(&["TERMINATED", "BY"]) {
            load.fields_terminated_by = c.string_or_hex()?;
        } else if c.words(&["OPTIONALLY", "ENCLOSED", "BY"]) {
            load.fields_optionally_enclosed = true;
            load.fields_enclosed_by = c.string_or_hex()?;
        } else if c.words(&["ENCLOSED", "BY"]) {
            load.fields_enclosed_by = c.string_or_hex()?;
        } else if c.words(&["ESCAPED", "BY"]) {
            load.fields_escaped_by = c.string_or_hex()?;
        } else if any {
            return Ok(());
        } else {
            return c.stop();
        }
        any = true;
    }
}
