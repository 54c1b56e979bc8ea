//! Units of intervals, and what an interval's value says in them.

use ilmenite_error::{Error, Result};
use ilmenite_types::{Datum, Decimal};
use sqlparser::ast::DateTimeField;

use crate::context::EvalContext;
use crate::value;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Unit {
    Microsecond,
    Second,
    Minute,
    Hour,
    Day,
    Week,
    Month,
    Quarter,
    Year,
    SecondMicrosecond,
    MinuteMicrosecond,
    MinuteSecond,
    HourMicrosecond,
    HourSecond,
    HourMinute,
    DayMicrosecond,
    DaySecond,
    DayMinute,
    DayHour,
    YearMonth,
}

/// A length of time: calendar months and exact microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) months: i64,
    pub(crate) micros: i64,
}

const SECOND: i64 = 1_000_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

impl Unit {
    const NAMES: [(&'static str, Unit); 20] = [
        ("MICROSECOND", Unit::Microsecond),
        ("SECOND", Unit::Second),
        ("MINUTE", Unit::Minute),
        ("HOUR", Unit::Hour),
        ("DAY", Unit::Day),
        ("WEEK", Unit::Week),
        ("MONTH", Unit::Month),
        ("QUARTER", Unit::Quarter),
        ("YEAR", Unit::Year),
        ("SECOND_MICROSECOND", Unit::SecondMicrosecond),
        ("MINUTE_MICROSECOND", Unit::MinuteMicrosecond),
        ("MINUTE_SECOND", Unit::MinuteSecond),
        ("HOUR_MICROSECOND", Unit::HourMicrosecond),
        ("HOUR_SECOND", Unit::HourSecond),
        ("HOUR_MINUTE", Unit::HourMinute),
        ("DAY_MICROSECOND", Unit::DayMicrosecond),
        ("DAY_SECOND", Unit::DaySecond),
        ("DAY_MINUTE", Unit::DayMinute),
        ("DAY_HOUR", Unit::DayHour),
        ("YEAR_MONTH", Unit::YearMonth),
    ];

    pub(crate) fn name(self) -> &'static str {
        Self::NAMES
            .iter()
            .find(|(_, unit)| *unit == self)
            .map_or("MICROSECOND", |(name, _)| name)
    }

    pub(crate) fn from_name(name: &str) -> Result<Unit> {
        let bare = match name.get(..8) {
            Some(prefix) if prefix.eq_ignore_ascii_case("SQL_TSI_") => &name[8..],
            _ => name,
        };
        Self::NAMES
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(bare))
            .map(|(_, unit)| *unit)
            .ok_or_else(|| Error::syntax(format!("'{name}'")))
    }

    pub(crate) fn from_ast(field: &DateTimeField) -> Result<Unit> {
        Unit::from_name(&field.to_string())
    }

    /// No month and no year in it.
    pub(crate) fn is_exact(self) -> bool {
        !matches!(self, Unit::Month | Unit::Quarter | Unit::Year | Unit::YearMonth)
    }

    /// Days at least, so that a DATE stays one.
    pub(crate) fn keeps_dates(self) -> bool {
        matches!(
            self,
            Unit::Day | Unit::Week | Unit::Month | Unit::Quarter | Unit::Year | Unit::YearMonth
        )
    }

    /// Hours at most.
    pub(crate) fn is_time_of_day(self) -> bool {
        use Unit::*;
        matches!(
            self,
            Microsecond
                | Second
                | Minute
                | Hour
                | SecondMicrosecond
                | MinuteMicrosecond
                | MinuteSecond
                | HourMicrosecond
                | HourSecond
                | HourMinute
        )
    }

    pub(crate) fn has_micros(self) -> bool {
        use Unit::*;
        matches!(
            self,
            Microsecond | SecondMicrosecond | MinuteMicrosecond | HourMicrosecond | DayMicrosecond
        )
    }

    /// Digits of what EXTRACT gives.
    pub(crate) fn extract_width(self) -> i32 {
        use Unit::*;
        match self {
            Year => 4,
            YearMonth | Microsecond | HourSecond => 6,
            Quarter => 2,
            DayHour | HourMinute | MinuteSecond => 5,
            DayMinute => 7,
            DaySecond => 9,
            DayMicrosecond => 15,
            HourMicrosecond => 14,
            MinuteMicrosecond => 11,
            SecondMicrosecond => 9,
            _ => 2,
        }
    }

    /// The parts a composite unit is written in, largest first, in microseconds; months for YEAR_MONTH.
    fn parts(self) -> &'static [i64] {
        use Unit::*;
        match self {
            SecondMicrosecond => &[SECOND, 1],
            MinuteMicrosecond => &[MINUTE, SECOND, 1],
            MinuteSecond => &[MINUTE, SECOND],
            HourMicrosecond => &[HOUR, MINUTE, SECOND, 1],
            HourSecond => &[HOUR, MINUTE, SECOND],
            HourMinute => &[HOUR, MINUTE],
            DayMicrosecond => &[DAY, HOUR, MINUTE, SECOND, 1],
            DaySecond => &[DAY, HOUR, MINUTE, SECOND],
            DayMinute => &[DAY, HOUR, MINUTE],
            DayHour => &[DAY, HOUR],
            YearMonth => &[12, 1],
            Microsecond => &[1],
            Second => &[SECOND],
            Minute => &[MINUTE],
            Hour => &[HOUR],
            Day => &[DAY],
            Week => &[7 * DAY],
            Month => &[1],
            Quarter => &[3],
            Year => &[12],
        }
    }

    /// `value` of these units; `None` when it is more than any date can take.
    pub(crate) fn span(self, value: &Datum, ctx: &EvalContext) -> Result<Option<Span>> {
        let parts = self.parts();
        let total = if parts.len() > 1 {
            self.composite(&value::to_text(value))
        } else if self == Unit::Second && !matches!(value, Datum::Int(_) | Datum::UInt(_)) {
            // Seconds have a fraction.
            let exact = value::to_decimal(value, ctx)?;
            exact
                .checked_mul(&Decimal::from(SECOND))
                .ok()
                .and_then(|micros| micros.to_i64().ok())
        } else {
            let count = value::to_i64(value, ctx)?;
            count.checked_mul(parts[0])
        };
        Ok(total.map(|total| {
            if self.is_exact() {
                Span {
                    months: 0,
                    micros: total,
                }
            } else {
                Span {
                    months: total,
                    micros: 0,
                }
            }
        }))
    }

    /// `'1 2:3'` and the like: numbers with anything between; when some are missing, it is the largest parts.
    fn composite(self, text: &[u8]) -> Option<i64> {
        let parts = self.parts();
        let negative = text.iter().find(|b| !b.is_ascii_whitespace()) == Some(&b'-');
        let groups: Vec<&[u8]> = text
            .split(|b| !b.is_ascii_digit())
            .filter(|group| !group.is_empty())
            .take(parts.len())
            .collect();
        let mut total: i64 = 0;
        let given = &parts[parts.len() - groups.len()..];
        for (at, (group, part)) in groups.iter().zip(given).enumerate() {
            let mut number: i64 = 0;
            for digit in group.iter() {
                number = number.checked_mul(10)?.checked_add(i64::from(digit - b'0'))?;
            }
            // The last of `s.ffffff` is a fraction: .5 is 500000 microseconds.
            if self.has_micros() && at + 1 == groups.len() && group.len() < 6 {
                number *= 10i64.pow(6 - group.len() as u32);
            }
            total = total.checked_add(number.checked_mul(*part)?)?;
        }
        Some(if negative { -total } else { total })
    }
}
