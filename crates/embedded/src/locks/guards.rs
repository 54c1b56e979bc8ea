//! Keys that are held as long as somebody wants them, and given back when he is gone.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use super::{Holder, LockTable};
use ilmenite_store::Timestamp;

/// Locks a request took. Dropped without `keep`, it gives them back.
pub(crate) struct Taken<'t> {
    pub(crate) table: &'t LockTable,
    pub(crate) start_ts: Timestamp,
    pub(crate) keys: Vec<Bytes>,
}

impl Taken<'_> {
    pub(crate) fn keep(mut self) {
        self.keys.clear();
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        if !self.keys.is_empty() {
            self.table.unlock(self.start_ts, Some(&self.keys));
        }
    }
}

/// A key counted as the transaction's that it does not hold yet.
pub(crate) struct Reserved<'t> {
    pub(crate) table: &'t LockTable,
    pub(crate) start_ts: Timestamp,
    pub(crate) key: Bytes,
    pub(crate) waiting: Option<u64>,
    pub(crate) armed: bool,
}

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        if !self.armed {
            return;
        }
        self.table.unreserve(self.start_ts, &self.key);
        let Some(id) = self.waiting else {
            return;
        };
        let mut shard = self.table.shard(&self.key).lock();
        let waited = self.table.waits.remove(id);
        let Some(lock) = shard.get_mut(&self.key) else {
            return;
        };
        match lock.waiters.iter().position(|w| w.id == id) {
            Some(i) => {
                debug_assert!(waited, "whoever is in a queue is in the graph");
                lock.waiters.remove(i);
            }
            // No longer in the queue: it was granted and nobody took note.
            None if lock.holder == Holder::Txn(self.start_ts) => self.table.pass_on(&mut shard, &self.key),
            None => {}
        }
    }
}

/// Keys taken with `try_lock` or `lock_one` that the transaction gives back, unless `keep` is called.
pub(crate) struct HeldKeys {
    table: Arc<LockTable>,
    start_ts: Timestamp,
    keys: Mutex<Vec<Bytes>>,
}

impl HeldKeys {
    pub(crate) fn new(table: &Arc<LockTable>, start_ts: Timestamp) -> Self {
        HeldKeys {
            table: table.clone(),
            start_ts,
            keys: Mutex::default(),
        }
    }

    pub(crate) fn add(&self, key: Bytes) {
        self.keys.lock().push(key);
    }

    pub(crate) fn has(&self, key: &Bytes) -> bool {
        self.keys.lock().contains(key)
    }

    /// Those for which `keep` says so stay the transaction's.
    pub(crate) fn keep(&self, keep: impl Fn(&Bytes) -> bool) {
        self.keys.lock().retain(|key| !keep(key));
    }

    /// Gives them back now.
    pub(crate) fn release(&self) {
        for key in std::mem::take(&mut *self.keys.lock()) {
            // It may have ended meanwhile, by another request, and then knows nothing of this key any more.
            self.table.unreserve(self.start_ts, &key);
            self.table.release(Holder::Txn(self.start_ts), &key);
        }
    }
}

impl Drop for HeldKeys {
    fn drop(&mut self) {
        self.release();
    }
}

/// The keys of a commit under way; dropped when it is applied or given up.
pub(crate) struct CommitLocks {
    pub(crate) table: Arc<LockTable>,
    pub(crate) start_ts: Timestamp,
    pub(crate) keys: Vec<Bytes>,
}

impl Drop for CommitLocks {
    fn drop(&mut self) {
        for key in &self.keys {
            debug_assert!(
                self.table.holder(key) == Some(Holder::Commit(self.start_ts)),
                "nobody takes a key from a commit"
            );
            self.table.release(Holder::Commit(self.start_ts), key);
        }
    }
}
