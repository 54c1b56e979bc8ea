//! Jobs as people look at them: ADMIN SHOW DDL JOBS, information_schema, the status port.

use ilmenite_base::ErrorClass;
use ilmenite_catalog::Blocker;
use ilmenite_store::Timestamp;
use ilmenite_task::{Progress, RetryStatus, StepProgress, TaskState, TaskStatus};

use crate::ddl::Ddl;
use crate::error::Result;
use crate::ids::JobId;
use crate::job::{Job, JobState, JobType, Stage};
use crate::statement::Verify;

/// One row of ADMIN SHOW DDL JOBS. Times are store timestamps; `None`: not yet.
#[derive(Debug, Clone, PartialEq)]
pub struct JobRow {
    pub job_id: JobId,
    pub db_name: String,
    pub table_name: String,
    pub job_type: String,
    pub schema_state: String,
    pub schema_id: i64,
    pub table_id: i64,
    pub row_count: u64,
    pub create_time: Timestamp,
    pub start_time: Option<Timestamp>,
    pub end_time: Option<Timestamp>,
    pub state: String,
    pub comments: String,
    pub query: String,
    /// Of running builds.
    pub progress: Option<JobProgress>,
    /// Why the job failed, or is being rolled back.
    pub error: Option<String>,
    pub error_class: Option<ErrorClass>,
    /// What a running job waits to try again.
    pub retry: Option<RetryStatus>,
    /// An action of an ALTER TABLE with several.
    pub is_subjob: bool,
}

/// How far a build is.
#[derive(Debug, Clone, PartialEq)]
pub struct JobProgress {
    pub phase: &'static str,
    /// 0 to 100; does not go back, unless the build begins anew.
    pub percent: f64,
    pub rows: u64,
    pub rows_per_second: f64,
    pub bytes: u64,
    pub object_requests: u64,
    /// Seconds; `None` while nobody knows.
    pub eta_seconds: Option<f64>,
    pub subtasks: u32,
    pub subtasks_done: u32,
}

/// One row of information_schema.ddl_blockers.
#[derive(Debug, Clone, PartialEq)]
pub struct BlockerRow {
    pub job_id: JobId,
    pub blocker: Blocker,
}

/// One row of information_schema.ddl_conflicts.
#[derive(Debug, Clone, PartialEq)]
pub struct ConflictRow {
    pub job_id: JobId,
    pub db_name: String,
    pub table_name: String,
    pub index_name: String,
    pub entry: String,
    pub handles: String,
}

/// One row of information_schema.ddl_subtasks.
#[derive(Debug, Clone, PartialEq)]
pub struct SubtaskRow {
    pub job_id: JobId,
    pub task_key: String,
    pub step: &'static str,
    pub subtask: ilmenite_task::Subtask,
}

/// The build's phases in order, with their share of the whole, in percent.
const PHASES: [(&str, f64); 5] = [
    ("read-index", 45.0),
    ("merge-sort", 15.0),
    ("write&ingest", 25.0),
    ("reconcile", 5.0),
    ("verify", 10.0),
];

impl Ddl {
    /// All live jobs, newest first, then the newest `history_limit` of the history; sub-jobs behind their parents.
    pub async fn jobs(&self, history_limit: usize) -> Result<Vec<JobRow>> {
        let live = self.worker.rows.jobs().await?;
        let blockers = self.blockers().await?;
        let mut rows = Vec::new();
        for stored in live.iter().rev() {
            let job = &stored.value;
            let blocked_by = jobs_in_the_way(job, live.iter().map(|s| &s.value));
            self.push_rows(job, &blockers, blocked_by, &mut rows).await?;
        }
        for job in self.worker.rows.newest_history(history_limit).await? {
            self.push_rows(&job, &blockers, Vec::new(), &mut rows).await?;
        }
        Ok(rows)
    }

    /// One job's row (without those of sub-jobs), live or finished.
    pub async fn job(&self, id: JobId) -> Result<Option<JobRow>> {
        let job = match self.job_details(id).await? {
            Some(job) => job,
            None => return Ok(None),
        };
        let blockers = self.blockers().await?;
        let mut rows = Vec::new();
        self.push_rows(&job, &blockers, Vec::new(), &mut rows).await?;
        Ok(rows.into_iter().next())
    }

    /// The whole of a job as it is stored. Holds no secret.
    pub async fn job_details(&self, id: JobId) -> Result<Option<Job>> {
        match self.worker.rows.job(id).await? {
            Some(stored) => Ok(Some(stored.value)),
            None => self.worker.rows.history(id).await,
        }
    }

    /// The statements of jobs, by id: ADMIN SHOW DDL JOB QUERIES.
    pub async fn queries(&self, ids: &[JobId]) -> Result<Vec<(JobId, String)>> {
        let mut queries = Vec::new();
        for &id in ids {
            queries.extend(self.job_details(id).await?.map(|job| (id, job.query)));
        }
        Ok(queries)
    }

    /// How many jobs are not in the history yet.
    pub async fn running(&self) -> Result<usize> {
        Ok(self.worker.rows.jobs().await?.len())
    }

    /// Whom jobs wait for: the owner knows; the others read what nodes have reported to it.
    pub async fn blockers(&self) -> Result<Vec<BlockerRow>> {
        let mut rows = Vec::new();
        if self.worker.catalog.owner_term().is_none() {
            let reported = self.worker.catalog.reported_blockers().await?;
            rows.extend(
                reported
                    .into_iter()
                    .map(|(job_id, blocker)| BlockerRow { job_id, blocker }),
            );
        }
        for (&job_id, live) in self.worker.live.lock().iter() {
            let status = live.status.lock();
            rows.extend(status.blockers.iter().map(|b| BlockerRow {
                job_id,
                blocker: b.clone(),
            }));
        }
        rows.sort_by_key(|row| row.job_id);
        Ok(rows)
    }

    /// Values that made builds of unique indexes fail: of live jobs and of the newest finished ones.
    pub async fn conflicts(&self, history_limit: usize) -> Result<Vec<ConflictRow>> {
        let mut jobs: Vec<Job> = self
            .worker
            .rows
            .jobs()
            .await?
            .into_iter()
            .map(|s| s.value)
            .collect();
        jobs.extend(self.worker.rows.newest_history(history_limit).await?);
        let rows = jobs.iter().flat_map(|job| {
            job.conflicts.iter().map(|conflict| ConflictRow {
                job_id: job.id,
                db_name: job.schema_name.clone(),
                table_name: job.table_name.clone(),
                index_name: conflict.index.clone(),
                entry: conflict.entry.clone(),
                handles: conflict.handles.join(", "),
            })
        });
        Ok(rows.collect())
    }

    /// The subtasks of live builds.
    pub async fn subtasks(&self) -> Result<Vec<SubtaskRow>> {
        let mut rows = Vec::new();
        for stored in self.worker.rows.jobs().await? {
            let job = stored.value;
            if !job.is_reorg() {
                continue;
            }
            for status in self.tasks_of(&job).await? {
                for subtask in self.worker.tasks.subtasks(status.task.id).await? {
                    let step = status.steps.get(subtask.step).map_or("", |s| s.name);
                    rows.push(SubtaskRow {
                        job_id: job.id,
                        task_key: status.task.key.clone(),
                        step,
                        subtask,
                    });
                }
            }
        }
        Ok(rows)
    }

    async fn tasks_of(&self, job: &Job) -> Result<Vec<TaskStatus>> {
        let mut tasks = Vec::new();
        for key in [job.backfill_key(), job.finish_key()] {
            tasks.extend(self.worker.tasks.get_by_key(&key).await?);
        }
        Ok(tasks)
    }

    async fn push_rows(
        &self,
        job: &Job,
        blockers: &[BlockerRow],
        blocked_by: Vec<JobId>,
        rows: &mut Vec<JobRow>,
    ) -> Result<()> {
        let live = !job.state.is_finished() && job.is_reorg();
        let tasks = if live {
            self.tasks_of(job).await?
        } else {
            Vec::new()
        };
        let now = self.worker.store.timestamp().await?;
        let progress = (!tasks.is_empty()).then(|| self.progress(job, &tasks, now));
        let retry = job.retry.clone().or_else(|| {
            let active = tasks.iter().filter(|t| !t.task.state.is_final());
            active.filter_map(|t| t.retry.clone()).max_by_key(|r| r.attempts)
        });
        let comments = comments(job, progress.as_ref(), retry.as_ref(), blockers, &blocked_by);
        let time = |ts: Timestamp| (ts != Timestamp::ZERO).then_some(ts);
        let parent = JobRow {
            job_id: job.id,
            db_name: job.schema_name.clone(),
            table_name: job.table_name.clone(),
            job_type: job_type(job, job.kind),
            schema_state: job.schema_state.as_str().to_owned(),
            schema_id: job.schema_id,
            table_id: job.table_id,
            row_count: progress.as_ref().map_or(0, |p| p.rows).max(job.row_count),
            create_time: job.start_ts,
            start_time: time(job.real_start_ts),
            end_time: time(job.end_ts),
            state: job.state.as_str().to_owned(),
            comments,
            query: job.query.clone(),
            progress,
            error: job.error.as_ref().map(|e| e.to_string()),
            error_class: job.error.as_ref().map(|e| e.class()),
            retry,
            is_subjob: false,
        };
        let children = if job.kind == JobType::MultiSchemaChange {
            &job.subjobs[..]
        } else {
            &[]
        };
        let rows_of_children = children.iter().map(|subjob| JobRow {
            job_type: format!(
                "{} /* subjob */",
                job_type(job, JobType::of_action(&subjob.action))
            ),
            row_count: if subjob.added_index().is_some() {
                parent.row_count
            } else {
                0
            },
            comments: String::new(),
            progress: None,
            retry: None,
            is_subjob: true,
            ..parent.clone()
        });
        let rows_of_children: Vec<JobRow> = rows_of_children.collect();
        rows.push(parent);
        rows.extend(rows_of_children);
        Ok(())
    }

    fn progress(&self, job: &Job, tasks: &[TaskStatus], now: Timestamp) -> JobProgress {
        let steps: Vec<&StepProgress> = tasks.iter().flat_map(|t| &t.steps).collect();
        let current = tasks
            .iter()
            .rev()
            .find_map(|t| t.step_name().filter(|_| !t.task.state.is_final()));
        let phase = current.unwrap_or(match job.stage {
            Stage::Backfill => "read-index",
            Stage::Barrier | Stage::Reconcile => "reconcile",
            Stage::Verify => "verify",
            Stage::RollingBack => "rollback",
            _ => "publish",
        });
        let mut percent = 0.0;
        let mut reached = false;
        for (name, share) in PHASES {
            if name == phase {
                reached = true;
                if let Some(step) = steps.iter().find(|s| s.name == name) {
                    percent += share * done(step);
                }
                break;
            }
            percent += share;
        }
        if !reached {
            percent = if phase == "rollback" { 0.0 } else { 100.0 };
        }
        let mut shown = percent;
        if let Some(live) = self.worker.live.lock().get(&job.id) {
            let mut status = live.status.lock();
            status.percent = status.percent.max(percent);
            shown = status.percent;
        }
        let of = |name: &str| {
            steps
                .iter()
                .find(|s| s.name == name)
                .map_or(Progress::default(), |s| s.progress)
        };
        let rows = of("read-index").rows;
        let mut sum = Progress::default();
        for step in &steps {
            sum += step.progress;
        }
        let began_ms = tasks.first().map_or(0, |t| t.task.create_time_ms);
        let seconds = now.millis().saturating_sub(began_ms) as f64 / 1000.0;
        let current_rows = of(phase).rows;
        let phase_seconds = match tasks.iter().rev().find(|t| t.task.state == TaskState::Running) {
            Some(t) => {
                now.millis()
                    .saturating_sub(t.task.start_time_ms.unwrap_or(began_ms)) as f64
                    / 1000.0
            }
            None => seconds,
        };
        JobProgress {
            phase,
            percent: shown,
            rows,
            rows_per_second: if phase_seconds > 0.0 {
                current_rows as f64 / phase_seconds
            } else {
                0.0
            },
            bytes: sum.bytes,
            object_requests: sum.object_requests,
            eta_seconds: (1.0..100.0)
                .contains(&shown)
                .then(|| seconds * (100.0 - shown) / shown),
            subtasks: steps.iter().map(|s| s.subtasks).sum(),
            subtasks_done: steps.iter().map(|s| s.succeeded).sum(),
        }
    }
}

/// Of a step, from 0 to 1.
fn done(step: &StepProgress) -> f64 {
    step.done / f64::from(step.subtasks.max(1))
}

/// Jobs queued before this one that concern the same objects.
fn jobs_in_the_way<'a>(job: &Job, all: impl Iterator<Item = &'a Job>) -> Vec<JobId> {
    if job.state != JobState::Queueing {
        return Vec::new();
    }
    all.filter(|other| other.id < job.id && other.conflicts_with(job))
        .map(|other| other.id)
        .collect()
}

fn job_type(job: &Job, kind: JobType) -> String {
    let how = match kind {
        JobType::AddIndex | JobType::AddPrimaryKey if job.reorg.use_cloud_storage => " /* ingest cloud */",
        JobType::AddIndex | JobType::AddPrimaryKey => " /* ingest */",
        _ => "",
    };
    format!("{}{how}", kind.as_str())
}

/// TiDB's tokens first, then what is going on and what went wrong.
fn comments(
    job: &Job,
    progress: Option<&JobProgress>,
    retry: Option<&RetryStatus>,
    blockers: &[BlockerRow],
    blocked_by: &[JobId],
) -> String {
    let mut parts: Vec<String> = Vec::new();
    if job.is_reorg() {
        parts.push(if job.reorg.use_cloud_storage {
            "ingest, DXF, cloud".into()
        } else {
            "ingest, DXF".into()
        });
        if job.reorg.concurrency != 4 {
            parts.push(format!("thread={}", job.reorg.concurrency));
        }
        if job.reorg.batch_size != 256 {
            parts.push(format!("batch_size={}", job.reorg.batch_size));
        }
        if job.reorg.max_write_speed != 0 {
            parts.push(format!("max_write_speed={}", job.reorg.max_write_speed));
        }
        if !job.reorg.target_scope.is_empty() {
            parts.push(format!("service_scope={}", job.reorg.target_scope));
        }
        match job.reorg.verify {
            Verify::Full => {}
            Verify::Sort => parts.push("verify=sort".into()),
            Verify::Off => parts.push("verify=off".into()),
        }
    }
    if let Some(progress) = progress {
        parts.push(format!("{} {:.0}%", progress.phase, progress.percent));
    }
    if let Some(retry) = retry {
        parts.push(format!(
            "last error: {} ({}), attempt {}, next try {}",
            retry.error.message,
            retry.error.class.as_str(),
            retry.attempts,
            Timestamp::from_millis(retry.next_try_ms).millis()
        ));
    }
    for row in blockers.iter().filter(|b| b.job_id == job.id) {
        let b = &row.blocker;
        parts.push(format!(
            "blocked by connection {} of node {} ({}) on {} for {} s: {}",
            b.connection_id,
            b.node,
            b.user,
            b.table,
            b.age_ms / 1000,
            b.statement
        ));
    }
    if !blocked_by.is_empty() {
        let ids: Vec<String> = blocked_by.iter().map(ToString::to_string).collect();
        parts.push(format!("waits for job {}", ids.join(", ")));
    }
    if !job.pause_reason.is_empty() {
        parts.push(job.pause_reason.clone());
    }
    if let Some(error) = &job.error {
        let class = error.class();
        let class = if class == ErrorClass::User {
            String::new()
        } else {
            format!(" ({})", class.as_str())
        };
        parts.push(format!("error {}: {error}{class}", error.code()));
    }
    parts.join(", ")
}
