//! One SQL value in memory.

use std::cmp::Ordering;

use bytes::Bytes;

use crate::{Collation, Decimal, Duration, Json, Time};

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

impl Datum {
    pub fn is_null(&self) -> bool {
        matches!(self, Datum::Null)
    }

    /// A string.
    pub fn text(text: impl Into<String>) -> Datum {
        Datum::Bytes(Bytes::from(text.into().into_bytes()))
    }

    /// Order of two values of one type, NULL before all others, strings by `collation`. Numbers of different types are
    /// compared by value. Of values that have no order in common (the caller converts those first), the kinds are.
    pub fn compare_same_type(&self, other: &Datum, collation: Collation) -> Ordering {
        use Datum::*;
        match (self, other) {
            (Null, Null) => Ordering::Equal,
            (Int(a), Int(b)) => a.cmp(b),
            (UInt(a), UInt(b)) => a.cmp(b),
            (Int(a), UInt(b)) => u64::try_from(*a).map_or(Ordering::Less, |a| a.cmp(b)),
            (UInt(a), Int(b)) => u64::try_from(*b).map_or(Ordering::Greater, |b| a.cmp(&b)),
            (Bytes(a), Bytes(b)) => collation.compare(a, b),
            (Decimal(a), Decimal(b)) => a.cmp(b),
            (Time(a), Time(b)) => a.cmp(b),
            (Duration(a), Duration(b)) => a.cmp(b),
            (Enum(a), Enum(b)) | (Set(a), Set(b)) | (Bit(a), Bit(b)) => a.cmp(b),
            (Json(a), Json(b)) => a.root().compare(&b.root()),
            _ => match (self.exact(), other.exact()) {
                (Some(a), Some(b)) => a.cmp(&b),
                _ => match (self.double(), other.double()) {
                    (Some(a), Some(b)) => a.partial_cmp(&b).unwrap_or(Ordering::Equal),
                    _ => self.rank().cmp(&other.rank()),
                },
            },
        }
    }

    /// An exact number.
    fn exact(&self) -> Option<crate::Decimal> {
        match self {
            Datum::Int(n) => Some((*n).into()),
            Datum::UInt(n) => Some((*n).into()),
            Datum::Decimal(d) => Some(*d),
            _ => None,
        }
    }

    /// A number of any kind.
    fn double(&self) -> Option<f64> {
        match self {
            Datum::Int(n) => Some(*n as f64),
            Datum::UInt(n) => Some(*n as f64),
            Datum::Float(f) => Some(f64::from(*f)),
            Datum::Double(f) => Some(*f),
            Datum::Decimal(d) => Some(d.to_f64()),
            _ => None,
        }
    }

    fn rank(&self) -> u8 {
        match self {
            Datum::Null => 0,
            Datum::Int(_) | Datum::UInt(_) | Datum::Float(_) | Datum::Double(_) | Datum::Decimal(_) => 1,
            Datum::Bit(_) => 2,
            Datum::Enum(_) => 3,
            Datum::Set(_) => 4,
            Datum::Duration(_) => 5,
            Datum::Time(_) => 6,
            Datum::Bytes(_) => 7,
            Datum::Json(_) => 8,
        }
    }
}
