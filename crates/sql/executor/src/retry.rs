//! Whether a statement is tried again because another transaction was faster, and when.

use std::time::{Duration, Instant};

use ilmenite_base::RetryPolicy;
use ilmenite_error::{Error, code};
use ilmenite_store::TxnMode;

use crate::statement::StatementContext;

/// The first attempts follow at once: whoever was faster is mostly done.
const AT_ONCE: u32 = 2;

const POLICY: RetryPolicy = RetryPolicy {
    max_attempts: 256,
    max_elapsed: Duration::from_secs(60),
    base_delay: Duration::from_millis(8),
    max_delay: Duration::from_millis(128),
};

/// The attempts at one statement, or at one batch of LOAD DATA.
pub struct Retries {
    began: Instant,
    attempt: u32,
}

impl Default for Retries {
    fn default() -> Self {
        Retries {
            began: Instant::now(),
            attempt: 1,
        }
    }
}

impl Retries {
    /// The number of the attempt that runs, from 1.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// May there be another attempt after this error of one in a transaction of that mode? `own`: the transaction is the
    /// statement's own, and begins anew with it; otherwise it goes on, which only a pessimistic one can.
    pub async fn again(
        &mut self,
        error: &Error,
        mode: TxnMode,
        own: bool,
        statement: &StatementContext,
    ) -> bool {
        let optimistic = mode == TxnMode::Optimistic;
        // A key that an optimistic attempt found taken may be of a row that came between: one with locks tells.
        let conflict =
            error.code == code::write_conflict || (optimistic && own && error.code == code::duplicate_entry);
        if !conflict
            || (optimistic && !own)
            || !POLICY.allows(self.attempt, self.began.elapsed())
            || statement.cancel.is_cancelled()
        {
            return false;
        }
        if self.attempt > AT_ONCE {
            tokio::time::sleep(POLICY.delay(self.attempt - AT_ONCE)).await;
        }
        self.attempt += 1;
        true
    }
}
