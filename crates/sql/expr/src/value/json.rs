//! JSON values from and to the other kinds.

use std::cmp::Ordering;

use ilmenite_error::{Error, Result};
use ilmenite_types::{Datum, FieldType, Json, TypeCode};

use super::text::to_text;
use crate::types;

/// The order of two values of which one at least is JSON; the other counts as a scalar.
pub(crate) fn compare(l: &Datum, r: &Datum) -> Result<Ordering> {
    let order = |l: &Json, r: &Json| l.root().compare(&r.root());
    match (l, r) {
        (Datum::Json(l), Datum::Json(r)) => Ok(order(l, r)),
        (Datum::Json(l), other) => Ok(order(l, &from_datum(other)?)),
        (other, Datum::Json(r)) => Ok(order(&from_datum(other)?, r)),
        _ => Err(Error::bug("neither side of a JSON comparison is JSON")),
    }
}

pub(crate) fn unquoted(j: &Json) -> String {
    j.root().unquoted()
}

/// A value as a JSON scalar; texts become JSON strings, and JSON stays what it is.
pub(crate) fn from_datum(value: &Datum) -> Result<Json> {
    Ok(match value {
        Datum::Null => Json::null(),
        Datum::Int(n) => Json::int(*n),
        Datum::UInt(n) | Datum::Enum(n) | Datum::Set(n) => Json::uint(*n),
        Datum::Float(f) => Json::double(f64::from(*f))?,
        Datum::Double(d) => Json::double(*d)?,
        Datum::Decimal(d) => Json::double(d.to_f64())?,
        Datum::Bytes(b) => match std::str::from_utf8(b) {
            Ok(s) => Json::string(s),
            Err(_) => Json::opaque(TypeCode::Blob, b),
        },
        Datum::Time(t) => Json::time(t),
        Datum::Duration(d) => Json::duration(d),
        Datum::Bit(_) => Json::opaque(TypeCode::Bit, &to_text(value)),
        Datum::Json(j) => j.clone(),
    })
}

/// Where in a text JSON stops being JSON, and why.
pub(crate) struct Fault {
    pub(crate) detail: String,
    pub(crate) position: usize,
}

/// JSON text as JSON.
pub(crate) fn parse(text: &[u8]) -> Result<Json, Fault> {
    Json::parse(text).map_err(|e| {
        // The parser of the codec reports the text only; where it stops is what people look for.
        match serde_json::from_slice::<serde::de::IgnoredAny>(text) {
            Err(fault) => Fault {
                detail: "Invalid value.".into(),
                position: if fault.is_eof() {
                    text.len()
                } else {
                    offset_of(text, fault.line(), fault.column())
                },
            },
            Ok(_) => Fault {
                detail: e.to_string(),
                position: 0,
            },
        }
    })
}

fn offset_of(text: &[u8], line: usize, column: usize) -> usize {
    let before: usize = text
        .split_inclusive(|b| *b == b'\n')
        .take(line.saturating_sub(1))
        .map(<[u8]>::len)
        .sum();
    (before + column.saturating_sub(1)).min(text.len())
}

/// CAST(x AS JSON): texts are parsed, other values become scalars.
pub(crate) fn parse_datum(x: &Datum, from: &FieldType) -> Result<Datum> {
    let is_text = types::eval_type(from) == types::EvalType::String;
    match x {
        Datum::Bytes(b) if is_text => {
            if from.collation.is_binary() {
                return Err(Error::invalid_json_charset("binary"));
            }
            parse(b)
                .map(Datum::Json)
                .map_err(|f| Error::invalid_json_text_in_param(1, "cast_as_json", f.detail, f.position))
        }
        other => from_datum(other).map(Datum::Json),
    }
}
