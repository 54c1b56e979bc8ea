//! How the values of one column look in rows and in keys, worked out once from its type.

use bytes::Bytes;
use jiff::tz::TimeZone;

use crate::memcomparable::{
    BYTES_FLAG, DECIMAL_FLAG, DURATION_FLAG, FLOAT_FLAG, INT_FLAG, JSON_FLAG, NULL_FLAG, UINT_FLAG, corrupt,
    decode_bytes, encode_bytes, f64_bytes, i64_bytes, read_f64, read_i64, read_u64, skip_one,
};
use ilmenite_types::{
    Collation, Datum, Decimal, Duration, Error, FieldType, Json, Result, Time, TimeKind, TypeCode,
};

/// A column's number within its table; never reused.
pub type ColumnId = i64;

/// What a column's values are, as far as encoding goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    Int,
    UInt,
    Float,
    Double,
    Decimal { precision: u8, scale: u8 },
    Time { kind: TimeKind, fsp: u8 },
    Duration { fsp: u8 },
    Enum,
    Set,
    Bit,
    Str,
    Json,
}

/// A column's encoding: its shape, and for strings the collation and how long a prefix an index takes.
#[derive(Debug, Clone)]
pub struct ColumnCodec {
    pub(crate) shape: Shape,
    pub(crate) collation: Collation,
    /// Prefix length; in bytes when `prefix_in_bytes`, otherwise in characters.
    prefix_len: Option<usize>,
    prefix_in_bytes: bool,
    /// The sort key alone does not give the string back.
    pub(crate) needs_restoring: bool,
}

impl ColumnCodec {
    pub fn new(field_type: &FieldType) -> Result<ColumnCodec> {
        ColumnCodec::with_prefix(field_type, None)
    }

    /// For an index on the first `prefix_len` characters (bytes for binary strings) of a column.
    pub fn with_prefix(field_type: &FieldType, prefix_len: Option<usize>) -> Result<ColumnCodec> {
        let fsp = field_type.decimal.clamp(0, 6) as u8;
        let shape = match field_type.tp {
            _ if field_type.is_integer() && field_type.is_unsigned() => Shape::UInt,
            _ if field_type.is_integer() => Shape::Int,
            TypeCode::Year => Shape::Int,
            TypeCode::Float => Shape::Float,
            TypeCode::Double => Shape::Double,
            TypeCode::NewDecimal => {
                let (precision, scale) = field_type.decimal_shape();
                ilmenite_types::decimal::bin_size(precision, scale)?;
                Shape::Decimal { precision, scale }
            }
            TypeCode::Date => Shape::Time {
                kind: TimeKind::Date,
                fsp: 0,
            },
            TypeCode::DateTime => Shape::Time {
                kind: TimeKind::DateTime,
                fsp,
            },
            TypeCode::Timestamp => Shape::Time {
                kind: TimeKind::Timestamp,
                fsp,
            },
            TypeCode::Duration => Shape::Duration { fsp },
            TypeCode::Enum => Shape::Enum,
            TypeCode::Set => Shape::Set,
            TypeCode::Bit => Shape::Bit,
            TypeCode::Json => Shape::Json,
            _ if field_type.is_string() => Shape::Str,
            other => {
                return Err(Error::Invalid {
                    what: "column type",
                    value: format!("{other:?}"),
                });
            }
        };
        let collation = if shape == Shape::Str && !field_type.is_binary_string() {
            field_type.collation
        } else {
            Collation::BINARY
        };
        if !collation.is_known() {
            return Err(Error::Invalid {
                what: "collation",
                value: collation.name().into(),
            });
        }
        let is_text = shape == Shape::Str && collation != Collation::BINARY;
        let is_varchar = matches!(field_type.tp, TypeCode::Varchar | TypeCode::VarString);
        Ok(ColumnCodec {
            shape,
            collation,
            prefix_len: prefix_len.filter(|_| shape == Shape::Str),
            prefix_in_bytes: !is_text || field_type.charset().name == "ascii",
            needs_restoring: is_text
                && (is_varchar || !collation.is_bin())
                && collation.name() != "utf8mb4_0900_bin",
        })
    }

    /// Does an index take a prefix of the column only?
    pub(crate) fn has_prefix(&self) -> bool {
        self.prefix_len.is_some()
    }

    /// The part of a string that an index on a prefix takes: by characters, or by bytes for binary strings.
    pub(crate) fn truncate<'a>(&self, text: &'a [u8]) -> &'a [u8] {
        let Some(max) = self.prefix_len else {
            return text;
        };
        if text.len() <= max {
            return text;
        }
        if self.prefix_in_bytes {
            return &text[..max];
        }
        // Characters begin at every byte that is not a continuation.
        let end = text
            .iter()
            .enumerate()
            .filter(|(_, b)| **b & 0xc0 != 0x80)
            .nth(max)
            .map_or(text.len(), |(at, _)| at);
        &text[..end]
    }

    /// Appends a value as a row's cell holds it. TIMESTAMPs are taken to be in `zone`, or in UTC without one.
    /// `Invalid` when the value is not of the column's type; NULL has no cell.
    pub fn encode_cell(&self, value: &Datum, zone: Option<&TimeZone>, out: &mut Vec<u8>) -> Result<()> {
        match (self.shape, value) {
            (Shape::Int, Datum::Int(n)) => put_int(*n, out),
            (Shape::Int, Datum::UInt(n)) => {
                put_int(i64::try_from(*n).map_err(|_| self.mismatch(value))?, out)
            }
            (Shape::UInt, Datum::UInt(n)) => put_uint(*n, out),
            (Shape::UInt, Datum::Int(n)) => {
                put_uint(u64::try_from(*n).map_err(|_| self.mismatch(value))?, out)
            }
            (Shape::Float | Shape::Double, Datum::Float(f)) => {
                out.extend_from_slice(&f64_bytes(f64::from(*f)));
            }
            (Shape::Float, Datum::Double(f)) => out.extend_from_slice(&f64_bytes(f64::from(*f as f32))),
            (Shape::Double, Datum::Double(f)) => out.extend_from_slice(&f64_bytes(*f)),
            (Shape::Decimal { precision, scale }, Datum::Decimal(d)) => d.encode(precision, scale, out)?,
            (Shape::Time { kind, .. }, Datum::Time(t)) => put_uint(stored_time(t, kind, zone)?, out),
            (Shape::Duration { .. }, Datum::Duration(d)) => put_int(d.nanos(), out),
            (Shape::Enum, Datum::Enum(n)) | (Shape::Set, Datum::Set(n)) | (Shape::Bit, Datum::Bit(n)) => {
                put_uint(*n, out);
            }
            (Shape::Str, Datum::Bytes(b)) => out.extend_from_slice(b),
            (Shape::Json, Datum::Json(j)) => out.extend_from_slice(j.as_slice()),
            _ => return Err(self.mismatch(value)),
        }
        Ok(())
    }

    /// Reads a row's cell. Strings and JSON are slices of `row`, of which `cell` must be a part. TIMESTAMPs are given
    /// in `zone`, or left in UTC without one.
    pub fn decode_cell(&self, cell: &[u8], row: &Bytes, zone: Option<&TimeZone>) -> Result<Datum> {
        let bad_float = || corrupt("a float is cut short");
        Ok(match self.shape {
            Shape::Int => Datum::Int(get_int(cell)?),
            Shape::UInt => Datum::UInt(get_uint(cell)?),
            Shape::Float => Datum::Float(read_f64(cell).ok_or_else(bad_float)? as f32),
            Shape::Double => Datum::Double(read_f64(cell).ok_or_else(bad_float)?),
            Shape::Decimal { .. } => Datum::Decimal(Decimal::decode(cell)?.0),
            Shape::Time { kind, fsp } => Datum::Time(shown_time(get_uint(cell)?, kind, fsp, zone)?),
            Shape::Duration { fsp } => Datum::Duration(Duration::from_nanos(get_int(cell)?, fsp)?),
            Shape::Enum => Datum::Enum(get_uint(cell)?),
            Shape::Set => Datum::Set(get_uint(cell)?),
            Shape::Bit => Datum::Bit(get_uint(cell)?),
            Shape::Str => Datum::Bytes(row.slice_ref(cell)),
            Shape::Json => Datum::Json(Json::from_bytes(row.slice_ref(cell))?),
        })
    }

    /// Appends a cell's value as a key holds it. `scratch` is for sort keys.
    pub(crate) fn cell_to_key(&self, cell: &[u8], scratch: &mut Vec<u8>, out: &mut Vec<u8>) -> Result<()> {
        match self.shape {
            Shape::Int => put_flagged(INT_FLAG, i64_bytes(get_int(cell)?), out),
            Shape::UInt | Shape::Time { .. } | Shape::Enum | Shape::Set | Shape::Bit => {
                put_flagged(UINT_FLAG, get_uint(cell)?.to_be_bytes(), out);
            }
            Shape::Float | Shape::Double => {
                let bytes = cell
                    .first_chunk::<8>()
                    .ok_or_else(|| corrupt("a float is cut short"))?;
                put_flagged(FLOAT_FLAG, *bytes, out);
            }
            Shape::Decimal { precision, scale } => match cell {
                [p, s, ..] if (*p, *s) == (precision, scale) => {
                    let len = 2 + ilmenite_types::decimal::bin_size(precision, scale)?;
                    let bytes = cell.get(..len).ok_or_else(|| corrupt("a decimal is cut short"))?;
                    out.push(DECIMAL_FLAG);
                    out.extend_from_slice(bytes);
                }
                // Written under another definition of the column: brought to the one that the index sorts by.
                _ => {
                    let (value, ..) = Decimal::decode(cell)?;
                    out.push(DECIMAL_FLAG);
                    value.encode(precision, scale, out)?;
                }
            },
            Shape::Duration { .. } => put_flagged(DURATION_FLAG, i64_bytes(get_int(cell)?), out),
            Shape::Str => self.string_to_key(cell, scratch, out),
            Shape::Json => {
                out.push(JSON_FLAG);
                out.extend_from_slice(cell);
            }
        }
        Ok(())
    }

    fn string_to_key(&self, text: &[u8], scratch: &mut Vec<u8>, out: &mut Vec<u8>) {
        let text = self.truncate(text);
        out.push(BYTES_FLAG);
        if self.collation.is_bin() {
            encode_bytes(self.collation.trimmed(text), out);
        } else {
            scratch.clear();
            self.collation.sort_key(text, scratch);
            encode_bytes(scratch, out);
        }
    }

    /// Appends a value as a key holds it, NULL too: flag and body, strings truncated to the prefix and turned into
    /// sort keys. TIMESTAMPs are taken to be in `zone`, or in UTC without one.
    pub fn encode_key(&self, value: &Datum, zone: Option<&TimeZone>, out: &mut Vec<u8>) -> Result<()> {
        match (self.shape, value) {
            (_, Datum::Null) => out.push(NULL_FLAG),
            (Shape::Int, Datum::Int(n)) => put_flagged(INT_FLAG, i64_bytes(*n), out),
            (Shape::Str, Datum::Bytes(b)) => self.string_to_key(b, &mut Vec::new(), out),
            _ => {
                let mut cell = Vec::new();
                self.encode_cell(value, zone, &mut cell)?;
                self.cell_to_key(&cell, &mut Vec::new(), out)?;
            }
        }
        Ok(())
    }

    /// Reads the value at the start of `key`, and returns it with the bytes it took. A string is given as its sort
    /// key, which is the string itself only under `_bin` collations (trailing spaces aside).
    pub fn decode_key(&self, key: &[u8], zone: Option<&TimeZone>) -> Result<(Datum, usize)> {
        let len = skip_one(key)?;
        let (flag, body) = (key[0], &key[1..len]);
        let uint = || read_u64(body).ok_or_else(|| corrupt("a value is cut short"));
        let int = || read_i64(body).ok_or_else(|| corrupt("a value is cut short"));
        let float = || read_f64(body).ok_or_else(|| corrupt("a value is cut short"));
        let value = match (self.shape, flag) {
            (_, NULL_FLAG) => Datum::Null,
            (Shape::Int, INT_FLAG) => Datum::Int(int()?),
            (Shape::UInt, UINT_FLAG) => Datum::UInt(uint()?),
            (Shape::Float, FLOAT_FLAG) => Datum::Float(float()? as f32),
            (Shape::Double, FLOAT_FLAG) => Datum::Double(float()?),
            (Shape::Decimal { .. }, DECIMAL_FLAG) => Datum::Decimal(Decimal::decode(body)?.0),
            (Shape::Time { kind, fsp }, UINT_FLAG) => Datum::Time(shown_time(uint()?, kind, fsp, zone)?),
            (Shape::Duration { fsp }, DURATION_FLAG) => Datum::Duration(Duration::from_nanos(int()?, fsp)?),
            (Shape::Enum, UINT_FLAG) => Datum::Enum(uint()?),
            (Shape::Set, UINT_FLAG) => Datum::Set(uint()?),
            (Shape::Bit, UINT_FLAG) => Datum::Bit(uint()?),
            (Shape::Str, BYTES_FLAG) => {
                let mut text = Vec::with_capacity(body.len());
                decode_bytes(body, &mut text)?;
                Datum::Bytes(text.into())
            }
            (Shape::Json, JSON_FLAG) => Datum::Json(Json::from_bytes(Bytes::copy_from_slice(body))?),
            _ => return Err(corrupt("a value of another type than the column's")),
        };
        Ok((value, len))
    }

    /// A value as stored, in `zone` if it is a TIMESTAMP.
    pub(crate) fn localized(&self, value: &Datum, zone: Option<&TimeZone>) -> Result<Datum> {
        match (self.shape, value, zone) {
            (
                Shape::Time {
                    kind: TimeKind::Timestamp,
                    ..
                },
                Datum::Time(time),
                Some(zone),
            ) => Ok(Datum::Time(time.convert_zone(&TimeZone::UTC, zone)?)),
            _ => Ok(value.clone()),
        }
    }

    /// Appends a key's part (flag and body) as a row's cell; false, and nothing, for NULL.
    pub(crate) fn key_to_cell(&self, part: &[u8], out: &mut Vec<u8>) -> Result<bool> {
        let (value, _) = self.decode_key(part, None)?;
        if matches!(value, Datum::Null) {
            return Ok(false);
        }
        self.encode_cell(&value, None, out)?;
        Ok(true)
    }

    fn mismatch(&self, value: &Datum) -> Error {
        Error::Invalid {
            what: "column",
            value: format!("{value:?} for a column of {:?}", self.shape),
        }
    }
}

/// The packed form as stored: a TIMESTAMP in UTC.
fn stored_time(time: &Time, kind: TimeKind, zone: Option<&TimeZone>) -> Result<u64> {
    match zone {
        Some(zone) if kind == TimeKind::Timestamp => Ok(time.convert_zone(zone, &TimeZone::UTC)?.to_packed()),
        _ => Ok(time.with_kind(kind).to_packed()),
    }
}

fn shown_time(packed: u64, kind: TimeKind, fsp: u8, zone: Option<&TimeZone>) -> Result<Time> {
    let time = Time::from_packed(packed, kind, fsp)?;
    match zone {
        Some(zone) if kind == TimeKind::Timestamp => time.convert_zone(&TimeZone::UTC, zone),
        _ => Ok(time),
    }
}

fn put_flagged(flag: u8, body: [u8; 8], out: &mut Vec<u8>) {
    let mut bytes = [flag; 9];
    bytes[1..].copy_from_slice(&body);
    out.extend_from_slice(&bytes);
}

/// Appends an integer in the fewest of 1, 2, 4 or 8 little-endian bytes.
pub(crate) fn put_int(n: i64, out: &mut Vec<u8>) {
    if let Ok(n) = i8::try_from(n) {
        out.push(n as u8);
    } else if let Ok(n) = i16::try_from(n) {
        out.extend_from_slice(&n.to_le_bytes());
    } else if let Ok(n) = i32::try_from(n) {
        out.extend_from_slice(&n.to_le_bytes());
    } else {
        out.extend_from_slice(&n.to_le_bytes());
    }
}

/// Like [`put_int`], unsigned.
pub(crate) fn put_uint(n: u64, out: &mut Vec<u8>) {
    if let Ok(n) = u8::try_from(n) {
        out.push(n);
    } else if let Ok(n) = u16::try_from(n) {
        out.extend_from_slice(&n.to_le_bytes());
    } else if let Ok(n) = u32::try_from(n) {
        out.extend_from_slice(&n.to_le_bytes());
    } else {
        out.extend_from_slice(&n.to_le_bytes());
    }
}

pub(crate) fn get_int(cell: &[u8]) -> Result<i64> {
    match cell {
        [a] => Ok(i64::from(*a as i8)),
        [a, b] => Ok(i64::from(i16::from_le_bytes([*a, *b]))),
        [a, b, c, d] => Ok(i64::from(i32::from_le_bytes([*a, *b, *c, *d]))),
        _ => match <[u8; 8]>::try_from(cell) {
            Ok(bytes) => Ok(i64::from_le_bytes(bytes)),
            Err(_) => Err(corrupt("an integer of an odd length")),
        },
    }
}

pub(crate) fn get_uint(cell: &[u8]) -> Result<u64> {
    match cell {
        [a] => Ok(u64::from(*a)),
        [a, b] => Ok(u64::from(u16::from_le_bytes([*a, *b]))),
        [a, b, c, d] => Ok(u64::from(u32::from_le_bytes([*a, *b, *c, *d]))),
        _ => match <[u8; 8]>::try_from(cell) {
            Ok(bytes) => Ok(u64::from_le_bytes(bytes)),
            Err(_) => Err(corrupt("an integer of an odd length")),
        },
    }
}
