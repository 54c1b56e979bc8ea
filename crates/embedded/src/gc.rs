//! Garbage collection: which versions somebody may still read, and the removal of the others.
//!
//! The safe point is the oldest timestamp anybody may read at. It follows the clock at the distance of the life time,
//! but never passes a hold, an ingest under way, or a transaction that began and has not ended (unless it is older
//! than any may grow). It is stored before it takes effect, so that a restart does not bring back old snapshots.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use fjall::{Readable, UserKey};
use parking_lot::Mutex;

use super::format;
use super::keyspaces::{Keyspaces, VersionedKeyspace, meta_keys};
use crate::metrics::METRICS;
use ilmenite_store::{Error, GcHold, Result, Timestamp};

/// Entries read, and at most removed, between two pauses of a sweep.
const CHUNK_ENTRIES: usize = 4096;
const CHUNK_BYTES: usize = 1 << 20;
const CHUNK_PAUSE: Duration = Duration::from_millis(2);
/// A keyspace is swept when at least one in so many of its entries is garbage …
const GARBAGE_RATIO: u64 = 16;
/// … and there are so many, or when it holds any for longer than `STALE_ROUNDS` rounds.
const GARBAGE_ENTRIES: u64 = 10_000;
const STALE_ROUNDS: u64 = 60;

/// How many versions of a keyspace are hidden by newer ones or are delete markers. An estimate.
pub(super) struct Garbage {
    entries: AtomicU64,
    /// The oldest commit that made some of it: below it a sweep would find nothing.
    since: AtomicU64,
    rounds: AtomicU64,
}

impl Garbage {
    pub fn none() -> Self {
        Garbage {
            entries: AtomicU64::new(0),
            since: AtomicU64::new(u64::MAX),
            rounds: AtomicU64::new(0),
        }
    }

    /// After a restart: there may be any amount.
    pub fn unknown() -> Self {
        Garbage {
            entries: AtomicU64::new(1),
            since: AtomicU64::new(0),
            rounds: AtomicU64::new(0),
        }
    }

    pub fn note(&self, commit_ts: Timestamp) {
        self.entries.fetch_add(1, Ordering::Relaxed);
        self.since.fetch_min(commit_ts.0, Ordering::Relaxed);
    }

    fn due(&self, safe_point: Timestamp, in_all: u64, any: bool) -> bool {
        let entries = self.entries.load(Ordering::Relaxed);
        if entries == 0 || self.since.load(Ordering::Relaxed) > safe_point.0 {
            return false;
        }
        let rounds = self.rounds.fetch_add(1, Ordering::Relaxed);
        any || rounds >= STALE_ROUNDS || (entries >= GARBAGE_ENTRIES && entries >= in_all / GARBAGE_RATIO)
    }

    fn reset(&self) {
        self.entries.store(0, Ordering::Relaxed);
        self.since.store(u64::MAX, Ordering::Relaxed);
        self.rounds.store(0, Ordering::Relaxed);
    }

    fn left(&self, entries: u64, since: Timestamp) {
        if entries > 0 {
            self.entries.fetch_add(entries, Ordering::Relaxed);
            self.since.fetch_min(since.0, Ordering::Relaxed);
        }
    }
}

/// A hold as it is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hold {
    pub ts: Timestamp,
    /// Store time at which it ends by itself; `None`: never.
    pub until_ms: Option<u64>,
}

impl Hold {
    pub fn ended(&self, now_ms: u64) -> bool {
        self.until_ms.is_some_and(|until| until <= now_ms)
    }
}

#[derive(Default)]
struct State {
    holds: HashMap<String, Hold>,
    active: BTreeSet<Timestamp>,
    ingests: BTreeMap<u64, Timestamp>,
    next_ingest: u64,
}

pub(super) struct Gc {
    life: Duration,
    max_transaction_age: Duration,
    state: Mutex<State>,
    safe_point: AtomicU64,
    /// One round at a time.
    round: Mutex<()>,
}

impl Gc {
    pub fn new(life: Duration, max_transaction_age: Duration, safe_point: Timestamp) -> Self {
        Gc {
            life,
            max_transaction_age,
            state: Mutex::default(),
            safe_point: AtomicU64::new(safe_point.0),
            round: Mutex::new(()),
        }
    }

    pub fn safe_point(&self) -> Timestamp {
        Timestamp(self.safe_point.load(Ordering::SeqCst))
    }

    /// To be called after a snapshot of the engine is taken: then what it needs is still in it.
    pub fn check_readable(&self, ts: Timestamp) -> Result<()> {
        let safe_point = self.safe_point();
        if ts < safe_point {
            return Err(Error::SnapshotTooOld { ts, safe_point });
        }
        Ok(())
    }

    pub fn begin(&self, start_ts: Timestamp) {
        self.state.lock().active.insert(start_ts);
    }

    pub fn end(&self, start_ts: Timestamp) {
        self.state.lock().active.remove(&start_ts);
    }

    /// Transactions that have begun and not ended, and ingests under way.
    #[cfg(any(test, feature = "testing"))]
    pub fn open(&self) -> (usize, usize) {
        let state = self.state.lock();
        (state.active.len(), state.ingests.len())
    }

    /// Keeps versions at `ts` until `end_ingest`.
    pub fn begin_ingest(&self, ts: Timestamp) -> Result<u64> {
        let mut state = self.state.lock();
        self.check_readable(ts)?;
        let id = state.next_ingest;
        state.next_ingest += 1;
        state.ingests.insert(id, ts);
        Ok(id)
    }

    pub fn end_ingest(&self, id: u64) {
        self.state.lock().ingests.remove(&id);
    }

    /// Makes the hold effective; the caller then stores it. Returns the one it replaces.
    pub fn set_hold(&self, id: &str, hold: Hold) -> Result<Option<Hold>> {
        let mut state = self.state.lock();
        self.check_readable(hold.ts)?;
        Ok(state.holds.insert(id.to_owned(), hold))
    }

    /// Puts back what `set_hold` replaced.
    pub fn restore_hold(&self, id: &str, before: Option<Hold>) {
        let mut state = self.state.lock();
        match before {
            Some(hold) => state.holds.insert(id.to_owned(), hold),
            None => state.holds.remove(id),
        };
    }

    pub fn holds(&self) -> Vec<(GcHold, Option<u64>)> {
        let state = self.state.lock();
        let hold = |(id, h): (&String, &Hold)| {
            (
                GcHold {
                    id: id.clone(),
                    ts: h.ts,
                },
                h.until_ms,
            )
        };
        let mut holds: Vec<_> = state.holds.iter().map(hold).collect();
        holds.sort_by(|a, b| a.0.id.cmp(&b.0.id));
        holds
    }

    /// Moves the safe point as far as it may go.
    fn advance(
        &self,
        keyspaces: &Keyspaces,
        now_ms: u64,
        goal: Option<Timestamp>,
        limit: Timestamp,
    ) -> Result<Timestamp> {
        let mut state = self.state.lock();
        let oldest =
            Timestamp::from_millis(now_ms.saturating_sub(self.max_transaction_age.as_millis() as u64));
        state.active = state.active.split_off(&oldest);
        state.holds.retain(|_, hold| !hold.ended(now_ms));
        let life_ms = self.life.as_millis() as u64;
        let target = [
            Some(match goal {
                Some(goal) => goal,
                None => Timestamp::from_millis(now_ms.saturating_sub(life_ms)),
            }),
            Some(limit),
            state.holds.values().map(|h| h.ts).min(),
            state.ingests.values().min().copied(),
            state.active.first().copied(),
        ]
        .into_iter()
        .flatten()
        .min()
        .unwrap_or_default();
        let current = self.safe_point();
        if target <= current {
            return Ok(current);
        }
        keyspaces
            .meta
            .insert(meta_keys::GC_SAFE_POINT, target.0.to_be_bytes())
            .map_err(|e| keyspaces.map_error(e))?;
        self.safe_point.store(target.0, Ordering::SeqCst);
        Ok(target)
    }

    /// One round: moves the safe point and sweeps the keyspaces where it pays (`any`: all that have any garbage).
    /// Returns how many versions were removed.
    ///
    /// `goal`: where the safe point should go, when it does not follow the clock. `limit`: not past this.
    pub fn run(
        &self,
        keyspaces: &Keyspaces,
        now_ms: u64,
        goal: Option<Timestamp>,
        limit: Timestamp,
        any: bool,
        stop: &AtomicBool,
    ) -> Result<u64> {
        let _round = self.round.lock();
        let safe_point = self.advance(keyspaces, now_ms, goal, limit)?;
        let mut removed = 0;
        for keyspace in keyspaces.all() {
            let in_all = keyspace.inner.approximate_len() as u64;
            if keyspace.garbage.due(safe_point, in_all, any) {
                removed += sweep(keyspaces, &keyspace, safe_point, stop)?;
            }
            if stop.load(Ordering::Relaxed) {
                break;
            }
        }
        Ok(removed)
    }
}

/// Where a sweep stands within the versions of one key.
#[derive(Default)]
struct KeyState {
    key: Vec<u8>,
    /// The newest version at or below the safe point has been met: the rest is garbage.
    covered: bool,
    /// The delete marker that was that version. It goes last: without it, an older version not yet removed would
    /// be seen again.
    marker: Option<UserKey>,
}

/// Removes the versions of one keyspace that nobody at or above `safe_point` can see.
fn sweep(
    keyspaces: &Keyspaces,
    keyspace: &Arc<VersionedKeyspace>,
    safe_point: Timestamp,
    stop: &AtomicBool,
) -> Result<u64> {
    // What commits note from here on is not lost, though the sweep may see it too.
    keyspace.garbage.reset();
    let mut removed = 0;
    let mut left = 0;
    let mut left_since = Timestamp::MAX;
    let mut at = KeyState::default();
    let mut resume: Option<UserKey> = None;
    loop {
        let mut batch = keyspaces.db.batch();
        let mut bytes = 0;
        let mut read = 0;
        let snapshot = keyspaces.db.snapshot();
        let start = match &resume {
            Some(key) => Bound::Excluded(&key[..]),
            None => Bound::Unbounded,
        };
        let mut ended = true;
        for entry in snapshot.range::<&[u8], _>(&keyspace.inner, (start, Bound::Unbounded)) {
            let (entry, raw) = entry.into_inner().map_err(|e| keyspaces.map_error(e))?;
            let lock_record = format::is_lock_record(&raw);
            let value = if lock_record {
                Some(None)
            } else {
                format::decode_value(&raw)
            };
            let (Some((key, ts)), Some(value)) = (format::split(&entry), value) else {
                return Err(Error::Damaged {
                    path: keyspace.inner.path().display().to_string(),
                    detail: "an entry that is no version".into(),
                });
            };
            let first = at.key != key;
            if first {
                if let Some(marker) = at.marker.take() {
                    bytes += marker.len();
                    batch.remove(&keyspace.inner, marker);
                }
                at.key.clear();
                at.key.extend_from_slice(key);
                at.covered = false;
            }
            if ts > safe_point {
                if !first || value.is_none() {
                    left += 1;
                    left_since = left_since.min(ts);
                }
            } else if at.covered || lock_record {
                // A lock record only stands in the way of transactions that are older.
                bytes += entry.len();
                batch.remove(&keyspace.inner, entry.clone());
            } else {
                at.covered = true;
                if value.is_none() {
                    at.marker = Some(entry.clone());
                } else if !first {
                    left += 1;
                    left_since = left_since.min(ts);
                }
            }
            resume = Some(entry);
            read += 1;
            if read >= CHUNK_ENTRIES || bytes >= CHUNK_BYTES {
                ended = false;
                break;
            }
        }
        if ended && let Some(marker) = at.marker.take() {
            batch.remove(&keyspace.inner, marker);
        }
        drop(snapshot);
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
        if stop.load(Ordering::Relaxed) {
            left += 1;
            left_since = Timestamp::ZERO;
            break;
        }
        if count > 0 {
            std::thread::sleep(CHUNK_PAUSE);
        }
    }
    keyspace.garbage.left(left, left_since);
    Ok(removed)
}
