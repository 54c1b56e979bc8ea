//! How often, and for how long, something that may pass by itself is tried again.

use std::time::Duration;

use crate::rng;

/// Bounds on retries: both hold, whichever is met first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Tries in all, the first included. At least 1.
    pub max_attempts: u32,
    /// No new try begins later than this after the first began.
    pub max_elapsed: Duration,
    /// The pause before the second try; it doubles from try to try…
    pub base_delay: Duration,
    /// …up to this.
    pub max_delay: Duration,
}

impl RetryPolicy {
    /// May there be another try after `attempts` that failed, the first of which began `elapsed` ago?
    pub fn allows(&self, attempts: u32, elapsed: Duration) -> bool {
        attempts < self.max_attempts && elapsed < self.max_elapsed
    }

    /// The pause after the failed try number `attempt` (from 1): half of it fixed, half random, so that those who failed
    /// together do not come back together.
    pub fn delay(&self, attempt: u32) -> Duration {
        jittered(self.base_delay, self.max_delay, attempt)
    }
}

/// `base` doubled for each try after the first, `max` at most, of which between half and all is taken.
fn jittered(base: Duration, max: Duration, attempt: u32) -> Duration {
    let doublings = attempt.saturating_sub(1).min(20);
    let full = base.saturating_mul(1 << doublings).min(max);
    full.mul_f64(0.5 + 0.5 * rng::fraction())
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: RetryPolicy = RetryPolicy {
        max_attempts: 3,
        max_elapsed: Duration::from_secs(10),
        base_delay: Duration::from_millis(100),
        max_delay: Duration::from_secs(2),
    };

    #[test]
    fn bounded_in_count_and_in_time() {
        assert!(POLICY.allows(2, Duration::from_secs(9)));
        assert!(!POLICY.allows(3, Duration::ZERO));
        assert!(!POLICY.allows(1, Duration::from_secs(10)));
    }

    #[test]
    fn delays_double_to_the_maximum_and_are_half_random() {
        for (attempt, full_ms) in [(1, 100), (2, 200), (5, 1600), (6, 2000), (40, 2000)] {
            let full = Duration::from_millis(full_ms);
            let delay = POLICY.delay(attempt);
            assert!(delay >= full / 2 && delay <= full, "{attempt}: {delay:?}");
        }
    }
}
