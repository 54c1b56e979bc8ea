//! Entries of indexes.
//!
//! The key is `t table _i index`, the columns' values in a form that sorts, and, unless the entry is *distinct* (of a
//! unique index, and without a NULL), the row's handle. The value has one of three layouts:
//!
//! * plain, with integer handles, when the key gives all strings back: the byte `0`, or for a distinct entry the handle
//!   (8 bytes);
//! * version 0: `tail length, segments, tail`, the tail being padding and, for a distinct entry, an integer handle;
//! * version 1: `tail length, 125, 1, segments, tail`, the tail being the integer handle of a distinct entry, or nothing.
//!
//! Segments: 127, a u16 length and a common handle (distinct entries); a row (it begins with 128) with what is needed
//! to give strings back whose sort key does not. In version 0 that is all columns of the index as they were. In version 1
//! it is the strings, or for `_bin` collations, whose keys lack nothing but trailing spaces, how many there were.
//!
//! TiDB has version 1 for clustered keys only, where it is to be understood without the index's definition, and says zero
//! spaces, too. With integer handles an entry of version 1 whose strings had no trailing spaces is plain.

mod decode;
mod encode;

pub use decode::IndexDecoder;
pub use encode::{HandleEncoder, IndexEncoder};

use crate::row::HandleLayout;
use crate::{ColumnCodec, ColumnId};
use ilmenite_types::{Datum, Error, FieldType, Result};

/// Most columns of an index or of a clustered key, as in MySQL.
pub const MAX_INDEX_COLUMNS: usize = 16;

const COMMON_HANDLE_FLAG: u8 = 127;
const PARTITION_FLAG: u8 = 126;
const VERSION_FLAG: u8 = 125;
const RESTORED_FLAG: u8 = 128;
/// Values up to this length are a plain handle or a placeholder.
const MAX_PLAIN_LEN: usize = 9;

/// A column of an index.
#[derive(Debug, Clone)]
pub struct IndexColumn {
    pub id: ColumnId,
    pub field_type: FieldType,
    /// Characters (bytes for binary strings) that the index takes; `None` for all.
    pub prefix_len: Option<usize>,
    /// What rows that have no such column read as; a TIMESTAMP in UTC.
    pub missing: Datum,
}

/// All that is to be known of an index to encode and decode its entries.
#[derive(Debug, Clone)]
pub struct IndexLayout {
    pub table_id: i64,
    pub index_id: i64,
    pub unique: bool,
    pub columns: Vec<IndexColumn>,
    pub handle: HandleLayout,
    /// Of the layout of values: 0 or 1.
    pub version: u16,
}

impl IndexLayout {
    fn check(&self) -> Result<()> {
        let handle_columns = match &self.handle {
            HandleLayout::Int { .. } => 0,
            HandleLayout::Common { columns } => columns.len(),
        };
        if self.columns.is_empty() || self.columns.len().max(handle_columns) > MAX_INDEX_COLUMNS {
            return Err(Error::Invalid {
                what: "index",
                value: format!("of {} columns", self.columns.len()),
            });
        }
        Ok(())
    }

    /// Do entries give back the whole value of a column (so that the row need not be read for it)?
    pub fn covers(&self, id: ColumnId) -> bool {
        if self.columns.iter().any(|c| c.id == id && c.prefix_len.is_none()) {
            return true;
        }
        match &self.handle {
            HandleLayout::Int { column } => column.unwrap_or(crate::HIDDEN_HANDLE_ID) == id,
            HandleLayout::Common { columns } => columns.iter().any(|c| {
                let restorable = self.is_version_1()
                    || ColumnCodec::new(&c.field_type).is_ok_and(|codec| !codec.needs_restoring);
                c.id == id && c.prefix_len.is_none() && restorable
            }),
        }
    }

    fn is_version_1(&self) -> bool {
        self.version >= 1
    }
}
