//! Writing rows.

use jiff::tz::TimeZone;

use super::{FLAG_LARGE, RowColumn, VERSION};
use crate::{ColumnCodec, ColumnId};
use ilmenite_types::{Datum, Error, Result};

/// Puts a row together from cells given by ascending column id. Its buffers are reused from row to row.
#[derive(Debug, Default)]
pub struct RowWriter {
    value_ids: Vec<u32>,
    null_ids: Vec<u32>,
    ends: Vec<u32>,
    data: Vec<u8>,
}

impl RowWriter {
    pub fn new() -> RowWriter {
        RowWriter::default()
    }

    pub fn clear(&mut self) {
        self.value_ids.clear();
        self.null_ids.clear();
        self.ends.clear();
        self.data.clear();
    }

    pub fn null(&mut self, id: u32) {
        self.null_ids.push(id);
    }

    /// Adds a value, which `write` appends.
    pub fn value(&mut self, id: u32, write: impl FnOnce(&mut Vec<u8>) -> Result<()>) -> Result<()> {
        write(&mut self.data)?;
        let end = u32::try_from(self.data.len()).map_err(|_| Error::TooLong {
            len: self.data.len(),
            max: u32::MAX as usize,
        })?;
        self.value_ids.push(id);
        self.ends.push(end);
        Ok(())
    }

    /// Appends the row and clears the writer.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        let widest = |ids: &[u32]| ids.last().copied().unwrap_or(0);
        let large = widest(&self.value_ids).max(widest(&self.null_ids)) > 255
            || self.data.len() > usize::from(u16::MAX);
        let columns = self.value_ids.len() + self.null_ids.len();
        out.reserve(6 + columns * 4 + self.ends.len() * 4 + self.data.len());
        out.extend_from_slice(&[VERSION, if large { FLAG_LARGE } else { 0 }]);
        out.extend_from_slice(&(self.value_ids.len() as u16).to_le_bytes());
        out.extend_from_slice(&(self.null_ids.len() as u16).to_le_bytes());
        let ids = self.value_ids.iter().chain(&self.null_ids);
        if large {
            ids.for_each(|id| out.extend_from_slice(&id.to_le_bytes()));
            self.ends
                .iter()
                .for_each(|end| out.extend_from_slice(&end.to_le_bytes()));
        } else {
            ids.for_each(|id| out.push(*id as u8));
            self.ends
                .iter()
                .for_each(|end| out.extend_from_slice(&(*end as u16).to_le_bytes()));
        }
        out.extend_from_slice(&self.data);
        self.clear();
    }
}

#[derive(Debug)]
struct EncoderColumn {
    id: u32,
    /// Place among the values handed to `encode`.
    position: usize,
    codec: ColumnCodec,
    skip_null: bool,
}

/// Encodes the rows of one table; compiled once for its columns.
#[derive(Debug)]
pub struct RowEncoder {
    /// By id.
    columns: Vec<EncoderColumn>,
    writer: RowWriter,
}

impl RowEncoder {
    /// For rows of these columns. Leave out those that the handle gives back whole: an integer primary key, and the
    /// columns of a clustered one for which [`is_given_by_handle`](RowEncoder::is_given_by_handle) holds.
    pub fn new(columns: &[RowColumn]) -> Result<RowEncoder> {
        if columns.len() > usize::from(u16::MAX) {
            return Err(Error::TooLong {
                len: columns.len(),
                max: u16::MAX.into(),
            });
        }
        let mut compiled = columns
            .iter()
            .enumerate()
            .map(|(position, column)| {
                Ok(EncoderColumn {
                    id: column_id(column.id)?,
                    position,
                    codec: ColumnCodec::new(&column.field_type)?,
                    skip_null: column.missing == Datum::Null,
                })
            })
            .collect::<Result<Vec<_>>>()?;
        compiled.sort_by_key(|c| c.id);
        if compiled.windows(2).any(|pair| pair[0].id == pair[1].id) {
            return Err(Error::Invalid {
                what: "columns",
                value: "two with one id".into(),
            });
        }
        Ok(RowEncoder {
            columns: compiled,
            writer: RowWriter::new(),
        })
    }

    /// Is a column of a clustered primary key read from the handle, and not stored in the row? It is when all of it is
    /// in the key and the key's bytes give it back.
    pub fn is_given_by_handle(column: &super::HandleColumn) -> Result<bool> {
        let codec = ColumnCodec::new(&column.field_type)?;
        Ok(column.prefix_len.is_none() && !codec.needs_restoring)
    }

    /// Appends the row of `values`, one for each column in the order given to `new`. TIMESTAMPs are taken to be in
    /// `zone`, or in UTC without one.
    pub fn encode(&mut self, values: &[Datum], zone: Option<&TimeZone>, out: &mut Vec<u8>) -> Result<()> {
        if values.len() != self.columns.len() {
            return Err(Error::Invalid {
                what: "row",
                value: format!("{} values for {} columns", values.len(), self.columns.len()),
            });
        }
        self.writer.clear();
        for column in &self.columns {
            match &values[column.position] {
                Datum::Null if column.skip_null => {}
                Datum::Null => self.writer.null(column.id),
                value => self
                    .writer
                    .value(column.id, |data| column.codec.encode_cell(value, zone, data))?,
            }
        }
        self.writer.finish(out);
        Ok(())
    }
}

/// A column id as rows hold it.
pub(crate) fn column_id(id: ColumnId) -> Result<u32> {
    u32::try_from(id).map_err(|_| Error::OutOfRange {
        what: "column id",
        value: id.to_string(),
    })
}
