//! Where tasks and subtasks stand in the store. They are changed by conditional writes (`ilmenite_store::rows`).
//!
//! `i/task/id`            the last task id given out (8 B BE)
//! `i/task/key/<key>`     task id (8 B BE)
//! `i/task/t/<id>`        `Task` as JSON
//! `i/task/s/<id><step u16><ordinal u32>`  `Subtask` as JSON (all numbers BE)

use std::sync::Arc;

use bytes::Bytes;
use fail::fail_point;
use ilmenite_catalog::{Catalog, Topic};
use ilmenite_store::rows::{self, Change, Outcome, Stored};
use ilmenite_store::{CommitOptions, Durability, KeyRange, ScanOptions, StoreRef};

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

#[derive(Clone)]
pub(crate) struct Rows {
    pub store: StoreRef,
    pub catalog: Arc<Catalog>,
}

impl Rows {
    /// Rows of tasks were changed: whoever waits for that looks, here and on other nodes.
    pub(crate) fn notify(&self) {
        self.catalog.notifier(Topic::Tasks).notify();
        self.catalog.wake_others(Topic::Tasks);
    }

    pub(crate) async fn now_ms(&self) -> Result<u64> {
        Ok(self.store.timestamp().await?.millis())
    }

    pub(crate) async fn task(&self, id: TaskId) -> Result<Option<Stored<Task>>> {
        Ok(rows::read(&self.store, task_key(id)).await?)
    }

    pub(crate) async fn subtask(&self, key: &Bytes) -> Result<Option<Stored<Subtask>>> {
        Ok(rows::read(&self.store, key.clone()).await?)
    }

    pub(crate) async fn task_id(&self, key: &str) -> Result<Option<TaskId>> {
        let ts = self.store.timestamp().await?;
        match self.store.get(&key_key(key), ts).await? {
            None => Ok(None),
            Some(raw) => Ok(Some(decode_id(&raw)?)),
        }
    }

    pub(crate) async fn tasks(&self) -> Result<Vec<Stored<Task>>> {
        Ok(rows::scan(&self.store, KeyRange::prefix(TASK_PREFIX), ScanOptions::default()).await?)
    }

    /// All subtasks of a task, by step and ordinal.
    pub(crate) async fn subtasks(&self, id: TaskId) -> Result<Vec<Stored<Subtask>>> {
        Ok(rows::scan(&self.store, subtasks_range(id), ScanOptions::default()).await?)
    }

    /// Errors: `Lost`, when a row is no longer as it was read; `NotOwner`, when the guard is over.
    pub(crate) async fn commit(&self, change: Change, durability: Durability) -> Result<()> {
        fail_point!("task::write::before", |kind| Err(Error::Store(
            ilmenite_store::Error::injected(
                kind,
                ilmenite_store::Error::Unavailable("failpoint task::write::before".into())
            )
        )));
        let options = CommitOptions {
            max_commit_ts: Some(self.catalog.lease_end()),
            durability,
        };
        let outcome = change.commit(&self.store, options).await.inspect_err(|e| {
            if matches!(e, ilmenite_store::Error::CommitTooLate { .. }) {
                self.catalog.lease_refused();
            }
        })?;
        match outcome {
            Outcome::Written => {}
            Outcome::Changed => return Err(Error::Lost),
            Outcome::Fenced => return Err(Error::NotOwner),
        }
        fail_point!("task::write::after", |kind| Err(Error::Store(
            ilmenite_store::Error::injected(
                kind,
                ilmenite_store::Error::Unavailable("failpoint task::write::after".into())
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
