//! How a scan goes on, at the thresholds of production.

use super::*;
use crate::EmbeddedStore;
use crate::tests::production_options;
use ilmenite_store::Store;
use ilmenite_store::conformance::{ingest, scan_all, write};

const ROWS: usize = 10_000;
/// A few are written again and again.
const HOT: usize = 20;

fn key(i: usize) -> String {
    format!("pA{i:05}")
}

/// Rows in tables, and newer versions of each seventh and of the hot ones in the memtable. With what is to be read.
async fn filled(dir: &tempfile::TempDir) -> (EmbeddedStore, Vec<(String, String)>) {
    let options = crate::EmbeddedOptions {
        sync: false,
        ..production_options()
    };
    let s = EmbeddedStore::open(dir.path().join("db"), options).unwrap();
    let at = s.timestamp().await.unwrap();
    let keys: Vec<String> = (0..ROWS).map(key).collect();
    let old: Vec<_> = keys.iter().map(|k| (k.as_str(), "old")).collect();
    ingest(&s, KeyRange::prefix(b"pA"), at, &old).await;
    let new: Vec<_> = keys
        .iter()
        .step_by(7)
        .map(|k| (k.as_str(), Some("new")))
        .collect();
    write(&s, &new).await;
    for round in 0..100 {
        let value = round.to_string();
        let hot: Vec<_> = keys[..HOT]
            .iter()
            .map(|k| (k.as_str(), Some(&value[..])))
            .collect();
        write(&s, &hot).await;
    }
    let expected = keys.into_iter().enumerate().map(|(i, key)| {
        let value = match i {
            0..HOT => "99",
            _ if i.is_multiple_of(7) => "new",
            _ => "old",
        };
        (key, value.to_owned())
    });
    (s, expected.collect())
}

/// All rows, and whether the scan ended in tables.
fn read(s: &EmbeddedStore, ts: Timestamp, range: &KeyRange) -> (Vec<(String, String)>, bool) {
    let options = ScanOptions {
        batch_bytes: 1 << 10,
        bypass_cache: true,
        ..ScanOptions::default()
    };
    let mut scan = EmbeddedScan::of_stored(s.core.keyspaces.clone(), range, ts, options);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (mut rows, mut in_tables) = (Vec::new(), false);
    let mut batch = KvBatch::new();
    while scan.read_batch(&mut batch).unwrap() {
        rows.extend(batch.iter().map(|(k, v)| (text(k), text(v))));
        let entries = scan.cursor.as_ref().and_then(|cursor| cursor.iter.as_ref());
        if let Some(entries) = entries {
            in_tables = matches!(entries, Entries::Tables(_));
        }
    }
    (rows, in_tables)
}

#[tokio::test]
async fn a_long_scan_goes_on_in_tables_and_a_short_one_does_not() {
    let dir = tempfile::tempdir().unwrap();
    let (s, expected) = filled(&dir).await;
    let ts = s.timestamp().await.unwrap();
    let (rows, in_tables) = read(&s, ts, &KeyRange::prefix(b"pA"));
    assert_eq!(rows, expected);
    assert!(in_tables, "{ROWS} rows, and the iterator to their end");
    let (rows, in_tables) = read(&s, ts, &KeyRange::new(key(5000), key(7000)));
    assert_eq!(rows, expected[5000..7000]);
    assert!(!in_tables);
}

#[tokio::test]
async fn a_scan_of_many_old_versions_goes_on_in_the_cache_and_says_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let (s, expected) = filled(&dir).await;
    let ts = s.timestamp().await.unwrap();
    let keyspace = s.core.keyspaces.lookup(b"pA").unwrap();
    let in_cache = |i: usize| keyspace.cache.lookup(&key(i).as_bytes()[2..], ts).is_some();
    let cold = KeyRange::new(key(8001), key(8050));
    let options = ScanOptions::default();
    assert_eq!(scan_all(&s, cold, ts, options).await, expected[8001..8050]);
    assert!(!in_cache(8010), "most of its entries were of use");
    for _ in 0..2 {
        let rows = scan_all(&s, KeyRange::prefix(b"pA"), ts, options).await;
        assert_eq!(rows, expected);
        assert!(in_cache(HOT - 1), "100 versions of each hot row");
    }
    let reverse = ScanOptions {
        reverse: true,
        ..options
    };
    let mut rows = scan_all(&s, KeyRange::prefix(b"pA"), ts, reverse).await;
    rows.reverse();
    assert_eq!(rows, expected);
}
