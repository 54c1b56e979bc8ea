//! Transactions in two phases, for clients over the network: the model of Percolator, as TiKV has it.
//!
//! A transaction *prewrites* its keys: each gets a lock that carries the new value, durably. Then its client takes a
//! timestamp and *commits*: the lock on the primary key gives way to a version at that timestamp, and with it the
//! transaction is decided; the other keys follow. Whoever meets a lock asks, through the primary, what became of its
//! transaction, and may end it when it has outlived its time. A transaction may also lock keys *pessimistically* before.
//!
//! What is different from TiKV, since one process has all keys: what became of a transaction is one row, not a record
//! for each key; it is written with the change that decides it.
//!
//! **No reader misses a commit.** A reader at R looks at the locks first and takes its snapshot of the engine then. Let
//! a transaction be committed at C <= R. Its client took C after prewriting, so the lock was in the index before C was
//! given out, hence before R was, hence before the reader looked. A lock leaves the index only after its version is
//! applied. So either the reader finds the lock, or the version was there before its snapshot. What is committed in one
//! phase needs no lock: its timestamp is never at or below one somebody reads at (see `oracle`).
//!
//! **Order of what happens to one key**: whoever changes its lock or versions holds it in the lock table. **Of one
//! transaction**: whoever changes its locks or its status holds its latch, until the change is applied. Held keys
//! without a lock in the index are those of requests under way; nobody waits for anything but the disk with one.

mod error;
mod finish;
pub(crate) mod index;
mod pessimistic;
mod prewrite;
mod read;
mod record;
mod recover;
mod status;
mod stored;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::OwnedMutexGuard;

use crate::core::Core;
use crate::keyspaces::TwoPhaseKeyspaces;
use crate::locks::{HeldKeys, LockTable, TryLock};
use error::aborted;
use ilmenite_store::{Error, Result, Timestamp};
use index::LockIndex;

pub use crate::locks::LockWait;
pub use error::{Assertion, ConflictReason, TxnError, TxnResult};
pub use finish::Committed;
pub use pessimistic::{LockedKey, PessimisticLock};
pub use prewrite::{Op, PessimisticAction, Prewrite, PrewriteMutation, Prewritten};
pub use read::{Pair, ReadOptions, ScannedPair, VersionKind};
pub use record::{LockInfo, LockKind, LockRecord};
pub(crate) use recover::{forget, load};
pub use status::{CheckStatus, TxnStatus};
pub use stored::FinalStatus;

/// How long a request waits for others under way on its keys, which last as long as a write to the disk.
const BUSY_LIMIT: Duration = Duration::from_secs(5);
const BUSY_PAUSE: Duration = Duration::from_millis(2);

/// The store's transactions in two phases. Only of a store opened for them.
#[derive(Clone)]
pub struct TwoPhase {
    core: Arc<Core>,
}

/// What a request holds of the store, until it is answered or, if it was queued, applied.
struct Guard {
    holds: HeldKeys,
    _latch: OwnedMutexGuard<()>,
}

impl TwoPhase {
    /// `None`, unless the store was opened for it.
    pub(crate) fn of(core: &Arc<Core>) -> Option<TwoPhase> {
        core.options.two_phase.then(|| TwoPhase { core: core.clone() })
    }

    fn lock_table(&self) -> &Arc<LockTable> {
        &self.core.transactions.locks
    }

    fn index(&self) -> &LockIndex {
        &self.core.transactions.index
    }

    fn keyspaces(&self) -> Result<&TwoPhaseKeyspaces> {
        stored::two_phase(&self.core.keyspaces)
    }

    /// `count` timestamps, all of one millisecond, as good to read at and to commit at as any; the last of them.
    pub async fn timestamps(&self, count: u64) -> Result<Timestamp> {
        self.core.check_open()?;
        self.core.oracle.begin_many(count).await
    }

    /// The latch of the transaction.
    async fn latch(&self, start_ts: Timestamp) -> OwnedMutexGuard<()> {
        self.core.transactions.latch(start_ts).await
    }

    /// Below the safe point nobody knows any more what became of a transaction.
    fn check_age(&self, start_ts: Timestamp) -> TxnResult<()> {
        let safe_point = self.core.gc.safe_point();
        if start_ts < safe_point {
            return Err(aborted(format!(
                "transaction {start_ts} is older than the garbage collection safe point {safe_point}"
            )));
        }
        Ok(())
    }

    /// The status of the transaction, if it has ended.
    fn final_status(&self, start_ts: Timestamp) -> Result<Option<FinalStatus>> {
        stored::final_status(&self.core.keyspaces, start_ts)
    }

    /// Waits until keys can be held: all of them for the transaction, into `holds`, or the lock that is in the way of
    /// each that cannot be had. The caller has the transaction's latch.
    async fn hold_all(
        &self,
        start_ts: Timestamp,
        keys: &[Bytes],
        holds: &HeldKeys,
    ) -> TxnResult<Vec<LockInfo>> {
        let began = std::time::Instant::now();
        loop {
            let mut locked = Vec::new();
            let mut busy = None;
            for key in keys {
                match self.lock_table().try_lock(start_ts, key)? {
                    TryLock::New => holds.add(key.clone()),
                    // Without a lock in the index it is about to be given back.
                    TryLock::Own if self.index().own(key, start_ts).is_some() => {}
                    TryLock::Busy(other) => match self.index().own(key, other) {
                        Some(lock) => locked.push(LockInfo {
                            key: key.clone(),
                            lock: (*lock).clone(),
                        }),
                        None => {
                            busy = Some(None);
                            break;
                        }
                    },
                    TryLock::Committing(rx) => {
                        busy = Some(Some(rx));
                        break;
                    }
                    TryLock::Own => {
                        busy = Some(None);
                        break;
                    }
                }
            }
            let Some(ended) = busy else {
                return Ok(locked);
            };
            // Nobody waits while he holds what others wait for.
            holds.release();
            if began.elapsed() > BUSY_LIMIT {
                return Err(
                    Error::Unavailable("requests under way on the same keys do not end".into()).into(),
                );
            }
            match ended {
                Some(rx) => {
                    // An error means that it is gone: the same news.
                    let _ = tokio::time::timeout(BUSY_LIMIT, rx).await;
                }
                None => tokio::time::sleep(BUSY_PAUSE).await,
            }
        }
    }

    /// All waits for locks there are now.
    pub fn waits(&self) -> Vec<LockWait> {
        self.lock_table().waits()
    }
}
