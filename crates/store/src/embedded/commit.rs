//! Group commit: one thread merges the commits that wait into one batch of the engine and one sync of its journal.
//!
//! The caller's side takes commit locks on the keys and makes the checks of mutations, so that they run in parallel;
//! the locks stay until the batch is applied. Preconditions are on keys that a transaction does not write and many may
//! share, so they take no lock: the committer, which sees every write pass in order, checks them itself.

use std::collections::{HashSet, VecDeque};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use ahash::RandomState;
use bytes::Bytes;
use fjall::PersistMode;
use parking_lot::{Condvar, Mutex};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::Core;
use super::format::{self, SUFFIX_LEN};
use super::locks::CommitLocks;
use super::read;
use super::spaces::{Space, meta_keys};
use crate::metrics::METRICS;
use crate::{Check, CommitRequest, Durability, Error, Precondition, Result, Timestamp};

/// Bounds of one batch.
const MAX_BATCH_TRANSACTIONS: usize = 512;
const MAX_BATCH_BYTES: usize = 16 << 20;
/// Bytes of transactions waiting for the committer; those beyond wait before they are queued.
const MAX_QUEUED_KIB: u32 = 128 << 10;

struct Write {
    key: Bytes,
    /// The stored key, with room for the commit timestamp behind it.
    stored: Vec<u8>,
    raw: Vec<u8>,
    /// It hides an older version, or is a delete marker.
    garbage: bool,
}

pub(super) struct Job {
    start_ts: Timestamp,
    writes: Vec<Write>,
    preconditions: Vec<Precondition>,
    max_commit_ts: Option<Timestamp>,
    sync: bool,
    bytes: usize,
    locks: CommitLocks,
    done: oneshot::Sender<Result<Timestamp>>,
    _room: OwnedSemaphorePermit,
}

pub(super) struct Queue {
    state: Mutex<QueueState>,
    wake: Condvar,
    room: Arc<Semaphore>,
}

#[derive(Default)]
struct QueueState {
    jobs: VecDeque<Job>,
    closed: bool,
}

impl Queue {
    pub fn new() -> Self {
        Queue {
            state: Mutex::default(),
            wake: Condvar::new(),
            room: Arc::new(Semaphore::new(MAX_QUEUED_KIB as usize)),
        }
    }

    fn push(&self, job: Job) -> Result<()> {
        let mut state = self.state.lock();
        if state.closed {
            return Err(super::closed());
        }
        state.jobs.push_back(job);
        self.wake.notify_one();
        Ok(())
    }

    /// What is queued is still committed.
    pub fn close(&self) {
        self.state.lock().closed = true;
        self.wake.notify_all();
    }

    /// The next batch's jobs, in order; empty when closed and done.
    fn take(&self) -> Vec<Job> {
        let mut state = self.state.lock();
        while state.jobs.is_empty() && !state.closed {
            self.wake.wait(&mut state);
        }
        let mut jobs = Vec::new();
        let mut bytes = 0;
        while jobs.len() < MAX_BATCH_TRANSACTIONS
            && bytes < MAX_BATCH_BYTES
            && let Some(job) = state.jobs.pop_front()
        {
            bytes += job.bytes;
            jobs.push(job);
        }
        jobs
    }

    fn put_back(&self, jobs: Vec<Job>) {
        let mut state = self.state.lock();
        for job in jobs.into_iter().rev() {
            state.jobs.push_front(job);
        }
    }
}

/// `Store::commit`, the caller's side.
pub(super) async fn commit(core: &Core, request: CommitRequest) -> Result<Timestamp> {
    let CommitRequest {
        start_ts,
        mutations,
        preconditions,
        max_commit_ts,
        durability,
    } = request;
    let mut bytes = 0;
    let mut unique: HashSet<&[u8], RandomState> = HashSet::default();
    for m in &mutations {
        format::check_key(&m.key)?;
        format::check_value(m.value.as_deref().unwrap_or_default())?;
        bytes += m.key.len() + m.value.as_ref().map_or(0, Bytes::len) + 64;
        if !unique.insert(&m.key) {
            return Err(Error::Bug("a key twice in one commit".into()));
        }
    }
    drop(unique);
    if bytes > core.options.max_transaction_bytes {
        return Err(Error::TooLarge {
            what: "transaction",
            size: bytes,
            limit: core.options.max_transaction_bytes,
        });
    }
    for p in &preconditions {
        format::check_key(&p.key)?;
        bytes += p.key.len() + p.value.as_ref().map_or(0, Bytes::len) + 64;
    }
    if mutations.is_empty() && preconditions.is_empty() {
        core.end_transaction(start_ts);
        return core.oracle.timestamp();
    }
    let kib = (bytes / 1024 + 1).min(MAX_QUEUED_KIB as usize) as u32;
    let room = core.queue.room.clone().acquire_many_owned(kib).await;
    let room = room.map_err(|_| super::closed())?;
    let locks = core
        .locks
        .take_for_commit(start_ts, mutations.iter().map(|m| &m.key))
        .await
        .inspect_err(count_conflict)?;

    let snapshot = core.spaces.db.snapshot();
    let mut writes = Vec::with_capacity(mutations.len());
    for m in mutations {
        let held = core.locks.noted_value(start_ts, &m.key);
        let hides = match m.check {
            Check::None => held.unwrap_or_else(|| core.spaces.partition_of(&m.key).is_empty()),
            Check::Unchanged | Check::MustNotExist => {
                let newest = read::newest(&core.spaces, &snapshot, &m.key, Timestamp::MAX)?;
                // Under the transaction's own lock the version is the one it locked, however new.
                if let Some(v) = &newest
                    && v.ts > start_ts
                    && held.is_none()
                {
                    let conflict = Error::WriteConflict {
                        key: m.key.to_vec(),
                        start_ts,
                        conflict_ts: v.ts,
                    };
                    count_conflict(&conflict);
                    return Err(conflict);
                }
                if m.check == Check::MustNotExist && newest.as_ref().is_some_and(|v| v.value().is_some()) {
                    METRICS.conflicts.with_label_values(&["key_exists"]).inc();
                    return Err(Error::KeyExists { key: m.key.to_vec() });
                }
                newest.is_some()
            }
        };
        let prefix = core.spaces.partition_of(&m.key);
        let mut stored = Vec::with_capacity(m.key.len() + SUFFIX_LEN + 2);
        if prefix.is_empty() {
            format::encode_default(&m.key, &mut stored);
        } else {
            stored.extend_from_slice(&m.key[prefix.len()..]);
        }
        stored.extend_from_slice(&[0; SUFFIX_LEN]);
        writes.push(Write {
            stored,
            raw: format::encode_value(m.value.as_deref()),
            garbage: hides || m.value.is_none(),
            key: m.key,
        });
    }
    drop(snapshot);

    let (done, outcome) = oneshot::channel();
    core.queue.push(Job {
        start_ts,
        writes,
        preconditions,
        max_commit_ts,
        sync: core.options.sync && durability == Durability::Sync,
        bytes,
        locks,
        done,
        _room: room,
    })?;
    outcome
        .await
        .unwrap_or_else(|_| Err(Error::Undetermined("the committer gave up".into())))
}

fn count_conflict(error: &Error) {
    let kind = match error {
        Error::WriteConflict { .. } => "write_conflict",
        Error::PreconditionFailed { .. } => "precondition",
        Error::CommitTooLate { .. } => "too_late",
        _ => return,
    };
    METRICS.conflicts.with_label_values(&[kind]).inc();
}

/// The committer's thread.
pub(super) fn run(core: &Core) {
    loop {
        let jobs = core.queue.take();
        if jobs.is_empty() {
            return;
        }
        // A panic must not leave every later commit waiting for ever: its jobs end as undetermined, the rest go on.
        let outcome = std::panic::catch_unwind(AssertUnwindSafe(|| process(core, jobs)));
        if outcome.is_err() {
            tracing::error!("the committer panicked; the batch's outcome is unknown");
            core.oracle.end_flight(None);
        }
    }
}

/// A job accepted into the batch.
struct Accepted {
    job: Job,
    commit_ts: Timestamp,
    spaces: Vec<Arc<Space>>,
}

fn process(core: &Core, jobs: Vec<Job>) {
    if let Err(e) = core.check_space() {
        return reject_all(jobs, &e);
    }
    let spaces = &core.spaces;
    let pin = spaces.pin();
    let flight = match core.oracle.begin_flight(jobs.len()) {
        Ok(flight) => flight,
        Err(e) => return reject_all(jobs, &e),
    };
    let watch_writes = jobs.iter().any(|job| !job.preconditions.is_empty());
    let mut written: HashSet<Bytes, RandomState> = HashSet::default();
    let mut accepted = Vec::with_capacity(jobs.len());
    let mut put_off = Vec::new();
    let mut batch = fjall::OwnedWriteBatch::with_capacity(
        spaces.db.clone(),
        jobs.iter().map(|job| job.writes.len()).sum::<usize>() + 2,
    );
    let mut sync = false;
    for (i, mut job) in jobs.into_iter().enumerate() {
        let commit_ts = Timestamp(flight.first.0 + i as u64);
        // An earlier job of this batch writes what this one depends on: it is checked once that is applied.
        if job.preconditions.iter().any(|p| written.contains(&p.key)) {
            put_off.push(job);
            continue;
        }
        if let Err(e) = check(core, &job, commit_ts) {
            count_conflict(&e);
            reject(job, e);
            continue;
        }
        let targets: Result<Vec<_>> = job
            .writes
            .iter()
            .map(|w| spaces.obtain(spaces.partition_of(&w.key), &pin))
            .collect();
        let targets = match targets {
            Ok(targets) => targets,
            Err(e) => {
                reject(job, e);
                continue;
            }
        };
        for (w, space) in job.writes.iter_mut().zip(&targets) {
            let mut stored = std::mem::take(&mut w.stored);
            let suffix_at = stored.len() - SUFFIX_LEN;
            stored[suffix_at..].copy_from_slice(&format::suffix(commit_ts));
            batch.insert(&space.keyspace, stored, std::mem::take(&mut w.raw));
            if watch_writes {
                written.insert(w.key.clone());
            }
        }
        sync |= job.sync;
        accepted.push(Accepted {
            job,
            commit_ts,
            spaces: targets,
        });
    }
    if !put_off.is_empty() {
        core.queue.put_back(put_off);
    }
    if accepted.is_empty() {
        core.oracle.end_flight(None);
        return;
    }

    let mark = core.batches.next();
    batch.insert(&spaces.meta, meta_keys::BATCH, mark.encode());
    if let Some(bound) = flight.new_bound {
        batch.insert(&spaces.meta, meta_keys::TIMESTAMP_BOUND, bound.0.to_be_bytes());
    }
    let mode = if sync {
        PersistMode::SyncData
    } else {
        PersistMode::Buffer
    };
    let began = Instant::now();
    let outcome = apply(core, batch.durability(Some(mode)));
    METRICS
        .commit_batch_seconds
        .observe(began.elapsed().as_secs_f64());
    METRICS.commit_batch_size.observe(accepted.len() as f64);
    drop(pin);
    match outcome {
        Ok(()) => {
            core.batches.applied(mark.number, sync);
            core.oracle.end_flight(flight.new_bound);
            METRICS.commits.inc_by(accepted.len() as u64);
            for Accepted {
                job,
                commit_ts,
                spaces,
            } in accepted
            {
                for (w, space) in job.writes.iter().zip(&spaces) {
                    if w.garbage {
                        space.garbage.note(commit_ts);
                    }
                }
                core.end_transaction(job.start_ts);
                drop(job.locks);
                // The caller may have gone; the commit stands.
                let _ = job.done.send(Ok(commit_ts));
            }
        }
        Err(e) => {
            core.oracle.end_flight(None);
            reject_all(accepted.into_iter().map(|a| a.job).collect(), &e);
        }
    }
}

fn apply(core: &Core, batch: fjall::OwnedWriteBatch) -> Result<()> {
    fail::fail_point!("store::commit::before_apply", |_| Err(Error::Io(
        "injected before the batch was written".into()
    )));
    batch.commit().map_err(|e| match e {
        // Found before anything was written.
        fjall::Error::Poisoned => core.spaces.map_error(e),
        e => {
            let e = core.spaces.map_error(e);
            tracing::error!(error = %e, "writing a batch of commits failed");
            Error::Undetermined(e.to_string())
        }
    })?;
    fail::fail_point!("store::commit::after_apply", |_| Err(Error::Undetermined(
        "injected after the batch was written".into()
    )));
    Ok(())
}

/// The checks that are the committer's: the lease, and the preconditions against what is applied.
fn check(core: &Core, job: &Job, commit_ts: Timestamp) -> Result<()> {
    if let Some(max_commit_ts) = job.max_commit_ts
        && commit_ts > max_commit_ts
    {
        return Err(Error::CommitTooLate {
            commit_ts,
            max_commit_ts,
        });
    }
    if job.preconditions.is_empty() {
        return Ok(());
    }
    let snapshot = core.spaces.db.snapshot();
    for p in &job.preconditions {
        let newest = read::newest(&core.spaces, &snapshot, &p.key, Timestamp::MAX)?;
        if newest.as_ref().and_then(|v| v.value()) != p.value.as_deref() {
            return Err(Error::PreconditionFailed { key: p.key.to_vec() });
        }
    }
    Ok(())
}

fn reject(job: Job, error: Error) {
    let Job { locks, done, .. } = job;
    drop(locks);
    // The caller may have gone.
    let _ = done.send(Err(error));
}

fn reject_all(jobs: Vec<Job>, error: &Error) {
    for job in jobs {
        reject(job, error.clone());
    }
}
