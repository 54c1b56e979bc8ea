//! Each refusal of a store has its reaction: the request succeeds in the end, and what was asked of whom meanwhile is as it
//! should be.

use std::time::{Duration, Instant};

use bytes::Bytes;
use ilmenite_base::ErrorClass;
use ilmenite_proto::errorpb::{self, EpochNotMatch, KeyNotInRegion, NotLeader, ServerIsBusy};
use ilmenite_store::conformance::{b, write};
use ilmenite_store::{Check, CommitRequest, Error, Mutation, Store};

use crate::fake::{Fake, Trouble};

/// A store with a row `a`, whose region is known to the client.
async fn warm(fake: &Fake) -> std::sync::Arc<ilmenite_tikv::TikvStore> {
    let s = fake.connect().await;
    write(&*s, &[("a", Some("1"))]).await;
    read(&s).await.unwrap();
    s
}

async fn read(s: &ilmenite_tikv::TikvStore) -> ilmenite_store::Result<Option<Bytes>> {
    let ts = s.timestamp().await?;
    s.get(b"a", ts).await
}

/// Refuses one `KvGet`, reads, and returns how often PD and the stores were asked for it.
async fn asked(fill: impl FnOnce(&mut errorpb::Error)) -> (usize, usize, usize) {
    let fake = Fake::start(2).await;
    let s = warm(&fake).await;
    let before = (
        fake.calls("KvGet"),
        fake.calls("GetRegion"),
        fake.calls("GetStore"),
    );
    fake.refuse("KvGet", 1, fill);
    assert_eq!(read(&s).await.unwrap(), Some(b("1")));
    (
        fake.calls("KvGet") - before.0,
        fake.calls("GetRegion") - before.1,
        fake.calls("GetStore") - before.2,
    )
}

/// Only asked again: the region is where it was.
const AGAIN: (usize, usize, usize) = (2, 0, 0);
/// PD is asked where the region is.
const ASK_PD: (usize, usize, usize) = (2, 1, 0);

#[tokio::test(flavor = "multi_thread")]
async fn not_leader_without_a_leader_asks_pd() {
    assert_eq!(asked(|e| e.not_leader = Some(NotLeader::default())).await, ASK_PD);
}

#[tokio::test(flavor = "multi_thread")]
async fn not_leader_with_a_leader_goes_there() {
    let fake = Fake::start(2).await;
    let s = warm(&fake).await;
    let lookups = fake.calls("GetRegion");
    fake.world.lock().lead(b"a", 2);
    assert_eq!(read(&s).await.unwrap(), Some(b("1")));
    assert_eq!(
        fake.calls("GetRegion"),
        lookups,
        "the refusal told all that was needed"
    );
    // And it is remembered.
    let gets = fake.calls("KvGet");
    read(&s).await.unwrap();
    assert_eq!(fake.calls("KvGet"), gets + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn region_not_found_asks_pd() {
    assert_eq!(
        asked(|e| e.region_not_found = Some(Default::default())).await,
        ASK_PD
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn key_not_in_region_asks_pd() {
    assert_eq!(
        asked(|e| e.key_not_in_region = Some(KeyNotInRegion::default())).await,
        ASK_PD
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn epoch_not_match_without_regions_asks_pd() {
    assert_eq!(
        asked(|e| e.epoch_not_match = Some(EpochNotMatch::default())).await,
        ASK_PD
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn epoch_not_match_goes_by_the_regions_it_carries() {
    let fake = Fake::start(2).await;
    let s = warm(&fake).await;
    let lookups = fake.calls("GetRegion");
    fake.world.lock().split(b"m");
    write(&*s, &[("b", Some("2")), ("x", Some("3"))]).await;
    assert_eq!(fake.calls("GetRegion"), lookups, "both halves were told");
    fake.world.lock().merge(b"m");
    write(&*s, &[("b", Some("4")), ("x", Some("5"))]).await;
    assert_eq!(read(&s).await.unwrap(), Some(b("1")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_store_is_left_alone_as_long_as_it_asks() {
    let began = Instant::now();
    let busy = |e: &mut errorpb::Error| {
        e.server_is_busy = Some(ServerIsBusy {
            backoff_ms: 300,
            ..ServerIsBusy::default()
        })
    };
    assert_eq!(asked(busy).await, AGAIN);
    assert!(began.elapsed() >= Duration::from_millis(300));
}

#[tokio::test(flavor = "multi_thread")]
async fn stale_command_is_sent_again() {
    assert_eq!(asked(|e| e.stale_command = Some(Default::default())).await, AGAIN);
}

#[tokio::test(flavor = "multi_thread")]
async fn store_not_match_asks_for_the_stores_address() {
    assert_eq!(
        asked(|e| e.store_not_match = Some(Default::default())).await,
        (2, 1, 1)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_settles_by_itself_is_waited_for() {
    assert_eq!(
        asked(|e| e.max_timestamp_not_synced = Some(Default::default())).await,
        AGAIN
    );
    assert_eq!(
        asked(|e| e.read_index_not_ready = Some(Default::default())).await,
        AGAIN
    );
    assert_eq!(
        asked(|e| e.data_is_not_ready = Some(Default::default())).await,
        AGAIN
    );
    assert_eq!(
        asked(|e| e.proposal_in_merging_mode = Some(Default::default())).await,
        ASK_PD
    );
    assert_eq!(
        asked(|e| e.region_not_initialized = Some(Default::default())).await,
        ASK_PD
    );
    assert_eq!(
        asked(|e| e.recovery_in_progress = Some(Default::default())).await,
        ASK_PD
    );
    assert_eq!(asked(|e| e.message = "something new".into()).await, ASK_PD);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_an_error_of_its_own_at_once() {
    let fake = Fake::start(1).await;
    let s = warm(&fake).await;
    fake.refuse("KvPrewrite", 1000, |e| {
        e.disk_full = Some(errorpb::DiskFull {
            store_id: vec![1],
            reason: "less than 5 GiB free".into(),
        })
    });
    let began = Instant::now();
    let refused = put(&s, "a", "2").await.unwrap_err();
    assert_eq!(refused.class(), ErrorClass::Resource);
    assert!(refused.to_string().contains("less than 5 GiB free"), "{refused}");
    assert!(began.elapsed() < Duration::from_secs(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flashback_is_not_waited_for() {
    let fake = Fake::start(1).await;
    let s = warm(&fake).await;
    fake.refuse("KvGet", 1, |e| e.flashback_in_progress = Some(Default::default()));
    let refused = read(&s).await.unwrap_err();
    assert!(matches!(refused, Error::Unavailable(_)), "{refused}");
    assert_eq!(fake.calls("KvGet"), 2);
}

async fn put(
    s: &ilmenite_tikv::TikvStore,
    key: &str,
    value: &str,
) -> ilmenite_store::Result<ilmenite_store::Timestamp> {
    s.commit(CommitRequest {
        start_ts: s.begin_timestamp().await?,
        mutations: vec![Mutation {
            key: b(key),
            value: Some(b(value)),
            check: Check::Unchanged,
        }],
        ..CommitRequest::default()
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_for_one_entry_goes_in_pieces() {
    let fake = Fake::start(1).await;
    let s = warm(&fake).await;
    fake.refuse("KvPrewrite", 1, |e| {
        e.raft_entry_too_large = Some(Default::default())
    });
    let rows: Vec<(String, String)> = (0..8).map(|i| (format!("k{i}"), i.to_string())).collect();
    let rows: Vec<(&str, Option<&str>)> = rows.iter().map(|(k, v)| (k.as_str(), Some(v.as_str()))).collect();
    let prewrites = fake.calls("KvPrewrite");
    let ts = write(&*s, &rows).await;
    assert!(fake.calls("KvPrewrite") >= prewrites + 3);
    assert_eq!(s.get(b"k7", ts).await.unwrap(), Some(b("7")));
    // One row alone cannot be cut.
    fake.refuse("KvPrewrite", 1, |e| {
        e.raft_entry_too_large = Some(Default::default())
    });
    assert!(matches!(put(&s, "a", "2").await, Err(Error::TooLarge { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn retries_are_bounded_and_end_with_the_last_error() {
    let fake = Fake::start(1).await;
    let mut options = crate::fake::options();
    options.retry_time = Duration::from_millis(700);
    let s = fake.connect_with(options).await;
    write(&*s, &[("a", Some("1"))]).await;
    fake.refuse("KvGet", usize::MAX, |e| {
        e.server_is_busy = Some(ServerIsBusy {
            reason: "compaction".into(),
            ..ServerIsBusy::default()
        })
    });
    let began = Instant::now();
    let refused = read(&s).await.unwrap_err();
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    assert_eq!(refused.class(), ErrorClass::Transient);
    let text = refused.to_string();
    assert!(
        text.contains("server_is_busy: compaction") && text.contains("attempts"),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_request_is_cancelled() {
    let fake = Fake::start(1).await;
    let s = warm(&fake).await;
    fake.refuse("KvGet", usize::MAX, |e| {
        e.read_index_not_ready = Some(Default::default())
    });
    let waited = tokio::time::timeout(Duration::from_millis(200), read(&s)).await;
    assert!(waited.is_err());
    let gets = fake.calls("KvGet");
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert_eq!(fake.calls("KvGet"), gets, "nobody goes on asking");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_comes_back_elsewhere_is_found() {
    let mut fake = Fake::start(1).await;
    let s = warm(&fake).await;
    fake.kill_store(1);
    let reading = {
        let s = s.clone();
        tokio::spawn(async move { read(&s).await })
    };
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(!reading.is_finished());
    fake.revive_store(1);
    assert_eq!(reading.await.unwrap().unwrap(), Some(b("1")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_says_nothing_is_given_up_in_time() {
    let fake = Fake::start(1).await;
    let mut options = crate::fake::options();
    options.call_timeout = Duration::from_millis(200);
    let s = fake.connect_with(options).await;
    write(&*s, &[("a", Some("1"))]).await;
    fake.plan("KvGet", 1, Trouble::Delay(Duration::from_secs(60)));
    let began = Instant::now();
    assert_eq!(read(&s).await.unwrap(), Some(b("1")));
    assert!(began.elapsed() < Duration::from_secs(2));
}
