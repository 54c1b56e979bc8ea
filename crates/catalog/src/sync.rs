//! The owner's wait after each step of a schema change: until every live node has the new version, and no transaction
//! anywhere still works with the old one on the tables it changed.
//!
//! This node answers from memory. For the others the owner puts down `i/mdl/<job>`; each of them reports into
//! `i/sync/<job>/<node>`: the version once it holds, or who is in the way. Neither row outlives its purpose, so they
//! are written without waiting for the disk.

use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::error::{Error, Result};
use crate::node::{put_relaxed, scan_prefix};
use crate::{Blocker, Catalog, SchemaVersion, TableId, metrics};

const REQUESTS: &[u8] = b"i/mdl/";
const REPORTS: &[u8] = b"i/sync/";
/// How often the owner reads what other nodes report.
const REPORT_POLL: Duration = Duration::from_millis(20);
/// The safety net below being woken, and how often the list of blockers is refreshed.
const LOCAL_POLL: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Request {
    version: SchemaVersion,
    tables: Vec<TableId>,
    /// The owner's node: it needs no report of its own.
    owner: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Report {
    /// Held from here on; 0 while `blockers` are in the way.
    version: SchemaVersion,
    blockers: Vec<Blocker>,
}

fn request_key(job: i64) -> Bytes {
    [REQUESTS, &job.to_be_bytes()].concat().into()
}

fn report_key(job: i64, node: &str) -> Bytes {
    [REPORTS, &job.to_be_bytes(), b"/", node.as_bytes()]
        .concat()
        .into()
}

fn json<T: Serialize>(value: &T) -> Result<Bytes> {
    serde_json::to_vec(value)
        .map(Bytes::from)
        .map_err(|e| Error::Damaged(e.to_string()))
}

fn parse<'a, T: Deserialize<'a>>(raw: &'a [u8]) -> Result<T> {
    serde_json::from_slice(raw).map_err(|e| Error::Damaged(e.to_string()))
}

impl Catalog {
    /// Returns once every live node holds `version` and no transaction uses an older one of `tables`.
    /// `on_blocked` hears who is in the way, at first and whenever that changes; an empty list when nobody is any more.
    pub async fn wait_synced(
        &self,
        job: i64,
        version: SchemaVersion,
        tables: &[TableId],
        cancel: &CancellationToken,
        mut on_blocked: impl FnMut(Vec<Blocker>) + Send,
    ) -> Result<()> {
        let timer = metrics::MDL_WAIT_SECONDS.start_timer();
        let others = self.other_nodes().await?;
        if !others.is_empty() {
            let request = Request {
                version,
                tables: tables.to_vec(),
                owner: self.node_id().to_string(),
            };
            self.put_relaxed(vec![(request_key(job), Some(json(&request)?))])
                .await?;
        }
        let mut told: Vec<Blocker> = Vec::new();
        let mut tell = |blockers: Vec<Blocker>| {
            let same = blockers.len() == told.len()
                && blockers.iter().zip(&told).all(|(a, b)| {
                    (&a.node, a.connection_id, a.table_id, &a.statement)
                        == (&b.node, b.connection_id, b.table_id, &b.statement)
                });
            if !same {
                told = blockers.clone();
                on_blocked(blockers);
            }
        };
        self.wait_here(version, tables, cancel, &mut tell).await?;
        if !others.is_empty() {
            self.wait_others(job, version, cancel, &mut tell).await?;
            let mut rows = vec![(request_key(job), None)];
            let (_, reports) = scan_prefix(self.store(), &[REPORTS, &job.to_be_bytes()].concat()).await?;
            rows.extend(reports.into_iter().map(|(key, _)| (key, None)));
            self.put_relaxed(rows).await?;
        }
        tell(Vec::new());
        timer.observe_duration();
        Ok(())
    }

    async fn wait_here(
        &self,
        version: SchemaVersion,
        tables: &[TableId],
        cancel: &CancellationToken,
        tell: &mut (impl FnMut(Vec<Blocker>) + Send),
    ) -> Result<()> {
        while self.view().version() < version {
            self.refresh().await?;
        }
        let waiter = self.mdl.waiter();
        loop {
            let released = waiter.released();
            let blockers = self.mdl.older_than(tables, version, self.node_id());
            if blockers.is_empty() {
                return Ok(());
            }
            tell(blockers);
            tokio::select! {
                _ = cancel.cancelled() => return Err(Error::Cancelled),
                _ = released => {}
                _ = tokio::time::sleep(LOCAL_POLL) => {}
            }
        }
    }

    async fn wait_others(
        &self,
        job: i64,
        version: SchemaVersion,
        cancel: &CancellationToken,
        tell: &mut (impl FnMut(Vec<Blocker>) + Send),
    ) -> Result<()> {
        loop {
            // A node that came later reports like the rest: it reads the request within its own poll.
            let others = self.other_nodes().await?;
            let (_, rows) = scan_prefix(self.store(), &[REPORTS, &job.to_be_bytes()].concat()).await?;
            let mut waiting = false;
            let mut blockers = Vec::new();
            for node in others
                .iter()
                .filter(|n| !has_reported(&rows, job, &n.id, version))
            {
                waiting = true;
                if let Some((_, raw)) = rows.iter().find(|(key, _)| *key == report_key(job, &node.id)) {
                    blockers.extend(parse::<Report>(raw)?.blockers);
                }
            }
            if !waiting {
                return Ok(());
            }
            tell(blockers);
            tokio::select! {
                _ = cancel.cancelled() => return Err(Error::Cancelled),
                _ = tokio::time::sleep(REPORT_POLL) => {}
            }
        }
    }

    /// The other side: loads what is new and answers every owner's request that this node can answer.
    pub(crate) async fn answer_requests(&self) -> Result<()> {
        self.refresh().await?;
        let me = self.node_id().to_string();
        let (_, requests) = scan_prefix(self.store(), REQUESTS).await?;
        let mut rows = Vec::new();
        for (key, raw) in requests {
            let request: Request = parse(&raw)?;
            let Some(job) = key
                .strip_prefix(REQUESTS)
                .and_then(|k| k.try_into().ok())
                .map(i64::from_be_bytes)
            else {
                return Err(Error::Damaged(format!("key {key:?}")));
            };
            if request.owner == me || self.view().version() < request.version {
                continue;
            }
            let blockers = self.mdl.older_than(&request.tables, request.version, &me);
            let version = if blockers.is_empty() { request.version } else { 0 };
            let report = json(&Report { version, blockers })?;
            let key = report_key(job, &me);
            if self
                .store()
                .get(&key, self.store().timestamp().await?)
                .await?
                .as_ref()
                != Some(&report)
            {
                rows.push((key, Some(report)));
            }
        }
        if !rows.is_empty() {
            self.put_relaxed(rows).await?;
        }
        Ok(())
    }

    async fn put_relaxed(&self, rows: Vec<(Bytes, Option<Bytes>)>) -> Result<()> {
        put_relaxed(self.store(), rows, Some(self.lease_end())).await
    }
}

/// Has the node reported the version?
fn has_reported(rows: &[(Bytes, Bytes)], job: i64, node: &str, version: SchemaVersion) -> bool {
    rows.iter()
        .find(|(key, _)| *key == report_key(job, node))
        .and_then(|(_, raw)| parse::<Report>(raw).ok())
        .is_some_and(|report| report.version >= version)
}
