//! Holds and the safe point, where PD and the rows could disagree.

use std::time::Duration;

use ilmenite_store::conformance::{b, write};
use ilmenite_store::{Error, GcHold, Store, Timestamp};

use crate::fake::mvcc::Lock;
use crate::fake::{Fake, options};

fn eager() -> ilmenite_tikv::TikvOptions {
    let mut eager = options();
    eager.gc_life_time = Duration::ZERO;
    eager
}

fn hold(id: &str, ts: Timestamp) -> GcHold {
    GcHold { id: id.into(), ts }
}

async fn settle() {
    tokio::time::sleep(Duration::from_millis(5)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_is_a_service_and_a_row() {
    let fake = Fake::start(1).await;
    let s = fake.connect_with(eager()).await;
    let ts = write(&*s, &[("a", Some("1"))]).await;
    s.set_gc_hold(hold("ddl/42", ts)).await.unwrap();
    let service = |fake: &Fake| fake.world.lock().services.get("ilmenite/hold/ddl/42").copied();
    assert_eq!(service(&fake), Some((ts.0, i64::MAX)));
    assert_eq!(s.gc_holds().await.unwrap(), vec![hold("ddl/42", ts)]);
    // Again: moves it.
    let later = s.timestamp().await.unwrap();
    s.set_gc_hold(hold("ddl/42", later)).await.unwrap();
    assert_eq!(s.gc_holds().await.unwrap(), vec![hold("ddl/42", later)]);
    settle().await;
    assert_eq!(s.run_gc().await.unwrap(), Some(later));
    assert_eq!(s.run_gc().await.unwrap(), None);
    assert!(matches!(
        s.set_gc_hold(hold("ddl/43", ts)).await,
        Err(Error::SnapshotTooOld { .. })
    ));
    assert!(matches!(s.get(b"a", ts).await, Err(Error::SnapshotTooOld { .. })));
    s.release_gc_hold("ddl/42").await.unwrap();
    s.release_gc_hold("ddl/42").await.unwrap();
    assert_eq!(service(&fake), None);
    assert!(s.gc_holds().await.unwrap().is_empty());
}

/// The row alone holds, should PD have forgotten the service.
#[tokio::test(flavor = "multi_thread")]
async fn a_row_without_a_service_holds() {
    let fake = Fake::start(1).await;
    let s = fake.connect_with(eager()).await;
    let ts = s.timestamp().await.unwrap();
    s.set_gc_hold(hold("x", ts)).await.unwrap();
    fake.world.lock().services.remove("ilmenite/hold/x");
    settle().await;
    assert_eq!(s.run_gc().await.unwrap(), Some(ts));
}

/// A crash between the two leaves a service without a row: kept for one round, then taken away.
#[tokio::test(flavor = "multi_thread")]
async fn a_service_without_a_row_is_found() {
    let fake = Fake::start(1).await;
    let s = fake.connect_with(eager()).await;
    let ts = s.timestamp().await.unwrap();
    fake.world
        .lock()
        .services
        .insert("ilmenite/hold/gone".into(), (ts.0, i64::MAX));
    settle().await;
    assert_eq!(s.run_gc().await.unwrap(), Some(ts));
    settle().await;
    assert_eq!(s.run_gc().await.unwrap(), None);
    settle().await;
    assert!(s.run_gc().await.unwrap().is_some_and(|to| to > ts));
    assert!(!fake.world.lock().services.contains_key("ilmenite/hold/gone"));
}

/// Locks of the dead go before the safe point moves past them.
#[tokio::test(flavor = "multi_thread")]
async fn old_locks_are_resolved_first() {
    let fake = Fake::start(2).await;
    fake.world.lock().split(b"m");
    let s = fake.connect_with(eager()).await;
    write(&*s, &[("a", Some("1"))]).await;
    write(&*s, &[("z", Some("1"))]).await;
    let start_ts = s.timestamp().await.unwrap();
    for key in ["b", "z"] {
        fake.world.lock().mvcc.keys.entry(b(key)).or_default().lock = Some(Lock {
            op: ilmenite_proto::kvrpcpb::Op::Put,
            start_ts: start_ts.0,
            primary: b("b"),
            value: b("left"),
            // Far from running out: it is too old all the same.
            ttl_ms: 3_600_000,
            for_update_ts: 0,
            min_commit_ts: 0,
            txn_size: 2,
        });
    }
    settle().await;
    let safe_point = s.run_gc().await.unwrap().unwrap();
    assert!(safe_point > start_ts);
    assert_eq!(fake.world.lock().mvcc.locks(), 0);
    assert_eq!(s.get(b"z", safe_point).await.unwrap(), Some(b("1")));
}

/// Each node says what its oldest transaction needs, and no longer than it lives.
#[tokio::test(flavor = "multi_thread")]
async fn nodes_register_their_oldest_transaction() {
    let fake = Fake::start(1).await;
    let mut quick = eager();
    quick.gc_interval = Duration::from_millis(50);
    let s = fake.connect_with(quick).await;
    let node = |fake: &Fake| {
        let world = fake.world.lock();
        let found = world
            .services
            .iter()
            .find(|(id, _)| id.starts_with("ilmenite/node/"));
        found.map(|(_, (ts, ttl))| (Timestamp(*ts), *ttl))
    };
    let old = s.begin_timestamp().await.unwrap();
    tokio::time::sleep(Duration::from_millis(250)).await;
    assert_eq!(node(&fake), Some((old, 120)));
    s.unlock(old, None).await.unwrap();
    tokio::time::sleep(Duration::from_millis(250)).await;
    assert!(node(&fake).unwrap().0 > old);
    s.close().await.unwrap();
    assert_eq!(node(&fake), None);
}

/// Rounds are made by one node at a time, at their interval, and left to whoever else moves the safe point.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn rounds_are_shared_and_left_to_others() {
    let fake = Fake::start(1).await;
    let mut quick = eager();
    quick.gc = true;
    quick.gc_interval = Duration::from_millis(200);
    let mut nodes = Vec::new();
    for _ in 0..4 {
        nodes.push(fake.connect_with(quick.clone()).await);
    }
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let rounds = fake.calls("UpdateGCSafePoint");
    assert!((2..=8).contains(&rounds), "{rounds} rounds of four nodes");
    // A TiDB comes along.
    let now = nodes[0].timestamp().await.unwrap();
    fake.world.lock().safe_point = now.0 + 1;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let rounds = fake.calls("UpdateGCSafePoint");
    tokio::time::sleep(Duration::from_millis(800)).await;
    assert_eq!(fake.calls("UpdateGCSafePoint"), rounds);
}
