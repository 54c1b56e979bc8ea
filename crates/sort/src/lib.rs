//! Global sort: sorted runs on object storage, merging, and ranges, within a fixed memory budget.
//!
//! Knows nothing of tasks or indexes: its entries are a key and a value, both bytes.
//!
//! The way of the data: [`RunSorter`] takes entries in any order and leaves sorted runs ([`RunMeta`]) on an
//! [`ObjectStorage`], or hands them out sorted when all fitted in memory; [`needs_merge`] and [`merge_groups`] decide
//! whether and how [`merge_runs`] has to make fewer runs of them; [`plan_ranges`] cuts the keys into ranges, and
//! [`Merge`] reads one range of all runs in order. The planners are pure functions of the `RunMeta`s.

// A seed of the simulation has to repeat itself.
#![deny(clippy::iter_over_hash_type)]

mod backend;
mod budget;
mod buffer;
mod duplicates;
mod error;
pub mod format;
mod local;
mod loser_tree;
mod merge;
mod metrics;
mod plan;
mod probe;
mod reader;
mod retry;
mod run;
mod sorter;
mod storage;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
#[cfg(test)]
mod tests;
pub mod uri;
mod writer;

pub use backend::{Backend, BackendError, BackendResult, ObjectEntry, PartPosition};
pub use budget::{BudgetStatus, MemoryBudget, MemoryGrant};
pub use duplicates::{Duplicate, DuplicatePolicy, Duplicates, MAX_DUPLICATE_SAMPLES};
pub use error::{Error, Result, StorageErrorKind};
pub use merge::{Merge, MergeOptions, MergeOutput, merge_fan_in, merge_runs};
pub use metrics::{Op, RequestStats, register_metrics};
pub use plan::{Decision, PlannedRange, after_key, merge_groups, needs_merge, plan_ranges};
pub use reader::read_footer;
pub use retry::{RetryEvent, RetryObserver};
pub use run::{Bucket, MAX_BUCKETS, RunMeta};
pub use sorter::{RunSorter, SortOutput, SortedEntries, SortedRun, SorterOptions};
pub use storage::{Multipart, ObjectStorage};
pub use writer::{RunSetWriter, RunWriter, TARGET_OBJECT_BYTES, WriterOptions};
