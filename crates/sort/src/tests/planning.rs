use ilmenite_store::EntryDigest;
use proptest::prelude::*;

use super::*;

/// A run from `min` to `max` with buckets between them, `weight` bytes each.
fn run(name: usize, min: u16, max: u16, buckets: u16, weight: u64) -> RunMeta {
    let key = |number: u32| Bytes::copy_from_slice(&(number as u16).to_be_bytes());
    let span = u32::from(max - min);
    let count = u32::from(buckets.clamp(1, 64)).min(span + 1);
    let histogram: Vec<Bucket> = (0..count)
        .map(|i| Bucket {
            start: key(u32::from(min) + span * i / count),
            entries: weight / 10 + 1,
            bytes: weight,
        })
        .collect();
    RunMeta {
        path: format!("1/1/1/{name:06}.run"),
        min_key: key(min.into()),
        max_key: key(max.into()),
        digest: EntryDigest {
            entries: histogram.iter().map(|bucket| bucket.entries).sum(),
            bytes: histogram.iter().map(|bucket| bucket.bytes).sum(),
            sum: name as u128,
        },
        stored_bytes: 100 << 20,
        footer_bytes: 100 << 10,
        blocks: 1000,
        max_block_bytes: 130 << 10,
        histogram,
    }
}

fn runs() -> impl Strategy<Value = Vec<RunMeta>> {
    let one = (0..1000u16, 0..600u16, 1..70u16, 0..5000u64);
    prop::collection::vec(one, 0..40).prop_map(|all| {
        all.into_iter()
            .enumerate()
            .map(|(i, (min, span, buckets, weight))| run(i, min, min + span, buckets, weight))
            .collect()
    })
}

/// By looking at every point.
fn overlap_reference(runs: &[RunMeta]) -> usize {
    let covering = |key: &Bytes| {
        runs.iter()
            .filter(|run| run.min_key <= *key && *key <= run.max_key)
            .count()
    };
    runs.iter().map(|run| covering(&run.min_key)).max().unwrap_or(0)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn overlap_is_that_of_the_fullest_point(runs in runs()) {
        prop_assert_eq!(overlap(&runs), overlap_reference(&runs));
    }

    /// Against F34, F67 of docs/faults.md.
    #[test]
    fn ranges_cover_everything_once(
        runs in runs(),
        target in 1..100_000u64,
        boundaries in prop::collection::btree_set(0..1700u16, 0..12),
    ) {
        let boundaries: Vec<Bytes> = boundaries.iter().map(|b| Bytes::copy_from_slice(&b.to_be_bytes())).collect();
        let ranges = plan_ranges(&runs, target, &boundaries);
        prop_assert_eq!(&ranges, &plan_ranges(&runs, target, &boundaries));
        let (Some(first), Some(last)) = (ranges.first(), ranges.last()) else {
            prop_assert!(runs.is_empty());
            return Ok(());
        };
        prop_assert_eq!(Some(&first.start), runs.iter().map(|run| &run.min_key).min());
        let max = runs.iter().map(|run| &run.max_key).max().unwrap();
        prop_assert_eq!(&last.end, &after_key(max));
        prop_assert!(ranges.iter().all(|range| range.start < range.end));
        prop_assert!(ranges.windows(2).all(|pair| pair[0].end == pair[1].start));
        prop_assert_eq!(ranges.iter().map(|r| r.bytes).sum::<u64>(), runs.iter().map(RunMeta::raw_bytes).sum::<u64>());
        prop_assert_eq!(ranges.iter().map(|r| r.entries).sum::<u64>(), runs.iter().map(RunMeta::entries).sum::<u64>());
        // Never past one and a half of the target by more than what begins at one key.
        let mut beginning = std::collections::BTreeMap::new();
        for bucket in runs.iter().flat_map(|run| &run.histogram) {
            *beginning.entry(&bucket.start).or_insert(0) += bucket.bytes;
        }
        let heaviest = beginning.values().max().copied().unwrap_or(0);
        prop_assert!(ranges.iter().all(|range| range.bytes <= target + target / 2 + heaviest));
        prop_assert!(ranges.iter().rev().skip(1).all(|range| range.bytes >= target.div_ceil(2)));
    }

    #[test]
    fn groups_hold_every_run_once_and_fit(runs in runs(), budget_mib in 16..200usize) {
        let budget = budget_mib << 20;
        let groups = merge_groups(&runs, budget);
        let decided = needs_merge(&runs, budget);
        prop_assert!(!decided.reason.is_empty());
        if overlap(&runs) < 2 {
            prop_assert!(groups.is_empty() && !decided.merge);
            return Ok(());
        }
        let mut grouped: Vec<&str> = groups.iter().flatten().map(|run| run.path.as_str()).collect();
        grouped.sort_unstable();
        let mut all: Vec<&str> = runs.iter().map(|run| run.path.as_str()).collect();
        all.sort_unstable();
        prop_assert_eq!(grouped, all);
        // Each group goes through in its budget, when that is enough for two readers at all.
        let (_dir, storage) = directory();
        for group in &groups {
            prop_assert!(overlap(group) <= overlap(&runs).div_ceil(groups.len()));
            if budget_mib >= 40 {
                let read = crate::merge::merge_read_budget(budget);
                let options = merge_options(read, DuplicatePolicy::Allow);
                prop_assert!(Merge::new(&storage, group, KeyRange::default(), &options, &token()).is_ok());
            }
        }
        if !decided.merge {
            let options = merge_options(budget, DuplicatePolicy::Allow);
            prop_assert!(Merge::new(&storage, &runs, KeyRange::default(), &options, &token()).is_ok());
        }
    }
}

#[test]
fn empty_input_plans_nothing() {
    assert_eq!(plan_ranges(&[], 1, &[]), vec![]);
    assert_eq!(overlap(&[]), 0);
    assert!(!needs_merge(&[], 0).merge);
    assert!(merge_groups(&[], 0).is_empty());
}

#[test]
fn fan_in_grows_with_the_budget() {
    assert_eq!(merge_fan_in(0), 1);
    let (small, large) = (merge_fan_in(64 << 20), merge_fan_in(1 << 30));
    assert!(
        small >= 16 && (15..=17).contains(&(large / small)),
        "{small} {large}"
    );
}

#[test]
fn cuts_fall_on_region_boundaries_where_they_can() {
    let runs: Vec<RunMeta> = (0..4).map(|i| run(i, 0, 6399, 64, 100)).collect();
    let boundary = |number: u16| Bytes::copy_from_slice(&number.to_be_bytes());
    let regions = vec![boundary(1000), boundary(2150), boundary(3333)];
    let ranges = plan_ranges(&runs, 4000, &regions);
    let ends: Vec<&Bytes> = ranges.iter().map(|range| &range.end).collect();
    assert!(regions.iter().all(|key| ends.contains(&key)), "{ends:?}");
    // Past the last region, by size alone.
    assert!(ranges.len() > 5 && ranges[4].bytes == 4000, "{ranges:?}");
}

/// Against P14 of docs/faults.md.
#[test]
fn touching_runs_overlap_and_neighbours_do_not() {
    assert_eq!(overlap(&[run(0, 0, 10, 2, 1), run(1, 10, 20, 2, 1)]), 2);
    assert_eq!(overlap(&[run(0, 0, 10, 2, 1), run(1, 11, 20, 2, 1)]), 1);
}
