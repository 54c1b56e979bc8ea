//! Predicates with a form of their own: lists, ranges, patterns.

use ilmenite_error::{Error, Result};
use ilmenite_types::Datum;
use sqlparser::ast::Expr as Ast;

use super::ExprBuilder;
use crate::kernel::compare::{CmpOp, InSet};
use crate::mode::SqlMode;
use crate::node::{Expr, Op};
use crate::types;
use crate::typing::{compare, pattern};

impl ExprBuilder<'_> {
    pub(super) fn in_list(&mut self, x: &Ast, list: &[Ast], negated: bool) -> Result<Expr> {
        let x = self.expr(x)?;
        let list = list
            .iter()
            .map(|item| self.expr(item))
            .collect::<Result<Vec<_>>>()?;
        if matches!(x.op, Op::Row) {
            let equal = list
                .into_iter()
                .map(|item| compare::comparison(CmpOp::Eq, x.clone(), item))
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
        let set = constants_of(&items).and_then(|known| InSet::build(&known, &comparers));
        args.push(x);
        args.extend(items);
        let op = Op::In {
            negated,
            comparers: comparers.into(),
            set: set.map(Into::into),
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
        let built = pattern::like(x, pattern, escape, negated)?;
        self.finish(built)
    }

    pub(super) fn regexp(&mut self, x: &Ast, pattern: &Ast, negated: bool) -> Result<Expr> {
        let (x, pattern) = (self.operand(x)?, self.operand(pattern)?);
        pattern::regexp(x, pattern, negated)
    }
}

fn constants_of(list: &[Expr]) -> Option<Vec<&Datum>> {
    list.iter().map(Expr::const_value).collect()
}
