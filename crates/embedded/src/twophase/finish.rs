//! Ending transactions: commit, rollback, and the resolving of locks that others meet.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::OwnedMutexGuard;

use super::error::{TxnError, TxnResult, aborted};
use super::record::{LockInfo, LockRecord};
use super::stored::{FinalStatus, lock_value, status_row, version_of};
use super::{Guard, TwoPhase};
use crate::commit;
use crate::commit::write::{CommitAt, PlainWrite, WriteRequest};
use crate::locks::HeldKeys;
use crate::transactions::Transactions;
use ilmenite_store::{KeyRange, Timestamp};

/// Locks resolved in one step.
const RESOLVE_KEYS: usize = 4096;

/// The timestamp a transaction is committed at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Committed(pub Timestamp);

impl TwoPhase {
    /// Turns the transaction's locks on the keys into versions. The first commit decides the transaction.
    pub async fn commit(
        &self,
        start_ts: Timestamp,
        keys: &[Bytes],
        commit_ts: Timestamp,
    ) -> TxnResult<Committed> {
        self.core.check_open()?;
        if commit_ts <= start_ts || commit_ts > self.core.oracle.last() {
            return Err(aborted(format!(
                "InvalidTxnTso: start_ts {start_ts}, commit_ts {commit_ts}"
            )));
        }
        let latch = self.latch(start_ts).await;
        let status = self.final_status(start_ts)?;
        let not_found = |key: &Bytes| TxnError::LockNotFound {
            key: key.clone(),
            start_ts,
        };
        let commit_ts = match status {
            Some(FinalStatus::RolledBack) => {
                return Err(not_found(keys.first().unwrap_or(&Bytes::new())));
            }
            Some(FinalStatus::Committed(ts)) => ts,
            None => commit_ts,
        };
        for key in keys {
            match self.index().own(key, start_ts) {
                Some(lock) if status.is_none() && commit_ts < lock.min_commit_ts => {
                    return Err(TxnError::CommitTooEarly {
                        key: key.clone(),
                        start_ts,
                        commit_ts,
                        min_commit_ts: lock.min_commit_ts,
                    });
                }
                Some(_) => {}
                None if status.is_some() => {}
                None => return Err(not_found(key)),
            }
        }
        self.finish(start_ts, keys, FinalStatus::Committed(commit_ts), status, latch)
            .await?;
        Ok(Committed(commit_ts))
    }

    /// Ends the transaction without effect, on these keys, and marks it as rolled back: a late prewrite will fail.
    pub async fn rollback(&self, start_ts: Timestamp, keys: &[Bytes]) -> TxnResult<()> {
        self.core.check_open()?;
        let latch = self.latch(start_ts).await;
        self.roll_back(start_ts, keys, latch).await
    }

    async fn roll_back(
        &self,
        start_ts: Timestamp,
        keys: &[Bytes],
        latch: OwnedMutexGuard<()>,
    ) -> TxnResult<()> {
        let status = self.final_status(start_ts)?;
        if let Some(FinalStatus::Committed(ts)) = status {
            return Err(aborted(format!(
                "Committed: transaction {start_ts} is committed at {ts}"
            )));
        }
        self.finish(start_ts, keys, FinalStatus::RolledBack, status, latch)
            .await
    }

    /// Removes the transaction's locks on the keys, with or without effect, and stores its status.
    /// `before`: the status that is stored already.
    pub(crate) async fn finish(
        &self,
        start_ts: Timestamp,
        keys: &[Bytes],
        status: FinalStatus,
        before: Option<FinalStatus>,
        latch: OwnedMutexGuard<()>,
    ) -> TxnResult<()> {
        let locks_keyspace = self.keyspaces()?.locks.clone();
        let mut versions = Vec::new();
        let mut rows = Vec::new();
        let mut gone = Vec::new();
        for key in keys {
            let Some(lock) = self.index().own(key, start_ts) else {
                continue;
            };
            gone.push(key.clone());
            if !lock.is_prewrite() {
                // Left behind by a statement that gave up: it comes to nothing either way.
                continue;
            }
            if matches!(status, FinalStatus::Committed(_)) {
                versions.push(version_of(&self.core.keyspaces, key)?);
            }
            rows.push(PlainWrite {
                keyspace: locks_keyspace.clone(),
                key: key.to_vec(),
                value: None,
            });
        }
        // A transaction is committed by the commit of something.
        let decides = before.is_none() && (status == FinalStatus::RolledBack || !rows.is_empty());
        if decides {
            rows.push(status_row(&self.core.keyspaces, start_ts, status)?);
        }
        if rows.is_empty() {
            for key in &gone {
                self.drop_pessimistic(key, start_ts);
            }
            return Ok(());
        }
        let guard = Guard {
            holds: HeldKeys::new(self.lock_table(), start_ts),
            _latch: latch,
        };
        let applied = Box::new(move |transactions: &Transactions| {
            for key in &gone {
                transactions.index.remove(key, start_ts);
            }
            transactions.locks.unlock(start_ts, Some(&gone));
            drop(guard);
        });
        // What was decided before can be done again after a crash.
        let mut request = WriteRequest::of_rows(rows, decides, applied);
        request.urgent = true;
        if let FinalStatus::Committed(ts) = status {
            request.at = CommitAt::Given(ts);
            request.versions = versions;
        }
        commit::submit(&self.core, request).await?;
        Ok(())
    }

    /// Ends a transaction whose status is known, on all its locks in the range, or only on `keys`.
    pub async fn resolve(
        &self,
        start_ts: Timestamp,
        status: FinalStatus,
        range: &KeyRange,
        keys: Option<&[Bytes]>,
    ) -> TxnResult<()> {
        self.core.check_open()?;
        loop {
            let found;
            let (batch, last) = match keys {
                Some(keys) => (keys, true),
                None => {
                    let own = |_: &Bytes, lock: &LockRecord| lock.start_ts == start_ts;
                    let locks = self.index().scan(range, false, RESOLVE_KEYS, own);
                    found = locks.into_iter().map(|l| l.key).collect::<Vec<_>>();
                    (&found[..], found.len() < RESOLVE_KEYS)
                }
            };
            if batch.is_empty() {
                return Ok(());
            }
            let latch = self.latch(start_ts).await;
            match status {
                FinalStatus::RolledBack => self.roll_back(start_ts, batch, latch).await?,
                FinalStatus::Committed(commit_ts) => {
                    if commit_ts <= start_ts {
                        return Err(aborted(format!(
                            "InvalidTxnTso: start_ts {start_ts}, commit_ts {commit_ts}"
                        )));
                    }
                    let before = self.final_status(start_ts)?;
                    if before == Some(FinalStatus::RolledBack) {
                        return Err(TxnError::LockNotFound {
                            key: batch[0].clone(),
                            start_ts,
                        });
                    }
                    let status = before.unwrap_or(status);
                    self.finish(start_ts, batch, status, before, latch).await?;
                }
            }
            if last {
                return Ok(());
            }
        }
    }

    /// Rolls back the transaction's lock on the key, when it has outlived its time (`None`: in any case).
    pub async fn clean_up(
        &self,
        key: &Bytes,
        start_ts: Timestamp,
        now: Option<Timestamp>,
    ) -> TxnResult<Option<Committed>> {
        self.core.check_open()?;
        let latch = self.latch(start_ts).await;
        if let Some(FinalStatus::Committed(ts)) = self.final_status(start_ts)? {
            return Ok(Some(Committed(ts)));
        }
        if let (Some(lock), Some(now)) = (self.index().own(key, start_ts), now)
            && !lock.expired(now)
        {
            return Err(TxnError::Locked(LockInfo {
                key: key.clone(),
                lock: (*lock).clone(),
            }));
        }
        self.roll_back(start_ts, std::slice::from_ref(key), latch).await?;
        Ok(None)
    }

    /// The transaction is alive: its primary lock lives at least as long. Returns for how long.
    pub async fn heart_beat(&self, primary: &Bytes, start_ts: Timestamp, ttl_ms: u64) -> TxnResult<u64> {
        self.core.check_open()?;
        let latch = self.latch(start_ts).await;
        let Some(lock) = self.index().own(primary, start_ts) else {
            return Err(TxnError::TxnNotFound {
                start_ts,
                primary: primary.clone(),
            });
        };
        if lock.ttl_ms >= ttl_ms {
            return Ok(lock.ttl_ms);
        }
        let lock = LockRecord {
            ttl_ms,
            ..Arc::unwrap_or_clone(lock)
        };
        if !lock.is_prewrite() {
            self.index().put(primary.clone(), lock);
            return Ok(ttl_ms);
        }
        let value = lock_value(&self.core.keyspaces, primary)?;
        let row = PlainWrite {
            keyspace: self.keyspaces()?.locks.clone(),
            key: primary.to_vec(),
            value: Some(lock.encode(&value)),
        };
        let primary = primary.clone();
        let applied = Box::new(move |transactions: &Transactions| {
            transactions.index.put(primary, lock);
            drop(latch);
        });
        // Lost in a crash of the machine, the lock has its first time to live.
        let mut request = WriteRequest::of_rows(vec![row], false, applied);
        request.urgent = true;
        commit::submit(&self.core, request).await?;
        Ok(ttl_ms)
    }

    /// Locks of transactions that began at or before `max_ts`, in key order.
    pub fn locks(&self, range: &KeyRange, max_ts: Timestamp, limit: usize) -> TxnResult<Vec<LockInfo>> {
        self.core.check_open()?;
        Ok(self
            .index()
            .scan(range, false, limit, |_, lock| lock.start_ts <= max_ts))
    }

    /// Removes the locks on keys of a range that is about to be deleted; nobody uses it any more.
    pub async fn drop_locks(&self, range: &KeyRange) -> TxnResult<()> {
        loop {
            let locks = self.index().scan(range, false, RESOLVE_KEYS, |_, _| true);
            let Some(first) = locks.first() else {
                return Ok(());
            };
            let start_ts = first.lock.start_ts;
            let latch = self.latch(start_ts).await;
            let keys: Vec<Bytes> = locks
                .into_iter()
                .filter(|l| l.lock.start_ts == start_ts)
                .map(|l| l.key)
                .collect();
            let before = self.final_status(start_ts)?;
            let status = before.unwrap_or(FinalStatus::RolledBack);
            self.finish(start_ts, &keys, status, before, latch).await?;
        }
    }
}
