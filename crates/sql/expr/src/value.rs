//! Values as other kinds of values: the conversions that happen unasked, with their warnings.

use std::cmp::Ordering;

use bytes::Bytes;
use ilmenite_types::{
    DateFlags, Datum, Decimal, Duration, FieldType, Json, Time, TimeKind, TypeCode, format_double,
    format_float,
};
use jiff::tz::{Offset, TimeZone};

use super::context::{EvalContext, StatementFacts};
use super::json;
use super::mode::SqlMode;
use super::types;
use ilmenite_error::{Error, Result};

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

/// Bytes as they stand in a message: at most 128 characters.
pub(crate) fn shown(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    text.chars().take(128).collect()
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

pub(crate) fn text_to_f64(text: &[u8], ctx: &EvalContext) -> Result<f64> {
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
        Datum::Json(j) => json::to_f64(j, ctx)?,
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
        Datum::Json(j) => f64_to_decimal(json::to_f64(j, ctx)?, ctx)?,
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
pub(crate) fn round_f64(value: f64) -> f64 {
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
        Datum::Json(j) => (round_f64(json::to_f64(j, ctx)?) as i128).clamp(-LIMIT, LIMIT),
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

/// A decimal at the digits its type shows; as it is where the type does not say.
pub(crate) fn round_decimal(d: &Decimal, decimals: i32) -> Decimal {
    match u8::try_from(decimals) {
        Ok(scale) if i32::from(scale) <= types::MAX_DECIMAL_SCALE => d.with_scale(scale),
        _ => *d,
    }
}

/// The value as text, where its type says nothing more.
pub fn to_text(value: &Datum) -> Bytes {
    match value {
        Datum::Null => Bytes::new(),
        Datum::Int(n) => n.to_string().into(),
        Datum::UInt(n) | Datum::Enum(n) | Datum::Set(n) => n.to_string().into(),
        Datum::Float(f) => format_float(*f).into(),
        Datum::Double(d) => format_double(*d).into(),
        Datum::Decimal(d) => d.to_string().into(),
        Datum::Bytes(b) => b.clone(),
        Datum::Time(t) => t.to_string().into(),
        Datum::Duration(d) => d.to_string().into(),
        Datum::Bit(n) => bit_bytes(*n, 0),
        Datum::Json(j) => json::text(j).into(),
    }
}

/// BIT(`width`) as bytes; `width` 0: as few as the number needs.
fn bit_bytes(n: u64, width: i32) -> Bytes {
    let bytes = n.to_be_bytes();
    let len = match width {
        1..=64 => (width as usize).div_ceil(8),
        _ => (64 - n.leading_zeros() as usize).div_ceil(8).max(1),
    };
    Bytes::copy_from_slice(&bytes[8 - len..])
}

/// The value as text, as a column of type `ty` shows it: names of members, leading zeros, fixed digits.
///
/// NULL gives the empty text; ask first.
pub fn text_of(value: &Datum, ty: &FieldType) -> Bytes {
    match value {
        Datum::Bytes(b) => b.clone(),
        // A decimal whose column does not say its digits, or a kind of value its type is not.
        Datum::Decimal(d) if ty.tp == TypeCode::NewDecimal => round_decimal(d, ty.decimal).to_string().into(),
        Datum::Bit(n) => bit_bytes(*n, if ty.tp == TypeCode::Bit { ty.flen } else { 0 }),
        other => other.to_text(ty).unwrap_or_default().into(),
    }
}

/// Which irregular dates pass when a value is stored or cast under this mode.
pub(crate) fn date_flags(mode: SqlMode) -> DateFlags {
    DateFlags {
        zero_date: !mode.has(SqlMode::NO_ZERO_DATE),
        zero_in_date: !mode.has(SqlMode::NO_ZERO_IN_DATE),
        invalid_dates: mode.has(SqlMode::ALLOW_INVALID_DATES),
    }
}

/// Which irregular dates pass when a value is only read: zeros do.
pub(crate) fn reading_flags(mode: SqlMode) -> DateFlags {
    DateFlags {
        invalid_dates: mode.has(SqlMode::ALLOW_INVALID_DATES),
        ..DateFlags::ZEROS
    }
}

/// A constant as a time to compare a column with.
pub(crate) enum TimeConstant {
    Time(Time),
    Invalid,
    /// It depends on the session's time zone.
    AtRunTime,
}

pub(crate) fn time_of_constant(value: &Datum) -> TimeConstant {
    let flags = DateFlags::ZEROS;
    let parsed = match value {
        Datum::Bytes(b) => match Time::parse(b, TimeKind::DateTime, 6, flags) {
            Ok(parsed) if parsed.offset_seconds.is_some() => return TimeConstant::AtRunTime,
            Ok(parsed) => Ok(parsed.time),
            Err(e) => Err(e),
        },
        Datum::Int(n) => Time::from_number(*n, TimeKind::DateTime, 0, flags),
        Datum::UInt(n) => match i64::try_from(*n) {
            Ok(n) => Time::from_number(n, TimeKind::DateTime, 0, flags),
            Err(_) => return TimeConstant::Invalid,
        },
        Datum::Decimal(d) => Time::from_decimal(d, TimeKind::DateTime, 6, flags),
        Datum::Time(t) => Ok(*t),
        _ => return TimeConstant::Invalid,
    };
    parsed.map_or(TimeConstant::Invalid, TimeConstant::Time)
}

pub(crate) fn duration_of_constant(value: &Datum) -> Option<Duration> {
    match value {
        Datum::Bytes(b) => Duration::parse(b, 6)
            .ok()
            .filter(|p| !p.truncated)
            .map(|p| p.duration),
        Datum::Int(n) => Duration::from_number(*n, 0)
            .ok()
            .filter(|p| !p.overflow)
            .map(|p| p.duration),
        Datum::Duration(d) => Some(*d),
        _ => None,
    }
}

/// Today as the session's clock says.
pub(crate) fn today(ctx: &StatementFacts) -> Result<Time> {
    Ok(Time::from_unix_micros(
        ctx.now_micros,
        &ctx.time_zone,
        TimeKind::Date,
        0,
    )?)
}

/// A time with an offset from UTC as the session's clocks show it.
fn from_offset(time: Time, offset_seconds: Option<i32>, ctx: &StatementFacts) -> Result<Time> {
    let Some(seconds) = offset_seconds else {
        return Ok(time);
    };
    let offset = Offset::from_seconds(seconds).map_err(Error::unknown_time_zone)?;
    Ok(time.convert_zone(&TimeZone::fixed(offset), &ctx.time_zone)?)
}

/// The value as a DATE or DATETIME of `kind` at `fsp` digits; `None`, with a warning, when it is none.
pub(crate) fn to_time_of(
    value: &Datum,
    kind: TimeKind,
    fsp: u8,
    flags: DateFlags,
    ctx: &EvalContext,
) -> Result<Option<Time>> {
    let incorrect = |text: &[u8]| Error::incorrect_time(kind.as_str(), shown(text));
    let parsed = match value {
        Datum::Null => return Ok(None),
        Datum::Time(t) => {
            let t = t.with_kind(kind);
            let rounded = if kind == TimeKind::Date {
                Ok(t)
            } else {
                t.round_to_fsp(fsp)
            };
            rounded.and_then(|t| t.check(flags).map(|()| t))
        }
        Datum::Duration(d) => {
            let day = today(ctx)?.with_kind(TimeKind::DateTime).with_fsp(6);
            day.add_micros(d.micros())
                .map(|t| t.with_fsp(6))
                .and_then(|t| {
                    if kind == TimeKind::Date {
                        Ok(t)
                    } else {
                        t.round_to_fsp(fsp)
                    }
                })
                .map(|t| t.with_kind(kind))
        }
        Datum::Bytes(b) => {
            // A DATE from a text with a time of day drops it without a word.
            match Time::parse(
                b,
                TimeKind::DateTime,
                if kind == TimeKind::Date { 6 } else { fsp },
                flags,
            ) {
                Ok(parsed) => {
                    if parsed.truncated {
                        ctx.lossy(Error::truncated_wrong_value(kind.as_str(), shown(b)))?;
                    }
                    let time = from_offset(parsed.time, parsed.offset_seconds, ctx)?;
                    Ok(time.with_kind(kind))
                }
                Err(e) => Err(e),
            }
        }
        Datum::Int(n) => Time::from_number(*n, kind, fsp, flags),
        Datum::UInt(n) => Time::from_number(i64::try_from(*n).unwrap_or(i64::MAX), kind, fsp, flags),
        Datum::Decimal(d) => Time::from_decimal(d, kind, fsp, flags),
        Datum::Float(_) | Datum::Double(_) => Time::from_decimal(&to_decimal(value, ctx)?, kind, fsp, flags),
        Datum::Json(j) => {
            let text = json::unquoted(j);
            return to_time_of(&Datum::Bytes(text.into()), kind, fsp, flags, ctx);
        }
        Datum::Enum(_) | Datum::Set(_) | Datum::Bit(_) => {
            let n = to_i64(value, ctx)?;
            Time::from_number(n, kind, fsp, flags)
        }
    };
    match parsed {
        Ok(time) => Ok(Some(time)),
        Err(_) => {
            ctx.lossy(incorrect(&to_text(value)))?;
            Ok(None)
        }
    }
}

/// The value as a DATETIME for reading: zero dates pass.
pub fn to_time(value: &Datum, ctx: &EvalContext) -> Result<Option<Time>> {
    if let Datum::Time(t) = value {
        return Ok(Some(*t));
    }
    to_time_of(value, TimeKind::DateTime, 6, reading_flags(ctx.sql_mode), ctx)
}

/// The value as a TIME; `None`, with a warning, when it is none.
pub fn to_duration(value: &Datum, ctx: &EvalContext) -> Result<Option<Duration>> {
    let parsed = match value {
        Datum::Null => return Ok(None),
        Datum::Duration(d) => return Ok(Some(*d)),
        Datum::Time(t) => return Ok(Some(t.time_of_day())),
        Datum::Bytes(b) => Duration::parse(b, 6),
        Datum::Int(n) => Duration::from_number(*n, 0),
        Datum::UInt(n) => Duration::from_number(i64::try_from(*n).unwrap_or(i64::MAX), 0),
        Datum::Json(j) => return to_duration(&Datum::Bytes(json::unquoted(j).into()), ctx),
        other => Duration::from_decimal(&to_decimal(other, ctx)?, 6),
    };
    let warning = || Error::truncated_wrong_value("time", shown(&to_text(value)));
    match parsed {
        Ok(parsed) => {
            if parsed.truncated || parsed.overflow {
                ctx.lossy(warning())?;
            }
            Ok(Some(parsed.duration))
        }
        Err(_) => {
            ctx.lossy(warning())?;
            Ok(None)
        }
    }
}

pub(crate) fn compare_json(l: &Datum, r: &Datum) -> Result<Ordering> {
    match (l, r) {
        (Datum::Json(l), Datum::Json(r)) => Ok(json::compare(l, r)),
        (Datum::Json(l), other) => Ok(json::compare(l, &json_scalar(other)?)),
        (other, Datum::Json(r)) => Ok(json::compare(&json_scalar(other)?, r)),
        _ => Err(Error::bug("neither side of a JSON comparison is JSON")),
    }
}

/// A value that is not JSON as a JSON scalar.
pub(crate) fn json_scalar(value: &Datum) -> Result<Json> {
    json::from_datum(value)
}
