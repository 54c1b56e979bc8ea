//! What the store counts, in the default Prometheus registry under `ilmenite_store_…`.

use std::sync::LazyLock;

use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, Opts};

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
    commits: counter("commits_total", "Transactions committed."),
    commit_batch_size: histogram(
        "commit_batch_transactions",
        "Transactions merged into one journal write.",
        prometheus::exponential_buckets(1.0, 2.0, 10),
    ),
    commit_batch_seconds: histogram(
        "fsync_seconds",
        "Time to write, sync and apply one batch of commits.",
        prometheus::exponential_buckets(0.0001, 2.0, 16),
    ),
    conflicts: {
        let opts = Opts::new(
            "ilmenite_store_conflicts_total",
            "Commits and locks refused, by kind.",
        );
        register(
            IntCounterVec::new(opts.clone(), &["kind"])
                .unwrap_or_else(|e| unreachable!("static metric {}: {e}", opts.name)),
        )
    },
    lock_waits: counter("lock_waits_total", "Lock requests that had to wait."),
    lock_wait_seconds: histogram(
        "lock_wait_seconds",
        "Time lock requests waited.",
        prometheus::exponential_buckets(0.001, 2.0, 16),
    ),
    lock_timeouts: counter("lock_timeouts_total", "Lock requests that waited in vain."),
    deadlocks: counter("deadlocks_total", "Deadlocks found."),
    gc_versions_removed: counter(
        "gc_versions_removed_total",
        "Versions removed by garbage collection.",
    ),
    ingest_entries: counter("ingest_entries_total", "Entries made visible by ingest."),
    ingest_bytes: counter(
        "ingest_bytes_total",
        "Bytes of keys and values made visible by ingest.",
    ),
    range_cache_fills: counter(
        "range_cache_fills_total",
        "Ranges of rows with many old versions copied to memory.",
    ),
    range_cache_hits: counter(
        "range_cache_hits_total",
        "Reads, or parts of scans, answered from such copies.",
    ),
    keyspaces_created: counter(
        "keyspaces_created_total",
        "Keyspaces created for tables and indexes.",
    ),
    keyspaces_dropped: counter("keyspaces_dropped_total", "Keyspaces dropped."),
});

fn counter(name: &str, help: &str) -> IntCounter {
    let name = format!("ilmenite_store_{name}");
    register(IntCounter::new(&name, help).unwrap_or_else(|e| unreachable!("static metric {name}: {e}")))
}

fn histogram(name: &str, help: &str, buckets: prometheus::Result<Vec<f64>>) -> Histogram {
    let name = format!("ilmenite_store_{name}");
    let opts = HistogramOpts::new(&name, help);
    let built = buckets.and_then(|b| Histogram::with_opts(opts.buckets(b)));
    register(built.unwrap_or_else(|e| unreachable!("static metric {name}: {e}")))
}

/// A name taken twice would only lose the figure from the page, never the store.
fn register<C: prometheus::core::Collector + Clone + 'static>(collector: C) -> C {
    if let Err(e) = prometheus::default_registry().register(Box::new(collector.clone())) {
        tracing::warn!(error = %e, "metric not registered");
    }
    collector
}
