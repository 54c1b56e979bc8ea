//! Arithmetic and bit operations.

use ilmenite_types::{Datum, Decimal, FieldType};

use super::context::EvalContext;
use super::mode::SqlMode;
use super::node::{Expr, Op};
use super::types::{self, EvalType};
use super::value;
use ilmenite_error::{Error, Result};

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

/// The compiled `l op r`.
pub(crate) fn build(op: ArithOp, l: Expr, r: Expr, mode: SqlMode, div_increment: u8) -> Result<Expr> {
    let (l, r) = (numeric_operand(l)?, numeric_operand(r)?);
    let (lk, rk) = (number_kind(&l.ty), number_kind(&r.ty));
    let kind = match (lk, rk) {
        (NumberKind::Real, _) | (_, NumberKind::Real) => NumberKind::Real,
        (NumberKind::Decimal, _) | (_, NumberKind::Decimal) => NumberKind::Decimal,
        _ if op == ArithOp::Div => NumberKind::Decimal,
        _ => NumberKind::Int,
    };
    let ((lw, ls), (rw, rs)) = (types::digits(&l.ty), types::digits(&r.ty));
    let (lu, ru) = (is_unsigned(&l.ty), is_unsigned(&r.ty));
    let unsigned = match op {
        ArithOp::Mod => lu,
        ArithOp::Sub => (lu || ru) && !mode.has(SqlMode::NO_UNSIGNED_SUBTRACTION),
        _ => lu || ru,
    };
    let ty = match (op, kind) {
        (ArithOp::IntDiv, _) => types::int_signed_or_not(21, unsigned),
        (_, NumberKind::Int) => {
            let flen = match op {
                ArithOp::Mul => lw + rw + 1,
                ArithOp::Mod => lw.max(rw) + 1,
                _ => lw.max(rw) + 2,
            };
            types::int_signed_or_not(flen.min(21), unsigned)
        }
        (ArithOp::Div, NumberKind::Real) => types::double(),
        (_, NumberKind::Real) => types::double(),
        (ArithOp::Add | ArithOp::Sub, NumberKind::Decimal) => {
            let scale = ls.max(rs);
            types::decimal(lw.max(rw) + scale + 1, scale)
        }
        (ArithOp::Mul, NumberKind::Decimal) => types::decimal(lw + ls + rw + rs, ls + rs),
        (ArithOp::Div, NumberKind::Decimal) => {
            let scale = (ls + i32::from(div_increment)).min(types::MAX_DECIMAL_SCALE);
            types::decimal(lw + rs + scale, scale)
        }
        (ArithOp::Mod, NumberKind::Decimal) => {
            let scale = ls.max(rs);
            types::decimal(lw.max(rw) + scale, scale)
        }
    };
    let signed_ints = kind == NumberKind::Int && op != ArithOp::Div && !lu && !ru;
    let both_ints = types::eval_type(&l.ty) == EvalType::Int && types::eval_type(&r.ty) == EvalType::Int;
    let op = if signed_ints && both_ints {
        Op::ArithInt(op)
    } else {
        Op::Arith(op, kind)
    };
    Ok(Expr::new(op, vec![l, r], ty))
}

/// `-x`.
pub(crate) fn build_negate(x: Expr) -> Result<Expr> {
    let x = numeric_operand(x)?;
    // The literal 9223372036854775808 is unsigned, but -9223372036854775808 is a BIGINT.
    if let Op::Const { value, .. } = &x.op {
        match value {
            Datum::UInt(n) if *n <= 1 << 63 => {
                let value = Datum::Int((*n as i64).wrapping_neg());
                return Ok(Expr::constant(value, types::int(x.ty.flen + 1)));
            }
            Datum::UInt(n) => {
                let value = Decimal::from(*n).negated();
                return Ok(Expr::constant(Datum::Decimal(value), types::decimal(20, 0)));
            }
            Datum::Int(n) => {
                if let Some(value) = n.checked_neg() {
                    return Ok(Expr::constant(Datum::Int(value), types::int(x.ty.flen + 1)));
                }
            }
            Datum::Decimal(d) => {
                let value = Datum::Decimal(d.negated());
                return Ok(Expr::constant(value, x.ty.clone()));
            }
            Datum::Double(d) => return Ok(Expr::constant(Datum::Double(-d), x.ty.clone())),
            _ => {}
        }
    }
    let kind = number_kind(&x.ty);
    let ty = match kind {
        NumberKind::Int => types::int((types::digits(&x.ty).0 + 1).min(21)),
        NumberKind::Decimal => types::decimal(
            types::digits(&x.ty).0 + types::digits(&x.ty).1,
            types::digits(&x.ty).1,
        ),
        NumberKind::Real => types::double(),
    };
    Ok(Expr::new(Op::Negate(kind), vec![x], ty))
}

pub(crate) fn is_unsigned(ty: &FieldType) -> bool {
    use ilmenite_types::TypeCode::{Bit, Year};
    ty.is_unsigned() || matches!(ty.tp, Bit | Year)
}

/// An operand as a number: a hexadecimal literal becomes an integer, a row is refused.
pub(crate) fn numeric_operand(x: Expr) -> Result<Expr> {
    if matches!(x.op, Op::Row) {
        return Err(Error::operand_columns(1));
    }
    if let Op::Const {
        value: Datum::Bytes(b),
        hex: true,
    } = &x.op
    {
        let n = value::bits_of_bytes(b);
        return Ok(Expr::constant(Datum::UInt(n), types::uint(20)));
    }
    Ok(x)
}

pub(crate) fn arith(
    expr: &Expr,
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
        NumberKind::Int => int(expr, op, value::to_i128(l, ctx)?, value::to_i128(r, ctx)?, ctx),
        NumberKind::Decimal => decimal(
            expr,
            op,
            &value::to_decimal(l, ctx)?,
            &value::to_decimal(r, ctx)?,
            ctx,
        ),
        NumberKind::Real => real(expr, op, value::to_f64(l, ctx)?, value::to_f64(r, ctx)?, ctx),
    }
}

fn int(expr: &Expr, op: ArithOp, l: i128, r: i128, ctx: &EvalContext) -> Result<Datum> {
    let result = match op {
        ArithOp::Add => l + r,
        ArithOp::Sub => l - r,
        // Both fit 65 bits, so the product fits 130: it is checked.
        ArithOp::Mul => l.checked_mul(r).ok_or_else(|| out_of_range(expr))?,
        ArithOp::Div | ArithOp::IntDiv | ArithOp::Mod if r == 0 => {
            ctx.division_by_zero()?;
            return Ok(Datum::Null);
        }
        ArithOp::Div | ArithOp::IntDiv => l / r,
        ArithOp::Mod => l % r,
    };
    int_result(expr, result)
}

fn int_result(expr: &Expr, result: i128) -> Result<Datum> {
    if expr.ty.is_unsigned() {
        u64::try_from(result)
            .map(Datum::UInt)
            .map_err(|_| out_of_range(expr))
    } else {
        i64::try_from(result)
            .map(Datum::Int)
            .map_err(|_| out_of_range(expr))
    }
}

fn decimal(expr: &Expr, op: ArithOp, l: &Decimal, r: &Decimal, ctx: &EvalContext) -> Result<Datum> {
    let quotient = match op {
        ArithOp::Add => l.checked_add(r).map(Some),
        ArithOp::Sub => l.checked_sub(r).map(Some),
        ArithOp::Mul => l.checked_mul(r).map(Some),
        ArithOp::Div => divide(l, r, ctx.div_precision_increment),
        ArithOp::Mod => l.checked_rem(r),
        ArithOp::IntDiv => l.int_div(r),
    };
    match quotient {
        Err(_) => Err(Error::value_out_of_range("DECIMAL", expr)),
        Ok(None) => {
            ctx.division_by_zero()?;
            Ok(Datum::Null)
        }
        Ok(Some(d)) if op == ArithOp::IntDiv => {
            let whole = if expr.ty.is_unsigned() {
                d.to_u64().map(Datum::UInt)
            } else {
                d.to_i64().map(Datum::Int)
            };
            whole.map_err(|_| out_of_range(expr))
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

fn real(expr: &Expr, op: ArithOp, l: f64, r: f64, ctx: &EvalContext) -> Result<Datum> {
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
                return Err(out_of_range(expr));
            }
            return int_result(expr, quotient as i128);
        }
    };
    finite(expr, result)
}

/// The double, or 1690 when it left the range.
pub(crate) fn finite(expr: &Expr, result: f64) -> Result<Datum> {
    if result.is_finite() {
        Ok(Datum::Double(result))
    } else {
        Err(Error::value_out_of_range("DOUBLE", expr))
    }
}

pub(crate) fn out_of_range(expr: &Expr) -> Error {
    let kind = if expr.ty.is_unsigned() {
        "BIGINT UNSIGNED"
    } else {
        "BIGINT"
    };
    Error::value_out_of_range(kind, expr)
}

pub(crate) fn negate(expr: &Expr, kind: NumberKind, x: &Datum, ctx: &EvalContext) -> Result<Datum> {
    if *x == Datum::Null {
        return Ok(Datum::Null);
    }
    match kind {
        NumberKind::Int => int_result(expr, -value::to_i128(x, ctx)?),
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
