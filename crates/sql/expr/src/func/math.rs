//! Numeric functions.

use std::cmp::Ordering;

use ilmenite_error::{Error, Result};
use ilmenite_types::{Datum, Decimal};

use super::args::{arg, int};
use super::define::{MANY, Typed, pure, t_double, t_int, volatile};
use crate::kernel::arith::{self, NumberKind, is_unsigned, number_kind};
use crate::kernel::compare::Comparer;
use crate::node::{Args, Coercibility, Expr, FuncDef, Op};
use crate::options::BuildOptions;
use crate::typing::arith::numeric_operand;
use crate::typing::{cast, collation};
use crate::{types, value};

pub(super) static FUNCTIONS: &[FuncDef] = &[
    pure("ABS", 1, 1, t_same_number, abs),
    pure("CEIL", 1, 1, t_whole, ceil),
    pure("CEILING", 1, 1, t_whole, ceil),
    pure("FLOOR", 1, 1, t_whole, floor),
    pure("ROUND", 1, 2, t_round, round),
    pure("TRUNCATE", 2, 2, t_round, truncate),
    pure("POW", 2, 2, t_double, pow),
    pure("POWER", 2, 2, t_double, pow),
    pure("SQRT", 1, 1, t_double, sqrt),
    pure("EXP", 1, 1, t_double, exp),
    pure("LN", 1, 1, t_double, ln),
    pure("LOG", 1, 2, t_double, log),
    pure("LOG2", 1, 1, t_double, log2),
    pure("LOG10", 1, 1, t_double, log10),
    pure("SIGN", 1, 1, t_int, sign),
    pure("PI", 0, 0, t_pi, pi),
    pure("SIN", 1, 1, t_double, sin),
    pure("COS", 1, 1, t_double, cos),
    pure("TAN", 1, 1, t_double, tan),
    pure("COT", 1, 1, t_double, cot),
    pure("ASIN", 1, 1, t_double, asin),
    pure("ACOS", 1, 1, t_double, acos),
    pure("ATAN", 1, 2, t_double, atan),
    pure("ATAN2", 2, 2, t_double, atan),
    pure("DEGREES", 1, 1, t_double, degrees),
    pure("RADIANS", 1, 1, t_double, radians),
    pure("GREATEST", 2, MANY, t_extreme, greatest),
    pure("LEAST", 2, MANY, t_extreme, least),
    pure("BIT_COUNT", 1, 1, t_int, bit_count),
    volatile("RAND", 0, 1, t_double, rand),
];

fn numeric(args: &mut [Expr], at: usize) -> Result<NumberKind> {
    args[at] = numeric_operand(args[at].clone())?;
    Ok(number_kind(&args[at].ty))
}

fn t_same_number(args: &mut [Expr], _: &BuildOptions) -> Typed {
    let kind = numeric(args, 0)?;
    let (whole, scale) = types::digits(&args[0].ty);
    let ty = match kind {
        NumberKind::Int => types::int_signed_or_not(whole + 1, is_unsigned(&args[0].ty)),
        NumberKind::Decimal => types::decimal(whole + scale, scale),
        NumberKind::Real => types::double(),
    };
    Ok((ty, Coercibility::Numeric))
}

/// CEIL and FLOOR of a decimal that fits are integers.
fn t_whole(args: &mut [Expr], _: &BuildOptions) -> Typed {
    let kind = numeric(args, 0)?;
    let (whole, _) = types::digits(&args[0].ty);
    let ty = match kind {
        NumberKind::Int => types::int_signed_or_not(whole + 1, is_unsigned(&args[0].ty)),
        NumberKind::Decimal if whole < 18 => types::int(whole + 2),
        NumberKind::Decimal => types::decimal(whole + 1, 0),
        NumberKind::Real => types::double(),
    };
    Ok((ty, Coercibility::Numeric))
}

fn t_round(args: &mut [Expr], _: &BuildOptions) -> Typed {
    let kind = numeric(args, 0)?;
    let (whole, scale) = types::digits(&args[0].ty);
    let wanted = match args.get(1).map(|d| &d.op) {
        None => Some(0),
        Some(Op::Const {
            value: Datum::Int(n), ..
        }) => Some(*n),
        Some(_) => None,
    };
    let ty = match kind {
        NumberKind::Int => types::int_signed_or_not((whole + 1).min(21), is_unsigned(&args[0].ty)),
        NumberKind::Decimal => {
            let scale = wanted.map_or(scale, |n| n.clamp(0, i64::from(types::MAX_DECIMAL_SCALE)) as i32);
            types::decimal(whole + 1 + scale, scale)
        }
        NumberKind::Real => match wanted {
            Some(n) if (0..=30).contains(&n) => types::double_with(n as i32),
            Some(n) if n < 0 => types::double_with(0),
            _ => types::double(),
        },
    };
    Ok((ty, Coercibility::Numeric))
}

fn t_pi(_: &mut [Expr], _: &BuildOptions) -> Typed {
    Ok((types::double_with(6), Coercibility::Numeric))
}

/// Bring all to what they are compared as.
fn t_extreme(args: &mut [Expr], _: &BuildOptions) -> Typed {
    let refs: Vec<&Expr> = args.iter().collect();
    let (ty, coercibility) = collation::common_type(&refs, "greatest")?;
    for arg in args.iter_mut() {
        *arg = cast::coerced(arg.clone(), &ty);
    }
    Ok((ty, coercibility))
}

fn abs(a: &Args<'_>) -> Result<Datum> {
    let datum = a.datum(0)?;
    Ok(match &*datum {
        Datum::Null => Datum::Null,
        Datum::UInt(n) => Datum::UInt(*n),
        Datum::Int(n) => Datum::Int(n.checked_abs().ok_or_else(|| a.expr.target().out_of_range())?),
        Datum::Decimal(d) => Datum::Decimal(d.abs()),
        other => match number_kind(a.ty(0)) {
            NumberKind::Int => Datum::Int(value::to_i64(other, a.ctx)?.saturating_abs()),
            NumberKind::Decimal => Datum::Decimal(value::to_decimal(other, a.ctx)?.abs()),
            NumberKind::Real => Datum::Double(value::to_f64(other, a.ctx)?.abs()),
        },
    })
}

fn whole(
    a: &Args<'_>,
    real: fn(f64) -> f64,
    exact: fn(&Decimal) -> Result<Decimal, ilmenite_types::Error>,
) -> Result<Datum> {
    let datum = a.datum(0)?;
    if *datum == Datum::Null {
        return Ok(Datum::Null);
    }
    Ok(match number_kind(a.ty(0)) {
        NumberKind::Int => match &*datum {
            Datum::Int(_) | Datum::UInt(_) => datum.into_owned(),
            other => Datum::Int(value::to_i64(other, a.ctx)?),
        },
        NumberKind::Decimal => {
            let d = exact(&value::to_decimal(&datum, a.ctx)?)?;
            if types::eval_type(&a.expr.ty) == types::EvalType::Int {
                Datum::Int(d.to_i64().map_err(|_| a.expr.target().out_of_range())?)
            } else {
                Datum::Decimal(d)
            }
        }
        NumberKind::Real => Datum::Double(real(value::to_f64(&datum, a.ctx)?)),
    })
}

fn ceil(a: &Args<'_>) -> Result<Datum> {
    whole(a, f64::ceil, Decimal::ceil)
}

fn floor(a: &Args<'_>) -> Result<Datum> {
    whole(a, f64::floor, Decimal::floor)
}

fn round(a: &Args<'_>) -> Result<Datum> {
    round_or_cut(a, false)
}

fn truncate(a: &Args<'_>) -> Result<Datum> {
    round_or_cut(a, true)
}

fn round_or_cut(a: &Args<'_>, cut: bool) -> Result<Datum> {
    let datum = a.datum(0)?;
    if *datum == Datum::Null {
        return Ok(Datum::Null);
    }
    let digits = if a.len() > 1 { arg!(a.int(1)) } else { 0 }.clamp(-400, 400) as i32;
    match number_kind(a.ty(0)) {
        NumberKind::Int => {
            let n = value::to_i128(&datum, a.ctx)?;
            let result = if digits >= 0 {
                n
            } else {
                let unit = 10i128.pow((-digits).min(25) as u32);
                let rest = n % unit;
                let base = n - rest;
                if !cut && rest.abs() * 2 >= unit {
                    base + unit * rest.signum()
                } else {
                    base
                }
            };
            if a.expr.ty.is_unsigned() {
                u64::try_from(result)
                    .map(Datum::UInt)
                    .map_err(|_| a.expr.target().out_of_range())
            } else {
                i64::try_from(result)
                    .map(Datum::Int)
                    .map_err(|_| a.expr.target().out_of_range())
            }
        }
        NumberKind::Decimal => {
            let d = value::to_decimal(&datum, a.ctx)?;
            Ok(Datum::Decimal(if cut {
                d.truncate_to(digits)
            } else {
                d.round_to(digits)
            }))
        }
        NumberKind::Real => {
            let x = value::to_f64(&datum, a.ctx)?;
            Ok(Datum::Double(round_real(x, digits, cut)))
        }
    }
}

fn round_real(x: f64, digits: i32, cut: bool) -> f64 {
    let power = 10f64.powi(digits.abs());
    if !power.is_finite() {
        return if digits < 0 { 0.0 } else { x };
    }
    let apply = |v: f64| if cut { v.trunc() } else { v.round_ties_even() };
    let result = if digits < 0 {
        apply(x / power) * power
    } else {
        apply(x * power) / power
    };
    if result.is_finite() { result } else { x }
}

fn real_or_null(x: f64, a: &Args<'_>) -> Result<Datum> {
    arith::finite(a.expr, x)
}

/// A function that is not defined for its argument: NULL, and 3020 as MySQL warns.
fn undefined(a: &Args<'_>) -> Result<Datum> {
    a.ctx.warn(Error::invalid_argument_for_logarithm());
    Ok(Datum::Null)
}

fn pow(a: &Args<'_>) -> Result<Datum> {
    let (x, y) = (arg!(a.real(0)), arg!(a.real(1)));
    real_or_null(x.powf(y), a)
}

fn sqrt(a: &Args<'_>) -> Result<Datum> {
    let x = arg!(a.real(0));
    Ok(if x < 0.0 {
        Datum::Null
    } else {
        Datum::Double(x.sqrt())
    })
}

fn exp(a: &Args<'_>) -> Result<Datum> {
    let x = arg!(a.real(0));
    real_or_null(x.exp(), a)
}

fn ln(a: &Args<'_>) -> Result<Datum> {
    let x = arg!(a.real(0));
    if x <= 0.0 {
        undefined(a)
    } else {
        Ok(Datum::Double(x.ln()))
    }
}

fn log(a: &Args<'_>) -> Result<Datum> {
    if a.len() == 1 {
        return ln(a);
    }
    let (base, x) = (arg!(a.real(0)), arg!(a.real(1)));
    if x <= 0.0 || base <= 0.0 || base == 1.0 {
        return undefined(a);
    }
    real_or_null(x.ln() / base.ln(), a)
}

fn log2(a: &Args<'_>) -> Result<Datum> {
    let x = arg!(a.real(0));
    if x <= 0.0 {
        undefined(a)
    } else {
        Ok(Datum::Double(x.log2()))
    }
}

fn log10(a: &Args<'_>) -> Result<Datum> {
    let x = arg!(a.real(0));
    if x <= 0.0 {
        undefined(a)
    } else {
        Ok(Datum::Double(x.log10()))
    }
}

fn sign(a: &Args<'_>) -> Result<Datum> {
    let x = arg!(a.real(0));
    int(if x > 0.0 {
        1
    } else if x < 0.0 {
        -1
    } else {
        0
    })
}

fn pi(_: &Args<'_>) -> Result<Datum> {
    Ok(Datum::Double(std::f64::consts::PI))
}

fn sin(a: &Args<'_>) -> Result<Datum> {
    Ok(Datum::Double(arg!(a.real(0)).sin()))
}

fn cos(a: &Args<'_>) -> Result<Datum> {
    Ok(Datum::Double(arg!(a.real(0)).cos()))
}

fn tan(a: &Args<'_>) -> Result<Datum> {
    Ok(Datum::Double(arg!(a.real(0)).tan()))
}

fn cot(a: &Args<'_>) -> Result<Datum> {
    let x = arg!(a.real(0));
    real_or_null(1.0 / x.tan(), a)
}

fn within_one(x: f64, f: fn(f64) -> f64) -> Datum {
    if (-1.0..=1.0).contains(&x) {
        Datum::Double(f(x))
    } else {
        Datum::Null
    }
}

fn asin(a: &Args<'_>) -> Result<Datum> {
    Ok(within_one(arg!(a.real(0)), f64::asin))
}

fn acos(a: &Args<'_>) -> Result<Datum> {
    Ok(within_one(arg!(a.real(0)), f64::acos))
}

fn atan(a: &Args<'_>) -> Result<Datum> {
    let y = arg!(a.real(0));
    if a.len() == 1 {
        return Ok(Datum::Double(y.atan()));
    }
    Ok(Datum::Double(y.atan2(arg!(a.real(1)))))
}

fn degrees(a: &Args<'_>) -> Result<Datum> {
    Ok(Datum::Double(arg!(a.real(0)).to_degrees()))
}

fn radians(a: &Args<'_>) -> Result<Datum> {
    Ok(Datum::Double(arg!(a.real(0)).to_radians()))
}

fn extreme(a: &Args<'_>, wanted: Ordering) -> Result<Datum> {
    let comparer = Comparer::for_type(&a.expr.ty);
    let mut best: Option<Datum> = None;
    for at in 0..a.len() {
        let datum = a.datum(at)?;
        if *datum == Datum::Null {
            return Ok(Datum::Null);
        }
        match &best {
            Some(b) if comparer.order(&datum, b, a.ctx)? != wanted => {}
            _ => best = Some(datum.into_owned()),
        }
    }
    Ok(best.unwrap_or(Datum::Null))
}

fn greatest(a: &Args<'_>) -> Result<Datum> {
    extreme(a, Ordering::Greater)
}

fn least(a: &Args<'_>) -> Result<Datum> {
    extreme(a, Ordering::Less)
}

fn bit_count(a: &Args<'_>) -> Result<Datum> {
    int(i64::from(arg!(a.bits(0)).count_ones()))
}

fn rand(a: &Args<'_>) -> Result<Datum> {
    if a.len() == 0 {
        return Ok(Datum::Double(a.ctx.random()));
    }
    let seed = a.int(0)?.unwrap_or(0) as u32;
    let constant = matches!(a.expr.args[0].op, Op::Const { .. } | Op::Param(_));
    // The expression's place in memory tells one call from another for as long as the statement lives.
    let call = std::ptr::from_ref(a.expr) as usize;
    Ok(Datum::Double(a.ctx.seeded_random(call, seed, constant)))
}
