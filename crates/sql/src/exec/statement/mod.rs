//! Statements: planned, and run in a transaction.

use async_trait::async_trait;
use bytes::Bytes;
use ilmenite_codec::Datum;
use ilmenite_store::Timestamp;
use sqlparser::ast::{self, Statement};

use super::facts::{Strictness, UsedVariables, build_options, facts};
use crate::context::SessionContext;
use crate::error::{Error, Result};
use crate::plan::{
    Binder, DeletePlan, InsertPlan, PlanEnv, QueryPlan, StatementTables, SubqueryPlan, UpdatePlan,
    bind_delete, bind_insert, bind_update,
};
use crate::result::{OkInfo, ResultColumn, ResultSink, Row, StatementOutcome};
use crate::txn;

mod attempt;

pub(crate) use attempt::run_planned;

/// A statement planned.
pub(crate) struct Planned {
    pub kind: PlannedKind,
    pub variables: UsedVariables,
    /// Database, name and version of each table the plan was made for.
    pub tables: StatementTables,
}

pub(crate) enum PlannedKind {
    Query {
        plan: Box<QueryPlan>,
        subqueries: Vec<SubqueryPlan>,
    },
    Insert(Box<InsertPlan>),
    Update(Box<UpdatePlan>),
    Delete(Box<DeletePlan>),
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
            let plan = Box::new(binder.query_under(query, None)?);
            PlannedKind::Query {
                plan,
                subqueries: binder.finish()?,
            }
        }
        Statement::Insert(insert) => PlannedKind::Insert(Box::new(bind_insert(&env, insert)?)),
        Statement::Update(update) => PlannedKind::Update(Box::new(bind_update(&env, update)?)),
        Statement::Delete(delete) => PlannedKind::Delete(Box::new(bind_delete(&env, delete)?)),
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
