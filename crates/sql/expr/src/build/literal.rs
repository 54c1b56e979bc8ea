//! Literals.

use bytes::Bytes;
use ilmenite_error::{Error, Result};
use ilmenite_types::{Collation, Datum, Decimal, Duration, TimeKind};
use sqlparser::ast::{DataType, Expr as Ast, Ident, TypedString, Value};

use super::ExprBuilder;
use crate::kernel::cast::hex_of;
use crate::mode::SqlMode;
use crate::node::{Coercibility, Expr, Op};
use crate::scope::ColumnName;
use crate::typing::cast;
use crate::typing::collation::charset_named;
use crate::{types, value};

impl ExprBuilder<'_> {
    pub(super) fn value(&mut self, value: &Value) -> Result<Expr> {
        match value {
            Value::Number(text, _) => number(text),
            Value::SingleQuotedString(text) => Ok(self.string(text)),
            Value::DoubleQuotedString(text) if self.options.sql_mode.has(SqlMode::ANSI_QUOTES) => {
                self.scope.column(&ColumnName {
                    schema: None,
                    table: None,
                    column: text,
                })
            }
            Value::DoubleQuotedString(text) => Ok(self.string(text)),
            Value::NationalStringLiteral(text) => Ok(literal(text.as_bytes(), Collation::UTF8MB3_GENERAL_CI)),
            Value::HexStringLiteral(digits) => hex(digits),
            Value::SingleQuotedByteStringLiteral(bits) | Value::DoubleQuotedByteStringLiteral(bits) => {
                bit_string(bits)
            }
            Value::Boolean(b) => Ok(Expr::constant(Datum::Int(i64::from(*b)), types::boolean())),
            Value::Null => Ok(Expr::null()),
            Value::Placeholder(text) => {
                let index = text
                    .strip_prefix('?')
                    .filter(|n| !n.is_empty())
                    .map_or(Ok(0), str::parse)
                    .map_err(|_| Error::syntax(format!("'{text}'")))?;
                self.scope.parameter(index)
            }
            other => Err(Error::syntax(format!("'{other}'"))),
        }
    }

    fn string(&self, text: &str) -> Expr {
        literal(text.as_bytes(), self.options.collation)
    }

    /// `_utf8mb4'…'`.
    pub(super) fn introduced(&mut self, prefix: &Ident, value: &Ast) -> Result<Expr> {
        let name = prefix.value.trim_start_matches('_');
        let collation = charset_named(name)?;
        let charset = collation.charset().name;
        let bytes = match value {
            Ast::Value(v) => match self.value(&v.value)?.op {
                Op::Const {
                    value: Datum::Bytes(b),
                    ..
                } => b,
                _ => return Err(Error::syntax(format!("'{prefix}'"))),
            },
            _ => return Err(Error::syntax(format!("'{prefix}'"))),
        };
        if charset.starts_with("utf8") && std::str::from_utf8(&bytes).is_err() {
            return Err(Error::invalid_character_string(charset, hex_of(&bytes)));
        }
        Ok(literal(&bytes, collation))
    }

    /// `DATE '…'`, `TIME '…'`, `TIMESTAMP '…'`.
    pub(super) fn typed_string(&mut self, typed: &TypedString) -> Result<Expr> {
        let text = match &typed.value.value {
            Value::SingleQuotedString(text) | Value::DoubleQuotedString(text) => text.as_bytes(),
            other => return Err(Error::syntax(format!("'{other}'"))),
        };
        let flags = value::date_flags(self.options.sql_mode);
        let fsp = fraction_digits(text);
        let incorrect = |kind: &str| Error::wrong_value(kind, value::shown(text));
        match &typed.data_type {
            DataType::Date => {
                let parsed = ilmenite_types::Time::parse(text, TimeKind::Date, 0, flags);
                let time = parsed
                    .ok()
                    .filter(|p| !p.truncated)
                    .ok_or_else(|| incorrect("DATE"))?;
                Ok(Expr::constant(Datum::Time(time.time), types::date()))
            }
            DataType::Timestamp(..) | DataType::Datetime(_) => {
                let parsed = ilmenite_types::Time::parse(text, TimeKind::DateTime, fsp, flags);
                let parsed = parsed
                    .ok()
                    .filter(|p| !p.truncated)
                    .ok_or_else(|| incorrect("DATETIME"))?;
                if parsed.offset_seconds.is_some() {
                    // What it says in the session's zone is known when it runs.
                    let text = Expr::constant(Datum::Bytes(Bytes::copy_from_slice(text)), types::ascii(40));
                    return Ok(cast::implicit(text, types::datetime(fsp.into())));
                }
                Ok(Expr::constant(
                    Datum::Time(parsed.time),
                    types::datetime(fsp.into()),
                ))
            }
            DataType::Time(..) => {
                let parsed = Duration::parse(text, fsp);
                let parsed = parsed
                    .ok()
                    .filter(|p| !p.truncated && !p.overflow)
                    .ok_or_else(|| incorrect("TIME"))?;
                Ok(Expr::constant(
                    Datum::Duration(parsed.duration),
                    types::time(fsp.into()),
                ))
            }
            other => Err(Error::syntax(format!("'{other}'"))),
        }
    }
}

fn literal(bytes: &[u8], collation: Collation) -> Expr {
    let flen = if collation.is_binary() {
        bytes.len()
    } else {
        String::from_utf8_lossy(bytes).chars().count()
    };
    let ty = types::string(flen.min(i32::MAX as usize) as i32, collation);
    Expr::constant(Datum::Bytes(Bytes::copy_from_slice(bytes)), ty)
}

/// Digits after the point of a time, 0 to 6.
fn fraction_digits(text: &[u8]) -> u8 {
    match text.iter().rposition(|b| *b == b'.') {
        Some(at) => text[at + 1..]
            .iter()
            .take_while(|b| b.is_ascii_digit())
            .count()
            .min(6) as u8,
        None => 0,
    }
}

fn number(text: &str) -> Result<Expr> {
    if text.contains(['e', 'E']) {
        let value: f64 = text.parse().map_err(|_| Error::syntax(format!("'{text}'")))?;
        if !value.is_finite() {
            return Err(Error::illegal_value_for_type("double", text));
        }
        return Ok(Expr::constant(Datum::Double(value), types::double()));
    }
    let flen = text.len().min(i32::MAX as usize) as i32;
    if !text.contains('.') {
        if let Ok(n) = text.parse::<i64>() {
            return Ok(Expr::constant(Datum::Int(n), types::int(flen)));
        }
        if let Ok(n) = text.parse::<u64>() {
            return Ok(Expr::constant(Datum::UInt(n), types::uint(flen)));
        }
    }
    let value = Decimal::parse(text).map_err(|_| Error::syntax(format!("'{text}'")))?;
    let ty = types::decimal(i32::from(value.precision()), i32::from(value.scale()));
    Ok(Expr::constant(Datum::Decimal(value), ty))
}

fn hex_literal(bytes: Vec<u8>) -> Expr {
    let ty = types::binary(bytes.len().min(i32::MAX as usize) as i32);
    Expr {
        op: Op::Const {
            value: Datum::Bytes(bytes.into()),
            hex: true,
        },
        args: Vec::new(),
        ty,
        coercibility: Coercibility::Coercible,
    }
}

fn hex(digits: &str) -> Result<Expr> {
    let padded = if digits.len() % 2 == 1 {
        format!("0{digits}")
    } else {
        digits.to_string()
    };
    hex::decode(padded)
        .map(hex_literal)
        .map_err(|_| Error::syntax(format!("'{digits}'")))
}

fn bit_string(bits: &str) -> Result<Expr> {
    if !bits.bytes().all(|b| matches!(b, b'0' | b'1')) {
        return Err(Error::syntax(format!("'{bits}'")));
    }
    let mut bytes = vec![0u8; bits.len().div_ceil(8)];
    for (at, bit) in bits.bytes().rev().enumerate() {
        if bit == b'1' {
            let last = bytes.len() - 1;
            bytes[last - at / 8] |= 1 << (at % 8);
        }
    }
    Ok(hex_literal(bytes))
}
