//! From text to statements: our lexer, sqlparser for queries and DML, and our own grammar for everything around them.
//!
//! [`parse`] takes a text apart into [`Parsed`] statements; a [`ParseCache`] (`cache`) keeps those of hot texts.
//!
//! - `lexer`: bytes to sqlparser's tokens, by MySQL's rules and the parts of `sql_mode` that change them;
//! - `rewrite`: small changes to the tokens where MySQL's grammar and sqlparser's differ, and the names of columns afterwards;
//! - `cursor`: a place in the tokens, and what every part of the grammar does there; `reserved`: what is no name without quotes;
//! - `depth`: trees that leave the parser are shallow, however long the text;
//! - `statement`: which statement it is, and those of a line or two; queries and DML go to sqlparser with our `dialect`;
//! - `create`, `alter`, with what both are made of (`column`, `index`, `options`); `show`, `admin`, `set`, `account`,
//!   `load_data`: the others, a file each;
//! - `ast`: what comes of it;
//! - `secrets`: what a statement's text must not show; `literal`: an expression that is a value as it stands.
//!
//! What makes no sense is 1064 with the text from where it stops making sense (`cursor::Stop`).
//!
//! Tests are golden scripts of texts and trees, `tests/golden`, and random mutations of them; see `tests/statements/main.rs`.

mod account;
mod admin;
mod alter;
mod ast;
mod cache;
mod column;
mod create;
mod cursor;
mod depth;
mod dialect;
mod index;
mod lexer;
mod literal;
mod load_data;
mod options;
mod reserved;
mod rewrite;
mod secrets;
mod set;
mod show;
mod statement;
#[cfg(test)]
mod tests;

use std::ops::Range;

use sqlparser::tokenizer::{Token, TokenWithSpan};

pub use ast::{account::*, ddl::*, load::*, name::*, set::*, show::*, *};
pub use cache::ParseCache;
use cursor::{Cursor, Stop};
use ilmenite_error::{Error, Result};
pub use lexer::LexMode;
pub use literal::literal_value;
use secrets::{has_secrets, masked};

/// Texts quoted in syntax errors are cut to this many characters, as MySQL does.
const MAX_QUOTED_CHARS: usize = 80;

/// All statements of `text`, separated by semicolons. Empty ones are left out; a text without any is 1065.
pub fn parse(text: &[u8], mode: LexMode) -> Result<Vec<Parsed>> {
    let tokens = lexer::tokenize(text, mode).map_err(|e| syntax_error(text, e.offset))?;
    let mut statements = Vec::new();
    let mut start = 0;
    // Those of the statement that is being gathered; all of them, where there is only one.
    let mut gathered = Vec::new();
    if tokens.iter().any(|t| t.token == Token::SemiColon) {
        for token in tokens {
            if token.token == Token::SemiColon {
                let stop = token.span.start.column as usize - 1;
                statements.extend(parse_one(text, start..stop, std::mem::take(&mut gathered), mode)?);
                start = stop + 1;
            } else {
                gathered.push(token);
            }
        }
    } else {
        gathered = tokens;
    }
    statements.extend(parse_one(text, start..text.len(), gathered, mode)?);
    if statements.is_empty() {
        return Err(Error::empty_query());
    }
    Ok(statements)
}

/// The one statement of `text`; 1064 when there are several.
pub fn parse_single(text: &[u8], mode: LexMode) -> Result<Parsed> {
    let mut statements = parse(text, mode)?;
    match (statements.pop(), statements.pop()) {
        (Some(only), None) => Ok(only),
        (Some(second), Some(_)) => {
            let at = text.len().saturating_sub(second.text.len());
            Err(syntax_error(text, at))
        }
        (None, _) => Err(Error::empty_query()),
    }
}

/// The statement in the `place` of the text; `None` where there is none.
fn parse_one(
    text: &[u8],
    place: Range<usize>,
    mut tokens: Vec<TokenWithSpan>,
    mode: LexMode,
) -> Result<Option<Parsed>> {
    let Range { start, end } = place;
    let (Some(first), Some(last)) = (tokens.first(), tokens.last()) else {
        return Ok(None);
    };
    let from = (first.span.start.column as usize - 1).max(start);
    let to = (last.span.end.column as usize - 1).min(end);
    // Each `?` carries its number from here on: what reads the tree does not see them in the order they are written.
    let placeholders = tokens.iter_mut().filter_map(|t| match &mut t.token {
        Token::Placeholder(name) => Some(name),
        _ => None,
    });
    let mut params = 0;
    for name in placeholders {
        *name = format!("?{params}");
        params += 1;
    }
    let strings: Vec<(usize, usize)> = tokens
        .iter()
        .filter(|t| matches!(t.token, Token::SingleQuotedString(_) | Token::HexStringLiteral(_)))
        .map(|t| (t.span.start.column as usize - 1, t.span.end.column as usize - 1))
        .collect();
    let mut tokens = rewrite::before_parsing(tokens);
    let into = rewrite::take_into(&mut tokens);
    let mut cursor = Cursor::new(tokens, end, mode);
    let parsed = depth::with_stack(cursor.depth_bound, || statement::parse(&mut cursor, text));
    let parsed = parsed.map(|statement| match statement {
        Statement::Query(query) if !into.is_empty() => Statement::QueryInto {
            query,
            variables: into,
        },
        other => other,
    });
    let statement = parsed.map_err(|stop| match stop {
        Stop::At(offset) => syntax_error(text, offset.min(end)),
        Stop::TooDeep => Error::stack_overrun(),
        Stop::Error(error) => error,
    })?;
    if params > usize::from(u16::MAX) {
        return Err(Error::too_many_placeholders());
    }
    if has_secrets(&statement) {
        return Ok(Some(Parsed {
            text: masked(text, from..to.max(from), &strings).into(),
            statement,
            params,
        }));
    }
    // Comments that are run would end before their `*/`: the text runs to the statement's end.
    let text = String::from_utf8_lossy(&text[from..to.max(from)]);
    Ok(Some(Parsed {
        text: text.trim_end().into(),
        statement,
        params,
    }))
}

/// 1064, quoting the text from where it stopped making sense.
fn syntax_error(text: &[u8], offset: usize) -> Error {
    let offset = offset.min(text.len());
    let line = 1 + text[..offset].iter().filter(|b| **b == b'\n').count();
    let rest = String::from_utf8_lossy(&text[offset..]);
    let near: String = rest.chars().take(MAX_QUOTED_CHARS).collect();
    Error::syntax(format!("near '{near}' at line {line}"))
}

/// All reserved words, for information_schema.keywords.
pub fn reserved_words() -> &'static [&'static str] {
    reserved::RESERVED
}
