use super::*;
use crate::tests::{open, test_options};
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
fn filled(s: &EmbeddedStore) -> (Arc<crate::spaces::Space>, Vec<u8>) {
    let (space, stored) = (cache_of(s), stored_key(0));
    space.cache.fill(&s.core.spaces, &space.keyspace, &stored);
    (space, stored)
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

fn cache_of(store: &EmbeddedStore) -> Arc<crate::spaces::Space> {
    store.core.spaces.lookup(b"pA").unwrap()
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
    assert!(len(&s) >= 10 / RANGE_ROWS, "{} ranges", len(&s));
    let space = cache_of(&s);
    let stored = stored_key(9);
    assert_eq!(
        space.cache.lookup(&stored, ts).unwrap().get(&stored),
        Some(&b"7"[..])
    );

    let changed = write(&*s, &[(&key(9), Some("new")), (&key(8), None)]).await;
    let cached = space.cache.lookup(&stored, changed).unwrap();
    assert_eq!(cached.get(&stored), Some(&b"new"[..]));
    let mut after = before.clone();
    after[9].1 = "new".into();
    after.remove(8);
    assert_eq!(rows(&s, changed).await, after);
    // A reader that began before still sees what was.
    assert_eq!(rows(&s, ts).await, before);
    assert!(
        space.cache.lookup_newest(&stored, ts).is_none(),
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
    let shared = s.core.spaces.range_cache.clone();
    assert!(shared.used_bytes() > 0);
    let space = cache_of(&s);
    for _ in 0..IDLE_TICKS {
        space.cache.tick();
        assert!(len(&s) > 0, "they have been read not long ago");
    }
    space.cache.tick();
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
    let space = cache_of(&s);
    let stored = stored_key(0);
    let (range, limit) = space.cache.announce(&stored).unwrap();
    let snapshot = s.core.spaces.db.snapshot();
    let ts = write(&*s, &[(&key(1), Some("new"))]).await;
    assert!(matches!(*range.state.lock(), State::Stale));
    let read = space
        .cache
        .read(&s.core.spaces, &snapshot, &space.keyspace, &stored, limit);
    assert_eq!(read.unwrap().unwrap().pairs.len(), 2);
    assert!(space.cache.lookup(&stored, ts).is_none());
    // And the next one is free to fill it.
    space.cache.fill(&s.core.spaces, &space.keyspace, &stored);
    let second = stored_key(1);
    assert_eq!(
        space.cache.lookup(&second, ts).unwrap().get(&second),
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
    let (space, stored) = filled(&s);
    let now = s.timestamp().await.unwrap();
    assert!(space.cache.lookup(&stored, now).is_some());
    let second = stored_key(1);
    space
        .cache
        .write([(&second[..], old, Some(&b"late"[..]))].into_iter());
    assert!(space.cache.lookup(&stored, now).is_none());
}

#[tokio::test]
async fn checks_read_past_the_cache() {
    let dir = tempfile::tempdir().unwrap();
    let s = open(&dir);
    write_often(&s, 2, 4).await;
    let (space, _) = filled(&s);
    let ts = s.timestamp().await.unwrap();
    // The scan begins in the engine, and finds the second row in the cache.
    let second = stored_key(1);
    space
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
    let space = cache_of(&s);
    let stored = stored_key(6);
    assert!(
        space.cache.lookup(&stored, ts).is_some(),
        "those behind it are copied, too"
    );
    assert_eq!(get(6).await.as_deref(), Some(&b"0"[..]));
}
