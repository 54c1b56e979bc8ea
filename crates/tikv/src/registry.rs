//! What this node's transactions hold: their pessimistic locks, the primary among them, and that they are alive at all,
//! which holds back garbage collection.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use ahash::RandomState;
use bytes::Bytes;
use ilmenite_store::{Error, Result, Timestamp};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

/// What a lock takes besides the bytes of its key, about.
const LOCK_OVERHEAD_BYTES: usize = 160;

/// A lock of a transaction.
#[derive(Debug, Clone)]
pub(crate) struct Held {
    pub for_update_ts: Timestamp,
    /// Had the key a value when it was locked? It cannot change while the lock is held.
    pub exists: bool,
    /// Given back by the transaction, but kept in the store because it is the primary of others.
    pub ghost: bool,
}

#[derive(Default)]
pub(crate) struct Locks {
    /// Every lock points to it: whoever meets one asks there whether the transaction is alive.
    pub primary: Option<Bytes>,
    pub keys: HashMap<Bytes, Held, RandomState>,
    bytes: usize,
    /// Why the locks can no longer be relied on.
    pub lost: Option<String>,
    /// Ends the signs of life.
    pub heartbeat: Option<CancellationToken>,
}

impl Locks {
    pub(crate) fn greatest_for_update_ts(&self) -> Timestamp {
        let all = self.keys.values().map(|h| h.for_update_ts);
        all.max().unwrap_or(Timestamp::ZERO)
    }

    pub(crate) fn check(&self) -> Result<()> {
        match &self.lost {
            Some(why) => Err(Error::LocksLost(why.clone())),
            None => Ok(()),
        }
    }
}

pub(crate) struct Txn {
    pub start_ts: Timestamp,
    pub began: Instant,
    pub locks: Mutex<Locks>,
    /// Requests for locks and their return, and the commit, come one at a time.
    pub turn: tokio::sync::Mutex<()>,
}

impl Txn {
    /// After a request for the first locks that failed.
    pub(crate) fn forget_primary_without_locks(&self) {
        let mut locks = self.locks.lock();
        if locks.keys.is_empty() {
            locks.primary = None;
            if let Some(token) = locks.heartbeat.take() {
                token.cancel();
            }
        }
    }

    pub(crate) fn stop_heartbeat(&self) {
        if let Some(token) = self.locks.lock().heartbeat.take() {
            token.cancel();
        }
    }
}

/// All transactions of this node that began and have not ended, and the timestamps of ingests under way.
pub(crate) struct Registry {
    txns: Mutex<BTreeMap<Timestamp, Arc<Txn>>>,
    ingests: Mutex<BTreeMap<u64, Timestamp>>,
    bytes: AtomicUsize,
    bytes_per_txn: usize,
    bytes_in_all: usize,
}

impl Registry {
    pub(crate) fn new(bytes_per_txn: usize, bytes_in_all: usize) -> Self {
        Registry {
            txns: Mutex::default(),
            ingests: Mutex::default(),
            bytes: AtomicUsize::new(0),
            bytes_per_txn,
            bytes_in_all,
        }
    }

    pub(crate) fn get(&self, start_ts: Timestamp) -> Option<Arc<Txn>> {
        self.txns.lock().get(&start_ts).cloned()
    }

    /// Also for one that was begun elsewhere.
    pub(crate) fn begin(&self, start_ts: Timestamp) -> Arc<Txn> {
        let mut txns = self.txns.lock();
        let txn = txns.entry(start_ts).or_insert_with(|| {
            Arc::new(Txn {
                start_ts,
                began: Instant::now(),
                locks: Mutex::default(),
                turn: tokio::sync::Mutex::new(()),
            })
        });
        txn.clone()
    }

    /// Forgets it. Whatever locks it had must have been dealt with.
    pub(crate) fn end(&self, start_ts: Timestamp) {
        let Some(txn) = self.txns.lock().remove(&start_ts) else {
            return;
        };
        txn.stop_heartbeat();
        let bytes = std::mem::take(&mut *txn.locks.lock()).bytes;
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Forgets transactions that began before `limit`.
    pub(crate) fn end_older_than(&self, age: std::time::Duration) {
        let old: Vec<Timestamp> = {
            let txns = self.txns.lock();
            let old = txns.values().filter(|t| t.began.elapsed() > age);
            old.map(|t| t.start_ts).collect()
        };
        for start_ts in old {
            tracing::warn!(%start_ts, "a transaction is too old and given up");
            self.end(start_ts);
        }
    }

    /// The oldest timestamp that somebody here may still read at.
    pub(crate) fn oldest(&self) -> Option<Timestamp> {
        let txn = self.txns.lock().keys().next().copied();
        let ingest = self.ingests.lock().values().min().copied();
        match (txn, ingest) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    pub(crate) fn begin_ingest(&self, ts: Timestamp) -> u64 {
        let mut ingests = self.ingests.lock();
        let id = ingests.last_key_value().map_or(0, |(id, _)| id + 1);
        ingests.insert(id, ts);
        id
    }

    pub(crate) fn end_ingest(&self, id: u64) {
        self.ingests.lock().remove(&id);
    }

    /// Would these further locks be within bounds?
    pub(crate) fn check_room<'k>(&self, txn: &Txn, keys: impl Iterator<Item = &'k Bytes>) -> Result<()> {
        let more: usize = keys.map(|k| k.len() + LOCK_OVERHEAD_BYTES).sum();
        let own = txn.locks.lock().bytes + more;
        let in_all = self.bytes.load(Ordering::Relaxed) + more;
        let (what, size, limit) = if own > self.bytes_per_txn {
            ("a transaction's locks", own, self.bytes_per_txn)
        } else if in_all > self.bytes_in_all {
            ("the lock table", in_all, self.bytes_in_all)
        } else {
            return Ok(());
        };
        Err(Error::TooLarge { what, size, limit })
    }

    /// Counts locks as the transaction's.
    pub(crate) fn hold(&self, txn: &Txn, locked: Vec<(Bytes, Held)>) {
        let mut locks = txn.locks.lock();
        for (key, held) in locked {
            let bytes = key.len() + LOCK_OVERHEAD_BYTES;
            if locks.keys.insert(key, held).is_none() {
                locks.bytes += bytes;
                self.bytes.fetch_add(bytes, Ordering::Relaxed);
            }
        }
    }

    pub(crate) fn release(&self, txn: &Txn, keys: &[Bytes]) {
        let mut locks = txn.locks.lock();
        for key in keys {
            if locks.keys.remove(key).is_some() {
                let bytes = key.len() + LOCK_OVERHEAD_BYTES;
                locks.bytes -= bytes;
                self.bytes.fetch_sub(bytes, Ordering::Relaxed);
            }
        }
        drop(locks);
        txn.forget_primary_without_locks();
    }

    #[cfg(test)]
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held() -> Held {
        Held {
            for_update_ts: Timestamp(5),
            exists: false,
            ghost: false,
        }
    }

    #[test]
    fn locks_are_counted_and_bounded() {
        let registry = Registry::new(3 * (LOCK_OVERHEAD_BYTES + 1), 4 * (LOCK_OVERHEAD_BYTES + 1));
        let keys: Vec<Bytes> = ["a", "b", "c", "d"].map(Bytes::from).into();
        let one = registry.begin(Timestamp(1));
        assert!(registry.check_room(&one, keys.iter()).is_err());
        registry.check_room(&one, keys[..3].iter()).unwrap();
        registry.hold(&one, keys[..3].iter().map(|k| (k.clone(), held())).collect());
        registry.hold(&one, vec![(keys[0].clone(), held())]);
        let two = registry.begin(Timestamp(2));
        registry.check_room(&two, keys[..1].iter()).unwrap();
        assert!(matches!(
            registry.check_room(&two, keys[..2].iter()),
            Err(Error::TooLarge {
                what: "the lock table",
                ..
            })
        ));
        registry.release(&one, &keys[..1]);
        registry.release(&one, &keys[..1]);
        registry.check_room(&two, keys[..2].iter()).unwrap();
        registry.end(Timestamp(1));
        assert_eq!(registry.bytes(), 0);
    }

    #[test]
    fn the_oldest_of_transactions_and_ingests() {
        let registry = Registry::new(1 << 20, 1 << 20);
        assert_eq!(registry.oldest(), None);
        registry.begin(Timestamp(7));
        registry.begin(Timestamp(9));
        assert_eq!(registry.oldest(), Some(Timestamp(7)));
        let ingest = registry.begin_ingest(Timestamp(3));
        let later = registry.begin_ingest(Timestamp(8));
        assert_eq!(registry.oldest(), Some(Timestamp(3)));
        registry.end_ingest(ingest);
        registry.end(Timestamp(7));
        assert_eq!(registry.oldest(), Some(Timestamp(8)));
        registry.end_ingest(later);
        registry.end_older_than(std::time::Duration::ZERO);
        assert_eq!(registry.oldest(), None);
    }
}
