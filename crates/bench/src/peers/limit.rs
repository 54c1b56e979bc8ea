//! The limit program as one of the systems: a process of its own for each build, over a copy of Ilmenite's data files.

use std::path::PathBuf;

use async_trait::async_trait;
use tokio::process::Command;

use super::{Built, Peer, STATEMENT, mysql};
use crate::limit::Report;
use crate::process;
use crate::workload::{Index, Workload};

pub(crate) struct Limit {
    /// As `clone_store` made it.
    snapshot: PathBuf,
    cache_bytes: u64,
}

pub(super) const SORT: &str = "limit-sort";
pub(super) const FULL: &str = "limit-full";

impl Limit {
    pub(crate) fn new(snapshot: PathBuf, cache_bytes: u64) -> Limit {
        Limit {
            snapshot,
            cache_bytes,
        }
    }
}

#[async_trait]
impl Peer for Limit {
    fn name(&self) -> &'static str {
        "limit"
    }

    fn version(&self) -> String {
        format!("bench {}", env!("CARGO_PKG_VERSION"))
    }

    fn settings(&self) -> Vec<String> {
        vec![format!("block cache {} bytes", self.cache_bytes)]
    }

    fn variants(&self) -> Vec<String> {
        vec![SORT.into(), FULL.into()]
    }

    fn builds(&self, index: Index) -> bool {
        matches!(index, Index::K | Index::C)
    }

    fn pids(&self) -> Vec<u32> {
        Vec::new()
    }

    fn mysql(&self) -> Option<mysql::Address> {
        None
    }

    async fn load(&mut self, _rows: u64) -> Result<(), String> {
        Ok(())
    }

    async fn bulk_load(&mut self, _rows: u64) -> Result<f64, String> {
        Err("the limit program loads nothing".into())
    }

    async fn build(&mut self, variant: &str, index: Index) -> Result<Built, String> {
        let program = std::env::current_exe().map_err(|e| e.to_string())?;
        let mut command = Command::new(program);
        command
            .args(["limit", "--json", "--index", &Workload::Index(index).to_string()])
            .arg("--cache-bytes")
            .arg(self.cache_bytes.to_string())
            .arg("--store")
            .arg(&self.snapshot);
        let said = process::run("the limit program", command, STATEMENT).await?;
        let line = said.lines().last().unwrap_or_default();
        let report: Report =
            serde_json::from_str(line).map_err(|e| format!("the limit program: {e}: {said}"))?;
        let verify = if variant == FULL {
            report.verify_seconds
        } else {
            0.0
        };
        Ok(Built {
            seconds: report.read_seconds + report.write_seconds + verify,
            peak_bytes: report.peak_bytes,
            ..Built::default()
        })
    }

    async fn drop_indexes(&mut self, _: Index) -> Result<(), String> {
        // It works on a copy that it removes.
        Ok(())
    }

    async fn stop(self: Box<Self>) -> Result<(), String> {
        Ok(())
    }
}
