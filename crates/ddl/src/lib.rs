//! DDL jobs: queue, owner, state machine; ADD INDEX on top of `task` and `sort`; verification; rollback.
//!
//! Knows nothing of sessions or of the protocol.

mod error;
mod job;
pub mod schema;
mod statement;

pub use error::{CommentedObject, DdlError, Result};
pub use job::{Conflict, DeleteRange, Involved, Job, JobId, JobState, JobType, ReorgMeta, Stage};
pub use statement::*;
