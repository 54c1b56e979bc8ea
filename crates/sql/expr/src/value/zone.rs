//! Time zones by name.

use jiff::tz::{Offset, TimeZone};

/// A time zone by name: IANA's, `SYSTEM`, `UTC`, or an offset from -13:59 to +14:00.
pub(crate) fn zone_named(name: &str) -> Option<TimeZone> {
    if name.eq_ignore_ascii_case("system") {
        return Some(TimeZone::system());
    }
    let sign = match name.as_bytes().first() {
        Some(b'+') => 1,
        Some(b'-') => -1,
        _ => return TimeZone::get(name).ok(),
    };
    let (hours, minutes) = name[1..].split_once(':')?;
    let number = |s: &str| -> Option<i32> {
        let digits = !s.is_empty() && s.len() <= 2 && s.bytes().all(|b| b.is_ascii_digit());
        if digits { s.parse().ok() } else { None }
    };
    let (hours, minutes) = (number(hours)?, number(minutes)?);
    let total = hours * 60 + minutes;
    let limit = if sign > 0 { 14 * 60 } else { 13 * 60 + 59 };
    if minutes > 59 || total > limit {
        return None;
    }
    Offset::from_seconds(sign * total * 60).ok().map(TimeZone::fixed)
}
