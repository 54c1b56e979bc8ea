//! Building indexes in the past.
//!
//! Once *write-only* holds on every node, the job takes one timestamp S. Rows are scanned at S and their entries
//! ingested *with commit timestamp S*. What DML writes to the index afterwards has a later timestamp and lies above, by
//! the ordinary rules of versions; the same entries ingested again at the same S change nothing. So there is no second
//! index, no merging of changes, and every subtask can be run again. Garbage collection is held at S until the job ends:
//! otherwise a delete marker newer than S could be collected before the entry it hides arrives.
//!
//! Non-unique entries carry their row's handle, so the index is exact once all are ingested. A **unique** index needs
//! one thing more. DML cannot see rows whose entries are not ingested yet, so it may put a second row under a key
//! without noticing, and (see `ilmenite_table`) it leaves an entry of another row alone. After the last ingest each key that
//! DML noted is *reconciled*: under the key's lock, the rows that really hold it are found among its candidates (every
//! handle in the key's versions since S, and in its notes); the entry is set to the only one, or removed, or a true
//! duplicate ends the job with 1062.
//!
//! Why one pass over the notes is enough:
//!
//! 1. Between ingest and reconcile lies a *barrier*: a schema version that changes nothing, waited for like any other.
//!    After it every transaction that made a uniqueness check before the last entry was ingested has ended, and its
//!    notes can be seen. (Without the barrier a transaction could check a key early, commit its row and its note after
//!    the pass, and the second row under the key would stay.)
//! 2. A key nobody noted by then is exact: what is there is what was ingested, and equal keys at S were found by the
//!    sort. Checks made on it from then on are exact, and ordinary DML keeps it so.
//! 3. A key noted by then is reconciled under its lock. A transaction that writes or leaves the key locks it from its
//!    check to its commit, so it comes wholly before (its row and its note are seen: candidates are read under the lock)
//!    or wholly after (it checks an exact key). So from its reconciling on the key is exact, whatever the order of keys.
//!
//! When nothing was ingested (an empty table) every row there is has been written under write-only, checks were exact
//! all along, and barrier and reconciling are left out.
//!
//! Two kinds of task: `backfill` (read-index → merge-sort → write&ingest), and, behind the barrier, `finish` (reconcile →
//! verify). Planning looks at durable rows alone; zero subtasks are an ordinary plan of every step.

mod conflict;
mod finish;
mod ingest;
mod kind;
mod limiter;
pub(crate) mod meta;
mod plan;
mod read;
mod reconcile;
pub mod sizing;
mod verify;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ilmenite_catalog::Catalog;
use ilmenite_sort::{MemoryBudget, ObjectStorage};
use ilmenite_store::StoreRef;
use parking_lot::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub(crate) use finish::FinishKind;
pub(crate) use kind::BackfillKind;
#[cfg(test)]
pub(crate) use reconcile::Reconciler;

use crate::error::{DdlError, Result};
use crate::ids::JobId;
use crate::job::Rows;
use limiter::Limiter;
use meta::BuildMeta;

/// How often a running subtask looks whether ADMIN ALTER DDL JOBS changed something.
const MAX_SETTINGS_AGE: Duration = Duration::from_secs(1);

/// What this node needs to run subtasks of builds.
pub struct BackfillConfig {
    pub store: StoreRef,
    pub catalog: Arc<Catalog>,
    /// Subtasks at once: one per core.
    pub slots: u32,
    /// `ilmenite_ddl_memory_budget`: shared by all builds of the node.
    pub memory: MemoryBudget,
    /// Where runs go without a storage URI.
    pub scratch_directory: PathBuf,
    /// Names this cluster's objects apart from those of others in the same bucket.
    pub cluster_id: String,
    /// Opens the object storage of a build instead of `StorageAt::open`: for tests that inject faults.
    pub open_storage: Option<OpenStorage>,
}

pub type OpenStorage = Arc<dyn Fn(StorageAt<'_>) -> ilmenite_sort::Result<ObjectStorage> + Send + Sync>;

/// Where a build's runs are to go.
#[derive(Debug, Clone, Copy)]
pub enum StorageAt<'a> {
    Uri(&'a str),
    /// Of this node alone.
    Scratch(&'a Path),
}

impl StorageAt<'_> {
    pub fn open(self) -> ilmenite_sort::Result<ObjectStorage> {
        match self {
            StorageAt::Uri(uri) => ObjectStorage::from_uri(uri),
            StorageAt::Scratch(directory) => ObjectStorage::local(directory),
        }
    }
}

/// One node's means of building indexes.
pub struct Backfill {
    pub(crate) config: BackfillConfig,
    rows: Rows,
    limiters: Mutex<HashMap<JobId, Arc<LiveSettings>>>,
}

/// Settings of a running job that may change while it runs.
pub(crate) struct LiveSettings {
    pub limiter: Limiter,
    state: Mutex<SettingsState>,
}

#[derive(Clone, Copy)]
struct SettingsState {
    batch_size: u32,
    read_at: Option<Instant>,
}

impl Backfill {
    pub fn new(config: BackfillConfig) -> Arc<Backfill> {
        let rows = Rows {
            store: config.store.clone(),
        };
        Arc::new(Backfill {
            config,
            rows,
            limiters: Mutex::default(),
        })
    }

    pub(crate) fn store(&self) -> &StoreRef {
        &self.config.store
    }

    /// The memory of one slot.
    pub(crate) fn slot_budget_bytes(&self) -> u64 {
        self.config.memory.share(self.config.slots as usize)
    }

    /// Where a build's runs are. The URI is read from its own row each time: no node remembers it.
    pub(crate) async fn storage(&self, meta: &BuildMeta) -> Result<ObjectStorage> {
        if !meta.use_cloud_storage {
            return self.scratch();
        }
        let uri = self.rows.storage_uri(meta.job_id).await?;
        let missing = || DdlError::permanent("the storage URI of the job is gone");
        self.open_storage(StorageAt::Uri(&uri.ok_or_else(missing)?))
    }

    pub(crate) fn open_storage(&self, at: StorageAt<'_>) -> Result<ObjectStorage> {
        Ok(match &self.config.open_storage {
            Some(open) => open(at)?,
            None => at.open()?,
        })
    }

    /// What all objects of this cluster are under.
    pub(crate) fn cluster_prefix(&self) -> String {
        format!("ilmenite/{}", self.config.cluster_id)
    }

    /// What all objects of a task are under.
    pub(crate) fn task_prefix(&self, task_id: u64) -> String {
        format!("{}/{task_id}", self.cluster_prefix())
    }

    /// Where one attempt at a subtask writes. No two attempts write to one name.
    pub(crate) fn run_prefix(&self, task_id: u64, step: usize, ordinal: u32, attempt: u32) -> String {
        format!("{}/{step}/{ordinal}/{attempt}", self.task_prefix(task_id))
    }

    /// The job's settings as they are now, at most a second old.
    pub(crate) async fn settings(&self, job: JobId) -> Result<(Arc<LiveSettings>, u32)> {
        let live = self
            .limiters
            .lock()
            .entry(job)
            .or_insert_with(|| Arc::new(LiveSettings::new()))
            .clone();
        let state = *live.state.lock();
        if state.read_at.is_none_or(|at| at.elapsed() > MAX_SETTINGS_AGE)
            && let Some(stored) = self.rows.job(job).await?
        {
            let reorg = &stored.value.reorg;
            live.limiter.set_rate(reorg.max_write_speed);
            let fresh = SettingsState {
                batch_size: reorg.batch_size,
                read_at: Some(Instant::now()),
            };
            *live.state.lock() = fresh;
            return Ok((live, fresh.batch_size));
        }
        Ok((live, state.batch_size))
    }

    pub(crate) fn forget_settings(&self, job: JobId) {
        self.limiters.lock().remove(&job);
    }

    pub(crate) fn scratch(&self) -> Result<ObjectStorage> {
        self.open_storage(StorageAt::Scratch(&self.config.scratch_directory))
    }

    /// Tasks of this cluster that have objects there.
    pub(crate) async fn tasks_with_objects(&self, storage: &ObjectStorage) -> Result<Vec<u64>> {
        let names = storage
            .list_directories(&self.cluster_prefix(), &CancellationToken::new())
            .await?;
        Ok(names
            .iter()
            .filter_map(|name| name.trim_end_matches('/').rsplit('/').next()?.parse().ok())
            .collect())
    }

    pub(crate) async fn delete_objects(&self, storage: &ObjectStorage, task_id: u64) -> Result<u64> {
        Ok(storage
            .delete_prefix(&self.task_prefix(task_id), &CancellationToken::new())
            .await?)
    }
}

impl LiveSettings {
    fn new() -> Self {
        LiveSettings {
            limiter: Limiter::default(),
            state: Mutex::new(SettingsState {
                batch_size: 256,
                read_at: None,
            }),
        }
    }
}
