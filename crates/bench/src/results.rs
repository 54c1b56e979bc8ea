//! Results that are kept: one JSON object a line, with all that is needed to compare it later.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::machine::{self, Machine};
use crate::stats::Summary;

pub(crate) const ADD_INDEX: &str = "add_index";
pub(crate) const OLTP: &str = "oltp";
pub(crate) const BULK_LOAD: &str = "bulk_load";
/// An index built while clients work.
pub(crate) const UNDER_LOAD: &str = "under_load";

/// What one system made of one workload in one invocation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub date: String,
    pub revision: String,
    pub kind: String,
    pub workload: String,
    pub system: String,
    pub version: String,
    pub settings: Vec<String>,
    pub rows: u64,
    /// `s`: less is better; `per_s`: more is better.
    pub unit: String,
    #[serde(flatten)]
    pub summary: Summary,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_bytes: Option<u64>,
    /// Requests to object storage and bytes, medians.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub objects: BTreeMap<String, u64>,
    /// Further figures, medians: their names say what and in which unit.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub figures: BTreeMap<String, f64>,
    pub machine: Machine,
}

impl Record {
    pub(crate) fn is_time(&self) -> bool {
        self.unit == "s"
    }

    pub(crate) fn rows_per_s(&self) -> Option<f64> {
        (self.is_time() && self.summary.median > 0.0).then(|| self.rows as f64 / self.summary.median)
    }

    /// How many times as good as `other` this one is.
    pub(crate) fn ratio_to(&self, other: &Record) -> f64 {
        match self.is_time() {
            true => other.summary.median / self.summary.median,
            false => self.summary.median / other.summary.median,
        }
    }
}

/// Where they are kept, with their plots, when nobody says otherwise.
pub(crate) fn dir() -> PathBuf {
    machine::root().join("docs/bench")
}

pub(crate) fn append(path: &Path, records: &[Record]) -> Result<(), String> {
    let mut lines = String::new();
    for record in records {
        lines.push_str(&serde_json::to_string(record).map_err(|e| e.to_string())?);
        lines.push('\n');
    }
    let write = || {
        if let Some(dir) = path.parent() {
            std::fs::create_dir_all(dir)?;
        }
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path)?;
        file.write_all(lines.as_bytes())
    };
    write().map_err(|e| format!("{}: {e}", path.display()))
}

/// All results of a file, oldest first; none when there is no file.
pub(crate) fn read(path: &Path) -> Result<Vec<Record>, String> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(format!("{}: {e}", path.display())),
    };
    let lines = text.lines().enumerate().filter(|(_, line)| !line.is_empty());
    lines
        .map(|(n, line)| {
            serde_json::from_str(line).map_err(|e| format!("{}, line {}: {e}", path.display(), n + 1))
        })
        .collect()
}

/// One for tests.
#[cfg(test)]
pub(crate) fn record(kind: &str, workload: &str, system: &str, rows: u64, runs: &[f64]) -> Record {
    Record {
        date: "2026-01-01T00:00:00Z".into(),
        revision: "abc".into(),
        kind: kind.into(),
        workload: workload.into(),
        system: system.into(),
        version: "1".into(),
        settings: vec!["a=1".into()],
        rows,
        unit: if kind == OLTP { "per_s" } else { "s" }.into(),
        summary: Summary::of(runs).unwrap(),
        peak_bytes: Some(1 << 20),
        objects: BTreeMap::new(),
        figures: BTreeMap::new(),
        machine: Machine {
            cpu: "x".into(),
            cores: 2,
            memory_bytes: 1,
            kernel: "6".into(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_appended_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/results.jsonl");
        assert_eq!(read(&path), Ok(vec![]));
        let first = record(ADD_INDEX, "k", "mariadb", 1000, &[2.0, 4.0, 3.0]);
        let mut second = record(OLTP, "read_write", "mariadb", 1000, &[2.0]);
        second.peak_bytes = None;
        second.figures = [("p99_ms".to_string(), 1.5)].into();
        append(&path, std::slice::from_ref(&first)).unwrap();
        append(&path, std::slice::from_ref(&second)).unwrap();
        assert_eq!(read(&path), Ok(vec![first, second]));
        std::fs::write(&path, "{}\n").unwrap();
        assert!(read(&path).unwrap_err().contains("line 1"));
    }

    #[test]
    fn ratios_say_how_many_times_as_good() {
        let slow = record(ADD_INDEX, "k", "a", 1000, &[6.0]);
        let fast = record(ADD_INDEX, "k", "b", 1000, &[2.0]);
        assert_eq!(fast.ratio_to(&slow), 3.0);
        assert_eq!(fast.rows_per_s(), Some(500.0));
        let few = record(OLTP, "k", "a", 1000, &[100.0]);
        let many = record(OLTP, "k", "b", 1000, &[150.0]);
        assert_eq!(many.ratio_to(&few), 1.5);
        assert_eq!(many.rows_per_s(), None);
    }
}
