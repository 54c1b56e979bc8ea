//! Queries and DML: planned, run in the session's transaction, and what they leave behind taken over.
//!
//! `tables` finds and pins what a statement names; `eval_context` is what its expressions know; `run` tries it until no
//! other transaction is faster; `prepared` keeps plans; `load`, `explain` and `evaluate` are the statements around it.

mod eval_context;
mod evaluate;
mod explain;
mod load;
mod prepared;
mod run;
mod tables;

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use ilmenite_error::{Error, Result};
use ilmenite_executor::{OkInfo, ResultSink, Row, StatementOutcome};
use ilmenite_expr::EvalContext;
use ilmenite_planner::{PlanEnv, PlanMode, Planned, ResultColumn};
use ilmenite_store::Timestamp;
use ilmenite_types::Datum;
use sqlparser::ast::{self, Statement};

use crate::context::SessionContext;
use eval_context::build_options;
use run::run_planned;
use tables::{PlanView, StatementTables};

pub(crate) use eval_context::eval_context;
pub(crate) use evaluate::evaluate;
pub(crate) use explain::explain;
pub(crate) use load::load_data;
pub(crate) use prepared::{PreparedPlan, describe, run_prepared};
pub(crate) use tables::RowCounts;

/// Does the statement write, or lock what it reads?
fn writes(statement: &Statement) -> bool {
    match statement {
        Statement::Query(query) => locks(query),
        _ => true,
    }
}

fn locks(query: &ast::Query) -> bool {
    query
        .locks
        .iter()
        .any(|lock| matches!(lock.lock_type, ast::LockType::Update))
}

/// FOR UPDATE locks nothing for longer than its statement when that is a transaction by itself: it is a plain read then.
fn transactional(ctx: &SessionContext, statement: &Statement) -> bool {
    match statement {
        Statement::Query(_) => writes(statement) && (ctx.txn.in_transaction() || !ctx.vars.autocommit),
        _ => true,
    }
}

fn is_dml(statement: &Statement) -> bool {
    !matches!(statement, Statement::Query(_))
}

/// Plans a statement for reading at `read_ts`.
fn plan(
    ctx: &SessionContext,
    statement: &Statement,
    tables: &StatementTables,
    eval: &EvalContext,
    read_ts: Timestamp,
    mode: PlanMode,
) -> Result<Planned> {
    let view = PlanView { ctx, tables };
    let env = PlanEnv::new(&view, build_options(ctx), eval.clone(), read_ts, mode);
    ilmenite_planner::plan(env, statement)
}

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
    ctx.txn.set_statement(ctx.statement.text.clone());
    let work = ctx.statement_txn(transactional(ctx, statement)).await?;
    let tables = StatementTables::of(ctx, statement).await?;
    let eval = eval_context(ctx, is_dml(statement), params);
    let planned = plan(ctx, statement, &tables, &eval, work.read_ts, PlanMode::default())?;
    run_planned(ctx, &planned, &eval, work, sink).await
}

/// Takes rows in, for statements the server makes itself.
#[derive(Default)]
struct Kept {
    columns: usize,
    rows: Vec<Row>,
}

#[async_trait]
impl ResultSink for Kept {
    async fn columns(&mut self, columns: &Arc<[ResultColumn]>) -> Result<()> {
        self.columns = columns.len();
        Ok(())
    }

    async fn rows(&mut self, rows: &[Row]) -> Result<()> {
        self.rows.extend_from_slice(rows);
        Ok(())
    }

    async fn finish(&mut self, _info: OkInfo) -> Result<()> {
        Ok(())
    }

    async fn request_file(&mut self, _name: &str) -> Result<()> {
        Err(Error::not_supported_yet("LOAD DATA here"))
    }

    async fn read_file(&mut self) -> Result<Bytes> {
        Ok(Bytes::new())
    }
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
