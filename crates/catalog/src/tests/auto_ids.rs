use std::collections::BTreeSet;

use super::*;
use crate::auto_id::AUTO_ID_BATCH;

#[tokio::test(flavor = "multi_thread")]
async fn never_the_same_id_twice() {
    let t = TestStore::new();
    let nodes = [t.node("ids-a").await, t.node("ids-b").await];
    let (id, _) = create_table(&nodes[0], "t").await;
    nodes[1].refresh().await.unwrap();
    let mut tasks = Vec::new();
    for n in 0..8u64 {
        let node = nodes[n as usize % 2].clone();
        tasks.push(tokio::spawn(async move {
            let mut got = Vec::new();
            for i in 0..300 {
                let count = 1 + (n * 7 + i) % 40;
                let first = node.auto_id(id).alloc(count, 1, 1).await.unwrap();
                got.extend(first..first + count);
            }
            got
        }));
    }
    let mut all = BTreeSet::new();
    let mut count = 0;
    for task in tasks {
        let got = task.await.unwrap();
        count += got.len();
        all.extend(got);
    }
    assert_eq!(all.len(), count);
    assert_eq!(all.first(), Some(&1));
}

#[tokio::test]
async fn and_not_after_a_restart_either() {
    let t = TestStore::new();
    let node = t.node("restart-a").await;
    let (id, _) = create_table(&node, "t").await;
    assert_eq!(node.auto_id(id).alloc(10, 1, 1).await.unwrap(), 1);
    assert_eq!(node.auto_id(id).alloc(1, 1, 1).await.unwrap(), 11);
    drop(node);
    let TestStore { store, dir } = t;
    store.close().await.unwrap();
    // Background tasks let go of it at their next step.
    eventually("the store is free", async || Arc::strong_count(&store) == 1).await;
    drop(store);
    let store = Arc::new(EmbeddedStore::open(dir.path().join("db"), options()).unwrap());
    let t = TestStore { store, dir };
    let node = t.node("restart-b").await;
    assert_eq!(node.auto_id(id).alloc(1, 1, 1).await.unwrap(), AUTO_ID_BATCH + 1);
}

#[tokio::test]
async fn increments_offsets_and_large_requests() {
    let t = TestStore::new();
    let node = t.node("increments").await;
    let (id, _) = create_table(&node, "t").await;
    let ids = node.auto_id(id);
    assert_eq!(ids.alloc(3, 10, 5).await.unwrap(), 5); // 5, 15, 25
    assert_eq!(ids.alloc(1, 10, 5).await.unwrap(), 35);
    assert_eq!(ids.alloc(1, 1, 1).await.unwrap(), 36);
    // More than a batch, in one piece, right behind.
    assert_eq!(ids.alloc(3 * AUTO_ID_BATCH, 1, 1).await.unwrap(), 37);
    assert_eq!(ids.alloc(1, 1, 1).await.unwrap(), 37 + 3 * AUTO_ID_BATCH);
    assert_eq!(ids.alloc(0, 0, 0).await.unwrap(), 38 + 3 * AUTO_ID_BATCH);
}

#[tokio::test]
async fn ids_chosen_by_others() {
    let t = TestStore::new();
    let nodes = [t.node("chosen-a").await, t.node("chosen-b").await];
    let (id, _) = create_table(&nodes[0], "t").await;
    nodes[1].refresh().await.unwrap();
    let (a, b) = (nodes[0].auto_id(id), nodes[1].auto_id(id));
    a.rebase(0).await.unwrap();
    assert_eq!(a.alloc(1, 1, 1).await.unwrap(), 1);
    a.rebase(100).await.unwrap();
    assert_eq!(a.alloc(1, 1, 1).await.unwrap(), 101);
    a.rebase(50).await.unwrap();
    assert_eq!(a.alloc(1, 1, 1).await.unwrap(), 102);
    a.rebase(1_000_000).await.unwrap();
    assert_eq!(a.alloc(1, 1, 1).await.unwrap(), 1_000_001);
    // The other node, too, is beyond what it is told, and beyond what the first one took.
    b.rebase(1_000_000).await.unwrap();
    assert!(b.alloc(1, 1, 1).await.unwrap() > 1_000_001 + 100);
    a.rebase(i64::MAX as u64 - 2).await.unwrap();
    assert_eq!(a.alloc(1, 1, 1).await.unwrap(), i64::MAX as u64 - 1);
    assert_eq!(a.alloc(1, 1, 1).await.unwrap(), i64::MAX as u64);
    let error = a.alloc(1, 1, 1).await.unwrap_err();
    assert!(matches!(error, Error::Exhausted));
    assert!(matches!(b.rebase(7).await, Ok(())));
}

#[tokio::test]
async fn a_table_that_moves_takes_its_counter_along() {
    let t = TestStore::new();
    let node = t.node("moves").await;
    let (id, _) = create_table(&node, "t").await;
    let (from, to) = (
        node.view().schema("test").unwrap().id,
        node.view().schema("mysql").unwrap().id,
    );
    let first = node.auto_id(id).alloc(1, 1, 1).await.unwrap();
    let mut txn = begin(&t.store).await;
    let mut meta = Meta::new(&mut txn);
    let info = meta.read().table(from, id).await.unwrap().unwrap();
    move_table(&mut meta, from, to, &info).await;
    let diff = SchemaDiff {
        old_schema_id: from,
        ..of_table(14, to, id)
    };
    meta.bump_schema_version(diff).await.unwrap();
    txn.commit(CommitOptions::default()).await.unwrap();
    // The node does not know yet; more than it has left, so it must ask the store.
    let next = node.auto_id(id).alloc(AUTO_ID_BATCH, 1, 1).await.unwrap();
    assert!(next > first);
    let mut txn = begin(&t.store).await;
    let meta = Meta::new(&mut txn);
    assert_eq!(meta.auto_id(from, id).await.unwrap(), 0);
    assert!(meta.auto_id(to, id).await.unwrap() as u64 >= next + AUTO_ID_BATCH - 1);
}

#[tokio::test]
async fn tables_that_are_gone_leave_nothing() {
    let t = TestStore::new();
    let node = t.node("gone").await;
    let schema = node.view().schema("test").unwrap().id;
    for round in 0..5 {
        let (id, _) = create_table(&node, &format!("t{round}")).await;
        node.auto_id(id).alloc(1, 1, 1).await.unwrap();
        assert_eq!(node.auto_ids.len(), 1);
        let mut txn = begin(&t.store).await;
        let mut meta = Meta::new(&mut txn);
        meta.delete_table(schema, id).unwrap();
        meta.bump_schema_version(of_table(4, schema, id)).await.unwrap();
        txn.commit(CommitOptions::default()).await.unwrap();
        node.refresh().await.unwrap();
        assert_eq!(node.auto_ids.len(), 0);
        let error = node.auto_id(id).alloc(1, 1, 1).await.unwrap_err();
        assert!(matches!(error, Error::NotFound(_)));
        let mut txn = begin(&t.store).await;
        let meta = Meta::new(&mut txn);
        assert_eq!(meta.auto_id(schema, id).await.unwrap(), 0);
    }
}

#[tokio::test]
async fn an_increment_of_the_counter_by_a_statement_is_seen() {
    let t = TestStore::new();
    let nodes = [t.node("rebased-a").await, t.node("rebased-b").await];
    let (id, _) = create_table(&nodes[0], "t").await;
    nodes[1].refresh().await.unwrap();
    assert_eq!(nodes[1].alloc_auto_ids(id, 1, 1, 1).await.unwrap(), 1);
    // ALTER TABLE … AUTO_INCREMENT = 100000, on whichever node.
    let schema = nodes[0].view().schema_of(id).unwrap().id;
    let mut txn = begin(&t.store).await;
    let mut meta = Meta::new(&mut txn);
    meta.put_auto_id(schema, id, 99_999).unwrap();
    meta.bump_schema_version(of_table(13, schema, id)).await.unwrap();
    txn.commit(CommitOptions::default()).await.unwrap();
    for node in &nodes {
        node.refresh().await.unwrap();
    }
    assert_eq!(nodes[1].alloc_auto_ids(id, 1, 1, 1).await.unwrap(), 100_000);
    assert!(nodes[0].alloc_auto_ids(id, 1, 1, 1).await.unwrap() > 100_000);
    nodes[0].rebase_auto_id(id, -5).await.unwrap();
    nodes[0].rebase_auto_id(id, 500_000).await.unwrap();
    assert_eq!(nodes[0].alloc_auto_ids(id, 1, 1, 1).await.unwrap(), 500_001);
}
