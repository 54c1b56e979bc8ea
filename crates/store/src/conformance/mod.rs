//! What every engine must do, written once: functions over a store that is empty, and a macro that makes a test of each.
//!
//! Keys of the form `pA…` lie in a keyspace of their own where the engine has such.

pub mod basic;
pub mod checks;
pub mod concurrent;
pub mod locks;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;

use crate::{
    Check, CommitOptions, CommitRequest, Error, IngestSummary, KeyRange, KvBatch, LockRequest, Mutation,
    Precondition, Result, ScanOptions, Store, StoreRef, Timestamp, Transaction, TxnMode,
};

/// A test of each rule. `$fixture`: a future of something to keep alive and an empty store.
#[macro_export]
macro_rules! conformance_tests {
    ($fixture:expr) => {
        $crate::conformance_tests!(@each $fixture;
            basic: versions_are_read_at_their_timestamps
                rows_of_many_versions_are_read_at_every_snapshot scans_cross_keyspaces_both_ways
                bounds_right_behind_a_key ingest_lies_under_newer_versions
                ingest_refuses_what_the_engine_would_panic_on parallel_ingests_of_one_keyspace
                a_deleted_range_is_gone,
            checks: checks_refuse_conflicting_commits preconditions_hold_at_the_commit
                a_key_that_was_inserted_and_taken_away bounds_of_a_commit commits_without_writes
                rows_are_changed_as_they_were_read_or_not_at_all,
            concurrent: transfers_keep_the_total_in_every_snapshot acknowledged_writes_are_visible
                a_fenced_write_never_follows_the_change_of_its_fence guards_are_shared,
            locks: locks_return_the_newest_values all_keys_or_none waits_end_in_time a_waiter_gets_the_lock
                a_dropped_wait_leaves_nothing deadlocks_are_found commits_conflict_with_locks
                a_locked_key_is_written_whatever_happened_before giving_back_some_of_the_locks,
        );
    };
    (@each $fixture:expr; $($module:ident: $($name:ident)+,)+) => {
        $($(
            #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $name() {
                let (_kept, store) = $fixture.await;
                $crate::conformance::$module::$name(&store).await;
            }
        )+)+
    };
}

pub fn b(s: impl AsRef<[u8]>) -> Bytes {
    Bytes::copy_from_slice(s.as_ref())
}

pub fn mutation(key: &str, value: Option<&str>, check: Check) -> Mutation {
    Mutation {
        key: b(key),
        value: value.map(b),
        check,
    }
}

pub async fn write(store: &dyn Store, pairs: &[(&str, Option<&str>)]) -> Timestamp {
    let start_ts = store.begin_timestamp().await.unwrap();
    store
        .commit(CommitRequest {
            start_ts,
            mutations: pairs
                .iter()
                .map(|(k, v)| mutation(k, *v, Check::Unchanged))
                .collect(),
            ..CommitRequest::default()
        })
        .await
        .unwrap()
}

pub async fn scan_all(
    store: &dyn Store,
    range: KeyRange,
    ts: Timestamp,
    options: ScanOptions,
) -> Vec<(String, String)> {
    let mut scan = store.scan(range, ts, options).unwrap();
    let mut batch = KvBatch::new();
    let mut out = Vec::new();
    while scan.next_batch(&mut batch).await.unwrap() {
        for (k, v) in batch.iter() {
            out.push((
                String::from_utf8_lossy(k).into_owned(),
                String::from_utf8_lossy(v).into_owned(),
            ));
        }
    }
    out
}

pub fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected
        .iter()
        .map(|(k, v)| (k.to_string(), v.to_string()))
        .collect()
}

pub async fn ingest(store: &dyn Store, range: KeyRange, ts: Timestamp, rows: &[(&str, &str)]) {
    let mut ingest = store.ingest(range, ts).await.unwrap();
    let mut batch = KvBatch::new();
    for (k, v) in rows {
        batch.push(k.as_bytes(), v.as_bytes());
    }
    ingest.write(&batch).await.unwrap();
    let summary = ingest.finish().await.unwrap();
    assert_eq!(summary.entries, rows.len() as u64);
}
