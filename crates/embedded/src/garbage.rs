//! How much of a keyspace is garbage, counted as it is made.

use std::sync::atomic::{AtomicU64, Ordering};

use ilmenite_store::Timestamp;

/// A keyspace is swept when at least one in so many of its entries is garbage …
const GARBAGE_RATIO: u64 = 16;
/// … and there are so many, or when it holds any for longer than `STALE_ROUNDS` rounds.
const GARBAGE_ENTRIES: u64 = 10_000;
const STALE_ROUNDS: u64 = 60;

/// How many versions of a keyspace are hidden by newer ones or are delete markers. An estimate.
pub(crate) struct Garbage {
    entries: AtomicU64,
    /// The oldest commit that made some of it: below it a sweep would find nothing.
    since: AtomicU64,
    rounds: AtomicU64,
}

impl Garbage {
    pub(crate) fn none() -> Self {
        Garbage {
            entries: AtomicU64::new(0),
            since: AtomicU64::new(u64::MAX),
            rounds: AtomicU64::new(0),
        }
    }

    /// After a restart: there may be any amount.
    pub(crate) fn unknown() -> Self {
        Garbage {
            entries: AtomicU64::new(1),
            since: AtomicU64::new(0),
            rounds: AtomicU64::new(0),
        }
    }

    /// Commits from `since` on made so many.
    pub(crate) fn add(&self, entries: u64, since: Timestamp) {
        if entries > 0 {
            self.entries.fetch_add(entries, Ordering::Relaxed);
            self.since.fetch_min(since.0, Ordering::Relaxed);
        }
    }

    /// Whether a sweep pays, of a keyspace with `in_all` entries; `any`: however little there is.
    pub(crate) fn due(&self, safe_point: Timestamp, in_all: u64, any: bool) -> bool {
        let entries = self.entries.load(Ordering::Relaxed);
        if entries == 0 || self.since.load(Ordering::Relaxed) > safe_point.0 {
            return false;
        }
        let rounds = self.rounds.fetch_add(1, Ordering::Relaxed);
        any || rounds >= STALE_ROUNDS || (entries >= GARBAGE_ENTRIES && entries >= in_all / GARBAGE_RATIO)
    }

    /// A sweep begins. What commits add from here on is not lost, though the sweep may see it, too.
    pub(crate) fn reset(&self) {
        self.entries.store(0, Ordering::Relaxed);
        self.since.store(u64::MAX, Ordering::Relaxed);
        self.rounds.store(0, Ordering::Relaxed);
    }
}
