//! From tables and indexes as the catalog has them to the codecs of their rows and entries.

use std::sync::Arc;

use bytes::Bytes;
use ilmenite_catalog::{ColumnInfo, IndexInfo, SchemaState, TableInfo};
use ilmenite_codec::row::RowWriter;
use ilmenite_codec::{
    ColumnCodec, Handle, HandleColumn, HandleLayout, HandleRef, IndexColumn, IndexDecoder, IndexEncoder,
    IndexLayout, RowColumn, RowEncoder,
};
use ilmenite_types::{DateFlags, Datum};
use jiff::tz::TimeZone;

use crate::error::{Error, Result};

/// What the handles of a table's rows are made of.
pub fn handle_layout(table: &TableInfo) -> Result<HandleLayout> {
    if table.is_common_handle {
        let primary = table.primary_index().ok_or_else(|| {
            Error::Damaged(format!(
                "table {} has a clustered key without an index",
                table.name
            ))
        })?;
        let mut columns = Vec::with_capacity(primary.columns.len());
        for part in &primary.columns {
            let column = column_at(table, part.offset)?;
            let prefix_len = usize::try_from(part.length).ok();
            columns.push(HandleColumn {
                id: column.id,
                field_type: column.field_type.clone(),
                prefix_len,
            });
        }
        return Ok(HandleLayout::Common { columns });
    }
    Ok(HandleLayout::Int {
        column: table.handle_column().map(|c| c.id),
    })
}

fn column_at(table: &TableInfo, offset: usize) -> Result<&ColumnInfo> {
    let missing = || Error::Damaged(format!("table {} has no column at {offset}", table.name));
    table.columns.get(offset).ok_or_else(missing)
}

/// What rows written before a column existed read as in it; a TIMESTAMP in UTC.
pub fn missing_value(column: &ColumnInfo) -> Result<Datum> {
    match &column.origin_default {
        None => Ok(Datum::Null),
        Some(text) => Ok(Datum::parse_text(
            text.as_bytes(),
            &column.field_type,
            DateFlags::ZEROS,
        )?),
    }
}

/// A column as a row's decoder wants it.
pub fn row_column(column: &ColumnInfo) -> Result<RowColumn> {
    Ok(RowColumn {
        id: column.id,
        field_type: column.field_type.clone(),
        missing: missing_value(column)?,
    })
}

/// All that is to be known of an index to encode and decode its entries.
pub fn index_layout(table: &TableInfo, index: &IndexInfo) -> Result<IndexLayout> {
    let mut columns = Vec::with_capacity(index.columns.len());
    for part in &index.columns {
        let column = column_at(table, part.offset)?;
        columns.push(IndexColumn {
            id: column.id,
            field_type: column.field_type.clone(),
            prefix_len: usize::try_from(part.length).ok(),
            missing: missing_value(column)?,
        });
    }
    Ok(IndexLayout {
        table_id: table.id,
        index_id: index.id,
        unique: index.unique,
        columns,
        handle: handle_layout(table)?,
        version: if table.is_common_handle {
            table.common_handle_version
        } else {
            index.value_version
        },
    })
}

/// Writes a table's rows as stored.
pub struct TableCodec {
    table_id: i64,
    /// Those stored in the row, by id.
    columns: Vec<StoredColumn>,
    /// Of columns that are not public, in their order: the codec and the stored default, if not NULL.
    hidden: Vec<(ColumnCodec, Option<Bytes>)>,
}

struct StoredColumn {
    id: u32,
    /// Among the values of a row.
    position: usize,
    codec: ColumnCodec,
    /// NULL is what rows without the column read as: it is left out.
    skip_null: bool,
}

impl TableCodec {
    pub fn new(table: &TableInfo) -> Result<Self> {
        let handle = handle_layout(table)?;
        let mut columns = Vec::with_capacity(table.columns.len());
        let mut hidden = Vec::new();
        for column in &table.columns {
            let codec = ColumnCodec::new(&column.field_type)?;
            let missing = missing_value(column)?;
            let skip_null = missing == Datum::Null;
            if column.state != SchemaState::Public {
                let mut cell = Vec::new();
                if !skip_null {
                    codec.encode_cell(&missing, None, &mut cell)?;
                }
                hidden.push((codec.clone(), (!skip_null).then(|| Bytes::from(cell))));
            }
            let in_handle = match &handle {
                HandleLayout::Int { column: pk } => *pk == Some(column.id),
                HandleLayout::Common { columns } => match columns.iter().find(|c| c.id == column.id) {
                    Some(part) => RowEncoder::is_given_by_handle(part)?,
                    None => false,
                },
            };
            if !in_handle {
                let id = u32::try_from(column.id)
                    .map_err(|_| Error::Damaged(format!("column id {} out of range", column.id)))?;
                columns.push(StoredColumn {
                    id,
                    position: column.offset,
                    codec,
                    skip_null,
                });
            }
        }
        columns.sort_by_key(|c| c.id);
        Ok(TableCodec {
            table_id: table.id,
            columns,
            hidden,
        })
    }

    pub fn record_key(&self, handle: HandleRef<'_>, out: &mut Vec<u8>) {
        ilmenite_codec::key::encode_record_key(self.table_id, handle, out);
    }

    /// `datums` by position in the table's columns. TIMESTAMPs are in `zone`, or in UTC without one.
    pub fn encode_row(
        &self,
        datums: &[Datum],
        zone: Option<&TimeZone>,
        writer: &mut RowWriter,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        writer.clear();
        for column in &self.columns {
            let value = datums
                .get(column.position)
                .ok_or_else(|| Error::Bug(format!("a row of {} values lacks some", datums.len())))?;
            match value {
                Datum::Null if column.skip_null => {}
                Datum::Null => writer.null(column.id),
                value => writer.value(column.id, |data| column.codec.encode_cell(value, zone, data))?,
            }
        }
        writer.finish(out);
        Ok(())
    }

    /// Appends the values of columns that are not public to those of the public ones.
    pub fn complete(&self, zone: Option<&TimeZone>, datums: &mut Vec<Datum>) -> Result<()> {
        for (codec, cell) in &self.hidden {
            datums.push(match cell {
                Some(cell) => codec.decode_cell(cell, cell, zone)?,
                None => Datum::Null,
            });
        }
        Ok(())
    }
}

/// Reads an index's entries; its encoders, which have buffers of their own, are made from it.
#[derive(Clone)]
pub struct IndexCodec {
    layout: Arc<IndexLayout>,
    decoder: Arc<IndexDecoder>,
}

impl IndexCodec {
    pub fn new(table: &TableInfo, index: &IndexInfo) -> Result<Self> {
        let layout = index_layout(table, index)?;
        let decoder = IndexDecoder::for_index_columns(&layout)?;
        Ok(IndexCodec {
            layout: Arc::new(layout),
            decoder: Arc::new(decoder),
        })
    }

    pub fn encoder(&self) -> Result<IndexEncoder> {
        Ok(IndexEncoder::new(&self.layout)?)
    }

    /// The row an entry is of.
    pub fn handle_of(&self, key: &[u8], value: &[u8]) -> Result<Handle> {
        Ok(self.decoder.decode_handle(key, value)?)
    }

    /// The values of the index's columns, as far as the entry has them.
    pub fn values(&self, key: &[u8], value: &Bytes, zone: Option<&TimeZone>) -> Result<Vec<Datum>> {
        let mut values = Vec::with_capacity(self.layout.columns.len());
        self.decoder.decode(key, value, zone, &mut values)?;
        Ok(values)
    }
}
