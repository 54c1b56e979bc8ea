//! `tidb_ddl_reorg_max_write_speed`: bytes a second that this node ingests for one job.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// The longest wait at once: a changed limit or a cancel is taken up by then.
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
    pub(crate) fn set_rate(&self, bytes_per_second: u64) {
        let mut state = self.state.lock();
        if state.bytes_per_second != bytes_per_second {
            state.bytes_per_second = bytes_per_second;
            // Debts of the old rate are forgiven, or a lifted limit would still be waited for.
            state.free_at = None;
        }
    }

    /// Books `bytes`, if it is their turn; otherwise how long to wait before asking again. A batch larger than what
    /// has gathered goes out whole, and the next one waits for it.
    pub(crate) fn take(&self, bytes: u64) -> Option<Duration> {
        let mut state = self.state.lock();
        if state.bytes_per_second == 0 {
            return None;
        }
        let now = Instant::now();
        if let Some(wait) = state
            .free_at
            .and_then(|at| at.checked_duration_since(now))
            .filter(|w| !w.is_zero())
        {
            return Some(wait.min(NAP));
        }
        let seconds = bytes as f64 / state.bytes_per_second as f64;
        state.free_at = Some(now + Duration::from_secs_f64(seconds.min(86_400.0)));
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lets_one_batch_through_and_forgives_debts_at_a_new_rate() {
        let limiter = Limiter::default();
        assert_eq!(limiter.take(u64::MAX), None, "no limit");
        limiter.set_rate(1);
        assert_eq!(limiter.take(1 << 40), None, "the first goes out at once");
        assert_eq!(limiter.take(1), Some(NAP));
        limiter.set_rate(1);
        assert_eq!(limiter.take(1), Some(NAP), "the same rate changes nothing");
        limiter.set_rate(1 << 40);
        assert_eq!(limiter.take(1), None);
        limiter.set_rate(0);
        assert_eq!(limiter.take(1 << 40), None);
    }
}
