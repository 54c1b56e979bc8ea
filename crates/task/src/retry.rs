//! How often, and for how long, something transient is tried again. One policy for planning, subtasks and clean-up.

use std::time::Duration;

use ilmenite_base::{ErrorClass, rng};

use crate::{RetryStatus, TaskError};

/// Bounds on retries: both hold, whichever is met first.
#[derive(Debug, Clone, Copy)]
pub struct RetryPolicy {
    pub attempts_max: u32,
    pub elapsed_max: Duration,
    pub delay_first: Duration,
    pub delay_max: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        RetryPolicy {
            attempts_max: 30,
            elapsed_max: Duration::from_secs(600),
            delay_first: Duration::from_millis(100),
            delay_max: Duration::from_secs(20),
        }
    }
}

impl RetryPolicy {
    /// What to do after another failure of something with the failures `before` behind it: the status to show and
    /// wait by, or `None` when it is to be given up.
    pub fn next(&self, before: Option<&RetryStatus>, error: &TaskError, now_ms: u64) -> Option<RetryStatus> {
        let attempts = before.map_or(0, |r| r.attempts) + 1;
        let since_ms = before.map_or(now_ms, |r| r.since_ms);
        let elapsed = Duration::from_millis(now_ms.saturating_sub(since_ms));
        if error.class != ErrorClass::Transient
            || attempts >= self.attempts_max
            || elapsed >= self.elapsed_max
        {
            return None;
        }
        let next_try_ms = now_ms + self.delay(attempts).as_millis() as u64;
        Some(RetryStatus {
            error: error.clone(),
            attempts,
            since_ms,
            next_try_ms,
        })
    }

    /// Doubling with full jitter in the upper half, so that nodes which failed together do not return together.
    fn delay(&self, attempts: u32) -> Duration {
        let doubled = self
            .delay_first
            .saturating_mul(1 << attempts.saturating_sub(1).min(20));
        doubled.min(self.delay_max).mul_f64(0.5 + 0.5 * rng::fraction())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transient() -> TaskError {
        TaskError::new(ErrorClass::Transient, "503 slow down")
    }

    /// Against F31 of docs/faults.md.
    #[test]
    fn bounded_in_count_and_time_and_only_for_transient_errors() {
        let policy = RetryPolicy {
            attempts_max: 3,
            ..Default::default()
        };
        let first = policy.next(None, &transient(), 1000).unwrap();
        assert_eq!((first.attempts, first.since_ms), (1, 1000));
        let second = policy.next(Some(&first), &transient(), 2000).unwrap();
        assert_eq!((second.attempts, second.since_ms), (2, 1000));
        assert_eq!(policy.next(Some(&second), &transient(), 3000), None);
        assert_eq!(policy.next(Some(&first), &transient(), 601_000), None);
        for class in [
            ErrorClass::Permanent,
            ErrorClass::User,
            ErrorClass::Resource,
            ErrorClass::Bug,
        ] {
            assert_eq!(policy.next(None, &TaskError::new(class, "no"), 0), None);
        }
    }

    #[test]
    fn delays_grow_to_the_maximum() {
        let policy = RetryPolicy::default();
        for attempt in 1..40 {
            let delay = policy.delay(attempt);
            assert!(delay <= policy.delay_max, "{delay:?}");
        }
        assert!(policy.delay(20) >= policy.delay_max / 2);
    }
}
