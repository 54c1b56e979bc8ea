//! The transactional, versioned key-value store: one trait, and the engines behind it.
//!
//! Knows nothing of tables or SQL.

mod api;
mod batch;
#[cfg(any(test, feature = "testing"))]
pub mod conformance;
mod embedded;
mod error;
mod metrics;
mod txn;

pub use api::*;
pub use batch::KvBatch;
pub use embedded::{EmbeddedOptions, EmbeddedStore, PartitionFn, ServiceSafePoint, twophase};
pub use error::{Error, ErrorClass, Result};
pub use txn::{CommitOptions, Savepoint, Transaction, TxnMode, run_txn};
