//! Small results made in memory: columns, rows, a WHERE over them, and their way to the client.

use ilmenite_store::Timestamp;
use ilmenite_types::{Datum, FieldFlags, FieldType, Time, TimeKind, TypeCode};
use jiff::tz::TimeZone;
use sqlparser::ast as sql;

use crate::context::SessionContext;
use ilmenite_error::{Error, Result};
use ilmenite_executor::{ResultSink, Row, StatementOutcome};
use ilmenite_expr::{BuildOptions, ColumnName, EvalContext, Expr, ExprBuilder, Scope, StatementFacts};
use ilmenite_planner::ResultColumn;

#[derive(Debug, Clone, Default)]
pub(crate) struct RowSet {
    pub columns: Vec<ResultColumn>,
    pub rows: Vec<Row>,
}

/// A text column of up to `chars` characters.
pub(crate) fn text_column(name: &str, chars: i32) -> ResultColumn {
    let mut field_type = FieldType::new(TypeCode::Varchar);
    field_type.flen = chars;
    ResultColumn::computed(name, field_type)
}

pub(crate) fn int_column(name: &str) -> ResultColumn {
    let mut field_type = FieldType::new(TypeCode::LongLong);
    field_type.flen = 20;
    field_type.decimal = 0;
    ResultColumn::computed(name, field_type)
}

pub(crate) fn uint_column(name: &str) -> ResultColumn {
    let mut column = int_column(name);
    column.field_type.flags.set(FieldFlags::UNSIGNED, true);
    column
}

/// A DATETIME with microseconds.
pub(crate) fn datetime_column(name: &str) -> ResultColumn {
    let mut field_type = FieldType::new(TypeCode::DateTime);
    field_type.flen = 26;
    field_type.decimal = 6;
    ResultColumn::computed(name, field_type)
}

/// A store timestamp as DATETIME(6) in the session's time zone.
pub(crate) fn datetime(ts: Timestamp, zone: &TimeZone) -> Result<Datum> {
    let micros = i64::try_from(ts.millis().saturating_mul(1000)).unwrap_or(i64::MAX);
    Ok(Datum::Time(Time::from_unix_micros(
        micros,
        zone,
        TimeKind::DateTime,
        6,
    )?))
}

/// NULL for what has not happened yet.
pub(crate) fn maybe_datetime(ts: Option<Timestamp>, zone: &TimeZone) -> Result<Datum> {
    ts.map_or(Ok(Datum::Null), |ts| datetime(ts, zone))
}

struct RowScope<'a>(&'a [ResultColumn]);

impl Scope for RowScope<'_> {
    fn column(&mut self, name: &ColumnName<'_>) -> Result<Expr> {
        self.0
            .iter()
            .position(|c| name.table.is_none() && c.name.eq_ignore_ascii_case(name.column))
            .map(|at| Expr::column(at, self.0[at].field_type.clone(), &self.0[at].name))
            .ok_or_else(|| Error::unknown_column(name, "where clause"))
    }
}

impl RowSet {
    pub(crate) fn new(columns: Vec<ResultColumn>) -> Self {
        RowSet {
            columns,
            rows: Vec::new(),
        }
    }

    /// Keeps the rows for which the condition holds; columns are called as the client sees them.
    pub(crate) fn filter(&mut self, ctx: &SessionContext, condition: &sql::Expr) -> Result<()> {
        let options = BuildOptions {
            sql_mode: ctx.vars.sql_mode,
            database: ctx.database.clone(),
            collation: ctx.vars.collation_connection,
            div_precision_increment: ctx.vars.div_precision_increment,
        };
        let mut scope = RowScope(&self.columns);
        let condition = ExprBuilder::new(&mut scope, &options).build(condition)?;
        let eval = EvalContext::new(StatementFacts {
            now_micros: ctx.statement.now.as_microsecond(),
            time_zone: ctx.vars.time_zone.clone(),
            sql_mode: ctx.vars.sql_mode,
            connection_id: ctx.connection_id,
            users: ctx.users.clone(),
            database: ctx.database.clone(),
            cancel: ctx.statement.cancel.clone(),
            ..StatementFacts::default()
        });
        let mut kept = Vec::with_capacity(self.rows.len());
        for row in std::mem::take(&mut self.rows) {
            if condition.eval_bool(&row, &eval)? == Some(true) {
                kept.push(row);
            }
        }
        self.rows = kept;
        Ok(())
    }

    /// Sends all of it; the final OK is the session's.
    pub(crate) async fn send(self, sink: &mut dyn ResultSink) -> Result<StatementOutcome> {
        sink.columns(&self.columns.into()).await?;
        if !self.rows.is_empty() {
            sink.rows(&self.rows).await?;
        }
        Ok(StatementOutcome {
            rows_sent: Some(self.rows.len() as u64),
            ..StatementOutcome::default()
        })
    }
}
