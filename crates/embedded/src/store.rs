//! The engine as a `Store`.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use fjall::Snapshot;

use crate::commit;
use crate::core::Core;
use crate::delete_range::delete_range;
use crate::format;
use crate::gc::GcHoldRow;
use crate::gc_holds;
use crate::ingest::EmbeddedIngest;
use crate::maintenance::collect_garbage;
use crate::metrics::count_conflict;
use crate::open;
use crate::options::EmbeddedOptions;
use crate::read;
use crate::regions::regions;
use crate::scan::EmbeddedScan;
use ilmenite_store::{
    CommitRequest, Error, GcHold, Ingest, KeyRange, LockRequest, Region, Result, Scan, ScanOptions, Store,
    Timestamp,
};

/// The embedded engine. Dropping it closes it as `close` does, without reporting errors.
pub struct EmbeddedStore {
    pub(crate) core: Arc<Core>,
}

impl EmbeddedStore {
    /// Opens the store in `path`, creating it when the directory is missing or empty.
    /// Errors: `Locked`, `Damaged`, `DiskFull`, `Io`.
    pub fn open(path: impl Into<PathBuf>, options: EmbeddedOptions) -> Result<Self> {
        let core = open::open(path.into(), options, ilmenite_base::clock::wall_ms)?;
        Ok(EmbeddedStore { core })
    }

    /// One round of garbage collection, wherever there is any. Returns how many versions it removed. Blocks.
    pub fn run_gc(&self) -> Result<u64> {
        self.core.check_open()?;
        collect_garbage(&self.core, true)
    }

    /// The value of `key` at `ts`. `snapshot`: made for the first key that needs one.
    fn value(&self, snapshot: &mut Option<Snapshot>, key: &[u8], ts: Timestamp) -> Result<Option<Bytes>> {
        let Core { keyspaces, gc, .. } = &*self.core;
        self.core.check_open()?;
        gc.check_readable(ts)?;
        if let Some(value) = read::get_cached(keyspaces, key, ts) {
            return Ok(value);
        }
        let snapshot = snapshot.get_or_insert_with(|| keyspaces.db.snapshot());
        gc.check_readable(ts)?;
        read::get(keyspaces, snapshot, key, ts)
    }
}

impl Drop for EmbeddedStore {
    fn drop(&mut self) {
        if let Err(e) = open::close(&self.core) {
            tracing::error!(error = %e, "closing the store failed");
        }
    }
}

#[async_trait]
impl Store for EmbeddedStore {
    /// The directory is locked by this process.
    fn exclusive(&self) -> bool {
        true
    }

    async fn timestamp(&self) -> Result<Timestamp> {
        self.core.check_open()?;
        self.core.oracle.timestamp()
    }

    async fn begin_timestamp(&self) -> Result<Timestamp> {
        self.core.begin().await
    }

    async fn get(&self, key: &[u8], ts: Timestamp) -> Result<Option<Bytes>> {
        self.value(&mut None, key, ts)
    }

    async fn batch_get(&self, keys: &[Bytes], ts: Timestamp) -> Result<Vec<Option<Bytes>>> {
        let mut snapshot = None;
        keys.iter()
            .map(|key| self.value(&mut snapshot, key, ts))
            .collect()
    }

    fn scan(&self, range: KeyRange, ts: Timestamp, options: ScanOptions) -> Result<Box<dyn Scan>> {
        self.core.check_open()?;
        let keyspaces = self.core.keyspaces.clone();
        let scan = if options.bypass_cache && !options.reverse {
            EmbeddedScan::of_stored(keyspaces, &range, ts, options)
        } else {
            let snapshot = keyspaces.db.snapshot();
            EmbeddedScan::new(keyspaces, snapshot, &range, ts, options)
        };
        // The snapshot comes first: what it has stays.
        self.core.gc.check_readable(ts)?;
        Ok(Box::new(scan))
    }

    async fn versions(&self, key: &[u8], since: Timestamp) -> Result<Vec<(Timestamp, Option<Bytes>)>> {
        self.core.check_open()?;
        let snapshot = self.core.keyspaces.db.snapshot();
        self.core.gc.check_readable(since)?;
        read::versions(&self.core.keyspaces, &snapshot, key, since)
    }

    async fn lock(&self, request: LockRequest) -> Result<Vec<Option<Bytes>>> {
        let LockRequest {
            start_ts,
            keys,
            for_update_ts,
            wait,
        } = request;
        let Core {
            keyspaces,
            transactions,
            ..
        } = &*self.core;
        self.core.check_open()?;
        for key in &keys {
            format::check_key(key)?;
        }
        let taken = transactions.locks.lock(start_ts, &keys, wait).await?;
        // Commits that were under way on these keys held their locks until they were applied.
        let snapshot = keyspaces.db.snapshot();
        let mut values = Vec::with_capacity(keys.len());
        let mut existed = Vec::with_capacity(keys.len());
        for key in &keys {
            if let Some(value) = read::get_unchanged(keyspaces, key, for_update_ts) {
                existed.push((key.clone(), value.is_some()));
                values.push(value);
                continue;
            }
            let newest = read::newest(keyspaces, &snapshot, key, Timestamp::MAX)?;
            if let Some(v) = &newest
                && v.ts > for_update_ts
            {
                let conflict = Error::WriteConflict {
                    key: key.to_vec(),
                    start_ts: for_update_ts,
                    conflict_ts: v.ts,
                };
                count_conflict(&conflict);
                return Err(conflict);
            }
            existed.push((key.clone(), newest.is_some()));
            values.push(newest.and_then(|v| v.value().map(Bytes::copy_from_slice)));
        }
        transactions.locks.set_existence(start_ts, existed.into_iter());
        taken.keep();
        Ok(values)
    }

    async fn unlock(&self, start_ts: Timestamp, keys: Option<&[Bytes]>) -> Result<()> {
        match keys {
            Some(keys) => self.core.transactions.locks.unlock(start_ts, Some(keys)),
            None => self.core.transactions.end(start_ts),
        }
        Ok(())
    }

    async fn commit(&self, request: CommitRequest) -> Result<Timestamp> {
        self.core.check_open()?;
        commit::commit(&self.core, request).await
    }

    async fn regions(&self, range: &KeyRange) -> Result<Vec<Region>> {
        self.core.check_open()?;
        regions(&self.core.keyspaces, range)
    }

    async fn ingest(&self, range: KeyRange, ts: Timestamp) -> Result<Box<dyn Ingest>> {
        self.core.check_open()?;
        let ingest = EmbeddedIngest::new(self.core.clone(), range, ts)?;
        Ok(Box::new(ingest))
    }

    async fn delete_range(&self, range: KeyRange) -> Result<()> {
        self.core.check_open()?;
        let core = self.core.clone();
        // Milliseconds for a dropped keyspace, seconds for a large piece of one.
        let work = tokio::task::spawn_blocking(move || delete_range(&core, &range));
        work.await
            .unwrap_or_else(|e| Err(Error::Bug(format!("delete range: {e}"))))
    }

    async fn set_gc_hold(&self, hold: GcHold) -> Result<()> {
        let row = GcHoldRow {
            id: hold.id,
            ts: hold.ts,
            until_ms: None,
        };
        gc_holds::set(&self.core, row).await
    }

    async fn release_gc_hold(&self, id: &str) -> Result<()> {
        gc_holds::release(&self.core, id).await
    }

    async fn gc_holds(&self) -> Result<Vec<GcHold>> {
        let holds = self.core.gc.holds().into_iter();
        let hold = |row: GcHoldRow| GcHold {
            id: row.id,
            ts: row.ts,
        };
        Ok(holds.map(hold).collect())
    }

    async fn gc_safe_point(&self) -> Result<Timestamp> {
        Ok(self.core.gc.safe_point())
    }

    async fn close(&self) -> Result<()> {
        let core = self.core.clone();
        tokio::task::spawn_blocking(move || open::close(&core))
            .await
            .unwrap_or_else(|e| Err(Error::Bug(format!("close: {e}"))))
    }
}

/// What nobody has finished or given back yet, in this process.
#[cfg(any(test, feature = "testing"))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Unfinished {
    pub transactions: usize,
    pub ingests: usize,
    pub locked_keys: usize,
}

#[cfg(any(test, feature = "testing"))]
impl EmbeddedStore {
    pub fn unfinished(&self) -> Unfinished {
        Unfinished {
            transactions: self.core.transactions.count(),
            ingests: self.core.gc.ingests(),
            locked_keys: self.core.transactions.locks.len(),
        }
    }
}
