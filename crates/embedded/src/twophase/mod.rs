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

mod finish;
mod index;
mod pessimistic;
mod prewrite;
mod read;
mod record;
mod recover;
mod status;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use thiserror::Error;
use tokio::sync::OwnedMutexGuard;

use super::commit::{CommitAt, Job, Row, Write};
use super::keyspaces::TwoPhaseKeyspaces;
use super::locks::{Hold, Holds};
use super::{Core, EmbeddedStore, format};
use ilmenite_store::{Error, Result, Timestamp};
use index::LockIndex;

pub use super::locks::LockWait;
pub use finish::Committed;
pub use pessimistic::{LockedKey, PessimisticLock};
pub use prewrite::{Assertion, Op, PessimisticAction, Prewrite, PrewriteMutation, Prewritten};
pub use read::{Pair, ReadOptions, ScannedPair, VersionKind};
pub use record::{LockInfo, LockKind, LockRecord};
pub(super) use recover::{forget, gc_limit, load};
pub use status::{CheckStatus, TxnStatus};

/// Latches; transactions share them.
const LATCHES: usize = 512;
/// How long a request waits for others under way on its keys, which last as long as a write to the disk.
const BUSY_LIMIT: Duration = Duration::from_secs(5);
const BUSY_PAUSE: Duration = Duration::from_millis(2);

/// Why a request of a transaction was refused.
#[derive(Debug, Clone, Error)]
pub enum TxnError {
    #[error("the key is locked by transaction {}", .0.lock.start_ts)]
    Locked(LockInfo),
    #[error("write conflict: the key was written at {conflict_ts}, after {start_ts}")]
    WriteConflict {
        key: Bytes,
        start_ts: Timestamp,
        conflict_ts: Timestamp,
        primary: Bytes,
        reason: ConflictReason,
    },
    #[error("the key already exists")]
    AlreadyExists { key: Bytes },
    #[error("deadlock")]
    Deadlock {
        /// Whose lock was asked for.
        lock_ts: Timestamp,
        key: Bytes,
        circle: Vec<LockWait>,
    },
    #[error("commit timestamp {commit_ts} lies before {min_commit_ts}")]
    CommitTooEarly {
        key: Bytes,
        start_ts: Timestamp,
        commit_ts: Timestamp,
        min_commit_ts: Timestamp,
    },
    #[error("no lock of transaction {start_ts} on the key")]
    LockNotFound { key: Bytes, start_ts: Timestamp },
    #[error("transaction {start_ts} is not known")]
    TxnNotFound { start_ts: Timestamp, primary: Bytes },
    #[error("the key is not the transaction's primary")]
    PrimaryMismatch(LockInfo),
    #[error("assertion failed")]
    AssertionFailed {
        key: Bytes,
        start_ts: Timestamp,
        assertion: Assertion,
        existing_ts: Timestamp,
    },
    #[error("{0}")]
    Aborted(String),
    #[error(transparent)]
    Store(#[from] Error),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConflictReason {
    Optimistic,
    PessimisticRetry,
    SelfRolledBack,
    LazyUniquenessCheck,
}

pub type TxnResult<T> = Result<T, TxnError>;

/// What a transaction has become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decided {
    Committed(Timestamp),
    RolledBack,
}

pub(super) struct State {
    index: LockIndex,
    latches: Vec<Arc<tokio::sync::Mutex<()>>>,
}

impl State {
    pub fn new() -> Self {
        State {
            index: LockIndex::default(),
            latches: (0..LATCHES).map(|_| Arc::default()).collect(),
        }
    }
}

/// The store's transactions in two phases. Only of a store opened for them.
#[derive(Clone)]
pub struct TwoPhase {
    core: Arc<Core>,
}

impl EmbeddedStore {
    /// `None`, unless the store was opened with `EmbeddedOptions::two_phase`.
    pub fn two_phase(&self) -> Option<TwoPhase> {
        self.core.options.two_phase.then(|| TwoPhase {
            core: self.core.clone(),
        })
    }
}

/// What a request holds of the store, until it is answered or, if it was queued, applied.
struct Guard {
    holds: Holds,
    _latch: OwnedMutexGuard<()>,
}

fn aborted(text: impl Into<String>) -> TxnError {
    TxnError::Aborted(text.into())
}

impl TwoPhase {
    fn state(&self) -> &State {
        &self.core.two_phase
    }

    fn index(&self) -> &LockIndex {
        &self.core.two_phase.index
    }

    fn keyspaces(&self) -> Result<&TwoPhaseKeyspaces> {
        self.core
            .keyspaces
            .two_phase
            .as_ref()
            .ok_or_else(|| Error::Bug("not opened for transactions in two phases".into()))
    }

    /// `count` timestamps, all of one millisecond, as good to read at and to commit at as any; the last of them.
    pub async fn timestamps(&self, count: u64) -> Result<Timestamp> {
        self.core.check_open()?;
        self.core.oracle.begin_many(count).await
    }

    /// The latch of the transaction.
    async fn latch(&self, start_ts: Timestamp) -> OwnedMutexGuard<()> {
        // Consecutive timestamps differ in their low bits, those of different milliseconds in the others.
        let hash = start_ts.0.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        let latch = &self.state().latches[hash as usize % LATCHES];
        latch.clone().lock_owned().await
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

    /// What became of the transaction, if that is decided.
    fn decided(&self, start_ts: Timestamp) -> Result<Option<Decided>> {
        decided(&self.core, start_ts)
    }

    fn status_row(&self, start_ts: Timestamp, decided: Decided) -> Result<Row> {
        let ts = match decided {
            Decided::Committed(ts) => ts,
            Decided::RolledBack => Timestamp::ZERO,
        };
        Ok(Row {
            keyspace: self.keyspaces()?.status.clone(),
            key: start_ts.0.to_be_bytes().to_vec(),
            value: Some(ts.0.to_be_bytes().to_vec()),
        })
    }

    /// Waits until keys can be held: all of them for the transaction, into `holds`, or the lock that is in the way of
    /// each that cannot be had. The caller has the transaction's latch.
    async fn hold_all(&self, start_ts: Timestamp, keys: &[Bytes], holds: &Holds) -> TxnResult<Vec<LockInfo>> {
        let began = std::time::Instant::now();
        loop {
            let mut locked = Vec::new();
            let mut busy = None;
            for key in keys {
                match self.core.locks.try_hold(start_ts, key)? {
                    Hold::New => holds.add(key.clone()),
                    // Without a lock in the index it is about to be given back.
                    Hold::Own if self.index().own(key, start_ts).is_some() => {}
                    Hold::Busy(other) => match self.index().own(key, other) {
                        Some(lock) => locked.push(LockInfo {
                            key: key.clone(),
                            lock: (*lock).clone(),
                        }),
                        None => {
                            busy = Some(None);
                            break;
                        }
                    },
                    Hold::Committing(rx) => {
                        busy = Some(Some(rx));
                        break;
                    }
                    Hold::Own => {
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

    /// The stored lock, with its value.
    fn stored(&self, key: &[u8]) -> Result<Option<fjall::UserValue>> {
        let row = self.keyspaces()?.locks.get(key);
        row.map_err(|e| self.core.keyspaces.map_error(e))
    }

    /// The write that a prewritten lock becomes when it is committed.
    fn write_of(&self, key: &Bytes) -> Result<Write> {
        write_of(&self.core, key)
    }

    /// All waits for locks there are now.
    pub fn waits(&self) -> Vec<LockWait> {
        self.core.locks.waits()
    }
}

fn decided(core: &Core, start_ts: Timestamp) -> Result<Option<Decided>> {
    let Some(keyspaces) = &core.keyspaces.two_phase else {
        return Ok(None);
    };
    let row = keyspaces.status.get(start_ts.0.to_be_bytes());
    let row = row.map_err(|e| core.keyspaces.map_error(e))?;
    row.map(|row| {
        let bytes: [u8; 8] = row.as_ref().try_into().map_err(|_| Error::Damaged {
            path: keyspaces.status.path().display().to_string(),
            detail: format!("the status of transaction {start_ts} is {} bytes long", row.len()),
        })?;
        Ok(match u64::from_be_bytes(bytes) {
            0 => Decided::RolledBack,
            ts => Decided::Committed(Timestamp(ts)),
        })
    })
    .transpose()
}

fn write_of(core: &Core, key: &Bytes) -> Result<Write> {
    let keyspaces = core.keyspaces.two_phase.as_ref();
    let locks = &keyspaces
        .ok_or_else(|| Error::Bug("a lock without a keyspace".into()))?
        .locks;
    let row = locks.get(key).map_err(|e| core.keyspaces.map_error(e))?;
    let row = row.ok_or_else(|| Error::Bug(format!("the lock on {} is not stored", hex::encode(key))))?;
    let (lock, value_at) = record::decode(&row, locks.path())?;
    let raw = match lock.kind {
        LockKind::Put => format::encode_value(Some(&row[value_at..])),
        LockKind::Delete => format::encode_value(None),
        LockKind::Lock => format::encode_lock_record(),
        LockKind::Pessimistic => return Err(Error::Bug("a pessimistic lock is stored".into())),
    };
    Ok(Write::new(&core.keyspaces, key.clone(), raw, lock.hides))
}

/// A job that commits nothing.
fn rows_only(rows: Vec<Row>, sync: bool, applied: super::commit::Applied) -> Job {
    Job {
        writes: Vec::new(),
        rows,
        preconditions: Vec::new(),
        at: CommitAt::Given(Timestamp::ZERO),
        note: None,
        sync,
        urgent: false,
        applied,
    }
}
