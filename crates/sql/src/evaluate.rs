//! The value of an expression that stands alone: in SET, DO, KILL, and the options of ADMIN.

use ilmenite_codec::Datum;
use sqlparser::ast as sql;

use crate::context::SessionContext;
use crate::error::Result;
use crate::exec;
use crate::parse::literal_value;

/// Columns are unknown to it (1054); subqueries, functions and variables are not.
pub async fn evaluate(ctx: &mut SessionContext, expr: &sql::Expr, params: &[Datum]) -> Result<Datum> {
    match literal_value(expr) {
        Some(literal) => Ok(literal),
        None => exec::evaluate(ctx, expr, params).await,
    }
}
