//! Transactions, the same over every engine: a buffer of writes over a snapshot, with savepoints.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::future::Future;
use std::ops::Bound;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::BoxFuture;
use ilmenite_base::RetryPolicy;

use crate::{
    Check, CommitRequest, Durability, Error, KeyRange, KvBatch, LockRequest, Mutation, Precondition, Result,
    Scan, ScanOptions, StoreRef, Timestamp,
};

/// Keys and values a transaction may buffer, unless told otherwise; TiDB's default.
const DEFAULT_LIMIT_BYTES: usize = 100 << 20;
/// What a buffered write takes besides its bytes, about.
const WRITE_OVERHEAD_BYTES: usize = 96;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TxnMode {
    /// Conflicts are found at commit.
    Optimistic,
    /// Keys are locked before they are written.
    Pessimistic,
}

#[derive(Debug, Clone, Copy, Default)]
pub struct CommitOptions {
    /// See `CommitRequest::max_commit_ts`.
    pub max_commit_ts: Option<Timestamp>,
    pub durability: Durability,
}

/// A state of the transaction's buffer to go back to. Valid until the transaction goes back to an earlier one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Savepoint {
    undo: usize,
    preconditions: usize,
}

#[derive(Debug, Clone)]
struct Write {
    value: Option<Bytes>,
    check: Check,
    /// Savepoints taken before it: of several writes of a key between two savepoints only the first needs an undo.
    epoch: u64,
}

struct Undo {
    key: Bytes,
    before: Option<Write>,
}

/// One transaction. Dropped without `commit` or `rollback`, it rolls back: its locks are given back.
pub struct Transaction {
    store: StoreRef,
    mode: TxnMode,
    start_ts: Timestamp,
    read_ts: Timestamp,
    writes: BTreeMap<Bytes, Write>,
    preconditions: Vec<Precondition>,
    undo: Vec<Undo>,
    /// Savepoints taken so far; with none, nothing is noted for undoing.
    epoch: u64,
    bytes: usize,
    limit_bytes: usize,
    ended: bool,
}

impl Transaction {
    pub async fn begin(store: &StoreRef, mode: TxnMode) -> Result<Self> {
        let start_ts = store.begin_timestamp().await?;
        Ok(Transaction {
            store: store.clone(),
            mode,
            start_ts,
            read_ts: start_ts,
            writes: BTreeMap::new(),
            preconditions: Vec::new(),
            undo: Vec::new(),
            epoch: 0,
            bytes: 0,
            limit_bytes: DEFAULT_LIMIT_BYTES,
            ended: false,
        })
    }

    pub fn mode(&self) -> TxnMode {
        self.mode
    }

    /// Its identity.
    pub fn start_ts(&self) -> Timestamp {
        self.start_ts
    }

    /// What it reads at by default: its start.
    pub fn read_ts(&self) -> Timestamp {
        self.read_ts
    }

    pub fn store(&self) -> &StoreRef {
        &self.store
    }

    /// Bounds the buffer; a write beyond it is `TooLarge`.
    pub fn set_limit_bytes(&mut self, limit_bytes: usize) {
        self.limit_bytes = limit_bytes;
    }

    /// Bytes buffered, what savepoints keep included.
    pub fn buffered_bytes(&self) -> usize {
        self.bytes
    }

    pub fn is_read_only(&self) -> bool {
        self.writes.is_empty() && self.preconditions.is_empty()
    }

    /// The transaction's own write of `key`, if there is one (`Some(None)`: deleted).
    pub fn buffered(&self, key: &[u8]) -> Option<Option<&Bytes>> {
        self.writes.get(key).map(|w| w.value.as_ref())
    }

    /// The transaction's writes so far, in key order; `None` for a delete.
    pub fn buffered_writes(&self) -> impl Iterator<Item = (&Bytes, Option<&Bytes>)> {
        self.writes.iter().map(|(key, w)| (key, w.value.as_ref()))
    }

    pub async fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        self.get_at(key, self.read_ts).await
    }

    /// `get`, with the snapshot at `ts` instead of the start (current reads of pessimistic transactions).
    pub async fn get_at(&self, key: &[u8], ts: Timestamp) -> Result<Option<Bytes>> {
        match self.writes.get(key) {
            Some(write) => Ok(write.value.clone()),
            None => self.store.get(key, ts).await,
        }
    }

    pub async fn batch_get(&self, keys: &[Bytes]) -> Result<Vec<Option<Bytes>>> {
        self.batch_get_at(keys, self.read_ts).await
    }

    pub async fn batch_get_at(&self, keys: &[Bytes], ts: Timestamp) -> Result<Vec<Option<Bytes>>> {
        if self.writes.is_empty() {
            return self.store.batch_get(keys, ts).await;
        }
        let missing: Vec<Bytes> = keys
            .iter()
            .filter(|key| !self.writes.contains_key(*key))
            .cloned()
            .collect();
        let mut read = self.store.batch_get(&missing, ts).await?.into_iter();
        Ok(keys
            .iter()
            .map(|key| match self.writes.get(key) {
                Some(write) => write.value.clone(),
                None => read.next().flatten(),
            })
            .collect())
    }

    /// A scan of the snapshot with the transaction's writes as they are now; later ones do not show in it.
    pub fn scan(&self, range: KeyRange, options: ScanOptions) -> Result<Box<dyn Scan>> {
        self.scan_at(range, self.read_ts, options)
    }

    pub fn scan_at(&self, range: KeyRange, ts: Timestamp, options: ScanOptions) -> Result<Box<dyn Scan>> {
        let end = if range.end.is_empty() {
            Bound::Unbounded
        } else {
            Bound::Excluded(&range.end)
        };
        let mut own: Vec<(Bytes, Option<Bytes>)> = Vec::new();
        if !self.writes.is_empty() && !range.is_empty() {
            let within = self
                .writes
                .range::<Bytes, _>((Bound::Included(&range.start), end));
            own.extend(within.map(|(key, w)| (key.clone(), w.value.clone())));
        }
        if own.is_empty() {
            return self.store.scan(range, ts, options);
        }
        if !options.reverse {
            // The next one is taken from the end.
            own.reverse();
        }
        let below = ScanOptions {
            // As many as the transaction may have deleted are read besides.
            limit: options.limit.saturating_add(own.len()),
            ..options
        };
        Ok(Box::new(MergedScan {
            store: self.store.scan(range, ts, below)?,
            own,
            options,
            remaining: options.limit,
            batch: KvBatch::new(),
            next: 0,
            ended: false,
        }))
    }

    /// Locks the keys (all or none) and returns their newest values, with the transaction's own writes over them.
    pub async fn lock(
        &mut self,
        keys: Vec<Bytes>,
        for_update_ts: Timestamp,
        wait: Duration,
    ) -> Result<Vec<Option<Bytes>>> {
        let own: Vec<_> = keys
            .iter()
            .map(|key| self.writes.get(key).map(|w| w.value.clone()))
            .collect();
        let newest = self
            .store
            .lock(LockRequest {
                start_ts: self.start_ts,
                keys,
                for_update_ts,
                wait,
            })
            .await?;
        Ok(newest
            .into_iter()
            .zip(own)
            .map(|(newest, own)| own.unwrap_or(newest))
            .collect())
    }

    /// Gives back locks before the end: those a failed statement took.
    pub async fn unlock(&self, keys: &[Bytes]) -> Result<()> {
        self.store.unlock(self.start_ts, Some(keys)).await
    }

    pub fn put(&mut self, key: impl Into<Bytes>, value: impl Into<Bytes>, check: Check) -> Result<()> {
        self.write(key.into(), Some(value.into()), check)
    }

    pub fn delete(&mut self, key: impl Into<Bytes>, check: Check) -> Result<()> {
        self.write(key.into(), None, check)
    }

    /// What the store must check of a key is settled by the transaction's first write of it: what follows is a matter
    /// of its own buffer. Only `None` may still become `Unchanged`.
    fn write(&mut self, key: Bytes, value: Option<Bytes>, check: Check) -> Result<()> {
        let added = write_bytes(&key, value.as_ref());
        if self.bytes + added > self.limit_bytes {
            return Err(Error::TooLarge {
                what: "transaction",
                size: self.bytes + added,
                limit: self.limit_bytes,
            });
        }
        self.bytes += added;
        let epoch = self.epoch;
        match self.writes.entry(key) {
            Entry::Vacant(entry) => {
                if epoch > 0 {
                    let key = entry.key().clone();
                    self.bytes += write_bytes(&key, None);
                    self.undo.push(Undo { key, before: None });
                }
                entry.insert(Write { value, check, epoch });
            }
            Entry::Occupied(mut entry) => {
                let check = match (entry.get().check, check) {
                    (Check::None, Check::Unchanged) => Check::Unchanged,
                    (first, _) => first,
                };
                let before = entry.insert(Write { value, check, epoch });
                let key = entry.key();
                if before.epoch < epoch {
                    let key = key.clone();
                    let before = Some(before);
                    self.undo.push(Undo { key, before });
                } else {
                    self.bytes -= write_bytes(key, before.value.as_ref());
                }
            }
        }
        Ok(())
    }

    /// Marks the state to go back to. Cheap: meant for every statement.
    pub fn savepoint(&mut self) -> Savepoint {
        self.epoch += 1;
        Savepoint {
            undo: self.undo.len(),
            preconditions: self.preconditions.len(),
        }
    }

    /// Undoes every write since. Locks stay.
    pub fn rollback_to(&mut self, savepoint: Savepoint) {
        while self.undo.len() > savepoint.undo
            && let Some(Undo { key, before }) = self.undo.pop()
        {
            let noted = match &before {
                // Its bytes stay counted: they go back to the buffer.
                Some(_) => 0,
                None => write_bytes(&key, None),
            };
            let undone = match before {
                Some(before) => self.writes.insert(key.clone(), before),
                None => self.writes.remove(&key),
            };
            let undone = undone.map_or(0, |w| write_bytes(&key, w.value.as_ref()));
            self.bytes = self.bytes.saturating_sub(noted + undone);
        }
        self.preconditions.truncate(savepoint.preconditions);
    }

    /// Makes every savepoint invalid and frees what they kept: between statements when the user has set none.
    pub fn forget_savepoints(&mut self) {
        let kept: usize = self
            .undo
            .drain(..)
            .map(|undo| write_bytes(&undo.key, undo.before.as_ref().and_then(|w| w.value.as_ref())))
            .sum();
        self.bytes = self.bytes.saturating_sub(kept);
        self.epoch = 0;
        for write in self.writes.values_mut() {
            write.epoch = 0;
        }
    }

    /// The commit fails with `PreconditionFailed` unless `key` then has exactly this value (`None`: is absent).
    pub fn require(&mut self, key: impl Into<Bytes>, value: Option<Bytes>) {
        self.preconditions.push(Precondition {
            key: key.into(),
            value,
        });
    }

    /// All or nothing, see `Store::commit`. On any error the transaction is rolled back.
    pub async fn commit(mut self, options: CommitOptions) -> Result<Timestamp> {
        let writes = std::mem::take(&mut self.writes);
        let request = CommitRequest {
            start_ts: self.start_ts,
            mutations: writes
                .into_iter()
                .map(|(key, w)| Mutation {
                    key,
                    value: w.value,
                    check: w.check,
                })
                .collect(),
            preconditions: std::mem::take(&mut self.preconditions),
            max_commit_ts: options.max_commit_ts,
            durability: options.durability,
        };
        let commit_ts = self.store.commit(request).await?;
        self.ended = true;
        Ok(commit_ts)
    }

    pub async fn rollback(mut self) -> Result<()> {
        let unlocked = self.store.unlock(self.start_ts, None).await;
        self.ended = unlocked.is_ok();
        unlocked
    }
}

fn write_bytes(key: &Bytes, value: Option<&Bytes>) -> usize {
    key.len() + value.map_or(0, Bytes::len) + WRITE_OVERHEAD_BYTES
}

impl Drop for Transaction {
    /// The embedded engine unlocks without waiting; for one that must wait, a task of the runtime goes on with it, and
    /// outside of a runtime the locks run out by their time to live.
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        let (store, start_ts) = (self.store.clone(), self.start_ts);
        let mut unlock: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(async move {
            if let Err(e) = store.unlock(start_ts, None).await {
                tracing::warn!(error = %e, %start_ts, "giving back a transaction's locks failed");
            }
        });
        let polled = unlock.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        if let (Poll::Pending, Ok(runtime)) = (polled, tokio::runtime::Handle::try_current()) {
            runtime.spawn(unlock);
        }
    }
}

/// A scan of the store with a transaction's writes over it.
struct MergedScan {
    store: Box<dyn Scan>,
    /// The transaction's writes in the range; the next one in scan order last.
    own: Vec<(Bytes, Option<Bytes>)>,
    options: ScanOptions,
    remaining: usize,
    batch: KvBatch,
    next: usize,
    ended: bool,
}

#[async_trait]
impl Scan for MergedScan {
    async fn next_batch(&mut self, out: &mut KvBatch) -> Result<bool> {
        out.clear();
        while self.remaining > 0 && out.bytes() < self.options.batch_bytes.max(1) {
            if self.next == self.batch.len() && !self.ended {
                self.next = 0;
                self.ended = !self.store.next_batch(&mut self.batch).await?;
                if self.ended {
                    self.batch.clear();
                }
                continue;
            }
            let stored = (self.next < self.batch.len()).then(|| self.batch.key(self.next));
            let order = match (stored, self.own.last()) {
                (None, None) => break,
                (Some(_), None) => std::cmp::Ordering::Less,
                (None, Some(_)) => std::cmp::Ordering::Greater,
                (Some(stored), Some((own, _))) if self.options.reverse => own[..].cmp(stored),
                (Some(stored), Some((own, _))) => stored.cmp(&own[..]),
            };
            if order.is_le() {
                self.next += 1;
            }
            if order.is_lt() {
                out.push(self.batch.key(self.next - 1), self.batch.value(self.next - 1));
                self.remaining -= 1;
            } else if let Some((key, Some(value))) = self.own.pop() {
                let value: &[u8] = if self.options.key_only { &[] } else { &value };
                out.push(&key, value);
                self.remaining -= 1;
            }
        }
        Ok(!out.is_empty())
    }
}

/// Of `run_txn`.
const RUN: RetryPolicy = RetryPolicy {
    max_attempts: 30,
    max_elapsed: Duration::from_secs(10),
    base_delay: Duration::from_millis(2),
    max_delay: Duration::from_millis(100),
};

/// Runs `body` in a small optimistic transaction and commits it, again from the start when another transaction got in
/// between: for the rows of catalogs, jobs and tasks. `body` reads with `txn.get` and writes with `Check::Unchanged`,
/// and must do nothing else that cannot be repeated. The last conflict is returned when the bounds are reached.
pub async fn run_txn<T, E, F>(
    store: &StoreRef,
    options: CommitOptions,
    mut body: F,
) -> std::result::Result<T, E>
where
    E: From<Error>,
    F: for<'t> FnMut(&'t mut Transaction) -> BoxFuture<'t, std::result::Result<T, E>> + Send,
{
    let mut attempts = RUN.begin();
    loop {
        let mut txn = Transaction::begin(store, TxnMode::Optimistic).await?;
        let value = body(&mut txn).await?;
        match txn.commit(options).await {
            Ok(_) => return Ok(value),
            Err(conflict @ Error::WriteConflict { .. }) => {
                if !attempts.again().await {
                    return Err(conflict.into());
                }
            }
            Err(e) => return Err(e.into()),
        }
    }
}
