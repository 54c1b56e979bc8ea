//! The transactional, versioned key-value store: one trait, and the engines behind it.
//!
//! Knows nothing of tables or SQL.

mod api;
mod batch;
mod error;

pub use api::*;
pub use batch::KvBatch;
pub use error::{Error, ErrorClass, Result};
