//! Queries and DML: planned, run in the session's transaction, and what they leave behind taken over.
//!
//! `tables` finds and pins what a statement names; `eval_context` is what its expressions know; `run` tries it until no
//! other transaction is faster; `prepared` keeps plans; `load`, `explain` and `evaluate` are the statements around it.

mod eval_context;
mod evaluate;
mod explain;
mod kept;
mod load;
mod plan;
mod prepared;
mod run;
mod tables;

use ilmenite_error::{Error, Result};
use ilmenite_executor::{ResultSink, StatementOutcome};
use ilmenite_planner::PlanMode;
use ilmenite_types::Datum;
use sqlparser::ast::Statement;

use crate::context::SessionContext;
use eval_context::eval_context;
use kept::Kept;
use plan::{access, is_dml, plan};
use run::run_planned;
use tables::StatementTables;

pub(crate) use evaluate::evaluate;
pub(crate) use explain::explain;
pub(crate) use load::load_data;
pub(crate) use prepared::{PreparedPlan, describe, run_prepared};

/// Runs a SELECT, INSERT, REPLACE, UPDATE or DELETE. Rows go to `sink`; the final OK is the caller's.
pub(crate) async fn run_query_or_dml(
    ctx: &mut SessionContext,
    statement: &Statement,
    params: &[Datum],
    sink: &mut dyn ResultSink,
) -> Result<StatementOutcome> {
    let result = run_fresh(ctx, statement, params, sink).await;
    ctx.txn.statement_done();
    result
}

async fn run_fresh(
    ctx: &mut SessionContext,
    statement: &Statement,
    params: &[Datum],
    sink: &mut dyn ResultSink,
) -> Result<StatementOutcome> {
    if is_dml(statement) {
        ctx.check_writable()?;
    }
    ctx.txn.set_statement(ctx.statement.text.clone());
    let work = ctx.txn.statement(&ctx.vars, access(ctx, statement)).await?;
    let tables = StatementTables::of(ctx, statement).await?;
    let eval = eval_context(ctx, is_dml(statement), params);
    let planned = plan(ctx, statement, &tables, &eval, work.read_ts, PlanMode::default())?;
    run_planned(ctx, &planned, &eval, work, sink).await
}

/// SELECT … INTO @a, @b: the one row's values become the variables'.
pub(crate) async fn run_query_into(
    ctx: &mut SessionContext,
    statement: &Statement,
    params: &[Datum],
    variables: &[String],
) -> Result<StatementOutcome> {
    let mut kept = Kept::default();
    run_query_or_dml(ctx, statement, params, &mut kept).await?;
    if kept.columns != variables.len() {
        return Err(Error::different_column_counts());
    }
    let mut rows = kept.rows.into_iter();
    let Some(row) = rows.next() else {
        ctx.warnings.warn(&Error::no_data());
        return Ok(StatementOutcome::default());
    };
    if rows.next().is_some() {
        return Err(Error::too_many_rows());
    }
    for (name, value) in variables.iter().zip(row) {
        ctx.user_vars.insert(name.to_lowercase(), value);
    }
    Ok(StatementOutcome {
        affected: 1,
        ..StatementOutcome::default()
    })
}
