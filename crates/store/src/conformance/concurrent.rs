//! Writers and readers at once.

use std::sync::atomic::AtomicUsize;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;

const ACCOUNTS: usize = 20;
const START: i64 = 1000;

fn account(i: usize) -> String {
    // Half of them in a partition, half in the default keyspace.
    if i.is_multiple_of(2) {
        format!("pA{i:04}")
    } else {
        format!("a{i:04}")
    }
}

fn amount(value: Option<Bytes>) -> i64 {
    String::from_utf8_lossy(&value.unwrap()).parse().unwrap()
}

async fn transfer(store: &StoreRef, mode: TxnMode) -> Result<()> {
    let (from, to, by) = {
        let mut rng = StdRng::from_seed(ilmenite_base::rng::bytes());
        let from = rng.random_range(0..ACCOUNTS);
        let to = (from + rng.random_range(1..ACCOUNTS)) % ACCOUNTS;
        (b(account(from)), b(account(to)), rng.random_range(1..10))
    };
    let mut txn = Transaction::begin(store, mode).await?;
    let check = match mode {
        TxnMode::Optimistic => Check::Unchanged,
        TxnMode::Pessimistic => Check::None,
    };
    let read = match mode {
        TxnMode::Optimistic => txn.batch_get(&[from.clone(), to.clone()]).await?,
        TxnMode::Pessimistic => {
            let now = store.timestamp().await?;
            let keys = vec![from.clone(), to.clone()];
            txn.lock(keys, now, Duration::from_secs(5)).await?
        }
    };
    let [a, b]: [Option<Bytes>; 2] = read.try_into().unwrap();
    txn.put(from, (amount(a) - by).to_string(), check)?;
    txn.put(to, (amount(b) + by).to_string(), check)?;
    txn.commit(CommitOptions::default()).await?;
    Ok(())
}

async fn total(store: &dyn Store, ts: Timestamp) -> i64 {
    let rows = scan_all(store, KeyRange::default(), ts, ScanOptions::default()).await;
    assert_eq!(rows.len(), ACCOUNTS);
    rows.iter().map(|(_, v)| v.parse::<i64>().unwrap()).sum()
}

/// Snapshot isolation and the safe time at once: whatever is read at a timestamp adds up, and reads the same later.
pub async fn transfers_keep_the_total_in_every_snapshot(s: &StoreRef) {
    let accounts: Vec<_> = (0..ACCOUNTS).map(account).collect();
    let start = START.to_string();
    let rows: Vec<_> = accounts
        .iter()
        .map(|k| (k.as_str(), Some(start.as_str())))
        .collect();
    write(&**s, &rows).await;
    let done = Arc::new(AtomicUsize::new(0));
    let committed = Arc::new(AtomicUsize::new(0));
    let mut writers = Vec::new();
    for i in 0..8 {
        let (store, done, committed): (StoreRef, _, _) = (s.clone(), done.clone(), committed.clone());
        writers.push(tokio::spawn(async move {
            let mode = if i % 2 == 0 {
                TxnMode::Optimistic
            } else {
                TxnMode::Pessimistic
            };
            for _ in 0..60 {
                match transfer(&store, mode).await {
                    Ok(()) => {
                        committed.fetch_add(1, Ordering::Relaxed);
                    }
                    Err(Error::WriteConflict { .. } | Error::Deadlock { .. }) => {}
                    // Of a store in trouble, or a slow one. Nothing was written, or the total would tell.
                    Err(Error::LockTimeout { .. } | Error::Unavailable(_)) => {}
                    Err(e) => panic!("{e}"),
                }
            }
            done.fetch_add(1, Ordering::Relaxed);
        }));
    }
    let mut readers = Vec::new();
    for _ in 0..3 {
        let (store, done) = (s.clone(), done.clone());
        readers.push(tokio::spawn(async move {
            let mut snapshots = Vec::new();
            let mut last = Timestamp::ZERO;
            while done.load(Ordering::Relaxed) < 8 {
                let ts = store.timestamp().await.unwrap();
                assert!(ts >= last, "monotone");
                last = ts;
                assert_eq!(total(&*store, ts).await, ACCOUNTS as i64 * START);
                let rows = scan_all(&*store, KeyRange::default(), ts, ScanOptions::default()).await;
                if snapshots.len() < 50 {
                    snapshots.push((ts, rows));
                }
            }
            for (ts, rows) in snapshots {
                let reverse = ScanOptions {
                    reverse: true,
                    ..ScanOptions::default()
                };
                let mut again = scan_all(&*store, KeyRange::default(), ts, reverse).await;
                again.reverse();
                assert_eq!(again, rows, "a snapshot at {ts} changed");
            }
        }));
    }
    for task in writers.into_iter().chain(readers) {
        task.await.unwrap();
    }
    assert!(committed.load(Ordering::Relaxed) > 50);
}

/// What was acknowledged is visible at every timestamp taken afterwards.
pub async fn acknowledged_writes_are_visible(s: &StoreRef) {
    let mut tasks = Vec::new();
    for task in 0..6 {
        let s = s.clone();
        tasks.push(tokio::spawn(async move {
            for i in 0..60 {
                let (key, value) = (format!("pA{task}"), i.to_string());
                let commit_ts = write(&*s, &[(&key, Some(&value))]).await;
                let ts = s.timestamp().await.unwrap();
                assert!(ts >= commit_ts);
                assert_eq!(s.get(key.as_bytes(), ts).await.unwrap(), Some(b(&value)));
                let begun = s.begin_timestamp().await.unwrap();
                assert!(begun > commit_ts);
                assert_eq!(s.get(key.as_bytes(), begun).await.unwrap(), Some(b(&value)));
                s.unlock(begun, None).await.unwrap();
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
}

/// A precondition and the write that breaks it, in the same moment, again and again: never both after each other.
pub async fn a_fenced_write_never_follows_the_change_of_its_fence(s: &StoreRef) {
    for round in 0..30 {
        let epoch = format!("epoch{round}");
        write(&**s, &[(&epoch, Some("old"))]).await;
        let mut workers = Vec::new();
        for w in 0..6 {
            let (s, epoch) = (s.clone(), epoch.clone());
            workers.push(tokio::spawn(async move {
                let start_ts = s.begin_timestamp().await.unwrap();
                s.commit(CommitRequest {
                    start_ts,
                    mutations: vec![mutation(&format!("work{round}/{w}"), Some("x"), Check::Unchanged)],
                    preconditions: vec![Precondition {
                        key: b(&epoch),
                        value: Some(b("old")),
                    }],
                    ..CommitRequest::default()
                })
                .await
            }));
        }
        let changed = write(&**s, &[(&epoch, Some("new"))]).await;
        for worker in workers {
            match worker.await.unwrap() {
                Ok(ts) => assert!(ts < changed),
                Err(e) => assert!(matches!(e, Error::PreconditionFailed { .. }), "{e}"),
            }
        }
    }
}

/// Many commits under one guard at a time: none is in another's way.
pub async fn guards_are_shared(s: &StoreRef) {
    write(&**s, &[("owner", Some("me"))]).await;
    let mut workers = Vec::new();
    for w in 0..8 {
        let s = s.clone();
        workers.push(tokio::spawn(async move {
            for i in 0..10 {
                let start_ts = s.begin_timestamp().await.unwrap();
                let committed = s.commit(CommitRequest {
                    start_ts,
                    mutations: vec![mutation(
                        &format!("shared{w}"),
                        Some(&i.to_string()),
                        Check::Unchanged,
                    )],
                    preconditions: vec![Precondition {
                        key: b("owner"),
                        value: Some(b("me")),
                    }],
                    ..CommitRequest::default()
                });
                committed.await.unwrap();
            }
        }));
    }
    for worker in workers {
        worker.await.unwrap();
    }
}
