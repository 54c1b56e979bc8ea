//! Garbage collection: which versions somebody may still read, and when the others are removed.
//!
//! The safe point is the oldest timestamp anybody may read at. It follows the clock at the distance of the life time,
//! but never passes a hold, an ingest under way, or a transaction that began and has not ended (unless it is older
//! than any may grow). It is stored before it takes effect, so that a restart does not bring back old snapshots.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::keyspaces::Keyspaces;
use crate::meta;
use crate::shutdown::Shutdown;
use crate::sweep::sweep;
use crate::transactions::Transactions;
use ilmenite_store::{Error, Result, Timestamp};

/// A GC hold as it is kept and stored: `GcHold`, and when it ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct GcHoldRow {
    pub id: String,
    pub ts: Timestamp,
    /// Store time at which it ends by itself; `None`: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until_ms: Option<u64>,
}

impl GcHoldRow {
    pub(crate) fn has_ended(&self, now_ms: u64) -> bool {
        self.until_ms.is_some_and(|until| until <= now_ms)
    }
}

#[derive(Default)]
struct State {
    /// By their ids.
    holds: BTreeMap<String, GcHoldRow>,
    ingests: BTreeMap<u64, Timestamp>,
    next_ingest: u64,
}

pub(crate) struct Gc {
    life: Duration,
    max_transaction_age: Duration,
    state: Mutex<State>,
    safe_point: AtomicU64,
    /// Where a client wants the safe point to go; zero: it follows the clock.
    goal: AtomicU64,
    /// One round at a time.
    round: Mutex<()>,
}

impl Gc {
    pub(crate) fn new(
        life: Duration,
        max_transaction_age: Duration,
        safe_point: Timestamp,
        goal: Timestamp,
    ) -> Self {
        Gc {
            life,
            max_transaction_age,
            state: Mutex::default(),
            safe_point: AtomicU64::new(safe_point.0),
            goal: AtomicU64::new(goal.0),
            round: Mutex::new(()),
        }
    }

    pub(crate) fn safe_point(&self) -> Timestamp {
        Timestamp(self.safe_point.load(Ordering::SeqCst))
    }

    /// To be called after a snapshot of the engine is taken: then what it needs is still in it.
    pub(crate) fn check_readable(&self, ts: Timestamp) -> Result<()> {
        let safe_point = self.safe_point();
        if ts < safe_point {
            return Err(Error::SnapshotTooOld { ts, safe_point });
        }
        Ok(())
    }

    pub(crate) fn goal(&self) -> Timestamp {
        Timestamp(self.goal.load(Ordering::SeqCst))
    }

    /// The caller has stored it.
    pub(crate) fn raise_goal(&self, ts: Timestamp) {
        self.goal.fetch_max(ts.0, Ordering::SeqCst);
    }

    /// Ingests under way.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn ingests(&self) -> usize {
        self.state.lock().ingests.len()
    }

    /// Keeps versions at `ts` until `end_ingest`.
    pub(crate) fn begin_ingest(&self, ts: Timestamp) -> Result<u64> {
        let mut state = self.state.lock();
        self.check_readable(ts)?;
        let id = state.next_ingest;
        state.next_ingest += 1;
        state.ingests.insert(id, ts);
        Ok(id)
    }

    pub(crate) fn end_ingest(&self, id: u64) {
        let ended = self.state.lock().ingests.remove(&id);
        debug_assert!(ended.is_some(), "an ingest ends once");
    }

    /// Makes the hold effective; the caller then stores it. Returns the one it replaces.
    pub(crate) fn set_hold(&self, hold: GcHoldRow) -> Result<Option<GcHoldRow>> {
        let mut state = self.state.lock();
        self.check_readable(hold.ts)?;
        Ok(state.holds.insert(hold.id.clone(), hold))
    }

    /// Puts back what `set_hold` replaced, or was stored.
    pub(crate) fn restore_hold(&self, id: &str, before: Option<GcHoldRow>) {
        let mut state = self.state.lock();
        match before {
            Some(hold) => state.holds.insert(id.to_owned(), hold),
            None => state.holds.remove(id),
        };
    }

    /// By id.
    pub(crate) fn holds(&self) -> Vec<GcHoldRow> {
        self.state.lock().holds.values().cloned().collect()
    }

    /// Moves the safe point as far as it may go.
    fn advance(&self, keyspaces: &Keyspaces, transactions: &Transactions, now_ms: u64) -> Result<Timestamp> {
        let ago = |age: Duration| Timestamp::from_millis(now_ms.saturating_sub(age.as_millis() as u64));
        let mut state = self.state.lock();
        let current = self.safe_point();
        debug_assert!(
            state.ingests.values().all(|ts| *ts >= current),
            "versions that an ingest lies under may be gone"
        );
        state.holds.retain(|_, hold| !hold.has_ended(now_ms));
        let wanted = match self.goal() {
            Timestamp::ZERO => ago(self.life),
            goal => goal,
        };
        let target = [
            Some(wanted),
            transactions.oldest(ago(self.max_transaction_age)),
            state.holds.values().map(|hold| hold.ts).min(),
            state.ingests.values().min().copied(),
        ]
        .into_iter()
        .flatten()
        .min()
        .unwrap_or_default();
        if target <= current {
            return Ok(current);
        }
        keyspaces
            .meta
            .insert(meta::GC_SAFE_POINT, target.0.to_be_bytes())
            .map_err(|e| keyspaces.map_error(e))?;
        self.safe_point.store(target.0, Ordering::SeqCst);
        Ok(target)
    }

    /// One round: moves the safe point and sweeps the keyspaces where it pays (`any`: all that have any garbage).
    /// Returns how many versions were removed.
    pub(crate) fn run(
        &self,
        keyspaces: &Keyspaces,
        transactions: &Transactions,
        now_ms: u64,
        any: bool,
        shutdown: &Shutdown,
    ) -> Result<u64> {
        let _round = self.round.lock();
        let safe_point = self.advance(keyspaces, transactions, now_ms)?;
        let mut removed = 0;
        for keyspace in keyspaces.all() {
            let in_all = keyspace.inner.approximate_len() as u64;
            if keyspace.garbage.due(safe_point, in_all, any) {
                removed += sweep(keyspaces, &keyspace, safe_point, shutdown)?;
            }
            if shutdown.has_begun() {
                break;
            }
        }
        Ok(removed)
    }
}
