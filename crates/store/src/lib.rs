//! The transactional, versioned key-value store as a contract: what an engine does ([`Store`]), transactions over any
//! engine ([`Transaction`]), durable rows and their conditional changes ([`rows`]), the versions of their formats
//! ([`format`](format/index.html)), the rules every engine is tested by (`conformance`), and their meaning in memory, for
//! models and simulations (`memory`).
//!
//! Knows nothing of tables, SQL, or any engine.

// A seed of the simulation has to repeat itself.
#![deny(clippy::iter_over_hash_type)]

mod api;
mod batch;
#[cfg(feature = "testing")]
pub mod conformance;
mod digest;
mod error;
pub mod format;
#[cfg(feature = "testing")]
pub mod memory;
pub mod rows;
mod txn;

pub use api::*;
pub use batch::KvBatch;
pub use digest::{EntryDigest, entry_hash};
pub use error::{Error, Result};
pub use txn::{CommitOptions, Savepoint, Transaction, TxnMode, run_txn};
