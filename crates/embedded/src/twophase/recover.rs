//! Locks and statuses over restarts and time.

use std::collections::HashSet;
use std::time::Duration;

use ahash::RandomState;
use bytes::Bytes;
use fjall::{PersistMode, Readable};

use super::TwoPhase;
use super::error::TxnError;
use super::record::{self, LockRecord};
use super::stored::{FinalStatus, final_status, version_of};
use crate::core::Core;
use crate::locks::TryLock;
use ilmenite_store::{Error, KeyRange, Result, Timestamp};

/// What is changed in one batch.
const BATCH_ROWS: usize = 4096;
/// Locks of old transactions looked at in one round.
const OLD_LOCKS: usize = 10_000;

/// Reads the locks that are stored: into the index, or (when the store is not opened for transactions in two phases,
/// so that nobody would end them) away with them, as their transactions were decided.
pub(crate) fn load(core: &Core) -> Result<()> {
    let Some(keyspaces) = &core.keyspaces.two_phase else {
        return Ok(());
    };
    if !core.options.two_phase {
        return settle(core);
    }
    // Whatever was given out before, a reader may read at: his having pushed a lock was known in memory only.
    let first_ts = core.oracle.last().next();
    let mut count = 0;
    for row in keyspaces.locks.iter() {
        let (key, row) = row.into_inner().map_err(|e| core.keyspaces.map_error(e))?;
        let (mut lock, _) = record::decode(&row, keyspaces.locks.path())?;
        let key = Bytes::copy_from_slice(&key);
        if lock.primary == key && lock.min_commit_ts > Timestamp::ZERO {
            lock.min_commit_ts = lock.min_commit_ts.max(first_ts);
        }
        match core.transactions.locks.try_lock(lock.start_ts, &key)? {
            TryLock::New => core.transactions.index.put(key, lock),
            _ => return Err(Error::Bug("a lock on a key that is held".into())),
        }
        count += 1;
    }
    if count > 0 {
        tracing::info!(count, "locks of transactions that have not ended");
    }
    Ok(())
}

/// Ends all transactions that have locks.
fn settle(core: &Core) -> Result<()> {
    let Some(keyspaces) = &core.keyspaces.two_phase else {
        return Ok(());
    };
    let map_err = |e| core.keyspaces.map_error(e);
    let (mut committed, mut rolled_back) = (0, 0);
    loop {
        let pin = core.keyspaces.pin();
        let mut batch = core.keyspaces.db.batch();
        let snapshot = core.keyspaces.db.snapshot();
        for row in snapshot.iter(&keyspaces.locks).take(BATCH_ROWS) {
            let (key, row) = row.into_inner().map_err(map_err)?;
            let (lock, _) = record::decode(&row, keyspaces.locks.path())?;
            match final_status(&core.keyspaces, lock.start_ts)? {
                Some(FinalStatus::Committed(ts)) => {
                    let key = Bytes::copy_from_slice(&key);
                    let mut write = version_of(&core.keyspaces, &key)?;
                    let keyspace = core.keyspaces.obtain(core.keyspaces.partition_of(&key), &pin)?;
                    let (stored, raw) = write.take(ts);
                    batch.insert(&keyspace.inner, stored, raw);
                    committed += 1;
                }
                _ => {
                    let status = FinalStatus::RolledBack.encode();
                    batch.insert(&keyspaces.status, lock.start_ts.0.to_be_bytes(), status);
                    rolled_back += 1;
                }
            }
            batch.remove(&keyspaces.locks, key);
        }
        drop(snapshot);
        if batch.is_empty() {
            break;
        }
        batch
            .durability(Some(PersistMode::SyncData))
            .commit()
            .map_err(map_err)?;
    }
    if committed + rolled_back > 0 {
        tracing::info!(
            committed,
            rolled_back,
            "settled locks that a store over the network left"
        );
    }
    Ok(())
}

/// Removes what is known of transactions that began before the safe point. They have no locks any more.
pub(crate) fn forget(core: &Core, safe_point: Timestamp) -> Result<u64> {
    let Some(keyspaces) = &core.keyspaces.two_phase else {
        return Ok(0);
    };
    let map_err = |e| core.keyspaces.map_error(e);
    let mut removed = 0;
    loop {
        let mut batch = core.keyspaces.db.batch();
        let snapshot = core.keyspaces.db.snapshot();
        let old = ..safe_point.0.to_be_bytes();
        for row in snapshot.range(&keyspaces.status, old).take(BATCH_ROWS) {
            batch.remove(&keyspaces.status, row.key().map_err(map_err)?);
        }
        drop(snapshot);
        let count = batch.len() as u64;
        batch.commit().map_err(map_err)?;
        removed += count;
        if (count as usize) < BATCH_ROWS || core.shutdown.has_begun() {
            return Ok(removed);
        }
    }
}

impl TwoPhase {
    /// Ends transactions whose clients are gone: those that have locks, began more than `age` ago, and whose primary
    /// lock has outlived its time. Without this they would hold back garbage collection for ever.
    pub async fn end_abandoned(&self, age: Duration) -> Result<(), TxnError> {
        let now_ms = self.core.oracle.now_millis();
        let now = Timestamp::from_millis(now_ms);
        let before = Timestamp::from_millis(now_ms.saturating_sub(age.as_millis() as u64));
        let old = |_: &Bytes, lock: &LockRecord| lock.start_ts < before;
        let locks = self.index().scan(&KeyRange::default(), false, OLD_LOCKS, old);
        let mut seen: HashSet<Timestamp, RandomState> = HashSet::default();
        for info in locks {
            let start_ts = info.lock.start_ts;
            if !seen.insert(start_ts) {
                continue;
            }
            let status = match self.final_status(start_ts)? {
                Some(status) => status,
                None => {
                    let primary = self.index().own(&info.lock.primary, start_ts);
                    let judge = primary.as_deref().unwrap_or(&info.lock);
                    if !judge.expired(now) {
                        continue;
                    }
                    FinalStatus::RolledBack
                }
            };
            tracing::info!(%start_ts, fate = ?status, "ending a transaction that its client has left");
            self.resolve(start_ts, status, &KeyRange::default(), None).await?;
        }
        Ok(())
    }
}
