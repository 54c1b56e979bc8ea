//! How many rows, and what they cost: rough, but enough to tell a good path from a bad one.

use super::ranges::{ColumnBound, Interval};
use crate::TableUse;
use ilmenite_expr::{EvalContext, Expr, Op};

/// What is known of a table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TableStats {
    pub rows: f64,
}

impl TableUse {
    pub(crate) fn stats(&self) -> TableStats {
        TableStats { rows: self.rows }
    }
}

/// Without statistics on values: how much of a table a condition leaves.
const EQUAL: f64 = 0.001;
const FURTHER_EQUAL: f64 = 0.1;
const ONE_SIDED: f64 = 1.0 / 3.0;
const TWO_SIDED: f64 = 1.0 / 40.0;
pub(crate) const OTHER: f64 = 0.8;

/// Cost of reading one row or entry from a scan, and of fetching one row by its key.
pub(crate) const SCAN_ROW: f64 = 1.0;
pub(crate) const SCAN_ENTRY: f64 = 0.6;
pub(crate) const FETCH_ROW: f64 = 3.0;
/// Of opening a range.
pub(crate) const SEEK: f64 = 5.0;
pub(crate) const SORT_ROW: f64 = 0.3;

/// Rows of the table within `bounds` on the first columns of a key of `key_len` columns.
pub(crate) fn rows_in(
    stats: TableStats,
    bounds: &[ColumnBound],
    key_len: usize,
    unique: bool,
    int_handle: bool,
    ctx: &EvalContext,
) -> f64 {
    let mut rows = stats.rows.max(1.0);
    let mut points = 1.0;
    let mut pinned = 0;
    for (at, bound) in bounds.iter().enumerate() {
        if let Some(count) = bound.pinned() {
            points *= count as f64;
            pinned += 1;
            let part = if at == 0 { EQUAL } else { FURTHER_EQUAL };
            rows = (rows * part).max(1.0);
            continue;
        }
        if int_handle
            && let Some(width) = bound
                .all
                .iter()
                .filter_map(|union| width(union, ctx))
                .reduce(f64::min)
        {
            return width.min(stats.rows).max(1.0);
        }
        rows *= bound
            .all
            .iter()
            .map(|union| union.iter().map(part_of).sum::<f64>().min(1.0))
            .product::<f64>();
    }
    if unique && pinned == key_len {
        return points;
    }
    (rows * points).clamp(1.0, stats.rows.max(1.0))
}

fn part_of(interval: &Interval) -> f64 {
    match interval {
        Interval::Point { .. } | Interval::Null => EQUAL,
        Interval::Between {
            low: Some(_),
            high: Some(_),
        } => TWO_SIDED,
        Interval::Between {
            low: None,
            high: None,
        } => 1.0,
        Interval::Between { .. } => ONE_SIDED,
    }
}

/// How many integers the intervals span, when that is known.
fn width(union: &[Interval], ctx: &EvalContext) -> Option<f64> {
    let mut width = 0.0;
    for interval in union {
        width += match interval {
            Interval::Point { .. } => 1.0,
            Interval::Null => 0.0,
            Interval::Between {
                low: Some(low),
                high: Some(high),
            } => (number(&high.value, ctx)? - number(&low.value, ctx)? + 1.0).max(0.0),
            Interval::Between { .. } => return None,
        };
    }
    Some(width)
}

fn number(expr: &Expr, ctx: &EvalContext) -> Option<f64> {
    if !super::condition::is_fixed(expr) {
        return None;
    }
    let mut outer = false;
    super::condition::walk(expr, &mut |node| outer |= matches!(node.op, Op::Outer { .. }));
    if outer {
        return None;
    }
    ilmenite_expr::value::to_f64(&expr.eval(&[], ctx).ok()?, ctx).ok()
}

/// How much a filter leaves.
pub(crate) fn selectivity(conditions: &[Expr]) -> f64 {
    conditions
        .iter()
        .map(|condition| match &condition.op {
            Op::CompareInt(op) | Op::Compare(op, _) => match op {
                ilmenite_expr::CmpOp::Eq | ilmenite_expr::CmpOp::NullSafeEq => EQUAL,
                ilmenite_expr::CmpOp::Ne => 1.0,
                _ => ONE_SIDED,
            },
            Op::In { negated: false, .. } => (EQUAL * condition.args.len() as f64).min(0.5),
            Op::Between { negated: false, .. } => TWO_SIDED,
            Op::IsNull { negated: false } => EQUAL,
            _ => OTHER,
        })
        .product()
}
