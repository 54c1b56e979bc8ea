//! Runs seeds: one, with all that happened, or many, on all cores.

use std::io::Write;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::Parser;
use ilmenite_sim::mutation::Mutation;
use ilmenite_sim::run::{Report, Trace, run_seed};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Simulates clusters by seed.
#[derive(Debug, Parser)]
struct Arguments {
    /// Runs this seed, twice, and prints what happened.
    #[arg(long)]
    seed: Option<u64>,
    /// Runs these seeds: from, and to (exclusive).
    #[arg(long, value_name = "FROM..TO")]
    seeds: Option<String>,
    /// Runs new seeds, from the time of day on, for so many minutes.
    #[arg(long)]
    minutes: Option<f64>,
    /// Seeds at once; by default one for each core.
    #[arg(long)]
    threads: Option<usize>,
    /// Stops at the first seed that fails.
    #[arg(long)]
    stop: bool,
    /// Breaks something on purpose.
    #[arg(long)]
    mutation: Option<Mutation>,
    /// Every event, as it happens, and what the code under test logs.
    #[arg(long)]
    trace: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match arguments.seed {
        Some(seed) => one(&arguments, seed),
        None => many(&arguments),
    }
}

fn one(arguments: &Arguments, seed: u64) -> ExitCode {
    if arguments.trace {
        tracing_subscriber::fmt()
            .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
            .with_writer(std::io::stderr)
            .without_time()
            .init();
    }
    let trace = if arguments.trace { Trace::Echo } else { Trace::Keep };
    let began = Instant::now();
    let report = run_seed(seed, arguments.mutation, trace);
    let took = began.elapsed();
    if !arguments.trace && !report.passed() {
        report.lines.iter().for_each(|line| eprintln!("{line}"));
    }
    // A reader may have had enough.
    let _ = writeln!(std::io::stdout(), "{report}  {took:.1?}");
    let again = run_seed(seed, arguments.mutation, Trace::No);
    if again.hash != report.hash {
        println!("  NOT REPEATABLE: hash {:016x} the second time", again.hash);
        return ExitCode::FAILURE;
    }
    exit(report.passed())
}

fn exit(good: bool) -> ExitCode {
    if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn many(arguments: &Arguments) -> ExitCode {
    let (from, to) = match range(arguments) {
        Ok(range) => range,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(2);
        }
    };
    let threads = arguments
        .threads
        .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    let deadline = arguments
        .minutes
        .map(|minutes| Instant::now() + Duration::from_secs_f64(minutes * 60.0));
    let (next, stop) = (AtomicU64::new(from), AtomicBool::new(false));
    let (ran, virtual_ms, commits, jobs) = (
        AtomicU64::new(0),
        AtomicU64::new(0),
        AtomicU64::new(0),
        AtomicU64::new(0),
    );
    let failed: Mutex<Vec<Report>> = Mutex::default();
    let began = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) && deadline.is_none_or(|at| Instant::now() < at) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= to {
                        return;
                    }
                    let report = run_seed(seed, arguments.mutation, Trace::No);
                    ran.fetch_add(1, Ordering::Relaxed);
                    virtual_ms.fetch_add(report.virtual_ms, Ordering::Relaxed);
                    commits.fetch_add(report.commits, Ordering::Relaxed);
                    jobs.fetch_add(report.jobs, Ordering::Relaxed);
                    if !report.passed() {
                        print!("{report}");
                        stop.fetch_or(arguments.stop, Ordering::Relaxed);
                        if let Ok(mut failed) = failed.lock() {
                            failed.push(report);
                        }
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap_or_default();
    let (ran, took) = (ran.into_inner(), began.elapsed());
    println!(
        "{ran} seeds from {from} in {took:.1?} ({:.0} a minute): {} failed; {:.1} h of virtual time, {} commits, {} jobs",
        ran as f64 / took.as_secs_f64() * 60.0,
        failed.len(),
        virtual_ms.into_inner() as f64 / 3.6e6,
        commits.into_inner(),
        jobs.into_inner()
    );
    for report in &failed {
        println!(
            "again: cargo run --release -p ilmenite-sim -- --seed {}",
            report.seed
        );
    }
    exit(failed.is_empty())
}

fn range(arguments: &Arguments) -> Result<(u64, u64), String> {
    let Some(text) = &arguments.seeds else {
        let now = ilmenite_base::clock::wall_ms();
        return match arguments.minutes {
            Some(_) => Ok((now, u64::MAX)),
            None => Ok((0, 1000)),
        };
    };
    let parse = |text: &str| text.trim().parse::<u64>().map_err(|e| format!("'{text}': {e}"));
    match text.split_once("..") {
        Some((from, to)) => Ok((parse(from)?, parse(to)?)),
        None => Err(format!("'{text}' is not a range like 0..1000")),
    }
}
