//! Removes the versions of a keyspace that nobody can read any more.

use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use fjall::{OwnedWriteBatch, Readable, UserKey, UserValue};

use crate::format;
use crate::keyspaces::{Keyspaces, VersionedKeyspace};
use crate::metrics::METRICS;
use crate::shutdown::Shutdown;
use ilmenite_store::{Result, Timestamp};

/// Entries read, and at most removed, between two pauses.
const CHUNK_ENTRIES: usize = 4096;
const CHUNK_BYTES: usize = 1 << 20;
const CHUNK_PAUSE: Duration = Duration::from_millis(2);

/// Removes the versions of one keyspace that nobody at or above `safe_point` can see. Returns how many.
pub(crate) fn sweep(
    keyspaces: &Keyspaces,
    keyspace: &Arc<VersionedKeyspace>,
    safe_point: Timestamp,
    shutdown: &Shutdown,
) -> Result<u64> {
    keyspace.garbage.reset();
    let mut sweep = Sweep {
        keyspace,
        safe_point,
        key: Vec::new(),
        covered: false,
        marker: None,
        left: 0,
        left_since: Timestamp::MAX,
    };
    let mut removed = 0;
    let mut resume: Option<UserKey> = None;
    loop {
        let mut batch = keyspaces.db.batch();
        let ended = sweep.chunk(keyspaces, &mut batch, &mut resume)?;
        let count = batch.len() as u64;
        batch.commit().map_err(|e| keyspaces.map_error(e))?;
        removed += count;
        METRICS.gc_versions_removed.inc_by(count);
        let dropped = keyspaces
            .lookup(&keyspace.prefix)
            .is_none_or(|current| !Arc::ptr_eq(&current, keyspace));
        if ended || dropped {
            break;
        }
        if shutdown.has_begun() {
            sweep.leave(Timestamp::ZERO);
            break;
        }
        if count > 0 {
            std::thread::sleep(CHUNK_PAUSE);
        }
    }
    keyspace.garbage.add(sweep.left, sweep.left_since);
    Ok(removed)
}

/// Where a sweep stands within the versions of one key.
struct Sweep<'k> {
    keyspace: &'k VersionedKeyspace,
    safe_point: Timestamp,
    key: Vec<u8>,
    /// The newest version at or below the safe point has been met: the rest is garbage.
    covered: bool,
    /// The delete marker that was that version. It goes last: without it, an older version not yet removed would
    /// be seen again.
    marker: Option<UserKey>,
    /// Garbage that is not to be removed yet, and since when.
    left: u64,
    left_since: Timestamp,
}

impl Sweep<'_> {
    fn leave(&mut self, ts: Timestamp) {
        self.left += 1;
        self.left_since = self.left_since.min(ts);
    }

    /// Goes through some entries behind `resume`, and puts into the batch what is to go. Whether that was the last.
    fn chunk(
        &mut self,
        keyspaces: &Keyspaces,
        batch: &mut OwnedWriteBatch,
        resume: &mut Option<UserKey>,
    ) -> Result<bool> {
        let (mut read, mut bytes) = (0, 0);
        let snapshot = keyspaces.db.snapshot();
        let start = resume.clone();
        let start = match &start {
            Some(key) => Bound::Excluded(&key[..]),
            None => Bound::Unbounded,
        };
        for entry in snapshot.range::<&[u8], _>(&self.keyspace.inner, (start, Bound::Unbounded)) {
            let (entry, raw) = entry.into_inner().map_err(|e| keyspaces.map_error(e))?;
            bytes += self.entry(&entry, &raw, batch)?;
            *resume = Some(entry);
            read += 1;
            if read >= CHUNK_ENTRIES || bytes >= CHUNK_BYTES {
                return Ok(false);
            }
        }
        self.end_key(batch);
        Ok(true)
    }

    /// The key has no more versions.
    fn end_key(&mut self, batch: &mut OwnedWriteBatch) -> usize {
        self.covered = false;
        self.marker.take().map_or(0, |marker| {
            let bytes = marker.len();
            batch.remove(&self.keyspace.inner, marker);
            bytes
        })
    }

    /// Returns the bytes of what is to go.
    fn entry(&mut self, entry: &UserKey, raw: &UserValue, batch: &mut OwnedWriteBatch) -> Result<usize> {
        let lock_record = format::is_lock_record(raw);
        let value = match lock_record {
            true => Some(None),
            false => format::decode_value(raw),
        };
        let (Some((key, ts)), Some(value)) = (format::split(entry), value) else {
            return Err(self.keyspace.damaged("an entry that is no version"));
        };
        let mut bytes = 0;
        let first = self.key != key;
        if first {
            debug_assert!(*self.key < *key, "the versions of a key follow each other");
            bytes += self.end_key(batch);
            self.key.clear();
            self.key.extend_from_slice(key);
        }
        if ts > self.safe_point {
            if !first || value.is_none() {
                self.leave(ts);
            }
        } else if self.covered || lock_record {
            // A lock record only stands in the way of transactions that are older.
            bytes += entry.len();
            batch.remove(&self.keyspace.inner, entry.clone());
        } else {
            self.covered = true;
            if value.is_none() {
                self.marker = Some(entry.clone());
            } else if !first {
                self.leave(ts);
            }
        }
        Ok(bytes)
    }
}
