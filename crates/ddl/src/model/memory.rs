//! `ilmenite_store::memory` as a store whose whole state can be copied and put back: what an exhaustive search needs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use ilmenite_store::memory::{Memory, Refused};
use ilmenite_store::*;
use parking_lot::Mutex;

#[derive(Debug, Clone, Default)]
pub(super) struct State {
    pub now: u64,
    pub memory: Memory,
}

#[derive(Default)]
pub(super) struct MemoryStore {
    pub state: Mutex<State>,
    /// The next transaction gets this identity: one that was put aside goes on.
    pub next_start: Mutex<Option<u64>>,
    /// Ignore `unlock`: transactions are only put aside.
    pub mute: AtomicBool,
}

struct Pairs {
    pairs: std::vec::IntoIter<(Bytes, Bytes)>,
}

#[async_trait]
impl Scan for Pairs {
    async fn next_batch(&mut self, batch: &mut KvBatch) -> Result<bool> {
        batch.clear();
        for (key, value) in self.pairs.by_ref() {
            batch.push(&key, &value);
        }
        Ok(!batch.is_empty())
    }
}

struct MemoryIngest {
    pairs: Vec<(Bytes, Bytes)>,
    target: StoreHandle,
    ts: Timestamp,
}

/// The store behind an ingest: it outlives the call that opened it.
type StoreHandle = Arc<MemoryStore>;

#[async_trait]
impl Ingest for MemoryIngest {
    async fn write(&mut self, batch: &KvBatch) -> Result<()> {
        let pairs = batch.iter();
        self.pairs
            .extend(pairs.map(|(k, v)| (Bytes::copy_from_slice(k), Bytes::copy_from_slice(v))));
        Ok(())
    }

    async fn finish(self: Box<Self>) -> Result<IngestSummary> {
        let summary = IngestSummary {
            entries: self.pairs.len() as u64,
            bytes: 0,
        };
        let mut state = self.target.state.lock();
        for (key, value) in self.pairs {
            state.memory.put(key, self.ts, Some(value));
        }
        Ok(summary)
    }
}

/// The trait is implemented for a shared handle, so that ingests can keep the store.
pub(super) struct Shared(pub StoreHandle);

#[async_trait]
impl Store for Shared {
    async fn timestamp(&self) -> Result<Timestamp> {
        Ok(Timestamp(self.0.state.lock().now))
    }

    async fn begin_timestamp(&self) -> Result<Timestamp> {
        if let Some(start) = self.0.next_start.lock().take() {
            return Ok(Timestamp(start));
        }
        let mut state = self.0.state.lock();
        state.now += 1;
        Ok(Timestamp(state.now))
    }

    async fn get(&self, key: &[u8], ts: Timestamp) -> Result<Option<Bytes>> {
        Ok(self.0.state.lock().memory.read(key, ts))
    }

    async fn batch_get(&self, keys: &[Bytes], ts: Timestamp) -> Result<Vec<Option<Bytes>>> {
        let state = self.0.state.lock();
        Ok(keys.iter().map(|key| state.memory.read(key, ts)).collect())
    }

    fn scan(&self, range: KeyRange, ts: Timestamp, options: ScanOptions) -> Result<Box<dyn Scan>> {
        let options = ScanOptions {
            batch_bytes: usize::MAX,
            ..options
        };
        let pairs = self.0.state.lock().memory.scan(&range, ts, options).into_iter();
        Ok(Box::new(Pairs { pairs }))
    }

    async fn versions(&self, key: &[u8], since: Timestamp) -> Result<Vec<(Timestamp, Option<Bytes>)>> {
        Ok(self.0.state.lock().memory.versions(key, since))
    }

    async fn lock(&self, request: LockRequest) -> Result<Vec<Option<Bytes>>> {
        let locked = self.0.state.lock().memory.lock(&request);
        locked.map_err(|refused| match refused {
            Refused::Held { key, holder } => Error::LockNotAvailable {
                key: key.to_vec(),
                holder,
            },
            Refused::Conflict(error) => error,
        })
    }

    async fn unlock(&self, start_ts: Timestamp, keys: Option<&[Bytes]>) -> Result<()> {
        if !self.0.mute.load(Ordering::Relaxed) {
            self.0.state.lock().memory.unlock(start_ts, keys);
        }
        Ok(())
    }

    async fn commit(&self, request: CommitRequest) -> Result<Timestamp> {
        let mut state = self.0.state.lock();
        let ts = Timestamp(state.now + 1);
        state.memory.commit(request, ts)?;
        state.now += 1;
        Ok(ts)
    }

    async fn regions(&self, range: &KeyRange) -> Result<Vec<Region>> {
        Ok(vec![Region {
            id: 1,
            range: range.clone(),
            approximate_bytes: 0,
            approximate_keys: 0,
        }])
    }

    async fn ingest(&self, _: KeyRange, ts: Timestamp) -> Result<Box<dyn Ingest>> {
        Ok(Box::new(MemoryIngest {
            pairs: Vec::new(),
            target: self.0.clone(),
            ts,
        }))
    }

    async fn delete_range(&self, range: KeyRange) -> Result<()> {
        self.0.state.lock().memory.delete_range(&range);
        Ok(())
    }

    async fn set_gc_hold(&self, _: GcHold) -> Result<()> {
        Ok(())
    }

    async fn release_gc_hold(&self, _: &str) -> Result<()> {
        Ok(())
    }

    async fn gc_holds(&self) -> Result<Vec<GcHold>> {
        Ok(Vec::new())
    }

    async fn gc_safe_point(&self) -> Result<Timestamp> {
        Ok(Timestamp::ZERO)
    }
}
