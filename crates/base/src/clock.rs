//! The time of day. It is for people (since when something is retried) and for SQL's NOW(). Nothing may be decided by it
//! but on one node and against itself; what nodes agree on is in store time.

#![expect(clippy::disallowed_methods, reason = "the one place that asks the machine")]

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::simulated;

/// Since 1970, by this machine's clock.
pub fn since_epoch() -> Duration {
    simulated::with(
        |s| Duration::from_millis((s.wall_ms)()),
        || SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(),
    )
}

/// Milliseconds since 1970 by this machine's clock.
pub fn wall_ms() -> u64 {
    since_epoch().as_millis() as u64
}
