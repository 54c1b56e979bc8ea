//! What a kind of task supplies: its steps, how each is planned, and how a subtask is run.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::{Progress, Subtask, SubtaskHandle, Task, TaskError};

/// All that planning a step may look at: rows of the store, gathered by `TaskKind::gather`. Any node can gather it.
pub struct PlanInput<'a> {
    pub task: &'a Task,
    pub step: usize,
    /// The succeeded subtasks of each earlier step, by ordinal.
    pub earlier: &'a [Vec<Subtask>],
    /// What `gather` read for this step (regions, sizes): a value, so that planning stays a pure function.
    pub facts: Value,
    /// Slots on live nodes of the task's scope.
    pub slots: u32,
}

/// What a step is to do: the `meta` of each subtask, in order. None at all is an ordinary outcome.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    pub subtasks: Vec<Value>,
    /// Why it was planned so; logged and kept for people (for example why merge-sort was skipped).
    pub reason: String,
}

#[async_trait]
pub trait TaskKind: Send + Sync + 'static {
    fn name(&self) -> &'static str;

    /// The steps in order, by their names: the words people see.
    fn steps(&self) -> &'static [&'static str];

    /// Reads from the durable state what `plan` needs for the step. Must not depend on anything this node remembers.
    async fn gather(&self, task: &Task, step: usize) -> Result<Value, TaskError>;

    /// Pure: the same input gives the same plan on every node.
    fn plan(&self, input: &PlanInput<'_>) -> Result<Plan, TaskError>;

    /// Runs one subtask, on a thread of its own: it may use the processor as long as it likes between two waits.
    /// Returns its output, or the error with its class: the framework decides on retries. Must stop soon after
    /// `context.cancel` fires, and be safe to run again from the last checkpoint.
    async fn run(&self, context: SubtaskContext) -> Result<Value, TaskError>;

    /// Called on the owner once the task is final, before anyone is told; repeated until it succeeds or is given up
    /// (bounded). Removes what the task left: objects, notes, holds. Must be idempotent.
    async fn clean_up(&self, task: &Task) -> Result<(), TaskError>;
}

/// A running subtask's view of the world.
pub struct SubtaskContext {
    pub task: Arc<Task>,
    pub subtask: Subtask,
    /// Fires on cancel, pause, shutdown, and when the claim was lost.
    pub cancel: CancellationToken,
    /// Reports progress, checkpoints and retries.
    pub report: SubtaskHandle,
}

impl SubtaskContext {
    pub fn name(&self) -> String {
        format!(
            "{}/{}/{}#{}",
            self.task.id, self.subtask.step, self.subtask.ordinal, self.subtask.attempt
        )
    }

    pub fn progress(&self, progress: Progress) {
        self.report.progress(progress)
    }
}
