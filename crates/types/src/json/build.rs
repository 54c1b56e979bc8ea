//! Documents from text and from values.

use bytes::Bytes;
use serde_json::Value;

use super::*;
use crate::uvarint::write_uvarint;
use crate::{Duration, Time, TimeKind, TypeCode};

impl Json {
    /// From JSON text. `Invalid` names the text's fault and its place.
    pub fn parse(text: &[u8]) -> Result<Json> {
        let value: Value = serde_json::from_slice(text).map_err(|e| Error::Invalid {
            what: "JSON",
            value: e.to_string(),
        })?;
        Json::from_value(&value)
    }

    pub fn from_value(value: &Value) -> Result<Json> {
        let mut out = vec![kind_of(value)];
        write_value(value, 0, &mut out)?;
        Ok(Json(out.into()))
    }

    pub fn null() -> Json {
        Json(Bytes::from_static(&[LITERAL, LITERAL_NULL]))
    }

    pub fn bool(value: bool) -> Json {
        Json(Bytes::from_static(if value {
            &[LITERAL, LITERAL_TRUE]
        } else {
            &[LITERAL, LITERAL_FALSE]
        }))
    }

    pub fn int(value: i64) -> Json {
        scalar(INT64, &value.to_le_bytes())
    }

    pub fn uint(value: u64) -> Json {
        scalar(UINT64, &value.to_le_bytes())
    }

    /// NaN and infinities, which JSON does not have, are refused.
    pub fn double(value: f64) -> Result<Json> {
        if !value.is_finite() {
            return Err(Error::Invalid {
                what: "JSON",
                value: value.to_string(),
            });
        }
        Ok(scalar(FLOAT64, &value.to_le_bytes()))
    }

    pub fn string(value: &str) -> Json {
        let mut out = vec![STRING];
        write_uvarint(value.len() as u64, &mut out);
        out.extend_from_slice(value.as_bytes());
        Json(out.into())
    }

    /// Bytes of another SQL type, such as a BLOB.
    pub fn opaque(code: TypeCode, value: &[u8]) -> Json {
        let mut out = vec![OPAQUE, code as u8];
        write_uvarint(value.len() as u64, &mut out);
        out.extend_from_slice(value);
        Json(out.into())
    }

    pub fn time(value: &Time) -> Json {
        let kind = match value.kind() {
            TimeKind::Date => DATE,
            TimeKind::DateTime => DATETIME,
            TimeKind::Timestamp => TIMESTAMP,
        };
        scalar(kind, &value.to_packed().to_le_bytes())
    }

    pub fn duration(value: &Duration) -> Json {
        let mut out = vec![DURATION];
        out.extend_from_slice(&value.nanos().to_le_bytes());
        out.extend_from_slice(&u32::from(value.fsp()).to_le_bytes());
        Json(out.into())
    }

    /// An array of values. Nesting deeper than `MAX_DEPTH` is refused.
    pub fn array(elements: &[JsonRef<'_>]) -> Result<Json> {
        let mut out = vec![ARRAY];
        write_container(None, elements.iter().map(|v| v.kind), &mut out, |i, out| {
            out.extend_from_slice(elements[i].data);
            Ok(())
        })?;
        checked_depth(Json(out.into()))
    }

    /// An object of members; of several with one key, the last counts. Nesting deeper than `MAX_DEPTH` is refused.
    pub fn object(members: &[(&str, JsonRef<'_>)]) -> Result<Json> {
        let mut order: Vec<usize> = (0..members.len()).collect();
        // Stable, so that of equal keys the last one given comes last, and is the one kept.
        order.sort_by(|a, b| members[*a].0.cmp(members[*b].0));
        let kept: Vec<usize> = order
            .iter()
            .enumerate()
            .filter(|(at, i)| {
                order
                    .get(at + 1)
                    .is_none_or(|next| members[*next].0 != members[**i].0)
            })
            .map(|(_, i)| *i)
            .collect();
        let keys: Vec<&str> = kept.iter().map(|i| members[*i].0).collect();
        let mut out = vec![OBJECT];
        let kinds = kept.iter().map(|i| members[*i].1.kind);
        write_container(Some(&keys), kinds, &mut out, |i, out| {
            out.extend_from_slice(members[kept[i]].1.data);
            Ok(())
        })?;
        checked_depth(Json(out.into()))
    }

    /// The document as a tree; values that JSON text does not have (dates, bytes) become strings.
    pub fn to_value(&self) -> Value {
        to_value(&self.root())
    }
}

fn checked_depth(json: Json) -> Result<Json> {
    if json.root().depth() > MAX_DEPTH {
        return Err(too_deep());
    }
    Ok(json)
}

fn too_deep() -> Error {
    Error::Invalid {
        what: "JSON",
        value: "the document exceeds the maximum depth of 100".into(),
    }
}

fn to_value(json: &JsonRef<'_>) -> Value {
    match json.kind() {
        JsonKind::Null => Value::Null,
        JsonKind::Bool(b) => b.into(),
        JsonKind::Int(n) => n.into(),
        JsonKind::UInt(n) => n.into(),
        JsonKind::Double(n) => n.into(),
        JsonKind::String(s) => s.into(),
        JsonKind::Array => json.elements().map(|e| to_value(&e)).collect(),
        JsonKind::Object => json
            .members()
            .into_iter()
            .map(|(k, v)| (k.to_string(), to_value(&v)))
            .collect(),
        JsonKind::Opaque(..) | JsonKind::Time(_) | JsonKind::Duration(_) => json.unquoted().into(),
    }
}

fn scalar(kind: u8, payload: &[u8]) -> Json {
    let mut out = Vec::with_capacity(1 + payload.len());
    out.push(kind);
    out.extend_from_slice(payload);
    Json(out.into())
}

fn kind_of(value: &Value) -> u8 {
    match value {
        Value::Null | Value::Bool(_) => LITERAL,
        Value::Number(n) if n.is_i64() => INT64,
        Value::Number(n) if n.is_u64() => UINT64,
        Value::Number(_) => FLOAT64,
        Value::String(_) => STRING,
        Value::Array(_) => ARRAY,
        Value::Object(_) => OBJECT,
    }
}

/// Appends a value's payload, without its type byte. `depth` is how many containers it is in.
fn write_value(value: &Value, depth: usize, out: &mut Vec<u8>) -> Result<()> {
    if depth >= MAX_DEPTH {
        return Err(too_deep());
    }
    match value {
        Value::Null => out.push(LITERAL_NULL),
        Value::Bool(true) => out.push(LITERAL_TRUE),
        Value::Bool(false) => out.push(LITERAL_FALSE),
        Value::Number(n) => {
            let word = if let Some(i) = n.as_i64() {
                i as u64
            } else if let Some(u) = n.as_u64() {
                u
            } else {
                n.as_f64().unwrap_or(0.0).to_bits()
            };
            out.extend_from_slice(&word.to_le_bytes());
        }
        Value::String(s) => {
            write_uvarint(s.len() as u64, out);
            out.extend_from_slice(s.as_bytes());
        }
        Value::Array(elements) => {
            write_container(None, elements.iter().map(kind_of), out, |i, out| {
                write_value(&elements[i], depth + 1, out)
            })?;
        }
        Value::Object(map) => {
            let mut members: Vec<(&str, &Value)> = map.iter().map(|(k, v)| (k.as_str(), v)).collect();
            members.sort_by(|a, b| a.0.cmp(b.0));
            let keys: Vec<&str> = members.iter().map(|m| m.0).collect();
            write_container(
                Some(&keys),
                members.iter().map(|m| kind_of(m.1)),
                out,
                |i, out| write_value(members[i].1, depth + 1, out),
            )?;
        }
    }
    Ok(())
}

/// Appends an object's (with sorted `keys`) or array's payload; `write` appends the payload of the i-th value.
fn write_container(
    keys: Option<&[&str]>,
    kinds: impl ExactSizeIterator<Item = u8>,
    out: &mut Vec<u8>,
    mut write: impl FnMut(usize, &mut Vec<u8>) -> Result<()>,
) -> Result<()> {
    let too_large = || Error::OutOfRange {
        what: "JSON",
        value: "an object key over 65535 bytes or a document over 4 GiB".into(),
    };
    let word = |n: usize| u32::try_from(n).map(u32::to_le_bytes).map_err(|_| too_large());
    let start = out.len();
    let count = kinds.len();
    out.extend_from_slice(&word(count)?);
    out.extend_from_slice(&[0; 4]);
    let value_entries = HEADER_LEN + keys.map_or(0, |k| k.len() * KEY_ENTRY_LEN);
    let mut offset = value_entries + count * VALUE_ENTRY_LEN;
    for key in keys.unwrap_or(&[]) {
        let len = u16::try_from(key.len()).map_err(|_| too_large())?;
        out.extend_from_slice(&word(offset)?);
        out.extend_from_slice(&len.to_le_bytes());
        offset += key.len();
    }
    out.resize(start + value_entries + count * VALUE_ENTRY_LEN, 0);
    for key in keys.unwrap_or(&[]) {
        out.extend_from_slice(key.as_bytes());
    }
    for (i, kind) in kinds.enumerate() {
        let entry = start + value_entries + i * VALUE_ENTRY_LEN;
        let at = out.len();
        write(i, out)?;
        out[entry] = kind;
        if kind == LITERAL {
            // Literals live in their entry.
            out[entry + 1] = out.get(at).copied().unwrap_or(LITERAL_NULL);
            out.truncate(at);
        } else {
            let offset = word(at - start)?;
            out[entry + 1..entry + VALUE_ENTRY_LEN].copy_from_slice(&offset);
        }
    }
    let size = word(out.len() - start)?;
    out[start + 4..start + 8].copy_from_slice(&size);
    Ok(())
}
