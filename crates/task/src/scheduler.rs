//! The owner's side: takes every task one decision further, again and again.
//!
//! A decision looks only at rows of the store, and is one write guarded by the owner's term and by the task row as it
//! was read. So any node can take over between any two decisions, and a late owner changes nothing.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use ilmenite_base::{ErrorClass, Notifier, RetryPolicy};
use ilmenite_store::rows::{Change, Stored, encode};
use ilmenite_store::{Durability, Precondition};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::error::{Error, Result};
use crate::kind::{PlanInput, TaskKind};
use crate::metrics;
use crate::retry::next_retry;
use crate::rows::{Rows, subtask_key};
use crate::{RetryStatus, Subtask, SubtaskState, Task, TaskError, TaskId, TaskState};

/// Gathering facts and cleaning up reach out to stores: longer than this is a transient error like any other.
const CALL_TIMEOUT: Duration = Duration::from_secs(300);
/// A step's subtasks are put down in one transaction. Half of what one takes: ending them all rewrites their rows, which
/// have grown by then.
const MAX_PLAN_BYTES: usize = 48 << 20;

pub(crate) struct Scheduler {
    pub rows: Rows,
    pub kinds: Arc<BTreeMap<&'static str, Arc<dyn TaskKind>>>,
    pub retry: RetryPolicy,
    pub changed: Notifier,
    pub poll: Duration,
    /// Tasks being advanced just now: one decision at a time for each.
    busy: Mutex<HashSet<TaskId>>,
}

impl Scheduler {
    pub(crate) fn new(
        rows: Rows,
        kinds: Arc<BTreeMap<&'static str, Arc<dyn TaskKind>>>,
        retry: RetryPolicy,
        changed: Notifier,
        poll: Duration,
    ) -> Self {
        Scheduler {
            rows,
            kinds,
            retry,
            changed,
            poll,
            busy: Mutex::default(),
        }
    }

    /// Runs until `stop` fires: on every change and, as the safety net, every `poll`.
    pub(crate) async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut changed = self.changed.subscribe();
        let mut owner = self.rows.catalog.owner_changed();
        loop {
            changed.mark_seen();
            let mut sleep = self.poll;
            if self.rows.catalog.owner_term().is_some() {
                match self.round(&stop).await {
                    Ok(wait) => sleep = sleep.min(wait),
                    Err(e) => tracing::warn!(error = %e, "task scheduler could not read its tasks"),
                }
            }
            tokio::select! {
                biased;
                _ = stop.cancelled() => return,
                _ = changed.notified() => {}
                _ = owner.notified() => {}
                _ = tokio::time::sleep(sleep) => {}
            }
        }
    }

    /// Starts a decision for each task that may want one; returns how long nothing can be due.
    async fn round(self: &Arc<Self>, stop: &CancellationToken) -> Result<Duration> {
        let now_ms = self.rows.now_ms().await?;
        let mut wait = self.poll;
        for task in self.rows.tasks().await? {
            if task.value.state.is_final() || task.value.state == TaskState::Paused {
                continue;
            }
            // A planning retry that is not due; cancel and pause do not wait for it.
            if let (Some(retry), TaskState::Running | TaskState::Reverting) =
                (&task.value.retry, task.value.state)
                && retry.next_try_ms > now_ms
            {
                wait = wait.min(Duration::from_millis(retry.next_try_ms - now_ms));
                continue;
            }
            let id = task.value.id;
            if !self.busy.lock().insert(id) {
                continue;
            }
            let this = self.clone();
            let stop = stop.clone();
            tokio::spawn(async move {
                let result = tokio::select! {
                    biased;
                    _ = stop.cancelled() => Ok(false),
                    result = this.advance(task) => result,
                };
                this.busy.lock().remove(&id);
                match result {
                    Ok(false) => {}
                    // Something was written: look again, on every node.
                    Ok(true) => this.rows.notify(),
                    // Somebody else wrote first.
                    Err(Error::Lost) => this.wake(),
                    // Another node goes on with it.
                    Err(Error::NotOwner) => {}
                    Err(e) => {
                        tracing::warn!(task = id, error = %e, "a decision on the task could not be written")
                    }
                }
            });
        }
        Ok(wait)
    }

    fn wake(&self) {
        self.changed.notify();
    }

    fn guard(&self) -> Result<Precondition> {
        self.rows
            .catalog
            .owner_term()
            .map(|term| term.guard())
            .ok_or(Error::NotOwner)
    }

    /// One decision. True when it wrote something.
    async fn advance(&self, task: Stored<Task>) -> Result<bool> {
        let subtasks = self.rows.subtasks(task.value.id).await?;
        let live = self
            .rows
            .catalog
            .live_nodes()
            .await
            .map_err(|e| Error::Store(to_store(e)))?;
        let live: HashSet<String> = live.into_iter().map(|n| n.id).collect();
        match task.value.state {
            TaskState::Pending => self.plan(&task, &subtasks, 0).await,
            TaskState::Running => self.advance_running(&task, &subtasks, &live).await,
            TaskState::Resuming => {
                let mut next = task.value.clone();
                next.state = TaskState::Running;
                next.error = None;
                next.retry = None;
                self.move_subtasks(&task, next, &subtasks, |s| match s.state {
                    SubtaskState::Paused | SubtaskState::Failed => Some(SubtaskState::Pending),
                    _ => None,
                })
                .await
            }
            TaskState::Pausing => {
                let stopped = all_stopped(&subtasks, &live);
                let mut next = task.value.clone();
                next.state = if stopped {
                    TaskState::Paused
                } else {
                    TaskState::Pausing
                };
                self.move_subtasks(&task, next, &subtasks, |s| match s.state {
                    SubtaskState::Pending => Some(SubtaskState::Paused),
                    SubtaskState::Running if is_dead(s, &live) => Some(SubtaskState::Paused),
                    _ => None,
                })
                .await
            }
            TaskState::Cancelling => {
                let mut next = task.value.clone();
                next.state = TaskState::Reverting;
                next.retry = None;
                next.error
                    .get_or_insert_with(|| TaskError::new(ErrorClass::Cancelled, "cancelled"));
                self.move_subtasks(&task, next, &subtasks, |_| None).await
            }
            TaskState::Reverting => self.advance_reverting(&task, &subtasks, &live).await,
            TaskState::Succeed | TaskState::Reverted | TaskState::Failed | TaskState::Paused => Ok(false),
        }
    }

    async fn advance_running(
        &self,
        task: &Stored<Task>,
        subtasks: &[Stored<Subtask>],
        live: &HashSet<String>,
    ) -> Result<bool> {
        let Some(step) = task.value.step else {
            return self.plan(task, subtasks, 0).await;
        };
        let current: Vec<&Subtask> = subtasks
            .iter()
            .map(|s| &s.value)
            .filter(|s| s.step == step)
            .collect();
        let failed: Vec<&TaskError> = current
            .iter()
            .filter(|s| s.state == SubtaskState::Failed)
            .filter_map(|s| s.error.as_ref())
            .collect();
        if let Some(first) = failed.first() {
            // What ran out may come back: wait for somebody to say so. Anything else among the failures decides.
            let decisive = failed.iter().find(|e| e.class != ErrorClass::Resource);
            let mut next = task.value.clone();
            next.state = if decisive.is_some() {
                TaskState::Reverting
            } else {
                TaskState::Pausing
            };
            next.error = Some((*decisive.unwrap_or(first)).clone());
            next.retry = None;
            return self.move_subtasks(task, next, subtasks, |_| None).await;
        }
        let succeeded = current
            .iter()
            .filter(|s| s.state == SubtaskState::Succeed)
            .count();
        if succeeded == task.value.subtasks as usize {
            return self.plan(task, subtasks, step + 1).await;
        }
        if current.iter().any(|s| is_dead(s, live)) {
            let next = task.value.clone();
            return self
                .move_subtasks(task, next, subtasks, |s| {
                    is_dead(s, live).then_some(SubtaskState::Pending)
                })
                .await;
        }
        Ok(false)
    }

    async fn advance_reverting(
        &self,
        task: &Stored<Task>,
        subtasks: &[Stored<Subtask>],
        live: &HashSet<String>,
    ) -> Result<bool> {
        if !all_stopped(subtasks, live) || subtasks.iter().any(|s| s.value.state == SubtaskState::Pending) {
            return self
                .move_subtasks(task, task.value.clone(), subtasks, |s| match s.state {
                    SubtaskState::Pending | SubtaskState::Paused => Some(SubtaskState::Canceled),
                    SubtaskState::Running if is_dead(s, live) => Some(SubtaskState::Canceled),
                    _ => None,
                })
                .await;
        }
        self.finish(task, TaskState::Reverted).await
    }

    /// Plans from `step` on, through all steps that have nothing to do, and writes the first that has; or finishes.
    async fn plan(&self, task: &Stored<Task>, subtasks: &[Stored<Subtask>], step: usize) -> Result<bool> {
        let Some(kind) = self.kinds.get(task.value.kind.as_str()) else {
            let error = TaskError::from(Error::UnknownKind(task.value.kind.clone()));
            return self.fail_planning(task, error).await;
        };
        let slots = match self.rows.catalog.live_nodes().await {
            Ok(nodes) => nodes
                .iter()
                .filter(|n| task.value.takes(&n.service_scope, &n.local_id))
                .map(|n| n.slots)
                .sum::<u32>()
                .max(1),
            Err(e) => {
                return self
                    .fail_planning(task, TaskError::new(e.class(), e.to_string()))
                    .await;
            }
        };
        let mut earlier = vec![Vec::new(); kind.steps().len()];
        for subtask in subtasks {
            if let Some(of_step) = earlier.get_mut(subtask.value.step) {
                of_step.push(subtask.value.clone());
            }
        }
        for step in step..kind.steps().len() {
            let facts = match tokio::time::timeout(CALL_TIMEOUT, kind.gather(&task.value, step)).await {
                Ok(Ok(facts)) => facts,
                Ok(Err(error)) => return self.fail_planning(task, error).await,
                Err(_) => {
                    return self
                        .fail_planning(task, timed_out("gathering facts for the plan"))
                        .await;
                }
            };
            let input = PlanInput {
                task: &task.value,
                step,
                earlier: &earlier[..step],
                facts,
                slots,
            };
            let plan = match kind.plan(&input) {
                Ok(plan) => plan,
                Err(error) => return self.fail_planning(task, error).await,
            };
            tracing::info!(
                task = task.value.id,
                key = task.value.key,
                step = kind.steps()[step],
                subtasks = plan.subtasks.len(),
                reason = plan.reason,
                "step planned"
            );
            if !plan.subtasks.is_empty() {
                return match self.write_plan(task, step, plan.subtasks).await {
                    // Planned again it would be the same: an error like any other of the plan.
                    Err(e) if e.is_lasting() => self.fail_planning(task, e.into()).await,
                    written => written,
                };
            }
        }
        self.finish(task, TaskState::Succeed).await
    }

    async fn write_plan(
        &self,
        task: &Stored<Task>,
        step: usize,
        metas: Vec<serde_json::Value>,
    ) -> Result<bool> {
        let mut next = task.value.clone();
        next.state = TaskState::Running;
        next.step = Some(step);
        next.subtasks = metas.len() as u32;
        next.retry = None;
        next.start_time_ms.get_or_insert(self.rows.now_ms().await?);
        let mut change = Change::guarded(self.guard()?);
        let (subtasks, mut bytes) = (metas.len(), 0);
        for (ordinal, meta) in metas.into_iter().enumerate() {
            let ordinal = ordinal as u32;
            let row = encode(&Subtask::pending(task.value.id, step, ordinal, meta))?;
            bytes += row.len();
            change.put(subtask_key(task.value.id, step, ordinal), row);
        }
        if bytes > MAX_PLAN_BYTES {
            return Err(Error::PlanTooLarge { subtasks, bytes });
        }
        change.replace(task, &next)?;
        self.rows.commit(change, Durability::Sync).await?;
        Ok(true)
    }

    /// Planning failed: again later when that may help, else revert.
    async fn fail_planning(&self, task: &Stored<Task>, error: TaskError) -> Result<bool> {
        let mut next = task.value.clone();
        let now_ms = self.rows.now_ms().await?;
        tracing::warn!(task = task.value.id, key = task.value.key, %error, "planning failed");
        metrics::PLAN_FAILURES
            .with_label_values(&[error.class.as_str()])
            .inc();
        match next_retry(&self.retry, task.value.retry.as_ref(), &error, now_ms) {
            Some(retry) => {
                next.state = TaskState::Running;
                next.retry = Some(retry);
            }
            None => {
                next.state = match error.class {
                    ErrorClass::Resource => TaskState::Pausing,
                    _ => TaskState::Reverting,
                };
                next.retry = None;
                next.error = Some(error);
            }
        }
        self.move_subtasks(task, next, &[], |_| None).await
    }

    /// Cleans up, and only then makes the task final: whoever is told that it ended finds nothing left of it.
    async fn finish(&self, task: &Stored<Task>, state: TaskState) -> Result<bool> {
        let mut next = task.value.clone();
        if let Some(kind) = self.kinds.get(task.value.kind.as_str()) {
            let result = match tokio::time::timeout(CALL_TIMEOUT, kind.clean_up(&task.value)).await {
                Ok(result) => result,
                Err(_) => Err(timed_out("cleaning up")),
            };
            if let Err(mut error) = result {
                tracing::warn!(task = task.value.id, key = task.value.key, %error, "clean-up failed");
                // Cleaning up is worth trying again whatever the reason; the bound ends it all the same.
                error.class = ErrorClass::Transient;
                let now_ms = self.rows.now_ms().await?;
                let retry: Option<RetryStatus> =
                    next_retry(&self.retry, task.value.retry.as_ref(), &error, now_ms);
                if retry.is_some() {
                    next.retry = retry;
                    return self.move_subtasks(task, next, &[], |_| None).await;
                }
                tracing::error!(task = task.value.id, %error, "clean-up given up: the scrubber will remove what is left");
            }
        }
        next.state = state;
        next.retry = None;
        next.end_time_ms = Some(self.rows.now_ms().await?);
        metrics::TASKS_ENDED.with_label_values(&[state.as_str()]).inc();
        self.move_subtasks(task, next, &[], |_| None).await
    }

    /// Writes the task as `next` and each subtask that `to` names a new state for. False when nothing changes.
    async fn move_subtasks(
        &self,
        task: &Stored<Task>,
        next: Task,
        subtasks: &[Stored<Subtask>],
        to: impl Fn(&Subtask) -> Option<SubtaskState>,
    ) -> Result<bool> {
        let mut change = Change::guarded(self.guard()?);
        let mut any = next != task.value;
        for subtask in subtasks {
            if let Some(state) = to(&subtask.value) {
                let mut moved = subtask.value.clone();
                moved.state = state;
                moved.node = None;
                if state == SubtaskState::Pending {
                    moved.error = None;
                    moved.retry = None;
                }
                change.replace(subtask, &moved)?;
                any = true;
            }
        }
        if !any {
            return Ok(false);
        }
        change.replace(task, &next)?;
        self.rows.commit(change, Durability::Sync).await?;
        Ok(true)
    }
}

fn timed_out(what: &str) -> TaskError {
    TaskError::new(
        ErrorClass::Transient,
        format!("{what} took longer than {} s", CALL_TIMEOUT.as_secs()),
    )
}

fn is_dead(subtask: &Subtask, live: &HashSet<String>) -> bool {
    subtask.state == SubtaskState::Running && !subtask.node.as_ref().is_some_and(|n| live.contains(n))
}

/// No live node works on any of them.
fn all_stopped(subtasks: &[Stored<Subtask>], live: &HashSet<String>) -> bool {
    !subtasks
        .iter()
        .any(|s| s.value.state == SubtaskState::Running && !is_dead(&s.value, live))
}

fn to_store(e: ilmenite_catalog::Error) -> ilmenite_store::Error {
    match e {
        ilmenite_catalog::Error::Store(e) => e,
        other => ilmenite_store::Error::Unavailable(other.to_string()),
    }
}
