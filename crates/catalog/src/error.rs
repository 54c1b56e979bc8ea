use ilmenite_store::ErrorClass;
use thiserror::Error;

#[derive(Debug, Clone, Error)]
pub enum Error {
    #[error(transparent)]
    Store(#[from] ilmenite_store::Error),
    #[error(transparent)]
    Codec(#[from] ilmenite_codec::Error),
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
}

impl Error {
    pub fn class(&self) -> ErrorClass {
        match self {
            Error::Store(e) => e.class(),
            Error::LeaseLost => ErrorClass::Transient,
            Error::Codec(_) | Error::Damaged(_) => ErrorClass::Permanent,
            Error::NotFound(_) | Error::Exhausted => ErrorClass::User,
            Error::Cancelled => ErrorClass::Cancelled,
        }
    }
}

pub type Result<T, E = Error> = std::result::Result<T, E>;
