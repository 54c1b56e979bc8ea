//! What the catalog counts, in the default Prometheus registry under `ilmenite_catalog_…`.

use std::sync::LazyLock;

use ilmenite_base::metrics::*;

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
    schema_version: gauge(
        "ilmenite_catalog_schema_version",
        "The newest schema version this node holds.",
    ),
    refresh_seconds: histogram(
        "ilmenite_catalog_refresh_seconds",
        "Time to load a new schema version.",
        latency_buckets(),
    ),
    full_loads: counter(
        "ilmenite_catalog_full_loads_total",
        "Times all schemas were loaded anew.",
    ),
    lease_renewals: counter(
        "ilmenite_catalog_lease_renewals_total",
        "Renewals of the node's lease.",
    ),
    lease_renewals_failed: counter(
        "ilmenite_catalog_lease_renewals_failed_total",
        "Renewals of the node's lease that failed.",
    ),
    leases_lost: counter(
        "ilmenite_catalog_leases_lost_total",
        "Times the node's lease ended before it was renewed.",
    ),
    owner_terms: counter(
        "ilmenite_catalog_owner_terms_total",
        "Terms as owner of schema changes that began on this node.",
    ),
    mdl_waits: counter(
        "ilmenite_catalog_mdl_waits_total",
        "Schema steps that had to wait for transactions or nodes on an older version.",
    ),
    mdl_wait_seconds: histogram(
        "ilmenite_catalog_mdl_wait_seconds",
        "Time from a schema step until every node and transaction had it.",
        latency_buckets(),
    ),
    auto_id_batches: counter(
        "ilmenite_catalog_auto_id_batches_total",
        "Batches of automatic ids taken from the store.",
    ),
});

/// From 50 microseconds to about 100 seconds.
fn latency_buckets() -> Vec<f64> {
    exponential_buckets(0.000_05, 2.0, 22)
}
