//! Writers and readers at once.

use std::time::Instant;

use super::*;
use crate::metrics::METRICS;

/// Dropping a keyspace while others write to it: no error, no panic, and what is written afterwards is there.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn drops_race_with_writes_and_creations() {
    let dir = tempfile::tempdir().unwrap();
    let s = open(&dir);
    let mut writers = Vec::new();
    for w in 0..4 {
        let s = s.clone();
        writers.push(tokio::spawn(async move {
            for i in 0..60 {
                write(
                    &s,
                    &[
                        (&format!("pA{w}{i:03}"), Some("v")),
                        (&format!("a{w}{i:03}"), Some("v")),
                    ],
                )
                .await;
            }
        }));
    }
    for _ in 0..15 {
        s.delete_range(KeyRange::prefix(b"pA")).await.unwrap();
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    for writer in writers {
        writer.await.unwrap();
    }
    s.delete_range(KeyRange::prefix(b"pA")).await.unwrap();
    let ts = write(&s, &[("pA9999", Some("last"))]).await;
    drop(s);
    let s = open(&dir);
    let rows = scan_all(&*s, KeyRange::new("a", "q"), ts, ScanOptions::default()).await;
    assert_eq!(rows.len(), 241);
    assert_eq!(rows[240], ("pA9999".to_owned(), "last".to_owned()));
}

/// Money moves between a few rows written all the time, which come and go: whoever reads sees one state, though most of
/// it comes from the range cache, and a state once seen stays as it was.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn readers_of_hot_rows_see_one_state() {
    move_money(test_options()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn readers_of_hot_rows_see_one_state_at_production_thresholds() {
    move_money(production_options()).await;
}

const ROWS: u64 = 12;
const TOTAL: u64 = 1200;

fn balance(value: Option<&[u8]>) -> u64 {
    value.map_or(0, |v| std::str::from_utf8(v).unwrap().parse().unwrap())
}

async fn move_money(options: EmbeddedOptions) {
    let dir = tempfile::tempdir().unwrap();
    let options = EmbeddedOptions {
        sync: false,
        ..options
    };
    let s = Arc::new(EmbeddedStore::open(dir.path().join("db"), options).unwrap());
    write(&s, &[("pA0000", Some(&TOTAL.to_string()))]).await;
    let deadline = Instant::now() + Duration::from_secs(3);
    let hits = METRICS.range_cache_hits.get();
    let mut tasks = Vec::new();
    for seed in 0..3u64 {
        tasks.push(tokio::spawn(write_until(deadline, s.clone(), seed)));
    }
    for _ in 0..3 {
        tasks.push(tokio::spawn(read_until(deadline, s.clone())));
    }
    for task in tasks {
        assert!(task.await.unwrap() > 0);
    }
    assert!(
        METRICS.range_cache_hits.get() > hits,
        "nothing came from the cache"
    );
    assert!(s.core.keyspaces.range_cache.used_bytes() > 0, "nor from this one");
}

/// Moves part of a row's money to another, again and again. Returns how often.
async fn write_until(deadline: Instant, s: Arc<EmbeddedStore>, seed: u64) -> u64 {
    let key = |i: u64| Bytes::from(format!("pA{:04}", i % ROWS));
    let mut random = seed + 1;
    let mut moved = 0u64;
    while Instant::now() < deadline {
        random = random
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        let (from, to) = (key(random >> 33), key(random >> 40));
        if from == to {
            continue;
        }
        let start_ts = s.begin_timestamp().await.unwrap();
        let values = s.batch_get(&[from.clone(), to.clone()], start_ts).await.unwrap();
        let [have, had] = [0, 1].map(|i| balance(values[i].as_deref()));
        let part = match random >> 62 {
            0 => have,
            _ => have / 2,
        };
        let value = |left: u64| (left > 0).then(|| Bytes::from(left.to_string()));
        let mutation = |key, value| Mutation {
            key,
            value,
            check: Check::Unchanged,
        };
        let committed = s
            .commit(CommitRequest {
                start_ts,
                mutations: vec![
                    mutation(from, value(have - part)),
                    mutation(to, value(had + part)),
                ],
                ..CommitRequest::default()
            })
            .await;
        match committed {
            Ok(_) => moved += 1,
            Err(Error::WriteConflict { .. }) => s.unlock(start_ts, None).await.unwrap(),
            Err(e) => panic!("{e}"),
        }
    }
    moved
}

/// Adds up all rows, again and again. Returns how often.
async fn read_until(deadline: Instant, s: Arc<EmbeddedStore>) -> u64 {
    let mut reads = 0;
    let mut before: Option<(Timestamp, Vec<(String, String)>)> = None;
    while Instant::now() < deadline {
        let ts = s.timestamp().await.unwrap();
        let rows = scan_all(&*s, KeyRange::prefix(b"pA"), ts, ScanOptions::default()).await;
        let sum: u64 = rows.iter().map(|(_, v)| v.parse::<u64>().unwrap()).sum();
        assert_eq!(sum, TOTAL, "at {ts}: {rows:?}");
        for (key, value) in &rows {
            let got = s.get(key.as_bytes(), ts).await.unwrap();
            assert_eq!(got.as_deref(), Some(value.as_bytes()), "{key} at {ts}");
        }
        if let Some((ts, rows)) = before.take() {
            let again = scan_all(&*s, KeyRange::prefix(b"pA"), ts, ScanOptions::default()).await;
            assert_eq!(again, rows, "at {ts}, read again");
        }
        before = Some((ts, rows));
        reads += 1;
        tokio::task::yield_now().await;
    }
    reads
}
