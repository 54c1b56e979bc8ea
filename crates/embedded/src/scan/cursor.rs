//! Walks the entries of a segment.

use std::ops::Bound;
use std::sync::Arc;

use fjall::{Readable, Snapshot, UserKey, UserValue};

use crate::format::{self, SUFFIX_LEN};
use crate::keyspaces::{Keyspaces, VersionedKeyspace};
use crate::range_cache::Rows;
use crate::segment::Segment;
use crate::tables::{TableIter, Tables};
use ilmenite_store::{Result, ScanOptions, Timestamp};

pub(super) enum Entries {
    /// And the entry it is at.
    Engine(fjall::Iter, Option<(UserKey, UserValue)>),
    /// Forward.
    Tables(TableIter),
}

impl Entries {
    /// The entry that the cursor advanced to.
    pub(super) fn entry(&self) -> Option<(&[u8], &[u8])> {
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
pub(super) struct Cursor {
    pub(super) segment: Segment,
    /// What the keyspace held when the snapshot was taken, of a long scan that may go on in it.
    tables: Option<Tables>,
    tables_after_entries: u32,
    /// `None`: there are none, or `cached` is read.
    pub(super) iter: Option<Entries>,
    /// Entries since it was opened, or moved.
    walked: u32,
    pub(super) started: bool,
    /// Forward: the rows being read, and the next of them.
    pub(super) cached: Option<(Arc<Rows>, usize)>,
}

impl Cursor {
    pub(super) fn open(
        keyspaces: &Keyspaces,
        snapshot: &Snapshot,
        segment: Segment,
        tables: Option<Tables>,
        options: &ScanOptions,
        ts: Timestamp,
    ) -> Result<Self> {
        let reverse = options.reverse;
        let mut cursor = Cursor {
            segment,
            tables,
            tables_after_entries: keyspaces.thresholds.tables_after_entries,
            iter: None,
            walked: 0,
            started: false,
            cached: None,
        };
        let segment = &cursor.segment;
        if !reverse
            && !options.bypass_cache
            && let Some(cached) = Self::cached(segment, &segment.start, ts)
        {
            cursor.cached = Some(cached);
            return Ok(cursor);
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
        if !empty {
            let iter = snapshot.range(&segment.keyspace.inner, (start, end));
            cursor.iter = Some(Entries::Engine(iter, None));
        }
        Ok(cursor)
    }

    /// The rows that a reader at `ts` finds in the cache where `stored` lies, and the first of them behind it.
    pub(super) fn cached(segment: &Segment, stored: &[u8], ts: Timestamp) -> Option<(Arc<Rows>, usize)> {
        let rows = segment.keyspace.cache.lookup(stored, ts)?;
        let next = rows.position(stored);
        Some((rows, next))
    }

    /// The rows of the cache have been read up to `end`: goes on there, in the next ones or in the engine.
    pub(super) fn go_on(&mut self, snapshot: &Snapshot, end: &[u8], ts: Timestamp) {
        self.cached = Self::cached(&self.segment, end, ts);
        if self.cached.is_none() {
            self.segment.start = end.to_vec();
            self.started = false;
            self.seek(snapshot, end.to_vec());
        }
    }

    /// Goes on at the first entry at or behind `stored`, the end being seen by the reader.
    pub(super) fn seek(&mut self, snapshot: &Snapshot, stored: Vec<u8>) {
        let iter = snapshot.range(&self.segment.keyspace.inner, stored..);
        self.iter = Some(Entries::Engine(iter, None));
        self.walked = 0;
    }

    /// Goes on to the next entry, forward. `false`: there is none. After many, goes on in tables.
    pub(super) fn advance(&mut self) -> fjall::Result<bool> {
        if self.walked == self.tables_after_entries
            && let Some(tables) = &self.tables
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
    pub(super) fn previous(&mut self) -> fjall::Result<Option<(UserKey, UserValue)>> {
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
        return Err(keyspace.damaged("an entry that is no version"));
    };
    if key.len() < end.len() && end.starts_with(key) {
        return Ok(Some([key, &[0xff; SUFFIX_LEN]].concat()));
    }
    Ok(None)
}
