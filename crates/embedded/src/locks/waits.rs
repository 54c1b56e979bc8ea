//! Who waits for whom. A request that would close a circle is refused.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use ahash::RandomState;
use bytes::Bytes;
use parking_lot::Mutex;

use crate::metrics::METRICS;
use ilmenite_store::{Error, Result, Timestamp};

/// A link of a circle of waiting transactions, or a wait as it stands.
#[derive(Debug, Clone)]
pub struct LockWait {
    pub waiter: Timestamp,
    pub holder: Timestamp,
    pub key: Bytes,
    pub waited: Duration,
}

struct Wait {
    waiter: Timestamp,
    holder: Timestamp,
    key: Bytes,
    since: Instant,
}

impl Wait {
    fn report(&self) -> LockWait {
        LockWait {
            waiter: self.waiter,
            holder: self.holder,
            key: self.key.clone(),
            waited: self.since.elapsed(),
        }
    }
}

/// For each waiting request, by its number: its transaction, and what it waits for.
#[derive(Default)]
pub(super) struct WaitGraph {
    waits: Mutex<HashMap<u64, Wait, RandomState>>,
}

impl WaitGraph {
    /// Request `id` of `waiter` waits for `holder`, unless that closed a circle.
    pub(super) fn add(&self, id: u64, waiter: Timestamp, holder: Timestamp, key: &Bytes) -> Result<()> {
        let mut waits = self.waits.lock();
        let mut frontier = vec![holder];
        let mut seen = vec![holder];
        while let Some(txn) = frontier.pop() {
            if txn == waiter {
                METRICS.deadlocks.inc();
                return Err(Error::Deadlock {
                    key: key.to_vec(),
                    waiting_for: holder,
                });
            }
            for wait in waits.values() {
                if wait.waiter == txn && !seen.contains(&wait.holder) {
                    seen.push(wait.holder);
                    frontier.push(wait.holder);
                }
            }
        }
        let before = waits.insert(
            id,
            Wait {
                waiter,
                holder,
                key: key.clone(),
                since: Instant::now(),
            },
        );
        debug_assert!(before.is_none(), "each request has a number of its own");
        Ok(())
    }

    /// The request gave up. `false`: it had got what it waited for.
    pub(super) fn remove(&self, id: u64) -> bool {
        self.waits.lock().remove(&id).is_some()
    }

    /// Request `id` is next: when `grant` could give it to `waiter`, the `others` wait for him from now on.
    pub(super) fn pass(
        &self,
        id: u64,
        waiter: Timestamp,
        grant: impl FnOnce() -> bool,
        others: impl Iterator<Item = u64>,
    ) -> bool {
        let mut waits = self.waits.lock();
        let next = waits.remove(&id);
        debug_assert!(
            next.is_some_and(|next| next.waiter == waiter),
            "whoever is in a queue is in the graph"
        );
        let granted = grant();
        if granted {
            for other in others {
                let wait = waits.get_mut(&other);
                debug_assert!(wait.is_some(), "whoever is in a queue is in the graph");
                if let Some(wait) = wait {
                    wait.holder = waiter;
                }
            }
        }
        granted
    }

    /// All waits there are.
    pub(super) fn all(&self) -> Vec<LockWait> {
        self.waits.lock().values().map(Wait::report).collect()
    }

    /// The circle that a request of `waiter` for what `holder` holds would close, from the request on.
    pub(super) fn circle(&self, waiter: Timestamp, holder: Timestamp, key: &Bytes) -> Vec<LockWait> {
        let waits = self.waits.lock();
        let mut chain = vec![LockWait {
            waiter,
            holder,
            key: key.clone(),
            waited: Duration::ZERO,
        }];
        // Depth first; what leads nowhere is taken back.
        let mut seen = vec![holder];
        while let Some(last) = chain.last() {
            let at = last.holder;
            if at == waiter {
                break;
            }
            match waits
                .values()
                .find(|w| w.waiter == at && (w.holder == waiter || !seen.contains(&w.holder)))
            {
                Some(next) => {
                    seen.push(next.holder);
                    chain.push(next.report());
                }
                None => {
                    chain.pop();
                }
            }
        }
        chain
    }
}
