//! EXPLAIN and EXPLAIN ANALYZE.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use ilmenite_types::{Datum, FieldType, TypeCode};
use sqlparser::ast::Statement;

use super::eval_context::eval_context;
use super::plan::{is_dml, plan};
use super::run_query_or_dml;
use super::tables::StatementTables;
use crate::context::SessionContext;
use ilmenite_error::{Error, Result};
use ilmenite_executor::{OkInfo, ResultSink, Row, StatementOutcome};
use ilmenite_parser::{Explain, ExplainFormat, ExplainTarget};
use ilmenite_planner::{PlanMode, ResultColumn};

/// EXPLAIN of a query or of DML.
pub(crate) async fn explain(
    ctx: &mut SessionContext,
    explain: &Explain,
    params: &[Datum],
    sink: &mut dyn ResultSink,
) -> Result<StatementOutcome> {
    let ExplainTarget::Query(statement) = &explain.target else {
        return Err(Error::not_supported_yet("EXPLAIN of this statement"));
    };
    let result = explain_inner(ctx, statement, params, explain.format, explain.analyze).await;
    ctx.txn.statement_done();
    let (columns, rows) = result?;
    sink.columns(&columns.into()).await?;
    sink.rows(&rows).await?;
    Ok(StatementOutcome {
        rows_sent: Some(rows.len() as u64),
        ..StatementOutcome::default()
    })
}

async fn explain_inner(
    ctx: &mut SessionContext,
    statement: &Statement,
    params: &[Datum],
    format: ExplainFormat,
    analyze: bool,
) -> Result<(Vec<ResultColumn>, Vec<Row>)> {
    let read_ts = match ctx.txn.start_ts() {
        Some(ts) => ts,
        None => ctx.engine.store.timestamp().await?,
    };
    let tables = StatementTables::of(ctx, statement).await?;
    let eval = eval_context(ctx, is_dml(statement), params);
    let planned = plan(ctx, statement, &tables, &eval, read_ts, PlanMode::default())?;
    let mut rows = ilmenite_planner::explain(&planned, &eval);
    let ran = if analyze {
        let began = Instant::now();
        let mut counter = Counter;
        let outcome = run_query_or_dml(ctx, statement, params, &mut counter).await?;
        let count = outcome.rows_sent.unwrap_or(outcome.affected);
        Some((count, began.elapsed()))
    } else {
        None
    };
    if format == ExplainFormat::Brief {
        // Without the numbers that tell operators of one kind apart.
        for row in &mut rows {
            if let Some(at) = row.id.rfind('_')
                && row.id[at + 1..].bytes().all(|b| b.is_ascii_digit())
            {
                row.id.truncate(at);
            }
        }
    }
    let column = |name: &str| {
        let mut ty = FieldType::new(TypeCode::VarString);
        ty.flen = 1024;
        ResultColumn::computed(name, ty)
    };
    if format == ExplainFormat::Tree {
        let text = rows
            .iter()
            .map(|row| {
                format!("{} (rows={}) {} {}", row.id, row.rows, row.access, row.info)
                    .trim_end()
                    .to_owned()
            })
            .collect::<Vec<_>>()
            .join("\n");
        return Ok((vec![column("EXPLAIN")], vec![vec![text_datum(text)]]));
    }
    let mut names = vec!["id", "estRows"];
    if ran.is_some() {
        names.push("actRows");
    }
    names.extend(["task", "access object"]);
    if ran.is_some() {
        names.push("execution info");
    }
    names.push("operator info");
    let mut result = Vec::with_capacity(rows.len());
    for (at, row) in rows.into_iter().enumerate() {
        let mut out = vec![text_datum(row.id), text_datum(row.rows)];
        // Counted is what the whole statement gave: operators below have none of their own.
        let own = ran.filter(|_| at == 0);
        if ran.is_some() {
            out.push(own.map_or(Datum::Null, |(count, _)| text_datum(count.to_string())));
        }
        out.extend([text_datum(row.task), text_datum(row.access)]);
        if ran.is_some() {
            out.push(own.map_or(Datum::Null, |(_, time)| text_datum(format!("time:{time:.1?}"))));
        }
        out.push(text_datum(row.info));
        result.push(out);
    }
    Ok((names.into_iter().map(column).collect(), result))
}

fn text_datum(text: impl Into<String>) -> Datum {
    Datum::Bytes(Bytes::from(text.into().into_bytes()))
}

/// Takes rows in and forgets them.
struct Counter;

#[async_trait::async_trait]
impl ResultSink for Counter {
    async fn columns(&mut self, _columns: &Arc<[ResultColumn]>) -> Result<()> {
        Ok(())
    }

    async fn rows(&mut self, _rows: &[Row]) -> Result<()> {
        Ok(())
    }

    async fn finish(&mut self, _info: OkInfo) -> Result<()> {
        Ok(())
    }

    async fn request_file(&mut self, _name: &str) -> Result<()> {
        Ok(())
    }

    async fn read_file(&mut self) -> Result<Bytes> {
        Ok(Bytes::new())
    }
}
