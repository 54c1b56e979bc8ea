//! Errors of the framework itself. What a subtask or a planner failed with is a `TaskError`, kept in the rows.

use ilmenite_base::ErrorClass;
use ilmenite_store::rows::RowError;
use thiserror::Error;

use crate::{TaskError, TaskId, TaskState};

#[derive(Debug, Clone, Error)]
pub enum Error {
    #[error(transparent)]
    Store(#[from] ilmenite_store::Error),
    /// A row that this framework wrote does not parse.
    #[error("damaged row of the task framework: {0}")]
    Damaged(String),
    /// Somebody else changed a row in between: re-read and decide again.
    #[error("the task was changed by another node")]
    Lost,
    /// What it was asked for is the owner's alone, and the term it was asked in is over.
    #[error("this node is not the owner any more")]
    NotOwner,
    #[error("task {0} does not exist")]
    NotFound(TaskId),
    #[error("task {id} is {}: it cannot be {verb}", state.as_str())]
    InvalidState {
        id: TaskId,
        state: TaskState,
        verb: &'static str,
    },
    #[error("no kind of task is registered under the name {0}")]
    UnknownKind(String),
    #[error("a plan of {subtasks} subtasks takes {bytes} bytes, more than can be written at once")]
    PlanTooLarge { subtasks: usize, bytes: usize },
    #[error("cancelled")]
    Cancelled,
}

impl Error {
    pub fn class(&self) -> ErrorClass {
        match self {
            Error::Store(e) => e.class(),
            Error::Lost => ErrorClass::Transient,
            Error::NotFound(_) | Error::InvalidState { .. } => ErrorClass::User,
            Error::Damaged(_) | Error::UnknownKind(_) | Error::PlanTooLarge { .. } => ErrorClass::Permanent,
            Error::NotOwner | Error::Cancelled => ErrorClass::Cancelled,
        }
    }

    /// Would the same write meet it again?
    pub(crate) fn is_lasting(&self) -> bool {
        matches!(
            self.class(),
            ErrorClass::Permanent | ErrorClass::User | ErrorClass::Bug
        )
    }
}

impl From<RowError> for Error {
    fn from(e: RowError) -> Self {
        match e {
            RowError::Store(e) => Error::Store(e),
            RowError::Damaged(row) => Error::Damaged(row),
        }
    }
}

impl From<Error> for TaskError {
    fn from(e: Error) -> Self {
        TaskError::new(e.class(), e.to_string())
    }
}

pub type Result<T, E = Error> = std::result::Result<T, E>;
