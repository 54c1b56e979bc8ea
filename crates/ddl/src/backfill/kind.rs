//! The task `backfill`: read-index → merge-sort → write&ingest.

use std::sync::Arc;

use async_trait::async_trait;
use ilmenite_store::{KeyRange, KvBatch, ScanOptions};
use ilmenite_table::Piece;
use ilmenite_task::{Plan, PlanInput, SubtaskContext, Task, TaskError, TaskKind};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::meta::{
    BACKFILL_KIND, BuildMeta, INGEST_STEP, MERGE_STEP, READ_STEP, parse, sort_error, store_error, value,
};
use super::plan::{IngestFacts, ReadFacts, plan_ingest, plan_merge, plan_read};
use super::sizing::MIN_INGEST_BYTES;
use super::{Backfill, ingest, read};
use crate::error::DdlError;

pub(crate) struct BackfillKind(pub Arc<Backfill>);

#[async_trait]
impl TaskKind for BackfillKind {
    fn name(&self) -> &'static str {
        BACKFILL_KIND
    }

    fn steps(&self) -> &'static [&'static str] {
        &["read-index", "merge-sort", "write&ingest"]
    }

    async fn gather(&self, task: &Task, step: usize) -> Result<Value, TaskError> {
        let meta: BuildMeta = parse(&task.meta)?;
        if step == READ_STEP {
            return Ok(value(&self.0.read_facts(&meta).await?)?);
        }
        let mut boundaries = Vec::new();
        if step == INGEST_STEP {
            for &id in &meta.index_ids {
                let (start, end) = ilmenite_codec::key::index_range(meta.table.id, id);
                let regions = self
                    .0
                    .store()
                    .regions(&KeyRange::new(start, end))
                    .await
                    .map_err(store_error)?;
                let prefix = meta.key_prefix(id);
                let starts = regions.iter().skip(1).map(|r| &r.range.start);
                let sorted = starts
                    .filter(|key| key.starts_with(&prefix))
                    .map(|key| key.slice(prefix.len()..));
                boundaries.push((id, sorted.collect()));
            }
        }
        Ok(value(&IngestFacts {
            boundaries,
            budget_bytes: self.0.slot_budget_bytes(),
            range_bytes_min: MIN_INGEST_BYTES,
        })?)
    }

    fn plan(&self, input: &PlanInput<'_>) -> Result<Plan, TaskError> {
        match input.step {
            READ_STEP => plan_read(input),
            MERGE_STEP => plan_merge(input),
            INGEST_STEP => plan_ingest(input),
            step => Err(DdlError::bug(format!("backfill has no step {step}")).into()),
        }
    }

    async fn run(&self, context: SubtaskContext) -> Result<Value, TaskError> {
        let meta: BuildMeta = parse(&context.task.meta)?;
        match context.subtask.step {
            READ_STEP => read::run(&self.0, &context, &meta).await,
            MERGE_STEP => ingest::run_merge(&self.0, &context, &meta).await,
            INGEST_STEP => ingest::run(&self.0, &context, &meta).await,
            step => Err(DdlError::bug(format!("backfill has no step {step}")).into()),
        }
    }

    async fn clean_up(&self, task: &Task) -> Result<(), TaskError> {
        let meta: BuildMeta = parse(&task.meta)?;
        self.0.forget_settings(meta.job_id);
        let storage = self.0.storage(&meta).await?;
        let prefix = self.0.task_prefix(task.id);
        let deleted = storage
            .delete_prefix(&prefix, &CancellationToken::new())
            .await
            .map_err(sort_error)?;
        tracing::info!(task = task.id, objects = deleted, "objects of the task deleted");
        Ok(())
    }
}

impl Backfill {
    /// From the first row's key to just after the last one's, at the snapshot: reading it fails or tells, nothing else.
    async fn read_facts(&self, meta: &BuildMeta) -> Result<ReadFacts, TaskError> {
        let (start, end) = ilmenite_codec::key::record_range(meta.table.id);
        let all = KeyRange::new(start, end);
        let Some(range) = self.occupied_range(&all, meta.snapshot).await? else {
            return Ok(ReadFacts {
                range: None,
                pieces: Vec::new(),
            });
        };
        let regions = self.store().regions(&range).await.map_err(store_error)?;
        Ok(ReadFacts {
            range: Some(range),
            pieces: regions.into_iter().map(Piece::of).collect(),
        })
    }

    /// The part of `all` that has keys at `ts`; `None`: there are none.
    pub(crate) async fn occupied_range(
        &self,
        all: &KeyRange,
        ts: ilmenite_store::Timestamp,
    ) -> Result<Option<KeyRange>, TaskError> {
        let mut ends = Vec::new();
        for reverse in [false, true] {
            let options = ScanOptions {
                reverse,
                key_only: true,
                limit: 1,
                ..Default::default()
            };
            let mut scan = self.store().scan(all.clone(), ts, options).map_err(store_error)?;
            let mut batch = KvBatch::new();
            if scan.next_batch(&mut batch).await.map_err(store_error)? && !batch.is_empty() {
                ends.push(batch.key(0).to_vec());
            }
        }
        match &ends[..] {
            [] => Ok(None),
            [first, last] => Ok(Some(KeyRange::new(first.clone(), ilmenite_sort::after_key(last)))),
            _ => Err(DdlError::bug("a range is empty in one direction only").into()),
        }
    }
}
