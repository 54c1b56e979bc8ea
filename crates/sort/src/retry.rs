//! Retries of requests to object storage: bounded in count and time, jittered, visible.

use std::sync::Arc;
use std::time::Duration;

use ilmenite_base::rng;

use crate::error::StorageErrorKind;
use crate::metrics::Op;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Tries in all, the first included. At least 1.
    pub max_attempts: u32,
    /// No new try begins later than this after the first began.
    pub max_elapsed: Duration,
    /// The pause before the second try is random between half of this and this; it doubles from try to try…
    pub base_delay: Duration,
    /// …up to this.
    pub max_delay: Duration,
    /// A single request that takes longer is given up, and counts as a transient failure.
    pub request_timeout: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        RetryPolicy {
            max_attempts: 12,
            max_elapsed: Duration::from_secs(120),
            base_delay: Duration::from_millis(100),
            max_delay: Duration::from_secs(15),
            request_timeout: Duration::from_secs(60),
        }
    }
}

impl RetryPolicy {
    /// For questions that a user waits for: a wrong address must not take minutes to report.
    pub fn interactive() -> Self {
        RetryPolicy {
            max_attempts: 3,
            max_elapsed: Duration::from_secs(10),
            base_delay: Duration::from_millis(100),
            max_delay: Duration::from_secs(1),
            request_timeout: Duration::from_secs(10),
        }
    }

    /// The pause after the failed try number `attempt` (from 1).
    pub(crate) fn delay(&self, attempt: u32) -> Duration {
        let doublings = attempt.saturating_sub(1).min(20);
        let full = self.base_delay.saturating_mul(1 << doublings).min(self.max_delay);
        // Half fixed, half random, so that nodes which failed together do not come back together.
        full.mul_f64(0.5 + 0.5 * rng::fraction())
    }
}

/// A request that failed and will be tried again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryEvent {
    pub op: Op,
    pub path: String,
    /// The try that failed, from 1.
    pub attempt: u32,
    pub max_attempts: u32,
    pub kind: StorageErrorKind,
    /// The store's own text, without secrets.
    pub error: String,
    /// The pause before the next try.
    pub next_try_in: Duration,
}

/// Told of each retry, so that it can stand in a job's row while it lasts. Called on the request's task: must not block.
pub trait RetryObserver: Send + Sync + 'static {
    fn on_retry(&self, event: &RetryEvent);

    /// The request of an earlier `on_retry` has succeeded.
    fn on_recovered(&self, op: Op, path: &str) {
        let _ = (op, path);
    }
}

impl<F: Fn(&RetryEvent) + Send + Sync + 'static> RetryObserver for F {
    fn on_retry(&self, event: &RetryEvent) {
        self(event);
    }
}

pub(crate) type ObserverRef = Arc<dyn RetryObserver>;
