//! Reads that see locks.

use bytes::Bytes;
use fjall::Snapshot;

use super::TwoPhase;
use super::error::{TxnError, TxnResult};
use super::record::{self, LockInfo, LockKind, LockRecord};
use super::stored;
use crate::read;
use crate::scan::EmbeddedScan;
use ilmenite_store::{Error, KeyRange, KvBatch, Result, ScanOptions, Timestamp};

/// About what a scan reads from the engine at a time.
const BATCH_BYTES: usize = 1 << 20;
/// What one answer may hold.
const MAX_ANSWER_BYTES: usize = 256 << 20;

#[derive(Debug, Clone, Default)]
pub struct ReadOptions {
    pub ts: Timestamp,
    /// Start timestamps of transactions whose locks are passed by.
    pub bypass: Vec<u64>,
    /// Start timestamps of committed transactions: what their locks say is read.
    pub read_through: Vec<u64>,
    /// Locks are not looked at.
    pub ignore_locks: bool,
    /// See `ScanOptions`.
    pub bypass_cache: bool,
}

/// What a reader does with a lock.
enum Meets {
    Nothing,
    Block,
    ReadThrough,
}

impl ReadOptions {
    fn meets(&self, key: &[u8], lock: &LockRecord) -> Meets {
        let passes = lock.start_ts > self.ts
            || matches!(lock.kind, LockKind::Lock | LockKind::Pessimistic)
            || lock.min_commit_ts > self.ts
            || self.bypass.contains(&lock.start_ts.0)
            // The newest committed value is asked for, and this is not committed.
            || (self.ts == Timestamp::MAX && lock.primary == key);
        if passes {
            Meets::Nothing
        } else if self.read_through.contains(&lock.start_ts.0) {
            Meets::ReadThrough
        } else {
            Meets::Block
        }
    }
}

/// A key and its value, or the lock that is in the way.
pub type Pair = (Bytes, TxnResult<Bytes>);

/// A pair of a scan.
#[derive(Debug)]
pub enum ScannedPair {
    Value(Bytes, Bytes),
    Locked(LockInfo),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VersionKind {
    Put,
    Delete,
    Lock,
}

impl TwoPhase {
    pub fn get(&self, key: &Bytes, options: &ReadOptions) -> TxnResult<Option<Bytes>> {
        self.core.check_open()?;
        let lock = self.meet(key, options)?;
        let snapshot = self.core.keyspaces.db.snapshot();
        self.core.gc.check_readable(options.ts)?;
        self.read(&snapshot, key, lock.as_ref(), options.ts)
    }

    /// Only of keys that have a value, or whose lock is in the way.
    pub fn batch_get(&self, keys: &[Bytes], options: &ReadOptions) -> TxnResult<Vec<Pair>> {
        self.core.check_open()?;
        let locks: Vec<_> = keys.iter().map(|key| self.meet(key, options)).collect();
        let snapshot = self.core.keyspaces.db.snapshot();
        self.core.gc.check_readable(options.ts)?;
        let mut out = Vec::with_capacity(keys.len());
        for (key, lock) in keys.iter().zip(locks) {
            match lock {
                Ok(lock) => {
                    if let Some(value) = self.read(&snapshot, key, lock.as_ref(), options.ts)? {
                        out.push((key.clone(), Ok(value)));
                    }
                }
                Err(e) => out.push((key.clone(), Err(e))),
            }
        }
        Ok(out)
    }

    /// The lock to be read through, or the error that a lock is.
    fn meet(&self, key: &Bytes, options: &ReadOptions) -> TxnResult<Option<LockInfo>> {
        if options.ignore_locks || self.index().is_clear() {
            return Ok(None);
        }
        let Some(lock) = self.index().get(key) else {
            return Ok(None);
        };
        let info = || LockInfo {
            key: key.clone(),
            lock: (*lock).clone(),
        };
        match options.meets(key, &lock) {
            Meets::Nothing => Ok(None),
            Meets::ReadThrough => Ok(Some(info())),
            Meets::Block => Err(TxnError::Locked(info())),
        }
    }

    fn read(
        &self,
        snapshot: &Snapshot,
        key: &Bytes,
        through: Option<&LockInfo>,
        ts: Timestamp,
    ) -> TxnResult<Option<Bytes>> {
        if let Some(through) = through
            && let Some(value) = self.locked_value(snapshot, through)?
        {
            return Ok(value);
        }
        match read::get_cached(&self.core.keyspaces, key, ts) {
            Some(value) => Ok(value),
            None => Ok(read::get(&self.core.keyspaces, snapshot, key, ts)?),
        }
    }

    /// What the lock writes; `None`: in the snapshot it is gone, committed or not.
    fn locked_value(&self, snapshot: &Snapshot, info: &LockInfo) -> Result<Option<Option<Bytes>>> {
        use fjall::Readable;
        let locks = &self.keyspaces()?.locks;
        let row = snapshot.get(locks, &info.key);
        let Some(row) = row.map_err(|e| self.core.keyspaces.map_error(e))? else {
            return Ok(None);
        };
        let (lock, value_at) = record::decode(&row, locks.path())?;
        if lock.start_ts != info.lock.start_ts {
            return Ok(None);
        }
        let value = Bytes::copy_from_slice(&row[value_at..]);
        Ok(Some((lock.kind == LockKind::Put).then_some(value)))
    }

    /// The first `limit` pairs of the range. A lock that is in the way takes the place of its key's pair.
    pub fn scan(
        &self,
        range: &KeyRange,
        options: &ReadOptions,
        limit: usize,
        reverse: bool,
        key_only: bool,
    ) -> TxnResult<Vec<ScannedPair>> {
        self.core.check_open()?;
        let met = |key: &Bytes, lock: &LockRecord| !matches!(options.meets(key, lock), Meets::Nothing);
        let locks = if options.ignore_locks || self.index().is_clear() {
            Vec::new()
        } else {
            self.index().scan(range, reverse, limit, met)
        };
        let snapshot = self.core.keyspaces.db.snapshot();
        self.core.gc.check_readable(options.ts)?;
        // Read through a lock that is gone, the version of the key is right.
        let mut overlay = Vec::with_capacity(locks.len());
        for info in locks {
            if let Meets::ReadThrough = options.meets(&info.key, &info.lock) {
                if let Some(value) = self.locked_value(&snapshot, &info)? {
                    overlay.push((info.key, Ok(value)));
                }
            } else {
                overlay.push((info.key.clone(), Err(info)));
            }
        }
        let scan_options = ScanOptions {
            reverse,
            key_only,
            // A pair under a lock is read in vain.
            limit: limit.saturating_add(overlay.len()),
            batch_bytes: BATCH_BYTES,
            bypass_cache: options.bypass_cache,
        };
        let scan = EmbeddedScan::new(
            self.core.keyspaces.clone(),
            snapshot,
            range,
            options.ts,
            scan_options,
        );
        merge(scan, overlay, limit, reverse, key_only)
    }

    /// All that was committed of a key, newest first, and the lock on it.
    #[allow(clippy::type_complexity)]
    pub fn versions(
        &self,
        key: &Bytes,
    ) -> TxnResult<(Option<LockInfo>, Vec<(Timestamp, VersionKind, Bytes)>)> {
        self.core.check_open()?;
        let lock = self.index().get(key).map(|lock| LockInfo {
            key: key.clone(),
            lock: (*lock).clone(),
        });
        let snapshot = self.core.keyspaces.db.snapshot();
        let writes = read::writes(&self.core.keyspaces, &snapshot, key, Timestamp::ZERO)?;
        let version = |v: read::Version| {
            let kind = match v.value() {
                _ if v.is_lock_record() => VersionKind::Lock,
                Some(_) => VersionKind::Put,
                None => VersionKind::Delete,
            };
            (v.ts, kind, Bytes::copy_from_slice(v.value().unwrap_or_default()))
        };
        Ok((lock, writes.into_iter().map(version).collect()))
    }

    /// The value a prewritten lock carries.
    pub fn lock_value(&self, key: &Bytes) -> TxnResult<Bytes> {
        Ok(stored::lock_value(&self.core.keyspaces, key)?)
    }
}

type Overlay = Vec<(Bytes, Result<Option<Bytes>, LockInfo>)>;

/// Lays what locks say over what the engine has.
fn merge(
    mut scan: EmbeddedScan,
    overlay: Overlay,
    limit: usize,
    reverse: bool,
    key_only: bool,
) -> TxnResult<Vec<ScannedPair>> {
    let mut out = Vec::with_capacity(limit.min(1024));
    let mut overlay = overlay.into_iter().peekable();
    let mut bytes = 0;
    let lay = |out: &mut Vec<ScannedPair>, (key, what): (Bytes, Result<Option<Bytes>, LockInfo>)| match what {
        Ok(Some(value)) => out.push(ScannedPair::Value(
            key,
            if key_only { Bytes::new() } else { value },
        )),
        Ok(None) => {}
        Err(info) => out.push(ScannedPair::Locked(info)),
    };
    while out.len() < limit {
        let mut batch = KvBatch::new();
        if !scan.read_batch(&mut batch)? {
            while out.len() < limit
                && let Some(next) = overlay.next()
            {
                lay(&mut out, next);
            }
            break;
        }
        bytes += batch.bytes();
        if bytes > MAX_ANSWER_BYTES {
            return Err(Error::TooLarge {
                what: "scan's answer",
                size: bytes,
                limit: MAX_ANSWER_BYTES,
            }
            .into());
        }
        let (data, entries) = batch.into_parts();
        for (start, mid, end) in entries {
            let key = data.slice(start as usize..mid as usize);
            let mut hidden = false;
            while out.len() < limit
                && let Some((at, _)) = overlay.peek()
                && if reverse { *at >= key } else { *at <= key }
            {
                hidden |= *at == key;
                if let Some(next) = overlay.next() {
                    lay(&mut out, next);
                }
            }
            if out.len() >= limit {
                break;
            }
            if !hidden {
                out.push(ScannedPair::Value(key, data.slice(mid as usize..end as usize)));
            }
        }
    }
    Ok(out)
}
