//! TIME.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};

use super::parse::fraction_tenths;
use super::{DateFlags, MAX_FSP, Time, TimeKind, scaled_decimal, write_fraction};
use crate::{Decimal, Error, Result};

/// TIME, in microseconds: -838:59:59 to 838:59:59. Equality, order and hash go by the length, not the digits shown.
#[derive(Debug, Clone, Copy)]
pub struct Duration {
    micros: i64,
    /// Fractional digits, 0 to 6.
    fsp: u8,
}

/// What a text or number was read as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParsedDuration {
    pub duration: Duration,
    /// Something followed that is not part of it.
    pub truncated: bool,
    /// It lay outside of the range and was clamped.
    pub overflow: bool,
}

impl Duration {
    pub const ZERO: Duration = Duration { micros: 0, fsp: 0 };
    /// 838:59:59 in microseconds.
    pub const MAX_MICROS: i64 = (838 * 3600 + 59 * 60 + 59) * 1_000_000;

    /// `micros` must be in range: for values that are by construction.
    pub(super) fn from_parts(micros: i64, fsp: u8) -> Duration {
        Duration { micros, fsp }
    }

    pub fn from_micros(micros: i64, fsp: u8) -> Result<Duration> {
        if micros.unsigned_abs() > Duration::MAX_MICROS as u64 {
            return Err(Error::OutOfRange {
                what: "time",
                value: format!("{micros} microseconds"),
            });
        }
        Ok(Duration {
            micros,
            fsp: fsp.min(MAX_FSP),
        })
    }

    /// From nanoseconds, as rows and keys hold it.
    pub fn from_nanos(nanos: i64, fsp: u8) -> Result<Duration> {
        Duration::from_micros(nanos / 1000, fsp)
    }

    /// Clamped to the range; true when it was.
    pub fn from_micros_saturating(micros: i64, fsp: u8) -> (Duration, bool) {
        let clamped = micros.clamp(-Duration::MAX_MICROS, Duration::MAX_MICROS);
        let duration = Duration {
            micros: clamped,
            fsp: fsp.min(MAX_FSP),
        };
        (duration, clamped != micros)
    }

    pub fn micros(&self) -> i64 {
        self.micros
    }

    /// Nanoseconds, as rows and keys hold it.
    pub fn nanos(&self) -> i64 {
        self.micros * 1000
    }

    /// Fractional digits shown.
    pub fn fsp(&self) -> u8 {
        self.fsp
    }

    pub fn with_fsp(&self, fsp: u8) -> Duration {
        Duration {
            fsp: fsp.min(MAX_FSP),
            ..*self
        }
    }

    pub fn is_negative(&self) -> bool {
        self.micros < 0
    }

    /// Hours of the absolute value, 0 to 838.
    pub fn hour(&self) -> u16 {
        (self.micros.unsigned_abs() / 3_600_000_000) as u16
    }

    pub fn minute(&self) -> u8 {
        (self.micros.unsigned_abs() / 60_000_000 % 60) as u8
    }

    pub fn second(&self) -> u8 {
        (self.micros.unsigned_abs() / 1_000_000 % 60) as u8
    }

    pub fn microsecond(&self) -> u32 {
        (self.micros.unsigned_abs() % 1_000_000) as u32
    }

    pub fn negated(&self) -> Duration {
        Duration {
            micros: -self.micros,
            ..*self
        }
    }

    pub fn checked_add(&self, other: &Duration) -> Result<Duration> {
        Duration::from_micros(self.micros + other.micros, self.fsp.max(other.fsp))
    }

    pub fn checked_sub(&self, other: &Duration) -> Result<Duration> {
        self.checked_add(&other.negated())
    }

    /// Rounded half away from zero to `fsp` digits, and clamped to the range.
    pub fn round_to_fsp(&self, fsp: u8) -> Duration {
        let fsp = fsp.min(MAX_FSP);
        let unit = 10i64.pow(u32::from(MAX_FSP - fsp));
        let half = if self.micros < 0 { -unit / 2 } else { unit / 2 };
        Duration::from_micros_saturating((self.micros + half) / unit * unit, fsp).0
    }

    /// The number 123456 for 12:34:56, with its sign; the fraction is dropped.
    pub fn to_number(&self) -> i64 {
        let number =
            i64::from(self.hour()) * 10_000 + i64::from(self.minute()) * 100 + i64::from(self.second());
        if self.is_negative() { -number } else { number }
    }

    /// The number 123456.789, with as many digits after the point as are shown.
    pub fn to_decimal(&self) -> Decimal {
        let number = scaled_decimal(self.to_number().abs(), self.microsecond(), self.fsp);
        if self.is_negative() {
            number.negated()
        } else {
            number
        }
    }

    /// Reads '-12:34:56.789', '1 10:11:12', '12:34', '123456', '56', and the time of day of '2024-01-02 03:04:05'.
    /// Rounded to `fsp` digits.
    pub fn parse(text: &[u8], fsp: u8) -> Result<ParsedDuration> {
        let invalid = || Error::Invalid {
            what: "time",
            value: String::from_utf8_lossy(text).into_owned(),
        };
        let trimmed = text.trim_ascii();
        let (negative, body) = match trimmed.first() {
            Some(b'-') => (true, &trimmed[1..]),
            Some(b'+') => (false, &trimmed[1..]),
            _ => (false, trimmed),
        };
        let run = body.iter().take_while(|b| b.is_ascii_digit()).count();
        let is_full = body.len() >= 12 && (run >= 12 || matches!(body.get(run), Some(b'-' | b'/')));
        if is_full
            && !negative
            && let Ok(parsed) = Time::parse(trimmed, TimeKind::DateTime, fsp, DateFlags::ZEROS)
        {
            return Ok(ParsedDuration {
                duration: parsed.time.time_of_day(),
                truncated: parsed.truncated,
                overflow: false,
            });
        }
        let mut at = 0;
        let number = |at: &mut usize| -> Option<u64> {
            let start = *at;
            let mut value = 0u64;
            while let Some(digit @ b'0'..=b'9') = body.get(*at) {
                value = value.saturating_mul(10).saturating_add(u64::from(digit - b'0'));
                *at += 1;
            }
            (*at > start).then_some(value)
        };
        let first = number(&mut at);
        if first.is_none() && body.first() != Some(&b'.') {
            return Err(invalid());
        }
        let first = first.unwrap_or(0);
        let hours;
        let (mut days, mut minutes, mut seconds) = (0u64, 0u64, 0u64);
        let follows_digit = |at: usize, sep: u8| {
            body.get(at) == Some(&sep) && body.get(at + 1).is_some_and(u8::is_ascii_digit)
        };
        if follows_digit(at, b' ') {
            at += 1;
            days = first;
            hours = number(&mut at).ok_or_else(invalid)?;
            if follows_digit(at, b':') {
                at += 1;
                minutes = number(&mut at).ok_or_else(invalid)?;
                if follows_digit(at, b':') {
                    at += 1;
                    seconds = number(&mut at).ok_or_else(invalid)?;
                }
            }
        } else if follows_digit(at, b':') {
            hours = first;
            at += 1;
            minutes = number(&mut at).ok_or_else(invalid)?;
            if follows_digit(at, b':') {
                at += 1;
                seconds = number(&mut at).ok_or_else(invalid)?;
            }
        } else {
            (hours, minutes, seconds) = (first / 10_000, first / 100 % 100, first % 100);
        }
        if minutes > 59 || seconds > 59 {
            return Err(invalid());
        }
        let mut tenths = 0;
        if body.get(at) == Some(&b'.') {
            at += 1;
            tenths = fraction_tenths(body, &mut at);
        }
        let truncated = at < body.len();
        let hours = days.saturating_mul(24).saturating_add(hours).min(1_000_000);
        let whole = (hours * 3600 + minutes * 60 + seconds) as i64 * 1_000_000;
        Ok(finish(negative, whole, tenths, fsp, truncated))
    }

    /// Reads the number 123456 as 12:34:56. Large numbers that are dates give their time of day.
    pub fn from_number(number: i64, fsp: u8) -> Result<ParsedDuration> {
        Duration::from_number_and_tenths(number.unsigned_abs(), number < 0, 0, fsp)
    }

    /// [`Duration::from_number`] with a fraction.
    pub fn from_decimal(number: &Decimal, fsp: u8) -> Result<ParsedDuration> {
        let negative = number.is_negative();
        let magnitude = number.abs();
        let whole = magnitude.truncate_to(0);
        let tenths = magnitude
            .checked_sub(&whole)?
            .checked_mul(&Decimal::from(10_000_000i64))?
            .truncate_to(0)
            .to_u64()?;
        Duration::from_number_and_tenths(whole.to_u64_saturating().0, negative, tenths as u32, fsp)
    }

    fn from_number_and_tenths(number: u64, negative: bool, tenths: u32, fsp: u8) -> Result<ParsedDuration> {
        if !negative
            && number >= 10_000_000_000
            && let Ok(number) = i64::try_from(number)
            && let Ok(time) = Time::from_number(number, TimeKind::DateTime, fsp, DateFlags::ZEROS)
        {
            return Ok(finish(false, time.day_micros(), tenths, fsp, false));
        }
        let (hours, minutes, seconds) = (number / 10_000, number / 100 % 100, number % 100);
        if minutes > 59 || seconds > 59 {
            return Err(Error::Invalid {
                what: "time",
                value: format!("{}{number}", if negative { "-" } else { "" }),
            });
        }
        let whole = (hours.min(1_000_000) * 3600 + minutes * 60 + seconds) as i64 * 1_000_000;
        Ok(finish(negative, whole, tenths, fsp, false))
    }
}

/// Puts sign and fraction to the whole seconds, rounds, and clamps.
fn finish(negative: bool, whole: i64, tenths: u32, fsp: u8, truncated: bool) -> ParsedDuration {
    let fsp = fsp.min(MAX_FSP);
    let unit = 10i64.pow(u32::from(MAX_FSP + 1 - fsp));
    let rounded = (i64::from(tenths) + unit / 2) / unit * unit / 10;
    let micros = whole + rounded;
    let (duration, overflow) = Duration::from_micros_saturating(if negative { -micros } else { micros }, fsp);
    ParsedDuration {
        duration,
        truncated,
        overflow,
    }
}

impl PartialEq for Duration {
    fn eq(&self, other: &Self) -> bool {
        self.micros == other.micros
    }
}

impl Eq for Duration {}

impl PartialOrd for Duration {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Duration {
    fn cmp(&self, other: &Self) -> Ordering {
        self.micros.cmp(&other.micros)
    }
}

impl Hash for Duration {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.micros.hash(state);
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.is_negative() { "-" } else { "" };
        write!(
            f,
            "{sign}{:02}:{:02}:{:02}",
            self.hour(),
            self.minute(),
            self.second()
        )?;
        write_fraction(f, self.microsecond(), self.fsp)
    }
}
