//! Nodes and their leases, in store time.
//!
//! Each node has a row, `i/node/<id>`, with the end of its lease. Every commit of the node carries that end as
//! `max_commit_ts`, so the store itself refuses what comes too late: no clock of ours is trusted. Whoever waits for a
//! node waits at most until its lease has ended.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use fail::fail_point;
use ilmenite_store::{
    Check, CommitRequest, Durability, KeyRange, KvBatch, Mutation, ScanOptions, StoreRef, Timestamp,
};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::SchemaVersion;
use crate::error::{Error, Result};
use crate::metrics;

const PREFIX: &[u8] = b"i/node/";

/// What a node says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeInfo {
    pub id: String,
    /// `host:port` of the MySQL protocol.
    pub address: String,
    pub status_address: String,
    pub version: String,
    pub service_scope: String,
    /// Subtasks it runs at once.
    pub slots: u32,
    pub start_ms: u64,
    /// The schema version it has loaded.
    pub schema_version: SchemaVersion,
    pub lease_end: Timestamp,
}

fn key(id: &str) -> Bytes {
    [PREFIX, id.as_bytes()].concat().into()
}

/// This node's lease as it stands.
#[derive(Debug, Clone, Copy)]
struct Lease {
    end: Timestamp,
    /// By this process's own clock, counted from before the renewal was sent: earlier than the store's end, never later.
    valid_until: Instant,
}

pub(crate) struct Node {
    store: StoreRef,
    info: Mutex<NodeInfo>,
    lease: Mutex<Option<Lease>>,
    pub length: Duration,
}

impl Node {
    pub fn new(store: StoreRef, info: NodeInfo, length: Duration) -> Arc<Self> {
        Arc::new(Node {
            store,
            info: Mutex::new(info),
            lease: Mutex::default(),
            length,
        })
    }

    pub fn info(&self) -> NodeInfo {
        self.info.lock().clone()
    }

    pub fn edit(&self, edit: impl FnOnce(&mut NodeInfo)) {
        edit(&mut self.info.lock());
    }

    /// Zero before the first renewal: such commits are refused.
    pub fn lease_end(&self) -> Timestamp {
        self.lease.lock().map_or(Timestamp::ZERO, |l| l.end)
    }

    pub fn is_live(&self) -> bool {
        self.lease.lock().is_some_and(|l| Instant::now() < l.valid_until)
    }

    /// Writes the row with a new lease. The old lease stays what it is when that fails.
    pub async fn renew(&self) -> Result<()> {
        fail_point!("catalog_before_lease_renewal", |_| Err(Error::Store(
            ilmenite_store::Error::Unavailable("failpoint catalog_before_lease_renewal".into())
        )));
        let began = Instant::now();
        let end = self.store.timestamp().await?.plus(self.length);
        let info = {
            let mut info = self.info.lock();
            info.lease_end = end;
            info.clone()
        };
        let value = serde_json::to_vec(&info).map_err(|e| Error::Damaged(e.to_string()))?;
        // A write that arrives only after its own lease has ended says nothing any more.
        put_relaxed(&self.store, vec![(key(&info.id), Some(value.into()))], Some(end)).await?;
        *self.lease.lock() = Some(Lease {
            end,
            valid_until: began + self.length,
        });
        metrics::LEASE_RENEWALS.inc();
        Ok(())
    }

    /// Tells everyone at once that this node is gone.
    pub async fn retire(&self) -> Result<()> {
        *self.lease.lock() = None;
        let id = self.info().id;
        put_relaxed(&self.store, vec![(key(&id), None)], None).await
    }
}

/// Writes rows that mean nothing after a crash.
pub(crate) async fn put_relaxed(
    store: &StoreRef,
    rows: Vec<(Bytes, Option<Bytes>)>,
    max_commit_ts: Option<Timestamp>,
) -> Result<()> {
    let start_ts = store.begin_timestamp().await?;
    let mutations = rows
        .into_iter()
        .map(|(key, value)| Mutation {
            key,
            value,
            check: Check::None,
        })
        .collect();
    let request = CommitRequest {
        start_ts,
        mutations,
        max_commit_ts,
        durability: Durability::Relaxed,
        ..Default::default()
    };
    let committed = store.commit(request).await;
    if committed.is_err() {
        store.unlock(start_ts, None).await?;
    }
    committed?;
    Ok(())
}

/// All rows below a prefix, with the timestamp they were read at.
pub(crate) async fn scan_prefix(store: &StoreRef, prefix: &[u8]) -> Result<(Timestamp, Vec<(Bytes, Bytes)>)> {
    let ts = store.timestamp().await?;
    let mut scan = store.scan(KeyRange::prefix(prefix), ts, ScanOptions::default())?;
    let (mut batch, mut rows) = (KvBatch::new(), Vec::new());
    while scan.next_batch(&mut batch).await? {
        rows.extend(
            batch
                .iter()
                .map(|(k, v)| (Bytes::copy_from_slice(k), Bytes::copy_from_slice(v))),
        );
    }
    Ok((ts, rows))
}

/// Nodes whose lease has not ended, and the keys of those whose has.
pub(crate) async fn nodes(store: &StoreRef) -> Result<(Vec<NodeInfo>, Vec<Bytes>)> {
    let (now, rows) = scan_prefix(store, PREFIX).await?;
    let (mut live, mut dead) = (Vec::new(), Vec::new());
    for (key, value) in rows {
        let info: NodeInfo = serde_json::from_slice(&value).map_err(|e| Error::Damaged(e.to_string()))?;
        if info.lease_end > now {
            live.push(info);
        } else {
            dead.push(key);
        }
    }
    Ok((live, dead))
}

/// Removes the rows of all nodes: of an embedded store's earlier processes, none of which can be alive.
pub(crate) async fn remove_all(store: &StoreRef) -> Result<()> {
    let (_, rows) = scan_prefix(store, PREFIX).await?;
    if rows.is_empty() {
        return Ok(());
    }
    put_relaxed(
        store,
        rows.into_iter().map(|(key, _)| (key, None)).collect(),
        None,
    )
    .await
}

pub(crate) async fn remove(store: &StoreRef, keys: Vec<Bytes>) -> Result<()> {
    put_relaxed(store, keys.into_iter().map(|key| (key, None)).collect(), None).await
}
