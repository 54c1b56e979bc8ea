//! What time it is: the statement's clock, the epoch, time zones.

use ilmenite_base::clock::since_epoch;
use ilmenite_error::{Error, Result};
use ilmenite_types::{Datum, Decimal, Time, TimeKind};
use jiff::tz::TimeZone;

use super::args::{arg, int};
use super::define::{Typed, of_statement, t_ascii, t_date, volatile};
use super::fsp::{fsp_of, fsp_of_arg};
use crate::kernel::cast::checked_fsp;
use crate::kernel::time_format;
use crate::node::{Args, Coercibility, Expr, FuncDef, Op};
use crate::options::BuildOptions;
use crate::types::{self, EvalType};
use crate::value::{self, zone_named};

pub(super) static FUNCTIONS: &[FuncDef] = &[
    of_statement("NOW", 0, 1, t_now, now),
    of_statement("CURRENT_TIMESTAMP", 0, 1, t_now, now),
    of_statement("LOCALTIME", 0, 1, t_now, now),
    of_statement("LOCALTIMESTAMP", 0, 1, t_now, now),
    volatile("SYSDATE", 0, 1, t_now, sysdate),
    of_statement("UTC_TIMESTAMP", 0, 1, t_now, utc_timestamp),
    of_statement("CURDATE", 0, 0, t_date, curdate),
    of_statement("CURRENT_DATE", 0, 0, t_date, curdate),
    of_statement("UTC_DATE", 0, 0, t_date, utc_date),
    of_statement("CURTIME", 0, 1, t_curtime, curtime),
    of_statement("CURRENT_TIME", 0, 1, t_curtime, curtime),
    of_statement("UTC_TIME", 0, 1, t_curtime, utc_time),
    of_statement("UNIX_TIMESTAMP", 0, 1, t_unix, unix_timestamp),
    of_statement("FROM_UNIXTIME", 1, 2, t_from_unix, from_unixtime),
    of_statement("CONVERT_TZ", 3, 3, t_convert_tz, convert_tz),
];

/// The fractional digits asked for as a constant argument.
fn constant_fsp(args: &[Expr], name: &str) -> Result<i32> {
    match args.first().map(|a| &a.op) {
        None => Ok(0),
        Some(Op::Const {
            value: Datum::Int(n), ..
        }) => checked_fsp(u64::try_from(*n).unwrap_or(u64::MAX), name).map(i32::from),
        Some(_) => Err(Error::wrong_arguments(name)),
    }
}

fn t_now(args: &mut [Expr], _: &BuildOptions) -> Typed {
    Ok((types::datetime(constant_fsp(args, "now")?), Coercibility::Numeric))
}

fn t_curtime(args: &mut [Expr], _: &BuildOptions) -> Typed {
    Ok((types::time(constant_fsp(args, "curtime")?), Coercibility::Numeric))
}

fn t_unix(args: &mut [Expr], _: &BuildOptions) -> Typed {
    Ok((
        match args.first().map(fsp_of_arg) {
            None | Some(0) => types::int(21),
            Some(fsp) => types::decimal(12 + fsp, fsp),
        },
        Coercibility::Numeric,
    ))
}

fn t_from_unix(args: &mut [Expr], options: &BuildOptions) -> Typed {
    if args.len() == 2 {
        return t_ascii(args, options);
    }
    Ok((types::datetime(fsp_of(&args[0].ty)), Coercibility::Numeric))
}

fn t_convert_tz(args: &mut [Expr], _: &BuildOptions) -> Typed {
    Ok((types::datetime(fsp_of_arg(&args[0])), Coercibility::Numeric))
}

fn clock(micros: i64, zone: &TimeZone, fsp: u8) -> Result<Time> {
    Ok(Time::from_unix_micros(micros, zone, TimeKind::DateTime, fsp)?.truncate_to_fsp(fsp))
}

fn now(a: &Args<'_>) -> Result<Datum> {
    Ok(Datum::Time(clock(
        a.ctx.now_micros,
        &a.ctx.time_zone,
        a.own_fsp(),
    )?))
}

fn sysdate(a: &Args<'_>) -> Result<Datum> {
    let micros = since_epoch().as_micros() as i64;
    Ok(Datum::Time(clock(micros, &a.ctx.time_zone, a.own_fsp())?))
}

fn utc_timestamp(a: &Args<'_>) -> Result<Datum> {
    Ok(Datum::Time(clock(a.ctx.now_micros, &TimeZone::UTC, a.own_fsp())?))
}

fn curdate(a: &Args<'_>) -> Result<Datum> {
    Ok(Datum::Time(value::today(a.ctx)?))
}

fn utc_date(a: &Args<'_>) -> Result<Datum> {
    Ok(Datum::Time(
        clock(a.ctx.now_micros, &TimeZone::UTC, 0)?.with_kind(TimeKind::Date),
    ))
}

fn curtime(a: &Args<'_>) -> Result<Datum> {
    Ok(Datum::Duration(
        clock(a.ctx.now_micros, &a.ctx.time_zone, a.own_fsp())?.time_of_day(),
    ))
}

fn utc_time(a: &Args<'_>) -> Result<Datum> {
    Ok(Datum::Duration(
        clock(a.ctx.now_micros, &TimeZone::UTC, a.own_fsp())?.time_of_day(),
    ))
}

fn unix_timestamp(a: &Args<'_>) -> Result<Datum> {
    if a.len() == 0 {
        return int(a.ctx.now_micros.div_euclid(1_000_000));
    }
    let t = arg!(a.time(0));
    let micros = match t.with_kind(TimeKind::DateTime).to_unix_micros(&a.ctx.time_zone) {
        // Before the epoch, and past what fits, it is 0.
        Ok(micros) if (0..=32_536_771_199_999_999).contains(&micros) => micros,
        _ => 0,
    };
    if types::eval_type(&a.expr.ty) == EvalType::Int {
        return int(micros / 1_000_000);
    }
    Ok(Datum::Decimal(
        Decimal::try_from((i128::from(micros), 6))?.round_to(a.expr.ty.decimal),
    ))
}

fn from_unixtime(a: &Args<'_>) -> Result<Datum> {
    let seconds = arg!(a.decimal(0));
    let micros = seconds.checked_mul(&Decimal::from(1_000_000i64))?.to_i64();
    let micros = match micros {
        Ok(micros) if !seconds.is_negative() && micros <= 32_536_771_199_999_999 => micros,
        _ => return Ok(Datum::Null),
    };
    if a.len() == 2 {
        let format = arg!(a.text(1));
        let time = clock(micros, &a.ctx.time_zone, 6)?;
        return Ok(time_format::format(&time, &format, a.ctx.default_week_format)
            .map_or(Datum::Null, value::of_text));
    }
    Ok(Datum::Time(clock(micros, &a.ctx.time_zone, a.own_fsp())?))
}

fn convert_tz(a: &Args<'_>) -> Result<Datum> {
    let t = arg!(a.time(0)).with_kind(TimeKind::DateTime);
    let (from, to) = (arg!(a.string(1)), arg!(a.string(2)));
    let (Some(from), Some(to)) = (zone_named(&from), zone_named(&to)) else {
        return Ok(Datum::Null);
    };
    if t.has_zero_in_date() {
        return Ok(Datum::Null);
    }
    // What lies outside of the range of timestamps is left as it is.
    let micros = t.to_unix_micros(&from);
    let converted = match micros {
        Ok(micros) if (0..=32_536_771_199_999_999).contains(&micros) => {
            Time::from_unix_micros(micros, &to, TimeKind::DateTime, a.own_fsp()).unwrap_or(t)
        }
        _ => t,
    };
    Ok(Datum::Time(converted.with_fsp(a.own_fsp())))
}
