//! The `%` formats of DATE_FORMAT, TIME_FORMAT and STR_TO_DATE.

use std::fmt::Write;

use ilmenite_types::time::{date_of_day_number, day_number};
use ilmenite_types::{Duration, Time};

/// From Monday.
pub(crate) const WEEKDAYS: [&str; 7] = [
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
    "Sunday",
];

pub(crate) const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// The time of day of a format.
struct Clock {
    hour: u32,
    minute: u32,
    second: u32,
    micros: u32,
}

impl Clock {
    /// Writes what `spec` stands for; false when it is not about the time of day.
    fn write(&self, spec: char, out: &mut String) -> bool {
        let twelve = match self.hour % 12 {
            0 => 12,
            hour => hour,
        };
        let half = if self.hour % 24 < 12 { "AM" } else { "PM" };
        // Writing to a string does not fail.
        let _ok = match spec {
            'f' => write!(out, "{:06}", self.micros),
            'H' => write!(out, "{:02}", self.hour),
            'k' => write!(out, "{}", self.hour),
            'h' | 'I' => write!(out, "{twelve:02}"),
            'l' => write!(out, "{twelve}"),
            'i' => write!(out, "{:02}", self.minute),
            's' | 'S' => write!(out, "{:02}", self.second),
            'p' => write!(out, "{half}"),
            'r' => write!(out, "{twelve:02}:{:02}:{:02} {half}", self.minute, self.second),
            'T' => write!(out, "{:02}:{:02}:{:02}", self.hour, self.minute, self.second),
            _ => return false,
        };
        true
    }
}

/// The date under a format; `None` where it asks for a name that a zero month or day does not have.
pub(crate) fn format(t: &Time, format: &[u8], _default_week_format: u8) -> Option<String> {
    let clock = Clock {
        hour: t.hour().into(),
        minute: t.minute().into(),
        second: t.second().into(),
        micros: t.microsecond(),
    };
    let mut out = String::with_capacity(format.len() * 2);
    let text = String::from_utf8_lossy(format);
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let Some(spec) = chars.next() else {
            out.push('%');
            break;
        };
        if clock.write(spec, &mut out) {
            continue;
        }
        let month_name = || usize::from(t.month()).checked_sub(1).and_then(|m| MONTHS.get(m));
        let weekday = || (t.month() != 0 || t.year() != 0).then(|| WEEKDAYS[usize::from(t.weekday() % 7)]);
        let _ok = match spec {
            'Y' => write!(out, "{:04}", t.year()),
            'y' => write!(out, "{:02}", t.year() % 100),
            'm' => write!(out, "{:02}", t.month()),
            'c' => write!(out, "{}", t.month()),
            'M' => write!(out, "{}", month_name()?),
            'b' => write!(out, "{}", &month_name()?[..3]),
            'd' => write!(out, "{:02}", t.day()),
            'e' => write!(out, "{}", t.day()),
            'D' => write!(out, "{}{}", t.day(), ordinal(t.day())),
            'j' => write!(out, "{:03}", t.day_of_year()),
            'W' => write!(out, "{}", weekday()?),
            'a' => write!(out, "{}", &weekday()?[..3]),
            'w' => write!(out, "{}", (t.weekday() + 1) % 7),
            'U' => write!(out, "{:02}", t.week(0, false).1),
            'u' => write!(out, "{:02}", t.week(1, false).1),
            'V' => write!(out, "{:02}", t.week(2, false).1),
            'v' => write!(out, "{:02}", t.week(3, false).1),
            'X' => write!(out, "{:04}", t.week(2, true).0),
            'x' => write!(out, "{:04}", t.week(3, true).0),
            other => write!(out, "{other}"),
        };
    }
    Some(out)
}

fn ordinal(day: u8) -> &'static str {
    match (day % 10, day / 10) {
        (_, 1) => "th",
        (1, _) => "st",
        (2, _) => "nd",
        (3, _) => "rd",
        _ => "th",
    }
}

/// A TIME under a format; `None` where it asks for a date.
pub(crate) fn format_duration(d: &Duration, format: &[u8]) -> Option<String> {
    let clock = Clock {
        hour: d.hour().into(),
        minute: d.minute().into(),
        second: d.second().into(),
        micros: d.microsecond(),
    };
    let mut out = String::with_capacity(format.len() * 2);
    if d.is_negative() {
        out.push('-');
    }
    let text = String::from_utf8_lossy(format);
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let Some(spec) = chars.next() else { break };
        if clock.write(spec, &mut out) {
            continue;
        }
        match spec {
            'Y' => out.push_str("0000"),
            'y' | 'm' | 'd' => out.push_str("00"),
            'c' | 'e' => out.push('0'),
            'M' | 'b' | 'D' | 'j' | 'W' | 'a' | 'w' | 'U' | 'u' | 'V' | 'v' | 'X' | 'x' => return None,
            other => out.push(other),
        }
    }
    Some(out)
}

/// What a format speaks of: a date, a time of day, microseconds.
pub(crate) fn parts_of(format: &[u8]) -> (bool, bool, bool) {
    let (mut date, mut time, mut micros) = (false, false, false);
    let mut bytes = format.iter();
    while let Some(b) = bytes.next() {
        if *b != b'%' {
            continue;
        }
        match bytes.next() {
            Some(b'f') => {
                time = true;
                micros = true;
            }
            Some(b'H' | b'k' | b'h' | b'I' | b'l' | b'i' | b's' | b'S' | b'p' | b'r' | b'T') => time = true,
            Some(
                b'Y' | b'y' | b'm' | b'c' | b'M' | b'b' | b'd' | b'e' | b'D' | b'j' | b'W' | b'a' | b'w'
                | b'U' | b'u' | b'V' | b'v' | b'X' | b'x',
            ) => date = true,
            _ => {}
        }
    }
    (date, time, micros)
}

/// What STR_TO_DATE read; what was not given is 0.
#[derive(Debug, Default, Clone)]
pub(crate) struct Read {
    year: u16,
    month: u16,
    day: u16,
    hour: u16,
    minute: u16,
    second: u16,
    micros: u32,
    day_of_year: Option<u16>,
    /// 12-hour clock: whether it was PM.
    afternoon: Option<bool>,
    twelve_hours: bool,
}

impl Read {
    fn hour24(&self) -> Option<u16> {
        if !self.twelve_hours {
            return Some(self.hour);
        }
        if !(1..=12).contains(&self.hour) {
            return None;
        }
        Some(self.hour % 12 + if self.afternoon == Some(true) { 12 } else { 0 })
    }

    /// `[year, month, day, hour, minute, second]` and microseconds.
    pub(crate) fn fields(&self) -> Option<([u16; 6], u32)> {
        let (mut year, mut month, mut day) = (self.year, self.month, self.day);
        if let Some(number) = self.day_of_year {
            let first = day_number(year, 1, 1);
            let (y, m, d) = date_of_day_number(first + i64::from(number) - 1)?;
            (year, month, day) = (y, m.into(), d.into());
        }
        Some((
            [year, month, day, self.hour24()?, self.minute, self.second],
            self.micros,
        ))
    }

    pub(crate) fn time_micros(&self) -> i64 {
        let hour = self.hour24().unwrap_or(0);
        (i64::from(hour) * 3600 + i64::from(self.minute) * 60 + i64::from(self.second)) * 1_000_000
            + i64::from(self.micros)
    }
}

struct Reader<'a> {
    text: &'a [u8],
}

impl Reader<'_> {
    /// A number of one to `max` digits.
    fn number(&mut self, max: usize) -> Option<u32> {
        let len = self
            .text
            .iter()
            .take(max)
            .take_while(|b| b.is_ascii_digit())
            .count();
        let digits = std::str::from_utf8(&self.text[..len]).ok()?;
        let number = digits.parse().ok()?;
        self.text = &self.text[len..];
        Some(number)
    }

    fn small(&mut self, max: usize, limit: u32) -> Option<u16> {
        let number = self.number(max)?;
        (number <= limit).then_some(number as u16)
    }

    /// One of `names` or its first `short` letters, in any case; its index.
    fn name(&mut self, names: &[&str], short: Option<usize>) -> Option<usize> {
        for (at, name) in names.iter().enumerate() {
            let wanted = &name.as_bytes()[..short.unwrap_or(name.len())];
            if self.text.len() >= wanted.len() && self.text[..wanted.len()].eq_ignore_ascii_case(wanted) {
                self.text = &self.text[wanted.len()..];
                return Some(at);
            }
        }
        None
    }

    fn skip_spaces(&mut self) {
        let spaces = self.text.iter().take_while(|b| b.is_ascii_whitespace()).count();
        self.text = &self.text[spaces..];
    }

    fn literal(&mut self, expected: u8) -> Option<()> {
        let (first, rest) = self.text.split_first()?;
        (*first == expected).then(|| self.text = rest)
    }
}

/// Reads `text` by `format`; `None` when it does not fit. Text that ends early leaves the rest at 0.
pub(crate) fn parse(text: &[u8], format: &[u8]) -> Option<Read> {
    let mut read = Read::default();
    let mut reader = Reader { text };
    follow(&mut reader, format, &mut read)?;
    Some(read)
}

fn follow(reader: &mut Reader<'_>, format: &[u8], read: &mut Read) -> Option<()> {
    let mut bytes = format.iter().copied();
    while let Some(b) = bytes.next() {
        if b.is_ascii_whitespace() {
            reader.skip_spaces();
            continue;
        }
        reader.skip_spaces();
        if reader.text.is_empty() {
            return Some(());
        }
        if b != b'%' {
            reader.literal(b)?;
            continue;
        }
        match bytes.next()? {
            b'Y' => {
                let before = reader.text.len();
                let year = reader.number(4)?;
                let short = before - reader.text.len() <= 2;
                read.year = if short { two_digit_year(year) } else { year as u16 };
            }
            b'y' => read.year = two_digit_year(reader.number(2)?),
            b'm' | b'c' => read.month = reader.small(2, 12)?,
            b'M' => read.month = reader.name(&MONTHS, None)? as u16 + 1,
            b'b' => read.month = reader.name(&MONTHS, Some(3))? as u16 + 1,
            b'd' | b'e' => read.day = reader.small(2, 31)?,
            b'D' => {
                read.day = reader.small(2, 31)?;
                reader.text = reader.text.get(2..)?;
            }
            b'j' => read.day_of_year = Some(reader.small(3, 366)?),
            b'H' | b'k' => read.hour = reader.small(2, 23)?,
            b'h' | b'I' | b'l' => {
                read.hour = reader.small(2, 12)?;
                read.twelve_hours = true;
            }
            b'i' => read.minute = reader.small(2, 59)?,
            b's' | b'S' => read.second = reader.small(2, 59)?,
            b'f' => {
                let before = reader.text.len();
                let number = reader.number(6)?;
                let digits = (before - reader.text.len()) as u32;
                read.micros = number * 10u32.pow(6 - digits);
            }
            b'p' => {
                read.afternoon = Some(reader.name(&["AM", "PM"], None)? == 1);
                read.twelve_hours = true;
            }
            b'T' => follow(reader, b"%H:%i:%S", read)?,
            b'r' => follow(reader, b"%I:%i:%S %p", read)?,
            b'W' => {
                reader.name(&WEEKDAYS, None)?;
            }
            b'a' => {
                reader.name(&WEEKDAYS, Some(3))?;
            }
            b'w' => {
                reader.small(1, 6)?;
            }
            b'.' => reader.text = skip(reader.text, |b| b.is_ascii_punctuation()),
            b'@' => reader.text = skip(reader.text, |b| b.is_ascii_alphabetic()),
            b'#' => reader.text = skip(reader.text, |b| b.is_ascii_digit()),
            literal => reader.literal(literal)?,
        }
    }
    Some(())
}

fn skip(text: &[u8], what: impl Fn(u8) -> bool) -> &[u8] {
    &text[text.iter().take_while(|b| what(**b)).count()..]
}

fn two_digit_year(year: u32) -> u16 {
    (if year < 70 { year + 2000 } else { year + 1900 }) as u16
}
