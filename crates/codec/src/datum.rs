//! One SQL value in memory.

use bytes::Bytes;

use crate::{Decimal, Duration, Json, Time};

/// One SQL value. Its column's `FieldType` carries what the value alone does not: collation, length, members.
///
/// Cloning never copies bytes: strings and JSON are reference-counted slices, often of the row they were read from.
#[derive(Debug, Clone, PartialEq)]
pub enum Datum {
    Null,
    /// Signed integers and (as 1901..=2155 or 0) YEAR.
    Int(i64),
    UInt(u64),
    /// FLOAT is computed with, and compared, as a double; it is rounded to single precision when stored and printed.
    Float(f32),
    Double(f64),
    Decimal(Decimal),
    /// Strings and binary strings alike.
    Bytes(Bytes),
    /// DATE, DATETIME and TIMESTAMP; a TIMESTAMP in memory is in the session's time zone, in storage in UTC.
    Time(Time),
    Duration(Duration),
    /// The member's number, from 1; 0 is the empty "error" value. The name is in the column's `elems`.
    Enum(u64),
    /// One bit a member.
    Set(u64),
    /// BIT(n), n up to 64.
    Bit(u64),
    Json(Json),
}
