//! The framework's face: submit a task inside one's own transaction, watch it, cancel, pause, resume, forget it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ilmenite_base::{Notifier, RetryPolicy};
use ilmenite_catalog::{Catalog, OwnerTerm, Topic};
use ilmenite_store::rows::{Change, Stored, encode};
use ilmenite_store::{Check, Durability, StoreRef, Transaction};
use tokio_util::sync::CancellationToken;

use crate::error::{Error, Result};
use crate::executor::{Executor, Place};
use crate::kind::TaskKind;
use crate::retry::DEFAULT_RETRY;
use crate::rows::{ID_KEY, Rows, decode_id, key_key, subtask_key, task_key};
use crate::scheduler::Scheduler;
use crate::{Progress, RetryStatus, Subtask, SubtaskState, Task, TaskError, TaskId, TaskState};

/// How often a change to a row is tried again when somebody else changes it at the same time.
const MAX_CHANGE_ATTEMPTS: u32 = 20;

pub struct TasksConfig {
    pub store: StoreRef,
    pub catalog: Arc<Catalog>,
    /// Subtasks this node runs at once: one per core.
    pub slots: u32,
    pub retry: RetryPolicy,
    /// The safety net below waking: everything is looked at again this often.
    pub poll: Duration,
    pub place: Place,
}

impl TasksConfig {
    pub fn new(store: StoreRef, catalog: Arc<Catalog>, slots: u32) -> Self {
        TasksConfig {
            store,
            catalog,
            slots,
            retry: DEFAULT_RETRY,
            poll: Duration::from_secs(1),
            place: Place::default(),
        }
    }
}

/// What to submit.
#[derive(Debug, Clone)]
pub struct TaskSpec {
    pub key: String,
    pub kind: String,
    pub meta: serde_json::Value,
    pub concurrency: u32,
    pub service_scope: String,
    /// See `Task::only_at`.
    pub only_at: Option<String>,
}

/// One step of a task, summed up.
#[derive(Debug, Clone, PartialEq)]
pub struct StepProgress {
    pub name: &'static str,
    pub subtasks: u32,
    pub succeeded: u32,
    pub running: u32,
    /// How much of it is done, in subtasks: of a running one by its rows, where it is known how many there will be.
    pub done: f64,
    pub progress: Progress,
}

/// A task as one looks at it.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskStatus {
    pub task: Task,
    /// The steps that have been planned with something to do, and all others, in order.
    pub steps: Vec<StepProgress>,
    /// What is being retried just now, of planning, of a subtask or inside one: the one with most attempts.
    pub retry: Option<RetryStatus>,
}

impl TaskStatus {
    /// The name of the step being worked on.
    pub fn step_name(&self) -> Option<&'static str> {
        self.task
            .step
            .and_then(|step| self.steps.get(step))
            .map(|s| s.name)
    }
}

/// The framework on one node.
pub struct Tasks {
    rows: Rows,
    kinds: Arc<BTreeMap<&'static str, Arc<dyn TaskKind>>>,
    changed: Notifier,
    poll: Duration,
    executor: Arc<Executor>,
    stop: CancellationToken,
}

impl Tasks {
    pub fn start(config: TasksConfig, kinds: Vec<Arc<dyn TaskKind>>) -> Arc<Tasks> {
        let rows = Rows {
            store: config.store,
            catalog: config.catalog,
        };
        let kinds: Arc<BTreeMap<_, _>> = Arc::new(kinds.into_iter().map(|k| (k.name(), k)).collect());
        let changed = rows.catalog.notifier(Topic::Tasks);
        let stop = CancellationToken::new();
        let scheduler = Scheduler::new(
            rows.clone(),
            kinds.clone(),
            config.retry,
            changed.clone(),
            config.poll,
        );
        let slots = config.slots.max(1);
        let executor = Arc::new(Executor::new(
            rows.clone(),
            kinds.clone(),
            config.retry,
            changed.clone(),
            config.poll,
            slots,
            config.place,
        ));
        tokio::spawn(Arc::new(scheduler).run(stop.clone()));
        tokio::spawn(executor.clone().run(stop.clone()));
        Arc::new(Tasks {
            rows,
            kinds,
            changed,
            poll: config.poll,
            executor,
            stop,
        })
    }

    /// Stops taking work, tells running subtasks to stop and gives them back; waits for them at most `timeout`.
    pub async fn shutdown(&self, timeout: Duration) {
        self.stop.cancel();
        let deadline = tokio::time::Instant::now() + timeout;
        while self.executor.running() > 0 && tokio::time::Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Puts a task down as part of the caller's transaction; call `wake` after its commit. A task with the same key
    /// that exists already, finished or not, is what is returned: submitting twice is harmless.
    pub async fn put(&self, txn: &mut Transaction, spec: TaskSpec) -> Result<TaskId> {
        if !self.kinds.contains_key(spec.kind.as_str()) {
            return Err(Error::UnknownKind(spec.kind));
        }
        let key = key_key(&spec.key);
        if let Some(raw) = txn.get(&key).await? {
            return decode_id(&raw);
        }
        let last = txn.get(ID_KEY).await?.map_or(Ok(0), |raw| decode_id(&raw))?;
        let id = last + 1;
        let task = Task {
            id,
            key: spec.key,
            kind: spec.kind,
            state: TaskState::Pending,
            step: None,
            subtasks: 0,
            meta: spec.meta,
            concurrency: spec.concurrency,
            service_scope: spec.service_scope,
            only_at: spec.only_at,
            error: None,
            retry: None,
            create_time_ms: self.rows.now_ms().await?,
            start_time_ms: None,
            end_time_ms: None,
        };
        let id_bytes = id.to_be_bytes().to_vec();
        txn.put(ID_KEY.to_vec(), id_bytes.clone(), Check::Unchanged)?;
        txn.put(key, id_bytes, Check::Unchanged)?;
        txn.put(task_key(id), encode(&task)?, Check::Unchanged)?;
        Ok(id)
    }

    /// Makes scheduler, executor and watchers look at the rows now, on every node.
    pub fn wake(&self) {
        self.rows.notify();
    }

    pub async fn get(&self, id: TaskId) -> Result<Option<TaskStatus>> {
        let Some(task) = self.rows.task(id).await? else {
            return Ok(None);
        };
        let subtasks = self.rows.subtasks(id).await?;
        Ok(Some(self.status(task.value, &subtasks)))
    }

    pub async fn get_by_key(&self, key: &str) -> Result<Option<TaskStatus>> {
        match self.rows.task_id(key).await? {
            Some(id) => self.get(id).await,
            None => Ok(None),
        }
    }

    /// Every task there is a row of.
    pub async fn list(&self) -> Result<Vec<Task>> {
        Ok(self.rows.tasks().await?.into_iter().map(|t| t.value).collect())
    }

    pub async fn subtasks(&self, id: TaskId) -> Result<Vec<Subtask>> {
        Ok(self
            .rows
            .subtasks(id)
            .await?
            .into_iter()
            .map(|s| s.value)
            .collect())
    }

    /// The name of a step of a kind of task.
    pub fn step_name(&self, kind: &str, step: usize) -> Option<&'static str> {
        self.kinds.get(kind).and_then(|k| k.steps().get(step)).copied()
    }

    /// Waits until the task is final or paused, and returns it; calls `on_change` at once and whenever there is news.
    pub async fn watch(
        &self,
        id: TaskId,
        cancel: &CancellationToken,
        mut on_change: impl FnMut(&TaskStatus) + Send,
    ) -> Result<Task> {
        let mut changed = self.changed.subscribe();
        let mut last = None;
        loop {
            changed.mark_seen();
            let status = self.get(id).await?.ok_or(Error::NotFound(id))?;
            if last.as_ref() != Some(&status) {
                on_change(&status);
            }
            if status.task.state.is_final() || status.task.state == TaskState::Paused {
                return Ok(status.task);
            }
            last = Some(status);
            tokio::select! {
                biased;
                _ = cancel.cancelled() => return Err(Error::Cancelled),
                _ = changed.notified() => {}
                _ = tokio::time::sleep(self.poll) => {}
            }
        }
    }

    /// Ends the task: running subtasks stop, and it becomes `reverted`. Nothing happens to a final one.
    ///
    /// This and the other commands are the owner's, in its `term`. One that was asleep wakes up with an old mind: it must
    /// not stop what its successor has begun.
    pub async fn cancel(&self, id: TaskId, why: TaskError, term: &OwnerTerm) -> Result<()> {
        self.change(id, term, |task| match task.state {
            TaskState::Cancelling | TaskState::Reverting => Ok(()),
            state if state.is_final() => Ok(()),
            _ => {
                task.state = TaskState::Cancelling;
                task.error = Some(why.clone());
                task.retry = None;
                Ok(())
            }
        })
        .await
    }

    /// Stops the task where it is, for as long as it takes.
    pub async fn pause(&self, id: TaskId, why: TaskError, term: &OwnerTerm) -> Result<()> {
        self.change(id, term, |task| match task.state {
            TaskState::Pausing | TaskState::Paused => Ok(()),
            TaskState::Pending | TaskState::Running | TaskState::Resuming => {
                task.state = TaskState::Pausing;
                task.error = Some(why.clone());
                task.retry = None;
                Ok(())
            }
            state => Err(Error::InvalidState {
                id,
                state,
                verb: "paused",
            }),
        })
        .await
    }

    pub async fn resume(&self, id: TaskId, term: &OwnerTerm) -> Result<()> {
        self.change(id, term, |task| match task.state {
            TaskState::Pending | TaskState::Running | TaskState::Resuming => Ok(()),
            TaskState::Paused => {
                task.state = TaskState::Resuming;
                Ok(())
            }
            state => Err(Error::InvalidState {
                id,
                state,
                verb: "resumed",
            }),
        })
        .await
    }

    /// At most so many subtasks at once on each node from now on; running ones are not stopped.
    pub async fn set_concurrency(&self, id: TaskId, concurrency: u32, term: &OwnerTerm) -> Result<()> {
        self.change(id, term, |task| {
            task.concurrency = concurrency;
            Ok(())
        })
        .await
    }

    /// Deletes all rows of a final task, as part of the caller's transaction.
    pub async fn forget(&self, txn: &mut Transaction, id: TaskId) -> Result<()> {
        let Some(task) = self.rows.task(id).await? else {
            return Ok(());
        };
        if !task.value.state.is_final() {
            return Err(Error::InvalidState {
                id,
                state: task.value.state,
                verb: "forgotten",
            });
        }
        for subtask in self.rows.subtasks(id).await? {
            txn.delete(
                subtask_key(id, subtask.value.step, subtask.value.ordinal),
                Check::None,
            )?;
        }
        txn.delete(task_key(id), Check::None)?;
        txn.delete(key_key(&task.value.key), Check::None)?;
        Ok(())
    }

    async fn change(
        &self,
        id: TaskId,
        term: &OwnerTerm,
        edit: impl Fn(&mut Task) -> Result<()>,
    ) -> Result<()> {
        for _ in 0..MAX_CHANGE_ATTEMPTS {
            let task = self.rows.task(id).await?.ok_or(Error::NotFound(id))?;
            let mut next = task.value.clone();
            edit(&mut next)?;
            if next == task.value {
                return Ok(());
            }
            let mut change = Change::guarded(term.guard());
            change.replace(&task, &next)?;
            match self.rows.commit(change, Durability::Sync).await {
                Ok(()) => {
                    self.wake();
                    return Ok(());
                }
                Err(Error::Lost) => continue,
                Err(e) => return Err(e),
            }
        }
        Err(Error::Lost)
    }

    fn status(&self, task: Task, subtasks: &[Stored<Subtask>]) -> TaskStatus {
        let names = self.kinds.get(task.kind.as_str()).map_or(&[][..], |k| k.steps());
        let mut steps: Vec<StepProgress> = names
            .iter()
            .map(|name| StepProgress {
                name,
                subtasks: 0,
                succeeded: 0,
                running: 0,
                done: 0.0,
                progress: Progress::default(),
            })
            .collect();
        let mut retry = task.retry.clone();
        for subtask in subtasks.iter().map(|s| &s.value) {
            if let Some(step) = steps.get_mut(subtask.step) {
                step.subtasks += 1;
                step.succeeded += (subtask.state == SubtaskState::Succeed) as u32;
                step.running += (subtask.state == SubtaskState::Running) as u32;
                step.done += done(subtask);
                step.progress += subtask.progress;
            }
            for candidate in [&subtask.retry, &subtask.retrying].into_iter().flatten() {
                if retry.as_ref().is_none_or(|r| candidate.attempts > r.attempts) {
                    retry = Some(candidate.clone());
                }
            }
        }
        TaskStatus { task, steps, retry }
    }
}

/// From 0 to 1.
fn done(subtask: &Subtask) -> f64 {
    let Progress {
        rows, rows_expected, ..
    } = subtask.progress;
    match (subtask.state, rows_expected) {
        (SubtaskState::Succeed, _) => 1.0,
        (_, 0) => 0.0,
        _ => (rows as f64 / rows_expected as f64).min(1.0),
    }
}

impl Drop for Tasks {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
