//! Named locks of users: GET_LOCK and its kin. They belong to connections and to this node.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use ilmenite_error::Result;
use ilmenite_expr::{EvalContext, UserLocks};

/// How often a waiter looks whether its statement was told to stop.
const CANCEL_POLL: Duration = Duration::from_millis(50);

struct Held {
    connection: u64,
    /// A connection may take a lock it has again; it is free when given back as often.
    times: u32,
}

#[derive(Default)]
pub(crate) struct UserLockTable {
    held: Mutex<HashMap<String, Held>>,
    released: Condvar,
}

impl UserLockTable {
    /// Frees all locks of a connection; returns how many times it had taken any.
    pub(crate) fn release_all(&self, connection: u64) -> u64 {
        let mut held = self.held.lock();
        let mut times = 0;
        held.retain(|_, h| {
            let own = h.connection == connection;
            times += if own { u64::from(h.times) } else { 0 };
            !own
        });
        drop(held);
        self.released.notify_all();
        times
    }

    fn take(
        &self,
        name: &str,
        connection: u64,
        deadline: Option<Instant>,
        ctx: &EvalContext,
    ) -> Result<bool> {
        let mut held = self.held.lock();
        loop {
            match held.get_mut(name) {
                None => {
                    held.insert(name.to_string(), Held { connection, times: 1 });
                    return Ok(true);
                }
                Some(h) if h.connection == connection => {
                    h.times += 1;
                    return Ok(true);
                }
                Some(_) => {}
            }
            ctx.check_cancelled()?;
            let now = Instant::now();
            if deadline.is_some_and(|d| now >= d) {
                return Ok(false);
            }
            let wait = deadline.map_or(CANCEL_POLL, |d| CANCEL_POLL.min(d - now));
            self.released.wait_for(&mut held, wait);
        }
    }
}

impl UserLocks for UserLockTable {
    fn get(&self, name: &str, timeout_ms: i64, ctx: &EvalContext) -> Result<bool> {
        // Beyond a century is for ever.
        let deadline = u64::try_from(timeout_ms)
            .ok()
            .and_then(|ms| Instant::now().checked_add(Duration::from_millis(ms.min(100 * 365 * 86_400_000))));
        // Others on this thread of the runtime must go on, the holder of the lock among them.
        tokio::task::block_in_place(|| self.take(name, ctx.connection_id, deadline, ctx))
    }

    fn release(&self, name: &str, ctx: &EvalContext) -> Result<Option<bool>> {
        let mut held = self.held.lock();
        let released = match held.get_mut(name) {
            None => None,
            Some(h) if h.connection != ctx.connection_id => Some(false),
            Some(h) => {
                h.times -= 1;
                if h.times == 0 {
                    held.remove(name);
                }
                Some(true)
            }
        };
        drop(held);
        self.released.notify_all();
        Ok(released)
    }

    fn release_all(&self, ctx: &EvalContext) -> Result<u64> {
        Ok(UserLockTable::release_all(self, ctx.connection_id))
    }

    fn holder(&self, name: &str) -> Result<Option<u64>> {
        Ok(self.held.lock().get(name).map(|h| h.connection))
    }
}
