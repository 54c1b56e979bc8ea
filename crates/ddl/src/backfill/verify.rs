//! A subtask of verify: adds up what the rows of a range ought to have in the indexes, or what is in a range of one.

use ilmenite_store::KvBatch;
use ilmenite_table::RangeDigest;
use ilmenite_task::{Progress, SubtaskContext, TaskError};
use serde_json::Value;

use super::Backfill;
use super::meta::{BuildMeta, FinishOutput, VerifyPart, parse, value};
use crate::error::DdlError;

pub(super) async fn run(
    engine: &Backfill,
    context: &SubtaskContext,
    meta: &BuildMeta,
) -> Result<Value, TaskError> {
    let part: VerifyPart = parse(&context.subtask.meta)?;
    let (_, batch_rows) = engine.settings(meta.job_id).await?;
    let mut progress = Progress::default();
    let seen = |batch: &KvBatch| {
        if context.cancel.is_cancelled() {
            return Err(ilmenite_store::Error::Cancelled.into());
        }
        progress.rows += batch.len() as u64;
        progress.bytes += batch.bytes() as u64;
        context.progress(progress);
        Ok(())
    };
    let range = RangeDigest {
        store: engine.store(),
        range: part.range,
        ts: part.ts,
        options: ilmenite_table::scan_options(batch_rows),
    };
    let digests = match part.index_id {
        Some(id) => vec![(id, range.of_entries(seen).await.map_err(DdlError::from)?)],
        None => {
            let mut encoders = meta.encoders(&meta.index_ids)?;
            let digests = range.of_rows(&mut encoders, seen).await.map_err(DdlError::from)?;
            meta.index_ids.iter().copied().zip(digests).collect()
        }
    };
    Ok(value(&FinishOutput {
        of_index: part.index_id.is_some(),
        digests,
    })?)
}
