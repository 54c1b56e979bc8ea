//! Steps that fail, or meet a command, at a moment that a test has to bring about. Errors at every point: see the matrix.

mod common;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::*;
use ilmenite_ddl::*;
use tempfile::TempDir;

/// Failpoints are the process's.
static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// Shown in the job's row while it lasts, given up within bounds, and rolled back once that is possible.
#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_fails_for_good_is_shown_and_given_up() {
    let _turn = TURN.lock().await;
    let dir = TempDir::new().unwrap();
    let node = Node::open(dir.path()).await;
    node.create(plain("t")).await;
    node.insert("t", &[row(1, Some(1), "x"), row(2, Some(2), "y")])
        .await;
    fail::cfg("ddl::wait::before", "2*off->return").unwrap();
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
    assert!(retry.error.message.contains("ddl::wait::before"), "{retry:?}");
    while node.ddl.job_details(id).await.unwrap().unwrap().error.is_none() {
        assert!(
            tokio::time::Instant::now() < deadline,
            "the job is never given up"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    fail::remove("ddl::wait::before");
    let error = node.wait(id).await.unwrap_err();
    assert!(error.to_string().contains("ddl::wait::before"), "{error}");
    assert!(node.table("t").indexes.is_empty());
    node.assert_nothing_left(dir.path()).await;
    node.stop().await;
}

/// A pause has outlasted the snapshot, and ADMIN RESUME comes while that is being given up: the command counts.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_job_resumed_while_its_snapshot_is_given_up_goes_on() {
    let _turn = TURN.lock().await;
    let dir = TempDir::new().unwrap();
    let options = Options {
        pause_hold: Duration::from_millis(1500),
        ..Default::default()
    };
    let node = Node::open_with(dir.path(), options).await;
    node.create(plain("t")).await;
    node.insert("t", &(0..2000).map(|i| row(i, Some(i), "x")).collect::<Vec<_>>())
        .await;
    let slow = JobSettings {
        max_write_speed_bytes: 1024,
        ..Default::default()
    };
    let id = node.submit(alter("t", vec![add(key("k", &["a"]))]), slow).await;
    while node.ddl.subtasks().await.unwrap().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(node.ddl.pause(&[id]).await[0].1.is_ok());
    while node.ddl.job_details(id).await.unwrap().unwrap().state != JobState::Paused {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let change = JobChange {
        max_write_speed_bytes: Some(0),
        ..Default::default()
    };
    node.ddl.alter(id, change).await.unwrap();
    // The next step is the one that gives the snapshot up.
    let (ddl, runtime) = (node.ddl.clone(), tokio::runtime::Handle::current());
    let first = AtomicBool::new(true);
    let resume = move || {
        if first.swap(false, Ordering::SeqCst) {
            let resumed = tokio::task::block_in_place(|| runtime.block_on(ddl.resume(&[id])));
            assert!(resumed[0].1.is_ok(), "{resumed:?}");
        }
    };
    fail::cfg_callback("ddl::step::before", resume).unwrap();
    node.wait(id).await.unwrap();
    fail::remove("ddl::step::before");
    let job = node.ddl.job_details(id).await.unwrap().unwrap();
    assert_eq!(job.reorg.round, 0, "nothing was built anew");
    node.check("t").await;
    node.assert_nothing_left(dir.path()).await;
    node.stop().await;
}

/// The command was written, and the answer to that was lost: it took effect, and says so.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_command_of_unknown_outcome_that_took_effect_succeeds() {
    let _turn = TURN.lock().await;
    let dir = TempDir::new().unwrap();
    let node = Node::open(dir.path()).await;
    node.create(plain("t")).await;
    node.insert("t", &(0..2000).map(|i| row(i, Some(i), "x")).collect::<Vec<_>>())
        .await;
    let slow = JobSettings {
        max_write_speed_bytes: 1,
        ..Default::default()
    };
    let id = node.submit(alter("t", vec![add(key("k", &["a"]))]), slow).await;
    while node.ddl.subtasks().await.unwrap().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let state = async || node.ddl.job_details(id).await.unwrap().unwrap().state;
    // Applied, and reported as unknown: every commit for as long as the command takes.
    fail::cfg("embedded::commit::after", "return").unwrap();
    let paused = node.ddl.pause(&[id]).await.remove(0).1;
    fail::remove("embedded::commit::after");
    paused.unwrap();
    while state().await != JobState::Paused {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    fail::cfg("embedded::commit::after", "return").unwrap();
    let resumed = node.ddl.resume(&[id]).await.remove(0).1;
    fail::remove("embedded::commit::after");
    resumed.unwrap();
    while state().await != JobState::Running {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    fail::cfg("embedded::commit::after", "return").unwrap();
    let cancelled = node.ddl.cancel(&[id]).await.remove(0).1;
    fail::remove("embedded::commit::after");
    cancelled.unwrap();
    assert!(matches!(node.wait(id).await, Err(DdlError::JobCancelled)));
    node.assert_nothing_left(dir.path()).await;
    node.stop().await;
}
