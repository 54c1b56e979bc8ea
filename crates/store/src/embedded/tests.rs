//! The engine as a whole.

use super::*;
use crate::KvBatch;

mod basic;
mod concurrent;
mod faults;
mod gc;
mod model;

/// Keys of tests: `p` and one letter name a partition, e.g. `pA…`; its keys all have one length, so none is a prefix of
/// another. Everything else is in the default keyspace.
pub(super) fn test_partition(key: &[u8]) -> Option<usize> {
    (key.len() >= 2 && key[0] == b'p' && key[1].is_ascii_uppercase()).then_some(2)
}

pub(super) fn test_options() -> EmbeddedOptions {
    EmbeddedOptions {
        cache_bytes: 8 << 20,
        partition: test_partition,
        ..EmbeddedOptions::default()
    }
}

pub(super) fn open(dir: &tempfile::TempDir) -> Arc<EmbeddedStore> {
    Arc::new(EmbeddedStore::open(dir.path().join("db"), test_options()).unwrap())
}

pub(super) fn b(s: impl AsRef<[u8]>) -> Bytes {
    Bytes::copy_from_slice(s.as_ref())
}

pub(super) fn mutation(key: &str, value: Option<&str>, check: Check) -> Mutation {
    Mutation {
        key: b(key),
        value: value.map(b),
        check,
    }
}

pub(super) async fn write(store: &EmbeddedStore, pairs: &[(&str, Option<&str>)]) -> Timestamp {
    let start_ts = store.begin_timestamp().await.unwrap();
    store
        .commit(CommitRequest {
            start_ts,
            mutations: pairs
                .iter()
                .map(|(k, v)| mutation(k, *v, Check::Unchanged))
                .collect(),
            ..CommitRequest::default()
        })
        .await
        .unwrap()
}

pub(super) async fn scan_all(
    store: &dyn Store,
    range: KeyRange,
    ts: Timestamp,
    options: ScanOptions,
) -> Vec<(String, String)> {
    let mut scan = store.scan(range, ts, options).unwrap();
    let mut batch = KvBatch::new();
    let mut out = Vec::new();
    while scan.next_batch(&mut batch).await.unwrap() {
        for (k, v) in batch.iter() {
            out.push((
                String::from_utf8_lossy(k).into_owned(),
                String::from_utf8_lossy(v).into_owned(),
            ));
        }
    }
    out
}

pub(super) fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected
        .iter()
        .map(|(k, v)| (k.to_string(), v.to_string()))
        .collect()
}

pub(super) async fn ingest(store: &dyn Store, range: KeyRange, ts: Timestamp, rows: &[(&str, &str)]) {
    let mut ingest = store.ingest(range, ts).await.unwrap();
    let mut batch = KvBatch::new();
    for (k, v) in rows {
        batch.push(k.as_bytes(), v.as_bytes());
    }
    ingest.write(&batch).await.unwrap();
    let summary = ingest.finish().await.unwrap();
    assert_eq!(summary.entries, rows.len() as u64);
}
