//! Bytes to keys, rows, index entries and back, in TiDB's storage format.
//!
//! Pure functions: no I/O, no clock, no knowledge of schema changes. Everything here is checked against golden
//! vectors, because another database may read what we write.

mod datum;
mod decimal;
mod error;
mod json;
mod time;
mod types;

pub use datum::Datum;
pub use decimal::Decimal;
pub use error::{Error, Result};
pub use json::Json;
pub use time::{Duration, Time};
pub use types::{FieldFlags, FieldType, TypeCode};
