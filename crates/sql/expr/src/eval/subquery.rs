//! Subqueries inside expressions: the executor runs them, here is what their rows mean.

use ilmenite_error::{Error, Result};
use ilmenite_types::{Datum, FieldType};

use crate::context::{EvalContext, SubqueryId, SubqueryNeed};
use crate::kernel::compare::{self, CmpOp, Comparer};
use crate::node::{Expr, SubqueryUse};
use crate::value;

/// The value of a subquery used as `usage` says; `args` are the values it is compared with.
pub(super) fn eval(
    args: &[Expr],
    row: &[Datum],
    ctx: &EvalContext,
    id: SubqueryId,
    usage: SubqueryUse,
    comparers: &[Comparer],
    columns: &[FieldType],
) -> Result<Datum> {
    let runner = ctx
        .subqueries
        .get()
        .ok_or_else(|| Error::bug("no executor for subqueries"))?;
    let boolean = |value: Option<bool>| value.map_or(Datum::Null, |b| Datum::Int(b.into()));
    match usage {
        SubqueryUse::Scalar => {
            let rows = runner.rows(id, SubqueryNeed::Two, row, ctx)?;
            match &rows[..] {
                [] => Ok(Datum::Null),
                [only] => only
                    .first()
                    .cloned()
                    .ok_or_else(|| Error::bug("a scalar subquery gave a row without columns")),
                _ => Err(Error::subquery_more_than_one_row()),
            }
        }
        SubqueryUse::Exists { negated } => {
            let rows = runner.rows(id, SubqueryNeed::One, row, ctx)?;
            Ok(Datum::Int(i64::from(rows.is_empty() == negated)))
        }
        SubqueryUse::In { negated } => {
            let rows = runner.rows(id, SubqueryNeed::All, row, ctx)?;
            let left = left_values(args, row, ctx)?;
            let found = any(&left, &rows, CmpOp::Eq, comparers, columns, ctx)?;
            Ok(boolean(found.map(|b| b != negated)))
        }
        SubqueryUse::Any(op) => {
            let rows = runner.rows(id, SubqueryNeed::All, row, ctx)?;
            let left = left_values(args, row, ctx)?;
            Ok(boolean(any(&left, &rows, op, comparers, columns, ctx)?))
        }
        SubqueryUse::All(op) => {
            let rows = runner.rows(id, SubqueryNeed::All, row, ctx)?;
            let left = left_values(args, row, ctx)?;
            let mut unknown = false;
            for row in rows.iter() {
                match compare_row(&left, row, op, comparers, columns, ctx)? {
                    Some(false) => return Ok(Datum::Int(0)),
                    None => unknown = true,
                    Some(true) => {}
                }
            }
            Ok(boolean(if unknown { None } else { Some(true) }))
        }
    }
}

fn left_values(args: &[Expr], row: &[Datum], ctx: &EvalContext) -> Result<Vec<Datum>> {
    args.iter().map(|arg| arg.eval(row, ctx)).collect()
}

fn any(
    left: &[Datum],
    rows: &[Vec<Datum>],
    op: CmpOp,
    comparers: &[Comparer],
    columns: &[FieldType],
    ctx: &EvalContext,
) -> Result<Option<bool>> {
    let mut unknown = false;
    for row in rows {
        match compare_row(left, row, op, comparers, columns, ctx)? {
            Some(true) => return Ok(Some(true)),
            None => unknown = true,
            Some(false) => {}
        }
    }
    Ok(if unknown { None } else { Some(false) })
}

/// Column by column; more than one column only ever meets `=`.
fn compare_row(
    left: &[Datum],
    row: &[Datum],
    op: CmpOp,
    comparers: &[Comparer],
    columns: &[FieldType],
    ctx: &EvalContext,
) -> Result<Option<bool>> {
    let mut unknown = false;
    for (((l, r), comparer), ty) in left.iter().zip(row).zip(comparers).zip(columns) {
        // Members of ENUM and SET meet texts by name.
        let by_name = matches!(r, Datum::Enum(_) | Datum::Set(_)) && matches!(comparer, Comparer::Bytes(_));
        let converted = if by_name {
            Some(Datum::Bytes(value::text_of(r, ty)))
        } else {
            None
        };
        match compare::compare(op, comparer, l, converted.as_ref().unwrap_or(r), ctx)? {
            Some(false) => return Ok(Some(false)),
            None => unknown = true,
            Some(true) => {}
        }
    }
    Ok(if unknown { None } else { Some(true) })
}
