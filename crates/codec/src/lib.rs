//! Bytes to keys, rows, index entries and back, in TiDB's storage format.
//!
//! Pure functions: no I/O, no clock, no knowledge of schema changes. Everything here is checked against golden
//! vectors, because another database may read what we write.

pub mod bytes;
mod datum;
pub mod decimal;
mod error;
mod json;
pub mod key;
pub mod time;
mod types;

pub use datum::Datum;
pub use decimal::{Decimal, ParsedDecimal};
pub use error::{Error, Result};
pub use json::Json;
pub use time::{DateFlags, Duration, ParsedDuration, ParsedTime, Time, TimeKind};
pub use types::{FieldFlags, FieldType, TypeCode};
