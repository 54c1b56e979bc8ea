//! One cell: something happens at a passage of a point; the job ends all the same, in an index equal to its table or with
//! nothing left of it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use ilmenite_ddl::*;
use ilmenite_sort::Op as StorageOp;
use ilmenite_task::SubtaskState;
use tokio::sync::{mpsc as channel, watch};
use tokio::task::JoinHandle;

use crate::cell::{Action, Cell, Kind};
use crate::common::Node;
use crate::world::{World, cancel_if_asked, open, request, undisturbed, write_meanwhile};

/// An error that passes comes so often.
const PASSING: u64 = 2;
/// One for good comes more often than anybody tries within `FOR_GOOD`.
const LASTING: u64 = 10_000;
const FOR_GOOD: Duration = Duration::from_millis(1500);
const DELAYS: u64 = 3;
/// How long the point waits for the command that is given there. Some points are passed with the way to the store
/// barred: then the command comes right behind.
const COMMAND_AT_POINT: Duration = Duration::from_millis(50);
/// Writes must stop within this.
const STOPS: Duration = Duration::from_secs(5);
/// The environment of a process that is to die.
const CHILD: &str = "ILMENITE_MATRIX_CHILD";
const CHILD_DIRECTORY: &str = "ILMENITE_MATRIX_DIRECTORY";

/// What became of a cell.
#[derive(Debug)]
pub(crate) struct Report {
    /// The passage was reached, and it happened.
    pub happened: bool,
    pub ended: &'static str,
    /// From ADMIN PAUSE to paused, from ADMIN CANCEL to the job's end.
    pub stopped_after: Option<Duration>,
}

/// How the job ended, as its client sees it.
struct Ended {
    result: Result<JobOutcome>,
    happened: bool,
    /// ADMIN CANCEL was given, and taken. None: in another process, and it is not known.
    cancelled: Option<bool>,
    stopped_after: Option<Duration>,
}

pub(crate) async fn run(world: &mut World, cell: &Cell) -> Report {
    let ended = match cell.action {
        Action::Kill => kill(world, cell).await,
        _ => disturbed(world, cell).await,
    };
    if cell.action == Action::ErrorForGood && ended.happened && is_of_clean_up(cell.point) {
        // Given up in the end: the scrubber of the next node removes what is left, and the sweeper.
        world.close().await;
        world.open().await;
        world.hurry_sweeps().await;
    }
    let node = world.node();
    // The version that a job cancelled in its first state goes back by is not waited for.
    node.catalog.refresh().await.unwrap();
    node.check("t").await;
    check(world, cell, &ended);
    node.assert_nothing_left(world.dir.path()).await;
    world.clear().await;
    Report {
        happened: ended.happened,
        ended: match &ended.result {
            Ok(_) => "synced",
            Err(error) if error.code() == 1062 => "1062",
            Err(DdlError::JobCancelled) => "cancelled",
            Err(_) => "failed",
        },
        stopped_after: ended.stopped_after,
    }
}

/// The result fits what was done, and the index fits the result.
fn check(world: &World, cell: &Cell, ended: &Ended) {
    let result = &ended.result;
    assert_eq!(world.has_index(), result.is_ok(), "{result:?}");
    let for_good = cell.action == Action::ErrorForGood && ended.happened;
    let duplicate = cell.scenario.kind == Kind::Duplicate;
    match result {
        Ok(_) => {
            assert!(!duplicate, "a duplicate was not found");
            let cancelled = ended.cancelled == Some(true);
            assert!(
                !cancelled,
                "ADMIN CANCEL was successful, and the job went through"
            );
            let fatal = for_good && is_fatal(cell.point);
            assert!(!fatal, "the job went through, whatever failed");
        }
        Err(error) if error.code() == 1062 => assert!(duplicate, "{error}"),
        Err(error @ DdlError::JobCancelled) => assert_ne!(ended.cancelled, Some(false), "{error}"),
        Err(error) => {
            let text = error.to_string();
            let told = text.contains("injected") || text.contains("failpoint");
            assert!(for_good && told, "{text}");
        }
    }
    if let Some(stopped_after) = ended.stopped_after {
        assert!(stopped_after < STOPS, "writes went on for {stopped_after:?}");
    }
}

/// Nothing but the build itself makes these requests: it cannot go through when they fail. (The others are made or tried
/// again after it, too.)
fn is_fatal(point: &str) -> bool {
    let of_builds = [
        StorageOp::Put,
        StorageOp::Get,
        StorageOp::CreateMultipart,
        StorageOp::PutPart,
        StorageOp::CompleteMultipart,
    ];
    point.starts_with("embedded::ingest") || is_one_of(point, &of_builds)
}

/// What deletes a task's objects asks for this.
fn is_of_clean_up(point: &str) -> bool {
    is_one_of(point, &[StorageOp::List, StorageOp::Delete])
}

fn is_one_of(point: &str, ops: &[StorageOp]) -> bool {
    ops.iter()
        .any(|op| [op.failpoint_before(), op.failpoint_after()].contains(&point))
}

/// A point that does something when it is passed.
struct Trap {
    point: &'static str,
    /// Errors it was told to return.
    returns: u64,
    passed: Arc<AtomicU64>,
    at: u64,
}

impl Trap {
    fn returning(cell: &Cell, kind: &str, times: u64) -> Trap {
        let text = format!("{}*off->{times}*return({kind})->off", cell.passage - 1);
        fail::cfg(cell.point, &text).unwrap();
        Trap {
            point: cell.point,
            returns: times,
            passed: Arc::default(),
            at: cell.passage,
        }
    }

    /// Calls `hit` with the number of the passage, from 1.
    fn calling(cell: &Cell, hit: impl Fn(u64) + Send + Sync + 'static) -> Trap {
        let passed = Arc::new(AtomicU64::new(0));
        let counted = passed.clone();
        let called = move || hit(counted.fetch_add(1, Ordering::SeqCst) + 1);
        fail::cfg_callback(cell.point, called).unwrap();
        Trap {
            point: cell.point,
            returns: 0,
            passed,
            at: cell.passage,
        }
    }

    /// Whether it called `hit` at its passage.
    fn is_called(&self) -> bool {
        self.returns == 0 && self.passed.load(Ordering::SeqCst) >= self.at
    }

    /// Whether it did something.
    fn disarm(self) -> bool {
        let left = (0..self.at - 1 + self.returns)
            .filter(|_| returns_error(self.point))
            .count();
        fail::remove(self.point);
        match self.returns {
            0 => self.is_called(),
            returns => (left as u64) < returns,
        }
    }
}

fn returns_error(point: &str) -> bool {
    fail::fail_point!(point, |_| true);
    false
}

async fn disturbed(world: &World, cell: &Cell) -> Ended {
    let node = world.node();
    let (submitted, id) = watch::channel(None);
    let (mut trap, command) = arm(node, cell, id);
    let (mut happened, mut stopped_after) = (false, None);
    let mut commanded = None;
    let lifted = tokio::time::Instant::now() + FOR_GOOD;
    let work = async {
        let id = match node.ddl.submit(request(world.dir.path(), cell.scenario)).await {
            Ok(id) => id,
            Err(error) => {
                // Refused: no job, now or later.
                assert_eq!(world.newest_job().await, world.last_job, "{error}");
                return (Err(error), false);
            }
        };
        let _ = submitted.send(Some(id));
        let cancelling = cancel_if_asked(node, id, cell.scenario);
        let over = node.wait(id);
        tokio::pin!(over);
        let result = tokio::select! {
            result = &mut over => result,
            _ = tokio::time::sleep_until(lifted), if cell.action == Action::ErrorForGood => {
                happened = trap.take().is_some_and(Trap::disarm);
                over.await
            }
        };
        if trap.as_ref().is_some_and(Trap::is_called) {
            let ended = Instant::now();
            commanded = command.await.expect("no panic");
            if cell.action == Action::Cancel && commanded.as_ref().is_some_and(|c| c.taken) {
                stopped_after = commanded
                    .as_ref()
                    .map(|c| ended.saturating_duration_since(c.given));
            }
        }
        // Some points are passed when the job is over.
        match cell.action {
            Action::ErrorForGood => tokio::time::sleep_until(lifted).await,
            _ => node.assert_nothing_left(world.dir.path()).await,
        }
        (result, cancelling.await.expect("no panic"))
    };
    let writing = write_meanwhile(node, cell.scenario.size);
    let (result, cancelled_anyway) = tokio::select! {
        ended = work => ended,
        never = writing => match never {},
    };
    let taken = commanded.as_ref().is_some_and(|c| c.taken);
    Ended {
        result,
        happened: trap.map_or(happened, Trap::disarm),
        cancelled: Some(cancelled_anyway || cell.action == Action::Cancel && taken),
        stopped_after: stopped_after.or(commanded.and_then(|c| c.paused_after)),
    }
}

/// What became of a command that was given at the point.
struct Commanded {
    given: Instant,
    taken: bool,
    paused_after: Option<Duration>,
}

/// Sets the trap of the cell, and who gives the command once it is sprung and the job's id is known.
fn arm(
    node: &Node,
    cell: &Cell,
    mut id: watch::Receiver<Option<JobId>>,
) -> (Option<Trap>, JoinHandle<Option<Commanded>>) {
    let at = cell.passage;
    let (hit, mut hits) = channel::unbounded_channel::<()>();
    let (command_given, waits_for_command) = mpsc::channel::<()>();
    let waits_for_command = Mutex::new(waits_for_command);
    let trap = match cell.action {
        Action::Error => Trap::returning(cell, "transient", PASSING),
        Action::ErrorForGood if cell.point.starts_with("sort::") => {
            Trap::returning(cell, "permission", LASTING)
        }
        Action::ErrorForGood => Trap::returning(cell, "permanent", LASTING),
        Action::Pause | Action::Cancel => Trap::calling(cell, move |n| {
            if n == at {
                let _ = hit.send(());
                let waits = waits_for_command.lock().unwrap();
                let _ = tokio::task::block_in_place(|| waits.recv_timeout(COMMAND_AT_POINT));
            }
        }),
        Action::Delay => Trap::calling(cell, move |n| {
            if (at..at + DELAYS).contains(&n) {
                let millis = 50 + (n * 7919 + at * 104_729) % 250;
                tokio::task::block_in_place(|| std::thread::sleep(Duration::from_millis(millis)));
            }
        }),
        Action::Kill => unreachable!("in a process of its own"),
    };
    let (ddl, cell) = (node.ddl.clone(), *cell);
    let command = tokio::spawn(async move {
        hits.recv().await?;
        let id = (*id.wait_for(Option::is_some).await.ok()?)?;
        let given = Instant::now();
        let results = match cell.action {
            Action::Pause => ddl.pause(&[id]).await,
            _ => ddl.cancel(&[id]).await,
        };
        let _ = command_given.send(());
        // Refused: too late for it, or not possible here.
        let taken = results.iter().all(|(_, result)| result.is_ok());
        let paused_after = match cell.action {
            Action::Pause if taken => paused(&ddl, id, given, cell.scenario.kind).await,
            _ => None,
        };
        Some(Commanded {
            given,
            taken,
            paused_after,
        })
    });
    (Some(trap), command)
}

/// Waits until the job is paused, and resumes it. None: it ended instead.
async fn paused(ddl: &Ddl, id: JobId, given: Instant, kind: Kind) -> Option<Duration> {
    let stopped = loop {
        let job = ddl.job_details(id).await.unwrap().unwrap();
        if job.state == JobState::Paused {
            break given.elapsed();
        }
        // It was failing already, or is cancelled, too.
        if job.state.is_finished() {
            return None;
        }
        assert!(
            given.elapsed() < STOPS,
            "{:?} after {:?}",
            job.state,
            given.elapsed()
        );
        tokio::time::sleep(Duration::from_millis(2)).await;
    };
    let subtasks = ddl.subtasks().await.unwrap();
    let running = subtasks
        .iter()
        .filter(|s| s.subtask.state == SubtaskState::Running)
        .count();
    assert_eq!(running, 0, "subtasks of a paused job run");
    for (_, resumed) in ddl.resume(&[id]).await {
        assert!(resumed.is_ok() || kind == Kind::Cancelled, "{resumed:?}");
    }
    Some(stopped)
}

/// In a process of its own, which ends at the point; then this one goes on from there.
async fn kill(world: &mut World, cell: &Cell) -> Ended {
    world.close().await;
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["a_process_that_is_to_die", "--exact", "--nocapture"])
        .env(CHILD, cell.to_string())
        .env(CHILD_DIRECTORY, world.dir.path())
        .stdin(Stdio::null());
    let output = tokio::task::spawn_blocking(move || command.output().unwrap())
        .await
        .unwrap();
    use std::os::unix::process::ExitStatusExt;
    let killed = output.status.signal().is_some();
    assert!(
        killed || output.status.success(),
        "{}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    world.open().await;
    let id = world.newest_job().await;
    let result = if id > world.last_job {
        world.node().wait(id).await
    } else {
        // It was not submitted when the process died. Whoever asked for it asks again.
        undisturbed(world.node(), world.dir.path(), cell.scenario).await
    };
    Ended {
        result,
        happened: killed,
        cancelled: (cell.scenario.kind != Kind::Cancelled).then_some(false),
        stopped_after: None,
    }
}

/// What `kill` starts; nothing in any other process.
pub(crate) async fn die() {
    let Ok(name) = std::env::var(CHILD) else {
        return;
    };
    let cell: Cell = name.parse().unwrap();
    let directory = PathBuf::from(std::env::var_os(CHILD_DIRECTORY).unwrap());
    run_until_killed(&directory, &cell).await;
}

async fn run_until_killed(directory: &Path, cell: &Cell) {
    let node = open(directory, true).await;
    let at = cell.passage;
    let trap = Trap::calling(cell, move |n| {
        if n == at {
            std::process::abort();
        }
    });
    drop(undisturbed(&node, directory, cell.scenario).await);
    // Not passed so often this time.
    trap.disarm();
    node.stop().await;
}
