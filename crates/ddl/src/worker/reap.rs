//! What is left to clear away in the background: key ranges of what was dropped, and, should a node have died at a bad
//! moment, or slept through one, objects, holds and notes that no live job owns.

use std::time::Duration;

use ilmenite_sort::ObjectStorage;
use ilmenite_store::{KeyRange, KvBatch, ScanOptions};
use ilmenite_task::Task;

use super::Worker;
use crate::backfill::StorageAt;
use crate::error::{DdlError, Result};
use crate::job::{delete_range_job, hold_job};
use ilmenite_table::{all_notes, note_owner, note_range};

/// How often the scrubber looks when nothing tells it to.
const SCRUB_INTERVAL: Duration = Duration::from_secs(600);
/// How often the sweeper looks whether something is due.
const SWEEP_INTERVAL: Duration = Duration::from_secs(5);
const HOLDS_INTERVAL: Duration = Duration::from_secs(30);

impl Worker {
    /// Runs until stopped: works off delete ranges, and scrubs at the start of each term and from time to time.
    pub(crate) async fn run_reaper(self: std::sync::Arc<Self>) {
        // What was sorted on this node's disk is nobody else's to clear away.
        if let Err(error) = self.scrub_scratch().await {
            tracing::warn!(%error, "what an earlier run left in the sort directory could not be removed");
        }
        let mut changed = self.changed.subscribe();
        let mut scrubbed: Option<(ilmenite_catalog::OwnerTerm, tokio::time::Instant)> = None;
        loop {
            changed.mark_seen();
            if let Some(term) = self.catalog.owner_term() {
                if let Err(error) = self.delete_ranges().await {
                    tracing::warn!(%error, "ranges of dropped objects could not be deleted; tried again later");
                }
                let due = scrubbed
                    .as_ref()
                    .is_none_or(|(of, at)| *of != term || at.elapsed() > SCRUB_INTERVAL);
                if due {
                    match self.scrub().await {
                        Ok(()) => scrubbed = Some((term, tokio::time::Instant::now())),
                        Err(error) => tracing::warn!(%error, "scrubbing failed; tried again later"),
                    }
                }
            }
            tokio::select! {
                biased;
                _ = self.stop.cancelled() => return,
                _ = changed.notified() => {}
                _ = tokio::time::sleep(self.poll) => {}
            }
        }
    }

    /// Runs until stopped: looks again at where tasks that are over had their objects, and at holds.
    pub(crate) async fn run_sweeper(self: std::sync::Arc<Self>) {
        let mut holds_at: Option<tokio::time::Instant> = None;
        loop {
            if self.catalog.owner_term().is_some() {
                if let Err(error) = self.sweep().await {
                    tracing::warn!(%error, "where finished tasks had objects could not be looked at; tried again later");
                }
                if holds_at.is_none_or(|at| at.elapsed() > HOLDS_INTERVAL) {
                    match self.release_orphaned_holds().await {
                        Ok(()) => holds_at = Some(tokio::time::Instant::now()),
                        Err(error) => {
                            tracing::warn!(%error, "holds could not be looked at; tried again later")
                        }
                    }
                }
            }
            tokio::select! {
                biased;
                _ = self.stop.cancelled() => return,
                _ = tokio::time::sleep(SWEEP_INTERVAL) => {}
            }
        }
    }

    async fn sweep(&self) -> Result<()> {
        let sweeps = self.rows.sweeps().await?;
        if sweeps.is_empty() {
            return Ok(());
        }
        let now_ms = self.store.timestamp().await?.millis();
        for stored in sweeps.iter().filter(|s| s.value.next_look_ms <= now_ms) {
            let (task, looks) = (stored.value.task_id, stored.value.looks);
            let swept = match self.backfill.open_storage(StorageAt::Uri(&stored.value.uri)) {
                Ok(storage) => self.backfill.delete_objects(&storage, task).await,
                Err(error) => Err(error),
            };
            match swept {
                Ok(0) => {}
                Ok(objects) => tracing::info!(task, looks, objects, "objects that turned up late deleted"),
                // The next look is the next try.
                Err(error) => {
                    tracing::warn!(task, looks, %error, "objects that turned up late could not be deleted")
                }
            }
            self.rows
                .swept(stored, stored.value.looked(now_ms).as_ref())
                .await?;
        }
        Ok(())
    }

    /// Deletes the ranges of jobs that are in the history: every node has gone on from them, and every transaction
    /// that could reach them has ended.
    async fn delete_ranges(&self) -> Result<()> {
        for stored in self.rows.delete_ranges().await? {
            let id = delete_range_job(&stored.key)
                .ok_or_else(|| DdlError::permanent("a delete range under a damaged key"))?;
            if self.rows.job(id).await?.is_some() {
                continue;
            }
            self.store.delete_range(stored.value.range.clone()).await?;
            self.rows.range_deleted(&stored).await?;
            tracing::info!(job = id, what = stored.value.what, "range deleted");
        }
        Ok(())
    }

    /// Removes what no live task owns from this node's sort directory.
    async fn scrub_scratch(&self) -> Result<()> {
        self.scrub_storage(&self.backfill.scratch()?).await.map(drop)
    }

    /// Removes what no live job owns.
    pub(crate) async fn scrub(&self) -> Result<()> {
        self.scrub_scratch().await?;
        let notes = self.noted_indexes().await?;
        let jobs = self.rows.jobs().await?;
        for (table, index) in notes {
            let owned = jobs.iter().any(|job| {
                job.value.table_id == table
                    && job.value.subjobs.iter().any(|s| s.added_index() == Some(index))
            });
            let to_be_deleted = self
                .rows
                .delete_ranges()
                .await?
                .iter()
                .any(|d| d.value.range == note_range(table, index));
            if !owned && !to_be_deleted {
                self.store.delete_range(note_range(table, index)).await?;
                tracing::info!(table, index, "notes that no live job owns deleted");
            }
        }
        Ok(())
    }

    /// Of jobs that are over: what an owner set that had slept. Listed before the jobs are.
    async fn release_orphaned_holds(&self) -> Result<()> {
        let holds = self.store.gc_holds().await?;
        let of_jobs: Vec<_> = holds
            .iter()
            .filter_map(|hold| Some((hold, hold_job(&hold.id)?)))
            .collect();
        if of_jobs.is_empty() {
            return Ok(());
        }
        let jobs = self.rows.jobs().await?;
        for (hold, job) in of_jobs {
            if !jobs.iter().any(|live| live.value.id == job) {
                self.store.release_gc_hold(&hold.id).await?;
                tracing::info!(
                    hold = hold.id,
                    "garbage collection hold that no live job owns released"
                );
            }
        }
        Ok(())
    }

    /// Objects of this cluster that no live task owns. Listed before the tasks are: objects of a task that begins in
    /// between are not in the list.
    pub(crate) async fn scrub_storage(&self, storage: &ObjectStorage) -> Result<u64> {
        let listed = self.backfill.tasks_with_objects(storage).await?;
        let tasks: Vec<Task> = self.tasks.list().await?;
        let mut deleted = 0;
        for id in listed {
            if !tasks.iter().any(|task| task.id == id && !task.state.is_final()) {
                let objects = self.backfill.delete_objects(storage, id).await?;
                tracing::info!(task = id, objects, "objects that no live task owns deleted");
                deleted += objects;
            }
        }
        Ok(deleted)
    }

    /// The indexes there are notes on: one short scan for each.
    async fn noted_indexes(&self) -> Result<Vec<(i64, i64)>> {
        let ts = self.store.timestamp().await?;
        let mut rest = all_notes();
        let mut found = Vec::new();
        loop {
            let options = ScanOptions {
                key_only: true,
                limit: 1,
                ..Default::default()
            };
            let mut scan = self.store.scan(rest.clone(), ts, options)?;
            let mut batch = KvBatch::new();
            if !scan.next_batch(&mut batch).await? || batch.is_empty() {
                return Ok(found);
            }
            let owner =
                note_owner(batch.key(0)).ok_or_else(|| DdlError::permanent("a note under a damaged key"))?;
            found.push(owner);
            let of_index = note_range(owner.0, owner.1);
            if of_index.end.is_empty() {
                return Ok(found);
            }
            rest = KeyRange {
                start: of_index.end,
                end: rest.end,
            };
        }
    }
}
