//! The distributed task framework: tasks, steps, subtasks; planning, claiming, fencing, retry, pause, cancel.
//!
//! Knows nothing of SQL or indexes.

mod handle;
mod kind;
mod model;

pub use handle::SubtaskHandle;
pub use kind::{Plan, PlanInput, SubtaskContext, TaskKind};
pub use model::*;
