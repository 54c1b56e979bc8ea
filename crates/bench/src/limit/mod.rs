//! The limit: the work that no index build can do without, with no database around it. The encoded rows are read once
//! from the storage engine, the keys extracted and sorted, and the entries written once by the engine's own bulk
//! path; on all cores, everything in memory. Verification (as `ilmenite_ddl_verify = full` does it: count and sum of
//! hashes of the index against those of the table) is timed apart.

mod build;
mod entries;

use std::fs::TryLockError;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::report::{figure, print, thousands};
use crate::{machine, process};
use entries::Column;

pub(crate) use build::Report;

#[derive(Debug, Args)]
pub(crate) struct LimitArgs {
    /// Data directory of an `ilmenite server` that has been stopped. It is not changed: the work is done on a copy
    /// beside it that shares the table files
    #[arg(long, value_name = "DIR")]
    store: PathBuf,

    /// Indexes to build, of sysbench's columns
    #[arg(long = "index", value_enum, value_delimiter = ',', default_values_t = [Column::K, Column::C])]
    indexes: Vec<Column>,

    /// The table's id [default: the one with the most rows]
    #[arg(long)]
    table_id: Option<i64>,

    /// Bytes of the engine's block cache
    #[arg(long, default_value_t = 1 << 30)]
    cache_bytes: u64,

    /// Print one JSON object for each index
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &LimitArgs) -> Result<(), String> {
    check_stopped(&args.store)?;
    for &column in &args.indexes {
        let parent = args.store.parent().filter(|p| !p.as_os_str().is_empty());
        let scratch = tempfile::Builder::new()
            .prefix("ilmenite-limit-")
            .tempdir_in(parent.unwrap_or(Path::new(".")))
            .map_err(|e| format!("no directory beside {}: {e}", args.store.display()))?;
        let copy = scratch.path().join("store");
        clone_store(&args.store, &copy)?;
        let mut report = build::run(&copy, column, args.table_id, args.cache_bytes)?;
        report.peak_bytes = process::peak_bytes(std::process::id());
        if args.json {
            print(&serde_json::to_string(&report).map_err(|e| e.to_string())?)?;
        } else {
            print(&describe(column, &report))?;
        }
    }
    Ok(())
}

/// A copy of files that change meanwhile would be none.
fn check_stopped(store: &Path) -> Result<(), String> {
    let path = store.join(LOCK);
    let file = std::fs::File::open(&path)
        .map_err(|e| format!("{}: {e}: is it a data directory of Ilmenite?", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => Err(format!("a server has {} open: stop it first", store.display())),
        Err(TryLockError::Error(e)) => Err(format!("{}: {e}", path.display())),
    }
}

fn describe(column: Column, report: &Report) -> String {
    let rate = |seconds: f64| figure(report.rows as f64 / seconds.max(1e-9));
    let built = report.read_seconds + report.write_seconds;
    let full = built + report.verify_seconds;
    format!(
        "{column:?}: {} rows on {} cores; read and sort {} s, merge and write {} s\n  \
         built {} s ({} rows/s); verified {} s, in all {} s ({} rows/s)",
        thousands(report.rows),
        machine::cores(),
        figure(report.read_seconds),
        figure(report.write_seconds),
        figure(built),
        rate(built),
        figure(report.verify_seconds),
        figure(full),
        rate(full),
    )
}

/// Locked by whoever has the store open.
const LOCK: &str = "store.lock";
/// The folders whose files the engine writes once and never changes.
const IMMUTABLE: &str = "tables";

/// Copies the files of a store that nobody has open. Those that never change are shared, by hard links, where the file
/// system has them.
pub(crate) fn clone_store(from: &Path, to: &Path) -> Result<(), String> {
    let failed = |path: &Path, e: std::io::Error| format!("{}: {e}", path.display());
    std::fs::create_dir(to).map_err(|e| failed(to, e))?;
    let shared = to.file_name().is_some_and(|name| name == IMMUTABLE);
    for entry in std::fs::read_dir(from).map_err(|e| failed(from, e))? {
        let entry = entry.map_err(|e| failed(from, e))?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type().map_err(|e| failed(&source, e))?.is_dir() {
            clone_store(&source, &target)?;
        } else if !(shared && std::fs::hard_link(&source, &target).is_ok()) {
            std::fs::copy(&source, &target).map_err(|e| failed(&source, e))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn a_store_that_is_open_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        assert!(
            check_stopped(dir.path())
                .unwrap_err()
                .contains("is it a data directory")
        );
        let lock = std::fs::File::create(dir.path().join(LOCK)).unwrap();
        assert_eq!(check_stopped(dir.path()), Ok(()));
        lock.lock().unwrap();
        assert!(check_stopped(dir.path()).unwrap_err().contains("stop it first"));
    }

    #[test]
    fn a_copy_shares_only_what_never_changes() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("a"), dir.path().join("b"));
        std::fs::create_dir_all(from.join("keyspaces/1/tables")).unwrap();
        std::fs::write(from.join("keyspaces/1/tables/9"), "table").unwrap();
        std::fs::write(from.join("0.jnl"), "journal").unwrap();
        clone_store(&from, &to).unwrap();
        let inode = |path: PathBuf| std::fs::metadata(path).unwrap().ino();
        let table = "keyspaces/1/tables/9";
        assert_eq!(inode(from.join(table)), inode(to.join(table)));
        assert_ne!(inode(from.join("0.jnl")), inode(to.join("0.jnl")));
        assert_eq!(std::fs::read_to_string(to.join("0.jnl")).unwrap(), "journal");
        assert!(clone_store(&from, &to).unwrap_err().contains("/b"));
    }
}
