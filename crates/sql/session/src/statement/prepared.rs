//! Prepared statements: the plan is kept, and used again as long as the tables are those it was made for.

use std::mem::{Discriminant, discriminant};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ilmenite_catalog::Pinned;
use ilmenite_store::Timestamp;
use ilmenite_types::{Collation, Datum, TimeKind};
use sqlparser::ast::Statement;

use super::eval_context::eval_context;
use super::plan::{access, is_dml, plan};
use super::run::run_planned;
use super::tables::StatementTables;
use crate::context::SessionContext;
use ilmenite_error::Result;
use ilmenite_executor::{ResultSink, StatementOutcome};
use ilmenite_expr::EvalContext;
use ilmenite_planner::{PlanMode, Planned, PlannedKind, ResultColumn};

/// The plan of a statement that runs again and again, with what it depends on.
pub(crate) struct PreparedPlan {
    planned: Arc<Planned>,
    /// Those it was made for.
    tables: StatementTables,
    params: Vec<ParamType>,
    settings: Settings,
    made: Instant,
    /// Snapshots before it may not use the plan's indexes.
    readable_since: u64,
}

/// What of a parameter's value a plan depends on: values of other types compare and convert differently. How long a value
/// is changes nothing.
#[derive(Clone, Copy, PartialEq)]
struct ParamType {
    kind: Discriminant<Datum>,
    of_time: Option<TimeKind>,
    precision: u8,
    scale: u8,
}

impl ParamType {
    fn of(value: &Datum) -> Self {
        let (of_time, precision, scale) = match value {
            Datum::Decimal(decimal) => (None, decimal.precision(), decimal.scale()),
            Datum::Time(time) => (Some(time.kind()), 0, time.fsp()),
            Datum::Duration(duration) => (None, 0, duration.fsp()),
            _ => (None, 0, 0),
        };
        ParamType {
            kind: discriminant(value),
            of_time,
            precision,
            scale,
        }
    }
}

/// What of the session a plan depends on.
struct Settings {
    database: Option<String>,
    sql_mode: u64,
    collation: Collation,
    user: Arc<crate::privilege::UserPrivileges>,
}

impl Settings {
    fn of(ctx: &SessionContext) -> Self {
        Settings {
            database: ctx.database.clone(),
            sql_mode: ctx.vars.sql_mode.0,
            collation: ctx.vars.collation_connection,
            user: ctx.privileges.clone(),
        }
    }

    fn hold(&self, ctx: &SessionContext) -> bool {
        self.database == ctx.database
            && self.sql_mode == ctx.vars.sql_mode.0
            && self.collation == ctx.vars.collation_connection
            && (Arc::ptr_eq(&self.user, &ctx.privileges) || self.user == ctx.privileges)
    }
}

/// Tables grow, and a plan that was good for few rows is not for many.
const PLAN_AGE: Duration = Duration::from_secs(30);

/// The columns of a statement's result, for COM_STMT_PREPARE. The statement is checked as far as that can be done without
/// values for its `?`.
pub(crate) async fn describe(ctx: &mut SessionContext, statement: &Statement) -> Result<Arc<[ResultColumn]>> {
    let result = describe_inner(ctx, statement).await;
    ctx.txn.statement_done();
    result
}

async fn describe_inner(ctx: &mut SessionContext, statement: &Statement) -> Result<Arc<[ResultColumn]>> {
    let tables = StatementTables::of(ctx, statement).await?;
    let mode = PlanMode {
        describing: true,
        keep: false,
    };
    let eval = eval_context(ctx, is_dml(statement), &[]);
    let planned = plan(ctx, statement, &tables, &eval, Timestamp::MAX, mode)?;
    Ok(match planned.kind {
        PlannedKind::Query { plan, .. } => plan.columns,
        _ => Arc::default(),
    })
}

/// `run_query_or_dml` of a prepared statement: `kept` is used while it holds, and replaced when it does not.
pub(crate) async fn run_prepared(
    ctx: &mut SessionContext,
    statement: &Statement,
    kept: &mut Option<PreparedPlan>,
    params: &[Datum],
    sink: &mut dyn ResultSink,
) -> Result<StatementOutcome> {
    let result = run_inner(ctx, statement, kept, params, sink).await;
    ctx.txn.statement_done();
    result
}

async fn run_inner(
    ctx: &mut SessionContext,
    statement: &Statement,
    kept: &mut Option<PreparedPlan>,
    params: &[Datum],
    sink: &mut dyn ResultSink,
) -> Result<StatementOutcome> {
    if is_dml(statement) {
        ctx.check_writable()?;
    }
    ctx.txn.set_statement(ctx.statement.text.clone());
    let work = ctx.txn.statement(&ctx.vars, access(ctx, statement)).await?;
    let eval = eval_context(ctx, is_dml(statement), params);
    let planned = plan_again(ctx, statement, kept, &eval, work.read_ts).await?;
    run_planned(ctx, &planned, &eval, work, sink).await
}

/// The kept plan when it still holds, else a new one.
async fn plan_again(
    ctx: &SessionContext,
    statement: &Statement,
    kept: &mut Option<PreparedPlan>,
    eval: &EvalContext,
    read_ts: Timestamp,
) -> Result<Arc<Planned>> {
    let params = eval.params();
    if let Some(cached) = kept
        && cached.params.iter().copied().eq(params.iter().map(ParamType::of))
        && cached.settings.hold(ctx)
        && cached.made.elapsed() < PLAN_AGE
        && cached.readable_since <= read_ts.0
        && same_tables(ctx, &cached.tables)?
    {
        return Ok(cached.planned.clone());
    }
    let tables = StatementTables::of(ctx, statement).await?;
    let readable_since = tables
        .used()
        .flat_map(|(.., table)| table.indexes.iter().map(|index| index.readable_since))
        .max()
        .unwrap_or_default();
    let mode = PlanMode {
        describing: false,
        keep: true,
    };
    let planned = Arc::new(plan(ctx, statement, &tables, eval, read_ts, mode)?);
    // Types of user variables may change with every use.
    *kept = (!planned.variables.any()).then(|| PreparedPlan {
        planned: planned.clone(),
        tables,
        params: params.iter().map(ParamType::of).collect(),
        settings: Settings::of(ctx),
        made: Instant::now(),
        readable_since,
    });
    Ok(planned)
}

/// Are all tables, by name and as this transaction goes by them, those the plan was made for?
fn same_tables(ctx: &SessionContext, tables: &StatementTables) -> Result<bool> {
    if tables.used().next().is_none() {
        return Ok(true);
    }
    let view = ctx.engine.catalog.view();
    for (database, name, table) in tables.used() {
        let Some(found) = view.table(database, name) else {
            return Ok(false);
        };
        match ctx.txn.pin(&view, found.id)? {
            Pinned::As(pinned) if Arc::ptr_eq(&pinned, table) => {}
            _ => return Ok(false),
        }
    }
    Ok(true)
}
