//! Date and time functions.

use ilmenite_types::time::{date_of_day_number, days_in_month};
use ilmenite_types::{DateFlags, Datum, Decimal, Duration, FieldType, Time, TimeKind, TypeCode};
use jiff::tz::TimeZone;

use super::super::build::BuildOptions;
use super::super::node::{Coercibility, Expr, Op};
use super::super::time_format;
use super::super::types::EvalType;
use super::super::{cast, types, value};
use super::zone::zone_named;
use super::*;

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
    of_statement("DATE", 1, 1, t_date, date),
    pure("TIME", 1, 1, t_time_of, time),
    of_statement("TIMESTAMP", 1, 2, t_timestamp, timestamp),
    of_statement("YEAR", 1, 1, t_int, year),
    of_statement("MONTH", 1, 1, t_int, month),
    of_statement("DAY", 1, 1, t_int, day),
    of_statement("DAYOFMONTH", 1, 1, t_int, day),
    pure("HOUR", 1, 1, t_int, hour),
    pure("MINUTE", 1, 1, t_int, minute),
    pure("SECOND", 1, 1, t_int, second),
    pure("MICROSECOND", 1, 1, t_int, microsecond),
    of_statement("DAYOFWEEK", 1, 1, t_int, day_of_week),
    of_statement("WEEKDAY", 1, 1, t_int, weekday),
    of_statement("DAYOFYEAR", 1, 1, t_int, day_of_year),
    of_statement("WEEK", 1, 2, t_int, week),
    of_statement("WEEKOFYEAR", 1, 1, t_int, week_of_year),
    of_statement("YEARWEEK", 1, 2, t_int, year_week),
    of_statement("QUARTER", 1, 1, t_int, quarter),
    of_statement("LAST_DAY", 1, 1, t_date, last_day),
    of_statement("DAYNAME", 1, 1, t_ascii, day_name),
    of_statement("MONTHNAME", 1, 1, t_ascii, month_name),
    of_statement("DATE_FORMAT", 2, 2, t_ascii, date_format),
    pure("TIME_FORMAT", 2, 2, t_ascii, time_format_fn),
    pure("STR_TO_DATE", 2, 2, t_str_to_date, str_to_date),
    of_statement("DATEDIFF", 2, 2, t_int, datediff),
    pure("TIMEDIFF", 2, 2, t_timediff, timediff),
    pure("ADDTIME", 2, 2, t_addtime, addtime),
    pure("SUBTIME", 2, 2, t_addtime, subtime),
    of_statement("MAKEDATE", 2, 2, t_date, makedate),
    pure("MAKETIME", 3, 3, t_maketime, maketime),
    pure("SEC_TO_TIME", 1, 1, t_sec_to_time, sec_to_time),
    pure("TIME_TO_SEC", 1, 1, t_int, time_to_sec),
    of_statement("TO_DAYS", 1, 1, t_int, to_days),
    of_statement("TO_SECONDS", 1, 1, t_int, to_seconds),
    pure("FROM_DAYS", 1, 1, t_date, from_days),
    of_statement("CONVERT_TZ", 3, 3, t_convert_tz, convert_tz),
    pure("PERIOD_ADD", 2, 2, t_int, period_add),
    pure("PERIOD_DIFF", 2, 2, t_int, period_diff),
];

type Typed = Result<(FieldType, Coercibility)>;

/// The fractional digits asked for as a constant argument.
fn constant_fsp(args: &[Expr], name: &str) -> Result<i32> {
    match args.first().map(|a| &a.op) {
        None => Ok(0),
        Some(Op::Const {
            value: Datum::Int(n), ..
        }) => cast::checked_fsp(u64::try_from(*n).unwrap_or(u64::MAX), name).map(i32::from),
        Some(_) => Err(Error::wrong_arguments(name)),
    }
}

fn t_now(args: &mut [Expr], _: &BuildOptions) -> Typed {
    Ok((types::datetime(constant_fsp(args, "now")?), Coercibility::Numeric))
}

fn t_curtime(args: &mut [Expr], _: &BuildOptions) -> Typed {
    Ok((types::time(constant_fsp(args, "curtime")?), Coercibility::Numeric))
}

/// Fractional digits of a time given as this type: a text may have six.
fn fsp_of(ty: &FieldType) -> i32 {
    match types::eval_type(ty) {
        EvalType::Int => 0,
        EvalType::String if types::is_null_type(ty) => 0,
        EvalType::String | EvalType::Real | EvalType::Json => 6,
        _ => ty.decimal.clamp(0, 6),
    }
}

/// As `fsp_of`, but a constant text has as many as it is written with.
fn fsp_of_arg(arg: &Expr) -> i32 {
    match &arg.op {
        Op::Const {
            value: Datum::Bytes(b),
            ..
        } => match b.iter().rposition(|c| *c == b'.') {
            Some(at) => b[at + 1..]
                .iter()
                .take_while(|c| c.is_ascii_digit())
                .count()
                .min(6) as i32,
            None => 0,
        },
        _ => fsp_of(&arg.ty),
    }
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

fn t_time_of(args: &mut [Expr], _: &BuildOptions) -> Typed {
    Ok((types::time(fsp_of_arg(&args[0])), Coercibility::Numeric))
}

fn t_timestamp(args: &mut [Expr], _: &BuildOptions) -> Typed {
    let fsp = args.iter().map(fsp_of_arg).max().unwrap_or(0);
    Ok((types::datetime(fsp), Coercibility::Numeric))
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

fn t_convert_tz(args: &mut [Expr], _: &BuildOptions) -> Typed {
    Ok((types::datetime(fsp_of_arg(&args[0])), Coercibility::Numeric))
}

/// What a constant format can give decides the type.
fn t_str_to_date(args: &mut [Expr], _: &BuildOptions) -> Typed {
    let ty = match &args[1].op {
        Op::Const {
            value: Datum::Bytes(b),
            ..
        } => match time_format::parts_of(b) {
            (true, false, _) => types::date(),
            (false, true, micros) => types::time(if micros { 6 } else { 0 }),
            (_, _, micros) => types::datetime(if micros { 6 } else { 0 }),
        },
        _ => types::datetime(6),
    };
    Ok((ty, Coercibility::Numeric))
}

fn own_fsp(a: &Args<'_>) -> u8 {
    a.expr.ty.decimal.clamp(0, 6) as u8
}

fn clock(micros: i64, zone: &TimeZone, fsp: u8) -> Result<Time> {
    Ok(Time::from_unix_micros(micros, zone, TimeKind::DateTime, fsp)?.truncate_to_fsp(fsp))
}

fn now(a: &Args<'_>) -> Result<Datum> {
    Ok(Datum::Time(clock(
        a.ctx.now_micros,
        &a.ctx.time_zone,
        own_fsp(a),
    )?))
}

fn sysdate(a: &Args<'_>) -> Result<Datum> {
    let micros = jiff::Timestamp::now().as_microsecond();
    Ok(Datum::Time(clock(micros, &a.ctx.time_zone, own_fsp(a))?))
}

fn utc_timestamp(a: &Args<'_>) -> Result<Datum> {
    Ok(Datum::Time(clock(a.ctx.now_micros, &TimeZone::UTC, own_fsp(a))?))
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
        clock(a.ctx.now_micros, &a.ctx.time_zone, own_fsp(a))?.time_of_day(),
    ))
}

fn utc_time(a: &Args<'_>) -> Result<Datum> {
    Ok(Datum::Duration(
        clock(a.ctx.now_micros, &TimeZone::UTC, own_fsp(a))?.time_of_day(),
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
        return Ok(
            time_format::format(&time, &format, a.ctx.default_week_format).map_or(Datum::Null, cast::text)
        );
    }
    Ok(Datum::Time(clock(micros, &a.ctx.time_zone, own_fsp(a))?))
}

fn date(a: &Args<'_>) -> Result<Datum> {
    Ok(Datum::Time(arg!(a.time(0)).with_kind(TimeKind::Date)))
}

fn time(a: &Args<'_>) -> Result<Datum> {
    Ok(Datum::Duration(arg!(a.duration(0)).round_to_fsp(own_fsp(a))))
}

fn timestamp(a: &Args<'_>) -> Result<Datum> {
    let t = arg!(a.time(0)).with_kind(TimeKind::DateTime).with_fsp(own_fsp(a));
    if a.len() == 1 {
        return Ok(Datum::Time(t));
    }
    let d = arg!(a.duration(1));
    Ok(t.add_micros(d.micros())
        .map_or(Datum::Null, |t| Datum::Time(t.with_fsp(own_fsp(a)))))
}

fn year(a: &Args<'_>) -> Result<Datum> {
    int(arg!(a.time(0)).year().into())
}

fn month(a: &Args<'_>) -> Result<Datum> {
    int(arg!(a.time(0)).month().into())
}

fn day(a: &Args<'_>) -> Result<Datum> {
    int(arg!(a.time(0)).day().into())
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

/// A date that is a day of the calendar; NULL for zero dates.
fn real_date(a: &Args<'_>, at: usize) -> Result<Option<Time>> {
    let time = a.time(at)?;
    if let Some(t) = &time
        && t.has_zero_in_date()
    {
        a.ctx.warn(Error::incorrect_time("datetime", t));
        return Ok(None);
    }
    Ok(time)
}

fn day_of_week(a: &Args<'_>) -> Result<Datum> {
    int(i64::from((arg!(real_date(a, 0)).weekday() + 1) % 7) + 1)
}

fn weekday(a: &Args<'_>) -> Result<Datum> {
    int(arg!(real_date(a, 0)).weekday().into())
}

fn day_of_year(a: &Args<'_>) -> Result<Datum> {
    int(arg!(real_date(a, 0)).day_of_year().into())
}

fn week_mode(a: &Args<'_>) -> Result<Option<u8>> {
    if a.len() < 2 {
        return Ok(Some(a.ctx.default_week_format));
    }
    Ok(a.int(1)?.map(|mode| (mode & 7) as u8))
}

fn week(a: &Args<'_>) -> Result<Datum> {
    let t = arg!(real_date(a, 0));
    let mode = arg!(week_mode(a));
    int(t.week(mode, false).1.into())
}

fn week_of_year(a: &Args<'_>) -> Result<Datum> {
    int(arg!(real_date(a, 0)).week(3, false).1.into())
}

fn year_week(a: &Args<'_>) -> Result<Datum> {
    let t = arg!(real_date(a, 0));
    let mode = if a.len() < 2 { 0 } else { arg!(week_mode(a)) };
    let (year, week) = t.week(mode, true);
    int(i64::from(year) * 100 + i64::from(week))
}

fn quarter(a: &Args<'_>) -> Result<Datum> {
    int((i64::from(arg!(a.time(0)).month()) + 2) / 3)
}

fn last_day(a: &Args<'_>) -> Result<Datum> {
    let t = arg!(a.time(0));
    if t.month() == 0 {
        return Ok(Datum::Null);
    }
    let last = days_in_month(t.year(), t.month());
    Ok(Datum::Time(Time::from_date(
        t.year(),
        t.month(),
        last,
        DateFlags::ZEROS,
    )?))
}

fn day_name(a: &Args<'_>) -> Result<Datum> {
    let weekday = arg!(real_date(a, 0)).weekday();
    text(time_format::WEEKDAYS[usize::from(weekday % 7)])
}

fn month_name(a: &Args<'_>) -> Result<Datum> {
    match usize::from(arg!(a.time(0)).month()).checked_sub(1) {
        Some(month) => text(time_format::MONTHS[month % 12]),
        None => Ok(Datum::Null),
    }
}

fn date_format(a: &Args<'_>) -> Result<Datum> {
    let t = arg!(a.time(0)).with_kind(TimeKind::DateTime);
    let format = arg!(a.text(1));
    Ok(time_format::format(&t, &format, a.ctx.default_week_format).map_or(Datum::Null, cast::text))
}

fn time_format_fn(a: &Args<'_>) -> Result<Datum> {
    let d = arg!(a.duration(0));
    let format = arg!(a.text(1));
    Ok(time_format::format_duration(&d, &format).map_or(Datum::Null, cast::text))
}

fn str_to_date(a: &Args<'_>) -> Result<Datum> {
    let (s, format) = (arg!(a.text(0)), arg!(a.text(1)));
    let Some(read) = time_format::parse(&s, &format) else {
        a.ctx.lossy(Error::wrong_value_for_function(
            "datetime",
            value::shown(&s),
            "str_to_date",
        ))?;
        return Ok(Datum::Null);
    };
    if a.expr.ty.tp == TypeCode::Duration {
        let micros = read.time_micros();
        return Ok(Datum::Duration(Duration::from_micros(micros, own_fsp(a))?));
    }
    let kind = if a.expr.ty.tp == TypeCode::Date {
        TimeKind::Date
    } else {
        TimeKind::DateTime
    };
    let flags = value::date_flags(a.ctx.sql_mode);
    let made = read
        .fields()
        .and_then(|(fields, micros)| Time::from_fields(kind, fields, micros, own_fsp(a), flags).ok());
    match made {
        Some(t) => Ok(Datum::Time(t)),
        None => {
            a.ctx.lossy(Error::wrong_value_for_function(
                "datetime",
                value::shown(&s),
                "str_to_date",
            ))?;
            Ok(Datum::Null)
        }
    }
}

fn datediff(a: &Args<'_>) -> Result<Datum> {
    let (x, y) = (arg!(real_date(a, 0)), arg!(real_date(a, 1)));
    int(x.day_number() - y.day_number())
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
    let (duration, cut) = Duration::from_micros_saturating(micros, own_fsp(a));
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
        return Ok(Datum::Time(sum.with_fsp(own_fsp(a))));
    }
    let own = arg!(value::to_duration(&x, a.ctx));
    let (sum, _) = Duration::from_micros_saturating(own.micros() + micros, 6);
    if types::eval_type(&a.expr.ty) == EvalType::String {
        let fsp = if sum.microsecond() == 0 { 0 } else { 6 };
        return text(sum.with_fsp(fsp).to_string());
    }
    Ok(Datum::Duration(sum.with_fsp(own_fsp(a))))
}

fn addtime(a: &Args<'_>) -> Result<Datum> {
    add_duration(a, 1)
}

fn subtime(a: &Args<'_>) -> Result<Datum> {
    add_duration(a, -1)
}

fn from_day_number(number: i64) -> Result<Datum> {
    match date_of_day_number(number) {
        Some((year, month, day)) => Ok(Datum::Time(Time::from_date(year, month, day, DateFlags::ZEROS)?)),
        None => Ok(Datum::Null),
    }
}

fn makedate(a: &Args<'_>) -> Result<Datum> {
    let (year, day) = (arg!(a.int(0)), arg!(a.int(1)));
    if !(0..=9999).contains(&year) || !(1..=4_000_000).contains(&day) {
        return Ok(Datum::Null);
    }
    let year = match year {
        0..=69 => year + 2000,
        70..=99 => year + 1900,
        _ => year,
    };
    let first = ilmenite_types::time::day_number(year as u16, 1, 1);
    from_day_number(first + day - 1)
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
    let fsp = own_fsp(a);
    let (d, cut) = Duration::from_micros_saturating(micros, 6);
    if cut {
        a.ctx.warn(Error::truncated_wrong_value("time", seconds));
    }
    Ok(Datum::Duration(d.round_to_fsp(fsp)))
}

fn time_to_sec(a: &Args<'_>) -> Result<Datum> {
    int(arg!(a.duration(0)).micros() / 1_000_000)
}

fn to_days(a: &Args<'_>) -> Result<Datum> {
    int(arg!(real_date(a, 0)).day_number())
}

fn to_seconds(a: &Args<'_>) -> Result<Datum> {
    let t = arg!(real_date(a, 0));
    int(t.day_number() * 86_400 + t.time_of_day().micros() / 1_000_000)
}

fn from_days(a: &Args<'_>) -> Result<Datum> {
    from_day_number(arg!(a.int(0)))
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
            Time::from_unix_micros(micros, &to, TimeKind::DateTime, own_fsp(a)).unwrap_or(t)
        }
        _ => t,
    };
    Ok(Datum::Time(converted.with_fsp(own_fsp(a))))
}

/// Months of a period YYYYMM or YYMM.
fn period_months(period: i64) -> Option<i64> {
    let (mut year, month) = (period / 100, period % 100);
    if !(1..=999_999_999_999).contains(&period) || !(1..=12).contains(&month) {
        return None;
    }
    if year < 70 {
        year += 2000;
    } else if year < 100 {
        year += 1900;
    }
    Some(year * 12 + month - 1)
}

fn period_add(a: &Args<'_>) -> Result<Datum> {
    let (period, months) = (arg!(a.int(0)), arg!(a.int(1)));
    let start = period_months(period).ok_or_else(|| Error::wrong_arguments("period_add"))?;
    let sum = start.saturating_add(months.clamp(-1_000_000_000_000, 1_000_000_000_000));
    int(sum / 12 * 100 + sum % 12 + 1)
}

fn period_diff(a: &Args<'_>) -> Result<Datum> {
    let (x, y) = (arg!(a.int(0)), arg!(a.int(1)));
    let months = |p| period_months(p).ok_or_else(|| Error::wrong_arguments("period_diff"));
    int(months(x)? - months(y)?)
}
