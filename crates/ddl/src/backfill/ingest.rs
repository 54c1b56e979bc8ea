//! Subtasks of merge-sort and of write&ingest.

use std::sync::Arc;
use std::time::Duration;

use ilmenite_base::clock;
use ilmenite_sort::{DuplicatePolicy, Merge, MergeOptions, ObjectStorage, Op, RetryEvent, RetryObserver};
use ilmenite_store::{EntryDigest, Ingest, KeyRange, KvBatch};
use ilmenite_task::{Progress, RetryStatus, SubtaskContext, SubtaskHandle, TaskError};
use serde_json::Value;
use tokio::time::Instant;

use super::conflict::add_duplicates;
use super::meta::{
    BuildMeta, IngestMeta, IngestOutput, MergeMeta, MergeOutput, cancelled, parse, sort_error, store_error,
    value,
};
use super::sizing::{BATCH_BYTES, merge_budget_bytes};
use super::{Backfill, LiveSettings};

/// Shows in the subtask's row what is being retried on the object storage.
struct ShowRetries(SubtaskHandle);

impl RetryObserver for ShowRetries {
    fn on_retry(&self, event: &RetryEvent) {
        let now_ms = clock::wall_ms();
        self.0.retrying(Some(RetryStatus {
            error: TaskError::new(
                event.kind.class(),
                format!("{} of '{}': {}", event.op, event.path, event.error),
            ),
            attempts: event.attempt,
            since_ms: now_ms,
            next_try_ms: now_ms + event.next_try_in.as_millis() as u64,
        }));
    }

    fn on_recovered(&self, _: Op, _: &str) {
        self.0.retrying(None);
    }
}

pub(super) fn observed(storage: ObjectStorage, context: &SubtaskContext) -> ObjectStorage {
    storage
        .handle()
        .with_observer(Arc::new(ShowRetries(context.report.clone())))
}

fn policy(meta: &BuildMeta, index_id: i64) -> DuplicatePolicy {
    if meta.table.index_by_id(index_id).is_some_and(|i| i.unique) {
        DuplicatePolicy::Detect { collapse_equal: true }
    } else {
        DuplicatePolicy::Allow
    }
}

pub(super) async fn run_merge(
    engine: &Backfill,
    context: &SubtaskContext,
    meta: &BuildMeta,
) -> Result<Value, TaskError> {
    let part: MergeMeta = parse(&context.subtask.meta)?;
    let storage = observed(engine.storage(meta).await?, context);
    let budget = engine.slot_budget_bytes();
    let _memory = engine
        .config
        .memory
        .acquire(budget, &context.cancel)
        .await
        .map_err(sort_error)?;
    let subtask = &context.subtask;
    let prefix = engine.run_prefix(context.task.id, subtask.step, subtask.ordinal, subtask.attempt);
    let expected = part.runs.iter().map(|r| r.entries()).sum();
    let duplicates = policy(meta, part.index_id);
    let merging = ilmenite_sort::merge_runs(
        &storage,
        &part.runs,
        prefix,
        budget as usize,
        duplicates,
        &context.cancel,
        |so_far| report(context, &storage, so_far, expected),
    );
    let merged = merging.await.map_err(sort_error)?;
    fail_on_duplicates(meta, part.index_id, &merged.duplicates)?;
    Ok(value(&MergeOutput {
        index_id: part.index_id,
        runs: merged.runs,
    })?)
}

pub(super) async fn run(
    engine: &Backfill,
    context: &SubtaskContext,
    meta: &BuildMeta,
) -> Result<Value, TaskError> {
    let part: IngestMeta = parse(&context.subtask.meta)?;
    let storage = observed(engine.storage(meta).await?, context);
    let budget = engine.slot_budget_bytes();
    let _memory = engine
        .config
        .memory
        .acquire(budget, &context.cancel)
        .await
        .map_err(sort_error)?;
    let options = MergeOptions {
        budget_bytes: merge_budget_bytes(budget),
        batch_bytes: BATCH_BYTES,
        duplicates: policy(meta, part.index_id),
    };
    let sorted = part.range.range();
    let prefix = meta.key_prefix(part.index_id);
    let whole = |key: &[u8]| [&prefix, key].concat();
    let range = KeyRange::new(whole(&sorted.start), whole(&sorted.end));
    let merge = Merge::new(&storage, &part.runs, sorted, &options, &context.cancel).map_err(sort_error)?;
    let mut merge = merge.with_key_prefix(&prefix);
    let mut ingesting = Ingesting::begin(engine, context, meta, range).await?;
    let mut batch = KvBatch::new();
    while merge.next_batch(&mut batch).await.map_err(sort_error)? {
        // Nothing of it becomes visible when a duplicate turns up.
        fail_on_duplicates(meta, part.index_id, merge.duplicates())?;
        ingesting.write(&batch).await?;
        report(context, &storage, merge.emitted(), part.range.entries);
    }
    fail_on_duplicates(meta, part.index_id, merge.duplicates())?;
    ingesting.finish().await?;
    let ingested = merge.emitted();
    report(context, &storage, ingested, part.range.entries);
    Ok(value(&IngestOutput {
        index_id: part.index_id,
        ingested,
    })?)
}

fn fail_on_duplicates(
    meta: &BuildMeta,
    index_id: i64,
    duplicates: &ilmenite_sort::Duplicates,
) -> Result<(), TaskError> {
    if duplicates.is_empty() {
        return Ok(());
    }
    let mut failure = None;
    add_duplicates(meta, index_id, duplicates, &mut failure)?;
    match failure {
        Some(failure) => Err(failure.into()),
        None => Ok(()),
    }
}

fn report(context: &SubtaskContext, storage: &ObjectStorage, so_far: EntryDigest, expected: u64) {
    let stats = storage.stats();
    context.progress(Progress {
        rows: so_far.entries,
        bytes: so_far.bytes,
        rows_expected: expected,
        object_requests: stats.requests(),
        object_bytes: stats.bytes_in + stats.bytes_out,
    });
}

/// An ingest at the build's snapshot, within the job's write speed.
pub(super) struct Ingesting<'a> {
    context: &'a SubtaskContext,
    engine: &'a Backfill,
    meta: &'a BuildMeta,
    settings: Arc<LiveSettings>,
    ingest: Box<dyn Ingest>,
    entries: u64,
    looked_at: Instant,
}

impl<'a> Ingesting<'a> {
    pub(super) async fn begin(
        engine: &'a Backfill,
        context: &'a SubtaskContext,
        meta: &'a BuildMeta,
        range: KeyRange,
    ) -> Result<Self, TaskError> {
        let (settings, _) = engine.settings(meta.job_id).await?;
        let ingest = engine
            .store()
            .ingest(range, meta.snapshot)
            .await
            .map_err(store_error)?;
        let looked_at = Instant::now();
        Ok(Ingesting {
            context,
            engine,
            meta,
            settings,
            ingest,
            entries: 0,
            looked_at,
        })
    }

    pub(super) async fn write(&mut self, batch: &KvBatch) -> Result<(), TaskError> {
        if self.context.cancel.is_cancelled() {
            return Err(cancelled());
        }
        loop {
            if self.looked_at.elapsed() > Duration::from_secs(1) {
                self.settings = self.engine.settings(self.meta.job_id).await?.0;
                self.looked_at = Instant::now();
            }
            let Some(wait) = self.settings.limiter.take(batch.bytes() as u64) else {
                break;
            };
            let cancelled_meanwhile = async {
                tokio::select! {
                    biased;
                    _ = self.context.cancel.cancelled() => true,
                    _ = tokio::time::sleep(wait) => false,
                }
            };
            if cancelled_meanwhile.await {
                return Err(cancelled());
            }
        }
        self.ingest.write(batch).await.map_err(store_error)?;
        self.entries += batch.len() as u64;
        Ok(())
    }

    /// Makes all of it visible at the snapshot.
    pub(super) async fn finish(self) -> Result<(), TaskError> {
        if self.context.cancel.is_cancelled() {
            return Err(cancelled());
        }
        let summary = self.ingest.finish().await.map_err(store_error)?;
        if summary.entries != self.entries {
            let text = format!("{} entries ingested of {} written", summary.entries, self.entries);
            return Err(crate::DdlError::bug(text).into());
        }
        Ok(())
    }
}
