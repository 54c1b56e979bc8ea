//! Dates: their parts, calendars, formats.

use ilmenite_error::{Error, Result};
use ilmenite_types::time::{date_of_day_number, day_number, days_in_month};
use ilmenite_types::{DateFlags, Datum, Duration, Time, TimeKind, TypeCode};

use super::args::{arg, int, text};
use super::define::{Typed, of_statement, pure, t_ascii, t_date, t_int};
use super::fsp::fsp_of_arg;
use crate::kernel::time_format;
use crate::node::{Args, Coercibility, Expr, FuncDef, Op};
use crate::options::BuildOptions;
use crate::{types, value};

pub(super) static FUNCTIONS: &[FuncDef] = &[
    of_statement("DATE", 1, 1, t_date, date),
    of_statement("TIMESTAMP", 1, 2, t_timestamp, timestamp),
    of_statement("YEAR", 1, 1, t_int, year),
    of_statement("MONTH", 1, 1, t_int, month),
    of_statement("DAY", 1, 1, t_int, day),
    of_statement("DAYOFMONTH", 1, 1, t_int, day),
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
    pure("STR_TO_DATE", 2, 2, t_str_to_date, str_to_date),
    of_statement("DATEDIFF", 2, 2, t_int, datediff),
    of_statement("MAKEDATE", 2, 2, t_date, makedate),
    of_statement("TO_DAYS", 1, 1, t_int, to_days),
    of_statement("TO_SECONDS", 1, 1, t_int, to_seconds),
    pure("FROM_DAYS", 1, 1, t_date, from_days),
    pure("PERIOD_ADD", 2, 2, t_int, period_add),
    pure("PERIOD_DIFF", 2, 2, t_int, period_diff),
];

fn t_timestamp(args: &mut [Expr], _: &BuildOptions) -> Typed {
    let fsp = args.iter().map(fsp_of_arg).max().unwrap_or(0);
    Ok((types::datetime(fsp), Coercibility::Numeric))
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

fn date(a: &Args<'_>) -> Result<Datum> {
    Ok(Datum::Time(arg!(a.time(0)).with_kind(TimeKind::Date)))
}

fn timestamp(a: &Args<'_>) -> Result<Datum> {
    let t = arg!(a.time(0))
        .with_kind(TimeKind::DateTime)
        .with_fsp(a.own_fsp());
    if a.len() == 1 {
        return Ok(Datum::Time(t));
    }
    let d = arg!(a.duration(1));
    Ok(t.add_micros(d.micros())
        .map_or(Datum::Null, |t| Datum::Time(t.with_fsp(a.own_fsp()))))
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
    Ok(time_format::format(&t, &format, a.ctx.default_week_format).map_or(Datum::Null, value::of_text))
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
        return Ok(Datum::Duration(Duration::from_micros(micros, a.own_fsp())?));
    }
    let kind = if a.expr.ty.tp == TypeCode::Date {
        TimeKind::Date
    } else {
        TimeKind::DateTime
    };
    let flags = value::date_flags(a.ctx.sql_mode);
    let made = read
        .fields()
        .and_then(|(fields, micros)| Time::from_fields(kind, fields, micros, a.own_fsp(), flags).ok());
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
    let first = day_number(year as u16, 1, 1);
    from_day_number(first + day - 1)
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
