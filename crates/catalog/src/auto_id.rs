//! Auto-increment values: reserved from the store by ranges, handed out from memory.
//!
//! What a node had reserved and not used when it stopped is lost, so values may have gaps, of at most a range a restart.

use std::collections::HashMap;
use std::sync::Arc;

use ilmenite_store::{Check, CommitOptions, StoreRef, run_txn};
use parking_lot::Mutex;

use crate::error::{Error, Result};
use crate::meta::{auto_id_key, parse_decimal};
use crate::{SchemaId, TableId};

/// Values reserved at a time.
const RANGE: i64 = 4000;

/// What is reserved and not handed out: `next..=last`.
#[derive(Debug, Default)]
struct Range {
    next: i64,
    last: i64,
}

#[derive(Default)]
pub(crate) struct AutoIds {
    ranges: Mutex<HashMap<TableId, Arc<tokio::sync::Mutex<Range>>>>,
}

impl AutoIds {
    fn range(&self, table: TableId) -> Arc<tokio::sync::Mutex<Range>> {
        self.ranges.lock().entry(table).or_default().clone()
    }

    /// Forgets tables that are gone.
    pub fn retain(&self, exists: impl Fn(TableId) -> bool) {
        self.ranges.lock().retain(|table, _| exists(*table));
    }

    /// `n` values, the first at least 1, each equal to `offset` modulo `increment`; returns the first, the others
    /// follow at a distance of `increment`.
    pub async fn alloc(
        &self,
        store: &StoreRef,
        options: CommitOptions,
        (schema, table): (SchemaId, TableId),
        n: i64,
        increment: i64,
        offset: i64,
    ) -> Result<i64> {
        let range = self.range(table);
        let mut range = range.lock().await;
        let increment = increment.max(1);
        let first = |next: i64| {
            let (next, offset) = (next.max(1), offset.rem_euclid(increment));
            next + (offset - next).rem_euclid(increment)
        };
        let span = n
            .checked_sub(1)
            .and_then(|n| n.checked_mul(increment))
            .ok_or(Error::Exhausted)?;
        if range.next == 0 || first(range.next).checked_add(span).ok_or(Error::Exhausted)? > range.last {
            let want = span.saturating_add(increment).max(RANGE);
            *range = reserve(store, options, schema, table, want).await?;
        }
        let first = first(range.next);
        range.next = first
            .checked_add(span)
            .and_then(|last| last.checked_add(1))
            .ok_or(Error::Exhausted)?;
        Ok(first)
    }

    /// A value at least this large was written by hand: later ones are greater.
    pub async fn rebase(
        &self,
        store: &StoreRef,
        options: CommitOptions,
        (schema, table): (SchemaId, TableId),
        at_least: i64,
    ) -> Result<()> {
        let range = self.range(table);
        let mut range = range.lock().await;
        if at_least < range.next {
            return Ok(());
        }
        if range.next > 0 && at_least <= range.last {
            range.next = at_least.checked_add(1).ok_or(Error::Exhausted)?;
            return Ok(());
        }
        let reserved = reserve_from(store, options, schema, table, at_least).await?;
        if reserved.next > range.next {
            *range = reserved;
        }
        Ok(())
    }
}

/// Reserves the next `n` values.
async fn reserve(
    store: &StoreRef,
    options: CommitOptions,
    schema: SchemaId,
    table: TableId,
    n: i64,
) -> Result<Range> {
    let key = auto_id_key(schema, table);
    let last = move_counter(store, options, key, move |last| last.checked_add(n)).await?;
    Ok(Range {
        next: last - n + 1,
        last,
    })
}

async fn reserve_from(
    store: &StoreRef,
    options: CommitOptions,
    schema: SchemaId,
    table: TableId,
    at_least: i64,
) -> Result<Range> {
    let key = auto_id_key(schema, table);
    let last = move_counter(store, options, key, move |last| {
        if last > at_least {
            last.checked_add(RANGE)
        } else {
            Some(at_least.saturating_add(RANGE))
        }
    })
    .await?;
    Ok(Range {
        next: (last - RANGE + 1).max(at_least.saturating_add(1)),
        last,
    })
}

/// Sets the table's counter to what `to` makes of it, and returns that.
async fn move_counter(
    store: &StoreRef,
    options: CommitOptions,
    key: Vec<u8>,
    to: impl Fn(i64) -> Option<i64> + Send + Sync + Clone + 'static,
) -> Result<i64> {
    run_txn(store, options, move |txn| {
        let (key, to) = (key.clone(), to.clone());
        Box::pin(async move {
            let last = parse_decimal(txn.get(&key).await?)?;
            let moved = to(last).ok_or(Error::Exhausted)?;
            txn.put(key, moved.to_string().into_bytes(), Check::Unchanged)?;
            Ok(moved)
        })
    })
    .await
}
