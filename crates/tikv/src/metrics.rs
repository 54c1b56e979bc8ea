//! What the engine counts, in the default Prometheus registry under `ilmenite_tikv_…`.

use std::sync::LazyLock;

use ilmenite_base::metrics::*;

pub(crate) struct Metrics {
    /// Calls made, by `method` and `outcome`: ok, region_error, failed.
    pub requests: IntCounterVec,
    pub request_seconds: HistogramVec,
    /// Retries, by `reason`: the region error's name, unreachable, lock, …
    pub retries: IntCounterVec,
    pub region_lookups: IntCounter,
    /// Timestamps asked for in one request.
    pub tso_batch_size: Histogram,
    /// Commits acknowledged, by `kind`: one_phase, two_phase.
    pub commits: IntCounterVec,
    /// Commits and locks refused, by `kind`: write_conflict, key_exists, precondition, too_late, locks_lost.
    pub conflicts: IntCounterVec,
    pub lock_wait_seconds: Histogram,
    pub lock_timeouts: IntCounter,
    pub deadlocks: IntCounter,
    /// Locks of other transactions met, by what became of them: committed, rolled_back, alive.
    pub locks_met: IntCounterVec,
    pub ingest_entries: IntCounter,
    pub ingest_bytes: IntCounter,
    pub gc_rounds: IntCounter,
}

pub(crate) static METRICS: LazyLock<Metrics> = LazyLock::new(|| Metrics {
    requests: counters(
        "ilmenite_tikv_requests_total",
        "Calls made, by outcome.",
        &["method", "outcome"],
    ),
    request_seconds: histograms(
        "ilmenite_tikv_request_seconds",
        "Time of calls that were answered.",
        &["method"],
        exponential_buckets(0.0001, 2.0, 18),
    ),
    retries: counters(
        "ilmenite_tikv_retries_total",
        "Calls made again, by reason.",
        &["reason"],
    ),
    region_lookups: counter("ilmenite_tikv_region_lookups_total", "Regions asked of PD."),
    tso_batch_size: histogram(
        "ilmenite_tikv_tso_batch_timestamps",
        "Timestamps asked for in one request.",
        exponential_buckets(1.0, 2.0, 12),
    ),
    commits: counters(
        "ilmenite_tikv_commits_total",
        "Transactions committed.",
        &["kind"],
    ),
    conflicts: counters(
        "ilmenite_tikv_conflicts_total",
        "Commits and locks refused, by kind.",
        &["kind"],
    ),
    lock_wait_seconds: histogram(
        "ilmenite_tikv_lock_seconds",
        "Time lock requests took, waiting for other holders included.",
        exponential_buckets(0.001, 2.0, 16),
    ),
    lock_timeouts: counter(
        "ilmenite_tikv_lock_timeouts_total",
        "Lock requests that waited in vain.",
    ),
    deadlocks: counter(
        "ilmenite_tikv_deadlocks_total",
        "Deadlocks reported by the store.",
    ),
    locks_met: counters(
        "ilmenite_tikv_locks_met_total",
        "Locks of other transactions met, by what became of them.",
        &["outcome"],
    ),
    ingest_entries: counter("ilmenite_tikv_ingest_entries_total", "Entries ingested."),
    ingest_bytes: counter(
        "ilmenite_tikv_ingest_bytes_total",
        "Bytes of keys and values ingested.",
    ),
    gc_rounds: counter(
        "ilmenite_tikv_gc_rounds_total",
        "Times this node moved the safe point.",
    ),
});
