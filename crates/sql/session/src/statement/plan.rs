//! A statement's plan, as the session asks for it.

use ilmenite_error::Result;
use ilmenite_expr::EvalContext;
use ilmenite_planner::{PlanEnv, PlanMode, Planned};
use ilmenite_store::Timestamp;
use sqlparser::ast::Statement;

use super::eval_context::build_options;
use super::tables::{PlanView, StatementTables};
use crate::context::SessionContext;
use crate::txn::Access;

/// What the statement needs of its transaction. FOR UPDATE locks nothing for longer than its statement when that is a
/// transaction by itself: it is a plain read then, but for one that is told what to do about the locks of others.
pub(super) fn access(ctx: &SessionContext, statement: &Statement) -> Access {
    let Statement::Query(query) = statement else {
        return Access::Write;
    };
    let lasting = ctx.txn.in_transaction() || !ctx.vars.autocommit;
    if query.locks.iter().any(|lock| lasting || lock.nonblock.is_some()) {
        Access::Lock
    } else {
        Access::Read
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
