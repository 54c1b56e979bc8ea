//! One statement: planned, run in a transaction, tried again where another transaction was faster.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use ilmenite_codec::Datum;
use ilmenite_store::{Timestamp, Transaction, TxnMode};
use rand::Rng;
use sqlparser::ast::{self, Statement};

use super::facts::{Facts, Strictness, UsedVariables, build_options, facts, sql_mode, take_over};
use super::insert::{Collision, WRITE_ROWS, Written, query_rows, value_rows, write_rows};
use super::query;
use super::runtime::{ReadView, Runtime, SubqueryRows, SubqueryRunner, collect, used_subqueries};
use super::update::{delete_rows, new_values, update_rows};
use super::write::{Numbers, WriteContext};
use crate::context::SessionContext;
use crate::error::{Error, Result};
use crate::expr::{EvalContext, Subqueries};
use crate::plan::{
    Binder, DeletePlan, InsertPlan, InsertSource, PlanEnv, QueryPlan, StatementTables, SubqueryPlan,
    UpdatePlan, bind_delete, bind_insert, bind_update,
};
use crate::result::{OkInfo, ResultColumn, ResultSink, Row, StatementOutcome};
use crate::txn::{self, StatementTxn};
use crate::variables::Isolation;

/// A statement planned.
pub(crate) struct Planned {
    pub kind: PlannedKind,
    pub variables: UsedVariables,
    /// Database, name and version of each table the plan was made for.
    pub tables: StatementTables,
}

pub(crate) enum PlannedKind {
    Query {
        plan: QueryPlan,
        subqueries: Vec<SubqueryPlan>,
    },
    Insert(InsertPlan),
    Update(UpdatePlan),
    Delete(DeletePlan),
}

impl Planned {
    pub fn subqueries(&self) -> &[SubqueryPlan] {
        match &self.kind {
            PlannedKind::Query { subqueries, .. } => subqueries,
            PlannedKind::Insert(plan) => &plan.subqueries,
            PlannedKind::Update(plan) => &plan.subqueries,
            PlannedKind::Delete(plan) => &plan.subqueries,
        }
    }

    fn strictness(&self) -> Strictness {
        match &self.kind {
            PlannedKind::Query { .. } => Strictness::default(),
            PlannedKind::Insert(plan) => Strictness {
                writes: true,
                ignore: plan.ignore,
            },
            PlannedKind::Update(plan) => Strictness {
                writes: true,
                ignore: plan.ignore,
            },
            PlannedKind::Delete(_) => Strictness {
                writes: true,
                ignore: false,
            },
        }
    }
}

/// Does the statement write, or lock what it reads?
pub(crate) fn writes(statement: &Statement) -> bool {
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

/// How planning is asked for.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct PlanMode {
    /// No values for `?` yet.
    pub describing: bool,
    /// The plan will be used again with other values.
    pub keep: bool,
}

/// Plans a statement for reading at `read_ts`.
pub(crate) fn plan(
    ctx: &SessionContext,
    statement: &Statement,
    tables: StatementTables,
    params: &[Datum],
    read_ts: Timestamp,
    mode: PlanMode,
) -> Result<Planned> {
    let options = build_options(ctx);
    let writes = !matches!(statement, Statement::Query(_));
    let strictness = Strictness {
        writes,
        ignore: false,
    };
    let eval = facts(
        ctx,
        options.sql_mode,
        strictness,
        params,
        &UsedVariables::default(),
        None,
    )?
    .eval;
    let env = PlanEnv {
        ctx,
        tables: &tables,
        options,
        eval,
        params,
        read_ts,
        describing: mode.describing,
        keep: mode.keep,
        variables: Default::default(),
    };
    let kind = match statement {
        Statement::Query(query) => {
            let mut binder = Binder::new(&env);
            let plan = binder.query_under(query, None)?;
            PlannedKind::Query {
                plan,
                subqueries: binder.finish()?,
            }
        }
        Statement::Insert(insert) => PlannedKind::Insert(bind_insert(&env, insert)?),
        Statement::Update(update) => PlannedKind::Update(bind_update(&env, update)?),
        Statement::Delete(delete) => PlannedKind::Delete(bind_delete(&env, delete)?),
        other => return Err(Error::not_supported_yet(other)),
    };
    let variables = env.variables.into_inner();
    Ok(Planned {
        kind,
        variables,
        tables,
    })
}

/// Runs a SELECT, INSERT, REPLACE, UPDATE or DELETE. Rows go to `sink`; the final OK is the caller's.
pub async fn run_query_or_dml(
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
    let work = txn::take(ctx, transactional(ctx, statement)).await?;
    let planned = async {
        let tables = StatementTables::of(ctx, statement).await?;
        plan(ctx, statement, tables, params, work.read_ts, PlanMode::default())
    }
    .await;
    let planned = match planned {
        Ok(planned) => planned,
        Err(e) => {
            txn::give_back(ctx, work);
            return Err(e);
        }
    };
    run_planned(ctx, &planned, params, work, sink).await
}

/// FOR UPDATE locks nothing for longer than its statement when that is a transaction by itself: it is a plain read then.
pub(crate) fn transactional(ctx: &SessionContext, statement: &Statement) -> bool {
    match statement {
        Statement::Query(_) => writes(statement) && (ctx.txn.in_transaction() || !ctx.vars.autocommit),
        _ => true,
    }
}

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
        sql_mode(ctx),
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
            let cancel = shared.statement.cancel.clone();
            let reading = query::send(shared, plan, planned.subqueries(), rows, &made.eval, &work, sink);
            tokio::select! {
                result = reading => result,
                () = cancel.cancelled() => Err(shared.statement.stop_error()),
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
            let cancel = shared.statement.cancel.clone();
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
                result = attempted => result,
                () = cancel.cancelled() => Err(shared.statement.stop_error()),
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
            return Err(error);
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
            sql_mode(ctx),
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
            for batch in rows.chunks(super::runtime::BATCH_ROWS) {
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

/// Takes rows in, for statements the server makes itself.
#[derive(Default)]
struct Kept {
    columns: usize,
    rows: Vec<Row>,
}

#[async_trait]
impl ResultSink for Kept {
    async fn columns(&mut self, columns: &[ResultColumn]) -> Result<()> {
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
pub async fn run_query_into(
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
        let error = Error::new(1329, "No data - zero rows fetched, selected, or processed");
        ctx.warnings.warn(&error);
        return Ok(StatementOutcome::default());
    };
    if rows.next().is_some() {
        return Err(Error::new(1172, "Result consisted of more than one row"));
    }
    for (name, value) in variables.iter().zip(row) {
        ctx.user_vars.insert(name.to_lowercase(), value);
    }
    Ok(StatementOutcome {
        affected: 1,
        ..StatementOutcome::default()
    })
}

/// The value of an expression that reads no table, except in subqueries: for SET and the like.
pub async fn evaluate(ctx: &mut SessionContext, expr: &ast::Expr, params: &[Datum]) -> Result<Datum> {
    let dialect = sqlparser::dialect::MySqlDialect {};
    let mut statements = sqlparser::parser::Parser::parse_sql(&dialect, "SELECT 1")
        .map_err(|e| Error::bug(format!("SELECT 1 cannot be read: {e}")))?;
    let Some(mut statement) = statements.pop() else {
        return Err(Error::bug("SELECT 1 is no statement"));
    };
    if let Statement::Query(query) = &mut statement
        && let ast::SetExpr::Select(select) = query.body.as_mut()
    {
        select.projection = vec![ast::SelectItem::UnnamedExpr(expr.clone())];
    }
    let mut kept = Kept::default();
    let found_rows = ctx.found_rows;
    let result = run_query_or_dml(ctx, &statement, params, &mut kept).await;
    ctx.found_rows = found_rows;
    result?;
    let row = kept.rows.pop().and_then(|row| row.into_iter().next());
    row.ok_or_else(|| Error::bug("an expression gave no value"))
}
