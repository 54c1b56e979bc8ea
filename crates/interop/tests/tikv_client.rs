//! An independent client: TiKV's own for Rust, its transactional interface.

#[path = "../../tikv-server/tests/support/mod.rs"]
mod support;

use std::time::Duration;

use support::Served;
use tikv_client::{
    BoundRange, CheckLevel, Key, KvPair, TimestampExt, TransactionClient, TransactionOptions, Value,
};

async fn connect(served: &Served) -> TransactionClient {
    let url = served.server.address().to_string();
    TransactionClient::new(vec![url]).await.expect("connects")
}

fn key(s: &str) -> Key {
    s.as_bytes().to_vec().into()
}

fn value(s: &str) -> Value {
    s.as_bytes().to_vec()
}

fn texts(pairs: impl Iterator<Item = KvPair>) -> Vec<(String, String)> {
    pairs
        .map(|KvPair(k, v)| {
            let k: Vec<u8> = k.into();
            (
                String::from_utf8_lossy(&k).into_owned(),
                String::from_utf8_lossy(&v).into_owned(),
            )
        })
        .collect()
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected
        .iter()
        .map(|(k, v)| (k.to_string(), v.to_string()))
        .collect()
}

/// Regions `..h`, `h..p`, `p..`.
async fn split(served: &Served) {
    use ilmenite_proto::ilmenitepb::{ChaosRequest, SplitRegion, chaos_request::Action};
    let c = served.client().await;
    for at in ["h", "p"] {
        let key = support::encoded(at.as_bytes());
        let action = Some(Action::SplitRegion(SplitRegion { key }));
        c.chaos
            .clone()
            .chaos(ChaosRequest { action })
            .await
            .expect("splits");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn optimistic_transactions() {
    let served = Served::new().await;
    split(&served).await;
    let client = connect(&served).await;
    let mut txn = client.begin_optimistic().await.expect("begins");
    for (k, v) in [("a", "1"), ("k", "2"), ("z", "3")] {
        txn.put(key(k), value(v)).await.expect("puts");
    }
    txn.insert(key("b"), value("4")).await.expect("inserts");
    let ts = txn.commit().await.expect("commits").expect("a timestamp");

    let mut txn = client.begin_optimistic().await.expect("begins");
    assert_eq!(txn.get(key("k")).await.expect("gets"), Some(value("2")));
    assert_eq!(txn.get(key("none")).await.expect("gets"), None);
    let got = txn
        .batch_get([key("a"), key("none"), key("z")])
        .await
        .expect("gets");
    let mut got = texts(got);
    got.sort();
    assert_eq!(got, pairs(&[("a", "1"), ("z", "3")]));
    let range: BoundRange = (key("a")..key("zz")).into();
    let all = pairs(&[("a", "1"), ("b", "4"), ("k", "2"), ("z", "3")]);
    assert_eq!(texts(txn.scan(range.clone(), 10).await.expect("scans")), all);
    assert_eq!(texts(txn.scan(range.clone(), 2).await.expect("scans")), all[..2]);
    let back = texts(txn.scan_reverse(range.clone(), 3).await.expect("scans"));
    assert_eq!(back, pairs(&[("z", "3"), ("k", "2"), ("b", "4")]));
    let keys: Vec<Key> = txn.scan_keys(range.clone(), 10).await.expect("scans").collect();
    assert_eq!(keys, [key("a"), key("b"), key("k"), key("z")]);
    txn.delete(key("a")).await.expect("deletes");
    txn.put(key("k"), value("changed")).await.expect("puts");

    // A rival that began before and ends after.
    let mut rival = client.begin_optimistic().await.expect("begins");
    rival.put(key("k"), value("rival")).await.expect("puts");
    txn.commit().await.expect("commits");
    rival.commit().await.expect_err("a conflict");
    let mut inserts = client.begin_optimistic().await.expect("begins");
    // Found at once, or at commit.
    if inserts.insert(key("z"), value("x")).await.is_ok() {
        inserts.commit().await.expect_err("it exists");
    } else {
        inserts.rollback().await.expect("rolls back");
    }

    // What was, and what is.
    let mut then = client.snapshot(ts, TransactionOptions::new_optimistic().read_only());
    assert_eq!(texts(then.scan(range.clone(), 10).await.expect("scans")), all);
    let now = client.current_timestamp().await.expect("now");
    let mut now = client.snapshot(now, TransactionOptions::new_optimistic().read_only());
    assert_eq!(now.get(key("k")).await.expect("gets"), Some(value("changed")));
    assert!(!now.key_exists(key("a")).await.expect("asks"));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_way_to_commit() {
    let served = Served::new().await;
    split(&served).await;
    let client = connect(&served).await;
    for (i, options) in [
        TransactionOptions::new_optimistic(),
        TransactionOptions::new_optimistic().try_one_pc(),
        TransactionOptions::new_optimistic().use_async_commit(),
        TransactionOptions::new_pessimistic(),
        TransactionOptions::new_pessimistic().try_one_pc(),
        TransactionOptions::new_pessimistic().use_async_commit(),
    ]
    .into_iter()
    .enumerate()
    {
        // Asynchronous commit is declined where a transaction is in several requests, which this client takes ill.
        let many = if i % 3 == 2 {
            ["a", "b", "c"]
        } else {
            ["a", "k", "z"]
        };
        for keys in [&["a"][..], &many] {
            let v = format!("{i} {}", keys.len());
            let mut txn = client.begin_with_options(options.clone()).await.expect("begins");
            for k in keys {
                txn.put(key(k), value(&v)).await.expect("puts");
            }
            txn.commit().await.expect("commits");
            let now = client.current_timestamp().await.expect("now");
            let mut now = client.snapshot(now, TransactionOptions::new_optimistic().read_only());
            for k in keys {
                assert_eq!(
                    now.get(key(k)).await.expect("gets"),
                    Some(value(&v)),
                    "way {i}, key {k}"
                );
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pessimistic_transactions() {
    let served = Served::new().await;
    split(&served).await;
    let client = connect(&served).await;
    let mut txn = client.begin_pessimistic().await.expect("begins");
    assert_eq!(txn.get_for_update(key("a")).await.expect("locks"), None);
    txn.put(key("a"), value("1")).await.expect("puts");
    txn.lock_keys([key("k"), key("z")]).await.expect("locks");
    // Somebody else waits and goes on when it is over.
    let waiting = tokio::spawn({
        let client = connect(&served).await;
        async move {
            // The first try waits, and is told then that the value is another one now.
            let mut other = client.begin_pessimistic().await.expect("begins");
            other.get_for_update(key("a")).await.expect_err("a conflict");
            other.rollback().await.expect("rolls back");
            let mut other = client.begin_pessimistic().await.expect("begins");
            let seen = other.get_for_update(key("a")).await.expect("locks");
            other.put(key("a"), value("2")).await.expect("puts");
            other.commit().await.expect("commits");
            seen
        }
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!waiting.is_finished());
    txn.commit().await.expect("commits");
    assert_eq!(waiting.await.expect("ends"), Some(value("1")));

    let mut txn = client.begin_pessimistic().await.expect("begins");
    let got = txn
        .batch_get_for_update([key("a"), key("none")])
        .await
        .expect("locks");
    assert_eq!(texts(got.into_iter()), pairs(&[("a", "2")]));
    txn.put(key("a"), value("never")).await.expect("puts");
    txn.rollback().await.expect("rolls back");
    let mut txn = client.begin_pessimistic().await.expect("begins");
    assert_eq!(
        txn.get_for_update(key("a")).await.expect("locks"),
        Some(value("2"))
    );
    txn.insert(key("a"), value("x")).await.expect_err("it exists");
    txn.rollback().await.expect("rolls back");
}

#[tokio::test(flavor = "multi_thread")]
async fn locks_left_behind_are_resolved() {
    let served = Served::new().await;
    split(&served).await;
    let client = connect(&served).await;
    // A client that died between its two phases, one before the decision and one behind it.
    let c = served.client().await;
    let start_ts = c.ts().await;
    let lost = support::prewrite(start_ts, &[("a", Some("lost"))]);
    let lost = ilmenite_proto::kvrpcpb::PrewriteRequest { lock_ttl: 1, ..lost };
    assert_eq!(c.prewrite(lost).await.errors, vec![]);
    let start_ts = c.ts().await;
    for k in ["k", "z"] {
        let half = ilmenite_proto::kvrpcpb::PrewriteRequest {
            primary_lock: support::b("k"),
            ..support::prewrite(start_ts, &[(k, Some("kept"))])
        };
        assert_eq!(c.prewrite(half).await.errors, vec![]);
    }
    c.commit(&["k"], start_ts, c.ts().await).await;
    let now = client.current_timestamp().await.expect("now");
    let locks = client.scan_locks(&now, .., 10).await.expect("scans");
    assert_eq!(locks.len(), 2, "{locks:?}");
    tokio::time::sleep(Duration::from_millis(20)).await;
    let mut snapshot = client.snapshot(now, TransactionOptions::new_optimistic().read_only());
    assert_eq!(snapshot.get(key("a")).await.expect("gets"), None);
    assert_eq!(snapshot.get(key("z")).await.expect("gets"), Some(value("kept")));

    // All locks below a safe point, as a garbage collector does it.
    let start_ts = c.ts().await;
    let lost = support::prewrite(start_ts, &[("b", Some("lost"))]);
    let lost = ilmenite_proto::kvrpcpb::PrewriteRequest { lock_ttl: 1, ..lost };
    c.prewrite(lost).await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    let safe_point = client.current_timestamp().await.expect("now");
    client.gc(safe_point.clone()).await.expect("collects");
    let locks = client.scan_locks(&safe_point, .., 10).await.expect("scans");
    assert!(locks.is_empty(), "{locks:?}");
    assert!(safe_point.version() > start_ts);
    let mut txn = client
        .begin_with_options(TransactionOptions::new_optimistic().drop_check(CheckLevel::None))
        .await
        .expect("begins");
    assert_eq!(txn.get(key("z")).await.expect("gets"), Some(value("kept")));
    client.unsafe_destroy_range(key("k")..).await.expect("destroys");
    let mut txn = client.begin_optimistic().await.expect("begins");
    assert_eq!(txn.get(key("z")).await.expect("gets"), None);
    txn.rollback().await.expect("ends");
}
