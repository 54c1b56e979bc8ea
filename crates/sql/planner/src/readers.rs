//! What a scan reads with: its key ranges, its rows and index entries. Worked out from the table once for a plan, however
//! often the plan runs.

use ilmenite_catalog::TableInfo;
use ilmenite_codec::{IndexDecoder, RowColumn, RowDecoder};

use crate::condition::subqueries;
use crate::keys::KeyBuilder;
use crate::node::{Path, Slot};
use ilmenite_error::{Error, Result};
use ilmenite_expr::{Expr, SubqueryId};

/// Of one [`TableScan`](crate::TableScan).
#[derive(Debug)]
pub struct Readers {
    /// Of the scan's path.
    pub keys: KeyBuilder,
    /// Gives the scan's columns in their order.
    pub rows: RowDecoder,
    /// Decoding in order gives the whole row.
    pub rows_are_whole: bool,
    /// When the path is an index.
    pub entries: Option<EntryReader>,
    /// Those that the scan's filter uses.
    pub filter_subqueries: Vec<SubqueryId>,
}

/// For those of a scan's columns that an index's entries hold in full.
#[derive(Debug)]
pub struct EntryReader {
    pub decoder: IndexDecoder,
    /// Where each column goes.
    pub slots: Vec<Slot>,
}

impl Readers {
    pub(crate) fn new(
        table: &TableInfo,
        path: &Path,
        columns: &[(usize, Slot)],
        width: usize,
        filter: &[Expr],
    ) -> Result<Readers> {
        let (keys, entries) = match path {
            Path::Table { .. } => (KeyBuilder::for_rows(table)?, None),
            Path::Index { index, .. } => {
                let info = table
                    .index_by_id(*index)
                    .ok_or_else(|| Error::bug(format!("table {} has no index {index}", table.name)))?;
                let keys = KeyBuilder::for_index(table, info)?;
                let layout = ilmenite_table::index_layout(table, info)?;
                let held = columns
                    .iter()
                    .map(|(column, slot)| (table.columns[*column].id, *slot));
                let (ids, slots): (Vec<_>, _) = held.filter(|(id, _)| layout.covers(*id)).unzip();
                let decoder = IndexDecoder::new(&layout, &ids)?;
                (keys, Some(EntryReader { decoder, slots }))
            }
        };
        let row_columns = columns
            .iter()
            .map(|(column, _)| ilmenite_table::row_column(&table.columns[*column]))
            .collect::<ilmenite_table::Result<Vec<RowColumn>>>()?;
        let mut filter_subqueries = Vec::new();
        filter
            .iter()
            .for_each(|condition| subqueries(condition, &mut filter_subqueries));
        Ok(Readers {
            keys,
            rows: RowDecoder::new(&row_columns, &ilmenite_table::handle_layout(table)?)?,
            rows_are_whole: columns.len() == width
                && columns.iter().enumerate().all(|(at, (_, slot))| at == *slot),
            entries,
            filter_subqueries,
        })
    }
}
