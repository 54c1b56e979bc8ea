//! AUTO_INCREMENT values and hidden row ids (`_tidb_rowid`): one counter for both in each table, as TiDB has it.
//!
//! A node takes a batch from the store and hands it out from memory. What it has left when it stops is never used.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::FutureExt;
use ilmenite_store::{CommitOptions, Error as StoreError, Transaction, run_txn};
use ilmenite_types::FieldFlags;
use parking_lot::Mutex;

use crate::error::{Error, Result};
use crate::meta::{Meta, auto_id_key, parse_decimal, table_key};
use crate::metrics::METRICS;
use crate::{Catalog, SchemaId, SchemaView, TableId};

/// Ids taken from the store at once, at least.
pub(crate) const AUTO_ID_BATCH: u64 = 4000;
/// Times a request starts anew because its table moved, or others were faster.
const MAX_ATTEMPTS: u32 = 16;

/// Ids from `next` to `end`, both inclusive; none when `next > end`. 0 is no id.
#[derive(Debug, Clone, Copy)]
struct Batch {
    next: u64,
    end: u64,
}

const NONE: Batch = Batch { next: 1, end: 0 };

/// Hands out the automatic ids of one table.
pub(crate) struct AutoId {
    table_id: TableId,
    /// The greatest id there may be.
    limit: u64,
    batch: Mutex<Batch>,
    /// Held while a batch is taken from the store.
    turn: tokio::sync::Mutex<()>,
}

/// The least id from `from` on that `increment` and `offset` allow.
fn align(from: u64, increment: u64, offset: u64) -> Option<u64> {
    // An offset beyond the increment is ignored.
    let remainder = offset % increment;
    from.checked_add((increment + remainder - from % increment) % increment)
}

impl AutoId {
    /// Takes `n` ids from what this node holds: the first of them.
    fn take(&self, n: u64, increment: u64, offset: u64) -> Option<u64> {
        let mut batch = self.batch.lock();
        let first = align(batch.next, increment, offset)?;
        let last = first.checked_add((n - 1).checked_mul(increment)?)?;
        if last > batch.end {
            return None;
        }
        batch.next = last + 1;
        Some(first)
    }
}

/// An allocator together with the catalog it belongs to.
pub(crate) struct AutoIds<'a> {
    catalog: &'a Catalog,
    ids: Arc<AutoId>,
}

impl AutoIds<'_> {
    /// `n` ids that no one had and no one else gets: the first, and each further one `increment` after the one before.
    /// They are `offset` modulo `increment`; 1 and 1 for any. `n` and `increment` 0 count as 1.
    /// Errors: `Exhausted`, `NotFound`, the store's.
    pub(crate) async fn alloc(&self, n: u64, increment: u64, offset: u64) -> Result<u64> {
        let (n, increment) = (n.max(1), increment.max(1));
        if let Some(first) = self.ids.take(n, increment, offset) {
            return Ok(first);
        }
        let _turn = self.ids.turn.lock().await;
        let size = n.checked_mul(increment).ok_or(Error::Exhausted)?;
        for _ in 0..MAX_ATTEMPTS {
            if let Some(first) = self.ids.take(n, increment, offset) {
                return Ok(first);
            }
            let limit = self.ids.limit;
            let size = size.max(AUTO_ID_BATCH);
            let (before, end) = self
                .advance(move |last| Some(last.saturating_add(size).min(limit)).filter(|end| *end > last))
                .await?;
            if before == end {
                return Err(Error::Exhausted);
            }
            let mut batch = self.ids.batch.lock();
            // Nobody else took a batch since: what is left of ours goes on into the new one.
            if batch.next > batch.end || batch.end != before {
                batch.next = before + 1;
            }
            batch.end = end;
        }
        // The end of the counter is reached piece by piece.
        Err(Error::Exhausted)
    }

    /// Ids up to `at_least` are taken from now on: somebody used one of his own choice.
    pub(crate) async fn rebase(&self, at_least: u64) -> Result<()> {
        if self.rebase_in_batch(at_least) {
            return Ok(());
        }
        let _turn = self.ids.turn.lock().await;
        if self.rebase_in_batch(at_least) {
            return Ok(());
        }
        let limit = self.ids.limit;
        let (before, end) = self
            .advance(move |last| {
                (last < at_least).then(|| at_least.saturating_add(AUTO_ID_BATCH).min(limit.max(at_least)))
            })
            .await?;
        let mut batch = self.ids.batch.lock();
        *batch = if before == end {
            // Others are beyond it; so will the next batch be.
            NONE
        } else {
            Batch {
                next: at_least.saturating_add(1),
                end: end.min(limit),
            }
        };
        Ok(())
    }

    /// Whether what this node holds is all that `at_least` concerns.
    fn rebase_in_batch(&self, at_least: u64) -> bool {
        let mut batch = self.ids.batch.lock();
        if batch.next > batch.end {
            return at_least == 0;
        }
        if at_least >= batch.next && at_least < batch.end {
            batch.next = at_least + 1;
        }
        at_least < batch.end
    }

    /// Moves the counter in the store from what it is to what `to` makes of it (`None`: as it is). Returns both.
    async fn advance(
        &self,
        to: impl Fn(u64) -> Option<u64> + Copy + Send + Sync + 'static,
    ) -> Result<(u64, u64)> {
        let table = self.ids.table_id;
        for _ in 0..MAX_ATTEMPTS {
            let view = self.catalog.view();
            let schema = match view.schema_of(table) {
                Some(schema) => schema.id,
                None => match self.catalog.refreshed().await?.schema_of(table) {
                    Some(schema) => schema.id,
                    None => return Err(Error::NotFound(format!("table {table}"))),
                },
            };
            let moved: std::result::Result<Option<(u64, u64)>, Error> =
                run_txn(&self.catalog.store, CommitOptions::default(), |txn| {
                    step(txn, schema, table, to).boxed()
                })
                .await;
            match moved {
                Ok(Some(moved)) => {
                    METRICS.auto_id_batches.inc();
                    return Ok(moved);
                }
                // It is in another schema by now, or gone.
                Ok(None) => self.catalog.refresh().await?,
                Err(Error::Store(StoreError::PreconditionFailed { .. })) => {}
                Err(e) => return Err(e),
            }
        }
        Err(Error::Store(StoreError::Unavailable(format!(
            "the counter of table {table} changes all the time"
        ))))
    }
}

/// `None`: the table is not in this schema.
async fn step(
    txn: &mut Transaction,
    schema: SchemaId,
    table: TableId,
    to: impl Fn(u64) -> Option<u64> + Send,
) -> Result<Option<(u64, u64)>> {
    let counter = txn.get(&auto_id_key(schema, table)).await?;
    if counter.is_none() {
        // No counter yet. It begins here, unless the table leaves at this moment.
        let key = table_key(schema, table);
        let Some(row) = txn.get(&key).await? else {
            return Ok(None);
        };
        txn.require(key, Some(row));
    }
    // What is beyond the signed integers is stored as a negative number, as TiDB does.
    let last = parse_decimal(counter)? as u64;
    match to(last) {
        None => Ok(Some((last, last))),
        Some(end) => {
            Meta::new(txn).put_auto_id(schema, table, end as i64)?;
            Ok(Some((last, end)))
        }
    }
}

/// The allocators in use on this node.
#[derive(Default)]
pub(crate) struct AutoIdTable {
    ids: Mutex<BTreeMap<TableId, Arc<AutoId>>>,
}

impl AutoIdTable {
    fn get(&self, view: &SchemaView, table_id: TableId) -> Arc<AutoId> {
        let mut ids = self.ids.lock();
        let new = || {
            let unsigned = view.table_by_id(table_id).is_some_and(|t| {
                t.columns
                    .iter()
                    .any(|c| c.field_type.flags.has(FieldFlags::AUTO_INCREMENT) && c.field_type.is_unsigned())
            });
            Arc::new(AutoId {
                table_id,
                // The greatest of all is left out, so that there is always a next one.
                limit: if unsigned { u64::MAX - 1 } else { i64::MAX as u64 },
                batch: Mutex::new(NONE),
                turn: tokio::sync::Mutex::new(()),
            })
        };
        ids.entry(table_id).or_insert_with(new).clone()
    }

    /// Forgets tables that are gone, and those in `rebased`.
    pub(crate) fn retain(&self, view: &SchemaView, rebased: &[TableId]) {
        self.ids
            .lock()
            .retain(|id, _| view.table_by_id(*id).is_some() && !rebased.contains(id));
    }

    pub(crate) fn clear(&self) {
        self.ids.lock().clear();
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.ids.lock().len()
    }
}

impl Catalog {
    pub(crate) fn auto_id(&self, table: TableId) -> AutoIds<'_> {
        AutoIds {
            catalog: self,
            ids: self.auto_ids.get(&self.local.view.load(), table),
        }
    }

    /// `n` fresh values of the table's AUTO_INCREMENT column or hidden row id: the first; the others follow at a
    /// distance of `increment`. All equal `offset` modulo `increment`; 1 and 1 for any. Values of an unsigned column
    /// beyond the signed integers come with their bits as they are.
    /// Errors: `Exhausted`, `NotFound`, the store's.
    pub async fn alloc_auto_ids(&self, table: TableId, n: i64, increment: i64, offset: i64) -> Result<i64> {
        let at_least_one = |n: i64| n.max(1) as u64;
        let (n, increment) = (at_least_one(n), at_least_one(increment));
        let first = self
            .auto_id(table)
            .alloc(n, increment, offset.max(0) as u64)
            .await?;
        Ok(first as i64)
    }

    /// The value the table's next row would get on this node, without taking it.
    pub async fn next_auto_id(&self, table: TableId) -> Result<i64> {
        let ids = self.auto_id(table).ids;
        let batch = *ids.batch.lock();
        if batch.next <= batch.end {
            return Ok(batch.next as i64);
        }
        let view = self.view();
        let schema = view
            .schema_of(table)
            .ok_or_else(|| Error::NotFound(format!("table {table}")))?;
        let ts = self.store().timestamp().await?;
        let last = parse_decimal(self.store().get(&auto_id_key(schema.id, table), ts).await?)?;
        Ok(last + 1)
    }

    /// Later values will be greater than `at_least`, whose bits count as unsigned when the column is.
    pub async fn rebase_auto_id(&self, table: TableId, at_least: i64) -> Result<()> {
        let ids = self.auto_id(table);
        if at_least < 0 && ids.ids.limit <= i64::MAX as u64 {
            return Ok(());
        }
        ids.rebase(at_least as u64).await
    }
}
