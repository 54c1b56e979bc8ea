//! One job from wherever it stands to the history.

use std::time::Duration;

use ilmenite_base::{ErrorClass, RetryPolicy};
use ilmenite_catalog::{OwnerTerm, SchemaState, SchemaVersion, TableId};
use ilmenite_store::rows::{Stored, encode};
use ilmenite_store::{Check, Timestamp, Transaction, TxnMode};
use ilmenite_task::{TaskError, TaskState};
use tokio_util::sync::CancellationToken;

use super::failing::Failures;
use super::names::Names;
use super::outcome::{Action, StepError, StepResult};
use super::step::Step;
use super::{Live, Worker};
use crate::error::DdlError;
use crate::ids::JobId;
use crate::job::{Job, JobState, Stage, history_key, job_key, storage_key};

/// How often a step whose transaction met another one is made again before that counts as a failure.
const CONFLICT: RetryPolicy = RetryPolicy {
    max_attempts: 20,
    max_elapsed: Duration::from_secs(60),
    base_delay: Duration::from_millis(1),
    max_delay: Duration::from_millis(20),
};
/// Before looking again at a row that somebody else changed.
const LOST_PAUSE: Duration = Duration::from_millis(5);

impl Worker {
    /// `untouched`: begun before its turn, to be paused or cancelled as long as it has not begun.
    pub(super) async fn drive(&self, id: JobId, term: OwnerTerm, live: &Live, untouched: bool) {
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
            let job = &stored.value;
            live.status.lock().seen = job.state;
            if untouched
                && job.stage == Stage::Begin
                && !matches!(job.state, JobState::Cancelling | JobState::Pausing)
            {
                // Resumed meanwhile: it has to wait for its turn like any other.
                return;
            }
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
                Err(StepError::Final(error)) => {
                    if !self
                        .give_up(&stored, &term, error, &mut failures, &interrupt)
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
        if job.state == JobState::Queueing && job.stage != Stage::Begin {
            // Resumed: it says so before it waits for anything.
            let mut next = job.clone();
            next.state = JobState::Running;
            self.write(stored, next, term, Action::JobOnly).await?;
            return Ok(Round::Next);
        }
        if job.last_schema_version > *waited_for && !job.skip_wait {
            self.wait_synced(job, job.last_schema_version, &job.changed_tables, live, interrupt)
                .await?;
            *waited_for = job.last_schema_version;
        }
        if job.state == JobState::Cancelling {
            let mut next = job.clone();
            next.error.get_or_insert(DdlError::JobCancelled);
            self.stop_tasks(job, &DdlError::JobCancelled, term, interrupt)
                .await?;
            self.write(stored, next, term, Action::BeginRollback).await?;
            return Ok(Round::Next);
        }
        let mut next = job.clone();
        next.retry = None;
        if next.real_start_ts.0 == 0 {
            next.real_start_ts = self.store.timestamp().await?;
        }
        let action = match job.stage {
            Stage::Begin => {
                self.wait_for_earlier(job, live, interrupt).await?;
                Action::Begin
            }
            Stage::DeleteOnly => Action::Advance(SchemaState::WriteOnly, Stage::WriteOnly),
            Stage::WriteOnly => {
                self.stop_earlier_rounds(job, term, interrupt).await?;
                Action::StartBuild
            }
            Stage::Backfill => self.watch_backfill(stored, &mut next, term, interrupt).await?,
            Stage::Barrier => Action::Touch(Stage::Reconcile),
            Stage::Reconcile => Action::StartFinish,
            Stage::Verify => self.watch_finish(stored, &mut next, term, interrupt).await?,
            Stage::Publish => Action::Publish,
            Stage::Dropping => Action::Drop,
            Stage::RollingBack => {
                let why = job.error.as_ref().unwrap_or(&DdlError::JobCancelled);
                self.stop_tasks(job, why, term, interrupt).await?;
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
        let mut attempts = CONFLICT.begin();
        loop {
            match self.try_write(stored, next.clone(), term, action).await {
                Err(StepError::Failed(error)) if error.class() == ErrorClass::Transient => {
                    if !attempts.again().await {
                        return Err(StepError::Failed(error));
                    }
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
        crate::failpoint("ddl::step::before")?;
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
        let committed = txn.commit(self.catalog.commit_options()?).await;
        if matches!(committed, Err(ilmenite_store::Error::CommitTooLate { .. })) {
            self.catalog.lease_refused();
        }
        committed?;
        crate::failpoint("ddl::step::after")?;
        Ok(())
    }

    /// Waits until every node has the job's last schema version, and every transaction that knew an older one is over.
    /// Whom it waits for is told meanwhile.
    async fn wait_synced(
        &self,
        job: &Job,
        version: SchemaVersion,
        tables: &[TableId],
        live: &Live,
        interrupt: &CancellationToken,
    ) -> StepResult<()> {
        crate::failpoint("ddl::wait::before")?;
        let waited = self
            .catalog
            .wait_synced(job.id, version, tables, interrupt, |blockers| {
                live.status.lock().blockers = blockers;
            })
            .await;
        live.status.lock().blockers.clear();
        match waited {
            Ok(()) => {
                // Nobody but this job changes them meanwhile.
                let view = self.catalog.view();
                let mut synced = self.synced.lock();
                for table in tables {
                    match view.table_by_id(*table) {
                        Some(info) => synced.insert(*table, info.update_ts),
                        None => synced.remove(table),
                    };
                }
                Ok(())
            }
            Err(_) if interrupt.is_cancelled() => Err(StepError::Interrupted),
            Err(error) => Err(error.into()),
        }
    }

    /// What the job is about may have a version that was not waited for: that of a job that was cancelled in its first
    /// state and went back at once (`skip_wait`). Another change on top of it, and nodes would be two versions apart.
    async fn wait_for_earlier(
        &self,
        job: &Job,
        live: &Live,
        interrupt: &CancellationToken,
    ) -> StepResult<()> {
        self.catalog.refresh().await?;
        let view = self.catalog.view();
        let mut tables = Vec::new();
        for involved in &job.involving {
            match &involved.table {
                Some(name) => tables.extend(view.table(&involved.schema, name)),
                None => tables.extend(view.tables(&involved.schema)),
            }
        }
        let unknown: Vec<TableId> = {
            let synced = self.synced.lock();
            let of = tables
                .iter()
                .filter(|table| synced.get(&table.id) != Some(&table.update_ts));
            of.map(|table| table.id).collect()
        };
        if unknown.is_empty() {
            return Ok(());
        }
        self.wait_synced(job, view.version(), &unknown, live, interrupt)
            .await
    }

    /// To the history, with everything the job leaves behind in rows of its own.
    async fn finish(&self, stored: &Stored<Job>, term: &OwnerTerm) -> StepResult<()> {
        crate::failpoint("ddl::finish::before")?;
        let mut job = stored.value.clone();
        if job.state == JobState::Done {
            job.state = JobState::Synced;
        }
        job.retry = None;
        if job.is_reorg() {
            self.release_holds(&job, None).await?;
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
                match self.tasks.pause(status.task.id, why, term).await {
                    Ok(()) => {}
                    // It is failing already. That counts for more: the job goes on, to its rollback.
                    Err(ilmenite_task::Error::InvalidState { .. }) => {
                        let mut next = stored.value.clone();
                        next.state = JobState::Running;
                        next.pause_reason.clear();
                        self.write(stored, next, term, Action::JobOnly).await?;
                        return Ok(());
                    }
                    Err(error) => return Err(error.into()),
                }
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
        let mut next = job.clone();
        next.begin_anew();
        next.pause_reason = "the pause outlasted the snapshot: the build begins anew when resumed".into();
        let given_up = self.write(stored, next, term, Action::JobOnly).await?;
        // Only now: had the job been resumed meanwhile, the write was refused, and task and snapshot are needed. Should this
        // not come to its end, the next round does it.
        self.stop_earlier_rounds(&given_up, term, &self.stop).await?;
        self.release_holds(&given_up, None).await
    }
}

enum Round {
    Next,
    End,
}
