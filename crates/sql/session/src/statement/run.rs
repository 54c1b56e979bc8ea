//! A planned statement at work: tried, and tried again where another transaction was faster.

use std::sync::Arc;

use ilmenite_error::{Result, code};
use ilmenite_executor::{
    Done, ResultSink, Retries, StatementEnv, StatementOutcome, SubqueryRows, attempt, send,
};
use ilmenite_expr::{EvalContext, Subqueries};
use ilmenite_planner::{Planned, PlannedKind};
use ilmenite_store::TxnMode;

use super::eval_context::{RunVariables, begin_run, take_over};
use crate::context::SessionContext;
use crate::txn::StatementTxn;
use crate::variables::Isolation;

pub(super) async fn run_planned(
    ctx: &mut SessionContext,
    planned: &Planned,
    eval: &EvalContext,
    work: StatementTxn,
    sink: &mut dyn ResultSink,
) -> Result<StatementOutcome> {
    let rows = SubqueryRows::new(planned.subqueries().len());
    let subqueries = rows.clone() as Arc<dyn Subqueries>;
    let variables = begin_run(ctx, eval, &planned.variables, planned.ignores(), Some(subqueries))?;
    match &planned.kind {
        PlannedKind::Query { plan, .. } if plan.lock.is_none() || work.is_plain_read() => {
            let result = {
                let env = ctx.statement_env();
                let view = work.view(env.store);
                let sending = send(&env, plan, planned.subqueries(), rows, eval, view, sink);
                until_stopped(&env, sending).await
            };
            drop(work);
            let set = take_over(ctx, eval, &variables);
            let sent = result?;
            Ok(StatementOutcome {
                found_rows: plan.calc_found_rows.then_some(sent.found),
                rows_sent: Some(sent.rows),
                last_insert_id: set.unwrap_or_default(),
                ..StatementOutcome::default()
            })
        }
        _ => run_transactional(ctx, planned, eval, rows, &variables, work, sink).await,
    }
}

/// The statement's own end, or its being stopped from outside.
pub(super) async fn until_stopped<T>(
    env: &StatementEnv<'_>,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    tokio::select! {
        biased;
        result = work => result,
        () = env.statement.cancel.cancelled() => Err(env.statement.stop_error()),
    }
}

async fn run_transactional(
    ctx: &mut SessionContext,
    planned: &Planned,
    eval: &EvalContext,
    rows: Arc<SubqueryRows>,
    variables: &RunVariables,
    mut work: StatementTxn,
    sink: &mut dyn ResultSink,
) -> Result<StatementOutcome> {
    let own = work.is_own();
    let mut retries = Retries::default();
    loop {
        let mode = work.transaction()?.mode();
        let attempted = try_once(ctx, planned, eval, rows.clone(), &mut work, retries.attempt()).await;
        let error = match attempted {
            Ok(done) => {
                drop(work);
                return finish(ctx, eval, variables, done, sink).await;
            }
            Err(error) => error,
        };
        if !retries.again(&error, mode, own, &ctx.statement).await {
            if error.code == code::deadlock {
                // A deadlock's victim loses all of its transaction.
                work.abandon(&mut ctx.txn).await;
            } else {
                drop(work);
            }
            take_over(ctx, eval, variables);
            return Err(ctx.txn.confirmed(error).await);
        }
        if own {
            // It starts all over, now with locks, behind whoever holds them.
            work.begin_again(&ctx.txn).await?;
        }
        // Warnings and numbers of the attempt that failed count no more.
        eval.start_over();
        variables.start_over(ctx);
    }
}

/// One attempt, committed where the transaction is the statement's own. An error leaves the transaction as it was before.
async fn try_once(
    ctx: &SessionContext,
    planned: &Planned,
    eval: &EvalContext,
    rows: Arc<SubqueryRows>,
    work: &mut StatementTxn,
    number: u32,
) -> Result<Done> {
    let env = ctx.statement_env();
    let (own, isolation, read_ts) = (work.is_own(), work.isolation, work.read_ts);
    let transaction = work.transaction()?;
    // An optimistic transaction reads at its start; others read the newest, as of now.
    let ts = if transaction.mode() == TxnMode::Optimistic || (own && number > 1) {
        transaction.start_ts()
    } else if number == 1 && isolation == Isolation::ReadCommitted {
        read_ts
    } else {
        env.store.timestamp().await?
    };
    let savepoint = transaction.savepoint();
    let attempted = attempt(&env, planned, rows, eval, transaction, ts);
    match until_stopped(&env, attempted).await {
        Ok(done) => {
            work.commit(&ctx.txn).await?;
            Ok(done)
        }
        Err(error) => {
            work.transaction()?.rollback_to(savepoint);
            Err(error)
        }
    }
}

async fn finish(
    ctx: &mut SessionContext,
    eval: &EvalContext,
    variables: &RunVariables,
    done: Done,
    sink: &mut dyn ResultSink,
) -> Result<StatementOutcome> {
    let set = take_over(ctx, eval, variables);
    if let Done::Insert(inserted) = &done
        && let Some(first) = inserted.first_generated
    {
        ctx.last_insert_id = first;
    }
    let env = ctx.statement_env();
    done.outcome(&env, ctx.warnings.count(), set, sink).await
}
