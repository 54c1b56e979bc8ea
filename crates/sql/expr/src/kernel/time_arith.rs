//! Adding intervals, taking parts, differences.

use ilmenite_error::{Error, Result};
use ilmenite_types::{Datum, Duration, FieldType, Time, TimeKind, TypeCode};

use super::time_unit::{Span, Unit};
use crate::context::EvalContext;
use crate::types::{self, EvalType};
use crate::value;

/// `date + INTERVAL amount unit` as a value of type `to`.
pub(crate) fn date_arith(
    date: &Datum,
    amount: &Datum,
    (unit, subtract): (Unit, bool),
    to: &FieldType,
    ctx: &EvalContext,
) -> Result<Datum> {
    if *date == Datum::Null || *amount == Datum::Null {
        return Ok(Datum::Null);
    }
    let overflow = || {
        ctx.warn(Error::datetime_field_overflow("datetime"));
        Ok(Datum::Null)
    };
    let Some(span) = unit.span(amount, ctx)? else {
        return overflow();
    };
    let span = if subtract {
        match (span.months.checked_neg(), span.micros.checked_neg()) {
            (Some(months), Some(micros)) => Span { months, micros },
            _ => return overflow(),
        }
    } else {
        span
    };
    if let (Datum::Duration(d), EvalType::Duration) = (date, types::eval_type(to)) {
        let fsp = to.decimal.clamp(0, 6) as u8;
        let sum = d.micros().checked_add(span.micros);
        return Ok(match sum.map(|micros| Duration::from_micros(micros, fsp)) {
            Some(Ok(sum)) => Datum::Duration(sum),
            _ => {
                ctx.warn(Error::datetime_field_overflow("time"));
                Datum::Null
            }
        });
    }
    let from_text = !matches!(date, Datum::Time(_) | Datum::Duration(_));
    let time = match date {
        Datum::Time(t) => *t,
        other => match value::to_time(other, ctx)? {
            Some(t) => t,
            None => return Ok(Datum::Null),
        },
    };
    if time.has_zero_in_date() {
        ctx.warn(Error::incorrect_time("datetime", time));
        return Ok(Datum::Null);
    }
    // A text of a date only, and whole days: the result is a date only.
    let date_text = from_text && unit.keeps_dates() && is_date_text(date);
    let moved = add(&time, span);
    let Ok(moved) = moved else {
        return overflow();
    };
    if from_text {
        let shown = if date_text {
            moved.with_kind(TimeKind::Date)
        } else {
            let fsp = if moved.microsecond() == 0 { 0 } else { 6 };
            moved.with_kind(TimeKind::DateTime).with_fsp(fsp)
        };
        return Ok(value::of_text(shown.to_string()));
    }
    let kind = if to.tp == TypeCode::Date {
        TimeKind::Date
    } else {
        TimeKind::DateTime
    };
    Ok(Datum::Time(
        moved.with_kind(kind).with_fsp(to.decimal.clamp(0, 6) as u8),
    ))
}

fn add(time: &Time, span: Span) -> Result<Time, ilmenite_types::Error> {
    // The kind decides whether the time of day counts.
    let exact = time.with_kind(if span.micros == 0 {
        time.kind()
    } else {
        TimeKind::DateTime
    });
    if span.months != 0 {
        exact.add_months(span.months)
    } else {
        exact.add_micros(span.micros)
    }
}

fn is_date_text(value: &Datum) -> bool {
    match value {
        Datum::Bytes(b) => {
            let groups = b
                .split(|c| !c.is_ascii_digit())
                .filter(|g| !g.is_empty())
                .collect::<Vec<_>>();
            groups.len() <= 3 && groups.iter().all(|g| g.len() <= 8)
        }
        Datum::Int(n) => n.abs() < 100_000_000,
        _ => false,
    }
}

/// EXTRACT(unit FROM from).
pub(crate) fn extract(from: &Datum, unit: Unit, ctx: &EvalContext) -> Result<Datum> {
    if *from == Datum::Null {
        return Ok(Datum::Null);
    }
    let duration_like = matches!(from, Datum::Duration(_));
    if unit.is_time_of_day() || (duration_like && !unit.keeps_dates()) {
        let Some(d) = value::to_duration(from, ctx)? else {
            return Ok(Datum::Null);
        };
        return Ok(Datum::Int(extract_duration(&d, unit)));
    }
    let Some(t) = value::to_time(from, ctx)? else {
        return Ok(Datum::Null);
    };
    Ok(Datum::Int(extract_time(&t, unit, ctx)))
}

fn extract_duration(d: &Duration, unit: Unit) -> i64 {
    let (hour, minute, second) = (i64::from(d.hour()), i64::from(d.minute()), i64::from(d.second()));
    let micros = i64::from(d.microsecond());
    let number = compose(unit, 0, hour, minute, second, micros);
    if d.is_negative() { -number } else { number }
}

fn extract_time(t: &Time, unit: Unit, ctx: &EvalContext) -> i64 {
    let (year, month, day) = (i64::from(t.year()), i64::from(t.month()), i64::from(t.day()));
    match unit {
        Unit::Year => year,
        Unit::YearMonth => year * 100 + month,
        Unit::Quarter => (month + 2) / 3,
        Unit::Month => month,
        Unit::Week => i64::from(t.week(ctx.default_week_format, false).1),
        Unit::Day => day,
        _ => compose(
            unit,
            day,
            t.hour().into(),
            t.minute().into(),
            t.second().into(),
            t.microsecond().into(),
        ),
    }
}

fn compose(unit: Unit, day: i64, hour: i64, minute: i64, second: i64, micros: i64) -> i64 {
    let hms = hour * 10_000 + minute * 100 + second;
    match unit {
        Unit::Microsecond => micros,
        Unit::Second => second,
        Unit::Minute => minute,
        Unit::Hour => hour,
        Unit::SecondMicrosecond => second * 1_000_000 + micros,
        Unit::MinuteMicrosecond => (minute * 100 + second) * 1_000_000 + micros,
        Unit::MinuteSecond => minute * 100 + second,
        Unit::HourMicrosecond => hms * 1_000_000 + micros,
        Unit::HourSecond => hms,
        Unit::HourMinute => hour * 100 + minute,
        Unit::DayMicrosecond => (day * 1_000_000 + hms) * 1_000_000 + micros,
        Unit::DaySecond => day * 1_000_000 + hms,
        Unit::DayMinute => day * 10_000 + hour * 100 + minute,
        Unit::DayHour => day * 100 + hour,
        Unit::Day | Unit::Week | Unit::Month | Unit::Quarter | Unit::Year | Unit::YearMonth => day,
    }
}

/// TIMESTAMPDIFF(unit, a, b): whole units from a to b.
pub(crate) fn timestamp_diff(a: &Datum, b: &Datum, unit: Unit, ctx: &EvalContext) -> Result<Datum> {
    if *a == Datum::Null || *b == Datum::Null {
        return Ok(Datum::Null);
    }
    let (Some(a), Some(b)) = (value::to_time(a, ctx)?, value::to_time(b, ctx)?) else {
        return Ok(Datum::Null);
    };
    if a.has_zero_in_date() || b.has_zero_in_date() {
        return Ok(Datum::Null);
    }
    let (a, b) = (a.with_kind(TimeKind::DateTime), b.with_kind(TimeKind::DateTime));
    let months = |per: i64| b.months_since(&a) / per;
    let exact = |per: i64| b.micros_since(&a).map(|micros| micros / per);
    let difference = match unit {
        Unit::Year => months(12),
        Unit::Quarter => months(3),
        Unit::Month => months(1),
        Unit::Week => exact(7 * 86_400_000_000)?,
        Unit::Day => exact(86_400_000_000)?,
        Unit::Hour => exact(3_600_000_000)?,
        Unit::Minute => exact(60_000_000)?,
        Unit::Second => exact(1_000_000)?,
        Unit::Microsecond => exact(1)?,
        other => return Err(Error::syntax(format!("'{}'", other.name()))),
    };
    Ok(Datum::Int(difference))
}
