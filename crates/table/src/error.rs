//! What can go wrong with the rows and entries of a table. The store's own errors keep their kind: whether a statement is
//! tried again, waits in vain or is a deadlock's victim hangs on it.

use ilmenite_base::ErrorClass;
use thiserror::Error;

#[derive(Debug, Clone, Error)]
pub enum Error {
    #[error(transparent)]
    Store(#[from] ilmenite_store::Error),
    /// A value or a stored form that does not fit its column.
    #[error(transparent)]
    Value(#[from] ilmenite_types::Error),
    /// `entry` is decoded (`v1-v2`), `key` is `table.index`.
    #[error("Duplicate entry '{entry}' for key '{key}'")]
    DuplicateEntry { entry: String, key: String },
    /// Table and index disagree. `detail` is the whole text after the fixed beginning.
    #[error("data inconsistency in table: {table}, index: {index}, {detail}")]
    Inconsistent {
        table: String,
        index: String,
        detail: String,
    },
    #[error("Key '{key}' doesn't exist in table '{table}'")]
    KeyMissing { key: String, table: String },
    /// A schema or a row that contradicts itself.
    #[error("{0}")]
    Damaged(String),
    #[error("{0}")]
    Bug(String),
}

impl Error {
    pub fn class(&self) -> ErrorClass {
        match self {
            Error::Store(error) => error.class(),
            Error::DuplicateEntry { .. } | Error::KeyMissing { .. } => ErrorClass::User,
            Error::Value(_) | Error::Inconsistent { .. } | Error::Damaged(_) => ErrorClass::Permanent,
            Error::Bug(_) => ErrorClass::Bug,
        }
    }
}

pub type Result<T, E = Error> = std::result::Result<T, E>;

impl From<Error> for ilmenite_error::Error {
    fn from(error: Error) -> Self {
        use ilmenite_error::Error as E;
        match error {
            Error::Store(error) => error.into(),
            Error::Value(error) => error.into(),
            Error::DuplicateEntry { entry, key } => E::duplicate_entry(entry, key),
            Error::Inconsistent { table, index, detail } => E::data_inconsistent(table, index, detail),
            Error::KeyMissing { key, table } => E::key_does_not_exist(key, table),
            other => E::other(other.class(), other.to_string()),
        }
    }
}
