//! The worker: on the node that is owner, takes every job one step further, again and again, until it is in the history.
//!
//! One table's (or database's) jobs run in the order of their ids, those of different tables side by side. A step is
//! one transaction (`step`) that holds only while the owner's term lasts and the job's row is as it was read; after it
//! the worker waits until every node has the new schema version (`drive`). So any node can take over between any two
//! steps, and a late owner changes nothing. Woken when something happens here; a poll is the safety net for what
//! happens on other nodes.

mod build;
mod drive;
mod failing;
mod names;
mod outcome;
mod reap;
mod step;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use ilmenite_base::{Notifier, RetryPolicy};
use ilmenite_catalog::{Catalog, OwnerTerm, TableId, Topic};
use ilmenite_store::StoreRef;
use ilmenite_store::rows::Stored;
use ilmenite_task::Tasks;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::error::Result;
use crate::ids::JobId;
use crate::job::{Job, JobState, Rows, Stage};

/// Jobs that build no index, and jobs that do, at work at once.
const MAX_GENERAL_JOBS: usize = 10;
const MAX_REORG_JOBS: usize = 10;

/// What works on jobs on one node, and what its face shows of that.
pub(crate) struct Worker {
    pub store: StoreRef,
    pub catalog: Arc<Catalog>,
    pub tasks: Arc<Tasks>,
    pub backfill: Arc<crate::backfill::Backfill>,
    pub rows: Rows,
    pub retry: RetryPolicy,
    pub poll: Duration,
    /// How long a paused build keeps its snapshot, and garbage collection held at it.
    pub pause_hold: Duration,
    /// Rings when jobs were changed on this node: dispatch and waiters look again.
    pub changed: Notifier,
    pub stop: CancellationToken,
    /// Jobs at work on this node.
    pub live: Mutex<BTreeMap<JobId, Arc<Live>>>,
    /// For each table the version of it (`update_ts`) that is known to be everywhere.
    pub synced: Mutex<BTreeMap<TableId, u64>>,
    /// Schema versions are given out one at a time: jobs of different tables queue here instead of colliding there.
    pub version_lock: tokio::sync::Mutex<()>,
}

/// A job at work on this node.
#[derive(Default)]
pub(crate) struct Live {
    interrupt: Mutex<CancellationToken>,
    pub status: Mutex<LiveStatus>,
}

/// What only the node that works on a job knows of it at this moment.
#[derive(Debug, Clone, Default)]
pub(crate) struct LiveStatus {
    /// The state in which the driver found the job's row last.
    pub seen: JobState,
    /// Whom the job's wait is for.
    pub blockers: Vec<ilmenite_catalog::Blocker>,
    /// The highest percentage shown so far: progress never goes back.
    pub percent: f64,
}

impl Live {
    /// Makes the driver look at the job's row again, whatever it waits for.
    pub(crate) fn interrupt(&self) {
        self.interrupt.lock().cancel();
    }

    /// A token for the waits of the next round. Taken before the row is read, so that no interrupt is missed.
    fn arm(&self) -> CancellationToken {
        let token = CancellationToken::new();
        *self.interrupt.lock() = token.clone();
        token
    }
}

impl Worker {
    pub(crate) fn notify(&self) {
        self.changed.notify();
        self.catalog.wake_others(Topic::Jobs);
    }

    pub(crate) fn interrupt(&self, id: JobId) {
        if let Some(live) = self.live.lock().get(&id) {
            live.interrupt();
        }
        self.notify();
    }

    /// Runs until stopped: dispatches while this node is the owner.
    pub(crate) async fn run(self: Arc<Self>) {
        let mut changed = self.changed.subscribe();
        let mut owner = self.catalog.owner_changed();
        loop {
            changed.mark_seen();
            if let Some(term) = self.catalog.owner_term()
                && let Err(error) = self.dispatch(&term).await
            {
                tracing::warn!(%error, "the queue of DDL jobs could not be read");
            }
            tokio::select! {
                biased;
                _ = self.stop.cancelled() => return,
                _ = changed.notified() => {}
                _ = owner.notified() => {}
                _ = tokio::time::sleep(self.poll) => {}
            }
        }
    }

    /// Starts every job that may run now.
    async fn dispatch(self: &Arc<Self>, term: &OwnerTerm) -> Result<()> {
        let jobs = self.rows.jobs().await?;
        let now = self.store.timestamp().await?;
        let mut running: BTreeSet<JobId> = self.live.lock().keys().copied().collect();
        for (at, stored) in jobs.iter().enumerate() {
            let job = &stored.value;
            if running.contains(&job.id) {
                // Told on another node, perhaps. Its driver is interrupted once: while it does what it was told, it may
                // have to wait before it tries again.
                if matches!(job.state, JobState::Cancelling | JobState::Pausing) {
                    self.interrupt_unless_seen(job.id, job.state);
                }
                continue;
            }
            if job.state == JobState::Paused && !self.pause_is_over(job, now) {
                continue;
            }
            // A queued job that is to be cancelled or paused touches nothing but its own row.
            let untouched =
                job.stage == Stage::Begin && matches!(job.state, JobState::Cancelling | JobState::Pausing);
            if !untouched {
                if jobs[..at].iter().any(|earlier| earlier.value.conflicts_with(job)) {
                    continue;
                }
                // What is on its way out frees what others wait for: it needs no room of its own.
                let leaves = matches!(
                    job.state,
                    JobState::Cancelling | JobState::Pausing | JobState::RollingBack
                );
                let (max, same_pool) = if job.is_reorg() {
                    (MAX_REORG_JOBS, true)
                } else {
                    (MAX_GENERAL_JOBS, false)
                };
                let in_pool =
                    |s: &&Stored<Job>| running.contains(&s.value.id) && s.value.is_reorg() == same_pool;
                if !leaves && jobs.iter().filter(in_pool).count() >= max {
                    continue;
                }
            }
            running.insert(job.id);
            self.start(job.id, term.clone(), untouched);
        }
        Ok(())
    }

    fn interrupt_unless_seen(&self, id: JobId, state: JobState) {
        if let Some(live) = self.live.lock().get(&id)
            && live.status.lock().seen != state
        {
            live.interrupt();
        }
    }

    /// A build paused so long that its snapshot is given up.
    fn pause_is_over(&self, job: &Job, now: ilmenite_store::Timestamp) -> bool {
        job.snapshot.0 != 0 && job.paused_ts.0 != 0 && job.paused_ts.plus(self.pause_hold) < now
    }

    /// `untouched`: out of turn, for what concerns nothing but its own row.
    fn start(self: &Arc<Self>, id: JobId, term: OwnerTerm, untouched: bool) {
        let live = Arc::new(Live::default());
        self.live.lock().insert(id, live.clone());
        let worker = self.clone();
        tokio::spawn(async move {
            let driver = worker.clone();
            // A task of its own, so that a panic ends this job's step and nothing else.
            let driven = {
                let term = term.clone();
                tokio::spawn(async move { driver.drive(id, term, &live, untouched).await }).await
            };
            if let Err(error) = driven
                && error.is_panic()
            {
                worker.panicked(id, &term, error.into_panic()).await;
            }
            worker.live.lock().remove(&id);
            worker.notify();
        });
    }
}
