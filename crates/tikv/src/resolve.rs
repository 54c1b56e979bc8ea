//! Locks of other transactions, met by reads and writes: what became of their owner (its primary key tells), and their
//! removal when it ended.
//!
//! A reader never waits for a committed or rolled-back transaction's locks to be removed: it is told to read through
//! them or past them, and they are removed in the background. A lock whose owner gave no sign of life for its time to
//! live is rolled back.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ilmenite_proto::kvrpcpb::{
    Action, CheckSecondaryLocksRequest, CheckTxnStatusRequest, CheckTxnStatusResponse, LockInfo,
    MvccGetByKeyRequest, Op, PessimisticRollbackRequest, ResolveLockRequest,
};
use ilmenite_store::{Error, Result, Timestamp};

use crate::backoff::{Backoff, Pause};
use crate::cluster::Cluster;
use crate::metrics::METRICS;
use crate::outcome::Outcome;

/// Keys of one transaction in a region up to which they are resolved one by one, and not by going through the region.
const LITE_KEYS: u64 = 64;
/// Bytes of keys in one request.
const BATCH_BYTES: usize = 64 << 10;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    Ended(Outcome),
    Alive {
        left: Duration,
        /// It can no longer commit at or before the reader's timestamp.
        pushed: bool,
    },
}

/// What one reader at one timestamp has learned of transactions whose locks it met; goes with its requests.
#[derive(Debug, Clone, Default)]
pub(crate) struct ReadView {
    /// Read past their locks.
    pub resolved: Vec<u64>,
    /// Read through their locks.
    pub committed: Vec<u64>,
}

impl ReadView {
    fn knows(&self, start_ts: u64) -> bool {
        self.resolved.contains(&start_ts) || self.committed.contains(&start_ts)
    }
}

/// What a writer does about a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Met {
    /// It is gone.
    Cleared,
    Alive {
        start_ts: Timestamp,
        pessimistic: bool,
    },
}

pub(crate) fn is_pessimistic(lock: &LockInfo) -> bool {
    matches!(lock.lock_type(), Op::PessimisticLock | Op::SharedPessimisticLock)
}

fn locked(lock: &LockInfo) -> Error {
    Error::Unavailable(format!(
        "a key is locked by the transaction {}, which is still alive",
        lock.lock_version
    ))
}

/// The time a lock has left, seen from `now`.
fn time_left(start_ts: u64, ttl_ms: u64, now: Timestamp) -> Duration {
    let end = Timestamp(start_ts).millis().saturating_add(ttl_ms);
    Duration::from_millis(end.saturating_sub(now.millis()))
}

fn ended(answer: &CheckTxnStatusResponse) -> (Outcome, bool) {
    if answer.commit_version > 0 {
        return (Outcome::Committed(Timestamp(answer.commit_version)), true);
    }
    // A pessimistic lock that went leaves no trace, so its transaction may lock again: not to be remembered.
    let for_good = matches!(
        answer.action(),
        Action::NoAction | Action::LockNotExistRollback | Action::TtlExpireRollback
    );
    (Outcome::RolledBack, for_good)
}

impl Cluster {
    /// What became of the transaction that owns `lock`. `reader`: whom it must not get in the way of any more (zero for
    /// a writer). `force`: it is to end now, alive or not.
    pub(crate) async fn txn_status(
        &self,
        lock: &LockInfo,
        reader: Timestamp,
        force: bool,
        backoff: &mut Backoff,
    ) -> Result<Status> {
        if let Some(outcome) = self.outcomes.get(lock.lock_version) {
            return Ok(Status::Ended(outcome));
        }
        let pessimistic = is_pessimistic(lock);
        let mut request = CheckTxnStatusRequest {
            primary_key: lock.primary_lock.clone(),
            lock_ts: lock.lock_version,
            caller_start_ts: reader.0,
            rollback_if_not_exist: force,
            resolving_pessimistic_lock: pessimistic,
            verify_is_primary: true,
            ..CheckTxnStatusRequest::default()
        };
        loop {
            let now = self.timestamp().await?;
            request.current_ts = if force { u64::MAX } else { now.0 };
            let mut answer = self.by_key(&lock.primary_lock, &request, backoff).await?;
            match answer.error.take() {
                None => {}
                Some(e) if e.txn_not_found.is_some() => {
                    let ttl_ms = match lock.lock_ttl {
                        0 => self.ttl_of(lock, backoff).await?,
                        ttl_ms => ttl_ms,
                    };
                    let left = time_left(lock.lock_version, ttl_ms, now);
                    if left.is_zero() {
                        request.rollback_if_not_exist = true;
                        continue;
                    }
                    // The primary's prewrite is on its way, or waits for us; a pessimistic lock's primary was given
                    // back while this one was not yet.
                    return Ok(Status::Alive { left, pushed: false });
                }
                Some(e) if e.primary_mismatch.is_some() && pessimistic => {
                    return Ok(Status::Ended(Outcome::RolledBack));
                }
                Some(e) => return Err(crate::key_error::to_error(*e, reader)),
            }
            if answer.lock_ttl == 0 {
                let (outcome, for_good) = ended(&answer);
                if for_good {
                    self.outcomes.put(lock.lock_version, outcome);
                }
                return Ok(Status::Ended(outcome));
            }
            let left = time_left(lock.lock_version, answer.lock_ttl, now);
            let primary = answer.lock_info.take();
            if let Some(primary) = primary.filter(|p| p.use_async_commit && (left.is_zero() || force)) {
                match self.async_commit_outcome(&primary, backoff).await? {
                    Some(outcome) => {
                        self.outcomes.put(lock.lock_version, outcome);
                        return Ok(Status::Ended(outcome));
                    }
                    // One of its locks is an ordinary one: so it commits, or not, in two phases.
                    None => {
                        request.force_sync_commit = true;
                        backoff.wait(Pause::Region, "async_commit", locked(lock)).await?;
                        continue;
                    }
                }
            }
            return Ok(Status::Alive {
                left,
                pushed: answer.action() == Action::MinCommitTsPushed,
            });
        }
    }

    /// A lock's time to live, where the store has kept it to itself, as it does in answers to pessimistic transactions.
    /// One that is gone meanwhile counts as living on: whoever met it looks again.
    async fn ttl_of(&self, lock: &LockInfo, backoff: &mut Backoff) -> Result<u64> {
        let request = MvccGetByKeyRequest {
            key: lock.key.clone(),
            ..MvccGetByKeyRequest::default()
        };
        let answer = self.by_key(&lock.key, &request, backoff).await?;
        let found = answer.info.and_then(|info| info.lock);
        let same = found.filter(|l| l.start_ts == lock.lock_version);
        Ok(same.map_or(u64::MAX, |l| l.ttl))
    }

    /// An expired transaction of another client that commits asynchronously: it is committed when all its keys are
    /// locked, at the greatest of their `min_commit_ts`. `None`: not of that kind after all.
    async fn async_commit_outcome(
        &self,
        primary: &LockInfo,
        backoff: &mut Backoff,
    ) -> Result<Option<Outcome>> {
        let mut commit_ts = primary.min_commit_ts;
        let mut decided = None;
        let mut ordinary = false;
        let start_version = primary.lock_version;
        self.by_keys(
            primary.secondaries.clone(),
            BATCH_BYTES,
            backoff,
            |keys| CheckSecondaryLocksRequest {
                keys: keys.to_vec(),
                start_version,
                ..CheckSecondaryLocksRequest::default()
            },
            |keys, answer| {
                let result = match answer.error {
                    Some(e) => Err(crate::key_error::to_error(*e, Timestamp::ZERO)),
                    None => Ok(Vec::new()),
                };
                if answer.locks.len() < keys.len() {
                    decided = Some(match answer.commit_ts {
                        0 => Outcome::RolledBack,
                        ts => Outcome::Committed(Timestamp(ts)),
                    });
                }
                for lock in answer.locks {
                    ordinary |= !lock.use_async_commit;
                    commit_ts = commit_ts.max(lock.min_commit_ts);
                }
                std::future::ready(result)
            },
        )
        .await?;
        Ok(match decided {
            Some(outcome) => Some(outcome),
            None if ordinary => None,
            None => Some(Outcome::Committed(Timestamp(commit_ts))),
        })
    }

    /// Removes locks of one transaction that has ended.
    pub(crate) async fn clear_locks(
        &self,
        locks: &[LockInfo],
        outcome: Outcome,
        backoff: &mut Backoff,
    ) -> Result<()> {
        let Some(first) = locks.first() else {
            return Ok(());
        };
        let start_version = first.lock_version;
        let keys = |pessimistic| -> Vec<Bytes> {
            let of_kind = locks.iter().filter(|l| is_pessimistic(l) == pessimistic);
            of_kind.map(|l| l.key.clone()).collect()
        };
        let (pessimistic, written) = (keys(true), keys(false));
        if !pessimistic.is_empty() {
            let greatest = locks
                .iter()
                .map(|l| l.lock_for_update_ts)
                .max()
                .unwrap_or_default();
            let for_update_ts = if greatest == 0 { u64::MAX } else { greatest };
            self.pessimistic_rollback(start_version, for_update_ts, pessimistic, backoff)
                .await?;
        }
        if !written.is_empty() {
            let size = locks.iter().map(|l| l.txn_size).max().unwrap_or_default();
            let lite = size < LITE_KEYS;
            let commit_version = match outcome {
                Outcome::Committed(ts) => ts.0,
                Outcome::RolledBack => 0,
            };
            self.by_keys(
                written,
                BATCH_BYTES,
                backoff,
                |keys| ResolveLockRequest {
                    start_version,
                    commit_version,
                    keys: if lite { keys.to_vec() } else { Vec::new() },
                    ..ResolveLockRequest::default()
                },
                |_, answer| {
                    std::future::ready(match answer.error {
                        Some(e) => Err(crate::key_error::to_error(*e, Timestamp::ZERO)),
                        None => Ok(Vec::new()),
                    })
                },
            )
            .await?;
        }
        Ok(())
    }

    pub(crate) async fn pessimistic_rollback(
        &self,
        start_version: u64,
        for_update_ts: u64,
        keys: Vec<Bytes>,
        backoff: &mut Backoff,
    ) -> Result<()> {
        self.by_keys(
            keys,
            BATCH_BYTES,
            backoff,
            |keys| PessimisticRollbackRequest {
                start_version,
                for_update_ts,
                keys: keys.to_vec(),
                ..PessimisticRollbackRequest::default()
            },
            |_, answer| {
                std::future::ready(match answer.errors.into_iter().next() {
                    Some(e) => Err(crate::key_error::to_error(e, Timestamp::ZERO)),
                    None => Ok(Vec::new()),
                })
            },
        )
        .await
    }

    /// A read at `ts` met `locks`: afterwards it is to be tried again, with what `view` says. Waits while their owners are
    /// alive and in the way.
    pub(crate) async fn meet_for_read(
        self: &Arc<Self>,
        locks: Vec<LockInfo>,
        ts: Timestamp,
        view: &mut ReadView,
        backoff: &mut Backoff,
    ) -> Result<()> {
        let mut by_txn: BTreeMap<u64, Vec<LockInfo>> = BTreeMap::new();
        for lock in locks {
            by_txn.entry(lock.lock_version).or_default().push(lock);
        }
        let mut in_the_way = None;
        for (start_ts, locks) in by_txn {
            let Some(first) = locks.first().cloned() else {
                continue;
            };
            let status = self.txn_status(&first, ts, false, backoff).await?;
            count_met(status);
            let again = view.knows(start_ts);
            match status {
                Status::Ended(outcome) => {
                    if !again {
                        match outcome {
                            Outcome::Committed(commit_ts) if commit_ts <= ts => view.committed.push(start_ts),
                            _ => view.resolved.push(start_ts),
                        }
                        self.clear_in_background(locks, outcome).await;
                    } else {
                        // Whoever does not read past it must wait until it is gone.
                        self.clear_locks(&locks, outcome, backoff).await?;
                        in_the_way = Some(first);
                    }
                }
                Status::Alive { pushed: true, .. } if !again => view.resolved.push(start_ts),
                Status::Alive { .. } => in_the_way = Some(first),
            }
        }
        match in_the_way {
            Some(lock) => backoff.wait(Pause::Lock, "lock", locked(&lock)).await,
            None => Ok(()),
        }
    }

    async fn clear_in_background(self: &Arc<Self>, locks: Vec<LockInfo>, outcome: Outcome) {
        let cluster = self.clone();
        self.in_background(async move {
            let mut backoff = cluster.backoff("resolving locks");
            if let Err(e) = cluster.clear_locks(&locks, outcome, &mut backoff).await {
                tracing::debug!(error = %e, "removing another transaction's locks failed");
            }
        })
        .await;
    }

    /// A write met `lock`. Does not wait.
    pub(crate) async fn meet_for_write(&self, lock: &LockInfo, backoff: &mut Backoff) -> Result<Met> {
        let status = self.txn_status(lock, Timestamp::ZERO, false, backoff).await?;
        count_met(status);
        match status {
            Status::Ended(outcome) => {
                self.clear_locks(std::slice::from_ref(lock), outcome, backoff)
                    .await?;
                Ok(Met::Cleared)
            }
            Status::Alive { .. } => Ok(Met::Alive {
                start_ts: Timestamp(lock.lock_version),
                pessimistic: is_pessimistic(lock),
            }),
        }
    }
}

fn count_met(status: Status) {
    let outcome = match status {
        Status::Ended(Outcome::Committed(_)) => "committed",
        Status::Ended(Outcome::RolledBack) => "rolled_back",
        Status::Alive { .. } => "alive",
    };
    METRICS.locks_met.with_label_values(&[outcome]).inc();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_has_time_left_from_its_own_start() {
        let start = Timestamp::from_millis(1000).0 + 5;
        let at = |ms| time_left(start, 300, Timestamp::from_millis(ms));
        assert_eq!(at(1000), Duration::from_millis(300));
        assert_eq!(at(1250), Duration::from_millis(50));
        assert_eq!(at(1300), Duration::ZERO);
        assert_eq!(at(9000), Duration::ZERO);
    }

    #[test]
    fn only_what_is_final_is_remembered() {
        let answer = |commit_version, action: Action| {
            ended(&CheckTxnStatusResponse {
                commit_version,
                action: action as i32,
                ..CheckTxnStatusResponse::default()
            })
        };
        assert_eq!(
            answer(7, Action::NoAction),
            (Outcome::Committed(Timestamp(7)), true)
        );
        assert_eq!(answer(0, Action::TtlExpireRollback), (Outcome::RolledBack, true));
        assert_eq!(
            answer(0, Action::TtlExpirePessimisticRollback),
            (Outcome::RolledBack, false)
        );
        assert_eq!(
            answer(0, Action::LockNotExistDoNothing),
            (Outcome::RolledBack, false)
        );
    }
}
