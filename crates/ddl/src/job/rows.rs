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
use ilmenite_store::rows::{self, Change, Outcome, Stored};
use ilmenite_store::{CommitOptions, KeyRange, ScanOptions, StoreRef};
use ilmenite_task::TaskId;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::Job;
use crate::error::Result;
use crate::ids::JobId;

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

    pub(crate) fn new(task_id: TaskId, uri: String, now_ms: u64) -> Self {
        Sweep {
            task_id,
            uri,
            looks: 0,
            next_look_ms: now_ms + Self::PAUSES_SECONDS[0] * 1000,
        }
    }

    /// After another look; `None`: it was the last.
    pub(crate) fn looked(&self, now_ms: u64) -> Option<Self> {
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

#[derive(Clone)]
pub(crate) struct Rows {
    pub store: StoreRef,
}

impl Rows {
    pub(crate) async fn job(&self, id: JobId) -> Result<Option<Stored<Job>>> {
        Ok(rows::read(&self.store, job_key(id)).await?)
    }

    pub(crate) async fn history(&self, id: JobId) -> Result<Option<Job>> {
        let row: Option<Stored<Job>> = rows::read(&self.store, history_key(id)).await?;
        Ok(row.map(|row| row.value))
    }

    /// All live jobs, in order of their ids.
    pub(crate) async fn jobs(&self) -> Result<Vec<Stored<Job>>> {
        self.all(JOB_PREFIX).await
    }

    /// The newest finished jobs, newest first.
    pub(crate) async fn newest_history(&self, limit: usize) -> Result<Vec<Job>> {
        let options = ScanOptions {
            reverse: true,
            limit,
            ..Default::default()
        };
        let rows: Vec<Stored<Job>> =
            rows::scan(&self.store, KeyRange::prefix(HISTORY_PREFIX), options).await?;
        Ok(rows.into_iter().map(|row| row.value).collect())
    }

    pub(crate) async fn delete_ranges(&self) -> Result<Vec<Stored<DeleteRange>>> {
        self.all(DELETE_RANGE_PREFIX).await
    }

    pub(crate) async fn sweeps(&self) -> Result<Vec<Stored<Sweep>>> {
        self.all(SWEEP_PREFIX).await
    }

    async fn all<T: DeserializeOwned>(&self, prefix: &[u8]) -> Result<Vec<Stored<T>>> {
        Ok(rows::scan(&self.store, KeyRange::prefix(prefix), ScanOptions::default()).await?)
    }

    pub(crate) async fn storage_uri(&self, id: JobId) -> Result<Option<String>> {
        let ts = self.store.timestamp().await?;
        let raw = self.store.get(&storage_key(id), ts).await?;
        Ok(raw.map(|raw| String::from_utf8_lossy(&raw).into_owned()))
    }

    /// Writes the changed job, if its row is still as read. `false`: it is not.
    pub(crate) async fn replace(&self, old: &Stored<Job>, new: &Job, options: CommitOptions) -> Result<bool> {
        let mut change = Change::default();
        change.replace(old, new)?;
        Ok(change.commit(&self.store, options).await? == Outcome::Written)
    }

    /// Puts down what a look has left of a sweep: nothing after the last. Lost to another owner's, it does not matter.
    pub(crate) async fn swept(&self, old: &Stored<Sweep>, next: Option<&Sweep>) -> Result<()> {
        let mut change = Change::default();
        match next {
            Some(next) => drop(change.replace(old, next)?),
            None => change.remove(old),
        }
        let _ = change.commit(&self.store, CommitOptions::default()).await?;
        Ok(())
    }

    /// The range is gone. Its row is written by nobody else.
    pub(crate) async fn range_deleted(&self, range: &Stored<DeleteRange>) -> Result<()> {
        let mut change = Change::default();
        change.delete(range.key.clone());
        let _ = change.commit(&self.store, CommitOptions::default()).await?;
        Ok(())
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
