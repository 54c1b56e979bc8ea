//! Pessimistic locks.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::error::{ConflictReason, TxnError, TxnResult, aborted};
use super::record::{LockInfo, LockKind, LockRecord};
use super::{BUSY_LIMIT, BUSY_PAUSE, TwoPhase};
use crate::locks::{HeldKeys, TryLock};
use crate::metrics::METRICS;
use crate::{format, read};
use ilmenite_store::{Error, Timestamp};

#[derive(Debug, Clone)]
pub struct PessimisticLock {
    pub start_ts: Timestamp,
    pub primary: Bytes,
    pub keys: Vec<Bytes>,
    /// Of the key at the same place: it must not exist.
    pub must_not_exist: Vec<bool>,
    pub ttl_ms: u64,
    /// A version newer than this is a conflict.
    pub for_update_ts: Timestamp,
    /// How long to wait for other transactions' locks; zero: not at all.
    pub wait: Duration,
    pub min_commit_ts: Timestamp,
    /// Keys that do not exist are not locked.
    pub only_if_exists: bool,
    /// Lock in spite of newer versions, and say so.
    pub force: bool,
}

/// A key and what it held when it was locked.
#[derive(Debug, Clone)]
pub struct LockedKey {
    pub value: Option<Bytes>,
    /// With `force`: the newest version, newer than `for_update_ts`.
    pub conflict_ts: Option<Timestamp>,
}

impl TwoPhase {
    /// Locks all keys, or none.
    pub async fn lock(&self, request: &PessimisticLock) -> TxnResult<Vec<LockedKey>> {
        self.core.check_open()?;
        for key in &request.keys {
            format::check_key(key)?;
        }
        self.check_age(request.start_ts)?;
        let start_ts = request.start_ts;
        let holds = HeldKeys::new(self.lock_table(), start_ts);
        self.wait_for_all(request, &holds).await?;

        let _latch = self.latch(start_ts).await;
        if self.final_status(start_ts)?.is_some() {
            return Err(aborted(format!(
                "PessimisticLockRolledBack: transaction {start_ts} has ended"
            )));
        }
        let snapshot = self.core.keyspaces.db.snapshot();
        let mut results = Vec::with_capacity(request.keys.len());
        let mut new = Vec::with_capacity(request.keys.len());
        for (i, key) in request.keys.iter().enumerate() {
            let own = self.index().own(key, start_ts);
            if !self.lock_table().holds(start_ts, key) {
                return Err(aborted("a lock was taken away while the request waited"));
            }
            if own.as_ref().is_some_and(|own| own.is_prewrite()) {
                return Err(aborted(format!(
                    "LockTypeNotMatch: transaction {start_ts} has prewritten the key"
                )));
            }
            let (newest, written) = read::newest_write(&self.core.keyspaces, &snapshot, key, Timestamp::MAX)?;
            let conflict = || {
                METRICS.conflicts.with_label_values(&["write_conflict"]).inc();
                TxnError::WriteConflict {
                    key: key.clone(),
                    start_ts,
                    conflict_ts: written.unwrap_or_default(),
                    primary: request.primary.clone(),
                    reason: ConflictReason::PessimisticRetry,
                }
            };
            // Under a lock of its own nothing newer than that lock can be there.
            let since = own.as_ref().map_or(request.for_update_ts, |own| {
                own.for_update_ts.max(request.for_update_ts)
            });
            let conflict_ts = written.filter(|&ts| ts > since);
            if conflict_ts.is_some() && !request.force {
                return Err(conflict());
            }
            let value = newest
                .as_ref()
                .and_then(|v| v.value())
                .map(Bytes::copy_from_slice);
            if request.must_not_exist.get(i) == Some(&true) && value.is_some() {
                return Err(match conflict_ts {
                    Some(_) => conflict(),
                    None => TxnError::AlreadyExists { key: key.clone() },
                });
            }
            if request.only_if_exists && value.is_none() && own.is_none() {
                if conflict_ts.is_some() {
                    return Err(conflict());
                }
            } else {
                let lock = LockRecord {
                    kind: LockKind::Pessimistic,
                    start_ts,
                    primary: request.primary.clone(),
                    ttl_ms: own.as_ref().map_or(0, |own| own.ttl_ms).max(request.ttl_ms),
                    for_update_ts: conflict_ts.unwrap_or(since),
                    txn_size: 0,
                    min_commit_ts: own.as_ref().map_or(request.min_commit_ts, |own| {
                        own.min_commit_ts.max(request.min_commit_ts)
                    }),
                    hides: written.is_some(),
                };
                new.push((key.clone(), lock));
            }
            results.push(LockedKey { value, conflict_ts });
        }
        for (key, lock) in new {
            self.index().put(key, lock);
        }
        holds.keep(|key| self.index().own(key, start_ts).is_some());
        Ok(results)
    }

    /// Holds all keys. While it waits for one, it holds none that it has no lock on yet.
    async fn wait_for_all(&self, request: &PessimisticLock, holds: &HeldKeys) -> TxnResult<()> {
        let start_ts = request.start_ts;
        let began = Instant::now();
        let deadline = began + request.wait;
        let mut keys: Vec<&Bytes> = request.keys.iter().collect();
        keys.sort_unstable();
        keys.dedup();
        'again: loop {
            for key in &keys {
                let holder = match self.lock_table().try_lock(start_ts, key)? {
                    TryLock::New => {
                        holds.add((*key).clone());
                        continue;
                    }
                    TryLock::Own if holds.has(key) || self.index().own(key, start_ts).is_some() => continue,
                    TryLock::Own => start_ts,
                    TryLock::Busy(other) => other,
                    TryLock::Committing(ended) => {
                        holds.release();
                        // An error means that it is gone: the same news.
                        let _ = tokio::time::timeout(BUSY_LIMIT, ended).await;
                        self.check_busy(began, request.wait)?;
                        continue 'again;
                    }
                };
                holds.release();
                let lock = self.index().own(key, holder).map(|lock| LockInfo {
                    key: (*key).clone(),
                    lock: (*lock).clone(),
                });
                if Instant::now() >= deadline
                    && let Some(lock) = lock
                {
                    return Err(TxnError::Locked(lock));
                }
                if holder == start_ts || request.wait.is_zero() {
                    // Its lock is about to appear, or to be given back.
                    tokio::time::sleep(BUSY_PAUSE).await;
                    self.check_busy(began, request.wait)?;
                    continue 'again;
                }
                match self
                    .lock_table()
                    .lock_one(start_ts, key, Some(deadline), false)
                    .await
                {
                    Ok(true) => holds.add((*key).clone()),
                    Ok(false) => {}
                    Err(Error::Deadlock { waiting_for, .. }) => {
                        return Err(TxnError::Deadlock {
                            lock_ts: waiting_for,
                            key: (*key).clone(),
                            circle: self.lock_table().circle(start_ts, waiting_for, key),
                        });
                    }
                    Err(Error::LockTimeout { holder, .. }) => {
                        let Some(lock) = self.index().get(key) else {
                            // It was given back this moment, or is somebody's who has just got it.
                            tokio::time::sleep(BUSY_PAUSE).await;
                            self.check_busy(began, request.wait)?;
                            continue 'again;
                        };
                        tracing::debug!(%start_ts, %holder, "waited in vain for a lock");
                        return Err(TxnError::Locked(LockInfo {
                            key: (*key).clone(),
                            lock: (*lock).clone(),
                        }));
                    }
                    Err(e) => return Err(e.into()),
                }
                // It is held, and waited for no longer; but the others may be gone meanwhile.
                continue 'again;
            }
            return Ok(());
        }
    }

    fn check_busy(&self, began: Instant, wait: Duration) -> TxnResult<()> {
        if began.elapsed() > wait + BUSY_LIMIT {
            return Err(Error::Unavailable("requests under way on the same keys do not end".into()).into());
        }
        Ok(())
    }

    /// Gives back pessimistic locks taken at `for_update_ts` or before; with no keys, all of the transaction.
    pub async fn unlock(
        &self,
        start_ts: Timestamp,
        for_update_ts: Timestamp,
        keys: &[Bytes],
    ) -> TxnResult<()> {
        self.core.check_open()?;
        let _latch = self.latch(start_ts).await;
        let all;
        let keys = if keys.is_empty() {
            all = self.lock_table().keys_of(start_ts);
            &all
        } else {
            keys
        };
        for key in keys {
            let lock = self.index().own(key, start_ts);
            if lock.is_some_and(|lock| !lock.is_prewrite() && lock.for_update_ts <= for_update_ts) {
                self.drop_pessimistic(key, start_ts);
            }
        }
        Ok(())
    }

    /// The caller has the transaction's latch, and has seen the pessimistic lock.
    pub(crate) fn drop_pessimistic(&self, key: &Bytes, start_ts: Timestamp) {
        self.index().remove(key, start_ts);
        self.lock_table()
            .unlock(start_ts, Some(std::slice::from_ref(key)));
    }
}
