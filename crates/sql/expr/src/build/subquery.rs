//! Subqueries: what their rows are compared with, and how.

use ilmenite_error::{Error, Result};
use sqlparser::ast::{BinaryOperator, Expr as Ast, Query};

use super::ExprBuilder;
use super::operators::comparison_op;
use crate::node::{Coercibility, Expr, Op, SubqueryUse};
use crate::types;
use crate::typing::compare;

impl ExprBuilder<'_> {
    /// `x IN (SELECT …)`.
    pub(super) fn in_subquery(&mut self, x: &Ast, query: &Query, negated: bool) -> Result<Expr> {
        let left = self.expr(x)?;
        self.subquery(Some(left), query, SubqueryUse::In { negated })
    }

    pub(super) fn subquery(&mut self, left: Option<Expr>, query: &Query, usage: SubqueryUse) -> Result<Expr> {
        let bound = self.scope.subquery(query)?;
        let lefts = match left {
            Some(row) if matches!(row.op, Op::Row) => row.args,
            Some(one) => vec![one],
            None => Vec::new(),
        };
        if !matches!(usage, SubqueryUse::Exists { .. } | SubqueryUse::Scalar)
            && bound.columns.len() != lefts.len()
        {
            return Err(Error::operand_columns(lefts.len()));
        }
        let mut args = Vec::with_capacity(lefts.len());
        let mut comparers = Vec::new();
        let mut casts = Vec::new();
        for (mut left, ty) in lefts.into_iter().zip(&bound.columns) {
            let mut right = Expr::column(0, ty.clone(), "");
            comparers.push(compare::settle(&mut left, &mut right, "IN")?);
            casts.push(ty.clone());
            args.push(left);
        }
        let ty = match usage {
            SubqueryUse::Scalar => match &bound.columns[..] {
                [one] => types::without_key_flags(one),
                _ => return Err(Error::operand_columns(1)),
            },
            _ => types::boolean(),
        };
        let scalar = usage == SubqueryUse::Scalar;
        let op = Op::Subquery {
            id: bound.id,
            usage,
            comparers: comparers.into(),
            types: casts.into(),
        };
        let expr = Expr::new(op, args, ty);
        Ok(
            if scalar && types::eval_type(&expr.ty) == types::EvalType::String {
                expr.with_coercibility(Coercibility::Implicit)
            } else {
                expr
            },
        )
    }

    pub(super) fn quantified(
        &mut self,
        left: &Ast,
        op: &BinaryOperator,
        right: &Ast,
        any: bool,
    ) -> Result<Expr> {
        let op = comparison_op(op).ok_or_else(|| Error::syntax(format!("'{op}'")))?;
        let query = match right {
            Ast::Subquery(query) => query,
            Ast::Nested(inner) => match inner.as_ref() {
                Ast::Subquery(query) => query,
                _ => return Err(Error::syntax("'ANY'")),
            },
            _ => return Err(Error::syntax("'ANY'")),
        };
        let left = self.operand(left)?;
        let usage = if any {
            SubqueryUse::Any(op)
        } else {
            SubqueryUse::All(op)
        };
        self.subquery(Some(left), query, usage)
    }
}
