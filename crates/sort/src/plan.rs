//! Planning from what is recorded of the runs: pure functions, the same answer on every node.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use bytes::Bytes;
use ilmenite_store::KeyRange;
use serde::{Deserialize, Serialize};

use crate::merge::{fan_in_for, merge_read_budget};
use crate::reader::ReaderNeeds;
use crate::run::{RunMeta, hex_bytes, overlap};

/// Whether runs have to be merged before they can be ingested, and why, for the log and the job's row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    pub merge: bool,
    pub reason: String,
}

/// `budget_bytes`: what one ingesting subtask may use for reading runs.
pub fn needs_merge(runs: &[RunMeta], budget_bytes: usize) -> Decision {
    let overlap = overlap(runs);
    let fan_in = fan_in_for(budget_bytes, ReaderNeeds::of(runs));
    let merge = overlap > fan_in;
    let counted = format!("{} runs, at most {overlap} over one key", runs.len());
    let reason = if merge {
        format!("{counted}; {fan_in} can be read at once within {budget_bytes} bytes: merge-sort first")
    } else {
        format!("{counted}; they can be read at once within {budget_bytes} bytes: no merge-sort")
    };
    Decision { merge, reason }
}

/// Groups of runs to merge, each within `budget_bytes` for one subtask, reading and writing. As few as possible: the
/// runs that come out of different groups overlap each other, those of one group do not. After merging, ask
/// [`needs_merge`] again: very many runs take a second round. Runs that overlap nothing are merged all the same, as
/// part of a group. Empty input, or input without overlap: no groups.
pub fn merge_groups(runs: &[RunMeta], budget_bytes: usize) -> Vec<Vec<RunMeta>> {
    let overlap = overlap(runs);
    if overlap < 2 {
        return Vec::new();
    }
    // Merging one run at a time would never end.
    let fan_in = fan_in_for(merge_read_budget(budget_bytes), ReaderNeeds::of(runs)).max(2);
    let groups = overlap.div_ceil(fan_in);
    let lanes_per_group = overlap.div_ceil(groups);

    // Lanes: rows of runs that do not overlap. Taking runs by first key and the lane that ended first, there are never
    // more lanes than the greatest overlap; a group of lanes overlaps as many times as it has lanes.
    let mut order: Vec<&RunMeta> = runs.iter().collect();
    order.sort_by(|a, b| (&a.min_key, &a.max_key, &a.path).cmp(&(&b.min_key, &b.max_key, &b.path)));
    let mut lanes = 0;
    let mut free: BinaryHeap<Reverse<(&Bytes, usize)>> = BinaryHeap::new();
    let mut grouped: Vec<Vec<RunMeta>> = vec![Vec::new(); groups];
    for run in order {
        let lane = match free.peek() {
            Some(&Reverse((end, lane))) if *end < run.min_key => {
                free.pop();
                lane
            }
            _ => {
                lanes += 1;
                lanes - 1
            }
        };
        free.push(Reverse((&run.max_key, lane)));
        if let Some(group) = grouped.get_mut(lane / lanes_per_group) {
            group.push(run.clone());
        }
    }
    grouped.retain(|group| !group.is_empty());
    grouped
}

/// A piece of the key space to ingest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedRange {
    #[serde(with = "hex_bytes")]
    pub start: Bytes,
    /// Exclusive.
    #[serde(with = "hex_bytes")]
    pub end: Bytes,
    /// Estimated raw bytes; over all ranges they add up to those of the runs.
    pub bytes: u64,
    /// Estimated; over all ranges they add up to those of the runs.
    pub entries: u64,
}

impl PlannedRange {
    pub fn range(&self) -> KeyRange {
        KeyRange {
            start: self.start.clone(),
            end: self.end.clone(),
        }
    }
}

/// Cuts the keys of `runs` into ranges of about `target_bytes`: contiguous, disjoint, from the first key to just after
/// the last. A cut is made at a region's boundary when one lies where the range has between a half and one and a half
/// of the target, else where some run's histogram has a boundary. No runs: no ranges.
pub fn plan_ranges(runs: &[RunMeta], target_bytes: u64, region_boundaries: &[Bytes]) -> Vec<PlannedRange> {
    let Some(min) = runs.iter().map(|run| &run.min_key).min() else {
        return Vec::new();
    };
    let Some(max) = runs.iter().map(|run| &run.max_key).max() else {
        return Vec::new();
    };
    let target = target_bytes.max(1);
    let end = after_key(max);

    // Where something begins: (key, bytes, entries, a region's boundary).
    let mut points: Vec<(&Bytes, u64, u64, bool)> = runs
        .iter()
        .flat_map(|run| run.histogram.iter())
        .map(|bucket| {
            (
                (&bucket.start).clamp(min, max),
                bucket.bytes,
                bucket.entries,
                false,
            )
        })
        .collect();
    let inner = region_boundaries.iter().filter(|key| *key > min && *key <= max);
    points.extend(inner.map(|key| (key, 0, 0, true)));
    points.sort_unstable_by_key(|point| point.0);
    let last_boundary = points.iter().rposition(|point| point.3);

    let mut ranges = Vec::new();
    let mut start = min.clone();
    let (mut bytes, mut entries) = (0u64, 0u64);
    let mut index = 0;
    while index < points.len() {
        let key = points[index].0;
        let mut boundary = false;
        let (mut added_bytes, mut added_entries) = (0, 0);
        while let Some(point) = points.get(index).filter(|point| point.0 == key) {
            added_bytes += point.1;
            added_entries += point.2;
            boundary |= point.3;
            index += 1;
        }
        // With a boundary still to come, give it the chance to be the cut.
        let boundary_ahead = last_boundary.is_some_and(|last| last >= index);
        let patience = if boundary_ahead {
            target + target / 2
        } else {
            target
        };
        let cut = (boundary && bytes >= target.div_ceil(2)) || bytes >= patience;
        if cut && *key > start {
            ranges.push(PlannedRange {
                start: start.clone(),
                end: key.clone(),
                bytes,
                entries,
            });
            start = key.clone();
            (bytes, entries) = (0, 0);
        }
        bytes += added_bytes;
        entries += added_entries;
    }
    ranges.push(PlannedRange {
        start,
        end,
        bytes,
        entries,
    });
    ranges
}

/// The first key after `key`.
pub fn after_key(key: &[u8]) -> Bytes {
    let mut after = Vec::with_capacity(key.len() + 1);
    after.extend_from_slice(key);
    after.push(0);
    after.into()
}
