//! Writing index entries: the hot loop of building an index.

use jiff::tz::TimeZone;

use super::{COMMON_HANDLE_FLAG, IndexLayout, MAX_PLAIN_LEN, VERSION_FLAG};
use crate::column::{Shape, put_int, put_uint};
use crate::key::{INDEX_PREFIX_LEN, index_prefix};
use crate::memcomparable::{INT_FLAG, NULL_FLAG, UINT_FLAG, i64_bytes};
use crate::row::{Cell, HandleColumn, HandleLayout, RowView, RowWriter, column_id, handle_column};
use crate::{ColumnCodec, ColumnId, Handle, HandleRef};
use ilmenite_types::{Datum, Error, Result};

/// Where a column's value is to be found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Row,
    IntHandle,
    /// The row, and if not there the n-th column of the common handle.
    RowOrHandle(usize),
}

/// A column as the encoder needs it; `codec` has the prefix.
#[derive(Debug)]
struct Column {
    id: ColumnId,
    codec: ColumnCodec,
    source: Source,
    /// The value of rows without the column, as a key's part and as a cell (`None` for NULL).
    missing_part: Vec<u8>,
    missing_cell: Option<Vec<u8>>,
}

/// A column of the restored data.
#[derive(Debug)]
struct Restored {
    row_id: u32,
    column: Column,
    /// Only the count of trailing spaces is stored.
    as_spaces: bool,
}

/// What a row says of a column.
enum Found<'a> {
    Null,
    Cell(&'a [u8]),
    /// Encoded as in keys.
    Part(&'a [u8]),
    Int(i64),
    Missing,
}

/// Makes the entries of one index from stored rows; compiled once, and without allocation per row.
#[derive(Debug)]
pub struct IndexEncoder {
    prefix: [u8; INDEX_PREFIX_LEN],
    unique: bool,
    columns: Vec<Column>,
    /// By column id; empty when no string needs restoring.
    restored: Vec<Restored>,
    version_1: bool,
    int_handle: bool,
    /// For sort keys.
    scratch: Vec<u8>,
    /// For a value of the handle as a row would have it.
    cell: Vec<u8>,
    writer: RowWriter,
}

impl IndexEncoder {
    pub fn new(layout: &IndexLayout) -> Result<IndexEncoder> {
        layout.check()?;
        let columns = layout
            .columns
            .iter()
            .map(|c| {
                let codec = ColumnCodec::with_prefix(&c.field_type, c.prefix_len)?;
                Column::new(c.id, codec, &layout.handle, &c.missing)
            })
            .collect::<Result<Vec<_>>>()?;
        Ok(IndexEncoder {
            prefix: index_prefix(layout.table_id, layout.index_id),
            unique: layout.unique,
            restored: restored_columns(layout)?,
            columns,
            version_1: layout.is_version_1(),
            int_handle: matches!(layout.handle, HandleLayout::Int { .. }),
            scratch: Vec::new(),
            cell: Vec::new(),
            writer: RowWriter::new(),
        })
    }

    /// What all keys of the index begin with.
    pub fn prefix(&self) -> &[u8; INDEX_PREFIX_LEN] {
        &self.prefix
    }

    /// Appends the key and the value of a stored row's entry. Returns whether the entry is distinct: of a unique index
    /// and without a NULL, so that no other row may have the same key. After an error the buffers may hold part of it.
    pub fn encode_row(
        &mut self,
        row: &[u8],
        handle: HandleRef<'_>,
        key: &mut Vec<u8>,
        value: &mut Vec<u8>,
    ) -> Result<bool> {
        let row = RowView::new(row)?;
        let distinct = self.encode_key(&row, handle, key)?;
        self.encode_value(&row, handle, distinct, value)?;
        Ok(distinct)
    }

    fn encode_key(&mut self, row: &RowView<'_>, handle: HandleRef<'_>, key: &mut Vec<u8>) -> Result<bool> {
        if matches!(handle, HandleRef::Int(_)) != self.int_handle {
            return Err(Error::Corrupt {
                what: "handle",
                detail: "of another kind than the table's".into(),
            });
        }
        key.extend_from_slice(&self.prefix);
        let mut distinct = self.unique;
        for column in &self.columns {
            let start = key.len();
            match column.find(row, handle)? {
                Found::Null => key.push(NULL_FLAG),
                Found::Cell(cell) => column.codec.cell_to_key(cell, &mut self.scratch, key)?,
                Found::Part(part) if column.codec.has_prefix() => {
                    // The handle has the whole string, of which the index takes the beginning.
                    self.cell.clear();
                    column.codec.key_to_cell(part, &mut self.cell)?;
                    column.codec.cell_to_key(&self.cell, &mut self.scratch, key)?;
                }
                Found::Part(part) => key.extend_from_slice(part),
                Found::Int(id) => {
                    let (flag, body) = match column.codec.shape {
                        Shape::UInt => (UINT_FLAG, (id as u64).to_be_bytes()),
                        _ => (INT_FLAG, i64_bytes(id)),
                    };
                    key.push(flag);
                    key.extend_from_slice(&body);
                }
                Found::Missing => key.extend_from_slice(&column.missing_part),
            }
            distinct &= key[start] != NULL_FLAG;
        }
        if !distinct {
            match handle {
                HandleRef::Int(id) => {
                    key.push(INT_FLAG);
                    key.extend_from_slice(&i64_bytes(id));
                }
                HandleRef::Common(bytes) => key.extend_from_slice(bytes),
            }
        }
        Ok(distinct)
    }

    /// Appends the index's prefix and the encoded values, of the first columns or of all: the key of a distinct entry,
    /// or what a range of keys begins with. Returns whether a NULL is among the values. TIMESTAMPs are taken to be in
    /// `zone`, or in UTC without one.
    pub fn encode_values(
        &self,
        values: &[Datum],
        zone: Option<&TimeZone>,
        key: &mut Vec<u8>,
    ) -> Result<bool> {
        if values.len() > self.columns.len() {
            return Err(Error::Invalid {
                what: "index",
                value: format!("{} values for {} columns", values.len(), self.columns.len()),
            });
        }
        key.extend_from_slice(&self.prefix);
        let mut has_null = false;
        for (column, value) in self.columns.iter().zip(values) {
            has_null |= matches!(value, Datum::Null);
            column.codec.encode_key(value, zone, key)?;
        }
        Ok(has_null)
    }

    fn encode_value(
        &mut self,
        row: &RowView<'_>,
        handle: HandleRef<'_>,
        distinct: bool,
        value: &mut Vec<u8>,
    ) -> Result<()> {
        let start = value.len();
        // Clustered keys say also that there were no spaces.
        let restores = !self.restored.is_empty() && (self.gather_restored(row, handle)? || !self.int_handle);
        if !restores && (self.int_handle || !self.version_1) {
            match handle {
                HandleRef::Int(id) if distinct => {
                    value.extend_from_slice(&id.to_be_bytes());
                    return Ok(());
                }
                HandleRef::Common(_) if distinct => {}
                _ => {
                    value.push(b'0');
                    return Ok(());
                }
            }
        }
        value.push(0);
        if self.version_1 {
            value.extend_from_slice(&[VERSION_FLAG, 1]);
        }
        if let (HandleRef::Common(bytes), true) = (handle, distinct) {
            let len = u16::try_from(bytes.len()).map_err(|_| Error::TooLong {
                len: bytes.len(),
                max: u16::MAX.into(),
            })?;
            value.push(COMMON_HANDLE_FLAG);
            value.extend_from_slice(&len.to_be_bytes());
            value.extend_from_slice(bytes);
        }
        if restores {
            self.writer.finish(value);
        }
        let end = value.len();
        match handle {
            HandleRef::Int(id) if distinct => value.extend_from_slice(&id.to_be_bytes()),
            _ if self.version_1 => {}
            // Longer than any plain value, so that the two cannot be taken for one another.
            _ => value.resize(end.max(start + MAX_PLAIN_LEN + 1), 0),
        }
        value[start] = (value.len() - end) as u8;
        Ok(())
    }

    /// Gives the writer what restores the row's strings. Returns whether their keys have lost anything.
    fn gather_restored(&mut self, row: &RowView<'_>, handle: HandleRef<'_>) -> Result<bool> {
        self.writer.clear();
        let mut lost = false;
        for restored in &self.restored {
            let column = &restored.column;
            let id = restored.row_id;
            lost |= !restored.as_spaces;
            let cell = match column.find(row, handle)? {
                Found::Cell(cell) => Some(cell),
                Found::Missing => column.missing_cell.as_deref(),
                Found::Null => None,
                Found::Int(handle) => {
                    self.writer.value(id, |data| {
                        match column.codec.shape {
                            Shape::UInt => put_uint(handle as u64, data),
                            _ => put_int(handle, data),
                        }
                        Ok(())
                    })?;
                    continue;
                }
                Found::Part(part) => {
                    self.cell.clear();
                    if column.codec.key_to_cell(part, &mut self.cell)? {
                        Some(self.cell.as_slice())
                    } else {
                        None
                    }
                }
            };
            match cell {
                Some(cell) => {
                    let text = if column.codec.shape == Shape::Str {
                        column.codec.truncate(cell)
                    } else {
                        cell
                    };
                    self.writer.value(id, |data| {
                        if restored.as_spaces {
                            let spaces = trailing_spaces(text);
                            lost |= spaces > 0;
                            put_uint(spaces, data);
                        } else {
                            data.extend_from_slice(text);
                        }
                        Ok(())
                    })?;
                }
                // A NULL has no trailing spaces.
                None if restored.as_spaces => self.writer.value(id, |data| {
                    put_uint(0, data);
                    Ok(())
                })?,
                None => self.writer.null(id),
            }
        }
        Ok(lost)
    }
}

fn trailing_spaces(text: &[u8]) -> u64 {
    text.iter().rev().take_while(|b| **b == b' ').count() as u64
}

/// The columns whose strings the value must give back, by column id.
fn restored_columns(layout: &IndexLayout) -> Result<Vec<Restored>> {
    let mut restored = Vec::new();
    let is_handle = |id: ColumnId| match &layout.handle {
        HandleLayout::Int { .. } => false,
        HandleLayout::Common { columns } => columns.iter().any(|c| c.id == id),
    };
    let mut add = |id: ColumnId, codec: ColumnCodec, missing: &Datum, as_spaces: bool| -> Result<()> {
        restored.push(Restored {
            row_id: column_id(id)?,
            column: Column::new(id, codec, &layout.handle, missing)?,
            as_spaces,
        });
        Ok(())
    };
    if layout.is_version_1() {
        for c in &layout.columns {
            let codec = ColumnCodec::with_prefix(&c.field_type, c.prefix_len)?;
            // The clustered key's columns follow below, whether they are in the index or not.
            if codec.needs_restoring && !is_handle(c.id) {
                let as_spaces = codec.collation.is_bin();
                add(c.id, codec, &c.missing, as_spaces)?;
            }
        }
        if let HandleLayout::Common { columns } = &layout.handle {
            for c in columns {
                let in_index = layout.columns.iter().find(|i| i.id == c.id).map(|i| i.prefix_len);
                let codec = ColumnCodec::with_prefix(&c.field_type, longer(c.prefix_len, in_index))?;
                if codec.needs_restoring {
                    let as_spaces = codec.collation.is_bin();
                    add(c.id, codec, &Datum::Null, as_spaces)?;
                }
            }
        }
    } else {
        let mut codecs = Vec::new();
        for c in &layout.columns {
            codecs.push(ColumnCodec::with_prefix(&c.field_type, c.prefix_len)?);
        }
        // This layout stores all of the index's columns as soon as one needs it.
        if codecs.iter().any(|c| c.needs_restoring) {
            for (c, codec) in layout.columns.iter().zip(codecs) {
                add(c.id, codec, &c.missing, false)?;
            }
        }
    }
    restored.sort_by_key(|r| r.row_id);
    Ok(restored)
}

/// The longer of a column's two prefix lengths, where it is in the handle and (`Some`) in the index.
pub(super) fn longer(handle: Option<usize>, index: Option<Option<usize>>) -> Option<usize> {
    match (handle, index) {
        (Some(handle), Some(Some(index))) => Some(handle.max(index)),
        (handle, None) => handle,
        _ => None,
    }
}

impl Column {
    fn new(id: ColumnId, codec: ColumnCodec, handle: &HandleLayout, missing: &Datum) -> Result<Column> {
        let source = match handle {
            HandleLayout::Int {
                column: Some(handle_id),
            } if *handle_id == id => Source::IntHandle,
            HandleLayout::Int { .. } => Source::Row,
            HandleLayout::Common { columns } => columns
                .iter()
                .position(|c| c.id == id && c.prefix_len.is_none())
                .map_or(Source::Row, Source::RowOrHandle),
        };
        let mut missing_part = Vec::new();
        codec.encode_key(missing, None, &mut missing_part)?;
        let missing_cell = match missing {
            Datum::Null => None,
            value => {
                let mut cell = Vec::new();
                codec.encode_cell(value, None, &mut cell)?;
                Some(cell)
            }
        };
        Ok(Column {
            id,
            codec,
            source,
            missing_part,
            missing_cell,
        })
    }

    fn find<'a>(&self, row: &RowView<'a>, handle: HandleRef<'a>) -> Result<Found<'a>> {
        if let (Source::IntHandle, HandleRef::Int(id)) = (self.source, handle) {
            return Ok(Found::Int(id));
        }
        Ok(match row.find(self.id)? {
            Cell::Value(cell) => Found::Cell(cell),
            Cell::Null => Found::Null,
            Cell::Missing => match (self.source, handle) {
                (Source::RowOrHandle(at), HandleRef::Common(bytes)) => Found::Part(handle_column(bytes, at)?),
                _ => Found::Missing,
            },
        })
    }
}

/// Encodes the handles of a table with a clustered primary key of columns.
#[derive(Debug)]
pub struct HandleEncoder {
    codecs: Vec<ColumnCodec>,
}

impl HandleEncoder {
    pub fn new(columns: &[HandleColumn]) -> Result<HandleEncoder> {
        let codecs = columns
            .iter()
            .map(|c| ColumnCodec::with_prefix(&c.field_type, c.prefix_len))
            .collect::<Result<_>>()?;
        Ok(HandleEncoder { codecs })
    }

    /// The handle of a row with these values in its key's columns, none of them NULL.
    pub fn encode(&self, values: &[Datum], zone: Option<&TimeZone>) -> Result<Handle> {
        if values.len() != self.codecs.len() || values.iter().any(|v| matches!(v, Datum::Null)) {
            return Err(Error::Invalid {
                what: "primary key",
                value: format!(
                    "{} values for {} columns, none NULL",
                    values.len(),
                    self.codecs.len()
                ),
            });
        }
        let mut encoded = Vec::new();
        self.encode_prefix(values, zone, &mut encoded)?;
        Ok(Handle::common(&encoded))
    }

    /// Appends the values of the first columns as handles begin: for ranges over rows. Not padded.
    pub fn encode_prefix(&self, values: &[Datum], zone: Option<&TimeZone>, out: &mut Vec<u8>) -> Result<()> {
        for (codec, value) in self.codecs.iter().zip(values) {
            codec.encode_key(value, zone, out)?;
        }
        Ok(())
    }
}
