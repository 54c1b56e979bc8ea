//! Transactions under way, in memory: when they began, and what they have locked.

use std::collections::BTreeSet;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::OwnedMutexGuard;

use crate::locks::LockTable;
use crate::twophase::index::LockIndex;
use ilmenite_store::Timestamp;

/// Latches; transactions share them.
const LATCHES: usize = 512;

pub(crate) struct Transactions {
    /// Who holds which key.
    pub locks: Arc<LockTable>,
    /// Of transactions in two phases: what the locks on keys say.
    pub index: LockIndex,
    latches: Vec<Arc<tokio::sync::Mutex<()>>>,
    /// Those that have begun here and not ended.
    active: Mutex<BTreeSet<Timestamp>>,
}

impl Transactions {
    pub(crate) fn new(locks: LockTable) -> Self {
        Transactions {
            locks: Arc::new(locks),
            index: LockIndex::default(),
            latches: (0..LATCHES).map(|_| Arc::default()).collect(),
            active: Mutex::default(),
        }
    }

    pub(crate) fn begin(&self, start_ts: Timestamp) {
        self.active.lock().insert(start_ts);
    }

    /// Gives back all its locks, and what it kept from garbage collection.
    pub(crate) fn end(&self, start_ts: Timestamp) {
        self.locks.unlock(start_ts, None);
        self.active.lock().remove(&start_ts);
    }

    /// The oldest of which somebody may still want to know what it read and locked. Those that began before `since` have
    /// been active for too long and no longer count, unless they have prewritten locks.
    pub(crate) fn oldest(&self, since: Timestamp) -> Option<Timestamp> {
        let mut active = self.active.lock();
        *active = active.split_off(&since);
        let first = active.first().copied();
        drop(active);
        [first, self.index.oldest()].into_iter().flatten().min()
    }

    /// The latch of a transaction in two phases.
    pub(crate) async fn latch(&self, start_ts: Timestamp) -> OwnedMutexGuard<()> {
        // Consecutive timestamps differ in their low bits, those of different milliseconds in the others.
        let hash = start_ts.0.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        let latch = &self.latches[hash as usize % LATCHES];
        latch.clone().lock_owned().await
    }

    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn count(&self) -> usize {
        self.active.lock().len()
    }
}
