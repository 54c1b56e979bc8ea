//! Values in short, while entries are sorted.
//!
//! A VARCHAR with a `_bin` collation is in an entry twice: in the key without trailing spaces, and in the value once more
//! for their sake. Who sorts entries moves, writes and reads all of that several times. The short form of such a value has
//! the number of trailing spaces in its place, and the key gives the rest back. It is no format: nothing that is stored
//! for good has it.

use super::IndexEncoder;
use super::encode::{Column, Found, Restored, put_tail, trailing_spaces};
use crate::column::{Shape, put_int, put_uint};
use crate::memcomparable::{
    BYTES_FLAG, INT_FLAG, NULL_FLAG, UINT_FLAG, decode_bytes, read_i64, read_u64, read_uvarint, skip_one,
    write_uvarint,
};
use crate::row::RowView;
use crate::{ColumnCodec, Error, HandleRef, Result};

/// What the short form of an index's values is.
#[derive(Debug)]
pub(super) enum ShortForm {
    /// The value as it is.
    Same,
    /// For each string, by column id, its trailing spaces; then the handle of a distinct entry. For each restored column:
    /// which of the index's it is.
    Spaces(Vec<usize>),
}

impl ShortForm {
    pub fn new(int_handle: bool, restored: &[Restored], columns: &[Column]) -> ShortForm {
        let position = |of: &Restored| columns.iter().position(|c| c.id == of.column.id);
        let derived = |of: &Restored| match of.column.codec.shape {
            Shape::Int | Shape::UInt => true,
            Shape::Str => of.column.codec.collation.is_bin(),
            _ => false,
        };
        // Clustered keys' values either have the spaces already or are of tables made long ago.
        if !int_handle || restored.is_empty() || !restored.iter().all(derived) {
            return ShortForm::Same;
        }
        match restored.iter().map(position).collect() {
            Some(positions) => ShortForm::Spaces(positions),
            None => ShortForm::Same,
        }
    }
}

/// Does the key lack trailing spaces of the column?
fn loses_spaces(codec: &ColumnCodec) -> bool {
    codec.shape == Shape::Str && codec.collation.is_pad_space()
}

impl IndexEncoder {
    /// Like `encode_row`, with a value that may be shorter and that [`IndexEncoder::expand`] makes into the one to be
    /// stored. Entries of equal keys have equal short values if, and only if, their values are equal.
    pub fn encode_row_short(
        &mut self,
        row: &[u8],
        handle: HandleRef<'_>,
        key: &mut Vec<u8>,
        short: &mut Vec<u8>,
    ) -> Result<bool> {
        let row = RowView::new(row)?;
        let distinct = self.encode_key(&row, handle, key)?;
        if self.short_is_same() {
            self.encode_value(&row, handle, distinct, short)?;
            return Ok(distinct);
        }
        for column in self.restored.iter().map(|r| &r.column) {
            if loses_spaces(&column.codec) {
                let cell = match column.find(&row, handle)? {
                    Found::Cell(cell) => cell,
                    Found::Missing => column.missing_cell.as_deref().unwrap_or_default(),
                    Found::Null | Found::Int(_) | Found::Part(_) => &[],
                };
                write_uvarint(trailing_spaces(column.codec.truncate(cell)), short);
            }
        }
        if let (HandleRef::Int(id), true) = (handle, distinct) {
            short.extend_from_slice(&id.to_be_bytes());
        }
        Ok(distinct)
    }

    /// Are short values the values themselves, so that `expand` would only copy?
    pub fn short_is_same(&self) -> bool {
        matches!(self.short, ShortForm::Same)
    }

    /// Appends the value of an entry of this index of which the key and the short value are given.
    pub fn expand(&mut self, key: &[u8], short: &[u8], value: &mut Vec<u8>) -> Result<()> {
        let ShortForm::Spaces(positions) = &self.short else {
            value.extend_from_slice(short);
            return Ok(());
        };
        let mut ends = [self.prefix().len(); super::MAX_INDEX_COLUMNS + 1];
        let mut distinct = self.unique;
        for at in 0..self.columns.len() {
            let part = key.get(ends[at]..).ok_or_else(|| corrupt("a key cut short"))?;
            distinct &= part.first() != Some(&NULL_FLAG);
            ends[at + 1] = ends[at] + skip_one(part)?;
        }
        let start = value.len();
        value.push(0);
        let mut short = short;
        self.writer.clear();
        for (restored, &position) in self.restored.iter().zip(positions) {
            let codec = &restored.column.codec;
            let spaces = if loses_spaces(codec) {
                let (spaces, used) = read_uvarint(short)?;
                short = &short[used..];
                spaces
            } else {
                0
            };
            let part = &key[ends[position]..ends[position + 1]];
            if part == [NULL_FLAG] {
                self.writer.null(restored.row_id);
                continue;
            }
            self.writer
                .value(restored.row_id, |cell| put_cell(part, spaces, cell))?;
        }
        self.writer.finish(value);
        let handle = match (distinct, read_u64(short), short.len()) {
            (false, _, 0) => None,
            (true, Some(id), 8) => Some(id as i64),
            _ => return Err(corrupt("a short value of a wrong length")),
        };
        put_tail(start, handle, value);
        Ok(())
    }
}

/// Appends a key's part as a row's cell would have it.
fn put_cell(part: &[u8], spaces: u64, cell: &mut Vec<u8>) -> Result<()> {
    let (flag, body) = part.split_first().ok_or_else(|| corrupt("a part is missing"))?;
    let cut_short = || corrupt("a number cut short");
    match *flag {
        INT_FLAG => put_int(read_i64(body).ok_or_else(cut_short)?, cell),
        UINT_FLAG => put_uint(read_u64(body).ok_or_else(cut_short)?, cell),
        BYTES_FLAG => {
            decode_bytes(body, cell)?;
            // No VARCHAR has more characters.
            let spaces = u16::try_from(spaces).map_err(|_| corrupt("too many spaces"))?;
            cell.resize(cell.len() + usize::from(spaces), b' ');
        }
        _ => return Err(corrupt("a part of another type than its column's")),
    }
    Ok(())
}

fn corrupt(detail: &str) -> Error {
    Error::Corrupt {
        what: "short value",
        detail: detail.into(),
    }
}
