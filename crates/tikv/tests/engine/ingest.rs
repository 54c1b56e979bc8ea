//! Ingest: refusals of each step, regions that change under it, and what is asked of the stores.

use std::time::Duration;

use ilmenite_proto::errorpb;
use ilmenite_store::conformance::{scan_all, write};
use ilmenite_store::{Error, KeyRange, KvBatch, Result, ScanOptions, Store, Timestamp};
use ilmenite_tikv::{TikvOptions, TikvStore};

use crate::fake::{Fake, Trouble, options};

fn small() -> TikvOptions {
    let mut small = options();
    small.ingest_job_bytes = 4 << 10;
    small.ingest_region_bytes = 1 << 30;
    small
}

fn rows(n: usize) -> Vec<(String, String)> {
    // Some values are longer than fits into a write record.
    (0..n)
        .map(|i| (format!("i{i:05}"), "v".repeat(1 + i % 7 * 50)))
        .collect()
}

async fn ingest(s: &TikvStore, ts: Timestamp, rows: &[(String, String)]) -> Result<()> {
    let mut ingest = s.ingest(KeyRange::prefix(b"i"), ts).await?;
    for chunk in rows.chunks(33) {
        let mut batch = KvBatch::new();
        for (k, v) in chunk {
            batch.push(k.as_bytes(), v.as_bytes());
        }
        ingest.write(&batch).await?;
    }
    let summary = ingest.finish().await?;
    assert_eq!(summary.entries, rows.len() as u64);
    Ok(())
}

async fn check(s: &TikvStore, ts: Timestamp, rows: &[(String, String)]) {
    let read = scan_all(s, KeyRange::prefix(b"i"), ts, ScanOptions::default()).await;
    assert_eq!(read, rows);
    let before = scan_all(s, KeyRange::prefix(b"i"), ts.prev(), ScanOptions::default()).await;
    assert!(before.is_empty());
}

/// Against F12 of docs/faults.md.
#[tokio::test(flavor = "multi_thread")]
async fn each_step_refused_and_done_again() {
    type Fill = fn(&mut errorpb::Error);
    let refusals: Vec<(&str, Fill)> = vec![
        ("MultiIngest", |e| e.server_is_busy = Some(Default::default())),
        ("MultiIngest", |e| {
            e.read_index_not_ready = Some(Default::default())
        }),
        ("MultiIngest", |e| e.stale_command = Some(Default::default())),
        ("MultiIngest", |e| e.not_leader = Some(Default::default())),
        ("MultiIngest", |e| e.epoch_not_match = Some(Default::default())),
        ("MultiIngest", |e| e.region_not_found = Some(Default::default())),
        ("Write", |e| e.server_is_busy = Some(Default::default())),
        ("Write", |e| e.message = "RequestTooNew".into()),
    ];
    let rows = rows(300);
    for (method, fill) in refusals {
        let fake = Fake::start(2).await;
        let s = fake.connect_with(small()).await;
        let ts = s.timestamp().await.unwrap();
        fake.refuse(method, 2, fill);
        ingest(&s, ts, &rows).await.unwrap();
        check(&s, ts, &rows).await;
        // Again: nothing changes.
        ingest(&s, ts, &rows).await.unwrap();
        check(&s, ts, &rows).await;
        assert_eq!(s.versions(b"i00007", Timestamp(1)).await.unwrap().len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_fail_and_replies_that_are_lost() {
    let rows = rows(300);
    for (method, trouble) in [
        ("Write", Trouble::Fail),
        ("MultiIngest", Trouble::Fail),
        ("MultiIngest", Trouble::LoseReply),
    ] {
        let fake = Fake::start(2).await;
        let s = fake.connect_with(small()).await;
        let ts = s.timestamp().await.unwrap();
        fake.plan(method, 3, trouble);
        ingest(&s, ts, &rows).await.unwrap();
        check(&s, ts, &rows).await;
    }
}

/// Busy is no reason to write the files anew.
/// Against F67 of docs/faults.md.
#[tokio::test(flavor = "multi_thread")]
async fn a_busy_leader_is_only_asked_again() {
    let fake = Fake::start(2).await;
    let s = fake.connect().await;
    let ts = s.timestamp().await.unwrap();
    fake.refuse("MultiIngest", 2, |e| e.server_is_busy = Some(Default::default()));
    ingest(&s, ts, &rows(10)).await.unwrap();
    assert_eq!((fake.calls("Write"), fake.calls("MultiIngest")), (2, 3));
}

/// Against F65 of docs/faults.md.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_ends_it() {
    let fake = Fake::start(1).await;
    let s = fake.connect().await;
    let ts = s.timestamp().await.unwrap();
    fake.refuse("MultiIngest", 1, |e| e.disk_full = Some(Default::default()));
    assert!(matches!(ingest(&s, ts, &rows(10)).await, Err(Error::DiskFull(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn regions_that_move_under_it() {
    let fake = Fake::start(3).await;
    let s = fake.connect_with(small()).await;
    let ts = s.timestamp().await.unwrap();
    let world = fake.world.clone();
    let moving = tokio::spawn(async move {
        for i in 0..60usize {
            {
                let mut world = world.lock();
                match i % 3 {
                    0 => world.split(format!("i{:05}", i * 31 % 1000).as_bytes()),
                    1 => world.lead(format!("i{:05}", i * 17 % 1000).as_bytes(), i as u64 % 3 + 1),
                    _ if world.regions.len() > 2 => {
                        let at = world.regions[1].start.clone();
                        world.merge(&at);
                    }
                    _ => {}
                }
            }
            tokio::time::sleep(Duration::from_millis(15)).await;
        }
    });
    let rows = rows(1000);
    ingest(&s, ts, &rows).await.unwrap();
    moving.await.unwrap();
    check(&s, ts, &rows).await;
}

/// What comes does not pile up in one region.
#[tokio::test(flavor = "multi_thread")]
async fn a_region_that_got_much_is_split() {
    let fake = Fake::start(1).await;
    let mut options = small();
    options.ingest_region_bytes = 16 << 10;
    let s = fake.connect_with(options).await;
    let ts = s.timestamp().await.unwrap();
    // One split is refused, which is no error.
    fake.refuse("SplitRegion", 1, |e| e.stale_command = Some(Default::default()));
    let rows = rows(1000);
    ingest(&s, ts, &rows).await.unwrap();
    check(&s, ts, &rows).await;
    let regions = fake.world.lock().regions.len();
    assert!((5..40).contains(&regions), "{regions}");
    assert!(fake.calls("ScatterRegion") > 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_dropped_stops() {
    let fake = Fake::start(1).await;
    let s = fake.connect_with(small()).await;
    let ts = s.timestamp().await.unwrap();
    let mut ingest = s.ingest(KeyRange::prefix(b"i"), ts).await.unwrap();
    fake.refuse("MultiIngest", usize::MAX, |e| {
        e.server_is_busy = Some(Default::default())
    });
    let mut batch = KvBatch::new();
    // One job and a half.
    for (k, v) in rows(40) {
        batch.push(k.as_bytes(), v.as_bytes());
    }
    ingest.write(&batch).await.unwrap();
    drop(ingest);
    tokio::time::sleep(Duration::from_millis(200)).await;
    let calls = fake.calls("MultiIngest");
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(fake.calls("MultiIngest") <= calls + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn ranges_are_deleted_on_every_store() {
    let mut fake = Fake::start(2).await;
    let s = fake.connect().await;
    write(&*s, &[("a", Some("1")), ("b", Some("2"))]).await;
    fake.plan("UnsafeDestroyRange", 1, Trouble::Fail);
    fake.kill_store(2);
    let deleting = {
        let s = s.clone();
        tokio::spawn(async move { s.delete_range(KeyRange::new("a", "b")).await })
    };
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(
        !deleting.is_finished(),
        "a store that is away still has the range"
    );
    fake.revive_store(2);
    deleting.await.unwrap().unwrap();
    // The one that failed, again, and the other.
    assert_eq!(fake.calls("UnsafeDestroyRange"), 3);
}
