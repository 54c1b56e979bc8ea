//! Every node's side: claims subtasks for its free slots, runs them, and writes how they ended.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures::FutureExt;
use ilmenite_base::{ErrorClass, Notifier, RetryPolicy};
use ilmenite_store::Durability;
use ilmenite_store::rows::{Change, Stored};
use parking_lot::Mutex;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::background::Background;
use crate::error::{Error, Result};
use crate::handle::{ReportSink, Reported, SubtaskHandle};
use crate::kind::{SubtaskContext, TaskKind};
use crate::metrics;
use crate::retry::next_retry;
use crate::rows::Rows;
use crate::{Subtask, SubtaskState, Task, TaskError, TaskId, TaskState};

/// How often a running subtask's progress is written.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// Tries to write how a subtask ended; after that its row says `running` here, and the next round takes it back.
const FINISH: RetryPolicy = RetryPolicy {
    max_attempts: 10,
    max_elapsed: Duration::from_secs(600),
    base_delay: Duration::from_millis(100),
    max_delay: Duration::from_secs(60),
};

type SubtaskId = (TaskId, usize, u32);

/// Where subtasks run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Place {
    /// Each on a thread of its own, at a lower priority than statements.
    #[default]
    Background,
    /// As tasks of the runtime: for a simulation, in which nothing happens at the same time.
    Runtime,
}

/// Why a running subtask was told to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Stop {
    No = 0,
    Pause = 1,
    Revert = 2,
    /// The row is not ours any more, or the lease is over: write nothing.
    Lost = 3,
    Shutdown = 4,
}

struct Running {
    claim: Arc<Claim>,
    stop: AtomicU8,
    cancel: CancellationToken,
}

impl Running {
    /// The first reason counts, except that losing the claim overrides all.
    fn stop(&self, why: Stop) {
        if why == Stop::Lost {
            self.stop.store(why as u8, Ordering::Release);
        } else {
            let _ =
                self.stop
                    .compare_exchange(Stop::No as u8, why as u8, Ordering::AcqRel, Ordering::Acquire);
        }
        self.cancel.cancel();
    }

    fn stopped(&self) -> Stop {
        match self.stop.load(Ordering::Acquire) {
            0 => Stop::No,
            1 => Stop::Pause,
            2 => Stop::Revert,
            3 => Stop::Lost,
            _ => Stop::Shutdown,
        }
    }
}

/// The claimed row as this node last wrote it. While the claim holds, nobody else writes it.
struct Claim {
    rows: Rows,
    row: tokio::sync::Mutex<Stored<Subtask>>,
}

impl Claim {
    async fn write(&self, durability: Durability, edit: impl Fn(&mut Subtask)) -> Result<()> {
        let mut row = self.row.lock().await;
        loop {
            let mut next = row.value.clone();
            edit(&mut next);
            if next == row.value {
                return Ok(());
            }
            let mut change = Change::default();
            let raw = change.replace(&row, &next)?;
            match self.rows.commit(change, durability).await {
                Ok(()) => {
                    row.raw = raw;
                    row.value = next;
                    return Ok(());
                }
                // It may be that an earlier write of ours has taken effect without our being told: that is no reason to
                // give up the work. Each time round the row has changed, and nobody else changes it while it is ours.
                Err(Error::Lost) => match self.rows.subtask(&row.key).await? {
                    Some(now) if now.raw != row.raw && now.value.is_claim_of(&row.value) => *row = now,
                    _ => return Err(Error::Lost),
                },
                Err(e) => return Err(e),
            }
        }
    }
}

#[async_trait]
impl ReportSink for Claim {
    async fn checkpoint(&self, checkpoint: Value) -> std::result::Result<(), TaskError> {
        let write = self.write(Durability::Sync, |s| {
            s.checkpoint = Some(checkpoint.clone());
            // It got further: earlier failures no longer count against it.
            s.retry = None;
        });
        Ok(write.await?)
    }
}

pub(crate) struct Executor {
    pub rows: Rows,
    pub kinds: Arc<BTreeMap<&'static str, Arc<dyn TaskKind>>>,
    pub retry: RetryPolicy,
    pub changed: Notifier,
    pub poll: Duration,
    pub slots: u32,
    /// `None`: subtasks run as tasks of the runtime.
    background: Option<Background>,
    running: Mutex<BTreeMap<SubtaskId, Arc<Running>>>,
}

impl Executor {
    pub(crate) fn new(
        rows: Rows,
        kinds: Arc<BTreeMap<&'static str, Arc<dyn TaskKind>>>,
        retry: RetryPolicy,
        changed: Notifier,
        poll: Duration,
        slots: u32,
        place: Place,
    ) -> Self {
        let background = match place {
            Place::Runtime => None,
            Place::Background => Background::new(slots)
                .inspect_err(
                    |error| tracing::warn!(%error, "no threads for subtasks: they run among statements"),
                )
                .ok(),
        };
        Executor {
            rows,
            kinds,
            retry,
            changed,
            poll,
            slots,
            background,
            running: Mutex::default(),
        }
    }

    pub(crate) async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut changed = self.changed.subscribe();
        loop {
            changed.mark_seen();
            let sleep = match self.round().await {
                Ok(wait) => wait,
                Err(e) => {
                    tracing::warn!(error = %e, "task executor could not read its tasks");
                    self.poll
                }
            };
            tokio::select! {
                biased;
                _ = stop.cancelled() => break,
                _ = changed.notified() => {}
                _ = tokio::time::sleep(sleep) => {}
            }
        }
        for running in self.running.lock().values() {
            running.stop(Stop::Shutdown);
        }
    }

    pub(crate) fn running(&self) -> usize {
        self.running.lock().len()
    }

    fn wake(&self) {
        self.changed.notify();
    }

    /// Stops what should not run any more and claims what may; returns how long nothing can be due.
    async fn round(self: &Arc<Self>) -> Result<Duration> {
        if !self.rows.catalog.is_live() {
            for running in self.running.lock().values() {
                running.stop(Stop::Lost);
            }
            return Ok(self.poll);
        }
        let tasks = self.rows.tasks().await?;
        self.stop_unwanted(&tasks);
        for task in &tasks {
            self.settle_orphans(task).await?;
        }
        let mut wait = self.poll;
        let mut eligible: Vec<&Stored<Task>> = tasks.iter().filter(|t| self.takes_part(&t.value)).collect();
        // Fewest running here first: a big task does not starve a small one that came later.
        eligible.sort_by_key(|t| (self.running_of(t.value.id), t.value.id));
        for task in eligible {
            wait = wait.min(self.claim_from(task).await?);
        }
        Ok(wait)
    }

    fn takes_part(&self, task: &Task) -> bool {
        let scope = self.rows.catalog.service_scope();
        task.state == TaskState::Running
            && task.step.is_some()
            && self.kinds.contains_key(task.kind.as_str())
            && task.takes(&scope, self.rows.catalog.local_id())
    }

    fn running_of(&self, id: TaskId) -> usize {
        self.running
            .lock()
            .keys()
            .filter(|(task, _, _)| *task == id)
            .count()
    }

    fn stop_unwanted(&self, tasks: &[Stored<Task>]) {
        for ((id, step, _), running) in self.running.lock().iter() {
            match tasks.iter().find(|t| t.value.id == *id).map(|t| &t.value) {
                None => running.stop(Stop::Lost),
                Some(task) => match task.state {
                    TaskState::Pausing | TaskState::Paused => running.stop(Stop::Pause),
                    TaskState::Cancelling | TaskState::Reverting => running.stop(Stop::Revert),
                    _ if task.state.is_final() || task.step != Some(*step) => running.stop(Stop::Lost),
                    _ => {}
                },
            }
        }
    }

    /// Subtasks that by their rows run here and do not: of a claim whose outcome was unknown, or whose end could not be
    /// written. While the task runs they are claimed again; but one that is to stop waits for them.
    async fn settle_orphans(&self, task: &Stored<Task>) -> Result<()> {
        let state = match task.value.state {
            TaskState::Pausing => SubtaskState::Paused,
            TaskState::Cancelling | TaskState::Reverting => SubtaskState::Canceled,
            _ => return Ok(()),
        };
        for subtask in self.rows.subtasks(task.value.id).await? {
            if !self.is_orphan(&subtask.value) {
                continue;
            }
            let mut next = subtask.value.clone();
            next.state = state;
            next.node = None;
            let mut change = Change::default();
            change.replace(&subtask, &next)?;
            match self.rows.commit(change, Durability::Sync).await {
                Ok(()) | Err(Error::Lost) => self.wake(),
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    fn is_orphan(&self, s: &Subtask) -> bool {
        let me = self.rows.catalog.node_id();
        s.state == SubtaskState::Running
            && s.node.as_deref() == Some(me)
            && !self.running.lock().contains_key(&(s.task_id, s.step, s.ordinal))
    }

    async fn claim_from(self: &Arc<Self>, task: &Stored<Task>) -> Result<Duration> {
        let mut wait = self.poll;
        let limit = match task.value.concurrency {
            0 => self.slots,
            n => n.min(self.slots),
        };
        if self.running().min(u32::MAX as usize) as u32 >= self.slots
            || self.running_of(task.value.id) as u32 >= limit
        {
            return Ok(wait);
        }
        let now_ms = self.rows.now_ms().await?;
        let me = self.rows.catalog.node_id().to_string();
        for subtask in self.rows.subtasks(task.value.id).await? {
            let s = &subtask.value;
            if Some(s.step) != task.value.step {
                continue;
            }
            if s.state != SubtaskState::Pending && !self.is_orphan(s) {
                continue;
            }
            if let Some(retry) = &s.retry
                && retry.next_try_ms > now_ms
            {
                wait = wait.min(Duration::from_millis(retry.next_try_ms - now_ms));
                continue;
            }
            if self.running() as u32 >= self.slots || self.running_of(task.value.id) as u32 >= limit {
                break;
            }
            match self.claim(task, &subtask, &me, now_ms).await {
                Ok(()) => {}
                // Another node was faster, or the task changed: the next round sees.
                Err(Error::Lost) => self.wake(),
                Err(e) => return Err(e),
            }
        }
        Ok(wait)
    }

    async fn claim(
        self: &Arc<Self>,
        task: &Stored<Task>,
        subtask: &Stored<Subtask>,
        me: &str,
        now_ms: u64,
    ) -> Result<()> {
        let Some(kind) = self.kinds.get(task.value.kind.as_str()).cloned() else {
            return Err(Error::UnknownKind(task.value.kind.clone()));
        };
        let mut next = subtask.value.clone();
        next.state = SubtaskState::Running;
        next.node = Some(me.to_string());
        next.attempt += 1;
        next.error = None;
        next.retrying = None;
        next.start_time_ms.get_or_insert(now_ms);
        let mut change = Change::default();
        change.expect(task);
        let raw = change.replace(subtask, &next)?;
        self.rows.commit(change, Durability::Sync).await?;

        let row = Stored {
            key: subtask.key.clone(),
            raw,
            value: next,
        };
        let claim = Arc::new(Claim {
            rows: self.rows.clone(),
            row: tokio::sync::Mutex::new(row.clone()),
        });
        let running = Arc::new(Running {
            claim,
            stop: AtomicU8::new(Stop::No as u8),
            cancel: CancellationToken::new(),
        });
        let id = (row.value.task_id, row.value.step, row.value.ordinal);
        self.running.lock().insert(id, running.clone());
        metrics::SUBTASKS_RUNNING.inc();
        let this = self.clone();
        let task = Arc::new(task.value.clone());
        tokio::spawn(async move {
            this.drive(kind, task, row.value, &running).await;
            metrics::SUBTASKS_RUNNING.dec();
            this.running.lock().remove(&id);
            this.rows.notify();
        });
        Ok(())
    }

    /// Runs the subtask, heartbeats meanwhile, and writes the end.
    async fn drive(
        &self,
        kind: Arc<dyn TaskKind>,
        task: Arc<Task>,
        subtask: Subtask,
        running: &Arc<Running>,
    ) {
        let reported = Arc::new(Mutex::new(Reported {
            progress: subtask.progress,
            retry: None,
        }));
        let context = SubtaskContext {
            task,
            subtask,
            cancel: running.cancel.clone(),
            report: SubtaskHandle {
                reported: reported.clone(),
                sink: running.claim.clone(),
            },
        };
        let name = context.name();
        let started = tokio::time::Instant::now();
        let body = AssertUnwindSafe(async move { kind.run(context).await }).catch_unwind();
        let mut work = match &self.background {
            Some(background) => background.start(body),
            None => tokio::spawn(body),
        };
        let mut ticks = tokio::time::interval(HEARTBEAT);
        ticks.tick().await;
        let result = loop {
            tokio::select! {
                biased;
                result = &mut work => break result,
                _ = ticks.tick() => self.heartbeat(&reported, running).await,
            }
        };
        let result = match result {
            Ok(Ok(result)) => result,
            Ok(Err(panic)) => Err(TaskError::new(
                ErrorClass::Bug,
                format!("panicked: {}", panic_text(&*panic)),
            )),
            Err(join) => Err(TaskError::new(
                ErrorClass::Bug,
                format!("could not be joined: {join}"),
            )),
        };
        let outcome = match &result {
            Ok(_) => "succeed",
            Err(e) => e.class.as_str(),
        };
        metrics::SUBTASKS_ENDED.with_label_values(&[outcome]).inc();
        metrics::SUBTASK_SECONDS.observe(started.elapsed().as_secs_f64());
        if let Err(error) = &result {
            tracing::warn!(subtask = name, %error, stop = ?running.stopped(), "subtask did not succeed");
        }
        self.end(&name, result, &reported, running).await;
    }

    async fn heartbeat(&self, reported: &Mutex<Reported>, running: &Running) {
        let (progress, retrying) = {
            let reported = reported.lock();
            (reported.progress, reported.retry.clone())
        };
        let written = running.claim.write(Durability::Relaxed, |s| {
            s.progress = s.progress.at_least(progress);
            s.retrying = retrying.clone();
        });
        match written.await {
            Ok(()) => {}
            Err(Error::Lost) => running.stop(Stop::Lost),
            Err(e) => tracing::warn!(error = %e, "a subtask's progress could not be written"),
        }
    }

    async fn end(
        &self,
        name: &str,
        mut result: std::result::Result<Value, TaskError>,
        reported: &Mutex<Reported>,
        running: &Running,
    ) {
        let stop = running.stopped();
        if stop == Stop::Lost {
            return;
        }
        let progress = reported.lock().progress;
        let mut attempts = FINISH.begin();
        loop {
            let written = async {
                // Without the time there is nothing to bound retries by.
                let now_ms = self.rows.now_ms().await?;
                let settle = |s: &mut Subtask| {
                    s.progress = s.progress.at_least(progress);
                    s.retrying = None;
                    self.settle(s, &result, stop, now_ms);
                };
                running.claim.write(Durability::Sync, settle).await
            };
            match written.await {
                Ok(()) | Err(Error::Lost) => return,
                Err(e) => {
                    tracing::warn!(subtask = name, attempt = attempts.number(), error = %e, "the end of a subtask could not be written");
                    // An output that no row can take: run again it would be the same.
                    if result.is_ok() && e.is_lasting() {
                        result = Err(e.into());
                    } else if !attempts.again().await {
                        return;
                    }
                }
            }
        }
    }

    /// The row's new state, from how the attempt ended and whether it had been told to stop.
    fn settle(
        &self,
        s: &mut Subtask,
        result: &std::result::Result<Value, TaskError>,
        stop: Stop,
        now_ms: u64,
    ) {
        let error = match result {
            Ok(output) => {
                s.state = SubtaskState::Succeed;
                s.output = Some(output.clone());
                s.retry = None;
                s.end_time_ms = Some(now_ms);
                return;
            }
            Err(error) => error,
        };
        s.node = None;
        match stop {
            Stop::Pause => s.state = SubtaskState::Paused,
            Stop::Revert => s.state = SubtaskState::Canceled,
            Stop::Shutdown => s.state = SubtaskState::Pending,
            Stop::No | Stop::Lost => match next_retry(&self.retry, s.retry.as_ref(), error, now_ms) {
                Some(retry) => {
                    metrics::SUBTASK_RETRIES.inc();
                    s.state = SubtaskState::Pending;
                    s.retry = Some(retry);
                }
                None => {
                    let mut error = error.clone();
                    if error.class == ErrorClass::Cancelled {
                        // Nobody cancelled it: whoever says so is wrong, and waiting for more would be a hang.
                        error.class = ErrorClass::Bug;
                    }
                    s.state = SubtaskState::Failed;
                    s.error = Some(error);
                    s.retry = None;
                    s.end_time_ms = Some(now_ms);
                }
            },
        }
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|s| s.to_string())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".into())
}
