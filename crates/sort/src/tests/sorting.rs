use ilmenite_store::{EntryDigest, entry_hash};
use std::time::Duration;

use super::*;
use crate::buffer::SortBuffer;
use crate::metrics::Op;
use crate::testing::{Fault, Faults, Rule};
use crate::writer::WriterOptions as Writing;

const MIB: usize = 1 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn nothing_pushed() {
    let (_dir, storage) = directory();
    let output = sort_all(&storage, options(4 * MIB, DETECT, true), vec![])
        .await
        .unwrap();
    let SortedRun::InMemory(mut entries) = output.run else {
        panic!()
    };
    assert!(entries.is_empty() && !entries.next_batch(&mut KvBatch::new(), 1000));
    assert_eq!(output.pushed, EntryDigest::default());

    let output = sort_all(&storage, options(4 * MIB, DETECT, false), vec![])
        .await
        .unwrap();
    assert!(matches!(output.run, SortedRun::Stored(runs) if runs.is_empty()));
    assert!(storage.list("", &token()).await.unwrap().is_empty());
    assert_eq!(merge_range(&storage, &[], KeyRange::default(), MIB).await, vec![]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fits_never_touches_storage() {
    let (_dir, storage) = directory();
    let mut entries = wild_entries(&mut rng(1), 20_000);
    let output = sort_all(
        &storage,
        options(8 * MIB, DuplicatePolicy::Allow, true),
        entries.clone(),
    )
    .await
    .unwrap();
    assert!(!output.was_sorted);
    assert_eq!(output.pushed, digest_of(&entries));
    let SortedRun::InMemory(mut sorted) = output.run else {
        panic!("spilled")
    };
    entries.sort();
    assert_eq!(sorted.digest(), output.pushed);
    let mut batch = KvBatch::new();
    let mut got = Vec::new();
    while sorted.next_batch(&mut batch, 10_000) {
        got.extend(batch.iter().map(|(key, value)| (key.to_vec(), value.to_vec())));
    }
    assert_eq!(got, entries);
    assert_eq!(storage.stats(), RequestStats::default());
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_handed_out_with_a_prefix_that_is_not_sorted() {
    let (_dir, storage) = directory();
    // Every key three times, with values equal and not, so that equal keys meet at the ends of batches, too.
    let entry = |i: u32| ((i % 1000).to_be_bytes().to_vec(), vec![(i / 2000) as u8]);
    let entries: Vec<Entry> = (0..3000).map(entry).collect();
    let expected: Vec<Entry> = (0..1000u32)
        .map(|i| ([b"prefix", &i.to_be_bytes()[..]].concat(), vec![0]))
        .collect();
    let runs = stored_runs(&storage, "7/1/1", 4 * MIB, entries.clone()).await;
    let options = MergeOptions {
        batch_bytes: 1,
        ..merge_options(4 * MIB, DETECT)
    };
    let whole = KeyRange::default();
    let merge = Merge::new(&storage, &runs, whole, &options, &token()).unwrap();
    let mut merge = merge.with_key_prefix(b"prefix");
    assert_eq!(read_all(&mut merge).await.unwrap(), expected);
    let plain: Vec<Entry> = (0..1000).map(entry).collect();
    assert_eq!(merge.emitted(), digest_of(&plain));
    assert_eq!(merge.duplicates().count(), 1000);
    assert_eq!(merge.duplicates().samples[0].key, 0u32.to_be_bytes()[..]);

    let sorted = sort_all(&storage, super::options(4 * MIB, DETECT, true), entries);
    let SortedRun::InMemory(sorted) = sorted.await.unwrap().run else {
        panic!("spilled")
    };
    let mut sorted = sorted.with_key_prefix(b"prefix");
    let mut batch = KvBatch::new();
    let mut got = Vec::new();
    while sorted.next_batch(&mut batch, 100) {
        got.extend(batch.iter().map(|(key, value)| (key.to_vec(), value.to_vec())));
    }
    assert_eq!(got, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_are_compressed_unless_they_lie_on_a_disk_of_our_own() {
    let dir = tempfile::tempdir().unwrap();
    let near = ObjectStorage::local(&dir.path().join("near")).unwrap();
    let far = ObjectStorage::from_uri(&format!("file://{}", dir.path().join("far").display())).unwrap();
    let mut entries: Vec<Entry> = (0..20_000u64)
        .map(|i| (format!("{:0>60}", i * 7 % 20_000).into_bytes(), vec![b'0']))
        .collect();
    let raw: usize = entries.iter().map(|(k, v)| k.len() + v.len()).sum();
    for (storage, compressed) in [(near, false), (far, true)] {
        let options = options(4 * MIB, DuplicatePolicy::Allow, false);
        let output = sort_all(&storage, options, entries.clone()).await.unwrap();
        let SortedRun::Stored(runs) = output.run else {
            panic!("nothing is stored")
        };
        let stored: u64 = runs.iter().map(|run| run.stored_bytes).sum();
        let raw = raw as u64;
        assert!(
            if compressed {
                stored < raw / 4
            } else {
                stored >= raw
            },
            "{stored} of {raw}"
        );
        entries.sort();
        assert!(merge_range(&storage, &runs, KeyRange::default(), 4 * MIB).await == entries);
    }
}

#[test]
fn the_buffer_sorts_like_the_reference() {
    for seed in 0..6 {
        let mut rng = rng(seed);
        let mut entries = match seed {
            0 => index_entries(&mut rng, 30_000, u64::MAX),
            1 => index_entries(&mut rng, 30_000, 5),
            2 => wild_entries(&mut rng, 30_000),
            // Equal up to past the words that are told apart one by one.
            3 => (0..300u32)
                .map(|i| {
                    (
                        [vec![7; 600], (i % 50).to_be_bytes().to_vec()].concat(),
                        vec![i as u8],
                    )
                })
                .collect(),
            4 => vec![
                (vec![], vec![]),
                (vec![], vec![1]),
                (vec![0], vec![]),
                (vec![0, 0], vec![]),
            ],
            _ => (0..100u8)
                .map(|i| (vec![0; 100 - usize::from(i)], vec![i]))
                .collect(),
        };
        let mut buffer = SortBuffer::new(16 * MIB);
        for (key, value) in &entries {
            assert!(buffer.push(key, value).unwrap());
        }
        buffer.sort();
        entries.sort();
        let got: Vec<Entry> = (0..buffer.len())
            .map(|i| buffer.get(i))
            .map(|(k, v)| (k.to_vec(), v.to_vec()))
            .collect();
        assert!(got == entries, "seed {seed}");
    }
}

/// Against F49 of docs/faults.md.
#[test]
fn the_buffer_stays_within_its_limit() {
    let mut rng = rng(3);
    for limit in [64 << 10, 300_000, 5 * MIB] {
        let mut buffer = SortBuffer::new(limit);
        let mut best = 0;
        for round in 0..4 {
            let mut pushed = 0;
            loop {
                let value = vec![1; if round == 2 { rng.random_range(0..2000) } else { 10 }];
                let fits = buffer.push(&rng.random::<[u8; 30]>(), &value).unwrap();
                assert!(
                    buffer.memory_bytes() <= limit,
                    "{} of {limit}",
                    buffer.memory_bytes()
                );
                if !fits {
                    break;
                }
                pushed += 30 + value.len();
            }
            best = best.max(pushed);
            buffer.clear();
        }
        assert!(best > limit / 2, "only {best} bytes of entries in {limit}");
        // An entry longer than what is kept for small ones still finds its place.
        assert!(buffer.push(b"k", &vec![0; limit * 8 / 10]).unwrap());
        assert!(buffer.memory_bytes() <= limit);
        assert!(!buffer.push(b"k", &vec![0; limit]).unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn spilled_runs_merge_to_the_reference() {
    for seed in 0..4 {
        let (_dir, storage) = directory();
        let mut rng = rng(seed);
        let mut entries = match seed {
            0 => index_entries(&mut rng, 150_000, u64::MAX),
            1 => index_entries(&mut rng, 150_000, 3),
            2 => wild_entries(&mut rng, 200_000),
            // Values far larger than a block, some of them empty.
            _ => (0..60)
                .map(|i| (rng.random::<[u8; 9]>().to_vec(), vec![i; usize::from(i) * 7_000]))
                .collect(),
        };
        let budget = RunSorter::min_budget_bytes(&storage) + 2 * MIB;
        let runs = stored_runs(&storage, "7/1/1", budget, entries.clone()).await;
        assert!(runs.len() > 1, "seed {seed}: {} runs", runs.len());
        assert_eq!(
            runs.iter().map(|run| run.entries()).sum::<u64>(),
            entries.len() as u64
        );
        let listed = storage.list("7", &token()).await.unwrap();
        assert_eq!(listed.len(), runs.len());
        for run in &runs {
            assert!(
                listed
                    .iter()
                    .any(|object| object.path == run.path && object.bytes == run.stored_bytes)
            );
            assert_eq!(
                read_footer(&storage, run, &token()).await.unwrap().digest,
                run.digest
            );
            assert!(run.histogram.len() <= MAX_BUCKETS);
            assert_eq!(
                run.histogram.iter().map(|bucket| bucket.entries).sum::<u64>(),
                run.entries()
            );
        }

        let options = merge_options(64 * MIB, DuplicatePolicy::Allow);
        let mut merge = Merge::new(&storage, &runs, KeyRange::default(), &options, &token()).unwrap();
        let merged = read_all(&mut merge).await.unwrap();
        assert_eq!(merge.emitted(), digest_of(&entries));
        entries.sort();
        let mut by_value = merged.clone();
        by_value.sort();
        assert!(by_value == entries, "seed {seed}");
        assert!(merged.windows(2).all(|pair| pair[0].0 <= pair[1].0));

        // Ranges give the same, cut anywhere.
        let mut cuts: Vec<Bytes> = (0..8)
            .map(|_| entries[rng.random_range(0..entries.len())].0.clone().into())
            .collect();
        cuts.sort();
        cuts.push(Bytes::new());
        let (mut start, mut from_ranges) = (Bytes::new(), Vec::new());
        for end in cuts {
            if end.is_empty() || start < end {
                let range = KeyRange {
                    start: start.clone(),
                    end: end.clone(),
                };
                from_ranges.extend(merge_range(&storage, &runs, range, 64 * MIB).await);
                start = end;
            }
        }
        assert!(from_ranges.len() == merged.len(), "seed {seed}");
        from_ranges.sort();
        assert!(from_ranges == entries, "seed {seed}");
    }
}

/// Against P14 of docs/faults.md.
#[tokio::test(flavor = "multi_thread")]
async fn sorted_input_gives_runs_without_overlap() {
    let (_dir, storage) = directory();
    let mut entries = index_entries(&mut rng(5), 150_000, u64::MAX);
    entries.sort();
    let budget = RunSorter::min_budget_bytes(&storage) + 2 * MIB;
    let output = sort_all(&storage, options(budget, DETECT, true), entries.clone())
        .await
        .unwrap();
    assert!(output.was_sorted);
    let SortedRun::Stored(runs) = output.run else {
        panic!("did not spill")
    };
    assert!(runs.len() > 2);
    assert_eq!(overlap(&runs), 1);
    assert!(!needs_merge(&runs, 4 * MIB).merge);
    // Read in sequence, within the budget of a single reader.
    assert!(merge_range(&storage, &runs, KeyRange::default(), 4 * MIB).await == entries);
}

/// Against F15 of docs/faults.md.
#[tokio::test(flavor = "multi_thread")]
async fn duplicates_in_memory_and_across_runs() {
    let (_dir, storage) = directory();
    let mut entries: Vec<Entry> = (0..60_000u32)
        .map(|i| (i.to_be_bytes().to_vec(), [i.to_le_bytes(); 8].concat()))
        .collect();
    // 300 keys twice with other values, far apart; 200 entries twice as they are.
    for i in 0..300u32 {
        entries.push(((i * 7).to_be_bytes().to_vec(), vec![1]));
    }
    for i in 0..200u32 {
        entries.push(entries[50_000 + i as usize].clone());
    }
    let all = digest_of(&entries);
    for budget in [64 * MIB, RunSorter::min_budget_bytes(&storage) + MIB] {
        for collapse_equal in [true, false] {
            let policy = DuplicatePolicy::Detect { collapse_equal };
            let sorted = sort_all(&storage, options(budget, policy, true), entries.clone())
                .await
                .unwrap();
            assert_eq!(sorted.pushed, all);
            let (kept, found) = match sorted.run {
                SortedRun::InMemory(kept) => (kept.digest(), sorted.duplicates),
                SortedRun::Stored(runs) => {
                    assert!(runs.len() > 1);
                    let options = merge_options(64 * MIB, policy);
                    let mut merge =
                        Merge::new(&storage, &runs, KeyRange::default(), &options, &token()).unwrap();
                    let merged = read_all(&mut merge).await.unwrap();
                    assert!(merged.windows(2).all(|pair| pair[0].0 < pair[1].0));
                    let mut found = sorted.duplicates;
                    found.merge(merge.duplicates().clone());
                    (merge.emitted(), found)
                }
            };
            assert_eq!(found.count(), if collapse_equal { 300 } else { 500 });
            assert_eq!(found.collapsed.entries, if collapse_equal { 200 } else { 0 });
            assert_eq!(found.samples.len(), MAX_DUPLICATE_SAMPLES);
            for sample in &found.samples {
                assert!(!collapse_equal || sample.first != sample.second);
            }
            assert_eq!(kept.entries, 60_000);
            let mut sum = kept;
            sum.merge(&found.conflicting);
            sum.merge(&found.collapsed);
            assert_eq!(sum, all, "what went in is what came out and what was reported");
            storage.delete_prefix("7", &token()).await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_budget_refuses_and_groups_fit_it() {
    let (_dir, storage) = directory();
    let mut rng = rng(9);
    let mut entries = Vec::new();
    let mut runs = Vec::new();
    for run in 0..30 {
        let part: Vec<Entry> = (0..8_000)
            .map(|_| {
                (
                    rng.random::<[u8; 16]>().to_vec(),
                    rng.random::<[u8; 32]>().to_vec(),
                )
            })
            .collect();
        runs.extend(stored_runs(&storage, &format!("7/{run}/1"), 16 * MIB, part.clone()).await);
        entries.extend(part);
    }
    assert_eq!(overlap(&runs), 30);
    let options = merge_options(4 * MIB, DuplicatePolicy::Allow);
    let refused = Merge::new(&storage, &runs, KeyRange::default(), &options, &token());
    let error = refused.err().expect("30 readers in 4 MiB");
    assert!(matches!(error, Error::BudgetTooSmall { .. }), "{error}");
    assert_eq!(error.class(), ilmenite_base::ErrorClass::Resource);
    let decision = needs_merge(&runs, 4 * MIB);
    assert!(
        decision.merge && decision.reason.contains("at most 30"),
        "{}",
        decision.reason
    );

    let budget = 26 * MIB;
    let groups = merge_groups(&runs, budget);
    assert!(groups.len() > 1);
    let mut merged = Vec::new();
    for (index, group) in groups.iter().enumerate() {
        let mut steps = 0;
        let prefix = format!("7/m{index}/1");
        let output = merge_runs(
            &storage,
            group,
            prefix,
            budget,
            DuplicatePolicy::Allow,
            &token(),
            |_| steps += 1,
        )
        .await
        .unwrap();
        assert!(steps > 0 && overlap(&output.runs) == 1);
        assert_eq!(
            output.emitted.entries,
            group.iter().map(|run| run.entries()).sum::<u64>()
        );
        merged.extend(output.runs);
    }
    assert!(overlap(&merged) <= groups.len());
    entries.sort();
    let got = merge_range(&storage, &merged, KeyRange::default(), 64 * MIB).await;
    assert!(got == entries);
    let planned = plan_ranges(&merged, 2 * MIB as u64, &[]);
    let mut by_range = Vec::new();
    for range in &planned {
        by_range.extend(merge_range(&storage, &merged, range.range(), 64 * MIB).await);
    }
    assert!(planned.len() > 3 && by_range == entries);
}

/// Against F70 of docs/faults.md.
#[tokio::test(flavor = "multi_thread")]
async fn merging_stays_within_its_budget() {
    let (_dir, storage) = directory();
    let mut rng = rng(14);
    let mut runs = Vec::new();
    for run in 0..8 {
        let part: Vec<Entry> = (0..40_000)
            .map(|_| {
                (
                    rng.random::<[u8; 24]>().to_vec(),
                    rng.random::<[u8; 100]>().to_vec(),
                )
            })
            .collect();
        runs.extend(stored_runs(&storage, &format!("7/{run}/1"), 24 * MIB, part).await);
    }
    assert_eq!((runs.len(), overlap(&runs)), (8, 8));
    for budget in [22 * MIB, 40 * MIB, 200 * MIB] {
        let options = merge_options(budget, DuplicatePolicy::Allow);
        let mut merge = Merge::new(&storage, &runs, KeyRange::default(), &options, &token()).unwrap();
        let mut batch = KvBatch::new();
        let mut most = 0;
        while merge.next_batch(&mut batch).await.unwrap() {
            most = most.max(merge.memory_bytes());
            assert!(
                merge.memory_bytes() <= budget,
                "{} of {budget}",
                merge.memory_bytes()
            );
        }
        assert!(most > 8 * MIB, "read-ahead of only {most} bytes");
        assert_eq!(merge.emitted().entries, 320_000);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_settled_sorter_goes_on() {
    let (_dir, storage) = directory();
    let mut entries = index_entries(&mut rng(12), 30_000, u64::MAX);
    let mut sorter = RunSorter::new(&storage, options(16 * MIB, DETECT, true), &token()).unwrap();
    let (first, second) = (entries[..20_000].to_vec(), entries[20_000..].to_vec());
    push_all(&mut sorter, &first).await.unwrap();
    let settled = sorter.settle().await.unwrap();
    assert_eq!(settled, sorter.settle().await.unwrap());
    push_all(&mut sorter, &second).await.unwrap();
    let output = sorter.finish().await.unwrap();
    let SortedRun::Stored(runs) = output.run else {
        panic!()
    };
    assert_eq!((settled.len(), runs.len()), (1, 2));
    assert_eq!(settled[0], runs[0]);
    assert_eq!(settled[0].entries(), 20_000);
    entries.sort();
    assert!(merge_range(&storage, &runs, KeyRange::default(), 64 * MIB).await == entries);
}

/// Against F64, P12, P13 of docs/faults.md.
#[tokio::test(flavor = "multi_thread")]
async fn long_sets_roll_over_to_more_objects_in_growing_parts() {
    let (_dir, storage) = directory();
    let writing = Writing {
        part_bytes: 64 << 10,
        max_in_flight: 2,
        target_object_bytes: 400_000,
        zstd_level: Some(1),
    };
    let mut writer = RunSetWriter::new(&storage, "1/1/1".into(), 5, writing, &token());
    let mut rng = rng(4);
    let mut entries: Vec<Entry> = (0..30_000)
        .map(|_| {
            (
                rng.random::<[u8; 20]>().to_vec(),
                rng.random::<[u8; 20]>().to_vec(),
            )
        })
        .collect();
    entries.sort();
    for (key, value) in &entries {
        if writer.push(key, value).unwrap() {
            writer.flush().await.unwrap();
        }
    }
    let runs = writer.finish().await.unwrap();
    assert!(runs.len() >= 3, "{} objects", runs.len());
    assert_eq!(runs[0].path, "1/1/1/000005.run");
    for run in &runs[..runs.len() - 1] {
        assert!(
            (400_000..800_000).contains(&run.stored_bytes),
            "{}",
            run.stored_bytes
        );
    }
    assert!(storage.stats().part > 10);
    assert!(merge_range(&storage, &runs, KeyRange::default(), 16 * MIB).await == entries);
    let unordered = RunSetWriter::new(&storage, "2/1/1".into(), 0, writing, &token());
    let mut unordered = unordered;
    unordered.push(b"b", b"").unwrap();
    assert_eq!(
        unordered.push(b"a", b"").unwrap_err().class(),
        ilmenite_base::ErrorClass::Bug
    );
}

#[tokio::test(start_paused = true)]
async fn blocks_are_compressed_while_the_storage_is_slower_than_the_writer() {
    let writing = Writing {
        part_bytes: 64 << 10,
        max_in_flight: 2,
        target_object_bytes: u64::MAX,
        zstd_level: Some(1),
    };
    let entries: Vec<Entry> = {
        let mut rng = rng(6);
        let value = |random: [u8; 50]| [random, [0; 50]].concat();
        (0..20_000u64)
            .map(|i| (i.to_be_bytes().to_vec(), value(rng.random())))
            .collect()
    };
    let raw_bytes: usize = entries.iter().map(|(key, value)| key.len() + value.len()).sum();
    for (upload_ms, stored) in [(0, 0.9..1.1), (100, 0.5..0.7)] {
        let (_dir, storage) = directory();
        let faults = Faults::new();
        faults.add(Rule::always(
            Op::PutPart,
            Fault::Delay(Duration::from_millis(upload_ms)),
        ));
        let mut writer = RunSetWriter::new(&faults.wrap(&storage), "1/1/1".into(), 0, writing, &token());
        for (key, value) in &entries {
            if writer.push(key, value).unwrap() {
                // What it takes to make a part.
                tokio::time::sleep(Duration::from_millis(10)).await;
                writer.flush().await.unwrap();
            }
        }
        let runs = writer.finish().await.unwrap();
        let ratio = runs[0].stored_bytes as f64 / raw_bytes as f64;
        assert!(
            stored.contains(&ratio),
            "{ratio} of the bytes with {upload_ms} ms for each part"
        );
        assert!(merge_range(&storage, &runs, KeyRange::default(), 64 * MIB).await == entries);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_ends_sorting_and_merging() {
    let (_dir, storage) = directory();
    let entries = index_entries(&mut rng(2), 50_000, u64::MAX);
    let runs = stored_runs(&storage, "7/1/1", 16 * MIB, entries.clone()).await;
    let cancel = token();
    let options = merge_options(16 * MIB, DuplicatePolicy::Allow);
    let mut merge = Merge::new(&storage, &runs, KeyRange::default(), &options, &cancel).unwrap();
    let mut batch = KvBatch::new();
    assert!(merge.next_batch(&mut batch).await.unwrap());
    cancel.cancel();
    let error = read_all(&mut merge).await.unwrap_err();
    assert_eq!(error.class(), ilmenite_base::ErrorClass::Cancelled);

    let cancel = token();
    let budget = RunSorter::min_budget_bytes(&storage);
    let mut sorter = RunSorter::new(&storage, super::options(budget, DETECT, true), &cancel).unwrap();
    cancel.cancel();
    let result = push_all(&mut sorter, &entries).await;
    assert!(matches!(result, Err(Error::Cancelled)));
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_are_errors() {
    let (_dir, storage) = directory();
    let too_small = RunSorter::new(&storage, options(1000, DETECT, true), &token());
    assert!(matches!(too_small.err(), Some(Error::BudgetTooSmall { .. })));
    let budget = RunSorter::min_budget_bytes(&storage);
    let mut sorter = RunSorter::new(&storage, options(budget, DETECT, true), &token()).unwrap();
    let huge = vec![0; crate::format::MAX_ENTRY_BYTES + 1];
    let pushed = push_all(&mut sorter, &[(Vec::new(), huge.clone())]).await;
    assert!(matches!(pushed, Err(Error::TooLarge { .. })));
    let pushed = push_all(&mut sorter, &[(Vec::new(), huge[..budget].to_vec())]).await;
    assert!(matches!(pushed, Err(Error::BudgetTooSmall { .. })));
    assert!(sorter.push(b"k", b"v").unwrap());
    assert!(sorter.buffer_memory_bytes() <= budget);
    assert_eq!(sorter.finish().await.unwrap().pushed.entries, 1);
}

#[test]
fn the_encoder_stays_within_what_the_writer_counts() {
    let writing = Writing {
        part_bytes: 1 << 20,
        max_in_flight: 2,
        target_object_bytes: 1 << 30,
        zstd_level: Some(1),
    };
    let mut encoder = crate::writer::RunEncoder::new(writing.part_bytes, writing.zstd_level).unwrap();
    let mut rng = rng(8);
    let mut most = 0;
    for i in 0..200_000u64 {
        encoder.push(&i.to_be_bytes(), &rng.random::<[u8; 24]>()).unwrap();
        most = most.max(encoder.memory_bytes());
        if encoder.pending_bytes() >= writing.part_bytes {
            encoder.take_pending();
        }
    }
    let one_part = writing.memory_bytes() - 2 * writing.part_bytes;
    assert!(most <= one_part, "{most} bytes where {one_part} were counted");
}

#[test]
fn digests_are_free_of_order_and_tell_cuts_apart() {
    let entries = wild_entries(&mut rng(6), 1000);
    let mut reversed = entries.clone();
    reversed.reverse();
    assert_eq!(digest_of(&entries), digest_of(&reversed));
    assert_ne!(entry_hash(b"ab", b"c"), entry_hash(b"a", b"bc"));
    assert_ne!(entry_hash(b"", b""), 0);
    let text = serde_json::to_string(&digest_of(&entries)).unwrap();
    assert_eq!(
        serde_json::from_str::<EntryDigest>(&text).unwrap(),
        digest_of(&entries)
    );
}
