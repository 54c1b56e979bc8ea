//! A planned statement at work: tried, and tried again where another transaction was faster.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ilmenite_codec::Datum;
use ilmenite_store::{Timestamp, Transaction, TxnMode};
use rand::Rng;

use super::super::facts::{Facts, facts, take_over};
use super::super::insert::{Collision, WRITE_ROWS, Written, query_rows, value_rows, write_rows};
use super::super::query;
use super::super::runtime::{
    BATCH_ROWS, ReadView, Runtime, SubqueryRows, SubqueryRunner, collect, used_subqueries,
};
use super::super::update::{delete_rows, new_values, update_rows};
use super::super::write::{Numbers, WriteContext};
use super::{Planned, PlannedKind};
use crate::context::SessionContext;
use crate::error::{Error, Result};
use crate::expr::{EvalContext, Subqueries};
use crate::plan::{InsertPlan, InsertSource};
use crate::result::{ResultColumn, ResultSink, Row, StatementOutcome};
use crate::txn::{self, StatementTxn};
use crate::variables::Isolation;

/// How often a statement is tried when others change what it was about to, and for how long.
const ATTEMPTS: u32 = 256;
const RETRY_TIME: Duration = Duration::from_secs(60);

/// Conflicts: others were faster, and a new attempt with a newer timestamp may do.
fn is_conflict(error: &Error, optimistic: bool) -> bool {
    error.code == 9007 || (optimistic && error.code == ALREADY_THERE)
}

/// 1062 of an optimistic attempt may be about a row that came between: the locking attempt tells.
const ALREADY_THERE: u16 = 1062;

pub(crate) async fn run_planned(
    ctx: &mut SessionContext,
    planned: &Planned,
    params: &[Datum],
    mut work: StatementTxn,
    sink: &mut dyn ResultSink,
) -> Result<StatementOutcome> {
    let rows = SubqueryRows::new(planned.subqueries().len());
    let made = facts(
        ctx,
        ctx.vars.sql_mode,
        planned.strictness(),
        params,
        &planned.variables,
        Some(rows.clone() as Arc<dyn Subqueries>),
    );
    let mut made = match made {
        Ok(made) => made,
        Err(e) => {
            txn::give_back(ctx, work);
            return Err(e);
        }
    };
    if let PlannedKind::Query { plan, .. } = &planned.kind
        && plan.lock.is_none_or(|_| work.own)
    {
        let result = {
            let shared: &SessionContext = ctx;
            let reading = query::send(shared, plan, planned.subqueries(), rows, &made.eval, &work, sink);
            tokio::select! {
                biased;
                result = reading => result,
                () = shared.statement.cancel.cancelled() => Err(shared.statement.stop_error()),
            }
        };
        txn::give_back(ctx, work);
        let set = take_over(ctx, &made);
        let sent = result?;
        if plan.calc_found_rows {
            ctx.found_rows = sent.found;
        }
        return Ok(StatementOutcome {
            keeps_found_rows: plan.calc_found_rows,
            rows_sent: Some(sent.rows),
            last_insert_id: set.unwrap_or_default(),
            ..StatementOutcome::default()
        });
    }
    let began = Instant::now();
    let mut attempt = 0;
    loop {
        attempt += 1;
        let Some(mut transaction) = work.txn.take() else {
            return Err(Error::bug("a writing statement without a transaction"));
        };
        let optimistic = transaction.mode() == TxnMode::Optimistic;
        let savepoint = transaction.savepoint();
        let result = {
            let shared: &SessionContext = ctx;
            let attempted = attempt_once(
                shared,
                planned,
                rows.clone(),
                &made.eval,
                &mut transaction,
                &work,
                attempt,
            );
            tokio::select! {
                biased;
                result = attempted => result,
                () = shared.statement.cancel.cancelled() => Err(shared.statement.stop_error()),
            }
        };
        let result = match result {
            Ok(done) if work.own => match txn::commit_own(ctx, transaction).await {
                Ok(()) => Ok(done),
                Err(e) => Err((e, None)),
            },
            Ok(done) => {
                work.txn = Some(transaction);
                Ok(done)
            }
            Err(e) => {
                transaction.rollback_to(savepoint);
                Err((e, Some(transaction)))
            }
        };
        let (error, transaction) = match result {
            Ok(done) => {
                txn::give_back(ctx, work);
                return finish(ctx, &made, done, sink).await;
            }
            Err(failed) => failed,
        };
        let retry = is_conflict(&error, optimistic && work.own)
            && (work.own || !optimistic)
            && attempt < ATTEMPTS
            && began.elapsed() < RETRY_TIME
            && !ctx.statement.cancel.is_cancelled();
        if !retry {
            if error.code == 1213 {
                // A deadlock's victim loses all of its transaction.
                work.txn = transaction;
                txn::abandon(ctx, work).await;
            } else if work.own {
                drop(transaction);
            } else {
                work.txn = transaction;
                txn::give_back(ctx, work);
            }
            take_over(ctx, &made);
            return Err(txn::confirmed(ctx, error).await);
        }
        if attempt > 2 {
            let longest = Duration::from_millis(1 << attempt.min(7));
            let wait = longest.mul_f64(rand::rng().random_range(0.1..1.0));
            tokio::time::sleep(wait).await;
        }
        work.txn = match transaction {
            Some(transaction) if !work.own => Some(transaction),
            _ => {
                // A statement by itself starts all over, now with locks, behind whoever holds them.
                drop(transaction);
                Some(Transaction::begin(&ctx.engine.store, TxnMode::Pessimistic).await?)
            }
        };
        if let (true, Some(transaction)) = (work.own, &work.txn) {
            work.read_ts = transaction.start_ts();
        }
        // Warnings and numbers of the attempt that failed count no more.
        made = facts(
            ctx,
            ctx.vars.sql_mode,
            planned.strictness(),
            params,
            &planned.variables,
            Some(rows.clone() as Arc<dyn Subqueries>),
        )?;
    }
}

/// What an attempt did.
enum Done {
    Insert {
        written: Written,
        numbers: Numbers,
        several: bool,
    },
    Update {
        matched: u64,
        changed: u64,
    },
    Delete(u64),
    Locked {
        columns: Vec<ResultColumn>,
        rows: Vec<Row>,
        found: u64,
    },
}

async fn attempt_once(
    ctx: &SessionContext,
    planned: &Planned,
    rows: Arc<SubqueryRows>,
    eval: &EvalContext,
    transaction: &mut Transaction,
    work: &StatementTxn,
    attempt: u32,
) -> Result<Done> {
    // An optimistic transaction reads at its start; others read the newest, as of now.
    let ts = if transaction.mode() == TxnMode::Optimistic || (work.own && attempt > 1) {
        transaction.start_ts()
    } else if attempt == 1 && work.isolation == Isolation::ReadCommitted {
        work.read_ts
    } else {
        ctx.engine.store.timestamp().await?
    };
    let runner = SubqueryRunner::new(planned.subqueries(), rows);
    let write = WriteContext {
        ctx,
        eval,
        for_update_ts: ts,
    };
    match &planned.kind {
        PlannedKind::Query { plan, .. } => {
            let (rows, found) = query::read_and_lock(ctx, plan, &runner, eval, ts, transaction).await?;
            Ok(Done::Locked {
                columns: plan.columns.clone(),
                rows,
                found,
            })
        }
        PlannedKind::Insert(plan) => insert(plan, &runner, &write, transaction, ts).await,
        PlannedKind::Update(plan) => {
            let tables = plan
                .targets
                .iter()
                .map(|target| ctx.engine.table_cache.writable(&target.table.info))
                .collect::<Result<Vec<_>>>()?;
            let rt = Runtime {
                ctx,
                view: ReadView {
                    store: &ctx.engine.store,
                    txn: Some(transaction),
                    ts,
                },
                eval: eval.clone(),
                subqueries: &runner,
            };
            let (read, memory) = collect(&plan.rows, &rt, usize::MAX).await?;
            let used = used_subqueries(plan.assignments.iter().map(|a| &a.value));
            let mut rows = Vec::with_capacity(read.len());
            for (at, row) in read.into_iter().enumerate() {
                eval.row_number
                    .store(at as u64 + 1, std::sync::atomic::Ordering::Relaxed);
                if !used.is_empty() {
                    runner.prepare(&rt, &used, &row).await?;
                }
                let news = new_values(plan, &tables, &row, eval)?;
                rows.push((row, news));
            }
            drop(rt);
            let updated = update_rows(plan, &tables, rows, transaction, &write).await?;
            drop(memory);
            Ok(Done::Update {
                matched: updated.matched,
                changed: updated.changed,
            })
        }
        PlannedKind::Delete(plan) => {
            let tables = plan
                .targets
                .iter()
                .map(|target| ctx.engine.table_cache.writable(&target.table.info))
                .collect::<Result<Vec<_>>>()?;
            let rt = Runtime {
                ctx,
                view: ReadView {
                    store: &ctx.engine.store,
                    txn: Some(transaction),
                    ts,
                },
                eval: eval.clone(),
                subqueries: &runner,
            };
            let (rows, memory) = collect(&plan.rows, &rt, usize::MAX).await?;
            drop(rt);
            let deleted = delete_rows(plan, &tables, &rows, transaction, &write).await?;
            drop(memory);
            Ok(Done::Delete(deleted))
        }
    }
}

async fn insert(
    plan: &InsertPlan,
    runner: &SubqueryRunner<'_>,
    write: &WriteContext<'_>,
    transaction: &mut Transaction,
    ts: Timestamp,
) -> Result<Done> {
    let ctx = write.ctx;
    let table = ctx.engine.table_cache.writable(&plan.table.info)?;
    let collision = match (&plan.on_duplicate, plan.replace, plan.ignore) {
        (Some(update), ..) => Collision::Update(update),
        (None, true, _) => Collision::Replace,
        (None, false, true) => Collision::Skip,
        _ => Collision::Fail,
    };
    let mut numbers = Numbers::default();
    let mut written = Written::default();
    let several = match &plan.source {
        InsertSource::Values(rows) => {
            let single = rows.len() == 1;
            for chunk in rows.chunks(WRITE_ROWS) {
                ctx.statement.check()?;
                let made = {
                    let rt = Runtime {
                        ctx,
                        view: ReadView {
                            store: &ctx.engine.store,
                            txn: Some(transaction),
                            ts,
                        },
                        eval: write.eval.clone(),
                        subqueries: runner,
                    };
                    value_rows(plan, &table, chunk, written.records, single, &rt).await?
                };
                write_rows(
                    &table,
                    made,
                    collision,
                    transaction,
                    write,
                    &mut numbers,
                    &mut written,
                )
                .await?;
            }
            !single
        }
        InsertSource::Query(query) => {
            // Read to its end first: it may read the table that is written.
            let (rows, memory) = {
                let rt = Runtime {
                    ctx,
                    view: ReadView {
                        store: &ctx.engine.store,
                        txn: Some(transaction),
                        ts,
                    },
                    eval: write.eval.clone(),
                    subqueries: runner,
                };
                collect(&query.root, &rt, usize::MAX).await?
            };
            let types: Vec<_> = query
                .columns
                .iter()
                .map(|column| column.field_type.clone())
                .collect();
            let mut rows = rows.into_iter();
            loop {
                let chunk: Vec<Row> = rows.by_ref().take(WRITE_ROWS).collect();
                if chunk.is_empty() {
                    break;
                }
                ctx.statement.check()?;
                let made = query_rows(plan, &table, chunk, &types, written.records, write.eval)?;
                write_rows(
                    &table,
                    made,
                    collision,
                    transaction,
                    write,
                    &mut numbers,
                    &mut written,
                )
                .await?;
            }
            drop(memory);
            true
        }
    };
    Ok(Done::Insert {
        written,
        numbers,
        several,
    })
}

async fn finish(
    ctx: &mut SessionContext,
    made: &Facts,
    done: Done,
    sink: &mut dyn ResultSink,
) -> Result<StatementOutcome> {
    let set = take_over(ctx, made);
    let warnings = ctx.warnings.count();
    Ok(match done {
        Done::Insert {
            written,
            numbers,
            several,
        } => {
            if let Some(first) = numbers.first_generated {
                ctx.last_insert_id = first;
            }
            let told = numbers.first_generated.or(set).or(numbers.last_given);
            StatementOutcome {
                affected: written.affected,
                last_insert_id: told.unwrap_or_default(),
                info: if several {
                    format!(
                        "Records: {}  Duplicates: {}  Warnings: {warnings}",
                        written.records, written.duplicates
                    )
                } else {
                    String::new()
                },
                ..StatementOutcome::default()
            }
        }
        Done::Update { matched, changed } => StatementOutcome {
            affected: if ctx.client_found_rows { matched } else { changed },
            last_insert_id: set.unwrap_or_default(),
            info: format!("Rows matched: {matched}  Changed: {changed}  Warnings: {warnings}"),
            ..StatementOutcome::default()
        },
        Done::Delete(deleted) => StatementOutcome {
            affected: deleted,
            ..StatementOutcome::default()
        },
        Done::Locked { columns, rows, found } => {
            sink.columns(&columns).await?;
            let sent = rows.len() as u64;
            for batch in rows.chunks(BATCH_ROWS) {
                sink.rows(batch).await?;
            }
            if found != sent {
                ctx.found_rows = found;
            }
            StatementOutcome {
                rows_sent: Some(sent),
                keeps_found_rows: found != sent,
                ..StatementOutcome::default()
            }
        }
    })
}
