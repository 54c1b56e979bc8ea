//! A running statement: its time, its text, the means to stop it, and the memory it holds.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use ilmenite_base::clock;
use ilmenite_error::{Error, Result};
use tokio_util::sync::CancellationToken;

/// Why a statement was told to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum StopReason {
    /// KILL QUERY or KILL CONNECTION.
    Killed = 1,
    /// max_execution_time.
    Timeout = 2,
    /// Nobody is there to be answered any more, or the process ends: what goes on by itself may go on.
    ClientGone = 3,
}

/// The running statement. A new one for each.
#[derive(Debug)]
pub struct StatementContext {
    /// What NOW() says, the same for the whole statement.
    pub now: jiff::Timestamp,
    pub text: Arc<str>,
    /// Fires when the statement is to end; every wait and every loop over rows listens to it.
    pub cancel: CancellationToken,
    stop_reason: AtomicU8,
    pub memory: Arc<MemoryTracker>,
}

fn now() -> jiff::Timestamp {
    let now = clock::since_epoch();
    jiff::Timestamp::new(now.as_secs() as i64, now.subsec_nanos() as i32).unwrap_or(jiff::Timestamp::MAX)
}

impl StatementContext {
    pub fn new(text: Arc<str>, memory: Arc<MemoryTracker>) -> Self {
        StatementContext {
            now: now(),
            text,
            cancel: CancellationToken::new(),
            stop_reason: AtomicU8::new(0),
            memory,
        }
    }

    /// Tells the statement to end. The first reason given is the one reported.
    pub fn stop(&self, reason: StopReason) {
        // Whether this or another reason came first: the first one stands.
        let _first = self
            .stop_reason
            .compare_exchange(0, reason as u8, Ordering::AcqRel, Ordering::Acquire);
        self.cancel.cancel();
    }

    /// Err as soon as the statement is to end: call it once a batch.
    pub fn check(&self) -> Result<()> {
        if self.cancel.is_cancelled() {
            Err(self.stop_error())
        } else {
            Ok(())
        }
    }

    /// Why it is to end; `None` while it is not.
    pub fn stop_reason(&self) -> Option<StopReason> {
        [StopReason::Killed, StopReason::Timeout, StopReason::ClientGone]
            .into_iter()
            .find(|reason| *reason as u8 == self.stop_reason.load(Ordering::Acquire))
    }

    /// The error to report once `cancel` has fired.
    pub fn stop_error(&self) -> Error {
        if self.stop_reason.load(Ordering::Acquire) == StopReason::Timeout as u8 {
            Error::max_execution_time()
        } else {
            Error::query_interrupted()
        }
    }
}

/// Bytes a statement holds, against its quota (`tidb_mem_quota_query`).
#[derive(Debug)]
pub struct MemoryTracker {
    used_bytes: AtomicU64,
    quota_bytes: u64,
    connection_id: u64,
}

impl MemoryTracker {
    /// `quota_bytes` 0: no limit.
    pub fn new(quota_bytes: u64, connection_id: u64) -> Self {
        MemoryTracker {
            used_bytes: AtomicU64::new(0),
            quota_bytes,
            connection_id,
        }
    }

    /// Takes `bytes` of the quota, or none of it and 8175.
    pub(crate) fn consume(&self, bytes: u64) -> Result<()> {
        let used = self.used_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if self.quota_bytes != 0 && used > self.quota_bytes {
            self.used_bytes.fetch_sub(bytes, Ordering::Relaxed);
            return Err(Error::query_memory_exceeded(self.connection_id));
        }
        Ok(())
    }

    pub(crate) fn release(&self, bytes: u64) {
        self.used_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    pub fn used_bytes(&self) -> u64 {
        self.used_bytes.load(Ordering::Relaxed)
    }
}
