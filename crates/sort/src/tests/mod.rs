//! Tests of the whole crate; those over S3 talk to a real server in this process.

mod budget;
#[cfg(feature = "failpoints")]
mod failpoints;
mod faults;
mod format;
mod planning;
mod s3;
mod sorting;
mod storage;

use bytes::Bytes;
use ilmenite_store::EntryDigest;
use ilmenite_store::{KeyRange, KvBatch};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio_util::sync::CancellationToken;

use crate::run::overlap;
use crate::*;

type Entry = (Vec<u8>, Vec<u8>);

const DETECT: DuplicatePolicy = DuplicatePolicy::Detect { collapse_equal: true };

fn token() -> CancellationToken {
    CancellationToken::new()
}

fn rng(seed: u64) -> StdRng {
    StdRng::seed_from_u64(seed)
}

/// A directory of its own, gone at the end.
fn directory() -> (tempfile::TempDir, ObjectStorage) {
    let dir = tempfile::tempdir().unwrap();
    let storage = ObjectStorage::from_uri(&format!("file://{}/objects", dir.path().display())).unwrap();
    (dir, storage)
}

fn options(budget_bytes: usize, duplicates: DuplicatePolicy, in_memory_allowed: bool) -> SorterOptions {
    SorterOptions {
        budget_bytes,
        prefix: "7/1/1".into(),
        duplicates,
        in_memory_allowed,
    }
}

async fn push_all(sorter: &mut RunSorter, entries: &[Entry]) -> Result<()> {
    for (key, value) in entries {
        if !sorter.push(key, value)? {
            sorter.spill_and_push(key, value).await?;
        }
    }
    Ok(())
}

async fn sort_all(
    storage: &ObjectStorage,
    options: SorterOptions,
    entries: Vec<Entry>,
) -> Result<SortOutput> {
    let mut sorter = RunSorter::new(storage, options, &token())?;
    push_all(&mut sorter, &entries).await?;
    sorter.finish().await
}

async fn stored_runs(
    storage: &ObjectStorage,
    prefix: &str,
    budget: usize,
    entries: Vec<Entry>,
) -> Vec<RunMeta> {
    let mut options = options(budget, DuplicatePolicy::Allow, false);
    options.prefix = prefix.to_string();
    match sort_all(storage, options, entries).await.unwrap().run {
        SortedRun::Stored(runs) => runs,
        SortedRun::InMemory(_) => panic!("in memory although not allowed"),
    }
}

async fn read_all(merge: &mut Merge) -> Result<Vec<Entry>> {
    let mut batch = KvBatch::new();
    let mut out = Vec::new();
    while merge.next_batch(&mut batch).await? {
        out.extend(batch.iter().map(|(key, value)| (key.to_vec(), value.to_vec())));
    }
    Ok(out)
}

fn merge_options(budget_bytes: usize, duplicates: DuplicatePolicy) -> MergeOptions {
    MergeOptions {
        budget_bytes,
        batch_bytes: 64 << 10,
        duplicates,
    }
}

async fn merge_range(
    storage: &ObjectStorage,
    runs: &[RunMeta],
    range: KeyRange,
    budget: usize,
) -> Vec<Entry> {
    let options = merge_options(budget, DuplicatePolicy::Allow);
    let mut merge = Merge::new(storage, runs, range, &options, &token()).unwrap();
    read_all(&mut merge).await.unwrap()
}

fn digest_of(entries: &[Entry]) -> EntryDigest {
    let mut digest = EntryDigest::default();
    for (key, value) in entries {
        digest.add(key, value);
    }
    digest
}

/// Keys as an index has them: a common prefix, then columns.
fn index_entries(rng: &mut StdRng, count: usize, distinct: u64) -> Vec<Entry> {
    (0..count)
        .map(|handle| {
            let mut key = b"t\x80\0\0\0\0\0\0\x2a_i\x80\0\0\0\0\0\0\x01".to_vec();
            key.push(3);
            key.extend_from_slice(&rng.random_range(0..distinct).to_be_bytes());
            key.push(3);
            key.extend_from_slice(&(handle as u64).to_be_bytes());
            (key, b"0".to_vec())
        })
        .collect()
}

/// Keys of all lengths, from few letters, with zero bytes: ties, prefixes of each other, duplicates.
fn wild_entries(rng: &mut StdRng, count: usize) -> Vec<Entry> {
    (0..count)
        .map(|_| {
            let len = if rng.random_bool(0.1) {
                rng.random_range(0..200)
            } else {
                rng.random_range(0..20)
            };
            let key = (0..len)
                .map(|_| {
                    if rng.random_bool(0.7) {
                        0
                    } else {
                        rng.random_range(0..3)
                    }
                })
                .collect();
            let value = (0..rng.random_range(0..12)).map(|_| rng.random()).collect();
            (key, value)
        })
        .collect()
}
