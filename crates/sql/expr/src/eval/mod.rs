//! Evaluation: the dispatch over operators. Operands are evaluated here, what is done with their values is the kernels'.

mod condition;
mod subquery;

use std::borrow::Cow;

use ilmenite_error::{Error, Result};
use ilmenite_types::{Datum, TypeCode};

use crate::context::EvalContext;
use crate::kernel::arith::{self, ArithOp, NumberKind, Target};
use crate::kernel::compare::{self, CmpOp, Comparer};
use crate::kernel::time_unit::Unit;
use crate::kernel::{cast, time_arith};
use crate::node::{Args, Expr, Op};
use crate::value;

impl Expr {
    /// The value for one row.
    pub fn eval(&self, row: &[Datum], ctx: &EvalContext) -> Result<Datum> {
        let value = self.eval_exact(row, ctx)?;
        // Decimals are computed with the digits they need, a quotient with more than it shows so that (1/3)*3 is 1.
        if let Datum::Decimal(d) = &value
            && i32::from(d.scale()) != self.ty.decimal
            && self.ty.tp == TypeCode::NewDecimal
        {
            return Ok(Datum::Decimal(value::round_decimal(d, self.ty.decimal)));
        }
        Ok(value)
    }

    /// The value, borrowed where it stands in the row, among the parameters or in the expression. A decimal may have more
    /// digits than its type shows: what is shown or stored comes from `eval`.
    pub fn eval_ref<'a>(&'a self, row: &'a [Datum], ctx: &'a EvalContext) -> Result<Cow<'a, Datum>> {
        match &self.op {
            Op::Const { value, .. } => Ok(Cow::Borrowed(value)),
            Op::Column { slot, name } => slot_of(row, *slot, name).map(Cow::Borrowed),
            Op::Outer { slot, name } => slot_of(ctx.outer(), *slot, name).map(Cow::Borrowed),
            Op::Param(index) => ctx
                .params()
                .get(*index)
                .map(Cow::Borrowed)
                .ok_or_else(|| Error::wrong_arguments("EXECUTE")),
            _ => self.eval_exact(row, ctx).map(Cow::Owned),
        }
    }

    fn eval_exact(&self, row: &[Datum], ctx: &EvalContext) -> Result<Datum> {
        let operand = |at: usize| self.args[at].eval_ref(row, ctx);
        match &self.op {
            Op::Const { .. } | Op::Column { .. } | Op::Outer { .. } | Op::Param(_) => {
                self.eval_ref(row, ctx).map(Cow::into_owned)
            }
            Op::And
            | Op::Or
            | Op::Xor
            | Op::Not
            | Op::IsNull { .. }
            | Op::IsTruth { .. }
            | Op::CompareInt(_)
            | Op::Compare(..)
            | Op::Between { .. }
            | Op::In { .. }
            | Op::Like { .. }
            | Op::Regexp { .. } => Ok(match self.eval_bool(row, ctx)? {
                None => Datum::Null,
                Some(b) => Datum::Int(i64::from(b)),
            }),
            Op::Aggregate { name, .. } => {
                Err(Error::bug(format!("aggregate {name} was not replaced by a slot")))
            }
            Op::UserVariable(name) => Ok(user_variable(name, ctx)),
            Op::SystemVariable { name, global } => system_variable(name, *global, ctx),
            Op::Case => self.case(row, ctx),
            Op::Coalesce => self.coalesce(row, ctx),
            Op::NullIf(comparer) => self.null_if(comparer, row, ctx),
            Op::Cast { target, .. } => cast::cast(&*operand(0)?, &self.args[0].ty, target, ctx),
            Op::ArithInt(op) => {
                let (l, r) = (operand(0)?, operand(1)?);
                if let (Datum::Int(l), Datum::Int(r)) = (&*l, &*r)
                    && let Some(result) = op.on_ints(*l, *r)
                {
                    return Ok(Datum::Int(result));
                }
                self.arith(*op, NumberKind::Int, &l, &r, ctx)
            }
            Op::Arith(op, kind) => self.arith(*op, *kind, &*operand(0)?, &*operand(1)?, ctx),
            Op::Negate(kind) => arith::negate(self.target(), *kind, &*operand(0)?, ctx),
            Op::Bit(op) => arith::bit(*op, &*operand(0)?, &*operand(1)?, ctx),
            Op::BitNot => arith::bit_not(&*operand(0)?, ctx),
            Op::Collate => self.args[0].eval(row, ctx),
            Op::Row => Err(Error::operand_columns(1)),
            Op::Subquery {
                id,
                usage,
                comparers,
                types,
            } => subquery::eval(&self.args, row, ctx, *id, *usage, comparers, types),
            Op::DateArith { unit, subtract } => self.date_arith(*unit, *subtract, row, ctx),
            Op::Extract(unit) => time_arith::extract(&*operand(0)?, *unit, ctx),
            Op::TimestampDiff(unit) => time_arith::timestamp_diff(&*operand(0)?, &*operand(1)?, *unit, ctx),
            Op::Func(def) => (def.eval)(&Args { expr: self, row, ctx }),
        }
    }

    /// What arithmetic is told of its result.
    pub(crate) fn target(&self) -> Target<'_> {
        Target {
            unsigned: self.ty.is_unsigned(),
            shown: self,
        }
    }

    fn arith(&self, op: ArithOp, kind: NumberKind, l: &Datum, r: &Datum, ctx: &EvalContext) -> Result<Datum> {
        arith::arith(self.target(), op, kind, l, r, ctx)
    }

    fn case(&self, row: &[Datum], ctx: &EvalContext) -> Result<Datum> {
        let mut args = self.args.chunks_exact(2);
        for pair in args.by_ref() {
            if pair[0].eval_bool(row, ctx)? == Some(true) {
                return pair[1].eval(row, ctx);
            }
        }
        match args.remainder() {
            [otherwise] => otherwise.eval(row, ctx),
            _ => Ok(Datum::Null),
        }
    }

    fn coalesce(&self, row: &[Datum], ctx: &EvalContext) -> Result<Datum> {
        for arg in &self.args {
            let value = arg.eval(row, ctx)?;
            if value != Datum::Null {
                return Ok(value);
            }
        }
        Ok(Datum::Null)
    }

    fn null_if(&self, comparer: &Comparer, row: &[Datum], ctx: &EvalContext) -> Result<Datum> {
        let value = self.args[0].eval(row, ctx)?;
        let other = self.args[1].eval_ref(row, ctx)?;
        match compare::compare(CmpOp::Eq, comparer, &value, &other, ctx)? {
            Some(true) => Ok(Datum::Null),
            _ => Ok(value),
        }
    }

    fn date_arith(&self, unit: Unit, subtract: bool, row: &[Datum], ctx: &EvalContext) -> Result<Datum> {
        let date = self.args[0].eval_ref(row, ctx)?;
        let mut amount = self.args[1].eval_ref(row, ctx)?;
        if matches!(*amount, Datum::Enum(_) | Datum::Set(_)) {
            amount = Cow::Owned(Datum::Bytes(value::text_of(&amount, &self.args[1].ty)));
        }
        time_arith::date_arith(&date, &amount, (unit, subtract), &self.ty, ctx)
    }
}

#[inline]
fn slot_of<'a>(row: &'a [Datum], slot: usize, name: &str) -> Result<&'a Datum> {
    row.get(slot).ok_or_else(|| {
        Error::bug(format!(
            "column {name} is read from slot {slot} of a row of {}",
            row.len()
        ))
    })
}

fn user_variable(name: &str, ctx: &EvalContext) -> Datum {
    match ctx.variables.get() {
        Some(variables) => variables.user_variable(name),
        None => Datum::Null,
    }
}

fn system_variable(name: &str, global: bool, ctx: &EvalContext) -> Result<Datum> {
    match ctx.variables.get() {
        Some(variables) => variables.system_variable(name, global),
        None => Err(Error::unknown_system_variable(name)),
    }
}
