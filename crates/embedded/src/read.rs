//! Reads at a timestamp.

use std::collections::VecDeque;
use std::ops::Bound;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use fjall::{Readable, Snapshot, UserKey, UserValue};

use super::format::{self, SUFFIX_LEN};
use super::keyspaces::{Keyspaces, VersionedKeyspace};
use super::range_cache::Rows;
use super::tables::{TableIter, Tables};
use ilmenite_base::background;
use ilmenite_store::{Error, KeyRange, KvBatch, Result, Scan, ScanOptions, Timestamp, prefix_end};

/// A version as the engine returned it.
pub(super) struct Version {
    pub ts: Timestamp,
    raw: UserValue,
}

impl Version {
    pub fn value(&self) -> Option<&[u8]> {
        // `versions_between` has seen that it decodes.
        format::decode_value(&self.raw).flatten()
    }

    pub fn is_lock_record(&self) -> bool {
        format::is_lock_record(&self.raw)
    }
}

fn damaged(keyspace: &VersionedKeyspace, detail: &str) -> Error {
    Error::Damaged {
        path: keyspace.inner.path().display().to_string(),
        detail: detail.into(),
    }
}

/// The versions of one stored key committed in `since..=at`, newest first, lock records among them.
fn versions_between<'s>(
    keyspaces: &'s Keyspaces,
    snapshot: &Snapshot,
    keyspace: &'s VersionedKeyspace,
    stored_key: &[u8],
    since: Timestamp,
    at: Timestamp,
) -> impl Iterator<Item = Result<Version>> + use<'s> {
    let bound = |ts: Timestamp| [stored_key, &format::suffix(ts)].concat();
    let entry_len = stored_key.len() + SUFFIX_LEN;
    let mut iter = (since <= at).then(|| snapshot.range(&keyspace.inner, bound(at)..=bound(since)));
    std::iter::from_fn(move || {
        loop {
            let (key, raw) = match iter.as_mut()?.next()?.into_inner() {
                Ok(pair) => pair,
                Err(e) => return Some(Err(keyspaces.map_error(e))),
            };
            // Of another length: a key that begins like this one, which the caller never stored.
            if key.len() != entry_len {
                continue;
            }
            let intact = format::is_lock_record(&raw) || format::decode_value(&raw).is_some();
            let (Some((_, ts)), true) = (format::split(&key), intact) else {
                return Some(Err(damaged(keyspace, "an entry that is no version")));
            };
            return Some(Ok(Version { ts, raw }));
        }
    })
}

/// The newest version of `key` at `at`, a delete marker included.
pub(super) fn newest(
    keyspaces: &Keyspaces,
    snapshot: &Snapshot,
    key: &[u8],
    at: Timestamp,
) -> Result<Option<Version>> {
    newest_write(keyspaces, snapshot, key, at).map(|(version, _)| version)
}

/// `newest`, and when the key was last written or locked by a committed transaction, at `at` or before.
pub(super) fn newest_write(
    keyspaces: &Keyspaces,
    snapshot: &Snapshot,
    key: &[u8],
    at: Timestamp,
) -> Result<(Option<Version>, Option<Timestamp>)> {
    let Some(keyspace) = keyspaces.lookup(keyspaces.partition_of(key)) else {
        return Ok((None, None));
    };
    let mut stored = Vec::with_capacity(key.len() + SUFFIX_LEN);
    keyspace.encode_key(key, &mut stored);
    let mut written = None;
    for version in versions_between(keyspaces, snapshot, &keyspace, &stored, Timestamp::ZERO, at) {
        let version = version?;
        written = written.or(Some(version.ts));
        if !version.is_lock_record() {
            return Ok((Some(version), written));
        }
    }
    Ok((None, written))
}

/// The value of `key` at `at`, from the engine. One that is read again goes to the range cache.
pub(super) fn get(
    keyspaces: &Keyspaces,
    snapshot: &Snapshot,
    key: &[u8],
    at: Timestamp,
) -> Result<Option<Bytes>> {
    let version = newest(keyspaces, snapshot, key, at)?;
    let value = version.and_then(|v| v.value().map(Bytes::copy_from_slice));
    if value.is_some()
        && let Some((keyspace, stored_key)) = partition(keyspaces, key)
        && keyspace.cache.read_again(key)
    {
        keyspace.cache.fill(keyspaces, &keyspace.inner, stored_key);
    }
    Ok(value)
}

/// The value of `key` at `at`, if the range cache has it.
pub(super) fn get_cached(keyspaces: &Keyspaces, key: &[u8], at: Timestamp) -> Option<Option<Bytes>> {
    let (keyspace, stored_key) = partition(keyspaces, key)?;
    let rows = keyspace.cache.lookup(stored_key, at)?;
    Some(rows.get(stored_key).map(Bytes::copy_from_slice))
}

/// The value of `key` now, if the range cache has it and knows that nothing near it was written since `at`. The caller
/// holds its lock.
pub(super) fn get_unchanged(keyspaces: &Keyspaces, key: &[u8], at: Timestamp) -> Option<Option<Bytes>> {
    let (keyspace, stored_key) = partition(keyspaces, key)?;
    let rows = keyspace.cache.lookup_newest(stored_key, at)?;
    Some(rows.get(stored_key).map(Bytes::copy_from_slice))
}

/// The partition's keyspace, when `key` lies in one, and its stored key there.
fn partition<'k>(keyspaces: &Keyspaces, key: &'k [u8]) -> Option<(Arc<VersionedKeyspace>, &'k [u8])> {
    let prefix = keyspaces.partition_of(key);
    if prefix.is_empty() {
        return None;
    }
    Some((keyspaces.lookup(prefix)?, &key[prefix.len()..]))
}

/// See `Store::versions`.
pub(super) fn versions(
    keyspaces: &Keyspaces,
    snapshot: &Snapshot,
    key: &[u8],
    since: Timestamp,
) -> Result<Vec<(Timestamp, Option<Bytes>)>> {
    let all = writes(keyspaces, snapshot, key, since)?;
    let versions = all.into_iter().filter(|v| !v.is_lock_record());
    Ok(versions
        .map(|v| (v.ts, v.value().map(Bytes::copy_from_slice)))
        .collect())
}

/// Versions and lock records of `key` since `since`, newest first.
pub(super) fn writes(
    keyspaces: &Keyspaces,
    snapshot: &Snapshot,
    key: &[u8],
    since: Timestamp,
) -> Result<Vec<Version>> {
    let Some(keyspace) = keyspaces.lookup(keyspaces.partition_of(key)) else {
        return Ok(Vec::new());
    };
    let mut stored = Vec::with_capacity(key.len() + SUFFIX_LEN);
    keyspace.encode_key(key, &mut stored);
    versions_between(keyspaces, snapshot, &keyspace, &stored, since, Timestamp::MAX).collect()
}

/// The part of a range that lies in one keyspace.
pub(super) struct Segment {
    pub keyspace: Arc<VersionedKeyspace>,
    /// Stored keys from here, inclusive …
    pub start: Vec<u8>,
    /// … to here, exclusive; `None`: to the end of the keyspace.
    pub end: Option<Vec<u8>>,
    tables: Option<Tables>,
}

impl Segment {
    fn of(keyspace: Arc<VersionedKeyspace>, start: &[u8], end: &[u8]) -> Segment {
        if keyspace.is_default() {
            let bound = |key: &[u8]| {
                let mut out = Vec::with_capacity(key.len() + 2);
                format::encode_default(key, &mut out);
                out
            };
            return Segment {
                start: bound(start),
                end: (!end.is_empty()).then(|| bound(end)),
                keyspace,
                tables: None,
            };
        }
        let prefix = &keyspace.prefix;
        Segment {
            start: start.strip_prefix(&prefix[..]).unwrap_or_default().to_vec(),
            end: end.strip_prefix(&prefix[..]).map(<[u8]>::to_vec),
            keyspace,
            tables: None,
        }
    }

    /// The user's key of a stored key.
    pub fn decode_key(&self, stored: &[u8], out: &mut Vec<u8>) -> Result<()> {
        if self.keyspace.is_default() {
            if !format::decode_default(stored, out) {
                return Err(damaged(&self.keyspace, "a key that does not decode"));
            }
        } else {
            out.clear();
            out.extend_from_slice(&self.keyspace.prefix);
            out.extend_from_slice(stored);
        }
        Ok(())
    }
}

/// Splits `range` by keyspace, in key order.
pub(super) fn segments(keyspaces: &Keyspaces, range: &KeyRange) -> VecDeque<Segment> {
    let mut out = VecDeque::new();
    if range.is_empty() {
        return out;
    }
    let prefix = keyspaces.partition_of(&range.start);
    if !prefix.is_empty() {
        let prefix_end = prefix_end(prefix);
        let within = !range.end.is_empty() && (prefix_end.is_empty() || range.end <= prefix_end);
        if within {
            if let Some(keyspace) = keyspaces.lookup(prefix) {
                out.push_back(Segment::of(keyspace, &range.start, &range.end));
            }
            return out;
        }
    }
    let mut at = range.start.clone();
    for keyspace in keyspaces.overlapping(range) {
        if at < keyspace.prefix {
            out.push_back(Segment::of(keyspaces.default.clone(), &at, &keyspace.prefix));
        }
        let start = at.max(keyspace.prefix.clone());
        at = prefix_end(&keyspace.prefix);
        let beyond = at.is_empty() || (!range.end.is_empty() && at >= range.end);
        let end = if beyond { &range.end } else { &at };
        out.push_back(Segment::of(keyspace, &start, end));
        if beyond {
            return out;
        }
    }
    out.push_back(Segment::of(keyspaces.default.clone(), &at, &range.end));
    out
}

/// Entries of one key passed over before the cursor is moved behind them: as many as are about as fast to pass as a seek.
pub(super) const SEEK_AFTER: u32 = 32;
/// Entries of no use after which a scan turns to the range cache, which costs it more than passing a few.
const CACHE_AFTER: u32 = if cfg!(test) { 2 } else { 64 };
/// Entries walked after which a scan that has `Tables` goes on in them.
const TABLES_AFTER: u32 = if cfg!(test) { 2 } else { 8192 };
/// Ranges that one scan copies to the cache: a long one passes most rows just once.
const MAX_FILLS: u32 = 16;

enum Entries {
    /// And the entry it is at.
    Engine(fjall::Iter, Option<(UserKey, UserValue)>),
    /// Forward.
    Tables(TableIter),
}

impl Entries {
    /// The entry that the cursor advanced to.
    fn entry(&self) -> Option<(&[u8], &[u8])> {
        match self {
            Entries::Engine(_, at) => at.as_ref().map(|(entry, raw)| (&entry[..], &raw[..])),
            Entries::Tables(iter) => Some(iter.entry()),
        }
    }
}

/// Walks the rows of a segment: its entries in the engine, or copies of rows in the range cache.
///
/// A partition's keys are free of prefixes of each other, but the bounds of a segment need not be keys: `key ‖ 00`,
/// the usual way to go on behind `key`, sorts before `key`'s own entries, which carry eight bytes more. So at the
/// start entries of a key below it are skipped, and at the end those of a key below it are still taken.
struct Cursor {
    segment: Segment,
    /// `None`: there are none, or `cached` is read.
    iter: Option<Entries>,
    /// Entries since it was opened, or moved.
    walked: u32,
    started: bool,
    /// Forward: the rows being read, and the next of them.
    cached: Option<(Arc<Rows>, usize)>,
}

impl Cursor {
    fn open(
        keyspaces: &Keyspaces,
        snapshot: &Snapshot,
        segment: Segment,
        options: &ScanOptions,
        ts: Timestamp,
    ) -> Result<Self> {
        let reverse = options.reverse;
        if !reverse
            && !options.bypass_cache
            && let Some(cached) = Self::cached(&segment, &segment.start, ts)
        {
            return Ok(Cursor {
                segment,
                iter: None,
                walked: 0,
                started: false,
                cached: Some(cached),
            });
        }
        let start = Bound::Included(segment.start.clone());
        let end = match &segment.end {
            None => Bound::Unbounded,
            Some(end) if segment.keyspace.is_default() => Bound::Excluded(end.clone()),
            // Going forward, `take` sees the end by itself.
            Some(_) if !reverse => Bound::Unbounded,
            Some(end) => match key_below(keyspaces, snapshot, &segment.keyspace, end)? {
                Some(last) => Bound::Included(last),
                None => Bound::Excluded(end.clone()),
            },
        };
        let empty = match (&start, &end) {
            (Bound::Included(s), Bound::Included(e)) => s > e,
            (Bound::Included(s), Bound::Excluded(e)) => s >= e,
            _ => false,
        };
        let iter = (!empty).then(|| snapshot.range(&segment.keyspace.inner, (start, end)));
        Ok(Cursor {
            segment,
            iter: iter.map(|iter| Entries::Engine(iter, None)),
            walked: 0,
            started: false,
            cached: None,
        })
    }

    /// The rows that a reader at `ts` finds in the cache where `stored` lies, and the first of them behind it.
    fn cached(segment: &Segment, stored: &[u8], ts: Timestamp) -> Option<(Arc<Rows>, usize)> {
        let rows = segment.keyspace.cache.lookup(stored, ts)?;
        let next = rows.position(stored);
        Some((rows, next))
    }

    /// The rows of the cache have been read up to `end`: goes on there, in the next ones or in the engine.
    fn go_on(&mut self, snapshot: &Snapshot, end: &[u8], ts: Timestamp) {
        self.cached = Self::cached(&self.segment, end, ts);
        if self.cached.is_none() {
            self.segment.start = end.to_vec();
            self.started = false;
            self.seek(snapshot, end.to_vec());
        }
    }

    /// Goes on at the first entry at or behind `stored`, the end being seen by the reader.
    fn seek(&mut self, snapshot: &Snapshot, stored: Vec<u8>) {
        let iter = snapshot.range(&self.segment.keyspace.inner, stored..);
        self.iter = Some(Entries::Engine(iter, None));
        self.walked = 0;
    }

    /// Goes on to the next entry, forward. `false`: there is none. After many, goes on in tables.
    fn advance(&mut self) -> fjall::Result<bool> {
        if self.walked == TABLES_AFTER
            && let Some(tables) = &self.segment.tables
            && let Some(Entries::Engine(_, Some((entry, _)))) = &self.iter
            && let Some(iter) = tables.behind(entry)?
        {
            self.iter = Some(Entries::Tables(iter));
        }
        self.walked = self.walked.saturating_add(1);
        match &mut self.iter {
            None => Ok(false),
            Some(Entries::Tables(iter)) => iter.advance(),
            Some(Entries::Engine(iter, at)) => {
                *at = iter.next().map(fjall::Guard::into_inner).transpose()?;
                Ok(at.is_some())
            }
        }
    }

    /// The entry before, of a cursor that goes backward.
    fn previous(&mut self) -> fjall::Result<Option<(UserKey, UserValue)>> {
        match &mut self.iter {
            Some(Entries::Engine(iter, _)) => iter.next_back().map(fjall::Guard::into_inner).transpose(),
            None | Some(Entries::Tables(_)) => Ok(None),
        }
    }
}

/// The last possible entry of the key, if there is one, whose entries lie around `end` although it is below it: the
/// one that `end` begins with. Prefix-free keys make it the first entry at or behind `end`.
fn key_below(
    keyspaces: &Keyspaces,
    snapshot: &Snapshot,
    keyspace: &VersionedKeyspace,
    end: &[u8],
) -> Result<Option<Vec<u8>>> {
    let Some(first) = snapshot.range(&keyspace.inner, end..).next() else {
        return Ok(None);
    };
    let entry = first.key().map_err(|e| keyspaces.map_error(e))?;
    let Some((key, _)) = format::split(&entry) else {
        return Err(damaged(keyspace, "an entry that is no version"));
    };
    if key.len() < end.len() && end.starts_with(key) {
        return Ok(Some([key, &[0xff; SUFFIX_LEN]].concat()));
    }
    Ok(None)
}

pub(super) struct EmbeddedScan {
    keyspaces: Arc<Keyspaces>,
    snapshot: Snapshot,
    segments: VecDeque<Segment>,
    cursor: Option<Cursor>,
    ts: Timestamp,
    options: ScanOptions,
    remaining: usize,
    /// Forward: the key that is decided, if one is; its entries behind that are older.
    decided: Option<Vec<u8>>,
    /// Forward: entries passed over since the last one that was of use.
    passed: u32,
    /// Forward: entries passed over since the cache was last asked, less those of use.
    wasted: u32,
    fills: u32,
    /// Reverse: the newest entry so far, at `ts` or before, of the key being read.
    candidate: Option<(UserKey, UserValue)>,
    scratch: Vec<u8>,
}

impl EmbeddedScan {
    pub fn new(
        keyspaces: Arc<Keyspaces>,
        snapshot: Snapshot,
        range: &KeyRange,
        ts: Timestamp,
        options: ScanOptions,
    ) -> Self {
        Self::of_segments(segments(&keyspaces, range), keyspaces, snapshot, ts, options)
    }

    /// A long scan, of its own snapshot.
    pub fn of_stored(
        keyspaces: Arc<Keyspaces>,
        range: &KeyRange,
        ts: Timestamp,
        options: ScanOptions,
    ) -> Self {
        let mut segments = segments(&keyspaces, range);
        let partitions = segments.iter().filter(|segment| !segment.keyspace.is_default());
        let partitions = partitions.map(|segment| &segment.keyspace.inner);
        let (snapshot, tables) = Tables::at_snapshot(partitions, || keyspaces.db.snapshot());
        let partitions = segments
            .iter_mut()
            .filter(|segment| !segment.keyspace.is_default());
        for (segment, tables) in partitions.zip(tables) {
            segment.tables = tables;
        }
        Self::of_segments(segments, keyspaces, snapshot, ts, options)
    }

    fn of_segments(
        segments: VecDeque<Segment>,
        keyspaces: Arc<Keyspaces>,
        snapshot: Snapshot,
        ts: Timestamp,
        options: ScanOptions,
    ) -> Self {
        EmbeddedScan {
            segments,
            keyspaces,
            snapshot,
            cursor: None,
            ts,
            remaining: options.limit,
            options,
            decided: None,
            passed: 0,
            wasted: 0,
            fills: 0,
            candidate: None,
            scratch: Vec::new(),
        }
    }

    /// `Scan::next_batch`, which never waits here.
    pub fn fill(&mut self, batch: &mut KvBatch) -> Result<bool> {
        batch.clear();
        if self.options.reverse {
            self.backward(batch)?;
        } else {
            self.forward(batch)?;
        }
        Ok(!batch.is_empty())
    }

    /// Opens the next segment. `false`: there is none.
    fn advance(&mut self) -> Result<bool> {
        let next = if self.options.reverse {
            self.segments.pop_back()
        } else {
            self.segments.pop_front()
        };
        self.cursor = match next {
            Some(segment) => Some(Cursor::open(
                &self.keyspaces,
                &self.snapshot,
                segment,
                &self.options,
                self.ts,
            )?),
            None => None,
        };
        self.decided = None;
        Ok(self.cursor.is_some())
    }

    fn full(&self, batch: &KvBatch) -> bool {
        self.remaining == 0 || batch.bytes() >= self.options.batch_bytes.max(1)
    }

    /// Rows of the cache, as far as they go. `false`: the segment has been read.
    fn forward_cached(&mut self, batch: &mut KvBatch) -> bool {
        let Some(cursor) = &mut self.cursor else {
            return false;
        };
        let Some((rows, next)) = &mut cursor.cached else {
            return true;
        };
        let segment = &cursor.segment;
        while self.remaining > 0 && batch.bytes() < self.options.batch_bytes.max(1) {
            if *next >= rows.pairs.len() {
                let end = match (&rows.end, &segment.end) {
                    (None, _) => return false,
                    (Some(end), Some(last)) if **end >= **last => return false,
                    (Some(end), _) => end.clone(),
                };
                cursor.go_on(&self.snapshot, &end, self.ts);
                return true;
            }
            let key = rows.pairs.key(*next);
            if segment.end.as_ref().is_some_and(|end| key >= &end[..]) {
                return false;
            }
            let value = match self.options.key_only {
                true => &[],
                false => rows.pairs.value(*next),
            };
            batch.push_prefixed(&segment.keyspace.prefix, key, value);
            self.remaining -= 1;
            *next += 1;
        }
        true
    }

    fn forward(&mut self, batch: &mut KvBatch) -> Result<()> {
        let mut walked = 0;
        while !self.full(batch) {
            let Some(cursor) = &mut self.cursor else {
                if self.advance()? {
                    continue;
                }
                return Ok(());
            };
            if cursor.cached.is_some() {
                if !self.forward_cached(batch) {
                    self.cursor = None;
                }
                continue;
            }
            background::at(walked);
            walked += 1;
            if !cursor.advance().map_err(|e| self.keyspaces.map_error(e))? {
                self.cursor = None;
                continue;
            }
            let Some((entry, raw)) = cursor.iter.as_ref().and_then(Entries::entry) else {
                return Err(Error::Bug("a scan advanced to no entry".into()));
            };
            let keyspace = &cursor.segment.keyspace;
            let Some((key, ts)) = format::split(entry) else {
                return Err(damaged(keyspace, "an entry that is no version"));
            };
            let decided = self.decided.as_deref() == Some(key);
            if !decided {
                if !cursor.started {
                    if key < &cursor.segment.start[..] {
                        continue;
                    }
                    cursor.started = true;
                }
                if let Some(end) = &cursor.segment.end
                    && key >= &end[..]
                {
                    self.cursor = None;
                    continue;
                }
            }
            if decided || ts > self.ts {
                self.pass(decided);
                continue;
            }
            if format::is_lock_record(raw) {
                continue;
            }
            let Some(value) = format::decode_value(raw) else {
                return Err(damaged(keyspace, "a value that does not decode"));
            };
            self.passed = 0;
            if let Some(value) = value {
                let value = if self.options.key_only { &[] } else { value };
                if keyspace.is_default() {
                    cursor.segment.decode_key(key, &mut self.scratch)?;
                    batch.push(&self.scratch, value);
                } else {
                    batch.push_prefixed(&keyspace.prefix, key, value);
                }
                self.remaining -= 1;
                self.wasted = self.wasted.saturating_sub(1);
            } else {
                // Rows that are gone are passed like old versions.
                self.wasted += 1;
            }
            let decided = self.decided.get_or_insert_default();
            decided.clear();
            decided.extend_from_slice(key);
        }
        Ok(())
    }

    /// Passes an entry that is of no use: its key is done with (`decided`), or it is too new. Where there are many such,
    /// goes on in the cache, or behind those of the key.
    fn pass(&mut self, decided: bool) {
        let Some(cursor) = &mut self.cursor else {
            return;
        };
        let entry = cursor.iter.as_ref().and_then(Entries::entry);
        let Some((key, _)) = entry.and_then(|(entry, _)| format::split(entry)) else {
            return;
        };
        self.wasted += 1;
        if self.wasted >= CACHE_AFTER && !self.options.bypass_cache && !cursor.segment.keyspace.is_default() {
            self.wasted = 0;
            let keyspace = &cursor.segment.keyspace;
            let mut cached = Cursor::cached(&cursor.segment, key, self.ts);
            if cached.is_none() && self.fills < MAX_FILLS {
                self.fills += 1;
                keyspace.cache.fill(&self.keyspaces, &keyspace.inner, key);
                cached = Cursor::cached(&cursor.segment, key, self.ts);
            }
            if let Some((rows, next)) = cached {
                let passes = decided && next < rows.pairs.len() && rows.pairs.key(next) == key;
                self.decided = None;
                self.passed = 0;
                cursor.cached = Some((rows, next + usize::from(passes)));
                cursor.iter = None;
                return;
            }
        }
        self.passed += 1;
        if self.passed >= SEEK_AFTER {
            self.passed = 0;
            let suffix = match decided {
                true => [0xff; SUFFIX_LEN],
                false => format::suffix(self.ts),
            };
            cursor.seek(&self.snapshot, [key, &suffix].concat());
        }
    }

    /// The versions of a key come oldest first here: the last one at `ts` or before is the one.
    fn backward(&mut self, batch: &mut KvBatch) -> Result<()> {
        while !self.full(batch) {
            let Some(cursor) = &mut self.cursor else {
                if self.advance()? {
                    continue;
                }
                return Ok(());
            };
            let Some((entry, raw)) = cursor.previous().map_err(|e| self.keyspaces.map_error(e))? else {
                self.emit(batch)?;
                self.cursor = None;
                continue;
            };
            let Some((key, ts)) = format::split(&entry) else {
                return Err(damaged(&cursor.segment.keyspace, "an entry that is no version"));
            };
            if key < &cursor.segment.start[..] {
                continue;
            }
            if ts > self.ts || format::is_lock_record(&raw) {
                continue;
            }
            let same = self
                .candidate
                .as_ref()
                .is_some_and(|(c, _)| c.len() == entry.len() && c[..key.len()] == *key);
            if !same {
                self.emit(batch)?;
            }
            self.candidate = Some((entry, raw));
        }
        Ok(())
    }

    fn emit(&mut self, batch: &mut KvBatch) -> Result<()> {
        let (Some((entry, raw)), Some(cursor)) = (self.candidate.take(), &self.cursor) else {
            return Ok(());
        };
        let keyspace = &cursor.segment.keyspace;
        let (Some((key, _)), Some(value)) = (format::split(&entry), format::decode_value(&raw)) else {
            return Err(damaged(keyspace, "a value that does not decode"));
        };
        if let Some(value) = value {
            let value = if self.options.key_only { &[] } else { value };
            cursor.segment.decode_key(key, &mut self.scratch)?;
            batch.push(&self.scratch, value);
            self.remaining -= 1;
        }
        Ok(())
    }
}

#[async_trait]
impl Scan for EmbeddedScan {
    async fn next_batch(&mut self, batch: &mut KvBatch) -> Result<bool> {
        self.fill(batch)
    }
}
