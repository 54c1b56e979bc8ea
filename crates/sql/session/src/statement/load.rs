//! LOAD DATA in the session's transaction.

use ilmenite_error::{Error, Result, code};
use ilmenite_executor::{Loaded, ResultSink, StatementOutcome, load};
use ilmenite_parser::LoadData;
use ilmenite_planner::{LoadPlan, PlanEnv, PlanMode, Privilege, plan_load};
use ilmenite_store::Timestamp;

use super::eval_context::{RunVariables, begin_run, build_options, eval_context, take_over};
use super::run::until_stopped;
use super::tables::{PlanView, StatementTables};
use crate::context::SessionContext;
use crate::txn::Access;
use crate::txn::StatementTxn;

/// Runs LOAD DATA.
pub(crate) async fn load_data(
    ctx: &mut SessionContext,
    statement: &LoadData,
    sink: &mut dyn ResultSink,
) -> Result<StatementOutcome> {
    let result = run(ctx, statement, sink).await;
    ctx.txn.statement_done();
    result
}

async fn run(
    ctx: &mut SessionContext,
    statement: &LoadData,
    sink: &mut dyn ResultSink,
) -> Result<StatementOutcome> {
    ctx.txn.set_statement(ctx.statement.text.clone());
    if !statement.local {
        ctx.check(Privilege::File, "", "")?;
    }
    ctx.check_writable()?;
    let mut work = ctx.txn.statement(&ctx.vars, Access::Write).await?;
    if work.is_own() {
        // The file comes once: the rows are locked as they are written, so that nothing has to start over.
        work.begin_again(&ctx.txn).await?;
    }
    let tables = tables_of(ctx, statement).await?;
    let eval = eval_context(ctx, true, &[]);
    let (plan, variables) = plan(ctx, statement, &tables, &eval, work.read_ts)?;
    let result = {
        let env = ctx.statement_env();
        let transaction = work.transaction()?;
        let savepoint = transaction.savepoint();
        let loading = load(&env, statement, &plan, &eval, transaction, sink);
        let loaded = until_stopped(&env, loading).await;
        if loaded.is_err() {
            work.transaction()?.rollback_to(savepoint);
        }
        loaded
    };
    let result = end(ctx, work, result).await;
    take_over(ctx, &eval, &variables);
    let Loaded { inserted, skipped } = result?;
    if let Some(first) = inserted.first_generated {
        ctx.last_insert_id = first;
    }
    Ok(StatementOutcome {
        affected: inserted.affected,
        last_insert_id: inserted.first_generated.unwrap_or_default(),
        info: format!(
            "Records: {}  Deleted: {}  Skipped: {}  Warnings: {}",
            inserted.records,
            if plan.replace { inserted.duplicates } else { 0 },
            if plan.replace {
                skipped
            } else {
                inserted.duplicates + skipped
            },
            ctx.warnings.count()
        ),
        ..StatementOutcome::default()
    })
}

async fn tables_of(ctx: &SessionContext, statement: &LoadData) -> Result<StatementTables> {
    let database = match &statement.table.database {
        Some(database) => database.as_str(),
        None => ctx.current_database()?,
    };
    let mut tables = StatementTables::default();
    tables.add(ctx, database, &statement.table.name).await?;
    Ok(tables)
}

fn plan(
    ctx: &SessionContext,
    statement: &LoadData,
    tables: &StatementTables,
    eval: &ilmenite_expr::EvalContext,
    read_ts: Timestamp,
) -> Result<(LoadPlan, RunVariables)> {
    let view = PlanView { ctx, tables };
    let env = PlanEnv::new(
        &view,
        build_options(ctx),
        eval.clone(),
        read_ts,
        PlanMode::default(),
    );
    let (plan, used) = plan_load(env, statement)?;
    let variables = begin_run(ctx, eval, &used, plan.ignore, None)?;
    Ok((plan, variables))
}

/// Commits what was loaded where the transaction is the statement's own; a deadlock's victim loses all of its transaction.
async fn end(ctx: &mut SessionContext, mut work: StatementTxn, result: Result<Loaded>) -> Result<Loaded> {
    let error: Error = match result {
        Ok(loaded) => return work.commit(&ctx.txn).await.map(|()| loaded),
        Err(error) => error,
    };
    if error.code == code::deadlock {
        work.abandon(&mut ctx.txn).await;
    } else {
        drop(work);
    }
    Err(ctx.txn.confirmed(error).await)
}
