//! The command line.

mod config;
mod demo;
mod logging;
mod serve;
mod store;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A MySQL-compatible SQL database whose schema changes can be trusted.
///
/// Exit codes: 0 good, 1 failure at work, 2 bad usage.
#[derive(Parser)]
#[command(name = "ilmenite", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run one SQL node
    Server(Box<config::ServerArgs>),
    /// Serve one store to several SQL nodes, by PD's and TiKV's protocol
    Store(Box<config::StoreArgs>),
    /// Show the main job on a real workload, from nothing: indexes added online to TPC-H lineitem under load
    Demo(demo::DemoArgs),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => return failed(&format!("cannot start: {e}")),
    };
    let result = match cli.command {
        Command::Store(args) => {
            let args = match args.with_file() {
                Ok(args) => args,
                Err(e) => {
                    eprintln!("ilmenite: {e}");
                    return ExitCode::from(2);
                }
            };
            if let Err(e) = logging::init(args.log_level(), args.log_format()) {
                eprintln!("ilmenite: {e}");
                return ExitCode::from(2);
            }
            runtime.block_on(store::run(args))
        }
        Command::Server(args) => {
            let args = match args.with_file() {
                Ok(args) => args,
                Err(e) => {
                    eprintln!("ilmenite: {e}");
                    return ExitCode::from(2);
                }
            };
            if let Err(e) = logging::init(args.log_level(), args.log_format()) {
                eprintln!("ilmenite: {e}");
                return ExitCode::from(2);
            }
            runtime.block_on(serve::run(args))
        }
        Command::Demo(args) => runtime.block_on(demo::run(args)),
    };
    // Threads still at work on something that does not matter any more must not hold up the exit.
    runtime.shutdown_background();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => failed(&e),
    }
}

fn failed(message: &str) -> ExitCode {
    eprintln!("ilmenite: {message}");
    ExitCode::from(1)
}
