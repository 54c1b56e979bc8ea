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

use clap::{Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};

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
        Command::Run(args) => until_interrupted(run::run(&args)),
        Command::Limit(args) => limit::run(&args),
        Command::Growth(args) => until_interrupted(growth::run(&args)),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// A signal ends the work where it is: dropping it ends the servers and removes their data.
fn until_interrupted(work: impl Future<Output = Result<(), String>>) -> Result<(), String> {
    let runtime = tokio::runtime::Runtime::new().map_err(|e| e.to_string())?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate()).map_err(|e| e.to_string())?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(|e| e.to_string())?;
        tokio::select! {
            result = work => result,
            _ = terminate.recv() => Err("interrupted".into()),
            _ = interrupt.recv() => Err("interrupted".into()),
        }
    })
}
