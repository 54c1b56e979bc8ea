//! How keys and versions lie in the engine.
//!
//! A keyspace entry is `stored key ‖ !commit timestamp (8 bytes, big-endian)`, so the versions of one key follow each
//! other, newest first; the value is one kind byte and then the user's value. In a partition's keyspace the stored
//! key is the user's key without the partition's prefix: keys there are free of prefixes of each other by their own
//! format. In the default keyspace keys are arbitrary, so the stored key is escaped (`00` → `00 ff`) and terminated
//! (`00 00`), which keeps their order and makes them prefix-free.

use ilmenite_store::{Error, Result, Timestamp};

pub(crate) const KIND_PUT: u8 = 1;
pub(crate) const KIND_DELETE: u8 = 0;
/// No value: a transaction locked the key and committed without writing it. Readers pass it by, later writers conflict
/// with it as with any version.
const KIND_LOCK: u8 = 2;
pub(crate) const SUFFIX_LEN: usize = 8;

/// fjall keeps key lengths in 16 bits, unchecked.
pub(crate) const MAX_STORED_KEY_BYTES: usize = u16::MAX as usize;
/// fjall keeps value lengths in 32 bits; far below it a transaction is too large anyway.
pub(crate) const MAX_VALUE_BYTES: usize = 256 << 20;

/// The eight bytes behind the stored key of a version committed at `ts`.
pub(crate) fn suffix(ts: Timestamp) -> [u8; SUFFIX_LEN] {
    (!ts.0).to_be_bytes()
}

/// Splits an entry's key into stored key and commit timestamp. `None`: not an entry of ours.
pub(crate) fn split(entry: &[u8]) -> Option<(&[u8], Timestamp)> {
    let (key, suffix) = entry.split_last_chunk::<SUFFIX_LEN>()?;
    Some((key, Timestamp(!u64::from_be_bytes(*suffix))))
}

/// The value in an entry: `Some(None)` for a delete marker, `None`: not a version (see `is_lock_record`).
pub(crate) fn decode_value(value: &[u8]) -> Option<Option<&[u8]>> {
    match value.split_first() {
        Some((&KIND_PUT, rest)) => Some(Some(rest)),
        Some((&KIND_DELETE, [])) => Some(None),
        _ => None,
    }
}

/// Is the entry the trace of a lock, and no version to be read?
pub(crate) fn is_lock_record(value: &[u8]) -> bool {
    value == [KIND_LOCK]
}

pub(crate) fn encode_lock_record() -> Vec<u8> {
    vec![KIND_LOCK]
}

pub(crate) fn encode_value(value: Option<&[u8]>) -> Vec<u8> {
    match value {
        Some(v) => {
            let mut out = Vec::with_capacity(v.len() + 1);
            out.push(KIND_PUT);
            out.extend_from_slice(v);
            out
        }
        None => vec![KIND_DELETE],
    }
}

/// Escapes the bytes of a key, without the terminator.
fn escape(key: &[u8], out: &mut Vec<u8>) {
    let mut rest = key;
    while let Some(zero) = rest.iter().position(|&b| b == 0) {
        out.extend_from_slice(&rest[..=zero]);
        out.push(0xff);
        rest = &rest[zero + 1..];
    }
    out.extend_from_slice(rest);
}

/// Appends the stored form of a key of the default keyspace.
pub(crate) fn encode_default(key: &[u8], out: &mut Vec<u8>) {
    escape(key, out);
    out.extend_from_slice(&[0, 0]);
}

/// Undoes `encode_default`, into `out`. `false`: not something it made.
pub(crate) fn decode_default(stored: &[u8], out: &mut Vec<u8>) -> bool {
    out.clear();
    let Some(mut rest) = stored.strip_suffix(&[0, 0]) else {
        return false;
    };
    while let Some(zero) = rest.iter().position(|&b| b == 0) {
        if rest.get(zero + 1) != Some(&0xff) {
            return false;
        }
        out.extend_from_slice(&rest[..=zero]);
        rest = &rest[zero + 2..];
    }
    out.extend_from_slice(rest);
    true
}

pub(crate) fn check_key(key: &[u8]) -> Result<()> {
    if key.is_empty() {
        return Err(Error::Bug("an empty key".into()));
    }
    // The escape can double a key's length at worst.
    let limit = (MAX_STORED_KEY_BYTES - SUFFIX_LEN - 2) / 2;
    if key.len() > limit {
        return Err(Error::TooLarge {
            what: "key",
            size: key.len(),
            limit,
        });
    }
    Ok(())
}

pub(crate) fn check_value(value: &[u8]) -> Result<()> {
    if value.len() > MAX_VALUE_BYTES {
        return Err(Error::TooLarge {
            what: "value",
            size: value.len(),
            limit: MAX_VALUE_BYTES,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encoded(key: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        encode_default(key, &mut out);
        out
    }

    proptest! {
        #[test]
        fn default_keys_keep_order_and_come_back(
            a in prop::collection::vec(prop::sample::select(vec![0u8, 1, 2, 254, 255]), 0..6),
            b in prop::collection::vec(prop::sample::select(vec![0u8, 1, 2, 254, 255]), 0..6),
        ) {
            let (ea, eb) = (encoded(&a), encoded(&b));
            prop_assert_eq!(a.cmp(&b), ea.cmp(&eb));
            prop_assert!(a == b || !eb.starts_with(&ea), "prefix-free");
            let mut back = Vec::new();
            prop_assert!(decode_default(&ea, &mut back));
            prop_assert_eq!(back, a);
        }
    }

    #[test]
    fn newer_versions_come_first() {
        assert!(suffix(Timestamp(2)) < suffix(Timestamp(1)));
        let mut entry = b"key".to_vec();
        entry.extend_from_slice(&suffix(Timestamp(77)));
        assert_eq!(split(&entry), Some((&b"key"[..], Timestamp(77))));
        assert_eq!(split(b"short"), None);
    }
}
