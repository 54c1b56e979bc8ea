//! Writes of a running subtask's row that fail. Failpoints are the process's: a test binary of its own.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use ilmenite_base::ErrorClass;
use ilmenite_catalog::{Catalog, CatalogConfig};
use ilmenite_codec::key::partition_prefix_len;
use ilmenite_embedded::{EmbeddedOptions, EmbeddedStore};
use ilmenite_store::{CommitOptions, StoreRef, Transaction, TxnMode};
use ilmenite_task::*;
use serde_json::{Value, json};

/// Counts for as long as it may, and keeps what it has counted.
struct Counts;

#[async_trait]
impl TaskKind for Counts {
    fn name(&self) -> &'static str {
        "counts"
    }

    fn steps(&self) -> &'static [&'static str] {
        &["count"]
    }

    async fn gather(&self, _: &Task, _: usize) -> Result<Value, TaskError> {
        Ok(Value::Null)
    }

    fn plan(&self, _: &PlanInput<'_>) -> Result<Plan, TaskError> {
        Ok(Plan {
            subtasks: vec![Value::Null],
            reason: "one".into(),
        })
    }

    async fn run(&self, context: SubtaskContext) -> Result<Value, TaskError> {
        let mut rows = 0;
        while !context.cancel.is_cancelled() {
            rows += 1;
            context.progress(Progress {
                rows,
                ..Default::default()
            });
            // One that could not be kept is no reason to stop: the next one is.
            drop(context.report.checkpoint(json!(rows)).await);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Err(TaskError::new(ErrorClass::Cancelled, "told to stop"))
    }

    async fn clean_up(&self, _: &Task) -> Result<(), TaskError> {
        Ok(())
    }
}

/// P09: after one write of progress, or of a checkpoint, that failed, the next ones go through.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn progress_that_could_not_be_written_is_written_later() {
    let dir = tempfile::tempdir().unwrap();
    let options = EmbeddedOptions {
        partition: partition_prefix_len,
        ..Default::default()
    };
    let store: StoreRef = Arc::new(EmbeddedStore::open(dir.path(), options).unwrap());
    let catalog = Catalog::open(CatalogConfig::new(store.clone())).await.unwrap();
    let tasks = Tasks::start(
        TasksConfig::new(store.clone(), catalog.clone(), 1),
        vec![Arc::new(Counts)],
    );
    let mut txn = Transaction::begin(&store, TxnMode::Optimistic).await.unwrap();
    let spec = TaskSpec {
        key: "counting".into(),
        kind: "counts".into(),
        meta: Value::Null,
        concurrency: 0,
        service_scope: String::new(),
        only_at: None,
    };
    let id = tasks.put(&mut txn, spec).await.unwrap();
    txn.commit(CommitOptions::default()).await.unwrap();
    tasks.wake();

    let kept = async || {
        let subtasks = tasks.subtasks(id).await.unwrap();
        let subtask = subtasks.first()?;
        assert_eq!(subtask.attempt, 1, "it was begun anew");
        Some((subtask.progress.rows, subtask.checkpoint.as_ref()?.as_u64()?))
    };
    let until = async |what: &str, at_least: u64| {
        let began = Instant::now();
        loop {
            match kept().await {
                Some((rows, checkpoint)) if rows >= at_least && checkpoint >= at_least => return checkpoint,
                other => assert!(began.elapsed() < Duration::from_secs(20), "{what}: {other:?}"),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let mut before = until("before", 2).await;
    for point in ["task::write::before", "task::write::after"] {
        fail::cfg(point, "25*return->off").unwrap();
        // Longer than the failures last: progress is written once a second, checkpoints ten times.
        before = until(point, before + 40).await;
        fail::remove(point);
    }
    let why = TaskError::new(ErrorClass::Cancelled, "enough");
    let term = catalog.owner_term().unwrap();
    tasks.cancel(id, why, &term).await.unwrap();
}
