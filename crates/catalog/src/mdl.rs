//! The metadata lock: which version of which table each open transaction works with, so that a schema change can wait
//! for those that still use the old one, and name them.
//!
//! Pinning races with loading a new version. A pin is first put down and then checked against the newest view; a load
//! first publishes the view and then looks at the pins. With a full fence between the two halves on both sides, at
//! least one of them sees the other: either the pin notices the new version and is taken back, or the load finds the pin.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering, fence};
use std::sync::{Arc, Weak};
use std::time::Instant;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use crate::{SchemaVersion, SchemaView, TableId, TableRef};

/// A transaction that a schema change waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blocker {
    pub node: String,
    pub connection_id: u64,
    pub user: String,
    /// The statement it runs, or ran last.
    pub statement: String,
    /// Since the transaction's first pin, in milliseconds.
    pub age_ms: u64,
    /// The table it holds.
    pub table_id: TableId,
    pub table: String,
}

struct Pin {
    table: TableRef,
    /// The newest view's version when it was pinned.
    version: SchemaVersion,
}

struct Holder {
    connection_id: u64,
    user: Mutex<Arc<str>>,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    pins: Vec<Pin>,
    since: Option<Instant>,
    statement: Arc<str>,
}

/// All pins of a node.
pub(crate) struct Mdl {
    view: Arc<ArcSwap<SchemaView>>,
    holders: Mutex<Vec<Weak<Holder>>>,
    waiters: AtomicUsize,
    released: Notify,
    /// Counts losses of the lease: a transaction that began before one must not commit after it.
    pub lease_generation: AtomicU64,
}

impl Mdl {
    pub fn new(view: Arc<ArcSwap<SchemaView>>) -> Self {
        Mdl {
            view,
            holders: Mutex::default(),
            waiters: AtomicUsize::new(0),
            released: Notify::new(),
            lease_generation: AtomicU64::new(0),
        }
    }

    pub fn pins(self: &Arc<Self>, connection_id: u64, user: &str) -> TransactionPins {
        let holder = Arc::new(Holder {
            connection_id,
            user: Mutex::new(user.into()),
            inner: Mutex::new(Inner {
                statement: "".into(),
                ..Default::default()
            }),
        });
        let mut holders = self.holders.lock();
        // Amortised: dead entries are dropped whenever the list would grow.
        if holders.len() == holders.capacity() {
            holders.retain(|h| h.strong_count() > 0);
        }
        holders.push(Arc::downgrade(&holder));
        TransactionPins {
            mdl: self.clone(),
            holder,
            generation: None,
        }
    }

    /// Transactions that hold one of the tables as it was before `version`.
    pub fn older_than(&self, tables: &[TableId], version: SchemaVersion, node: &str) -> Vec<Blocker> {
        fence(Ordering::SeqCst);
        let holders: Vec<Arc<Holder>> = self.holders.lock().iter().filter_map(Weak::upgrade).collect();
        let mut blockers = Vec::new();
        for holder in holders {
            let inner = holder.inner.lock();
            for pin in inner
                .pins
                .iter()
                .filter(|p| p.version < version && tables.contains(&p.table.id))
            {
                blockers.push(Blocker {
                    node: node.to_string(),
                    connection_id: holder.connection_id,
                    user: holder.user.lock().to_string(),
                    statement: inner.statement.to_string(),
                    age_ms: inner.since.map_or(0, |s| s.elapsed().as_millis() as u64),
                    table_id: pin.table.id,
                    table: pin.table.name.original.clone(),
                });
            }
        }
        blockers
    }

    /// Registers as one who waits for pins to go: until dropped, every release wakes `wait`.
    pub fn waiter(&self) -> Waiter<'_> {
        self.waiters.fetch_add(1, Ordering::SeqCst);
        Waiter { mdl: self }
    }
}

pub(crate) struct Waiter<'a> {
    mdl: &'a Mdl,
}

impl Waiter<'_> {
    /// Create it before looking at the pins, await it after: then no release in between is missed.
    pub fn released(&self) -> tokio::sync::futures::Notified<'_> {
        self.mdl.released.notified()
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.mdl.waiters.fetch_sub(1, Ordering::SeqCst);
    }
}

/// What came of pinning a table.
#[derive(Debug, Clone)]
pub enum Pinned {
    /// The table as this transaction sees it from now on: the caller's, or what it had pinned before.
    As(TableRef),
    /// A newer version is in effect (or the table is gone): resolve it again in the newest view.
    Changed,
}

/// One connection's pins: those of its open transaction.
pub struct TransactionPins {
    mdl: Arc<Mdl>,
    holder: Arc<Holder>,
    /// The lease's generation at the first pin.
    generation: Option<u64>,
}

impl TransactionPins {
    /// Pins the table as it is in `view`, until `clear`.
    pub fn pin(&mut self, view: &SchemaView, table: TableId) -> Pinned {
        let Some(wanted) = view.table_by_id(table) else {
            return Pinned::Changed;
        };
        {
            let mut inner = self.holder.inner.lock();
            if let Some(pin) = inner.pins.iter().find(|p| p.table.id == table) {
                return Pinned::As(pin.table.clone());
            }
            if inner.since.is_none() {
                inner.since = Some(Instant::now());
            }
            inner.pins.push(Pin {
                table: wanted.clone(),
                version: view.version(),
            });
        }
        self.generation
            .get_or_insert_with(|| self.mdl.lease_generation.load(Ordering::SeqCst));
        fence(Ordering::SeqCst);
        let newest = self.mdl.view.load();
        let same = newest.version() == view.version()
            || newest
                .table_by_id(table)
                .is_some_and(|t| Arc::ptr_eq(t, wanted) || t == wanted);
        let mut inner = self.holder.inner.lock();
        let Some(at) = inner.pins.iter().position(|p| p.table.id == table) else {
            return Pinned::Changed;
        };
        if same {
            // The same table in a newer version: it holds up nothing that this version brought.
            inner.pins[at].version = newest.version();
            return Pinned::As(inner.pins[at].table.clone());
        }
        inner.pins.swap_remove(at);
        drop(inner);
        self.wake();
        Pinned::Changed
    }

    /// The table as pinned by this transaction, if it is.
    pub fn pinned(&self, table: TableId) -> Option<TableRef> {
        self.holder
            .inner
            .lock()
            .pins
            .iter()
            .find(|p| p.table.id == table)
            .map(|p| p.table.clone())
    }

    /// For whoever is told what it waits for.
    pub fn set_statement(&self, statement: Arc<str>) {
        self.holder.inner.lock().statement = statement;
    }

    pub fn set_user(&self, user: &str) {
        *self.holder.user.lock() = user.into();
    }

    /// Has the node lost its lease since the first pin? Then the transaction's view of the schema proves nothing.
    pub fn lease_was_lost(&self) -> bool {
        self.generation
            .is_some_and(|g| g != self.mdl.lease_generation.load(Ordering::SeqCst))
    }

    /// The transaction has ended.
    pub fn clear(&mut self) {
        self.generation = None;
        {
            let mut inner = self.holder.inner.lock();
            if inner.pins.is_empty() {
                return;
            }
            inner.pins.clear();
            inner.since = None;
        }
        self.wake();
    }

    fn wake(&self) {
        fence(Ordering::SeqCst);
        if self.mdl.waiters.load(Ordering::SeqCst) > 0 {
            self.mdl.released.notify_waiters();
        }
    }
}

impl Drop for TransactionPins {
    fn drop(&mut self) {
        self.clear();
    }
}
