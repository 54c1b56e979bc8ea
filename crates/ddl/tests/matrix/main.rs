//! The failpoint matrix. Before and after every write of state and every request to an object store, something happens:
//! an error, the end of the process, ADMIN PAUSE, ADMIN CANCEL, a delay; while an index is added to an empty table, a small
//! one and a large one, with DML going on. Whatever it is, the job ends, in an index equal to its table or with nothing
//! left of it, and in time.
//!
//! The cells are generated: an undisturbed run of each scenario counts how often each point is passed. `cargo test` runs one
//! cell of each action in each scenario, drawn by lot; `ILMENITE_TEST_SEED` repeats the draw, and
//! `ILMENITE_TEST_CELLS='task::write::after#3/kill/small/unique …'` runs the cells it names.

mod cell;
#[path = "../common/mod.rs"]
mod common;
mod run;
mod world;

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::time::{Duration, Instant};

use cell::{Action, Cell, Counts, STATE_WRITES, Scenario, Size, cells, points, sample};
use futures::FutureExt;
use rand::SeedableRng;
use rand::rngs::StdRng;
use world::World;

/// Cells that found something: run every time.
const FOUND: [&str; 1] = [
    // A step given up had stopped the job's task for the reason "the job was cancelled", and that is what the job ended with.
    "ddl::step::after#2/for-good/small/plain",
];

/// Points that are not of the matrix.
const ELSEWHERE: [&str; 2] = [
    // Of one node among several: leases and owners are the simulation's.
    "catalog::renew::before",
    "catalog::campaign::before",
];

/// Failpoints are the process's.
static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

fn seed() -> u64 {
    let seed = match std::env::var("ILMENITE_TEST_SEED") {
        Ok(text) => text.parse().expect("ILMENITE_TEST_SEED is a number"),
        Err(_) => u32::from_le_bytes(ilmenite_base::rng::bytes()).into(),
    };
    println!("repeat with ILMENITE_TEST_SEED={seed}");
    seed
}

/// Against F74 of docs/faults.md.
#[tokio::test(flavor = "multi_thread", worker_threads = 6)]
async fn a_sample_of_the_matrix() {
    let _turn = TURN.lock().await;
    let mut rng = StdRng::seed_from_u64(seed());
    let named: Option<Vec<Cell>> = std::env::var("ILMENITE_TEST_CELLS").ok().map(|names| {
        let cells = names.split_whitespace().map(|name| name.parse().unwrap());
        cells.collect()
    });
    let mut matrix = Matrix::default();
    let chosen = match named {
        Some(cells) => cells,
        None => {
            let found = FOUND.iter().map(|name| name.parse().unwrap());
            let counts = matrix.counts(Size::ALL).await;
            let drawn = sample(cells(&counts, 1, &mut rng), &mut rng);
            found.chain(drawn).collect()
        }
    };
    matrix.run(chosen).await;
}

macro_rules! whole {
    ($($name:ident: $size:expr, $long:literal;)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 6)]
        #[ignore = $long]
        async fn $name() {
            whole_matrix($size).await;
        }
    )*};
}

whole! {
    whole_matrix_over_an_empty_table: Size::Empty,
        "long (minutes): cargo test --release -p ilmenite-ddl --test matrix -- --ignored --nocapture";
    whole_matrix_over_a_small_table: Size::Small,
        "long (ten minutes): cargo test --release -p ilmenite-ddl --test matrix -- --ignored --nocapture";
    whole_matrix_over_a_large_table: Size::Large,
        "long (half an hour): cargo test --release -p ilmenite-ddl --test matrix -- --ignored --nocapture";
}

async fn whole_matrix(size: Size) {
    let _turn = TURN.lock().await;
    let mut rng = StdRng::seed_from_u64(seed());
    let mut matrix = Matrix::default();
    let counts = matrix.counts(&[size]).await;
    for (scenario, counts) in &counts {
        println!("{scenario:?}: {counts:?}");
    }
    let never: Vec<_> = points()
        .into_iter()
        .filter(|point| counts.iter().all(|(_, counts)| counts[point] == 0))
        .collect();
    println!("passed by no undisturbed run: {never:?}");
    matrix.run(cells(&counts, 1, &mut rng)).await;
}

/// Of `run::kill`.
#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_is_to_die() {
    run::die().await;
}

/// No failpoint of the crates below is forgotten.
#[test]
fn the_matrix_has_every_point() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut found = Vec::new();
    for name in ["catalog", "ddl", "embedded", "sort", "store", "task"] {
        let mut of_crate = Vec::new();
        failpoints_below(&crates.join(name).join("src"), &mut of_crate);
        for point in &of_crate {
            // The one form: where, by crate and place, and on which side of it.
            let parts: Vec<&str> = point.split("::").collect();
            let formed = matches!(parts[..], [of, _, "before" | "after"] if of == name);
            assert!(formed, "{point} is not {name}::PLACE::before or ::after");
        }
        found.extend(of_crate);
    }
    assert!(found.len() > 15, "{found:?}");
    for point in &found {
        let known = STATE_WRITES.contains(&point.as_str()) || ELSEWHERE.contains(&point.as_str());
        assert!(known, "{point} is a failpoint, and not of the matrix");
    }
    for point in STATE_WRITES {
        assert!(found.iter().any(|f| f == point), "{point} is no failpoint");
    }
}

/// The names in `fail_point!("…"` and `failpoint("…"`.
fn failpoints_below(dir: &Path, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            if !path.ends_with("tests") {
                failpoints_below(&path, found);
            }
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        for call in ["fail_point!(\"", "failpoint(\""] {
            let names = text.split(call).skip(1).filter_map(|rest| rest.split_once('"'));
            found.extend(names.map(|(name, _)| name.to_owned()));
        }
    }
}

/// The worlds there are, one of each size.
#[derive(Default)]
struct Matrix {
    worlds: Vec<World>,
}

impl Matrix {
    /// The world of this size, its node the only one that runs: others would pass the points, too.
    async fn world(&mut self, size: Size) -> &mut World {
        for other in self.worlds.iter_mut().filter(|w| w.size != size) {
            other.close().await;
        }
        let at = match self.worlds.iter().position(|w| w.size == size) {
            Some(at) => at,
            None => {
                self.worlds.push(World::new(size).await);
                self.worlds.len() - 1
            }
        };
        let world = &mut self.worlds[at];
        world.open().await;
        world
    }

    async fn counts(&mut self, sizes: &[Size]) -> Vec<(Scenario, Counts)> {
        let mut counts = Vec::new();
        for scenario in Scenario::all().into_iter().filter(|s| sizes.contains(&s.size)) {
            let world = self.world(scenario.size).await;
            counts.push((scenario, world.count(scenario.kind).await));
        }
        counts
    }

    async fn run(mut self, mut cells: Vec<Cell>) {
        cells.sort_by_key(|cell| cell.scenario);
        let began = Instant::now();
        let (mut happened, mut longest) = (0, [Duration::ZERO; 2]);
        let mut failed = Vec::new();
        for cell in &cells {
            let size = cell.scenario.size;
            let cell_began = Instant::now();
            let world = self.world(size).await;
            match AssertUnwindSafe(run::run(world, cell)).catch_unwind().await {
                Ok(report) => {
                    happened += usize::from(report.happened);
                    let which = usize::from(cell.action == Action::Cancel);
                    longest[which] = longest[which].max(report.stopped_after.unwrap_or_default());
                    let note = if report.happened {
                        ""
                    } else {
                        " (not passed so often)"
                    };
                    println!("{cell}: {}{note} {:?}", report.ended, cell_began.elapsed());
                }
                Err(panic) => {
                    fail::remove(cell.point);
                    let text = panic_text(&*panic);
                    println!("{cell}: FAILED after {:?}: {text}", cell_began.elapsed());
                    failed.push(format!("{cell}: {text}"));
                    // Whatever it left is not the next one's.
                    let at = self.worlds.iter().position(|w| w.size == size);
                    let world = self.worlds.remove(at.expect("the cell's"));
                    abandon(world).await;
                }
            }
        }
        println!(
            "{} cells in {:?}; it happened in {happened}; paused within {:?}, cancelled within {:?}; {} failed",
            cells.len(),
            began.elapsed(),
            longest[0],
            longest[1],
            failed.len()
        );
        assert!(
            failed.is_empty(),
            "{} cells failed:\n{}",
            failed.len(),
            failed.join("\n")
        );
        for mut world in self.worlds {
            world.close().await;
        }
    }
}

/// Its node may hang: it has some time to stop.
async fn abandon(mut world: World) {
    let closing = AssertUnwindSafe(world.close()).catch_unwind();
    if tokio::time::timeout(Duration::from_secs(30), closing)
        .await
        .is_err()
    {
        println!("the node of the failed cell does not stop");
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".into())
}
