//! Operators: logic, comparison, arithmetic, bits.

use ilmenite_error::{Error, Result};
use sqlparser::ast::{BinaryOperator, Expr as Ast, UnaryOperator};

use super::ExprBuilder;
use crate::kernel::arith::{ArithOp, BitOp};
use crate::kernel::compare::CmpOp;
use crate::mode::SqlMode;
use crate::node::{Expr, Op};
use crate::types;
use crate::typing::{arith, compare};

impl ExprBuilder<'_> {
    pub(super) fn row<'t>(&mut self, items: impl Iterator<Item = &'t Ast>) -> Result<Expr> {
        let args = items.map(|item| self.expr(item)).collect::<Result<Vec<_>>>()?;
        Ok(Expr::new(Op::Row, args, types::null()))
    }

    pub(super) fn unary(&mut self, op: &UnaryOperator, inner: &Ast) -> Result<Expr> {
        match op {
            UnaryOperator::Plus => self.operand(inner),
            UnaryOperator::Minus => {
                let x = self.operand(inner)?;
                let negated = arith::negate(x)?;
                self.finish(negated)
            }
            UnaryOperator::Not | UnaryOperator::BangNot => {
                let x = self.operand(inner)?;
                Ok(self.not(x))
            }
            UnaryOperator::BitwiseNot => {
                let x = arith::numeric_operand(self.operand(inner)?)?;
                self.finish(Expr::new(Op::BitNot, vec![x], types::uint(21)))
            }
            other => Err(Error::syntax(format!("'{other}'"))),
        }
    }

    pub(super) fn not(&mut self, x: Expr) -> Expr {
        let negated = match x.op {
            Op::CompareInt(op) => match op.negated() {
                Some(op) => Expr::new(Op::CompareInt(op), x.args, x.ty),
                None => Expr::new(Op::Not, vec![x], types::boolean()),
            },
            Op::Compare(op, ref comparer) => match op.negated() {
                Some(op) => Expr::new(Op::Compare(op, comparer.clone()), x.args, x.ty),
                None => Expr::new(Op::Not, vec![x], types::boolean()),
            },
            Op::IsNull { negated } => Expr::new(Op::IsNull { negated: !negated }, x.args, x.ty),
            _ => Expr::new(Op::Not, vec![x], types::boolean()),
        };
        self.fold(negated)
    }

    pub(super) fn is_null(&mut self, x: &Ast, negated: bool) -> Result<Expr> {
        let x = self.operand(x)?;
        self.finish(Expr::new(Op::IsNull { negated }, vec![x], types::boolean()))
    }

    pub(super) fn is_truth(&mut self, x: &Ast, truth: bool, negated: bool) -> Result<Expr> {
        let x = self.operand(x)?;
        self.finish(Expr::new(
            Op::IsTruth { truth, negated },
            vec![x],
            types::boolean(),
        ))
    }

    pub(super) fn comparison(&mut self, op: CmpOp, left: &Ast, right: &Ast) -> Result<Expr> {
        let (l, r) = (self.expr(left)?, self.expr(right)?);
        // `(a, b) = (SELECT …)`: a scalar subquery of several columns compares like IN over at most one row.
        let built = compare::comparison(op, l, r)?;
        self.finish(built)
    }

    pub(super) fn binary(
        &mut self,
        whole: &Ast,
        left: &Ast,
        op: &BinaryOperator,
        right: &Ast,
    ) -> Result<Expr> {
        let pipes_concat = self.options.sql_mode.has(SqlMode::PIPES_AS_CONCAT);
        if let Some(logic) = logic_op(op, pipes_concat) {
            // Long chains are one node, so that their length is not depth.
            let mut parts = Vec::new();
            flatten(whole, logic, pipes_concat, &mut parts);
            let args = parts
                .into_iter()
                .map(|part| self.operand(part))
                .collect::<Result<Vec<_>>>()?;
            let op = if logic == Logic::And { Op::And } else { Op::Or };
            return self.finish(Expr::new(op, args, types::boolean()));
        }
        if let Some(op) = comparison_op(op) {
            return self.comparison(op, left, right);
        }
        let arith_op = match op {
            BinaryOperator::Plus | BinaryOperator::Minus => {
                let subtract = *op == BinaryOperator::Minus;
                if let Ast::Interval(interval) = right {
                    return self.date_arith(left, interval, subtract);
                }
                if let (Ast::Interval(interval), false) = (left, subtract) {
                    return self.date_arith(right, interval, false);
                }
                if subtract { ArithOp::Sub } else { ArithOp::Add }
            }
            BinaryOperator::Multiply => ArithOp::Mul,
            BinaryOperator::Divide => ArithOp::Div,
            BinaryOperator::Modulo => ArithOp::Mod,
            BinaryOperator::MyIntegerDivide => ArithOp::IntDiv,
            BinaryOperator::Xor => {
                let args = vec![self.operand(left)?, self.operand(right)?];
                return self.finish(Expr::new(Op::Xor, args, types::boolean()));
            }
            BinaryOperator::StringConcat => return self.call("CONCAT", &[left, right]),
            BinaryOperator::BitwiseAnd => return self.bit(BitOp::And, left, right),
            BinaryOperator::BitwiseOr => return self.bit(BitOp::Or, left, right),
            BinaryOperator::BitwiseXor => return self.bit(BitOp::Xor, left, right),
            BinaryOperator::PGBitwiseShiftLeft => return self.bit(BitOp::Left, left, right),
            BinaryOperator::PGBitwiseShiftRight => return self.bit(BitOp::Right, left, right),
            BinaryOperator::Arrow => return self.call("JSON_EXTRACT", &[left, right]),
            BinaryOperator::LongArrow => {
                let extracted = self.call("JSON_EXTRACT", &[left, right])?;
                return self.call_built("JSON_UNQUOTE", vec![extracted]);
            }
            BinaryOperator::Regexp => return self.regexp(left, right, false),
            other => return Err(Error::syntax(format!("'{other}'"))),
        };
        let (l, r) = (self.operand(left)?, self.operand(right)?);
        let built = arith::arith(
            arith_op,
            l,
            r,
            self.options.sql_mode,
            self.options.div_precision_increment,
        )?;
        self.finish(built)
    }

    fn bit(&mut self, op: BitOp, left: &Ast, right: &Ast) -> Result<Expr> {
        let l = arith::numeric_operand(self.operand(left)?)?;
        let r = arith::numeric_operand(self.operand(right)?)?;
        self.finish(Expr::new(Op::Bit(op), vec![l, r], types::uint(21)))
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Logic {
    And,
    Or,
}

fn logic_op(op: &BinaryOperator, pipes_concat: bool) -> Option<Logic> {
    match op {
        BinaryOperator::And => Some(Logic::And),
        BinaryOperator::PGOverlap => Some(Logic::And),
        BinaryOperator::Or => Some(Logic::Or),
        BinaryOperator::StringConcat if !pipes_concat => Some(Logic::Or),
        _ => None,
    }
}

/// The operands of a chain of one logical operator, in order, without recursion along its spine.
fn flatten<'t>(whole: &'t Ast, logic: Logic, pipes_concat: bool, parts: &mut Vec<&'t Ast>) {
    let mut pending = vec![whole];
    while let Some(ast) = pending.pop() {
        match ast {
            Ast::BinaryOp { left, op, right } if logic_op(op, pipes_concat) == Some(logic) => {
                pending.push(right);
                pending.push(left);
            }
            Ast::Nested(inner) if matches!(&**inner, Ast::BinaryOp { op, .. } if logic_op(op, pipes_concat) == Some(logic)) =>
            {
                pending.push(inner);
            }
            other => parts.push(other),
        }
    }
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
