//! Removes whole ranges.

use std::ops::Bound;

use fjall::Readable;

use crate::core::Core;
use crate::format;
use crate::keyspaces::Keyspaces;
use crate::segment::{Segment, segments};
use ilmenite_store::{KeyRange, Result, prefix_end};

/// Entries removed in one batch, and bytes of their keys.
const DELETE_BATCH_ENTRIES: usize = 4096;
const DELETE_BATCH_BYTES: usize = 1 << 20;

/// `Store::delete_range`. A partition that lies wholly in the range loses its keyspace; of everything else the entries
/// are removed batch by batch. Each step is durable by itself or repeated by the next call.
pub(crate) fn delete_range(core: &Core, range: &KeyRange) -> Result<()> {
    let keyspaces = &core.keyspaces;
    for keyspace in keyspaces.overlapping(range) {
        let end = prefix_end(&keyspace.prefix);
        let reaches_end = range.end.is_empty() || (!end.is_empty() && end <= range.end);
        if range.start <= keyspace.prefix && reaches_end {
            fail::fail_point!("embedded::delete_range::before", |kind| Err(
                ilmenite_store::Error::injected(
                    kind,
                    ilmenite_store::Error::Io("injected before a keyspace was dropped".into())
                )
            ));
            keyspaces.drop_keyspace(&keyspace.prefix)?;
            fail::fail_point!("embedded::delete_range::after", |kind| Err(
                ilmenite_store::Error::injected(
                    kind,
                    ilmenite_store::Error::Io("injected after a keyspace was dropped".into())
                )
            ));
        }
    }
    let mut removed = false;
    for segment in segments(keyspaces, range) {
        removed |= delete_segment(keyspaces, &segment)?;
    }
    if removed && core.options.sync {
        keyspaces
            .db
            .persist(fjall::PersistMode::SyncData)
            .map_err(|e| keyspaces.map_error(e))?;
    }
    Ok(())
}

fn bounds(segment: &Segment) -> (Bound<&[u8]>, Bound<&[u8]>) {
    (Bound::Included(&segment.start[..]), Bound::Unbounded)
}

fn delete_segment(keyspaces: &Keyspaces, segment: &Segment) -> Result<bool> {
    let mut removed = false;
    loop {
        let mut batch = keyspaces.db.batch();
        let mut bytes = 0;
        let mut ended = true;
        let snapshot = keyspaces.db.snapshot();
        for entry in snapshot.range::<&[u8], _>(&segment.keyspace.inner, bounds(segment)) {
            let entry = entry.key().map_err(|e| keyspaces.map_error(e))?;
            let Some((key, _)) = format::split(&entry) else {
                return Err(segment.keyspace.damaged("an entry that is no version"));
            };
            // Both bounds are of keys, not of entries: see `scan::cursor::Cursor`.
            if key < &segment.start[..] {
                continue;
            }
            if segment.end.as_ref().is_some_and(|end| key >= &end[..]) {
                break;
            }
            bytes += entry.len();
            batch.remove(&segment.keyspace.inner, entry);
            if batch.len() >= DELETE_BATCH_ENTRIES || bytes >= DELETE_BATCH_BYTES {
                ended = false;
                break;
            }
        }
        drop(snapshot);
        removed |= !batch.is_empty();
        let committed = batch.commit().map_err(|e| keyspaces.map_error(e));
        segment.keyspace.cache.clear();
        committed?;
        if ended {
            return Ok(removed);
        }
        std::thread::yield_now();
    }
}
