//! About how many rows tables have.

use std::time::{Duration, Instant};

use ahash::AHashMap;
use ilmenite_catalog::TableId;
use ilmenite_error::Result;
use ilmenite_store::{KeyRange, StoreRef};
use parking_lot::Mutex;

/// From the store's regions, asked for now and then.
#[derive(Default)]
pub(crate) struct RowCounts {
    tables: Mutex<AHashMap<TableId, (f64, Instant)>>,
}

impl std::fmt::Debug for RowCounts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RowCounts({} tables)", self.tables.lock().len())
    }
}

const STATS_AGE: Duration = Duration::from_secs(10);
/// A new table grows fast.
const STATS_AGE_SMALL: Duration = Duration::from_millis(500);
const SMALL_ROWS: f64 = 10_000.0;
/// Tables known at most: beyond it all are forgotten, and asked for again.
const STATS_TABLES: usize = 10_000;

impl RowCounts {
    pub(crate) async fn rows(&self, store: &StoreRef, table: TableId) -> Result<f64> {
        let now = Instant::now();
        if let Some((rows, at)) = self.tables.lock().get(&table) {
            let age = if *rows < SMALL_ROWS {
                STATS_AGE_SMALL
            } else {
                STATS_AGE
            };
            if now.duration_since(*at) < age {
                return Ok(*rows);
            }
        }
        let (start, end) = ilmenite_codec::record_range(table);
        let regions = store.regions(&KeyRange::new(start, end)).await?;
        let rows = regions
            .iter()
            .map(|region| region.approximate_keys as f64)
            .sum::<f64>()
            .max(1.0);
        let mut tables = self.tables.lock();
        if tables.len() >= STATS_TABLES {
            tables.clear();
        }
        tables.insert(table, (rows, now));
        Ok(rows)
    }
}
