use parking_lot::Mutex;
use std::time::Instant;

use tokio_util::sync::CancellationToken;

use super::*;

#[tokio::test]
async fn alone_and_free_it_is_immediate_and_writes_nothing() {
    let t = TestStore::new();
    let node = t.node("immediate").await;
    let (id, _) = create_table(&node, "t").await;
    let version = change_table(&node, id, "new").await;
    let from = now(&t.store).await;
    let began = Instant::now();
    node.wait_synced(1, version, &[id], &CancellationToken::new(), |b| panic!("{b:?}"))
        .await
        .unwrap();
    println!("wait alone: {:?}", began.elapsed());
    assert_eq!(node.view().table_by_id(id).unwrap().comment, "new");
    for range in [keys::waits(), keys::all_reports()] {
        let mut scan = t.store.scan(range, Timestamp::MAX, Default::default()).unwrap();
        assert!(!scan.next_batch(&mut Default::default()).await.unwrap());
    }
    assert!(t.store.versions(&keys::wait(1), from).await.unwrap().is_empty());
}

/// Calls nodes of this process by their status addresses.
#[derive(Default)]
struct Calls {
    nodes: Mutex<Vec<Arc<Catalog>>>,
}

#[async_trait::async_trait]
impl WakeTransport for Calls {
    async fn wake(&self, status_address: &str, topics: u8) -> std::result::Result<(), String> {
        let nodes = self.nodes.lock().clone();
        let called = nodes
            .iter()
            .find(|n| n.node_info().status_address == status_address);
        called.ok_or("nobody there")?.woken(topics);
        Ok(())
    }
}

#[tokio::test]
async fn nodes_are_woken_and_need_not_poll() {
    let t = TestStore::new();
    let calls = Arc::new(Calls::default());
    for name in ["woken-a", "woken-b", "woken-c"] {
        let node = Catalog::open(CatalogConfig {
            poll: Some(Duration::from_secs(60)),
            status_address: format!("{name}:1"),
            ..CatalogConfig::new(t.store.clone())
        })
        .await
        .unwrap();
        calls.nodes.lock().push(node.clone());
        node.set_wake_transport(calls.clone());
        // As once the ports are bound: the others learn of it.
        node.set_addresses(name, &format!("{name}:2"));
    }
    let nodes = calls.nodes.lock().clone();
    let everyone = |n: &Arc<Catalog>| n.peer_addresses().iter().filter(|a| a.ends_with(":2")).count() == 2;
    eventually("all know all", async || nodes.iter().all(everyone)).await;
    let owner = nodes.iter().find(|n| n.owner_term().is_some()).unwrap();
    let follower = nodes.iter().find(|n| n.owner_term().is_none()).unwrap();
    let (id, _) = create_table(owner, "t").await;
    let mut txn = follower.pins(1, "app");
    eventually("the table is known", async || {
        follower.refresh().await.unwrap();
        follower.view().table_by_id(id).is_some()
    })
    .await;
    txn.pin(&follower.view(), id);
    let version = change_table(owner, id, "new").await;
    let began = Instant::now();
    let waiting = tokio::spawn({
        let owner = owner.clone();
        async move {
            owner
                .wait_synced(9, version, &[id], &CancellationToken::new(), |_| {})
                .await
        }
    });
    eventually("the follower's transaction is named", async || {
        owner.blockers().iter().any(|(_, b)| b.connection_id == 1)
    })
    .await;
    drop(txn);
    waiting.await.unwrap().unwrap();
    // Polling would have taken a minute.
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    assert!(nodes.iter().all(|n| n.view().version() >= version));
}

#[tokio::test]
async fn waits_for_an_old_transaction_and_says_for_whom() {
    let t = TestStore::new();
    let node = t.node("old-transaction").await;
    let (id, _) = create_table(&node, "Orders").await;
    let (other, _) = create_table(&node, "other").await;
    let mut txn = node.pins(42, "app");
    txn.set_statement("UPDATE orders SET c2 = 1".into());
    txn.pin(&node.view(), id);
    let mut bystander = node.pins(43, "app");
    bystander.set_statement("SELECT 1 FROM other".into());
    bystander.pin(&node.view(), other);

    let version = change_table(&node, id, "new").await;
    let seen = Arc::new(Mutex::new(Vec::new()));
    let waiting = tokio::spawn({
        let (node, seen) = (node.clone(), seen.clone());
        async move {
            let on_blocked = |b| seen.lock().push(b);
            node.wait_synced(9, version, &[id], &CancellationToken::new(), on_blocked)
                .await
        }
    });
    eventually("blockers are told", async || !seen.lock().is_empty()).await;
    assert!(!waiting.is_finished());
    let blockers = seen.lock()[0].clone();
    assert_eq!(blockers.len(), 1);
    let b = &blockers[0];
    assert_eq!((b.connection_id, &*b.user), (42, "app"));
    assert_eq!(
        (&*b.statement, &*b.table),
        ("UPDATE orders SET c2 = 1", "test.Orders")
    );
    assert_eq!((&*b.node, b.table_id), (node.node_id(), id));
    assert_eq!(node.blockers(), [(9, b.clone())]);

    // New transactions go on at once, with the new version, and are not waited for.
    let mut newer = node.pins(44, "app");
    newer.set_statement("SELECT".into());
    assert!(matches!(newer.pin(&node.view(), id), Pinned::As(t) if t.comment == "new"));
    let dropped = Instant::now();
    drop(txn);
    waiting.await.unwrap().unwrap();
    // Woken: sooner than it would have looked again by itself.
    assert!(
        dropped.elapsed() < Duration::from_millis(900),
        "{:?}",
        dropped.elapsed()
    );
    assert!(node.blockers().is_empty());
    // Told once of it, and once that it is gone.
    assert_eq!(seen.lock().iter().map(Vec::len).collect::<Vec<_>>(), [1, 0]);
}

#[tokio::test]
async fn the_wait_can_be_interrupted() {
    let t = TestStore::new();
    let node = t.node("interrupted").await;
    let (id, _) = create_table(&node, "t").await;
    let mut txn = node.pins(1, "app");
    txn.set_statement("x".into());
    txn.pin(&node.view(), id);
    let version = change_table(&node, id, "new").await;
    let cancel = CancellationToken::new();
    let tables = [id];
    let waiting = node.wait_synced(1, version, &tables, &cancel, |_| cancel.cancel());
    let outcome = tokio::time::timeout(Duration::from_secs(5), waiting)
        .await
        .unwrap();
    assert!(matches!(outcome, Err(Error::Cancelled)));
    assert!(node.blockers().is_empty());
}

#[tokio::test]
async fn a_version_that_is_not_there_is_an_error() {
    let t = TestStore::new();
    let node = t.node("not-there").await;
    let outcome = node
        .wait_synced(1, 999, &[], &CancellationToken::new(), |_| {})
        .await;
    assert!(matches!(outcome, Err(Error::Bug(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_node_loads_the_version_and_its_transactions_count() {
    let t = TestStore::new();
    let owner = t.node("two-owner").await;
    let (id, _) = create_table(&owner, "t").await;
    let other = t.node("two-other").await;
    assert!(owner.owner_term().is_some() && other.owner_term().is_none());
    let mut txn = other.pins(5, "far");
    txn.set_statement("DELETE FROM t".into());
    txn.pin(&other.view(), id);

    let version = change_table(&owner, id, "new").await;
    let mut changes = other.changed();
    let seen = Arc::new(Mutex::new(Vec::<Vec<Blocker>>::new()));
    let waiting = tokio::spawn({
        let (owner, seen) = (owner.clone(), seen.clone());
        async move {
            let on_blocked = |b| seen.lock().push(b);
            owner
                .wait_synced(3, version, &[id], &CancellationToken::new(), on_blocked)
                .await
        }
    });
    let far = |seen: &Vec<Vec<Blocker>>| seen.iter().flatten().find(|b| b.connection_id == 5).cloned();
    eventually("the other node's transaction is named", async || {
        far(&seen.lock()).is_some()
    })
    .await;
    changes.wait_for(|v| *v == version).await.unwrap();
    let blocker = far(&seen.lock()).unwrap();
    assert_eq!((&*blocker.node, &*blocker.user), (other.node_id(), "far"));
    assert_eq!(
        (&*blocker.statement, &*blocker.table),
        ("DELETE FROM t", "test.t")
    );
    assert!(!waiting.is_finished());
    drop(txn);
    waiting.await.unwrap().unwrap();
    assert_eq!(other.view().table_by_id(id).unwrap().comment, "new");

    // Question and answers are gone from the store.
    let ts = t.store.timestamp().await.unwrap();
    for range in [keys::waits(), keys::all_reports()] {
        let mut scan = t.store.scan(range, ts, Default::default()).unwrap();
        assert!(!scan.next_batch(&mut Default::default()).await.unwrap());
    }
}

/// Against F44 of docs/faults.md.
#[tokio::test(flavor = "multi_thread")]
async fn a_wait_that_was_given_up_leaves_no_question_and_can_be_waited_again() {
    let t = TestStore::new();
    let owner = t.node("gives-up").await;
    let (id, _) = create_table(&owner, "t").await;
    let other = t.node("gives-up-other").await;
    let mut txn = other.pins(5, "far");
    txn.pin(&other.view(), id);
    let version = change_table(&owner, id, "new").await;
    for round in 0..3 {
        let cancel = CancellationToken::new();
        let seen = Arc::new(Mutex::new(false));
        let waiting = tokio::spawn({
            let (owner, seen, cancel) = (owner.clone(), seen.clone(), cancel.clone());
            async move {
                let on_blocked = |b: Vec<Blocker>| *seen.lock() |= b.iter().any(|b| b.connection_id == 5);
                owner.wait_synced(3, version, &[id], &cancel, on_blocked).await
            }
        });
        // The very same question, whether its forerunner has been cleared away by now or not.
        eventually("the other node has answered", async || *seen.lock()).await;
        if round == 2 {
            txn.clear();
            waiting.await.unwrap().unwrap();
            break;
        }
        cancel.cancel();
        assert!(matches!(waiting.await.unwrap(), Err(Error::Cancelled)));
        if round == 1 {
            break_even(&t).await;
        }
    }
    break_even(&t).await;
}

/// No question and no answer is left in the store, or will be soon.
async fn break_even(t: &TestStore) {
    eventually("questions and answers are gone", async || {
        let ts = t.store.timestamp().await.unwrap();
        for range in [keys::waits(), keys::all_reports()] {
            let mut scan = t.store.scan(range, ts, Default::default()).unwrap();
            if scan.next_batch(&mut Default::default()).await.unwrap() {
                return false;
            }
        }
        true
    })
    .await;
}

/// Against F08 of docs/faults.md.
#[tokio::test(flavor = "multi_thread")]
async fn a_dead_nodes_lease_is_waited_out() {
    let t = TestStore::new();
    let lease = Duration::from_millis(1500);
    let owner = t.node_with("outlives", Duration::from_secs(30)).await;
    let (id, _) = create_table(&owner, "t").await;
    let other = t.node_with("dies", lease).await;
    let end = other.lease_end();
    // As in a crash: without leaving.
    drop(other);
    let version = change_table(&owner, id, "new").await;
    let told = Arc::new(Mutex::new(Vec::new()));
    owner
        .wait_synced(3, version, &[id], &CancellationToken::new(), |b| {
            told.lock().push(b)
        })
        .await
        .unwrap();
    // The last renewal may have come after `end` was read.
    assert!(now(&t.store).await > end);
    let first = told.lock()[0][0].clone();
    assert!(
        first.connection_id == 0 && first.statement.contains("dies"),
        "{first:?}"
    );
    assert_eq!(owner.live_nodes().await.unwrap().len(), 1);
}
