//! Reading index entries: for reads that need no row, and for telling which values collide.

use bytes::Bytes;
use jiff::tz::TimeZone;

use super::encode::longer;
use super::{
    COMMON_HANDLE_FLAG, IndexLayout, MAX_INDEX_COLUMNS, MAX_PLAIN_LEN, PARTITION_FLAG, RESTORED_FLAG,
    VERSION_FLAG,
};
use crate::column::{Shape, get_uint};
use crate::key::{INDEX_PREFIX_LEN, index_prefix};
use crate::memcomparable::{INT_FLAG, NULL_FLAG, read_i64, read_u64, skip_one};
use crate::row::{Cell, HandleLayout, RowView};
use crate::{ColumnCodec, ColumnId, Handle, HandleRef};
use ilmenite_types::{Datum, Error, Result};

/// Where a wanted column is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    /// The n-th column of the index.
    Key(usize),
    IntHandle,
    /// The n-th column of the common handle.
    Handle(usize),
}

/// How a string is given back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Restore {
    /// The key has it.
    No,
    /// The restored data has it.
    Cell,
    /// The key has it without trailing spaces, the restored data how many there were; where that may be `plain`, none is
    /// said by there being no restored data.
    Spaces { plain: bool },
}

#[derive(Debug)]
struct Wanted {
    id: ColumnId,
    codec: ColumnCodec,
    source: Source,
    restore: Restore,
}

/// Decodes the entries of one index; compiled once for the wanted columns.
#[derive(Debug)]
pub struct IndexDecoder {
    prefix: [u8; INDEX_PREFIX_LEN],
    unique: bool,
    int_handle: bool,
    key_columns: usize,
    wanted: Vec<Wanted>,
}

impl IndexDecoder {
    /// For these columns, in this order: columns of the index or of the handle. Of a column of which only a prefix is
    /// there, that is given; [`IndexLayout::covers`] tells. `Invalid` when entries have nothing of a column.
    pub fn new(layout: &IndexLayout, wanted: &[ColumnId]) -> Result<IndexDecoder> {
        let wanted = wanted
            .iter()
            .map(|id| Wanted::new(layout, *id))
            .collect::<Result<_>>()?;
        IndexDecoder::with_wanted(layout, wanted)
    }

    fn with_wanted(layout: &IndexLayout, wanted: Vec<Wanted>) -> Result<IndexDecoder> {
        layout.check()?;
        Ok(IndexDecoder {
            prefix: index_prefix(layout.table_id, layout.index_id),
            unique: layout.unique,
            int_handle: matches!(layout.handle, HandleLayout::Int { .. }),
            key_columns: layout.columns.len(),
            wanted,
        })
    }

    /// For all columns of the index, in its order and cut to its prefixes: what a message about a duplicate shows.
    pub fn for_index_columns(layout: &IndexLayout) -> Result<IndexDecoder> {
        let wanted = layout
            .columns
            .iter()
            .map(|column| {
                let mut wanted = Wanted::new(layout, column.id)?;
                // The clustered key may have more of the column.
                wanted.codec = ColumnCodec::with_prefix(&column.field_type, column.prefix_len)?;
                Ok(wanted)
            })
            .collect::<Result<_>>()?;
        IndexDecoder::with_wanted(layout, wanted)
    }

    /// The row's handle of an entry, without its columns.
    pub fn decode_handle(&self, key: &[u8], value: &[u8]) -> Result<Handle> {
        let (ends, distinct) = self.split_key(key)?;
        let parts = ValueParts::new(value)?;
        self.handle(key, ends[self.key_columns], distinct, &parts)
            .map(HandleRef::to_owned)
    }

    /// Is the entry distinct (its key names one row only)? Told by the key alone.
    pub fn is_distinct(&self, key: &[u8]) -> Result<bool> {
        self.split_key(key).map(|(_, distinct)| distinct)
    }

    /// Appends the wanted columns of an entry, and returns its row's handle. Restored strings are slices of `value`.
    /// TIMESTAMPs are given in `zone`, or left in UTC without one.
    pub fn decode(
        &self,
        key: &[u8],
        value: &Bytes,
        zone: Option<&TimeZone>,
        out: &mut Vec<Datum>,
    ) -> Result<Handle> {
        let (ends, distinct) = self.split_key(key)?;
        let parts = ValueParts::new(value)?;
        let handle = self.handle(key, ends[self.key_columns], distinct, &parts)?;
        let restored = parts.restored.map(RowView::new).transpose()?;
        let mut handle_ends = None;
        for wanted in &self.wanted {
            let part = match (wanted.source, handle) {
                (Source::IntHandle, HandleRef::Int(id)) => {
                    out.push(match wanted.codec.shape {
                        Shape::UInt => Datum::UInt(id as u64),
                        _ => Datum::Int(id),
                    });
                    continue;
                }
                (Source::Key(at), _) => &key[ends[at]..ends[at + 1]],
                (Source::Handle(at), HandleRef::Common(bytes)) => {
                    let ends = match handle_ends {
                        Some(ends) => ends,
                        None => *handle_ends.insert(split_handle(bytes)?),
                    };
                    if ends[at] >= ends[at + 1] {
                        return Err(corrupt("a handle of too few columns"));
                    }
                    &bytes[ends[at]..ends[at + 1]]
                }
                _ => return Err(corrupt("a handle of another kind than the table's")),
            };
            out.push(wanted.decode(part, restored.as_ref(), value, zone)?);
        }
        Ok(handle.to_owned())
    }

    /// Where each column of the key begins and ends, and whether the entry is distinct.
    fn split_key(&self, key: &[u8]) -> Result<([usize; MAX_INDEX_COLUMNS + 1], bool)> {
        if !key.starts_with(&self.prefix) {
            return Err(corrupt("a key of another index"));
        }
        let mut ends = [INDEX_PREFIX_LEN; MAX_INDEX_COLUMNS + 1];
        let mut distinct = self.unique;
        let mut at = INDEX_PREFIX_LEN;
        for end in &mut ends[1..=self.key_columns] {
            distinct &= key.get(at) != Some(&NULL_FLAG);
            at += skip_one(&key[at..])?;
            *end = at;
        }
        Ok((ends, distinct))
    }

    fn handle<'a>(
        &self,
        key: &'a [u8],
        columns_end: usize,
        distinct: bool,
        parts: &ValueParts<'a>,
    ) -> Result<HandleRef<'a>> {
        let tail = &key[columns_end..];
        let handle = if distinct {
            if !tail.is_empty() {
                return Err(corrupt("bytes after the key of a distinct entry"));
            }
            parts
                .handle
                .ok_or_else(|| corrupt("a distinct entry without a handle"))?
        } else if self.int_handle {
            match tail {
                [INT_FLAG, body @ ..] if body.len() == 8 => {
                    HandleRef::Int(read_i64(body).ok_or_else(|| corrupt("a handle cut short"))?)
                }
                _ => return Err(corrupt("no integer handle at the end of the key")),
            }
        } else if tail.len() >= crate::key::COMMON_HANDLE_MIN_LEN {
            HandleRef::Common(tail)
        } else {
            return Err(corrupt("no handle at the end of the key"));
        };
        if matches!(handle, HandleRef::Int(_)) != self.int_handle {
            return Err(corrupt("a handle of another kind than the table's"));
        }
        Ok(handle)
    }
}

impl Wanted {
    fn new(layout: &IndexLayout, id: ColumnId) -> Result<Wanted> {
        let in_index = layout.columns.iter().position(|c| c.id == id);
        let in_handle = match &layout.handle {
            HandleLayout::Int { column } => {
                if *column == Some(id) || (column.is_none() && id == crate::HIDDEN_HANDLE_ID) {
                    let field_type = in_index.map_or_else(
                        || ilmenite_types::FieldType::new(ilmenite_types::TypeCode::LongLong),
                        |at| layout.columns[at].field_type.clone(),
                    );
                    // In the index it says whether it is unsigned; otherwise the caller's type does.
                    let source = in_index.map_or(Source::IntHandle, Source::Key);
                    return Ok(Wanted {
                        id,
                        codec: ColumnCodec::new(&field_type)?,
                        source,
                        restore: Restore::No,
                    });
                }
                None
            }
            HandleLayout::Common { columns } => columns.iter().position(|c| c.id == id),
        };
        let handle_column = match (&layout.handle, in_handle) {
            (HandleLayout::Common { columns }, Some(at)) => Some(&columns[at]),
            _ => None,
        };
        let index_column = in_index.map(|at| &layout.columns[at]);
        let (source, field_type) = match (in_index, index_column, in_handle, handle_column) {
            (Some(at), Some(index), Some(handle_at), Some(handle)) => {
                // The one that has more of the column; but what the old layout restores is cut to the index's prefix.
                let longest = longer(handle.prefix_len, Some(index.prefix_len));
                let cut_in_value =
                    ColumnCodec::new(&index.field_type)?.needs_restoring && !layout.is_version_1();
                let in_key = index.prefix_len == longest || cut_in_value;
                let source = if in_key {
                    Source::Key(at)
                } else {
                    Source::Handle(handle_at)
                };
                (source, &index.field_type)
            }
            (Some(at), Some(index), ..) => (Source::Key(at), &index.field_type),
            (_, _, Some(at), Some(handle)) => (Source::Handle(at), &handle.field_type),
            _ => {
                return Err(Error::Invalid {
                    what: "column",
                    value: format!("{id} is neither in the index nor in the handle"),
                });
            }
        };
        let codec = ColumnCodec::new(field_type)?;
        let restore = match (codec.needs_restoring, layout.is_version_1()) {
            (false, _) => Restore::No,
            (true, true) if codec.collation.is_bin() => Restore::Spaces {
                plain: matches!(layout.handle, HandleLayout::Int { .. }),
            },
            (true, _) => Restore::Cell,
        };
        if restore == Restore::Cell && !layout.is_version_1() && matches!(source, Source::Handle(_)) {
            return Err(Error::Invalid {
                what: "column",
                value: format!("{id} cannot be restored from the index"),
            });
        }
        Ok(Wanted {
            id,
            codec,
            source,
            restore,
        })
    }

    /// The value of a key's part, restored, and cut where the decoder's codec has a prefix.
    fn decode(
        &self,
        part: &[u8],
        restored: Option<&RowView<'_>>,
        value: &Bytes,
        zone: Option<&TimeZone>,
    ) -> Result<Datum> {
        Ok(match self.restore(part, restored, value, zone)? {
            Datum::Bytes(text) => {
                let len = self.codec.truncate(&text).len();
                Datum::Bytes(text.slice(..len))
            }
            other => other,
        })
    }

    fn restore(
        &self,
        part: &[u8],
        restored: Option<&RowView<'_>>,
        value: &Bytes,
        zone: Option<&TimeZone>,
    ) -> Result<Datum> {
        let missing = || corrupt("no restored data for a string");
        match self.restore {
            Restore::No => Ok(self.codec.decode_key(part, zone)?.0),
            _ if part.first() == Some(&NULL_FLAG) => Ok(Datum::Null),
            Restore::Cell => match restored.ok_or_else(missing)?.find(self.id)? {
                Cell::Value(cell) => Ok(Datum::Bytes(value.slice_ref(cell))),
                Cell::Null | Cell::Missing => Err(missing()),
            },
            Restore::Spaces { plain } => {
                let (trimmed, _) = self.codec.decode_key(part, zone)?;
                let spaces = match restored.map(|row| row.find(self.id)).transpose()? {
                    Some(Cell::Value(cell)) => get_uint(cell)?,
                    None if plain => 0,
                    Some(Cell::Null | Cell::Missing) | None => return Err(missing()),
                };
                let Datum::Bytes(text) = trimmed else {
                    return Err(corrupt("not a string where one was expected"));
                };
                // A value that claims more spaces than a row can hold is damaged.
                let spaces = usize::try_from(spaces)
                    .ok()
                    .filter(|n| *n <= ilmenite_types::MAX_ROW_LEN)
                    .ok_or_else(|| corrupt("too many trailing spaces"))?;
                if spaces == 0 {
                    return Ok(Datum::Bytes(text));
                }
                let mut text = Vec::from(text);
                text.resize(text.len() + spaces, b' ');
                Ok(Datum::Bytes(text.into()))
            }
        }
    }
}

/// Where each column of a common handle begins and ends. Zeros at its end are padding.
fn split_handle(handle: &[u8]) -> Result<[usize; MAX_INDEX_COLUMNS + 1]> {
    let mut ends = [0; MAX_INDEX_COLUMNS + 1];
    let mut at = 0;
    for i in 0..MAX_INDEX_COLUMNS {
        if handle.get(at).is_some_and(|flag| *flag != NULL_FLAG) {
            at += skip_one(&handle[at..])?;
        }
        ends[i + 1] = at;
    }
    Ok(ends)
}

/// An entry's value taken apart.
struct ValueParts<'a> {
    /// Of a distinct entry.
    handle: Option<HandleRef<'a>>,
    /// A row of what restores strings.
    restored: Option<&'a [u8]>,
}

impl<'a> ValueParts<'a> {
    fn new(value: &'a [u8]) -> Result<ValueParts<'a>> {
        if value.len() <= MAX_PLAIN_LEN {
            let handle = if value.len() >= 8 {
                read_u64(value).map(|n| HandleRef::Int(n as i64))
            } else {
                None
            };
            return Ok(ValueParts {
                handle,
                restored: None,
            });
        }
        let tail_len = usize::from(value[0]);
        let segments_end = value
            .len()
            .checked_sub(tail_len)
            .filter(|end| *end >= 1)
            .ok_or_else(|| corrupt("a tail longer than the value"))?;
        let (mut segments, tail) = (&value[1..segments_end], &value[segments_end..]);
        if let [VERSION_FLAG, _, rest @ ..] = segments {
            segments = rest;
        }
        let mut handle = None;
        if let [COMMON_HANDLE_FLAG, high, low, rest @ ..] = segments {
            let len = usize::from(u16::from_be_bytes([*high, *low]));
            if rest.len() < len {
                return Err(corrupt("a handle cut short"));
            }
            let (bytes, rest) = rest.split_at(len);
            handle = Some(HandleRef::Common(bytes));
            segments = rest;
        }
        if let [PARTITION_FLAG, rest @ ..] = segments {
            segments = rest.get(8..).ok_or_else(|| corrupt("a partition id cut short"))?;
        }
        let restored = segments
            .first()
            .filter(|b| **b == RESTORED_FLAG)
            .map(|_| segments);
        if restored.is_none() && !segments.is_empty() {
            return Err(corrupt("an unknown segment"));
        }
        if handle.is_none() && tail.len() >= 8 {
            handle = read_u64(tail).map(|n| HandleRef::Int(n as i64));
        }
        Ok(ValueParts { handle, restored })
    }
}

fn corrupt(detail: &str) -> Error {
    Error::Corrupt {
        what: "index entry",
        detail: detail.into(),
    }
}
