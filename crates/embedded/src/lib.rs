//! The embedded engine: everything in one directory, on `fjall` (an LSM tree in Rust).
//!
//! What fjall gives: atomic batches over keyspaces, snapshots, recovery, bulk ingestion. What is ours: versions
//! (`format`, `read`), time (`oracle`), locks (`locks`), group commit (`commit`), a keyspace for each table and index
//! (`keyspaces`), garbage collection (`gc`), the detection of lost data (`watermark`), and, for those who serve the store
//! over the network, transactions in two phases (`twophase`).

mod commit;
mod compaction;
mod error;
mod format;
mod gc;
mod ingest;
mod journal;
mod keyspaces;
mod locks;
mod metrics;
mod oracle;
mod range;
mod range_cache;
mod read;
mod server;
mod tables;
pub mod twophase;
mod watermark;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use fjall::PersistMode;
use parking_lot::{Condvar, Mutex};
use serde::{Deserialize, Serialize};

use crate::metrics::METRICS;
use gc::Gc;
use ilmenite_store::{
    Check, CommitRequest, Durability, Error, GcHold, Ingest, KeyRange, LockRequest, Mutation, Region, Result,
    Scan, ScanOptions, Store, Timestamp,
};
use journal::BatchMark;
use keyspaces::{Keyspaces, meta_keys, meta_u64};
use locks::LockTable;
use oracle::Oracle;
use watermark::Batches;

pub use keyspaces::PartitionFn;
pub use server::ServiceSafePoint;

/// Holds on garbage collection are ordinary rows: this prefix and the hold's id.
const HOLD_PREFIX: &[u8] = b"i/gc/hold/";
/// Bounds what a restart must replay, and with it what memtables hold.
const MAX_JOURNAL_BYTES: u64 = 256 << 20;
/// One part in so many of the memory for blocks is for rows of the range cache.
const RANGE_CACHE_SHARE: u64 = 8;
/// How often the watermark is renewed while commits come in.
const WATERMARK_INTERVAL: Duration = Duration::from_secs(2);

#[derive(Debug, Clone)]
pub struct EmbeddedOptions {
    /// Sync the journal before a commit is acknowledged. Off: a crash of the machine (not of the process) may lose
    /// the last commits.
    pub sync: bool,
    /// Memory for blocks read from tables, and rows of ranges with many old versions.
    pub cache_bytes: u64,
    pub partition: PartitionFn,
    /// How long old versions stay readable.
    pub gc_life_time: Duration,
    /// How often garbage is looked for.
    pub gc_interval: Duration,
    /// A transaction older than this no longer holds back garbage collection.
    pub max_transaction_age: Duration,
    /// Commits and ingests are refused with `DiskFull` when less than this is free; those of rows that belong to no
    /// partition when less than a quarter of it is.
    pub reserve_disk_bytes: u64,
    /// Keys and values of one transaction.
    pub max_transaction_bytes: usize,
    /// Memory for the locks of one transaction, and of all.
    pub max_transaction_lock_bytes: usize,
    pub max_lock_bytes: usize,
    /// For whoever serves the store over the network: transactions may be committed in two phases, and their locks wait
    /// for their clients over restarts. Otherwise what such a server left is settled when the store is opened.
    pub two_phase: bool,
}

impl Default for EmbeddedOptions {
    fn default() -> Self {
        EmbeddedOptions {
            sync: true,
            cache_bytes: 256 << 20,
            partition: |_| None,
            gc_life_time: Duration::from_secs(600),
            gc_interval: Duration::from_secs(60),
            max_transaction_age: Duration::from_secs(3600),
            reserve_disk_bytes: 128 << 20,
            max_transaction_bytes: 128 << 20,
            max_transaction_lock_bytes: 256 << 20,
            max_lock_bytes: 1 << 30,
            two_phase: false,
        }
    }
}

/// What the store and its threads share.
struct Core {
    options: EmbeddedOptions,
    path: Arc<Path>,
    keyspaces: Arc<Keyspaces>,
    oracle: Oracle,
    locks: Arc<LockTable>,
    gc: Gc,
    two_phase: twophase::State,
    /// Where a client wants the safe point to go; zero: it follows the clock.
    gc_goal: AtomicU64,
    queue: commit::Queue,
    batches: Batches,
    /// Set when the store closes: long work ends early.
    stop: AtomicBool,
    /// Wakes the maintenance thread to end.
    stopped: (Mutex<bool>, Condvar),
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// Last, so that the directory is free only when the engine has let go of it.
    _lock: std::fs::File,
}

fn closed() -> Error {
    Error::Unavailable("the store is closed".into())
}

impl Core {
    fn check_open(&self) -> Result<()> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(closed());
        }
        Ok(())
    }

    fn check_space(&self) -> Result<()> {
        error::check_space(&self.path, self.options.reserve_disk_bytes)
    }

    /// For rows of no partition, which are few and small: leases, jobs, schemas. They may use three quarters of the
    /// reserve, or a full disk would take the node its lease, and nobody could be told why a build stands still.
    fn check_space_for_system(&self) -> Result<()> {
        error::check_space(&self.path, self.options.reserve_disk_bytes / 4)
    }

    /// The value of `key` at `ts`. `snapshot`: made for the first key that needs one.
    fn get(
        &self,
        snapshot: &mut Option<fjall::Snapshot>,
        key: &[u8],
        ts: Timestamp,
    ) -> Result<Option<Bytes>> {
        self.check_open()?;
        self.gc.check_readable(ts)?;
        if let Some(value) = read::get_cached(&self.keyspaces, key, ts) {
            return Ok(value);
        }
        let snapshot = snapshot.get_or_insert_with(|| self.keyspaces.db.snapshot());
        self.gc.check_readable(ts)?;
        read::get(&self.keyspaces, snapshot, key, ts)
    }

    /// One round of garbage collection.
    fn collect_garbage(&self, any: bool) -> Result<u64> {
        let goal = match self.gc_goal.load(Ordering::SeqCst) {
            0 => None,
            ts => Some(Timestamp(ts)),
        };
        let now_ms = self.oracle.now_millis();
        let limit = twophase::gc_limit(self);
        let removed = self
            .gc
            .run(&self.keyspaces, now_ms, goal, limit, any, &self.stop)?;
        // What a transaction has become is needed as long as it has locks.
        let known_since = self.gc.safe_point().min(twophase::gc_limit(self));
        twophase::forget(self, known_since)?;
        Ok(removed)
    }

    fn end_transaction(&self, start_ts: Timestamp) {
        self.locks.unlock(start_ts, None);
        self.gc.end(start_ts);
    }

    /// See `Store::close`. Blocks until the threads have ended.
    fn close(&self) -> Result<()> {
        self.stop.store(true, Ordering::SeqCst);
        self.queue.close();
        *self.stopped.0.lock() = true;
        self.stopped.1.notify_all();
        let threads = std::mem::take(&mut *self.threads.lock());
        if threads.is_empty() {
            return Ok(());
        }
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("a thread of the store panicked");
            }
        }
        // Time goes on from here at the next start, not from the bound.
        let last = self.oracle.last();
        self.keyspaces
            .meta
            .insert(meta_keys::TIMESTAMP_BOUND, last.0.to_be_bytes())
            .and_then(|()| self.keyspaces.db.persist(PersistMode::SyncAll))
            .map_err(|e| self.keyspaces.map_error(e))?;
        self.batches.synced_all();
        self.batches.save(&self.path)
    }
}

/// The embedded engine. Dropping it closes it as `close` does, without reporting errors.
pub struct EmbeddedStore {
    core: Arc<Core>,
}

impl EmbeddedStore {
    /// Opens the store in `path`, creating it when the directory is missing or empty.
    /// Errors: `Locked`, `Damaged`, `DiskFull`, `Io`.
    pub fn open(path: impl Into<PathBuf>, options: EmbeddedOptions) -> Result<Self> {
        Self::open_with_clock(path.into(), options, oracle::system_clock)
    }

    fn open_with_clock(path: PathBuf, options: EmbeddedOptions, clock: oracle::Clock) -> Result<Self> {
        let path: Arc<Path> = path.into();
        let opened = watermark::before_open(&path)?;
        let range_cache_bytes = options.cache_bytes / RANGE_CACHE_SHARE;
        let db = watermark::guarded(&path, || {
            fjall::Database::builder(&path)
                .cache_size(options.cache_bytes - range_cache_bytes)
                .max_journaling_size(MAX_JOURNAL_BYTES)
                .with_compaction_filter_factories(Arc::new(|_| Some(compaction::filter_factory())))
                .open()
        })?;
        let keyspaces = Keyspaces::open(
            db,
            path.clone(),
            options.partition,
            options.two_phase,
            range_cache_bytes as usize,
        )?;
        if opened.is_new() {
            // From here on a start that finds nothing has lost something.
            keyspaces
                .meta
                .insert(meta_keys::BATCH, BatchMark { number: 1, synced: 0 }.encode())
                .and_then(|()| keyspaces.db.persist(PersistMode::SyncAll))
                .map_err(|e| keyspaces.map_error(e))?;
        }
        let mark = keyspaces
            .meta
            .get(meta_keys::BATCH)
            .map_err(|e| keyspaces.map_error(e))?;
        let mark = mark.and_then(|row| BatchMark::decode(&row));
        let batches = watermark::after_open(&path, &opened, mark.map(|m| m.number))?;
        if opened.is_new() {
            batches.synced_all();
            batches.save(&path)?;
        }
        let keyspaces = Arc::new(keyspaces);

        let bound = Timestamp(meta_u64(&keyspaces, meta_keys::TIMESTAMP_BOUND)?.unwrap_or(0));
        let persist_bound = {
            let keyspaces = keyspaces.clone();
            // Clients over the network outlive a crash of this machine, and must not see their timestamps again.
            let outlived = options.two_phase && options.sync;
            Box::new(move |bound: Timestamp| {
                keyspaces
                    .meta
                    .insert(meta_keys::TIMESTAMP_BOUND, bound.0.to_be_bytes())
                    .and_then(|()| match outlived {
                        true => keyspaces.db.persist(PersistMode::SyncData),
                        false => Ok(()),
                    })
                    .map_err(|e| keyspaces.map_error(e))
            })
        };
        let safe_point = Timestamp(meta_u64(&keyspaces, meta_keys::GC_SAFE_POINT)?.unwrap_or(0));
        let gc_goal = if options.two_phase {
            meta_u64(&keyspaces, meta_keys::GC_GOAL)?.unwrap_or(0)
        } else {
            0
        };
        let core = Arc::new(Core {
            oracle: Oracle::new(bound, clock, persist_bound),
            locks: Arc::new(LockTable::new(
                options.max_transaction_lock_bytes,
                options.max_lock_bytes,
            )),
            gc: Gc::new(options.gc_life_time, options.max_transaction_age, safe_point),
            two_phase: twophase::State::new(),
            gc_goal: AtomicU64::new(gc_goal),
            queue: commit::Queue::new(),
            batches,
            stop: AtomicBool::new(false),
            stopped: (Mutex::new(false), Condvar::new()),
            threads: Mutex::default(),
            _lock: opened.lock,
            options,
            path,
            keyspaces,
        });
        load_holds(&core)?;
        twophase::load(&core)?;

        let store = EmbeddedStore { core: core.clone() };
        type Main = fn(&Core);
        let mains: [(&str, Main); 2] = [("store-commit", commit::run), ("store-maintenance", maintain)];
        for (name, main) in mains {
            let core = core.clone();
            let thread = std::thread::Builder::new()
                .name(name.into())
                .spawn(move || main(&core))
                .map_err(|e| Error::Unavailable(format!("no thread for {name}: {e}")))?;
            store.core.threads.lock().push(thread);
        }
        Ok(store)
    }

    /// One round of garbage collection, wherever there is any. Returns how many versions it removed. Blocks.
    pub fn run_gc(&self) -> Result<u64> {
        let core = &self.core;
        core.check_open()?;
        core.collect_garbage(true)
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
        let (transactions, ingests) = self.core.gc.open();
        Unfinished {
            transactions,
            ingests,
            locked_keys: self.core.locks.len(),
        }
    }
}

impl Drop for EmbeddedStore {
    fn drop(&mut self) {
        if let Err(e) = self.core.close() {
            tracing::error!(error = %e, "closing the store failed");
        }
    }
}

/// The maintenance thread: the watermark every few seconds, garbage collection every interval.
fn maintain(core: &Core) {
    let mut last_gc = Instant::now();
    loop {
        {
            let mut stopped = core.stopped.0.lock();
            let pause = WATERMARK_INTERVAL.min(core.options.gc_interval);
            if !*stopped {
                core.stopped.1.wait_for(&mut stopped, pause);
            }
            if *stopped {
                return;
            }
        }
        if let Err(e) = core.batches.save(&core.path) {
            tracing::warn!(error = %e, "renewing the watermark failed");
        }
        for keyspace in core.keyspaces.all() {
            keyspace.cache.tick();
        }
        if last_gc.elapsed() >= core.options.gc_interval {
            match core.collect_garbage(false) {
                Ok(0) => {}
                Ok(removed) => tracing::debug!(removed, "garbage collected"),
                Err(e) => tracing::warn!(error = %e, "garbage collection failed"),
            }
            last_gc = Instant::now();
        }
    }
}

fn load_holds(core: &Core) -> Result<()> {
    let range = KeyRange::prefix(HOLD_PREFIX);
    let mut scan = read::EmbeddedScan::new(
        core.keyspaces.clone(),
        core.keyspaces.db.snapshot(),
        &range,
        Timestamp::MAX,
        ScanOptions::default(),
    );
    let mut batch = ilmenite_store::KvBatch::new();
    while scan.fill(&mut batch)? {
        for (_, value) in batch.iter() {
            let hold: StoredHold = serde_json::from_slice(value).map_err(|e| Error::Damaged {
                path: core.keyspaces.default.inner.path().display().to_string(),
                detail: format!("a garbage collection hold that does not decode: {e}"),
            })?;
            core.gc.restore_hold(&hold.id, Some(hold.kept()));
        }
    }
    Ok(())
}

/// A hold's row: `GcHold`, and when it ends.
#[derive(Serialize, Deserialize)]
struct StoredHold {
    id: String,
    ts: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    until_ms: Option<u64>,
}

impl StoredHold {
    fn kept(&self) -> gc::Hold {
        gc::Hold {
            ts: self.ts,
            until_ms: self.until_ms,
        }
    }
}

fn hold_key(id: &str) -> Bytes {
    [HOLD_PREFIX, id.as_bytes()].concat().into()
}

impl EmbeddedStore {
    async fn put_hold(&self, hold: StoredHold) -> Result<()> {
        self.core.check_open()?;
        let value = serde_json::to_vec(&hold).map_err(|e| Error::Bug(e.to_string()))?;
        let before = self.core.gc.set_hold(&hold.id, hold.kept())?;
        let written = self.write_hold(&hold.id, Some(value.into())).await;
        if written.is_err() {
            self.core.gc.restore_hold(&hold.id, before);
        }
        written
    }

    async fn write_hold(&self, id: &str, value: Option<Bytes>) -> Result<()> {
        let start_ts = self.begin_timestamp().await?;
        let outcome = commit::commit(
            &self.core,
            CommitRequest {
                start_ts,
                mutations: vec![Mutation {
                    key: hold_key(id),
                    value,
                    check: Check::None,
                }],
                durability: Durability::Sync,
                ..CommitRequest::default()
            },
        )
        .await;
        if outcome.is_err() {
            self.core.end_transaction(start_ts);
        }
        outcome.map(drop)
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
        self.core.check_open()?;
        let ts = self.core.oracle.begin().await?;
        self.core.gc.begin(ts);
        Ok(ts)
    }

    async fn get(&self, key: &[u8], ts: Timestamp) -> Result<Option<Bytes>> {
        self.core.get(&mut None, key, ts)
    }

    async fn batch_get(&self, keys: &[Bytes], ts: Timestamp) -> Result<Vec<Option<Bytes>>> {
        let mut snapshot = None;
        keys.iter()
            .map(|key| self.core.get(&mut snapshot, key, ts))
            .collect()
    }

    fn scan(&self, range: KeyRange, ts: Timestamp, options: ScanOptions) -> Result<Box<dyn Scan>> {
        self.core.check_open()?;
        let keyspaces = self.core.keyspaces.clone();
        let scan = if options.bypass_cache && !options.reverse {
            read::EmbeddedScan::of_stored(keyspaces, &range, ts, options)
        } else {
            let snapshot = keyspaces.db.snapshot();
            read::EmbeddedScan::new(keyspaces, snapshot, &range, ts, options)
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
        self.core.check_open()?;
        for key in &keys {
            format::check_key(key)?;
        }
        let taken = self.core.locks.lock(start_ts, &keys, wait).await?;
        // Commits that were under way on these keys held their locks until they were applied.
        let snapshot = self.core.keyspaces.db.snapshot();
        let mut values = Vec::with_capacity(keys.len());
        let mut noted = Vec::with_capacity(keys.len());
        for key in &keys {
            if let Some(value) = read::get_unchanged(&self.core.keyspaces, key, for_update_ts) {
                noted.push((key.clone(), value.is_some()));
                values.push(value);
                continue;
            }
            let newest = read::newest(&self.core.keyspaces, &snapshot, key, Timestamp::MAX)?;
            if let Some(v) = &newest
                && v.ts > for_update_ts
            {
                METRICS.conflicts.with_label_values(&["write_conflict"]).inc();
                return Err(Error::WriteConflict {
                    key: key.to_vec(),
                    start_ts: for_update_ts,
                    conflict_ts: v.ts,
                });
            }
            noted.push((key.clone(), newest.is_some()));
            values.push(newest.and_then(|v| v.value().map(Bytes::copy_from_slice)));
        }
        self.core.locks.note_values(start_ts, noted.into_iter());
        taken.keep();
        Ok(values)
    }

    async fn unlock(&self, start_ts: Timestamp, keys: Option<&[Bytes]>) -> Result<()> {
        match keys {
            Some(keys) => self.core.locks.unlock(start_ts, Some(keys)),
            None => self.core.end_transaction(start_ts),
        }
        Ok(())
    }

    async fn commit(&self, request: CommitRequest) -> Result<Timestamp> {
        self.core.check_open()?;
        commit::commit(&self.core, request).await
    }

    async fn regions(&self, range: &KeyRange) -> Result<Vec<Region>> {
        self.core.check_open()?;
        range::regions(&self.core, range)
    }

    async fn ingest(&self, range: KeyRange, ts: Timestamp) -> Result<Box<dyn Ingest>> {
        self.core.check_open()?;
        Ok(Box::new(ingest::EmbeddedIngest::new(
            self.core.clone(),
            range,
            ts,
        )?))
    }

    async fn delete_range(&self, range: KeyRange) -> Result<()> {
        self.core.check_open()?;
        let core = self.core.clone();
        // Milliseconds for a dropped keyspace, seconds for a large piece of one.
        let work = tokio::task::spawn_blocking(move || range::delete_range(&core, &range));
        work.await
            .unwrap_or_else(|e| Err(Error::Bug(format!("delete range: {e}"))))
    }

    async fn set_gc_hold(&self, hold: GcHold) -> Result<()> {
        self.put_hold(StoredHold {
            id: hold.id,
            ts: hold.ts,
            until_ms: None,
        })
        .await
    }

    async fn release_gc_hold(&self, id: &str) -> Result<()> {
        self.core.check_open()?;
        self.write_hold(id, None).await?;
        self.core.gc.restore_hold(id, None);
        Ok(())
    }

    async fn gc_holds(&self) -> Result<Vec<GcHold>> {
        Ok(self.core.gc.holds().into_iter().map(|(hold, _)| hold).collect())
    }

    async fn gc_safe_point(&self) -> Result<Timestamp> {
        Ok(self.core.gc.safe_point())
    }

    async fn close(&self) -> Result<()> {
        let core = self.core.clone();
        tokio::task::spawn_blocking(move || core.close())
            .await
            .unwrap_or_else(|e| Err(Error::Bug(format!("close: {e}"))))
    }
}

#[cfg(test)]
mod tests;
