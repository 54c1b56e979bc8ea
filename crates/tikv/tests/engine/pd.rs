//! PD: finding it, losing it, timestamps.

use std::time::{Duration, Instant};

use ilmenite_store::conformance::write;
use ilmenite_store::{Error, KeyRange, Store};
use ilmenite_tikv::TikvStore;

use crate::fake::{Fake, Trouble, options};

async fn refused(url: &str) -> Error {
    match TikvStore::connect(url, options()).await {
        Ok(_) => panic!("connected to {url}"),
        Err(e) => e,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connecting_says_what_is_wrong_within_its_time() {
    assert!(matches!(refused("tikv://").await, Error::Invalid(_)));
    let began = Instant::now();
    // One refuses, one never answers.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = silent.local_addr().unwrap();
    let error = refused(&format!("tikv://127.0.0.1:1,{silent}")).await;
    let text = error.to_string();
    assert!(matches!(error, Error::Unavailable(_)));
    assert!(
        text.contains("127.0.0.1:1") && text.contains(&silent.to_string()),
        "{text}"
    );
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_several_endpoints_is_enough() {
    let fake = Fake::start(1).await;
    let url = fake.url().replace("tikv://", "tikv://127.0.0.1:1,");
    let s = TikvStore::connect(&url, options()).await.unwrap();
    s.timestamp().await.unwrap();
}

/// Against F62 of docs/faults.md.
#[tokio::test(flavor = "multi_thread")]
async fn the_leader_is_followed() {
    let fake = Fake::start_with(1, 3).await;
    let s = fake.connect().await;
    let before = s.timestamp().await.unwrap();
    fake.world.lock().pd_leader = 2;
    assert!(s.timestamp().await.unwrap() > before);
    // Known only from what a member told, and the old one is gone.
    fake.kill_pd(0);
    fake.world.lock().pd_leader = 1;
    fake.kill_pd(2);
    let last = s.timestamp().await.unwrap();
    write(&*s, &[("a", Some("1"))]).await;
    assert!(s.timestamp().await.unwrap() > last);
    s.regions(&KeyRange::default()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_call_is_made_again() {
    let fake = Fake::start(1).await;
    let s = fake.connect().await;
    for method in ["GetRegion", "GetStore", "ScanRegions", "TsoStream"] {
        fake.plan(method, 2, Trouble::Fail);
    }
    write(&*s, &[("a", Some("1"))]).await;
    s.regions(&KeyRange::default()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn timestamps_are_unique_and_asked_for_in_batches() {
    let fake = Fake::start(1).await;
    let s = fake.connect().await;
    s.timestamp().await.unwrap();
    let before = fake.calls("Tso");
    let tasks: Vec<_> = (0..2000)
        .map(|_| {
            let s = s.clone();
            tokio::spawn(async move { s.timestamp().await.unwrap() })
        })
        .collect();
    let mut all = Vec::new();
    for task in tasks {
        all.push(task.await.unwrap());
    }
    let after = s.timestamp().await.unwrap();
    assert!(all.iter().all(|ts| *ts < after));
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 2000);
    let requests = fake.calls("Tso") - before;
    assert!(requests < 1000, "{requests} requests for 2000 timestamps");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_pd_a_timestamp_fails_in_time() {
    let fake = Fake::start(1).await;
    let mut options = options();
    options.retry_time = Duration::from_millis(500);
    let s = fake.connect_with(options).await;
    s.timestamp().await.unwrap();
    fake.kill_pd(0);
    let began = Instant::now();
    let error = s.timestamp().await.unwrap_err().to_string();
    assert!(error.contains("no timestamp from PD within 500 ms"), "{error}");
    assert!(began.elapsed() < Duration::from_secs(2));
}

/// Against F46 of docs/faults.md.
#[tokio::test(flavor = "multi_thread")]
async fn holes_between_regions_are_asked_for_again() {
    let fake = Fake::start(1).await;
    let s = fake.connect().await;
    {
        let mut world = fake.world.lock();
        for i in 0..300 {
            world.split(format!("k{i:03}").as_bytes());
        }
        world.holes = 2;
    }
    let regions = s.regions(&KeyRange::default()).await.unwrap();
    assert_eq!(regions.len(), 301);
    assert!(regions.windows(2).all(|w| w[0].range.end == w[1].range.start));
    let some = s.regions(&KeyRange::new("k0005", "k003")).await.unwrap();
    assert_eq!(some.len(), 3);
    assert_eq!(
        (&some[0].range.start[..], &some[2].range.end[..]),
        (&b"k0005"[..], &b"k003"[..])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_store_says_so() {
    let fake = Fake::start(1).await;
    let s = fake.connect().await;
    s.close().await.unwrap();
    s.close().await.unwrap();
    let error = s.timestamp().await.unwrap_err().to_string();
    assert!(error.contains("closed"), "{error}");
    assert!(s.get(b"a", ilmenite_store::Timestamp(1)).await.is_err());
}
