//! Statements at work: queries and DML from plan to result.
//!
//! A statement comes planned, with what it may use ([`StatementEnv`]) and a transaction; nothing here knows a session.
//!
//! - `runtime`: operators pull batches of rows from each other; `scan`, `join`, `agg`, `sort`, `simple` are the operators,
//!   `spill` is where those put what does not fit;
//! - `query`: a query's rows to the client; `attempt`: one attempt at a statement that writes or locks; `retry`: whether
//!   there is to be another;
//! - `insert`, `update`, `write`: from values to rows that a table takes; `load`: from a text file; `tables`: what is worked
//!   out once for a version of a table;
//! - `statement`: how a statement is told to stop, and what memory it may take; `result`: where rows go.

#![warn(unreachable_pub)]

mod agg;
mod attempt;
mod env;
mod insert;
mod join;
mod load;
mod query;
mod result;
mod retry;
mod runtime;
mod scan;
mod simple;
mod sort;
mod spill;
mod statement;
mod tables;
mod update;
mod write;

pub use attempt::{Done, attempt};
pub use env::{Settings, StatementEnv, VirtualFilter, VirtualRows};
pub use insert::Inserted;
pub use load::{Loaded, load};
pub use query::{Sent, send};
pub use result::{OkInfo, ResultSink, Row, SessionStatus, StatementOutcome};
pub use retry::Retries;
pub use runtime::{ReadView, SubqueryRows};
pub use statement::{MemoryTracker, StatementContext, StopReason};
pub use tables::TableCache;
