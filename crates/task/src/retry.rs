//! How often, and for how long, something transient is tried again. One policy for planning, subtasks and clean-up.

use std::time::Duration;

use ilmenite_base::{ErrorClass, RetryPolicy};

use crate::{RetryStatus, TaskError};

/// Unless told otherwise.
pub const DEFAULT_RETRY: RetryPolicy = RetryPolicy {
    max_attempts: 30,
    max_elapsed: Duration::from_secs(600),
    base_delay: Duration::from_millis(100),
    max_delay: Duration::from_secs(20),
};

/// What to do after another failure of something with the failures `before` behind it: the status to show and wait by,
/// or `None` when it is to be given up.
pub fn next_retry(
    policy: &RetryPolicy,
    before: Option<&RetryStatus>,
    error: &TaskError,
    now_ms: u64,
) -> Option<RetryStatus> {
    let attempts = before.map_or(0, |r| r.attempts) + 1;
    let since_ms = before.map_or(now_ms, |r| r.since_ms);
    let elapsed = Duration::from_millis(now_ms.saturating_sub(since_ms));
    if error.class != ErrorClass::Transient || !policy.allows(attempts, elapsed) {
        return None;
    }
    Some(RetryStatus {
        error: error.clone(),
        attempts,
        since_ms,
        next_try_ms: now_ms + policy.delay(attempts).as_millis() as u64,
    })
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
            max_attempts: 3,
            ..DEFAULT_RETRY
        };
        let next = |before: Option<&RetryStatus>, now_ms| next_retry(&policy, before, &transient(), now_ms);
        let first = next(None, 1000).unwrap();
        assert_eq!((first.attempts, first.since_ms), (1, 1000));
        let second = next(Some(&first), 2000).unwrap();
        assert_eq!((second.attempts, second.since_ms), (2, 1000));
        let wait_ms = second.next_try_ms - 2000;
        assert!((100..=200).contains(&wait_ms), "{wait_ms}");
        assert_eq!(next(Some(&second), 3000), None);
        assert_eq!(next(Some(&first), 601_000), None);
        for class in [
            ErrorClass::Permanent,
            ErrorClass::User,
            ErrorClass::Resource,
            ErrorClass::Bug,
        ] {
            assert_eq!(next_retry(&policy, None, &TaskError::new(class, "no"), 0), None);
        }
    }
}
