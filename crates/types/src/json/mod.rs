//! JSON in TiDB's binary form: a type byte and a payload.
//!
//! An object or array is `count, size` (u32 each), for objects the key entries (offset u32, length u16), the value
//! entries (type byte, u32 offset or inlined literal), then keys and values; offsets count from the start of the
//! payload. Keys are stored in byte order, which is what binary search goes by, and shown as MySQL shows them: shorter
//! keys first. All integers are little-endian.

mod build;
mod compare;
mod path;
#[cfg(test)]
mod tests;
mod text;

use bytes::Bytes;

pub use path::{ArrayIndex, JsonPath, PathLeg};

use crate::uvarint::read_uvarint;
use crate::{Error, Result};

/// Deepest nesting allowed, as in MySQL.
pub const MAX_DEPTH: usize = 100;

const OBJECT: u8 = 0x01;
const ARRAY: u8 = 0x03;
const LITERAL: u8 = 0x04;
const INT64: u8 = 0x09;
const UINT64: u8 = 0x0a;
const FLOAT64: u8 = 0x0b;
const STRING: u8 = 0x0c;
const OPAQUE: u8 = 0x0d;
const DATE: u8 = 0x0e;
const DATETIME: u8 = 0x0f;
const TIMESTAMP: u8 = 0x10;
const DURATION: u8 = 0x11;

const LITERAL_NULL: u8 = 0;
const LITERAL_TRUE: u8 = 1;
const LITERAL_FALSE: u8 = 2;

const HEADER_LEN: usize = 8;
const KEY_ENTRY_LEN: usize = 6;
const VALUE_ENTRY_LEN: usize = 5;

/// A JSON document as stored. Always well-formed: every way to make one checks.
#[derive(Debug, Clone)]
pub struct Json(Bytes);

/// A value inside a document.
#[derive(Debug, Clone, Copy)]
pub struct JsonRef<'a> {
    kind: u8,
    data: &'a [u8],
}

/// A scalar, or what container a value is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum JsonKind<'a> {
    Null,
    Bool(bool),
    Int(i64),
    UInt(u64),
    Double(f64),
    String(&'a str),
    /// A value of another SQL type: its type code and bytes.
    Opaque(u8, &'a [u8]),
    Time(crate::Time),
    Duration(crate::Duration),
    Array,
    Object,
}

impl Json {
    /// From the stored form, which is checked throughout.
    pub fn from_bytes(bytes: Bytes) -> Result<Json> {
        let Some((kind, data)) = bytes.split_first() else {
            return Err(corrupt("empty"));
        };
        // No value is visited twice in a document laid out properly, and each takes a byte at least.
        let mut budget = bytes.len() + 1;
        let len = check(*kind, data, 0, &mut budget)?;
        if len != data.len() {
            return Err(corrupt("bytes after its end"));
        }
        Ok(Json(bytes))
    }

    /// The stored form: type byte and payload.
    pub fn as_slice(&self) -> &[u8] {
        &self.0
    }

    pub fn as_bytes(&self) -> &Bytes {
        &self.0
    }

    /// The document's outermost value.
    pub fn root(&self) -> JsonRef<'_> {
        match self.0.split_first() {
            Some((kind, data)) => JsonRef { kind: *kind, data },
            None => JsonRef {
                kind: LITERAL,
                data: &[LITERAL_NULL],
            },
        }
    }
}

impl PartialEq for Json {
    /// As SQL compares: 1 equals 1.0.
    fn eq(&self, other: &Self) -> bool {
        self.root().compare(&other.root()) == std::cmp::Ordering::Equal
    }
}

impl<'a> JsonRef<'a> {
    /// The value's own bytes, as a document.
    pub fn to_json(&self) -> Json {
        let mut bytes = Vec::with_capacity(1 + self.data.len());
        bytes.push(self.kind);
        bytes.extend_from_slice(self.data);
        Json(bytes.into())
    }

    pub fn kind(&self) -> JsonKind<'a> {
        let word = || u64_at(self.data, 0).unwrap_or(0);
        match self.kind {
            OBJECT => JsonKind::Object,
            ARRAY => JsonKind::Array,
            INT64 => JsonKind::Int(word() as i64),
            UINT64 => JsonKind::UInt(word()),
            FLOAT64 => JsonKind::Double(f64::from_bits(word())),
            STRING => JsonKind::String(text_of(self.data)),
            OPAQUE => {
                let (code, rest) = self.data.split_first().unwrap_or((&0, &[]));
                JsonKind::Opaque(*code, prefixed(rest).unwrap_or(&[]))
            }
            DATE | DATETIME | TIMESTAMP => {
                let kind = match self.kind {
                    DATE => crate::TimeKind::Date,
                    DATETIME => crate::TimeKind::DateTime,
                    _ => crate::TimeKind::Timestamp,
                };
                match crate::Time::from_packed(word(), kind, 6) {
                    Ok(time) => JsonKind::Time(time),
                    Err(_) => JsonKind::Null,
                }
            }
            DURATION => match crate::Duration::from_nanos(word() as i64, 6) {
                Ok(duration) => JsonKind::Duration(duration),
                Err(_) => JsonKind::Null,
            },
            _ => match self.data.first() {
                Some(&LITERAL_TRUE) => JsonKind::Bool(true),
                Some(&LITERAL_FALSE) => JsonKind::Bool(false),
                _ => JsonKind::Null,
            },
        }
    }

    /// What JSON_TYPE says.
    pub fn type_name(&self) -> &'static str {
        match self.kind() {
            JsonKind::Null => "NULL",
            JsonKind::Bool(_) => "BOOLEAN",
            JsonKind::Int(_) => "INTEGER",
            JsonKind::UInt(_) => "UNSIGNED INTEGER",
            JsonKind::Double(_) => "DOUBLE",
            JsonKind::String(_) => "STRING",
            JsonKind::Opaque(code, _) => match code {
                249..=252 => "BLOB",
                16 => "BIT",
                246 => "DECIMAL",
                _ => "OPAQUE",
            },
            JsonKind::Time(time) => match time.kind() {
                crate::TimeKind::Date => "DATE",
                _ => "DATETIME",
            },
            JsonKind::Duration(_) => "TIME",
            JsonKind::Array => "ARRAY",
            JsonKind::Object => "OBJECT",
        }
    }

    /// JSON_LENGTH: members of an object, elements of an array, 1 for a scalar.
    pub fn len(&self) -> usize {
        match self.kind {
            OBJECT | ARRAY => self.count(),
            _ => 1,
        }
    }

    /// Is it an object or array without members?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// JSON_DEPTH: 1 for scalars and empty containers.
    pub fn depth(&self) -> usize {
        1 + match self.kind {
            OBJECT | ARRAY => (0..self.count())
                .map(|i| self.value(i).depth())
                .max()
                .unwrap_or(0),
            _ => 0,
        }
    }

    fn count(&self) -> usize {
        u32_at(self.data, 0).unwrap_or(0)
    }

    /// The elements of an array; of anything else, nothing.
    pub fn elements(&self) -> impl Iterator<Item = JsonRef<'a>> + use<'a> {
        let this = *self;
        let count = if self.kind == ARRAY { self.count() } else { 0 };
        (0..count).map(move |i| this.value(i))
    }

    /// An array's element.
    pub fn element(&self, index: usize) -> Option<JsonRef<'a>> {
        (self.kind == ARRAY && index < self.count()).then(|| self.value(index))
    }

    /// The members of an object in the order shown: shorter keys first, then by bytes.
    pub fn members(&self) -> Vec<(&'a str, JsonRef<'a>)> {
        let count = if self.kind == OBJECT { self.count() } else { 0 };
        let mut members: Vec<_> = (0..count).map(|i| (self.key(i), self.value(i))).collect();
        members.sort_by(|(a, _), (b, _)| a.len().cmp(&b.len()).then_with(|| a.cmp(b)));
        members
    }

    /// An object's member by key.
    pub fn member(&self, key: &str) -> Option<JsonRef<'a>> {
        if self.kind != OBJECT {
            return None;
        }
        let (mut low, mut high) = (0, self.count());
        while low < high {
            let middle = (low + high) / 2;
            match self.key(middle).cmp(key) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
                std::cmp::Ordering::Equal => return Some(self.value(middle)),
            }
        }
        None
    }

    /// The key at a place in stored order.
    fn key(&self, i: usize) -> &'a str {
        let at = HEADER_LEN + i * KEY_ENTRY_LEN;
        let offset = u32_at(self.data, at).unwrap_or(0);
        let len = self
            .data
            .get(at + 4..at + 6)
            .map_or(0, |b| usize::from(u16::from_le_bytes([b[0], b[1]])));
        let bytes = self.data.get(offset..offset + len).unwrap_or(&[]);
        std::str::from_utf8(bytes).unwrap_or("")
    }

    /// The value at a place in stored order.
    fn value(&self, i: usize) -> JsonRef<'a> {
        let entries = match self.kind {
            OBJECT => HEADER_LEN + self.count() * KEY_ENTRY_LEN,
            _ => HEADER_LEN,
        };
        let at = entries + i * VALUE_ENTRY_LEN;
        let null = JsonRef {
            kind: LITERAL,
            data: &[LITERAL_NULL],
        };
        let Some(&kind) = self.data.get(at) else {
            return null;
        };
        if kind == LITERAL {
            return JsonRef {
                kind,
                data: &self.data[at + 1..at + 2],
            };
        }
        let Some(data) = u32_at(self.data, at + 1).and_then(|offset| self.data.get(offset..)) else {
            return null;
        };
        match payload_len(kind, data) {
            Ok(len) => JsonRef {
                kind,
                data: &data[..len],
            },
            Err(_) => null,
        }
    }
}

/// Bytes of the document (type byte and payload) at the start of `bytes`.
pub fn encoded_len(bytes: &[u8]) -> Result<usize> {
    match bytes.split_first() {
        Some((kind, data)) => Ok(1 + payload_len(*kind, data)?),
        None => Err(corrupt("empty")),
    }
}

/// Bytes of a payload at the start of `data`; they are there.
fn payload_len(kind: u8, data: &[u8]) -> Result<usize> {
    let len = match kind {
        OBJECT | ARRAY => u32_at(data, 4)
            .filter(|size| *size >= HEADER_LEN)
            .ok_or_else(|| corrupt("no size"))?,
        LITERAL => 1,
        INT64 | UINT64 | FLOAT64 | DATE | DATETIME | TIMESTAMP => 8,
        DURATION => 12,
        STRING => string_len(data)?,
        OPAQUE => 1 + string_len(data.get(1..).ok_or_else(|| corrupt("cut short"))?)?,
        other => return Err(corrupt(&format!("unknown type {other:#x}"))),
    };
    if len > data.len() {
        return Err(corrupt("cut short"));
    }
    Ok(len)
}

/// Checks a value and all inside it; returns its payload's length.
fn check(kind: u8, data: &[u8], depth: usize, budget: &mut usize) -> Result<usize> {
    if depth > MAX_DEPTH {
        return Err(corrupt("nested too deeply"));
    }
    *budget = budget
        .checked_sub(1)
        .ok_or_else(|| corrupt("values that share bytes"))?;
    let len = payload_len(kind, data)?;
    let data = &data[..len];
    match kind {
        LITERAL if data[0] > LITERAL_FALSE => Err(corrupt("unknown literal")),
        STRING => match prefixed(data).map(std::str::from_utf8) {
            Some(Ok(_)) => Ok(len),
            _ => Err(corrupt("a string that is not UTF-8")),
        },
        DATE | DATETIME | TIMESTAMP => {
            let packed = u64_at(data, 0).unwrap_or(u64::MAX);
            crate::Time::from_packed(packed, crate::TimeKind::DateTime, 6).map(|_| len)
        }
        DURATION => {
            let nanos = u64_at(data, 0).unwrap_or(u64::MAX) as i64;
            crate::Duration::from_nanos(nanos, 6).map(|_| len)
        }
        OBJECT | ARRAY => {
            let count = u32_at(data, 0).unwrap_or(0);
            let per_member = VALUE_ENTRY_LEN + if kind == OBJECT { KEY_ENTRY_LEN } else { 0 };
            let entries_end = count
                .checked_mul(per_member)
                .and_then(|n| n.checked_add(HEADER_LEN))
                .filter(|end| *end <= len)
                .ok_or_else(|| corrupt("more members than bytes"))?;
            let this = JsonRef { kind, data };
            if kind == OBJECT {
                let mut last: Option<&str> = None;
                for i in 0..count {
                    let at = HEADER_LEN + i * KEY_ENTRY_LEN;
                    let offset = u32_at(data, at).unwrap_or(0);
                    let key_len = usize::from(u16::from_le_bytes([data[at + 4], data[at + 5]]));
                    let valid = offset >= entries_end
                        && data
                            .get(offset..offset + key_len)
                            .is_some_and(|key| std::str::from_utf8(key).is_ok());
                    if !valid {
                        return Err(corrupt("a key out of bounds"));
                    }
                    let key = this.key(i);
                    if last.is_some_and(|last| last >= key) {
                        return Err(corrupt("keys out of order"));
                    }
                    last = Some(key);
                }
            }
            for i in 0..count {
                let at = entries_end - (count - i) * VALUE_ENTRY_LEN;
                let (kind, word) = (data[at], u32_at(data, at + 1).unwrap_or(0));
                if kind == LITERAL {
                    check(kind, &data[at + 1..at + 2], depth + 1, budget)?;
                } else {
                    let inner = data
                        .get(word..)
                        .filter(|_| word >= entries_end)
                        .ok_or_else(|| corrupt("a value out of bounds"))?;
                    check(kind, inner, depth + 1, budget)?;
                }
            }
            Ok(len)
        }
        _ => Ok(len),
    }
}

fn string_len(data: &[u8]) -> Result<usize> {
    let (len, used) = read_uvarint(data)?;
    usize::try_from(len)
        .ok()
        .and_then(|len| len.checked_add(used))
        .ok_or_else(|| corrupt("a length too large"))
}

/// The bytes after a length.
fn prefixed(data: &[u8]) -> Option<&[u8]> {
    let (len, used) = read_uvarint(data).ok()?;
    data.get(used..)?.get(..usize::try_from(len).ok()?)
}

fn text_of(data: &[u8]) -> &str {
    prefixed(data)
        .and_then(|bytes| std::str::from_utf8(bytes).ok())
        .unwrap_or("")
}

fn u32_at(data: &[u8], at: usize) -> Option<usize> {
    let bytes = data.get(at..)?.first_chunk::<4>()?;
    Some(u32::from_le_bytes(*bytes) as usize)
}

fn u64_at(data: &[u8], at: usize) -> Option<u64> {
    let bytes = data.get(at..)?.first_chunk::<8>()?;
    Some(u64::from_le_bytes(*bytes))
}

fn corrupt(detail: &str) -> Error {
    Error::Corrupt {
        what: "json",
        detail: detail.into(),
    }
}
