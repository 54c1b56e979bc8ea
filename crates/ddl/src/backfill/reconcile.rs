//! Reconciling: each key that DML noted while a unique index was being built is set right under its lock.

use std::time::Duration;

use bytes::Bytes;
use ilmenite_catalog::{IndexId, TableInfo};
use ilmenite_codec::{Handle, IndexEncoder};
use ilmenite_store::{
    Check, CommitOptions, ErrorClass, KeyRange, KvBatch, ScanOptions, StoreRef, Timestamp, Transaction,
    TxnMode, ambient,
};
use ilmenite_task::{Progress, RetryStatus, SubtaskContext, TaskError};
use serde_json::Value;
use tokio::time::Instant;

use super::finish::ReconcilePart;
use super::plan::{parse, value};
use super::{Backfill, BuildFailure, BuildMeta, cancelled, store_error};
use crate::encoding::IndexCodec;
use crate::error::{DdlError, Result};
use crate::job::Conflict;
use crate::maintain::{append_note_prefix, decode_duplicate, handle_text, split_note};

/// How long to wait for a lock at once: a cancel is heard in between.
const LOCK_WAIT: Duration = Duration::from_secs(1);
/// How long a key may be kept from us by others before the subtask gives up (and is tried again, within bounds).
const KEY_TIME_MAX: Duration = Duration::from_secs(60);
/// Contradicting values kept for people to look at.
const CONFLICTS_MAX: usize = 100;

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
    pub fn new(
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

    /// Finds the rows that hold the key, and makes its entry theirs: none, or the only one's. Two of them are a true
    /// duplicate, and nothing is changed.
    pub async fn key(&mut self, key: &[u8], options: CommitOptions) -> Result<Option<Conflict>> {
        let mut txn = Transaction::begin(self.store, TxnMode::Pessimistic).await?;
        let for_update_ts = self.store.timestamp().await?;
        let locked = txn
            .lock(vec![Bytes::copy_from_slice(key)], for_update_ts, LOCK_WAIT)
            .await?;
        let current = locked.into_iter().next().flatten();
        // Under the lock nobody adds the key to a row or takes it from one: what is read from here on stays so.
        let ts = self.store.timestamp().await?;
        let candidates = self.candidates(key, ts).await?;
        let holders = self.holders(key, candidates, ts).await?;
        if holders.len() > 1 {
            txn.rollback().await?;
            return self.conflict(key, &holders).map(Some);
        }
        let wanted = holders.into_iter().next().map(|(_, value)| value);
        if current == wanted {
            txn.rollback().await?;
            return Ok(None);
        }
        let key = Bytes::copy_from_slice(key);
        match wanted {
            Some(value) => txn.put(key, value, Check::None)?,
            None => txn.delete(key, Check::None)?,
        }
        txn.commit(options).await?;
        self.changed += 1;
        Ok(None)
    }

    /// Every row that may hold the key: those its versions since the snapshot name, and those in its notes.
    async fn candidates(&self, key: &[u8], ts: Timestamp) -> Result<Vec<Handle>> {
        let mut handles = Vec::new();
        for (_, value) in self.store.versions(key, self.snapshot).await? {
            if let Some(value) = value {
                handles.push(self.codec.handle_of(key, &value)?);
            }
        }
        let mut prefix = Vec::new();
        append_note_prefix(self.table.id, self.index_id, key, &mut prefix);
        let mut scan = self.store.scan(
            KeyRange::prefix(&prefix),
            ts,
            ScanOptions {
                key_only: true,
                ..Default::default()
            },
        )?;
        let mut batch = KvBatch::new();
        while scan.next_batch(&mut batch).await? {
            for (note, _) in batch.iter() {
                handles.push(split_note(note)?.1);
            }
        }
        handles.sort_unstable();
        handles.dedup();
        Ok(handles)
    }

    async fn holders(
        &mut self,
        key: &[u8],
        handles: Vec<Handle>,
        ts: Timestamp,
    ) -> Result<Vec<(Handle, Bytes)>> {
        let keys: Vec<Bytes> = handles
            .iter()
            .map(|h| Bytes::from(ilmenite_codec::key::record_key(self.table.id, h.as_ref())))
            .collect();
        let rows = self.store.batch_get(&keys, ts).await?;
        let mut holders = Vec::new();
        for (handle, row) in handles.into_iter().zip(rows) {
            let Some(row) = row else { continue };
            let (mut row_key, mut row_value) = (Vec::new(), Vec::new());
            self.encoder
                .encode_row(&row, handle.as_ref(), &mut row_key, &mut row_value)?;
            if row_key == key {
                holders.push((handle, row_value.into()));
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
    let mut last = Vec::new();
    let mut progress = Progress::default();
    let mut conflicts: Vec<Conflict> = Vec::new();
    while scan.next_batch(&mut batch).await.map_err(store_error)? {
        for (note, _) in batch.iter() {
            let (key, _) = split_note(note)?;
            progress.rows += 1;
            if key == last {
                continue;
            }
            conflicts.extend(one_key(engine, context, &mut reconciler, &key).await?);
            if conflicts.len() >= CONFLICTS_MAX {
                break;
            }
            last = key;
        }
        progress.bytes += batch.bytes() as u64;
        context.progress(progress);
    }
    if let Some(first) = conflicts.first() {
        let key = format!("{}.{}", meta.table.name, first.index);
        let error = DdlError::DuplicateEntry {
            entry: first.entry.clone(),
            key,
        };
        return Err(BuildFailure { error, conflicts }.into());
    }
    value(&reconciler.changed)
}

/// Again and again while others hold the key or get in between, within bounds and not after a cancel.
async fn one_key(
    engine: &Backfill,
    context: &SubtaskContext,
    reconciler: &mut Reconciler<'_>,
    key: &[u8],
) -> Result<Option<Conflict>, TaskError> {
    let began = Instant::now();
    let mut attempts = 0;
    loop {
        if context.cancel.is_cancelled() {
            return Err(cancelled());
        }
        let options = engine.config.catalog.commit_options().map_err(DdlError::from)?;
        let error = match reconciler.key(key, options).await {
            Ok(outcome) => {
                if attempts > 0 {
                    context.report.retrying(None);
                }
                return Ok(outcome);
            }
            Err(error) => error,
        };
        attempts += 1;
        // Cancelled was the transaction, not this subtask: its locks ran out while the node slept or was cut off.
        let passes = matches!(error.class(), ErrorClass::Transient | ErrorClass::Cancelled);
        if !passes || began.elapsed() > KEY_TIME_MAX {
            return Err(error.into());
        }
        let now_ms = ambient::wall_ms();
        let pause = Duration::from_millis(5 << attempts.min(5));
        context.report.retrying(Some(RetryStatus {
            error: error.into(),
            attempts,
            since_ms: now_ms.saturating_sub(began.elapsed().as_millis() as u64),
            next_try_ms: now_ms + pause.as_millis() as u64,
        }));
        tokio::select! {
            biased;
            _ = context.cancel.cancelled() => return Err(cancelled()),
            _ = tokio::time::sleep(pause) => {}
        }
    }
}
