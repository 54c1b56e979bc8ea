//! A subtask of verify: adds up what the rows of a range ought to have in the indexes, or what is in a range of one.

use ilmenite_codec::key::decode_record_handle;
use ilmenite_sort::EntryDigest;
use ilmenite_store::KvBatch;
use ilmenite_task::{Progress, SubtaskContext, TaskError};
use serde_json::Value;

use super::finish::VerifyPart;
use super::plan::{parse, value};
use super::{Backfill, BuildMeta, FinishOutput, cancelled, store_error};
use crate::error::DdlError;

pub(crate) const fn verify_step() -> usize {
    1
}

pub(super) async fn run(
    engine: &Backfill,
    context: &SubtaskContext,
    meta: &BuildMeta,
) -> Result<Value, TaskError> {
    let part: VerifyPart = parse(&context.subtask.meta)?;
    let (_, batch_rows) = engine.settings(meta.job_id).await?;
    let options = crate::scan::options(batch_rows);
    let mut scan = engine
        .store()
        .scan(part.range.clone(), part.ts, options)
        .map_err(store_error)?;
    let mut batch = KvBatch::new();
    let mut progress = Progress::default();
    let mut encoders = meta.encoders(&meta.index_ids)?;
    let mut digests = vec![EntryDigest::default(); encoders.len()];
    let mut of_index = EntryDigest::default();
    let (mut key_buf, mut value_buf) = (Vec::new(), Vec::new());
    while scan.next_batch(&mut batch).await.map_err(store_error)? {
        if context.cancel.is_cancelled() {
            return Err(cancelled());
        }
        for (key, stored) in batch.iter() {
            if part.index_id.is_some() {
                of_index.add(key, stored);
                continue;
            }
            let handle = decode_record_handle(key).map_err(DdlError::from)?;
            for (encoder, digest) in encoders.iter_mut().zip(&mut digests) {
                key_buf.clear();
                value_buf.clear();
                encoder
                    .encode_row(stored, handle, &mut key_buf, &mut value_buf)
                    .map_err(DdlError::from)?;
                digest.add(&key_buf, &value_buf);
            }
        }
        progress.rows += batch.len() as u64;
        progress.bytes += batch.bytes() as u64;
        context.progress(progress);
    }
    value(&FinishOutput {
        of_index: part.index_id.is_some(),
        digests: match part.index_id {
            Some(id) => vec![(id, of_index)],
            None => meta.index_ids.iter().copied().zip(digests).collect(),
        },
    })
}
