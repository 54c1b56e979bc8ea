//! Schema changes as they run and as they ended: DDL_JOBS, DDL_SUBTASKS, DDL_BLOCKERS, DDL_CONFLICTS.

use futures::FutureExt;
use futures::future::BoxFuture;
use ilmenite_ddl::JobRow;
use ilmenite_store::Timestamp;
use ilmenite_types::{Datum, Time, TimeKind};

use super::define::{Definition, Source, maybe_text};
use crate::context::SessionContext;
use ilmenite_error::Result;
use ilmenite_executor::Row;
use ilmenite_executor::VirtualFilter;
use ilmenite_planner::Privilege;

/// How far back the tables look.
const HISTORY_JOBS: usize = 1000;

pub(super) const TABLES: &[Definition] = &[
    Definition {
        schema: "information_schema",
        name: "DDL_JOBS",
        columns: "
            JOB_ID bigint
            DB_NAME varchar(64)
            TABLE_NAME varchar(64)
            JOB_TYPE varchar(64)
            SCHEMA_STATE varchar(64)
            SCHEMA_ID bigint
            TABLE_ID bigint
            ROW_COUNT bigint
            CREATE_TIME datetime(6)
            START_TIME datetime(6)
            END_TIME datetime(6)
            STATE varchar(64)
            QUERY longtext
            PHASE varchar(64)
            PROGRESS double
            ROWS_PER_SECOND double
            BYTES bigint unsigned
            ETA_SECONDS double
            ERROR text
            ERROR_CLASS varchar(16)
            ATTEMPTS int unsigned
            NEXT_TRY datetime(6)
            BLOCKED_BY text",
        source: Source::Store(jobs),
    },
    Definition {
        schema: "information_schema",
        name: "DDL_SUBTASKS",
        columns: "
            JOB_ID bigint
            TASK_ID bigint unsigned
            TASK_KEY varchar(256)
            STEP varchar(64)
            ORDINAL int unsigned
            STATE varchar(16)
            NODE varchar(64)
            ATTEMPT int unsigned
            ROW_COUNT bigint unsigned
            ROWS_EXPECTED bigint unsigned
            BYTES bigint unsigned
            OBJECT_REQUESTS bigint unsigned
            OBJECT_BYTES bigint unsigned
            START_TIME datetime(6)
            END_TIME datetime(6)
            ERROR text
            ERROR_CLASS varchar(16)
            RETRIES int unsigned
            NEXT_TRY datetime(6)",
        source: Source::Store(subtasks),
    },
    Definition {
        schema: "information_schema",
        name: "DDL_BLOCKERS",
        columns: "
            JOB_ID bigint
            NODE varchar(64)
            CONNECTION_ID bigint unsigned
            USER varchar(288)
            STATEMENT longtext
            AGE_SECONDS double
            TABLE_ID bigint
            TABLE_NAME varchar(64)",
        source: Source::Store(blockers),
    },
    Definition {
        schema: "information_schema",
        name: "DDL_CONFLICTS",
        columns: "
            JOB_ID bigint
            DB_NAME varchar(64)
            TABLE_NAME varchar(64)
            INDEX_NAME varchar(64)
            ENTRY text
            HANDLES text",
        source: Source::Store(conflicts),
    },
];

/// May the user see what happens to this table (a database as a whole when `table` is empty)?
fn sees(ctx: &SessionContext, database: &str, table: &str) -> bool {
    let grants = &ctx.privileges.grants;
    if table.is_empty() {
        grants.sees_database(database)
    } else {
        grants.sees_table(database, table)
    }
}

/// Milliseconds since 1970 as DATETIME(6) in the session's time zone.
fn datetime(ctx: &SessionContext, millis: u64) -> Datum {
    let micros = i64::try_from(millis.saturating_mul(1000)).unwrap_or(i64::MAX);
    Time::from_unix_micros(micros, &ctx.vars.time_zone, TimeKind::DateTime, 6)
        .map_or(Datum::Null, Datum::Time)
}

fn maybe_datetime(ctx: &SessionContext, millis: Option<u64>) -> Datum {
    millis.map_or(Datum::Null, |millis| datetime(ctx, millis))
}

fn job_row(ctx: &SessionContext, job: JobRow, blocked_by: Option<String>) -> Row {
    let progress = job.progress.as_ref();
    let retry = job.retry.as_ref();
    let error = job.error.or_else(|| retry.map(|r| r.error.message.clone()));
    let class = job.error_class.or_else(|| retry.map(|r| r.error.class));
    vec![
        Datum::Int(job.job_id),
        Datum::text(job.db_name),
        Datum::text(job.table_name),
        Datum::text(job.job_type),
        Datum::text(job.schema_state),
        Datum::Int(job.schema_id),
        Datum::Int(job.table_id),
        Datum::Int(i64::try_from(job.row_count).unwrap_or(i64::MAX)),
        datetime(ctx, job.create_time.millis()),
        maybe_datetime(ctx, job.start_time.map(Timestamp::millis)),
        maybe_datetime(ctx, job.end_time.map(Timestamp::millis)),
        Datum::text(job.state),
        Datum::text(job.query),
        maybe_text(progress.map(|p| p.phase)),
        progress.map_or(Datum::Null, |p| Datum::Double(p.percent)),
        progress.map_or(Datum::Null, |p| Datum::Double(p.rows_per_second)),
        progress.map_or(Datum::Null, |p| Datum::UInt(p.bytes)),
        progress
            .and_then(|p| p.eta_seconds)
            .map_or(Datum::Null, Datum::Double),
        maybe_text(error),
        maybe_text(class.map(|c| c.as_str())),
        retry.map_or(Datum::Null, |r| Datum::UInt(r.attempts.into())),
        maybe_datetime(ctx, retry.map(|r| r.next_try_ms)),
        maybe_text(blocked_by),
    ]
}

fn jobs<'a>(ctx: &'a SessionContext, filter: &'a VirtualFilter) -> BoxFuture<'a, Result<Vec<Row>>> {
    async move {
        let blockers = ctx.engine.ddl.blockers().await?;
        let jobs = ctx.engine.ddl.jobs(HISTORY_JOBS).await?;
        let admitted = |job: &JobRow| {
            filter.admits("DB_NAME", &job.db_name)
                && filter.admits("TABLE_NAME", &job.table_name)
                && sees(ctx, &job.db_name, &job.table_name)
        };
        let rows = jobs.into_iter().filter(admitted).map(|job| {
            let waits_for: Vec<String> = blockers
                .iter()
                .filter(|b| b.job_id == job.job_id)
                .map(|b| {
                    let b = &b.blocker;
                    format!("connection {} ({}): {}", b.connection_id, b.user, b.statement)
                })
                .collect();
            let blocked_by = (!waits_for.is_empty()).then(|| waits_for.join("; "));
            job_row(ctx, job, blocked_by)
        });
        Ok(rows.collect())
    }
    .boxed()
}

fn subtasks<'a>(ctx: &'a SessionContext, _: &'a VirtualFilter) -> BoxFuture<'a, Result<Vec<Row>>> {
    async move {
        ctx.check(Privilege::Process, "", "")?;
        let subtasks = ctx.engine.ddl.subtasks().await?;
        let rows = subtasks.into_iter().map(|row| {
            let subtask = row.subtask;
            let retry = subtask.retrying.or(subtask.retry);
            let error = subtask.error.or_else(|| retry.as_ref().map(|r| r.error.clone()));
            let progress = subtask.progress;
            vec![
                Datum::Int(row.job_id),
                Datum::UInt(subtask.task_id),
                Datum::text(row.task_key),
                Datum::text(row.step),
                Datum::UInt(subtask.ordinal.into()),
                Datum::text(subtask.state.as_str()),
                maybe_text(subtask.node),
                Datum::UInt(subtask.attempt.into()),
                Datum::UInt(progress.rows),
                Datum::UInt(progress.rows_expected),
                Datum::UInt(progress.bytes),
                Datum::UInt(progress.object_requests),
                Datum::UInt(progress.object_bytes),
                maybe_datetime(ctx, subtask.start_time_ms),
                maybe_datetime(ctx, subtask.end_time_ms),
                maybe_text(error.as_ref().map(|e| e.message.as_str())),
                maybe_text(error.as_ref().map(|e| e.class.as_str())),
                retry
                    .as_ref()
                    .map_or(Datum::Null, |r| Datum::UInt(r.attempts.into())),
                maybe_datetime(ctx, retry.as_ref().map(|r| r.next_try_ms)),
            ]
        });
        Ok(rows.collect())
    }
    .boxed()
}

fn blockers<'a>(ctx: &'a SessionContext, _: &'a VirtualFilter) -> BoxFuture<'a, Result<Vec<Row>>> {
    async move {
        let sees_all = ctx.privileges.grants.has(Privilege::Process, "", "");
        let rows = ctx
            .engine
            .ddl
            .blockers()
            .await?
            .into_iter()
            .filter(|row| sees_all || row.blocker.user == ctx.user)
            .map(|row| {
                let blocker = row.blocker;
                vec![
                    Datum::Int(row.job_id),
                    Datum::text(blocker.node),
                    Datum::UInt(blocker.connection_id),
                    Datum::text(blocker.user),
                    Datum::text(blocker.statement),
                    Datum::Double(blocker.age_ms as f64 / 1000.0),
                    Datum::Int(blocker.table_id),
                    Datum::text(blocker.table),
                ]
            });
        Ok(rows.collect())
    }
    .boxed()
}

fn conflicts<'a>(ctx: &'a SessionContext, _: &'a VirtualFilter) -> BoxFuture<'a, Result<Vec<Row>>> {
    async move {
        let rows = ctx
            .engine
            .ddl
            .conflicts(HISTORY_JOBS)
            .await?
            .into_iter()
            // A conflict shows values of rows.
            .filter(|row| {
                let grants = &ctx.privileges.grants;
                grants.has(Privilege::Select, &row.db_name, &row.table_name)
            })
            .map(|row| {
                vec![
                    Datum::Int(row.job_id),
                    Datum::text(row.db_name),
                    Datum::text(row.table_name),
                    Datum::text(row.index_name),
                    Datum::text(row.entry),
                    Datum::text(row.handles),
                ]
            });
        Ok(rows.collect())
    }
    .boxed()
}
