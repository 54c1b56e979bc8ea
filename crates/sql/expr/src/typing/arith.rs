//! Arithmetic as nodes: what the operands count as, and the type of the result.

use ilmenite_error::{Error, Result};
use ilmenite_types::{Datum, Decimal};

use crate::kernel::arith::{ArithOp, NumberKind, is_unsigned, number_kind};
use crate::mode::SqlMode;
use crate::node::{Expr, Op};
use crate::types::{self, EvalType};
use crate::value;

/// The compiled `l op r`.
pub(crate) fn arith(op: ArithOp, l: Expr, r: Expr, mode: SqlMode, div_increment: u8) -> Result<Expr> {
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
pub(crate) fn negate(x: Expr) -> Result<Expr> {
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
