//! Constants computed when the expression is compiled.

use ilmenite_error::Result;

use super::ExprBuilder;
use crate::context::{EvalContext, StatementFacts};
use crate::kernel::cast::CastTarget;
use crate::kernel::compare::Comparer;
use crate::node::{Expr, Op, Purity};
use crate::types::{self, EvalType};

impl ExprBuilder<'_> {
    pub(super) fn finish(&mut self, expr: Expr) -> Result<Expr> {
        Ok(self.fold(expr))
    }

    /// The value itself where it is the same for ever. What errs or warns is left for when it is asked for.
    pub(super) fn fold(&mut self, expr: Expr) -> Expr {
        let constant = |arg: &Expr| matches!(arg.op, Op::Const { .. });
        if !expr.args.iter().all(constant) || !is_pure(&expr) || matches!(expr.op, Op::Row | Op::Const { .. })
        {
            return expr;
        }
        let options = self.options;
        let ctx = self.folding.get_or_init(|| {
            EvalContext::new(StatementFacts {
                sql_mode: options.sql_mode,
                div_precision_increment: options.div_precision_increment,
                ..StatementFacts::default()
            })
        });
        let before = ctx.warnings.count();
        // The exact value, so that a folded quotient loses no digits.
        match expr.eval_ref(&[], ctx).map(|value| value.into_owned()) {
            Ok(value) if ctx.warnings.count() == before => Expr {
                op: Op::Const { value, hex: false },
                args: Vec::new(),
                ty: expr.ty,
                coercibility: expr.coercibility,
            },
            _ => expr,
        }
    }
}

/// Whether the operator, given constants, gives the same for ever: may be computed when compiling.
fn is_pure(expr: &Expr) -> bool {
    match &expr.op {
        Op::Func(def) => def.purity == Purity::Pure,
        // The current date or the session's time zone may come in.
        Op::Cast { target, .. } => {
            let from = types::eval_type(&expr.args[0].ty);
            let to_time = matches!(**target, CastTarget::Time { .. });
            !(to_time && matches!(from, EvalType::Duration | EvalType::String))
        }
        Op::DateArith { .. } | Op::Extract(_) | Op::TimestampDiff(_) => {
            expr.args
                .iter()
                .all(|a| types::eval_type(&a.ty) != EvalType::String)
                && expr
                    .args
                    .iter()
                    .all(|a| types::eval_type(&a.ty) != EvalType::Duration)
        }
        Op::Param(_)
        | Op::Column { .. }
        | Op::Outer { .. }
        | Op::Aggregate { .. }
        | Op::UserVariable(_)
        | Op::SystemVariable { .. }
        | Op::Subquery { .. } => false,
        Op::Compare(_, Comparer::Time | Comparer::Duration) => false,
        _ => true,
    }
}
