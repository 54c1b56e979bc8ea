//! A store in memory whose whole state can be copied and put back: what an exhaustive search needs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use ilmenite_store::*;
use parking_lot::Mutex;

/// Versions of a key, newest first.
pub type Versions = Vec<(u64, Option<Bytes>)>;

#[derive(Debug, Clone, Default)]
pub struct State {
    pub now: u64,
    pub data: BTreeMap<Bytes, Versions>,
    pub locks: BTreeMap<Bytes, u64>,
}

impl State {
    pub fn newest(&self, key: &[u8]) -> Option<Bytes> {
        self.data
            .get(key)
            .and_then(|v| v.first())
            .and_then(|(_, value)| value.clone())
    }

    fn read(&self, key: &[u8], ts: Timestamp) -> Option<Bytes> {
        let versions = self.data.get(key)?;
        versions
            .iter()
            .find(|(at, _)| *at <= ts.0)
            .and_then(|(_, value)| value.clone())
    }

    pub fn put(&mut self, key: Bytes, ts: u64, value: Option<Bytes>) {
        let versions = self.data.entry(key).or_default();
        versions.retain(|(at, _)| *at != ts);
        let at = versions
            .iter()
            .position(|(at, _)| *at < ts)
            .unwrap_or(versions.len());
        versions.insert(at, (ts, value));
    }
}

#[derive(Default)]
pub struct MemoryStore {
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
    store: Arc<Mutex<Vec<(Bytes, Bytes)>>>,
    target: StoreHandle,
    ts: Timestamp,
}

/// The store behind an ingest: it outlives the call that opened it.
type StoreHandle = Arc<MemoryStore>;

#[async_trait]
impl Ingest for MemoryIngest {
    async fn write(&mut self, batch: &KvBatch) -> Result<()> {
        let mut pairs = self.store.lock();
        pairs.extend(
            batch
                .iter()
                .map(|(k, v)| (Bytes::copy_from_slice(k), Bytes::copy_from_slice(v))),
        );
        Ok(())
    }

    async fn finish(self: Box<Self>) -> Result<IngestSummary> {
        let pairs = std::mem::take(&mut *self.store.lock());
        let summary = IngestSummary {
            entries: pairs.len() as u64,
            bytes: 0,
        };
        let mut state = self.target.state.lock();
        for (key, value) in pairs {
            state.put(key, self.ts.0, Some(value));
        }
        Ok(summary)
    }
}

/// The trait is implemented for a shared handle, so that ingests can keep the store.
pub struct Shared(pub StoreHandle);

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
        Ok(self.0.state.lock().read(key, ts))
    }

    async fn batch_get(&self, keys: &[Bytes], ts: Timestamp) -> Result<Vec<Option<Bytes>>> {
        let state = self.0.state.lock();
        Ok(keys.iter().map(|key| state.read(key, ts)).collect())
    }

    fn scan(&self, range: KeyRange, ts: Timestamp, options: ScanOptions) -> Result<Box<dyn Scan>> {
        let state = self.0.state.lock();
        let within = state.data.keys().filter(|key| range.contains(key));
        let mut pairs: Vec<_> = within
            .filter_map(|key| Some((key.clone(), state.read(key, ts)?)))
            .collect();
        if options.reverse {
            pairs.reverse();
        }
        pairs.truncate(options.limit);
        Ok(Box::new(Pairs {
            pairs: pairs.into_iter(),
        }))
    }

    async fn versions(&self, key: &[u8], since: Timestamp) -> Result<Vec<(Timestamp, Option<Bytes>)>> {
        let state = self.0.state.lock();
        let versions = state.data.get(key).into_iter().flatten();
        Ok(versions
            .filter(|(ts, _)| *ts >= since.0)
            .map(|(ts, value)| (Timestamp(*ts), value.clone()))
            .collect())
    }

    async fn lock(&self, request: LockRequest) -> Result<Vec<Option<Bytes>>> {
        let mut state = self.0.state.lock();
        let me = request.start_ts.0;
        for key in &request.keys {
            if let Some(holder) = state.locks.get(key).filter(|holder| **holder != me) {
                return Err(Error::LockNotAvailable {
                    key: key.to_vec(),
                    holder: Timestamp(*holder),
                });
            }
            let newest = state
                .data
                .get(key)
                .and_then(|v| v.first())
                .map_or(0, |(ts, _)| *ts);
            if newest > request.for_update_ts.0 {
                let (start_ts, conflict_ts) = (request.for_update_ts, Timestamp(newest));
                return Err(Error::WriteConflict {
                    key: key.to_vec(),
                    start_ts,
                    conflict_ts,
                });
            }
        }
        for key in &request.keys {
            state.locks.insert(key.clone(), me);
        }
        Ok(request.keys.iter().map(|key| state.newest(key)).collect())
    }

    async fn unlock(&self, start_ts: Timestamp, keys: Option<&[Bytes]>) -> Result<()> {
        if !self.0.mute.load(Ordering::Relaxed) {
            let mut state = self.0.state.lock();
            state
                .locks
                .retain(|key, holder| *holder != start_ts.0 || keys.is_some_and(|keys| !keys.contains(key)));
        }
        Ok(())
    }

    async fn commit(&self, request: CommitRequest) -> Result<Timestamp> {
        let mut state = self.0.state.lock();
        let me = request.start_ts.0;
        for mutation in &request.mutations {
            if let Some(holder) = state.locks.get(&mutation.key).filter(|holder| **holder != me) {
                let conflict_ts = Timestamp(*holder);
                return Err(Error::WriteConflict {
                    key: mutation.key.to_vec(),
                    start_ts: request.start_ts,
                    conflict_ts,
                });
            }
            let newest = state
                .data
                .get(&mutation.key)
                .and_then(|v| v.first())
                .map_or(0, |(ts, _)| *ts);
            if mutation.check != Check::None && newest > me {
                let conflict_ts = Timestamp(newest);
                return Err(Error::WriteConflict {
                    key: mutation.key.to_vec(),
                    start_ts: request.start_ts,
                    conflict_ts,
                });
            }
            if mutation.check == Check::MustNotExist && state.newest(&mutation.key).is_some() {
                return Err(Error::KeyExists {
                    key: mutation.key.to_vec(),
                });
            }
        }
        state.now += 1;
        let ts = state.now;
        for mutation in request.mutations {
            state.put(mutation.key, ts, mutation.value);
        }
        state.locks.retain(|_, holder| *holder != me);
        Ok(Timestamp(ts))
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
            store: Arc::default(),
            target: self.0.clone(),
            ts,
        }))
    }

    async fn delete_range(&self, range: KeyRange) -> Result<()> {
        self.0.state.lock().data.retain(|key, _| !range.contains(key));
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
