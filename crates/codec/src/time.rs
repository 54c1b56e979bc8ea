//! DATE, DATETIME, TIMESTAMP and TIME.

/// DATE, DATETIME or TIMESTAMP as the calendar fields of TiDB's packed form; zero dates and zero parts are legal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Time {
    /// ((year * 13 + month) << 5 | day) << 17 | hour << 12 | minute << 6 | second, all << 24, | microsecond.
    packed: u64,
    /// Fractional digits, 0 to 6.
    fsp: u8,
}

/// TIME, in microseconds: -838:59:59 to 838:59:59.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Duration {
    micros: i64,
    /// Fractional digits, 0 to 6.
    fsp: u8,
}
