//! The arithmetic of a build of any size: pure. What it needs of planning it asks of the planner's own functions, by
//! way of a `Sample`.

use ilmenite_ddl::sizing::{MIN_INGEST_BYTES, ingest_target_bytes, part_bytes};
use ilmenite_embedded::EmbeddedOptions;
use ilmenite_sort::TARGET_OBJECT_BYTES;

use super::sample::Sample;

/// S3's list prices (us-east-1, 2025-09): a put, copy, post or list; a get; a gigabyte for a month. Deletes are free,
/// and so is traffic within the region.
const DOLLARS_PER_PUT: f64 = 0.005 / 1000.0;
const DOLLARS_PER_GET: f64 = 0.0004 / 1000.0;
const DOLLARS_PER_BYTE_HOUR: f64 = 0.023 / 1e9 / (30.0 * 24.0);
/// What S3 lets through under one prefix, a second, before it slows down.
const PUTS_PER_S: f64 = 3500.0;
const GETS_PER_S: f64 = 5500.0;
/// What a ranged get reads when as many runs as possible are read at once; with fewer it is up to four times that.
const GET_BYTES: u64 = 1 << 20;
/// A run that is hardly longer than a part goes up in one put.
const PUT_SLACK_BYTES: u64 = 1 << 20;

/// What is built, and on what.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Setup {
    pub entries: u64,
    /// Bytes of the table, as stored, for each entry.
    pub row_bytes: u64,
    pub nodes: u64,
    pub slots_per_node: u64,
    pub slot_bytes: u64,
}

/// What planning depends on besides: the same for all sizes of a table.
#[derive(Debug, Clone)]
pub(super) struct Machinery {
    pub sample: Sample,
    pub slot_bytes: u64,
    part_bytes: u64,
    buffered_entries: u64,
}

/// A build, in figures.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Build {
    pub raw_bytes: u64,
    pub stored_bytes: u64,
    pub read_subtasks: u64,
    /// Objects that read-index leaves, and their length.
    pub objects: u64,
    pub object_bytes: u64,
    /// Runs over one key, and how many can be read at once.
    pub overlap: u64,
    pub fan_in: u64,
    /// Subtasks of merge-sort; zero: it is left out.
    pub merges: u64,
    pub merged_objects: u64,
    /// A second round would be needed, which is not planned.
    pub too_many: bool,
    pub ingests: u64,
    pub puts: u64,
    pub gets: u64,
    /// Bytes of the transaction that writes the plan: of merge-sort, of write&ingest.
    pub merge_plan_bytes: u64,
    pub ingest_plan_bytes: u64,
}

impl Machinery {
    pub(super) fn new(sample: Sample, slot_bytes: u64) -> Result<Machinery, String> {
        Ok(Machinery {
            part_bytes: Sample::part_bytes(slot_bytes)?,
            buffered_entries: sample.buffered_entries(slot_bytes)?.max(1),
            sample,
            slot_bytes,
        })
    }

    /// Requests that put an object.
    fn puts(&self, object_bytes: u64) -> u64 {
        match object_bytes <= self.part_bytes + PUT_SLACK_BYTES {
            true => 1,
            // And one each to begin and to end.
            false => object_bytes.div_ceil(self.part_bytes) + 2,
        }
    }

    pub(super) fn build(&self, setup: &Setup) -> Build {
        let sample = &self.sample;
        let slots = setup.nodes * setup.slots_per_node;
        let stored =
            |entries: u64| (entries as f64 * sample.entry_bytes() * sample.stored_share()).ceil() as u64;
        let raw_bytes = (setup.entries as f64 * sample.entry_bytes()) as u64;
        let stored_bytes = stored(setup.entries);

        let table_bytes = setup.entries * setup.row_bytes;
        let target = part_bytes(table_bytes, slots as u32);
        let read_subtasks = table_bytes.div_ceil(target).max(1);
        let entries_each = setup.entries.div_ceil(read_subtasks);
        // Each full buffer is a run of its own, over all keys of the index.
        let spills = entries_each.div_ceil(self.buffered_entries).max(1);
        let overlap = read_subtasks * spills;
        let run_bytes = stored(entries_each.div_ceil(spills));
        let objects_each = run_bytes.div_ceil(TARGET_OBJECT_BYTES).max(1);
        let object_bytes = run_bytes.div_ceil(objects_each);
        // All in one subtask's memory is ingested at once.
        let objects = if overlap == 1 { 0 } else { overlap * objects_each };
        let mut puts = objects * self.puts(object_bytes);
        let mut gets = 0;

        let fan_in = sample.fan_in(object_bytes.max(1), self.slot_bytes);
        let (mut merges, mut merged_objects, mut too_many) = (0, 0, false);
        // Chains of objects one after the other, each over all keys: what write&ingest reads side by side.
        let (mut chains, mut objects_in_chain) = (overlap, objects_each);
        if overlap > fan_in {
            let at_once = sample.merge_fan_in(object_bytes.max(1), self.slot_bytes).max(2);
            merges = overlap.div_ceil(at_once);
            let chain_bytes = stored_bytes.div_ceil(merges);
            objects_in_chain = chain_bytes.div_ceil(TARGET_OBJECT_BYTES).max(1);
            let chain_object_bytes = chain_bytes.div_ceil(objects_in_chain);
            merged_objects = merges * objects_in_chain;
            gets += objects * (1 + object_bytes.div_ceil(GET_BYTES));
            puts += merged_objects * self.puts(chain_object_bytes);
            chains = merges;
            too_many = chains > sample.fan_in(chain_object_bytes.max(1), self.slot_bytes);
        }

        let target = ingest_target_bytes(raw_bytes, slots as u32, MIN_INGEST_BYTES);
        let ingests = raw_bytes.div_ceil(target).max(1);
        let mut pieces = 0;
        if objects > 0 {
            // A row of objects cut into ranges: each cut, too, makes one more piece of an object and a range.
            pieces = chains * (objects_in_chain + ingests - 1);
            let range_bytes = stored_bytes / chains / ingests;
            gets += pieces + chains * ingests * range_bytes.div_ceil(GET_BYTES).max(1);
        }
        Build {
            raw_bytes,
            stored_bytes,
            read_subtasks,
            objects,
            object_bytes,
            overlap,
            fan_in,
            merges,
            merged_objects,
            too_many,
            ingests,
            puts,
            gets,
            merge_plan_bytes: if merges > 0 {
                objects * sample.planned_bytes
            } else {
                0
            },
            ingest_plan_bytes: pieces * sample.planned_bytes,
        }
    }

    /// What stands in the way of a build, at most one line each.
    pub(super) fn obstacles(&self, build: &Build) -> Vec<Obstacle> {
        let most = EmbeddedOptions::default().max_transaction_bytes as u64;
        let mut found = Vec::new();
        if build.merge_plan_bytes > most {
            found.push(Obstacle::MergePlan);
        }
        if build.ingest_plan_bytes > most {
            found.push(Obstacle::IngestPlan);
        }
        if build.too_many {
            found.push(Obstacle::SecondMerge);
        }
        found
    }

    /// The entries up to which an obstacle does not show, to 2 %; `None`: it does not up to `most`.
    pub(super) fn reach(&self, setup: &Setup, obstacle: Obstacle, most: u64) -> Option<u64> {
        let meets = |entries: u64| {
            let build = self.build(&Setup { entries, ..*setup });
            self.obstacles(&build).contains(&obstacle)
        };
        let mut bad = 1 << 20;
        while !meets(bad) {
            if bad >= most {
                return None;
            }
            bad = (bad * 2).min(most);
        }
        let mut good = bad / 2;
        while bad - good > bad / 50 {
            let middle = good + (bad - good) / 2;
            if meets(middle) {
                bad = middle;
            } else {
                good = middle;
            }
        }
        Some(good)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Obstacle {
    MergePlan,
    IngestPlan,
    SecondMerge,
}

impl Obstacle {
    pub(super) const ALL: [Obstacle; 3] = [Obstacle::MergePlan, Obstacle::IngestPlan, Obstacle::SecondMerge];

    pub(super) fn text(self) -> &'static str {
        match self {
            Obstacle::MergePlan => "the plan of merge-sort is longer than a transaction may be",
            Obstacle::IngestPlan => "the plan of write&ingest is longer than a transaction may be",
            Obstacle::SecondMerge => {
                "one round of merge-sort is not enough (the build pauses for more memory)"
            }
        }
    }
}

impl Build {
    pub(super) fn request_dollars(&self) -> f64 {
        self.puts as f64 * DOLLARS_PER_PUT + self.gets as f64 * DOLLARS_PER_GET
    }

    /// Objects are kept until what was made of them is recorded: twice, where they are merged.
    pub(super) fn storage_dollars(&self, hours: f64) -> f64 {
        let copies = if self.merges > 0 { 2.0 } else { 1.0 };
        copies * self.stored_bytes as f64 * hours * DOLLARS_PER_BYTE_HOUR
    }

    /// Seconds that S3 takes for the requests under one prefix, whatever the nodes do.
    pub(super) fn request_seconds(&self) -> f64 {
        (self.puts as f64 / PUTS_PER_S).max(self.gets as f64 / GETS_PER_S)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETUP: Setup = Setup {
        entries: 1_000_000,
        row_bytes: 200,
        nodes: 1,
        slots_per_node: 2,
        slot_bytes: 512 << 20,
    };

    async fn machinery() -> Machinery {
        Machinery::new(Sample::take().await.unwrap(), SETUP.slot_bytes).unwrap()
    }

    #[tokio::test]
    async fn a_small_build_by_hand() {
        let machinery = machinery().await;
        let build = machinery.build(&SETUP);
        // 200 MB of rows for two slots, four subtasks each: 25 MB, each one run of one object in one put or a few parts.
        assert_eq!(build.read_subtasks, 8);
        assert_eq!((build.overlap, build.objects), (8, 8));
        assert_eq!(build.raw_bytes, 19_000_000);
        // 19 MB are less than an ingest is planned for.
        assert_eq!((build.merges, build.ingests), (0, 1));
        assert_eq!(build.puts, 8);
        let got = build.gets;
        let each = (build.stored_bytes / 8).div_ceil(1 << 20);
        assert_eq!(got, 8 * (1 + each));
        assert_eq!(build.ingest_plan_bytes, 8 * machinery.sample.planned_bytes);
        assert!(machinery.obstacles(&build).is_empty());
        // Less than is worth two subtasks is built in memory.
        let little = machinery.build(&Setup {
            entries: 1000,
            ..SETUP
        });
        assert_eq!((little.objects, little.puts, little.gets), (0, 0, 0));
        let dollars = 8.0 * 0.000005 + got as f64 * 0.0000004;
        assert!((build.request_dollars() - dollars).abs() < 1e-12);
    }

    #[tokio::test]
    async fn what_grows_and_where_it_ends() {
        let machinery = machinery().await;
        let at = |entries| machinery.build(&Setup { entries, ..SETUP });
        let (small, large) = (at(1_000_000_000), at(100_000_000_000));
        assert_eq!(small.read_subtasks, 187);
        assert!(large.merges > 0 && large.objects > 90 * small.objects);
        assert!(large.object_bytes <= TARGET_OBJECT_BYTES && large.puts > 50 * small.puts);
        assert!(large.storage_dollars(10.0) > 99.0 * small.storage_dollars(10.0));
        for obstacle in Obstacle::ALL {
            let Some(reach) = machinery.reach(&SETUP, obstacle, 10_000_000_000_000) else {
                panic!("{obstacle:?} is never met");
            };
            assert!(!machinery.obstacles(&at(reach)).contains(&obstacle));
            let beyond = machinery.obstacles(&at(reach + reach / 20));
            assert!(beyond.contains(&obstacle), "{obstacle:?} at {reach}");
        }
        assert_eq!(machinery.reach(&SETUP, Obstacle::SecondMerge, 1 << 21), None);
    }
}
