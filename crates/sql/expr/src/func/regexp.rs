//! Functions of regular expressions.

use ilmenite_error::{Error, Result};
use ilmenite_types::Datum;
use regex::Regex;

use super::args::{arg, int, text};
use super::define::{pure, t_bool, t_first, t_int, t_long_first};
use crate::kernel::like::RegexCell;
use crate::node::{Args, FuncDef};
use crate::typing::collation;

pub(super) static FUNCTIONS: &[FuncDef] = &[
    pure("REGEXP_LIKE", 2, 3, t_bool, regexp_like),
    pure("REGEXP_REPLACE", 3, 3, t_long_first, regexp_replace),
    pure("REGEXP_SUBSTR", 2, 2, t_first, regexp_substr),
    pure("REGEXP_INSTR", 2, 2, t_int, regexp_instr),
];

fn regex_of(a: &Args<'_>, flags_at: Option<usize>) -> Result<Option<Regex>> {
    let Some(pattern) = a.text(1)? else {
        return Ok(None);
    };
    let collation = collation::of_operands(&[&a.expr.args[0], &a.expr.args[1]], "regexp")?;
    let mut case_insensitive = !collation.is_bin();
    let mut inline = String::new();
    if let Some(at) = flags_at.filter(|at| *at < a.len()) {
        let Some(flags) = a.string(at)? else {
            return Ok(None);
        };
        for flag in flags.chars() {
            match flag {
                'c' => case_insensitive = false,
                'i' => case_insensitive = true,
                'm' => inline.push('m'),
                'n' => inline.push('s'),
                'u' => {}
                _ => return Err(Error::wrong_arguments("regexp_like")),
            }
        }
    }
    let pattern = if inline.is_empty() {
        pattern
    } else {
        format!("(?{inline}){}", String::from_utf8_lossy(&pattern)).into()
    };
    RegexCell::default().get(&pattern, case_insensitive).map(Some)
}

fn regexp_like(a: &Args<'_>) -> Result<Datum> {
    let s = arg!(a.string(0));
    let regex = arg!(regex_of(a, Some(2)));
    int(i64::from(regex.is_match(&s)))
}

fn regexp_replace(a: &Args<'_>) -> Result<Datum> {
    let s = arg!(a.string(0));
    let regex = arg!(regex_of(a, None));
    let to = arg!(a.string(2));
    let replaced = regex.replace_all(&s, to.as_str()).into_owned();
    Ok(a.bounded(replaced.len() as u64, || replaced.into_bytes()))
}

fn regexp_substr(a: &Args<'_>) -> Result<Datum> {
    let s = arg!(a.string(0));
    let regex = arg!(regex_of(a, None));
    match regex.find(&s) {
        Some(found) => text(found.as_str().to_string()),
        None => Ok(Datum::Null),
    }
}

fn regexp_instr(a: &Args<'_>) -> Result<Datum> {
    let s = arg!(a.string(0));
    let regex = arg!(regex_of(a, None));
    int(regex
        .find(&s)
        .map_or(0, |found| s[..found.start()].chars().count() as i64 + 1))
}
