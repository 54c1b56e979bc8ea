//! The committer: the thread that merges the requests that wait into one batch of the engine.

use std::collections::HashSet;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use ahash::RandomState;
use bytes::Bytes;
use fjall::{OwnedWriteBatch, PersistMode, UserKey, UserValue};
use parking_lot::RwLockReadGuard;

use super::queue::QueuedRequest;
use super::write::{CommitAt, WriteRequest};
use crate::core::Core;
use crate::format;
use crate::keyspaces::VersionedKeyspace;
use crate::meta;
use crate::metrics::{METRICS, count_conflict};
use crate::read;
use ilmenite_store::{Error, Result, Timestamp};

/// The committer's thread.
pub(crate) fn run(core: &Core) {
    loop {
        let requests = core.queue.take();
        if requests.is_empty() {
            return;
        }
        // A panic must not leave every later commit waiting for ever: its requests end as undetermined, the rest go on.
        let outcome = std::panic::catch_unwind(AssertUnwindSafe(|| process(core, requests)));
        if outcome.is_err() {
            tracing::error!("the committer panicked; the batch's outcome is unknown");
            for keyspace in core.keyspaces.all() {
                keyspace.cache.clear();
            }
            core.oracle.end_flight(None);
        }
    }
}

fn process(core: &Core, requests: Vec<QueuedRequest>) {
    let requests = refuse_without_space(core, requests);
    let mut group = match Group::begin(core, &requests) {
        Ok(group) => group,
        Err(e) => return reject_all(requests, &e),
    };
    for request in requests {
        group.add(request);
    }
    group.write();
}

/// With too little space on the disk: only what makes room in the end, and what the system needs to say so.
fn refuse_without_space(core: &Core, requests: Vec<QueuedRequest>) -> Vec<QueuedRequest> {
    let Err(e) = core.check_space() else {
        return requests;
    };
    let system_may = core.check_space_for_system().is_ok();
    let may =
        |request: &WriteRequest| request.urgent || (system_may && request.is_of_system(&core.keyspaces));
    let (accepted, refused) = requests.into_iter().partition(|queued| may(&queued.request));
    reject_all(refused, &e);
    accepted
}

/// A batch on its way: what is in it, what had to wait for the next one, what comes with it.
struct Group<'c> {
    core: &'c Core,
    /// Until the batch is applied no keyspace is dropped.
    pin: RwLockReadGuard<'c, ()>,
    /// The next commit timestamp, and the oracle's new bound, if the batch is to store it.
    next_ts: Timestamp,
    new_bound: Option<Timestamp>,
    batch: OwnedWriteBatch,
    sync: bool,
    accepted: Vec<Accepted>,
    put_off: Vec<QueuedRequest>,
    /// The keys that are written, when anybody of the batch asks for them.
    written: Option<HashSet<Bytes, RandomState>>,
}

/// A request accepted into the batch.
struct Accepted {
    queued: QueuedRequest,
    commit_ts: Timestamp,
    keyspaces: Vec<Arc<VersionedKeyspace>>,
    /// What was written to each.
    entries: Vec<(UserKey, UserValue)>,
}

impl<'c> Group<'c> {
    /// For at most these requests. Takes their commit timestamps.
    fn begin(core: &'c Core, requests: &[QueuedRequest]) -> Result<Self> {
        let pin = core.keyspaces.pin();
        let takes_next = |queued: &&QueuedRequest| matches!(queued.request.at, CommitAt::Next(_));
        let flight = match requests.iter().filter(takes_next).count() {
            0 => None,
            count => Some(core.oracle.begin_flight(count)?),
        };
        let has_preconditions = |queued: &QueuedRequest| !queued.request.preconditions.is_empty();
        let entries = requests.iter().map(|queued| queued.request.entries());
        // The mark and the bound come besides.
        let capacity = entries.sum::<usize>() + 2;
        Ok(Group {
            core,
            pin,
            next_ts: flight.as_ref().map_or(Timestamp::ZERO, |flight| flight.first),
            new_bound: flight.and_then(|flight| flight.new_bound),
            batch: OwnedWriteBatch::with_capacity(core.keyspaces.db.clone(), capacity),
            sync: false,
            accepted: Vec::with_capacity(requests.len()),
            put_off: Vec::new(),
            written: requests.iter().any(has_preconditions).then(HashSet::default),
        })
    }

    /// Takes the request into the batch, rejects it, or puts it off.
    fn add(&mut self, mut queued: QueuedRequest) {
        let commit_ts = match queued.request.at {
            CommitAt::Given(ts) => ts,
            CommitAt::Next(_) => {
                let ts = self.next_ts;
                self.next_ts = ts.next();
                ts
            }
        };
        // An earlier request of this batch writes what this one depends on: it is checked once that is applied.
        let depends = |written: &HashSet<Bytes, RandomState>| {
            let mut preconditions = queued.request.preconditions.iter();
            preconditions.any(|p| written.contains(&p.key))
        };
        if self.written.as_ref().is_some_and(depends) {
            self.put_off.push(queued);
            return;
        }
        if let Err(e) = check(self.core, &queued.request, commit_ts) {
            count_conflict(&e);
            queued.reject(e);
            return;
        }
        let keyspaces = &self.core.keyspaces;
        let versions = queued.request.versions.iter();
        let targets: Result<Vec<_>> = versions
            .map(|w| keyspaces.obtain(keyspaces.partition_of(&w.key), &self.pin))
            .collect();
        match targets {
            Ok(targets) => {
                let entries = self.insert(&mut queued.request, commit_ts, &targets);
                self.accepted.push(Accepted {
                    queued,
                    commit_ts,
                    keyspaces: targets,
                    entries,
                });
            }
            Err(e) => queued.reject(e),
        }
    }

    /// Puts what is to be written into the batch. Returns the versions' entries.
    fn insert(
        &mut self,
        request: &mut WriteRequest,
        commit_ts: Timestamp,
        targets: &[Arc<VersionedKeyspace>],
    ) -> Vec<(UserKey, UserValue)> {
        let mut entries = Vec::with_capacity(targets.len());
        for (w, keyspace) in request.versions.iter_mut().zip(targets) {
            let (stored, raw) = w.take(commit_ts);
            self.batch.insert(&keyspace.inner, stored.clone(), raw.clone());
            entries.push((stored, raw));
            if let Some(written) = &mut self.written {
                written.insert(w.key.clone());
            }
        }
        for row in std::mem::take(&mut request.rows) {
            match row.value {
                Some(value) => self.batch.insert(&row.keyspace, row.key, value),
                None => self.batch.remove(&row.keyspace, row.key),
            }
        }
        if let (Some(start_ts), Some(two_phase)) = (request.status_of, &self.core.keyspaces.two_phase) {
            let (key, value) = (start_ts.0.to_be_bytes(), commit_ts.0.to_be_bytes());
            self.batch.insert(&two_phase.status, key, value);
        }
        self.sync |= request.sync;
        entries
    }

    /// Writes the batch, and tells everybody.
    fn write(self) {
        let core = self.core;
        if !self.put_off.is_empty() {
            core.queue.put_back(self.put_off);
        }
        if self.accepted.is_empty() {
            core.oracle.end_flight(None);
            return;
        }
        let mut batch = self.batch;
        let mark = core.batches.next();
        batch.insert(&core.keyspaces.meta, meta::BATCH, mark.encode());
        if let Some(bound) = self.new_bound {
            batch.insert(&core.keyspaces.meta, meta::TIMESTAMP_BOUND, bound.0.to_be_bytes());
        }
        let mode = match self.sync {
            true => PersistMode::SyncData,
            false => PersistMode::Buffer,
        };
        let began = Instant::now();
        let outcome = apply(core, batch.durability(Some(mode)));
        METRICS
            .commit_batch_seconds
            .observe(began.elapsed().as_secs_f64());
        METRICS.commit_batch_size.observe(self.accepted.len() as f64);
        if let Err(e) = outcome {
            // It does not say that nothing was written.
            let keyspaces = self.accepted.iter().flat_map(|a| &a.keyspaces);
            keyspaces.for_each(|keyspace| keyspace.cache.clear());
            drop(self.pin);
            core.oracle.end_flight(None);
            return reject_all(self.accepted.into_iter().map(|a| a.queued).collect(), &e);
        }
        // Before the commits are visible.
        self.accepted.iter().for_each(Accepted::write_to_caches);
        drop(self.pin);
        core.batches.applied(mark.number, self.sync);
        core.oracle.end_flight(self.new_bound);
        METRICS.commits.inc_by(self.accepted.len() as u64);
        for accepted in self.accepted {
            accepted.count_garbage();
            accepted.queued.finish(&core.transactions, accepted.commit_ts);
        }
    }
}

impl Accepted {
    /// Tells the range caches.
    fn write_to_caches(&self) {
        debug_assert_eq!(
            self.keyspaces.len(),
            self.entries.len(),
            "each entry has its keyspace"
        );
        let mut at = 0;
        for same in self.keyspaces.chunk_by(Arc::ptr_eq) {
            let entries = &self.entries[at..at + same.len()];
            at += same.len();
            same[0].cache.write(entries.iter().filter_map(|(entry, raw)| {
                let (key, ts) = format::split(entry)?;
                Some((key, ts, format::decode_value(raw)?))
            }));
        }
    }

    fn count_garbage(&self) {
        for (w, keyspace) in self.queued.request.versions.iter().zip(&self.keyspaces) {
            if w.garbage {
                keyspace.garbage.add(1, self.commit_ts);
            }
        }
    }
}

fn apply(core: &Core, batch: OwnedWriteBatch) -> Result<()> {
    fail::fail_point!("embedded::commit::before", |kind| Err(Error::injected(
        kind,
        Error::Io("injected before the batch was written".into())
    )));
    batch.commit().map_err(|e| match e {
        // Found before anything was written.
        fjall::Error::Poisoned => core.keyspaces.map_error(e),
        e => {
            let e = core.keyspaces.map_error(e);
            tracing::error!(error = %e, "writing a batch of commits failed");
            Error::Undetermined(e.to_string())
        }
    })?;
    fail::fail_point!("embedded::commit::after", |_| Err(Error::Undetermined(
        "injected after the batch was written".into()
    )));
    Ok(())
}

/// The checks that are the committer's: the lease, and the preconditions against what is applied.
fn check(core: &Core, request: &WriteRequest, commit_ts: Timestamp) -> Result<()> {
    if let CommitAt::Next(Some(max_commit_ts)) = request.at
        && commit_ts > max_commit_ts
    {
        return Err(Error::CommitTooLate {
            commit_ts,
            max_commit_ts,
        });
    }
    if request.preconditions.is_empty() {
        return Ok(());
    }
    let snapshot = core.keyspaces.db.snapshot();
    for p in &request.preconditions {
        let newest = read::newest(&core.keyspaces, &snapshot, &p.key, Timestamp::MAX)?;
        if newest.as_ref().and_then(|v| v.value()) != p.value.as_deref() {
            return Err(Error::PreconditionFailed { key: p.key.to_vec() });
        }
    }
    Ok(())
}

fn reject_all(requests: Vec<QueuedRequest>, error: &Error) {
    for queued in requests {
        queued.reject(error.clone());
    }
}
