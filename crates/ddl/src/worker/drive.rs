//! One job from wherever it stands to the history.

use std::any::Any;
use std::time::Duration;

use ilmenite_catalog::{OwnerTerm, SchemaState};
use ilmenite_store::{Check, ErrorClass, Timestamp, Transaction, TxnMode, ambient};
use ilmenite_task::{TaskError, TaskState};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::names::Names;
use super::step::Step;
use super::{Live, Shared};
use crate::error::DdlError;
use crate::job::{Job, JobId, JobState, Stage, Stored, encode, history_key, job_key, storage_key};

/// How often a step whose transaction met another one is made again before that counts as a failure.
const CONFLICT_TRIES: u32 = 20;
/// Before looking again at a row that somebody else changed.
const LOST_PAUSE: Duration = Duration::from_millis(5);

/// Why a step did not happen.
#[derive(Debug)]
pub(super) enum StepError {
    /// The job's row has changed, or the owner's term or the node's lease is over: look again.
    Lost,
    /// A wait was interrupted: look again.
    Interrupted,
    Failed(DdlError),
}

impl From<DdlError> for StepError {
    fn from(error: DdlError) -> Self {
        StepError::Failed(error)
    }
}

impl From<ilmenite_store::Error> for StepError {
    fn from(error: ilmenite_store::Error) -> Self {
        use ilmenite_store::Error as E;
        match error {
            E::PreconditionFailed { .. } | E::CommitTooLate { .. } | E::Undetermined(_) => StepError::Lost,
            other => StepError::Failed(other.into()),
        }
    }
}

impl From<ilmenite_catalog::Error> for StepError {
    fn from(error: ilmenite_catalog::Error) -> Self {
        use ilmenite_catalog::Error as E;
        match error {
            E::NotOwner | E::LeaseLost => StepError::Lost,
            E::Store(error) => error.into(),
            other => StepError::Failed(other.into()),
        }
    }
}

impl From<ilmenite_task::Error> for StepError {
    fn from(error: ilmenite_task::Error) -> Self {
        use ilmenite_task::Error as E;
        match error {
            E::NotOwner => StepError::Lost,
            E::Store(error) => error.into(),
            other => StepError::Failed(other.into()),
        }
    }
}

pub(super) type StepResult<T> = Result<T, StepError>;

/// What a step's transaction does to the job and to the schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Begin,
    Advance(SchemaState, Stage),
    StartBuild,
    Touch(Stage),
    StartFinish,
    Publish,
    Drop,
    BeginRollback,
    RollBack,
    RollBackAtOnce,
    /// Only the job's row, as it was changed by the caller.
    JobOnly,
}

impl Shared {
    pub(super) async fn drive(&self, id: JobId, term: OwnerTerm, live: &Live) {
        let mut waited_for = 0;
        let mut failures = Failures::default();
        loop {
            let interrupt = live.arm();
            if self.stop.is_cancelled() || !self.catalog.owner_term().is_some_and(|now| now == term) {
                return;
            }
            let stored = match self.rows.job(id).await {
                Ok(Some(stored)) => stored,
                Ok(None) => return,
                Err(error) => {
                    if !self.back_off(&mut failures, &error, &interrupt).await {
                        return;
                    }
                    continue;
                }
            };
            match self
                .round(&stored, &term, live, &mut waited_for, &interrupt)
                .await
            {
                Ok(Round::Next) => failures = Failures::default(),
                Ok(Round::End) => return,
                Err(StepError::Interrupted) => {}
                // Somebody changed the row, or the term is running out: no hurry.
                Err(StepError::Lost) => tokio::time::sleep(LOST_PAUSE).await,
                Err(StepError::Failed(error)) => {
                    if !self
                        .failed(&stored, &term, error, &mut failures, &interrupt)
                        .await
                    {
                        return;
                    }
                }
            }
            self.notify();
        }
    }

    /// One look at the job, and what follows from it.
    async fn round(
        &self,
        stored: &Stored<Job>,
        term: &OwnerTerm,
        live: &Live,
        waited_for: &mut i64,
        interrupt: &CancellationToken,
    ) -> StepResult<Round> {
        let job = &stored.value;
        match job.state {
            JobState::Paused => {
                self.give_up_snapshot(stored, term).await?;
                return Ok(Round::End);
            }
            JobState::Pausing => {
                self.pause(stored, term).await?;
                return Ok(Round::End);
            }
            JobState::Cancelling if job.stage == Stage::Begin => {
                let mut next = job.clone();
                next.state = JobState::Cancelled;
                next.stage = Stage::Finish;
                next.error.get_or_insert(DdlError::JobCancelled);
                self.write(stored, next, term, Action::JobOnly).await?;
                return Ok(Round::Next);
            }
            // Nothing was written in the first state: no need to wait for anyone.
            JobState::Cancelling if self.is_first_state(job) => {
                let mut next = job.clone();
                next.error.get_or_insert(DdlError::JobCancelled);
                self.write(stored, next, term, Action::RollBackAtOnce).await?;
                return Ok(Round::Next);
            }
            _ => {}
        }
        if job.last_schema_version > *waited_for && !job.skip_wait {
            self.wait_synced(job, live, interrupt).await?;
            *waited_for = job.last_schema_version;
        }
        if job.state == JobState::Cancelling {
            let mut next = job.clone();
            next.error.get_or_insert(DdlError::JobCancelled);
            self.stop_tasks(job, term, interrupt).await?;
            self.write(stored, next, term, Action::BeginRollback).await?;
            return Ok(Round::Next);
        }
        let mut next = job.clone();
        next.retry = None;
        if next.real_start_ts.0 == 0 {
            next.real_start_ts = self.store.timestamp().await?;
        }
        let action = match job.stage {
            Stage::Begin => Action::Begin,
            Stage::DeleteOnly => Action::Advance(SchemaState::WriteOnly, Stage::WriteOnly),
            Stage::WriteOnly => Action::StartBuild,
            Stage::Backfill => self.watch_backfill(stored, &mut next, term, interrupt).await?,
            Stage::Barrier => Action::Touch(Stage::Reconcile),
            Stage::Reconcile => Action::StartFinish,
            Stage::Verify => self.watch_finish(stored, &mut next, term, interrupt).await?,
            Stage::Publish => Action::Publish,
            Stage::Dropping => Action::Drop,
            Stage::RollingBack => {
                self.stop_tasks(job, term, interrupt).await?;
                Action::RollBack
            }
            Stage::Finish => {
                self.finish(stored, term).await?;
                return Ok(Round::End);
            }
        };
        self.write(stored, next, term, action).await?;
        Ok(Round::Next)
    }

    fn is_first_state(&self, job: &Job) -> bool {
        job.stage == Stage::DeleteOnly
            || (job.stage == Stage::Publish && job.reorg.round == 0 && !job.is_reorg())
    }

    /// Makes one step: the action, the job's row and the schema version in one transaction.
    pub(super) async fn write(
        &self,
        stored: &Stored<Job>,
        next: Job,
        term: &OwnerTerm,
        action: Action,
    ) -> StepResult<Job> {
        let mut tries = 0;
        loop {
            tries += 1;
            match self.try_write(stored, next.clone(), term, action).await {
                Err(StepError::Failed(DdlError::Internal {
                    class: ErrorClass::Transient,
                    ..
                })) if tries < CONFLICT_TRIES => {
                    tokio::time::sleep(Duration::from_millis(tries as u64)).await;
                }
                result => return result,
            }
        }
    }

    async fn try_write(
        &self,
        stored: &Stored<Job>,
        mut job: Job,
        term: &OwnerTerm,
        action: Action,
    ) -> StepResult<Job> {
        crate::failpoint("ddl_before_step")?;
        let _versions = self.version_lock.lock().await;
        if action == Action::StartBuild {
            self.take_snapshot(&mut job).await?;
        }
        let mut txn = Transaction::begin(&self.store, TxnMode::Optimistic).await?;
        let mut step = Step::new(&mut txn, Names::new(&self.catalog), &mut job);
        let mut table = None;
        match action {
            Action::Begin => step.begin().await?,
            Action::Advance(state, stage) => {
                step.advance_indexes(state, stage).await?;
            }
            Action::StartBuild => {
                table = Some(
                    step.advance_indexes(SchemaState::WriteReorganization, Stage::Backfill)
                        .await?
                        .1,
                );
            }
            Action::StartFinish => table = Some(step.own_table().await?.1),
            Action::Touch(stage) => step.touch_table(stage).await?,
            Action::Publish => step.publish().await?,
            Action::Drop => step.drop_further().await?,
            Action::BeginRollback => step.begin_rollback().await?,
            Action::RollBack => step.roll_back_further().await?,
            Action::RollBackAtOnce => step.roll_back_at_once().await?,
            Action::JobOnly => {}
        }
        let version = step.finish().await?;
        if let Some((version, tables)) = version {
            job.last_schema_version = version;
            job.changed_tables = tables;
            job.skip_wait = action == Action::RollBackAtOnce;
        }
        if let Some(table) = table {
            match action {
                Action::StartBuild => self.submit_backfill(&mut txn, &mut job, table).await?,
                _ => self.submit_finish(&mut txn, &mut job, table).await?,
            }
        }
        if job.state.is_finished() && job.end_ts == Timestamp::ZERO {
            job.end_ts = txn.start_ts();
        }
        txn.put(stored.key.clone(), encode(&job)?, Check::None)?;
        self.commit(txn, stored, term).await?;
        self.tasks.wake();
        Ok(job)
    }

    /// Commits, if the job's row is still as read and the owner's term and the node's lease still hold.
    async fn commit(&self, mut txn: Transaction, stored: &Stored<Job>, term: &OwnerTerm) -> StepResult<()> {
        for condition in [stored.unchanged(), term.guard()] {
            txn.require(condition.key, condition.value);
        }
        txn.commit(self.catalog.commit_options()?).await?;
        crate::failpoint("ddl_after_step")?;
        Ok(())
    }

    /// Waits until every node has the job's last schema version, and every transaction that knew an older one is over.
    /// Whom it waits for is told meanwhile.
    async fn wait_synced(&self, job: &Job, live: &Live, interrupt: &CancellationToken) -> StepResult<()> {
        crate::failpoint("ddl_before_wait")?;
        let waited = self
            .catalog
            .wait_synced(
                job.id,
                job.last_schema_version,
                &job.changed_tables,
                interrupt,
                |blockers| {
                    live.status.lock().blockers = blockers;
                },
            )
            .await;
        live.status.lock().blockers.clear();
        match waited {
            Ok(()) => Ok(()),
            Err(_) if interrupt.is_cancelled() => Err(StepError::Interrupted),
            Err(error) => Err(error.into()),
        }
    }

    /// To the history, with everything the job leaves behind in rows of its own.
    async fn finish(&self, stored: &Stored<Job>, term: &OwnerTerm) -> StepResult<()> {
        crate::failpoint("ddl_before_finish")?;
        let mut job = stored.value.clone();
        if job.state == JobState::Done {
            job.state = JobState::Synced;
        }
        job.retry = None;
        if job.is_reorg() {
            self.store.release_gc_hold(&job.hold_id()).await?;
        }
        let mut txn = Transaction::begin(&self.store, TxnMode::Optimistic).await?;
        if job.is_reorg() {
            self.forget_tasks(&mut txn, &job).await?;
            txn.delete(storage_key(job.id), Check::None)?;
        }
        txn.delete(job_key(job.id), Check::None)?;
        txn.put(history_key(job.id), encode(&job)?, Check::None)?;
        self.commit(txn, stored, term).await?;
        tracing::info!(
            job = job.id,
            kind = job.kind.as_str(),
            state = job.state.as_str(),
            error = job.error.as_ref().map(tracing::field::display),
            "DDL job finished"
        );
        Ok(())
    }

    /// ADMIN PAUSE: stops the build where it is.
    async fn pause(&self, stored: &Stored<Job>, term: &OwnerTerm) -> StepResult<()> {
        for status in self.job_tasks(&stored.value).await? {
            if !status.task.state.is_final() && status.task.state != TaskState::Paused {
                let why = TaskError::new(ErrorClass::Cancelled, "the job was paused");
                self.tasks.pause(status.task.id, why, term).await?;
                // It stops within seconds; a stop of the server leaves the rest to the next owner.
                self.tasks.watch(status.task.id, &self.stop, |_| {}).await?;
            }
        }
        let mut next = stored.value.clone();
        next.state = JobState::Paused;
        next.retry = None;
        next.paused_ts = self.store.timestamp().await?;
        self.write(stored, next, term, Action::JobOnly).await?;
        Ok(())
    }

    /// A pause too long: what was built so far is dropped, and the build begins anew once it is resumed. What is in
    /// the index already does no harm: the next snapshot is newer than all of it.
    async fn give_up_snapshot(&self, stored: &Stored<Job>, term: &OwnerTerm) -> StepResult<()> {
        let job = &stored.value;
        if !self.pause_is_over(job, self.store.timestamp().await?) {
            return Ok(());
        }
        self.stop_tasks(job, term, &self.stop).await?;
        self.store.release_gc_hold(&job.hold_id()).await?;
        let mut next = job.clone();
        next.begin_anew();
        next.pause_reason = "the pause outlasted the snapshot: the build begins anew when resumed".into();
        self.write(stored, next, term, Action::JobOnly).await?;
        Ok(())
    }

    /// What to do about a step's error. False: leave the job alone for now.
    async fn failed(
        &self,
        stored: &Stored<Job>,
        term: &OwnerTerm,
        error: DdlError,
        failures: &mut Failures,
        interrupt: &CancellationToken,
    ) -> bool {
        let job = &stored.value;
        if self.stop.is_cancelled() {
            return false;
        }
        tracing::warn!(job = job.id, stage = ?job.stage, class = error.class().as_str(), %error, "a step of a DDL job failed");
        let reversible = !matches!(job.stage, Stage::Dropping | Stage::RollingBack | Stage::Finish)
            && !job.state.is_finished();
        let status = self.retry_status(&error, failures, !reversible).await;
        let (mut next, action) = (job.clone(), Action::JobOnly);
        next.error_count += 1;
        match status {
            // Kept in the job's row, if the store takes it just now.
            Some(status) => {
                let wait = status.next_try_ms.saturating_sub(failures.now_ms);
                next.retry = Some(status);
                drop(self.write(stored, next, term, action).await);
                tokio::select! {
                    biased;
                    _ = interrupt.cancelled() => {}
                    _ = tokio::time::sleep(Duration::from_millis(wait)) => {}
                    _ = self.stop.cancelled() => return false,
                }
                true
            }
            None => {
                *failures = Failures::default();
                match self.fail(stored, term, error).await {
                    Ok(()) | Err(StepError::Lost | StepError::Interrupted) => true,
                    Err(StepError::Failed(error)) => self.back_off(failures, &error, interrupt).await,
                }
            }
        }
    }

    /// The job has failed for good: straight to the history when nothing was done, else the way back.
    pub(super) async fn fail(
        &self,
        stored: &Stored<Job>,
        term: &OwnerTerm,
        error: DdlError,
    ) -> StepResult<()> {
        let mut next = stored.value.clone();
        next.error.get_or_insert(error);
        next.retry = None;
        let action = if next.stage == Stage::Begin {
            next.state = JobState::Cancelled;
            next.stage = Stage::Finish;
            Action::JobOnly
        } else {
            self.stop_tasks(&stored.value, term, &self.stop).await?;
            next.conflicts = self.collect_conflicts(&stored.value).await;
            Action::BeginRollback
        };
        self.write(stored, next, term, action).await.map(|_| ())
    }

    /// A failed attempt's status, if there is to be another. What cannot be undone is tried without end, but never in
    /// silence.
    async fn retry_status(
        &self,
        error: &DdlError,
        failures: &mut Failures,
        endless: bool,
    ) -> Option<ilmenite_task::RetryStatus> {
        let now_ms = failures.now_ms();
        failures.now_ms = now_ms;
        let mut shown = TaskError::new(error.class(), error.to_string());
        if endless {
            shown.class = ErrorClass::Transient;
        }
        let mut status = match self.retry.next(failures.last.as_ref(), &shown, now_ms) {
            Some(status) => status,
            None if endless => {
                // Past its bounds: on at the slowest pace.
                let (attempts, since_ms) = failures
                    .last
                    .as_ref()
                    .map_or((1, now_ms), |l| (l.attempts + 1, l.since_ms));
                let next_try_ms = now_ms + self.retry.delay_max.as_millis() as u64;
                ilmenite_task::RetryStatus {
                    error: shown,
                    attempts,
                    since_ms,
                    next_try_ms,
                }
            }
            None => return None,
        };
        status.error.class = error.class();
        failures.last = Some(status.clone());
        Some(status)
    }

    /// Waits after an error that nothing can be written about. False when stopped.
    async fn back_off(
        &self,
        failures: &mut Failures,
        error: &DdlError,
        interrupt: &CancellationToken,
    ) -> bool {
        tracing::warn!(%error, "the row of a DDL job could not be read or written");
        failures.unreadable += 1;
        let delay = Duration::from_millis(100).saturating_mul(1 << failures.unreadable.min(7));
        tokio::select! {
            biased;
            _ = self.stop.cancelled() => false,
            _ = interrupt.cancelled() => true,
            _ = tokio::time::sleep(delay) => true,
        }
    }

    /// A step panicked: a bug, and the end of this job, but of nothing else.
    pub(super) async fn panicked(&self, id: JobId, term: &OwnerTerm, panic: Box<dyn Any + Send>) {
        let text = panic
            .downcast_ref::<&str>()
            .map(|s| (*s).to_owned())
            .or_else(|| panic.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "no message".to_owned());
        tracing::error!(job = id, panic = text, "a step of a DDL job panicked");
        let Ok(Some(stored)) = self.rows.job(id).await else {
            return;
        };
        if matches!(
            stored.value.stage,
            Stage::Dropping | Stage::RollingBack | Stage::Finish
        ) {
            // Tried again by the next look at the queue, at the pace of its poll.
            tokio::time::sleep(self.poll).await;
            return;
        }
        if let Err(error) = self
            .fail(&stored, term, DdlError::bug(format!("panic: {text}")))
            .await
        {
            tracing::error!(job = id, ?error, "the failure could not be written");
        }
    }
}

enum Round {
    Next,
    End,
}

#[derive(Default)]
pub(super) struct Failures {
    last: Option<ilmenite_task::RetryStatus>,
    /// The time of day of the first of them, and when that was by a clock that nobody sets.
    first: Option<(u64, Instant)>,
    /// When the last of them was looked at.
    now_ms: u64,
    /// Reads or writes of the row itself that failed in a row.
    unreadable: u32,
}

impl Failures {
    /// The time of day, to which no setting of the clock adds and from which none takes: retries are bounded in time.
    fn now_ms(&mut self) -> u64 {
        let first = || (ambient::wall_ms(), Instant::now());
        let (wall_ms, at) = *self.first.get_or_insert_with(first);
        wall_ms + at.elapsed().as_millis() as u64
    }
}
