//! Times of day and lengths of time.

use ilmenite_error::{Error, Result};
use ilmenite_types::{Datum, Decimal, Duration, TimeKind};

use super::args::{arg, int, text};
use super::define::{Typed, pure, t_ascii, t_int};
use super::fsp::{fsp_of, fsp_of_arg};
use crate::kernel::time_format;
use crate::node::{Args, Coercibility, Expr, FuncDef};
use crate::options::BuildOptions;
use crate::types::{self, EvalType};
use crate::value;

pub(super) static FUNCTIONS: &[FuncDef] = &[
    pure("TIME", 1, 1, t_time_of, time),
    pure("HOUR", 1, 1, t_int, hour),
    pure("MINUTE", 1, 1, t_int, minute),
    pure("SECOND", 1, 1, t_int, second),
    pure("MICROSECOND", 1, 1, t_int, microsecond),
    pure("TIME_FORMAT", 2, 2, t_ascii, time_format_fn),
    pure("TIMEDIFF", 2, 2, t_timediff, timediff),
    pure("ADDTIME", 2, 2, t_addtime, addtime),
    pure("SUBTIME", 2, 2, t_addtime, subtime),
    pure("MAKETIME", 3, 3, t_maketime, maketime),
    pure("SEC_TO_TIME", 1, 1, t_sec_to_time, sec_to_time),
    pure("TIME_TO_SEC", 1, 1, t_int, time_to_sec),
];

fn t_time_of(args: &mut [Expr], _: &BuildOptions) -> Typed {
    Ok((types::time(fsp_of_arg(&args[0])), Coercibility::Numeric))
}

fn t_timediff(args: &mut [Expr], _: &BuildOptions) -> Typed {
    let fsp = args.iter().map(fsp_of_arg).max().unwrap_or(0);
    Ok((types::time(fsp), Coercibility::Numeric))
}

fn t_addtime(args: &mut [Expr], _: &BuildOptions) -> Typed {
    let fsp = args.iter().map(fsp_of_arg).max().unwrap_or(0);
    Ok((
        match types::eval_type(&args[0].ty) {
            EvalType::Time => types::datetime(fsp),
            EvalType::Duration => types::time(fsp),
            _ => types::ascii(29),
        },
        Coercibility::Numeric,
    ))
}

fn t_maketime(args: &mut [Expr], _: &BuildOptions) -> Typed {
    Ok((types::time(fsp_of(&args[2].ty)), Coercibility::Numeric))
}

fn t_sec_to_time(args: &mut [Expr], _: &BuildOptions) -> Typed {
    Ok((types::time(fsp_of(&args[0].ty)), Coercibility::Numeric))
}

fn time(a: &Args<'_>) -> Result<Datum> {
    Ok(Datum::Duration(arg!(a.duration(0)).round_to_fsp(a.own_fsp())))
}

fn hour(a: &Args<'_>) -> Result<Datum> {
    int(arg!(a.duration(0)).hour().into())
}

fn minute(a: &Args<'_>) -> Result<Datum> {
    int(arg!(a.duration(0)).minute().into())
}

fn second(a: &Args<'_>) -> Result<Datum> {
    int(arg!(a.duration(0)).second().into())
}

fn microsecond(a: &Args<'_>) -> Result<Datum> {
    int(arg!(a.duration(0)).microsecond().into())
}

fn time_format_fn(a: &Args<'_>) -> Result<Datum> {
    let d = arg!(a.duration(0));
    let format = arg!(a.text(1));
    Ok(time_format::format_duration(&d, &format).map_or(Datum::Null, value::of_text))
}

fn is_date_like(datum: &Datum) -> bool {
    match datum {
        Datum::Time(_) => true,
        // A text with a date in it has at least two separators that are no colons.
        Datum::Bytes(b) => b.iter().filter(|c| matches!(c, b'-' | b'/')).count() >= 2,
        _ => false,
    }
}

fn timediff(a: &Args<'_>) -> Result<Datum> {
    let (x, y) = (arg!(a.by_name(0)), arg!(a.by_name(1)));
    if is_date_like(&x) != is_date_like(&y) {
        return Ok(Datum::Null);
    }
    let micros = if is_date_like(&x) {
        let (x, y) = (arg!(value::to_time(&x, a.ctx)), arg!(value::to_time(&y, a.ctx)));
        x.with_kind(TimeKind::DateTime)
            .micros_since(&y.with_kind(TimeKind::DateTime))?
    } else {
        arg!(value::to_duration(&x, a.ctx)).micros() - arg!(value::to_duration(&y, a.ctx)).micros()
    };
    clamped(a, micros)
}

fn clamped(a: &Args<'_>, micros: i64) -> Result<Datum> {
    let (duration, cut) = Duration::from_micros_saturating(micros, a.own_fsp());
    if cut {
        a.ctx.warn(Error::truncated_wrong_value("time", duration));
    }
    Ok(Datum::Duration(duration))
}

fn add_duration(a: &Args<'_>, sign: i64) -> Result<Datum> {
    let x = arg!(a.by_name(0));
    let d = arg!(a.duration(1));
    let micros = d.micros() * sign;
    if is_date_like(&x) {
        let t = arg!(value::to_time(&x, a.ctx)).with_kind(TimeKind::DateTime);
        let Ok(sum) = t.add_micros(micros) else {
            a.ctx.warn(Error::datetime_field_overflow("datetime"));
            return Ok(Datum::Null);
        };
        if types::eval_type(&a.expr.ty) == EvalType::String {
            let fsp = if sum.microsecond() == 0 { 0 } else { 6 };
            return text(sum.with_fsp(fsp).to_string());
        }
        return Ok(Datum::Time(sum.with_fsp(a.own_fsp())));
    }
    let own = arg!(value::to_duration(&x, a.ctx));
    let (sum, _) = Duration::from_micros_saturating(own.micros() + micros, 6);
    if types::eval_type(&a.expr.ty) == EvalType::String {
        let fsp = if sum.microsecond() == 0 { 0 } else { 6 };
        return text(sum.with_fsp(fsp).to_string());
    }
    Ok(Datum::Duration(sum.with_fsp(a.own_fsp())))
}

fn addtime(a: &Args<'_>) -> Result<Datum> {
    add_duration(a, 1)
}

fn subtime(a: &Args<'_>) -> Result<Datum> {
    add_duration(a, -1)
}

fn maketime(a: &Args<'_>) -> Result<Datum> {
    let (hour, minute) = (arg!(a.int(0)), arg!(a.int(1)));
    let seconds = arg!(a.decimal(2));
    let second_micros = seconds
        .checked_mul(&Decimal::from(1_000_000i64))?
        .to_i64()
        .unwrap_or(-1);
    if !(0..60).contains(&minute) || !(0..60_000_000).contains(&second_micros) {
        return Ok(Datum::Null);
    }
    let magnitude =
        hour.unsigned_abs().min(1000) as i64 * 3_600_000_000 + minute * 60_000_000 + second_micros;
    clamped(a, if hour < 0 { -magnitude } else { magnitude })
}

fn sec_to_time(a: &Args<'_>) -> Result<Datum> {
    let seconds = arg!(a.decimal(0));
    let micros = seconds
        .checked_mul(&Decimal::from(1_000_000i64))?
        .to_i64_saturating()
        .0;
    let fsp = a.own_fsp();
    let (d, cut) = Duration::from_micros_saturating(micros, 6);
    if cut {
        a.ctx.warn(Error::truncated_wrong_value("time", seconds));
    }
    Ok(Datum::Duration(d.round_to_fsp(fsp)))
}

fn time_to_sec(a: &Args<'_>) -> Result<Datum> {
    int(arg!(a.duration(0)).micros() / 1_000_000)
}
