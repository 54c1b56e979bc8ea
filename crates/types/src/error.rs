use thiserror::Error;

/// What can be wrong with bytes or values handed to this crate. All of it is permanent: the same input fails again.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Error {
    #[error("corrupt {what}: {detail}")]
    Corrupt { what: &'static str, detail: String },
    #[error("{what} out of range: {value}")]
    OutOfRange { what: &'static str, value: String },
    #[error("incorrect {what} value: '{value}'")]
    Invalid { what: &'static str, value: String },
    #[error("data too long: {len} characters where {max} are allowed")]
    TooLong { len: usize, max: usize },
}

pub type Result<T> = std::result::Result<T, Error>;
