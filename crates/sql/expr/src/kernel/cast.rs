//! CAST and CONVERT: what a value is converted to, and how.

use ilmenite_error::{Error, Result};
use ilmenite_types::{Charset, Datum, Decimal, FieldType, TimeKind, TypeCode};

use crate::context::EvalContext;
use crate::types::{self, EvalType};
use crate::value::{self, json};

/// What a value is converted to.
#[derive(Debug, Clone, PartialEq)]
pub enum CastTarget {
    Signed,
    Unsigned,
    Double,
    Float,
    Decimal {
        precision: u8,
        scale: u8,
    },
    /// Text of at most `length` characters in `charset`.
    Char {
        length: Option<usize>,
        charset: &'static Charset,
    },
    /// Bytes; padded with zeros to `length` when CAST to BINARY(n) says so.
    Binary {
        length: Option<usize>,
    },
    Time {
        kind: TimeKind,
        fsp: u8,
    },
    Duration {
        fsp: u8,
    },
    Year,
    /// Texts are parsed.
    Json,
    /// Texts become JSON strings.
    JsonValue,
}

impl CastTarget {
    /// As CAST's second argument shows it.
    pub(crate) fn name(&self) -> String {
        let with = |name: &str, n: Option<usize>| n.map_or_else(|| name.into(), |n| format!("{name}({n})"));
        let fsp = |name: &str, fsp: u8| {
            if fsp == 0 {
                name.into()
            } else {
                format!("{name}({fsp})")
            }
        };
        match self {
            CastTarget::Signed => "SIGNED".into(),
            CastTarget::Unsigned => "UNSIGNED".into(),
            CastTarget::Double => "DOUBLE".into(),
            CastTarget::Float => "FLOAT".into(),
            CastTarget::Decimal { precision, scale } => format!("DECIMAL({precision},{scale})"),
            CastTarget::Char { length, .. } => with("CHAR", *length),
            CastTarget::Binary { length } => with("BINARY", *length),
            CastTarget::Time {
                kind: TimeKind::Date, ..
            } => "DATE".into(),
            CastTarget::Time { fsp: n, .. } => fsp("DATETIME", *n),
            CastTarget::Duration { fsp: n } => fsp("TIME", *n),
            CastTarget::Year => "YEAR".into(),
            CastTarget::Json | CastTarget::JsonValue => "JSON".into(),
        }
    }

    /// The conversion to a result of type `ty`.
    pub(crate) fn for_type(ty: &FieldType) -> CastTarget {
        let fsp = ty.decimal.clamp(0, 6) as u8;
        match types::eval_type(ty) {
            EvalType::Int if ty.tp == TypeCode::Year => CastTarget::Year,
            EvalType::Int if ty.is_unsigned() => CastTarget::Unsigned,
            EvalType::Int => CastTarget::Signed,
            EvalType::Real if ty.tp == TypeCode::Float => CastTarget::Float,
            EvalType::Real => CastTarget::Double,
            EvalType::Decimal => {
                let (whole, scale) = types::digits(ty);
                CastTarget::Decimal {
                    precision: (whole + scale).clamp(1, types::MAX_DECIMAL_PRECISION) as u8,
                    scale: scale as u8,
                }
            }
            EvalType::Time => CastTarget::Time {
                kind: if ty.tp == TypeCode::Date {
                    TimeKind::Date
                } else {
                    TimeKind::DateTime
                },
                fsp,
            },
            EvalType::Duration => CastTarget::Duration { fsp },
            EvalType::Json => CastTarget::JsonValue,
            EvalType::String if ty.collation.is_binary() => CastTarget::Binary { length: None },
            EvalType::String => CastTarget::Char {
                length: None,
                charset: ty.charset(),
            },
        }
    }
}

pub(crate) fn checked_fsp(fsp: u64, what: &str) -> Result<u8> {
    match u8::try_from(fsp) {
        Ok(fsp) if fsp <= 6 => Ok(fsp),
        _ => Err(Error::too_big_precision(fsp, what, 6)),
    }
}

/// The value of type `from` as `target`.
pub(crate) fn cast(x: &Datum, from: &FieldType, target: &CastTarget, ctx: &EvalContext) -> Result<Datum> {
    if *x == Datum::Null {
        return Ok(Datum::Null);
    }
    Ok(match target {
        CastTarget::Signed => to_signed(x, ctx)?,
        CastTarget::Unsigned => to_unsigned(x, ctx)?,
        CastTarget::Double => Datum::Double(value::to_f64(x, ctx)?),
        CastTarget::Float => {
            let narrow = value::to_f64(x, ctx)? as f32;
            if narrow.is_infinite() {
                return Err(Error::value_out_of_range(
                    "FLOAT",
                    format!("cast({} as FLOAT)", show(x)),
                ));
            }
            Datum::Float(narrow)
        }
        CastTarget::Decimal { precision, scale } => {
            let exact = value::to_decimal(x, ctx)?;
            Datum::Decimal(fit_decimal(&exact, *precision, *scale, x, ctx)?)
        }
        CastTarget::Char { length, charset } => to_char(x, from, *length, charset, ctx)?,
        CastTarget::Binary { length } => {
            let text = value::text_of(x, from);
            match length {
                Some(n) if text.len() > *n => {
                    ctx.lossy(Error::truncated_wrong_value(
                        format!("BINARY({n})"),
                        value::shown(&text),
                    ))?;
                    Datum::Bytes(text.slice(..*n))
                }
                Some(n) if text.len() < *n => {
                    if *n as u64 > ctx.max_allowed_packet {
                        ctx.warn(Error::allowed_packet_overflowed(
                            "cast_as_binary",
                            ctx.max_allowed_packet,
                        ));
                        return Ok(Datum::Null);
                    }
                    let mut padded = text.to_vec();
                    padded.resize(*n, 0);
                    Datum::Bytes(padded.into())
                }
                _ => Datum::Bytes(text),
            }
        }
        CastTarget::Time { kind, fsp } => {
            let flags = value::date_flags(ctx.sql_mode);
            match value::to_time_of(&by_name(x, from), *kind, *fsp, flags, ctx)? {
                Some(time) => Datum::Time(time),
                None => Datum::Null,
            }
        }
        CastTarget::Duration { fsp } => match value::to_duration(&by_name(x, from), ctx)? {
            Some(duration) => Datum::Duration(duration.round_to_fsp(*fsp)),
            None => Datum::Null,
        },
        CastTarget::Year => {
            let number = match x {
                Datum::Time(t) => i64::from(t.year()),
                other => value::to_i64(other, ctx)?,
            };
            match year(number, matches!(x, Datum::Bytes(_))) {
                Some(year) => Datum::Int(year),
                None => {
                    ctx.lossy(Error::truncated_wrong_value("YEAR", show(x)))?;
                    Datum::Null
                }
            }
        }
        CastTarget::Json => json::parse_datum(&by_name(x, from), from)?,
        CastTarget::JsonValue => Datum::Json(json::from_datum(&by_name(x, from))?),
    })
}

/// Members of ENUM and SET by name, everything else as it is.
fn by_name(x: &Datum, from: &FieldType) -> Datum {
    match x {
        Datum::Enum(_) | Datum::Set(_) => Datum::Bytes(value::text_of(x, from)),
        other => other.clone(),
    }
}

fn show(x: &Datum) -> String {
    value::shown(&value::to_text(x))
}

/// A year as YEAR stores it: 1901 to 2155 or 0; two digits are 1970 to 2069. The text '0' is 2000, the number 0 is 0.
pub(crate) fn year(number: i64, from_text: bool) -> Option<i64> {
    Some(match number {
        0 if from_text => 2000,
        0 => 0,
        1..=69 => number + 2000,
        70..=99 => number + 1900,
        1901..=2155 => number,
        _ => return None,
    })
}

fn to_signed(x: &Datum, ctx: &EvalContext) -> Result<Datum> {
    let number = value::to_i128(x, ctx)?;
    if let Ok(n) = i64::try_from(number) {
        return Ok(Datum::Int(n));
    }
    // Integers keep their bits; what was never an integer is clamped.
    Ok(Datum::Int(match x {
        Datum::UInt(n) | Datum::Bit(n) | Datum::Set(n) => *n as i64,
        Datum::Bytes(_) if number > 0 => {
            ctx.lossy(Error::truncated_wrong_value("INTEGER", show(x)))?;
            number.min(i128::from(u64::MAX)) as u64 as i64
        }
        _ => {
            ctx.lossy(Error::truncated_wrong_value("INTEGER", show(x)))?;
            if number < 0 { i64::MIN } else { i64::MAX }
        }
    }))
}

fn to_unsigned(x: &Datum, ctx: &EvalContext) -> Result<Datum> {
    let number = value::to_i128(x, ctx)?;
    if let Ok(n) = u64::try_from(number) {
        return Ok(Datum::UInt(n));
    }
    Ok(Datum::UInt(match x {
        Datum::Int(n) => *n as u64,
        Datum::Decimal(_) if number < 0 => {
            ctx.lossy(Error::truncated_wrong_value("UNSIGNED", show(x)))?;
            0
        }
        _ if number < 0 => {
            ctx.lossy(Error::truncated_wrong_value("INTEGER", show(x)))?;
            number.max(i128::from(i64::MIN)) as i64 as u64
        }
        _ => {
            ctx.lossy(Error::truncated_wrong_value("INTEGER", show(x)))?;
            u64::MAX
        }
    }))
}

fn fit_decimal(exact: &Decimal, precision: u8, scale: u8, x: &Datum, ctx: &EvalContext) -> Result<Decimal> {
    if let Ok(fitted) = exact.fit(precision, scale) {
        return Ok(fitted);
    }
    let shown = format!("CAST({} AS DECIMAL({precision},{scale}))", show(x));
    ctx.lossy(Error::value_out_of_range("DECIMAL", shown))?;
    let max = Decimal::max_value(precision, scale);
    Ok(if exact.is_negative() { max.negated() } else { max })
}

fn to_char(
    x: &Datum,
    from: &FieldType,
    length: Option<usize>,
    charset: &Charset,
    ctx: &EvalContext,
) -> Result<Datum> {
    let mut text = value::text_of(x, from);
    // Bytes become characters only if they are some.
    let bytes_in = from.collation.is_binary() && matches!(x, Datum::Bytes(_) | Datum::Bit(_));
    if bytes_in && charset.name != "latin1" && std::str::from_utf8(&text).is_err() {
        ctx.lossy(Error::invalid_character_string(charset.name, hex_of(&text)))?;
        return Ok(Datum::Null);
    }
    if let Some(length) = length
        && let Some((cut, _)) = String::from_utf8_lossy(&text).char_indices().nth(length)
        && cut < text.len()
    {
        ctx.lossy(Error::truncated_wrong_value(
            format!("CHAR({length})"),
            value::shown(&text),
        ))?;
        text = text.slice(..cut);
    }
    Ok(Datum::Bytes(text))
}

/// The start of bytes that are not text, as messages show them.
pub(crate) fn hex_of(bytes: &[u8]) -> String {
    let from = std::str::from_utf8(bytes).err().map_or(0, |e| e.valid_up_to());
    let shown: String = bytes[from..]
        .iter()
        .take(6)
        .map(|b| format!("\\x{b:02X}"))
        .collect();
    let more = if bytes.len() > from + 6 { "..." } else { "" };
    format!("{shown}{more}")
}
