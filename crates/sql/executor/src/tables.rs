//! What is worked out once for a version of a table and used by all sessions: how to write it.

use std::sync::Arc;

use ahash::AHashMap;
use ilmenite_catalog::{TableId, TableInfo, TableRef};
use ilmenite_codec::{Handle, HandleEncoder, HandleLayout, HandleRef, RowColumn, RowDecoder};
use ilmenite_table::TableWriter;
use ilmenite_types::Datum;
use jiff::tz::TimeZone;
use parking_lot::Mutex;

use ilmenite_error::{Error, Result};

/// Tables kept at most: beyond it all are forgotten, and made again.
const KEPT_TABLES: usize = 4096;

/// Shared by all sessions of a node.
#[derive(Default)]
pub struct TableCache {
    writable: Mutex<AHashMap<TableId, Arc<WritableTable>>>,
}

impl TableCache {
    pub(crate) fn writable(&self, table: &TableRef) -> Result<Arc<WritableTable>> {
        if let Some(found) = self.writable.lock().get(&table.id)
            && Arc::ptr_eq(found.writer.table(), table)
        {
            return Ok(found.clone());
        }
        let made = Arc::new(WritableTable::new(table)?);
        let mut kept = self.writable.lock();
        if kept.len() >= KEPT_TABLES {
            kept.clear();
        }
        kept.insert(table.id, made.clone());
        Ok(made)
    }
}

/// How the rows of a table get their handles.
enum HandleMaker {
    /// Position of the integer primary key.
    Column(usize),
    /// Positions of the clustered key's columns.
    Columns(Vec<usize>, HandleEncoder),
    Generated,
}

/// One version of a table, as DML handles it.
pub(crate) struct WritableTable {
    pub writer: TableWriter,
    /// All columns, those not public too, TIMESTAMPs in UTC.
    decoder: RowDecoder,
    handles: HandleMaker,
    /// Position of the AUTO_INCREMENT column.
    pub auto_increment: Option<usize>,
    pub public: usize,
    pub has_timestamps: bool,
}

impl WritableTable {
    fn new(table: &TableRef) -> Result<Self> {
        let layout = ilmenite_table::handle_layout(table)?;
        let columns: Vec<RowColumn> = table
            .columns
            .iter()
            .map(ilmenite_table::row_column)
            .collect::<Result<_, _>>()?;
        let handles = match (&layout, table.handle_column()) {
            (_, Some(column)) => HandleMaker::Column(column.offset),
            (HandleLayout::Common { columns }, None) => {
                let positions = columns
                    .iter()
                    .map(|part| {
                        let column = table.column_by_id(part.id);
                        column
                            .map(|c| c.offset)
                            .ok_or_else(|| Error::bug("a key column that is not in its table"))
                    })
                    .collect::<Result<_>>()?;
                HandleMaker::Columns(positions, HandleEncoder::new(columns)?)
            }
            _ => HandleMaker::Generated,
        };
        let auto_increment = table
            .public_columns()
            .position(|c| c.field_type.flags.has(ilmenite_types::FieldFlags::AUTO_INCREMENT));
        Ok(WritableTable {
            writer: TableWriter::new(table.clone())?,
            decoder: RowDecoder::new(&columns, &layout)?,
            handles,
            auto_increment,
            public: table.public_columns().count(),
            has_timestamps: table
                .columns
                .iter()
                .any(|c| c.field_type.tp == ilmenite_types::TypeCode::Timestamp),
        })
    }

    pub(crate) fn info(&self) -> &TableInfo {
        self.writer.table()
    }

    /// Rows get a number that is no column's.
    pub(crate) fn generates_handles(&self) -> bool {
        matches!(self.handles, HandleMaker::Generated)
    }

    /// The handle of a row with these values. `generated`: the number for a table without a clustered key.
    pub(crate) fn handle(
        &self,
        datums: &[Datum],
        generated: Option<i64>,
        zone: Option<&TimeZone>,
    ) -> Result<Handle> {
        match &self.handles {
            HandleMaker::Column(at) => match datums.get(*at) {
                Some(Datum::Int(id)) => Ok(Handle::Int(*id)),
                Some(Datum::UInt(id)) => Ok(Handle::Int(*id as i64)),
                _ => Err(Error::bug("a primary key that is no integer")),
            },
            HandleMaker::Columns(positions, encoder) => {
                let values: Vec<Datum> = positions
                    .iter()
                    .map(|at| datums.get(*at).cloned().unwrap_or(Datum::Null))
                    .collect();
                Ok(encoder.encode(&values, zone)?)
            }
            HandleMaker::Generated => generated
                .map(Handle::Int)
                .ok_or_else(|| Error::bug("a row without a handle")),
        }
    }

    /// All columns of a stored row, TIMESTAMPs in `zone` or in UTC.
    pub(crate) fn decode(
        &self,
        handle: HandleRef<'_>,
        stored: &bytes::Bytes,
        zone: Option<&TimeZone>,
    ) -> Result<Vec<Datum>> {
        let mut datums = Vec::with_capacity(self.info().columns.len());
        self.decoder.decode(stored, handle, zone, &mut datums)?;
        Ok(datums)
    }
}
