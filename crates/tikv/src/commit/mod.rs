//! Commits: in one phase where everything lies in one region, in two otherwise.
//!
//! **Checks** become what TiKV checks at prewrite. A key the transaction holds a lock on must still be locked by it
//! (`DO_PESSIMISTIC_CHECK`); for the others `Unchanged` is the optimistic check against the start timestamp, `None` skips
//! it (`SKIP_PESSIMISTIC_CHECK`, for which the transaction counts as a pessimistic one), and `MustNotExist` is an `Insert`.
//! Locked keys that are not written are prewritten as `Op::Lock`, so that a lock the store lost is found.
//!
//! **Preconditions** are on keys that the transaction does not write and that many share (the owner's row guards every
//! step of every job). A lock on such a key would make all of them wait for, or conflict with, each other. Instead they
//! are read *at the commit timestamp*, between the two phases: all keys are prewritten; then the commit timestamp C is
//! taken; then the guarded keys are read at C; only if they are as required is the primary committed, with C. A snapshot
//! never changes: a version of a guarded key with a lesser timestamp that is still being committed is met as a lock by
//! this read, and either waited for or pushed past C; and whoever writes the key afterwards gets a timestamp greater
//! than C, because it asks for it later, or, where the store chooses it, because the read has told the store of C. So at
//! C the condition holds and the transaction's writes take effect, which is what atomic means; whoever changes the guard
//! later and reads these keys then meets the locks, and learns of the outcome or pushes C away: then the whole check is
//! made again with a new C. Sharers only read, so they never conflict.
//!
//! Where every precondition is on a key that the transaction writes (a row replaced as it was read), it is read once
//! beforehand, and the prewrite's own check, that the key has not changed since the start, takes care of the rest: one phase
//! is enough. If the key did change in between, to what is required, the way above is taken.
//!
//! **The lease's end** (`max_commit_ts`) goes with a one-phase commit, where the store compares it; in two phases it is
//! compared with the timestamp before the primary is committed. A store that cannot meet it in one phase leaves ordinary
//! locks, which are then rolled back here.
//!
//! A commit runs in a task of its own: a caller that stops waiting does not leave half of it behind.

mod check;
mod phases;
mod plan;

use std::sync::Arc;

use ilmenite_store::{CommitRequest, Error, Result, Timestamp};

use crate::lock::Engine;
use crate::metrics::METRICS;
use crate::registry::Txn;
use check::{check_not_too_late, check_required};
use plan::Plan;

impl Engine {
    pub(crate) async fn commit(self: &Arc<Self>, request: CommitRequest) -> Result<Timestamp> {
        plan::check(&request, self.cluster.options.max_transaction_bytes)?;
        let engine = self.clone();
        let committing = self.cluster.background.spawn(async move {
            let txn = engine.registry.begin(request.start_ts);
            let _turn = txn.turn.lock().await;
            engine.commit_in_turn(&txn, request).await
        });
        let outcome = committing
            .await
            .unwrap_or_else(|e| Err(Error::Undetermined(format!("the commit's task ended: {e}"))));
        if let Err(e) = &outcome {
            let kind = match e {
                Error::PreconditionFailed { .. } => "precondition",
                Error::CommitTooLate { .. } => "too_late",
                _ => return outcome,
            };
            METRICS.conflicts.with_label_values(&[kind]).inc();
        }
        outcome
    }

    async fn commit_in_turn(self: &Arc<Self>, txn: &Arc<Txn>, request: CommitRequest) -> Result<Timestamp> {
        // Later than everything acknowledged before this commit began, and so will the commit be.
        let now = self.cluster.timestamp().await?;
        check_not_too_late(now, request.max_commit_ts)?;
        let plan = {
            let locks = txn.locks.lock();
            locks.check()?;
            Plan::new(request, &locks, now)?
        };
        if plan.writes.is_empty() {
            check_required(&self.cluster, &plan.required, now, txn.start_ts).await?;
            self.end_without_writes(txn).await;
            return Ok(now);
        }
        let outcome = self.commit_writes(txn, plan, now).await;
        match &outcome {
            Ok(_) => self.registry.end(txn.start_ts),
            // Locks stay until `unlock`.
            Err(_) => txn.forget_primary_without_locks(),
        }
        outcome
    }

    async fn commit_writes(
        self: &Arc<Self>,
        txn: &Arc<Txn>,
        plan: Plan,
        now: Timestamp,
    ) -> Result<Timestamp> {
        if let Some(quick) = plan.with_required_as_checks() {
            check_required(&self.cluster, &plan.required, now, txn.start_ts).await?;
            let mut phases = phases::Phases::new(self.clone(), txn.clone(), quick);
            match phases.run().await {
                Err(Error::WriteConflict { key, .. })
                    if phases.nothing_touched() && plan.required.iter().any(|r| r.key == key) => {}
                outcome => return outcome,
            }
        }
        phases::Phases::new(self.clone(), txn.clone(), plan).run().await
    }

    async fn end_without_writes(&self, txn: &Txn) {
        let (keys, for_update_ts) = {
            let locks = txn.locks.lock();
            let keys: Vec<_> = locks.keys.keys().cloned().collect();
            (keys, locks.greatest_for_update_ts())
        };
        txn.stop_heartbeat();
        if !keys.is_empty() {
            self.give_back(txn, for_update_ts, keys).await;
        }
        self.registry.end(txn.start_ts);
    }
}
