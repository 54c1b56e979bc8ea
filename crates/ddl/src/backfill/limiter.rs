//! `tidb_ddl_reorg_max_write_speed`: bytes a second that this node ingests for one job.

use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

/// The longest sleep at once: a changed limit is taken up by then.
const NAP: Duration = Duration::from_millis(200);

/// A bucket that fills at the given rate and may be overdrawn: a batch goes out at once, the next one waits for it.
#[derive(Default)]
pub(crate) struct Limiter {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// 0: no limit.
    bytes_per_second: u64,
    /// Nothing goes out before this.
    free_at: Option<Instant>,
}

impl Limiter {
    pub fn set_rate(&self, bytes_per_second: u64) {
        let mut state = self.state.lock();
        if state.bytes_per_second != bytes_per_second {
            state.bytes_per_second = bytes_per_second;
            // Debts of the old rate are forgiven, or a lifted limit would still be waited for.
            state.free_at = None;
        }
    }

    /// Waits for its turn and books `bytes`. False when cancelled.
    pub async fn take(&self, bytes: u64, cancel: &CancellationToken) -> bool {
        loop {
            let wait = {
                let mut state = self.state.lock();
                if state.bytes_per_second == 0 {
                    return !cancel.is_cancelled();
                }
                let now = Instant::now();
                let free_at = state.free_at.unwrap_or(now).max(now);
                if free_at <= now {
                    let seconds = bytes as f64 / state.bytes_per_second as f64;
                    state.free_at = Some(now + Duration::from_secs_f64(seconds.min(86_400.0)));
                    return !cancel.is_cancelled();
                }
                free_at - now
            };
            tokio::select! {
                _ = cancel.cancelled() => return false,
                _ = tokio::time::sleep(wait.min(NAP)) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn waits_cancellably_and_takes_up_a_new_rate() {
        let limiter = Limiter::default();
        let cancel = CancellationToken::new();
        assert!(limiter.take(u64::MAX, &cancel).await, "no limit");
        limiter.set_rate(1);
        assert!(limiter.take(1 << 40, &cancel).await, "the first goes out at once");
        let waiting = limiter.take(1, &cancel);
        tokio::pin!(waiting);
        assert!(
            tokio::time::timeout(Duration::from_secs(3), &mut waiting)
                .await
                .is_err()
        );
        limiter.set_rate(0);
        assert!(
            tokio::time::timeout(Duration::from_secs(1), waiting)
                .await
                .expect("lifted")
        );
        limiter.set_rate(1);
        assert!(limiter.take(1 << 40, &cancel).await);
        cancel.cancel();
        assert!(!limiter.take(1, &cancel).await);
    }
}
