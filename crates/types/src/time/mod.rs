//! DATE, DATETIME, TIMESTAMP and TIME.

mod arith;
mod calendar;
mod duration;
mod parse;
mod zone;

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};

pub use calendar::{date_of_day_number, day_number, days_in_month};
pub use duration::{Duration, ParsedDuration};
pub use parse::ParsedTime;

use crate::{Decimal, Error, Result};

/// Most fractional digits of a time.
pub const MAX_FSP: u8 = 6;

/// Which of the three calendar types a value is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TimeKind {
    Date,
    DateTime,
    Timestamp,
}

impl TimeKind {
    /// The type's name, in SQL and in messages.
    pub fn as_str(self) -> &'static str {
        match self {
            TimeKind::Date => "date",
            TimeKind::DateTime => "datetime",
            TimeKind::Timestamp => "timestamp",
        }
    }
}

/// Which irregular dates are let through: the `sql_mode` flags that concern dates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DateFlags {
    /// '0000-00-00' (off under NO_ZERO_DATE in strict mode).
    pub zero_date: bool,
    /// A month or day of zero in a date that is not all zero (off under NO_ZERO_IN_DATE in strict mode).
    pub zero_in_date: bool,
    /// Days up to 31 in any month (ALLOW_INVALID_DATES).
    pub invalid_dates: bool,
}

impl DateFlags {
    /// Only dates of the calendar: MySQL's default mode.
    pub const STRICT: DateFlags = DateFlags {
        zero_date: false,
        zero_in_date: false,
        invalid_dates: false,
    };
    /// Zero dates and zero parts pass: an empty mode, and whatever is read from storage.
    pub const ZEROS: DateFlags = DateFlags {
        zero_date: true,
        zero_in_date: true,
        invalid_dates: false,
    };
}

/// DATE, DATETIME or TIMESTAMP as the calendar fields of TiDB's packed form; zero dates and zero parts are legal.
///
/// Equality, order and hash go by the fields, not by kind or fractional digits shown.
#[derive(Debug, Clone, Copy)]
pub struct Time {
    /// ((year * 13 + month) << 5 | day) << 17 | hour << 12 | minute << 6 | second, all << 24, | microsecond.
    packed: u64,
    kind: TimeKind,
    /// Fractional digits, 0 to 6.
    fsp: u8,
}

impl Time {
    /// '0000-00-00 00:00:00'.
    pub fn zero(kind: TimeKind, fsp: u8) -> Time {
        Time {
            packed: 0,
            kind,
            fsp: fsp.min(MAX_FSP),
        }
    }

    /// A date (and time 00:00:00); fields within their ranges, `flags` deciding on irregular ones.
    pub fn from_date(year: u16, month: u8, day: u8, flags: DateFlags) -> Result<Time> {
        Time::from_fields(
            TimeKind::Date,
            [year, month.into(), day.into(), 0, 0, 0],
            0,
            0,
            flags,
        )
    }

    /// From `[year, month, day, hour, minute, second]` and microseconds. Nothing is rounded: digits past `fsp` stay.
    /// For a DATE the time of day is dropped.
    pub fn from_fields(
        kind: TimeKind,
        fields: [u16; 6],
        micros: u32,
        fsp: u8,
        flags: DateFlags,
    ) -> Result<Time> {
        let [year, month, day, hour, minute, second] = fields;
        let invalid = || Error::Invalid {
            what: kind.as_str(),
            value: format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}"),
        };
        if year > 9999
            || month > 12
            || day > 31
            || hour > 23
            || minute > 59
            || second > 59
            || micros > 999_999
        {
            return Err(invalid());
        }
        let mut packed = (u64::from(year) * 13 + u64::from(month)) << 5 | u64::from(day);
        packed <<= 41;
        if kind != TimeKind::Date {
            let hms = u64::from(hour) << 12 | u64::from(minute) << 6 | u64::from(second);
            packed |= hms << 24 | u64::from(micros);
        }
        let time = Time {
            packed,
            kind,
            fsp: fsp.min(MAX_FSP),
        };
        time.check(flags).map_err(|_| invalid())?;
        Ok(time)
    }

    /// From the packed form as stored. Fields out of range are corrupt; irregular dates are let through, since some
    /// sql_mode may have let them in.
    pub fn from_packed(packed: u64, kind: TimeKind, fsp: u8) -> Result<Time> {
        let time = Time {
            packed,
            kind,
            fsp: fsp.min(MAX_FSP),
        };
        let sane = time.packed >> 46 <= 9999 * 13 + 12
            && time.hour() < 24
            && time.minute() < 60
            && time.second() < 60
            && time.microsecond() < 1_000_000;
        if !sane {
            return Err(Error::Corrupt {
                what: "time",
                detail: format!("packed form {packed:#x}"),
            });
        }
        Ok(time)
    }

    /// The packed form: what is stored, and what sorts as the times do.
    pub fn to_packed(&self) -> u64 {
        self.packed
    }

    /// Is the date one that `flags` let through?
    pub fn check(&self, flags: DateFlags) -> Result<()> {
        let (year, month, day) = (self.year(), self.month(), self.day());
        let good = if self.packed >> 41 == 0 {
            flags.zero_date
        } else if month == 0 || day == 0 {
            flags.zero_in_date
        } else {
            flags.invalid_dates || day <= days_in_month(year, month)
        };
        if good {
            return Ok(());
        }
        Err(Error::Invalid {
            what: self.kind.as_str(),
            value: self.to_string(),
        })
    }

    pub fn kind(&self) -> TimeKind {
        self.kind
    }

    /// Fractional digits shown.
    pub fn fsp(&self) -> u8 {
        self.fsp
    }

    pub fn year(&self) -> u16 {
        ((self.packed >> 46) / 13) as u16
    }

    pub fn month(&self) -> u8 {
        ((self.packed >> 46) % 13) as u8
    }

    pub fn day(&self) -> u8 {
        (self.packed >> 41) as u8 & 31
    }

    pub fn hour(&self) -> u8 {
        (self.packed >> 36) as u8 & 31
    }

    pub fn minute(&self) -> u8 {
        (self.packed >> 30) as u8 & 63
    }

    pub fn second(&self) -> u8 {
        (self.packed >> 24) as u8 & 63
    }

    pub fn microsecond(&self) -> u32 {
        self.packed as u32 & 0xff_ffff
    }

    /// All zero: '0000-00-00 00:00:00'.
    pub fn is_zero(&self) -> bool {
        self.packed == 0
    }

    /// Month or day is zero, so there is no such day in the calendar.
    pub fn has_zero_in_date(&self) -> bool {
        self.month() == 0 || self.day() == 0
    }

    /// The same fields as another kind: as a DATE without the time of day.
    pub fn with_kind(&self, kind: TimeKind) -> Time {
        let mut out = *self;
        out.kind = kind;
        if kind == TimeKind::Date {
            out.packed = out.packed >> 41 << 41;
            out.fsp = 0;
        }
        out
    }

    /// The fields with another count of digits shown, without rounding; see [`Time::round_to_fsp`].
    pub fn with_fsp(&self, fsp: u8) -> Time {
        Time {
            fsp: fsp.min(MAX_FSP),
            ..*self
        }
    }

    /// The time of day.
    pub fn time_of_day(&self) -> Duration {
        Duration::from_parts(self.day_micros(), self.fsp)
    }

    /// Microseconds since midnight.
    pub(crate) fn day_micros(&self) -> i64 {
        let seconds =
            i64::from(self.hour()) * 3600 + i64::from(self.minute()) * 60 + i64::from(self.second());
        seconds * 1_000_000 + i64::from(self.microsecond())
    }

    /// The number 20240102, or 20240102030405 when not a DATE; the fraction is dropped.
    pub fn to_number(&self) -> i64 {
        let date = i64::from(self.year()) * 10_000 + i64::from(self.month()) * 100 + i64::from(self.day());
        if self.kind == TimeKind::Date {
            return date;
        }
        let time =
            i64::from(self.hour()) * 10_000 + i64::from(self.minute()) * 100 + i64::from(self.second());
        date * 1_000_000 + time
    }

    /// The number 20240102030405.678, with as many digits after the point as are shown.
    pub fn to_decimal(&self) -> Decimal {
        scaled_decimal(self.to_number(), self.microsecond(), self.fsp)
    }
}

/// `whole`.`micros` with `fsp` digits shown, `micros` taken with the sign of `whole`'s caller.
fn scaled_decimal(whole: i64, micros: u32, fsp: u8) -> Decimal {
    let shown = i128::from(micros / 10u32.pow(u32::from(MAX_FSP - fsp)));
    let unscaled = i128::from(whole) * 10i128.pow(u32::from(fsp)) + shown;
    Decimal::try_from((unscaled, fsp)).unwrap_or(Decimal::ZERO)
}

impl PartialEq for Time {
    fn eq(&self, other: &Self) -> bool {
        self.packed == other.packed
    }
}

impl Eq for Time {}

impl PartialOrd for Time {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Time {
    fn cmp(&self, other: &Self) -> Ordering {
        self.packed.cmp(&other.packed)
    }
}

impl Hash for Time {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.packed.hash(state);
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.year(), self.month(), self.day())?;
        if self.kind == TimeKind::Date {
            return Ok(());
        }
        write!(f, " {:02}:{:02}:{:02}", self.hour(), self.minute(), self.second())?;
        write_fraction(f, self.microsecond(), self.fsp)
    }
}

fn write_fraction(f: &mut fmt::Formatter<'_>, micros: u32, fsp: u8) -> fmt::Result {
    if fsp == 0 {
        return Ok(());
    }
    let shown = micros / 10u32.pow(u32::from(MAX_FSP - fsp));
    write!(f, ".{:0width$}", shown, width = usize::from(fsp))
}

#[cfg(test)]
mod tests;
