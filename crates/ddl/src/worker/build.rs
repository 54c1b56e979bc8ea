//! The worker's side of an index build: its tasks put down, watched, stopped and forgotten.

use std::time::Duration;

use ilmenite_base::ErrorClass;
use ilmenite_catalog::{OwnerTerm, TableInfo};
use ilmenite_store::rows::{Stored, encode};
use ilmenite_store::{Check, EntryDigest, GcHold, Timestamp, Transaction};
use ilmenite_task::{Task, TaskError, TaskSpec, TaskState, TaskStatus};
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;

use super::Worker;
use super::outcome::{Action, StepError, StepResult};
use crate::backfill::meta::{
    BACKFILL_KIND, BuildFailure, BuildMeta, FINISH_KIND, FinishOutput, INGEST_STEP, IngestOutput, READ_STEP,
    ReadOutput, VERIFY_STEP, parse, value,
};
use crate::error::DdlError;
use crate::job::{Conflict, Job, JobState, Stage, Sweep, hold_job, hold_prefix, sweep_key};
use crate::statement::Verify;

/// How often to look whether the node a task depends on is still there.
const LOOK_AT_NODES: Duration = Duration::from_secs(1);

impl Worker {
    /// The timestamp the build reads and ingests at. Write-only holds everywhere, so every later commit keeps the
    /// index up by itself. Versions are held from now on: what DML deletes meanwhile must stay to hide what is ingested.
    pub(super) async fn take_snapshot(&self, job: &mut Job) -> StepResult<()> {
        job.snapshot = self.store.timestamp().await?;
        let (id, ts) = (job.hold_id(), job.snapshot);
        let held = self.store.set_gc_hold(GcHold { id, ts }).await;
        let safe_point = self.store.gc_safe_point().await?;
        match held {
            // A long sleep in between: the hold came too late. The next attempt takes another snapshot.
            Ok(()) | Err(ilmenite_store::Error::SnapshotTooOld { .. }) if safe_point > ts => {
                let message = format!("garbage collection got ahead of the snapshot {ts}, to {safe_point}");
                let class = ErrorClass::Transient;
                Err(DdlError::Internal { class, message }.into())
            }
            held => Ok(held?),
        }
    }

    /// Lets garbage collection go on from every snapshot of the job, but the one at `kept`.
    pub(super) async fn release_holds(&self, job: &Job, kept: Option<Timestamp>) -> StepResult<()> {
        let kept = kept.map(|snapshot| format!("{}{snapshot}", hold_prefix(job.id)));
        for hold in self.store.gc_holds().await? {
            if hold_job(&hold.id) == Some(job.id) && Some(&hold.id) != kept.as_ref() {
                self.store.release_gc_hold(&hold.id).await?;
            }
        }
        Ok(())
    }

    fn build_meta(&self, job: &Job, table: TableInfo) -> StepResult<serde_json::Value> {
        let meta = BuildMeta {
            job_id: job.id,
            index_ids: job.subjobs.iter().filter_map(|s| s.added_index()).collect(),
            table,
            snapshot: job.snapshot,
            use_cloud_storage: job.reorg.use_cloud_storage,
            verify: job.reorg.verify,
        };
        Ok(value(&meta)?)
    }

    pub(super) async fn submit_backfill(
        &self,
        txn: &mut Transaction,
        job: &mut Job,
        table: TableInfo,
    ) -> StepResult<()> {
        // Runs on a disk of this node are out of the others' reach.
        let only_at = (!job.reorg.use_cloud_storage && !self.catalog.local_id().is_empty())
            .then(|| self.catalog.local_id().to_owned());
        self.submit(txn, job, table, job.backfill_key(), BACKFILL_KIND, only_at)
            .await
    }

    pub(super) async fn submit_finish(
        &self,
        txn: &mut Transaction,
        job: &mut Job,
        table: TableInfo,
    ) -> StepResult<()> {
        job.stage = Stage::Verify;
        self.submit(txn, job, table, job.finish_key(), FINISH_KIND, None)
            .await
    }

    async fn submit(
        &self,
        txn: &mut Transaction,
        job: &Job,
        table: TableInfo,
        key: String,
        kind: &str,
        only_at: Option<String>,
    ) -> StepResult<()> {
        let spec = TaskSpec {
            key,
            kind: kind.to_owned(),
            meta: self.build_meta(job, table)?,
            concurrency: job.reorg.concurrency,
            service_scope: job.reorg.target_scope.clone(),
            only_at,
        };
        self.tasks.put(txn, spec).await.map_err(DdlError::from)?;
        Ok(())
    }

    /// Ends what an earlier round of the build has left.
    pub(super) async fn stop_earlier_rounds(
        &self,
        job: &Job,
        term: &OwnerTerm,
        interrupt: &CancellationToken,
    ) -> StepResult<()> {
        if job.reorg.round == 0 {
            return Ok(());
        }
        let why = DdlError::Internal {
            class: ErrorClass::Cancelled,
            message: "the build begins anew".into(),
        };
        self.stop_tasks(job, &why, term, interrupt).await
    }

    /// The job's tasks of all rounds that still have rows.
    pub(super) async fn job_tasks(&self, job: &Job) -> StepResult<Vec<TaskStatus>> {
        let mut tasks = Vec::new();
        for round in 0..=job.reorg.round {
            let mut of_round = job.clone();
            of_round.reorg.round = round;
            for key in [of_round.backfill_key(), of_round.finish_key()] {
                tasks.extend(self.tasks.get_by_key(&key).await.map_err(DdlError::from)?);
            }
        }
        Ok(tasks)
    }

    /// Ends the job's tasks, and waits until nothing of them is at work any more, anywhere. They keep `why`: should the
    /// job's row not get to know of it, it ends for the same reason as soon as it looks for them.
    pub(super) async fn stop_tasks(
        &self,
        job: &Job,
        why: &DdlError,
        term: &OwnerTerm,
        interrupt: &CancellationToken,
    ) -> StepResult<()> {
        if !job.is_reorg() {
            return Ok(());
        }
        for status in self.job_tasks(job).await? {
            if !status.task.state.is_final() {
                let why = TaskError::from(why.clone());
                self.tasks.cancel(status.task.id, why, term).await?;
            }
            let mut id = Some(status.task.id);
            while let Some(task) = id {
                match self.tasks.watch(task, interrupt, |_| {}).await {
                    Ok(task) if task.state.is_final() => id = None,
                    // Paused a moment before it was cancelled.
                    Ok(_) => self.notify(),
                    Err(ilmenite_task::Error::NotFound(_)) => id = None,
                    Err(_) if interrupt.is_cancelled() => return Err(StepError::Interrupted),
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(())
    }

    pub(super) async fn forget_tasks(&self, txn: &mut Transaction, job: &Job) -> StepResult<()> {
        let uri = match job.reorg.use_cloud_storage {
            true => self.rows.storage_uri(job.id).await?,
            false => None,
        };
        for status in self.job_tasks(job).await? {
            if let Some(uri) = uri
                .as_ref()
                .filter(|_| status.task.kind == BACKFILL_KIND && status.task.step.is_some())
            {
                let sweep = Sweep::new(status.task.id, uri.clone(), txn.start_ts().millis());
                txn.put(sweep_key(sweep.task_id), encode(&sweep)?, Check::None)?;
            }
            self.tasks
                .forget(txn, status.task.id)
                .await
                .map_err(DdlError::from)?;
        }
        Ok(())
    }

    /// Waits for the task of the current stage. `None`: it is paused for want of something, and the job with it.
    async fn watch_task(
        &self,
        job: &mut Job,
        key: &str,
        term: &OwnerTerm,
        interrupt: &CancellationToken,
    ) -> StepResult<Option<Task>> {
        let lost = || DdlError::bug(format!("task {key} is gone while its job waits for it"));
        let status = self
            .tasks
            .get_by_key(key)
            .await
            .map_err(DdlError::from)?
            .ok_or_else(lost)?;
        let id = status.task.id;
        if status.task.state == TaskState::Paused {
            self.tasks.resume(id, term).await?;
        }
        if !status.task.state.is_final() && status.task.concurrency != job.reorg.concurrency {
            self.tasks
                .set_concurrency(id, job.reorg.concurrency, term)
                .await?;
        }
        let task = match self.tasks.watch(id, interrupt, |_| {}).await {
            Ok(task) => task,
            Err(_) if interrupt.is_cancelled() => return Err(StepError::Interrupted),
            Err(error) => return Err(error.into()),
        };
        match task.state {
            TaskState::Succeed => Ok(Some(task)),
            TaskState::Paused => {
                job.state = JobState::Paused;
                job.paused_ts = self.store.timestamp().await?;
                job.pause_reason = task
                    .error
                    .map_or_else(|| "the task was paused".into(), |e| e.message);
                Ok(None)
            }
            _ => Err(StepError::Final(task_failure(task.error).error)),
        }
    }

    /// Completes when the one node that can work on the task has left, or its lease has ended.
    async fn its_node_is_gone(&self, key: &str) -> StepResult<()> {
        loop {
            let status = self.tasks.get_by_key(key).await?;
            let Some(only_at) = status.and_then(|s| s.task.only_at) else {
                return std::future::pending().await;
            };
            let nodes = self.catalog.live_nodes().await?;
            if !nodes.iter().any(|node| node.local_id == only_at) {
                return Ok(());
            }
            tokio::time::sleep(LOOK_AT_NODES).await;
        }
    }

    /// Waits for the build. What comes next depends on what it found.
    pub(super) async fn watch_backfill(
        &self,
        stored: &Stored<Job>,
        next: &mut Job,
        term: &OwnerTerm,
        interrupt: &CancellationToken,
    ) -> StepResult<Action> {
        let key = stored.value.backfill_key();
        let watched = tokio::select! {
            biased;
            watched = self.watch_task(next, &key, term, interrupt) => Some(watched?),
            gone = self.its_node_is_gone(&key) => {
                gone?;
                None
            }
        };
        let Some(watched) = watched else {
            tracing::warn!(
                job = next.id,
                "the node that sorted for the build is gone: it begins anew on another"
            );
            // The old snapshot's hold goes with the job's others, at its end: the write to come may still be refused. So
            // does the task, before the next one begins.
            next.begin_anew();
            return Ok(Action::JobOnly);
        };
        let Some(task) = watched else {
            return Ok(Action::JobOnly);
        };
        let meta: BuildMeta = parse(&task.meta)?;
        let reads: Vec<ReadOutput> = self.outputs(&task, READ_STEP).await?;
        let ingests: Vec<IngestOutput> = self.outputs(&task, INGEST_STEP).await?;
        next.row_count = reads.iter().map(|r| r.rows).sum();
        let mut ingested = 0;
        for &id in &meta.index_ids {
            let (read, written) = totals(id, &reads, &ingests);
            ingested += written.entries;
            if meta.verify != Verify::Off && read != written {
                let detail = format!(
                    "entries read from the table: {} (hash {:032x}), ingested: {} (hash {:032x})",
                    read.entries, read.sum, written.entries, written.sum
                );
                let (table, index) = (meta.table.name.original.clone(), meta.index_name(id));
                return Err(DdlError::Inconsistent { table, index, detail }.into());
            }
        }
        next.reorg.ingested = ingested;
        let unique = meta.indexes().any(|i| i.unique);
        if unique && ingested > 0 {
            next.stage = Stage::Barrier;
            return Ok(Action::Touch(Stage::Reconcile));
        }
        // Nothing was ingested under DML's feet: every check it made was exact.
        if meta.verify == Verify::Full {
            Ok(Action::StartFinish)
        } else {
            Ok(Action::Publish)
        }
    }

    /// Waits for reconciling and verification, and compares.
    pub(super) async fn watch_finish(
        &self,
        stored: &Stored<Job>,
        next: &mut Job,
        term: &OwnerTerm,
        interrupt: &CancellationToken,
    ) -> StepResult<Action> {
        let Some(task) = self
            .watch_task(next, &stored.value.finish_key(), term, interrupt)
            .await?
        else {
            return Ok(Action::JobOnly);
        };
        let meta: BuildMeta = parse(&task.meta)?;
        let outputs: Vec<FinishOutput> = self.outputs(&task, VERIFY_STEP).await?;
        for &id in &meta.index_ids {
            let mut sides = [EntryDigest::default(); 2];
            for output in &outputs {
                for (index, digest) in &output.digests {
                    if *index == id {
                        sides[output.of_index as usize].merge(digest);
                    }
                }
            }
            let [table, index] = sides;
            if table != index {
                return Err(self.inconsistency(&meta, id, table, index).await.into());
            }
        }
        Ok(Action::Publish)
    }

    /// The error of an index that is not equal to its table: the first row that shows it, if one can be found.
    async fn inconsistency(
        &self,
        meta: &BuildMeta,
        id: i64,
        table: EntryDigest,
        index: EntryDigest,
    ) -> DdlError {
        let counts = format!(
            "entries due by the table's rows: {} (hash {:032x}), entries in the index: {} (hash {:032x})",
            table.entries, table.sum, index.entries, index.sum
        );
        let checked = match self.store.timestamp().await {
            Ok(ts) => ilmenite_table::check_index_at(&self.store, &meta.table, id, ts, &self.stop).await,
            Err(error) => Err(error.into()),
        };
        let detail = match checked {
            Err(ilmenite_table::Error::Inconsistent { detail, .. }) => format!("{detail}; {counts}"),
            _ => counts,
        };
        DdlError::Inconsistent {
            table: meta.table.name.original.clone(),
            index: meta.index_name(id),
            detail,
        }
    }

    async fn outputs<T: DeserializeOwned>(&self, task: &Task, step: usize) -> StepResult<Vec<T>> {
        let subtasks = self.tasks.subtasks(task.id).await.map_err(DdlError::from)?;
        let mut outputs = Vec::new();
        for subtask in subtasks.into_iter().filter(|s| s.step == step) {
            let output = subtask
                .output
                .ok_or_else(|| DdlError::bug("a subtask succeeded without an output"))?;
            outputs.push(parse(&output)?);
        }
        Ok(outputs)
    }

    /// The contradicting values that a failed build left in its tasks.
    pub(super) async fn collect_conflicts(&self, job: &Job) -> Vec<Conflict> {
        let Ok(tasks) = self.job_tasks(job).await else {
            return Vec::new();
        };
        tasks
            .into_iter()
            .flat_map(|status| task_failure(status.task.error).conflicts)
            .collect()
    }
}

fn totals(id: i64, reads: &[ReadOutput], ingests: &[IngestOutput]) -> (EntryDigest, EntryDigest) {
    let (mut read, mut written) = (EntryDigest::default(), EntryDigest::default());
    for index in reads.iter().flat_map(|r| &r.indexes).filter(|i| i.index_id == id) {
        read.merge(&index.entries);
        written.merge(&index.ingested);
    }
    for output in ingests.iter().filter(|o| o.index_id == id) {
        written.merge(&output.ingested);
    }
    (read, written)
}

/// What a task failed with: the build's own error when it left one.
fn task_failure(error: Option<TaskError>) -> BuildFailure {
    let Some(error) = error else {
        return BuildFailure {
            error: DdlError::bug("a task failed without an error"),
            conflicts: Vec::new(),
        };
    };
    let failure = error
        .detail
        .and_then(|detail| serde_json::from_value(detail).ok());
    failure.unwrap_or_else(|| BuildFailure {
        error: DdlError::Internal {
            class: error.class,
            message: error.message,
        },
        conflicts: Vec::new(),
    })
}
