//! GC holds over restarts: ordinary rows, of a prefix and the hold's id.

use bytes::Bytes;

use crate::commit;
use crate::core::Core;
use crate::gc::GcHoldRow;
use crate::scan::EmbeddedScan;
use ilmenite_store::{
    Check, CommitRequest, Durability, Error, KeyRange, KvBatch, Mutation, Result, ScanOptions, Timestamp,
};

const PREFIX: &[u8] = b"i/gc/hold/";

fn key(id: &str) -> Bytes {
    [PREFIX, id.as_bytes()].concat().into()
}

/// Those that are stored, when the store is opened.
pub(crate) fn load(core: &Core) -> Result<()> {
    let mut scan = EmbeddedScan::new(
        core.keyspaces.clone(),
        core.keyspaces.db.snapshot(),
        &KeyRange::prefix(PREFIX),
        Timestamp::MAX,
        ScanOptions::default(),
    );
    let mut batch = KvBatch::new();
    while scan.read_batch(&mut batch)? {
        for (_, value) in batch.iter() {
            let hold: GcHoldRow = serde_json::from_slice(value).map_err(|e| {
                let detail = format!("a garbage collection hold that does not decode: {e}");
                core.keyspaces.default.damaged(detail)
            })?;
            let id = hold.id.clone();
            core.gc.restore_hold(&id, Some(hold));
        }
    }
    Ok(())
}

/// Sets the hold, or replaces the one of this id.
pub(crate) async fn set(core: &Core, hold: GcHoldRow) -> Result<()> {
    core.check_open()?;
    let id = hold.id.clone();
    let value = serde_json::to_vec(&hold).map_err(|e| Error::Bug(e.to_string()))?;
    let before = core.gc.set_hold(hold)?;
    let written = write(core, &id, Some(value.into())).await;
    if written.is_err() {
        core.gc.restore_hold(&id, before);
    }
    written
}

/// Does nothing when there is no such hold.
pub(crate) async fn release(core: &Core, id: &str) -> Result<()> {
    core.check_open()?;
    write(core, id, None).await?;
    core.gc.restore_hold(id, None);
    Ok(())
}

async fn write(core: &Core, id: &str, value: Option<Bytes>) -> Result<()> {
    let start_ts = core.begin().await?;
    let request = CommitRequest {
        start_ts,
        mutations: vec![Mutation {
            key: key(id),
            value,
            check: Check::None,
        }],
        durability: Durability::Sync,
        ..CommitRequest::default()
    };
    let outcome = commit::commit(core, request).await;
    if outcome.is_err() {
        core.transactions.end(start_ts);
    }
    outcome.map(drop)
}
