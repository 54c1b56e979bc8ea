//! Rows as they are now, in memory, of ranges that are read often or whose entries are mostly old versions.
//!
//! A row that is written all the time has a version for each write until garbage collection, and a scan must pass them
//! all; a queue's deleted rows are nothing but markers. A scan that meets such a range copies its newest rows here, as
//! does a point read where there was one before; later scans and point reads take them from the copy, which commits keep
//! up to date. TiKV's in-memory engine is made for the same case.
//!
//! How a copy stays right:
//! - It is announced (a range being filled) before the engine's snapshot it is read from is taken. A commit looks for
//!   ranges after it is applied. So a commit that the snapshot does not have meets the range: one being filled is given
//!   up, a filled one gets the write.
//! - Commits reach it before their timestamps are visible: whoever reads at or above one finds it here.
//! - Each state of a range has the timestamp since which it is what a reader sees. A reader older than the oldest state
//!   kept goes to the engine.
//! - What writes past commits (ingest, the deletion of ranges) drops what is here once it has written.

pub(crate) mod fill;

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicUsize, Ordering};

use ahash::RandomState;
use parking_lot::{Mutex, RwLock};

use crate::metrics::METRICS;
use ilmenite_store::{KvBatch, Timestamp};

/// What a range holds at most when it is filled, besides `ReadThresholds::cache_range_rows`.
const RANGE_BYTES: usize = 32 << 10;
/// States of a range kept for readers that began before its last commits.
const STATES: usize = 4;

/// Calls of `tick` after which a range that nobody reads is dropped.
const IDLE_TICKS: u8 = 3;
/// Ranges looked at in one step of `tick`.
const TICK_RANGES: usize = 256;
/// Point reads remembered, to know those that come again. Each may push out another: it is a guess.
const REMEMBERED_READS: usize = 8192;

/// What the range caches of all keyspaces have in common: their memory, and where rows were read lately.
pub(crate) struct RangeCaches {
    limit_bytes: usize,
    range_rows: usize,
    used_bytes: AtomicUsize,
    /// Hashes of keys, each at its place.
    reads: Box<[AtomicU32]>,
    hasher: RandomState,
}

impl RangeCaches {
    /// `range_rows`: what a range holds at most when it is filled.
    pub(crate) fn new(limit_bytes: usize, range_rows: usize) -> Arc<Self> {
        Arc::new(RangeCaches {
            limit_bytes,
            range_rows,
            used_bytes: AtomicUsize::new(0),
            reads: (0..REMEMBERED_READS).map(|_| AtomicU32::new(0)).collect(),
            hasher: RandomState::new(),
        })
    }

    fn has_room(&self) -> bool {
        self.used_bytes.load(Ordering::Relaxed) + RANGE_BYTES <= self.limit_bytes
    }

    /// `key` was read from the engine. Whether one near it was not long ago, too: near is what differs in the last byte,
    /// of an integer 256 rows.
    fn read_again(&self, key: &[u8]) -> bool {
        let near = &key[..key.len().saturating_sub(1)];
        let hash = self.hasher.hash_one(near);
        let place = &self.reads[hash as usize % REMEMBERED_READS];
        let mark = (hash >> 32) as u32;
        place.swap(mark, Ordering::Relaxed) == mark
    }

    #[cfg(test)]
    pub(crate) fn used_bytes(&self) -> usize {
        self.used_bytes.load(Ordering::Relaxed)
    }
}

/// One state of a range: the rows of `..end` (from where the range starts) that a reader at `since` or later sees.
pub(crate) struct Rows {
    since: Timestamp,
    /// By stored key.
    pub pairs: KvBatch,
    /// Where the range ends, exclusive; `None`: with the keyspace.
    pub end: Option<Arc<[u8]>>,
    caches: Arc<RangeCaches>,
    bytes: usize,
}

impl Rows {
    fn new(since: Timestamp, pairs: KvBatch, end: Option<Arc<[u8]>>, caches: Arc<RangeCaches>) -> Arc<Self> {
        debug_assert!(
            (1..pairs.len()).all(|i| pairs.key(i - 1) < pairs.key(i)),
            "rows are found by halving"
        );
        debug_assert!(
            pairs.is_empty() || end.as_ref().is_none_or(|end| *pairs.key(pairs.len() - 1) < **end),
            "a row behind the range's end belongs to the next one"
        );
        let bytes = pairs.capacity_bytes() + size_of::<Rows>();
        caches.used_bytes.fetch_add(bytes, Ordering::Relaxed);
        Arc::new(Rows {
            since,
            pairs,
            end,
            caches,
            bytes,
        })
    }

    /// The first pair at or behind `stored_key`.
    pub(crate) fn position(&self, stored_key: &[u8]) -> usize {
        let (mut low, mut high) = (0, self.pairs.len());
        while low < high {
            let middle = (low + high) / 2;
            if self.pairs.key(middle) < stored_key {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    pub(crate) fn get(&self, stored_key: &[u8]) -> Option<&[u8]> {
        let at = self.position(stored_key);
        (at < self.pairs.len() && self.pairs.key(at) == stored_key).then(|| self.pairs.value(at))
    }

    /// This state after a write.
    fn with(&self, stored_key: &[u8], value: Option<&[u8]>, ts: Timestamp) -> Arc<Rows> {
        let at = self.position(stored_key);
        let replaces = at < self.pairs.len() && self.pairs.key(at) == stored_key;
        let room = self.pairs.bytes() + stored_key.len() + value.map_or(0, <[u8]>::len);
        let mut pairs = KvBatch::with_capacity(self.pairs.len() + 1, room);
        pairs.extend_from(&self.pairs, 0..at);
        if let Some(value) = value {
            pairs.push(stored_key, value);
        }
        pairs.extend_from(&self.pairs, at + usize::from(replaces)..self.pairs.len());
        Rows::new(ts, pairs, self.end.clone(), self.caches.clone())
    }
}

impl Drop for Rows {
    fn drop(&mut self) {
        let used = self.caches.used_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
        debug_assert!(used >= self.bytes, "more is given back than was taken");
    }
}

enum State {
    Filling,
    /// Newest first, never empty.
    Filled(VecDeque<Arc<Rows>>),
    /// Not what the engine has; to be removed.
    Stale,
}

struct Range {
    state: Mutex<State>,
    /// Calls of `tick` until it is dropped.
    left: AtomicU8,
}

impl Range {
    /// What a reader at `at` sees, if it is kept; `newest`: if nothing has been written since.
    fn rows(&self, at: Timestamp, newest: bool) -> Option<Arc<Rows>> {
        let State::Filled(states) = &*self.state.lock() else {
            return None;
        };
        let kept = if newest { 1 } else { STATES };
        let rows = states.iter().take(kept).find(|rows| rows.since <= at)?.clone();
        self.left.store(IDLE_TICKS, Ordering::Relaxed);
        Some(rows)
    }

    /// Not read for the last calls, or stale. Forgets older states.
    fn is_idle(&self) -> bool {
        // A read in between may be lost. It is one.
        let left = self.left.load(Ordering::Relaxed);
        self.left.store(left.saturating_sub(1), Ordering::Relaxed);
        match &mut *self.state.lock() {
            State::Filling => false,
            State::Filled(states) => {
                states.truncate(1);
                left == 0
            }
            State::Stale => true,
        }
    }

    /// Has what it was announced for (`None`: nothing), unless it was written to meanwhile. Whether it is of use now.
    fn fill(&self, rows: Option<Arc<Rows>>) -> bool {
        let mut state = self.state.lock();
        *state = match (rows, &*state) {
            (Some(rows), State::Filling) => State::Filled(VecDeque::from([rows])),
            _ => State::Stale,
        };
        matches!(*state, State::Filled(_))
    }

    fn write(&self, stored_key: &[u8], value: Option<&[u8]>, ts: Timestamp) {
        let mut state = self.state.lock();
        let State::Filled(states) = &mut *state else {
            *state = State::Stale;
            return;
        };
        let newest = &states[0];
        if newest.end.as_ref().is_some_and(|end| **end <= *stored_key) {
            return;
        }
        let full =
            newest.pairs.len() >= 2 * newest.caches.range_rows || newest.pairs.bytes() >= 2 * RANGE_BYTES;
        // Below what is here: commits of two phases are not applied in their order.
        if full || ts < newest.since {
            *state = State::Stale;
            return;
        }
        let rows = newest.with(stored_key, value, ts);
        if newest.since == ts {
            // The same transaction's, not visible yet.
            states.pop_front();
        }
        states.push_front(rows);
        states.truncate(STATES);
        debug_assert!(
            states
                .iter()
                .is_sorted_by(|newer, older| newer.since > older.since),
            "a reader takes the first state that is old enough"
        );
    }
}

/// The ranges of one keyspace.
pub(crate) struct RangeCache {
    /// By the stored key they start at; no two overlap.
    ranges: RwLock<BTreeMap<Vec<u8>, Arc<Range>>>,
    /// How many there are, to pass by the lock when there are none. Only readers may: see `write`.
    len: AtomicUsize,
    caches: Arc<RangeCaches>,
}

impl RangeCache {
    pub(crate) fn new(caches: Arc<RangeCaches>) -> Self {
        RangeCache {
            ranges: RwLock::default(),
            len: AtomicUsize::new(0),
            caches,
        }
    }

    /// The rows that a reader at `at` sees in the range that has `stored_key`.
    pub(crate) fn lookup(&self, stored_key: &[u8], at: Timestamp) -> Option<Arc<Rows>> {
        self.find_rows(stored_key, at, false)
    }

    /// `lookup`, if nothing there has been written since `at`.
    pub(crate) fn lookup_newest(&self, stored_key: &[u8], at: Timestamp) -> Option<Arc<Rows>> {
        self.find_rows(stored_key, at, true)
    }

    fn find_rows(&self, stored_key: &[u8], at: Timestamp, newest: bool) -> Option<Arc<Rows>> {
        if self.len.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let rows = find(&self.ranges.read(), stored_key)?.rows(at, newest)?;
        if rows.end.as_ref().is_some_and(|end| **end <= *stored_key) {
            return None;
        }
        METRICS.range_cache_hits.inc();
        Some(rows)
    }

    /// A batch of commits has been applied: its writes here, in their order.
    pub(crate) fn write<'w>(&self, writes: impl Iterator<Item = (&'w [u8], Timestamp, Option<&'w [u8]>)>) {
        // The lock orders this against `fill`: either the range was announced, or its snapshot has the batch.
        let ranges = self.ranges.read();
        debug_assert_eq!(ranges.len(), self.len.load(Ordering::Relaxed), "readers go by it");
        if ranges.is_empty() {
            return;
        }
        for (stored_key, ts, value) in writes {
            if let Some(range) = find(&ranges, stored_key) {
                range.write(stored_key, value, ts);
            }
        }
    }

    /// Something was written past `write`.
    pub(crate) fn clear(&self) {
        let mut ranges = self.ranges.write();
        ranges.clear();
        self.len.store(0, Ordering::Relaxed);
    }

    /// The row of `key`, which lies here, was read from the engine. Whether it is worth to fill from there on.
    pub(crate) fn read_again(&self, key: &[u8]) -> bool {
        self.caches.has_room() && self.caches.read_again(key)
    }

    /// Removes what was not read for `IDLE_TICKS` calls, and states that only readers older than the last may need. Some
    /// ranges at a time: there may be very many, and everyone waits for the lock.
    pub(crate) fn tick(&self) {
        if self.len.load(Ordering::Relaxed) == 0 {
            return;
        }
        let mut from = Bound::Unbounded;
        loop {
            let mut idle = Vec::new();
            let mut last = None;
            {
                let ranges = self.ranges.read();
                let due = ranges.range::<Vec<u8>, _>((from.as_ref(), Bound::Unbounded));
                for (start, range) in due.take(TICK_RANGES) {
                    if range.is_idle() {
                        idle.push(start.clone());
                    }
                    last = Some(start);
                }
                from = match last {
                    Some(last) => Bound::Excluded(last.clone()),
                    None => return,
                };
            }
            if !idle.is_empty() {
                let mut ranges = self.ranges.write();
                for start in idle {
                    ranges.remove(&start);
                }
                self.len.store(ranges.len(), Ordering::Relaxed);
            }
        }
    }

    /// A state of one of the ranges, see `Rows`.
    fn rows(&self, since: Timestamp, pairs: KvBatch, end: Option<Arc<[u8]>>) -> Arc<Rows> {
        Rows::new(since, pairs, end, self.caches.clone())
    }

    /// Makes a range to be filled, and says where the next one starts.
    fn announce(&self, stored_key: &[u8]) -> Option<(Arc<Range>, Option<Vec<u8>>)> {
        let mut ranges = self.ranges.write();
        if let Some((start, range)) = before(&ranges, stored_key) {
            let covers = match &*range.state.lock() {
                State::Filling => true,
                State::Filled(states) => states[0].end.as_ref().is_none_or(|end| **end > *stored_key),
                State::Stale => false,
            };
            if covers {
                return None;
            }
            if start == stored_key {
                ranges.remove(stored_key);
            }
        }
        let behind = (Bound::Excluded(stored_key), Bound::Unbounded);
        let limit = ranges
            .range::<[u8], _>(behind)
            .next()
            .map(|(start, _)| start.clone());
        let range = Arc::new(Range {
            state: Mutex::new(State::Filling),
            left: AtomicU8::new(IDLE_TICKS),
        });
        ranges.insert(stored_key.to_vec(), range.clone());
        self.len.store(ranges.len(), Ordering::Relaxed);
        Some((range, limit))
    }
}

fn before<'r>(
    ranges: &'r BTreeMap<Vec<u8>, Arc<Range>>,
    stored_key: &[u8],
) -> Option<(&'r Vec<u8>, &'r Arc<Range>)> {
    let upto = (Bound::Unbounded, Bound::Included(stored_key));
    ranges.range::<[u8], _>(upto).next_back()
}

/// The range that has `stored_key`, or one that ends before it.
fn find(ranges: &BTreeMap<Vec<u8>, Arc<Range>>, stored_key: &[u8]) -> Option<Arc<Range>> {
    before(ranges, stored_key).map(|(_, range)| range.clone())
}

#[cfg(test)]
mod tests;
