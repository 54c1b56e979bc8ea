//! Whole ranges: removing them, and cutting them into regions.

use std::ops::Bound;

use bytes::Bytes;
use fjall::{AbstractTree, Readable, Snapshot};

use super::Core;
use super::format;
use super::read::{Segment, segments};
use super::spaces::Spaces;
use ilmenite_store::{Error, KeyRange, Region, Result, prefix_end};

/// Entries removed in one batch, and bytes of their keys.
const DELETE_BATCH_ENTRIES: usize = 4096;
const DELETE_BATCH_BYTES: usize = 1 << 20;
/// What a region should hold at most, by the size on disk and by entries.
const REGION_BYTES: u64 = 64 << 20;
const REGION_ENTRIES: u64 = 256 << 10;

/// `Store::delete_range`. A partition that lies wholly in the range loses its keyspace; of everything else the entries
/// are removed batch by batch. Each step is durable by itself or repeated by the next call.
pub(super) fn delete_range(core: &Core, range: &KeyRange) -> Result<()> {
    let spaces = &core.spaces;
    for space in spaces.overlapping(range) {
        let end = prefix_end(&space.prefix);
        let reaches_end = range.end.is_empty() || (!end.is_empty() && end <= range.end);
        if range.start <= space.prefix && reaches_end {
            fail::fail_point!("embedded::delete_range::before", |kind| Err(Error::injected(
                kind,
                Error::Io("injected before a keyspace was dropped".into())
            )));
            spaces.drop_space(&space.prefix)?;
            fail::fail_point!("embedded::delete_range::after", |kind| Err(Error::injected(
                kind,
                Error::Io("injected after a keyspace was dropped".into())
            )));
        }
    }
    let mut removed = false;
    for segment in segments(spaces, range) {
        removed |= delete_segment(spaces, &segment)?;
    }
    if removed && core.options.sync {
        spaces
            .db
            .persist(fjall::PersistMode::SyncData)
            .map_err(|e| spaces.map_error(e))?;
    }
    Ok(())
}

fn bounds(segment: &Segment) -> (Bound<&[u8]>, Bound<&[u8]>) {
    (Bound::Included(&segment.start[..]), Bound::Unbounded)
}

fn delete_segment(spaces: &Spaces, segment: &Segment) -> Result<bool> {
    let mut removed = false;
    loop {
        let mut batch = spaces.db.batch();
        let mut bytes = 0;
        let mut ended = true;
        let snapshot = spaces.db.snapshot();
        for entry in snapshot.range::<&[u8], _>(&segment.space.keyspace, bounds(segment)) {
            let entry = entry.key().map_err(|e| spaces.map_error(e))?;
            let Some((key, _)) = format::split(&entry) else {
                return Err(Error::Damaged {
                    path: segment.space.keyspace.path().display().to_string(),
                    detail: "an entry that is no version".into(),
                });
            };
            // Both bounds are of keys, not of entries: see `read::Cursor`.
            if key < &segment.start[..] {
                continue;
            }
            if segment.end.as_ref().is_some_and(|end| key >= &end[..]) {
                break;
            }
            bytes += entry.len();
            batch.remove(&segment.space.keyspace, entry);
            if batch.len() >= DELETE_BATCH_ENTRIES || bytes >= DELETE_BATCH_BYTES {
                ended = false;
                break;
            }
        }
        drop(snapshot);
        removed |= !batch.is_empty();
        let committed = batch.commit().map_err(|e| spaces.map_error(e));
        segment.space.cache.clear();
        committed?;
        if ended {
            return Ok(removed);
        }
        std::thread::yield_now();
    }
}

/// `Store::regions`. Each partition's keyspace makes at least one region; a large one is cut where its tables' metadata
/// say that equal parts end (each table's entries taken as spread evenly between its first and last key), at a key
/// that exists. No data are read but the few blocks these seeks touch.
pub(super) fn regions(core: &Core, range: &KeyRange) -> Result<Vec<Region>> {
    pieces(core, range, REGION_BYTES, REGION_ENTRIES)
}

/// `regions`, of at most about so many bytes and entries each.
pub(super) fn pieces(core: &Core, range: &KeyRange, max_bytes: u64, max_entries: u64) -> Result<Vec<Region>> {
    let spaces = &core.spaces;
    let snapshot = spaces.db.snapshot();
    let mut out: Vec<Region> = Vec::new();
    for segment in segments(spaces, range) {
        let Some(extent) = Extent::of(spaces, &snapshot, &segment)? else {
            continue;
        };
        let cuts = extent.cuts(spaces, &snapshot, &segment, max_bytes, max_entries)?;
        let parts = cuts.len() as u64 + 1;
        let mut first = Vec::new();
        segment.decode_key_bound(&mut first);
        let starts = std::iter::once(Bytes::from(first)).chain(cuts);
        for start in starts {
            // What lies between two keyspaces goes to the region before it.
            let start = if out.is_empty() {
                range.start.clone()
            } else {
                start.max(range.start.clone())
            };
            if let Some(last) = out.last_mut() {
                last.range.end = start.clone();
            }
            out.push(Region {
                id: 0,
                range: KeyRange::new(start, range.end.clone()),
                approximate_bytes: extent.bytes as u64 / parts,
                approximate_keys: extent.entries as u64 / parts,
            });
        }
    }
    if out.is_empty() {
        out.push(Region {
            id: 0,
            range: range.clone(),
            approximate_bytes: 0,
            approximate_keys: 0,
        });
    }
    for region in &mut out {
        region.id = region_id(&region.range.start);
    }
    Ok(out)
}

/// The same for the same start key, so that it can be told in logs that a region is still the one of before. FNV-1a.
fn region_id(start: &[u8]) -> u64 {
    start.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &b| {
        (hash ^ u64::from(b)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

impl Segment {
    /// The user's key at which the segment begins.
    fn decode_key_bound(&self, out: &mut Vec<u8>) {
        if self.space.is_default() {
            // A bound is the encoding of a key, so it decodes.
            format::decode_default(&self.start, out);
        } else {
            out.extend_from_slice(&self.space.prefix);
            out.extend_from_slice(&self.start);
        }
    }
}

/// Where the entries of a segment lie, as far as metadata tell.
struct Extent {
    /// What all entries begin with; positions are the 16 bytes behind it.
    common: Vec<u8>,
    /// (first position, last position, entries) of each table, cut to the segment.
    pieces: Vec<(u128, u128, f64)>,
    entries: f64,
    bytes: f64,
}

fn position(common: usize, key: &[u8]) -> u128 {
    let rest = key.get(common..).unwrap_or_default();
    let mut bytes = [0; 16];
    let n = rest.len().min(16);
    bytes[..n].copy_from_slice(&rest[..n]);
    u128::from_be_bytes(bytes)
}

impl Extent {
    /// `None`: the segment is empty.
    fn of(spaces: &Spaces, snapshot: &Snapshot, segment: &Segment) -> Result<Option<Extent>> {
        let keyspace = &segment.space.keyspace;
        let end = match &segment.end {
            Some(end) => Bound::Excluded(&end[..]),
            None => Bound::Unbounded,
        };
        let start = Bound::Included(&segment.start[..]);
        if segment.end.as_ref().is_some_and(|end| segment.start >= *end) {
            return Ok(None);
        }
        let mut entries = snapshot.range::<&[u8], _>(keyspace, (start, end));
        let Some(first) = entries.next() else {
            return Ok(None);
        };
        let first = first.key().map_err(|e| spaces.map_error(e))?;
        let last = match entries.next_back() {
            Some(last) => last.key().map_err(|e| spaces.map_error(e))?,
            None => first.clone(),
        };
        drop(entries);
        let common = first.iter().zip(last.iter()).take_while(|(a, b)| a == b).count();
        let (low, high) = (position(common, &first), position(common, &last));
        let mut extent = Extent {
            common: first[..common].to_vec(),
            pieces: Vec::new(),
            entries: 0.0,
            bytes: 0.0,
        };
        let mut in_tables = 0.0;
        for table in keyspace.tree.current_version().iter_tables() {
            let meta = &table.metadata;
            let (min, max) = (meta.key_range.min(), meta.key_range.max());
            in_tables += meta.item_count as f64;
            if max[..] < first[..] || min[..] > last[..] {
                continue;
            }
            let from = if min[..] < first[..] {
                low
            } else {
                position(common, min)
            };
            let to = if max[..] > last[..] {
                high
            } else {
                position(common, max)
            };
            // A table that sticks out of the segment counts by the share that lies within, by its positions in the
            // keyspace.
            let share = share_within(min, max, &first, &last);
            let count = meta.item_count as f64 * share;
            extent.pieces.push((from, to.max(from), count));
            extent.entries += count;
            extent.bytes += meta.file_size as f64 * share;
        }
        // The rest is in memory: taken as spread evenly over the whole keyspace, so that the segment has its share.
        let in_memory = (keyspace.approximate_len() as f64 - in_tables).max(0.0);
        if in_memory > 0.0 {
            let mut all = snapshot.iter(keyspace);
            let bounds = (all.next(), all.next_back());
            let share = match bounds {
                (Some(min), Some(max)) => {
                    let min = min.key().map_err(|e| spaces.map_error(e))?;
                    let max = max.key().map_err(|e| spaces.map_error(e))?;
                    share_within(&min, &max, &first, &last)
                }
                _ => 1.0,
            };
            extent.pieces.push((low, high, in_memory * share));
            extent.entries += in_memory * share;
            extent.bytes += keyspace.tree.active_memtable().size() as f64 * share;
        }
        Ok(Some(extent))
    }

    /// The user's keys at which the second and later regions begin.
    fn cuts(
        &self,
        spaces: &Spaces,
        snapshot: &Snapshot,
        segment: &Segment,
        max_bytes: u64,
        max_entries: u64,
    ) -> Result<Vec<Bytes>> {
        let by_bytes = self.bytes / max_bytes as f64;
        let by_entries = self.entries / max_entries as f64;
        let parts = by_bytes.max(by_entries).ceil() as usize;
        let mut cuts: Vec<Bytes> = Vec::new();
        let mut key = Vec::new();
        for position in self.quantiles(parts) {
            let mut target = self.common.clone();
            target.extend_from_slice(&position.to_be_bytes());
            let Some(entry) = snapshot.range(&segment.space.keyspace, target..).next() else {
                break;
            };
            let entry = entry.key().map_err(|e| spaces.map_error(e))?;
            let Some((stored, _)) = format::split(&entry) else {
                continue;
            };
            let beyond = segment.end.as_ref().is_some_and(|end| stored >= &end[..]);
            if beyond || stored <= &segment.start[..] {
                continue;
            }
            segment.decode_key(stored, &mut key)?;
            if cuts.last().is_none_or(|last| last[..] < key[..]) {
                cuts.push(Bytes::copy_from_slice(&key));
            }
        }
        Ok(cuts)
    }

    /// The positions that cut the entries into `parts` equal parts, ascending.
    fn quantiles(&self, parts: usize) -> Vec<u128> {
        if parts < 2 {
            return Vec::new();
        }
        // Each piece adds its density where it begins and takes it away where it ends.
        let mut events: Vec<(u128, f64)> = Vec::with_capacity(self.pieces.len() * 2);
        for &(from, to, count) in &self.pieces {
            let to = to.max(from + 1);
            let density = count / (to - from) as f64;
            events.push((from, density));
            events.push((to, -density));
        }
        events.sort_by_key(|&(at, _)| at);
        let each = self.entries / parts as f64;
        let mut out = Vec::with_capacity(parts - 1);
        let (mut density, mut seen) = (0.0f64, 0.0f64);
        let mut at = events.first().map_or(0, |e| e.0);
        for (next, change) in events {
            let count = density * (next - at) as f64;
            while out.len() + 1 < parts && density > 0.0 && seen + count >= each * (out.len() + 1) as f64 {
                let missing = each * (out.len() + 1) as f64 - seen;
                out.push(at + ((missing / density).max(0.0) as u128).min(next - at));
            }
            seen += count;
            density = (density + change).max(0.0);
            at = next;
        }
        out
    }
}

/// Which share of a table from `min` to `max` lies between `first` and `last`.
fn share_within(min: &[u8], max: &[u8], first: &[u8], last: &[u8]) -> f64 {
    let common = min.iter().zip(max.iter()).take_while(|(a, b)| a == b).count();
    let (from, to) = (position(common, min), position(common, max));
    if to <= from {
        return 1.0;
    }
    let clamp = |key: &[u8]| {
        if key <= min {
            from
        } else if key >= max {
            to
        } else {
            position(common, key)
        }
    };
    let width = clamp(last).saturating_sub(clamp(first)) as f64 / (to - from) as f64;
    width.clamp(0.0, 1.0)
}
