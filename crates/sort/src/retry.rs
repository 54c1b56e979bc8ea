//! Retries of requests to object storage: bounded in count and time, jittered, visible.

use std::sync::Arc;
use std::time::Duration;

use ilmenite_base::RetryPolicy;

use crate::error::StorageErrorKind;
use crate::metrics::Op;

/// How requests are tried again, unless told otherwise.
pub(crate) const PATIENT: RetryPolicy = RetryPolicy {
    max_attempts: 12,
    max_elapsed: Duration::from_secs(120),
    base_delay: Duration::from_millis(100),
    max_delay: Duration::from_secs(15),
};
/// A single request that takes longer is given up, and counts as a transient failure.
pub(crate) const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// For questions that a user waits for: a wrong address must not take minutes to report.
pub(crate) const INTERACTIVE: RetryPolicy = RetryPolicy {
    max_attempts: 3,
    max_elapsed: Duration::from_secs(10),
    base_delay: Duration::from_millis(100),
    max_delay: Duration::from_secs(1),
};
pub(crate) const INTERACTIVE_TIMEOUT: Duration = Duration::from_secs(10);

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
