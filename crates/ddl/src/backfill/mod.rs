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
mod plan;
mod read;
mod reconcile;
mod verify;

/// How a build is sized: pure functions, for whoever wants to know beforehand.
pub mod sizing {
    pub use super::ingest::merge_budget_bytes;
    pub use super::plan::{INGEST_BYTES_MIN, ingest_target_bytes};
    pub use ilmenite_table::part_bytes;
}

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ilmenite_base::ErrorClass;
use ilmenite_catalog::{Catalog, IndexId, IndexInfo, TableInfo};
use ilmenite_codec::IndexEncoder;
use ilmenite_codec::key::INDEX_PREFIX_LEN;
use ilmenite_sort::{MemoryBudget, ObjectStorage, RunMeta};
use ilmenite_store::EntryDigest;
use ilmenite_store::{StoreRef, Timestamp};
use ilmenite_task::TaskError;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub(crate) use conflict::conflict_of;
pub(crate) use finish::FinishKind;
pub(crate) use kind::BackfillKind;
pub(crate) use limiter::Limiter;
pub(crate) use plan::{ingest_step, read_step};
#[cfg(test)]
pub(crate) use reconcile::Reconciler;
pub(crate) use verify::verify_step;

use crate::error::{DdlError, Result};
use crate::job::{Conflict, JobId, Rows};
use crate::statement::Verify;
use ilmenite_table::IndexCodec;

pub(crate) const BACKFILL_KIND: &str = "backfill";
pub(crate) const FINISH_KIND: &str = "finish";

/// How often a running subtask looks whether ADMIN ALTER DDL JOBS changed something.
const SETTINGS_AGE_MAX: Duration = Duration::from_secs(1);

/// What a task of a build is about. Fixed at submission.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct BuildMeta {
    pub job_id: JobId,
    pub index_ids: Vec<IndexId>,
    /// As it was when the build began: the indexes in write-reorganization.
    pub table: TableInfo,
    pub snapshot: Timestamp,
    pub use_cloud_storage: bool,
    pub verify: Verify,
}

impl BuildMeta {
    pub fn indexes(&self) -> impl Iterator<Item = &IndexInfo> {
        self.table
            .indexes
            .iter()
            .filter(|i| self.index_ids.contains(&i.id))
    }

    pub fn index(&self, id: IndexId) -> Result<&IndexInfo> {
        self.table
            .index_by_id(id)
            .ok_or_else(|| DdlError::bug(format!("task names index {id}, which its table lacks")))
    }

    /// What all keys of the index begin with. What is sorted does without.
    pub fn key_prefix(&self, id: IndexId) -> [u8; INDEX_PREFIX_LEN] {
        ilmenite_codec::key::index_prefix(self.table.id, id)
    }

    /// Encoders of these indexes' entries from stored rows.
    pub fn encoders(&self, ids: &[IndexId]) -> Result<Vec<IndexEncoder>> {
        ids.iter()
            .map(|&id| Ok(IndexCodec::new(&self.table, self.index(id)?)?.encoder()?))
            .collect()
    }

    pub fn index_name(&self, id: IndexId) -> String {
        self.table
            .index_by_id(id)
            .map_or_else(|| id.to_string(), |i| i.name.original.clone())
    }
}

/// What a subtask of read-index made.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct ReadOutput {
    pub rows: u64,
    pub indexes: Vec<ReadIndex>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ReadIndex {
    pub index_id: IndexId,
    /// All entries made of the rows.
    pub entries: EntryDigest,
    /// Those ingested right away, since all of the index fitted in memory.
    pub ingested: EntryDigest,
    pub runs: Vec<RunMeta>,
}

/// What a subtask of merge-sort made.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct MergeOutput {
    pub index_id: IndexId,
    pub runs: Vec<RunMeta>,
}

/// What a subtask of write&ingest made.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct IngestOutput {
    pub index_id: IndexId,
    pub ingested: EntryDigest,
}

/// What a subtask of verify found on its side.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct FinishOutput {
    /// Read from the index; otherwise made of the table's rows.
    pub of_index: bool,
    pub digests: Vec<(IndexId, EntryDigest)>,
}

/// Why a build's task ended badly: kept whole in the task's error, for the job.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct BuildFailure {
    pub error: DdlError,
    #[serde(default)]
    pub conflicts: Vec<Conflict>,
}

impl From<BuildFailure> for TaskError {
    fn from(failure: BuildFailure) -> Self {
        TaskError {
            class: failure.error.class(),
            message: failure.error.to_string(),
            detail: serde_json::to_value(&failure).ok(),
        }
    }
}

impl From<DdlError> for TaskError {
    fn from(error: DdlError) -> Self {
        BuildFailure {
            error,
            conflicts: Vec::new(),
        }
        .into()
    }
}

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
        format!(
            "{}/{}",
            self.cluster_prefix(),
            ilmenite_sort::task_prefix(task_id)
        )
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
        if state.read_at.is_none_or(|at| at.elapsed() > SETTINGS_AGE_MAX)
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

/// A job that goes on by itself is not to be kept waiting by a pause or cancel: an error that says so.
pub(crate) fn cancelled() -> TaskError {
    TaskError::new(ErrorClass::Cancelled, "cancelled")
}

pub(crate) fn store_error(error: ilmenite_store::Error) -> TaskError {
    DdlError::from(error).into()
}

pub(crate) fn sort_error(error: ilmenite_sort::Error) -> TaskError {
    DdlError::from(error).into()
}

impl Backfill {
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
