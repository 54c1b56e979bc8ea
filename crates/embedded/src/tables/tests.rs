//! Against the engine's own iterator, which has to tell the same.

use std::ops::Bound;

use fjall::config::{BlockSizePolicy, CompressionPolicy, PartitioningPolicy, RestartIntervalPolicy};
use fjall::{Database, KeyspaceCreateOptions, Readable, UserKey, UserValue};
use lsm_tree::CompressionType;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;

/// Few, so that some memtables are too long.
const MAX_MEMTABLE_ENTRIES: usize = 4;

type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

fn key(i: u32) -> Vec<u8> {
    // Some longer than what the engine keeps in place.
    format!("{i:0width$}", width = if i.is_multiple_of(3) { 4 } else { 30 }).into_bytes()
}

fn in_engine(keyspace: &Keyspace, snapshot: &Snapshot, from: &[u8]) -> Pairs {
    let behind = (Bound::Excluded(from), Bound::<&[u8]>::Unbounded);
    let pair = |guard: fjall::Guard| guard.into_inner().map(|(k, v)| (k.to_vec(), v.to_vec()));
    let pairs = snapshot.range::<&[u8], _>(keyspace, behind).map(pair);
    pairs.collect::<fjall::Result<_>>().unwrap()
}

fn with_tables(db: &Database, keyspace: &Keyspace) -> (Snapshot, Option<Tables>) {
    let keyspaces = std::iter::once(keyspace);
    let (snapshot, mut tables) = Tables::at_snapshot(keyspaces, MAX_MEMTABLE_ENTRIES, || db.snapshot());
    (snapshot, tables.pop().unwrap())
}

/// Sometimes memtables are too long to be read.
fn in_tables(tables: &Tables, from: &[u8]) -> Option<Pairs> {
    let mut iter = tables.behind(from).unwrap()?;
    let mut pairs = Vec::new();
    while iter.advance().unwrap() {
        let (key, value) = iter.entry();
        pairs.push((key.to_vec(), value.to_vec()));
    }
    assert!(!iter.advance().unwrap());
    Some(pairs)
}

/// Blocks of one entry or some, keys cut short or not, compression or not, indexes in one level or two.
fn options(seed: u64) -> KeyspaceCreateOptions {
    let compression = [CompressionType::None, CompressionType::Lz4][seed as usize % 2];
    KeyspaceCreateOptions::default()
        .data_block_compression_policy(CompressionPolicy::all(compression))
        .data_block_size_policy(BlockSizePolicy::all([1, 200, 4096][seed as usize % 3]))
        .data_block_restart_interval_policy(RestartIntervalPolicy::all([1, 3, 16][seed as usize / 3 % 3]))
        .index_block_partitioning_policy(PartitioningPolicy::all(seed as usize / 2 % 2 == 1))
}

/// Keys are written, removed and ingested again and again, memtables flushed and tables compacted, and every so often all
/// snapshots taken so far are read both ways.
fn run(seed: u64) -> usize {
    const KEYS: u32 = 60;
    let mut random = StdRng::seed_from_u64(seed);
    let dir = tempfile::tempdir().unwrap();
    let db = Database::builder(dir.path()).open().unwrap();
    let keyspace = db.keyspace("k", || options(seed)).unwrap();
    let mut snapshots = vec![with_tables(&db, &keyspace)];
    let mut read = 0;
    for step in 0..120u32 {
        match random.random_range(0..20) {
            0..=8 => keyspace
                .insert(key(random.random_range(0..KEYS)), step.to_be_bytes())
                .unwrap(),
            9..=12 => keyspace.remove(key(random.random_range(0..KEYS))).unwrap(),
            13 => {
                let mut keys: Vec<_> = (0..random.random_range(1..KEYS)).map(key).collect();
                keys.sort();
                let mut ingestion = keyspace.start_ingestion().unwrap();
                for key in keys {
                    ingestion
                        .write(UserKey::from(key), UserValue::from(step.to_be_bytes()))
                        .unwrap();
                }
                ingestion.finish().unwrap();
            }
            14 => keyspace.major_compact().unwrap(),
            15 | 16 => keyspace.rotate_memtable_and_wait().unwrap(),
            17 => {
                snapshots.push(with_tables(&db, &keyspace));
                if snapshots.len() > 4 {
                    snapshots.remove(random.random_range(0..4));
                }
            }
            _ => {
                let from = key(random.random_range(0..KEYS));
                for (snapshot, tables) in &snapshots {
                    if let Some(found) = tables.as_ref().and_then(|tables| in_tables(tables, &from)) {
                        assert_eq!(
                            found,
                            in_engine(&keyspace, snapshot, &from),
                            "seed {seed}, step {step}"
                        );
                        read += 1;
                    }
                }
            }
        }
    }
    read
}

#[test]
fn tables_tell_what_the_engine_tells() {
    let read: usize = (0..20).map(run).sum();
    assert!(read > 200, "{read} read");
}

/// Enough blocks for several index blocks in the second level.
#[test]
fn indexes_of_two_levels_are_read() {
    for seed in [0, 1, 2, 3] {
        let dir = tempfile::tempdir().unwrap();
        let db = Database::builder(dir.path()).open().unwrap();
        let options = || options(seed).data_block_size_policy(BlockSizePolicy::all(64));
        let keyspace = db.keyspace("k", options).unwrap();
        let keys: std::collections::BTreeSet<_> = (0..2_000).map(key).collect();
        let mut ingestion = keyspace.start_ingestion().unwrap();
        for key in &keys {
            ingestion
                .write(UserKey::from(&key[..]), UserValue::from(&b"value"[..]))
                .unwrap();
        }
        ingestion.finish().unwrap();
        let in_two_levels = |table: &Table| table.regions.index.is_some();
        // A compaction that is just over changes what there is to take: then once more.
        let taken = (0..100).find_map(|_| match with_tables(&db, &keyspace) {
            (snapshot, Some(tables)) => Some((snapshot, tables)),
            _ => None,
        });
        let (snapshot, tables) = taken.unwrap();
        let two_levels = tables.runs.iter().flatten().all(in_two_levels);
        assert_eq!(two_levels, seed >= 2, "seed {seed}");
        let middle = keys.iter().step_by(97).cloned();
        for from in [vec![], b"~".to_vec(), keys.last().unwrap().clone()]
            .into_iter()
            .chain(middle)
        {
            for from in [from.clone(), [&from[..], b"!"].concat()] {
                assert_eq!(
                    in_tables(&tables, &from).unwrap(),
                    in_engine(&keyspace, &snapshot, &from)
                );
            }
        }
    }
}

#[test]
fn damage_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let db = Database::builder(dir.path()).open().unwrap();
    let keyspace = db.keyspace("k", KeyspaceCreateOptions::default).unwrap();
    (0..100).for_each(|i| keyspace.insert(key(i), "value").unwrap());
    keyspace.rotate_memtable_and_wait().unwrap();
    let (_snapshot, tables) = with_tables(&db, &keyspace);
    let tables = tables.unwrap();
    let file = std::fs::OpenOptions::new()
        .write(true)
        .open(&*tables.runs[0][0].path)
        .unwrap();
    std::os::unix::fs::FileExt::write_at(&file, b"?", 100).unwrap();
    let found = tables.behind(b"").and_then(|iter| iter.unwrap().advance());
    assert!(found.is_err(), "{found:?}");
}

#[test]
fn a_long_memtable_is_not_copied_but_flushed() {
    let dir = tempfile::tempdir().unwrap();
    let db = Database::builder(dir.path()).open().unwrap();
    let keyspace = db.keyspace("k", KeyspaceCreateOptions::default).unwrap();
    let keys = MAX_MEMTABLE_ENTRIES as u32 + 1;
    for i in 0..keys {
        keyspace.insert(key(i), "v").unwrap();
    }
    assert!(with_tables(&db, &keyspace).1.is_none());
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    let (snapshot, tables) = loop {
        assert!(std::time::Instant::now() < deadline, "not flushed");
        match with_tables(&db, &keyspace) {
            (snapshot, Some(tables)) => break (snapshot, tables),
            _ => std::thread::sleep(std::time::Duration::from_millis(5)),
        }
    };
    let found = in_tables(&tables, b"").unwrap();
    assert_eq!(found.len(), keys as usize);
    assert_eq!(found, in_engine(&keyspace, &snapshot, b""));
    for i in 0..2 * keys {
        keyspace.insert(key(i), "later").unwrap();
    }
    assert!(in_tables(&tables, b"").is_none());
}
