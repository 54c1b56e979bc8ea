//! Where jobs stand in the store.
//!
//! `i/ddl/job/<id>`               a live `Job`, JSON
//! `i/ddl/history/<id>`           a finished one
//! `i/ddl/storage/<id>`           the object storage's URI of a live job, secrets and all: shown nowhere
//! `i/ddl/delete_range/<id>/<n>`  a range to be deleted once the job is in the history
//! `i/ddl/sweep/<task id>`        where a finished task may yet leave objects; with the URI, so shown nowhere either
//!
//! (Numbers big-endian.) Everybody who changes a live job's row names the bytes it read of it, so that the worker, an
//! administrator's command and a late owner never overwrite each other.

use bytes::Bytes;
use ilmenite_store::{
    Check, CommitOptions, KeyRange, KvBatch, Mutation, Precondition, ScanOptions, StoreRef, Timestamp,
    Transaction, TxnMode,
};
use ilmenite_task::TaskId;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{Job, JobId};
use crate::error::{DdlError, Result};

const JOB_PREFIX: &[u8] = b"i/ddl/job/";
const HISTORY_PREFIX: &[u8] = b"i/ddl/history/";
const STORAGE_PREFIX: &[u8] = b"i/ddl/storage/";
const SWEEP_PREFIX: &[u8] = b"i/ddl/sweep/";
pub(crate) const DELETE_RANGE_PREFIX: &[u8] = b"i/ddl/delete_range/";

fn key_of(prefix: &[u8], id: JobId) -> Bytes {
    [prefix, &(id as u64).to_be_bytes()].concat().into()
}

pub(crate) fn job_key(id: JobId) -> Bytes {
    key_of(JOB_PREFIX, id)
}

pub(crate) fn history_key(id: JobId) -> Bytes {
    key_of(HISTORY_PREFIX, id)
}

pub(crate) fn storage_key(id: JobId) -> Bytes {
    key_of(STORAGE_PREFIX, id)
}

/// A range that nobody can reach any more once its job is in the history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeleteRange {
    /// For people: `table 57`, `index 2 of table 57`.
    pub what: String,
    pub range: KeyRange,
}

pub(crate) fn delete_range_key(id: JobId, n: u32) -> Bytes {
    [
        DELETE_RANGE_PREFIX,
        &(id as u64).to_be_bytes(),
        b"/",
        &n.to_be_bytes(),
    ]
    .concat()
    .into()
}

/// A task is over, and its objects are deleted. Yet more may turn up: one that was not listed then, one that a node put
/// which had slept, one whose deletion was refused. So its prefix is looked at again, at growing intervals.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sweep {
    pub task_id: TaskId,
    pub uri: String,
    /// Looks so far.
    pub looks: u32,
    /// Milliseconds since 1970, in store time.
    pub next_look_ms: u64,
}

impl Sweep {
    /// From each look to the next, in seconds: a minute after the end, a day after it for the last time.
    const PAUSES_SECONDS: [u64; 6] = [20, 40, 240, 3_300, 18_000, 64_800];

    pub fn new(task_id: TaskId, uri: String, now_ms: u64) -> Self {
        Sweep {
            task_id,
            uri,
            looks: 0,
            next_look_ms: now_ms + Self::PAUSES_SECONDS[0] * 1000,
        }
    }

    /// After another look; `None`: it was the last.
    pub fn looked(&self, now_ms: u64) -> Option<Self> {
        let pause = Self::PAUSES_SECONDS.get(self.looks as usize + 1)?;
        Some(Sweep {
            looks: self.looks + 1,
            next_look_ms: now_ms + pause * 1000,
            ..self.clone()
        })
    }
}

pub(crate) fn sweep_key(task: TaskId) -> Bytes {
    [SWEEP_PREFIX, &task.to_be_bytes()].concat().into()
}

pub(crate) fn delete_range_job(key: &[u8]) -> Option<JobId> {
    let id = key.strip_prefix(DELETE_RANGE_PREFIX)?.get(..8)?;
    Some(u64::from_be_bytes(id.try_into().ok()?) as JobId)
}

/// A row with the bytes it was read as.
#[derive(Debug, Clone)]
pub(crate) struct Stored<T> {
    pub key: Bytes,
    pub raw: Bytes,
    pub value: T,
}

impl<T> Stored<T> {
    /// The row must still be as read.
    pub fn unchanged(&self) -> Precondition {
        Precondition {
            key: self.key.clone(),
            value: Some(self.raw.clone()),
        }
    }
}

pub(crate) fn encode<T: Serialize>(value: &T) -> Result<Bytes> {
    serde_json::to_vec(value)
        .map(Bytes::from)
        .map_err(|e| DdlError::bug(format!("row not encodable: {e}")))
}

fn decode<T: DeserializeOwned>(key: Bytes, raw: Bytes) -> Result<Stored<T>> {
    let value = serde_json::from_slice(&raw)
        .map_err(|e| DdlError::permanent(format!("damaged row {}: {e}", String::from_utf8_lossy(&key))))?;
    Ok(Stored { key, raw, value })
}

#[derive(Clone)]
pub(crate) struct Rows {
    pub store: StoreRef,
}

impl Rows {
    pub async fn job(&self, id: JobId) -> Result<Option<Stored<Job>>> {
        self.get(job_key(id)).await
    }

    pub async fn history(&self, id: JobId) -> Result<Option<Job>> {
        Ok(self.get(history_key(id)).await?.map(|row: Stored<Job>| row.value))
    }

    /// All live jobs, in order of their ids.
    pub async fn jobs(&self) -> Result<Vec<Stored<Job>>> {
        self.scan(KeyRange::prefix(JOB_PREFIX), ScanOptions::default())
            .await
    }

    /// The newest finished jobs, newest first.
    pub async fn newest_history(&self, limit: usize) -> Result<Vec<Job>> {
        let options = ScanOptions {
            reverse: true,
            limit,
            ..Default::default()
        };
        let rows: Vec<Stored<Job>> = self.scan(KeyRange::prefix(HISTORY_PREFIX), options).await?;
        Ok(rows.into_iter().map(|row| row.value).collect())
    }

    pub async fn delete_ranges(&self) -> Result<Vec<Stored<DeleteRange>>> {
        self.scan(KeyRange::prefix(DELETE_RANGE_PREFIX), ScanOptions::default())
            .await
    }

    pub async fn sweeps(&self) -> Result<Vec<Stored<Sweep>>> {
        self.scan(KeyRange::prefix(SWEEP_PREFIX), ScanOptions::default())
            .await
    }

    /// Puts down what a look has left of a sweep: nothing after the last. Lost to another owner's, it does not matter.
    pub async fn swept(&self, old: &Stored<Sweep>, next: Option<&Sweep>) -> Result<()> {
        let mutation = Mutation {
            key: old.key.clone(),
            value: next.map(encode).transpose()?,
            check: Check::None,
        };
        match self.commit(vec![mutation], vec![old.unchanged()], None).await {
            Ok(()) | Err(ilmenite_store::Error::PreconditionFailed { .. }) => Ok(()),
            Err(e) => Err(e.into()),
        }
    }

    pub async fn storage_uri(&self, id: JobId) -> Result<Option<String>> {
        let ts = self.store.timestamp().await?;
        let raw = self.store.get(&storage_key(id), ts).await?;
        Ok(raw.map(|raw| String::from_utf8_lossy(&raw).into_owned()))
    }

    async fn get<T: DeserializeOwned>(&self, key: Bytes) -> Result<Option<Stored<T>>> {
        let ts = self.store.timestamp().await?;
        self.store
            .get(&key, ts)
            .await?
            .map(|raw| decode(key, raw))
            .transpose()
    }

    async fn scan<T: DeserializeOwned>(
        &self,
        range: KeyRange,
        options: ScanOptions,
    ) -> Result<Vec<Stored<T>>> {
        let ts = self.store.timestamp().await?;
        let mut scan = self.store.scan(range, ts, options)?;
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

    /// Writes the changed job, if its row is still as read and every other condition holds. `false`: it is not.
    pub async fn replace(
        &self,
        old: &Stored<Job>,
        new: &Job,
        guard: Option<Precondition>,
        max_commit_ts: Option<Timestamp>,
    ) -> Result<bool> {
        let mut preconditions = vec![old.unchanged()];
        preconditions.extend(guard);
        let mutation = Mutation {
            key: old.key.clone(),
            value: Some(encode(new)?),
            check: Check::None,
        };
        match self.commit(vec![mutation], preconditions, max_commit_ts).await {
            Ok(()) => Ok(true),
            Err(ilmenite_store::Error::PreconditionFailed { .. }) => Ok(false),
            Err(e) => Err(e.into()),
        }
    }

    /// As a transaction, so that it is ended whatever becomes of the caller: one left open holds back garbage collection.
    async fn commit(
        &self,
        mutations: Vec<Mutation>,
        preconditions: Vec<Precondition>,
        max_commit_ts: Option<Timestamp>,
    ) -> ilmenite_store::Result<()> {
        let mut txn = Transaction::begin(&self.store, TxnMode::Optimistic).await?;
        for Mutation { key, value, check } in mutations {
            match value {
                Some(value) => txn.put(key, value, check)?,
                None => txn.delete(key, check)?,
            }
        }
        for condition in preconditions {
            txn.require(condition.key, condition.value);
        }
        let options = CommitOptions {
            max_commit_ts,
            ..Default::default()
        };
        txn.commit(options).await.map(drop)
    }

    /// Deletes rows that nobody else writes.
    pub async fn delete(&self, keys: Vec<Bytes>) -> Result<()> {
        let mutations = keys
            .into_iter()
            .map(|key| Mutation {
                key,
                value: None,
                check: Check::None,
            })
            .collect();
        Ok(self.commit(mutations, Vec::new(), None).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sweep_looks_from_a_minute_to_a_day_and_ends() {
        let mut now_ms = 0;
        let mut sweep = Sweep::new(7, "s3://bucket".into(), now_ms);
        let mut looked_at = Vec::new();
        loop {
            now_ms = sweep.next_look_ms;
            looked_at.push(now_ms / 1000);
            match sweep.looked(now_ms) {
                Some(next) => sweep = next,
                None => break,
            }
        }
        assert_eq!(looked_at, [20, 60, 300, 3_600, 21_600, 86_400]);
    }
}
