//! What the catalog counts, in the default Prometheus registry under `ilmenite_catalog_…`.

use std::sync::LazyLock;

use prometheus::{Histogram, HistogramOpts, IntCounter, IntGauge};

pub(crate) struct Metrics {
    pub schema_version: IntGauge,
    pub refresh_seconds: Histogram,
    pub full_loads: IntCounter,
    pub lease_renewals: IntCounter,
    pub lease_renewals_failed: IntCounter,
    pub leases_lost: IntCounter,
    pub owner_terms: IntCounter,
    /// Waits for metadata locks that found somebody to wait for.
    pub mdl_waits: IntCounter,
    pub mdl_wait_seconds: Histogram,
    pub auto_id_batches: IntCounter,
}

pub(crate) static METRICS: LazyLock<Metrics> = LazyLock::new(|| Metrics {
    schema_version: gauge("schema_version", "The newest schema version this node holds."),
    refresh_seconds: histogram("refresh_seconds", "Time to load a new schema version."),
    full_loads: counter("full_loads_total", "Times all schemas were loaded anew."),
    lease_renewals: counter("lease_renewals_total", "Renewals of the node's lease."),
    lease_renewals_failed: counter(
        "lease_renewals_failed_total",
        "Renewals of the node's lease that failed.",
    ),
    leases_lost: counter(
        "leases_lost_total",
        "Times the node's lease ended before it was renewed.",
    ),
    owner_terms: counter(
        "owner_terms_total",
        "Terms as owner of schema changes that began on this node.",
    ),
    mdl_waits: counter(
        "mdl_waits_total",
        "Schema steps that had to wait for transactions or nodes on an older version.",
    ),
    mdl_wait_seconds: histogram(
        "mdl_wait_seconds",
        "Time from a schema step until every node and transaction had it.",
    ),
    auto_id_batches: counter(
        "auto_id_batches_total",
        "Batches of automatic ids taken from the store.",
    ),
});

fn counter(name: &str, help: &str) -> IntCounter {
    let name = format!("ilmenite_catalog_{name}");
    register(IntCounter::new(&name, help).unwrap_or_else(|e| unreachable!("static metric {name}: {e}")))
}

fn gauge(name: &str, help: &str) -> IntGauge {
    let name = format!("ilmenite_catalog_{name}");
    register(IntGauge::new(&name, help).unwrap_or_else(|e| unreachable!("static metric {name}: {e}")))
}

/// Buckets from 50 microseconds to about 100 seconds.
fn histogram(name: &str, help: &str) -> Histogram {
    let name = format!("ilmenite_catalog_{name}");
    let opts = HistogramOpts::new(&name, help);
    let built = prometheus::exponential_buckets(0.000_05, 2.0, 22)
        .and_then(|b| Histogram::with_opts(opts.buckets(b)));
    register(built.unwrap_or_else(|e| unreachable!("static metric {name}: {e}")))
}

/// A name taken twice would only lose the figure from the page.
fn register<C: prometheus::core::Collector + Clone + 'static>(collector: C) -> C {
    if let Err(e) = prometheus::default_registry().register(Box::new(collector.clone())) {
        tracing::warn!(error = %e, "metric not registered");
    }
    collector
}
