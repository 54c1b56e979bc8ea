//! What must hold of a commit besides what the store checks at prewrite.

use std::sync::Arc;

use ilmenite_store::{Error, Result, Timestamp};

use super::plan::Required;
use crate::cluster::Cluster;
use crate::metrics::METRICS;
use crate::resolve::ReadView;

pub(super) fn check_not_too_late(commit_ts: Timestamp, max_commit_ts: Option<Timestamp>) -> Result<()> {
    match max_commit_ts {
        Some(max_commit_ts) if commit_ts > max_commit_ts => Err(Error::CommitTooLate {
            commit_ts,
            max_commit_ts,
        }),
        _ => Ok(()),
    }
}

/// Are the keys as required at `ts`? Locks of the transaction itself are read past.
pub(super) async fn check_required(
    cluster: &Arc<Cluster>,
    required: &[Required],
    ts: Timestamp,
    start_ts: Timestamp,
) -> Result<()> {
    if required.is_empty() {
        return Ok(());
    }
    let keys: Vec<_> = required.iter().map(|r| r.key.clone()).collect();
    let view = ReadView {
        resolved: vec![start_ts.0],
        ..ReadView::default()
    };
    let values = cluster.batch_get(&keys, ts, view).await?;
    for (required, value) in required.iter().zip(values) {
        if required.value != value {
            let key = required.key.to_vec();
            return Err(if required.not_inserted {
                METRICS.conflicts.with_label_values(&["key_exists"]).inc();
                Error::KeyExists { key }
            } else {
                Error::PreconditionFailed { key }
            });
        }
    }
    Ok(())
}
