//! Ending transactions: commit, rollback, and the resolving of locks that others meet.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::OwnedMutexGuard;

use super::super::Core;
use super::super::commit::{self, CommitAt, Row};
use super::super::locks::Holds;
use super::record::{LockInfo, LockRecord};
use super::{Decided, Guard, TwoPhase, TxnError, TxnResult, aborted, rows_only};
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
        let decided = self.decided(start_ts)?;
        let not_found = |key: &Bytes| TxnError::LockNotFound {
            key: key.clone(),
            start_ts,
        };
        let commit_ts = match decided {
            Some(Decided::RolledBack) => {
                return Err(not_found(keys.first().unwrap_or(&Bytes::new())));
            }
            Some(Decided::Committed(ts)) => ts,
            None => commit_ts,
        };
        for key in keys {
            match self.index().own(key, start_ts) {
                Some(lock) if decided.is_none() && commit_ts < lock.min_commit_ts => {
                    return Err(TxnError::CommitTooEarly {
                        key: key.clone(),
                        start_ts,
                        commit_ts,
                        min_commit_ts: lock.min_commit_ts,
                    });
                }
                Some(_) => {}
                None if decided.is_some() => {}
                None => return Err(not_found(key)),
            }
        }
        self.finish(start_ts, keys, Decided::Committed(commit_ts), decided, latch)
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
        let decided = self.decided(start_ts)?;
        if let Some(Decided::Committed(ts)) = decided {
            return Err(aborted(format!(
                "Committed: transaction {start_ts} is committed at {ts}"
            )));
        }
        self.finish(start_ts, keys, Decided::RolledBack, decided, latch)
            .await
    }

    /// Removes the transaction's locks on the keys, with or without effect, and notes what it has become.
    /// `before`: what was noted already.
    pub(super) async fn finish(
        &self,
        start_ts: Timestamp,
        keys: &[Bytes],
        decided: Decided,
        before: Option<Decided>,
        latch: OwnedMutexGuard<()>,
    ) -> TxnResult<()> {
        let locks_keyspace = self.keyspaces()?.locks.clone();
        let mut writes = Vec::new();
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
            if matches!(decided, Decided::Committed(_)) {
                writes.push(self.write_of(key)?);
            }
            rows.push(Row {
                keyspace: locks_keyspace.clone(),
                key: key.to_vec(),
                value: None,
            });
        }
        // A transaction is committed by the commit of something.
        let decides = before.is_none() && (decided == Decided::RolledBack || !rows.is_empty());
        if decides {
            rows.push(self.status_row(start_ts, decided)?);
        }
        if rows.is_empty() {
            for key in &gone {
                self.drop_pessimistic(key, start_ts);
            }
            return Ok(());
        }
        let guard = Guard {
            holds: Holds::new(&self.core.locks, start_ts),
            _latch: latch,
        };
        let applied = Box::new(move |core: &Core, _| {
            for key in &gone {
                core.two_phase.index.remove(key, start_ts);
            }
            core.locks.unlock(start_ts, Some(&gone));
            drop(guard);
        });
        // What was decided before can be done again after a crash.
        let mut job = rows_only(rows, decides, applied);
        job.urgent = true;
        if let Decided::Committed(ts) = decided {
            job.at = CommitAt::Given(ts);
            job.writes = writes;
        }
        commit::submit(&self.core, job).await?;
        Ok(())
    }

    /// Ends a transaction whose fate is known, on all its locks in the range, or only on `keys`.
    pub async fn resolve(
        &self,
        start_ts: Timestamp,
        decided: Decided,
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
            match decided {
                Decided::RolledBack => self.roll_back(start_ts, batch, latch).await?,
                Decided::Committed(commit_ts) => {
                    if commit_ts <= start_ts {
                        return Err(aborted(format!(
                            "InvalidTxnTso: start_ts {start_ts}, commit_ts {commit_ts}"
                        )));
                    }
                    let before = self.decided(start_ts)?;
                    if before == Some(Decided::RolledBack) {
                        return Err(TxnError::LockNotFound {
                            key: batch[0].clone(),
                            start_ts,
                        });
                    }
                    let decided = before.unwrap_or(decided);
                    self.finish(start_ts, batch, decided, before, latch).await?;
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
        if let Some(Decided::Committed(ts)) = self.decided(start_ts)? {
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
        let value = self.lock_value(primary)?;
        let row = Row {
            keyspace: self.keyspaces()?.locks.clone(),
            key: primary.to_vec(),
            value: Some(lock.encode(&value)),
        };
        let primary = primary.clone();
        let applied = Box::new(move |core: &Core, _| {
            core.two_phase.index.put(primary, lock);
            drop(latch);
        });
        // Lost in a crash of the machine, the lock has its first time to live.
        let mut job = rows_only(vec![row], false, applied);
        job.urgent = true;
        commit::submit(&self.core, job).await?;
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
            let before = self.decided(start_ts)?;
            let decided = before.unwrap_or(Decided::RolledBack);
            self.finish(start_ts, &keys, decided, before, latch).await?;
        }
    }
}
