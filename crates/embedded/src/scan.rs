//! Reads of ranges at a timestamp.

mod cursor;

use std::collections::VecDeque;
use std::sync::Arc;

use async_trait::async_trait;
use fjall::{Snapshot, UserKey, UserValue};

use crate::format::{self, SUFFIX_LEN};
use crate::keyspaces::Keyspaces;
use crate::options::ReadThresholds;
use crate::range_cache::fill::fill;
use crate::segment::{Segment, segments};
use crate::tables::Tables;
use cursor::{Cursor, Entries};
use ilmenite_base::background;
use ilmenite_store::{Error, KeyRange, KvBatch, Result, Scan, ScanOptions, Timestamp};

/// Ranges that one scan copies to the cache: a long one passes most rows just once.
const MAX_FILLS: u32 = 16;

pub(crate) struct EmbeddedScan {
    keyspaces: Arc<Keyspaces>,
    snapshot: Snapshot,
    /// Those to come.
    segments: VecDeque<Segment>,
    /// Of a long scan: what the partitions' keyspaces among them hold besides the snapshot.
    tables: VecDeque<Option<Tables>>,
    thresholds: ReadThresholds,
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
    pub(crate) fn new(
        keyspaces: Arc<Keyspaces>,
        snapshot: Snapshot,
        range: &KeyRange,
        ts: Timestamp,
        options: ScanOptions,
    ) -> Self {
        let segments = segments(&keyspaces, range);
        Self::of_segments(segments, Vec::new(), keyspaces, snapshot, ts, options)
    }

    /// A long scan, of its own snapshot.
    pub(crate) fn of_stored(
        keyspaces: Arc<Keyspaces>,
        range: &KeyRange,
        ts: Timestamp,
        options: ScanOptions,
    ) -> Self {
        let segments = segments(&keyspaces, range);
        let partitions = segments.iter().filter(|segment| !segment.keyspace.is_default());
        let partitions = partitions.map(|segment| &segment.keyspace.inner);
        let max_memtable_entries = keyspaces.thresholds.max_memtable_entries;
        let (snapshot, tables) =
            Tables::at_snapshot(partitions, max_memtable_entries, || keyspaces.db.snapshot());
        Self::of_segments(segments, tables, keyspaces, snapshot, ts, options)
    }

    fn of_segments(
        segments: VecDeque<Segment>,
        tables: Vec<Option<Tables>>,
        keyspaces: Arc<Keyspaces>,
        snapshot: Snapshot,
        ts: Timestamp,
        options: ScanOptions,
    ) -> Self {
        EmbeddedScan {
            segments,
            tables: tables.into(),
            thresholds: keyspaces.thresholds,
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
    pub(crate) fn read_batch(&mut self, batch: &mut KvBatch) -> Result<bool> {
        batch.clear();
        if self.options.reverse {
            self.backward(batch)?;
        } else {
            self.forward(batch)?;
        }
        debug_assert!(
            (1..batch.len()).all(|i| match self.options.reverse {
                true => batch.key(i - 1) > batch.key(i),
                false => batch.key(i - 1) < batch.key(i),
            }),
            "from engine, cache and tables, keys come once and in order"
        );
        Ok(!batch.is_empty())
    }

    /// Opens the next segment. `false`: there is none.
    fn advance(&mut self) -> Result<bool> {
        let next = if self.options.reverse {
            self.segments.pop_back()
        } else {
            self.segments.pop_front()
        };
        self.cursor = None;
        self.decided = None;
        let Some(segment) = next else {
            return Ok(false);
        };
        let tables = match segment.keyspace.is_default() {
            true => None,
            false => self.tables.pop_front().flatten(),
        };
        self.cursor = Some(Cursor::open(
            &self.keyspaces,
            &self.snapshot,
            segment,
            tables,
            &self.options,
            self.ts,
        )?);
        Ok(true)
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
                return Err(keyspace.damaged("an entry that is no version"));
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
                return Err(keyspace.damaged("a value that does not decode"));
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
        if self.wasted >= self.thresholds.cache_after_entries
            && !self.options.bypass_cache
            && !cursor.segment.keyspace.is_default()
        {
            self.wasted = 0;
            let keyspace = &cursor.segment.keyspace;
            let mut cached = Cursor::cached(&cursor.segment, key, self.ts);
            if cached.is_none() && self.fills < MAX_FILLS {
                self.fills += 1;
                fill(&self.keyspaces, keyspace, key);
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
        if self.passed >= self.thresholds.seek_after_entries {
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
                return Err(cursor.segment.keyspace.damaged("an entry that is no version"));
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
            return Err(keyspace.damaged("a value that does not decode"));
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
        self.read_batch(batch)
    }
}

#[cfg(test)]
mod tests;
