//! How often, and for how long, something that may pass by itself is tried again: the one policy, and the one backoff.

use std::time::Duration;

use tokio::time::Instant;

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
    /// For background work, which goes on for as long as the process does: what bounds it is that nobody waits for it.
    pub const fn endless(base_delay: Duration, max_delay: Duration) -> Self {
        RetryPolicy {
            max_attempts: u32::MAX,
            max_elapsed: Duration::MAX,
            base_delay,
            max_delay,
        }
    }

    /// May there be another try after `attempts` that failed, to begin `elapsed` after the first did?
    pub fn allows(&self, attempts: u32, elapsed: Duration) -> bool {
        attempts < self.max_attempts && elapsed < self.max_elapsed
    }

    /// The pause after the failed try number `attempt` (from 1): half of it fixed, half random, so that those who failed
    /// together do not come back together.
    pub fn delay(&self, attempt: u32) -> Duration {
        jittered(self.base_delay, self.max_delay, attempt)
    }

    /// The tries at one thing begin.
    pub fn begin(self) -> Attempts {
        Attempts {
            policy: self,
            began: Instant::now(),
            failed: 0,
        }
    }
}

/// The tries at one thing, within a policy.
#[derive(Debug)]
pub struct Attempts {
    policy: RetryPolicy,
    began: Instant,
    failed: u32,
}

impl Attempts {
    /// The number of the try that runs, from 1.
    pub fn number(&self) -> u32 {
        self.failed + 1
    }

    /// Since the first of them began.
    pub fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// The try that ran has failed. The pause before the next; `None`: there is to be no other.
    pub fn failed(&mut self) -> Option<Duration> {
        self.failed = self.failed.saturating_add(1);
        let delay = self.policy.delay(self.failed);
        let begins = self.began.elapsed().saturating_add(delay);
        self.policy.allows(self.failed, begins).then_some(delay)
    }

    /// The try that ran has failed. Waits until the next is due; false: there is to be no other.
    pub async fn again(&mut self) -> bool {
        match self.failed() {
            Some(delay) => {
                tokio::time::sleep(delay).await;
                true
            }
            None => false,
        }
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

    #[tokio::test(start_paused = true)]
    async fn tries_are_counted_from_one_and_end_with_the_count() {
        let mut attempts = POLICY.begin();
        assert_eq!(attempts.number(), 1);
        assert!(attempts.again().await);
        assert!(attempts.elapsed() >= POLICY.base_delay / 2);
        assert_eq!(attempts.number(), 2);
        assert!(attempts.again().await);
        assert!(!attempts.again().await, "three in all");
    }

    #[tokio::test(start_paused = true)]
    async fn no_try_begins_after_the_time_is_over() {
        let patient = RetryPolicy {
            max_attempts: u32::MAX,
            ..POLICY
        };
        let mut attempts = patient.begin();
        while attempts.again().await {
            assert!(attempts.elapsed() < POLICY.max_elapsed);
        }
        let last = POLICY.max_elapsed - POLICY.max_delay;
        assert!(attempts.elapsed() >= last, "{:?}", attempts.elapsed());
        let endless = RetryPolicy::endless(POLICY.base_delay, POLICY.max_delay);
        let mut attempts = endless.begin();
        for _ in 0..1000 {
            assert!(attempts.again().await);
        }
    }
}
