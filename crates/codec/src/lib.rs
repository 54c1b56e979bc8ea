//! Bytes to keys, rows, index entries and back, in TiDB's storage format.
//!
//! Pure functions: no I/O, no clock, no knowledge of schema changes. Everything here is checked against golden
//! vectors, because another database may read what we write.

mod column;
pub mod index;
pub mod key;
pub mod memcomparable;
pub mod row;

pub use column::{ColumnCodec, ColumnId};
pub use index::{HandleEncoder, IndexColumn, IndexDecoder, IndexEncoder, IndexLayout};
pub use key::{
    Handle, HandleRef, encode_record_key, index_prefix, index_range, partition_prefix_len, prefix_next,
    record_key, record_prefix, record_range, table_prefix, table_range,
};
pub use memcomparable::{decode_bytes, encode_bytes};
pub use row::{HandleColumn, HandleLayout, RowColumn, RowDecoder, RowEncoder, RowView};

/// The column id that stands for the hidden row id of tables without a clustered key.
pub const HIDDEN_HANDLE_ID: ColumnId = -1;
