//! The pins of all open transactions of a node, and who of them is in the way of a schema change.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::{SchemaVersion, TableId, TableRef};

/// Transactions are spread over so many maps, so that beginning one rarely waits for another.
const SHARDS: usize = 32;

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
pub(crate) struct Pin {
    pub table: TableRef,
    pub version: SchemaVersion,
}

/// What a transaction holds, for whoever waits for it.
#[derive(Debug)]
pub(crate) struct Holding {
    pub user: Arc<str>,
    pub statement: Arc<str>,
    /// When the first of the pins was made.
    pub since: Option<Instant>,
    pub pins: Vec<Pin>,
    /// The incarnation of the node the first pin was made in.
    pub incarnation: u64,
}

/// An open transaction.
#[derive(Debug)]
pub(crate) struct Cell {
    id: u64,
    pub connection_id: u64,
    pub holding: Mutex<Holding>,
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
    pub(crate) fn new() -> Self {
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

    /// Another open transaction, with nothing pinned yet.
    pub(crate) fn begin(&self, connection_id: u64, user: Arc<str>) -> Arc<Cell> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
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
        self.shard(id).lock().insert(id, cell.clone());
        cell
    }

    /// It has ended.
    pub(crate) fn end(&self, cell: &Cell) {
        let removed = self.shard(cell.id).lock().remove(&cell.id);
        drop(removed);
        self.tell();
    }

    /// Who goes by a version of one of `tables` older than `version`, the longest-running first.
    pub(crate) fn holders_older_than(&self, tables: &[TableId], version: SchemaVersion) -> Vec<Holder> {
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
    pub(crate) fn any(&self) -> bool {
        self.shards.iter().any(|shard| {
            shard
                .lock()
                .values()
                .any(|cell| !cell.holding.lock().pins.is_empty())
        })
    }

    /// Pins that go are told of as long as the guard lives.
    pub(crate) fn watch(&self) -> Watch<'_> {
        self.waiters.fetch_add(1, Ordering::SeqCst);
        Watch { table: self }
    }

    /// Completes when a transaction let go after this call. To be called under a guard of `watch`, and before looking
    /// at the holders, so that none that goes in between is missed.
    pub(crate) fn gone(&self) -> impl Future<Output = ()> + '_ {
        // Registered at its creation, not at its first poll: `notify_waiters` reaches it from here on.
        self.gone.notified()
    }

    /// A transaction let go of its pins.
    pub(crate) fn tell(&self) {
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
