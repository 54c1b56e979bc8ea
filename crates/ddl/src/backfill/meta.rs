//! What is written into the rows of a build's tasks: what the build is about, what each subtask is to do and what it made,
//! and why one failed. All of it is JSON, for any node to read.

use ilmenite_base::ErrorClass;
use ilmenite_catalog::{IndexId, IndexInfo, TableInfo};
use ilmenite_codec::IndexEncoder;
use ilmenite_codec::key::INDEX_PREFIX_LEN;
use ilmenite_sort::{PlannedRange, RunMeta};
use ilmenite_store::{EntryDigest, KeyRange, Timestamp};
use ilmenite_table::IndexCodec;
use ilmenite_task::TaskError;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::{DdlError, Result};
use crate::ids::JobId;
use crate::job::Conflict;
use crate::statement::Verify;

/// read-index → merge-sort → write&ingest.
pub(crate) const BACKFILL_KIND: &str = "backfill";
pub(crate) const READ_STEP: usize = 0;
pub(crate) const MERGE_STEP: usize = 1;
pub(crate) const INGEST_STEP: usize = 2;

/// reconcile → verify.
pub(crate) const FINISH_KIND: &str = "finish";
pub(crate) const RECONCILE_STEP: usize = 0;
pub(crate) const VERIFY_STEP: usize = 1;

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
    pub(crate) fn indexes(&self) -> impl Iterator<Item = &IndexInfo> {
        self.table
            .indexes
            .iter()
            .filter(|i| self.index_ids.contains(&i.id))
    }

    pub(crate) fn index(&self, id: IndexId) -> Result<&IndexInfo> {
        self.table
            .index_by_id(id)
            .ok_or_else(|| DdlError::bug(format!("task names index {id}, which its table lacks")))
    }

    /// What all keys of the index begin with. What is sorted does without.
    pub(crate) fn key_prefix(&self, id: IndexId) -> [u8; INDEX_PREFIX_LEN] {
        ilmenite_codec::key::index_prefix(self.table.id, id)
    }

    /// Encoders of these indexes' entries from stored rows.
    pub(crate) fn encoders(&self, ids: &[IndexId]) -> Result<Vec<IndexEncoder>> {
        ids.iter()
            .map(|&id| Ok(IndexCodec::new(&self.table, self.index(id)?)?.encoder()?))
            .collect()
    }

    pub(crate) fn index_name(&self, id: IndexId) -> String {
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

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ReadMeta {
    pub range: KeyRange,
    /// It reads the whole table: what fits in memory may be ingested right away.
    pub whole: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct MergeMeta {
    pub index_id: IndexId,
    pub runs: Vec<RunMeta>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct IngestMeta {
    pub index_id: IndexId,
    pub range: PlannedRange,
    pub runs: Vec<RunMeta>,
}

/// Notes on one index, to be worked off by one subtask.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ReconcilePart {
    pub index_id: IndexId,
    /// Of notes.
    pub range: KeyRange,
    /// When the notes were looked at: later ones are of transactions whose checks were exact.
    pub ts: Timestamp,
}

/// One range of one side.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct VerifyPart {
    pub index_id: Option<IndexId>,
    pub range: KeyRange,
    pub ts: Timestamp,
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

pub(crate) fn parse<T: DeserializeOwned>(value: &serde_json::Value) -> Result<T> {
    T::deserialize(value).map_err(|e| DdlError::permanent(format!("damaged task: {e}")))
}

pub(crate) fn value<T: Serialize>(value: &T) -> Result<serde_json::Value> {
    serde_json::to_value(value).map_err(|e| DdlError::bug(format!("not encodable: {e}")))
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
