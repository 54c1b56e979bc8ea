//! ADMIN statements, and the maintenance statements of MySQL (ANALYZE, CHECK, … TABLE).

#[cfg(test)]
mod tests;

use ilmenite_catalog::{TableInfo, TableRef};
use ilmenite_ddl::{DdlError, JobChange, JobId, JobRow};
use ilmenite_table::{TableChecksum, check_index_at, check_table_at, checksum_table_at};
use ilmenite_types::Datum;

use crate::context::SessionContext;
use crate::rowset::{
    RowSet, datetime, datetime_column, int_column, maybe_datetime, text_column, uint_column,
};
use crate::variables::{SetValue, find};
use ilmenite_error::{Error, Result};
use ilmenite_executor::{ResultSink, Row, StatementOutcome};
use ilmenite_parser::{Admin, Maintenance, TableName, literal_value};
use ilmenite_planner::Privilege;

/// Jobs of the history that ADMIN SHOW DDL JOBS shows when it is not told how many.
const HISTORY_JOBS: u64 = 10;
/// More are not read at once, whatever is asked for.
const MAX_HISTORY_JOBS: u64 = 10_000;

pub(crate) async fn run(
    ctx: &mut SessionContext,
    statement: &Admin,
    sink: &mut dyn ResultSink,
) -> Result<StatementOutcome> {
    if let Admin::Unsupported(what) = statement {
        return Err(Error::not_supported_yet(what));
    }
    ctx.check(Privilege::Super, "", "")?;
    match statement {
        Admin::ShowDdl => show_ddl(ctx).await?.send(sink).await,
        Admin::ShowDdlJobs { limit, filter } => {
            let limit = limit.unwrap_or(HISTORY_JOBS).min(MAX_HISTORY_JOBS);
            let jobs = ctx.engine.ddl.jobs(limit as usize).await?;
            let mut rows = job_rows(ctx, &jobs)?;
            if let Some(filter) = filter {
                rows.filter(ctx, filter)?;
            }
            rows.send(sink).await
        }
        Admin::ShowDdlJobQueries { ids } => {
            let mut rows = RowSet::new(vec![text_column("QUERY", 65535)]);
            for (_, query) in ctx.engine.ddl.queries(ids).await? {
                rows.rows.push(vec![Datum::text(query)]);
            }
            rows.send(sink).await
        }
        Admin::ShowDdlJobQueriesLimit { limit, offset } => {
            let wanted = limit.saturating_add(*offset).min(MAX_HISTORY_JOBS);
            let jobs = ctx.engine.ddl.jobs(wanted as usize).await?;
            let mut rows = RowSet::new(vec![int_column("JOB_ID"), text_column("QUERY", 65535)]);
            let shown = jobs
                .into_iter()
                .filter(|job| !job.is_subjob)
                .skip(*offset as usize)
                .take(*limit as usize);
            for job in shown {
                rows.rows
                    .push(vec![Datum::Int(job.job_id), Datum::text(job.query)]);
            }
            rows.send(sink).await
        }
        Admin::CancelJobs(ids) => job_results(ctx.engine.ddl.cancel(ids).await).send(sink).await,
        Admin::PauseJobs(ids) => job_results(ctx.engine.ddl.pause(ids).await).send(sink).await,
        Admin::ResumeJobs(ids) => job_results(ctx.engine.ddl.resume(ids).await).send(sink).await,
        Admin::AlterJob {
            id,
            thread,
            batch_size,
            max_write_speed,
        } => {
            let change = JobChange {
                concurrency: setting("tidb_ddl_reorg_worker_cnt", thread)?.map(|n| n as u32),
                batch_size: setting("tidb_ddl_reorg_batch_size", batch_size)?.map(|n| n as u32),
                max_write_speed_bytes: setting("tidb_ddl_reorg_max_write_speed", max_write_speed)?,
            };
            ctx.engine.ddl.alter(*id, change).await?;
            Ok(StatementOutcome::default())
        }
        Admin::CheckTables(tables) => {
            for name in tables {
                let (_, table) = find_table(ctx, name)?;
                check_now(ctx, &table).await.map_err(|e| stopped(ctx, e))?;
            }
            Ok(StatementOutcome::default())
        }
        Admin::CheckIndex { table, index } => {
            let (_, table) = find_table(ctx, table)?;
            let found = table
                .index(index)
                .filter(|i| i.state == ilmenite_catalog::SchemaState::Public)
                .ok_or_else(|| Error::key_does_not_exist(index, &table.name))?;
            let store = &ctx.engine.store;
            let ts = store.timestamp().await?;
            check_index_at(store, &table, found.id, ts, &ctx.statement.cancel)
                .await
                .map_err(|e| stopped(ctx, e))?;
            Ok(StatementOutcome::default())
        }
        Admin::ChecksumTables(tables) => checksum(ctx, tables).await?.send(sink).await,
        Admin::Unsupported(what) => Err(Error::not_supported_yet(what)),
    }
}

/// A check that was told to stop says why in the statement's words.
fn stopped(ctx: &SessionContext, error: ilmenite_table::Error) -> Error {
    ctx.statement.check().err().unwrap_or_else(|| error.into())
}

/// The table of that name and its database's name as it is written; 1146, 1046.
fn find_table(ctx: &SessionContext, name: &TableName) -> Result<(String, TableRef)> {
    let database = match &name.database {
        Some(database) => database.as_str(),
        None => ctx.current_database()?,
    };
    let view = ctx.engine.catalog.view();
    match (view.schema(database), view.table(database, &name.name)) {
        (Some(schema), Some(table)) => Ok((schema.name.original.clone(), table.clone())),
        _ => Err(Error::no_such_table(database, &name.name)),
    }
}

/// One option of ADMIN ALTER DDL JOBS: checked as the variable that gives its default is.
fn setting(variable: &str, value: &Option<sqlparser::ast::Expr>) -> Result<Option<u64>> {
    let Some(expr) = value else {
        return Ok(None);
    };
    let (_, def) = find(variable)?;
    let literal = literal_value(expr).ok_or_else(|| Error::wrong_value_for_variable(variable, expr))?;
    let value = SetValue::from_datum(&literal);
    let normalized = def.normalize(&value)?;
    if normalized.clamped {
        return Err(Error::wrong_value_for_variable(variable, value.text()));
    }
    normalized
        .text
        .parse()
        .map(Some)
        .map_err(|_| Error::wrong_value_for_variable(variable, value.text()))
}

async fn show_ddl(ctx: &SessionContext) -> Result<RowSet> {
    let engine = &ctx.engine;
    let catalog = &engine.catalog;
    let owner = catalog.owner().await?;
    let owner_id = owner.map(|o| o.node_id).unwrap_or_default();
    let owner_address = catalog
        .live_nodes()
        .await?
        .into_iter()
        .find(|node| node.id == owner_id)
        .map(|node| node.address)
        .unwrap_or_default();
    let running: Vec<JobRow> = engine
        .ddl
        .jobs(0)
        .await?
        .into_iter()
        .filter(|job| !job.is_subjob)
        .collect();
    let describe = |job: &JobRow| {
        format!(
            "ID:{}, Type:{}, State:{}, SchemaState:{}, SchemaID:{}, TableID:{}, RowCount:{}",
            job.job_id, job.job_type, job.state, job.schema_state, job.schema_id, job.table_id, job.row_count
        )
    };
    let joined = |texts: Vec<String>| Datum::text(texts.join("\n"));
    let mut rows = RowSet::new(vec![
        int_column("SCHEMA_VER"),
        text_column("OWNER_ID", 64),
        text_column("OWNER_ADDRESS", 32),
        text_column("RUNNING_JOBS", 256),
        text_column("SELF_ID", 64),
        text_column("QUERY", 256),
    ]);
    rows.rows.push(vec![
        Datum::Int(catalog.view().version()),
        Datum::text(owner_id),
        Datum::text(owner_address),
        joined(running.iter().map(describe).collect()),
        Datum::text(catalog.node_id()),
        joined(running.iter().map(|job| job.query.clone()).collect()),
    ]);
    Ok(rows)
}

/// The rows of ADMIN SHOW DDL JOBS.
pub(crate) fn job_rows(ctx: &SessionContext, jobs: &[JobRow]) -> Result<RowSet> {
    let mut rows = RowSet::new(vec![
        int_column("JOB_ID"),
        text_column("DB_NAME", 64),
        text_column("TABLE_NAME", 64),
        text_column("JOB_TYPE", 64),
        text_column("SCHEMA_STATE", 64),
        int_column("SCHEMA_ID"),
        int_column("TABLE_ID"),
        int_column("ROW_COUNT"),
        datetime_column("CREATE_TIME"),
        datetime_column("START_TIME"),
        datetime_column("END_TIME"),
        text_column("STATE", 64),
        text_column("COMMENTS", 1024),
    ]);
    let zone = &ctx.vars.time_zone;
    for job in jobs {
        rows.rows.push(vec![
            Datum::Int(job.job_id),
            Datum::text(&*job.db_name),
            Datum::text(&*job.table_name),
            Datum::text(&*job.job_type),
            Datum::text(&*job.schema_state),
            Datum::Int(job.schema_id),
            Datum::Int(job.table_id),
            Datum::Int(i64::try_from(job.row_count).unwrap_or(i64::MAX)),
            datetime(job.create_time, zone)?,
            maybe_datetime(job.start_time, zone)?,
            maybe_datetime(job.end_time, zone)?,
            Datum::text(&*job.state),
            Datum::text(&*job.comments),
        ]);
    }
    Ok(rows)
}

fn job_results(results: Vec<(JobId, Result<(), DdlError>)>) -> RowSet {
    let mut rows = RowSet::new(vec![text_column("JOB_ID", 64), text_column("RESULT", 128)]);
    for (id, result) in results {
        let text = match result {
            Ok(()) => "successful".to_string(),
            Err(error) => format!("error: [ddl:{}]{error}", error.code()),
        };
        rows.rows
            .push(vec![Datum::text(id.to_string()), Datum::text(text)]);
    }
    rows
}

async fn checksum(ctx: &SessionContext, tables: &[TableName]) -> Result<RowSet> {
    let mut rows = RowSet::new(vec![
        text_column("Db_name", 64),
        text_column("Table_name", 64),
        uint_column("Checksum_crc64_xor"),
        uint_column("Total_kvs"),
        uint_column("Total_bytes"),
    ]);
    for name in tables {
        let (database, table) = find_table(ctx, name)?;
        let sum = checksum_now(ctx, &table).await?;
        rows.rows.push(vec![
            Datum::text(database),
            Datum::text(&*table.name.original),
            Datum::UInt(sum.checksum_crc64_xor),
            Datum::UInt(sum.total_kvs),
            Datum::UInt(sum.total_bytes),
        ]);
    }
    Ok(rows)
}

/// ANALYZE, OPTIMIZE, CHECK, REPAIR, CHECKSUM TABLE: a row or two for each table, and no error for one that is missing.
pub(crate) async fn maintain(
    ctx: &mut SessionContext,
    kind: Maintenance,
    tables: &[TableName],
    sink: &mut dyn ResultSink,
) -> Result<StatementOutcome> {
    if kind == Maintenance::Checksum {
        return checksum_like_mysql(ctx, tables).await?.send(sink).await;
    }
    let mut rows = RowSet::new(vec![
        text_column("Table", 128),
        text_column("Op", 10),
        text_column("Msg_type", 10),
        text_column("Msg_text", 1024),
    ]);
    for name in tables {
        let op = match kind {
            Maintenance::Analyze => "analyze",
            Maintenance::Optimize => "optimize",
            Maintenance::Check => "check",
            Maintenance::Repair | Maintenance::Checksum => "repair",
        };
        let shown = shown_name(ctx, name)?;
        let mut say = |kind: &str, text: &str| rows.rows.push(maintenance_row(&shown, op, kind, text));
        let table = match find_table(ctx, name) {
            Ok((database, table)) => {
                ctx.check(Privilege::Select, &database, &table.name.original)?;
                table
            }
            Err(error) => {
                say("Error", &error.message);
                say("status", "Operation failed");
                continue;
            }
        };
        match kind {
            Maintenance::Check => match check_now(ctx, &table).await {
                Ok(()) => say("status", "OK"),
                Err(error @ ilmenite_table::Error::Inconsistent { .. }) => {
                    say("error", &error.to_string());
                    say("error", "Corrupt");
                }
                Err(error) => return Err(stopped(ctx, error)),
            },
            Maintenance::Repair => {
                say("note", "The storage engine for the table doesn't support repair");
            }
            _ => say("status", "OK"),
        }
    }
    rows.send(sink).await
}

/// Table against indexes, as of now.
async fn check_now(ctx: &SessionContext, table: &TableInfo) -> Result<(), ilmenite_table::Error> {
    let store = &ctx.engine.store;
    let ts = store.timestamp().await?;
    check_table_at(store, table, ts, &ctx.statement.cancel).await
}

async fn checksum_now(ctx: &SessionContext, table: &TableInfo) -> Result<TableChecksum> {
    let store = &ctx.engine.store;
    let ts = store.timestamp().await?;
    checksum_table_at(store, table, ts, &ctx.statement.cancel)
        .await
        .map_err(|e| stopped(ctx, e))
}

fn shown_name(ctx: &SessionContext, name: &TableName) -> Result<String> {
    let database = match &name.database {
        Some(database) => database.as_str(),
        None => ctx.current_database()?,
    };
    Ok(format!("{database}.{}", name.name))
}

fn maintenance_row(table: &str, op: &str, kind: &str, text: &str) -> Row {
    [table, op, kind, text].into_iter().map(Datum::text).collect()
}

async fn checksum_like_mysql(ctx: &mut SessionContext, tables: &[TableName]) -> Result<RowSet> {
    let mut rows = RowSet::new(vec![text_column("Table", 128), uint_column("Checksum")]);
    for name in tables {
        let shown = shown_name(ctx, name)?;
        let sum = match find_table(ctx, name) {
            Ok((database, table)) => {
                ctx.check(Privilege::Select, &database, &table.name.original)?;
                let sum = checksum_now(ctx, &table).await?;
                Datum::UInt(sum.checksum_crc64_xor)
            }
            Err(error) => {
                ctx.warnings.warn(&error);
                Datum::Null
            }
        };
        rows.rows.push(vec![Datum::text(shown), sum]);
    }
    Ok(rows)
}
