//! What the engine counts, in the default Prometheus registry under `ilmenite_tikv_…`.

use std::sync::LazyLock;

use prometheus::{Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, Opts};

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
        "requests_total",
        "Calls made, by outcome.",
        &["method", "outcome"],
    ),
    request_seconds: {
        let opts = HistogramOpts::new(
            "ilmenite_tikv_request_seconds",
            "Time of calls that were answered.",
        );
        let built = prometheus::exponential_buckets(0.0001, 2.0, 18)
            .and_then(|b| HistogramVec::new(opts.buckets(b), &["method"]));
        register(built.unwrap_or_else(|e| unreachable!("static metric: {e}")))
    },
    retries: counters("retries_total", "Calls made again, by reason.", &["reason"]),
    region_lookups: counter("region_lookups_total", "Regions asked of PD."),
    tso_batch_size: histogram(
        "tso_batch_timestamps",
        "Timestamps asked for in one request.",
        prometheus::exponential_buckets(1.0, 2.0, 12),
    ),
    commits: counters("commits_total", "Transactions committed.", &["kind"]),
    conflicts: counters(
        "conflicts_total",
        "Commits and locks refused, by kind.",
        &["kind"],
    ),
    lock_wait_seconds: histogram(
        "lock_seconds",
        "Time lock requests took, waiting for other holders included.",
        prometheus::exponential_buckets(0.001, 2.0, 16),
    ),
    lock_timeouts: counter("lock_timeouts_total", "Lock requests that waited in vain."),
    deadlocks: counter("deadlocks_total", "Deadlocks reported by the store."),
    locks_met: counters(
        "locks_met_total",
        "Locks of other transactions met, by what became of them.",
        &["outcome"],
    ),
    ingest_entries: counter("ingest_entries_total", "Entries ingested."),
    ingest_bytes: counter("ingest_bytes_total", "Bytes of keys and values ingested."),
    gc_rounds: counter("gc_rounds_total", "Times this node moved the safe point."),
});

fn counter(name: &str, help: &str) -> IntCounter {
    let name = format!("ilmenite_tikv_{name}");
    register(IntCounter::new(&name, help).unwrap_or_else(|e| unreachable!("static metric {name}: {e}")))
}

fn counters(name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
    let opts = Opts::new(format!("ilmenite_tikv_{name}"), help);
    register(IntCounterVec::new(opts, labels).unwrap_or_else(|e| unreachable!("static metric {name}: {e}")))
}

fn histogram(name: &str, help: &str, buckets: prometheus::Result<Vec<f64>>) -> Histogram {
    let name = format!("ilmenite_tikv_{name}");
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
