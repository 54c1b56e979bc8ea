//! The context a statement's expressions are evaluated in, made from the session's; one for each statement.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ilmenite_types::{Datum, FieldFlags, FieldType, TypeCode};
use parking_lot::Mutex;

use crate::context::SessionContext;
use crate::engine::{SERVER_VERSION, SERVER_VERSION_DETAIL};
use crate::variables::{Kind, Scope, find};
use ilmenite_error::{Error, Result};
use ilmenite_expr::{BuildOptions, EvalContext, StatementFacts, Subqueries, Variables};
use ilmenite_planner::UsedVariables;

/// `@x` and `@@x` during one statement.
struct StatementVariables {
    user: Arc<Mutex<HashMap<String, Datum>>>,
    /// Those the statement names: none changes while it runs.
    system: HashMap<(String, bool), Datum>,
}

impl Variables for StatementVariables {
    fn user_variable(&self, name: &str) -> Datum {
        self.user.lock().get(name).cloned().unwrap_or(Datum::Null)
    }

    fn set_user_variable(&self, name: &str, value: Datum) -> Result<()> {
        self.user.lock().insert(name.to_owned(), value);
        Ok(())
    }

    fn system_variable(&self, name: &str, global: bool) -> Result<Datum> {
        self.system
            .get(&(name.to_owned(), global))
            .cloned()
            .ok_or_else(|| Error::bug(format!("the value of {name} was not looked up")))
    }
}

fn system_variable(ctx: &SessionContext, name: &str, global: bool) -> Result<Datum> {
    let scope = if global { Scope::Global } else { Scope::Any };
    let (_, def) = find(name)?;
    Ok(variable_datum(def.kind, &ctx.variable(name, scope)?))
}

/// A system variable's value as `SELECT @@x` gives it.
fn variable_datum(kind: Kind, text: &str) -> Datum {
    let bytes = || Datum::Bytes(text.to_owned().into_bytes().into());
    match kind {
        Kind::Bool => match text {
            "ON" => Datum::Int(1),
            "OFF" => Datum::Int(0),
            _ => bytes(),
        },
        Kind::Int { .. } => text.parse().map_or_else(|_| bytes(), Datum::Int),
        Kind::UInt { .. } | Kind::UIntOrMinusOne { .. } | Kind::Bytes { .. } => {
            text.parse().map_or_else(|_| bytes(), Datum::UInt)
        }
        Kind::Double { .. } => text.parse().map_or_else(|_| bytes(), Datum::Double),
        Kind::Charset { nullable: true } if text.is_empty() => Datum::Null,
        _ => bytes(),
    }
}

/// The type of a system variable in expressions; 1193 when there is none.
pub(crate) fn variable_type(name: &str) -> Result<FieldType> {
    let (_, def) = find(name)?;
    let mut ty = match def.kind {
        Kind::Bool | Kind::Int { .. } => FieldType::new(TypeCode::LongLong),
        Kind::UInt { .. } | Kind::UIntOrMinusOne { .. } | Kind::Bytes { .. } => {
            let mut ty = FieldType::new(TypeCode::LongLong);
            ty.flags.set(FieldFlags::UNSIGNED, true);
            ty
        }
        Kind::Double { .. } => FieldType::new(TypeCode::Double),
        _ => FieldType::new(TypeCode::VarString),
    };
    ty.flen = match ty.tp {
        TypeCode::LongLong => 20,
        TypeCode::Double => 23,
        _ => 1024,
    };
    Ok(ty)
}

/// What a session says about how expressions are read.
pub(crate) fn build_options(ctx: &SessionContext) -> BuildOptions {
    BuildOptions {
        sql_mode: ctx.vars.sql_mode,
        database: ctx.database.clone(),
        collation: ctx.vars.collation_connection,
        div_precision_increment: ctx.vars.div_precision_increment,
    }
}

/// What the statement's expressions know. Variables and subqueries join it when it is planned (`begin_run`). `writes`: it is
/// to write rows.
pub(crate) fn eval_context(ctx: &SessionContext, writes: bool, params: &[Datum]) -> EvalContext {
    let now_micros = match ctx.vars.fixed_timestamp {
        Some(seconds) => (seconds * 1e6) as i64,
        None => ctx.statement.now.as_microsecond(),
    };
    let eval = EvalContext::new(StatementFacts {
        now_micros,
        time_zone: ctx.vars.time_zone.clone(),
        sql_mode: ctx.vars.sql_mode,
        writes,
        connection_id: ctx.connection_id,
        users: ctx.users.clone(),
        database: ctx.database.clone(),
        version: SERVER_VERSION,
        version_detail: SERVER_VERSION_DETAIL,
        last_insert_id: AtomicU64::new(ctx.last_insert_id),
        row_count: ctx.row_count,
        found_rows: ctx.found_rows,
        max_allowed_packet: ctx.vars.max_allowed_packet,
        group_concat_max_len: ctx.vars.group_concat_max_len,
        div_precision_increment: ctx.vars.div_precision_increment,
        default_week_format: ctx.vars.default_week_format,
        cancel: ctx.statement.cancel.clone(),
        locks: Some(ctx.engine.user_locks.clone()),
        ..StatementFacts::default()
    });
    match params {
        [] => eval,
        params => eval.with_params(params.to_vec()),
    }
}

/// The user variables of a statement that runs. They cost a copy, and are there only when it names a variable.
pub(super) struct RunVariables {
    user: Option<Arc<Mutex<HashMap<String, Datum>>>>,
}

impl RunVariables {
    /// Another attempt begins.
    pub(super) fn start_over(&self, ctx: &SessionContext) {
        if let Some(user) = &self.user {
            user.lock().clone_from(&ctx.user_vars);
        }
    }
}

/// The statement is planned and begins to run. What planning warned of counts no more. `ignore`: errors of values are
/// warnings.
pub(super) fn begin_run(
    ctx: &SessionContext,
    eval: &EvalContext,
    used: &UsedVariables,
    ignore: bool,
    subqueries: Option<Arc<dyn Subqueries>>,
) -> Result<RunVariables> {
    eval.start_over();
    eval.ignore.store(ignore, Ordering::Relaxed);
    let joined = || Error::bug("a statement begins to run twice");
    if let Some(subqueries) = subqueries {
        eval.subqueries.set(subqueries).map_err(|_| joined())?;
    }
    if !used.any() {
        return Ok(RunVariables { user: None });
    }
    let user = Arc::new(Mutex::new(ctx.user_vars.clone()));
    let mut system = HashMap::new();
    for (name, global) in &used.system {
        system.insert((name.clone(), *global), system_variable(ctx, name, *global)?);
    }
    let variables: Arc<dyn Variables> = Arc::new(StatementVariables {
        user: user.clone(),
        system,
    });
    eval.variables.set(variables).map_err(|_| joined())?;
    Ok(RunVariables { user: Some(user) })
}

/// Takes over what evaluating changed: warnings, user variables, LAST_INSERT_ID(n). Returns the latter.
pub(super) fn take_over(
    ctx: &mut SessionContext,
    eval: &EvalContext,
    variables: &RunVariables,
) -> Option<u64> {
    for warning in eval.warnings.list() {
        ctx.warnings.push(warning.level, warning.code, warning.message);
    }
    if let Some(user) = &variables.user {
        ctx.user_vars = user.lock().clone();
    }
    let set = eval.set_last_insert_id.load(Ordering::Relaxed);
    let set = u64::try_from(set).ok();
    if let Some(id) = set {
        ctx.last_insert_id = id;
    }
    set
}
