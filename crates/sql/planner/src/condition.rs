//! Looking into conditions: splitting, what they read, and moving them between layouts.

use super::binder::{Binder, Block};
use ilmenite_error::Result;
use ilmenite_expr::{AggregateCall, CmpOp, Expr, Op, SubqueryId};

/// Splits at AND.
pub(crate) fn split_and(expr: Expr, into: &mut Vec<Expr>) {
    if matches!(expr.op, Op::And) {
        for arg in expr.args {
            split_and(arg, into);
        }
    } else {
        into.push(expr);
    }
}

/// Calls `f` for each node, parents first.
pub(crate) fn walk(expr: &Expr, f: &mut impl FnMut(&Expr)) {
    f(expr);
    for arg in &expr.args {
        walk(arg, f);
    }
}

/// Are the two the same computation? (What differs from call to call, like RAND(), is not.)
pub(crate) fn same_expr(a: &Expr, b: &Expr) -> bool {
    a == b && !is_volatile(a)
}

/// Does it give another value at every call, or have an effect?
pub(crate) fn is_volatile(expr: &Expr) -> bool {
    let mut volatile = false;
    walk(expr, &mut |node| volatile |= node.op.is_volatile());
    volatile
}

pub(crate) fn same_call(a: &AggregateCall, b: &AggregateCall) -> bool {
    a == b && !a.args.iter().any(is_volatile)
}

/// The subqueries used in an expression, at any depth of it.
pub fn subqueries(expr: &Expr, into: &mut Vec<SubqueryId>) {
    walk(expr, &mut |node| {
        if let Op::Subquery { id, .. } = &node.op
            && !into.contains(id)
        {
            into.push(*id);
        }
    });
}

/// Does it read nothing of the row, and give the same value throughout the statement (or the run of the subquery it is in)?
pub(crate) fn is_fixed(expr: &Expr) -> bool {
    let mut fixed = true;
    walk(expr, &mut |node| {
        fixed &= match &node.op {
            Op::Column { .. } | Op::Aggregate { .. } | Op::Subquery { .. } | Op::Row => false,
            // `@x := …` elsewhere in the statement may change it from row to row.
            Op::UserVariable(_) => true,
            op => !op.is_volatile(),
        }
    });
    fixed
}

impl Binder<'_> {
    /// The sources whose columns an expression of block `level` reads, its subqueries included, as a set of bits.
    pub(crate) fn sources_of(&self, level: usize, expr: &Expr) -> u64 {
        let block = &self.blocks[level];
        let mut set = slots_to_sources(block, expr);
        let mut used = Vec::new();
        subqueries(expr, &mut used);
        for id in used {
            if let Some(Some(subquery)) = self.subqueries.get(id.0) {
                for outer in &subquery.outer {
                    set |= self.sources_of(level, outer);
                }
            }
        }
        set
    }

    /// `rewrite`, also of what the subqueries in it read of this block.
    pub(crate) fn rewrite_all(
        &mut self,
        mut expr: Expr,
        f: &mut impl FnMut(&Expr) -> Result<Option<Expr>>,
    ) -> Result<Expr> {
        let mut used = Vec::new();
        let whole = f(&expr)?;
        if let Some(replacement) = whole {
            return Ok(replacement);
        }
        if let Op::Subquery { id, .. } = &expr.op {
            used.push(*id);
        }
        for id in used {
            let Some(outer) = self
                .subqueries
                .get_mut(id.0)
                .and_then(|s| s.as_mut())
                .map(|s| std::mem::take(&mut s.outer))
            else {
                continue;
            };
            let mut moved = Vec::with_capacity(outer.len());
            for expr in outer {
                moved.push(self.rewrite_all(expr, f)?);
            }
            if let Some(Some(subquery)) = self.subqueries.get_mut(id.0) {
                subquery.outer = moved;
            }
        }
        for arg in std::mem::take(&mut expr.args) {
            expr.args.push(self.rewrite_all(arg, f)?);
        }
        Ok(expr)
    }
}

fn slots_to_sources(block: &Block, expr: &Expr) -> u64 {
    let mut set = 0;
    walk(expr, &mut |node| {
        if let Op::Column { slot, .. } = &node.op
            && let Some(source) = block.owners.get(*slot)
        {
            set |= 1 << source;
        }
    });
    set
}

/// Is the condition not true whenever all columns of one of `sources` are NULL? (Only the plain cases.)
pub(crate) fn rejects_null(block: &Block, condition: &Expr, sources: u64) -> bool {
    let reads = |arg: &Expr| match &arg.op {
        Op::Column { slot, .. } => block
            .owners
            .get(*slot)
            .is_some_and(|source| sources & (1 << source) != 0),
        _ => false,
    };
    match &condition.op {
        Op::CompareInt(_) => condition.args.iter().any(reads),
        Op::Compare(op, _) => *op != CmpOp::NullSafeEq && condition.args.iter().any(reads),
        Op::Between { negated: false, .. }
        | Op::In { negated: false, .. }
        | Op::Like { negated: false, .. } => condition.args.first().is_some_and(reads),
        Op::IsNull { negated: true } => condition.args.first().is_some_and(reads),
        _ => false,
    }
}

/// Both sides, when the condition is `left = right` between an expression of `left` sources and one of `right`.
pub(crate) fn equality(
    condition: &Expr,
    left: u64,
    right: u64,
    sources: impl Fn(&Expr) -> u64,
) -> Option<(&Expr, &Expr)> {
    if !matches!(
        condition.op,
        Op::CompareInt(CmpOp::Eq) | Op::Compare(CmpOp::Eq, _)
    ) {
        return None;
    }
    let [a, b] = &condition.args[..] else { return None };
    let (a_set, b_set) = (sources(a), sources(b));
    if a_set == 0 || b_set == 0 {
        return None;
    }
    if a_set & !left == 0 && b_set & !right == 0 {
        Some((a, b))
    } else if b_set & !left == 0 && a_set & !right == 0 {
        Some((b, a))
    } else {
        None
    }
}
