//! Adds up a table and its indexes on all cores.

use std::collections::VecDeque;
use std::sync::Arc;

use ilmenite_catalog::{IndexId, TableInfo};
use ilmenite_codec::key::{index_range, record_range};
use ilmenite_store::EntryDigest;
use ilmenite_store::{KeyRange, StoreRef, Timestamp};
use parking_lot::Mutex;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::digest::RangeDigest;
use crate::encoding::IndexCodec;
use crate::error::{Error, Result};
use crate::ranges::{Piece, cut_range};

/// By index, in the order asked for.
type Digests = Vec<EntryDigest>;

struct Work {
    store: StoreRef,
    table: TableInfo,
    ids: Vec<IndexId>,
    ts: Timestamp,
    /// Ranges still to be read: of rows (`None`), or of the index at this place.
    ranges: Mutex<VecDeque<(Option<usize>, KeyRange)>>,
    cancel: CancellationToken,
}

/// What the rows ought to have in each index, and what is there.
pub(super) async fn compare(
    store: &StoreRef,
    table: &TableInfo,
    ids: Vec<IndexId>,
    ts: Timestamp,
    cancel: &CancellationToken,
) -> Result<(Digests, Digests)> {
    let mut due = vec![EntryDigest::default(); ids.len()];
    let mut there = due.clone();
    if ids.is_empty() {
        return Ok((due, there));
    }
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let mut ranges = VecDeque::new();
    let rows = (None, record_range(table.id));
    let indexes = ids
        .iter()
        .enumerate()
        .map(|(at, &id)| (Some(at), index_range(table.id, id)));
    for (side, (start, end)) in std::iter::once(rows).chain(indexes) {
        let whole = KeyRange::new(start, end);
        let pieces: Vec<Piece> = store.regions(&whole).await?.into_iter().map(Piece::of).collect();
        ranges.extend(
            cut_range(&whole, &pieces, cores as u32)
                .into_iter()
                .map(|range| (side, range)),
        );
    }
    let workers = cores.min(ranges.len());
    let work = Arc::new(Work {
        store: store.clone(),
        table: table.clone(),
        ids,
        ts,
        ranges: Mutex::new(ranges),
        cancel: cancel.clone(),
    });
    // Dropped with this future, however it ends.
    let mut tasks = JoinSet::new();
    for _ in 0..workers {
        let work = work.clone();
        tasks.spawn(async move { work.run().await });
    }
    while let Some(done) = tasks.join_next().await {
        let (rows, entries) = done.map_err(|e| Error::Bug(format!("adding up failed: {e}")))??;
        let merge =
            |into: &mut Digests, from: Digests| into.iter_mut().zip(&from).for_each(|(d, o)| d.merge(o));
        merge(&mut due, rows);
        merge(&mut there, entries);
    }
    Ok((due, there))
}

impl Work {
    async fn run(&self) -> Result<(Digests, Digests)> {
        let mut due = vec![EntryDigest::default(); self.ids.len()];
        let mut there = due.clone();
        let mut encoders = Vec::with_capacity(self.ids.len());
        for &id in &self.ids {
            let index = self
                .table
                .index_by_id(id)
                .ok_or_else(|| Error::Bug("an index vanished".into()))?;
            encoders.push(IndexCodec::new(&self.table, index)?.encoder()?);
        }
        let go_on = |_: &_| match self.cancel.is_cancelled() {
            true => Err(ilmenite_store::Error::Cancelled.into()),
            false => Ok(()),
        };
        while let Some((side, range)) = self.next() {
            let part = RangeDigest {
                store: &self.store,
                range,
                ts: self.ts,
                options: crate::scan::stored(),
            };
            match side {
                Some(at) => there[at].merge(&part.of_entries(go_on).await?),
                None => {
                    let digests = part.of_rows(&mut encoders, go_on).await?;
                    due.iter_mut().zip(&digests).for_each(|(d, o)| d.merge(o));
                }
            }
        }
        Ok((due, there))
    }

    fn next(&self) -> Option<(Option<usize>, KeyRange)> {
        self.ranges.lock().pop_front()
    }
}
