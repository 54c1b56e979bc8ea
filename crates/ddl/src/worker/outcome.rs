//! What a step of a job does, and what becomes of it.

use ilmenite_catalog::SchemaState;

use crate::error::DdlError;
use crate::job::Stage;

/// Why a step did not happen.
#[derive(Debug)]
pub(super) enum StepError {
    /// The job's row has changed, or the owner's term or the node's lease is over: look again.
    Lost,
    /// A wait was interrupted: look again.
    Interrupted,
    Failed(DdlError),
    /// Of a task that has ended so: its own retries are behind it, and no class of error makes it end otherwise.
    Final(DdlError),
}

impl From<DdlError> for StepError {
    fn from(error: DdlError) -> Self {
        StepError::Failed(error)
    }
}

impl From<ilmenite_store::Error> for StepError {
    fn from(error: ilmenite_store::Error) -> Self {
        use ilmenite_store::Error as E;
        match error {
            E::PreconditionFailed { .. } | E::CommitTooLate { .. } | E::Undetermined(_) => StepError::Lost,
            other => StepError::Failed(other.into()),
        }
    }
}

impl From<ilmenite_catalog::Error> for StepError {
    fn from(error: ilmenite_catalog::Error) -> Self {
        use ilmenite_catalog::Error as E;
        match error {
            E::NotOwner | E::LeaseLost => StepError::Lost,
            E::Store(error) => error.into(),
            other => StepError::Failed(other.into()),
        }
    }
}

impl From<ilmenite_task::Error> for StepError {
    fn from(error: ilmenite_task::Error) -> Self {
        use ilmenite_task::Error as E;
        match error {
            E::NotOwner => StepError::Lost,
            E::Store(error) => error.into(),
            other => StepError::Failed(other.into()),
        }
    }
}

pub(super) type StepResult<T> = Result<T, StepError>;

/// What a step's transaction does to the job and to the schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Begin,
    Advance(SchemaState, Stage),
    StartBuild,
    Touch(Stage),
    StartFinish,
    Publish,
    Drop,
    BeginRollback,
    RollBack,
    RollBackAtOnce,
    /// Only the job's row, as it was changed by the caller.
    JobOnly,
}
