//! Values as numbers and as conditions.

use ilmenite_error::{Error, Result};
use ilmenite_types::{Datum, Decimal, Json, JsonKind, format_double};

use super::text::shown;
use crate::context::EvalContext;
use crate::types;

/// Whether a value counts as true; `None` for NULL.
pub(crate) fn truth(value: &Datum, ctx: &EvalContext) -> Result<Option<bool>> {
    Ok(Some(match value {
        Datum::Null => return Ok(None),
        Datum::Int(n) => *n != 0,
        Datum::UInt(n) | Datum::Enum(n) | Datum::Set(n) | Datum::Bit(n) => *n != 0,
        Datum::Decimal(d) => !d.is_zero(),
        Datum::Time(t) => !t.is_zero(),
        Datum::Duration(d) => d.micros() != 0,
        other => to_f64(other, ctx)? != 0.0,
    }))
}

fn truncated(kind: &str, text: &[u8], ctx: &EvalContext) -> Result<()> {
    ctx.lossy(Error::truncated_wrong_value(kind, shown(text)))
}

/// The number a text starts with, and how many bytes of it that took (0 when it starts with none).
pub(crate) fn double_prefix(text: &[u8]) -> (f64, usize) {
    let mut at = text.iter().take_while(|b| b.is_ascii_whitespace()).count();
    let start = at;
    if matches!(text.get(at), Some(b'+' | b'-')) {
        at += 1;
    }
    let digits_from = |at: usize| text[at..].iter().take_while(|b| b.is_ascii_digit()).count();
    let whole = digits_from(at);
    at += whole;
    let mut fraction = 0;
    if text.get(at) == Some(&b'.') {
        fraction = digits_from(at + 1);
        if whole + fraction > 0 {
            at += 1 + fraction;
        }
    }
    if whole + fraction == 0 {
        return (0.0, 0);
    }
    if matches!(text.get(at), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(text.get(at + 1), Some(b'+' | b'-')));
        let exponent = digits_from(at + 1 + sign);
        if exponent > 0 {
            at += 1 + sign + exponent;
        }
    }
    let number = std::str::from_utf8(&text[start..at])
        .ok()
        .and_then(|s| s.parse::<f64>().ok())
        .unwrap_or(0.0);
    // What a double cannot hold is the largest it can.
    (number.clamp(f64::MIN, f64::MAX), at)
}

fn only_spaces(text: &[u8]) -> bool {
    text.iter().all(u8::is_ascii_whitespace)
}

fn text_to_f64(text: &[u8], ctx: &EvalContext) -> Result<f64> {
    let (number, used) = double_prefix(text);
    if used == 0 || !only_spaces(&text[used..]) {
        truncated("DOUBLE", text, ctx)?;
    }
    Ok(number)
}

pub fn to_f64(value: &Datum, ctx: &EvalContext) -> Result<f64> {
    Ok(match value {
        Datum::Null => 0.0,
        Datum::Int(n) => *n as f64,
        Datum::UInt(n) | Datum::Enum(n) | Datum::Set(n) | Datum::Bit(n) => *n as f64,
        Datum::Float(f) => f64::from(*f),
        Datum::Double(d) => *d,
        Datum::Decimal(d) => d.to_f64(),
        Datum::Bytes(b) => text_to_f64(b, ctx)?,
        Datum::Time(t) => t.to_decimal().to_f64(),
        Datum::Duration(d) => d.to_decimal().to_f64(),
        Datum::Json(j) => json_to_f64(j, ctx)?,
    })
}

/// A double as a decimal; the largest there is for one that is larger, with a warning.
fn f64_to_decimal(value: f64, ctx: &EvalContext) -> Result<Decimal> {
    if let Ok(d) = Decimal::from_f64(value) {
        return Ok(d);
    }
    ctx.lossy(Error::value_out_of_range("DECIMAL", format_double(value)))?;
    let max = Decimal::max_value(types::MAX_DECIMAL_PRECISION as u8, 0);
    Ok(if value < 0.0 { max.negated() } else { max })
}

pub fn to_decimal(value: &Datum, ctx: &EvalContext) -> Result<Decimal> {
    Ok(match value {
        Datum::Null => Decimal::ZERO,
        Datum::Int(n) => Decimal::from(*n),
        Datum::UInt(n) | Datum::Enum(n) | Datum::Set(n) | Datum::Bit(n) => Decimal::from(*n),
        // By the float's own digits: 0.1 is 0.1 and not 0.100000001.
        Datum::Float(f) => f64_to_decimal(f.to_string().parse().unwrap_or(f64::from(*f)), ctx)?,
        Datum::Double(d) => f64_to_decimal(*d, ctx)?,
        Datum::Decimal(d) => *d,
        Datum::Bytes(b) => {
            let parsed = Decimal::parse_prefix(b);
            if !parsed.complete || parsed.overflow {
                truncated("DECIMAL", b, ctx)?;
            }
            parsed.value
        }
        Datum::Time(t) => t.to_decimal(),
        Datum::Duration(d) => d.to_decimal(),
        Datum::Json(j) => f64_to_decimal(json_to_f64(j, ctx)?, ctx)?,
    })
}

/// The whole number a text starts with; digits after a point are not looked at.
fn text_to_i128(text: &[u8], ctx: &EvalContext) -> Result<i128> {
    let start = text.iter().take_while(|b| b.is_ascii_whitespace()).count();
    let body = &text[start..];
    let sign = usize::from(matches!(body.first(), Some(b'+' | b'-')));
    let digits = body[sign..].iter().take_while(|b| b.is_ascii_digit()).count();
    let mut number: i128 = 0;
    for digit in &body[sign..sign + digits] {
        number = (number * 10 + i128::from(digit - b'0')).min(i128::from(u64::MAX) + 1);
    }
    if digits == 0 || !only_spaces(&body[sign + digits..]) {
        truncated("INTEGER", text, ctx)?;
    }
    Ok(if body.first() == Some(&b'-') {
        -number
    } else {
        number
    })
}

/// A double as a whole number: rounded half to even, as the processor does.
fn round_f64(value: f64) -> f64 {
    value.round_ties_even()
}

/// The value as a whole number. Everything that has 64 bits fits; larger numbers are cut to just beyond them.
pub fn to_i128(value: &Datum, ctx: &EvalContext) -> Result<i128> {
    const LIMIT: i128 = u64::MAX as i128 + 1;
    Ok(match value {
        Datum::Null => 0,
        Datum::Int(n) => i128::from(*n),
        Datum::UInt(n) | Datum::Enum(n) | Datum::Set(n) | Datum::Bit(n) => i128::from(*n),
        Datum::Float(f) => (round_f64(f64::from(*f)) as i128).clamp(-LIMIT, LIMIT),
        Datum::Double(d) => (round_f64(*d) as i128).clamp(-LIMIT, LIMIT),
        Datum::Decimal(d) => decimal_to_i128(d),
        Datum::Bytes(b) => text_to_i128(b, ctx)?,
        Datum::Time(t) => match t.round_to_fsp(0) {
            Ok(t) => i128::from(t.to_number()),
            Err(_) => i128::from(t.to_number()),
        },
        Datum::Duration(d) => i128::from(d.round_to_fsp(0).to_number()),
        Datum::Json(j) => (round_f64(json_to_f64(j, ctx)?) as i128).clamp(-LIMIT, LIMIT),
    })
}

fn decimal_to_i128(d: &Decimal) -> i128 {
    match d.to_i64_saturating() {
        (n, false) => i128::from(n),
        (_, true) if d.is_negative() => i128::from(i64::MIN) - 1,
        _ => match d.to_u64_saturating() {
            (n, false) => i128::from(n),
            _ => i128::from(u64::MAX) + 1,
        },
    }
}

/// The value as a signed integer, clamped without a word: for lengths, counts and positions.
pub(crate) fn to_i64(value: &Datum, ctx: &EvalContext) -> Result<i64> {
    let number = to_i128(value, ctx)?;
    Ok(number.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64)
}

/// The 64 bits that bit operations work on.
pub(crate) fn to_bits(value: &Datum, ctx: &EvalContext) -> Result<u64> {
    let number = to_i128(value, ctx)?;
    Ok(if number < 0 {
        number.max(i128::from(i64::MIN)) as i64 as u64
    } else {
        number.min(i128::from(u64::MAX)) as u64
    })
}

/// A hexadecimal or bit literal as a number: its last 8 bytes, the first the highest.
pub(crate) fn bits_of_bytes(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0u64, |n, b| n << 8 | u64::from(*b))
}

/// A text that is a number and nothing else: an integer if it is one, else a decimal. `None` for all other texts.
pub(crate) fn exact_number(text: &[u8]) -> Option<Datum> {
    let text = std::str::from_utf8(text).ok()?.trim();
    if let Ok(n) = text.parse::<i64>() {
        return Some(Datum::Int(n));
    }
    if let Ok(n) = text.parse::<u64>() {
        return Some(Datum::UInt(n));
    }
    // Exponents belong to doubles.
    if text.contains(['e', 'E']) {
        return None;
    }
    let parsed = Decimal::parse_prefix(text.as_bytes());
    (parsed.complete && !parsed.overflow).then(|| {
        let d = parsed.value.normalized();
        match (d.scale(), d.to_i64()) {
            (0, Ok(n)) => Datum::Int(n),
            _ => Datum::Decimal(parsed.value),
        }
    })
}

fn json_to_f64(j: &Json, ctx: &EvalContext) -> Result<f64> {
    Ok(match j.root().kind() {
        JsonKind::Bool(b) => f64::from(u8::from(b)),
        JsonKind::Int(n) => n as f64,
        JsonKind::UInt(n) => n as f64,
        JsonKind::Double(d) => d,
        JsonKind::String(s) => text_to_f64(s.as_bytes(), ctx)?,
        JsonKind::Time(t) => t.to_decimal().to_f64(),
        JsonKind::Duration(d) => d.to_decimal().to_f64(),
        _ => {
            ctx.lossy(Error::truncated_wrong_value(
                "DOUBLE",
                shown(j.to_string().as_bytes()),
            ))?;
            0.0
        }
    })
}
