//! What is counted: requests and bytes to object stores, for each handle and for the whole process, and the memory held.

use std::fmt;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use ilmenite_base::metrics::*;
use serde::{Deserialize, Serialize};

/// An operation on an object store: one request, or for `List` one listing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Op {
    Put,
    Get,
    List,
    Delete,
    CreateMultipart,
    PutPart,
    CompleteMultipart,
    AbortMultipart,
}

impl Op {
    pub const ALL: [Op; 8] = [
        Op::Put,
        Op::Get,
        Op::List,
        Op::Delete,
        Op::CreateMultipart,
        Op::PutPart,
        Op::CompleteMultipart,
        Op::AbortMultipart,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Op::Put => "put",
            Op::Get => "get",
            Op::List => "list",
            Op::Delete => "delete",
            Op::CreateMultipart => "create_multipart",
            Op::PutPart => "put_part",
            Op::CompleteMultipart => "complete_multipart",
            Op::AbortMultipart => "abort_multipart",
        }
    }

    /// The fail point passed before the request is sent: an error injected here means it never was.
    pub fn failpoint_before(self) -> &'static str {
        match self {
            Op::Put => "sort::object_put::before",
            Op::Get => "sort::object_get::before",
            Op::List => "sort::object_list::before",
            Op::Delete => "sort::object_delete::before",
            Op::CreateMultipart => "sort::object_create_multipart::before",
            Op::PutPart => "sort::object_put_part::before",
            Op::CompleteMultipart => "sort::object_complete_multipart::before",
            Op::AbortMultipart => "sort::object_abort_multipart::before",
        }
    }

    /// The fail point passed after a request that succeeded: an error injected here means the answer was lost.
    pub fn failpoint_after(self) -> &'static str {
        match self {
            Op::Put => "sort::object_put::after",
            Op::Get => "sort::object_get::after",
            Op::List => "sort::object_list::after",
            Op::Delete => "sort::object_delete::after",
            Op::CreateMultipart => "sort::object_create_multipart::after",
            Op::PutPart => "sort::object_put_part::after",
            Op::CompleteMultipart => "sort::object_complete_multipart::after",
            Op::AbortMultipart => "sort::object_abort_multipart::after",
        }
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Requests made and bytes moved through one handle since it was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestStats {
    pub get: u64,
    /// Whole objects put in one request.
    pub put: u64,
    pub list: u64,
    pub delete: u64,
    /// Requests of multipart uploads: create, part, complete, abort.
    pub part: u64,
    pub bytes_in: u64,
    pub bytes_out: u64,
    /// Requests that were repeated after a transient error (each counted above, too).
    pub retries: u64,
}

impl RequestStats {
    pub fn requests(&self) -> u64 {
        self.get + self.put + self.list + self.delete + self.part
    }

    pub fn add(&mut self, other: &RequestStats) {
        self.get += other.get;
        self.put += other.put;
        self.list += other.list;
        self.delete += other.delete;
        self.part += other.part;
        self.bytes_in += other.bytes_in;
        self.bytes_out += other.bytes_out;
        self.retries += other.retries;
    }
}

#[derive(Debug, Default)]
pub(crate) struct RequestCounters {
    get: AtomicU64,
    put: AtomicU64,
    list: AtomicU64,
    delete: AtomicU64,
    part: AtomicU64,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    retries: AtomicU64,
}

impl RequestCounters {
    pub(crate) fn request(&self, op: Op) {
        let counter = match op {
            Op::Put => &self.put,
            Op::Get => &self.get,
            Op::List => &self.list,
            Op::Delete => &self.delete,
            Op::CreateMultipart | Op::PutPart | Op::CompleteMultipart | Op::AbortMultipart => &self.part,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        METRICS.requests.with_label_values(&[op.as_str()]).inc();
    }

    pub(crate) fn retry(&self) {
        self.retries.fetch_add(1, Ordering::Relaxed);
        METRICS.retries.inc();
    }

    pub(crate) fn received(&self, bytes: u64) {
        self.bytes_in.fetch_add(bytes, Ordering::Relaxed);
        METRICS.bytes.with_label_values(&["in"]).inc_by(bytes);
    }

    pub(crate) fn sent(&self, bytes: u64) {
        self.bytes_out.fetch_add(bytes, Ordering::Relaxed);
        METRICS.bytes.with_label_values(&["out"]).inc_by(bytes);
    }

    pub(crate) fn snapshot(&self) -> RequestStats {
        RequestStats {
            get: self.get.load(Ordering::Relaxed),
            put: self.put.load(Ordering::Relaxed),
            list: self.list.load(Ordering::Relaxed),
            delete: self.delete.load(Ordering::Relaxed),
            part: self.part.load(Ordering::Relaxed),
            bytes_in: self.bytes_in.load(Ordering::Relaxed),
            bytes_out: self.bytes_out.load(Ordering::Relaxed),
            retries: self.retries.load(Ordering::Relaxed),
        }
    }
}

pub(crate) struct Metrics {
    requests: IntCounterVec,
    bytes: IntCounterVec,
    retries: IntCounter,
    pub memory_held: IntGauge,
    pub memory_peak: IntGauge,
    pub memory_limit: IntGauge,
    pub memory_waiters: IntGauge,
}

/// Registered with prometheus' default registry on first use; [`register_metrics`] makes that happen at start-up.
pub(crate) static METRICS: LazyLock<Metrics> = LazyLock::new(|| {
    let metrics = Metrics {
        requests: counters(
            "ilmenite_object_requests_total",
            "Requests to object storage.",
            &["op"],
        ),
        bytes: counters(
            "ilmenite_object_bytes_total",
            "Bytes from (in) and to (out) object storage.",
            &["direction"],
        ),
        retries: counter(
            "ilmenite_object_retries_total",
            "Requests to object storage repeated after a transient error.",
        ),
        memory_held: gauge(
            "ilmenite_sort_memory_held_bytes",
            "Bytes of the index build budget now held.",
        ),
        memory_peak: gauge(
            "ilmenite_sort_memory_peak_bytes",
            "The most bytes of the index build budget ever held.",
        ),
        memory_limit: gauge(
            "ilmenite_sort_memory_limit_bytes",
            "The index build budget of this node, in bytes.",
        ),
        memory_waiters: gauge(
            "ilmenite_sort_memory_waiters",
            "Pieces of work waiting for memory.",
        ),
    };
    for op in Op::ALL {
        metrics.requests.with_label_values(&[op.as_str()]);
    }
    for direction in ["in", "out"] {
        metrics.bytes.with_label_values(&[direction]);
    }
    metrics
});

/// Makes the metrics appear, as zeroes, before the first use of object storage.
pub fn register_metrics() {
    LazyLock::force(&METRICS);
}
