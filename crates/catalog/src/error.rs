//! What can go wrong in the catalog.

use ilmenite_base::ErrorClass;
use ilmenite_store::rows::RowError;
use thiserror::Error;

#[derive(Debug, Clone, Error)]
pub enum Error {
    #[error(transparent)]
    Store(#[from] ilmenite_store::Error),
    #[error(transparent)]
    Codec(#[from] ilmenite_types::Error),
    /// A row of the schema does not parse.
    #[error("damaged schema metadata: {0}")]
    Damaged(String),
    /// The node could not renew its lease in time: others may have moved on without it.
    #[error("this node has lost its lease: it takes no writes until it has rejoined")]
    LeaseLost,
    #[error("{0} does not exist")]
    NotFound(String),
    #[error("auto-increment values of the table are used up")]
    Exhausted,
    #[error("cancelled")]
    Cancelled,
    /// Another node is the owner now, or none is.
    #[error("this node is not the owner of schema changes")]
    NotOwner,
    /// They would misread what is upgraded.
    #[error(
        "the store has format {found}, and is to become {known}, but nodes of an older program are running ({nodes}): \
         stop them first, and start this one again"
    )]
    OlderNodes { found: u32, known: u32, nodes: String },
    #[error("invariant broken: {0}")]
    Bug(String),
}

impl Error {
    pub fn class(&self) -> ErrorClass {
        match self {
            Error::Store(e) => e.class(),
            Error::LeaseLost => ErrorClass::Transient,
            Error::Codec(_) | Error::Damaged(_) | Error::OlderNodes { .. } => ErrorClass::Permanent,
            Error::NotFound(_) | Error::Exhausted => ErrorClass::User,
            Error::Cancelled | Error::NotOwner => ErrorClass::Cancelled,
            Error::Bug(_) => ErrorClass::Bug,
        }
    }
}

pub type Result<T, E = Error> = std::result::Result<T, E>;

impl From<RowError> for Error {
    fn from(error: RowError) -> Self {
        match error {
            RowError::Store(error) => Error::Store(error),
            RowError::Damaged(row) => Error::Damaged(row),
        }
    }
}

impl From<Error> for ilmenite_error::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Store(error) => error.into(),
            other => ilmenite_error::Error::other(other.class(), other.to_string()),
        }
    }
}
