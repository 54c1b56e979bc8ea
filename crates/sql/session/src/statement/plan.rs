//! A statement's plan, as the session asks for it.

use ilmenite_error::Result;
use ilmenite_expr::EvalContext;
use ilmenite_planner::{PlanEnv, PlanMode, Planned};
use ilmenite_store::Timestamp;
use sqlparser::ast::{self, Statement};

use super::eval_context::build_options;
use super::tables::{PlanView, StatementTables};
use crate::context::SessionContext;

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
pub(super) fn transactional(ctx: &SessionContext, statement: &Statement) -> bool {
    match statement {
        Statement::Query(_) => writes(statement) && (ctx.txn.in_transaction() || !ctx.vars.autocommit),
        _ => true,
    }
}

pub(super) fn is_dml(statement: &Statement) -> bool {
    !matches!(statement, Statement::Query(_))
}

/// Plans a statement for reading at `read_ts`.
pub(super) fn plan(
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
