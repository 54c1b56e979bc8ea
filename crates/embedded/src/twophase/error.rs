//! Why requests of transactions are refused.

use bytes::Bytes;
use thiserror::Error;

use super::record::LockInfo;
use crate::locks::LockWait;
use ilmenite_store::{Error, Timestamp};

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

/// What a mutation claims of its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Assertion {
    None,
    Exists,
    NotExists,
}

pub(super) fn aborted(text: impl Into<String>) -> TxnError {
    TxnError::Aborted(text.into())
}
