//! The metadata lock: which open transactions go by which version of which table.
//!
//! A transaction pins a table before it touches it; it then goes by that version of it to its end. The owner of schema
//! changes waits until nobody goes by an older one. A pin is made under the mutex of its transaction, and against the
//! view that is the newest at that moment. Whoever looks for old pins has made the new view visible before, and takes
//! each transaction's mutex: so either it sees a pin, or that pin was made against the new view.

use std::sync::Arc;
use std::time::Duration;

use ilmenite_store::{CommitOptions, StoreRef, Timestamp};
use tokio::time::Instant;

use crate::error::{Error, Result};
use crate::local::Local;
use crate::pins::{Cell, Holding, Pin};
use crate::{SchemaView, TableId, TableRef};

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

/// The tables a connection's open transaction goes by. Dropping it lets go of all.
pub struct TransactionPins {
    local: Arc<Local>,
    cell: Arc<Cell>,
}

impl TransactionPins {
    pub(crate) fn new(local: Arc<Local>, connection_id: u64, user: Arc<str>) -> Self {
        let cell = local.pins.begin(connection_id, user);
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
        self.local.pins.end(&self.cell);
    }
}
