//! Making metrics, in the default Prometheus registry. Names and buckets are constants of the code: a bad one fails the
//! first test that touches it. A name taken twice would only lose the figure from the page, and is logged.

pub use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge};
use prometheus::{HistogramOpts, Opts};

pub fn counter(name: &str, help: &str) -> IntCounter {
    register(name, IntCounter::new(name, help))
}

/// One counter for each value of the labels.
pub fn counters(name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
    register(name, IntCounterVec::new(Opts::new(name, help), labels))
}

pub fn gauge(name: &str, help: &str) -> IntGauge {
    register(name, IntGauge::new(name, help))
}

/// `buckets`: upper bounds, ascending.
pub fn histogram(name: &str, help: &str, buckets: Vec<f64>) -> Histogram {
    let opts = HistogramOpts::new(name, help).buckets(buckets);
    register(name, Histogram::with_opts(opts))
}

/// One histogram for each value of the labels.
pub fn histograms(name: &str, help: &str, labels: &[&str], buckets: Vec<f64>) -> HistogramVec {
    let opts = HistogramOpts::new(name, help).buckets(buckets);
    register(name, HistogramVec::new(opts, labels))
}

/// `count` buckets, the first up to `start`, each `factor` times as wide as the one before.
pub fn exponential_buckets(start: f64, factor: f64, count: usize) -> Vec<f64> {
    let bounds = std::iter::successors(Some(start), |bound| Some(bound * factor));
    bounds.take(count).collect()
}

fn register<C: prometheus::core::Collector + Clone + 'static>(name: &str, made: prometheus::Result<C>) -> C {
    let collector = made.unwrap_or_else(|e| unreachable!("metric {name}: {e}"));
    if let Err(e) = prometheus::default_registry().register(Box::new(collector.clone())) {
        tracing::warn!(metric = name, error = %e, "metric not registered");
    }
    collector
}
