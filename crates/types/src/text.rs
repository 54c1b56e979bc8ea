//! Values as text, as the text protocol prints them, and back.

use crate::{
    Collation, DateFlags, Datum, Decimal, Duration, Error, FieldFlags, FieldType, Json, Result, Time,
    TimeKind, TypeCode,
};

/// Widest fixed notation of a double; longer ones take an exponent.
const MAX_FIXED_LEN: usize = 22;
/// A column's `decimal` at or over this has no fixed count of digits after the point.
const NOT_FIXED: i32 = 31;

/// A DOUBLE as MySQL prints it: the shortest digits that mean it, with an exponent from 1e15 and below 1e-15.
pub fn format_double(value: f64) -> String {
    let mut out = String::new();
    write_double(value, &mut out);
    out
}

/// A FLOAT as MySQL prints it: six significant digits.
pub fn format_float(value: f32) -> String {
    match format!("{value:.5e}").parse::<f64>() {
        Ok(rounded) => format_double(rounded),
        Err(_) => value.to_string(),
    }
}

pub(crate) fn write_double(value: f64, out: &mut String) {
    use std::fmt::Write;
    let magnitude = value.abs();
    let start = out.len();
    // Writing to a string cannot fail.
    if magnitude != 0.0 && !(1e-15..1e15).contains(&magnitude) {
        let _ = write!(out, "{value:e}");
        return;
    }
    let _ = write!(out, "{value}");
    if out.len() - start > MAX_FIXED_LEN + usize::from(value < 0.0) && magnitude < 1.0 {
        out.truncate(start);
        let _ = write!(out, "{value:e}");
    }
}

impl Datum {
    /// The value as the text protocol sends it for a column of this type; `None` for NULL.
    pub fn to_text(&self, field_type: &FieldType) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        self.write_text(field_type, &mut out).then_some(out)
    }

    /// Appends the value as the text protocol sends it for a column of this type; false, and nothing, for NULL.
    pub fn write_text(&self, field_type: &FieldType, out: &mut Vec<u8>) -> bool {
        use std::io::Write;
        let start = out.len();
        // Writing to a vector cannot fail.
        let _ = match self {
            Datum::Null => return false,
            Datum::Int(n) if field_type.tp == TypeCode::Year => write!(out, "{n:04}"),
            Datum::Int(n) => write!(out, "{n}"),
            Datum::UInt(n) => write!(out, "{n}"),
            Datum::Float(f) if (0..NOT_FIXED).contains(&field_type.decimal) => {
                write!(out, "{f:.*}", field_type.decimal as usize)
            }
            Datum::Float(f) => write!(out, "{}", format_float(*f)),
            Datum::Double(f) if (0..NOT_FIXED).contains(&field_type.decimal) => {
                write!(out, "{f:.*}", field_type.decimal as usize)
            }
            Datum::Double(f) => write!(out, "{}", format_double(*f)),
            Datum::Decimal(d) => write!(out, "{d}"),
            Datum::Bytes(b) => out.write_all(b),
            Datum::Time(t) => match time_kind(field_type.tp) {
                Some(kind) => write!(out, "{}", t.with_kind(kind)),
                None => write!(out, "{t}"),
            },
            Datum::Duration(d) => write!(out, "{d}"),
            Datum::Enum(n) => out.write_all(member(field_type, *n).as_bytes()),
            Datum::Set(bits) => {
                let members = field_type.elems.as_deref().unwrap_or(&[]);
                let mut first = true;
                for (_, name) in members
                    .iter()
                    .take(64)
                    .enumerate()
                    .filter(|(i, _)| bits >> i & 1 == 1)
                {
                    if !first {
                        out.push(b',');
                    }
                    first = false;
                    out.extend_from_slice(name.as_bytes());
                }
                Ok(())
            }
            Datum::Bit(n) => {
                let len = (field_type.flen.clamp(1, 64) as usize).div_ceil(8);
                out.write_all(&n.to_be_bytes()[8 - len..])
            }
            Datum::Json(j) => write!(out, "{j}"),
        };
        if field_type.flags.has(FieldFlags::ZEROFILL) && field_type.flen > 0 {
            zero_fill(field_type.flen as usize, start, out);
        }
        true
    }

    /// Reads a value of a column's type from text, as LOAD DATA and defaults do: strictly, so `Invalid` when it is not
    /// of the type, `OutOfRange` when a number does not fit and `TooLong` when a string does not. What is rounded
    /// (decimals to the column's scale, times to its fractional digits, fractions to integers) is rounded silently.
    pub fn parse_text(text: &[u8], field_type: &FieldType, dates: DateFlags) -> Result<Datum> {
        let fsp = field_type.decimal.clamp(0, 6) as u8;
        let as_str = || String::from_utf8_lossy(text).into_owned();
        let invalid = |what: &'static str| Error::Invalid {
            what,
            value: as_str(),
        };
        match field_type.tp {
            TypeCode::Null => Ok(Datum::Null),
            _ if field_type.is_integer() => parse_integer(text, field_type),
            TypeCode::Year => parse_year(text),
            TypeCode::Float | TypeCode::Double => {
                let number: f64 = std::str::from_utf8(text)
                    .ok()
                    .map(str::trim)
                    .filter(|t| t.ends_with(|c: char| c.is_ascii_digit() || c == '.'))
                    .and_then(|t| t.parse().ok())
                    .filter(|n: &f64| n.is_finite())
                    .ok_or_else(|| invalid("DOUBLE"))?;
                if field_type.is_unsigned() && number < 0.0 {
                    return Err(out_of_range("DOUBLE UNSIGNED", as_str()));
                }
                if field_type.tp == TypeCode::Double {
                    return Ok(Datum::Double(number));
                }
                let single = number as f32;
                if !single.is_finite() {
                    return Err(out_of_range("FLOAT", as_str()));
                }
                Ok(Datum::Float(single))
            }
            TypeCode::NewDecimal => {
                let parsed = Decimal::parse_prefix(text);
                if !parsed.complete {
                    return Err(invalid("DECIMAL"));
                }
                let (precision, scale) = field_type.decimal_shape();
                let fitted = if parsed.overflow {
                    None
                } else {
                    parsed.value.fit(precision, scale).ok()
                };
                fitted
                    .filter(|value| !(field_type.is_unsigned() && value.is_negative()))
                    .map(Datum::Decimal)
                    .ok_or_else(|| out_of_range("DECIMAL", as_str()))
            }
            TypeCode::Date | TypeCode::DateTime | TypeCode::Timestamp => {
                let kind = time_kind(field_type.tp).unwrap_or(TimeKind::DateTime);
                let parsed = Time::parse(text, kind, fsp, dates)?;
                let drops_time_only = kind == TimeKind::Date
                    && Time::parse(text, TimeKind::DateTime, 6, dates).is_ok_and(|full| !full.truncated);
                if (parsed.truncated && !drops_time_only) || parsed.offset_seconds.is_some() {
                    return Err(invalid(kind.as_str()));
                }
                Ok(Datum::Time(parsed.time))
            }
            TypeCode::Duration => {
                let parsed = Duration::parse(text, fsp)?;
                if parsed.overflow {
                    return Err(out_of_range("time", as_str()));
                }
                if parsed.truncated {
                    return Err(invalid("time"));
                }
                Ok(Datum::Duration(parsed.duration))
            }
            TypeCode::Enum => parse_enum(text, field_type).ok_or_else(|| invalid("ENUM")),
            TypeCode::Set => parse_set(text, field_type).ok_or_else(|| invalid("SET")),
            TypeCode::Bit => {
                let significant = text
                    .iter()
                    .position(|b| *b != 0)
                    .map_or(&[][..], |at| &text[at..]);
                if significant.len() > 8 {
                    return Err(out_of_range("BIT", as_str()));
                }
                let number = significant.iter().fold(0u64, |n, b| n << 8 | u64::from(*b));
                let bits = field_type.flen.clamp(1, 64) as u32;
                if bits < 64 && number >> bits != 0 {
                    return Err(out_of_range("BIT", as_str()));
                }
                Ok(Datum::Bit(number))
            }
            TypeCode::Json => Json::parse(text).map(Datum::Json),
            _ => parse_string(text, field_type),
        }
    }
}

fn time_kind(tp: TypeCode) -> Option<TimeKind> {
    match tp {
        TypeCode::Date => Some(TimeKind::Date),
        TypeCode::DateTime => Some(TimeKind::DateTime),
        TypeCode::Timestamp => Some(TimeKind::Timestamp),
        _ => None,
    }
}

fn member(field_type: &FieldType, number: u64) -> &str {
    let at = usize::try_from(number).ok().and_then(|n| n.checked_sub(1));
    field_type
        .elems
        .as_deref()
        .zip(at)
        .and_then(|(members, at)| members.get(at))
        .map_or("", String::as_str)
}

fn zero_fill(width: usize, start: usize, out: &mut Vec<u8>) {
    let len = out.len() - start;
    if len < width {
        out.splice(start..start, std::iter::repeat_n(b'0', width - len));
    }
}

fn out_of_range(what: &'static str, value: String) -> Error {
    Error::OutOfRange { what, value }
}

fn parse_integer(text: &[u8], field_type: &FieldType) -> Result<Datum> {
    let as_str = || String::from_utf8_lossy(text).into_owned();
    let parsed = Decimal::parse_prefix(text);
    if !parsed.complete {
        return Err(Error::Invalid {
            what: "integer",
            value: as_str(),
        });
    }
    let (min, max) = field_type.integer_range();
    let value = parsed.value.round_to(0);
    if parsed.overflow || value < Decimal::from(min) || value > Decimal::from(max) {
        return Err(out_of_range("integer", as_str()));
    }
    if field_type.is_unsigned() {
        value.to_u64().map(Datum::UInt)
    } else {
        value.to_i64().map(Datum::Int)
    }
}

/// 1901 to 2155 and 0; of one or two digits, 1970 to 2069 are meant.
fn parse_year(text: &[u8]) -> Result<Datum> {
    let as_str = || String::from_utf8_lossy(text).into_owned();
    let trimmed = text.trim_ascii();
    let digits = trimmed.len();
    if digits == 0 || digits > 4 || !trimmed.iter().all(u8::is_ascii_digit) {
        return Err(Error::Invalid {
            what: "YEAR",
            value: as_str(),
        });
    }
    let number = trimmed.iter().fold(0i64, |n, b| n * 10 + i64::from(b - b'0'));
    match number {
        0 if digits == 4 => Ok(Datum::Int(0)),
        0..=69 if digits <= 2 => Ok(Datum::Int(2000 + number)),
        70..=99 if digits <= 2 => Ok(Datum::Int(1900 + number)),
        1901..=2155 => Ok(Datum::Int(number)),
        _ => Err(out_of_range("YEAR", as_str())),
    }
}

fn parse_enum(text: &[u8], field_type: &FieldType) -> Option<Datum> {
    let members = field_type.elems.as_deref()?;
    if let Some(at) = find_member(text, field_type) {
        return Some(Datum::Enum(at as u64 + 1));
    }
    // A number in a text counts when no member has that name.
    let number: u64 = std::str::from_utf8(text).ok()?.trim().parse().ok()?;
    (1..=members.len() as u64)
        .contains(&number)
        .then_some(Datum::Enum(number))
}

fn parse_set(text: &[u8], field_type: &FieldType) -> Option<Datum> {
    let members = field_type.elems.as_deref()?;
    if text.is_empty() {
        return Some(Datum::Set(0));
    }
    let by_name = text.split(|b| *b == b',').try_fold(0u64, |bits, name| {
        find_member(name, field_type)
            .filter(|at| *at < 64)
            .map(|at| bits | 1 << at)
    });
    if let Some(bits) = by_name {
        return Some(Datum::Set(bits));
    }
    let number: u64 = std::str::from_utf8(text).ok()?.trim().parse().ok()?;
    let fits = members.len() >= 64 || number >> members.len() == 0;
    fits.then_some(Datum::Set(number))
}

fn find_member(name: &[u8], field_type: &FieldType) -> Option<usize> {
    let collation = field_type.collation;
    // Trailing spaces of members are dropped when the table is made.
    let name = Collation::UTF8MB4_BIN.trimmed(name);
    let members = field_type.elems.as_deref()?;
    members
        .iter()
        .position(|m| collation.compare(m.as_bytes(), name).is_eq())
}

fn parse_string(text: &[u8], field_type: &FieldType) -> Result<Datum> {
    let is_binary = field_type.is_binary_string();
    if !is_binary && std::str::from_utf8(text).is_err() {
        return Err(Error::Invalid {
            what: "string",
            value: String::from_utf8_lossy(text).into_owned(),
        });
    }
    let mut text = text;
    let is_char = field_type.tp == TypeCode::String;
    if is_char && !is_binary {
        text = Collation::UTF8MB4_BIN.trimmed(text);
    }
    let Ok(max) = usize::try_from(field_type.flen) else {
        return Ok(Datum::Bytes(text.to_vec().into()));
    };
    // Lengths of TEXT and BLOB are in bytes.
    let count_bytes = is_binary || field_type.is_blob();
    let count = |t: &[u8]| {
        if count_bytes {
            t.len()
        } else {
            t.iter().filter(|b| **b & 0xc0 != 0x80).count()
        }
    };
    if count(text) > max && !is_binary {
        // Spaces past the end are dropped without complaint.
        let excess = count(text) - max;
        let spaces = text.len() - Collation::UTF8MB4_BIN.trimmed(text).len();
        if spaces >= excess {
            text = &text[..text.len() - excess];
        }
    }
    let len = count(text);
    if len > max {
        return Err(Error::TooLong { len, max });
    }
    let mut bytes = text.to_vec();
    if is_char && is_binary {
        bytes.resize(max, 0);
    }
    Ok(Datum::Bytes(bytes.into()))
}
