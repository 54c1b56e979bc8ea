//! DDL jobs: queue, owner, state machine; ADD INDEX on top of `task` and `sort`; verification; rollback.
//!
//! - `statement`: what a session asks for; `job`: the durable row of it;
//! - `schema`: what a statement does to a table, as pure functions;
//! - `worker`: the owner takes each job from step to step;
//! - `backfill`: building an index, and why it is exact (what DML does to rows and indexes meanwhile is `ilmenite_table`);
//! - `ddl`, `view`: the face.
//!
//! Knows nothing of sessions or of the protocol.

// A seed of the simulation has to repeat itself.
#![deny(clippy::iter_over_hash_type)]

mod backfill;
mod ddl;
mod error;
mod ids;
mod job;
#[cfg(test)]
mod model;
pub mod schema;
mod statement;
mod view;
mod worker;

pub use backfill::{Backfill, BackfillConfig, OpenStorage, StorageAt, sizing};
pub use ddl::{Ddl, DdlConfig, task_kinds};
pub use error::{CommentedObject, DdlError, Result};
pub use ids::JobId;
pub use job::{Conflict, DeleteRange, Involved, Job, JobState, JobType, ReorgMeta, Stage};
pub use statement::*;
pub use view::{BlockerRow, ConflictRow, JobProgress, JobRow, SubtaskRow};

/// Names a failpoint; `return` makes the step fail as a store that is out of reach would, `return(permanent)` for good.
pub(crate) fn failpoint(name: &'static str) -> Result<()> {
    fail::fail_point!(name, |kind| Err(DdlError::Internal {
        class: match kind.as_deref() {
            Some("permanent") => ilmenite_base::ErrorClass::Permanent,
            _ => ilmenite_base::ErrorClass::Transient,
        },
        message: format!("failpoint {name}"),
    }));
    let _ = name;
    Ok(())
}
