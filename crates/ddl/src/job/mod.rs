//! DDL jobs: the durable row of one schema change, its words and its numbers (TiDB's), and where the rows stand.

mod kind;
mod rows;

pub use kind::JobType;
pub use rows::DeleteRange;
pub(crate) use rows::{
    Rows, Sweep, delete_range_job, delete_range_key, history_key, job_key, storage_key, sweep_key,
};

use ilmenite_catalog::{SchemaId, SchemaState, SchemaVersion, TableId};
use ilmenite_store::Timestamp;
use ilmenite_task::RetryStatus;
use serde::{Deserialize, Serialize};

use crate::error::DdlError;
use crate::ids::JobId;
use crate::schema::SubJob;
use crate::statement::{DdlStatement, JobSettings, JobWarning};

/// Where a job is. The numbers are TiDB's, and so is the flow: queueing → running → done → synced → history;
/// on an error running → rollingback → rollback done → history; ADMIN CANCEL: → cancelling → rollingback | cancelled;
/// ADMIN PAUSE: → pausing → paused; ADMIN RESUME: → queueing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
#[repr(u8)]
pub enum JobState {
    #[default]
    None = 0,
    Running = 1,
    RollingBack = 2,
    RollbackDone = 3,
    Done = 4,
    Cancelled = 5,
    Synced = 6,
    Cancelling = 7,
    Queueing = 8,
    Paused = 9,
    Pausing = 10,
}

impl JobState {
    const ALL: [JobState; 11] = [
        JobState::None,
        JobState::Running,
        JobState::RollingBack,
        JobState::RollbackDone,
        JobState::Done,
        JobState::Cancelled,
        JobState::Synced,
        JobState::Cancelling,
        JobState::Queueing,
        JobState::Paused,
        JobState::Pausing,
    ];

    /// As ADMIN SHOW DDL JOBS prints it.
    pub fn as_str(self) -> &'static str {
        match self {
            JobState::None => "none",
            JobState::Running => "running",
            JobState::RollingBack => "rollingback",
            JobState::RollbackDone => "rollback done",
            JobState::Done => "done",
            JobState::Cancelled => "cancelled",
            JobState::Synced => "synced",
            JobState::Cancelling => "cancelling",
            JobState::Queueing => "queueing",
            JobState::Paused => "paused",
            JobState::Pausing => "pausing",
        }
    }

    /// Nothing is left to do but to move the row to the history.
    pub fn is_finished(self) -> bool {
        matches!(
            self,
            JobState::Done | JobState::RollbackDone | JobState::Cancelled | JobState::Synced
        )
    }
}

impl TryFrom<u8> for JobState {
    type Error = String;

    fn try_from(n: u8) -> Result<Self, String> {
        JobState::ALL
            .into_iter()
            .find(|s| *s as u8 == n)
            .ok_or_else(|| format!("unknown job state {n}"))
    }
}

impl From<JobState> for u8 {
    fn from(state: JobState) -> u8 {
        state as u8
    }
}

/// How far a job has come: which step is next. Each step is one transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Resolve names, check, and make the first change.
    #[default]
    Begin,
    /// New indexes are delete-only: to write-only.
    DeleteOnly,
    /// New indexes are write-only: take the snapshot, to write-reorganization, submit the build.
    WriteOnly,
    /// The build's task is at work.
    Backfill,
    /// Entries are ingested: wait out every transaction that checked a unique key before they were.
    Barrier,
    /// Submit reconciling and verification.
    Reconcile,
    /// Reconciling and verification are at work.
    Verify,
    /// Make everything visible.
    Publish,
    /// What the statement drops walks out.
    Dropping,
    /// After an error or a cancel: what the statement added walks out.
    RollingBack,
    /// To the history.
    Finish,
}

/// How the index is built.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ReorgMeta {
    pub concurrency: u32,
    pub batch_size: u32,
    pub max_write_speed: u64,
    /// Sorted through object storage. The URI itself, secrets and all, is in a row of its own that nobody shows.
    pub use_cloud_storage: bool,
    pub target_scope: String,
    pub verify: crate::Verify,
    /// How often the build was started: a pause too long, or a lost snapshot, starts it anew.
    pub round: u32,
    /// Entries the build ingested, of all its indexes.
    pub ingested: u64,
}

/// A schema change, from submission to history.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Job {
    pub id: JobId,
    #[serde(rename = "type")]
    pub kind: JobType,
    pub state: JobState,
    pub stage: Stage,
    /// Of the objects that are being added or dropped.
    pub schema_state: SchemaState,
    pub schema_id: SchemaId,
    pub table_id: TableId,
    pub schema_name: String,
    pub table_name: String,
    #[serde(rename = "raw_args")]
    pub statement: DdlStatement,
    /// The actions of an ALTER TABLE, resolved, once the first step is done.
    #[serde(rename = "multi_schema_info", default)]
    pub subjobs: Vec<SubJob>,
    /// For the owner's queue: jobs that name the same objects run one after another.
    #[serde(rename = "involving_schema_info")]
    pub involving: Vec<Involved>,
    pub query: String,
    #[serde(rename = "reorg_meta", default)]
    pub reorg: ReorgMeta,
    #[serde(rename = "warning", default)]
    pub warnings: Vec<JobWarning>,
    /// Why it is rolled back, or was.
    #[serde(rename = "err", default)]
    pub error: Option<DdlError>,
    /// What the next attempt of the current step waits for.
    #[serde(default)]
    pub retry: Option<RetryStatus>,
    #[serde(rename = "err_count", default)]
    pub error_count: u32,
    #[serde(default)]
    pub row_count: u64,
    /// The snapshot the build reads and ingests at; 0: not taken, or given up.
    #[serde(rename = "snapshot_ver", default)]
    pub snapshot: Timestamp,
    /// Submission.
    pub start_ts: Timestamp,
    /// First step.
    #[serde(default)]
    pub real_start_ts: Timestamp,
    #[serde(rename = "finish_ts", default)]
    pub end_ts: Timestamp,
    /// The last schema version this job wrote; a new owner waits for it before it does anything else.
    #[serde(default)]
    pub last_schema_version: SchemaVersion,
    /// The tables changed by that version.
    #[serde(default)]
    pub changed_tables: Vec<TableId>,
    /// Nobody has to be waited for: that version is what was before the job.
    #[serde(default)]
    pub skip_wait: bool,
    #[serde(default)]
    pub pause_reason: String,
    #[serde(default)]
    pub paused_ts: Timestamp,
    /// True values that contradict a unique key, and the like: what a failed build leaves for people to look at.
    #[serde(default)]
    pub conflicts: Vec<Conflict>,
}

/// A value that two rows have under a unique key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conflict {
    pub index: String,
    /// `v1-v2`, decoded.
    pub entry: String,
    /// The handles of the rows, as text.
    pub handles: Vec<String>,
}

/// A name that a job is about. `table == None`: the whole database.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Involved {
    pub schema: String,
    pub table: Option<String>,
}

impl Involved {
    pub fn conflicts_with(&self, other: &Involved) -> bool {
        self.schema == other.schema
            && match (&self.table, &other.table) {
                (Some(a), Some(b)) => a == b,
                _ => true,
            }
    }
}

impl Job {
    pub fn new(
        id: JobId,
        statement: DdlStatement,
        query: String,
        settings: &JobSettings,
        now: Timestamp,
    ) -> Self {
        let involving = statement.involving();
        let (schema_name, table_name) = statement.subject();
        Job {
            id,
            kind: JobType::of(&statement),
            state: JobState::Queueing,
            stage: Stage::Begin,
            schema_state: SchemaState::None,
            schema_id: 0,
            table_id: 0,
            schema_name,
            table_name,
            statement,
            subjobs: Vec::new(),
            involving,
            query,
            reorg: ReorgMeta {
                concurrency: settings.concurrency,
                batch_size: settings.batch_size,
                max_write_speed: settings.max_write_speed_bytes,
                use_cloud_storage: !settings.cloud_storage_uri.is_empty(),
                target_scope: settings.service_scope.clone(),
                verify: settings.verify,
                round: 0,
                ingested: 0,
            },
            warnings: Vec::new(),
            error: None,
            retry: None,
            error_count: 0,
            row_count: 0,
            snapshot: Timestamp::ZERO,
            start_ts: now,
            real_start_ts: Timestamp::ZERO,
            end_ts: Timestamp::ZERO,
            last_schema_version: 0,
            changed_tables: Vec::new(),
            skip_wait: false,
            pause_reason: String::new(),
            paused_ts: Timestamp::ZERO,
            conflicts: Vec::new(),
        }
    }

    /// Does it build an index? Such jobs have a pool of their own.
    pub fn is_reorg(&self) -> bool {
        self.statement.adds_index()
    }

    pub fn conflicts_with(&self, other: &Job) -> bool {
        self.involving
            .iter()
            .any(|a| other.involving.iter().any(|b| a.conflicts_with(b)))
    }

    /// `ddl/backfill/<job>/<round>`: the build's task. Reconciling and verification: `…/finish`.
    pub fn backfill_key(&self) -> String {
        format!("ddl/backfill/{}/{}", self.id, self.reorg.round)
    }

    pub fn finish_key(&self) -> String {
        format!("ddl/backfill/{}/{}/finish", self.id, self.reorg.round)
    }

    /// What was built so far is dropped: the next step takes a new snapshot. What is in the index already does no harm,
    /// since that snapshot is newer than all of it.
    pub(crate) fn begin_anew(&mut self) {
        self.snapshot = Timestamp::ZERO;
        self.reorg.round += 1;
        self.stage = Stage::WriteOnly;
        self.row_count = 0;
    }

    /// The id under which garbage collection is held at its snapshot. Each snapshot has a hold of its own: one that moved
    /// with the next snapshot would leave the one before unheld, and a commit that took that one may still arrive.
    pub fn hold_id(&self) -> String {
        format!("{}{}", hold_prefix(self.id), self.snapshot)
    }
}

/// What the ids of all of a job's holds begin with.
pub(crate) fn hold_prefix(job: JobId) -> String {
    format!("ddl/{job}/")
}

/// The job of a hold; `None`: it is none of a job's.
pub(crate) fn hold_job(hold_id: &str) -> Option<JobId> {
    hold_id.strip_prefix("ddl/")?.split('/').next()?.parse().ok()
}
