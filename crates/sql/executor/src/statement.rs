//! A running statement: its time, its text, the means to stop it, and the memory it holds.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Instant;

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
    began: Instant,
    /// When its turn began, from `began` on.
    turn_began_us: AtomicU64,
}

/// So long a statement computes before others that wait for its thread have their turn. A round of all of them is as many
/// times as long, and short enough for logins and KILL.
const TURN_US: u64 = 2_000;
/// Of rows that go through an operator, each so manieth looks whether the turn is over: looking takes as long as little rows.
const ROWS_PER_LOOK: usize = 16;

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
            began: Instant::now(),
            turn_began_us: AtomicU64::new(0),
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

    /// Between pieces of work: err as soon as the statement is to end, and where its turn has lasted long enough, others have
    /// theirs. Whoever ends it by `cancel` finds it waiting here.
    pub(crate) async fn turn(&self) -> Result<()> {
        self.check()?;
        if self.now_us() - self.turn_began_us.load(Ordering::Relaxed) >= TURN_US {
            tokio::task::yield_now().await;
            self.turn_began_us.store(self.now_us(), Ordering::Relaxed);
            self.check()?;
        }
        Ok(())
    }

    /// `turn` for one of many rows, by its number.
    #[inline]
    pub(crate) async fn turn_at(&self, row: usize) -> Result<()> {
        if row.is_multiple_of(ROWS_PER_LOOK) {
            self.turn().await?;
        }
        Ok(())
    }

    fn now_us(&self) -> u64 {
        self.began.elapsed().as_micros() as u64
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
