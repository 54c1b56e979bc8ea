//! One seed from its beginning to its verdict.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ilmenite_base::Simulated;
use ilmenite_ddl::{JobRequest, JobSettings};
use ilmenite_store::{Transaction, TxnMode};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::check;
use crate::core::BEGIN_MS;
use crate::dml;
use crate::jobs;
use crate::log::Log;
use crate::mutation::Mutation;
use crate::nemesis;
use crate::settings::Settings;
use crate::sim::Sim;
use crate::table::{self, Change};
use crate::world::World;

/// What came of a seed.
#[derive(Debug, Clone)]
pub struct Report {
    pub seed: u64,
    pub hash: u64,
    pub events: u64,
    pub virtual_ms: u64,
    pub commits: u64,
    pub jobs: u64,
    pub violations: Vec<String>,
    pub lines: Vec<String>,
}

impl Report {
    pub fn passed(&self) -> bool {
        self.violations.is_empty()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "seed {}: {} ({} ms of virtual time, {} events, hash {:016x}, {} commits, {} jobs)",
            self.seed,
            if self.passed() { "passed" } else { "FAILED" },
            self.virtual_ms,
            self.events,
            self.hash,
            self.commits,
            self.jobs
        )?;
        self.violations.iter().try_for_each(|v| writeln!(f, "  {v}"))
    }
}

/// How much of what happens is kept as text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trace {
    No,
    Keep,
    Echo,
}

/// Runs a seed on this thread. The same seed gives the same report, whatever else the machine does.
pub fn run_seed(seed: u64, mutation: Option<Mutation>, trace: Trace) -> Report {
    run_settings(Settings::of(seed, mutation), trace)
}

/// The same, of settings that no seed has.
pub fn run_settings(settings: Settings, trace: Trace) -> Report {
    run_course(settings, trace, |sim| async move { phases(&sim).await })
}

/// A course of its own instead of the usual: for what has to happen at a certain moment.
pub fn run_course<F>(settings: Settings, trace: Trace, course: impl FnOnce(Arc<Sim>) -> F) -> Report
where
    F: Future<Output = ()>,
{
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => panic!("no runtime: {error}"),
    };
    let report = runtime.block_on(simulate(settings, trace, course));
    // What hangs in dead nodes goes with the runtime.
    drop(runtime);
    ilmenite_base::simulate(None);
    report
}

async fn simulate<F>(settings: Settings, trace: Trace, course: impl FnOnce(Arc<Sim>) -> F) -> Report
where
    F: Future<Output = ()>,
{
    let log = Log::new(trace != Trace::No, trace == Trace::Echo);
    let broken = settings.mutation.map(Mutation::broken_store).unwrap_or_default();
    let world = World::new(settings.seed, broken, log);
    let began = Instant::now();
    let off = world.wall_off_ms.clone();
    ilmenite_base::simulate(Some(Simulated {
        rng: StdRng::seed_from_u64(settings.seed ^ 0xa3b1),
        wall_ms: Box::new(move || {
            (BEGIN_MS + began.elapsed().as_millis() as u64).saturating_add_signed(*off.lock())
        }),
    }));
    let sim = Sim::new(settings, world.clone());
    sim.world.log.note(|| format!("{settings:#?}"));
    course(sim.clone()).await;
    Report {
        seed: settings.seed,
        hash: world.log.hash(),
        events: world.log.events(),
        virtual_ms: world.log.now_ms(),
        commits: sim.commits.load(Ordering::Relaxed),
        jobs: sim.jobs.submitted.load(Ordering::Relaxed),
        violations: world.violations(),
        lines: world.log.lines(),
    }
}

async fn phases(sim: &Arc<Sim>) {
    let mut rng = StdRng::seed_from_u64(sim.settings.seed ^ 0x9e37);
    setup(sim, &mut rng).await;
    let mut writers = tokio::task::JoinSet::new();
    for me in 0..sim.settings.dml.clients {
        writers.spawn(dml::client(sim.clone(), me, rng.random()));
    }
    let mut changers = tokio::task::JoinSet::new();
    for me in 0..sim.settings.ddl_clients {
        changers.spawn(jobs::client(sim.clone(), me, rng.random()));
    }
    let auditor = tokio::spawn(check::auditor(sim.clone()));
    let janitor = tokio::spawn(collect_garbage(sim.clone()));
    nemesis::run(sim.clone(), rng.random()).await;

    // Everything works again: all that was begun comes to its end.
    sim.ddl_stop.cancel();
    while changers.join_next().await.is_some() {}
    if !check::jobs_end(sim).await {
        return;
    }
    sim.writers_stop.cancel();
    while writers.join_next().await.is_some() {}
    check::nodes_come_back(sim).await;
    check::job_can_be_cancelled(sim, &mut rng).await;
    check::index_can_be_built(sim).await;
    auditor.abort();
    janitor.abort();
    verdict(sim).await;
}

/// What must hold in the end, nobody being at work any more.
pub async fn verdict(sim: &Arc<Sim>) {
    check::nothing_is_left(sim).await;
    check::rows_are_as_acknowledged(sim);
    check::indexes_equal_tables(sim).await;
    check::jobs_ended_rightly(sim);
}

/// Nodes, tables, first rows.
pub async fn setup(sim: &Arc<Sim>, rng: &mut StdRng) {
    for _ in 0..sim.settings.nodes {
        sim.start_node().await;
    }
    let nodes = sim.nodes();
    let node = &nodes[0];
    for number in 0..sim.settings.tables {
        let request = JobRequest {
            query: String::new(),
            statement: table::create_table(&sim.table_name(number)),
            settings: JobSettings::default(),
        };
        let created = node.ddl.run(request, &CancellationToken::new()).await;
        if let Err(error) = created {
            sim.violation(format!("the table could not be created: {error}"));
            return;
        }
        first_rows(sim, number, rng).await;
    }
    let mut core = sim.world.core.lock();
    core.region_bytes = sim.settings.region_bytes;
    nemesis::split_regions(&mut core, sim.settings.boundaries, rng);
}

async fn first_rows(sim: &Sim, number: usize, rng: &mut StdRng) {
    let nodes = sim.nodes();
    let node = &nodes[0];
    let Some(table) = table::find(&node.catalog, &sim.table_name(number)) else {
        return sim.violation("the table is not there after it was created".into());
    };
    let dml = &sim.settings.dml;
    let first: Vec<i64> = (0..sim.settings.rows_first).collect();
    for chunk in first.chunks(100) {
        let Ok(mut txn) = Transaction::begin(&sim.truth, TxnMode::Pessimistic).await else {
            return;
        };
        let mut writes = std::collections::BTreeMap::new();
        for &n in chunk {
            // Some are the clients' own, the others stay as they are.
            let id = if n % 2 == 0 { n } else { 1_000_000 + n };
            let a = (!rng.random_bool(0.1)).then(|| {
                if dml.values > 1000 {
                    n * 1000
                } else {
                    rng.random_range(0..dml.values * 50)
                }
            });
            let values = (a, ["x", "y", "zz"][rng.random_range(0..3)].to_owned());
            let change = Change::Insert(id, values.clone());
            if let Err(error) = table::change(&sim.truth, &mut txn, &table, &change).await {
                return sim.violation(format!("the first rows could not be written: {error}"));
            }
            writes.insert((number, id), Some(values));
        }
        match txn.commit(Default::default()).await {
            Ok(_) => sim.oracle.acknowledged(&writes),
            Err(error) => return sim.violation(format!("the first rows could not be committed: {error}")),
        }
    }
}

async fn collect_garbage(sim: Arc<Sim>) {
    loop {
        tokio::time::sleep(Duration::from_secs(4)).await;
        let mut core = sim.world.core.lock();
        core.collect_garbage(sim.world.log.now_ms());
    }
}
