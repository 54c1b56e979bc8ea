//! A subtask of read-index: rows of one range at the snapshot, to entries of every index, to sorted runs. Keys are
//! sorted without what all keys of an index begin with.

use ilmenite_base::background;
use ilmenite_codec::IndexEncoder;
use ilmenite_codec::key::decode_record_handle;
use ilmenite_sort::{
    DuplicatePolicy, Duplicates, ObjectStorage, RunSorter, SortedEntries, SortedRun, SorterOptions,
};
use ilmenite_store::EntryDigest;
use ilmenite_store::{KeyRange, KvBatch};
use ilmenite_task::{Progress, SubtaskContext, TaskError};
use serde_json::Value;

use super::ingest::Ingesting;
use super::plan::{ReadMeta, parse, value};
use super::{Backfill, BuildFailure, BuildMeta, ReadIndex, ReadOutput, cancelled, sort_error, store_error};
use crate::backfill::conflict_of;
use crate::error::DdlError;
use crate::job::Conflict;
use ilmenite_table::IndexCodec;

/// Of a slot's memory: batches of the scan, and of what is ingested.
const SCAN_BYTES: u64 = 2 << 20;

pub(super) async fn run(
    engine: &Backfill,
    context: &SubtaskContext,
    meta: &BuildMeta,
) -> Result<Value, TaskError> {
    let part: ReadMeta = parse(&context.subtask.meta)?;
    let storage = engine.storage(meta).await?;
    let storage = super::ingest::observed(storage, context);
    // As many indexes at once as memory allows; more of them take another scan.
    let least = RunSorter::min_budget_bytes(&storage) as u64;
    let share = engine.slot_budget_bytes();
    let at_once = (share.saturating_sub(SCAN_BYTES) / least.max(1)).max(1) as usize;
    let at_once = at_once.min(meta.index_ids.len().max(1));
    let per_index = (share.saturating_sub(SCAN_BYTES) / at_once as u64).max(least);
    let needed = per_index * at_once as u64 + SCAN_BYTES;
    let acquire = engine.config.memory.acquire(needed, &context.cancel);
    let _memory = acquire.await.map_err(sort_error)?;

    let mut output = ReadOutput::default();
    let mut progress = Progress::default();
    for (pass, ids) in meta.index_ids.chunks(at_once).enumerate() {
        let mut scan = ReadPass::new(
            engine,
            context,
            meta,
            &storage,
            ids,
            pass,
            per_index as usize,
            part.whole,
        )?;
        let rows = scan.read(&part.range, &mut progress).await?;
        if pass == 0 {
            output.rows = rows;
        } else if rows != output.rows {
            return Err(DdlError::bug(format!("{rows} rows, and {} at the first scan", output.rows)).into());
        }
        output.indexes.extend(scan.finish(&mut progress).await?);
    }
    value(&output)
}

/// One scan of the range, for some of the indexes.
struct ReadPass<'a> {
    engine: &'a Backfill,
    context: &'a SubtaskContext,
    meta: &'a BuildMeta,
    storage: &'a ObjectStorage,
    ids: &'a [i64],
    encoders: Vec<IndexEncoder>,
    sorters: Vec<RunSorter>,
}

impl<'a> ReadPass<'a> {
    #[allow(clippy::too_many_arguments)]
    fn new(
        engine: &'a Backfill,
        context: &'a SubtaskContext,
        meta: &'a BuildMeta,
        storage: &'a ObjectStorage,
        ids: &'a [i64],
        pass: usize,
        budget_bytes: usize,
        in_memory_allowed: bool,
    ) -> Result<Self, TaskError> {
        let encoders = meta.encoders(ids)?;
        let subtask = &context.subtask;
        let prefix = engine.run_prefix(context.task.id, subtask.step, subtask.ordinal, subtask.attempt);
        let mut sorters = Vec::with_capacity(ids.len());
        for (&id, position) in ids.iter().zip(0..) {
            let unique = meta.table.index_by_id(id).is_some_and(|i| i.unique);
            let options = SorterOptions {
                budget_bytes,
                prefix: format!("{prefix}/{pass}-{position}"),
                duplicates: if unique {
                    DuplicatePolicy::Detect { collapse_equal: true }
                } else {
                    DuplicatePolicy::Allow
                },
                in_memory_allowed,
            };
            sorters.push(RunSorter::new(storage, options, &context.cancel).map_err(sort_error)?);
        }
        Ok(ReadPass {
            engine,
            context,
            meta,
            storage,
            ids,
            encoders,
            sorters,
        })
    }

    async fn read(&mut self, range: &KeyRange, progress: &mut Progress) -> Result<u64, TaskError> {
        let (_, batch_rows) = self.engine.settings(self.meta.job_id).await?;
        let options = ilmenite_table::scan_options(batch_rows);
        let mut scan = self
            .engine
            .store()
            .scan(range.clone(), self.meta.snapshot, options)
            .map_err(store_error)?;
        let mut rows = 0;
        let (mut key_buf, mut value_buf) = (Vec::new(), Vec::new());
        let mut batch = KvBatch::new();
        while scan.next_batch(&mut batch).await.map_err(store_error)? {
            if self.context.cancel.is_cancelled() {
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
        let stats = self.storage.stats();
        progress.object_requests = stats.requests();
        progress.object_bytes = stats.bytes_in + stats.bytes_out;
        self.context.progress(progress);
    }

    async fn finish(mut self, progress: &mut Progress) -> Result<Vec<ReadIndex>, TaskError> {
        let mut failure: Option<BuildFailure> = None;
        let mut all = Vec::with_capacity(self.ids.len());
        for (&index_id, sorter) in self.ids.iter().zip(std::mem::take(&mut self.sorters)) {
            let sorted = sorter.finish().await.map_err(sort_error)?;
            if !sorted.duplicates.is_empty() {
                add_duplicates(self.meta, index_id, &sorted.duplicates, &mut failure)?;
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
        let stats = self.storage.stats();
        progress.object_requests = stats.requests();
        progress.object_bytes = stats.bytes_in + stats.bytes_out;
        self.context.progress(*progress);
        Ok(indexes)
    }

    /// All of the index fitted in memory: nothing touches object storage.
    async fn ingest(&self, index_id: i64, entries: SortedEntries) -> Result<EntryDigest, TaskError> {
        if entries.is_empty() {
            return Ok(EntryDigest::default());
        }
        let (start, end) = ilmenite_codec::key::index_range(self.meta.table.id, index_id);
        let mut ingesting =
            Ingesting::begin(self.engine, self.context, self.meta, KeyRange::new(start, end)).await?;
        let mut entries = entries.with_key_prefix(&self.meta.key_prefix(index_id));
        let mut batch = KvBatch::new();
        while entries.next_batch(&mut batch, super::ingest::BATCH_BYTES) {
            ingesting.write(&batch).await?;
        }
        ingesting.finish().await?;
        Ok(entries.digest())
    }
}

/// Decodes what the sort found under one key twice.
pub(super) fn add_duplicates(
    meta: &BuildMeta,
    index_id: i64,
    duplicates: &Duplicates,
    failure: &mut Option<BuildFailure>,
) -> Result<(), TaskError> {
    let index = meta
        .table
        .index_by_id(index_id)
        .ok_or_else(|| DdlError::bug("an index without a definition"))?;
    let codec = IndexCodec::new(&meta.table, index).map_err(DdlError::from)?;
    let mut conflicts: Vec<Conflict> = Vec::new();
    for sample in &duplicates.samples {
        let key = [&meta.key_prefix(index_id), &sample.key[..]].concat();
        let entries = [&sample.first, &sample.second];
        conflicts.push(conflict_of(&meta.table, index, &codec, &key, &entries)?);
    }
    let Some(first) = conflicts.first() else {
        return Err(DdlError::bug("duplicates were counted, but none was kept").into());
    };
    let error = DdlError::DuplicateEntry {
        entry: first.entry.clone(),
        key: format!("{}.{}", meta.table.name, index.name),
    };
    let failure = failure.get_or_insert(BuildFailure {
        error,
        conflicts: Vec::new(),
    });
    let room = ilmenite_sort::MAX_DUPLICATE_SAMPLES.saturating_sub(failure.conflicts.len());
    failure.conflicts.extend(conflicts.into_iter().take(room));
    Ok(())
}
