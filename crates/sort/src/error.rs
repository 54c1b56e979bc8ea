//! Errors of global sort, each with a class that says what to do about it.

use ilmenite_base::ErrorClass;
use thiserror::Error;

use crate::metrics::Op;

/// What is wrong with a request to an object store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StorageErrorKind {
    /// The object or the bucket is not there.
    NotFound,
    /// Wrong keys, or keys without the right to do this.
    Permission,
    /// The store says that the request itself is wrong.
    Invalid,
    /// Overload, a lost connection, a timeout, a truncated answer: may pass by itself.
    Transient,
    /// The disk or the quota is full.
    OutOfSpace,
    /// None of the above.
    Other,
}

impl StorageErrorKind {
    pub fn class(self) -> ErrorClass {
        match self {
            StorageErrorKind::Transient => ErrorClass::Transient,
            StorageErrorKind::OutOfSpace => ErrorClass::Resource,
            StorageErrorKind::NotFound
            | StorageErrorKind::Permission
            | StorageErrorKind::Invalid
            | StorageErrorKind::Other => ErrorClass::Permanent,
        }
    }
}

#[derive(Debug, Clone, Error)]
pub enum Error {
    /// A storage URI that cannot be used. Contains no secret.
    #[error("invalid storage URI: {0}")]
    InvalidUri(String),
    /// A request failed, after `attempts` tries. `detail` is the store's own text, without secrets.
    #[error("object storage: {op} of '{path}' failed after {attempts} attempt(s): {detail}")]
    Storage {
        op: Op,
        kind: StorageErrorKind,
        path: String,
        detail: String,
        attempts: u32,
    },
    /// Bytes of a run file are not those that were written.
    #[error("damaged run file '{path}': {detail}")]
    Damaged { path: String, detail: String },
    #[error("{what} too large: {size} bytes where {limit} are allowed")]
    TooLarge {
        what: &'static str,
        size: u64,
        limit: u64,
    },
    /// The work cannot be done in the memory it was given.
    #[error("memory budget too small for {what}: {needed} bytes needed, {budget} bytes given")]
    BudgetTooSmall {
        what: &'static str,
        needed: u64,
        budget: u64,
    },
    #[error("cancelled")]
    Cancelled,
    #[error("invariant broken: {0}")]
    Bug(String),
}

impl Error {
    pub fn class(&self) -> ErrorClass {
        match self {
            Error::InvalidUri(_) | Error::TooLarge { .. } => ErrorClass::User,
            Error::Storage { kind, .. } => kind.class(),
            Error::Damaged { .. } => ErrorClass::Permanent,
            Error::BudgetTooSmall { .. } => ErrorClass::Resource,
            Error::Cancelled => ErrorClass::Cancelled,
            Error::Bug(_) => ErrorClass::Bug,
        }
    }
}

pub type Result<T> = std::result::Result<T, Error>;
