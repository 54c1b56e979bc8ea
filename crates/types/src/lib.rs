//! SQL values in memory, their types, and how they compare, compute and read as text, with MySQL's semantics.
//!
//! Pure functions: no I/O, no clock. [`Datum`] is one value, [`FieldType`] what its column says of it; then, each in a
//! module of its own, decimals of 65 digits, dates and times, JSON in TiDB's binary form, and collations.

mod collation;
mod datum;
pub mod decimal;
mod error;
mod field_type;
pub mod json;
mod text;
pub mod time;
pub mod uvarint;

pub use collation::{Charset, Collation};
pub use datum::Datum;
pub use decimal::{Decimal, ParsedDecimal};
pub use error::{Error, Result};
pub use field_type::{FieldFlags, FieldType, TypeCode};
pub use json::{ArrayIndex, Json, JsonKind, JsonPath, JsonRef, PathLeg};
pub use text::{format_double, format_float};
pub use time::{DateFlags, Duration, ParsedDuration, ParsedTime, Time, TimeKind};

/// No row, and so no string in one, is longer than this many bytes.
pub const MAX_ROW_LEN: usize = 1 << 30;
