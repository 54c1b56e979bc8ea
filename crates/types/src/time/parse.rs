//! Dates and times as MySQL's literals write them.

use super::{DateFlags, MAX_FSP, Time, TimeKind};
use crate::{Decimal, Error, Result};

/// What a text was read as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParsedTime {
    pub time: Time,
    /// Something followed that is not part of it ("truncated" in MySQL's words), or a DATE lost its time of day.
    pub truncated: bool,
    /// An offset from UTC, in seconds, was given ('2024-01-02 03:04:05+05:30'): the time is of that zone, and the
    /// caller converts it.
    pub offset_seconds: Option<i32>,
}

impl Time {
    /// Reads '2024-01-02 03:04:05.678', '20240102030405', '24-1-2', '2024/01/02T03:04' and the like. Any punctuation
    /// separates fields; years of two digits are 1970 to 2069. Fractions are rounded to `fsp` digits.
    pub fn parse(text: &[u8], kind: TimeKind, fsp: u8, flags: DateFlags) -> Result<ParsedTime> {
        let invalid = || Error::Invalid {
            what: kind.as_str(),
            value: String::from_utf8_lossy(text).into_owned(),
        };
        let start = text.iter().position(|b| !b.is_ascii_whitespace());
        let body = &text[start.ok_or_else(invalid)?..];
        let run = body.iter().take_while(|b| b.is_ascii_digit()).count();
        if run == 0 {
            return Err(invalid());
        }
        let mut reader = Reader { bytes: body, at: 0 };
        let compact = match body.get(run) {
            None => true,
            Some(b'.') => run >= 6,
            Some(b'T' | b' ') => matches!(run, 6 | 8 | 12 | 14) || run > 14,
            Some(_) => false,
        };
        if !compact && run > 4 {
            return Err(invalid());
        }
        let (mut fields, count, had_time) = if compact {
            reader.compact(run).ok_or_else(invalid)?
        } else {
            reader.delimited().ok_or_else(invalid)?
        };
        if count < 3 {
            return Err(invalid());
        }
        let short_year = fields.short_year;
        if short_year && (fields.values[0] != 0 || fields.values[1..3] != [0, 0]) {
            fields.values[0] += if fields.values[0] < 70 { 2000 } else { 1900 };
        }
        let mut micros = 0;
        if count == 6 {
            micros = reader.fraction();
        }
        let offset_seconds = if had_time { reader.offset() } else { None };
        let mut truncated = reader.bytes[reader.at..].iter().any(|b| !b.is_ascii_whitespace());
        // Validate as a DATETIME first, so that a bad time of day is an error for a DATE as well.
        let wide =
            Time::from_fields(TimeKind::DateTime, fields.values, 0, MAX_FSP, flags).map_err(|_| invalid())?;
        let time = if kind == TimeKind::Date {
            truncated |= wide.day_micros() != 0 || micros != 0;
            wide.with_kind(TimeKind::Date)
        } else {
            round_tenths(wide, micros, fsp)
                .map_err(|_| invalid())?
                .with_kind(kind)
        };
        Ok(ParsedTime {
            time,
            truncated,
            offset_seconds,
        })
    }

    /// Reads the number 20240102, 240102, 20240102030405 or 240102030405; 0 is the zero date.
    pub fn from_number(number: i64, kind: TimeKind, fsp: u8, flags: DateFlags) -> Result<Time> {
        let invalid = || Error::Invalid {
            what: kind.as_str(),
            value: number.to_string(),
        };
        let full = match number {
            0 => 0,
            101..=691_231 => (number + 20_000_000) * 1_000_000,
            700_101..=991_231 => (number + 19_000_000) * 1_000_000,
            991_232..=99_991_231 if number >= 10_000_101 || flags.zero_in_date => number * 1_000_000,
            101_000_000..=691_231_235_959 => number + 20_000_000_000_000,
            700_101_000_000..=991_231_235_959 => number + 19_000_000_000_000,
            991_231_235_960..=99_991_231_235_959 => number,
            _ => return Err(invalid()),
        };
        let (date, time) = (full / 1_000_000, full % 1_000_000);
        let fields = [
            date / 10_000,
            date / 100 % 100,
            date % 100,
            time / 10_000,
            time / 100 % 100,
            time % 100,
        ]
        .map(|n| n as u16);
        let wide = Time::from_fields(TimeKind::DateTime, fields, 0, fsp, flags).map_err(|_| invalid())?;
        Ok(wide.with_kind(kind))
    }

    /// [`Time::from_number`] with a fraction: 20240102030405.678.
    pub fn from_decimal(number: &Decimal, kind: TimeKind, fsp: u8, flags: DateFlags) -> Result<Time> {
        let whole = number.truncate_to(0);
        let time = Time::from_number(whole.to_i64()?, kind, fsp, flags)?;
        if kind == TimeKind::Date {
            return Ok(time);
        }
        let fraction = number.checked_sub(&whole)?;
        let micros = fraction.checked_mul(&Decimal::from(10_000_000i64))?.to_i64()?;
        round_tenths(time, micros.unsigned_abs() as u32, fsp)
    }
}

/// Adds tenths of microseconds (as the digits after the point were read) and rounds to `fsp`.
fn round_tenths(time: Time, tenths: u32, fsp: u8) -> Result<Time> {
    let exact = time.with_fsp(MAX_FSP);
    let micros = tenths / 10;
    let exact = Time::from_packed(exact.to_packed() | u64::from(micros), exact.kind(), MAX_FSP)?;
    if fsp == MAX_FSP && tenths % 10 >= 5 {
        if exact.microsecond() < 999_999 {
            return Time::from_packed(exact.to_packed() + 1, exact.kind(), MAX_FSP);
        }
        return exact.add_micros(1);
    }
    exact.round_to_fsp(fsp)
}

struct Fields {
    values: [u16; 6],
    /// The year was written with two digits or fewer.
    short_year: bool,
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn number(&mut self, max_len: usize) -> Option<(u16, usize)> {
        let start = self.at;
        let mut value = 0u16;
        while self.at - start < max_len
            && let Some(digit @ b'0'..=b'9') = self.peek()
        {
            value = value * 10 + u16::from(digit - b'0');
            self.at += 1;
        }
        (self.at > start).then_some((value, self.at - start))
    }

    /// Fields without separators: the length of the run of digits tells how long the year is.
    fn compact(&mut self, run: usize) -> Option<(Fields, usize, bool)> {
        let year_len = match run {
            8 | 14.. => 4,
            _ => 2,
        };
        let mut values = [0u16; 6];
        let mut count = 0;
        let end = run.min(if year_len == 4 { 14 } else { 12 });
        while count < 6 && self.at < end {
            let len = if count == 0 { year_len } else { 2 };
            values[count] = self.number(len.min(end - self.at))?.0;
            count += 1;
        }
        // '20240102T030405' and '20240102 03:04:05': a date without separators, then a time with or without.
        let mut had_time = count > 3;
        if count == 3 && matches!(self.peek(), Some(b'T' | b' ')) {
            let mark = self.at;
            self.at += 1;
            let rest = self.time_fields(&mut values);
            if rest == 0 {
                self.at = mark;
            } else {
                had_time = true;
                count += rest;
            }
        }
        Some((
            Fields {
                values,
                short_year: year_len == 2,
            },
            count,
            had_time,
        ))
    }

    fn delimited(&mut self) -> Option<(Fields, usize, bool)> {
        let mut values = [0u16; 6];
        let (year, year_len) = self.number(4)?;
        values[0] = year;
        let mut count = 1;
        while count < 3 {
            let separators = self.skip(|b| b.is_ascii_punctuation());
            if separators == 0 {
                return Some((
                    Fields {
                        values,
                        short_year: year_len <= 2,
                    },
                    count,
                    false,
                ));
            }
            values[count] = self.number(2)?.0;
            count += 1;
        }
        let mark = self.at;
        let separated = if matches!(self.peek(), Some(b'T' | b't')) {
            self.at += 1;
            1
        } else {
            self.skip(|b| b.is_ascii_whitespace() || (b.is_ascii_punctuation() && b != b'+' && b != b'-'))
        };
        let mut had_time = false;
        if separated > 0 {
            let rest = self.time_fields(&mut values);
            if rest == 0 {
                self.at = mark;
            } else {
                had_time = true;
                count += rest;
            }
        }
        Some((
            Fields {
                values,
                short_year: year_len <= 2,
            },
            count,
            had_time,
        ))
    }

    /// Hour, minute and second, with or without separators; how many of them there were. A full count lets a
    /// fraction follow, which 'HH:MM' does not.
    fn time_fields(&mut self, values: &mut [u16; 6]) -> usize {
        let mut count = 0;
        while count < 3 {
            let mark = self.at;
            if count > 0 {
                let separators = self.skip(|b| b.is_ascii_punctuation() && b != b'+' && b != b'-');
                if separators == 0 && !self.peek().is_some_and(|b| b.is_ascii_digit()) {
                    break;
                }
            }
            let Some((value, _)) = self.number(2) else {
                self.at = mark;
                break;
            };
            values[3 + count] = value;
            count += 1;
        }
        count
    }

    fn skip(&mut self, wanted: impl Fn(u8) -> bool) -> usize {
        let start = self.at;
        while self.peek().is_some_and(&wanted) {
            self.at += 1;
        }
        self.at - start
    }

    /// '.678': in tenths of microseconds, the seventh digit being what rounding goes by.
    fn fraction(&mut self) -> u32 {
        if self.peek() != Some(b'.') {
            return 0;
        }
        self.at += 1;
        fraction_tenths(self.bytes, &mut self.at)
    }

    /// '+05:30', 'Z': seconds east of UTC. Nothing is consumed when it is not one.
    fn offset(&mut self) -> Option<i32> {
        let sign = match self.peek()? {
            b'+' => 1,
            b'-' => -1,
            b'Z' | b'z' => {
                self.at += 1;
                return Some(0);
            }
            _ => return None,
        };
        let rest = self.bytes.get(self.at + 1..)?;
        let &[a, b, b':', c, d, ..] = rest else {
            return None;
        };
        if ![a, b, c, d].iter().all(u8::is_ascii_digit) {
            return None;
        }
        let digit = |b: u8| i32::from(b - b'0');
        let (hours, minutes) = (digit(a) * 10 + digit(b), digit(c) * 10 + digit(d));
        if hours > 14 || minutes > 59 {
            return None;
        }
        self.at += 6;
        Some(sign * (hours * 3600 + minutes * 60))
    }
}

/// Digits after a point as tenths of microseconds; `at` is moved past all of them.
pub(super) fn fraction_tenths(bytes: &[u8], at: &mut usize) -> u32 {
    let mut tenths = 0;
    let mut weight = 1_000_000;
    while let Some(digit @ b'0'..=b'9') = bytes.get(*at) {
        tenths += u32::from(digit - b'0') * weight;
        weight /= 10;
        *at += 1;
    }
    tenths
}
