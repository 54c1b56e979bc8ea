//! Ilmenite measured beside its peers and beside the limit, on the same machine, the same data, and in turns. See
//! docs/bench/README.md.

mod data;
mod growth;
mod limit;
mod machine;
mod oltp;
mod peers;
mod process;
mod report;
mod results;
mod run;
mod stats;
mod svg;
mod under_load;
mod workload;

use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};

/// As the server's: the limit is not to be slower for its allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Debug, Parser)]
#[command(name = "bench", version, about = "Ilmenite beside its peers and its limit")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run workloads on all systems, in turns, and compare
    Run(Box<run::RunArgs>),
    /// Do the bare work of an index build over a data directory, with no database around it
    Limit(limit::LimitArgs),
    /// Calculate builds far larger than this machine holds, and plot what was measured against rows
    Growth(growth::GrowthArgs),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match cli.command {
        Command::Run(args) => block_on(run::run(&args)),
        Command::Limit(args) => limit::run(&args),
        Command::Growth(args) => block_on(growth::run(&args)),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What blocks a thread (writing out the machine's caches, say) is not waited for long once the work has ended.
const LINGER: Duration = Duration::from_secs(5);

fn block_on(work: impl Future<Output = Result<(), String>>) -> Result<(), String> {
    let runtime = tokio::runtime::Runtime::new().map_err(|e| e.to_string())?;
    let result = runtime.block_on(work);
    runtime.shutdown_timeout(LINGER);
    result
}
