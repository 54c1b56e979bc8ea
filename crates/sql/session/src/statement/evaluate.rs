//! The value of an expression that stands alone: in SET, DO, KILL, and the options of ADMIN.

use ilmenite_error::{Error, Result};
use ilmenite_parser::literal_value;
use ilmenite_planner::{PlanEnv, PlanMode};
use ilmenite_types::Datum;
use sqlparser::ast::Expr;

use super::eval_context::{build_options, eval_context};
use super::kept::Kept;
use super::run::run_planned;
use super::tables::{PlanView, StatementTables};
use crate::context::SessionContext;
use crate::txn::Access;

/// Columns are unknown to it (1054); subqueries, functions and variables are not.
pub(crate) async fn evaluate(ctx: &mut SessionContext, expr: &Expr, params: &[Datum]) -> Result<Datum> {
    if let Some(literal) = literal_value(expr) {
        return Ok(literal);
    }
    let result = compute(ctx, expr, params).await;
    ctx.txn.statement_done();
    result
}

async fn compute(ctx: &mut SessionContext, expr: &Expr, params: &[Datum]) -> Result<Datum> {
    let work = ctx.txn.statement(&ctx.vars, Access::Read).await?;
    let tables = StatementTables::of_expr(ctx, expr).await?;
    let eval = eval_context(ctx, false, params);
    let view = PlanView { ctx, tables: &tables };
    let env = PlanEnv::new(
        &view,
        build_options(ctx),
        eval.clone(),
        work.read_ts,
        PlanMode::default(),
    );
    let planned = ilmenite_planner::plan_expression(env, expr)?;
    let mut kept = Kept::default();
    run_planned(ctx, &planned, &eval, work, &mut kept).await?;
    let value = kept.rows.pop().and_then(|row| row.into_iter().next());
    value.ok_or_else(|| Error::bug("an expression gave no value"))
}
