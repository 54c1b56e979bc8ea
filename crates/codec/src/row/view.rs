//! Finding cells in a stored row without decoding it.

use super::{FLAG_LARGE, HEADER_LEN, VERSION};
use crate::ColumnId;
use ilmenite_types::{Error, Result};

/// What a row has of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cell<'a> {
    /// Nothing: the column was added later, its NULL was left out, or it is part of the handle.
    Missing,
    Null,
    Value(&'a [u8]),
}

/// A stored row, its parts told apart.
#[derive(Debug, Clone, Copy)]
pub struct RowView<'a> {
    large: bool,
    values: usize,
    nulls: usize,
    /// Ids of values, then ids of NULLs.
    ids: &'a [u8],
    ends: &'a [u8],
    data: &'a [u8],
}

impl<'a> RowView<'a> {
    pub fn new(row: &'a [u8]) -> Result<RowView<'a>> {
        let Some((header, rest)) = row.split_first_chunk::<HEADER_LEN>() else {
            return Err(corrupt("cut short"));
        };
        if header[0] != VERSION {
            return Err(corrupt("of another version"));
        }
        let large = header[1] & FLAG_LARGE != 0;
        let values = usize::from(u16::from_le_bytes([header[2], header[3]]));
        let nulls = usize::from(u16::from_le_bytes([header[4], header[5]]));
        let (id_len, end_len) = if large { (4, 4) } else { (1, 2) };
        let ids_len = (values + nulls) * id_len;
        let ends_len = values * end_len;
        if rest.len() < ids_len + ends_len {
            return Err(corrupt("cut short"));
        }
        let (ids, rest) = rest.split_at(ids_len);
        let (ends, data) = rest.split_at(ends_len);
        Ok(RowView {
            large,
            values,
            nulls,
            ids,
            ends,
            data,
        })
    }

    /// Columns that the row has, NULLs included.
    pub fn len(&self) -> usize {
        self.values + self.nulls
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The id at a place among the ids: values first, then NULLs, each ascending.
    fn id(&self, at: usize) -> u32 {
        if self.large {
            let bytes = &self.ids[at * 4..at * 4 + 4];
            u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
        } else {
            u32::from(self.ids[at])
        }
    }

    fn search(&self, mut low: usize, mut high: usize, wanted: u32) -> Option<usize> {
        while low < high {
            let middle = (low + high) / 2;
            let id = self.id(middle);
            if id == wanted {
                return Some(middle);
            }
            if id < wanted {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        None
    }

    /// What the row has of a column.
    pub fn find(&self, id: ColumnId) -> Result<Cell<'a>> {
        let Ok(wanted) = u32::try_from(id) else {
            return Ok(Cell::Missing);
        };
        if let Some(at) = self.search(0, self.values, wanted) {
            return self.value(at).map(Cell::Value);
        }
        Ok(match self.search(self.values, self.values + self.nulls, wanted) {
            Some(_) => Cell::Null,
            None => Cell::Missing,
        })
    }

    fn end(&self, at: usize) -> usize {
        if self.large {
            let bytes = &self.ends[at * 4..at * 4 + 4];
            u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) as usize
        } else {
            let bytes = &self.ends[at * 2..at * 2 + 2];
            usize::from(u16::from_le_bytes([bytes[0], bytes[1]]))
        }
    }

    fn value(&self, at: usize) -> Result<&'a [u8]> {
        let start = if at == 0 { 0 } else { self.end(at - 1) };
        self.data
            .get(start..self.end(at))
            .ok_or_else(|| corrupt("a value out of bounds"))
    }

    /// All columns that the row has: values first, then NULLs, each by id.
    pub fn cells(&self) -> impl Iterator<Item = Result<(ColumnId, Cell<'a>)>> + use<'a> {
        let this = *self;
        (0..this.len()).map(move |at| {
            let id = ColumnId::from(this.id(at));
            if at < this.values {
                this.value(at).map(|cell| (id, Cell::Value(cell)))
            } else {
                Ok((id, Cell::Null))
            }
        })
    }
}

pub(super) fn corrupt(detail: &str) -> Error {
    Error::Corrupt {
        what: "row",
        detail: detail.into(),
    }
}
