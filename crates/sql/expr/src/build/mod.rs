//! From the parser's tree to compiled expressions.

mod aggregates;
mod calls;
mod fold;
mod forms;
mod literal;
mod names;
mod operators;
mod predicates;
mod subquery;

use std::cell::OnceCell;

use ilmenite_error::{Error, Result};
use sqlparser::ast::Expr as Ast;

use crate::context::EvalContext;
use crate::kernel::compare::CmpOp;
use crate::node::{Expr, Op, SubqueryUse};
use crate::options::BuildOptions;
use crate::scope::Scope;

/// Deeper nesting than this would endanger the stack of the thread that evaluates.
const MAX_DEPTH: usize = 500;

/// Compiles expressions against one scope.
pub struct ExprBuilder<'a> {
    scope: &'a mut dyn Scope,
    options: &'a BuildOptions,
    in_aggregate: bool,
    depth: usize,
    folding: OnceCell<EvalContext>,
}

impl<'a> ExprBuilder<'a> {
    pub fn new(scope: &'a mut dyn Scope, options: &'a BuildOptions) -> Self {
        ExprBuilder {
            scope,
            options,
            in_aggregate: false,
            depth: 0,
            folding: OnceCell::new(),
        }
    }

    /// The compiled form of `ast`, which must be one value (not a row).
    pub fn build(&mut self, ast: &Ast) -> Result<Expr> {
        let expr = self.expr(ast)?;
        if matches!(expr.op, Op::Row) {
            return Err(Error::operand_columns(1));
        }
        Ok(expr)
    }

    fn expr(&mut self, ast: &Ast) -> Result<Expr> {
        if self.depth >= MAX_DEPTH {
            return Err(Error::stack_overrun());
        }
        self.depth += 1;
        // A node takes much stack to compile and little to evaluate.
        let built = stacker::maybe_grow(128 << 10, 1 << 20, || self.node(ast));
        self.depth -= 1;
        built
    }

    fn operand(&mut self, ast: &Ast) -> Result<Expr> {
        self.build(ast)
    }

    /// Leaves and operators; what has a syntax of its own comes after.
    fn node(&mut self, ast: &Ast) -> Result<Expr> {
        match ast {
            Ast::Identifier(ident) => self.identifier(ident),
            Ast::CompoundIdentifier(parts) => self.compound(parts),
            Ast::Value(value) => self.value(&value.value),
            Ast::TypedString(typed) => self.typed_string(typed),
            Ast::Prefixed { prefix, value } => self.introduced(prefix, value),
            Ast::Nested(inner) => self.expr(inner),
            Ast::Tuple(items) => self.row(items.iter()),
            Ast::BinaryOp { left, op, right } => self.binary(ast, left, op, right),
            Ast::UnaryOp { op, expr } => self.unary(op, expr),
            Ast::IsNull(x) => self.is_null(x, false),
            Ast::IsNotNull(x) => self.is_null(x, true),
            Ast::IsUnknown(x) => self.is_null(x, false),
            Ast::IsNotUnknown(x) => self.is_null(x, true),
            Ast::IsTrue(x) => self.is_truth(x, true, false),
            Ast::IsNotTrue(x) => self.is_truth(x, true, true),
            Ast::IsFalse(x) => self.is_truth(x, false, false),
            Ast::IsNotFalse(x) => self.is_truth(x, false, true),
            Ast::IsNotDistinctFrom(l, r) => self.comparison(CmpOp::NullSafeEq, l, r),
            Ast::IsDistinctFrom(l, r) => {
                let same = self.comparison(CmpOp::NullSafeEq, l, r)?;
                Ok(self.not(same))
            }
            Ast::Function(function) => self.function(function),
            Ast::Exists { subquery, negated } => {
                self.subquery(None, subquery, SubqueryUse::Exists { negated: *negated })
            }
            Ast::Subquery(query) => self.subquery(None, query, SubqueryUse::Scalar),
            other => self.predicate(other),
        }
    }

    fn predicate(&mut self, ast: &Ast) -> Result<Expr> {
        match ast {
            Ast::InList { expr, list, negated } => self.in_list(expr, list, *negated),
            Ast::InSubquery {
                expr,
                subquery,
                negated,
            } => self.in_subquery(expr, subquery, *negated),
            Ast::AnyOp {
                left,
                compare_op,
                right,
                ..
            } => self.quantified(left, compare_op, right, true),
            Ast::AllOp {
                left,
                compare_op,
                right,
            } => self.quantified(left, compare_op, right, false),
            Ast::Between {
                expr,
                negated,
                low,
                high,
            } => self.between(expr, *negated, low, high),
            Ast::Like {
                negated,
                any: false,
                expr,
                pattern,
                escape_char,
            } => self.like(expr, pattern, escape_char.as_deref(), *negated),
            Ast::RLike {
                negated,
                expr,
                pattern,
                ..
            } => self.regexp(expr, pattern, *negated),
            other => self.form(other),
        }
    }
}
