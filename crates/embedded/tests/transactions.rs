//! Transactions over the embedded engine.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use ilmenite_embedded::{EmbeddedOptions, EmbeddedStore};
use ilmenite_store::*;

fn store(dir: &tempfile::TempDir) -> StoreRef {
    let options = EmbeddedOptions {
        // The tests of transactions are about order, not about the disk.
        sync: false,
        ..EmbeddedOptions::default()
    };
    Arc::new(EmbeddedStore::open(dir.path().join("db"), options).unwrap())
}

async fn begin(store: &StoreRef, mode: TxnMode) -> Transaction {
    Transaction::begin(store, mode).await.unwrap()
}

async fn put(store: &StoreRef, pairs: &[(&'static str, &'static str)]) {
    let mut txn = begin(store, TxnMode::Optimistic).await;
    for &(k, v) in pairs {
        txn.put(k, v, Check::Unchanged).unwrap();
    }
    txn.commit(CommitOptions::default()).await.unwrap();
}

async fn rows(txn: &Transaction, options: ScanOptions) -> Vec<(String, String)> {
    let mut scan = txn.scan(KeyRange::default(), options).unwrap();
    let mut batch = KvBatch::new();
    let mut out = Vec::new();
    while scan.next_batch(&mut batch).await.unwrap() {
        for (k, v) in batch.iter() {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            out.push((text(k), text(v)));
        }
    }
    out
}

fn keys(rows: &[(String, String)]) -> String {
    rows.iter().map(|(k, _)| k.as_str()).collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn reads_see_the_snapshot_and_the_own_writes() {
    let dir = tempfile::tempdir().unwrap();
    let s = store(&dir);
    put(&s, &[("a", "1"), ("b", "2"), ("c", "3"), ("e", "5")]).await;
    let mut txn = begin(&s, TxnMode::Optimistic).await;
    put(&s, &[("a", "later"), ("f", "later")]).await;
    txn.put("b", "two", Check::Unchanged).unwrap();
    txn.delete("c", Check::Unchanged).unwrap();
    txn.put("d", "four", Check::MustNotExist).unwrap();
    txn.delete("x", Check::Unchanged).unwrap();
    assert_eq!(txn.get(b"a").await.unwrap().unwrap(), "1");
    assert_eq!(txn.get(b"b").await.unwrap().unwrap(), "two");
    let wanted = ["c", "a", "d", "zz"].map(Bytes::from);
    let got = txn.batch_get(&wanted).await.unwrap();
    assert_eq!(got, vec![None, Some("1".into()), Some("four".into()), None]);
    for batch_bytes in [1, 4, 1 << 10] {
        let options = ScanOptions {
            batch_bytes,
            ..ScanOptions::default()
        };
        assert_eq!(keys(&rows(&txn, options).await), "a b d e");
        let reverse = ScanOptions {
            reverse: true,
            ..options
        };
        assert_eq!(keys(&rows(&txn, reverse).await), "e d b a");
        let limited = ScanOptions { limit: 3, ..options };
        assert_eq!(keys(&rows(&txn, limited).await), "a b d");
        let limited = ScanOptions { limit: 2, ..reverse };
        assert_eq!(keys(&rows(&txn, limited).await), "e d");
    }
    let key_only = ScanOptions {
        key_only: true,
        ..ScanOptions::default()
    };
    assert!(rows(&txn, key_only).await.iter().all(|(_, v)| v.is_empty()));
    txn.commit(CommitOptions::default()).await.unwrap();
    let txn = begin(&s, TxnMode::Optimistic).await;
    assert_eq!(keys(&rows(&txn, ScanOptions::default()).await), "a b d e f");
}

#[tokio::test]
async fn savepoints_bring_back_buffer_and_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let s = store(&dir);
    let mut txn = begin(&s, TxnMode::Optimistic).await;
    txn.put("a", "1", Check::MustNotExist).unwrap();
    let first = txn.savepoint();
    let bytes = txn.buffered_bytes();
    txn.put("a", "22", Check::None).unwrap();
    txn.put("b", "1", Check::None).unwrap();
    txn.put("b", "2", Check::None).unwrap();
    let second = txn.savepoint();
    let bytes_second = txn.buffered_bytes();
    txn.delete("a", Check::None).unwrap();
    txn.put("b", "3", Check::None).unwrap();
    txn.put("c", "1", Check::None).unwrap();
    txn.require("fence", None);
    txn.rollback_to(second);
    assert_eq!(txn.buffered_bytes(), bytes_second);
    assert_eq!(txn.buffered(b"a").unwrap().unwrap(), "22");
    assert_eq!(txn.buffered(b"b").unwrap().unwrap(), "2");
    assert!(txn.buffered(b"c").is_none());
    // Again from the same savepoint.
    txn.put("b", "4", Check::None).unwrap();
    txn.rollback_to(second);
    assert_eq!(txn.buffered(b"b").unwrap().unwrap(), "2");
    txn.rollback_to(first);
    assert_eq!(txn.buffered_bytes(), bytes);
    assert_eq!(txn.buffered(b"a").unwrap().unwrap(), "1");
    assert!(txn.buffered(b"b").is_none());
    // The check of the first write survives all of it.
    put(&s, &[("a", "other")]).await;
    let refused = txn.commit(CommitOptions::default()).await;
    assert!(matches!(refused, Err(Error::WriteConflict { .. })));
}

#[tokio::test]
async fn forgetting_savepoints_frees_what_they_kept() {
    let dir = tempfile::tempdir().unwrap();
    let s = store(&dir);
    let mut txn = begin(&s, TxnMode::Optimistic).await;
    txn.put("a", "1", Check::None).unwrap();
    let bytes = txn.buffered_bytes();
    for _ in 0..100 {
        txn.savepoint();
        txn.put("a", "2", Check::None).unwrap();
    }
    assert!(txn.buffered_bytes() > 50 * bytes);
    txn.forget_savepoints();
    assert_eq!(txn.buffered_bytes(), bytes);
    let sp = txn.savepoint();
    txn.put("a", "3", Check::None).unwrap();
    txn.rollback_to(sp);
    assert_eq!(txn.buffered(b"a").unwrap().unwrap(), "2");
}

#[tokio::test]
async fn the_buffer_is_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let s = store(&dir);
    let mut txn = begin(&s, TxnMode::Optimistic).await;
    txn.set_limit_bytes(1000);
    let refused = (0..1000).find_map(|i| txn.put(format!("k{i}"), "v", Check::None).err());
    assert!(matches!(refused, Some(Error::TooLarge { limit: 1000, .. })));
    assert!(txn.buffered_bytes() <= 1000);
    assert_eq!(txn.buffered_writes().count(), 10);
}

#[tokio::test]
async fn pessimistic_locks_hold_until_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let s = store(&dir);
    put(&s, &[("a", "1")]).await;
    let mut one = begin(&s, TxnMode::Pessimistic).await;
    let stale = one.start_ts();
    let now = s.timestamp().await.unwrap();
    let got = one
        .lock(vec!["a".into(), "b".into()], now, Duration::ZERO)
        .await
        .unwrap();
    assert_eq!(got, vec![Some("1".into()), None]);
    one.put("a", "2", Check::None).unwrap();
    let again = one.lock(vec!["a".into()], now, Duration::ZERO).await.unwrap();
    assert_eq!(again, vec![Some("2".into())], "its own write");

    let mut two = begin(&s, TxnMode::Pessimistic).await;
    let refused = two.lock(vec!["a".into()], now, Duration::ZERO).await;
    assert!(matches!(refused, Err(Error::LockNotAvailable { holder, .. }) if holder == stale));
    // An optimistic writer meets the lock.
    let mut three = begin(&s, TxnMode::Optimistic).await;
    three.put("a", "3", Check::Unchanged).unwrap();
    let refused = three.commit(CommitOptions::default()).await;
    assert!(matches!(refused, Err(Error::WriteConflict { .. })));

    // Waiting, it gets the lock when the first commits, and learns that the value has changed.
    let waiting = tokio::spawn(async move {
        let outcome = two.lock(vec!["a".into()], now, Duration::from_secs(5)).await;
        (two, outcome)
    });
    tokio::time::sleep(Duration::from_millis(30)).await;
    one.commit(CommitOptions::default()).await.unwrap();
    let (mut two, outcome) = waiting.await.unwrap();
    assert!(matches!(outcome, Err(Error::WriteConflict { .. })));
    let now = s.timestamp().await.unwrap();
    let got = two.lock(vec!["a".into()], now, Duration::ZERO).await.unwrap();
    assert_eq!(got, vec![Some("2".into())]);
    // `MustNotExist` under the own lock asks for the value only, not for the version's age.
    two.put("b", "new", Check::MustNotExist).unwrap();
    two.commit(CommitOptions::default()).await.unwrap();

    // Dropped, and rolled back, transactions give their locks back.
    for dropped in [true, false] {
        let mut txn = begin(&s, TxnMode::Pessimistic).await;
        let now = s.timestamp().await.unwrap();
        txn.lock(vec!["a".into()], now, Duration::ZERO).await.unwrap();
        if dropped {
            drop(txn);
        } else {
            txn.rollback().await.unwrap();
        }
    }
}

#[tokio::test]
async fn preconditions_fence() {
    let dir = tempfile::tempdir().unwrap();
    let s = store(&dir);
    put(&s, &[("epoch", "1")]).await;
    let fenced = async |value: &'static str| {
        let mut txn = begin(&s, TxnMode::Optimistic).await;
        txn.require("epoch", Some("1".into()));
        txn.put("work", value, Check::Unchanged).unwrap();
        txn.commit(CommitOptions::default()).await
    };
    fenced("first").await.unwrap();
    put(&s, &[("epoch", "2")]).await;
    assert!(matches!(
        fenced("late").await,
        Err(Error::PreconditionFailed { .. })
    ));
    let txn = begin(&s, TxnMode::Optimistic).await;
    assert_eq!(txn.get(b"work").await.unwrap().unwrap(), "first");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn run_txn_retries_conflicts_until_all_have_counted() {
    let dir = tempfile::tempdir().unwrap();
    let s = store(&dir);
    let mut tasks = Vec::new();
    for _ in 0..8 {
        let s = s.clone();
        tasks.push(tokio::spawn(async move {
            for _ in 0..25 {
                run_txn::<_, Error, _>(&s, CommitOptions::default(), |txn| {
                    Box::pin(async move {
                        let n = txn.get(b"counter").await?;
                        let n: u64 = n.map_or(0, |v| String::from_utf8_lossy(&v).parse().unwrap());
                        txn.put("counter", (n + 1).to_string(), Check::Unchanged)
                    })
                })
                .await
                .unwrap();
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    let txn = begin(&s, TxnMode::Optimistic).await;
    assert_eq!(txn.get(b"counter").await.unwrap().unwrap(), "200");
}
