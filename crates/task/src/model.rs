//! The durable rows of the framework: tasks and subtasks. Words and states are TiDB's.

use ilmenite_base::ErrorClass;
use serde::{Deserialize, Serialize};

pub type TaskId = u64;

/// Where a task is. Flow: pending → running → succeed; running → reverting → reverted; any active → cancelling →
/// reverting; pending | running → pausing → paused → resuming → running; `failed` only when reverting itself is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskState {
    Pending,
    Running,
    Succeed,
    Reverting,
    Reverted,
    Failed,
    Cancelling,
    Pausing,
    Paused,
    Resuming,
}

impl TaskState {
    pub fn as_str(self) -> &'static str {
        match self {
            TaskState::Pending => "pending",
            TaskState::Running => "running",
            TaskState::Succeed => "succeed",
            TaskState::Reverting => "reverting",
            TaskState::Reverted => "reverted",
            TaskState::Failed => "failed",
            TaskState::Cancelling => "cancelling",
            TaskState::Pausing => "pausing",
            TaskState::Paused => "paused",
            TaskState::Resuming => "resuming",
        }
    }

    /// Nothing more will happen to the task.
    pub fn is_final(self) -> bool {
        matches!(self, TaskState::Succeed | TaskState::Reverted | TaskState::Failed)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SubtaskState {
    Pending,
    Running,
    Succeed,
    Failed,
    Canceled,
    Paused,
}

impl SubtaskState {
    pub fn as_str(self) -> &'static str {
        match self {
            SubtaskState::Pending => "pending",
            SubtaskState::Running => "running",
            SubtaskState::Succeed => "succeed",
            SubtaskState::Failed => "failed",
            SubtaskState::Canceled => "canceled",
            SubtaskState::Paused => "paused",
        }
    }
}

/// An error as kept in a row: text for people, class for the framework, and the kind's own code for its caller.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskError {
    pub class: ErrorClass,
    pub message: String,
    /// Whatever the task's kind wants to get back as it was: its own error, serialised.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<serde_json::Value>,
}

impl TaskError {
    pub fn new(class: ErrorClass, message: impl Into<String>) -> Self {
        TaskError {
            class,
            message: message.into(),
            detail: None,
        }
    }
}

impl std::fmt::Display for TaskError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.message, self.class.as_str())
    }
}

/// What is being retried, for the eyes of whoever looks at the job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetryStatus {
    pub error: TaskError,
    /// Attempts made so far.
    pub attempts: u32,
    /// Milliseconds since 1970 of the first of these failures: retries are bounded in time too.
    pub since_ms: u64,
    /// Milliseconds since 1970 at which the next one starts.
    pub next_try_ms: u64,
}

/// One long-running piece of work: a sequence of steps, each a set of independent subtasks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Task {
    pub id: TaskId,
    /// Unique, and the reason why submitting twice is harmless: `ddl/backfill/<job id>`.
    pub key: String,
    /// Names the `TaskKind` that plans and runs it.
    pub kind: String,
    pub state: TaskState,
    /// The step being worked on; `None` before the first is planned. An index into `TaskKind::steps`.
    pub step: Option<usize>,
    /// How many subtasks the current step was planned with.
    pub subtasks: u32,
    /// The kind's own description of the work; never changed after submission.
    pub meta: serde_json::Value,
    /// At most so many subtasks at once on a node; 0: as many as the node has slots.
    pub concurrency: u32,
    /// Only nodes of this service scope take part; empty: all.
    pub service_scope: String,
    /// Only the node of this `local_id` takes part: what the task works on is on its disk.
    #[serde(default)]
    pub only_at: Option<String>,
    /// Why it reverts or is paused.
    pub error: Option<TaskError>,
    /// What planning is being retried for.
    pub retry: Option<RetryStatus>,
    pub create_time_ms: u64,
    pub start_time_ms: Option<u64>,
    pub end_time_ms: Option<u64>,
}

/// Counters a subtask reports while it runs and when it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Progress {
    pub rows: u64,
    pub bytes: u64,
    /// What `rows` will be at the end, as far as known; 0 when not.
    pub rows_expected: u64,
    pub object_requests: u64,
    pub object_bytes: u64,
}

impl Progress {
    /// The further of the two in each: what is shown does not go back when work is done again.
    pub(crate) fn at_least(self, other: Progress) -> Progress {
        Progress {
            rows: self.rows.max(other.rows),
            bytes: self.bytes.max(other.bytes),
            rows_expected: self.rows_expected.max(other.rows_expected),
            object_requests: self.object_requests.max(other.object_requests),
            object_bytes: self.object_bytes.max(other.object_bytes),
        }
    }
}

impl std::ops::AddAssign for Progress {
    fn add_assign(&mut self, other: Progress) {
        self.rows += other.rows;
        self.bytes += other.bytes;
        self.rows_expected += other.rows_expected;
        self.object_requests += other.object_requests;
        self.object_bytes += other.object_bytes;
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Subtask {
    pub task_id: TaskId,
    pub step: usize,
    pub ordinal: u32,
    pub state: SubtaskState,
    /// The node that has claimed it.
    pub node: Option<String>,
    /// Counts claims. Outputs carry it: what an earlier attempt still writes is never taken for this one's.
    pub attempt: u32,
    /// What to do: the planner's word, never changed.
    pub meta: serde_json::Value,
    /// How far it got, in the kind's words; the next attempt goes on from here.
    pub checkpoint: Option<serde_json::Value>,
    /// What it made; set once, together with `Succeed`.
    pub output: Option<serde_json::Value>,
    pub progress: Progress,
    pub error: Option<TaskError>,
    /// The transient failures since the last checkpoint: when it is tried again.
    pub retry: Option<RetryStatus>,
    /// What the running attempt itself is retrying just now (an object request, an ingest).
    pub retrying: Option<RetryStatus>,
    pub start_time_ms: Option<u64>,
    pub end_time_ms: Option<u64>,
}

impl Subtask {
    /// Is it still at work, for the same claim?
    pub(crate) fn is_claim_of(&self, other: &Subtask) -> bool {
        self.state == SubtaskState::Running && self.attempt == other.attempt && self.node == other.node
    }

    /// As the planner puts it down.
    pub(crate) fn pending(task_id: TaskId, step: usize, ordinal: u32, meta: serde_json::Value) -> Self {
        Subtask {
            task_id,
            step,
            ordinal,
            state: SubtaskState::Pending,
            node: None,
            attempt: 0,
            meta,
            checkpoint: None,
            output: None,
            progress: Progress::default(),
            error: None,
            retry: None,
            retrying: None,
            start_time_ms: None,
            end_time_ms: None,
        }
    }
}

impl Task {
    /// May the node take part?
    pub fn takes(&self, service_scope: &str, local_id: &str) -> bool {
        (self.service_scope.is_empty() || self.service_scope == service_scope)
            && self.only_at.as_deref().is_none_or(|at| at == local_id)
    }
}
