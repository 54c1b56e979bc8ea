use std::collections::BTreeSet;

use ilmenite_store::{Check, Error as StoreError};
use parking_lot::Mutex;

use super::*;

/// Nodes of tests that run just now, at the failpoints they cannot get past.
static CUT_OFF: Mutex<BTreeSet<(&str, &str)>> = Mutex::new(BTreeSet::new());

/// Keeps a node from getting past a failpoint, until dropped.
struct CutOff {
    point: &'static str,
    node: &'static str,
}

impl CutOff {
    /// From renewing its lease.
    fn new(node: &'static str) -> Self {
        CutOff::at("catalog::renew::before", node)
    }

    fn at(point: &'static str, node: &'static str) -> Self {
        CutOff::change(point, |cut_off| cut_off.insert((point, node)));
        CutOff { point, node }
    }

    fn change(point: &str, change: impl FnOnce(&mut BTreeSet<(&'static str, &'static str)>) -> bool) {
        let mut cut_off = CUT_OFF.lock();
        assert!(change(&mut cut_off), "one test, one name");
        let here = cut_off.iter().filter(|(at, _)| *at == point);
        let nodes: Vec<&str> = here.map(|(_, node)| *node).collect();
        fail::cfg(point, &format!("return({})", nodes.join(" "))).unwrap();
    }
}

impl Drop for CutOff {
    fn drop(&mut self) {
        CutOff::change(self.point, |cut_off| cut_off.remove(&(self.point, self.node)));
    }
}

async fn becomes_owner(node: &Catalog) -> OwnerTerm {
    let mut changed = node.owner_changed();
    loop {
        if let Some(term) = node.owner_term() {
            return term;
        }
        changed.notified().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_renews_its_lease() {
    let t = TestStore::new();
    let node = t.node_with("renews", Duration::from_millis(900)).await;
    let first = node.lease_end();
    eventually("the lease is renewed", async || node.lease_end() > first).await;
    assert!(node.is_live());
    let nodes = node.live_nodes().await.unwrap();
    assert_eq!(nodes.len(), 1);
    assert_eq!(
        (&*nodes[0].id, &*nodes[0].address, nodes[0].slots),
        (node.node_id(), "renews", 2)
    );
    node.set_service_scope("background");
    eventually("the scope shows", async || {
        node.live_nodes().await.unwrap()[0].service_scope == "background"
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_lease_a_node_commits_nothing() {
    let t = TestStore::new();
    let keeper = t.node_with("lost-keeper", Duration::from_secs(30)).await;
    let node = t.node_with("lost", Duration::from_millis(600)).await;
    let (id, _) = create_table(&keeper, "t").await;
    node.refresh().await.unwrap();
    let mut pins = node.pins(1, "app");
    pins.pin(&node.view(), id);
    let options = pins.commit_options().unwrap();
    let mut late = begin(&t.store).await;
    late.put("i/test/late", "1", Check::Unchanged).unwrap();

    let cut = CutOff::new("lost");
    let ended = node.lease_end();
    eventually("store time passes the lease", async || {
        t.store.timestamp().await.unwrap() > ended.plus(Duration::from_millis(700))
    })
    .await;
    // Whatever the node believes: the store refuses what was begun under the old lease.
    let refused = late.commit(options).await.unwrap_err();
    assert!(matches!(refused, StoreError::CommitTooLate { .. }), "{refused}");
    drop(cut);

    eventually("the node joins again", async || node.is_live()).await;
    assert!(node.commit_options().is_ok());
    // The old transaction cannot go on under the new lease: others went on without it.
    assert!(matches!(pins.commit_options(), Err(Error::LeaseLost)));
    assert!(pins.lease_was_lost());
    // Nor does another table that it touches now make it good again.
    pins.pin(&node.view(), id);
    assert!(pins.lease_was_lost());
    pins.clear();
    pins.pin(&node.view(), id);
    assert!(pins.commit_options().is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_that_stayed_owner_keeps_its_transactions() {
    let t = TestStore::new();
    let node = t.node_with("pause", Duration::from_millis(600)).await;
    let (id, _) = create_table(&node, "t").await;
    let term = node.owner_term().unwrap();
    let mut pins = node.pins(1, "app");
    pins.pin(&node.view(), id);
    let mut changed = node.owner_changed();
    let cut = CutOff::new("pause");
    // It steps back while it is cut off …
    while node.owner_term().is_some() {
        changed.notified().await;
    }
    drop(cut);
    // … and goes on with the same term, since nobody else began one.
    let again = becomes_owner(&node).await;
    assert_eq!(again, term);
    assert!(pins.commit_options().is_ok());
}

/// Against F09, F45 of docs/faults.md.
#[tokio::test(flavor = "multi_thread")]
async fn a_late_owners_commit_is_refused() {
    let t = TestStore::new();
    let old = t.node_with("old-owner", Duration::from_millis(600)).await;
    let term = old.owner_term().unwrap();
    assert_eq!(term.epoch, 1);
    let new = t.node_with("new-owner", Duration::from_secs(30)).await;
    assert!(new.owner_term().is_none());
    assert_eq!(new.owner().await.unwrap().unwrap().node_id, old.node_id());

    let cut = CutOff::new("old-owner");
    let follower = becomes_owner(&new).await;
    assert_eq!(follower.epoch, 2);
    assert_ne!(follower.guard(), term.guard());
    drop(cut);
    eventually("the old owner is back", async || old.is_live()).await;
    assert!(old.owner_term().is_none());

    // A step of the old term, made with a lease that holds: the term itself stops it.
    let mut txn = begin(&t.store).await;
    let mut meta = Meta::new(&mut txn);
    meta.bump_schema_version(of_schema(1, 1)).await.unwrap();
    let guard = term.guard();
    txn.require(guard.key, guard.value);
    let refused = txn.commit(old.commit_options().unwrap()).await;
    assert!(matches!(refused, Err(StoreError::PreconditionFailed { .. })));
    let mut txn = begin(&t.store).await;
    let mut meta = Meta::new(&mut txn);
    let version = meta.bump_schema_version(of_schema(1, 1)).await.unwrap();
    let guard = follower.guard();
    txn.require(guard.key, guard.value);
    txn.commit(new.commit_options().unwrap()).await.unwrap();
    assert_eq!(old.refreshed().await.unwrap().version(), version);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_that_closes_makes_room_at_once() {
    let t = TestStore::new();
    let first = t.node_with("closes", Duration::from_secs(600)).await;
    let second = t.node_with("follows", Duration::from_secs(600)).await;
    first.shutdown().await;
    assert!(!first.is_live() && first.commit_options().is_err());
    let term = tokio::time::timeout(Duration::from_secs(20), becomes_owner(&second))
        .await
        .unwrap();
    assert_eq!(term.epoch, 2);
    assert_eq!(second.live_nodes().await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_campaign_that_fails_is_made_again() {
    let t = TestStore::new();
    let cut = CutOff::at("catalog::campaign::before", "campaigns");
    let node = t.node_with("campaigns", Duration::from_secs(3)).await;
    assert!(node.owner_term().is_none());
    drop(cut);
    becomes_owner(&node).await;
}

#[tokio::test]
async fn nodes_of_an_earlier_process_are_dead() {
    let t = TestStore::new();
    let node = t.node_with("earlier", Duration::from_secs(600)).await;
    // Its row, as another process would have left it, with a lease that runs for long.
    let ts = t.store.timestamp().await.unwrap();
    let row = t
        .store
        .get(&keys::node(node.node_id()), ts)
        .await
        .unwrap()
        .unwrap();
    let mut row: serde_json::Value = serde_json::from_slice(&row).unwrap();
    row["process"] = "another".into();
    drop(node);
    let mut txn = begin(&t.store).await;
    let id = row["id"].as_str().unwrap().to_owned();
    txn.put(keys::node(&id), row.to_string(), Check::None).unwrap();
    txn.commit(CommitOptions::default()).await.unwrap();

    // Nobody else can have this store open: the node is gone, and so is its term as owner.
    let next = t.node("next-process").await;
    let live = next.live_nodes().await.unwrap();
    assert_eq!(live.iter().map(|n| &*n.id).collect::<Vec<_>>(), [next.node_id()]);
    assert_eq!(next.owner_term().unwrap().epoch, 2);
}
