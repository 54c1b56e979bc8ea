//! Arithmetic and bit operations.

use std::fmt::Display;

use ilmenite_error::{Error, Result};
use ilmenite_types::{Datum, Decimal, FieldType};

use crate::context::EvalContext;
use crate::types::{self, EvalType};
use crate::value;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ArithOp {
    Add,
    Sub,
    Mul,
    Div,
    IntDiv,
    Mod,
}

impl ArithOp {
    pub(crate) fn symbol(self) -> &'static str {
        match self {
            ArithOp::Add => "+",
            ArithOp::Sub => "-",
            ArithOp::Mul => "*",
            ArithOp::Div => "/",
            ArithOp::IntDiv => "DIV",
            ArithOp::Mod => "%",
        }
    }

    /// On signed integers; `None` where the result does not fit or the divisor is 0.
    #[inline]
    pub(crate) fn on_ints(self, l: i64, r: i64) -> Option<i64> {
        match self {
            ArithOp::Add => l.checked_add(r),
            ArithOp::Sub => l.checked_sub(r),
            ArithOp::Mul => l.checked_mul(r),
            ArithOp::IntDiv => l.checked_div(r),
            ArithOp::Mod => l.checked_rem(r),
            ArithOp::Div => None,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BitOp {
    And,
    Or,
    Xor,
    Left,
    Right,
}

impl BitOp {
    pub(crate) fn symbol(self) -> &'static str {
        match self {
            BitOp::And => "&",
            BitOp::Or => "|",
            BitOp::Xor => "^",
            BitOp::Left => "<<",
            BitOp::Right => ">>",
        }
    }
}

/// What the numbers of an operation are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NumberKind {
    Int,
    Decimal,
    Real,
}

/// What an operand of `ty` counts as in arithmetic: strings are doubles, times are numbers with their fraction.
pub(crate) fn number_kind(ty: &FieldType) -> NumberKind {
    match types::eval_type(ty) {
        EvalType::Int => NumberKind::Int,
        EvalType::Decimal => NumberKind::Decimal,
        EvalType::Time | EvalType::Duration if ty.decimal > 0 => NumberKind::Decimal,
        EvalType::Time | EvalType::Duration => NumberKind::Int,
        EvalType::String if types::is_null_type(ty) => NumberKind::Int,
        EvalType::Real | EvalType::String | EvalType::Json => NumberKind::Real,
    }
}

pub(crate) fn is_unsigned(ty: &FieldType) -> bool {
    use ilmenite_types::TypeCode::{Bit, Year};
    ty.is_unsigned() || matches!(ty.tp, Bit | Year)
}

/// What a whole number is computed for.
#[derive(Clone, Copy)]
pub(crate) struct Target<'a> {
    pub(crate) unsigned: bool,
    /// The expression as a message shows it.
    pub(crate) shown: &'a dyn Display,
}

impl Target<'_> {
    pub(crate) fn out_of_range(self) -> Error {
        let kind = if self.unsigned {
            "BIGINT UNSIGNED"
        } else {
            "BIGINT"
        };
        Error::value_out_of_range(kind, self.shown)
    }
}

/// The double, or 1690 when it left the range.
pub(crate) fn finite(shown: &dyn Display, result: f64) -> Result<Datum> {
    if result.is_finite() {
        Ok(Datum::Double(result))
    } else {
        Err(Error::value_out_of_range("DOUBLE", shown))
    }
}

pub(crate) fn arith(
    to: Target<'_>,
    op: ArithOp,
    kind: NumberKind,
    l: &Datum,
    r: &Datum,
    ctx: &EvalContext,
) -> Result<Datum> {
    if *l == Datum::Null || *r == Datum::Null {
        return Ok(Datum::Null);
    }
    match kind {
        NumberKind::Int => int(to, op, value::to_i128(l, ctx)?, value::to_i128(r, ctx)?, ctx),
        NumberKind::Decimal => decimal(
            to,
            op,
            &value::to_decimal(l, ctx)?,
            &value::to_decimal(r, ctx)?,
            ctx,
        ),
        NumberKind::Real => real(to, op, value::to_f64(l, ctx)?, value::to_f64(r, ctx)?, ctx),
    }
}

fn int(to: Target<'_>, op: ArithOp, l: i128, r: i128, ctx: &EvalContext) -> Result<Datum> {
    let result = match op {
        ArithOp::Add => l + r,
        ArithOp::Sub => l - r,
        // Both fit 65 bits, so the product fits 130: it is checked.
        ArithOp::Mul => l.checked_mul(r).ok_or_else(|| to.out_of_range())?,
        ArithOp::Div | ArithOp::IntDiv | ArithOp::Mod if r == 0 => {
            ctx.division_by_zero()?;
            return Ok(Datum::Null);
        }
        ArithOp::Div | ArithOp::IntDiv => l / r,
        ArithOp::Mod => l % r,
    };
    int_result(to, result)
}

fn int_result(to: Target<'_>, result: i128) -> Result<Datum> {
    if to.unsigned {
        u64::try_from(result)
            .map(Datum::UInt)
            .map_err(|_| to.out_of_range())
    } else {
        i64::try_from(result)
            .map(Datum::Int)
            .map_err(|_| to.out_of_range())
    }
}

fn decimal(to: Target<'_>, op: ArithOp, l: &Decimal, r: &Decimal, ctx: &EvalContext) -> Result<Datum> {
    let quotient = match op {
        ArithOp::Add => l.checked_add(r).map(Some),
        ArithOp::Sub => l.checked_sub(r).map(Some),
        ArithOp::Mul => l.checked_mul(r).map(Some),
        ArithOp::Div => divide(l, r, ctx.div_precision_increment),
        ArithOp::Mod => l.checked_rem(r),
        ArithOp::IntDiv => l.int_div(r),
    };
    match quotient {
        Err(_) => Err(Error::value_out_of_range("DECIMAL", to.shown)),
        Ok(None) => {
            ctx.division_by_zero()?;
            Ok(Datum::Null)
        }
        Ok(Some(d)) if op == ArithOp::IntDiv => {
            let whole = if to.unsigned {
                d.to_u64().map(Datum::UInt)
            } else {
                d.to_i64().map(Datum::Int)
            };
            whole.map_err(|_| to.out_of_range())
        }
        Ok(Some(d)) => Ok(Datum::Decimal(d)),
    }
}

/// A quotient with the digits MySQL computes with: whole groups of nine behind the point, cut and not rounded. What is shown is
/// rounded from it later.
fn divide(l: &Decimal, r: &Decimal, increment: u8) -> Result<Option<Decimal>, ilmenite_types::Error> {
    let group = |digits: i32| (digits + 8) / 9 * 9;
    let (ls, rs) = (i32::from(l.scale()), i32::from(r.scale()));
    let (lg, rg) = (group(ls), group(rs));
    let more = (i32::from(increment) - (lg - ls) - (rg - rs)).max(0);
    let scale = group(lg + rg + more).min(types::MAX_DECIMAL_SCALE);
    let guarded = (scale + 3).min(types::MAX_DECIMAL_SCALE) as u8;
    Ok(l.div_to_scale(r, guarded)?.map(|q| q.truncate_to(scale)))
}

fn real(to: Target<'_>, op: ArithOp, l: f64, r: f64, ctx: &EvalContext) -> Result<Datum> {
    if matches!(op, ArithOp::Div | ArithOp::IntDiv | ArithOp::Mod) && r == 0.0 {
        ctx.division_by_zero()?;
        return Ok(Datum::Null);
    }
    let result = match op {
        ArithOp::Add => l + r,
        ArithOp::Sub => l - r,
        ArithOp::Mul => l * r,
        ArithOp::Div => l / r,
        ArithOp::Mod => l % r,
        ArithOp::IntDiv => {
            let quotient = (l / r).trunc();
            if quotient.abs() >= 1.0e20 || quotient.is_nan() {
                return Err(to.out_of_range());
            }
            return int_result(to, quotient as i128);
        }
    };
    finite(to.shown, result)
}

pub(crate) fn negate(to: Target<'_>, kind: NumberKind, x: &Datum, ctx: &EvalContext) -> Result<Datum> {
    if *x == Datum::Null {
        return Ok(Datum::Null);
    }
    match kind {
        NumberKind::Int => int_result(to, -value::to_i128(x, ctx)?),
        NumberKind::Decimal => Ok(Datum::Decimal(value::to_decimal(x, ctx)?.negated())),
        NumberKind::Real => Ok(Datum::Double(-value::to_f64(x, ctx)?)),
    }
}

pub(crate) fn bit(op: BitOp, l: &Datum, r: &Datum, ctx: &EvalContext) -> Result<Datum> {
    if *l == Datum::Null || *r == Datum::Null {
        return Ok(Datum::Null);
    }
    let (l, r) = (value::to_bits(l, ctx)?, value::to_bits(r, ctx)?);
    let shift = |by: u64| u32::try_from(by).ok().filter(|by| *by < 64);
    Ok(Datum::UInt(match op {
        BitOp::And => l & r,
        BitOp::Or => l | r,
        BitOp::Xor => l ^ r,
        BitOp::Left => shift(r).map_or(0, |by| l << by),
        BitOp::Right => shift(r).map_or(0, |by| l >> by),
    }))
}

pub(crate) fn bit_not(x: &Datum, ctx: &EvalContext) -> Result<Datum> {
    if *x == Datum::Null {
        return Ok(Datum::Null);
    }
    Ok(Datum::UInt(!value::to_bits(x, ctx)?))
}
