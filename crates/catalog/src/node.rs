//! The registry of nodes, with a lease for each, in store time.
//!
//! A node writes its row anew well before its lease ends, and every commit it makes carries the lease's end as the
//! latest timestamp it may get. So once the store's time is past the end of a lease as it stands in the row, that node
//! changes nothing any more, whatever its clock says: nobody has to wait for it. A node that finds its lease ended
//! joins again: it writes its row, loads the schemas as they are after that, and only then lets transactions begin.

use std::sync::LazyLock;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use ilmenite_store::rows::{self, encode};
use ilmenite_store::{
    Check, CommitOptions, Durability, Error as StoreError, ScanOptions, StoreRef, Timestamp, Transaction,
    TxnMode,
};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::metrics::METRICS;
use crate::wake::Topic;
use crate::{Catalog, SchemaVersion, keys};

/// Tells rows of this process from those of earlier ones.
#[expect(
    clippy::disallowed_methods,
    reason = "drawn once a process, so it is not for a seed to say"
)]
static PROCESS: LazyLock<String> = LazyLock::new(|| uuid::Uuid::new_v4().to_string());

/// Where the nodes of other processes are that run at that time.
pub(crate) async fn running_nodes(store: &StoreRef, now: Timestamp) -> Result<Vec<String>> {
    // In an exclusive store rows of nodes are of processes that are over, or of this one.
    if store.exclusive() {
        return Ok(Vec::new());
    }
    let nodes = nodes_at(store, now).await?.into_iter();
    let of_others = nodes.filter(|node| node.is_live_at(now) && node.process != *PROCESS);
    Ok(of_others.map(|node| node.address).collect())
}

/// A node's row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeInfo {
    /// Unique for each start of a node.
    pub id: String,
    /// Where clients connect to, `host:port`.
    pub address: String,
    pub status_address: String,
    pub version: String,
    pub service_scope: String,
    /// See `CatalogConfig::local_id`.
    #[serde(default)]
    pub local_id: String,
    /// How many subtasks it can work on at once.
    pub slots: u32,
    /// Milliseconds since 1970, in store time.
    pub start_ms: u64,
    /// The newest it held at the last renewal: for people, nothing rests on it.
    pub schema_version: SchemaVersion,
    pub lease_end: Timestamp,
    process: String,
}

impl NodeInfo {
    pub(crate) fn is_live_at(&self, ts: Timestamp) -> bool {
        self.lease_end >= ts
    }
}

/// Where a node is reached.
#[derive(Debug, Clone)]
pub(crate) struct Addresses {
    pub mysql: String,
    pub status: String,
}

/// All rows, dead nodes' too, as of `ts`.
pub(crate) async fn nodes_at(store: &StoreRef, ts: Timestamp) -> Result<Vec<NodeInfo>> {
    let rows = rows::scan_at(store, keys::nodes(), ts, ScanOptions::default()).await?;
    Ok(rows.into_iter().map(|row| row.value).collect())
}

impl Catalog {
    /// This node's id: unique for each start.
    pub fn node_id(&self) -> &str {
        &self.node_id
    }

    /// See `CatalogConfig::local_id`.
    pub fn local_id(&self) -> &str {
        &self.config.local_id
    }

    pub fn service_scope(&self) -> String {
        self.service_scope.lock().clone()
    }

    /// Shows to other nodes with the next renewal, which this brings about at once.
    pub fn set_service_scope(&self, scope: &str) {
        *self.service_scope.lock() = scope.to_owned();
        self.renew_now.notify_one();
    }

    /// The ports are known only once they are bound. Shows to other nodes as `set_service_scope` does.
    pub fn set_addresses(&self, address: &str, status_address: &str) {
        *self.addresses.lock() = Addresses {
            mysql: address.to_owned(),
            status: status_address.to_owned(),
        };
        self.waking.announce_soon();
        self.renew_now.notify_one();
    }

    /// May this node write? False once its lease ended, until it has joined again.
    pub fn is_live(&self) -> bool {
        self.local.lease.is_live()
    }

    /// The store has refused a commit for the end of the lease, although this node took it to last: it slept, and its
    /// clock with it. Then it learns so, and joins again, at once.
    pub fn lease_refused(&self) {
        self.renew_now.notify_one();
    }

    /// Has the lease lasted until now, by the store's time? Then the schemas were not two versions on when something was
    /// read before this call. Errors: `LeaseLost`; the store's.
    pub async fn confirm_lease(&self) -> Result<()> {
        if self.store.exclusive() {
            return Ok(());
        }
        let now = self.store.timestamp().await?;
        if self.is_live() && now <= self.lease_end() {
            return Ok(());
        }
        self.lease_refused();
        Err(Error::LeaseLost)
    }

    /// The latest commit timestamp this node may get. Of a node that lost its lease, it lies in the past.
    pub fn lease_end(&self) -> Timestamp {
        self.local.lease.end()
    }

    /// For commits that rest on no table's definition; others take theirs from `TransactionPins`.
    /// Errors: `LeaseLost`.
    pub fn commit_options(&self) -> Result<CommitOptions> {
        if self.is_live() {
            Ok(self.local.lease.commit_options())
        } else {
            Err(Error::LeaseLost)
        }
    }

    /// The nodes whose lease has not ended, by id.
    pub async fn live_nodes(&self) -> Result<Vec<NodeInfo>> {
        let ts = self.store.timestamp().await?;
        let mut nodes = nodes_at(&self.store, ts).await?;
        nodes.retain(|node| node.is_live_at(ts));
        Ok(nodes)
    }

    /// The node's row as it is now.
    pub fn node_info(&self) -> NodeInfo {
        self.node_row(self.lease_end())
    }

    fn node_row(&self, lease_end: Timestamp) -> NodeInfo {
        let addresses = self.addresses.lock().clone();
        NodeInfo {
            id: self.node_id.clone(),
            address: addresses.mysql,
            status_address: addresses.status,
            version: self.config.version.clone(),
            service_scope: self.service_scope(),
            local_id: self.config.local_id.clone(),
            slots: self.config.slots,
            start_ms: self.start_ms,
            schema_version: self.local.view.load().version(),
            lease_end,
            process: PROCESS.clone(),
        }
    }

    /// Writes the node's row anew, and begins to take part. Transactions begun before are doomed, unless this node has
    /// been the owner all the time: then no schema changed but through it, and it waits for its own in any case.
    pub(crate) async fn join(&self) -> Result<()> {
        self.failpoint("catalog::renew::before")?;
        let asked = self.local.lease.clock();
        let mut txn = Transaction::begin(&self.store, TxnMode::Optimistic).await?;
        let now = txn.start_ts();
        if self.store.exclusive() {
            for node in nodes_at(&self.store, now).await? {
                if node.process != *PROCESS {
                    txn.delete(keys::node(&node.id), Check::Unchanged)?;
                }
            }
        }
        let term = self.owner.held();
        if let Some(term) = &term {
            let guard = term.guard();
            txn.require(guard.key, guard.value);
        }
        let end = now.plus(self.config.lease);
        txn.put(
            keys::node(&self.node_id),
            encode(&self.node_row(end))?,
            Check::Unchanged,
        )?;
        let relaxed = CommitOptions {
            durability: Durability::Relaxed,
            ..CommitOptions::default()
        };
        match txn.commit(relaxed).await {
            Ok(_) => {}
            Err(StoreError::PreconditionFailed { .. }) if term.is_some() => {
                self.owner.set(None);
                return Err(Error::NotOwner);
            }
            Err(e) => return Err(e.into()),
        }
        // Whoever changes schemas from here on sees the row and waits for us; what changed before is loaded now.
        self.refresh().await?;
        if term.is_none() {
            self.local.lease.next_incarnation();
        }
        self.local.lease.renewed(asked, self.config.lease, end);
        self.owner.announce();
        Ok(())
    }

    /// `LeaseLost` when it is too late.
    async fn renew(&self) -> Result<()> {
        self.failpoint("catalog::renew::before")?;
        let asked = self.local.lease.clock();
        let mut txn = Transaction::begin(&self.store, TxnMode::Optimistic).await?;
        let key = keys::node(&self.node_id);
        if txn.get(&key).await?.is_none() {
            // Taken for dead, and cleaned up after.
            return Err(Error::LeaseLost);
        }
        let end = txn.start_ts().plus(self.config.lease);
        txn.put(key, encode(&self.node_row(end))?, Check::Unchanged)?;
        let options = CommitOptions {
            // Not after others may have taken this node for dead.
            max_commit_ts: Some(self.lease_end()),
            durability: Durability::Relaxed,
        };
        match txn.commit(options).await {
            Ok(_) => {
                self.local.lease.renewed(asked, self.config.lease, end);
                METRICS.lease_renewals.inc();
                Ok(())
            }
            Err(StoreError::CommitTooLate { .. }) => Err(Error::LeaseLost),
            Err(e) => Err(e.into()),
        }
    }

    /// One round of the lease's task: renew, or join again. Returns how long to wait for the next.
    pub(crate) async fn keep_lease(&self) -> Duration {
        let lease = self.config.lease;
        let failed = if self.is_live() {
            match self.renew().await {
                Ok(()) => {
                    self.waking.shown();
                    return lease / 3;
                }
                Err(e) => {
                    METRICS.lease_renewals_failed.inc();
                    e
                }
            }
        } else {
            Error::LeaseLost
        };
        if !matches!(failed, Error::LeaseLost) {
            tracing::warn!(error = %failed, node = %self.node_id, "renewing the node's lease failed; trying again");
            return lease / 12;
        }
        self.local.lease.lost();
        self.owner.silence();
        if !self.lost_told.swap(true, Ordering::Relaxed) {
            METRICS.leases_lost.inc();
            tracing::error!(node = %self.node_id, "this node lost its lease: it refuses writes until it has joined again");
        }
        match self.join().await {
            Ok(()) => {
                self.wake_others(Topic::Nodes);
                self.lost_told.store(false, Ordering::Relaxed);
                tracing::info!(node = %self.node_id, "this node joined again");
                lease / 3
            }
            Err(e) => {
                tracing::warn!(error = %e, node = %self.node_id, "joining again failed; trying again");
                lease / 12
            }
        }
    }

    /// Removes the node's row, so that nobody waits for it, provided no transaction is open: one could still commit.
    pub(crate) async fn leave(&self) -> Result<()> {
        self.local.lease.lost();
        if self.local.pins.any() {
            return Ok(());
        }
        let mut txn = Transaction::begin(&self.store, TxnMode::Optimistic).await?;
        txn.delete(keys::node(&self.node_id), Check::Unchanged)?;
        let relaxed = CommitOptions {
            durability: Durability::Relaxed,
            ..CommitOptions::default()
        };
        txn.commit(relaxed).await?;
        Ok(())
    }

    /// The owner's: removes rows of nodes long dead. A node that comes back finds its row gone and joins again.
    pub(crate) async fn remove_dead_nodes(&self, guard: ilmenite_store::Precondition) -> Result<()> {
        let mut txn = Transaction::begin(&self.store, TxnMode::Optimistic).await?;
        let now = txn.start_ts();
        let dead: Vec<Bytes> = nodes_at(&self.store, now)
            .await?
            .into_iter()
            .filter(|node| node.lease_end.plus(self.config.lease * 10) < now)
            .map(|node| keys::node(&node.id))
            .collect();
        if dead.is_empty() {
            return Ok(());
        }
        for key in dead {
            txn.delete(key, Check::Unchanged)?;
        }
        txn.require(guard.key, guard.value);
        txn.commit(self.commit_options()?).await?;
        Ok(())
    }
}
