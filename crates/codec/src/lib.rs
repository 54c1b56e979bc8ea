//! Bytes to keys, rows, index entries and back, in TiDB's storage format.
//!
//! Pure functions: no I/O, no clock, no knowledge of schema changes. Everything here is checked against golden
//! vectors, because another database may read what we write.

mod collation;
mod column;
mod datum;
pub mod decimal;
mod error;
pub mod index;
pub mod json;
pub mod key;
pub mod memcomparable;
pub mod row;
mod text;
pub mod time;
mod types;

pub use collation::Collation;
pub use column::{ColumnCodec, ColumnId};
pub use datum::Datum;
pub use decimal::{Decimal, ParsedDecimal};
pub use error::{Error, Result};
pub use index::{HandleEncoder, IndexColumn, IndexDecoder, IndexEncoder, IndexLayout};
pub use json::{ArrayIndex, Json, JsonKind, JsonPath, JsonRef, PathLeg};
pub use key::{
    Handle, HandleRef, encode_record_key, index_prefix, index_range, partition_prefix_len, prefix_next,
    record_key, record_prefix, record_range, table_prefix, table_range,
};
pub use memcomparable::{decode_bytes, encode_bytes};
pub use row::{HandleColumn, HandleLayout, RowColumn, RowDecoder, RowEncoder, RowView};
pub use text::{format_double, format_float};
pub use time::{DateFlags, Duration, ParsedDuration, ParsedTime, Time, TimeKind};
pub use types::{FieldFlags, FieldType, TypeCode};

/// The column id that stands for the hidden row id of tables without a clustered key.
pub const HIDDEN_HANDLE_ID: ColumnId = -1;

/// No row, and so no string in one, is longer than this many bytes.
pub const MAX_ROW_LEN: usize = 1 << 30;
