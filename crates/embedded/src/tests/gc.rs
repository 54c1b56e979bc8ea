//! Garbage collection.

use super::*;
use crate::read;
use ilmenite_store::{StoreRef, Transaction, TxnMode};

fn open_gc(dir: &tempfile::TempDir) -> Arc<EmbeddedStore> {
    let options = EmbeddedOptions {
        gc_life_time: Duration::ZERO,
        // Rounds are run by the tests.
        gc_interval: Duration::from_secs(3600),
        ..test_options()
    };
    Arc::new(EmbeddedStore::open(dir.path().join("db"), options).unwrap())
}

async fn versions(s: &EmbeddedStore, key: &str) -> usize {
    // Below the safe point, past the check of it.
    let snapshot = s.core.keyspaces.db.snapshot();
    read::versions(&s.core.keyspaces, &snapshot, key.as_bytes(), Timestamp::ZERO)
        .unwrap()
        .len()
}

async fn settle() {
    // Life time zero still counts whole milliseconds.
    tokio::time::sleep(Duration::from_millis(5)).await;
}

#[tokio::test]
async fn versions_nobody_can_read_go() {
    let dir = tempfile::tempdir().unwrap();
    let s = open_gc(&dir);
    let first = write(&s, &[("a", Some("1")), ("pA1", Some("1")), ("pA2", Some("1"))]).await;
    for i in 2..6 {
        let v = i.to_string();
        write(&s, &[("a", Some(&v)), ("pA1", Some(&v))]).await;
    }
    write(&s, &[("pA2", None)]).await;
    settle().await;
    assert_eq!(s.run_gc().unwrap(), 4 + 4 + 2);
    assert_eq!(versions(&s, "a").await, 1);
    assert_eq!(
        versions(&s, "pA2").await,
        0,
        "a delete marker goes with what it hides"
    );
    let now = s.timestamp().await.unwrap();
    assert_eq!(
        scan_all(&*s, KeyRange::default(), now, ScanOptions::default()).await,
        pairs(&[("a", "5"), ("pA1", "5")])
    );
    assert!(matches!(
        s.get(b"a", first).await,
        Err(Error::SnapshotTooOld { ts, .. }) if ts == first
    ));
    assert!(matches!(
        s.scan(KeyRange::default(), first, ScanOptions::default()),
        Err(Error::SnapshotTooOld { .. })
    ));
    assert!(s.ingest(KeyRange::prefix(b"pA"), first).await.is_err());
    settle().await;
    assert_eq!(s.run_gc().unwrap(), 0);
    // The safe point survives a restart.
    let safe = s.gc_safe_point().await.unwrap();
    drop(s);
    let s = open_gc(&dir);
    assert_eq!(s.gc_safe_point().await.unwrap(), safe);
}

/// Against F66 of docs/faults.md.
#[tokio::test]
async fn holds_transactions_and_ingests_keep_their_versions() {
    let dir = tempfile::tempdir().unwrap();
    let s = open_gc(&dir);
    let held = write(&s, &[("a", Some("1"))]).await;
    let hold = |ts| GcHold {
        id: "ddl/7".into(),
        ts,
    };
    s.set_gc_hold(hold(held)).await.unwrap();
    for v in ["2", "3"] {
        write(&s, &[("a", Some(v))]).await;
    }
    let by_txn = s.timestamp().await.unwrap();
    let store: StoreRef = s.clone();
    let txn = Transaction::begin(&store, TxnMode::Optimistic).await.unwrap();
    for v in ["4", "5"] {
        write(&s, &[("a", Some(v))]).await;
    }
    settle().await;
    assert_eq!(s.run_gc().unwrap(), 0, "the hold");
    assert_eq!(s.get(b"a", held).await.unwrap(), Some(b("1")));
    // A restart forgets transactions, but not holds.
    drop((txn, store, s));
    let s = open_gc(&dir);
    settle().await;
    assert_eq!(s.run_gc().unwrap(), 0, "the hold, after a restart");
    assert_eq!(s.get(b"a", held).await.unwrap(), Some(b("1")));

    let store: StoreRef = s.clone();
    let txn = Transaction::begin(&store, TxnMode::Optimistic).await.unwrap();
    write(&s, &[("a", Some("6"))]).await;
    s.release_gc_hold("ddl/7").await.unwrap();
    settle().await;
    assert!(s.run_gc().unwrap() >= 4, "what only the hold had kept");
    assert!(s.get(b"a", by_txn).await.is_err());
    assert_eq!(
        txn.get(b"a").await.unwrap(),
        Some(b("5")),
        "the transaction reads on"
    );
    assert!(matches!(
        s.set_gc_hold(hold(held)).await,
        Err(Error::SnapshotTooOld { .. })
    ));
    assert!(s.gc_holds().await.unwrap().is_empty());
    txn.rollback().await.unwrap();

    // An ingest at S under way: the delete marker above it must not go before what it hides arrives.
    let at = s.timestamp().await.unwrap();
    let mut ingest = s.ingest(KeyRange::prefix(b"pA"), at).await.unwrap();
    write(&s, &[("pA1", None)]).await;
    settle().await;
    s.run_gc().unwrap();
    let mut batch = KvBatch::new();
    batch.push(b"pA1", b"hidden");
    ingest.write(&batch).await.unwrap();
    ingest.finish().await.unwrap();
    let now = s.timestamp().await.unwrap();
    assert_eq!(s.get(b"pA1", now).await.unwrap(), None);
    settle().await;
    s.run_gc().unwrap();
    assert_eq!(versions(&s, "pA1").await, 0);
}

/// Several chunks of the sweep, and keys whose versions span them.
#[tokio::test]
async fn a_large_sweep_keeps_exactly_the_newest() {
    let dir = tempfile::tempdir().unwrap();
    let options = EmbeddedOptions {
        sync: false,
        gc_life_time: Duration::ZERO,
        ..test_options()
    };
    let s = EmbeddedStore::open(dir.path().join("db"), options).unwrap();
    let hot = "pA0500";
    for round in 0..12 {
        let value = round.to_string();
        let keys: Vec<_> = (0..1000).map(|i| format!("pA{i:04}")).collect();
        let rows: Vec<_> = keys
            .iter()
            .enumerate()
            // Every third is deleted in the end.
            .map(|(i, k)| (k.as_str(), (round < 11 || i % 3 != 0).then_some(value.as_str())))
            .collect();
        write(&s, &rows).await;
    }
    for _ in 0..5000 {
        write(&s, &[(hot, Some("hot"))]).await;
    }
    let now = s.timestamp().await.unwrap();
    let before = scan_all(&s, KeyRange::prefix(b"pA"), now, ScanOptions::default()).await;
    assert_eq!(before.len(), 666);
    settle().await;
    let removed = s.run_gc().unwrap();
    assert_eq!(removed, 12_000 + 5000 - 666);
    let now = s.timestamp().await.unwrap();
    let after = scan_all(&s, KeyRange::prefix(b"pA"), now, ScanOptions::default()).await;
    assert_eq!(after, before);
}
