//! What the store counts, in the default Prometheus registry under `ilmenite_store_…`.

use std::sync::LazyLock;

use ilmenite_base::metrics::*;
use ilmenite_store::Error;

pub(crate) struct Metrics {
    /// Commits acknowledged.
    pub commits: IntCounter,
    /// Transactions merged into one write of the journal.
    pub commit_batch_size: Histogram,
    /// From handing a batch to the engine until it is applied and, where asked for, synced.
    pub commit_batch_seconds: Histogram,
    /// Commits and locks refused, by `kind`: write_conflict, key_exists, precondition, too_late.
    pub conflicts: IntCounterVec,
    pub lock_waits: IntCounter,
    pub lock_wait_seconds: Histogram,
    pub lock_timeouts: IntCounter,
    pub deadlocks: IntCounter,
    pub gc_versions_removed: IntCounter,
    pub ingest_entries: IntCounter,
    pub ingest_bytes: IntCounter,
    /// Ranges of rows copied to the range cache, and taken from it.
    pub range_cache_fills: IntCounter,
    pub range_cache_hits: IntCounter,
    pub keyspaces_created: IntCounter,
    pub keyspaces_dropped: IntCounter,
}

pub(crate) static METRICS: LazyLock<Metrics> = LazyLock::new(|| Metrics {
    commits: counter("ilmenite_store_commits_total", "Transactions committed."),
    commit_batch_size: histogram(
        "ilmenite_store_commit_batch_transactions",
        "Transactions merged into one journal write.",
        exponential_buckets(1.0, 2.0, 10),
    ),
    commit_batch_seconds: histogram(
        "ilmenite_store_fsync_seconds",
        "Time to write, sync and apply one batch of commits.",
        exponential_buckets(0.0001, 2.0, 16),
    ),
    conflicts: counters(
        "ilmenite_store_conflicts_total",
        "Commits and locks refused, by kind.",
        &["kind"],
    ),
    lock_waits: counter(
        "ilmenite_store_lock_waits_total",
        "Lock requests that had to wait.",
    ),
    lock_wait_seconds: histogram(
        "ilmenite_store_lock_wait_seconds",
        "Time lock requests waited.",
        exponential_buckets(0.001, 2.0, 16),
    ),
    lock_timeouts: counter(
        "ilmenite_store_lock_timeouts_total",
        "Lock requests that waited in vain.",
    ),
    deadlocks: counter("ilmenite_store_deadlocks_total", "Deadlocks found."),
    gc_versions_removed: counter(
        "ilmenite_store_gc_versions_removed_total",
        "Versions removed by garbage collection.",
    ),
    ingest_entries: counter(
        "ilmenite_store_ingest_entries_total",
        "Entries made visible by ingest.",
    ),
    ingest_bytes: counter(
        "ilmenite_store_ingest_bytes_total",
        "Bytes of keys and values made visible by ingest.",
    ),
    range_cache_fills: counter(
        "ilmenite_store_range_cache_fills_total",
        "Ranges of rows with many old versions copied to memory.",
    ),
    range_cache_hits: counter(
        "ilmenite_store_range_cache_hits_total",
        "Reads, or parts of scans, answered from such copies.",
    ),
    keyspaces_created: counter(
        "ilmenite_store_keyspaces_created_total",
        "Keyspaces created for tables and indexes.",
    ),
    keyspaces_dropped: counter("ilmenite_store_keyspaces_dropped_total", "Keyspaces dropped."),
});

/// Counts a commit or a lock refused by what somebody else wrote.
pub(crate) fn count_conflict(error: &Error) {
    let kind = match error {
        Error::WriteConflict { .. } => "write_conflict",
        Error::KeyExists { .. } => "key_exists",
        Error::PreconditionFailed { .. } => "precondition",
        Error::CommitTooLate { .. } => "too_late",
        _ => return,
    };
    METRICS.conflicts.with_label_values(&[kind]).inc();
}
