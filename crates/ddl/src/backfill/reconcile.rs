//! Reconciling: each key that DML noted while a unique index was being built is set right under its lock.

use std::time::Duration;

use bytes::Bytes;
use ilmenite_base::{ErrorClass, RetryPolicy, clock};
use ilmenite_catalog::{IndexId, TableInfo};
use ilmenite_codec::{Handle, IndexEncoder};
use ilmenite_store::{
    Check, CommitOptions, KeyRange, KvBatch, ScanOptions, StoreRef, Timestamp, Transaction, TxnMode,
    prefix_end,
};
use ilmenite_table::{IndexCodec, append_note_prefix, decode_duplicate, handle_text, split_note};
use ilmenite_task::{Progress, RetryStatus, SubtaskContext, TaskError};
use serde_json::Value;

use super::Backfill;
use super::meta::{BuildFailure, BuildMeta, ReconcilePart, cancelled, parse, store_error, value};
use crate::error::{DdlError, Result};
use crate::job::Conflict;

/// How long to wait for a lock at once: a cancel is heard in between.
const LOCK_WAIT: Duration = Duration::from_secs(1);
/// How long a key may be kept from us by others before the subtask gives up (and is tried again, within bounds).
const KEY: RetryPolicy = RetryPolicy {
    max_attempts: 10_000,
    max_elapsed: Duration::from_secs(60),
    base_delay: Duration::from_millis(10),
    max_delay: Duration::from_millis(160),
};
/// Keys set right in one transaction, while nobody else has one of them.
const KEYS_AT_ONCE: usize = 128;
/// Contradicting values kept for people to look at.
const MAX_CONFLICTS: usize = 100;

/// Sets keys of one unique index right.
pub(crate) struct Reconciler<'a> {
    store: &'a StoreRef,
    table: &'a TableInfo,
    index_id: IndexId,
    codec: IndexCodec,
    encoder: IndexEncoder,
    snapshot: Timestamp,
    pub changed: u64,
}

impl<'a> Reconciler<'a> {
    pub(crate) fn new(
        store: &'a StoreRef,
        table: &'a TableInfo,
        index_id: IndexId,
        snapshot: Timestamp,
    ) -> Result<Self> {
        let missing = || DdlError::bug(format!("reconcile of index {index_id}, which the table lacks"));
        let codec = IndexCodec::new(table, table.index_by_id(index_id).ok_or_else(missing)?)?;
        let encoder = codec.encoder()?;
        Ok(Reconciler {
            store,
            table,
            index_id,
            codec,
            encoder,
            snapshot,
            changed: 0,
        })
    }

    /// Finds for each of the keys, ascending and each once, the rows that hold it, and makes its entry theirs: none, or
    /// the only one's. Two of them are a true duplicate, and nothing is changed for that key.
    ///
    /// `wait`: for the locks. Without waiting for any of them nobody can be in a deadlock with us.
    pub(crate) async fn keys(
        &mut self,
        keys: &[Bytes],
        wait: Duration,
        options: CommitOptions,
    ) -> Result<Vec<Conflict>> {
        let mut txn = Transaction::begin(self.store, TxnMode::Pessimistic).await?;
        let for_update_ts = self.store.timestamp().await?;
        let current = txn.lock(keys.to_vec(), for_update_ts, wait).await?;
        // Under the locks nobody adds one of the keys to a row or takes it from one: what is read from here on stays so.
        let ts = self.store.timestamp().await?;
        let candidates = self.candidates(keys, ts).await?;
        let holders = self.holders(keys, candidates, ts).await?;
        let mut conflicts = Vec::new();
        let mut changed = 0;
        for ((key, current), holders) in keys.iter().zip(current).zip(holders) {
            if holders.len() > 1 {
                conflicts.push(self.conflict(key, &holders)?);
                continue;
            }
            let wanted = holders.into_iter().next().map(|(_, value)| value);
            if current == wanted {
                continue;
            }
            match wanted {
                Some(value) => txn.put(key.clone(), value, Check::None)?,
                None => txn.delete(key.clone(), Check::None)?,
            }
            changed += 1;
        }
        if changed > 0 {
            txn.commit(options).await?;
        } else {
            txn.rollback().await?;
        }
        self.changed += changed;
        Ok(conflicts)
    }

    /// Every row that may hold one of the keys, with the key's position: the one its entry named at the snapshot, and
    /// those in its notes. Whoever wrote a later version noted it.
    async fn candidates(&self, keys: &[Bytes], ts: Timestamp) -> Result<Vec<(usize, Handle)>> {
        let (Some(first), Some(last)) = (keys.first(), keys.last()) else {
            return Ok(Vec::new());
        };
        let mut found = Vec::new();
        let ingested = self.store.batch_get(keys, self.snapshot).await?;
        for (at, value) in ingested.into_iter().enumerate() {
            if let Some(value) = value {
                found.push((at, self.codec.handle_of(&keys[at], &value)?));
            }
        }
        let (mut start, mut end) = (Vec::new(), Vec::new());
        append_note_prefix(self.table.id, self.index_id, first, &mut start);
        append_note_prefix(self.table.id, self.index_id, last, &mut end);
        let range = KeyRange {
            start: start.into(),
            end: prefix_end(&end),
        };
        let options = ScanOptions {
            key_only: true,
            ..Default::default()
        };
        let mut scan = self.store.scan(range, ts, options)?;
        let mut batch = KvBatch::new();
        let mut at = 0;
        while scan.next_batch(&mut batch).await? {
            for (note, _) in batch.iter() {
                let (key, handle) = split_note(note).map_err(DdlError::from)?;
                // Notes lie in the order of their keys. Those on keys between ours came later, and need no setting right.
                while at < keys.len() && keys[at] < key {
                    at += 1;
                }
                if keys.get(at).is_some_and(|ours| *ours == key) {
                    found.push((at, handle));
                }
            }
        }
        found.sort_unstable();
        found.dedup();
        Ok(found)
    }

    /// For each key its holders among the candidates, with the entries that name them.
    async fn holders(
        &mut self,
        keys: &[Bytes],
        candidates: Vec<(usize, Handle)>,
        ts: Timestamp,
    ) -> Result<Vec<Vec<(Handle, Bytes)>>> {
        let records: Vec<Bytes> = candidates
            .iter()
            .map(|(_, h)| Bytes::from(ilmenite_codec::key::record_key(self.table.id, h.as_ref())))
            .collect();
        let rows = self.store.batch_get(&records, ts).await?;
        let mut holders = vec![Vec::new(); keys.len()];
        for ((at, handle), row) in candidates.into_iter().zip(rows) {
            let Some(row) = row else { continue };
            let (mut row_key, mut row_value) = (Vec::new(), Vec::new());
            self.encoder
                .encode_row(&row, handle.as_ref(), &mut row_key, &mut row_value)?;
            if row_key == keys[at] {
                holders[at].push((handle, row_value.into()));
            }
        }
        Ok(holders)
    }

    fn conflict(&self, key: &[u8], holders: &[(Handle, Bytes)]) -> Result<Conflict> {
        let index = self
            .table
            .index_by_id(self.index_id)
            .ok_or_else(|| DdlError::bug("the index is gone"))?;
        let values = match holders.first() {
            Some((_, value)) => self.codec.values(key, value, None)?,
            None => Vec::new(),
        };
        Ok(Conflict {
            index: index.name.original.clone(),
            entry: decode_duplicate(self.table, index, &values),
            handles: holders.iter().map(|(handle, _)| handle_text(handle)).collect(),
        })
    }
}

pub(super) async fn run(
    engine: &Backfill,
    context: &SubtaskContext,
    meta: &BuildMeta,
) -> Result<Value, TaskError> {
    let part: ReconcilePart = parse(&context.subtask.meta)?;
    let mut reconciler = Reconciler::new(engine.store(), &meta.table, part.index_id, meta.snapshot)?;
    let options = ScanOptions {
        key_only: true,
        ..Default::default()
    };
    let mut scan = engine
        .store()
        .scan(part.range.clone(), part.ts, options)
        .map_err(store_error)?;
    let mut batch = KvBatch::new();
    let mut keys: Vec<Bytes> = Vec::with_capacity(KEYS_AT_ONCE);
    let mut progress = Progress::default();
    let mut conflicts: Vec<Conflict> = Vec::new();
    'notes: while scan.next_batch(&mut batch).await.map_err(store_error)? {
        for (note, _) in batch.iter() {
            let (key, _) = split_note(note).map_err(DdlError::from)?;
            progress.rows += 1;
            if keys.last().is_some_and(|last| *last == key) {
                continue;
            }
            if keys.len() == KEYS_AT_ONCE {
                conflicts.extend(set_right(engine, context, &mut reconciler, &keys).await?);
                keys.clear();
                if conflicts.len() >= MAX_CONFLICTS {
                    break 'notes;
                }
            }
            keys.push(key.into());
        }
        progress.bytes += batch.bytes() as u64;
        context.progress(progress);
    }
    if !keys.is_empty() {
        conflicts.extend(set_right(engine, context, &mut reconciler, &keys).await?);
    }
    conflicts.truncate(MAX_CONFLICTS);
    if let Some(first) = conflicts.first() {
        let key = format!("{}.{}", meta.table.name, first.index);
        let error = DdlError::DuplicateEntry {
            entry: first.entry.clone(),
            key,
        };
        return Err(BuildFailure { error, conflicts }.into());
    }
    Ok(value(&reconciler.changed)?)
}

/// All at once if nobody is in the way, else one after the other.
async fn set_right(
    engine: &Backfill,
    context: &SubtaskContext,
    reconciler: &mut Reconciler<'_>,
    keys: &[Bytes],
) -> Result<Vec<Conflict>, TaskError> {
    if context.cancel.is_cancelled() {
        return Err(cancelled());
    }
    let options = engine.config.catalog.commit_options().map_err(DdlError::from)?;
    match reconciler.keys(keys, Duration::ZERO, options).await {
        Ok(conflicts) => return Ok(conflicts),
        Err(error) if passes(&error) => {}
        Err(error) => return Err(error.into()),
    }
    let mut conflicts = Vec::new();
    for key in keys {
        conflicts.extend(one_key(engine, context, reconciler, key).await?);
    }
    Ok(conflicts)
}

/// May it be otherwise the next time? Cancelled was the transaction, not the subtask: its locks ran out while the node
/// slept or was cut off.
fn passes(error: &DdlError) -> bool {
    matches!(error.class(), ErrorClass::Transient | ErrorClass::Cancelled)
}

/// Again and again while others hold the key or get in between, within bounds and not after a cancel.
async fn one_key(
    engine: &Backfill,
    context: &SubtaskContext,
    reconciler: &mut Reconciler<'_>,
    key: &Bytes,
) -> Result<Vec<Conflict>, TaskError> {
    let mut attempts = KEY.begin();
    loop {
        if context.cancel.is_cancelled() {
            return Err(cancelled());
        }
        let options = engine.config.catalog.commit_options().map_err(DdlError::from)?;
        let error = match reconciler
            .keys(std::slice::from_ref(key), LOCK_WAIT, options)
            .await
        {
            Ok(outcome) => {
                if attempts.number() > 1 {
                    context.report.retrying(None);
                }
                return Ok(outcome);
            }
            Err(error) => error,
        };
        let attempt = attempts.number();
        let Some(pause) = attempts.failed().filter(|_| passes(&error)) else {
            return Err(error.into());
        };
        let now_ms = clock::wall_ms();
        context.report.retrying(Some(RetryStatus {
            error: error.into(),
            attempts: attempt,
            since_ms: now_ms.saturating_sub(attempts.elapsed().as_millis() as u64),
            next_try_ms: now_ms + pause.as_millis() as u64,
        }));
        tokio::select! {
            biased;
            _ = context.cancel.cancelled() => return Err(cancelled()),
            _ = tokio::time::sleep(pause) => {}
        }
    }
}
