//! What a statement at work uses of its node and its session, and nothing else of either.

use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use ilmenite_catalog::Catalog;
use ilmenite_error::Result;
use ilmenite_planner::VirtualTable;
use ilmenite_store::StoreRef;
use ilmenite_types::Datum;

use crate::result::Row;
use crate::statement::StatementContext;
use crate::tables::TableCache;

#[derive(Clone, Copy)]
pub struct StatementEnv<'a> {
    pub store: &'a StoreRef,
    /// Hands out automatic ids.
    pub catalog: &'a Catalog,
    pub tables: &'a TableCache,
    pub virtual_rows: &'a dyn VirtualRows,
    /// Where operators spill.
    pub spill_dir: &'a Path,
    pub statement: &'a StatementContext,
    pub settings: Settings,
}

/// The variables that decide how statements are executed.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    pub connection_id: u64,
    pub lock_wait_timeout: Duration,
    pub auto_increment_increment: u64,
    pub auto_increment_offset: u64,
    /// What the next automatic id is to be.
    pub insert_id: Option<u64>,
    /// `sql_select_limit`; `u64::MAX`: none.
    pub select_limit: u64,
    /// CLIENT_FOUND_ROWS: rows that matched count as affected.
    pub found_rows: bool,
}

/// Makes the rows of virtual tables.
#[async_trait]
pub trait VirtualRows: Sync {
    /// All rows, or only those that `filter` admits. Each has a datum per column.
    async fn rows(&self, table: &dyn VirtualTable, filter: &VirtualFilter) -> Result<Vec<Row>>;
}

/// What the query asks of the table, for tables that can make fewer rows by it. Rows that do not fit may still come:
/// the query filters again.
#[derive(Debug, Clone, Default)]
pub struct VirtualFilter {
    /// Lower-cased column name, and the values it may have (`=` and `IN` with constants).
    pub equals: Vec<(String, Vec<Datum>)>,
}

impl VirtualFilter {
    /// The rows whose `column` is this text.
    pub fn equal(column: &str, value: &str) -> Self {
        VirtualFilter::default().and(column, value)
    }

    pub fn and(mut self, column: &str, value: &str) -> Self {
        self.equals
            .push((column.to_lowercase(), vec![Datum::text(value)]));
        self
    }

    /// May a row with this text in `column` pass? Case-insensitive, so never stricter than the query's own filter.
    pub fn admits(&self, column: &str, value: &str) -> bool {
        self.equals
            .iter()
            .filter(|(name, _)| name.eq_ignore_ascii_case(column))
            .all(|(_, values)| {
                values.iter().any(|datum| match datum {
                    Datum::Bytes(bytes) => String::from_utf8_lossy(bytes)
                        .to_lowercase()
                        .trim_end()
                        .eq(value.to_lowercase().trim_end()),
                    // Compared as numbers or otherwise: left to the query.
                    _ => true,
                })
            })
    }

    /// The one text that `column` may have, when the query names exactly one.
    pub fn only(&self, column: &str) -> Option<String> {
        let (_, values) = self
            .equals
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(column))?;
        match &values[..] {
            [Datum::Bytes(bytes)] => String::from_utf8(bytes.to_vec()).ok(),
            _ => None,
        }
    }
}
