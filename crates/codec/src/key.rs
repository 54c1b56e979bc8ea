//! Keys of rows, index entries and schema metadata.
//!
//! - row: `t` table id `_r` handle; an integer handle is 8 bytes, any other the encoded primary key;
//! - index entry: `t` table id `_i` index id values…, and the handle when the values do not decide alone;
//! - metadata: `m` name, type flag, and for a hash the field.
//!
//! Ids are order-preserving integers. Source: TiDB's `tablecodec` and `meta` packages.

use bytes::Bytes;

use crate::bytes::{decode_i64, encode_bytes, encode_i64, encode_u64};
use crate::{Error, Result};

/// `t` and a table id.
pub const TABLE_PREFIX_LEN: usize = 9;
/// `t`, table id, `_r`.
pub const RECORD_PREFIX_LEN: usize = 11;
/// `t`, table id, `_i`, index id.
pub const INDEX_PREFIX_LEN: usize = 19;

/// What identifies a row within its table, and ends its key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Handle {
    /// An integer primary key, or the hidden row id of a table without a clustered key.
    Int(i64),
    /// The encoded columns of any other clustered primary key.
    Common(Bytes),
}

impl Handle {
    /// Appends the handle as a row's key ends with it.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Handle::Int(n) => encode_i64(*n, out),
            Handle::Common(bytes) => out.extend_from_slice(bytes),
        }
    }
}

/// Appends `t` and the table's id: what all keys of a table begin with.
pub fn put_table_prefix(table: i64, out: &mut Vec<u8>) {
    out.push(b't');
    encode_i64(table, out);
}

pub fn table_prefix(table: i64) -> Vec<u8> {
    let mut out = Vec::with_capacity(TABLE_PREFIX_LEN);
    put_table_prefix(table, &mut out);
    out
}

pub fn record_prefix(table: i64) -> Vec<u8> {
    let mut out = Vec::with_capacity(RECORD_PREFIX_LEN);
    put_table_prefix(table, &mut out);
    out.extend_from_slice(b"_r");
    out
}

pub fn record_key(table: i64, handle: &Handle) -> Vec<u8> {
    let mut out = Vec::with_capacity(RECORD_PREFIX_LEN + 8);
    put_table_prefix(table, &mut out);
    out.extend_from_slice(b"_r");
    handle.encode(&mut out);
    out
}

pub fn index_prefix(table: i64, index: i64) -> Vec<u8> {
    let mut out = Vec::with_capacity(INDEX_PREFIX_LEN);
    put_table_prefix(table, &mut out);
    out.extend_from_slice(b"_i");
    encode_i64(index, &mut out);
    out
}

/// The table id of a row's or an index entry's key.
pub fn table_of(key: &[u8]) -> Result<i64> {
    match key.split_first() {
        Some((b't', mut rest)) => decode_i64(&mut rest),
        _ => Err(not_a("table key", key)),
    }
}

/// The handle of a row's key; integers are told by their length when `int_handle`.
pub fn handle_of(key: &[u8], int_handle: bool) -> Result<Handle> {
    if key.first() != Some(&b't') || key.get(9..11) != Some(b"_r") {
        return Err(not_a("row key", key));
    }
    decode_handle(&key[RECORD_PREFIX_LEN..], int_handle)
}

/// A handle from the bytes that `Handle::encode` wrote.
pub fn decode_handle(mut bytes: &[u8], int_handle: bool) -> Result<Handle> {
    if !int_handle {
        return Ok(Handle::Common(Bytes::copy_from_slice(bytes)));
    }
    let n = decode_i64(&mut bytes)?;
    if !bytes.is_empty() {
        return Err(not_a("integer handle", bytes));
    }
    Ok(Handle::Int(n))
}

/// The index id of an index entry's key.
pub fn index_of(key: &[u8]) -> Result<i64> {
    if key.first() != Some(&b't') || key.get(9..11) != Some(b"_i") {
        return Err(not_a("index key", key));
    }
    decode_i64(&mut &key[11..])
}

/// How much of a key names the rows of a table, or one index of it: what the store keeps apart from all else.
/// `None` for keys of neither kind.
pub fn partition_prefix_len(key: &[u8]) -> Option<usize> {
    if key.first() != Some(&b't') {
        return None;
    }
    match key.get(9..11)? {
        b"_r" => Some(RECORD_PREFIX_LEN),
        b"_i" if key.len() >= INDEX_PREFIX_LEN => Some(INDEX_PREFIX_LEN),
        _ => None,
    }
}

fn not_a(what: &'static str, key: &[u8]) -> Error {
    Error::Corrupt {
        what,
        detail: format!("{key:02x?}"),
    }
}

/// Keys of metadata: strings, and the fields of hashes.
pub mod meta {
    use super::*;

    const STRING_DATA: u64 = b's' as u64;
    const HASH_DATA: u64 = b'h' as u64;

    fn prefix(name: &[u8], flag: u64) -> Vec<u8> {
        let mut out = vec![b'm'];
        encode_bytes(name, &mut out);
        encode_u64(flag, &mut out);
        out
    }

    pub fn string_key(name: &[u8]) -> Vec<u8> {
        prefix(name, STRING_DATA)
    }

    pub fn hash_key(name: &[u8], field: &[u8]) -> Vec<u8> {
        let mut out = prefix(name, HASH_DATA);
        encode_bytes(field, &mut out);
        out
    }

    /// What the keys of all fields of a hash begin with.
    pub fn hash_prefix(name: &[u8]) -> Vec<u8> {
        prefix(name, HASH_DATA)
    }

    /// The field of a hash's key.
    pub fn hash_field(name: &[u8], key: &[u8]) -> Result<Vec<u8>> {
        let prefix = hash_prefix(name);
        let mut rest = key
            .strip_prefix(&prefix[..])
            .ok_or_else(|| not_a("metadata key", key))?;
        let mut field = Vec::new();
        crate::bytes::decode_bytes(&mut rest, &mut field)?;
        Ok(field)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_keys() {
        assert_eq!(
            hex::encode(record_key(1, &Handle::Int(2))),
            "7480000000000000015f728000000000000002"
        );
        assert_eq!(
            hex::encode(index_prefix(45, 1)),
            "74800000000000002d5f698000000000000001"
        );
        // m, "DBs" as bytes, 'h', "DB:1" as bytes
        assert_eq!(
            hex::encode(meta::hash_key(b"DBs", b"DB:1")),
            "6d4442730000000000fa0000000000000068444\
             23a3100000000fb"
        );
        assert_eq!(
            meta::hash_field(b"DBs", &meta::hash_key(b"DBs", b"DB:1")).unwrap(),
            b"DB:1"
        );
    }

    #[test]
    fn parts_come_back() {
        let key = record_key(7, &Handle::Int(-3));
        assert_eq!(
            (table_of(&key).unwrap(), handle_of(&key, true).unwrap()),
            (7, Handle::Int(-3))
        );
        assert_eq!(partition_prefix_len(&key), Some(RECORD_PREFIX_LEN));
        let index = index_prefix(7, 3);
        assert_eq!(
            (index_of(&index).unwrap(), partition_prefix_len(&index)),
            (3, Some(INDEX_PREFIX_LEN))
        );
        assert_eq!(partition_prefix_len(&table_prefix(7)), None);
        assert_eq!(partition_prefix_len(b"i/task"), None);
        assert!(handle_of(&index, true).is_err() && index_of(&key).is_err() && table_of(b"x").is_err());
    }
}
