//! All locks, by key, in memory: what readers look through.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use parking_lot::RwLock;

use super::record::{LockInfo, LockRecord};
use ilmenite_store::{KeyRange, Timestamp};

#[derive(Default)]
pub(crate) struct LockIndex {
    locks: RwLock<BTreeMap<Bytes, Arc<LockRecord>>>,
    /// Locks that can stand in a reader's way. Mostly there are none, and readers need not look.
    prewrites: AtomicUsize,
}

impl LockIndex {
    pub(crate) fn get(&self, key: &[u8]) -> Option<Arc<LockRecord>> {
        self.locks.read().get(key).cloned()
    }

    /// The lock of the transaction on the key.
    pub(crate) fn own(&self, key: &[u8], start_ts: Timestamp) -> Option<Arc<LockRecord>> {
        self.get(key).filter(|lock| lock.start_ts == start_ts)
    }

    pub(crate) fn put(&self, key: Bytes, lock: LockRecord) {
        let mut locks = self.locks.write();
        // Counted while nobody can look, so that the count is never behind.
        if lock.is_prewrite() {
            self.prewrites.fetch_add(1, Ordering::SeqCst);
        }
        let start_ts = lock.start_ts;
        if let Some(old) = locks.insert(key, Arc::new(lock)) {
            debug_assert!(old.start_ts == start_ts, "a key is locked by one transaction");
            if old.is_prewrite() {
                self.prewrites.fetch_sub(1, Ordering::SeqCst);
            }
        }
    }

    /// Removes the transaction's lock on the key, if there is one.
    pub(crate) fn remove(&self, key: &[u8], start_ts: Timestamp) -> Option<Arc<LockRecord>> {
        let mut locks = self.locks.write();
        if locks.get(key)?.start_ts != start_ts {
            return None;
        }
        let lock = locks.remove(key)?;
        if lock.is_prewrite() {
            self.prewrites.fetch_sub(1, Ordering::SeqCst);
        }
        Some(lock)
    }

    /// Whether no reader can meet a lock.
    pub(crate) fn is_clear(&self) -> bool {
        self.prewrites.load(Ordering::SeqCst) == 0
    }

    /// Locks on keys of the range for which `filter` is true, in key order (backward when `reverse`), at most `limit`.
    pub(crate) fn scan(
        &self,
        range: &KeyRange,
        reverse: bool,
        limit: usize,
        mut filter: impl FnMut(&Bytes, &LockRecord) -> bool,
    ) -> Vec<LockInfo> {
        if range.is_empty() {
            return Vec::new();
        }
        let locks = self.locks.read();
        let end = match &range.end[..] {
            [] => Bound::Unbounded,
            end => Bound::Excluded(end),
        };
        let within = locks.range::<[u8], _>((Bound::Included(&range.start[..]), end));
        let mut take = |(key, lock): (&Bytes, &Arc<LockRecord>)| {
            filter(key, lock).then(|| LockInfo {
                key: key.clone(),
                lock: LockRecord::clone(lock),
            })
        };
        if reverse {
            within.rev().filter_map(&mut take).take(limit).collect()
        } else {
            within.filter_map(&mut take).take(limit).collect()
        }
    }

    /// The start timestamp of the oldest prewritten transaction.
    pub(crate) fn oldest(&self) -> Option<Timestamp> {
        if self.is_clear() {
            return None;
        }
        let locks = self.locks.read();
        let prewrites = locks.values().filter(|lock| lock.is_prewrite());
        prewrites.map(|lock| lock.start_ts).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::twophase::LockKind;

    fn lock(start_ts: u64, kind: LockKind) -> LockRecord {
        LockRecord {
            kind,
            start_ts: Timestamp(start_ts),
            primary: Bytes::new(),
            ttl_ms: 0,
            for_update_ts: Timestamp::ZERO,
            txn_size: 0,
            min_commit_ts: Timestamp::ZERO,
            hides: false,
        }
    }

    fn key(s: &'static str) -> Bytes {
        Bytes::from_static(s.as_bytes())
    }

    #[test]
    fn counts_what_readers_can_meet() {
        let index = LockIndex::default();
        index.put(key("a"), lock(1, LockKind::Pessimistic));
        assert!(index.is_clear());
        index.put(key("a"), lock(1, LockKind::Put));
        index.put(key("b"), lock(2, LockKind::Lock));
        assert!(!index.is_clear());
        assert_eq!(index.oldest(), Some(Timestamp(1)));
        assert!(index.remove(b"a", Timestamp(2)).is_none(), "another's");
        assert!(index.remove(b"a", Timestamp(1)).is_some());
        assert_eq!(index.oldest(), Some(Timestamp(2)));
        assert!(index.remove(b"b", Timestamp(2)).is_some());
        assert!(index.is_clear() && index.oldest().is_none());
    }

    #[test]
    fn scans_a_range_either_way() {
        let index = LockIndex::default();
        for (i, k) in ["a", "b", "c", "d"].into_iter().enumerate() {
            index.put(key(k), lock(i as u64, LockKind::Put));
        }
        let keys = |range: KeyRange, reverse, limit| -> Vec<Bytes> {
            let found = index.scan(&range, reverse, limit, |_, lock| lock.start_ts != Timestamp(2));
            found.into_iter().map(|info| info.key).collect()
        };
        let upto_d = || KeyRange::new(key("a"), key("d"));
        assert_eq!(keys(upto_d(), false, 9), ["a", "b"]);
        assert_eq!(keys(upto_d(), true, 1), ["b"]);
        assert_eq!(keys(KeyRange::new(key("b"), key("")), true, 9), ["d", "b"]);
        assert!(keys(KeyRange::new(key("c"), key("b")), false, 9).is_empty());
    }
}
