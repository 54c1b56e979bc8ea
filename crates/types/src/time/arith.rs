//! Intervals, differences, rounding, and what the calendar says about a day.

use super::calendar::{date_of_day_number, day_number, days_in_month, is_leap};
use super::{DateFlags, MAX_FSP, Time, TimeKind};
use crate::{Error, Result};

pub(super) const MICROS_PER_DAY: i64 = 86_400_000_000;

impl Time {
    /// TO_DAYS: days since year 0.
    pub fn day_number(&self) -> i64 {
        day_number(self.year(), self.month(), self.day())
    }

    /// 0 for Monday to 6 for Sunday.
    pub fn weekday(&self) -> u8 {
        (self.day_number() + 5).rem_euclid(7) as u8
    }

    /// 1 to 366.
    pub fn day_of_year(&self) -> u16 {
        (self.day_number() - day_number(self.year(), 1, 1) + 1).max(0) as u16
    }

    /// WEEK and YEARWEEK: (year the week belongs to, week number) in MySQL's modes 0 to 7. In modes 0, 1, 4 and 5 the
    /// days before the first week of a year have week 0 of that year, unless `year_week` asks for the year before.
    pub fn week(&self, mode: u8, year_week: bool) -> (u16, u8) {
        let monday_first = mode & 1 != 0;
        let by_year = mode & 2 != 0 || year_week;
        // Is the first week the first full one, or the first with four days of the year? Mode bit 4 means the one with
        // weeks from Monday, and the other with weeks from Sunday.
        let first_weekday = (mode & 4 != 0) == monday_first;
        let start_of = |year: u16| {
            let first = day_number(year, 1, 1);
            let weekday = (first + if monday_first { 5 } else { 6 }).rem_euclid(7);
            (first, weekday)
        };
        let mut year = self.year();
        let number = self.day_number();
        let (mut first, mut weekday) = start_of(year);
        let mut by_year = by_year;
        let skips = |weekday: i64| (first_weekday && weekday != 0) || (!first_weekday && weekday >= 4);
        if self.month() == 1 && i64::from(self.day()) <= 7 - weekday {
            if !by_year && skips(weekday) {
                return (year, 0);
            }
            if skips(weekday) && year > 0 {
                by_year = true;
                year -= 1;
                (first, weekday) = start_of(year);
            }
        }
        let days = if skips(weekday) {
            number - (first + 7 - weekday)
        } else {
            number - (first - weekday)
        };
        if by_year && days >= 52 * 7 {
            let length = if is_leap(year) { 366 } else { 365 };
            let next_weekday = (weekday + length) % 7;
            if !skips(next_weekday) {
                return (year + 1, 1);
            }
        }
        (year, (days.max(0) / 7 + 1) as u8)
    }

    /// Plus (or minus) microseconds. A DATE that gets a time of day becomes a DATETIME. Irregular dates and results
    /// outside of the years 0 to 9999 are `OutOfRange`: SQL's answer is NULL.
    pub fn add_micros(&self, micros: i64) -> Result<Time> {
        let total = i128::from(self.linear_micros()?) + i128::from(micros);
        let out = self.from_linear(total)?;
        Ok(match self.kind() {
            TimeKind::Date if out.day_micros() != 0 => {
                let fsp = if out.microsecond() == 0 { 0 } else { MAX_FSP };
                out.with_fsp(fsp)
            }
            TimeKind::Date => out.with_kind(TimeKind::Date),
            kind => out.with_kind(kind),
        })
    }

    /// Plus (or minus) days.
    pub fn add_days(&self, days: i64) -> Result<Time> {
        let total = i128::from(self.linear_micros()?) + i128::from(days) * i128::from(MICROS_PER_DAY);
        Ok(self.from_linear(total)?.with_kind(self.kind()))
    }

    /// Plus (or minus) months; the day is brought down to the last of the month reached.
    pub fn add_months(&self, months: i64) -> Result<Time> {
        if self.has_zero_in_date() {
            return Err(self.out_of_range());
        }
        let total = i64::from(self.year()) * 12 + i64::from(self.month()) - 1;
        let total = total.checked_add(months).ok_or_else(|| self.out_of_range())?;
        if !(0..120_000).contains(&total) {
            return Err(self.out_of_range());
        }
        let (year, month) = ((total / 12) as u16, (total % 12 + 1) as u8);
        let day = self.day().min(days_in_month(year, month));
        self.with_date(year, month, day)
    }

    /// Plus (or minus) years; 29 February becomes the 28th where needed.
    pub fn add_years(&self, years: i64) -> Result<Time> {
        self.add_months(years.checked_mul(12).ok_or_else(|| self.out_of_range())?)
    }

    /// `self` - `other` in microseconds, by the calendar. `OutOfRange` for irregular dates.
    pub fn micros_since(&self, other: &Time) -> Result<i64> {
        Ok(self.linear_micros()? - other.linear_micros()?)
    }

    /// Whole months from `other` to `self`, negative when `self` is earlier: TIMESTAMPDIFF(MONTH, other, self).
    pub fn months_since(&self, other: &Time) -> i64 {
        let rank = |t: &Time| i64::from(t.year()) * 12 + i64::from(t.month());
        let rest = |t: &Time| t.to_packed() & ((1 << 46) - 1);
        let months = rank(self) - rank(other);
        if months > 0 && rest(self) < rest(other) {
            months - 1
        } else if months < 0 && rest(self) > rest(other) {
            months + 1
        } else {
            months
        }
    }

    /// LAST_DAY.
    pub fn last_day_of_month(&self) -> Result<Time> {
        if self.month() == 0 {
            return Err(self.out_of_range());
        }
        let day = days_in_month(self.year(), self.month());
        Ok(self
            .with_date(self.year(), self.month(), day)?
            .with_kind(TimeKind::Date))
    }

    /// Rounded half up to `fsp` digits, which may carry as far as the year. Times that would leave the year 9999, and
    /// irregular dates that would carry over midnight, are `OutOfRange`.
    pub fn round_to_fsp(&self, fsp: u8) -> Result<Time> {
        let fsp = fsp.min(MAX_FSP);
        let unit = 10i64.pow(u32::from(MAX_FSP - fsp));
        let micros = i64::from(self.microsecond());
        let rounded = (micros + unit / 2) / unit * unit;
        if rounded < 1_000_000 {
            return Ok(self.with_micros(rounded as u32).with_fsp(fsp));
        }
        let base = self.with_micros(0).with_fsp(fsp);
        if base.day_micros() + 1_000_000 < MICROS_PER_DAY {
            // No carry into the date, so the date need not be of the calendar.
            return Ok(base.with_day_micros(base.day_micros() + 1_000_000));
        }
        base.add_micros(1_000_000)
    }

    /// Digits past `fsp` cut off.
    pub fn truncate_to_fsp(&self, fsp: u8) -> Time {
        let fsp = fsp.min(MAX_FSP);
        let unit = 10u32.pow(u32::from(MAX_FSP - fsp));
        self.with_micros(self.microsecond() / unit * unit).with_fsp(fsp)
    }

    fn with_micros(&self, micros: u32) -> Time {
        Time {
            packed: self.packed & !0xff_ffff | u64::from(micros),
            ..*self
        }
    }

    fn with_day_micros(&self, micros: i64) -> Time {
        let seconds = (micros / 1_000_000) as u64;
        let hms = ((seconds / 3600) << 12) | ((seconds / 60 % 60) << 6) | (seconds % 60);
        Time {
            packed: self.packed >> 41 << 41 | hms << 24 | (micros % 1_000_000) as u64,
            ..*self
        }
    }

    fn with_date(&self, year: u16, month: u8, day: u8) -> Result<Time> {
        let date = Time::from_date(year, month, day, DateFlags::ZEROS)?;
        Ok(Time {
            packed: date.packed | self.packed & ((1 << 41) - 1),
            ..*self
        })
    }

    /// Microseconds since the day number 0.
    pub(super) fn linear_micros(&self) -> Result<i64> {
        if self.has_zero_in_date() {
            return Err(self.out_of_range());
        }
        Ok(self.day_number() * MICROS_PER_DAY + self.day_micros())
    }

    #[allow(clippy::wrong_self_convention)] // takes kind and digits shown from self
    fn from_linear(&self, micros: i128) -> Result<Time> {
        let day = micros.div_euclid(i128::from(MICROS_PER_DAY));
        let rest = micros.rem_euclid(i128::from(MICROS_PER_DAY)) as i64;
        let (year, month, day) = i64::try_from(day)
            .ok()
            .and_then(date_of_day_number)
            .ok_or_else(|| self.out_of_range())?;
        let shown = if rest % 1_000_000 == 0 {
            self.fsp
        } else {
            self.fsp.max(needed_fsp(rest))
        };
        let date = Time::from_date(year, month, day, DateFlags::ZEROS)?.with_kind(TimeKind::DateTime);
        Ok(date.with_day_micros(rest).with_fsp(shown))
    }

    fn out_of_range(&self) -> Error {
        Error::OutOfRange {
            what: "datetime",
            value: self.to_string(),
        }
    }
}

/// 6 when there is a fraction at all: what an interval with a fraction shows.
fn needed_fsp(micros: i64) -> u8 {
    if micros % 1_000_000 == 0 { 0 } else { MAX_FSP }
}
