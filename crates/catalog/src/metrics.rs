//! What the catalog counts.

use std::sync::LazyLock;

use prometheus::{
    Histogram, IntCounter, IntGauge, register_histogram, register_int_counter, register_int_gauge,
};

const BUCKETS: [f64; 8] = [0.0001, 0.001, 0.01, 0.1, 1.0, 10.0, 60.0, 600.0];

pub(crate) static SCHEMA_VERSION: LazyLock<IntGauge> = LazyLock::new(|| {
    register_int_gauge!(
        "ilmenite_catalog_schema_version",
        "The schema version this node has loaded."
    )
    .expect("unique name")
});

pub(crate) static REFRESH_SECONDS: LazyLock<Histogram> = LazyLock::new(|| {
    register_histogram!(
        "ilmenite_catalog_refresh_seconds",
        "How long loading a new schema version took.",
        BUCKETS.to_vec()
    )
    .expect("unique name")
});

pub(crate) static LEASE_RENEWALS: LazyLock<IntCounter> = LazyLock::new(|| {
    register_int_counter!(
        "ilmenite_catalog_lease_renewals_total",
        "Renewals of this node's lease."
    )
    .expect("unique name")
});

pub(crate) static LEASE_FAILURES: LazyLock<IntCounter> = LazyLock::new(|| {
    register_int_counter!(
        "ilmenite_catalog_lease_failures_total",
        "Renewals of this node's lease that failed."
    )
    .expect("unique name")
});

pub(crate) static MDL_WAIT_SECONDS: LazyLock<Histogram> = LazyLock::new(|| {
    register_histogram!(
        "ilmenite_catalog_mdl_wait_seconds",
        "How long a step of a schema change waited for nodes and transactions.",
        BUCKETS.to_vec()
    )
    .expect("unique name")
});
