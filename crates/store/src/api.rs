//! The store's one trait. No engine's type appears in it, so that the embedded engine and TiKV look the same from
//! above: timestamps, snapshots, pessimistic locks, conditional commits, regions, ingest at a timestamp, delete
//! range, and holds on garbage collection.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{KvBatch, Result};

/// A point in the store's time, TiDB's form: milliseconds since 1970 << 18 | counter.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub u64);

impl Timestamp {
    pub const ZERO: Timestamp = Timestamp(0);
    pub const MAX: Timestamp = Timestamp(u64::MAX);
    pub const LOGICAL_BITS: u32 = 18;

    pub fn from_millis(millis: u64) -> Self {
        Timestamp(millis << Self::LOGICAL_BITS)
    }

    pub fn millis(self) -> u64 {
        self.0 >> Self::LOGICAL_BITS
    }

    /// This time, later by `d` (to the millisecond).
    pub fn plus(self, d: Duration) -> Self {
        Timestamp(
            self.0
                .saturating_add((d.as_millis() as u64) << Self::LOGICAL_BITS),
        )
    }

    pub fn next(self) -> Self {
        Timestamp(self.0 + 1)
    }

    pub fn prev(self) -> Self {
        Timestamp(self.0.saturating_sub(1))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Keys from `start`, inclusive, to `end`, exclusive. An empty `end` means "to the end of the key space".
#[derive(Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct KeyRange {
    pub start: Bytes,
    pub end: Bytes,
}

impl KeyRange {
    pub fn new(start: impl Into<Bytes>, end: impl Into<Bytes>) -> Self {
        KeyRange {
            start: start.into(),
            end: end.into(),
        }
    }

    /// All keys that begin with `prefix`.
    pub fn prefix(prefix: &[u8]) -> Self {
        KeyRange {
            start: Bytes::copy_from_slice(prefix),
            end: prefix_end(prefix),
        }
    }

    pub fn contains(&self, key: &[u8]) -> bool {
        key >= &self.start[..] && (self.end.is_empty() || key < &self.end[..])
    }

    pub fn is_empty(&self) -> bool {
        !self.end.is_empty() && self.start >= self.end
    }
}

impl fmt::Debug for KeyRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{:02x?}, {:02x?})", &self.start[..], &self.end[..])
    }
}

/// The first key after all keys that begin with `prefix`; empty when there is none.
pub fn prefix_end(prefix: &[u8]) -> Bytes {
    let mut end = prefix.to_vec();
    while let Some(last) = end.last_mut() {
        if *last < 0xff {
            *last += 1;
            return end.into();
        }
        end.pop();
    }
    Bytes::new()
}

/// A contiguous piece of the key space, the unit of placement. Planning uses them; nothing's correctness rests on them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Region {
    pub id: u64,
    pub range: KeyRange,
    /// An estimate, of all versions as stored.
    pub approximate_bytes: u64,
    pub approximate_keys: u64,
}

#[derive(Debug, Clone, Copy)]
pub struct ScanOptions {
    pub reverse: bool,
    /// Keys only: values come back empty.
    pub key_only: bool,
    /// At most so many pairs in all; `usize::MAX` for no limit.
    pub limit: usize,
    /// About so many bytes a batch.
    pub batch_bytes: usize,
    /// Past copies of rows that an engine may have in memory, and without making any: for checks of what is stored, and for
    /// long reads.
    pub bypass_cache: bool,
}

impl Default for ScanOptions {
    fn default() -> Self {
        ScanOptions {
            reverse: false,
            key_only: false,
            limit: usize::MAX,
            batch_bytes: 256 << 10,
            bypass_cache: false,
        }
    }
}

/// An open scan. Each call replaces the batch's content with the next pairs, in scan order; `false` means the end.
#[async_trait]
pub trait Scan: Send {
    async fn next_batch(&mut self, batch: &mut KvBatch) -> Result<bool>;
}

/// What must hold of a key for a mutation of it to be committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    /// Nothing: the caller holds a pessimistic lock on it, or on the row that owns it.
    None,
    /// No version newer than the transaction's start timestamp (optimistic).
    Unchanged,
    /// No live value now (INSERT into a unique key), and unchanged.
    MustNotExist,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mutation {
    pub key: Bytes,
    /// `None` deletes.
    pub value: Option<Bytes>,
    pub check: Check,
}

/// A condition on a key that the transaction reads but does not write, checked atomically with the commit: fencing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Precondition {
    pub key: Bytes,
    /// The exact value it must have now; `None`: it must be absent.
    pub value: Option<Bytes>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// Survives a crash once acknowledged.
    #[default]
    Sync,
    /// May be lost in a crash: for rows that mean nothing after one (leases, progress figures).
    Relaxed,
}

#[derive(Debug, Clone, Default)]
pub struct CommitRequest {
    /// The transaction's identity, from `Store::begin_timestamp`.
    pub start_ts: Timestamp,
    /// Keys unique; any order.
    pub mutations: Vec<Mutation>,
    pub preconditions: Vec<Precondition>,
    /// Refuse the commit when its timestamp would be greater: the end of the node's lease.
    pub max_commit_ts: Option<Timestamp>,
    pub durability: Durability,
}

#[derive(Debug, Clone)]
pub struct LockRequest {
    pub start_ts: Timestamp,
    pub keys: Vec<Bytes>,
    /// A version newer than this is a `WriteConflict` (the statement retries with a newer one).
    pub for_update_ts: Timestamp,
    /// How long to wait for other holders; zero: NOWAIT.
    pub wait: Duration,
}

/// Receives sorted pairs and makes all of them visible, as versions with one given commit timestamp, in `finish`.
/// Dropping it without `finish` leaves nothing behind.
#[async_trait]
pub trait Ingest: Send {
    /// Keys strictly ascending over all calls, and within the range; otherwise `Error::IngestOrder`.
    async fn write(&mut self, batch: &KvBatch) -> Result<()>;
    async fn finish(self: Box<Self>) -> Result<IngestSummary>;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct IngestSummary {
    pub entries: u64,
    pub bytes: u64,
}

/// A promise not to garbage-collect versions visible at `ts`. Kept in the store: it survives restarts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GcHold {
    /// Who holds, e.g. `ddl/42`. Setting it again replaces the hold.
    pub id: String,
    pub ts: Timestamp,
}

#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// A timestamp to read at: everything acknowledged before the call is visible at it, nothing committed after
    /// the call's return will ever be. Monotone.
    async fn timestamp(&self) -> Result<Timestamp>;

    /// A unique timestamp, to identify a transaction with, and as good to read at as one of `timestamp`.
    /// It holds back garbage collection until `commit` succeeds, `unlock(start_ts, None)`, or it is too old.
    async fn begin_timestamp(&self) -> Result<Timestamp>;

    async fn get(&self, key: &[u8], ts: Timestamp) -> Result<Option<Bytes>>;

    /// In the order of `keys`.
    async fn batch_get(&self, keys: &[Bytes], ts: Timestamp) -> Result<Vec<Option<Bytes>>>;

    /// Opens a scan; the versions it may return are fixed here. Dropping it frees its resources.
    fn scan(&self, range: KeyRange, ts: Timestamp, options: ScanOptions) -> Result<Box<dyn Scan>>;

    /// Every version of `key` committed at or after `since`, newest first: for reconciling. `None` is a delete marker.
    async fn versions(&self, key: &[u8], since: Timestamp) -> Result<Vec<(Timestamp, Option<Bytes>)>>;

    /// Locks all `keys` for the transaction, or none, and returns their newest values, in order.
    /// Keys it already holds are no conflict. Waiters are served in order; deadlocks are found.
    async fn lock(&self, request: LockRequest) -> Result<Vec<Option<Bytes>>>;

    /// Gives back the locks on `keys` (a statement rolled back), or with `None` all of them (the transaction ends).
    async fn unlock(&self, start_ts: Timestamp, keys: Option<&[Bytes]>) -> Result<()>;

    /// All or nothing. Returns the commit timestamp once visible and (by `durability`) durable; frees the locks.
    /// On any error nothing was written, except `Undetermined`; locks stay until `unlock`.
    /// Writing a key on which another transaction holds a pessimistic lock is a `WriteConflict` at once, never a wait.
    async fn commit(&self, request: CommitRequest) -> Result<Timestamp>;

    /// The regions that cover `range`, in key order: contiguous, at least one.
    async fn regions(&self, range: &KeyRange) -> Result<Vec<Region>>;

    /// Opens a bulk write of `range` at commit timestamp `ts`. Readers at `ts` or later see the pairs appear at
    /// `finish`, so the range must not be readable yet. Versions newer than `ts` stay in front. The same pairs at
    /// the same `ts` again change nothing.
    async fn ingest(&self, range: KeyRange, ts: Timestamp) -> Result<Box<dyn Ingest>>;

    /// Removes every version of every key in `range`, for good and not transactionally: only for ranges that no
    /// reader or writer can reach any more. Idempotent.
    async fn delete_range(&self, range: KeyRange) -> Result<()>;

    async fn set_gc_hold(&self, hold: GcHold) -> Result<()>;
    async fn release_gc_hold(&self, id: &str) -> Result<()>;
    async fn gc_holds(&self) -> Result<Vec<GcHold>>;

    /// Snapshots at or before it may be refused with `SnapshotTooOld`.
    async fn gc_safe_point(&self) -> Result<Timestamp>;

    /// Can no other process have this store open? Then whoever used it before is gone.
    fn exclusive(&self) -> bool {
        false
    }

    /// Makes everything durable and stops the store's own threads. Calls after it fail. Idempotent.
    async fn close(&self) -> Result<()> {
        Ok(())
    }
}

pub type StoreRef = Arc<dyn Store>;
