//! The distributed task framework: tasks, steps, subtasks; planning, claiming, fencing, retry, pause, cancel.
//!
//! A task is a sequence of steps, a step a set of independent subtasks. Everything needed to go on is in the store
//! (`rows`); every decision is one conditional write. Three parts:
//!
//! - `scheduler`, on the owner's node, takes each task one decision further: plans the next step from durable facts
//!   alone, gives a dead node's subtasks back, reverts, pauses, finishes;
//! - `executor`, on every node, claims subtasks for its free slots, runs each on a thread of its own, and writes how
//!   it ended, if the claim is still its own;
//! - `tasks` is what callers see.
//!
//! Why a task always ends: a step without subtasks is passed over in the decision that finds it so; an error has a
//! class, and only transient ones are tried again, within the count and time of a `RetryPolicy`; planning cannot look at
//! what one node remembers, for it is handed all it may see as a value.
//!
//! Knows nothing of SQL or indexes.

// A seed of the simulation has to repeat itself.
#![deny(clippy::iter_over_hash_type)]

mod background;
mod error;
mod executor;
mod handle;
mod kind;
mod metrics;
mod model;
mod retry;
mod rows;
mod scheduler;
mod tasks;

pub use error::{Error, Result};
pub use executor::Place;
pub use handle::SubtaskHandle;
pub use kind::{Plan, PlanInput, SubtaskContext, TaskKind};
pub use model::*;
pub use retry::{DEFAULT_RETRY, next_retry};
pub use tasks::{StepProgress, TaskSpec, TaskStatus, Tasks, TasksConfig};
