//! The crate's face: submit a schema change, wait for it, steer it, look at it.

use std::sync::Arc;
use std::time::Duration;

use ilmenite_base::{ErrorClass, RetryPolicy};
use ilmenite_catalog::{Catalog, Meta, Topic};
use ilmenite_store::rows::encode;
use ilmenite_store::{Check, StoreRef, Timestamp, Transaction, TxnMode};
use ilmenite_task::{TaskKind, Tasks};
use tokio_util::sync::CancellationToken;

use crate::backfill::{Backfill, BackfillKind, FinishKind, StorageAt};
use crate::error::{DdlError, Result};
use crate::ids::JobId;
use crate::job::{Job, JobState, Rows, Stage, job_key, storage_key};
use crate::statement::{JobChange, JobOutcome, JobRequest};
use crate::worker::Worker;

/// How often a submission or a command is tried again when somebody else gets in between.
const CHANGE: RetryPolicy = RetryPolicy {
    max_attempts: 50,
    max_elapsed: Duration::from_secs(60),
    base_delay: Duration::from_millis(1),
    max_delay: Duration::from_millis(50),
};
/// How often a submission of unknown outcome is looked for.
const FIND: RetryPolicy = RetryPolicy {
    max_attempts: 8,
    max_elapsed: Duration::from_secs(60),
    base_delay: Duration::from_millis(40),
    max_delay: Duration::from_secs(5),
};

/// The kinds of task that `Tasks` must know before `Ddl` starts.
pub fn task_kinds(backfill: &Arc<Backfill>) -> Vec<Arc<dyn TaskKind>> {
    vec![
        Arc::new(BackfillKind(backfill.clone())),
        Arc::new(FinishKind(backfill.clone())),
    ]
}

pub struct DdlConfig {
    pub store: StoreRef,
    pub catalog: Arc<Catalog>,
    pub tasks: Arc<Tasks>,
    pub backfill: Arc<Backfill>,
    /// For the steps of jobs; subtasks have their own.
    pub retry: RetryPolicy,
    /// The safety net below waking.
    pub poll: Duration,
    /// How long a paused build keeps its snapshot before it has to begin anew.
    pub pause_hold: Duration,
}

/// Schema changes on one node.
pub struct Ddl {
    pub(crate) worker: Arc<Worker>,
}

impl Ddl {
    pub fn start(config: DdlConfig) -> Arc<Ddl> {
        let worker = Arc::new(Worker {
            changed: config.catalog.notifier(Topic::Jobs),
            rows: Rows {
                store: config.store.clone(),
            },
            store: config.store,
            catalog: config.catalog,
            tasks: config.tasks,
            backfill: config.backfill,
            retry: config.retry,
            poll: config.poll,
            pause_hold: config.pause_hold,
            stop: CancellationToken::new(),
            live: Default::default(),
            synced: Default::default(),
            version_lock: Default::default(),
        });
        tokio::spawn(worker.clone().run());
        tokio::spawn(worker.clone().run_reaper());
        tokio::spawn(worker.clone().run_sweeper());
        Arc::new(Ddl { worker })
    }

    /// Stops working on jobs; where each stands is in the store. Waits for steps under way, at most `timeout`.
    pub async fn shutdown(&self, timeout: Duration) {
        self.worker.stop.cancel();
        let deadline = tokio::time::Instant::now() + timeout;
        while !self.worker.live.lock().is_empty() && tokio::time::Instant::now() < deadline {
            for live in self.worker.live.lock().values() {
                live.interrupt();
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Queues a schema change. It goes on by itself from here, whatever becomes of the caller.
    pub async fn submit(&self, request: JobRequest) -> Result<JobId> {
        let mut attempts = CHANGE.begin();
        loop {
            match self.try_submit(&request).await {
                Ok(id) => {
                    self.worker.notify();
                    return Ok(id);
                }
                Err(error) if error.class() != ErrorClass::Transient => return Err(error),
                Err(error) if !attempts.again().await => return Err(error),
                Err(_) => {}
            }
        }
    }

    async fn try_submit(&self, request: &JobRequest) -> Result<JobId> {
        crate::failpoint("ddl::submit::before")?;
        let mut txn = Transaction::begin(&self.worker.store, TxnMode::Optimistic).await?;
        let id = Meta::new(&mut txn).alloc_global_ids(1).await?;
        let settings = &request.settings;
        let job = Job::new(
            id,
            request.statement.clone(),
            request.query.clone(),
            settings,
            txn.start_ts(),
        );
        txn.put(job_key(id), encode(&job)?, Check::None)?;
        if job.is_reorg() && !settings.cloud_storage_uri.is_empty() {
            txn.put(storage_key(id), settings.cloud_storage_uri.clone(), Check::None)?;
        }
        let start_ts = txn.start_ts();
        match txn.commit(self.worker.catalog.commit_options()?).await {
            Ok(_) => Ok(id),
            Err(ilmenite_store::Error::CommitTooLate { .. }) => {
                self.worker.catalog.lease_refused();
                Err(ilmenite_catalog::Error::LeaseLost.into())
            }
            Err(ilmenite_store::Error::Undetermined(text)) => self.find_submitted(id, start_ts, text).await,
            Err(error) => Err(error.into()),
        }
    }

    /// The submission's outcome is unknown: submitted again it might run twice. Ended first, so that it takes no effect
    /// later, it is there or it is not.
    async fn find_submitted(&self, id: JobId, start_ts: Timestamp, text: String) -> Result<JobId> {
        let mut attempts = FIND.begin();
        loop {
            let found = async {
                self.worker.store.unlock(start_ts, None).await?;
                let live = self.worker.rows.job(id).await?.is_some();
                Result::<bool>::Ok(live || self.worker.rows.history(id).await?.is_some())
            };
            match found.await {
                Ok(true) => return Ok(id),
                Ok(false) => {
                    let message = format!("the job was not submitted: {text}");
                    let class = ErrorClass::Transient;
                    return Err(DdlError::Internal { class, message });
                }
                Err(error) if error.class() != ErrorClass::Transient => return Err(error),
                Err(_) if attempts.again().await => {}
                Err(_) => {
                    let message = format!("whether job {id} was submitted is not known: {text}");
                    return Err(DdlError::permanent(message));
                }
            }
        }
    }

    /// Waits until the job is over. When `cancel` fires first the job goes on, and the error names it.
    pub async fn wait(&self, id: JobId, cancel: &CancellationToken) -> Result<JobOutcome> {
        let mut changed = self.worker.changed.subscribe();
        loop {
            changed.mark_seen();
            if let Some(job) = self.worker.rows.history(id).await? {
                return outcome(job);
            }
            if self.worker.rows.job(id).await?.is_none() && self.worker.rows.history(id).await?.is_none() {
                return Err(DdlError::JobNotFound { id });
            }
            tokio::select! {
                biased;
                _ = cancel.cancelled() => return Err(DdlError::Detached { id }),
                _ = self.worker.stop.cancelled() => return Err(DdlError::Detached { id }),
                _ = changed.notified() => {}
                _ = tokio::time::sleep(self.worker.poll) => {}
            }
        }
    }

    /// `submit` and `wait`.
    pub async fn run(&self, request: JobRequest, cancel: &CancellationToken) -> Result<JobOutcome> {
        let id = self.submit(request).await?;
        self.wait(id, cancel).await
    }

    /// ADMIN CANCEL DDL JOBS.
    pub async fn cancel(&self, ids: &[JobId]) -> Vec<(JobId, Result<()>)> {
        let shows = |state| {
            use JobState::*;
            matches!(state, Cancelling | RollingBack | Cancelled | RollbackDone)
        };
        self.each(ids, shows, |job| match job.state {
            JobState::Cancelling | JobState::RollingBack => Err(DdlError::CannotCancel { id: job.id }),
            _ if matches!(job.stage, Stage::Dropping | Stage::RollingBack | Stage::Finish) => {
                Err(DdlError::CannotCancel { id: job.id })
            }
            _ => {
                job.state = JobState::Cancelling;
                job.pause_reason.clear();
                Ok(())
            }
        })
        .await
    }

    /// ADMIN PAUSE DDL JOBS.
    pub async fn pause(&self, ids: &[JobId]) -> Vec<(JobId, Result<()>)> {
        let shows = |state| matches!(state, JobState::Pausing | JobState::Paused);
        self.each(ids, shows, |job| match job.state {
            JobState::Paused | JobState::Pausing => Err(DdlError::AlreadyPaused { id: job.id }),
            JobState::Queueing | JobState::Running
                if !matches!(job.stage, Stage::Dropping | Stage::RollingBack | Stage::Finish) =>
            {
                job.state = JobState::Pausing;
                job.pause_reason = "paused by ADMIN PAUSE DDL JOBS".into();
                Ok(())
            }
            state => Err(DdlError::CannotPause {
                id: job.id,
                reason: format!("state is {}", state.as_str()),
            }),
        })
        .await
    }

    /// ADMIN RESUME DDL JOBS.
    pub async fn resume(&self, ids: &[JobId]) -> Vec<(JobId, Result<()>)> {
        let shows = |state| matches!(state, JobState::Queueing | JobState::Running);
        self.each(ids, shows, |job| match job.state {
            JobState::Paused => {
                job.state = JobState::Queueing;
                job.pause_reason.clear();
                job.paused_ts = Default::default();
                Ok(())
            }
            state => Err(DdlError::CannotResume {
                id: job.id,
                reason: format!("state is {}", state.as_str()),
            }),
        })
        .await
    }

    /// ADMIN ALTER DDL JOBS: takes effect within a second.
    pub async fn alter(&self, id: JobId, change: JobChange) -> Result<()> {
        let results = self
            // Twice is once.
            .each(
                &[id],
                |_| false,
                |job| {
                    if !job.is_reorg() || job.stage == Stage::Finish {
                        let reason = "only running builds of indexes can be altered".into();
                        return Err(DdlError::CannotAlter { id: job.id, reason });
                    }
                    job.reorg.concurrency = change.concurrency.unwrap_or(job.reorg.concurrency);
                    job.reorg.batch_size = change.batch_size.unwrap_or(job.reorg.batch_size);
                    job.reorg.max_write_speed =
                        change.max_write_speed_bytes.unwrap_or(job.reorg.max_write_speed);
                    Ok(())
                },
            )
            .await;
        results.into_iter().try_for_each(|(_, result)| result)
    }

    async fn each(
        &self,
        ids: &[JobId],
        shows: impl Fn(JobState) -> bool,
        edit: impl Fn(&mut Job) -> Result<()>,
    ) -> Vec<(JobId, Result<()>)> {
        let mut results = Vec::with_capacity(ids.len());
        for &id in ids {
            results.push((id, self.change(id, &shows, &edit).await));
            self.worker.interrupt(id);
        }
        results
    }

    /// A write that failed for a moment may have taken effect all the same: then the job's state `shows` it.
    async fn change(
        &self,
        id: JobId,
        shows: &impl Fn(JobState) -> bool,
        edit: &impl Fn(&mut Job) -> Result<()>,
    ) -> Result<()> {
        let mut attempts = CHANGE.begin();
        let mut failure: Option<DdlError> = None;
        loop {
            let Some(stored) = self.worker.rows.job(id).await? else {
                return match self.worker.rows.history(id).await? {
                    Some(job) if failure.is_some() && shows(job.state) => Ok(()),
                    Some(_) => Err(DdlError::CancelFinished { id }),
                    None => Err(DdlError::JobNotFound { id }),
                };
            };
            if failure.is_some() && shows(stored.value.state) {
                return Ok(());
            }
            let mut next = stored.value.clone();
            edit(&mut next)?;
            let options = self.worker.catalog.commit_options()?;
            match self.worker.rows.replace(&stored, &next, options).await {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(error) if error.class() == ErrorClass::Transient => failure = Some(error),
                Err(error) => return Err(error),
            }
            if !attempts.again().await {
                return Err(failure.unwrap_or_else(|| DdlError::Internal {
                    class: ErrorClass::Transient,
                    message: format!("job {id} changes too often to be changed"),
                }));
            }
        }
    }

    /// Deletes objects of this cluster under a storage URI that no live task owns. Returns their number.
    pub async fn scrub_storage(&self, uri: &str) -> Result<u64> {
        self.worker
            .scrub_storage(&self.worker.backfill.open_storage(StorageAt::Uri(uri))?)
            .await
    }
}

impl Drop for Ddl {
    fn drop(&mut self) {
        self.worker.stop.cancel();
    }
}

fn outcome(job: Job) -> Result<JobOutcome> {
    match job.error {
        Some(error) if job.state != JobState::Synced => Err(error),
        _ => Ok(JobOutcome {
            job_id: job.id,
            warnings: job.warnings,
            schema_version: job.last_schema_version,
        }),
    }
}
