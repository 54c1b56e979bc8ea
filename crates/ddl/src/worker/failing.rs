//! What becomes of a step that fails: another attempt within bounds, or the way back.

use std::any::Any;
use std::time::Duration;

use ilmenite_base::{ErrorClass, RetryPolicy, clock};
use ilmenite_catalog::OwnerTerm;
use ilmenite_store::rows::Stored;
use ilmenite_task::{RetryStatus, TaskError, next_retry};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Worker;
use super::outcome::{Action, StepError, StepResult};
use crate::error::DdlError;
use crate::ids::JobId;
use crate::job::{Job, JobState, Stage};

/// Between looks at a row that cannot be read or written: the job is there until it can.
const UNREADABLE: RetryPolicy =
    RetryPolicy::endless(Duration::from_millis(200), Duration::from_millis(12_800));

impl Worker {
    /// What to do about a step's error. False: leave the job alone for now.
    pub(super) async fn failed(
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
            None => self.give_up(stored, term, error, failures, interrupt).await,
        }
    }

    /// No further attempt: the way back, or to the history. False when stopped.
    pub(super) async fn give_up(
        &self,
        stored: &Stored<Job>,
        term: &OwnerTerm,
        error: DdlError,
        failures: &mut Failures,
        interrupt: &CancellationToken,
    ) -> bool {
        match self.fail(stored, term, error).await {
            Ok(()) | Err(StepError::Lost | StepError::Interrupted) => {
                *failures = Failures::default();
                true
            }
            Err(StepError::Failed(error) | StepError::Final(error)) => {
                self.back_off(failures, &error, interrupt).await
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
        // Whatever kept it from being cancelled: it goes back, and that is what was asked for.
        let cancelled = next.state == JobState::Cancelling;
        let why = next
            .error
            .get_or_insert(if cancelled { DdlError::JobCancelled } else { error })
            .clone();
        next.retry = None;
        let action = if next.stage == Stage::Begin {
            next.state = JobState::Cancelled;
            next.stage = Stage::Finish;
            Action::JobOnly
        } else {
            self.stop_tasks(&stored.value, &why, term, &self.stop).await?;
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
    ) -> Option<RetryStatus> {
        let now_ms = failures.now_ms();
        failures.now_ms = now_ms;
        let mut shown = TaskError::new(error.class(), error.to_string());
        if endless {
            shown.class = ErrorClass::Transient;
        }
        let mut status = match next_retry(&self.retry, failures.last.as_ref(), &shown, now_ms) {
            Some(status) => status,
            None if endless => {
                // Past its bounds: on at the slowest pace.
                let (attempts, since_ms) = failures
                    .last
                    .as_ref()
                    .map_or((1, now_ms), |l| (l.attempts + 1, l.since_ms));
                let next_try_ms = now_ms + self.retry.max_delay.as_millis() as u64;
                RetryStatus {
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
    pub(super) async fn back_off(
        &self,
        failures: &mut Failures,
        error: &DdlError,
        interrupt: &CancellationToken,
    ) -> bool {
        tracing::warn!(%error, "the row of a DDL job could not be read or written");
        failures.unreadable += 1;
        let delay = UNREADABLE.delay(failures.unreadable);
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

#[derive(Default)]
pub(super) struct Failures {
    last: Option<RetryStatus>,
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
        let first = || (clock::wall_ms(), Instant::now());
        let (wall_ms, at) = *self.first.get_or_insert_with(first);
        wall_ms + at.elapsed().as_millis() as u64
    }
}
