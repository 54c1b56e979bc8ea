//! SQL values on the wire: column definitions, text rows, binary rows, and the parameters of prepared statements.
//!
//! Source of the formats: MySQL internals, "Text Protocol" and "Binary Protocol Value".

use ilmenite_planner::ResultColumn;
use ilmenite_types::{DateFlags, Datum, Decimal, Duration, FieldFlags, FieldType, Time, TimeKind, TypeCode};

use crate::packet::{Malformed, Reader, put_lenenc_bytes, put_lenenc_int};

const BINARY_COLLATION: u16 = 63;
/// "So many digits as the value has": what MySQL reports for FLOAT and DOUBLE without a scale.
const NOT_FIXED_DECIMALS: u8 = 31;

/// The type code on the wire: all BLOB kinds are one there, and VARCHAR goes by its newer number.
fn wire_type(tp: TypeCode) -> TypeCode {
    match tp {
        TypeCode::TinyBlob | TypeCode::MediumBlob | TypeCode::LongBlob => TypeCode::Blob,
        TypeCode::Varchar => TypeCode::VarString,
        TypeCode::Enum | TypeCode::Set => TypeCode::String,
        other => other,
    }
}

/// `collation`: the session's for results, or `None` when it wants text as it is stored.
pub(crate) fn put_column(out: &mut Vec<u8>, column: &ResultColumn, collation: Option<u16>) {
    let ft = &column.field_type;
    for part in [
        "def",
        &column.schema,
        &column.table,
        &column.original_table,
        &column.name,
        &column.original_name,
    ] {
        put_lenenc_bytes(out, part.as_bytes());
    }
    put_lenenc_int(out, 12);
    let textual = ft.is_string() || matches!(ft.tp, TypeCode::Enum | TypeCode::Set);
    let own = match textual && !ft.is_binary_string() {
        true => collation.unwrap_or_else(|| ft.collation.id()),
        false => BINARY_COLLATION,
    };
    out.extend_from_slice(&own.to_le_bytes());
    out.extend_from_slice(&display_bytes(ft, own != BINARY_COLLATION).to_le_bytes());
    out.push(wire_type(ft.tp) as u8);
    let mut flags = ft.flags;
    match ft.tp {
        TypeCode::Enum => flags.set(FieldFlags::ENUM, true),
        TypeCode::Set => flags.set(FieldFlags::SET, true),
        _ if ft.is_blob() => flags.set(FieldFlags::BLOB, true),
        _ => {}
    }
    if own == BINARY_COLLATION {
        flags.set(FieldFlags::BINARY, true);
    }
    out.extend_from_slice(&(flags.0 as u16).to_le_bytes());
    out.push(match ft.tp {
        TypeCode::Float | TypeCode::Double if ft.decimal < 0 => NOT_FIXED_DECIMALS,
        _ => ft.decimal.clamp(0, 31) as u8,
    });
    out.extend_from_slice(&[0, 0]);
}

/// The column's width in bytes: characters times four for text.
fn display_bytes(ft: &FieldType, text: bool) -> u32 {
    let default = match ft.tp {
        TypeCode::Tiny => 4,
        TypeCode::Short => 6,
        TypeCode::Int24 => 9,
        TypeCode::Long => 11,
        TypeCode::LongLong => 20,
        TypeCode::Float => 12,
        TypeCode::Double => 22,
        TypeCode::Year => 4,
        TypeCode::Date => 10,
        TypeCode::Duration => 10,
        TypeCode::DateTime | TypeCode::Timestamp => 19,
        TypeCode::NewDecimal => 66,
        TypeCode::TinyBlob => 255,
        TypeCode::Blob => 65_535,
        TypeCode::MediumBlob => 16_777_215,
        TypeCode::LongBlob | TypeCode::Json => u32::MAX,
        _ => 255,
    };
    if ft.flen < 0 || ft.is_blob() {
        return default;
    }
    let width = ft.flen as u32;
    if text { width.saturating_mul(4) } else { width }
}

pub(crate) fn put_text_row(
    out: &mut Vec<u8>,
    row: &[Datum],
    columns: &[ResultColumn],
    scratch: &mut Vec<u8>,
) {
    for (datum, column) in row.iter().zip(columns) {
        put_text_value(out, datum, &column.field_type, scratch);
    }
}

fn put_text_value(out: &mut Vec<u8>, datum: &Datum, ft: &FieldType, scratch: &mut Vec<u8>) {
    match datum {
        Datum::Null => out.push(0xfb),
        Datum::Bytes(b) => put_lenenc_bytes(out, b),
        _ => {
            scratch.clear();
            datum.write_text(ft, scratch);
            put_lenenc_bytes(out, scratch);
        }
    }
}

pub(crate) fn put_binary_row(
    out: &mut Vec<u8>,
    row: &[Datum],
    columns: &[ResultColumn],
    scratch: &mut Vec<u8>,
) {
    out.push(0);
    let bitmap = out.len();
    out.resize(bitmap + (columns.len() + 9) / 8, 0);
    for (i, (datum, column)) in row.iter().zip(columns).enumerate() {
        if *datum == Datum::Null {
            out[bitmap + (i + 2) / 8] |= 1 << ((i + 2) % 8);
        } else {
            put_binary_value(out, datum, &column.field_type, scratch);
        }
    }
}

/// The integer a datum stands for, for columns declared as integers.
fn as_integer(datum: &Datum) -> i64 {
    match datum {
        Datum::Int(n) => *n,
        Datum::UInt(n) | Datum::Enum(n) | Datum::Set(n) | Datum::Bit(n) => *n as i64,
        Datum::Double(x) => x.round() as i64,
        Datum::Float(x) => x.round() as i64,
        other => {
            let text = other
                .to_text(&FieldType::new(TypeCode::VarString))
                .unwrap_or_default();
            std::str::from_utf8(&text)
                .ok()
                .and_then(|t| t.parse().ok())
                .unwrap_or(0)
        }
    }
}

fn as_double(datum: &Datum) -> f64 {
    match datum {
        Datum::Double(x) => *x,
        Datum::Float(x) => f64::from(*x),
        Datum::UInt(n) => *n as f64,
        Datum::Decimal(d) => d.to_f64(),
        other => as_integer(other) as f64,
    }
}

fn put_binary_value(out: &mut Vec<u8>, datum: &Datum, ft: &FieldType, scratch: &mut Vec<u8>) {
    match ft.tp {
        TypeCode::Tiny => out.push(as_integer(datum) as u8),
        TypeCode::Short | TypeCode::Year => out.extend_from_slice(&(as_integer(datum) as u16).to_le_bytes()),
        TypeCode::Long | TypeCode::Int24 => out.extend_from_slice(&(as_integer(datum) as u32).to_le_bytes()),
        TypeCode::LongLong => out.extend_from_slice(&as_integer(datum).to_le_bytes()),
        TypeCode::Float => out.extend_from_slice(&(as_double(datum) as f32).to_le_bytes()),
        TypeCode::Double => out.extend_from_slice(&as_double(datum).to_le_bytes()),
        TypeCode::Date | TypeCode::DateTime | TypeCode::Timestamp => match datum {
            Datum::Time(time) => put_binary_time(out, time),
            _ => out.push(0),
        },
        TypeCode::Duration => match datum {
            Datum::Duration(duration) => put_binary_duration(out, duration),
            _ => out.push(0),
        },
        _ => put_text_value(out, datum, ft, scratch),
    }
}

fn put_binary_time(out: &mut Vec<u8>, t: &Time) {
    let date = [t.year() as u8, (t.year() >> 8) as u8, t.month(), t.day()];
    let clock = [t.hour(), t.minute(), t.second()];
    match (date == [0; 4], clock == [0; 3], t.microsecond()) {
        (true, true, 0) => out.push(0),
        (_, true, 0) => {
            out.push(4);
            out.extend_from_slice(&date);
        }
        (_, _, micros) => {
            out.push(if micros == 0 { 7 } else { 11 });
            out.extend_from_slice(&date);
            out.extend_from_slice(&clock);
            if micros != 0 {
                out.extend_from_slice(&micros.to_le_bytes());
            }
        }
    }
}

fn put_binary_duration(out: &mut Vec<u8>, d: &Duration) {
    let total = d.micros().unsigned_abs();
    if total == 0 {
        out.push(0);
        return;
    }
    let (seconds, micros) = (total / 1_000_000, (total % 1_000_000) as u32);
    out.push(if micros == 0 { 8 } else { 12 });
    out.push((d.micros() < 0) as u8);
    out.extend_from_slice(&((seconds / 86_400) as u32).to_le_bytes());
    out.extend_from_slice(&[
        (seconds / 3600 % 24) as u8,
        (seconds / 60 % 60) as u8,
        (seconds % 60) as u8,
    ]);
    if micros != 0 {
        out.extend_from_slice(&micros.to_le_bytes());
    }
}

/// A parameter's type as the client bound it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ParamType {
    pub code: u8,
    pub unsigned: bool,
}

/// One parameter's value. Text and numbers come as they are; the statement converts them as it would a literal.
pub(crate) fn read_param(r: &mut Reader, param: ParamType) -> Result<Datum, Malformed> {
    let int = |value: i64, unsigned_value: u64| match param.unsigned {
        true => Datum::UInt(unsigned_value),
        false => Datum::Int(value),
    };
    Ok(match param.code {
        6 => Datum::Null,
        1 => r.uint(1).map(|v| int(v as u8 as i8 as i64, v))?,
        2 | 13 => r.uint(2).map(|v| int(v as u16 as i16 as i64, v))?,
        3 | 9 => r.uint(4).map(|v| int(v as u32 as i32 as i64, v))?,
        8 => r.uint(8).map(|v| int(v as i64, v))?,
        4 => Datum::Float(f32::from_bits(r.uint(4)? as u32)),
        5 => Datum::Double(f64::from_bits(r.uint(8)?)),
        7 | 10 | 12 => read_time(r, param.code)?,
        11 => read_duration(r)?,
        0 | 246 => {
            let text = r.lenenc_bytes()?;
            let text = std::str::from_utf8(&text).map_err(|_| Malformed)?;
            Datum::Decimal(Decimal::parse(text).map_err(|_| Malformed)?)
        }
        15 | 16 | 245 | 247..=255 => Datum::Bytes(r.lenenc_bytes()?),
        _ => return Err(Malformed),
    })
}

fn read_time(r: &mut Reader, code: u8) -> Result<Datum, Malformed> {
    let n = r.u8()?;
    let (mut date, mut clock, mut micros) = ([0u64; 3], [0u64; 3], 0);
    if n >= 4 {
        date = [r.uint(2)?, r.uint(1)?, r.uint(1)?];
    }
    if n >= 7 {
        clock = [r.uint(1)?, r.uint(1)?, r.uint(1)?];
    }
    if n >= 11 {
        micros = r.uint(4)?;
    }
    if !matches!(n, 0 | 4 | 7 | 11) {
        return Err(Malformed);
    }
    let fields = [date[0], date[1], date[2], clock[0], clock[1], clock[2]].map(|n| n as u16);
    let kind = if code == 10 {
        TimeKind::Date
    } else {
        TimeKind::DateTime
    };
    let fsp = if micros != 0 { 6 } else { 0 };
    let time = Time::from_fields(kind, fields, micros as u32, fsp, DateFlags::ZEROS);
    time.map(Datum::Time).map_err(|_| Malformed)
}

fn read_duration(r: &mut Reader) -> Result<Datum, Malformed> {
    let n = r.u8()?;
    if !matches!(n, 0 | 8 | 12) {
        return Err(Malformed);
    }
    if n == 0 {
        return Duration::from_micros(0, 0)
            .map(Datum::Duration)
            .map_err(|_| Malformed);
    }
    let negative = r.u8()? != 0;
    let days = r.uint(4)?;
    let (h, m, s) = (r.uint(1)?, r.uint(1)?, r.uint(1)?);
    let micros = if n == 12 { r.uint(4)? } else { 0 };
    let total = ((((days * 24 + h) * 60 + m) * 60 + s) * 1_000_000 + micros) as i64;
    let signed = if negative { -total } else { total };
    Duration::from_micros(signed, if micros != 0 { 6 } else { 0 })
        .map(Datum::Duration)
        .map_err(|_| Malformed)
}
