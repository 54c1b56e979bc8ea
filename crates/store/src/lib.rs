//! The transactional, versioned key-value store: one trait, and the engines behind it.
//!
//! Knows nothing of tables or SQL.

pub mod ambient;
mod api;
pub mod background;
mod batch;
mod bell;
#[cfg(any(test, feature = "testing"))]
pub mod conformance;
mod embedded;
mod error;
#[cfg(any(test, feature = "testing"))]
pub mod memory;
mod metrics;
mod txn;

pub use api::*;
pub use batch::KvBatch;
pub use bell::{Bell, Listener};
#[cfg(any(test, feature = "testing"))]
pub use embedded::Unfinished;
pub use embedded::{EmbeddedOptions, EmbeddedStore, PartitionFn, ServiceSafePoint, twophase};
pub use error::{Error, ErrorClass, Result};
pub use txn::{CommitOptions, Savepoint, Transaction, TxnMode, run_txn};
