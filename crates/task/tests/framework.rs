//! The framework over a real embedded store: every outcome of planning and running, and that each one ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use ilmenite_base::ErrorClass;
use ilmenite_catalog::{Catalog, CatalogConfig, OwnerTerm};
use ilmenite_codec::key::partition_prefix_len;
use ilmenite_embedded::{EmbeddedOptions, EmbeddedStore};
use ilmenite_store::{CommitOptions, StoreRef, Transaction, TxnMode};
use ilmenite_task::*;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

type Run = dyn Fn(&SubtaskContext) -> Result<Value, TaskError> + Send + Sync;

/// A kind of task with two steps; how many subtasks each gets stands in the task's meta.
struct Toy {
    run: Box<Run>,
    /// Written by a subtask that has none, before anything else.
    checkpoint: Option<Value>,
    plan_error: Option<TaskError>,
    gather_failures: AtomicU32,
    cleaned: AtomicU32,
    /// Cleaning up after the task of this key never ends.
    hangs: Option<&'static str>,
}

impl Toy {
    fn new(run: impl Fn(&SubtaskContext) -> Result<Value, TaskError> + Send + Sync + 'static) -> Toy {
        Toy {
            run: Box::new(run),
            checkpoint: None,
            plan_error: None,
            gather_failures: AtomicU32::new(0),
            cleaned: AtomicU32::new(0),
            hangs: None,
        }
    }
}

#[async_trait]
impl TaskKind for Toy {
    fn name(&self) -> &'static str {
        "toy"
    }

    fn steps(&self) -> &'static [&'static str] {
        &["first", "second"]
    }

    async fn gather(&self, _: &Task, _: usize) -> Result<Value, TaskError> {
        let left = self.gather_failures.load(Ordering::SeqCst);
        if left > 0 {
            self.gather_failures.store(left - 1, Ordering::SeqCst);
            return Err(TaskError::new(ErrorClass::Transient, "region is being split"));
        }
        Ok(Value::Null)
    }

    fn plan(&self, input: &PlanInput<'_>) -> Result<Plan, TaskError> {
        if let Some(error) = &self.plan_error {
            return Err(error.clone());
        }
        let n = input.task.meta[input.step].as_u64().unwrap_or(0);
        // The second step hands on what the first made.
        let from: Vec<&Value> = input
            .earlier
            .iter()
            .flatten()
            .filter_map(|s| s.output.as_ref())
            .collect();
        Ok(Plan {
            subtasks: (0..n).map(|i| json!({ "i": i, "from": from })).collect(),
            reason: format!("{n} asked for"),
        })
    }

    async fn run(&self, context: SubtaskContext) -> Result<Value, TaskError> {
        if let (Some(checkpoint), None) = (&self.checkpoint, &context.subtask.checkpoint) {
            context.report.checkpoint(checkpoint.clone()).await?;
        }
        (self.run)(&context)
    }

    async fn clean_up(&self, task: &Task) -> Result<(), TaskError> {
        if self.hangs == Some(task.key.as_str()) {
            std::future::pending::<()>().await;
        }
        self.cleaned.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
}

struct World {
    _dir: TempDir,
    store: StoreRef,
    catalog: Arc<Catalog>,
    tasks: Arc<Tasks>,
    toy: Arc<Toy>,
}

async fn world(toy: Toy) -> World {
    let dir = tempfile::tempdir().unwrap();
    let store: StoreRef = Arc::new(
        EmbeddedStore::open(
            dir.path(),
            EmbeddedOptions {
                partition: partition_prefix_len,
                ..Default::default()
            },
        )
        .unwrap(),
    );
    let (catalog, tasks, toy) = node(&store, toy, 2).await;
    World {
        _dir: dir,
        store,
        catalog,
        tasks,
        toy,
    }
}

async fn node(store: &StoreRef, toy: Toy, slots: u32) -> (Arc<Catalog>, Arc<Tasks>, Arc<Toy>) {
    let catalog = Catalog::open(CatalogConfig::new(store.clone())).await.unwrap();
    let toy = Arc::new(toy);
    let mut config = TasksConfig::new(store.clone(), catalog.clone(), slots);
    config.retry.base_delay = Duration::from_millis(2);
    config.retry.max_attempts = 5;
    config.retry.max_delay = Duration::from_millis(10);
    let tasks = Tasks::start(config, vec![toy.clone()]);
    (catalog, tasks, toy)
}

impl World {
    fn term(&self) -> OwnerTerm {
        self.catalog.owner_term().expect("the only node is the owner")
    }

    async fn submit(&self, key: &str, meta: Value) -> TaskId {
        let spec = TaskSpec {
            key: key.into(),
            kind: "toy".into(),
            meta,
            concurrency: 0,
            service_scope: String::new(),
            only_at: None,
        };
        let mut txn = Transaction::begin(&self.store, TxnMode::Optimistic)
            .await
            .unwrap();
        let id = self.tasks.put(&mut txn, spec).await.unwrap();
        txn.commit(CommitOptions::default()).await.unwrap();
        self.tasks.wake();
        id
    }

    /// Waits for the end (or a pause), which must come soon: a hang is what these tests are about.
    async fn end(&self, id: TaskId) -> Task {
        let never = CancellationToken::new();
        let watch = self.tasks.watch(id, &never, |_| {});
        tokio::time::timeout(Duration::from_secs(20), watch)
            .await
            .expect("the task ends")
            .unwrap()
    }

    async fn until(&self, id: TaskId, what: impl Fn(&[Subtask]) -> bool) {
        let began = Instant::now();
        while !what(&self.tasks.subtasks(id).await.unwrap()) {
            assert!(began.elapsed() < Duration::from_secs(10), "it never came to that");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

fn ok(context: &SubtaskContext) -> Result<Value, TaskError> {
    Ok(context.subtask.meta.clone())
}

/// Runs until it is told to stop.
fn endless(context: &SubtaskContext) -> Result<Value, TaskError> {
    let began = Instant::now();
    while !context.cancel.is_cancelled() {
        assert!(began.elapsed() < Duration::from_secs(10), "nobody stopped it");
        std::thread::sleep(Duration::from_millis(1));
    }
    Err(TaskError::new(ErrorClass::Cancelled, "told to stop"))
}

/// Against F30 of docs/faults.md.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_to_do_in_any_step_succeeds_at_once() {
    for meta in [json!([0, 0]), json!([0, 1]), json!([1, 0])] {
        let world = world(Toy::new(ok)).await;
        let began = Instant::now();
        let id = world.submit("empty", meta.clone()).await;
        assert_eq!(world.end(id).await.state, TaskState::Succeed, "{meta}");
        assert!(
            began.elapsed() < Duration::from_millis(900),
            "slower than the poll: something was not woken"
        );
        assert_eq!(world.toy.cleaned.load(Ordering::SeqCst), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn outputs_reach_the_next_steps_planner() {
    let world = world(Toy::new(ok)).await;
    let id = world.submit("flow", json!([3, 1])).await;
    assert_eq!(world.end(id).await.state, TaskState::Succeed);
    let subtasks = world.tasks.subtasks(id).await.unwrap();
    assert_eq!(subtasks.len(), 4);
    assert_eq!(subtasks[3].meta["from"].as_array().unwrap().len(), 3);
    assert!(
        subtasks
            .iter()
            .all(|s| s.state == SubtaskState::Succeed && s.attempt == 1)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_key_is_the_same_task() {
    let world = world(Toy::new(ok)).await;
    let id = world.submit("once", json!([1, 0])).await;
    assert_eq!(world.submit("once", json!([5, 5])).await, id);
    world.end(id).await;
    assert_eq!(world.submit("once", json!([5, 5])).await, id);
    let mut txn = Transaction::begin(&world.store, TxnMode::Optimistic)
        .await
        .unwrap();
    world.tasks.forget(&mut txn, id).await.unwrap();
    txn.commit(CommitOptions::default()).await.unwrap();
    assert!(world.tasks.get_by_key("once").await.unwrap().is_none());
    assert!(world.tasks.subtasks(id).await.unwrap().is_empty());
}

/// TiDB issue 49770: a planner that fails for good must end the task, with its error, and soon.
/// Against F30 of docs/faults.md.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_planner_that_cannot_succeed_ends_the_task_with_its_error() {
    for (class, at_most_ms) in [
        (ErrorClass::Permanent, 900),
        (ErrorClass::Bug, 900),
        (ErrorClass::Transient, 5000),
    ] {
        let toy = Toy {
            plan_error: Some(TaskError::new(class, "backend context not found")),
            ..Toy::new(ok)
        };
        let world = world(toy).await;
        let began = Instant::now();
        let id = world.submit("49770", json!([0, 0])).await;
        let task = world.end(id).await;
        assert_eq!(task.state, TaskState::Reverted);
        assert_eq!(task.error.unwrap().message, "backend context not found");
        assert!(
            began.elapsed() < Duration::from_millis(at_most_ms),
            "{class:?} took {:?}",
            began.elapsed()
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn planning_survives_what_passes() {
    let toy = Toy {
        gather_failures: AtomicU32::new(3),
        ..Toy::new(ok)
    };
    let world = world(toy).await;
    let id = world.submit("passing", json!([1, 1])).await;
    let task = world.end(id).await;
    assert_eq!(
        (task.state, task.error, task.retry),
        (TaskState::Succeed, None, None)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transient_errors_are_retried_within_bounds_and_shown() {
    let fails = AtomicU32::new(3);
    let world = world(Toy::new(move |context| {
        match fails.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)) {
            Ok(_) => Err(TaskError::new(ErrorClass::Transient, "503 slow down")),
            Err(_) => ok(context),
        }
    }))
    .await;
    let id = world.submit("503", json!([1, 0])).await;
    assert_eq!(world.end(id).await.state, TaskState::Succeed);
    assert_eq!(world.tasks.subtasks(id).await.unwrap()[0].attempt, 4);

    let world = self::world(Toy::new(|_| {
        Err(TaskError::new(ErrorClass::Transient, "503 for ever"))
    }))
    .await;
    let id = world.submit("503 for ever", json!([1, 0])).await;
    let never = CancellationToken::new();
    let mut shown = 0;
    let watch = world.tasks.watch(id, &never, |status| {
        shown = shown.max(status.retry.as_ref().map_or(0, |r| r.attempts));
    });
    let task = tokio::time::timeout(Duration::from_secs(20), watch)
        .await
        .expect("bounded")
        .unwrap();
    assert_eq!(
        (task.state, task.error.unwrap().message.as_str()),
        (TaskState::Reverted, "503 for ever")
    );
    assert!(shown >= 1, "the retry was never to be seen");
}

/// Against F07, F31 of docs/faults.md.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_errors_and_panics_revert_at_once() {
    let cases: [(Box<Run>, ErrorClass, &str); 4] = [
        (
            Box::new(|_| Err(TaskError::new(ErrorClass::User, "Duplicate entry"))),
            ErrorClass::User,
            "Duplicate entry",
        ),
        (
            Box::new(|_| Err(TaskError::new(ErrorClass::Permanent, "no"))),
            ErrorClass::Permanent,
            "no",
        ),
        (
            Box::new(|_| panic!("index out of bounds")),
            ErrorClass::Bug,
            "panicked: index out of bounds",
        ),
        (
            Box::new(|_| Err(TaskError::new(ErrorClass::Cancelled, "by nobody"))),
            ErrorClass::Bug,
            "by nobody",
        ),
    ];
    for (run, class, message) in cases {
        let world = world(Toy { run, ..Toy::new(ok) }).await;
        let id = world.submit("fails", json!([2, 1])).await;
        let task = world.end(id).await;
        assert_eq!(task.state, TaskState::Reverted);
        let error = task.error.unwrap();
        assert_eq!((error.class, error.message.as_str()), (class, message));
        assert_eq!(world.toy.cleaned.load(Ordering::SeqCst), 1);
    }
}

/// Against F65 of docs/faults.md.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_ran_out_pauses_with_the_reason_and_goes_on_when_told() {
    let full = Arc::new(AtomicU32::new(1));
    let seen = full.clone();
    let world = world(Toy::new(move |context| match seen.load(Ordering::SeqCst) {
        0 => ok(context),
        _ => Err(TaskError::new(ErrorClass::Resource, "no space left on device")),
    }))
    .await;
    let id = world.submit("disk", json!([2, 1])).await;
    let task = world.end(id).await;
    assert_eq!(task.state, TaskState::Paused);
    assert_eq!(task.error.unwrap().message, "no space left on device");
    full.store(0, Ordering::SeqCst);
    world.tasks.resume(id, &world.term()).await.unwrap();
    world
        .until(id, |s| s.iter().all(|s| s.state == SubtaskState::Succeed))
        .await;
    assert_eq!(world.end(id).await.state, TaskState::Succeed);
}

/// Against F36 of docs/faults.md.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancel_stops_what_runs_and_what_waits() {
    let world = world(Toy::new(endless)).await;
    let id = world.submit("long", json!([5, 1])).await;
    world
        .until(id, |s| {
            s.iter().filter(|s| s.state == SubtaskState::Running).count() == 2
        })
        .await;
    world
        .tasks
        .cancel(
            id,
            TaskError::new(ErrorClass::Cancelled, "by the user"),
            &world.term(),
        )
        .await
        .unwrap();
    let task = world.end(id).await;
    assert_eq!(
        (task.state, task.error.unwrap().message.as_str()),
        (TaskState::Reverted, "by the user")
    );
    let subtasks = world.tasks.subtasks(id).await.unwrap();
    assert!(
        subtasks.iter().all(|s| s.state == SubtaskState::Canceled),
        "{subtasks:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pause_keeps_checkpoints_and_resume_goes_on_from_them() {
    let mut toy = Toy::new(|context| {
        if context.subtask.checkpoint == Some(json!("half")) {
            return Ok(json!("from half"));
        }
        endless(context)
    });
    toy.checkpoint = Some(json!("half"));
    let world = world(toy).await;
    let id = world.submit("pausable", json!([1, 0])).await;
    world
        .until(id, |s| s.len() == 1 && s[0].checkpoint.is_some())
        .await;
    world
        .tasks
        .pause(
            id,
            TaskError::new(ErrorClass::Cancelled, "paused by the user"),
            &world.term(),
        )
        .await
        .unwrap();
    assert_eq!(world.end(id).await.state, TaskState::Paused);
    world.tasks.resume(id, &world.term()).await.unwrap();
    world.until(id, |s| s[0].state == SubtaskState::Succeed).await;
    assert_eq!(world.end(id).await.state, TaskState::Succeed);
    assert_eq!(
        world.tasks.subtasks(id).await.unwrap()[0].output,
        Some(json!("from half"))
    );
}

/// Against F38, P18 of docs/faults.md.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_tasks_share_few_slots_and_each_can_be_cancelled() {
    let world = world(Toy::new(endless)).await;
    let mut ids = Vec::new();
    for n in 0..30 {
        ids.push(world.submit(&format!("task {n}"), json!([2, 0])).await);
    }
    for id in ids.iter().rev() {
        world
            .tasks
            .cancel(
                *id,
                TaskError::new(ErrorClass::Cancelled, "enough"),
                &world.term(),
            )
            .await
            .unwrap();
        assert_eq!(world.end(*id).await.state, TaskState::Reverted);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restarted_node_takes_back_what_it_was_doing() {
    let world = world(Toy::new(endless)).await;
    let id = world.submit("interrupted", json!([2, 0])).await;
    world
        .until(id, |s| {
            s.iter().filter(|s| s.state == SubtaskState::Running).count() == 2
        })
        .await;
    // As after kill -9: the rows say `running` on a node that is no more.
    let World {
        _dir,
        store,
        catalog,
        tasks,
        toy,
    } = world;
    tasks.shutdown(Duration::ZERO).await;
    drop((tasks, toy));
    drop(catalog);
    let (catalog, tasks, toy) = node(&store, Toy::new(ok), 2).await;
    let world = World {
        _dir,
        store,
        catalog,
        tasks,
        toy,
    };
    assert_eq!(world.end(id).await.state, TaskState::Succeed);
    let _ = &world.catalog;
}

/// Against F06 of docs/faults.md.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_that_was_lost_writes_nothing() {
    let world = world(Toy::new(endless)).await;
    let id = world.submit("lost", json!([1, 0])).await;
    world
        .until(id, |s| s.len() == 1 && s[0].state == SubtaskState::Running)
        .await;
    // Somebody else takes the subtask over, as the owner does with a dead node's.
    let key = [
        b"i/task/s/".as_slice(),
        &id.to_be_bytes(),
        &0u16.to_be_bytes(),
        &0u32.to_be_bytes(),
    ]
    .concat();
    let mut taken = world.tasks.subtasks(id).await.unwrap().remove(0);
    taken.attempt = 77;
    taken.state = SubtaskState::Succeed;
    taken.output = Some(json!("theirs"));
    let mut txn = Transaction::begin(&world.store, TxnMode::Optimistic)
        .await
        .unwrap();
    txn.put(
        key,
        serde_json::to_vec(&taken).unwrap(),
        ilmenite_store::Check::None,
    )
    .unwrap();
    txn.commit(CommitOptions::default()).await.unwrap();
    world.tasks.wake();
    assert_eq!(world.end(id).await.state, TaskState::Succeed);
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let subtask = world.tasks.subtasks(id).await.unwrap().remove(0);
    assert_eq!((subtask.attempt, subtask.output), (77, Some(json!("theirs"))));
}

/// Against P02 of docs/faults.md.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_owners_commands_are_refused() {
    let world = world(Toy::new(endless)).await;
    let (next, next_tasks, _) = node(&world.store, Toy::new(endless), 1).await;
    let id = world.submit("not his any more", json!([1, 0])).await;
    let old_term = world.term();
    world.catalog.shutdown().await;
    let began = Instant::now();
    let term = loop {
        if let Some(term) = next.owner_term() {
            break term;
        }
        assert!(began.elapsed() < Duration::from_secs(10), "nobody follows");
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    let why = TaskError::new(ErrorClass::Cancelled, "by one who slept");
    for refused in [
        world.tasks.cancel(id, why.clone(), &old_term).await,
        world.tasks.pause(id, why.clone(), &old_term).await,
        world.tasks.set_concurrency(id, 7, &old_term).await,
    ] {
        assert!(matches!(refused, Err(Error::NotOwner)), "{refused:?}");
    }
    let task = next_tasks.get(id).await.unwrap().unwrap().task;
    assert!(task.error.is_none() && task.concurrency != 7, "{task:?}");
    next_tasks.cancel(id, why, &term).await.unwrap();
}

/// F40, P06: what has succeeded is not run again, be the pause a moment before the task's end or after it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_has_succeeded_is_neither_paused_nor_run_again() {
    // Told to stop, it is just done.
    let world = world(Toy::new(|context| {
        drop(endless(context));
        Ok(json!("done"))
    }))
    .await;
    let id = world.submit("just done", json!([2, 0])).await;
    let running = |s: &Subtask| s.state == SubtaskState::Running;
    world
        .until(id, |s| s.iter().filter(|s| running(s)).count() == 2)
        .await;
    let why = || TaskError::new(ErrorClass::Cancelled, "paused by the user");
    world.tasks.pause(id, why(), &world.term()).await.unwrap();
    assert_eq!(world.end(id).await.state, TaskState::Paused);
    world.tasks.resume(id, &world.term()).await.unwrap();
    while world.end(id).await.state != TaskState::Succeed {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let refused = world.tasks.pause(id, why(), &world.term()).await;
    assert!(matches!(refused, Err(Error::InvalidState { .. })), "{refused:?}");
    let refused = world.tasks.resume(id, &world.term()).await;
    assert!(matches!(refused, Err(Error::InvalidState { .. })), "{refused:?}");
    world.tasks.wake();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(world.end(id).await.state, TaskState::Succeed);
    let subtasks = world.tasks.subtasks(id).await.unwrap();
    assert!(subtasks.iter().all(|s| s.attempt == 1), "{subtasks:?}");
}

/// F03, F73: with fewer threads nobody who is at work is stopped, and what such a one fails with counts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fewer_threads_stop_nobody_and_lose_no_error() {
    let fails = Arc::new(AtomicU32::new(0));
    let seen = fails.clone();
    let world = world(Toy::new(move |context| {
        while seen.load(Ordering::SeqCst) == 0 {
            if context.cancel.is_cancelled() {
                return Err(TaskError::new(ErrorClass::Cancelled, "told to stop"));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        match context.subtask.ordinal {
            1 => Err(TaskError::new(ErrorClass::User, "Duplicate entry")),
            _ => ok(context),
        }
    }))
    .await;
    let id = world.submit("fewer", json!([6, 0])).await;
    let running = |s: &[Subtask]| s.iter().filter(|s| s.state == SubtaskState::Running).count();
    world.until(id, |s| running(s) == 2).await;
    world.tasks.set_concurrency(id, 1, &world.term()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    let subtasks = world.tasks.subtasks(id).await.unwrap();
    assert_eq!(running(&subtasks), 2);
    assert!(subtasks.iter().all(|s| s.attempt <= 1), "{subtasks:?}");
    fails.store(1, Ordering::SeqCst);
    let task = world.end(id).await;
    assert_eq!(
        (task.state, task.error.unwrap().message.as_str()),
        (TaskState::Reverted, "Duplicate entry")
    );
}

/// F47: a clean-up that hangs keeps no other task waiting.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clean_up_that_hangs_holds_up_no_other_task() {
    let toy = Toy {
        hangs: Some("hangs"),
        ..Toy::new(ok)
    };
    let world = world(toy).await;
    let hanging = world.submit("hangs", json!([1, 0])).await;
    world
        .until(hanging, |s| s.len() == 1 && s[0].state == SubtaskState::Succeed)
        .await;
    for n in 0..5 {
        let id = world.submit(&format!("other {n}"), json!([2, 1])).await;
        assert_eq!(world.end(id).await.state, TaskState::Succeed);
    }
    let task = world.tasks.get(hanging).await.unwrap().unwrap().task;
    assert_eq!(task.state, TaskState::Running);
}

/// F63: a plan that does not fit in a transaction, and an output that fits in no row, are errors that end the task; made
/// again they would be the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_large_to_be_written_ends_the_task() {
    let world = world(Toy::new(|_| Ok(Value::String("x".repeat(101 << 20))))).await;
    let id = world.submit("large output", json!([1, 0])).await;
    let task = world.end(id).await;
    assert_eq!(task.state, TaskState::Reverted);
    let message = task.error.unwrap().message;
    assert!(message.contains("too large"), "{message}");
    // About 350 bytes a subtask.
    let id = world.submit("large plan", json!([200_000, 0])).await;
    let task = world.end(id).await;
    assert_eq!(task.state, TaskState::Reverted);
    let message = task.error.unwrap().message;
    assert!(message.contains("a plan of 200000 subtasks"), "{message}");
}

/// F73, P11: what is shown does not go back when a subtask begins again, and a step is as far as all its subtasks are.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn progress_does_not_go_back_when_work_is_done_again() {
    let world = world(Toy::new(|context| {
        let first = context.subtask.attempt == 1;
        context.progress(Progress {
            rows: if first { 80 } else { 10 },
            rows_expected: 100,
            ..Default::default()
        });
        if first {
            return Err(TaskError::new(ErrorClass::Transient, "503 slow down"));
        }
        endless(context)
    }))
    .await;
    let id = world.submit("again", json!([4, 0])).await;
    world
        .until(id, |s| s.iter().filter(|s| s.attempt == 2).count() == 2)
        .await;
    let began = Instant::now();
    // Longer than it takes until a running subtask's progress is written.
    while began.elapsed() < Duration::from_millis(1500) {
        let status = world.tasks.get(id).await.unwrap().unwrap();
        let step = &status.steps[0];
        assert!(step.progress.rows >= 160, "{step:?}");
        // Two of four, each at 80 of 100, or three or four should others have had their turn.
        assert!(
            (step.done - 0.8 * (step.progress.rows / 80) as f64).abs() < 0.01,
            "{step:?}"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let why = TaskError::new(ErrorClass::Cancelled, "enough");
    world.tasks.cancel(id, why, &world.term()).await.unwrap();
    assert_eq!(world.end(id).await.state, TaskState::Reverted);
}
