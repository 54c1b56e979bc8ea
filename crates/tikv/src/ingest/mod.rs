//! Ingest: sorted pairs go past transactions straight into files of the stores, region by region, as versions of one
//! commit timestamp.
//!
//! Pairs are collected up to `ingest_job_bytes`, then a job (`job`) brings them into the regions they lie in while the
//! next ones are collected; so about twice that much is held. A job is repeated whole after any trouble: the same pairs
//! at the same timestamp again change nothing.
//!
//! Unlike the embedded engine's, an ingest here becomes visible job by job, before `finish`; and one that is dropped leaves
//! behind what went in already. That is harmless under the trait's own terms: the range is not readable yet, and whoever
//! gives it up deletes it.

mod job;

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use ilmenite_store::{Error, Ingest, IngestSummary, KeyRange, KvBatch, Result, Timestamp};
use tokio_util::task::AbortOnDropHandle;

use crate::key::check_key;
use crate::lock::Engine;
use crate::metrics::METRICS;
use crate::registry::Registry;
use job::{Pairs, Placed};

/// Pairs lie in pieces of this size, so that collecting them never moves much.
const PIECE_BYTES: usize = 1 << 20;

/// Keeps versions at the ingest's timestamp from being collected.
struct Hold {
    registry: Arc<Registry>,
    id: u64,
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.registry.end_ingest(self.id);
    }
}

pub(crate) struct TikvIngest {
    engine: Arc<Engine>,
    range: KeyRange,
    ts: Timestamp,
    pieces: Vec<Pairs>,
    piece: KvBatch,
    bytes: usize,
    last_key: Vec<u8>,
    summary: IngestSummary,
    /// The job under way.
    running: Option<AbortOnDropHandle<Result<Placed>>>,
    placed: Placed,
    /// It failed, or was given up half-way.
    broken: bool,
    _hold: Hold,
}

impl TikvIngest {
    pub(crate) async fn open(engine: Arc<Engine>, range: KeyRange, ts: Timestamp) -> Result<Self> {
        let hold = Hold {
            id: engine.registry.begin_ingest(ts),
            registry: engine.registry.clone(),
        };
        if ts > engine.cluster.pd.last_timestamp() && ts > engine.cluster.timestamp().await? {
            return Err(Error::IngestOrder(format!(
                "the timestamp {ts} lies in the future"
            )));
        }
        let safe_point = engine.cluster.pd.gc_safe_point().await?;
        if ts < safe_point {
            return Err(Error::SnapshotTooOld { ts, safe_point });
        }
        Ok(TikvIngest {
            engine,
            range,
            ts,
            pieces: Vec::new(),
            piece: KvBatch::new(),
            bytes: 0,
            last_key: Vec::new(),
            summary: IngestSummary::default(),
            running: None,
            placed: Placed::default(),
            broken: false,
            _hold: hold,
        })
    }

    fn check(&self, key: &[u8], first: bool) -> Result<()> {
        check_key(key)?;
        if !self.range.contains(key) {
            return Err(Error::IngestOrder(format!(
                "the key {key:02x?} lies outside of {:?}",
                self.range
            )));
        }
        if !first && key <= &self.last_key[..] {
            return Err(Error::IngestOrder(format!(
                "the key {key:02x?} comes after {:02x?}",
                self.last_key
            )));
        }
        Ok(())
    }

    async fn add(&mut self, batch: &KvBatch) -> Result<()> {
        for (key, value) in batch.iter() {
            self.check(key, self.summary.entries == 0)?;
            self.last_key.clear();
            self.last_key.extend_from_slice(key);
            self.piece.push(key, value);
            self.summary.entries += 1;
            let bytes = key.len() + value.len();
            self.summary.bytes += bytes as u64;
            self.bytes += bytes;
            if self.piece.bytes() >= PIECE_BYTES {
                self.end_piece();
            }
            if self.bytes >= self.engine.cluster.options.ingest_job_bytes {
                self.send().await?;
            }
        }
        Ok(())
    }

    fn end_piece(&mut self) {
        if !self.piece.is_empty() {
            let (data, entries) = std::mem::take(&mut self.piece).into_parts();
            self.pieces.push(Pairs { data, entries });
        }
    }

    /// Starts a job with what was collected, once the one before it has ended.
    async fn send(&mut self) -> Result<()> {
        self.end_piece();
        self.settle().await?;
        if self.pieces.is_empty() {
            return Ok(());
        }
        self.bytes = 0;
        let work = job::run(
            self.engine.cluster.clone(),
            std::mem::take(&mut self.pieces),
            self.ts,
            self.placed,
        );
        self.running = Some(AbortOnDropHandle::new(tokio::spawn(work)));
        Ok(())
    }

    async fn settle(&mut self) -> Result<()> {
        if let Some(mut running) = self.running.take() {
            let ended = (&mut running).await;
            self.placed = ended.unwrap_or_else(|e| Err(Error::Bug(format!("ingest: {e}"))))?;
        }
        Ok(())
    }
}

#[async_trait]
impl Ingest for TikvIngest {
    async fn write(&mut self, batch: &KvBatch) -> Result<()> {
        if self.broken {
            return Err(Error::IngestOrder("the ingest has failed before".into()));
        }
        // Also when this is dropped half-way.
        self.broken = true;
        self.add(batch).await?;
        self.broken = false;
        Ok(())
    }

    async fn finish(mut self: Box<Self>) -> Result<IngestSummary> {
        if self.broken {
            return Err(Error::IngestOrder("the ingest has failed before".into()));
        }
        self.send().await?;
        self.settle().await?;
        METRICS.ingest_entries.inc_by(self.summary.entries);
        METRICS.ingest_bytes.inc_by(self.summary.bytes);
        Ok(self.summary)
    }
}

impl Pairs {
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn key(&self, i: usize) -> Bytes {
        let (start, mid, _) = self.entries[i];
        self.data.slice(start as usize..mid as usize)
    }

    pub(crate) fn value(&self, i: usize) -> Bytes {
        let (_, mid, end) = self.entries[i];
        self.data.slice(mid as usize..end as usize)
    }

    pub(crate) fn bytes(&self, i: usize) -> usize {
        let (start, _, end) = self.entries[i];
        (end - start) as usize
    }
}
