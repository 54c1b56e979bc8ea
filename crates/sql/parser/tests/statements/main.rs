//! Statements under test: golden scripts of texts and what is read from them, and mutations of all of them, which must
//! always come to an end.
//!
//! A query is written out as sqlparser prints it, and must be the same statement when that text is read again; of the other
//! statements the tree is shown. A line of lower case says how texts are read from there on: `mode ansi_quotes`,
//! `no_backslash_escapes`, `pipes_as_concat` or `plain`.

mod mutations;
mod tree;

use std::fmt::Write;
use std::path::PathBuf;

use ilmenite_error::Error;
use ilmenite_parser::{ExplainTarget, LexMode, Parsed, Statement, parse, parse_single};
use sqlparser::ast as sql;

fn golden() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

#[test]
fn statements_are_read_as_written() {
    let statements = ilmenite_golden::check(&golden(), "parse", take);
    assert!(statements >= 850, "only {statements} statements");
}

fn take(mode: &mut LexMode, input: &str) -> String {
    if let Some(name) = input.strip_prefix("mode ") {
        *mode = LexMode {
            ansi_quotes: name == "ansi_quotes",
            no_backslash_escapes: name == "no_backslash_escapes",
            pipes_as_concat: name == "pipes_as_concat",
            real_as_float: name == "real_as_float",
        };
        return String::new();
    }
    match parse(input.as_bytes(), *mode) {
        Ok(statements) => statements
            .iter()
            .map(|parsed| shown(parsed, input, *mode))
            .collect(),
        Err(error) => refused(&error),
    }
}

/// An error; of 1064 only where it points, since the words before that are always the same.
fn refused(error: &Error) -> String {
    let place = error.message.find("near '").filter(|_| error.code == 1064);
    let text = match place {
        Some(at) => format!("ERROR 1064 {}", &error.message[at..]),
        None => format!("ERROR {error}"),
    };
    text.replace('\n', "\\n")
}

fn shown(parsed: &Parsed, input: &str, mode: LexMode) -> String {
    let mut text = String::new();
    if *parsed.text != *input {
        let _ = writeln!(text, "text: {}", parsed.text.replace('\n', "\\n"));
    }
    match query_of(&parsed.statement) {
        Some((query, around)) => {
            let _ = writeln!(text, "{around}{query}");
            if let Some(other) = comes_back_as(query, mode) {
                let _ = writeln!(text, "comes back as: {other}");
            }
        }
        None => {
            let _ = writeln!(text, "{}", tree::shown(&format!("{:?}", parsed.statement)));
        }
    }
    if parsed.params > 0 {
        let _ = writeln!(text, "parameters: {}", parsed.params);
    }
    text
}

/// The query of a statement, and what stands around it.
fn query_of(statement: &Statement) -> Option<(&sql::Statement, String)> {
    match statement {
        Statement::Query(query) => Some((query, String::new())),
        Statement::QueryInto { query, variables } => Some((query, format!("into {variables:?} "))),
        Statement::Explain(explain) => match &explain.target {
            ExplainTarget::Query(query) => {
                let analyze = if explain.analyze { " analyze" } else { "" };
                Some((query, format!("explain {:?}{analyze} ", explain.format)))
            }
            _ => None,
        },
        _ => None,
    }
}

/// What the text of a query is read as, when that is not the query.
fn comes_back_as(query: &sql::Statement, mode: LexMode) -> Option<String> {
    // It prints strings as they are, and a parameter's number.
    let mode = LexMode {
        ansi_quotes: false,
        no_backslash_escapes: true,
        ..mode
    };
    let text = without_numbers(&query.to_string());
    match parse_single(text.as_bytes(), mode) {
        Ok(Parsed {
            statement: Statement::Query(again),
            ..
        }) if *again == *query => None,
        Ok(other) => Some(format!("{:?}", other.statement)),
        Err(error) => Some(refused(&error)),
    }
}

/// `?0`, `?1` as `?`.
fn without_numbers(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('?') {
        out.push_str(&rest[..=at]);
        rest = rest[at + 1..].trim_start_matches(|c: char| c.is_ascii_digit());
    }
    out + rest
}
