//! Reads of one key at a timestamp.

use std::sync::Arc;

use bytes::Bytes;
use fjall::{Readable, Snapshot, UserValue};

use crate::format::{self, SUFFIX_LEN};
use crate::keyspaces::{Keyspaces, VersionedKeyspace};
use crate::range_cache::fill::fill;
use ilmenite_store::{Result, Timestamp};

/// A version as the engine returned it.
pub(crate) struct Version {
    pub ts: Timestamp,
    raw: UserValue,
}

impl Version {
    pub(crate) fn value(&self) -> Option<&[u8]> {
        // `versions_between` has seen that it decodes.
        format::decode_value(&self.raw).flatten()
    }

    pub(crate) fn is_lock_record(&self) -> bool {
        format::is_lock_record(&self.raw)
    }
}

/// The versions of one stored key committed in `since..=at`, newest first, lock records among them.
fn versions_between<'s>(
    keyspaces: &'s Keyspaces,
    snapshot: &Snapshot,
    keyspace: &'s VersionedKeyspace,
    stored_key: &[u8],
    since: Timestamp,
    at: Timestamp,
) -> impl Iterator<Item = Result<Version>> + use<'s> {
    let bound = |ts: Timestamp| [stored_key, &format::suffix(ts)].concat();
    let entry_len = stored_key.len() + SUFFIX_LEN;
    let mut iter = (since <= at).then(|| snapshot.range(&keyspace.inner, bound(at)..=bound(since)));
    std::iter::from_fn(move || {
        loop {
            let (key, raw) = match iter.as_mut()?.next()?.into_inner() {
                Ok(pair) => pair,
                Err(e) => return Some(Err(keyspaces.map_error(e))),
            };
            // Of another length: a key that begins like this one, which the caller never stored.
            if key.len() != entry_len {
                continue;
            }
            let intact = format::is_lock_record(&raw) || format::decode_value(&raw).is_some();
            let (Some((_, ts)), true) = (format::split(&key), intact) else {
                return Some(Err(keyspace.damaged("an entry that is no version")));
            };
            return Some(Ok(Version { ts, raw }));
        }
    })
}

/// The newest version of `key` at `at`, a delete marker included.
pub(crate) fn newest(
    keyspaces: &Keyspaces,
    snapshot: &Snapshot,
    key: &[u8],
    at: Timestamp,
) -> Result<Option<Version>> {
    newest_write(keyspaces, snapshot, key, at).map(|(version, _)| version)
}

/// `newest`, and when the key was last written or locked by a committed transaction, at `at` or before.
pub(crate) fn newest_write(
    keyspaces: &Keyspaces,
    snapshot: &Snapshot,
    key: &[u8],
    at: Timestamp,
) -> Result<(Option<Version>, Option<Timestamp>)> {
    let Some(keyspace) = keyspaces.lookup(keyspaces.partition_of(key)) else {
        return Ok((None, None));
    };
    let mut stored = Vec::with_capacity(key.len() + SUFFIX_LEN);
    keyspace.encode_key(key, &mut stored);
    let mut written = None;
    for version in versions_between(keyspaces, snapshot, &keyspace, &stored, Timestamp::ZERO, at) {
        let version = version?;
        written = written.or(Some(version.ts));
        if !version.is_lock_record() {
            return Ok((Some(version), written));
        }
    }
    Ok((None, written))
}

/// The value of `key` at `at`, from the engine. One that is read again goes to the range cache.
pub(crate) fn get(
    keyspaces: &Keyspaces,
    snapshot: &Snapshot,
    key: &[u8],
    at: Timestamp,
) -> Result<Option<Bytes>> {
    let version = newest(keyspaces, snapshot, key, at)?;
    let value = version.and_then(|v| v.value().map(Bytes::copy_from_slice));
    if value.is_some()
        && let Some((keyspace, stored_key)) = partition(keyspaces, key)
        && keyspace.cache.read_again(key)
    {
        fill(keyspaces, &keyspace, stored_key);
    }
    Ok(value)
}

/// The value of `key` at `at`, if the range cache has it.
pub(crate) fn get_cached(keyspaces: &Keyspaces, key: &[u8], at: Timestamp) -> Option<Option<Bytes>> {
    let (keyspace, stored_key) = partition(keyspaces, key)?;
    let rows = keyspace.cache.lookup(stored_key, at)?;
    Some(rows.get(stored_key).map(Bytes::copy_from_slice))
}

/// The value of `key` now, if the range cache has it and knows that nothing near it was written since `at`. The caller
/// holds its lock.
pub(crate) fn get_unchanged(keyspaces: &Keyspaces, key: &[u8], at: Timestamp) -> Option<Option<Bytes>> {
    let (keyspace, stored_key) = partition(keyspaces, key)?;
    let rows = keyspace.cache.lookup_newest(stored_key, at)?;
    Some(rows.get(stored_key).map(Bytes::copy_from_slice))
}

/// The partition's keyspace, when `key` lies in one, and its stored key there.
fn partition<'k>(keyspaces: &Keyspaces, key: &'k [u8]) -> Option<(Arc<VersionedKeyspace>, &'k [u8])> {
    let prefix = keyspaces.partition_of(key);
    if prefix.is_empty() {
        return None;
    }
    Some((keyspaces.lookup(prefix)?, &key[prefix.len()..]))
}

/// See `Store::versions`.
pub(crate) fn versions(
    keyspaces: &Keyspaces,
    snapshot: &Snapshot,
    key: &[u8],
    since: Timestamp,
) -> Result<Vec<(Timestamp, Option<Bytes>)>> {
    let all = writes(keyspaces, snapshot, key, since)?;
    let versions = all.into_iter().filter(|v| !v.is_lock_record());
    Ok(versions
        .map(|v| (v.ts, v.value().map(Bytes::copy_from_slice)))
        .collect())
}

/// Versions and lock records of `key` since `since`, newest first.
pub(crate) fn writes(
    keyspaces: &Keyspaces,
    snapshot: &Snapshot,
    key: &[u8],
    since: Timestamp,
) -> Result<Vec<Version>> {
    let Some(keyspace) = keyspaces.lookup(keyspaces.partition_of(key)) else {
        return Ok(Vec::new());
    };
    let mut stored = Vec::with_capacity(key.len() + SUFFIX_LEN);
    keyspace.encode_key(key, &mut stored);
    versions_between(keyspaces, snapshot, &keyspace, &stored, since, Timestamp::MAX).collect()
}
