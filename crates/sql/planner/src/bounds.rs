//! A bound as a value that the column can have.

use std::cmp::Ordering;

use ilmenite_types::{Datum, Decimal, FieldType, Time, TimeKind, TypeCode};

use ilmenite_error::Result;
use ilmenite_expr::{Comparer, EvalContext, value as convert};

/// The value of the column's type nearest to `value`, and how it compares to it; `None` when that cannot be said.
pub(super) fn to_column(
    value: &Datum,
    ty: &FieldType,
    comparer: &Comparer,
    ctx: &EvalContext,
) -> Result<Option<(Datum, Ordering)>> {
    let is_int = ty.is_integer() || ty.tp == TypeCode::Year;
    Ok(match comparer {
        Comparer::Int => Some(int_to_column(convert::to_i128(value, ctx)?, ty)),
        Comparer::Decimal if is_int => Some(decimal_to_int(&convert::to_decimal(value, ctx)?, ty)?),
        Comparer::Decimal => Some(decimal_to_decimal(&convert::to_decimal(value, ctx)?, ty)),
        Comparer::Real if is_int => real_to_int(convert::to_f64(value, ctx)?, ty),
        Comparer::Real => real_to_real(convert::to_f64(value, ctx)?, ty),
        Comparer::Bytes(_) => match value {
            Datum::Bytes(_) => Some((value.clone(), Ordering::Equal)),
            other => Some((Datum::Bytes(convert::to_text(other)), Ordering::Equal)),
        },
        Comparer::Time => convert::to_time(value, ctx)?.map(|time| time_to_column(time, ty)),
        Comparer::Duration => {
            convert::to_duration(value, ctx)?.map(|d| (Datum::Duration(d), Ordering::Equal))
        }
        Comparer::Json => None,
    })
}

fn decimal_to_int(decimal: &Decimal, ty: &FieldType) -> Result<(Datum, Ordering)> {
    let floor = decimal.floor()?;
    let whole = match floor.to_i64() {
        Ok(n) => i128::from(n),
        Err(_) => match floor.to_u64() {
            Ok(n) => i128::from(n),
            Err(_) if floor.is_negative() => i128::from(i64::MIN) - 1,
            Err(_) => i128::from(u64::MAX) + 1,
        },
    };
    let (column, order) = int_to_column(whole, ty);
    let exact = floor.cmp(decimal).is_eq();
    let order = if order.is_eq() && !exact {
        Ordering::Less
    } else {
        order
    };
    Ok((column, order))
}

fn decimal_to_decimal(decimal: &Decimal, ty: &FieldType) -> (Datum, Ordering) {
    let (precision, scale) = (ty.flen.clamp(1, 65) as u8, ty.decimal.clamp(0, 30) as u8);
    match decimal.fit(precision, scale) {
        Ok(fitted) => {
            let order = fitted.cmp(decimal);
            (Datum::Decimal(fitted), order)
        }
        Err(_) => {
            let max = Decimal::max_value(precision, scale);
            if decimal.is_negative() {
                (Datum::Decimal(max.negated()), Ordering::Greater)
            } else {
                (Datum::Decimal(max), Ordering::Less)
            }
        }
    }
}

fn real_to_int(real: f64, ty: &FieldType) -> Option<(Datum, Ordering)> {
    // Beyond this, several integers are the same double.
    if real.is_nan() || real.abs() >= 9e15 {
        return None;
    }
    let (column, order) = int_to_column(real.floor() as i128, ty);
    let order = if order.is_eq() && real.floor() != real {
        Ordering::Less
    } else {
        order
    };
    Some((column, order))
}

fn real_to_real(real: f64, ty: &FieldType) -> Option<(Datum, Ordering)> {
    if ty.tp == TypeCode::Double {
        return Some((Datum::Double(real), Ordering::Equal));
    }
    let nearest = real as f32;
    let order = f64::from(nearest).partial_cmp(&real)?;
    nearest.is_finite().then_some((Datum::Float(nearest), order))
}

fn time_to_column(time: Time, ty: &FieldType) -> (Datum, Ordering) {
    let kind = match ty.tp {
        TypeCode::Date => TimeKind::Date,
        TypeCode::Timestamp => TimeKind::Timestamp,
        _ => TimeKind::DateTime,
    };
    // Of a date the time of day is lost.
    let order = if kind == TimeKind::Date && time.time_of_day().micros() != 0 {
        Ordering::Less
    } else {
        Ordering::Equal
    };
    (Datum::Time(time.with_kind(kind)), order)
}

/// Clamped to what a BIGINT of the column's sign holds.
fn int_to_column(n: i128, ty: &FieldType) -> (Datum, Ordering) {
    let (min, max) = if ty.is_unsigned() {
        (0, i128::from(u64::MAX))
    } else {
        (i128::from(i64::MIN), i128::from(i64::MAX))
    };
    let clamped = n.clamp(min, max);
    let datum = if ty.is_unsigned() {
        Datum::UInt(clamped as u64)
    } else {
        Datum::Int(clamped as i64)
    };
    (datum, clamped.cmp(&n))
}
