//! The value of an expression that stands alone: in SET, DO, KILL, and the options of ADMIN.

use async_trait::async_trait;
use bytes::Bytes;
use ilmenite_codec::Datum;
use sqlparser::ast as sql;

use crate::context::SessionContext;
use crate::error::{Error, Result};
use crate::exec;
use crate::parse::{LexMode, Statement, literal_value, parse_single};
use crate::result::{OkInfo, ResultColumn, ResultSink, Row};

/// Keeps what a query returns: for queries of the server's own.
#[derive(Default)]
pub struct Captured {
    pub columns: Vec<ResultColumn>,
    pub rows: Vec<Row>,
}

/// A query of the server's own returns few rows, or is wrong.
const MAX_CAPTURED_ROWS: usize = 100_000;

#[async_trait]
impl ResultSink for Captured {
    async fn columns(&mut self, columns: &[ResultColumn]) -> Result<()> {
        self.columns = columns.to_vec();
        Ok(())
    }

    async fn rows(&mut self, rows: &[Row]) -> Result<()> {
        if self.rows.len() + rows.len() > MAX_CAPTURED_ROWS {
            return Err(Error::out_of_memory(self.rows.len()));
        }
        self.rows.extend_from_slice(rows);
        Ok(())
    }

    async fn finish(&mut self, _info: OkInfo) -> Result<()> {
        Ok(())
    }

    async fn request_file(&mut self, _name: &str) -> Result<()> {
        Err(Error::unknown_command())
    }

    async fn read_file(&mut self) -> Result<Bytes> {
        Err(Error::unknown_command())
    }
}

/// The value of `expr`. Columns are unknown to it (1054); subqueries, functions and variables are not.
pub async fn evaluate(ctx: &mut SessionContext, expr: &sql::Expr, params: &[Datum]) -> Result<Datum> {
    if let Some(literal) = literal_value(expr) {
        return Ok(literal);
    }
    let query = select(expr)?;
    let mut captured = Captured::default();
    exec::run_query_or_dml(ctx, &query, params, &mut captured).await?;
    let row = captured.rows.pop().unwrap_or_default();
    row.into_iter()
        .next()
        .ok_or_else(|| Error::bug("SELECT of one expression returned nothing"))
}

/// `SELECT expr`
fn select(expr: &sql::Expr) -> Result<sql::Statement> {
    let Statement::Query(mut statement) = parse_single(b"SELECT 1", LexMode::default())?.statement else {
        return Err(Error::bug("SELECT 1 is no query"));
    };
    if let sql::Statement::Query(query) = &mut *statement
        && let sql::SetExpr::Select(select) = query.body.as_mut()
    {
        select.projection = vec![sql::SelectItem::UnnamedExpr(expr.clone())];
    }
    Ok(*statement)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expr(text: &str) -> sql::Expr {
        let parsed = parse_single(format!("DO {text}").as_bytes(), LexMode::default()).unwrap();
        match parsed.statement {
            Statement::Do(mut list) => list.remove(0),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn other_expressions_become_a_select() {
        let query = select(&expr("CONCAT(@@sql_mode, ',X')")).unwrap();
        assert_eq!(query.to_string(), "SELECT CONCAT(@@sql_mode, ',X')");
    }
}
