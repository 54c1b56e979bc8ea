//! Time zones: a TIMESTAMP is an instant, stored in UTC and shown in the session's zone.

use jiff::Timestamp;
use jiff::civil;
use jiff::tz::{AmbiguousOffset, TimeZone};

use super::{DateFlags, Time, TimeKind};
use crate::{Error, Result};

/// '1970-01-01 00:00:01' UTC, the least TIMESTAMP.
const TIMESTAMP_MIN_MICROS: i64 = 1_000_000;
/// '2038-01-19 03:14:07.999999' UTC, the greatest TIMESTAMP.
const TIMESTAMP_MAX_MICROS: i64 = 2_147_483_647_999_999;

impl Time {
    /// Microseconds since 1970 of these fields as clocks in `zone` show them. `Invalid` for irregular dates and for
    /// times that a change of clocks skips; of a time that comes twice, the first.
    pub fn to_unix_micros(&self, zone: &TimeZone) -> Result<i64> {
        let invalid = || Error::Invalid {
            what: self.kind().as_str(),
            value: self.to_string(),
        };
        let fields = civil::DateTime::new(
            self.year() as i16,
            self.month() as i8,
            self.day() as i8,
            self.hour() as i8,
            self.minute() as i8,
            self.second() as i8,
            self.microsecond() as i32 * 1000,
        )
        .map_err(|_| invalid())?;
        let offset = match zone.to_ambiguous_timestamp(fields).offset() {
            AmbiguousOffset::Unambiguous { offset } => offset,
            AmbiguousOffset::Fold { before, .. } => before,
            AmbiguousOffset::Gap { .. } => return Err(invalid()),
        };
        offset
            .to_timestamp(fields)
            .map(|t| t.as_microsecond())
            .map_err(|_| invalid())
    }

    /// The fields that clocks in `zone` show at an instant.
    pub fn from_unix_micros(micros: i64, zone: &TimeZone, kind: TimeKind, fsp: u8) -> Result<Time> {
        let out_of_range = || Error::OutOfRange {
            what: "timestamp",
            value: micros.to_string(),
        };
        let instant = Timestamp::from_microsecond(micros).map_err(|_| out_of_range())?;
        let at = zone.to_datetime(instant);
        let year = u16::try_from(at.year()).map_err(|_| out_of_range())?;
        let fields = [
            year,
            at.month() as u16,
            at.day() as u16,
            at.hour() as u16,
            at.minute() as u16,
            at.second() as u16,
        ];
        let micros = (at.subsec_nanosecond() / 1000) as u32;
        Time::from_fields(kind, fields, micros, fsp, DateFlags::STRICT)
    }

    /// The same instant as clocks in another zone show it. The zero time is the zero time everywhere.
    pub fn convert_zone(&self, from: &TimeZone, to: &TimeZone) -> Result<Time> {
        if self.is_zero() || from == to {
            return Ok(*self);
        }
        let micros = self.to_unix_micros(from)?;
        Time::from_unix_micros(micros, to, self.kind(), self.fsp())
    }

    /// Is it (in `zone`) within what a TIMESTAMP can hold: the zero time, or 1970-01-01 00:00:01 to
    /// 2038-01-19 03:14:07.999999 UTC?
    pub fn check_timestamp_range(&self, zone: &TimeZone) -> Result<()> {
        if self.is_zero() {
            return Ok(());
        }
        let micros = self.to_unix_micros(zone)?;
        if (TIMESTAMP_MIN_MICROS..=TIMESTAMP_MAX_MICROS).contains(&micros) {
            return Ok(());
        }
        Err(Error::Invalid {
            what: "timestamp",
            value: self.to_string(),
        })
    }
}
