//! What can go wrong when rows are written. The store's own errors keep their kind: whether a statement is tried again,
//! waits in vain or is a deadlock's victim hangs on it.

use ilmenite_store::ErrorClass;
use thiserror::Error;

use crate::error::DdlError;

#[derive(Debug, Clone, Error)]
pub enum WriteError {
    #[error(transparent)]
    Store(#[from] ilmenite_store::Error),
    #[error(transparent)]
    Ddl(#[from] DdlError),
}

impl WriteError {
    pub fn class(&self) -> ErrorClass {
        match self {
            WriteError::Store(error) => error.class(),
            WriteError::Ddl(error) => error.class(),
        }
    }
}

impl From<ilmenite_codec::Error> for WriteError {
    fn from(error: ilmenite_codec::Error) -> Self {
        WriteError::Ddl(error.into())
    }
}

impl From<WriteError> for DdlError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Store(error) => error.into(),
            WriteError::Ddl(error) => error,
        }
    }
}

pub(super) type Result<T> = std::result::Result<T, WriteError>;
