//! The task `finish`: reconcile → verify. Submitted once the barrier behind the last ingest has been waited for.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use ilmenite_catalog::IndexId;
use ilmenite_store::{KeyRange, KvBatch, ScanOptions, Timestamp};
use ilmenite_table::{Piece, cut_range, note_range};
use ilmenite_task::{Plan, PlanInput, SubtaskContext, Task, TaskError, TaskKind};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::meta::{
    BuildMeta, FINISH_KIND, RECONCILE_STEP, ReconcilePart, VERIFY_STEP, VerifyPart, parse, store_error, value,
};
use super::plan::check_cover;
use super::{Backfill, reconcile, verify};
use crate::error::DdlError;
use crate::statement::Verify;

/// Notes that one subtask of reconcile works off.
const NOTES_PER_SUBTASK: u64 = 20_000;

pub(crate) struct FinishKind(pub Arc<Backfill>);

#[derive(Debug, Serialize, Deserialize)]
struct ReconcileFacts {
    parts: Vec<ReconcilePart>,
}

#[derive(Debug, Serialize, Deserialize)]
struct VerifyFacts {
    ts: Timestamp,
    /// `None`: the rows; otherwise an index. Only those that have keys at all.
    sides: Vec<(Option<IndexId>, KeyRange, Vec<Piece>)>,
}

#[async_trait]
impl TaskKind for FinishKind {
    fn name(&self) -> &'static str {
        FINISH_KIND
    }

    fn steps(&self) -> &'static [&'static str] {
        &["reconcile", "verify"]
    }

    async fn gather(&self, task: &Task, step: usize) -> Result<Value, TaskError> {
        let meta: BuildMeta = parse(&task.meta)?;
        match step {
            RECONCILE_STEP => Ok(value(&self.0.reconcile_facts(&meta).await?)?),
            _ => Ok(value(&self.0.verify_facts(&meta).await?)?),
        }
    }

    fn plan(&self, input: &PlanInput<'_>) -> Result<Plan, TaskError> {
        match input.step {
            RECONCILE_STEP => {
                let facts: ReconcileFacts = parse(&input.facts)?;
                let subtasks = facts.parts.iter().map(value).collect::<Result<Vec<_>, _>>()?;
                let reason = if subtasks.is_empty() {
                    "no key of a unique index was written during the build".into()
                } else {
                    format!("{} ranges of noted keys", subtasks.len())
                };
                Ok(Plan { subtasks, reason })
            }
            VERIFY_STEP => {
                let facts: VerifyFacts = parse(&input.facts)?;
                let mut subtasks = Vec::new();
                for (index_id, whole, pieces) in &facts.sides {
                    let ranges = cut_range(whole, pieces, input.slots);
                    check_cover(whole, &ranges)?;
                    for range in ranges {
                        subtasks.push(value(&VerifyPart {
                            index_id: *index_id,
                            range,
                            ts: facts.ts,
                        })?);
                    }
                }
                let reason = format!("{} ranges of rows and entries at {}", subtasks.len(), facts.ts);
                Ok(Plan { subtasks, reason })
            }
            step => Err(DdlError::bug(format!("finish has no step {step}")).into()),
        }
    }

    async fn run(&self, context: SubtaskContext) -> Result<Value, TaskError> {
        let meta: BuildMeta = parse(&context.task.meta)?;
        match context.subtask.step {
            RECONCILE_STEP => reconcile::run(&self.0, &context, &meta).await,
            VERIFY_STEP => verify::run(&self.0, &context, &meta).await,
            step => Err(DdlError::bug(format!("finish has no step {step}")).into()),
        }
    }

    /// It leaves nothing: notes go with the job.
    async fn clean_up(&self, _: &Task) -> Result<(), TaskError> {
        Ok(())
    }
}

impl Backfill {
    /// Where the notes are, cut between any two of them: a key whose notes are cut apart is reconciled twice, to the
    /// same end.
    async fn reconcile_facts(&self, meta: &BuildMeta) -> Result<ReconcileFacts, TaskError> {
        let ts = self.store().timestamp().await.map_err(store_error)?;
        let mut parts = Vec::new();
        for index in meta.indexes().filter(|i| i.unique) {
            let all = note_range(meta.table.id, index.id);
            let options = ScanOptions {
                key_only: true,
                ..Default::default()
            };
            let mut scan = self.store().scan(all.clone(), ts, options).map_err(store_error)?;
            let mut batch = KvBatch::new();
            let mut start = all.start.clone();
            let mut notes = 0;
            while scan.next_batch(&mut batch).await.map_err(store_error)? {
                for (key, _) in batch.iter() {
                    if notes == NOTES_PER_SUBTASK {
                        let end = Bytes::copy_from_slice(key);
                        let range = KeyRange {
                            start: std::mem::replace(&mut start, end.clone()),
                            end,
                        };
                        parts.push(ReconcilePart {
                            index_id: index.id,
                            range,
                            ts,
                        });
                        notes = 0;
                    }
                    notes += 1;
                }
            }
            if notes > 0 {
                parts.push(ReconcilePart {
                    index_id: index.id,
                    range: KeyRange { start, end: all.end },
                    ts,
                });
            }
        }
        Ok(ReconcileFacts { parts })
    }

    async fn verify_facts(&self, meta: &BuildMeta) -> Result<VerifyFacts, TaskError> {
        let ts = self.store().timestamp().await.map_err(store_error)?;
        let mut sides = Vec::new();
        if meta.verify == Verify::Full {
            let rows = ilmenite_codec::key::record_range(meta.table.id);
            let indexes = meta
                .index_ids
                .iter()
                .map(|&id| (Some(id), ilmenite_codec::key::index_range(meta.table.id, id)));
            for (index_id, (start, end)) in std::iter::once((None, rows)).chain(indexes) {
                let all = KeyRange::new(start, end);
                if let Some(range) = self.occupied_range(&all, ts).await? {
                    let regions = self.store().regions(&range).await.map_err(store_error)?;
                    sides.push((index_id, range, regions.into_iter().map(Piece::of).collect()));
                }
            }
        }
        Ok(VerifyFacts { ts, sides })
    }
}
