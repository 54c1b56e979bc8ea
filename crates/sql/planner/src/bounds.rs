//! A bound as a value that the column can have.

use std::cmp::Ordering;

use ilmenite_types::{Datum, Decimal, FieldType, TimeKind, TypeCode};

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
        Comparer::Decimal if is_int => {
            let decimal = convert::to_decimal(value, ctx)?;
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
            let exact = compare_decimals(&floor, &decimal).is_eq();
            match order {
                Ordering::Equal if !exact => Some((column, Ordering::Less)),
                _ => Some((column, order)),
            }
        }
        Comparer::Decimal => {
            let decimal = convert::to_decimal(value, ctx)?;
            let (precision, scale) = (ty.flen.clamp(1, 65) as u8, ty.decimal.clamp(0, 30) as u8);
            match decimal.fit(precision, scale) {
                Ok(fitted) => {
                    let order = compare_decimals(&fitted, &decimal);
                    Some((Datum::Decimal(fitted), order))
                }
                Err(_) => {
                    let max = Decimal::max_value(precision, scale);
                    if decimal.is_negative() {
                        Some((Datum::Decimal(max.negated()), Ordering::Greater))
                    } else {
                        Some((Datum::Decimal(max), Ordering::Less))
                    }
                }
            }
        }
        Comparer::Real if is_int => {
            let real = convert::to_f64(value, ctx)?;
            // Beyond this, several integers are the same double.
            if real.is_nan() || real.abs() >= 9e15 {
                return Ok(None);
            }
            let (column, order) = int_to_column(real.floor() as i128, ty);
            let order = if order.is_eq() && real.floor() != real {
                Ordering::Less
            } else {
                order
            };
            Some((column, order))
        }
        Comparer::Real => Some((Datum::Double(convert::to_f64(value, ctx)?), Ordering::Equal))
            .filter(|_| ty.tp == TypeCode::Double)
            .or_else(|| {
                let real = convert::to_f64(value, ctx).ok()?;
                let nearest = real as f32;
                let order = f64::from(nearest).partial_cmp(&real)?;
                nearest.is_finite().then_some((Datum::Float(nearest), order))
            }),
        Comparer::Bytes(_) => match value {
            Datum::Bytes(_) => Some((value.clone(), Ordering::Equal)),
            other => Some((Datum::Bytes(convert::to_text(other)), Ordering::Equal)),
        },
        Comparer::Time => {
            let Some(time) = convert::to_time(value, ctx)? else {
                return Ok(None);
            };
            if ty.tp == TypeCode::Date {
                let date = time.with_kind(TimeKind::Date);
                let order = if time.time_of_day().micros() == 0 {
                    Ordering::Equal
                } else {
                    Ordering::Less
                };
                return Ok(Some((Datum::Time(date), order)));
            }
            let kind = if ty.tp == TypeCode::Timestamp {
                TimeKind::Timestamp
            } else {
                TimeKind::DateTime
            };
            Some((Datum::Time(time.with_kind(kind)), Ordering::Equal))
        }
        Comparer::Duration => {
            convert::to_duration(value, ctx)?.map(|d| (Datum::Duration(d), Ordering::Equal))
        }
        Comparer::Json => None,
    })
}

fn compare_decimals(a: &Decimal, b: &Decimal) -> Ordering {
    a.cmp(b)
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
