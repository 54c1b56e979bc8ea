//! Object stores that fail, nodes that stop in the middle: every job ends, in an index equal to its table or with
//! nothing left of it.

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::*;
use ilmenite_ddl::*;
use ilmenite_sort::testing::{Fault, Faults, Rule};
use ilmenite_sort::{Op as StorageOp, StorageErrorKind};
use tempfile::TempDir;

fn cloud(dir: &TempDir) -> JobSettings {
    let bucket = dir.path().join("bucket");
    std::fs::create_dir_all(&bucket).unwrap();
    JobSettings {
        cloud_storage_uri: format!("file://{}", bucket.display()),
        ..Default::default()
    }
}

/// Little memory, so that runs are written, several of them.
fn small(faults: &Faults) -> Options {
    let faults = faults.clone();
    Options {
        memory_bytes: 12 << 20,
        open_storage: Some(Arc::new(move |at: StorageAt<'_>| Ok(faults.wrap(&at.open()?)))),
        ..Default::default()
    }
}

/// Enough rows that an index does not fit in a slot's memory.
async fn fill(node: &Node) {
    node.create(plain("t")).await;
    for base in (0..60_000).step_by(5_000) {
        let rows: Vec<_> = (base..base + 5_000)
            .map(|i| row(i, Some(i), &format!("{:05}", (i * 7919) % 60_000)))
            .collect();
        node.insert("t", &rows).await;
    }
}

/// Waits until the job has paused itself, and returns why.
async fn pauses(node: &Node, id: JobId) -> String {
    loop {
        let job = node.ddl.job_details(id).await.unwrap().unwrap();
        assert!(!job.state.is_finished(), "{:?}", job.error);
        if job.state == JobState::Paused {
            return job.pause_reason;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Against F13, F34, F65 of docs/faults.md.
#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_the_object_store_passes_or_ends_the_job() {
    let dir = TempDir::new().unwrap();
    let faults = Faults::new();
    let node = Node::open_with(dir.path(), small(&faults)).await;
    fill(&node).await;
    let actions = || vec![add(key("k", &["b", "a"])), add(unique("u", &["b"]))];

    // A short outage is not noticed but in the retries.
    faults.add(Rule::outage(3));
    node.run_with(alter("t", actions()), cloud(&dir)).await.unwrap();
    let requests = faults.requests();
    assert!(
        requests.iter().any(|(op, _)| *op != StorageOp::Delete),
        "object storage was not used: {requests:?}"
    );
    node.check("t").await;
    node.assert_nothing_left(dir.path()).await;
    node.alter("t", vec![drop_index("k"), drop_index("u")])
        .await
        .unwrap();

    // A store that refuses writes for good: a clear error, and nothing left.
    faults.clear();
    faults.add(Rule::always(
        StorageOp::Put,
        Fault::Fail(StorageErrorKind::Permission),
    ));
    faults.add(Rule::always(
        StorageOp::PutPart,
        Fault::Fail(StorageErrorKind::Permission),
    ));
    let id = node.submit(alter("t", actions()), cloud(&dir)).await;
    let error = node.wait(id).await.unwrap_err();
    assert!(error.to_string().contains("object storage"), "{error}");
    assert_eq!(node.ddl.job(id).await.unwrap().unwrap().state, "rollback done");
    faults.clear();
    assert!(node.table("t").indexes.is_empty());
    node.assert_nothing_left(dir.path()).await;

    // Out of space: the job waits, paused, with the reason, and goes on when told to.
    faults.add(Rule::disk_full_after(StorageOp::Put, 0));
    faults.add(Rule::disk_full_after(StorageOp::PutPart, 0));
    let id = node.submit(alter("t", actions()), cloud(&dir)).await;
    let reason = pauses(&node, id).await;
    assert!(reason.contains("object storage"), "{reason}");
    faults.clear();
    assert!(node.ddl.resume(&[id]).await[0].1.is_ok());
    node.wait(id).await.unwrap();
    node.check("t").await;
    node.assert_nothing_left(dir.path()).await;
    node.stop().await;
}

/// A lease that could not be renewed for want of space would leave nobody to say why the build stands still.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_pauses_a_build_and_is_named() {
    let dir = TempDir::new().unwrap();
    let node = Node::open(dir.path()).await;
    node.create(plain("t")).await;
    let rows: Vec<_> = (0..500).map(|i| row(i, Some(i), &format!("{i}"))).collect();
    node.insert("t", &rows).await;
    node.stop().await;

    let fs = rustix::fs::statvfs(dir.path()).unwrap();
    let full = Options {
        reserve_disk_bytes: fs.f_bavail * fs.f_frsize * 2,
        ..Default::default()
    };
    let node = Node::open_with(dir.path(), full).await;
    let id = node
        .submit(alter("t", vec![add(key("k", &["a"]))]), JobSettings::default())
        .await;
    let reason = pauses(&node, id).await;
    assert!(reason.contains("out of space"), "{reason}");
    node.stop().await;

    let node = Node::open(dir.path()).await;
    assert!(node.ddl.resume(&[id]).await[0].1.is_ok());
    node.wait(id).await.unwrap();
    node.check("t").await;
    node.assert_nothing_left(dir.path()).await;
    node.stop().await;
}

/// Against F11, F32 of docs/faults.md.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_stopped_at_any_moment_goes_on_after_restart() {
    let dir = TempDir::new().unwrap();
    {
        let node = Node::open(dir.path()).await;
        node.create(plain("t")).await;
        node.insert(
            "t",
            &(0..8000)
                .map(|i| row(i, Some(i / 2), &format!("{i}")))
                .collect::<Vec<_>>(),
        )
        .await;
        node.stop().await;
    }
    for round in 0..24u64 {
        let actions = match round % 4 {
            0 => vec![add(key("k", &["a"])), add(unique("u", &["b"]))],
            // Ends in 1062: every value is there twice.
            1 => vec![add(unique("dup", &["a"])), add(key("k2", &["b"]))],
            2 => vec![
                drop_index("k"),
                AlterAction::AddColumn {
                    column: Box::new(int(&format!("c{round}"))),
                    position: None,
                    if_not_exists: false,
                },
            ],
            _ => vec![drop_index("u")],
        };
        let fails = round % 4 == 1;
        let node = Node::open(dir.path()).await;
        let id = node.submit(alter("t", actions), cloud(&dir)).await;
        tokio::time::sleep(Duration::from_millis(round * 3)).await;
        node.stop().await;
        let node = Node::open(dir.path()).await;
        match node.wait(id).await {
            Ok(_) => assert!(!fails, "round {round}"),
            Err(error) => assert!(fails && error.code() == 1062, "round {round}: {error}"),
        }
        // Where it sorts is in its row: no node has to remember it.
        let job = node.ddl.job_details(id).await.unwrap().unwrap();
        assert!(job.reorg.use_cloud_storage, "round {round}");
        node.check("t").await;
        node.assert_nothing_left(dir.path()).await;
        node.stop().await;
    }
}
