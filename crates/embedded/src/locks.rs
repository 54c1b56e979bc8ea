//! Locks on keys, in memory: pessimistic ones, held by a transaction until it ends, and those a commit takes for the
//! moment between its checks and its being applied.
//!
//! Waiters of a key are served in order: a lock given back passes straight to the first of them. Who waits for whom
//! is a graph in which the request that would close a cycle is refused. A commit never waits for a pessimistic lock,
//! so only lock requests can be in a cycle.

mod guards;
mod waits;

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use ahash::RandomState;
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::metrics::METRICS;
use ilmenite_store::{Error, Result, Timestamp};

use guards::Reserved;
use waits::WaitGraph;

pub(crate) use guards::{CommitLocks, HeldKeys, Taken};
pub use waits::LockWait;

const SHARDS: usize = 64;
/// What a lock takes besides the bytes of its key, about.
const LOCK_OVERHEAD_BYTES: usize = 160;
/// A commit that finds other commits on its keys this often in a row gives up.
const COMMIT_ATTEMPTS: usize = 1000;

type Map<K, V> = HashMap<K, V, RandomState>;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Holder {
    /// A pessimistic lock, until its transaction ends.
    Txn(Timestamp),
    /// A commit under way, until it is applied.
    Commit(Timestamp),
}

impl Holder {
    fn ts(self) -> Timestamp {
        match self {
            Holder::Txn(ts) | Holder::Commit(ts) => ts,
        }
    }
}

struct Lock {
    holder: Holder,
    waiters: VecDeque<Waiter>,
    /// Commits that wait for a commit here to end; they then look again.
    watchers: Vec<oneshot::Sender<()>>,
}

impl Lock {
    fn new(holder: Holder) -> Self {
        Lock {
            holder,
            waiters: VecDeque::new(),
            watchers: Vec::new(),
        }
    }
}

struct Waiter {
    id: u64,
    start_ts: Timestamp,
    granted: oneshot::Sender<()>,
}

/// The outcome of `try_lock`.
pub(crate) enum TryLock {
    New,
    /// It was the transaction's before.
    Own,
    /// Another transaction's.
    Busy(Timestamp),
    /// A commit under way holds it; the receiver is told when it is worth looking again.
    Committing(oneshot::Receiver<()>),
}

/// What a transaction holds: each key, and whether it had a value when it was locked (once that was read).
#[derive(Default)]
struct Held {
    keys: Map<Bytes, bool>,
    bytes: usize,
}

pub(crate) struct LockTable {
    hasher: RandomState,
    shards: Vec<Mutex<Map<Bytes, Lock>>>,
    held: Vec<Mutex<Map<Timestamp, Held>>>,
    waits: WaitGraph,
    next_id: AtomicU64,
    bytes: AtomicUsize,
    bytes_per_txn: usize,
    bytes_in_all: usize,
}

impl LockTable {
    pub(crate) fn new(bytes_per_txn: usize, bytes_in_all: usize) -> Self {
        LockTable {
            hasher: RandomState::new(),
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            held: (0..SHARDS).map(|_| Mutex::default()).collect(),
            waits: WaitGraph::default(),
            next_id: AtomicU64::new(1),
            bytes: AtomicUsize::new(0),
            bytes_per_txn,
            bytes_in_all,
        }
    }

    /// Keys that are locked or waited for.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().len()).sum()
    }

    fn shard(&self, key: &[u8]) -> &Mutex<Map<Bytes, Lock>> {
        &self.shards[self.hasher.hash_one(key) as usize % SHARDS]
    }

    fn held(&self, start_ts: Timestamp) -> &Mutex<Map<Timestamp, Held>> {
        &self.held[self.hasher.hash_one(start_ts) as usize % SHARDS]
    }

    /// Locks all keys, or none, in order. Returns those it did not hold before.
    /// Dropped while it waits, it leaves the queue and gives back what it had taken.
    pub(crate) async fn lock<'t>(
        &'t self,
        start_ts: Timestamp,
        keys: &[Bytes],
        wait: Duration,
    ) -> Result<Taken<'t>> {
        let mut taken = Taken {
            table: self,
            start_ts,
            keys: Vec::new(),
        };
        let deadline = Instant::now().checked_add(wait);
        for key in keys {
            if self.lock_one(start_ts, key, deadline, wait.is_zero()).await? {
                taken.keys.push(key.clone());
            }
        }
        Ok(taken)
    }

    /// `lock` of one key, to be given back with `unlock`. `false`: the transaction held it before.
    pub(crate) async fn lock_one(
        &self,
        start_ts: Timestamp,
        key: &Bytes,
        deadline: Option<Instant>,
        no_wait: bool,
    ) -> Result<bool> {
        if !self.reserve(start_ts, key)? {
            return match self.holder(key) {
                Some(Holder::Txn(ts)) if ts == start_ts => Ok(false),
                // Another request of this transaction waits for it already.
                other => Err(Error::LockTimeout {
                    key: key.to_vec(),
                    holder: other.map_or(start_ts, Holder::ts),
                }),
            };
        }
        let mut reserved = Reserved {
            table: self,
            start_ts,
            key: key.clone(),
            waiting: None,
            armed: true,
        };
        if let Some((id, granted, holder)) = self.enter(start_ts, key, no_wait)? {
            reserved.waiting = Some(id);
            METRICS.lock_waits.inc();
            let began = Instant::now();
            let given = match deadline {
                Some(deadline) => tokio::time::timeout_at(deadline.into(), granted).await,
                None => Ok(granted.await),
            };
            METRICS.lock_wait_seconds.observe(began.elapsed().as_secs_f64());
            match given {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Err(Error::Cancelled),
                Err(_) => {
                    METRICS.lock_timeouts.inc();
                    return Err(Error::LockTimeout {
                        key: key.to_vec(),
                        holder,
                    });
                }
            }
        }
        reserved.armed = false;
        Ok(true)
    }

    fn holder(&self, key: &[u8]) -> Option<Holder> {
        self.shard(key).lock().get(key).map(|lock| lock.holder)
    }

    /// Whether the transaction holds the key now.
    pub(crate) fn holds(&self, start_ts: Timestamp, key: &[u8]) -> bool {
        self.holder(key) == Some(Holder::Txn(start_ts))
    }

    /// Takes the key for the transaction, if nobody else has it.
    pub(crate) fn try_lock(&self, start_ts: Timestamp, key: &Bytes) -> Result<TryLock> {
        let new = self.reserve(start_ts, key)?;
        let mut shard = self.shard(key).lock();
        let outcome = match shard.get_mut(key) {
            None => {
                shard.insert(key.clone(), Lock::new(Holder::Txn(start_ts)));
                return Ok(TryLock::New);
            }
            Some(lock) => match lock.holder {
                Holder::Txn(ts) if ts == start_ts => TryLock::Own,
                Holder::Txn(other) => TryLock::Busy(other),
                Holder::Commit(_) => {
                    let (tx, rx) = oneshot::channel();
                    lock.watchers.push(tx);
                    TryLock::Committing(rx)
                }
            },
        };
        drop(shard);
        if new {
            self.unreserve(start_ts, key);
        }
        Ok(outcome)
    }

    /// The keys the transaction holds or waits for.
    pub(crate) fn keys_of(&self, start_ts: Timestamp) -> Vec<Bytes> {
        let shard = self.held(start_ts).lock();
        shard
            .get(&start_ts)
            .map(|held| held.keys.keys().cloned().collect())
            .unwrap_or_default()
    }

    /// All waits there are.
    pub(crate) fn waits(&self) -> Vec<LockWait> {
        self.waits.all()
    }

    /// The circle that a request of `waiter` for what `holder` holds would close, from the request on.
    pub(crate) fn circle(&self, waiter: Timestamp, holder: Timestamp, key: &Bytes) -> Vec<LockWait> {
        self.waits.circle(waiter, holder, key)
    }

    /// Counts the key as the transaction's. `false`: it holds it already.
    fn reserve(&self, start_ts: Timestamp, key: &Bytes) -> Result<bool> {
        let bytes = key.len() + LOCK_OVERHEAD_BYTES;
        let mut shard = self.held(start_ts).lock();
        let held = shard.entry(start_ts).or_default();
        if held.keys.contains_key(key) {
            return Ok(false);
        }
        let in_all = self.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        debug_assert!(in_all >= held.bytes + bytes, "one transaction has more than all");
        let (what, size, limit) = if held.bytes + bytes > self.bytes_per_txn {
            ("a transaction's locks", held.bytes + bytes, self.bytes_per_txn)
        } else if in_all > self.bytes_in_all {
            ("the lock table", in_all, self.bytes_in_all)
        } else {
            held.bytes += bytes;
            held.keys.insert(key.clone(), false);
            return Ok(true);
        };
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        if held.keys.is_empty() {
            shard.remove(&start_ts);
        }
        Err(Error::TooLarge { what, size, limit })
    }

    fn unreserve(&self, start_ts: Timestamp, key: &[u8]) -> bool {
        let mut shard = self.held(start_ts).lock();
        let Some(held) = shard.get_mut(&start_ts) else {
            return false;
        };
        let had = held.keys.remove(key).is_some();
        if had {
            let bytes = key.len() + LOCK_OVERHEAD_BYTES;
            held.bytes -= bytes;
            self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        }
        if held.keys.is_empty() {
            debug_assert_eq!(held.bytes, 0, "counted as the keys' bytes");
            shard.remove(&start_ts);
        }
        had
    }

    /// Takes the lock (`None`), or a place in its queue.
    #[allow(clippy::type_complexity)]
    fn enter(
        &self,
        start_ts: Timestamp,
        key: &Bytes,
        no_wait: bool,
    ) -> Result<Option<(u64, oneshot::Receiver<()>, Timestamp)>> {
        let mut shard = self.shard(key).lock();
        let Some(lock) = shard.get_mut(key) else {
            shard.insert(key.clone(), Lock::new(Holder::Txn(start_ts)));
            return Ok(None);
        };
        let holder = lock.holder.ts();
        // A commit ends by itself within moments: NOWAIT is about transactions.
        if no_wait && matches!(lock.holder, Holder::Txn(_)) {
            return Err(Error::LockNotAvailable {
                key: key.to_vec(),
                holder,
            });
        }
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        self.waits.add(id, start_ts, holder, key)?;
        let (granted, receiver) = oneshot::channel();
        lock.waiters.push_back(Waiter {
            id,
            start_ts,
            granted,
        });
        Ok(Some((id, receiver, holder)))
    }

    /// Gives the lock to the first waiter that is still there, or frees it.
    fn pass_on(&self, shard: &mut Map<Bytes, Lock>, key: &[u8]) {
        let Some(lock) = shard.get_mut(key) else {
            return;
        };
        for watcher in lock.watchers.drain(..) {
            // One that is gone no longer cares.
            let _ = watcher.send(());
        }
        while let Some(next) = lock.waiters.pop_front() {
            let grant = || next.granted.send(()).is_ok();
            let others = lock.waiters.iter().map(|waiter| waiter.id);
            if self.waits.pass(next.id, next.start_ts, grant, others) {
                lock.holder = Holder::Txn(next.start_ts);
                return;
            }
        }
        shard.remove(key);
    }

    fn release(&self, holder: Holder, key: &[u8]) {
        let mut shard = self.shard(key).lock();
        if shard.get(key).is_some_and(|lock| lock.holder == holder) {
            self.pass_on(&mut shard, key);
        }
    }

    /// Gives back locks of the transaction; all of them when `keys` is `None`.
    pub(crate) fn unlock(&self, start_ts: Timestamp, keys: Option<&[Bytes]>) {
        match keys {
            Some(keys) => {
                for key in keys {
                    if self.unreserve(start_ts, key) {
                        self.release(Holder::Txn(start_ts), key);
                    }
                }
            }
            None => {
                let Some(held) = self.held(start_ts).lock().remove(&start_ts) else {
                    return;
                };
                self.bytes.fetch_sub(held.bytes, Ordering::Relaxed);
                for key in held.keys.keys() {
                    self.release(Holder::Txn(start_ts), key);
                }
            }
        }
    }

    /// Remembers which of the transaction's keys have a value.
    pub(crate) fn set_existence(&self, start_ts: Timestamp, keys: impl Iterator<Item = (Bytes, bool)>) {
        let mut shard = self.held(start_ts).lock();
        if let Some(held) = shard.get_mut(&start_ts) {
            for (key, has_value) in keys {
                if let Some(existed) = held.keys.get_mut(&key) {
                    *existed = has_value;
                }
            }
        }
    }

    /// For a key the transaction holds: whether it had a value.
    pub(crate) fn existed(&self, start_ts: Timestamp, key: &[u8]) -> Option<bool> {
        let shard = self.held(start_ts).lock();
        shard.get(&start_ts)?.keys.get(key).copied()
    }

    /// Takes the keys for a commit, all at once; those the transaction holds anyway are left alone. Waits for other
    /// commits on them, never for a pessimistic lock.
    pub(crate) async fn take_for_commit<'k>(
        self: &std::sync::Arc<Self>,
        start_ts: Timestamp,
        keys: impl Iterator<Item = &'k Bytes> + Clone,
    ) -> Result<CommitLocks> {
        for _ in 0..COMMIT_ATTEMPTS {
            let mut locks = CommitLocks {
                table: self.clone(),
                start_ts,
                keys: Vec::with_capacity(keys.size_hint().0),
            };
            let mut busy = None;
            for key in keys.clone() {
                let mut shard = self.shard(key).lock();
                match shard.get_mut(key) {
                    None => {
                        shard.insert(key.clone(), Lock::new(Holder::Commit(start_ts)));
                        locks.keys.push(key.clone());
                    }
                    Some(lock) => match lock.holder {
                        Holder::Txn(ts) if ts == start_ts => {}
                        Holder::Txn(other) => {
                            return Err(Error::WriteConflict {
                                key: key.to_vec(),
                                start_ts,
                                conflict_ts: other,
                            });
                        }
                        Holder::Commit(_) => {
                            let (tx, rx) = oneshot::channel();
                            lock.watchers.push(tx);
                            busy = Some(rx);
                            break;
                        }
                    },
                }
            }
            match busy {
                None => return Ok(locks),
                Some(rx) => {
                    drop(locks);
                    // An error means the lock is gone: the same news.
                    let _ = rx.await;
                }
            }
        }
        Err(Error::Unavailable("too many commits on the same keys".into()))
    }

    /// Bytes the locks take, about; for tests and metrics.
    #[cfg(test)]
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests;
