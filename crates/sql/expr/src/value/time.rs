//! Values as dates and times.

use ilmenite_error::{Error, Result};
use ilmenite_types::{DateFlags, Datum, Duration, Time, TimeKind};
use jiff::tz::{Offset, TimeZone};

use super::json;
use super::number::{to_decimal, to_i64};
use super::text::{shown, to_text};
use crate::context::{EvalContext, StatementFacts};
use crate::mode::SqlMode;

/// Which irregular dates pass when a value is stored or cast under this mode.
pub(crate) fn date_flags(mode: SqlMode) -> DateFlags {
    DateFlags {
        zero_date: !mode.has(SqlMode::NO_ZERO_DATE),
        zero_in_date: !mode.has(SqlMode::NO_ZERO_IN_DATE),
        invalid_dates: mode.has(SqlMode::ALLOW_INVALID_DATES),
    }
}

/// Which irregular dates pass when a value is only read: zeros do.
pub(crate) fn reading_flags(mode: SqlMode) -> DateFlags {
    DateFlags {
        invalid_dates: mode.has(SqlMode::ALLOW_INVALID_DATES),
        ..DateFlags::ZEROS
    }
}

/// A constant as a time to compare a column with.
pub(crate) enum TimeConstant {
    Time(Time),
    Invalid,
    /// It depends on the session's time zone.
    AtRunTime,
}

pub(crate) fn time_of_constant(value: &Datum) -> TimeConstant {
    let flags = DateFlags::ZEROS;
    let parsed = match value {
        Datum::Bytes(b) => match Time::parse(b, TimeKind::DateTime, 6, flags) {
            Ok(parsed) if parsed.offset_seconds.is_some() => return TimeConstant::AtRunTime,
            Ok(parsed) => Ok(parsed.time),
            Err(e) => Err(e),
        },
        Datum::Int(n) => Time::from_number(*n, TimeKind::DateTime, 0, flags),
        Datum::UInt(n) => match i64::try_from(*n) {
            Ok(n) => Time::from_number(n, TimeKind::DateTime, 0, flags),
            Err(_) => return TimeConstant::Invalid,
        },
        Datum::Decimal(d) => Time::from_decimal(d, TimeKind::DateTime, 6, flags),
        Datum::Time(t) => Ok(*t),
        _ => return TimeConstant::Invalid,
    };
    parsed.map_or(TimeConstant::Invalid, TimeConstant::Time)
}

pub(crate) fn duration_of_constant(value: &Datum) -> Option<Duration> {
    match value {
        Datum::Bytes(b) => Duration::parse(b, 6)
            .ok()
            .filter(|p| !p.truncated)
            .map(|p| p.duration),
        Datum::Int(n) => Duration::from_number(*n, 0)
            .ok()
            .filter(|p| !p.overflow)
            .map(|p| p.duration),
        Datum::Duration(d) => Some(*d),
        _ => None,
    }
}

/// Today as the session's clock says.
pub(crate) fn today(ctx: &StatementFacts) -> Result<Time> {
    Ok(Time::from_unix_micros(
        ctx.now_micros,
        &ctx.time_zone,
        TimeKind::Date,
        0,
    )?)
}

/// A time with an offset from UTC as the session's clocks show it.
fn from_offset(time: Time, offset_seconds: Option<i32>, ctx: &StatementFacts) -> Result<Time> {
    let Some(seconds) = offset_seconds else {
        return Ok(time);
    };
    let offset = Offset::from_seconds(seconds).map_err(Error::unknown_time_zone)?;
    Ok(time.convert_zone(&TimeZone::fixed(offset), &ctx.time_zone)?)
}

/// The value as a DATE or DATETIME of `kind` at `fsp` digits; `None`, with a warning, when it is none.
pub(crate) fn to_time_of(
    value: &Datum,
    kind: TimeKind,
    fsp: u8,
    flags: DateFlags,
    ctx: &EvalContext,
) -> Result<Option<Time>> {
    let incorrect = |text: &[u8]| Error::incorrect_time(kind.as_str(), shown(text));
    let parsed = match value {
        Datum::Null => return Ok(None),
        Datum::Time(t) => {
            let t = t.with_kind(kind);
            let rounded = if kind == TimeKind::Date {
                Ok(t)
            } else {
                t.round_to_fsp(fsp)
            };
            rounded.and_then(|t| t.check(flags).map(|()| t))
        }
        Datum::Duration(d) => {
            let day = today(ctx)?.with_kind(TimeKind::DateTime).with_fsp(6);
            day.add_micros(d.micros())
                .map(|t| t.with_fsp(6))
                .and_then(|t| {
                    if kind == TimeKind::Date {
                        Ok(t)
                    } else {
                        t.round_to_fsp(fsp)
                    }
                })
                .map(|t| t.with_kind(kind))
        }
        Datum::Bytes(b) => {
            // A DATE from a text with a time of day drops it without a word.
            match Time::parse(
                b,
                TimeKind::DateTime,
                if kind == TimeKind::Date { 6 } else { fsp },
                flags,
            ) {
                Ok(parsed) => {
                    if parsed.truncated {
                        ctx.lossy(Error::truncated_wrong_value(kind.as_str(), shown(b)))?;
                    }
                    let time = from_offset(parsed.time, parsed.offset_seconds, ctx)?;
                    Ok(time.with_kind(kind))
                }
                Err(e) => Err(e),
            }
        }
        Datum::Int(n) => Time::from_number(*n, kind, fsp, flags),
        Datum::UInt(n) => Time::from_number(i64::try_from(*n).unwrap_or(i64::MAX), kind, fsp, flags),
        Datum::Decimal(d) => Time::from_decimal(d, kind, fsp, flags),
        Datum::Float(_) | Datum::Double(_) => Time::from_decimal(&to_decimal(value, ctx)?, kind, fsp, flags),
        Datum::Json(j) => {
            let text = json::unquoted(j);
            return to_time_of(&Datum::Bytes(text.into()), kind, fsp, flags, ctx);
        }
        Datum::Enum(_) | Datum::Set(_) | Datum::Bit(_) => {
            let n = to_i64(value, ctx)?;
            Time::from_number(n, kind, fsp, flags)
        }
    };
    match parsed {
        Ok(time) => Ok(Some(time)),
        Err(_) => {
            ctx.lossy(incorrect(&to_text(value)))?;
            Ok(None)
        }
    }
}

/// The value as a DATETIME for reading: zero dates pass.
pub fn to_time(value: &Datum, ctx: &EvalContext) -> Result<Option<Time>> {
    if let Datum::Time(t) = value {
        return Ok(Some(*t));
    }
    to_time_of(value, TimeKind::DateTime, 6, reading_flags(ctx.sql_mode), ctx)
}

/// The value as a TIME; `None`, with a warning, when it is none.
pub fn to_duration(value: &Datum, ctx: &EvalContext) -> Result<Option<Duration>> {
    let parsed = match value {
        Datum::Null => return Ok(None),
        Datum::Duration(d) => return Ok(Some(*d)),
        Datum::Time(t) => return Ok(Some(t.time_of_day())),
        Datum::Bytes(b) => Duration::parse(b, 6),
        Datum::Int(n) => Duration::from_number(*n, 0),
        Datum::UInt(n) => Duration::from_number(i64::try_from(*n).unwrap_or(i64::MAX), 0),
        Datum::Json(j) => return to_duration(&Datum::Bytes(json::unquoted(j).into()), ctx),
        other => Duration::from_decimal(&to_decimal(other, ctx)?, 6),
    };
    let warning = || Error::truncated_wrong_value("time", shown(&to_text(value)));
    match parsed {
        Ok(parsed) => {
            if parsed.truncated || parsed.overflow {
                ctx.lossy(warning())?;
            }
            Ok(Some(parsed.duration))
        }
        Err(_) => {
            ctx.lossy(warning())?;
            Ok(None)
        }
    }
}
