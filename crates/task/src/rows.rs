//! Where tasks and subtasks stand in the store, and the one way they are changed: a conditional write.
//!
//! `i/task/id`            the last task id given out (8 B BE)
//! `i/task/key/<key>`     task id (8 B BE)
//! `i/task/t/<id>`        `Task` as JSON
//! `i/task/s/<id><step u16><ordinal u32>`  `Subtask` as JSON (all numbers BE)
//!
//! Every write names the exact bytes it read of every row it changes. So a late owner, a node that lost its claim and
//! two nodes racing for one subtask are all the same case: the store refuses, and the loser reads again.

use std::sync::Arc;

use bytes::Bytes;
use fail::fail_point;
use ilmenite_catalog::{Catalog, Topic};
use ilmenite_store::{
    Check, CommitOptions, CommitRequest, Durability, KeyRange, KvBatch, Mutation, Precondition, ScanOptions,
    StoreRef, Transaction, TxnMode,
};
use serde::{Serialize, de::DeserializeOwned};

use crate::error::{Error, Result};
use crate::{Subtask, Task, TaskId};

pub(crate) const ID_KEY: &[u8] = b"i/task/id";
const TASK_PREFIX: &[u8] = b"i/task/t/";
const SUBTASK_PREFIX: &[u8] = b"i/task/s/";
const KEY_PREFIX: &[u8] = b"i/task/key/";

pub(crate) fn key_key(key: &str) -> Bytes {
    [KEY_PREFIX, key.as_bytes()].concat().into()
}

pub(crate) fn task_key(id: TaskId) -> Bytes {
    [TASK_PREFIX, &id.to_be_bytes()].concat().into()
}

pub(crate) fn subtask_key(id: TaskId, step: usize, ordinal: u32) -> Bytes {
    [
        SUBTASK_PREFIX,
        &id.to_be_bytes(),
        &(step as u16).to_be_bytes(),
        &ordinal.to_be_bytes(),
    ]
    .concat()
    .into()
}

pub(crate) fn subtasks_range(id: TaskId) -> KeyRange {
    KeyRange::prefix(&[SUBTASK_PREFIX, &id.to_be_bytes()].concat())
}

/// A row, with the bytes it was read as.
#[derive(Debug, Clone)]
pub(crate) struct Stored<T> {
    pub key: Bytes,
    pub raw: Bytes,
    pub value: T,
}

pub(crate) fn encode<T: Serialize>(value: &T) -> Result<Bytes> {
    serde_json::to_vec(value)
        .map(Bytes::from)
        .map_err(|e| Error::Damaged(e.to_string()))
}

fn decode<T: DeserializeOwned>(key: Bytes, raw: Bytes) -> Result<Stored<T>> {
    let value = serde_json::from_slice(&raw).map_err(|e| Error::Damaged(format!("{key:?}: {e}")))?;
    Ok(Stored { key, raw, value })
}

/// A set of row changes to be written at once or not at all.
#[derive(Default)]
pub(crate) struct Change {
    request: CommitRequest,
    /// The key of the owner's term, when the change is the owner's.
    guard: Option<Bytes>,
}

impl Change {
    /// Holds only while `guard` does: the owner's term.
    pub fn guarded(guard: Precondition) -> Self {
        Change {
            guard: Some(guard.key.clone()),
            request: CommitRequest {
                preconditions: vec![guard],
                ..Default::default()
            },
        }
    }

    pub fn relaxed(mut self) -> Self {
        self.request.durability = Durability::Relaxed;
        self
    }

    pub fn replace<T: Serialize>(&mut self, old: &Stored<T>, new: &T) -> Result<Bytes> {
        let raw = encode(new)?;
        self.request.preconditions.push(Precondition {
            key: old.key.clone(),
            value: Some(old.raw.clone()),
        });
        self.put(old.key.clone(), raw.clone());
        Ok(raw)
    }

    pub fn put(&mut self, key: Bytes, value: Bytes) {
        self.request.mutations.push(Mutation {
            key,
            value: Some(value),
            check: Check::None,
        });
    }

    /// The row must still be as read, without being changed.
    pub fn expect<T>(&mut self, row: &Stored<T>) {
        self.request.preconditions.push(Precondition {
            key: row.key.clone(),
            value: Some(row.raw.clone()),
        });
    }
}

#[derive(Clone)]
pub(crate) struct Rows {
    pub store: StoreRef,
    pub catalog: Arc<Catalog>,
}

impl Rows {
    /// Rows of tasks were changed: whoever waits for that looks, here and on other nodes.
    pub fn notify(&self) {
        self.catalog.notifier(Topic::Tasks).notify();
        self.catalog.wake_others(Topic::Tasks);
    }

    pub async fn now_ms(&self) -> Result<u64> {
        Ok(self.store.timestamp().await?.millis())
    }

    pub async fn task(&self, id: TaskId) -> Result<Option<Stored<Task>>> {
        let key = task_key(id);
        let ts = self.store.timestamp().await?;
        self.store
            .get(&key, ts)
            .await?
            .map(|raw| decode(key, raw))
            .transpose()
    }

    pub async fn subtask(&self, key: &Bytes) -> Result<Option<Stored<Subtask>>> {
        let ts = self.store.timestamp().await?;
        let raw = self.store.get(key, ts).await?;
        raw.map(|raw| decode(key.clone(), raw)).transpose()
    }

    pub async fn task_id(&self, key: &str) -> Result<Option<TaskId>> {
        let ts = self.store.timestamp().await?;
        match self.store.get(&key_key(key), ts).await? {
            None => Ok(None),
            Some(raw) => Ok(Some(decode_id(&raw)?)),
        }
    }

    pub async fn tasks(&self) -> Result<Vec<Stored<Task>>> {
        self.scan(KeyRange::prefix(TASK_PREFIX)).await
    }

    /// All subtasks of a task, by step and ordinal.
    pub async fn subtasks(&self, id: TaskId) -> Result<Vec<Stored<Subtask>>> {
        self.scan(subtasks_range(id)).await
    }

    async fn scan<T: DeserializeOwned>(&self, range: KeyRange) -> Result<Vec<Stored<T>>> {
        let ts = self.store.timestamp().await?;
        let mut scan = self.store.scan(range, ts, ScanOptions::default())?;
        let mut batch = KvBatch::new();
        let mut rows = Vec::new();
        while scan.next_batch(&mut batch).await? {
            for (key, value) in batch.iter() {
                rows.push(decode(
                    Bytes::copy_from_slice(key),
                    Bytes::copy_from_slice(value),
                )?);
            }
        }
        Ok(rows)
    }

    pub async fn commit(&self, change: Change) -> Result<()> {
        fail_point!("task_before_write", |kind| Err(Error::Store(
            ilmenite_store::Error::injected(
                kind,
                ilmenite_store::Error::Unavailable("failpoint task_before_write".into())
            )
        )));
        // As a transaction, so that it is ended whatever becomes of the caller: one left open holds back garbage collection.
        let request = change.request;
        let mut txn = Transaction::begin(&self.store, TxnMode::Optimistic).await?;
        for Mutation { key, value, check } in request.mutations {
            match value {
                Some(value) => txn.put(key, value, check)?,
                None => txn.delete(key, check)?,
            }
        }
        for condition in request.preconditions {
            txn.require(condition.key, condition.value);
        }
        let options = CommitOptions {
            max_commit_ts: Some(self.catalog.lease_end()),
            durability: request.durability,
        };
        if let Err(e) = txn.commit(options).await {
            if matches!(e, ilmenite_store::Error::CommitTooLate { .. }) {
                self.catalog.lease_refused();
            }
            return Err(match e {
                ilmenite_store::Error::PreconditionFailed { key }
                    if change.guard.as_deref() == Some(&key[..]) =>
                {
                    Error::NotOwner
                }
                ilmenite_store::Error::PreconditionFailed { .. } => Error::Lost,
                e => e.into(),
            });
        }
        fail_point!("task_after_write", |kind| Err(Error::Store(
            ilmenite_store::Error::injected(
                kind,
                ilmenite_store::Error::Unavailable("failpoint task_after_write".into())
            )
        )));
        Ok(())
    }
}

pub(crate) fn decode_id(raw: &[u8]) -> Result<TaskId> {
    let bytes = raw
        .try_into()
        .map_err(|_| Error::Damaged(format!("task id {raw:?}")))?;
    Ok(u64::from_be_bytes(bytes))
}
