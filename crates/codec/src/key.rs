//! Keys of rows, index entries and metadata.
//!
//! * a row: `t` table `_r` handle
//! * an index entry: `t` table `_i` index values… (handle)
//! * metadata: `m` name type (field)
//!
//! Table and index ids and integer handles are eight bytes that compare as signed integers do.

use bytes::Bytes;

use crate::memcomparable::{decode_bytes, encode_bytes, i64_bytes, read_i64};
use ilmenite_types::{Error, Result};

/// Length of `t` table `_r`.
pub const RECORD_PREFIX_LEN: usize = 11;
/// Length of `t` table `_i` index.
pub const INDEX_PREFIX_LEN: usize = 19;
/// Common handles are padded with zeros to this length, so that none is as short as an integer handle.
pub const COMMON_HANDLE_MIN_LEN: usize = 9;

/// What identifies a row of a table.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Handle {
    /// An integer primary key (an unsigned one with its bits as they are), or the hidden row id.
    Int(i64),
    /// The columns of a clustered primary key, encoded as in an index key.
    Common(Bytes),
}

/// A [`Handle`] that borrows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum HandleRef<'a> {
    Int(i64),
    Common(&'a [u8]),
}

impl Handle {
    /// From the encoded columns of a clustered primary key.
    pub fn common(encoded: &[u8]) -> Handle {
        let mut padded = encoded.to_vec();
        if padded.len() < COMMON_HANDLE_MIN_LEN {
            padded.resize(COMMON_HANDLE_MIN_LEN, 0);
        }
        Handle::Common(padded.into())
    }

    pub fn as_ref(&self) -> HandleRef<'_> {
        match self {
            Handle::Int(id) => HandleRef::Int(*id),
            Handle::Common(bytes) => HandleRef::Common(bytes),
        }
    }
}

impl HandleRef<'_> {
    pub fn to_owned(self) -> Handle {
        match self {
            HandleRef::Int(id) => Handle::Int(id),
            HandleRef::Common(bytes) => Handle::Common(Bytes::copy_from_slice(bytes)),
        }
    }

    /// Appends the handle as a row's key ends with it.
    pub fn encode(self, out: &mut Vec<u8>) {
        match self {
            HandleRef::Int(id) => out.extend_from_slice(&i64_bytes(id)),
            HandleRef::Common(bytes) => out.extend_from_slice(bytes),
        }
    }
}

/// `t` table: what all keys of a table begin with.
pub fn table_prefix(table_id: i64) -> [u8; 9] {
    let mut prefix = [b't'; 9];
    prefix[1..].copy_from_slice(&i64_bytes(table_id));
    prefix
}

/// `t` table `_r`: what the keys of a table's rows begin with.
pub fn record_prefix(table_id: i64) -> [u8; RECORD_PREFIX_LEN] {
    let mut prefix = [0; RECORD_PREFIX_LEN];
    prefix[..9].copy_from_slice(&table_prefix(table_id));
    prefix[9..].copy_from_slice(b"_r");
    prefix
}

/// `t` table `_i` index: what the keys of an index begin with.
pub fn index_prefix(table_id: i64, index_id: i64) -> [u8; INDEX_PREFIX_LEN] {
    let mut prefix = [0; INDEX_PREFIX_LEN];
    prefix[..9].copy_from_slice(&table_prefix(table_id));
    prefix[9..11].copy_from_slice(b"_i");
    prefix[11..].copy_from_slice(&i64_bytes(index_id));
    prefix
}

/// The key of a row, in a buffer of its own.
pub fn record_key(table_id: i64, handle: HandleRef<'_>) -> Vec<u8> {
    let mut key = Vec::with_capacity(RECORD_PREFIX_LEN + 9);
    encode_record_key(table_id, handle, &mut key);
    key
}

/// Appends the key of a row.
pub fn encode_record_key(table_id: i64, handle: HandleRef<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(&record_prefix(table_id));
    handle.encode(out);
}

/// The half-open range of all keys with a prefix.
pub fn prefix_range(prefix: &[u8]) -> (Vec<u8>, Vec<u8>) {
    (prefix.to_vec(), prefix_next(prefix))
}

/// The least key after all that begin with `prefix`; empty (no end) when there is none.
pub fn prefix_next(prefix: &[u8]) -> Vec<u8> {
    let mut next = prefix.to_vec();
    while let Some(last) = next.last_mut() {
        if *last < 0xff {
            *last += 1;
            return next;
        }
        next.pop();
    }
    next
}

/// The half-open range of a table's rows.
pub fn record_range(table_id: i64) -> (Vec<u8>, Vec<u8>) {
    prefix_range(&record_prefix(table_id))
}

/// The half-open range of an index.
pub fn index_range(table_id: i64, index_id: i64) -> (Vec<u8>, Vec<u8>) {
    prefix_range(&index_prefix(table_id, index_id))
}

/// The half-open range of all of a table's keys: rows and indexes.
pub fn table_range(table_id: i64) -> (Vec<u8>, Vec<u8>) {
    prefix_range(&table_prefix(table_id))
}

/// What a key under `t` is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TableKey<'a> {
    Record {
        table_id: i64,
        handle: HandleRef<'a>,
    },
    /// `values` is all after the prefix: the encoded columns, and the handle if it is part of the key.
    Index {
        table_id: i64,
        index_id: i64,
        values: &'a [u8],
    },
}

/// Takes apart the key of a row or of an index entry.
pub fn decode_table_key(key: &[u8]) -> Result<TableKey<'_>> {
    let corrupt = || Error::Corrupt {
        what: "key",
        detail: format!("neither of a row nor of an index entry ({} bytes)", key.len()),
    };
    let table_id = decode_table_id(key).ok_or_else(corrupt)?;
    let rest = &key[9..];
    if let Some(handle) = rest.strip_prefix(b"_r") {
        let handle = decode_handle(handle).ok_or_else(corrupt)?;
        return Ok(TableKey::Record { table_id, handle });
    }
    let rest = rest.strip_prefix(b"_i").ok_or_else(corrupt)?;
    let index_id = read_i64(rest).ok_or_else(corrupt)?;
    Ok(TableKey::Index {
        table_id,
        index_id,
        values: &rest[8..],
    })
}

/// The table a key belongs to; `None` when it is no table's.
pub fn decode_table_id(key: &[u8]) -> Option<i64> {
    key.strip_prefix(b"t").and_then(read_i64)
}

/// The handle of a row's key.
pub fn decode_record_handle(key: &[u8]) -> Result<HandleRef<'_>> {
    match decode_table_key(key)? {
        TableKey::Record { handle, .. } => Ok(handle),
        TableKey::Index { .. } => Err(Error::Corrupt {
            what: "key",
            detail: "of an index entry where a row's was expected".into(),
        }),
    }
}

/// A handle as it ends a row's key: eight bytes are an integer, more are encoded columns.
fn decode_handle(bytes: &[u8]) -> Option<HandleRef<'_>> {
    if bytes.len() == 8 {
        return read_i64(bytes).map(HandleRef::Int);
    }
    (bytes.len() >= COMMON_HANDLE_MIN_LEN).then_some(HandleRef::Common(bytes))
}

/// Length of the prefix that names the table's rows or the index a key belongs to, or `None` for all other keys.
pub fn partition_prefix_len(key: &[u8]) -> Option<usize> {
    if key.len() < RECORD_PREFIX_LEN || key[0] != b't' {
        return None;
    }
    match &key[9..RECORD_PREFIX_LEN] {
        b"_r" => Some(RECORD_PREFIX_LEN),
        b"_i" if key.len() >= INDEX_PREFIX_LEN => Some(INDEX_PREFIX_LEN),
        _ => None,
    }
}

/// Keys of metadata: single values, and the fields of hashes.
pub mod meta {
    use super::*;

    const STRING_DATA: u64 = b's' as u64;
    const HASH_DATA: u64 = b'h' as u64;

    fn prefix(name: &[u8], kind: u64) -> Vec<u8> {
        let mut key = vec![b'm'];
        encode_bytes(name, &mut key);
        key.extend_from_slice(&kind.to_be_bytes());
        key
    }

    /// The key of a single value.
    pub fn string_key(name: &[u8]) -> Vec<u8> {
        prefix(name, STRING_DATA)
    }

    /// The key of one field of a hash.
    pub fn hash_key(name: &[u8], field: &[u8]) -> Vec<u8> {
        let mut key = prefix(name, HASH_DATA);
        encode_bytes(field, &mut key);
        key
    }

    /// What the keys of all fields of a hash begin with.
    pub fn hash_prefix(name: &[u8]) -> Vec<u8> {
        prefix(name, HASH_DATA)
    }

    /// The field that a key of the hash `name` is of.
    pub fn hash_field(name: &[u8], key: &[u8]) -> Result<Vec<u8>> {
        let corrupt = || Error::Corrupt {
            what: "metadata key",
            detail: format!("{} bytes, of another hash or cut short", key.len()),
        };
        let rest = key.strip_prefix(&hash_prefix(name)[..]).ok_or_else(corrupt)?;
        let mut field = Vec::new();
        if decode_bytes(rest, &mut field)? != rest.len() {
            return Err(corrupt());
        }
        Ok(field)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn golden() {
        let key = record_key(45, HandleRef::Int(1));
        assert_eq!(hex::encode(&key), "74800000000000002d5f728000000000000001");
        assert_eq!(key.len(), 19);
        assert_eq!(
            hex::encode(index_prefix(45, 2)),
            "74800000000000002d5f698000000000000002"
        );
        assert_eq!(
            decode_table_key(&key).unwrap(),
            TableKey::Record {
                table_id: 45,
                handle: HandleRef::Int(1)
            }
        );
        let (start, end) = record_range(45);
        assert_eq!(hex::encode(start), "74800000000000002d5f72");
        assert_eq!(hex::encode(end), "74800000000000002d5f73");
        assert_eq!(prefix_next(&[1, 0xff]), [2]);
        assert!(prefix_next(&[0xff]).is_empty());
        // m + EncodeBytes("DBs") + 'h' + EncodeBytes("DB:1")
        let key = meta::hash_key(b"DBs", b"DB:1");
        assert_eq!(
            hex::encode(&key),
            "6d4442730000000000fa000000000000006844423a3100000000fb"
        );
        assert_eq!(meta::hash_field(b"DBs", &key).unwrap(), b"DB:1");
        assert!(meta::hash_field(b"DB", &key).is_err());
        assert!(meta::hash_field(b"DBs", &key[..key.len() - 1]).is_err());
    }

    #[test]
    fn partitions() {
        assert_eq!(partition_prefix_len(&record_key(1, HandleRef::Int(7))), Some(11));
        assert_eq!(partition_prefix_len(&index_prefix(1, 2)), Some(19));
        assert_eq!(partition_prefix_len(&index_prefix(1, 2)[..18]), None);
        assert_eq!(partition_prefix_len(&table_prefix(1)), None);
        assert_eq!(partition_prefix_len(b"i/owner"), None);
        assert_eq!(partition_prefix_len(&meta::string_key(b"x")), None);
        assert_eq!(partition_prefix_len(b""), None);
    }

    #[test]
    fn common_handles_are_padded() {
        let Handle::Common(bytes) = Handle::common(&[6, 2, 0, 0x80]) else {
            unreachable!()
        };
        assert_eq!(&bytes[..], [6, 2, 0, 0x80, 0, 0, 0, 0, 0]);
        let key = record_key(1, HandleRef::Common(&bytes));
        assert_eq!(decode_record_handle(&key).unwrap(), HandleRef::Common(&bytes));
    }

    proptest! {
        #[test]
        fn keys_sort_by_table_then_handle(a in any::<(i64, i64)>(), b in any::<(i64, i64)>()) {
            let key = |(table, handle)| record_key(table, HandleRef::Int(handle));
            prop_assert_eq!(key(a).cmp(&key(b)), a.cmp(&b));
        }

        #[test]
        fn garbage_never_panics(mut key in proptest::collection::vec(any::<u8>(), 0..40), first in "[tmx]") {
            key.insert(0, first.as_bytes()[0]);
            let _ = decode_table_key(&key);
            let _ = meta::hash_field(b"DBs", &key);
            let _ = partition_prefix_len(&key);
        }
    }
}
