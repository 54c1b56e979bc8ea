//! The engine as a whole.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::{EmbeddedOptions, EmbeddedStore, ReadThresholds};
use ilmenite_store::conformance::{b, ingest, pairs, scan_all};
use ilmenite_store::{
    Check, CommitRequest, Error, GcHold, KeyRange, KvBatch, Mutation, ScanOptions, Store, StoreRef, Timestamp,
};

mod basic;
mod concurrent;
mod faults;
mod gc;
mod model;

/// Keys of tests: `p` and one letter name a partition, e.g. `pA…`; its keys all have one length, so none is a prefix of
/// another. Everything else is in the default keyspace.
pub(crate) fn test_partition(key: &[u8]) -> Option<usize> {
    (key.len() >= 2 && key[0] == b'p' && key[1].is_ascii_uppercase()).then_some(2)
}

/// A few rows meet every way to read them.
pub(crate) const SMALL_THRESHOLDS: ReadThresholds = ReadThresholds {
    seek_after_entries: 3,
    cache_after_entries: 2,
    cache_range_rows: 3,
    tables_after_entries: 2,
    max_memtable_entries: 4,
};

pub(crate) fn test_options() -> EmbeddedOptions {
    EmbeddedOptions {
        cache_bytes: 8 << 20,
        partition: test_partition,
        read_thresholds: SMALL_THRESHOLDS,
        ..EmbeddedOptions::default()
    }
}

/// With the thresholds that a store has when nobody says otherwise.
pub(crate) fn production_options() -> EmbeddedOptions {
    EmbeddedOptions {
        read_thresholds: ReadThresholds::default(),
        ..test_options()
    }
}

pub(crate) fn open(dir: &tempfile::TempDir) -> Arc<EmbeddedStore> {
    Arc::new(EmbeddedStore::open(dir.path().join("db"), test_options()).unwrap())
}

async fn write(store: &EmbeddedStore, pairs: &[(&str, Option<&str>)]) -> Timestamp {
    ilmenite_store::conformance::write(store, pairs).await
}

/// The rules of the trait, which every engine obeys.
mod rules {
    use super::*;

    async fn fixture() -> (tempfile::TempDir, StoreRef) {
        let dir = tempfile::tempdir().unwrap();
        let store = open(&dir);
        (dir, store)
    }

    ilmenite_store::conformance_tests!(fixture());
}
