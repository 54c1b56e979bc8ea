//! Comparisons, lists, patterns, CASE, and subqueries.

use ilmenite_types::Datum;
use sqlparser::ast::{BinaryOperator, CaseWhen, Expr as Ast, Query};

use super::super::compare::{self, CmpOp, InSet};
use super::super::mode::SqlMode;
use super::super::node::{Coercibility, Expr, Op, SubqueryUse};
use super::super::{cast, coll, like, types};
use super::ExprBuilder;
use ilmenite_error::{Error, Result};

impl ExprBuilder<'_> {
    pub(super) fn comparison(&mut self, op: CmpOp, left: &Ast, right: &Ast) -> Result<Expr> {
        let (l, r) = (self.expr(left)?, self.expr(right)?);
        // `(a, b) = (SELECT …)`: a scalar subquery of several columns compares like IN over at most one row.
        let built = compare::build(op, l, r)?;
        self.finish(built)
    }

    pub(super) fn in_list(&mut self, x: &Ast, list: &[Ast], negated: bool) -> Result<Expr> {
        let x = self.expr(x)?;
        let list = list
            .iter()
            .map(|item| self.expr(item))
            .collect::<Result<Vec<_>>>()?;
        if matches!(x.op, Op::Row) {
            let equal = list
                .into_iter()
                .map(|item| compare::build(CmpOp::Eq, x.clone(), item))
                .collect::<Result<Vec<_>>>()?;
            let any = compare::or(equal);
            let any = if negated {
                Expr::new(Op::Not, vec![any], types::boolean())
            } else {
                any
            };
            return self.finish(any);
        }
        let mut x = x;
        let mut comparers = Vec::with_capacity(list.len());
        let mut args = Vec::with_capacity(list.len() + 1);
        let mut items = Vec::with_capacity(list.len());
        for mut item in list {
            // The left side may be rewritten (a member's name for its number) for one item and not for another.
            let mut left = x.clone();
            let comparer = compare::settle(&mut left, &mut item, "IN")?;
            if left.ty != x.ty && !matches!(x.op, Op::Const { .. }) {
                x = left;
            }
            comparers.push(comparer);
            items.push(item);
        }
        let set = InSet::build(&items, &comparers).map(Into::into);
        args.push(x);
        args.extend(items);
        let op = Op::In {
            negated,
            comparers: comparers.into(),
            set,
        };
        self.finish(Expr::new(op, args, types::boolean()))
    }

    pub(super) fn between(&mut self, x: &Ast, negated: bool, low: &Ast, high: &Ast) -> Result<Expr> {
        let (mut x, mut l, mut h) = (self.operand(x)?, self.operand(low)?, self.operand(high)?);
        let low = compare::settle(&mut x, &mut l, "BETWEEN")?;
        let high = compare::settle(&mut x, &mut h, "BETWEEN")?;
        self.finish(Expr::new(
            Op::Between { negated, low, high },
            vec![x, l, h],
            types::boolean(),
        ))
    }

    pub(super) fn like(
        &mut self,
        x: &Ast,
        pattern: &Ast,
        escape: Option<&Ast>,
        negated: bool,
    ) -> Result<Expr> {
        let (x, pattern) = (self.operand(x)?, self.operand(pattern)?);
        let no_backslash = self.options.sql_mode.has(SqlMode::NO_BACKSLASH_ESCAPES);
        let escape = match escape {
            None => (!no_backslash).then_some('\\'),
            Some(ast) => match &self.operand(ast)?.op {
                Op::Const {
                    value: Datum::Bytes(b),
                    ..
                } => {
                    let text = String::from_utf8_lossy(b);
                    let mut chars = text.chars();
                    match (chars.next(), chars.next()) {
                        (escape, None) => escape,
                        _ => return Err(Error::wrong_arguments("ESCAPE")),
                    }
                }
                Op::Const {
                    value: Datum::Null, ..
                } => Some('\\'),
                _ => return Err(Error::wrong_arguments("ESCAPE")),
            },
        };
        let built = like::build_like(x, pattern, escape, negated)?;
        self.finish(built)
    }

    pub(super) fn case(
        &mut self,
        operand: Option<&Ast>,
        conditions: &[CaseWhen],
        otherwise: Option<&Ast>,
    ) -> Result<Expr> {
        let operand = operand.map(|x| self.operand(x)).transpose()?;
        let mut args = Vec::with_capacity(conditions.len() * 2 + 1);
        for when in conditions {
            let condition = self.operand(&when.condition)?;
            args.push(match &operand {
                Some(x) => compare::build(CmpOp::Eq, x.clone(), condition)?,
                None => condition,
            });
            args.push(self.operand(&when.result)?);
        }
        if let Some(otherwise) = otherwise {
            args.push(self.operand(otherwise)?);
        }
        let case = case_node(args, "CASE")?;
        self.finish(case)
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

/// IF and CASE over `args` as `Op::Case` has them, with results brought to their common type.
pub(crate) fn case_node(mut args: Vec<Expr>, name: &str) -> Result<Expr> {
    let last = args.len() - 1;
    let is_result = |at: usize| at % 2 == 1 || at == last;
    let results: Vec<&Expr> = (0..args.len())
        .filter(|at| is_result(*at))
        .map(|at| &args[at])
        .collect();
    let (ty, coercibility) = coll::common_type(&results, name)?;
    for (at, arg) in args.iter_mut().enumerate() {
        if is_result(at) {
            *arg = cast::coerced(arg.clone(), &ty);
        }
    }
    Ok(Expr::new(Op::Case, args, ty).with_coercibility(coercibility))
}

pub(super) fn comparison_op(op: &BinaryOperator) -> Option<CmpOp> {
    Some(match op {
        BinaryOperator::Eq => CmpOp::Eq,
        BinaryOperator::NotEq => CmpOp::Ne,
        BinaryOperator::Lt => CmpOp::Lt,
        BinaryOperator::LtEq => CmpOp::Le,
        BinaryOperator::Gt => CmpOp::Gt,
        BinaryOperator::GtEq => CmpOp::Ge,
        BinaryOperator::Spaceship => CmpOp::NullSafeEq,
        _ => return None,
    })
}
