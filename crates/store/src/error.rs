//! Errors of the store.

use ilmenite_base::ErrorClass;
use thiserror::Error;

use crate::Timestamp;

#[derive(Debug, Clone, Error)]
pub enum Error {
    /// Another transaction committed a version of `key` after the timestamp this one had read at.
    #[error("write conflict: a version of the key was committed at {conflict_ts}, after {start_ts}")]
    WriteConflict {
        key: Vec<u8>,
        start_ts: Timestamp,
        conflict_ts: Timestamp,
    },
    /// `Check::MustNotExist` found a value.
    #[error("key already exists")]
    KeyExists { key: Vec<u8> },
    /// A `Precondition` no longer holds: somebody else moved on (fencing).
    #[error("precondition failed: the guarded key has changed")]
    PreconditionFailed { key: Vec<u8> },
    #[error("deadlock found when trying to get lock")]
    Deadlock { key: Vec<u8>, waiting_for: Timestamp },
    #[error("lock wait timeout exceeded")]
    LockTimeout { key: Vec<u8>, holder: Timestamp },
    #[error("the key is locked and NOWAIT was asked for")]
    LockNotAvailable { key: Vec<u8>, holder: Timestamp },
    /// The commit timestamp would lie past `max_commit_ts`: the node's lease has ended.
    #[error("commit timestamp {commit_ts} lies past the limit {max_commit_ts}")]
    CommitTooLate {
        commit_ts: Timestamp,
        max_commit_ts: Timestamp,
    },
    /// The snapshot's versions may have been garbage-collected.
    #[error("the snapshot at {ts} is older than the garbage collection safe point {safe_point}")]
    SnapshotTooOld { ts: Timestamp, safe_point: Timestamp },
    /// Locks the transaction held are gone: they ran out while its node gave no sign of life, or the store lost them.
    /// Nothing was written; it may be started anew.
    #[error("the transaction lost its locks: {0}")]
    LocksLost(String),
    /// The transaction was ended by somebody else (its session was killed).
    #[error("the transaction was rolled back: {0}")]
    Aborted(String),
    /// It is not known whether the commit took effect: the connection broke, or the disk failed in the middle.
    #[error("the outcome of the commit is unknown: {0}")]
    Undetermined(String),
    /// Keys handed to an ingest were not strictly ascending, or lay outside of its range.
    #[error("ingest refused: {0}")]
    IngestOrder(String),
    #[error("{what} too large: {size} bytes where {limit} are allowed")]
    TooLarge {
        what: &'static str,
        size: usize,
        limit: usize,
    },
    #[error("out of space: {0}")]
    DiskFull(String),
    #[error("the data directory {path} is in use by another process")]
    Locked { path: String },
    #[error("damaged data: {path}: {detail}")]
    Damaged { path: String, detail: String },
    #[error(
        "{what} has format {found}, which ilmenite {program} wrote, and this is ilmenite {}, which knows formats up to \
         {known}: use ilmenite {program} or newer",
        crate::format::PROGRAM
    )]
    NewerFormat {
        what: &'static str,
        found: u32,
        program: String,
        known: u32,
    },
    #[error("i/o error: {0}")]
    Io(String),
    /// What the store was asked for makes no sense: an address it cannot understand.
    #[error("{0}")]
    Invalid(String),
    #[error("temporarily unavailable: {0}")]
    Unavailable(String),
    #[error("cancelled")]
    Cancelled,
    #[error("invariant broken: {0}")]
    Bug(String),
}

impl Error {
    pub fn class(&self) -> ErrorClass {
        match self {
            Error::WriteConflict { .. }
            | Error::Deadlock { .. }
            | Error::LockTimeout { .. }
            | Error::LockNotAvailable { .. }
            | Error::LocksLost(_)
            | Error::Unavailable(_)
            // The node gets a new lease.
            | Error::CommitTooLate { .. }
            // Whoever slept between taking its timestamp and reading takes a newer one. What has to be read at one
            // timestamp for long is held there.
            | Error::SnapshotTooOld { .. }
            // Where a write is conditional or may be repeated, doing it again settles it; a client's COMMIT is reported.
            | Error::Undetermined(_) => ErrorClass::Transient,
            Error::KeyExists { .. } | Error::TooLarge { .. } | Error::Invalid(_) => ErrorClass::User,
            Error::DiskFull(_) => ErrorClass::Resource,
            Error::Cancelled | Error::Aborted(_) => ErrorClass::Cancelled,
            Error::Bug(_) | Error::IngestOrder(_) => ErrorClass::Bug,
            Error::PreconditionFailed { .. }
            | Error::Locked { .. }
            | Error::Damaged { .. }
            | Error::NewerFormat { .. }
            | Error::Io(_) => ErrorClass::Permanent,
        }
    }

    /// What a failpoint is to fail with: `return(transient)`, `return(permanent)`, `return(space)`; else `otherwise`.
    pub fn injected(kind: Option<String>, otherwise: Error) -> Error {
        let text = || format!("injected: {otherwise}");
        match kind.as_deref() {
            Some("transient") => Error::Unavailable(text()),
            Some("permanent") => Error::Io(text()),
            Some("space") => Error::DiskFull(text()),
            _ => otherwise,
        }
    }
}

pub type Result<T, E = Error> = std::result::Result<T, E>;
