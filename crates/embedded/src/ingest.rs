//! Bulk writes of sorted pairs, past the journal and the memtable, straight into tables.
//!
//! The engine's writer borrows its keyspace, so each ingest has a thread that owns both; the caller's side checks order
//! and range (the engine only asserts them) and hands over copies of the batches, a few at a time.

use std::sync::Arc;
use std::thread::JoinHandle;

use async_trait::async_trait;
use fjall::{PersistMode, UserKey, UserValue};
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};

use crate::core::Core;
use crate::format;
use crate::keyspaces::VersionedKeyspace;
use crate::metrics::METRICS;
use ilmenite_base::background;
use ilmenite_store::{Error, Ingest, IngestSummary, KeyRange, KvBatch, Result, Timestamp};

/// Batches on their way to the writer, besides the one it works on.
const QUEUED_BATCHES: usize = 2;

enum Message {
    Batch(KvBatch),
    Finish(oneshot::Sender<Result<()>>),
}

struct Writer {
    messages: mpsc::Sender<Message>,
    prefix: Vec<u8>,
    thread: JoinHandle<()>,
    /// The error that made the thread end early.
    failed: Arc<Mutex<Option<Error>>>,
    /// Emptied batches, to be used again.
    pool: Arc<Mutex<Vec<KvBatch>>>,
}

pub(crate) struct EmbeddedIngest {
    core: Arc<Core>,
    range: KeyRange,
    ts: Timestamp,
    gc_hold: GcHoldGuard,
    writer: Option<Writer>,
    last_key: Vec<u8>,
    summary: IngestSummary,
    /// A write failed, or was given up half-way.
    broken: bool,
}

/// Keeps the safe point below the ingest's timestamp.
struct GcHoldGuard {
    core: Arc<Core>,
    id: u64,
}

impl Drop for GcHoldGuard {
    fn drop(&mut self) {
        self.core.gc.end_ingest(self.id);
    }
}

impl EmbeddedIngest {
    pub(crate) fn new(core: Arc<Core>, range: KeyRange, ts: Timestamp) -> Result<Self> {
        if ts > core.oracle.last() {
            return Err(Error::IngestOrder(format!(
                "the timestamp {ts} lies in the future"
            )));
        }
        let id = core.gc.begin_ingest(ts)?;
        Ok(EmbeddedIngest {
            gc_hold: GcHoldGuard {
                core: core.clone(),
                id,
            },
            core,
            range,
            ts,
            writer: None,
            last_key: Vec::new(),
            summary: IngestSummary::default(),
            broken: false,
        })
    }

    /// Order, range, sizes, and that all keys belong to the partition `prefix`.
    fn check(&self, batch: &KvBatch, prefix: &[u8]) -> Result<()> {
        let mut last: &[u8] = &self.last_key;
        for (key, value) in batch.iter() {
            if key <= last {
                return Err(Error::IngestOrder(format!(
                    "key {} does not follow {}",
                    hex::encode(key),
                    hex::encode(last)
                )));
            }
            if self.core.keyspaces.partition_of(key) != prefix {
                return Err(Error::IngestOrder(format!(
                    "key {} is of another partition than {}",
                    hex::encode(key),
                    hex::encode(prefix)
                )));
            }
            format::check_key(key)?;
            format::check_value(value)?;
            last = key;
        }
        // Ascending, so the ends tell for all.
        for key in [batch.key(0), last] {
            if !self.range.contains(key) {
                return Err(Error::IngestOrder(format!(
                    "key {} lies outside of {:?}",
                    hex::encode(key),
                    self.range
                )));
            }
        }
        Ok(())
    }

    fn start(&self, prefix: Vec<u8>) -> Result<Writer> {
        let (messages, receiver) = mpsc::channel(QUEUED_BATCHES);
        let failed = Arc::new(Mutex::new(None));
        let pool = Arc::new(Mutex::new(Vec::new()));
        let keyspace = {
            let pin = self.core.keyspaces.pin();
            self.core.keyspaces.obtain(&prefix, &pin)?
        };
        let thread = std::thread::Builder::new().name("store-ingest".into()).spawn({
            let (core, ts) = (self.core.clone(), self.ts);
            let (failed, pool) = (failed.clone(), pool.clone());
            let in_background = background::entered();
            move || {
                if in_background {
                    background::enter();
                }
                if let Err(e) = write_all(&core, &keyspace, ts, receiver, &pool) {
                    *failed.lock() = Some(e);
                }
            }
        });
        Ok(Writer {
            messages,
            prefix,
            thread: thread.map_err(|e| Error::Unavailable(format!("no thread for the ingest: {e}")))?,
            failed,
            pool,
        })
    }
}

impl Writer {
    /// Why the thread has ended.
    fn failure(self) -> Error {
        let panicked = self.thread.join().is_err();
        match self.failed.lock().take() {
            Some(e) => e,
            None if panicked => Error::Bug("the ingest's writer panicked".into()),
            None => Error::Bug("the ingest's writer ended early".into()),
        }
    }
}

#[async_trait]
impl Ingest for EmbeddedIngest {
    async fn write(&mut self, batch: &KvBatch) -> Result<()> {
        if batch.is_empty() {
            return Ok(());
        }
        if std::mem::replace(&mut self.broken, true) {
            return Err(Error::Bug("write to an ingest that has failed".into()));
        }
        self.core.check_space()?;
        let writer = match self.writer.take() {
            Some(writer) => {
                self.check(batch, &writer.prefix)?;
                writer
            }
            None => {
                let prefix = self.core.keyspaces.partition_of(batch.key(0)).to_vec();
                self.check(batch, &prefix)?;
                self.start(prefix)?
            }
        };
        self.last_key.clear();
        self.last_key.extend_from_slice(batch.key(batch.len() - 1));
        self.summary.entries += batch.len() as u64;
        self.summary.bytes += batch.bytes() as u64;
        let mut copy = writer.pool.lock().pop().unwrap_or_default();
        copy.copy_from(batch);
        if writer.messages.send(Message::Batch(copy)).await.is_err() {
            return Err(writer.failure());
        }
        self.writer = Some(writer);
        self.broken = false;
        Ok(())
    }

    async fn finish(mut self: Box<Self>) -> Result<IngestSummary> {
        if self.broken {
            return Err(Error::Bug("finish of an ingest that has failed".into()));
        }
        let Some(writer) = self.writer.take() else {
            return Ok(self.summary);
        };
        let (done, outcome) = oneshot::channel();
        if writer.messages.send(Message::Finish(done)).await.is_err() {
            return Err(writer.failure());
        }
        match outcome.await {
            Ok(outcome) => outcome?,
            Err(_) => return Err(writer.failure()),
        }
        METRICS.ingest_entries.inc_by(self.summary.entries);
        METRICS.ingest_bytes.inc_by(self.summary.bytes);
        drop(self.gc_hold);
        Ok(self.summary)
    }
}

/// The thread. When the sender is dropped without `Finish`, nothing it wrote becomes visible; tables already full stay
/// on disk as strays until the keyspace is dropped or the store is opened again.
fn write_all(
    core: &Core,
    keyspace: &Arc<VersionedKeyspace>,
    ts: Timestamp,
    mut messages: mpsc::Receiver<Message>,
    pool: &Mutex<Vec<KvBatch>>,
) -> Result<()> {
    let map_err = |e| core.keyspaces.map_error(e);
    let suffix = format::suffix(ts);
    let mut ingestion = keyspace.inner.start_ingestion().map_err(map_err)?;
    let mut entry = Vec::new();
    let mut raw = Vec::new();
    while let Some(message) = messages.blocking_recv() {
        match message {
            Message::Batch(batch) => {
                for (index, (key, value)) in batch.iter().enumerate() {
                    background::at(index);
                    entry.clear();
                    keyspace.encode_key(key, &mut entry);
                    entry.extend_from_slice(&suffix);
                    raw.clear();
                    raw.push(format::KIND_PUT);
                    raw.extend_from_slice(value);
                    ingestion
                        .write(UserKey::from(&entry[..]), UserValue::from(&raw[..]))
                        .map_err(map_err)?;
                }
                pool.lock().push(batch);
            }
            Message::Finish(done) => {
                let outcome = finish(core, keyspace, || ingestion.finish());
                // The caller may have given up waiting; what is done is done.
                let _ = done.send(outcome);
                return Ok(());
            }
        }
    }
    Ok(())
}

/// `attach` is the ingestion's own `finish` (its type has no public name).
fn finish(
    core: &Core,
    keyspace: &Arc<VersionedKeyspace>,
    attach: impl FnOnce() -> fjall::Result<()>,
) -> Result<()> {
    fail::fail_point!("embedded::ingest::before", |kind| Err(Error::injected(
        kind,
        Error::Io("injected before the ingest was finished".into())
    )));
    let pin = core.keyspaces.pin();
    if !core.keyspaces.is_current(keyspace, &pin) {
        return Err(Error::Aborted("the range was deleted during the ingest".into()));
    }
    // The tables are durable at once, past the journal: so must be what it says of their keyspace.
    core.keyspaces
        .db
        .persist(PersistMode::SyncData)
        .and_then(|()| attach())
        .map_err(|e| core.keyspaces.map_error(e))?;
    keyspace.cache.clear();
    fail::fail_point!("embedded::ingest::after", |kind| Err(Error::injected(
        kind,
        Error::Io("injected after the ingest was finished".into())
    )));
    Ok(())
}
