//! The server goes away in the middle and comes back.

use std::time::Duration;

use ilmenite_store::conformance::{b, mutation, write};
use ilmenite_store::{Check, CommitRequest, Error, KeyRange, KvBatch, LockRequest, Scan, ScanOptions, Store};
use tokio_util::sync::CancellationToken;

use crate::support::{Served, options};

/// Counters go on over restarts: no acknowledged increment is lost, none is made twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn increments_survive_restarts() {
    let mut served = Served::start().await;
    let stop = CancellationToken::new();
    let mut workers = Vec::new();
    for w in 0..4 {
        let store = served.connect().await;
        let stop = stop.clone();
        workers.push(tokio::spawn(async move {
            let key = format!("a{w}");
            let mut expected = 0u64;
            while !stop.is_cancelled() {
                let start_ts = store.begin_timestamp().await.unwrap();
                let now = store.get(key.as_bytes(), start_ts).await.unwrap();
                let now: u64 = now.map_or(0, |v| String::from_utf8_lossy(&v).parse().unwrap());
                assert_eq!(now, expected, "worker {w}");
                let committed = store
                    .commit(CommitRequest {
                        start_ts,
                        mutations: vec![
                            mutation(&key, Some(&(now + 1).to_string()), Check::Unchanged),
                            mutation(&format!("pA{w}"), Some("beside"), Check::None),
                        ],
                        ..CommitRequest::default()
                    })
                    .await;
                match committed {
                    Ok(_) => expected += 1,
                    // It is known not to be there; the next read agrees.
                    Err(Error::Unavailable(_) | Error::LocksLost(_) | Error::WriteConflict { .. }) => {}
                    Err(e) => panic!("worker {w}: {e}"),
                }
            }
            expected
        }));
    }
    for pause_ms in [0, 300, 1500] {
        tokio::time::sleep(Duration::from_millis(400)).await;
        served.restart(Duration::from_millis(pause_ms)).await;
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    stop.cancel();
    for worker in workers {
        assert!(worker.await.unwrap() > 10);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn scans_ingests_and_locks_over_a_restart() {
    let mut served = Served::start().await;
    let mut small = options();
    small.ingest_job_bytes = 20 << 10;
    let s = served.connect_with(small).await;
    let ts = s.timestamp().await.unwrap();
    let rows: Vec<String> = (0..5000).map(|i| format!("pA{i:06}")).collect();
    let mut ingest = s.ingest(KeyRange::prefix(b"pA"), ts).await.unwrap();
    for (i, chunk) in rows.chunks(500).enumerate() {
        let mut batch = KvBatch::new();
        for key in chunk {
            batch.push(key.as_bytes(), b"v");
        }
        ingest.write(&batch).await.unwrap();
        if i == 4 {
            served.restart(Duration::from_millis(100)).await;
        }
    }
    ingest.finish().await.unwrap();

    let txn = s.begin_timestamp().await.unwrap();
    write(&*s, &[("l", Some("1"))]).await;
    let lock = |keys: &[&str]| LockRequest {
        start_ts: txn,
        keys: keys.iter().map(b).collect(),
        for_update_ts: txn.plus(Duration::from_secs(1)),
        wait: Duration::from_secs(2),
    };
    let locked = s.lock(lock(&["l"])).await.unwrap();
    assert_eq!(locked, vec![Some(b("1"))]);

    let options = ScanOptions {
        batch_bytes: 4 << 10,
        ..ScanOptions::default()
    };
    let mut scan: Box<dyn Scan> = s.scan(KeyRange::prefix(b"pA"), ts, options).unwrap();
    let mut batch = KvBatch::new();
    let mut read = 0;
    while scan.next_batch(&mut batch).await.unwrap() {
        for (key, _) in batch.iter() {
            assert_eq!(key, rows[read].as_bytes());
            read += 1;
        }
        if (1000..1400).contains(&read) {
            served.restart(Duration::from_millis(100)).await;
        }
    }
    assert_eq!(read, rows.len());

    // The lock held through both, or the loss of it is told: never a write under a lock that was not there.
    let committed = s
        .commit(CommitRequest {
            start_ts: txn,
            mutations: vec![mutation("l", Some("2"), Check::None)],
            ..CommitRequest::default()
        })
        .await;
    match committed {
        Ok(_) | Err(Error::LocksLost(_)) => {}
        Err(e) => panic!("{e}"),
    }
    s.unlock(txn, None).await.unwrap();
}
