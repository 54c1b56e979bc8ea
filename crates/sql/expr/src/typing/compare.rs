//! Comparisons as nodes: how two operands are compared is settled here, once.

use ilmenite_error::{Error, Result};
use ilmenite_types::{Datum, FieldType, TypeCode};

use super::{cast, collation};
use crate::kernel::compare::{CmpOp, Comparer};
use crate::node::{Coercibility, Expr, Op};
use crate::types::{self, EvalType};
use crate::value::{self, TimeConstant};

/// Settles how `l` and `r` are compared, converting a constant to the other side's type where that changes nothing but the cost.
pub(crate) fn settle(l: &mut Expr, r: &mut Expr, op_name: &str) -> Result<Comparer> {
    if matches!(l.op, Op::Row) || matches!(r.op, Op::Row) {
        let width = |e: &Expr| if matches!(e.op, Op::Row) { e.args.len() } else { 1 };
        return Err(Error::operand_columns(width(l)));
    }
    let (lt, rt) = (types::eval_type(&l.ty), types::eval_type(&r.ty));
    if types::is_null_type(&l.ty) || types::is_null_type(&r.ty) {
        let known = if types::is_null_type(&l.ty) { &r.ty } else { &l.ty };
        return Ok(Comparer::for_type(known));
    }
    let comparer = match (lt, rt) {
        (EvalType::Json, _) | (_, EvalType::Json) => {
            for side in [&mut *l, &mut *r] {
                if types::eval_type(&side.ty) != EvalType::Json {
                    *side = cast::to_json_value(side.clone());
                }
            }
            Comparer::Json
        }
        (EvalType::String, EvalType::String) => {
            // Members of the very same ENUM could go by number, but names decide in general.
            let collation = collation::of_operands(&[l, r], op_name)?;
            for side in [&mut *l, &mut *r] {
                *side = cast::members_to_text(side.clone());
            }
            Comparer::Bytes(collation)
        }
        (EvalType::Int, EvalType::Int) => Comparer::Int,
        (EvalType::Duration, EvalType::Duration) => Comparer::Duration,
        (EvalType::Time, EvalType::Time | EvalType::Duration) | (EvalType::Duration, EvalType::Time) => {
            for side in [&mut *l, &mut *r] {
                if types::eval_type(&side.ty) == EvalType::Duration {
                    let ty = types::datetime(side.ty.decimal.max(0));
                    *side = cast::implicit(side.clone(), ty);
                }
            }
            Comparer::Time
        }
        (EvalType::Time, _) => return settle_time(l, r),
        (_, EvalType::Time) => return settle_time(r, l),
        (EvalType::Duration, EvalType::String) => {
            fold_to(r, &types::time(6))?;
            Comparer::Duration
        }
        (EvalType::String, EvalType::Duration) => {
            fold_to(l, &types::time(6))?;
            Comparer::Duration
        }
        (EvalType::Duration, _) => {
            fold_to(r, &types::time(6))?;
            Comparer::Duration
        }
        (_, EvalType::Duration) => {
            fold_to(l, &types::time(6))?;
            Comparer::Duration
        }
        (EvalType::Int, EvalType::String) => return settle_number_and_text(l, r),
        (EvalType::String, EvalType::Int) => return settle_number_and_text(r, l),
        (EvalType::Decimal, EvalType::String) => return settle_number_and_text(l, r),
        (EvalType::String, EvalType::Decimal) => return settle_number_and_text(r, l),
        (EvalType::Real, _) | (_, EvalType::Real) => Comparer::Real,
        _ => Comparer::Decimal,
    };
    Ok(comparer)
}

/// A date or datetime against a string or a number.
fn settle_time(time: &mut Expr, other: &mut Expr) -> Result<Comparer> {
    let numeric = types::eval_type(&other.ty) != EvalType::String;
    if let Op::Const { value, .. } = &other.op {
        match value::time_of_constant(value) {
            TimeConstant::Time(t) => {
                let ty = types::datetime(6);
                *other = Expr::constant(Datum::Time(t), ty).with_coercibility(Coercibility::Numeric);
                return Ok(Comparer::Time);
            }
            TimeConstant::AtRunTime => return Ok(Comparer::Time),
            // A number that is no date compares as a number.
            TimeConstant::Invalid if numeric => {
                return Ok(if number_is_exact(&other.ty) {
                    Comparer::Decimal
                } else {
                    Comparer::Real
                });
            }
            TimeConstant::Invalid => {
                let kind = if time.ty.tp == TypeCode::Date {
                    "DATE"
                } else {
                    "DATETIME"
                };
                return Err(Error::wrong_value(
                    kind,
                    String::from_utf8_lossy(&value::to_text(value)),
                ));
            }
        }
    }
    Ok(match types::eval_type(&other.ty) {
        EvalType::String => Comparer::Time,
        EvalType::Real => Comparer::Real,
        _ => Comparer::Decimal,
    })
}

fn number_is_exact(ty: &FieldType) -> bool {
    matches!(types::eval_type(ty), EvalType::Int | EvalType::Decimal)
}

/// An integer or decimal against a string: as doubles, but a constant string that is a number is compared exactly with a column.
fn settle_number_and_text(number: &mut Expr, text: &mut Expr) -> Result<Comparer> {
    if let Op::Const {
        value: Datum::Bytes(b),
        hex,
    } = &text.op
    {
        if *hex {
            let n = value::bits_of_bytes(b);
            *text = Expr::constant(Datum::UInt(n), types::uint(20));
            return Ok(if types::eval_type(&number.ty) == EvalType::Int {
                Comparer::Int
            } else {
                Comparer::Decimal
            });
        }
        if matches!(number.op, Op::Column { .. } | Op::Outer { .. })
            && let Some(exact) = value::exact_number(b)
        {
            let is_int = matches!(exact, Datum::Int(_) | Datum::UInt(_));
            let ty = match &exact {
                Datum::Int(_) => types::int(20),
                Datum::UInt(_) => types::uint(20),
                _ => types::decimal(types::MAX_DECIMAL_PRECISION, types::MAX_DECIMAL_SCALE),
            };
            *text = Expr::constant(exact, ty);
            return Ok(if is_int && types::eval_type(&number.ty) == EvalType::Int {
                Comparer::Int
            } else {
                Comparer::Decimal
            });
        }
    }
    // ENUM and SET meet numbers by number.
    if matches!(text.ty.tp, TypeCode::Enum | TypeCode::Set) {
        return Ok(if types::eval_type(&number.ty) == EvalType::Int {
            Comparer::Int
        } else {
            Comparer::Decimal
        });
    }
    Ok(Comparer::Real)
}

/// Converts a constant once instead of for every row.
fn fold_to(side: &mut Expr, ty: &FieldType) -> Result<()> {
    if let Op::Const { value, .. } = &side.op
        && let Some(d) = value::duration_of_constant(value)
    {
        *side = Expr::constant(Datum::Duration(d), ty.clone());
    }
    Ok(())
}

/// The compiled `l op r`, rows included.
pub fn comparison(op: CmpOp, l: Expr, r: Expr) -> Result<Expr> {
    if let (Op::Row, Op::Row) = (&l.op, &r.op) {
        return build_rows(op, l, r);
    }
    let (mut l, mut r) = (l, r);
    let comparer = settle(&mut l, &mut r, op.symbol())?;
    let signed = |e: &Expr| e.ty.is_integer() && !e.ty.is_unsigned();
    let fast = comparer == Comparer::Int && op != CmpOp::NullSafeEq && signed(&l) && signed(&r);
    let op = if fast {
        Op::CompareInt(op)
    } else {
        Op::Compare(op, comparer)
    };
    Ok(Expr::new(op, vec![l, r], types::boolean()))
}

/// Rows compare column by column: `(a,b) < (c,d)` is `a < c OR (a = c AND b < d)`.
fn build_rows(op: CmpOp, l: Expr, r: Expr) -> Result<Expr> {
    if l.args.len() != r.args.len() {
        return Err(Error::operand_columns(l.args.len()));
    }
    let mut pairs: Vec<(Expr, Expr)> = l.args.into_iter().zip(r.args).collect();
    match op {
        CmpOp::Eq | CmpOp::NullSafeEq => {
            let equal = pairs
                .into_iter()
                .map(|(l, r)| comparison(op, l, r))
                .collect::<Result<Vec<_>>>()?;
            Ok(and(equal))
        }
        CmpOp::Ne => {
            let differ = pairs
                .into_iter()
                .map(|(l, r)| comparison(op, l, r))
                .collect::<Result<Vec<_>>>()?;
            Ok(or(differ))
        }
        CmpOp::Lt | CmpOp::Le | CmpOp::Gt | CmpOp::Ge => {
            let strict = match op {
                CmpOp::Le => CmpOp::Lt,
                CmpOp::Ge => CmpOp::Gt,
                other => other,
            };
            let Some((l, r)) = pairs.pop() else {
                return Err(Error::operand_columns(1));
            };
            let mut result = comparison(op, l, r)?;
            while let Some((l, r)) = pairs.pop() {
                let less = comparison(strict, l.clone(), r.clone())?;
                let equal = comparison(CmpOp::Eq, l, r)?;
                result = or(vec![less, and(vec![equal, result])]);
            }
            Ok(result)
        }
    }
}

pub(crate) fn and(mut parts: Vec<Expr>) -> Expr {
    if parts.len() == 1 {
        return parts.remove(0);
    }
    Expr::new(Op::And, parts, types::boolean())
}

pub(crate) fn or(mut parts: Vec<Expr>) -> Expr {
    if parts.len() == 1 {
        return parts.remove(0);
    }
    Expr::new(Op::Or, parts, types::boolean())
}
