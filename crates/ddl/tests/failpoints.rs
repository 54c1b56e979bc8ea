//! An error injected before and after each write of a job's state, at the first, second, … time it is passed.

mod common;

use std::time::Duration;

use common::*;
use ilmenite_ddl::*;
use tempfile::TempDir;

const POINTS: [&str; 5] = [
    "ddl_before_submit",
    "ddl_before_step",
    "ddl_after_step",
    "ddl_before_wait",
    "ddl_before_finish",
];

/// One test, since failpoints are the process's.
/// Against F74 of docs/faults.md.
#[tokio::test(flavor = "multi_thread")]
async fn every_step_survives_an_error_before_and_after_it() {
    let dir = TempDir::new().unwrap();
    let node = Node::open(dir.path()).await;
    node.create(plain("t")).await;
    node.insert(
        "t",
        &(0..300)
            .map(|i| row(i, Some(i / 2), &format!("{i}")))
            .collect::<Vec<_>>(),
    )
    .await;
    for point in POINTS {
        for passed in 0..9 {
            fail::cfg(point, &format!("{passed}*off->2*return->off")).unwrap();
            node.alter("t", vec![add(unique("u", &["b"])), add(key("k", &["a"]))])
                .await
                .unwrap();
            fail::cfg(point, &format!("{passed}*off->2*return->off")).unwrap();
            let error = node
                .alter("t", vec![add(unique("dup", &["a"]))])
                .await
                .unwrap_err();
            assert_eq!(error.code(), 1062, "{point} {passed}: {error}");
            fail::cfg(point, &format!("{passed}*off->1*return->off")).unwrap();
            node.check("t").await;
            node.alter("t", vec![drop_index("u"), drop_index("k")])
                .await
                .unwrap();
            fail::remove(point);
            assert!(node.table("t").indexes.is_empty());
            node.assert_nothing_left(dir.path()).await;
        }
    }

    // For ever: shown in the job's row while it lasts, given up within bounds, and rolled back once that is possible.
    fail::cfg("ddl_before_wait", "2*off->return").unwrap();
    let id = node
        .submit(alter("t", vec![add(key("k", &["a"]))]), JobSettings::default())
        .await;
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    let retry = loop {
        if let Some(retry) = node.ddl.job(id).await.unwrap().unwrap().retry {
            break retry;
        }
        assert!(tokio::time::Instant::now() < deadline, "no retry is shown");
        tokio::time::sleep(Duration::from_millis(1)).await;
    };
    assert!(retry.error.message.contains("ddl_before_wait"), "{retry:?}");
    while node.ddl.job_details(id).await.unwrap().unwrap().error.is_none() {
        assert!(
            tokio::time::Instant::now() < deadline,
            "the job is never given up"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    fail::remove("ddl_before_wait");
    let error = node.wait(id).await.unwrap_err();
    assert!(error.to_string().contains("ddl_before_wait"), "{error}");
    assert!(node.table("t").indexes.is_empty());
    node.assert_nothing_left(dir.path()).await;
    node.stop().await;
}
