//! One budget of memory for all index builds of a node.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::error::{Error, Result};
use crate::metrics::METRICS;

/// Bytes shared by all builds of a node. A piece of work takes all it needs in one acquisition, in the order of
/// asking, so no two can each hold what the other waits for; and it waits cancellably.
#[derive(Clone)]
pub struct MemoryBudget {
    inner: Arc<Inner>,
}

struct Inner {
    state: Mutex<State>,
}

struct State {
    limit: u64,
    held: u64,
    peak: u64,
    waiting: VecDeque<Waiter>,
    next_id: u64,
}

struct Waiter {
    id: u64,
    bytes: u64,
    granted: oneshot::Sender<Result<()>>,
}

/// What a budget is doing now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BudgetStatus {
    pub limit_bytes: u64,
    pub held_bytes: u64,
    pub peak_bytes: u64,
    pub waiting: usize,
    pub waiting_bytes: u64,
}

impl MemoryBudget {
    pub fn new(limit_bytes: u64) -> MemoryBudget {
        METRICS.memory_limit.set(limit_bytes as i64);
        let state = State {
            limit: limit_bytes,
            held: 0,
            peak: 0,
            waiting: VecDeque::new(),
            next_id: 0,
        };
        MemoryBudget {
            inner: Arc::new(Inner {
                state: Mutex::new(state),
            }),
        }
    }

    /// What each of `slots` pieces of work running at once may take.
    pub fn share(&self, slots: usize) -> u64 {
        self.inner.state.lock().limit / slots.max(1) as u64
    }

    pub fn status(&self) -> BudgetStatus {
        let state = self.inner.state.lock();
        BudgetStatus {
            limit_bytes: state.limit,
            held_bytes: state.held,
            peak_bytes: state.peak,
            waiting: state.waiting.len(),
            waiting_bytes: state.waiting.iter().map(|waiter| waiter.bytes).sum(),
        }
    }

    /// Changes the limit. What is held beyond a lower one is not taken away, but nothing more is given until it is
    /// back below; those waiting for more than the new limit are told.
    pub fn set_limit(&self, limit_bytes: u64) {
        METRICS.memory_limit.set(limit_bytes as i64);
        let mut state = self.inner.state.lock();
        state.limit = limit_bytes;
        let waiting = std::mem::take(&mut state.waiting);
        for waiter in waiting {
            if waiter.bytes > limit_bytes {
                drop(waiter.granted.send(Err(too_much(waiter.bytes, limit_bytes))));
            } else {
                state.waiting.push_back(waiter);
            }
        }
        state.grant();
    }

    /// Waits until `bytes` are free and all who asked before have theirs. More than the limit is an error at once.
    pub async fn acquire(&self, bytes: u64, cancel: &CancellationToken) -> Result<MemoryGrant> {
        let (id, granted) = {
            let mut state = self.inner.state.lock();
            if cancel.is_cancelled() {
                return Err(Error::Cancelled);
            }
            if bytes > state.limit {
                return Err(too_much(bytes, state.limit));
            }
            let (sender, receiver) = oneshot::channel();
            let id = state.next_id;
            state.next_id += 1;
            state.waiting.push_back(Waiter {
                id,
                bytes,
                granted: sender,
            });
            state.grant();
            (id, receiver)
        };
        // Leaves the queue, or gives back what was granted unseen, when this future is dropped or cancelled.
        let mut place = Place {
            budget: self,
            id,
            bytes,
            granted,
            taken: false,
        };
        let outcome = tokio::select! {
            biased;
            outcome = &mut place.granted => outcome,
            () = cancel.cancelled() => return Err(Error::Cancelled),
        };
        place.taken = true;
        match outcome {
            Ok(Ok(())) => Ok(MemoryGrant {
                budget: self.clone(),
                bytes,
            }),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(Error::Bug("a memory request was dropped unanswered".into())),
        }
    }

    fn release(&self, bytes: u64) {
        let mut state = self.inner.state.lock();
        state.held = state.held.saturating_sub(bytes);
        state.grant();
    }
}

impl std::fmt::Debug for MemoryBudget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.status().fmt(f)
    }
}

impl State {
    /// Gives those first in the queue what they asked for, as far as it goes.
    fn grant(&mut self) {
        while let Some(first) = self.waiting.front() {
            if self.held.saturating_add(first.bytes) > self.limit {
                break;
            }
            let Some(waiter) = self.waiting.pop_front() else {
                break;
            };
            // Who has gone meanwhile has left the queue already, or gives back in `Place::drop`.
            if waiter.granted.send(Ok(())).is_ok() {
                self.held += waiter.bytes;
                self.peak = self.peak.max(self.held);
            }
        }
        METRICS.memory_held.set(self.held as i64);
        METRICS.memory_peak.set(self.peak as i64);
        METRICS.memory_waiters.set(self.waiting.len() as i64);
    }
}

fn too_much(bytes: u64, limit: u64) -> Error {
    Error::BudgetTooSmall {
        what: "the work of one slot",
        needed: bytes,
        budget: limit,
    }
}

struct Place<'a> {
    budget: &'a MemoryBudget,
    id: u64,
    bytes: u64,
    granted: oneshot::Receiver<Result<()>>,
    taken: bool,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if self.taken {
            return;
        }
        let mut state = self.budget.inner.state.lock();
        state.waiting.retain(|waiter| waiter.id != self.id);
        if matches!(self.granted.try_recv(), Ok(Ok(()))) {
            state.held = state.held.saturating_sub(self.bytes);
        }
        state.grant();
    }
}

/// Bytes of a budget; given back when dropped.
#[derive(Debug)]
pub struct MemoryGrant {
    budget: MemoryBudget,
    bytes: u64,
}

impl MemoryGrant {
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Gives a part back early.
    pub fn shrink_to(&mut self, bytes: u64) {
        if bytes < self.bytes {
            self.budget.release(self.bytes - bytes);
            self.bytes = bytes;
        }
    }
}

impl Drop for MemoryGrant {
    fn drop(&mut self) {
        self.budget.release(self.bytes);
    }
}
