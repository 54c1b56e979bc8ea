//! Rows as stored: format version 2.
//!
//! `128, flags, count of values (u16), count of NULLs (u16), ids of values, ids of NULLs, end offsets, data`, ids
//! ascending and all numbers little-endian. Ids take one byte and offsets two, or four each in a large row (an id over
//! 255, or more than 65535 bytes of data). A checksum may follow the data; it is not needed to read the row.

mod decode;
mod encode;
mod view;

pub use decode::RowDecoder;
pub(crate) use decode::handle_column;
pub(crate) use encode::column_id;
pub use encode::{RowEncoder, RowWriter};
pub use view::{Cell, RowView};

use crate::ColumnId;
use ilmenite_types::{Datum, FieldType};

const VERSION: u8 = 128;
const FLAG_LARGE: u8 = 1;
const HEADER_LEN: usize = 6;

/// A column of a row.
#[derive(Debug, Clone)]
pub struct RowColumn {
    pub id: ColumnId,
    pub field_type: FieldType,
    /// What rows that have no such column read as: those written before it was added. (A TIMESTAMP in UTC.)
    /// NULLs of a column whose missing value is NULL take no space.
    pub missing: Datum,
}

impl RowColumn {
    /// A column whose missing value is NULL.
    pub fn new(id: ColumnId, field_type: FieldType) -> RowColumn {
        RowColumn {
            id,
            field_type,
            missing: Datum::Null,
        }
    }
}

/// A column of a clustered primary key.
#[derive(Debug, Clone)]
pub struct HandleColumn {
    pub id: ColumnId,
    pub field_type: FieldType,
    /// Characters (bytes for binary strings) of the column that are part of the key; `None` for all of it.
    pub prefix_len: Option<usize>,
}

/// What the handles of a table's rows are made of.
#[derive(Debug, Clone)]
pub enum HandleLayout {
    /// An integer: of the primary key's column, or (`column` is `None`) a row id of no column.
    Int { column: Option<ColumnId> },
    /// The encoded columns of a clustered primary key.
    Common { columns: Vec<HandleColumn> },
}

impl HandleLayout {
    /// No column: rows are told apart by a hidden id.
    pub const HIDDEN: HandleLayout = HandleLayout::Int { column: None };
}
