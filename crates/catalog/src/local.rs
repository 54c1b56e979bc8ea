//! What transactions see of this node without going to the store: the newest view, the lease, each other's pins.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use ilmenite_store::{CommitOptions, Durability, Timestamp};

use crate::SchemaView;
use crate::clock::Clock;
use crate::pins::PinTable;

#[derive(Debug)]
pub(crate) struct Local {
    pub view: ArcSwap<SchemaView>,
    pub pins: PinTable,
    pub lease: Lease,
}

impl Local {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Local {
            view: ArcSwap::from_pointee(SchemaView::empty()),
            pins: PinTable::new(),
            lease: Lease {
                clock,
                live_until: AtomicU64::new(0),
                end: AtomicU64::new(0),
                incarnation: AtomicU64::new(1),
            },
        }
    }
}

/// The node's lease as the node knows it. What counts in the end is the store's time: no commit is made after `end`.
/// The local clock only says when trying has become pointless.
#[derive(Debug)]
pub(crate) struct Lease {
    clock: Arc<dyn Clock>,
    /// Nanoseconds by that clock; 0 when not live.
    live_until: AtomicU64,
    /// In store time.
    end: AtomicU64,
    /// Counts how often other nodes may have taken this one for dead.
    incarnation: AtomicU64,
}

impl Lease {
    pub(crate) fn clock(&self) -> Duration {
        self.clock.now()
    }

    /// `asked`: a moment before the timestamp was taken that the lease counts from.
    pub(crate) fn renewed(&self, asked: Duration, lease: Duration, end: Timestamp) {
        let until = asked + lease;
        self.end.store(end.0, Ordering::SeqCst);
        self.live_until.store(until.as_nanos() as u64, Ordering::SeqCst);
    }

    pub(crate) fn lost(&self) {
        self.live_until.store(0, Ordering::SeqCst);
    }

    pub(crate) fn is_live(&self) -> bool {
        (self.clock.now().as_nanos() as u64) < self.live_until.load(Ordering::SeqCst)
    }

    pub(crate) fn end(&self) -> Timestamp {
        Timestamp(self.end.load(Ordering::SeqCst))
    }

    pub(crate) fn incarnation(&self) -> u64 {
        self.incarnation.load(Ordering::SeqCst)
    }

    /// Transactions begun before must not commit.
    pub(crate) fn next_incarnation(&self) {
        self.incarnation.fetch_add(1, Ordering::SeqCst);
    }

    pub(crate) fn commit_options(&self) -> CommitOptions {
        CommitOptions {
            max_commit_ts: Some(self.end()),
            durability: Durability::Sync,
        }
    }
}
