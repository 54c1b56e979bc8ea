//! Errors injected at the engine's own steps: what callers are told, and that the store goes on.

use std::sync::Arc;

use fail::FailScenario;
use ilmenite_embedded::{EmbeddedOptions, EmbeddedStore};
use ilmenite_store::{Check, CommitOptions, Error, KeyRange, KvBatch, StoreRef, Transaction, TxnMode};

fn partition(key: &[u8]) -> Option<usize> {
    (key.first() == Some(&b'p')).then_some(2)
}

fn open(dir: &tempfile::TempDir) -> StoreRef {
    let options = EmbeddedOptions {
        partition,
        ..EmbeddedOptions::default()
    };
    Arc::new(EmbeddedStore::open(dir.path().join("db"), options).unwrap())
}

async fn put(store: &StoreRef, key: &'static str, value: &'static str) -> Result<(), Error> {
    let mut txn = Transaction::begin(store, TxnMode::Optimistic).await?;
    txn.put(key, value, Check::Unchanged)?;
    txn.commit(CommitOptions::default()).await.map(drop)
}

async fn get(store: &StoreRef, key: &str) -> Option<String> {
    let now = store.timestamp().await.unwrap();
    let value = store.get(key.as_bytes(), now).await.unwrap();
    value.map(|v| String::from_utf8_lossy(&v).into_owned())
}

#[tokio::test]
async fn a_failed_commit_leaves_nothing_or_says_it_does_not_know() {
    let scenario = FailScenario::setup();
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    put(&store, "a", "1").await.unwrap();

    fail::cfg("embedded::commit::before", "1*return").unwrap();
    assert!(matches!(put(&store, "a", "2").await, Err(Error::Io(_))));
    assert_eq!(get(&store, "a").await.unwrap(), "1");

    fail::cfg("embedded::commit::after", "1*return").unwrap();
    assert!(matches!(put(&store, "a", "3").await, Err(Error::Undetermined(_))));

    // A panic of the committer is the end of its batch, not of the store.
    fail::cfg("embedded::commit::before", "1*panic").unwrap();
    assert!(matches!(put(&store, "b", "1").await, Err(Error::Undetermined(_))));
    put(&store, "a", "4").await.unwrap();
    assert_eq!(get(&store, "a").await.unwrap(), "4");

    store.close().await.unwrap();
    drop(store);
    let store = open(&dir);
    assert_eq!(get(&store, "a").await.unwrap(), "4");
    scenario.teardown();
}

#[tokio::test]
async fn an_ingest_that_failed_is_repeated() {
    let scenario = FailScenario::setup();
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let at = store.timestamp().await.unwrap();
    let mut batch = KvBatch::new();
    for i in 0..100 {
        batch.push(format!("pA{i:03}").as_bytes(), b"v");
    }
    let attempt = async || {
        let mut ingest = store.ingest(KeyRange::prefix(b"pA"), at).await?;
        ingest.write(&batch).await?;
        ingest.finish().await
    };
    fail::cfg("embedded::ingest::before", "1*return").unwrap();
    attempt().await.unwrap_err();
    assert_eq!(get(&store, "pA007").await, None);
    // Done, but the caller is told otherwise: the same again changes nothing.
    fail::cfg("embedded::ingest::after", "1*return").unwrap();
    attempt().await.unwrap_err();
    put(&store, "pA007", "newer").await.unwrap();
    attempt().await.unwrap();
    assert_eq!(get(&store, "pA007").await.unwrap(), "newer");
    assert_eq!(get(&store, "pA008").await.unwrap(), "v");

    // The writer panics: an error, and the next attempt works.
    fail::cfg("embedded::ingest::before", "1*panic").unwrap();
    assert!(matches!(attempt().await, Err(Error::Bug(_))));
    attempt().await.unwrap();
    scenario.teardown();
}

#[tokio::test]
async fn a_delete_range_that_failed_is_repeated() {
    let scenario = FailScenario::setup();
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    for point in ["embedded::delete_range::before", "embedded::delete_range::after"] {
        for key in ["pA1", "pB1", "q"] {
            put(&store, key, "v").await.unwrap();
        }
        fail::cfg(point, "1*return").unwrap();
        store.delete_range(KeyRange::prefix(b"p")).await.unwrap_err();
        store.delete_range(KeyRange::prefix(b"p")).await.unwrap();
        for (key, left) in [("pA1", None), ("pB1", None), ("q", Some("v".to_owned()))] {
            assert_eq!(get(&store, key).await, left, "{key} after {point}");
        }
    }
    scenario.teardown();
}
