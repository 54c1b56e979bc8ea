use super::fill::{fill, read};
use super::*;
use crate::keyspaces::VersionedKeyspace;
use crate::tests::{SMALL_THRESHOLDS, open, test_options};
use crate::{EmbeddedOptions, EmbeddedStore};
use ilmenite_store::conformance::{scan_all, write};
use ilmenite_store::{KeyRange, ScanOptions, Store};

fn key(i: usize) -> String {
    format!("pA{i:04}")
}

fn stored_key(i: usize) -> Vec<u8> {
    key(i).as_bytes()[2..].to_vec()
}

/// Has a range filled from the first row on; with its keyspace and that row's stored key.
fn filled(s: &EmbeddedStore) -> (Arc<VersionedKeyspace>, Vec<u8>) {
    let (keyspace, stored) = (cache_of(s), stored_key(0));
    fill(&s.core.keyspaces, &keyspace, &stored);
    (keyspace, stored)
}

async fn write_often(store: &EmbeddedStore, rows: usize, times: usize) {
    for time in 0..times {
        for i in 0..rows {
            write(store, &[(&key(i), Some(&time.to_string()))]).await;
        }
    }
}

async fn rows(store: &EmbeddedStore, ts: Timestamp) -> Vec<(String, String)> {
    scan_all(store, KeyRange::prefix(b"pA"), ts, ScanOptions::default()).await
}

fn cache_of(store: &EmbeddedStore) -> Arc<VersionedKeyspace> {
    store.core.keyspaces.lookup(b"pA").unwrap()
}

fn len(store: &EmbeddedStore) -> usize {
    cache_of(store).cache.ranges.read().len()
}

#[tokio::test]
async fn a_range_of_old_versions_is_copied_and_kept_up_to_date() {
    let dir = tempfile::tempdir().unwrap();
    let s = open(&dir);
    write_often(&s, 10, 8).await;
    let ts = s.timestamp().await.unwrap();
    let before = rows(&s, ts).await;
    assert!(
        len(&s) >= 10 / SMALL_THRESHOLDS.cache_range_rows,
        "{} ranges",
        len(&s)
    );
    let keyspace = cache_of(&s);
    let stored = stored_key(9);
    assert_eq!(
        keyspace.cache.lookup(&stored, ts).unwrap().get(&stored),
        Some(&b"7"[..])
    );

    let changed = write(&*s, &[(&key(9), Some("new")), (&key(8), None)]).await;
    let cached = keyspace.cache.lookup(&stored, changed).unwrap();
    assert_eq!(cached.get(&stored), Some(&b"new"[..]));
    let mut after = before.clone();
    after[9].1 = "new".into();
    after.remove(8);
    assert_eq!(rows(&s, changed).await, after);
    // A reader that began before still sees what was.
    assert_eq!(rows(&s, ts).await, before);
    assert!(
        keyspace.cache.lookup_newest(&stored, ts).is_none(),
        "it was written since"
    );
}

#[tokio::test]
async fn ranges_that_nobody_reads_are_dropped_and_their_memory_is_given_back() {
    let dir = tempfile::tempdir().unwrap();
    let s = open(&dir);
    write_often(&s, 10, 8).await;
    let ts = s.timestamp().await.unwrap();
    rows(&s, ts).await;
    let shared = s.core.keyspaces.range_cache.clone();
    assert!(shared.used_bytes() > 0);
    let keyspace = cache_of(&s);
    for _ in 0..IDLE_TICKS {
        keyspace.cache.tick();
        assert!(len(&s) > 0, "they have been read not long ago");
    }
    keyspace.cache.tick();
    assert_eq!((len(&s), shared.used_bytes()), (0, 0));
}

#[tokio::test]
async fn without_room_readers_go_to_the_engine() {
    let dir = tempfile::tempdir().unwrap();
    let options = EmbeddedOptions {
        cache_bytes: 8 * RANGE_BYTES as u64,
        ..test_options()
    };
    let s = EmbeddedStore::open(dir.path().join("db"), options).unwrap();
    write_often(&s, 10, 8).await;
    let ts = s.timestamp().await.unwrap();
    let first = rows(&s, ts).await;
    // Room for one range and no more.
    assert_eq!(len(&s), 1);
    assert_eq!(rows(&s, ts).await, first);
}

/// A range being filled while a commit to it is applied is given up: its snapshot may lack the commit.
#[tokio::test]
async fn a_commit_during_the_filling_is_not_lost() {
    let dir = tempfile::tempdir().unwrap();
    let s = open(&dir);
    write_often(&s, 2, 1).await;
    let keyspace = cache_of(&s);
    let stored = stored_key(0);
    let (range, limit) = keyspace.cache.announce(&stored).unwrap();
    let snapshot = s.core.keyspaces.db.snapshot();
    let ts = write(&*s, &[(&key(1), Some("new"))]).await;
    assert!(matches!(*range.state.lock(), State::Stale));
    let read = read(&s.core.keyspaces, &snapshot, &keyspace, &stored, limit);
    assert_eq!(read.unwrap().unwrap().pairs.len(), 2);
    assert!(keyspace.cache.lookup(&stored, ts).is_none());
    // And the next one is free to fill it.
    fill(&s.core.keyspaces, &keyspace, &stored);
    let second = stored_key(1);
    assert_eq!(
        keyspace.cache.lookup(&second, ts).unwrap().get(&second),
        Some(&b"new"[..])
    );
}

/// Two-phase commits are applied in any order: what readers in between would see is not known.
#[tokio::test]
async fn a_commit_older_than_the_newest_gives_the_range_up() {
    let dir = tempfile::tempdir().unwrap();
    let s = open(&dir);
    let old = s.timestamp().await.unwrap();
    write_often(&s, 2, 2).await;
    let (keyspace, stored) = filled(&s);
    let now = s.timestamp().await.unwrap();
    assert!(keyspace.cache.lookup(&stored, now).is_some());
    let second = stored_key(1);
    keyspace
        .cache
        .write([(&second[..], old, Some(&b"late"[..]))].into_iter());
    assert!(keyspace.cache.lookup(&stored, now).is_none());
}

#[tokio::test]
async fn checks_read_past_the_cache() {
    let dir = tempfile::tempdir().unwrap();
    let s = open(&dir);
    write_often(&s, 2, 4).await;
    let (keyspace, _) = filled(&s);
    let ts = s.timestamp().await.unwrap();
    // The scan begins in the engine, and finds the second row in the cache.
    let second = stored_key(1);
    keyspace
        .cache
        .write([(&second[..], ts, Some(&b"never stored"[..]))].into_iter());
    assert_eq!(rows(&s, ts).await[1].1, "never stored");
    let options = ScanOptions {
        bypass_cache: true,
        ..ScanOptions::default()
    };
    let read = scan_all(&*s, KeyRange::prefix(b"pA"), ts, options).await;
    assert_eq!(read[1], (key(1), "3".to_owned()));
}

#[tokio::test]
async fn rows_read_again_are_copied() {
    let dir = tempfile::tempdir().unwrap();
    let s = open(&dir);
    write_often(&s, 10, 1).await;
    let ts = s.timestamp().await.unwrap();
    let get = async |i: usize| s.get(key(i).as_bytes(), ts).await.unwrap();
    assert_eq!(get(4).await.as_deref(), Some(&b"0"[..]));
    assert_eq!(len(&s), 0, "one read says nothing");
    assert_eq!(get(5).await.as_deref(), Some(&b"0"[..]));
    assert_eq!(len(&s), 1);
    let keyspace = cache_of(&s);
    let stored = stored_key(6);
    assert!(
        keyspace.cache.lookup(&stored, ts).is_some(),
        "those behind it are copied, too"
    );
    assert_eq!(get(6).await.as_deref(), Some(&b"0"[..]));
}
