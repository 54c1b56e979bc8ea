//! Reading the wanted columns of rows.

use bytes::Bytes;
use jiff::tz::TimeZone;

use super::view::corrupt;
use super::{Cell, HandleLayout, RowColumn, RowView};
use crate::memcomparable::cut_one;
use crate::{ColumnCodec, ColumnId, HandleRef};
use ilmenite_types::{Datum, FieldType, Result};

#[derive(Debug)]
struct DecoderColumn {
    id: ColumnId,
    codec: ColumnCodec,
    missing: Datum,
    source: Source,
}

/// Where a column's value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Row,
    /// The integer handle is the value.
    Handle,
    /// The row, and if not there the n-th column of the common handle.
    RowOrHandle(usize),
}

/// Decodes the wanted columns of a table's rows; compiled once for them.
#[derive(Debug)]
pub struct RowDecoder {
    columns: Vec<DecoderColumn>,
}

impl RowDecoder {
    /// For these columns, in this order. `handle` says which of them are read from a row's handle.
    pub fn new(columns: &[RowColumn], handle: &HandleLayout) -> Result<RowDecoder> {
        let columns = columns
            .iter()
            .map(|column| {
                let source = match handle {
                    HandleLayout::Int { column: Some(id) } if *id == column.id => Source::Handle,
                    // The hidden row id goes by the number -1.
                    HandleLayout::Int { column: None } if column.id == crate::HIDDEN_HANDLE_ID => {
                        Source::Handle
                    }
                    HandleLayout::Int { .. } => Source::Row,
                    HandleLayout::Common { columns } => columns
                        .iter()
                        .position(|c| c.id == column.id && c.prefix_len.is_none())
                        .map_or(Source::Row, Source::RowOrHandle),
                };
                Ok(DecoderColumn {
                    id: column.id,
                    codec: ColumnCodec::new(&column.field_type)?,
                    missing: column.missing.clone(),
                    source,
                })
            })
            .collect::<Result<Vec<_>>>()?;
        Ok(RowDecoder { columns })
    }

    /// For columns whose missing value is NULL, of a table without a clustered key.
    pub fn for_columns(columns: &[(ColumnId, FieldType)]) -> Result<RowDecoder> {
        let columns: Vec<_> = columns
            .iter()
            .map(|(id, field_type)| RowColumn::new(*id, field_type.clone()))
            .collect();
        RowDecoder::new(&columns, &HandleLayout::HIDDEN)
    }

    /// Values given for each row.
    pub fn len(&self) -> usize {
        self.columns.len()
    }

    pub fn is_empty(&self) -> bool {
        self.columns.is_empty()
    }

    /// Appends the wanted columns of a row. Strings are slices of `row`. TIMESTAMPs are given in `zone`, or left in
    /// UTC without one.
    pub fn decode(
        &self,
        row: &Bytes,
        handle: HandleRef<'_>,
        zone: Option<&TimeZone>,
        out: &mut Vec<Datum>,
    ) -> Result<()> {
        let view = RowView::new(row)?;
        out.reserve(self.columns.len());
        for column in &self.columns {
            let value = match (column.source, handle) {
                (Source::Handle, HandleRef::Int(id)) => column.int_handle(id),
                (Source::Handle, HandleRef::Common(_)) => {
                    return Err(corrupt("a handle of columns where an integer was expected"));
                }
                (source, handle) => match view.find(column.id)? {
                    Cell::Value(cell) => column.codec.decode_cell(cell, row, zone)?,
                    Cell::Null => Datum::Null,
                    Cell::Missing => match (source, handle) {
                        (Source::RowOrHandle(at), HandleRef::Common(handle)) => {
                            let part = handle_column(handle, at)?;
                            column.codec.decode_key(part, zone)?.0
                        }
                        _ => column.codec.localized(&column.missing, zone)?,
                    },
                },
            };
            out.push(value);
        }
        Ok(())
    }
}

impl DecoderColumn {
    fn int_handle(&self, id: i64) -> Datum {
        match self.codec.shape {
            crate::column::Shape::UInt => Datum::UInt(id as u64),
            _ => Datum::Int(id),
        }
    }
}

/// The n-th encoded column of a common handle.
pub(crate) fn handle_column(handle: &[u8], at: usize) -> Result<&[u8]> {
    let mut rest = handle;
    for _ in 0..at {
        rest = cut_one(rest)?.1;
    }
    Ok(cut_one(rest)?.0)
}
