//! Requests fail, replies are lost, regions are split, merged and moved, while transactions, scans and ingests go on.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ilmenite_proto::ilmenitepb::{Fault, FaultKind};
use ilmenite_store::conformance::{b, mutation, scan_all, write};
use ilmenite_store::{Check, CommitRequest, KeyRange, KvBatch, ScanOptions, Store, StoreRef, Timestamp};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::support::{Chaos, Served, options};

const KINDS: [FaultKind; 8] = [
    FaultKind::ServerIsBusy,
    FaultKind::NotLeader,
    FaultKind::EpochNotMatch,
    FaultKind::StaleCommand,
    FaultKind::RegionNotFound,
    FaultKind::Delay,
    FaultKind::Unavailable,
    FaultKind::LostReply,
];

/// Every kind of fault, one after another, on whichever request comes next, and regions that move, until stopped.
fn nuisance(
    chaos: Chaos,
    store: StoreRef,
    methods: &'static [&'static str],
    stop: CancellationToken,
) -> AbortOnDropHandle<u64> {
    AbortOnDropHandle::new(tokio::spawn(async move {
        let mut chaos = chaos;
        let mut round = 0usize;
        while !stop.is_cancelled() {
            chaos
                .fault(Fault {
                    kind: KINDS[round % KINDS.len()] as i32,
                    method: methods[round / KINDS.len() % methods.len()].into(),
                    requests: 1,
                    duration_ms: 300,
                    delay_ms: 30,
                    backoff_ms: 10,
                    ..Fault::default()
                })
                .await
                .unwrap();
            // What cannot be done just now (no such neighbours, the bound of a region) is left out.
            let at = format!("{}{:04}", ["a", "pA"][round % 2], round * 7 % 20);
            let moved = match round % 5 {
                0 | 1 => chaos.split(at.as_bytes()).await.map(drop),
                2 => match &store.regions(&KeyRange::default()).await.unwrap()[..] {
                    [.., one, two] if round.is_multiple_of(2) => chaos.merge(one.id, two.id).await,
                    [one, two, ..] => chaos.merge(two.id, one.id).await,
                    _ => Ok(()),
                },
                _ => {
                    let regions = store.regions(&KeyRange::default()).await.unwrap();
                    chaos
                        .lead(regions[round % regions.len()].id, round as u64 % 3 + 1)
                        .await
                }
            };
            if let Err(e) = moved {
                assert!(
                    matches!(e.code(), tonic::Code::NotFound | tonic::Code::InvalidArgument),
                    "{e}"
                );
            }
            round += 1;
            tokio::time::sleep(Duration::from_millis(40)).await;
        }
        chaos.clear().await.unwrap();
        round as u64
    }))
}

const TRANSACTIONS: &[&str] = &[
    "",
    "KvPrewrite",
    "KvCommit",
    "KvPessimisticLock",
    "KvCheckTxnStatus",
    "KvScan",
    "KvGet",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn transfers_go_on() {
    let served = Served::start().await;
    let store = served.connect().await;
    let stop = CancellationToken::new();
    let other = served.connect().await;
    let running = nuisance(served.chaos().await, other, TRANSACTIONS, stop.clone());
    ilmenite_store::conformance::concurrent::transfers_keep_the_total_in_every_snapshot(&store).await;
    stop.cancel();
    assert!(running.await.unwrap() > 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn guarded_commits_go_on() {
    let served = Served::start().await;
    let store = served.connect().await;
    let stop = CancellationToken::new();
    let other = served.connect().await;
    let running = nuisance(served.chaos().await, other, TRANSACTIONS, stop.clone());
    ilmenite_store::conformance::concurrent::guards_are_shared(&store).await;
    stop.cancel();
    running.await.unwrap();
}

/// Every acknowledged increment is there, once.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_increment_is_lost_or_made_twice() {
    let served = Served::start().await;
    let stop = CancellationToken::new();
    let other = served.connect().await;
    let running = nuisance(served.chaos().await, other, TRANSACTIONS, stop.clone());
    let mut workers = Vec::new();
    for w in 0..4 {
        let store = served.connect().await;
        workers.push(tokio::spawn(async move {
            // In one region, mostly, and over several.
            let keys = [format!("a{:04}", w * 5), format!("pA{:04}", w * 5)];
            let keys = if w % 2 == 0 { &keys[..1] } else { &keys[..] };
            for expected in 0..40u64 {
                let start_ts = store.begin_timestamp().await.unwrap();
                let now = store.get(keys[0].as_bytes(), start_ts).await.unwrap();
                let now: u64 = now.map_or(0, |v| String::from_utf8_lossy(&v).parse().unwrap());
                assert_eq!(now, expected, "worker {w}");
                let next = (now + 1).to_string();
                let committed = store
                    .commit(CommitRequest {
                        start_ts,
                        mutations: keys
                            .iter()
                            .map(|k| mutation(k, Some(&next), Check::Unchanged))
                            .collect(),
                        ..CommitRequest::default()
                    })
                    .await;
                committed.unwrap_or_else(|e| panic!("worker {w}: {e}"));
            }
        }));
    }
    for worker in workers {
        worker.await.unwrap();
    }
    stop.cancel();
    running.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn scans_and_ingests_go_on() {
    let served = Served::start().await;
    let mut small = options();
    // Many jobs, and splits on the way.
    small.ingest_job_bytes = 40 << 10;
    small.ingest_region_bytes = 100 << 10;
    let store = served.connect_with(small).await;
    let stop = CancellationToken::new();
    let other = served.connect().await;
    let methods = &["", "Write", "MultiIngest", "KvScan", "SplitRegion"];
    let running = nuisance(served.chaos().await, other, methods, stop.clone());
    let ts = store.timestamp().await.unwrap();
    let rows: Vec<String> = (0..20_000).map(|i| format!("pA{i:06}")).collect();
    for _ in 0..2 {
        let mut ingest = store.ingest(KeyRange::prefix(b"pA"), ts).await.unwrap();
        for chunk in rows.chunks(700) {
            let mut batch = KvBatch::new();
            for key in chunk {
                batch.push(key.as_bytes(), &key.as_bytes()[2..]);
            }
            ingest.write(&batch).await.unwrap();
        }
        let summary = ingest.finish().await.unwrap();
        assert_eq!(summary.entries, 20_000);
        for reverse in [false, true] {
            let options = ScanOptions {
                reverse,
                batch_bytes: 8 << 10,
                ..ScanOptions::default()
            };
            let mut read = scan_all(&*store, KeyRange::prefix(b"pA"), ts, options).await;
            if reverse {
                read.reverse();
            }
            assert_eq!(read.len(), rows.len());
            assert!(
                read.iter()
                    .zip(&rows)
                    .all(|((k, v), row)| k == row && **v == row[2..])
            );
        }
        let wanted: Vec<Bytes> = rows.iter().step_by(37).map(b).collect();
        let values = store.batch_get(&wanted, ts).await.unwrap();
        assert!(
            wanted
                .iter()
                .zip(&values)
                .all(|(k, v)| v.as_deref() == Some(&k[2..]))
        );
    }
    stop.cancel();
    running.await.unwrap();
    assert_eq!(
        store
            .versions(rows[5].as_bytes(), Timestamp(1))
            .await
            .unwrap()
            .len(),
        1
    );
}

/// Two nodes of one store see each other's writes, locks and holds.
#[tokio::test(flavor = "multi_thread")]
async fn two_nodes() {
    let served = Served::start().await;
    let one = served.connect_with(options()).await;
    let two = served.connect_with(options()).await;
    write(&*one, &[("a", Some("1"))]).await;
    let ts = two.timestamp().await.unwrap();
    assert_eq!(two.get(b"a", ts).await.unwrap(), Some(b("1")));
    one.set_gc_hold(ilmenite_store::GcHold {
        id: "ddl/1".into(),
        ts,
    })
    .await
    .unwrap();
    assert_eq!(two.gc_holds().await.unwrap().len(), 1);
    two.release_gc_hold("ddl/1").await.unwrap();
    assert!(one.gc_holds().await.unwrap().is_empty());
    let _: Arc<dyn Store> = one;
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_is_collected_behind_holds() {
    let served = Served::start().await;
    let mut eager = options();
    eager.gc_life_time = Duration::ZERO;
    let s = served.connect_with(eager).await;
    let held = write(&*s, &[("a", Some("1"))]).await;
    let hold = |ts| ilmenite_store::GcHold {
        id: "ddl/7".into(),
        ts,
    };
    s.set_gc_hold(hold(held)).await.unwrap();
    write(&*s, &[("a", Some("2"))]).await;
    s.run_gc().await.unwrap();
    assert_eq!(s.gc_safe_point().await.unwrap(), held);
    assert_eq!(s.get(b"a", held).await.unwrap(), Some(b("1")));
    // Another node's old transaction holds it back too.
    let other = served.connect_with(options()).await;
    let old = other.begin_timestamp().await.unwrap();
    other.run_gc().await.unwrap();
    s.release_gc_hold("ddl/7").await.unwrap();
    tokio::time::sleep(Duration::from_millis(10)).await;
    write(&*s, &[("a", Some("3"))]).await;
    let moved = s.run_gc().await.unwrap();
    assert!(moved.is_some_and(|to| to > held && to <= old), "{moved:?} {old}");
    assert!(matches!(
        s.get(b"a", held).await,
        Err(ilmenite_store::Error::SnapshotTooOld { .. })
    ));
    assert!(matches!(
        s.set_gc_hold(hold(held)).await,
        Err(ilmenite_store::Error::SnapshotTooOld { .. })
    ));
    assert!(s.gc_holds().await.unwrap().is_empty());
    assert_eq!(other.get(b"a", old).await.unwrap(), Some(b("2")));
    other.unlock(old, None).await.unwrap();
    other.run_gc().await.unwrap();
    tokio::time::sleep(Duration::from_millis(10)).await;
    let moved = s.run_gc().await.unwrap();
    assert!(moved.is_some_and(|to| to > old), "{moved:?}");
    let now = s.timestamp().await.unwrap();
    assert_eq!(s.get(b"a", now).await.unwrap(), Some(b("3")));
}

/// The last region is looked for by a key behind all others.
#[tokio::test(flavor = "multi_thread")]
async fn a_scan_back_from_the_end_by_a_new_node() {
    let served = Served::start().await;
    write(&*served.connect().await, &[("a", Some("1")), ("z", Some("2"))]).await;
    served.split("m").await;
    let s = served.connect().await;
    let back = ScanOptions {
        reverse: true,
        ..ScanOptions::default()
    };
    let ts = s.timestamp().await.unwrap();
    let read = scan_all(&*s, KeyRange::default(), ts, back).await;
    assert_eq!(
        read,
        ilmenite_store::conformance::pairs(&[("z", "2"), ("a", "1")])
    );
}
