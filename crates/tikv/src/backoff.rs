//! Waiting before trying again: longer each time, with jitter, bounded in count and in total time. The wait ends at once
//! when its future is dropped.

use std::time::Duration;

use ilmenite_base::RetryPolicy;
use ilmenite_store::{Error, Result};
use tokio::time::Instant;

use crate::metrics::METRICS;

/// No operation is tried more often than this, however short its waits.
const MAX_ATTEMPTS: u32 = 500;

/// Why one waits; each reason grows by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pause {
    /// The cache was out of date: the next try goes by what is new.
    Region,
    /// Something is being elected, merged, recovered.
    Settle,
    /// The store asks to be left alone for a while.
    Busy,
    /// A connection, or PD.
    Network,
    /// Another transaction's lock.
    Lock,
}

const REASONS: usize = 5;

impl Pause {
    fn index(self) -> usize {
        match self {
            Pause::Region => 0,
            Pause::Settle => 1,
            Pause::Busy => 2,
            Pause::Network => 3,
            Pause::Lock => 4,
        }
    }

    /// From the first wait to the longest. What bounds the tries is the operation.
    const fn waits(self) -> RetryPolicy {
        let (first_ms, longest_ms) = match self {
            Pause::Region => (1, 200),
            Pause::Settle => (10, 500),
            Pause::Busy => (50, 2000),
            Pause::Network => (20, 1000),
            Pause::Lock => (2, 100),
        };
        RetryPolicy::endless(Duration::from_millis(first_ms), Duration::from_millis(longest_ms))
    }
}

pub(crate) struct Backoff {
    what: &'static str,
    /// Of all its waits together, whatever they are for.
    bounds: RetryPolicy,
    began: Instant,
    attempts: u32,
    tries: [u32; REASONS],
}

impl Backoff {
    pub(crate) fn new(what: &'static str, limit: Duration) -> Self {
        Backoff {
            what,
            bounds: RetryPolicy {
                max_attempts: MAX_ATTEMPTS,
                max_elapsed: limit,
                ..RetryPolicy::endless(Duration::ZERO, Duration::ZERO)
            },
            began: Instant::now(),
            attempts: 0,
            tries: [0; REASONS],
        }
    }

    pub(crate) fn remaining(&self) -> Duration {
        self.bounds.max_elapsed.saturating_sub(self.began.elapsed())
    }

    /// Waits, or says that the bounds are reached, with the last error. `reason` is for the metric.
    pub(crate) async fn wait(&mut self, pause: Pause, reason: &str, last: Error) -> Result<()> {
        self.wait_at_least(pause, Duration::ZERO, reason, last).await
    }

    /// `wait`, for no less than `least` (what the store asked for).
    pub(crate) async fn wait_at_least(
        &mut self,
        pause: Pause,
        least: Duration,
        reason: &str,
        last: Error,
    ) -> Result<()> {
        METRICS.retries.with_label_values(&[reason]).inc();
        self.attempts += 1;
        let tries = &mut self.tries[pause.index()];
        *tries += 1;
        let wait = pause.waits().delay(*tries) + least;
        if !self.bounds.allows(self.attempts, self.began.elapsed()) {
            return Err(self.give_up(last));
        }
        tokio::time::sleep(wait.min(self.remaining())).await;
        Ok(())
    }

    /// The error to end with when nothing more is tried.
    pub(crate) fn give_up(&self, last: Error) -> Error {
        match last {
            Error::Unavailable(text) => Error::Unavailable(format!(
                "{}: given up after {} attempts in {} ms: {text}",
                self.what,
                self.attempts,
                self.began.elapsed().as_millis()
            )),
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cause() -> Error {
        Error::Unavailable("the last straw".into())
    }

    #[tokio::test(start_paused = true)]
    async fn bounded_in_time_with_the_last_error_in_the_text() {
        let mut backoff = Backoff::new("get", Duration::from_secs(2));
        backoff.wait(Pause::Network, "test", cause()).await.unwrap();
        tokio::time::advance(Duration::from_secs(2)).await;
        let error = backoff.wait(Pause::Network, "test", cause()).await.unwrap_err();
        let text = error.to_string();
        assert!(text.contains("get: given up after 2 attempts"), "{text}");
        assert!(text.contains("the last straw"), "{text}");
        assert_eq!(error.class(), ilmenite_base::ErrorClass::Transient);
    }

    #[tokio::test(start_paused = true)]
    async fn bounded_in_count_and_keeping_the_class() {
        let mut backoff = Backoff::new("get", Duration::from_secs(3600));
        let full = || Error::DiskFull("store 1".into());
        let mut waits = 0;
        let error = loop {
            match backoff.wait(Pause::Region, "test", full()).await {
                Ok(()) => waits += 1,
                Err(e) => break e,
            }
        };
        assert_eq!(waits, MAX_ATTEMPTS - 1);
        assert_eq!(error.class(), ilmenite_base::ErrorClass::Resource);
    }

    #[tokio::test(start_paused = true)]
    async fn waits_grow_and_honour_what_the_store_asked_for() {
        let mut backoff = Backoff::new("get", Duration::from_secs(3600));
        let mut last = Duration::ZERO;
        for _ in 0..12 {
            let began = tokio::time::Instant::now();
            backoff.wait(Pause::Busy, "test", cause()).await.unwrap();
            last = began.elapsed();
        }
        assert!(
            (Duration::from_millis(1000)..=Duration::from_millis(2001)).contains(&last),
            "{last:?}"
        );
        let began = tokio::time::Instant::now();
        let least = Duration::from_secs(5);
        backoff
            .wait_at_least(Pause::Region, least, "test", cause())
            .await
            .unwrap();
        assert!(began.elapsed() >= least);
    }
}
