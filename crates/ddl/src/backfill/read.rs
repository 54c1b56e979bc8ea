//! A subtask of read-index: rows of one range at the snapshot, to entries of every index, to sorted runs. Keys are
//! sorted without what all keys of an index begin with.

use ilmenite_base::background;
use ilmenite_codec::IndexEncoder;
use ilmenite_codec::key::decode_record_handle;
use ilmenite_sort::{DuplicatePolicy, ObjectStorage, RunSorter, SortedEntries, SortedRun, SorterOptions};
use ilmenite_store::{EntryDigest, KeyRange, KvBatch};
use ilmenite_task::{Progress, SubtaskContext, TaskError};
use serde_json::Value;

use super::Backfill;
use super::conflict::add_duplicates;
use super::ingest::{Ingesting, observed};
use super::meta::{
    BuildFailure, BuildMeta, ReadIndex, ReadMeta, ReadOutput, cancelled, parse, sort_error, store_error,
    value,
};
use super::sizing::BATCH_BYTES;
use crate::error::DdlError;

/// Of a slot's memory: batches of the scan, and of what is ingested.
const SCAN_BYTES: u64 = 2 << 20;

pub(super) async fn run(
    engine: &Backfill,
    context: &SubtaskContext,
    meta: &BuildMeta,
) -> Result<Value, TaskError> {
    let part: ReadMeta = parse(&context.subtask.meta)?;
    let storage = engine.storage(meta).await?;
    let storage = observed(storage, context);
    // As many indexes at once as memory allows; more of them take another scan.
    let least = RunSorter::min_budget_bytes(&storage) as u64;
    let share = engine.slot_budget_bytes();
    let at_once = (share.saturating_sub(SCAN_BYTES) / least.max(1)).max(1) as usize;
    let at_once = at_once.min(meta.index_ids.len().max(1));
    let per_index = (share.saturating_sub(SCAN_BYTES) / at_once as u64).max(least);
    let needed = per_index * at_once as u64 + SCAN_BYTES;
    let acquire = engine.config.memory.acquire(needed, &context.cancel);
    let _memory = acquire.await.map_err(sort_error)?;

    let reading = Reading {
        engine,
        context,
        meta,
        storage,
        index_budget_bytes: per_index as usize,
        in_memory_allowed: part.whole,
    };
    let mut output = ReadOutput::default();
    let mut progress = Progress::default();
    for (pass, ids) in meta.index_ids.chunks(at_once).enumerate() {
        let mut scan = ReadPass::new(&reading, pass, ids)?;
        let rows = scan.read(&part.range, &mut progress).await?;
        if pass == 0 {
            output.rows = rows;
        } else if rows != output.rows {
            return Err(DdlError::bug(format!("{rows} rows, and {} at the first scan", output.rows)).into());
        }
        output.indexes.extend(scan.finish(&mut progress).await?);
    }
    Ok(value(&output)?)
}

/// What is the same for every scan of the range.
struct Reading<'a> {
    engine: &'a Backfill,
    context: &'a SubtaskContext,
    meta: &'a BuildMeta,
    storage: ObjectStorage,
    /// What each index's sorter may take.
    index_budget_bytes: usize,
    in_memory_allowed: bool,
}

/// One scan of the range, for some of the indexes.
struct ReadPass<'a> {
    of: &'a Reading<'a>,
    ids: &'a [i64],
    encoders: Vec<IndexEncoder>,
    sorters: Vec<RunSorter>,
}

impl<'a> ReadPass<'a> {
    fn new(of: &'a Reading<'a>, pass: usize, ids: &'a [i64]) -> Result<Self, TaskError> {
        let (task, subtask) = (&of.context.task, &of.context.subtask);
        let prefix = of
            .engine
            .run_prefix(task.id, subtask.step, subtask.ordinal, subtask.attempt);
        let mut sorters = Vec::with_capacity(ids.len());
        for (&id, position) in ids.iter().zip(0..) {
            let unique = of.meta.table.index_by_id(id).is_some_and(|i| i.unique);
            let options = SorterOptions {
                budget_bytes: of.index_budget_bytes,
                prefix: format!("{prefix}/{pass}-{position}"),
                duplicates: if unique {
                    DuplicatePolicy::Detect { collapse_equal: true }
                } else {
                    DuplicatePolicy::Allow
                },
                in_memory_allowed: of.in_memory_allowed,
            };
            sorters.push(RunSorter::new(&of.storage, options, &of.context.cancel).map_err(sort_error)?);
        }
        Ok(ReadPass {
            of,
            ids,
            encoders: of.meta.encoders(ids)?,
            sorters,
        })
    }

    async fn read(&mut self, range: &KeyRange, progress: &mut Progress) -> Result<u64, TaskError> {
        let (_, batch_rows) = self.of.engine.settings(self.of.meta.job_id).await?;
        let options = ilmenite_table::scan_options(batch_rows);
        let mut scan = self
            .of
            .engine
            .store()
            .scan(range.clone(), self.of.meta.snapshot, options)
            .map_err(store_error)?;
        let mut rows = 0;
        let (mut key_buf, mut value_buf) = (Vec::new(), Vec::new());
        let mut batch = KvBatch::new();
        while scan.next_batch(&mut batch).await.map_err(store_error)? {
            if self.of.context.cancel.is_cancelled() {
                return Err(cancelled());
            }
            progress.bytes += batch.bytes() as u64;
            for (index, (key, row)) in batch.iter().enumerate() {
                background::at(index);
                let handle = decode_record_handle(key).map_err(DdlError::from)?;
                for (encoder, sorter) in self.encoders.iter_mut().zip(&mut self.sorters) {
                    key_buf.clear();
                    value_buf.clear();
                    encoder
                        .encode_row(row, handle, &mut key_buf, &mut value_buf)
                        .map_err(DdlError::from)?;
                    let key = &key_buf[encoder.prefix().len()..];
                    if !sorter.push(key, &value_buf).map_err(sort_error)? {
                        sorter.spill_and_push(key, &value_buf).await.map_err(sort_error)?;
                    }
                }
            }
            rows += batch.len() as u64;
            progress.rows = progress.rows.max(rows);
            self.report(*progress);
        }
        Ok(rows)
    }

    fn report(&self, mut progress: Progress) {
        let stats = self.of.storage.stats();
        progress.object_requests = stats.requests();
        progress.object_bytes = stats.bytes_in + stats.bytes_out;
        self.of.context.progress(progress);
    }

    async fn finish(mut self, progress: &mut Progress) -> Result<Vec<ReadIndex>, TaskError> {
        let mut failure: Option<BuildFailure> = None;
        let mut all = Vec::with_capacity(self.ids.len());
        for (&index_id, sorter) in self.ids.iter().zip(std::mem::take(&mut self.sorters)) {
            let sorted = sorter.finish().await.map_err(sort_error)?;
            if !sorted.duplicates.is_empty() {
                add_duplicates(self.of.meta, index_id, &sorted.duplicates, &mut failure)?;
            }
            all.push((index_id, sorted));
        }
        // Before anything is ingested, which may take long: whoever waits for the error need not wait for that.
        if let Some(failure) = failure {
            return Err(failure.into());
        }
        let mut indexes = Vec::with_capacity(all.len());
        for (index_id, sorted) in all {
            // The same row read twice would be a bug of the scan; what was collapsed shows in the totals.
            let mut index = ReadIndex {
                index_id,
                entries: sorted.pushed,
                ingested: EntryDigest::default(),
                runs: Vec::new(),
            };
            match sorted.run {
                SortedRun::InMemory(entries) => index.ingested = self.ingest(index_id, entries).await?,
                SortedRun::Stored(runs) => index.runs = runs,
            }
            indexes.push(index);
        }
        let stats = self.of.storage.stats();
        progress.object_requests = stats.requests();
        progress.object_bytes = stats.bytes_in + stats.bytes_out;
        self.of.context.progress(*progress);
        Ok(indexes)
    }

    /// All of the index fitted in memory: nothing touches object storage.
    async fn ingest(&self, index_id: i64, entries: SortedEntries) -> Result<EntryDigest, TaskError> {
        if entries.is_empty() {
            return Ok(EntryDigest::default());
        }
        let (start, end) = ilmenite_codec::key::index_range(self.of.meta.table.id, index_id);
        let mut ingesting = Ingesting::begin(
            self.of.engine,
            self.of.context,
            self.of.meta,
            KeyRange::new(start, end),
        )
        .await?;
        let mut entries = entries.with_key_prefix(&self.of.meta.key_prefix(index_id));
        let mut batch = KvBatch::new();
        while entries.next_batch(&mut batch, BATCH_BYTES) {
            ingesting.write(&batch).await?;
        }
        ingesting.finish().await?;
        Ok(entries.digest())
    }
}
