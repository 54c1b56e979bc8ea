//! Copies rows from the engine to the range cache.

use std::sync::Arc;

use fjall::{Readable, Snapshot};

use super::{RANGE_BYTES, Rows};
use crate::format::{self, SUFFIX_LEN};
use crate::keyspaces::{Keyspaces, VersionedKeyspace};
use crate::metrics::METRICS;
use ilmenite_store::{KvBatch, Result, Timestamp};

/// Entries walked to fill one range.
const FILL_ENTRIES: usize = 4096;

/// Copies the newest rows from `stored_key` on, unless there are some, or no room. Reads some thousand entries at most.
/// An error is not the reader's, who may want none of these rows: where it wants one, the engine says so again.
pub(crate) fn fill(keyspaces: &Keyspaces, keyspace: &VersionedKeyspace, stored_key: &[u8]) {
    let cache = &keyspace.cache;
    if !cache.caches.has_room() {
        return;
    }
    let Some((range, limit)) = cache.announce(stored_key) else {
        return;
    };
    let snapshot = keyspaces.db.snapshot();
    let rows = read(keyspaces, &snapshot, keyspace, stored_key, limit);
    if let Err(error) = &rows {
        tracing::warn!(%error, "rows could not be copied to the range cache");
    }
    if range.fill(rows.ok().flatten()) {
        METRICS.range_cache_fills.inc();
    }
}

/// The newest rows from `start` on, up to `limit` and as many as a range holds. `None`: too large a row is among them.
pub(super) fn read(
    keyspaces: &Keyspaces,
    snapshot: &Snapshot,
    keyspace: &VersionedKeyspace,
    start: &[u8],
    limit: Option<Vec<u8>>,
) -> Result<Option<Arc<Rows>>> {
    let thresholds = &keyspaces.thresholds;
    let mut pairs = KvBatch::new();
    let mut since = Timestamp::ZERO;
    let mut end: Option<Arc<[u8]>> = limit.map(Arc::from);
    let mut decided: Option<fjall::UserKey> = None;
    let mut passed = 0;
    let mut iter = snapshot.range(&keyspace.inner, start..);
    for walked in 0.. {
        let Some(entry) = iter.next() else {
            break;
        };
        let (entry, raw) = entry.into_inner().map_err(|e| keyspaces.map_error(e))?;
        let Some((key, ts)) = format::split(&entry) else {
            // The scan that goes on in the engine says so.
            return Ok(None);
        };
        if let Some(decided) = &decided
            && decided.len() == entry.len()
            && decided[..key.len()] == *key
        {
            passed += 1;
            if passed >= thresholds.seek_after_entries {
                passed = 0;
                iter = snapshot.range(&keyspace.inner, [key, &[0xff; SUFFIX_LEN]].concat()..);
            }
            continue;
        }
        if key < start {
            continue;
        }
        if end.as_ref().is_some_and(|end| key >= &end[..]) {
            break;
        }
        let full = pairs.len() >= thresholds.cache_range_rows || pairs.bytes() >= RANGE_BYTES;
        if full || walked >= FILL_ENTRIES {
            end = Some(Arc::from(key));
            break;
        }
        if format::is_lock_record(&raw) {
            continue;
        }
        let Some(value) = format::decode_value(&raw) else {
            return Ok(None);
        };
        since = since.max(ts);
        passed = 0;
        if let Some(value) = value {
            pairs.push(key, value);
        }
        decided = Some(entry);
    }
    if pairs.bytes() > 2 * RANGE_BYTES {
        return Ok(None);
    }
    Ok(Some(keyspace.cache.rows(since, pairs, end)))
}
