//! The metadata lock: which open transactions go by which version of which table.
//!
//! A transaction pins a table before it touches it; it then goes by that version of it to its end. The owner of schema
//! changes waits until nobody goes by an older one. A pin is made under the mutex of its transaction, and against the
//! view that is the newest at that moment. Whoever looks for old pins has made the new view visible before, and takes
//! each transaction's mutex: so either it sees a pin, or that pin was made against the new view.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use ilmenite_store::{CommitOptions, StoreRef, Timestamp};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::error::{Error, Result};
use crate::local::Local;
use crate::{SchemaVersion, SchemaView, TableId, TableRef};

/// Transactions are spread over so many maps, so that beginning one rarely waits for another.
const SHARDS: usize = 32;

/// Between two attempts to end a transaction of unknown outcome.
const LINGER_PAUSE: Duration = Duration::from_millis(100);

/// What `TransactionPins::pin` says.
#[derive(Debug, Clone)]
pub enum Pinned {
    /// Go by this to the end of the transaction.
    As(TableRef),
    /// The table changed, or went, since the caller's view was taken: resolve its name again in the newest one. It is
    /// not pinned.
    Changed,
}

/// A transaction, or a node, that a schema change waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blocker {
    /// The node's id.
    pub node: String,
    /// 0: it is the node itself that has not answered yet.
    pub connection_id: u64,
    pub user: String,
    /// The statement it runs, or ran last.
    pub statement: String,
    /// Since the transaction's first pin, in milliseconds; for a node, how long it has been waited for.
    pub age_ms: u64,
    /// The table it holds.
    pub table_id: TableId,
    /// `schema.table`
    pub table: String,
}

#[derive(Debug)]
struct Pin {
    table: TableRef,
    version: SchemaVersion,
}

#[derive(Debug)]
struct Holding {
    user: Arc<str>,
    statement: Arc<str>,
    /// When the first of the pins was made.
    since: Option<Instant>,
    pins: Vec<Pin>,
    /// The incarnation of the node the first pin was made in.
    incarnation: u64,
}

#[derive(Debug)]
struct Cell {
    id: u64,
    connection_id: u64,
    holding: Mutex<Holding>,
}

/// A transaction that goes by an old version of a table.
#[derive(Debug, Clone)]
pub(crate) struct Holder {
    pub connection_id: u64,
    pub user: Arc<str>,
    /// What it runs now, or ran last.
    pub statement: Arc<str>,
    /// Since the transaction's first pin.
    pub age: Duration,
    pub table: TableRef,
}

/// Every open transaction of the node.
#[derive(Debug)]
pub(crate) struct PinTable {
    shards: Vec<Mutex<BTreeMap<u64, Arc<Cell>>>>,
    next_id: AtomicU64,
    /// Those who want to be told when pins go.
    waiters: AtomicUsize,
    gone: Notify,
}

impl PinTable {
    pub fn new() -> Self {
        PinTable {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            next_id: AtomicU64::new(0),
            waiters: AtomicUsize::new(0),
            gone: Notify::new(),
        }
    }

    fn shard(&self, id: u64) -> &Mutex<BTreeMap<u64, Arc<Cell>>> {
        &self.shards[id as usize % SHARDS]
    }

    /// Who goes by a version of one of `tables` older than `version`, the longest-running first.
    pub fn holders_older_than(&self, tables: &[TableId], version: SchemaVersion) -> Vec<Holder> {
        if tables.is_empty() {
            return Vec::new();
        }
        let mut holders = Vec::new();
        for shard in &self.shards {
            for cell in shard.lock().values() {
                let holding = cell.holding.lock();
                let old = holding
                    .pins
                    .iter()
                    .filter(|pin| pin.version < version && tables.contains(&pin.table.id));
                holders.extend(old.map(|pin| Holder {
                    connection_id: cell.connection_id,
                    user: holding.user.clone(),
                    statement: holding.statement.clone(),
                    age: holding.since.map_or(Duration::ZERO, |s| s.elapsed()),
                    table: pin.table.clone(),
                }));
            }
        }
        holders.sort_by_key(|h| std::cmp::Reverse(h.age));
        holders
    }

    /// Is any transaction open that pinned something?
    pub fn any(&self) -> bool {
        self.shards.iter().any(|shard| {
            shard
                .lock()
                .values()
                .any(|cell| !cell.holding.lock().pins.is_empty())
        })
    }

    /// Pins that go are told of as long as the guard lives.
    pub fn watch(&self) -> Watch<'_> {
        self.waiters.fetch_add(1, Ordering::SeqCst);
        Watch { table: self }
    }

    /// Completes when a transaction let go after this call. To be called under a guard of `watch`, and before looking
    /// at the holders, so that none that goes in between is missed.
    pub fn gone(&self) -> impl Future<Output = ()> + '_ {
        // Registered at its creation, not at its first poll: `notify_waiters` reaches it from here on.
        self.gone.notified()
    }

    fn tell(&self) {
        if self.waiters.load(Ordering::SeqCst) > 0 {
            self.gone.notify_waiters();
        }
    }
}

pub(crate) struct Watch<'a> {
    table: &'a PinTable,
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        self.table.waiters.fetch_sub(1, Ordering::SeqCst);
    }
}

/// The tables a connection's open transaction goes by. Dropping it lets go of all.
pub struct TransactionPins {
    local: Arc<Local>,
    cell: Arc<Cell>,
}

impl TransactionPins {
    pub(crate) fn new(local: Arc<Local>, connection_id: u64, user: Arc<str>) -> Self {
        let id = local.pins.next_id.fetch_add(1, Ordering::Relaxed);
        let cell = Arc::new(Cell {
            id,
            connection_id,
            holding: Mutex::new(Holding {
                user,
                statement: "".into(),
                since: None,
                pins: Vec::new(),
                incarnation: 0,
            }),
        });
        local.pins.shard(id).lock().insert(id, cell.clone());
        TransactionPins { local, cell }
    }

    /// What the transaction does now, for whoever has to wait for it.
    pub fn set_statement(&self, statement: Arc<str>) {
        self.cell.holding.lock().statement = statement;
    }

    pub fn set_user(&self, user: &str) {
        self.cell.holding.lock().user = user.into();
    }

    /// Pins `table`, found in `view`, until `clear`. Pinned before, it stays as it is, whatever `view` says.
    pub fn pin(&mut self, view: &SchemaView, table: TableId) -> Pinned {
        let mut holding = self.cell.holding.lock();
        if let Some(pin) = holding.pins.iter().find(|pin| pin.table.id == table) {
            return Pinned::As(pin.table.clone());
        }
        // Read before the view: should the node join again in between, the view is the newer for it.
        let incarnation = self.local.lease.incarnation();
        let newest = self.local.view.load();
        let Some(now) = newest.table_by_id(table) else {
            return Pinned::Changed;
        };
        let same = |seen: &TableRef| Arc::ptr_eq(seen, now) || seen == now;
        if newest.version() != view.version() && !view.table_by_id(table).is_some_and(same) {
            return Pinned::Changed;
        }
        if holding.pins.is_empty() {
            holding.incarnation = incarnation;
            holding.since = Some(Instant::now());
        }
        holding.pins.push(Pin {
            table: now.clone(),
            version: newest.version(),
        });
        Pinned::As(now.clone())
    }

    /// Has the node been taken for dead since the first pin? Then others went on without it, and the transaction must
    /// not commit.
    pub fn lease_was_lost(&self) -> bool {
        let holding = self.cell.holding.lock();
        self.outlived(&holding)
    }

    fn outlived(&self, holding: &Holding) -> bool {
        !holding.pins.is_empty() && holding.incarnation != self.local.lease.incarnation()
    }

    /// The version of a table the transaction goes by, when it pinned it.
    pub fn pinned(&self, table: TableId) -> Option<TableRef> {
        let holding = self.cell.holding.lock();
        let pin = holding.pins.iter().find(|pin| pin.table.id == table);
        pin.map(|pin| pin.table.clone())
    }

    /// What the transaction must commit with: the store refuses it once the node's lease has ended.
    /// Errors: `LeaseLost`, when it must roll back.
    pub fn commit_options(&self) -> Result<CommitOptions> {
        let holding = self.cell.holding.lock();
        // The lease's end first: read after the check, it could be that of a later incarnation.
        let options = self.local.lease.commit_options();
        if !self.local.lease.is_live() || self.outlived(&holding) {
            return Err(Error::LeaseLost);
        }
        Ok(options)
    }

    /// Nobody knows whether the transaction's commit has taken effect, and it may yet: a request that was given up can
    /// still be under way. So its tables stay pinned until it is ended for certain, or until the store would refuse it
    /// (`limit`, its `max_commit_ts`). What comes next on the connection begins with nothing pinned.
    pub fn linger(&mut self, store: &StoreRef, start_ts: Timestamp, limit: Option<Timestamp>) {
        let user = self.cell.holding.lock().user.clone();
        let fresh = TransactionPins::new(self.local.clone(), self.cell.connection_id, user);
        let kept = std::mem::replace(self, fresh);
        let store = store.clone();
        tokio::spawn(async move {
            while store.unlock(start_ts, None).await.is_err() {
                let now = store.timestamp().await;
                if now.is_ok_and(|now| limit.is_some_and(|limit| now > limit)) {
                    break;
                }
                tokio::time::sleep(LINGER_PAUSE).await;
            }
            drop(kept);
        });
    }

    /// The transaction has ended: lets go of all.
    pub fn clear(&mut self) {
        let mut holding = self.cell.holding.lock();
        if holding.pins.is_empty() {
            return;
        }
        holding.pins.clear();
        holding.since = None;
        drop(holding);
        self.local.pins.tell();
    }
}

impl Drop for TransactionPins {
    fn drop(&mut self) {
        let removed = self.local.pins.shard(self.cell.id).lock().remove(&self.cell.id);
        drop(removed);
        self.local.pins.tell();
    }
}
