//! What entries become in run files: measured on a sample, written by the sorter itself.

use std::path::Path;

use ilmenite_codec::memcomparable;
use ilmenite_ddl::sizing;
use ilmenite_sort::{
    DuplicatePolicy, ObjectStorage, RunMeta, RunSorter, SortedRun, SorterOptions, WriterOptions,
};
use tokio_util::sync::CancellationToken;

use crate::data;

/// Enough for a run with its full histogram.
const ENTRIES: u64 = 1_000_000;
const BUDGET_BYTES: usize = 256 << 20;

/// A run of the index on `k`, and what follows for others like it.
#[derive(Debug, Clone)]
pub(super) struct Sample {
    pub run: RunMeta,
    /// Of a run's description in the row of the subtask that wrote it, and in plans, which leave the histogram out.
    pub described_bytes: u64,
    pub planned_bytes: u64,
}

impl Sample {
    pub(super) async fn take() -> Result<Sample, String> {
        let dir = tempfile::tempdir().map_err(|e| e.to_string())?;
        let storage = uncompressed(dir.path())?;
        let cancel = CancellationToken::new();
        let options = SorterOptions {
            budget_bytes: BUDGET_BYTES,
            prefix: "1".into(),
            duplicates: DuplicatePolicy::Allow,
            in_memory_allowed: false,
        };
        let mut sorter = RunSorter::new(&storage, options, &cancel).map_err(|e| e.to_string())?;
        let mut key = Vec::new();
        for id in 1..=ENTRIES {
            entry(id, &mut key);
            if !sorter.push(&key, b"0").map_err(|e| e.to_string())? {
                return Err("the sample does not fit its budget".into());
            }
        }
        let sorted = sorter.finish().await.map_err(|e| e.to_string())?;
        let SortedRun::Stored(runs) = sorted.run else {
            return Err("the sample was not written".into());
        };
        let [run] = &runs[..] else {
            return Err(format!("the sample became {} objects", runs.len()));
        };
        Sample::of(run.clone())
    }

    pub(super) fn of(run: RunMeta) -> Result<Sample, String> {
        let bytes = |run: &RunMeta| {
            let text = serde_json::to_vec(run).map_err(|e| e.to_string())?;
            Ok::<u64, String>(text.len() as u64)
        };
        let bare = RunMeta {
            histogram: Vec::new(),
            ..run.clone()
        };
        Ok(Sample {
            described_bytes: bytes(&run)?,
            planned_bytes: bytes(&bare)?,
            run,
        })
    }

    /// Key and value.
    pub(super) fn entry_bytes(&self) -> f64 {
        self.run.raw_bytes() as f64 / self.run.entries() as f64
    }

    /// Stored bytes for each raw one.
    pub(super) fn stored_share(&self) -> f64 {
        self.run.stored_bytes as f64 / self.run.raw_bytes() as f64
    }

    /// The description of a run of another length, without histogram.
    pub(super) fn run_of(&self, stored_bytes: u64) -> RunMeta {
        let times = stored_bytes as f64 / self.run.stored_bytes as f64;
        let scaled = |n: u64| (n as f64 * times).ceil() as u64;
        let mut run = self.run.clone();
        run.histogram.clear();
        run.digest.entries = scaled(run.digest.entries);
        run.digest.bytes = scaled(run.digest.bytes);
        run.blocks = scaled(u64::from(run.blocks)) as u32;
        run.footer_bytes = scaled(run.footer_bytes);
        run.stored_bytes = stored_bytes;
        run
    }

    /// How many runs of this length can be read at once with a slot's memory: asked of the planner.
    pub(super) fn fan_in(&self, run_bytes: u64, slot_bytes: u64) -> u64 {
        let budget = sizing::merge_budget_bytes(slot_bytes);
        let run = self.run_of(run_bytes);
        most(|n| !ilmenite_sort::needs_merge(&vec![run.clone(); n], budget).merge)
    }

    /// How many one subtask of merge-sort takes.
    pub(super) fn merge_fan_in(&self, run_bytes: u64, slot_bytes: u64) -> u64 {
        let run = self.run_of(run_bytes);
        most(|n| ilmenite_sort::merge_groups(&vec![run.clone(); n], slot_bytes as usize).len() <= 1)
    }

    /// The parts in which a run goes up.
    pub(super) fn part_bytes(slot_bytes: u64) -> Result<u64, String> {
        let dir = tempfile::tempdir().map_err(|e| e.to_string())?;
        let storage = uncompressed(dir.path())?;
        Ok(WriterOptions::for_budget(slot_bytes as usize, &storage).part_bytes as u64)
    }

    /// Entries that a sorter holds at once, with 24 bytes beside each.
    pub(super) fn buffered_entries(&self, slot_bytes: u64) -> Result<u64, String> {
        let dir = tempfile::tempdir().map_err(|e| e.to_string())?;
        let storage = uncompressed(dir.path())?;
        let writer = WriterOptions::for_budget(slot_bytes as usize, &storage).memory_bytes() as u64;
        let buffer = slot_bytes.saturating_sub(writer) as f64;
        Ok((buffer / (self.entry_bytes() + 24.0)) as u64)
    }
}

/// Runs are as long here as they can be: elsewhere blocks are compressed while the storage is slower than the sorter.
fn uncompressed(path: &Path) -> Result<ObjectStorage, String> {
    ObjectStorage::local(path).map_err(|e| e.to_string())
}

/// The key of row `id` in the index on `k`, as it is sorted.
fn entry(id: u64, key: &mut Vec<u8>) {
    key.clear();
    for value in [data::k(id, 1 << 31) as i64, id as i64] {
        key.push(3);
        key.extend_from_slice(&memcomparable::i64_bytes(value));
    }
}

/// The greatest number for which `fits`, which is true for small ones; bounded.
fn most(fits: impl Fn(usize) -> bool) -> u64 {
    const MOST: usize = 1 << 16;
    let (mut yes, mut no) = (1, 2);
    while no < MOST && fits(no) {
        (yes, no) = (no, no * 2);
    }
    while no - yes > 1 {
        let middle = (yes + no) / 2;
        if fits(middle) {
            yes = middle;
        } else {
            no = middle;
        }
    }
    yes as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_greatest_number_is_found() {
        for wanted in [1, 2, 3, 7, 8, 9, 1000] {
            assert_eq!(most(|n| n <= wanted), wanted as u64);
        }
        assert_eq!(most(|_| true), (1 << 16) - 1);
    }

    #[tokio::test]
    async fn a_sample_tells_what_the_planner_decides_by() {
        let sample = Sample::take().await.unwrap();
        assert_eq!(sample.entry_bytes(), 19.0);
        assert!(
            (1.0..1.2).contains(&sample.stored_share()),
            "{}",
            sample.stored_share()
        );
        assert!(sample.planned_bytes < sample.described_bytes);
        let (little, much) = (
            sample.fan_in(64 << 20, 256 << 20),
            sample.fan_in(64 << 20, 1 << 30),
        );
        assert!(little > 10 && much > 3 * little, "{little}, {much}");
        let merging = sample.merge_fan_in(64 << 20, 1 << 30);
        assert!((much / 2..=much).contains(&merging), "{merging}");
    }
}
