//! Group commit: one thread merges the commits that wait into one batch of the engine and one sync of its journal.
//!
//! The caller's side, here, takes commit locks on the keys and makes the checks of mutations, so that they run in
//! parallel; the locks stay until the batch is applied. Preconditions are on keys that a transaction does not write and
//! many may share, so they take no lock: the committer, which sees every write pass in order, checks them itself.

pub(crate) mod committer;
pub(crate) mod queue;
pub(crate) mod write;

use std::collections::HashSet;

use ahash::RandomState;
use bytes::Bytes;
use fjall::Snapshot;

use crate::core::Core;
use crate::format;
use crate::locks::CommitLocks;
use crate::metrics::count_conflict;
use crate::read;
use ilmenite_store::{Check, CommitRequest, Durability, Error, Mutation, Precondition, Result, Timestamp};
use queue::Room;
use write::{CommitAt, VersionWrite, WRITE_OVERHEAD_BYTES, WriteRequest};

/// `Store::commit`.
pub(crate) async fn commit(core: &Core, request: CommitRequest) -> Result<Timestamp> {
    let CommitRequest {
        start_ts,
        mutations,
        preconditions,
        max_commit_ts,
        durability,
    } = request;
    let bytes = check_sizes(core.options.max_transaction_bytes, &mutations, &preconditions)?;
    if mutations.is_empty() && preconditions.is_empty() {
        core.transactions.end(start_ts);
        return core.oracle.timestamp();
    }
    let room = core.queue.room(bytes).await?;
    let locks = core
        .transactions
        .locks
        .take_for_commit(start_ts, mutations.iter().map(|m| &m.key))
        .await
        .inspect_err(count_conflict)?;

    let snapshot = core.keyspaces.db.snapshot();
    let mut versions = Vec::with_capacity(mutations.len());
    for m in mutations {
        let hides = check(core, start_ts, &m, &snapshot).inspect_err(count_conflict)?;
        let raw = format::encode_value(m.value.as_deref());
        versions.push(VersionWrite::new(&core.keyspaces, m.key, raw, hides));
    }
    drop(snapshot);

    let request = WriteRequest {
        versions,
        rows: Vec::new(),
        preconditions,
        at: CommitAt::Next(max_commit_ts),
        status_of: None,
        sync: durability == Durability::Sync,
        urgent: false,
        applied: Box::new(move |transactions| {
            transactions.end(start_ts);
            // These were held until now.
            drop::<CommitLocks>(locks);
        }),
    };
    queue(core, request, room).await
}

/// Returns the bytes of the request.
fn check_sizes(limit: usize, mutations: &[Mutation], preconditions: &[Precondition]) -> Result<usize> {
    let bytes = |key: &Bytes, value: &Option<Bytes>| {
        key.len() + value.as_ref().map_or(0, Bytes::len) + WRITE_OVERHEAD_BYTES
    };
    let mut size = 0;
    let mut unique: HashSet<&[u8], RandomState> = HashSet::default();
    for m in mutations {
        format::check_key(&m.key)?;
        format::check_value(m.value.as_deref().unwrap_or_default())?;
        size += bytes(&m.key, &m.value);
        if !unique.insert(&m.key) {
            return Err(Error::Bug("a key twice in one commit".into()));
        }
    }
    if size > limit {
        return Err(Error::TooLarge {
            what: "transaction",
            size,
            limit,
        });
    }
    for p in preconditions {
        format::check_key(&p.key)?;
        size += bytes(&p.key, &p.value);
    }
    Ok(size)
}

/// The mutation's check, its key being locked. Whether there may be an older version of it.
fn check(core: &Core, start_ts: Timestamp, m: &Mutation, snapshot: &Snapshot) -> Result<bool> {
    let existed = core.transactions.locks.existed(start_ts, &m.key);
    if m.check == Check::None {
        return Ok(existed.unwrap_or_else(|| core.keyspaces.partition_of(&m.key).is_empty()));
    }
    let newest = read::newest(&core.keyspaces, snapshot, &m.key, Timestamp::MAX)?;
    // Under the transaction's own lock the version is the one it locked, however new.
    if let Some(v) = &newest
        && v.ts > start_ts
        && existed.is_none()
    {
        return Err(Error::WriteConflict {
            key: m.key.to_vec(),
            start_ts,
            conflict_ts: v.ts,
        });
    }
    if m.check == Check::MustNotExist && newest.as_ref().is_some_and(|v| v.value().is_some()) {
        return Err(Error::KeyExists { key: m.key.to_vec() });
    }
    Ok(newest.is_some())
}

/// Has the request written by the committer, with others. Returns its commit timestamp.
/// Given up while it waits, it is done all the same, once it is queued.
pub(crate) async fn submit(core: &Core, request: WriteRequest) -> Result<Timestamp> {
    let room = core.queue.room(request.bytes()).await?;
    queue(core, request, room).await
}

async fn queue(core: &Core, mut request: WriteRequest, room: Room) -> Result<Timestamp> {
    request.sync &= core.options.sync;
    let outcome = core.queue.push(request, room)?;
    outcome
        .await
        .unwrap_or_else(|_| Err(Error::Undetermined("the committer gave up".into())))
}
