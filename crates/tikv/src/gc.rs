//! Garbage collection: what holds it back, and who moves the safe point.
//!
//! PD keeps the safe point, which stores collect behind, and *service safe points*, one to a service with a time to live;
//! nobody may move the safe point past the least of them.
//!
//! - **A node** registers `ilmenite/node/<uuid>` at the oldest timestamp that somebody on it may still read at: of its
//!   transactions, unless they are too old, and of its ingests; at the present when there are none. The registration
//!   outlives the node by two minutes.
//! - **A hold** (`set_gc_hold`) is a service safe point `ilmenite/hold/<id>` without end and a row under
//!   `i/gc/cluster/hold/`. PD
//!   has no list of services, so the row is what `gc_holds` reads. The service safe point is set first and removed last:
//!   should a crash come between the two, garbage is kept too long and never too short. Such an orphan shows when it is
//!   the least of all services, which every round is told: a hold seen so twice without a row is removed.
//! - **A round** is made by whichever node finds that the last one is `gc_interval` ago, and gets the row
//!   `i/gc/cluster/round` for itself: it takes now less the life time, bounded by the rows of holds and by all services (asked for by setting the
//!   service `gc_worker`, as TiDB does), resolves every lock that began before it, and only then moves the safe point.
//! - **Where a TiDB runs** on the same cluster, it moves the safe point itself and minds our services. A safe point that
//!   moved without us makes every node leave the rounds alone.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ilmenite_base::rng;
use ilmenite_proto::kvrpcpb::{LockInfo, ScanLockRequest};
use ilmenite_store::{
    Check, CommitRequest, Error, GcHold, KeyRange, KvBatch, Mutation, Result, Scan, ScanOptions, Timestamp,
};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::cluster::Cluster;
use crate::key;
use crate::key_error::to_error;
use crate::lock::Engine;
use crate::metrics::METRICS;
use crate::resolve::Status;
use crate::scan::TikvScan;

/// Not the embedded engine's rows, which an `ilmenite store` has too, for the services it is told of.
const HOLD_PREFIX: &[u8] = b"i/gc/cluster/hold/";
const ROUND_KEY: &[u8] = b"i/gc/cluster/round";
const HOLD_SERVICE: &str = "ilmenite/hold/";
const NODE_SERVICE: &str = "ilmenite/node/";
/// The service in whose name the safe point is moved; PD expects it to be there for ever.
const WORKER_SERVICE: &str = "gc_worker";
const NODE_TTL_SECONDS: i64 = 120;
const LOCKS_PER_PAGE: u32 = 1024;

/// The row that says who made the last round.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Round {
    node: String,
    /// When it began, and the safe point it reached (0: not yet).
    began: Timestamp,
    safe_point: Timestamp,
}

pub(crate) struct Gc {
    engine: Arc<Engine>,
    /// Of this node, for PD and the round's row.
    node: String,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The last safe point PD told.
    safe_point: Timestamp,
    /// The hold that was the least of all services in the last round, and has no row.
    orphan: Option<String>,
}

fn hold_key(id: &str) -> Bytes {
    [HOLD_PREFIX, id.as_bytes()].concat().into()
}

fn encode<T: Serialize>(value: &T) -> Result<Bytes> {
    serde_json::to_vec(value)
        .map(Bytes::from)
        .map_err(|e| Error::Bug(e.to_string()))
}

fn decode<T: for<'d> Deserialize<'d>>(key: &[u8], raw: &[u8]) -> Result<T> {
    serde_json::from_slice(raw).map_err(|e| Error::Damaged {
        path: String::from_utf8_lossy(key).into_owned(),
        detail: format!("a row that does not decode: {e}"),
    })
}

impl Gc {
    pub(crate) fn new(engine: Arc<Engine>) -> Self {
        Gc {
            engine,
            node: uuid::Builder::from_random_bytes(rng::bytes())
                .into_uuid()
                .to_string(),
            state: Mutex::default(),
        }
    }

    fn cluster(&self) -> &Arc<Cluster> {
        &self.engine.cluster
    }

    /// Runs until the store closes. The first turn comes after an interval: what begins until then is younger than the
    /// life time of old versions.
    pub(crate) async fn run(self: Arc<Self>) {
        let interval = self.cluster().options.gc_interval;
        let stop = self.cluster().stop.clone();
        loop {
            tokio::select! {
                _ = stop.cancelled() => break,
                _ = tokio::time::sleep(interval) => {}
            }
            tokio::select! {
                _ = stop.cancelled() => break,
                _ = self.once() => {}
            }
        }
        // Best effort: it runs out by itself.
        let service = format!("{NODE_SERVICE}{}", self.node);
        let gone = self
            .cluster()
            .pd
            .update_service_safe_point(&service, Timestamp::ZERO, 0);
        let _ = tokio::time::timeout(Duration::from_millis(500), gone).await;
    }

    async fn once(&self) {
        if let Err(e) = self.register().await {
            tracing::warn!(error = %e, "registering what this node reads failed");
        }
        if self.cluster().options.gc
            && let Err(e) = self.round(false).await
        {
            tracing::warn!(error = %e, "a round of garbage collection failed");
        }
    }

    /// Tells PD what this node still needs, and learns the safe point.
    pub(crate) async fn register(&self) -> Result<()> {
        let cluster = self.cluster();
        self.engine
            .registry
            .end_older_than(cluster.options.max_transaction_age);
        let now = cluster.timestamp().await?;
        let oldest = self.engine.registry.oldest().unwrap_or(now).min(now);
        let service = format!("{NODE_SERVICE}{}", self.node);
        cluster
            .pd
            .update_service_safe_point(&service, oldest, NODE_TTL_SECONDS)
            .await?;
        self.refresh().await?;
        Ok(())
    }

    /// The safe point as PD has it now.
    pub(crate) async fn refresh(&self) -> Result<Timestamp> {
        let safe_point = self.cluster().pd.gc_safe_point().await?;
        let mut state = self.state.lock();
        state.safe_point = state.safe_point.max(safe_point);
        Ok(state.safe_point)
    }

    /// By the safe point as last heard of, which is at most `gc_interval` old: whoever moves it stays the life time away
    /// from the present.
    pub(crate) fn check_readable(&self, ts: Timestamp) -> Result<()> {
        let safe_point = self.state.lock().safe_point;
        if ts < safe_point {
            return Err(Error::SnapshotTooOld { ts, safe_point });
        }
        Ok(())
    }

    pub(crate) async fn set_hold(&self, hold: GcHold) -> Result<()> {
        let too_old = |safe_point| Error::SnapshotTooOld {
            ts: hold.ts,
            safe_point,
        };
        let safe_point = self.refresh().await?;
        if hold.ts < safe_point {
            return Err(too_old(safe_point));
        }
        let service = format!("{HOLD_SERVICE}{}", hold.id);
        let cluster = self.cluster();
        let least = cluster
            .pd
            .update_service_safe_point(&service, hold.ts, i64::MAX)
            .await?;
        if least.safe_point > hold.ts {
            return Err(too_old(least.safe_point));
        }
        // A round that had asked before may have moved it meanwhile.
        let safe_point = self.refresh().await?;
        if hold.ts < safe_point {
            return Err(too_old(safe_point));
        }
        self.write(hold_key(&hold.id), Some(encode(&hold)?), Check::None)
            .await
    }

    pub(crate) async fn release_hold(&self, id: &str) -> Result<()> {
        self.write(hold_key(id), None, Check::None).await?;
        let service = format!("{HOLD_SERVICE}{id}");
        let cluster = self.cluster();
        cluster
            .pd
            .update_service_safe_point(&service, Timestamp::ZERO, 0)
            .await?;
        Ok(())
    }

    pub(crate) async fn holds(&self) -> Result<Vec<GcHold>> {
        let ts = self.cluster().timestamp().await?;
        let range = KeyRange::prefix(HOLD_PREFIX);
        let mut scan = TikvScan::new(self.cluster().clone(), range, ts, ScanOptions::default());
        let mut batch = KvBatch::new();
        let mut holds = Vec::new();
        while scan.next_batch(&mut batch).await? {
            for (key, value) in batch.iter() {
                holds.push(decode(key, value)?);
            }
        }
        Ok(holds)
    }

    async fn write(&self, key: Bytes, value: Option<Bytes>, check: Check) -> Result<()> {
        let start_ts = self.cluster().timestamp().await?;
        self.write_at(start_ts, key, value, check).await
    }

    async fn write_at(
        &self,
        start_ts: Timestamp,
        key: Bytes,
        value: Option<Bytes>,
        check: Check,
    ) -> Result<()> {
        let request = CommitRequest {
            start_ts,
            mutations: vec![Mutation { key, value, check }],
            ..CommitRequest::default()
        };
        let written = self.engine.commit(request).await;
        if written.is_err() {
            self.engine.registry.end(start_ts);
        }
        written.map(drop)
    }

    /// A round, if one is due (`now`: in any case). Returns the safe point it moved to.
    pub(crate) async fn round(&self, now: bool) -> Result<Option<Timestamp>> {
        let cluster = self.cluster();
        let began = cluster.timestamp().await?;
        let row = cluster.get(ROUND_KEY, began, Default::default()).await?;
        let last: Option<Round> = row.map(|raw| decode(ROUND_KEY, &raw)).transpose()?;
        let before = self.refresh().await?;
        if let Some(last) = &last {
            let since = Duration::from_millis(began.millis().saturating_sub(last.began.millis()));
            if !now && since < cluster.options.gc_interval {
                return Ok(None);
            }
            // Somebody else moves it, and knows transactions that we do not.
            if !now && before > last.safe_point && last.safe_point > Timestamp::ZERO {
                tracing::debug!(safe_point = %before, "the safe point is moved by another client of the cluster");
                return Ok(None);
            }
        } else if before > Timestamp::ZERO && !now {
            return Ok(None);
        }
        let mut round = Round {
            node: self.node.clone(),
            began,
            safe_point: last.map_or(Timestamp::ZERO, |l| l.safe_point).max(before),
        };
        // Whoever writes it first makes the round.
        let claimed = self
            .write_at(
                began,
                Bytes::from_static(ROUND_KEY),
                Some(encode(&round)?),
                Check::Unchanged,
            )
            .await;
        match claimed {
            Ok(()) => {}
            Err(Error::WriteConflict { .. }) => return Ok(None),
            Err(e) => return Err(e),
        }
        let Some(safe_point) = self.advance(began, before).await? else {
            return Ok(None);
        };
        round.safe_point = safe_point;
        self.write(Bytes::from_static(ROUND_KEY), Some(encode(&round)?), Check::None)
            .await?;
        METRICS.gc_rounds.inc();
        Ok(Some(safe_point))
    }

    async fn advance(&self, now: Timestamp, before: Timestamp) -> Result<Option<Timestamp>> {
        let cluster = self.cluster();
        let life = cluster.options.gc_life_time.as_millis() as u64;
        let mut target = Timestamp::from_millis(now.millis().saturating_sub(life));
        let holds = self.holds().await?;
        for hold in &holds {
            target = target.min(hold.ts);
        }
        if target <= before {
            return Ok(None);
        }
        let least = cluster
            .pd
            .update_service_safe_point(WORKER_SERVICE, target, i64::MAX)
            .await?;
        self.look_for_orphan(&least.service_id, &holds).await?;
        let target = target.min(least.safe_point);
        if target <= before {
            return Ok(None);
        }
        self.resolve_before(target).await?;
        let reached = cluster.pd.update_gc_safe_point(target).await?;
        let mut state = self.state.lock();
        state.safe_point = state.safe_point.max(reached);
        Ok(Some(reached))
    }

    /// The least of all services is a hold: it should have a row.
    async fn look_for_orphan(&self, service_id: &str, holds: &[GcHold]) -> Result<()> {
        let orphan = service_id
            .strip_prefix(HOLD_SERVICE)
            .filter(|id| holds.iter().all(|hold| hold.id != *id));
        let before = std::mem::replace(&mut self.state.lock().orphan, orphan.map(str::to_owned));
        if let (Some(id), Some(before)) = (orphan, before)
            && id == before
        {
            tracing::warn!(
                id,
                "a hold on garbage collection that nobody knows of any more is removed"
            );
            let pd = &self.cluster().pd;
            pd.update_service_safe_point(service_id, Timestamp::ZERO, 0)
                .await?;
        }
        Ok(())
    }

    /// Ends every transaction that began at or before `safe_point` and left locks: what is committed must be seen to be,
    /// before the record of it may be collected.
    async fn resolve_before(&self, safe_point: Timestamp) -> Result<()> {
        let cluster = self.cluster();
        let mut start = Bytes::new();
        loop {
            let mut backoff = cluster.backoff("resolving old locks");
            let region = cluster.regions.locate(&start, &mut backoff).await?;
            let request = ScanLockRequest {
                max_version: safe_point.0,
                start_key: start.clone(),
                end_key: region.end.clone(),
                limit: LOCKS_PER_PAGE,
                ..ScanLockRequest::default()
            };
            let answer = match cluster.send(&region, request, cluster.options.call_timeout).await {
                Ok(answer) => answer,
                Err(failure) => {
                    cluster.react(&region, &failure, &mut backoff).await?;
                    continue;
                }
            };
            if let Some(e) = answer.error {
                return Err(to_error(*e, safe_point));
            }
            let full = answer.locks.len() >= LOCKS_PER_PAGE as usize;
            let last = answer.locks.last().map(|lock| lock.key.clone());
            let mut by_txn: BTreeMap<u64, Vec<LockInfo>> = BTreeMap::new();
            for lock in answer.locks {
                by_txn.entry(lock.lock_version).or_default().push(lock);
            }
            for locks in by_txn.into_values() {
                let status = cluster
                    .txn_status(&locks[0], Timestamp::ZERO, true, &mut backoff)
                    .await?;
                if let Status::Ended(outcome) = status {
                    cluster.clear_locks(&locks, outcome, &mut backoff).await?;
                }
            }
            start = match last {
                Some(last) if full => key::after(&last),
                _ if region.end.is_empty() => return Ok(()),
                _ => region.end.clone(),
            };
        }
    }
}
