//! What is known from outside: of rows by what writers were told, of jobs by what was asked of them.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;

use ilmenite_ddl::JobId;
use parking_lot::Mutex;

use crate::table::Values;

/// A table by number, and a row's key.
pub type RowKey = (usize, i64);

/// What each row may be: one value when the last write was acknowledged or refused, more after an unknown outcome.
#[derive(Default)]
pub struct Oracle {
    rows: Mutex<BTreeMap<RowKey, Vec<Option<Values>>>>,
}

impl Oracle {
    pub fn acknowledged(&self, writes: &BTreeMap<RowKey, Option<Values>>) {
        let mut rows = self.rows.lock();
        for (key, value) in writes {
            rows.insert(*key, vec![value.clone()]);
        }
    }

    pub fn unknown(&self, writes: &BTreeMap<RowKey, Option<Values>>) {
        let mut rows = self.rows.lock();
        for (key, value) in writes {
            let possible = rows.entry(*key).or_insert_with(|| vec![None]);
            if !possible.contains(value) {
                possible.push(value.clone());
            }
        }
    }

    pub fn possible(&self, key: RowKey) -> Vec<Option<Values>> {
        self.rows.lock().get(&key).cloned().unwrap_or_else(|| vec![None])
    }

    pub fn keys(&self) -> Vec<RowKey> {
        self.rows.lock().keys().copied().collect()
    }
}

/// What clients have done to jobs.
#[derive(Default)]
pub struct Jobs {
    /// Jobs that somebody asked to be cancelled, with the time at which that was taken on.
    cancelled: Mutex<BTreeMap<JobId, u64>>,
    pub next_index: AtomicU64,
    pub submitted: AtomicU64,
}

impl Jobs {
    pub fn was_cancelled(&self, id: JobId) -> bool {
        self.cancelled.lock().contains_key(&id)
    }

    pub fn cancel_asked(&self, id: JobId, now_ms: u64) {
        self.cancelled.lock().entry(id).or_insert(now_ms);
    }
}
