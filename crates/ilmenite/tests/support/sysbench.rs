//! sysbench, where it is installed.

use std::net::SocketAddr;
use std::process::Command;

use super::{installed, output};

#[derive(Clone)]
pub(crate) struct Sysbench {
    program: String,
    pub test: &'static str,
    pub threads: u32,
    pub seconds: u32,
    pub tables: u32,
    pub table_rows: u32,
}

impl Sysbench {
    /// `None`, and a note, when there is none.
    pub(crate) fn new(test: &'static str, threads: u32, seconds: u32) -> Option<Sysbench> {
        let Some(program) = installed("sysbench") else {
            println!("sysbench {test}: SKIPPED, 'sysbench' is not installed");
            return None;
        };
        Some(Sysbench {
            program: program.display().to_string(),
            test,
            threads,
            seconds,
            tables: 2,
            table_rows: 5000,
        })
    }

    /// `step`: prepare, run or cleanup. Its status, and what it said. Lock wait timeouts and deadlocks are retried by it.
    pub(crate) async fn step(&self, address: SocketAddr, step: &str) -> (Option<i32>, String) {
        let mut command = Command::new(&self.program);
        command.arg(self.test).args([
            "--db-driver=mysql".to_string(),
            "--mysql-host=127.0.0.1".into(),
            format!("--mysql-port={}", address.port()),
            "--mysql-user=root".into(),
            "--mysql-db=test".into(),
            "--mysql-ignore-errors=1205,1213".into(),
            format!("--threads={}", self.threads),
            format!("--time={}", self.seconds),
        ]);
        if self.test != "bulk_insert" {
            command.args([
                format!("--tables={}", self.tables),
                format!("--table-size={}", self.table_rows),
            ]);
        }
        command.arg(step);
        output(command, 100 + u64::from(self.seconds)).await
    }

    /// A step without a single error.
    pub(crate) async fn succeed(&self, address: SocketAddr, step: &str) -> String {
        let (status, said) = self.step(address, step).await;
        let test = self.test;
        assert_eq!(status, Some(0), "sysbench {test} {step}:\n{said}");
        assert!(
            !said.contains("FATAL") && !said.contains("error:"),
            "sysbench {test} {step}:\n{said}"
        );
        said
    }
}

/// The first number behind `name` in a summary.
pub(crate) fn figure(said: &str, name: &str) -> u64 {
    let rest = said
        .split_once(name)
        .unwrap_or_else(|| panic!("no '{name}' in\n{said}"))
        .1;
    rest.split_whitespace()
        .next()
        .and_then(|n| n.parse::<u64>().ok())
        .unwrap_or_else(|| panic!("{said}"))
}
