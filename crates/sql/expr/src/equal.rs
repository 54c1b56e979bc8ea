//! When two expressions are the same: the same computation over the same slots.

use crate::node::{Expr, Op, Purity};

impl PartialEq for Expr {
    /// The same computation over the same slots. Names are not looked at.
    fn eq(&self, other: &Self) -> bool {
        self.op == other.op && self.args == other.args && self.ty == other.ty
    }
}

impl PartialEq for Op {
    fn eq(&self, other: &Self) -> bool {
        use Op::*;
        match (self, other) {
            (Const { value: a, hex: x }, Const { value: b, hex: y }) => a == b && x == y,
            (Param(a), Param(b)) => a == b,
            (Column { slot: a, .. }, Column { slot: b, .. }) => a == b,
            (Outer { slot: a, .. }, Outer { slot: b, .. }) => a == b,
            (Aggregate { index: a, .. }, Aggregate { index: b, .. }) => a == b,
            (UserVariable(a), UserVariable(b)) => a == b,
            (SystemVariable { name: a, global: x }, SystemVariable { name: b, global: y }) => {
                a == b && x == y
            }
            (And, And) | (Or, Or) | (Xor, Xor) | (Not, Not) => true,
            (IsNull { negated: a }, IsNull { negated: b }) => a == b,
            (IsTruth { truth: a, negated: x }, IsTruth { truth: b, negated: y }) => a == b && x == y,
            (CompareInt(a), CompareInt(b)) => a == b,
            (Compare(a, x), Compare(b, y)) => a == b && x == y,
            (Between { negated: a, .. }, Between { negated: b, .. }) => a == b,
            (In { negated: a, .. }, In { negated: b, .. }) => a == b,
            (
                Like {
                    negated: a,
                    escape: x,
                    ..
                },
                Like {
                    negated: b,
                    escape: y,
                    ..
                },
            ) => a == b && x == y,
            (Regexp { negated: a, .. }, Regexp { negated: b, .. }) => a == b,
            (Case, Case) | (Coalesce, Coalesce) | (BitNot, BitNot) | (Collate, Collate) | (Row, Row) => true,
            (NullIf(a), NullIf(b)) => a == b,
            (Cast { target: a, .. }, Cast { target: b, .. }) => a == b,
            (ArithInt(a), ArithInt(b)) => a == b,
            (Arith(a, x), Arith(b, y)) => a == b && x == y,
            (Negate(a), Negate(b)) => a == b,
            (Bit(a), Bit(b)) => a == b,
            (Subquery { id: a, usage: x, .. }, Subquery { id: b, usage: y, .. }) => a == b && x == y,
            (DateArith { unit: a, subtract: x }, DateArith { unit: b, subtract: y }) => a == b && x == y,
            (Extract(a), Extract(b)) | (TimestampDiff(a), TimestampDiff(b)) => a == b,
            // A call with an effect or another result each time equals nothing, not even itself.
            (Func(a), Func(b)) => std::ptr::eq(*a, *b) && a.purity != Purity::Volatile,
            _ => false,
        }
    }
}
