//! Running a schema change: rights, submission, the wait, and what the client is told.

use std::sync::Arc;

use ilmenite_catalog::SchemaView;
use ilmenite_ddl::{DdlError, DdlStatement, JobRequest, JobSettings, Verify};
use ilmenite_types::{Collation, DateFlags};

use super::{TranslateContext, translate};
use crate::context::SessionContext;
use crate::variables::Scope;
use ilmenite_error::WarningLevel;
use ilmenite_error::{Error, Result};
use ilmenite_executor::StatementOutcome;
use ilmenite_executor::StopReason;
use ilmenite_expr::SqlMode;
use ilmenite_parser::{AlterAction, Ddl, TableName};
use ilmenite_planner::{Privilege, virtual_schema};

/// Which irregular dates defaults may have.
pub(super) fn date_flags(mode: SqlMode) -> DateFlags {
    DateFlags {
        zero_date: !(mode.is_strict() && mode.has(SqlMode::NO_ZERO_DATE)),
        zero_in_date: !(mode.is_strict() && mode.has(SqlMode::NO_ZERO_IN_DATE)),
        invalid_dates: mode.has(SqlMode::ALLOW_INVALID_DATES),
    }
}

/// Translates, submits and waits. The transaction before it has been committed.
pub(crate) async fn run(ctx: &mut SessionContext, ddl: &Ddl) -> Result<StatementOutcome> {
    check_rights(ctx, ddl)?;
    if let Ddl::CreateTable(create) = ddl
        && create.select.is_some()
    {
        return Err(Error::not_supported_yet("CREATE TABLE … SELECT"));
    }
    let view = ctx.engine.catalog.view();
    let mut warnings = std::mem::take(&mut ctx.warnings);
    let translated = in_context(ctx, &view, |translate_ctx| {
        translate(ddl, translate_ctx, &mut warnings)
    });
    ctx.warnings = warnings;
    let statement = translated?;
    if let DdlStatement::AlterTable { table, actions } = &statement
        && actions.is_empty()
    {
        // Nothing that changes anything, but the table has to be there.
        let (schema, name) = (&table.schema.original, &table.table.original);
        return match view.table(schema, name) {
            Some(_) => Ok(StatementOutcome::default()),
            None => Err(Error::no_such_table(schema, name)),
        };
    }
    let request = JobRequest {
        query: ctx.statement.text.to_string(),
        settings: job_settings(ctx)?,
        statement,
    };
    submit_and_wait(ctx, request).await?;
    if let Ddl::DropDatabase { name, .. } = ddl
        && ctx
            .database
            .as_deref()
            .is_some_and(|current| current.eq_ignore_ascii_case(name))
    {
        ctx.database = None;
    }
    Ok(StatementOutcome::default())
}

fn in_context<T>(
    ctx: &SessionContext,
    view: &Arc<SchemaView>,
    work: impl FnOnce(&TranslateContext<'_>) -> Result<T>,
) -> Result<T> {
    let server_collation = ctx.variable("collation_server", Scope::Session)?;
    let clustered_index = ctx.variable("tidb_enable_clustered_index", Scope::Session)?;
    work(&TranslateContext {
        database: ctx.database.as_deref(),
        view,
        server_collation: Collation::by_name(&server_collation)
            .ok_or_else(|| Error::unknown_collation(&server_collation))?,
        dates: date_flags(ctx.vars.sql_mode),
        now: ctx.statement.now,
        time_zone: &ctx.vars.time_zone,
        clustered_index: &clustered_index,
        require_primary_key: ctx.vars.sql_require_primary_key,
    })
}

/// What variables say about how a job is to run.
pub(crate) fn job_settings(ctx: &SessionContext) -> Result<JobSettings> {
    let number = |name: &str| -> Result<u64> {
        let text = ctx.variable(name, Scope::Any)?;
        text.parse()
            .map_err(|_| Error::bug(format!("{name} is '{text}'")))
    };
    let globals = &ctx.engine.globals;
    // Object storage is used by distributed tasks, over sorted ingest: with either off, sorting is local.
    let through_storage = globals.flag("tidb_enable_dist_task") && globals.flag("tidb_ddl_enable_fast_reorg");
    let cloud_storage_uri = if through_storage {
        globals.get("tidb_cloud_storage_uri").to_string()
    } else {
        String::new()
    };
    Ok(JobSettings {
        concurrency: number("tidb_ddl_reorg_worker_cnt")? as u32,
        batch_size: number("tidb_ddl_reorg_batch_size")? as u32,
        max_write_speed_bytes: number("tidb_ddl_reorg_max_write_speed")?,
        cloud_storage_uri,
        verify: match &*globals.get("ilmenite_ddl_verify") {
            "sort" => Verify::Sort,
            "off" => Verify::Off,
            _ => Verify::Full,
        },
        service_scope: ctx.engine.catalog.service_scope(),
    })
}

/// KILL ends the job and waits for its rollback; a client that is gone, or a server that stops, ends only the wait.
async fn submit_and_wait(ctx: &mut SessionContext, request: JobRequest) -> Result<()> {
    ctx.statement.check()?;
    let ddl = ctx.engine.ddl.clone();
    let id = ddl.submit(request).await?;
    let waited = ddl.wait(id, &ctx.statement.cancel).await;
    let outcome = match waited {
        Err(DdlError::Detached { .. }) if ctx.statement.stop_reason() == Some(StopReason::Killed) => {
            for (_, result) in ddl.cancel(&[id]).await {
                match result {
                    // Too late to cancel: it ends by itself, and soon.
                    Ok(()) | Err(DdlError::CannotCancel { .. } | DdlError::CancelFinished { .. }) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            let never = tokio_util::sync::CancellationToken::new();
            ddl.wait(id, &never).await
        }
        other => other,
    };
    // What this session does next sees the change, or that it was undone.
    ctx.engine.catalog.refresh().await?;
    for warning in outcome?.warnings {
        ctx.warnings
            .push(WarningLevel::Note, warning.code, warning.message);
    }
    Ok(())
}

fn check_rights(ctx: &SessionContext, ddl: &Ddl) -> Result<()> {
    let on_database = |privilege: Privilege, name: &str| -> Result<()> {
        refuse_virtual(ctx, name)?;
        ctx.check(privilege, name, "")
    };
    let on_table = |privilege: Privilege, table: &TableName| -> Result<()> {
        let database = match &table.database {
            Some(database) => database.as_str(),
            None => ctx.current_database()?,
        };
        refuse_virtual(ctx, database)?;
        ctx.check(privilege, database, &table.name)
    };
    match ddl {
        Ddl::CreateDatabase { name, .. } => on_database(Privilege::Create, name),
        Ddl::AlterDatabase { name, .. } => match name {
            Some(name) => on_database(Privilege::Alter, name),
            None => on_database(Privilege::Alter, ctx.current_database()?),
        },
        Ddl::DropDatabase { name, .. } => on_database(Privilege::Drop, name),
        Ddl::CreateTable(create) => {
            on_table(Privilege::Create, &create.table)?;
            match &create.like {
                Some(like) => on_table(Privilege::Select, like),
                None => Ok(()),
            }
        }
        Ddl::DropTables { tables, .. } | Ddl::DropViews { views: tables, .. } => {
            tables.iter().try_for_each(|t| on_table(Privilege::Drop, t))
        }
        Ddl::Truncate(table) => on_table(Privilege::Drop, table),
        Ddl::RenameTables(renames) => renames
            .iter()
            .try_for_each(|(from, to)| check_rename(&on_table, from, to)),
        Ddl::AlterTable { table, actions, .. } => {
            on_table(Privilege::Alter, table)?;
            for action in actions {
                match action {
                    AlterAction::AddIndex(_) | AlterAction::DropIndex { .. } => {
                        on_table(Privilege::Index, table)?;
                    }
                    AlterAction::RenameTable(to) => {
                        let mut to = to.clone();
                        if to.database.is_none() {
                            to.database.clone_from(&table.database);
                        }
                        check_rename(&on_table, table, &to)?;
                    }
                    _ => {}
                }
            }
            Ok(())
        }
        Ddl::CreateIndex { table, .. } | Ddl::DropIndex { table, .. } => on_table(Privilege::Index, table),
        Ddl::Unsupported(_) => Ok(()),
    }
}

/// The old name needs ALTER and DROP, the new one CREATE and INSERT.
fn check_rename(
    on_table: &dyn Fn(Privilege, &TableName) -> Result<()>,
    from: &TableName,
    to: &TableName,
) -> Result<()> {
    on_table(Privilege::Alter, from)?;
    on_table(Privilege::Drop, from)?;
    on_table(Privilege::Create, to)?;
    on_table(Privilege::Insert, to)
}

/// information_schema and its like belong to the server: 1044, whoever asks.
fn refuse_virtual(ctx: &SessionContext, database: &str) -> Result<()> {
    if virtual_schema(database).is_some() && !database.eq_ignore_ascii_case("mysql") {
        return Err(Error::db_access_denied(&ctx.user, &ctx.host, database));
    }
    Ok(())
}
