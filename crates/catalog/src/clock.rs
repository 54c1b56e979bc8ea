//! A node's own clock.

use std::fmt::Debug;
use std::time::Duration;

use tokio::time::Instant;

/// Counts up, from a moment of its own. What it says only spares a node useless attempts: that a node without its lease
/// changes nothing is the store's to enforce, however wrong this clock is (it stands still while a machine sleeps).
pub trait Clock: Send + Sync + Debug + 'static {
    fn now(&self) -> Duration;
}

/// The machine's.
#[derive(Debug)]
pub struct SystemClock {
    epoch: Instant,
}

impl SystemClock {
    pub fn new() -> Self {
        SystemClock {
            epoch: Instant::now(),
        }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Duration {
        self.epoch.elapsed()
    }
}
