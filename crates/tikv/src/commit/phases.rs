//! The phases of a commit: prewrite, the primary, the rest; and the way back.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::stream::{FuturesUnordered, StreamExt};
use ilmenite_proto::kvrpcpb::{
    self, BatchRollbackRequest, CommitRequest, CommitRole, LockInfo, PrewriteRequest, PrewriteResponse,
};
use ilmenite_store::{Error, Result, Timestamp};

use super::check::{check_not_too_late, check_required};
use super::plan::Plan;
use crate::backoff::{Backoff, Pause};
use crate::cluster::Cluster;
use crate::key::MAX_ENTRY_BYTES;
use crate::key_error::to_error;
use crate::lock::Engine;
use crate::metrics::METRICS;
use crate::outcome::Outcome;
use crate::region::Batch;
use crate::registry::Txn;
use crate::resolve::{Met, Status};

/// Bytes of one prewrite, and so of a one-phase commit.
const PREWRITE_BYTES: usize = 256 << 10;
/// Bytes of keys in one commit or rollback request.
const KEYS_BYTES: usize = 64 << 10;
/// How long a commit that holds locks already waits for other commits' locks.
const LONGEST_STANDOFF: Duration = Duration::from_millis(1500);
/// Commit timestamps tried: readers may push one away.
const COMMIT_TIMESTAMPS: u32 = 20;
/// Of a transaction in a region whose size is not known: its locks are then not resolved one by one.
const UNKNOWN_TXN_SIZE: u64 = u64::MAX;

pub(super) struct Phases {
    engine: Arc<Engine>,
    txn: Arc<Txn>,
    plan: Arc<Plan>,
    backoff: Backoff,
    /// Indices of writes that may be locked in the store.
    touched: Vec<usize>,
    /// A one-phase commit was sent whose outcome we do not know.
    unknown: bool,
    rolled_back: bool,
}

enum Primary {
    Committed(Vec<Bytes>),
    /// A reader pushed the timestamp away.
    Pushed,
}

impl Phases {
    pub(super) fn new(engine: Arc<Engine>, txn: Arc<Txn>, plan: Plan) -> Self {
        let backoff = engine.cluster.backoff("commit");
        Phases {
            engine,
            txn,
            plan: Arc::new(plan),
            backoff,
            touched: Vec::new(),
            unknown: false,
            rolled_back: false,
        }
    }

    /// After an error: the store holds no trace of the attempt, so the transaction may try another way.
    pub(super) fn nothing_touched(&self) -> bool {
        !self.unknown && !self.rolled_back
    }

    fn cluster(&self) -> &Arc<Cluster> {
        &self.engine.cluster
    }

    pub(super) async fn run(&mut self) -> Result<Timestamp> {
        let prewritten = self.prewrite().await;
        let prewritten = match prewritten {
            Err(e) if self.unknown => match self.decide().await? {
                Outcome::Committed(ts) => Ok(Some(ts)),
                Outcome::RolledBack => Err(e),
            },
            other => other,
        };
        match prewritten {
            Ok(Some(commit_ts)) => {
                METRICS.commits.with_label_values(&["one_phase"]).inc();
                return Ok(commit_ts);
            }
            // A store that could not commit it in one phase left locks.
            Ok(None) => self.live(),
            Err(e) => {
                self.roll_back().await;
                return Err(e);
            }
        }
        match self.second_phase().await {
            Ok(commit_ts) => {
                METRICS.commits.with_label_values(&["two_phase"]).inc();
                Ok(commit_ts)
            }
            // What became of it decides the primary, for whoever asks.
            Err(e @ Error::Undetermined(_)) => Err(e),
            Err(e) => {
                self.roll_back().await;
                Err(e)
            }
        }
    }

    async fn group(&mut self, writes: Vec<usize>) -> Result<VecDeque<Batch<usize>>> {
        let plan = &self.plan;
        let of = |i: &usize| {
            let write = &plan.writes[*i];
            (write.key.clone(), write.bytes())
        };
        let cluster = self.engine.cluster.clone();
        let batches = cluster
            .regions
            .group(writes, of, PREWRITE_BYTES, &mut self.backoff)
            .await?;
        Ok(batches.into())
    }

    fn request(&self, writes: &[usize], one_phase: bool, retry: bool) -> PrewriteRequest {
        let plan = &self.plan;
        let pessimistic = plan.for_update_ts > Timestamp::ZERO;
        let of = |i: &usize| {
            let write = &plan.writes[*i];
            kvrpcpb::Mutation {
                op: write.op as i32,
                key: write.key.clone(),
                value: write.value.clone(),
                ..kvrpcpb::Mutation::default()
            }
        };
        PrewriteRequest {
            context: Some(kvrpcpb::Context {
                is_retry_request: retry,
                ..kvrpcpb::Context::default()
            }),
            mutations: writes.iter().map(of).collect(),
            primary_lock: plan.primary_key().clone(),
            start_version: self.txn.start_ts.0,
            lock_ttl: self.engine.ttl_ms(&self.txn),
            pessimistic_actions: match pessimistic {
                true => writes.iter().map(|i| plan.writes[*i].action as i32).collect(),
                false => Vec::new(),
            },
            txn_size: match writes.len() {
                n if n < 1000 => n as u64,
                _ => UNKNOWN_TXN_SIZE,
            },
            for_update_ts: plan.for_update_ts.0,
            min_commit_ts: plan.min_commit_ts.0,
            try_one_pc: one_phase,
            max_commit_ts: match (one_phase, plan.max_commit_ts) {
                (true, Some(ts)) => ts.0,
                _ => 0,
            },
            ..PrewriteRequest::default()
        }
    }

    /// Two phases may take long, so there must be signs of life.
    fn live(&self) {
        let primary = || self.plan.primary_key().clone();
        self.txn.locks.lock().primary.get_or_insert_with(primary);
        self.engine.start_heartbeat(&self.txn);
    }

    /// The commit timestamp if that was all; `None`: every key is locked now.
    async fn prewrite(&mut self) -> Result<Option<Timestamp>> {
        let cluster = self.engine.cluster.clone();
        let mut queue = self.group((0..self.plan.writes.len()).collect()).await?;
        let mut one_phase = queue.len() == 1 && self.plan.required.is_empty();
        if !one_phase {
            self.live();
        }
        let mut retry = false;
        let mut lock_waits = Duration::ZERO;
        let mut running = FuturesUnordered::new();
        loop {
            if queue.len() > 1 && one_phase {
                if self.unknown {
                    // As one piece it may have been committed: that must be known before it is taken apart.
                    return Err(Error::Unavailable(
                        "the region was split while the reply was lost".into(),
                    ));
                }
                one_phase = false;
                self.live();
            }
            while running.len() < cluster.options.concurrency.max(1)
                && let Some(batch) = queue.pop_front()
            {
                self.touched.extend(&batch.items);
                let request = self.request(&batch.items, one_phase, retry);
                let cluster = cluster.clone();
                running.push(async move {
                    let sent = cluster
                        .send(&batch.region, request, cluster.options.call_timeout)
                        .await;
                    (batch, sent)
                });
            }
            let Some((batch, sent)) = running.next().await else {
                return Ok(None);
            };
            let mut writes = batch.items;
            match sent {
                Ok(answer) => {
                    let locks = self.prewritten(&writes, &answer)?;
                    if answer.one_pc_commit_ts > 0 {
                        return Ok(Some(Timestamp(answer.one_pc_commit_ts)));
                    }
                    if locks.is_empty() {
                        continue;
                    }
                    // Two commits may each hold what the other needs. One that holds nothing yet is in nobody's way.
                    let began = Instant::now();
                    for lock in locks {
                        // The younger one gives way first.
                        let longest = match lock.lock_version < self.txn.start_ts.0 {
                            true => LONGEST_STANDOFF / 5,
                            false => LONGEST_STANDOFF,
                        };
                        let may_wait = self.touched.is_empty() || lock_waits < longest;
                        self.meet(&lock, may_wait).await?;
                    }
                    lock_waits += began.elapsed();
                }
                Err(failure) => {
                    if failure.outcome_unknown() {
                        retry = true;
                        self.unknown |= one_phase;
                    }
                    if failure.too_large().is_some() && writes.len() > 1 {
                        let rest = writes.split_off(writes.len() / 2);
                        queue.extend(self.group(rest).await?);
                        queue.extend(self.group(writes).await?);
                        continue;
                    }
                    cluster.react(&batch.region, &failure, &mut self.backoff).await?;
                }
            }
            queue.extend(self.group(writes).await?);
        }
    }

    /// What a store answered to a prewrite: the locks in its way.
    fn prewritten(&mut self, writes: &[usize], answer: &PrewriteResponse) -> Result<Vec<LockInfo>> {
        if answer.errors.is_empty() {
            return Ok(Vec::new());
        }
        // It is one command: with an error none of it was done.
        if !self.unknown {
            self.touched.retain(|i| !writes.contains(i));
        }
        let mut locks = Vec::new();
        for e in &answer.errors {
            match &e.locked {
                Some(lock) => locks.push(lock.clone()),
                None => return Err(to_error(e.clone(), self.txn.start_ts)),
            }
        }
        Ok(locks)
    }

    /// Another transaction's lock: never waited for when it is a pessimistic one; a commit under way ends by itself.
    async fn meet(&mut self, lock: &LockInfo, may_wait: bool) -> Result<()> {
        let met = self
            .engine
            .cluster
            .meet_for_write(lock, &mut self.backoff)
            .await?;
        let Met::Alive {
            start_ts,
            pessimistic,
        } = met
        else {
            return Ok(());
        };
        let conflict = Error::WriteConflict {
            key: lock.key.to_vec(),
            start_ts: self.txn.start_ts,
            conflict_ts: start_ts,
        };
        if pessimistic || !may_wait {
            METRICS.conflicts.with_label_values(&["write_conflict"]).inc();
            return Err(conflict);
        }
        self.backoff.wait(Pause::Lock, "lock", conflict).await
    }

    /// Every key is locked: takes the commit timestamp, checks what must hold at it, commits.
    async fn second_phase(&mut self) -> Result<Timestamp> {
        for _ in 0..COMMIT_TIMESTAMPS {
            let commit_ts = self.cluster().timestamp().await?;
            check_not_too_late(commit_ts, self.plan.max_commit_ts)?;
            check_required(self.cluster(), &self.plan.required, commit_ts, self.txn.start_ts).await?;
            match self.commit_primary(commit_ts).await? {
                Primary::Committed(done) => {
                    self.commit_rest(done, commit_ts).await;
                    return Ok(commit_ts);
                }
                Primary::Pushed => {
                    let why =
                        Error::Unavailable("readers push the commit timestamp away again and again".into());
                    self.backoff.wait(Pause::Lock, "commit_ts_pushed", why).await?;
                }
            }
        }
        Err(Error::Unavailable(
            "readers pushed the commit timestamp away again and again".into(),
        ))
    }

    /// Commits the primary and those that happen to lie in its region.
    async fn commit_primary(&mut self, commit_ts: Timestamp) -> Result<Primary> {
        let cluster = self.engine.cluster.clone();
        // A budget of its own: what was prewritten should not fail for the time that took.
        let mut backoff = cluster.backoff("commit of the primary");
        let mut unknown = false;
        let failed = loop {
            let region = match cluster
                .regions
                .locate(self.plan.primary_key(), &mut backoff)
                .await
            {
                Ok(region) => region,
                Err(e) => break e,
            };
            let keys = self.keys_near_primary(|key| region.contains(key));
            let request = self.commit_request(keys.clone(), commit_ts, CommitRole::Primary);
            match cluster.send(&region, request, cluster.options.call_timeout).await {
                Ok(answer) => match answer.error {
                    None => return Ok(Primary::Committed(keys)),
                    Some(e) if e.commit_ts_expired.is_some() => return Ok(Primary::Pushed),
                    // The lock is gone, and it was not committed: somebody rolled it back.
                    Some(e) => return Err(to_error(*e, self.txn.start_ts)),
                },
                Err(failure) => {
                    unknown |= failure.outcome_unknown();
                    if let Err(e) = cluster.react(&region, &failure, &mut backoff).await {
                        break e;
                    }
                }
            }
        };
        if !unknown {
            return Err(failed);
        }
        match self.decide().await? {
            Outcome::Committed(_) => Ok(Primary::Committed(vec![self.plan.primary_key().clone()])),
            Outcome::RolledBack => Err(failed),
        }
    }

    fn keys_near_primary(&self, near: impl Fn(&[u8]) -> bool) -> Vec<Bytes> {
        let primary = self.plan.primary_key();
        let mut keys = vec![primary.clone()];
        let mut bytes = primary.len();
        for write in &self.plan.writes {
            if write.key != primary && near(&write.key) {
                bytes += write.key.len() + 32;
                if bytes > KEYS_BYTES {
                    break;
                }
                keys.push(write.key.clone());
            }
        }
        keys
    }

    fn commit_request(&self, keys: Vec<Bytes>, commit_ts: Timestamp, role: CommitRole) -> CommitRequest {
        CommitRequest {
            start_version: self.txn.start_ts.0,
            keys,
            commit_version: commit_ts.0,
            commit_role: role as i32,
            primary_key: self.plan.primary_key().clone(),
            ..CommitRequest::default()
        }
    }

    /// Replies were lost: asks the primary what became of the transaction, and if nothing did, sees to it that nothing
    /// will. An error means that nobody could be asked, so nobody knows.
    async fn decide(&mut self) -> Result<Outcome> {
        let primary = self.plan.primary_key().clone();
        let own = LockInfo {
            primary_lock: primary.clone(),
            lock_version: self.txn.start_ts.0,
            key: primary,
            ..LockInfo::default()
        };
        let cluster = self.engine.cluster.clone();
        let mut backoff = cluster.backoff("asking for the outcome of a commit");
        match cluster
            .txn_status(&own, Timestamp::ZERO, true, &mut backoff)
            .await
        {
            Ok(Status::Ended(outcome)) => Ok(outcome),
            Ok(Status::Alive { .. }) => Err(Error::Undetermined(
                "the store would neither commit nor roll back".into(),
            )),
            Err(e) => Err(Error::Undetermined(e.to_string())),
        }
    }

    async fn commit_rest(&mut self, done: Vec<Bytes>, commit_ts: Timestamp) {
        let mut done = done;
        done.sort_unstable();
        let writes = self.plan.writes.iter();
        let rest: Vec<Bytes> = writes
            .map(|w| &w.key)
            .filter(|key| done.binary_search(key).is_err())
            .cloned()
            .collect();
        if rest.is_empty() {
            return;
        }
        let request = self.commit_request(Vec::new(), commit_ts, CommitRole::Secondary);
        let cluster = self.engine.cluster.clone();
        let start_ts = self.txn.start_ts;
        let work = async move {
            let mut backoff = cluster.backoff("commit of secondaries");
            let make = |keys: &[Bytes]| CommitRequest {
                keys: keys.to_vec(),
                ..request.clone()
            };
            let take = |_, answer: kvrpcpb::CommitResponse| {
                std::future::ready(match answer.error {
                    Some(e) => Err(to_error(*e, start_ts)),
                    None => Ok(Vec::new()),
                })
            };
            // The transaction is committed: what stays locked is resolved by whoever meets it.
            if let Err(e) = cluster.by_keys(rest, KEYS_BYTES, &mut backoff, make, take).await {
                tracing::warn!(error = %e, %start_ts, "committing secondary keys failed");
            }
        };
        self.cluster().in_background(work).await;
    }

    /// Takes back what may have been prewritten, in the background. What that misses runs out.
    async fn roll_back(&mut self) {
        let mut touched = std::mem::take(&mut self.touched);
        touched.sort_unstable();
        touched.dedup();
        if touched.is_empty() {
            return;
        }
        self.rolled_back = true;
        let keys: Vec<Bytes> = touched
            .into_iter()
            .map(|i| self.plan.writes[i].key.clone())
            .collect();
        let cluster = self.engine.cluster.clone();
        let start_version = self.txn.start_ts.0;
        let work = async move {
            let mut backoff = cluster.backoff("rollback");
            let make = |keys: &[Bytes]| BatchRollbackRequest {
                start_version,
                keys: keys.to_vec(),
                ..BatchRollbackRequest::default()
            };
            let take = |_, answer: kvrpcpb::BatchRollbackResponse| {
                std::future::ready(match answer.error {
                    Some(e) => Err(to_error(*e, Timestamp(start_version))),
                    None => Ok(Vec::new()),
                })
            };
            if let Err(e) = cluster.by_keys(keys, KEYS_BYTES, &mut backoff, make, take).await {
                tracing::warn!(error = %e, start_ts = start_version, "rolling back failed; the locks will run out");
            }
        };
        self.cluster().in_background(work).await;
    }
}

const _: () = assert!(PREWRITE_BYTES < MAX_ENTRY_BYTES);
