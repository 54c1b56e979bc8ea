//! Commits whose replies are lost, transactions whose node is gone, and what others make of their locks.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ilmenite_proto::errorpb;
use ilmenite_proto::kvrpcpb::Op;
use ilmenite_store::conformance::{b, mutation, pairs, scan_all, write};
use ilmenite_store::{
    Check, CommitRequest, Error, KeyRange, LockRequest, Precondition, Result, ScanOptions, Store, Timestamp,
};
use ilmenite_tikv::TikvStore;

use crate::fake::mvcc::{Lock, Write};
use crate::fake::{Fake, Trouble, options};

async fn cut() -> Fake {
    let fake = Fake::start(2).await;
    let mut world = fake.world.lock();
    world.split(b"m");
    world.lead(b"m", 2);
    drop(world);
    fake
}

async fn commit(s: &TikvStore, rows: &[(&str, &str)]) -> Result<Timestamp> {
    let start_ts = s.begin_timestamp().await?;
    s.commit(CommitRequest {
        start_ts,
        mutations: rows
            .iter()
            .map(|(k, v)| mutation(k, Some(v), Check::Unchanged))
            .collect(),
        ..CommitRequest::default()
    })
    .await
}

async fn all(s: &TikvStore) -> Vec<(String, String)> {
    let ts = s.timestamp().await.unwrap();
    scan_all(s, KeyRange::default(), ts, ScanOptions::default()).await
}

/// Background work may still be at it.
async fn no_locks(fake: &Fake) {
    let deadline = Instant::now() + Duration::from_secs(5);
    while fake.world.lock().mvcc.locks() > 0 {
        assert!(
            Instant::now() < deadline,
            "locks are left: {:?}",
            fake.world.lock().mvcc.keys
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_reply_of_any_phase_changes_nothing() {
    for method in ["KvPrewrite", "KvCommit"] {
        for trouble in [Trouble::LoseReply, Trouble::Fail] {
            for rows in [&[("a", "1"), ("b", "2")][..], &[("a", "1"), ("z", "2")][..]] {
                let fake = cut().await;
                let s = fake.connect().await;
                fake.plan(method, 1, trouble.clone());
                commit(&s, rows).await.unwrap();
                assert_eq!(all(&s).await, pairs(rows), "{method} {trouble:?}");
                no_locks(&fake).await;
                let versions = s.versions(b"a", Timestamp(1)).await.unwrap();
                assert_eq!(versions.len(), 1);
            }
        }
    }
}

/// A one-phase commit that was done, whose reply is lost, and whose region is then split: it must not be taken apart.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_reply_and_a_split_region() {
    for done in [true, false] {
        let fake = Fake::start(1).await;
        let s = fake.connect().await;
        write(&*s, &[("a", Some("0"))]).await;
        fake.plan(
            "KvPrewrite",
            1,
            if done { Trouble::LoseReply } else { Trouble::Fail },
        );
        fake.plan("KvPrewrite", 1, Trouble::Delay(Duration::from_millis(200)));
        let world = fake.world.clone();
        let splitting = tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(60)).await;
            world.lock().split(b"m");
        });
        let committed = commit(&s, &[("a", "1"), ("z", "2")]).await;
        splitting.await.unwrap();
        let rows = all(&s).await;
        match committed {
            Ok(_) => assert_eq!(rows, pairs(&[("a", "1"), ("z", "2")])),
            // Rolled back for certain.
            Err(Error::Unavailable(_)) => assert_eq!(rows, pairs(&[("a", "0")])),
            Err(e) => panic!("{e}"),
        }
        if done {
            assert_eq!(rows.len(), 2, "what was committed is reported as such");
        }
        no_locks(&fake).await;
    }
}

/// Only when nobody can be asked is the outcome unknown.
#[tokio::test(flavor = "multi_thread")]
async fn undetermined_when_nobody_can_be_asked() {
    let fake = Fake::start(1).await;
    let mut options = options();
    options.retry_time = Duration::from_millis(400);
    let s = fake.connect_with(options).await;
    write(&*s, &[("a", Some("0"))]).await;
    fake.plan("KvPrewrite", usize::MAX, Trouble::LoseReply);
    fake.plan("KvCheckTxnStatus", usize::MAX, Trouble::Fail);
    let began = Instant::now();
    let unknown = commit(&s, &[("a", "1")]).await.unwrap_err();
    assert!(matches!(unknown, Error::Undetermined(_)), "{unknown}");
    assert!(began.elapsed() < Duration::from_secs(4));
}

#[tokio::test(flavor = "multi_thread")]
async fn asked_for_the_outcome_the_primary_tells() {
    for (lost, written) in [(Trouble::LoseReply, true), (Trouble::Fail, false)] {
        let fake = Fake::start(1).await;
        let mut options = options();
        options.retry_time = Duration::from_millis(500);
        let s = fake.connect_with(options).await;
        write(&*s, &[("a", Some("0"))]).await;
        fake.plan("KvPrewrite", usize::MAX, lost);
        let outcome = commit(&s, &[("a", "1")]).await;
        assert_eq!(outcome.is_ok(), written, "{outcome:?}");
        let expected = if written { "1" } else { "0" };
        assert_eq!(all(&s).await, pairs(&[("a", expected)]));
        if let Err(e) = outcome {
            assert!(
                matches!(e, Error::Unavailable(_)),
                "it is known that nothing was written: {e}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lease_is_compared_before_the_primary_is_committed() {
    let fake = cut().await;
    let s = fake.connect().await;
    let start_ts = s.begin_timestamp().await.unwrap();
    // It ends while the prewrite is under way.
    fake.plan("KvPrewrite", 1, Trouble::Delay(Duration::from_millis(150)));
    let late = s
        .commit(CommitRequest {
            start_ts,
            mutations: vec![
                mutation("a", Some("1"), Check::Unchanged),
                mutation("z", Some("1"), Check::Unchanged),
            ],
            max_commit_ts: Some(start_ts.plus(Duration::from_millis(80))),
            ..CommitRequest::default()
        })
        .await;
    assert!(matches!(late, Err(Error::CommitTooLate { .. })), "{late:?}");
    no_locks(&fake).await;
    assert_eq!(fake.calls("KvCommit"), 0);
    assert!(all(&s).await.is_empty());

    // In one phase the store compares, and leaves ordinary locks.
    let start_ts = s.begin_timestamp().await.unwrap();
    let max_commit_ts = start_ts.plus(Duration::from_millis(400));
    fake.world.lock().mvcc.max_ts = start_ts.plus(Duration::from_secs(1)).0;
    fake.plan("KvPrewrite", 1, Trouble::Delay(Duration::from_millis(500)));
    let late = s
        .commit(CommitRequest {
            start_ts,
            mutations: vec![mutation("a", Some("1"), Check::Unchanged)],
            max_commit_ts: Some(max_commit_ts),
            ..CommitRequest::default()
        })
        .await;
    assert!(matches!(late, Err(Error::CommitTooLate { .. })), "{late:?}");
    no_locks(&fake).await;
    assert!(all(&s).await.is_empty());
}

fn leave_lock(fake: &Fake, key: &str, primary: &str, start_ts: Timestamp, ttl: Duration) {
    let mut world = fake.world.lock();
    world.mvcc.keys.entry(b(key)).or_default().lock = Some(Lock {
        op: Op::Put,
        start_ts: start_ts.0,
        primary: b(primary),
        value: b("left behind"),
        ttl_ms: ttl.as_millis() as u64,
        for_update_ts: 0,
        min_commit_ts: start_ts.0 + 1,
        txn_size: 2,
    });
}

/// A client died at each point of a commit in two phases.
#[tokio::test(flavor = "multi_thread")]
async fn locks_of_the_dead_are_resolved_by_readers_and_writers() {
    for committed in [true, false] {
        for reading in ["get", "batch", "scan", "back", "versions", "write", "lock"] {
            let fake = cut().await;
            let s = fake.connect().await;
            write(&*s, &[("a", Some("old")), ("z", Some("old"))]).await;
            no_locks(&fake).await;
            let start_ts = s.timestamp().await.unwrap();
            let commit_ts = s.timestamp().await.unwrap();
            let ttl = Duration::from_millis(150);
            leave_lock(&fake, "z", "a", start_ts, ttl);
            if committed {
                // The primary was committed, the secondary not yet.
                let mut world = fake.world.lock();
                let writes = &mut world.mvcc.keys.get_mut("a".as_bytes()).unwrap().writes;
                writes.insert(
                    0,
                    Write {
                        op: Op::Put,
                        start_ts: start_ts.0,
                        commit_ts: commit_ts.0,
                        value: b("new"),
                    },
                );
            } else {
                leave_lock(&fake, "a", "a", start_ts, ttl);
            }
            let ts = s.timestamp().await.unwrap();
            let expected = if committed { "left behind" } else { "old" };
            let back = ScanOptions {
                reverse: true,
                ..ScanOptions::default()
            };
            match reading {
                "get" => assert_eq!(s.get(b"z", ts).await.unwrap(), Some(b(expected))),
                "batch" => {
                    let both = s.batch_get(&[b("z"), b("a")], ts).await.unwrap();
                    assert_eq!(both[0], Some(b(expected)));
                }
                "scan" => assert_eq!(
                    scan_all(&*s, KeyRange::default(), ts, ScanOptions::default()).await[1].1,
                    expected
                ),
                "back" => assert_eq!(scan_all(&*s, KeyRange::default(), ts, back).await[0].1, expected),
                "versions" => {
                    let versions = s.versions(b"z", Timestamp(1)).await.unwrap();
                    assert_eq!(versions[0].1, Some(b(expected)));
                    assert_eq!(versions.len(), if committed { 2 } else { 1 });
                }
                "write" => {
                    commit(&s, &[("z", "mine")]).await.unwrap();
                    assert_eq!(
                        s.versions(b"z", Timestamp(1)).await.unwrap()[1].1,
                        Some(b(expected))
                    );
                }
                _ => {
                    let one = s.begin_timestamp().await.unwrap();
                    let values = s.lock(LockRequest {
                        start_ts: one,
                        keys: vec![b("z")],
                        for_update_ts: one,
                        wait: Duration::from_secs(5),
                    });
                    assert_eq!(values.await.unwrap(), vec![Some(b(expected))]);
                    s.unlock(one, None).await.unwrap();
                }
            }
            if !committed && reading == "get" {
                // A read only pushes the others away as long as they live.
                tokio::time::sleep(ttl).await;
                commit(&s, &[("a", "mine"), ("z", "mine")]).await.unwrap();
            }
            if reading != "get" && reading != "batch" && reading != "scan" && reading != "back" {
                let left = fake.world.lock().mvcc.keys["z".as_bytes()].lock.is_some();
                assert!(!left, "{reading}");
            }
        }
    }
}

/// A reader does not wait for a living transaction: it pushes its commit timestamp.
/// Against F25 of docs/faults.md.
#[tokio::test(flavor = "multi_thread")]
async fn readers_push_commits_away() {
    let fake = cut().await;
    let s = fake.connect().await;
    write(&*s, &[("a", Some("old")), ("z", Some("old"))]).await;
    no_locks(&fake).await;
    fake.plan("KvCommit", 1, Trouble::Delay(Duration::from_millis(400)));
    let writing = {
        let s = s.clone();
        tokio::spawn(async move { commit(&s, &[("a", "new"), ("z", "new")]).await })
    };
    tokio::time::sleep(Duration::from_millis(150)).await;
    let ts = s.timestamp().await.unwrap();
    let began = Instant::now();
    assert_eq!(s.get(b"z", ts).await.unwrap(), Some(b("old")));
    assert!(
        began.elapsed() < Duration::from_millis(200),
        "{:?}",
        began.elapsed()
    );
    let commit_ts = writing.await.unwrap().unwrap();
    assert!(commit_ts > ts);
    assert_eq!(s.get(b"z", ts).await.unwrap(), Some(b("old")));
    assert_eq!(s.get(b"z", commit_ts).await.unwrap(), Some(b("new")));
    assert_eq!(s.get(b"a", commit_ts).await.unwrap(), Some(b("new")));
}

/// The guard changes between the prewrite and the commit.
#[tokio::test(flavor = "multi_thread")]
async fn a_guard_that_changes_in_the_middle_is_noticed() {
    let fake = cut().await;
    let s = fake.connect().await;
    write(&*s, &[("owner", Some("me"))]).await;
    fake.plan("KvPrewrite", 1, Trouble::Delay(Duration::from_millis(200)));
    let guarded = {
        let s = s.clone();
        tokio::spawn(async move {
            let start_ts = s.begin_timestamp().await.unwrap();
            s.commit(CommitRequest {
                start_ts,
                mutations: vec![mutation("a", Some("1"), Check::Unchanged)],
                preconditions: vec![Precondition {
                    key: b("owner"),
                    value: Some(b("me")),
                }],
                ..CommitRequest::default()
            })
            .await
        })
    };
    tokio::time::sleep(Duration::from_millis(80)).await;
    commit(&s, &[("owner", "you")]).await.unwrap();
    let refused = guarded.await.unwrap();
    assert!(
        matches!(refused, Err(Error::PreconditionFailed { .. })),
        "{refused:?}"
    );
    no_locks(&fake).await;
    assert_eq!(all(&s).await, pairs(&[("owner", "you")]));
}

async fn lock(s: &TikvStore, start_ts: Timestamp, key: &str) -> Result<()> {
    let for_update_ts = s.timestamp().await?;
    let request = LockRequest {
        start_ts,
        keys: vec![b(key)],
        for_update_ts,
        wait: Duration::from_secs(5),
    };
    s.lock(request).await.map(drop)
}

fn short_lived() -> ilmenite_tikv::TikvOptions {
    let mut options = options();
    options.lock_ttl = Duration::from_millis(300);
    options.heartbeat_interval = Duration::from_secs(60);
    options
}

/// A node that gives no sign of life loses its locks, and its transaction cannot be committed any more.
#[tokio::test(flavor = "multi_thread")]
async fn locks_run_out_and_the_loser_is_told() {
    let fake = cut().await;
    let silent = fake.connect_with(short_lived()).await;
    let s = fake.connect().await;
    let one = silent.begin_timestamp().await.unwrap();
    lock(&silent, one, "a").await.unwrap();
    let two = s.begin_timestamp().await.unwrap();
    let began = Instant::now();
    lock(&s, two, "a").await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(4));
    let lost = silent
        .commit(CommitRequest {
            start_ts: one,
            mutations: vec![mutation("a", Some("1"), Check::None)],
            ..CommitRequest::default()
        })
        .await
        .unwrap_err();
    assert!(matches!(lost, Error::LocksLost(_)), "{lost}");
    assert_eq!(lost.class(), ilmenite_base::ErrorClass::Transient);
    s.unlock(two, None).await.unwrap();
    silent.unlock(one, None).await.unwrap();
    no_locks(&fake).await;
}

/// Told by the heartbeat, before anything is written.
#[tokio::test(flavor = "multi_thread")]
async fn the_heartbeat_tells_that_locks_are_gone() {
    let fake = cut().await;
    let s = fake.connect().await;
    let one = s.begin_timestamp().await.unwrap();
    lock(&s, one, "a").await.unwrap();
    fake.world.lock().mvcc.rollback(one.0, &[b("a")]);
    tokio::time::sleep(Duration::from_millis(1200)).await;
    assert!(matches!(lock(&s, one, "b").await, Err(Error::LocksLost(_))));
    s.unlock(one, None).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn signs_of_life_keep_locks_and_end_with_the_transaction() {
    let fake = cut().await;
    let mut fast = options();
    fast.lock_ttl = Duration::from_millis(1000);
    fast.heartbeat_interval = Duration::from_millis(150);
    let s = fake.connect_with(fast).await;
    let other = fake.connect().await;
    let one = s.begin_timestamp().await.unwrap();
    lock(&s, one, "a").await.unwrap();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let two = other.begin_timestamp().await.unwrap();
    let refused = other
        .lock(LockRequest {
            start_ts: two,
            keys: vec![b("a")],
            for_update_ts: other.timestamp().await.unwrap(),
            wait: Duration::ZERO,
        })
        .await;
    assert!(
        matches!(refused, Err(Error::LockNotAvailable { .. })),
        "{refused:?}"
    );
    s.unlock(one, None).await.unwrap();
    let beats = fake.calls("KvTxnHeartBeat");
    assert!(beats >= 3, "{beats}");
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(fake.calls("KvTxnHeartBeat"), beats);
    other.unlock(two, None).await.unwrap();
}

/// A caller that stops waiting leaves no half of a commit behind.
#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_commit_goes_on() {
    let fake = cut().await;
    let s = fake.connect().await;
    fake.plan("KvPrewrite", 2, Trouble::Delay(Duration::from_millis(150)));
    let rows = [("a", "1"), ("z", "2")];
    let dropped = tokio::time::timeout(Duration::from_millis(50), commit(&s, &rows)).await;
    assert!(dropped.is_err());
    s.close().await.unwrap();
    no_locks(&fake).await;
    let s = fake.connect().await;
    assert_eq!(all(&s).await, pairs(&rows));
}

/// Each may hold what the other needs: they give way, and nobody waits for a lock to run out.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn commits_that_cross_do_not_stand_still() {
    let fake = cut().await;
    let mut patient = options();
    patient.lock_ttl = Duration::from_secs(30);
    patient.retry_time = Duration::from_secs(60);
    let s = fake.connect_with(patient).await;
    let began = Instant::now();
    let tasks: Vec<_> = (0..6)
        .map(|_| {
            let s = s.clone();
            tokio::spawn(async move {
                let mut committed = 0;
                for _ in 0..8 {
                    match commit(&s, &[("a", "1"), ("z", "1")]).await {
                        Ok(_) => committed += 1,
                        Err(Error::WriteConflict { .. }) => {}
                        Err(e) => panic!("{e}"),
                    }
                }
                committed
            })
        })
        .collect();
    let mut committed = 0;
    for task in tasks {
        committed += task.await.unwrap();
    }
    assert!(committed > 0);
    assert!(began.elapsed() < Duration::from_secs(25), "{:?}", began.elapsed());
    no_locks(&fake).await;
}

const CALLS_BETWEEN_CHANGES: usize = 10;

/// Transfers while every kind of trouble goes on: nothing is lost and no half of anything is seen.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn trouble_without_end_loses_nothing() {
    let fake = Arc::new(cut().await);
    let mut patient = options();
    patient.retry_time = Duration::from_secs(20);
    patient.lock_ttl = Duration::from_secs(10);
    let s = fake.connect_with(patient).await;
    let stop = tokio_util::sync::CancellationToken::new();
    let nuisance = {
        let (fake, stop) = (fake.clone(), stop.clone());
        tokio::spawn(async move {
            let mut round = 0usize;
            while !stop.is_cancelled() {
                let method = [
                    "KvPrewrite",
                    "KvCommit",
                    "KvPessimisticLock",
                    "KvGet",
                    "KvScan",
                    "KvResolveLock",
                ][round % 6];
                match round % 5 {
                    // Not more than can be met with.
                    _ if fake.planned() > 3 => {}
                    0 => fake.plan(method, 1, Trouble::LoseReply),
                    1 => fake.plan(method, 1, Trouble::Fail),
                    2 => fake.refuse(method, 1, |e| e.stale_command = Some(Default::default())),
                    3 => fake.refuse(method, 1, |e| e.not_leader = Some(errorpb::NotLeader::default())),
                    _ => fake.plan(method, 1, Trouble::Delay(Duration::from_millis(20))),
                }
                {
                    let mut world = fake.world.lock();
                    let at = format!("{}{:04}", ["a", "pA"][round % 2], round % 17);
                    match round % 4 {
                        0 | 1 => world.split(at.as_bytes()),
                        2 => {
                            let starts: Vec<_> =
                                world.regions.iter().skip(1).map(|r| r.start.clone()).collect();
                            world.merge(&starts[round % starts.len()]);
                        }
                        _ => world.lead(at.as_bytes(), round as u64 / 4 % 2 + 1),
                    }
                }
                round += 1;
                // However slow the machine is: no change before the client had time to learn of the one before.
                let before = fake.all_calls();
                tokio::time::sleep(Duration::from_millis(10)).await;
                while fake.all_calls() < before + CALLS_BETWEEN_CHANGES && !stop.is_cancelled() {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            }
        })
    };
    let store: ilmenite_store::StoreRef = s.clone();
    ilmenite_store::conformance::concurrent::transfers_keep_the_total_in_every_snapshot(&store).await;
    stop.cancel();
    nuisance.await.unwrap();
}
