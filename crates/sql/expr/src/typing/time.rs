//! Interval arithmetic as nodes.

use ilmenite_types::TypeCode;

use crate::kernel::time_unit::Unit;
use crate::node::{Expr, Op};
use crate::types::{self, EvalType};

/// `date + INTERVAL amount unit`.
pub(crate) fn date_arith(date: Expr, amount: Expr, unit: Unit, subtract: bool) -> Expr {
    let fsp_of_unit = match unit {
        Unit::Second => match types::eval_type(&amount.ty) {
            EvalType::Decimal => amount.ty.decimal.clamp(0, 6),
            EvalType::Int => 0,
            _ => 6,
        },
        unit if unit.has_micros() => 6,
        _ => 0,
    };
    let fsp = date.ty.decimal.clamp(0, 6).max(fsp_of_unit);
    let ty = match types::eval_type(&date.ty) {
        EvalType::Time if date.ty.tp == TypeCode::Date && unit.keeps_dates() => types::date(),
        EvalType::Time if date.ty.tp == TypeCode::Date => types::datetime(fsp_of_unit),
        EvalType::Time => types::datetime(fsp),
        EvalType::Duration if unit.is_time_of_day() => types::time(fsp),
        EvalType::Duration => types::datetime(fsp),
        _ => types::ascii(29),
    };
    Expr::new(Op::DateArith { unit, subtract }, vec![date, amount], ty)
}
