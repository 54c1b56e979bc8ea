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
use fjall::{PersistMode, UserKey, UserValue};
use parking_lot::{Condvar, Mutex};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::Core;
use super::format::{self, SUFFIX_LEN};
use super::locks::CommitLocks;
use super::read;
use super::spaces::{Space, Spaces, meta_keys};
use crate::metrics::METRICS;
use ilmenite_store::{Check, CommitRequest, Durability, Error, Precondition, Result, Timestamp};

/// Bounds of one batch.
const MAX_BATCH_TRANSACTIONS: usize = 512;
const MAX_BATCH_BYTES: usize = 16 << 20;
/// Bytes of transactions waiting for the committer; those beyond wait before they are queued.
const MAX_QUEUED_KIB: u32 = 128 << 10;

/// A version, or a lock record, to be written.
pub(super) struct Write {
    key: Bytes,
    /// The stored key, with room for the commit timestamp behind it.
    stored: Vec<u8>,
    raw: Vec<u8>,
    /// It hides an older version, or is a delete marker.
    garbage: bool,
}

impl Write {
    /// `raw`: the value as stored. `hides`: there may be an older version.
    pub fn new(spaces: &Spaces, key: Bytes, raw: Vec<u8>, hides: bool) -> Self {
        let prefix = spaces.partition_of(&key);
        let mut stored = Vec::with_capacity(key.len() + SUFFIX_LEN + 2);
        if prefix.is_empty() {
            format::encode_default(&key, &mut stored);
        } else {
            stored.extend_from_slice(&key[prefix.len()..]);
        }
        stored.extend_from_slice(&[0; SUFFIX_LEN]);
        Write {
            stored,
            garbage: hides || raw[..] == [format::KIND_DELETE] || format::is_lock_record(&raw),
            raw,
            key,
        }
    }

    /// Key and value as stored, committed at `ts`; they are gone from it then.
    pub fn take(&mut self, ts: Timestamp) -> (UserKey, UserValue) {
        let mut stored = std::mem::take(&mut self.stored);
        let suffix_at = stored.len() - SUFFIX_LEN;
        stored[suffix_at..].copy_from_slice(&format::suffix(ts));
        (stored.into(), std::mem::take(&mut self.raw).into())
    }

    fn bytes(&self) -> usize {
        self.stored.len() + self.raw.len() + 64
    }
}

/// A row of ours, without versions, to be written (or with `None` removed).
pub(super) struct Row {
    pub keyspace: fjall::Keyspace,
    pub key: Vec<u8>,
    pub value: Option<Vec<u8>>,
}

/// Where the commit timestamp of a job's writes comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CommitAt {
    /// The next one, if it is not greater than the limit.
    Next(Option<Timestamp>),
    /// A client of two-phase commit was given it before; or there is nothing to commit.
    Given(Timestamp),
}

/// Called by the committer when the job is applied, before its sender is told.
pub(super) type Applied = Box<dyn FnOnce(&Core, Timestamp) + Send>;

pub(super) struct Job {
    pub writes: Vec<Write>,
    pub rows: Vec<Row>,
    pub preconditions: Vec<Precondition>,
    pub at: CommitAt,
    /// Note that the transaction of this start timestamp is committed, for those that ask later.
    pub note: Option<Timestamp>,
    pub sync: bool,
    /// Not refused for want of space: it ends a transaction, and makes room in the end.
    pub urgent: bool,
    pub applied: Applied,
}

impl Job {
    /// Whether it writes no row and no index entry of a table, and locks none.
    fn is_of_system(&self, spaces: &Spaces) -> bool {
        let writes = self.writes.iter().map(|write| &write.key[..]);
        let rows = self.rows.iter().map(|row| &row.key[..]);
        writes.chain(rows).all(|key| spaces.partition_of(key).is_empty())
    }
}

struct Queued {
    job: Job,
    bytes: usize,
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
    jobs: VecDeque<Queued>,
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

    fn push(&self, job: Queued) -> Result<()> {
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
    fn take(&self) -> Vec<Queued> {
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

    fn put_back(&self, jobs: Vec<Queued>) {
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
    let room = room(core, bytes).await?;
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
        let raw = format::encode_value(m.value.as_deref());
        writes.push(Write::new(&core.spaces, m.key, raw, hides));
    }
    drop(snapshot);

    let job = Job {
        writes,
        rows: Vec::new(),
        preconditions,
        at: CommitAt::Next(max_commit_ts),
        note: None,
        sync: durability == Durability::Sync,
        urgent: false,
        applied: Box::new(move |core, _| {
            core.end_transaction(start_ts);
            // These were held until now.
            drop::<CommitLocks>(locks);
        }),
    };
    queue(core, job, bytes, room).await
}

/// Waits for room in the queue.
async fn room(core: &Core, bytes: usize) -> Result<OwnedSemaphorePermit> {
    let kib = (bytes / 1024 + 1).min(MAX_QUEUED_KIB as usize) as u32;
    let room = core.queue.room.clone().acquire_many_owned(kib).await;
    room.map_err(|_| super::closed())
}

/// Has the job done by the committer, with others. Returns its commit timestamp.
/// Given up while it waits, it is done all the same, once it is queued.
pub(super) async fn submit(core: &Core, job: Job) -> Result<Timestamp> {
    let writes: usize = job.writes.iter().map(Write::bytes).sum();
    let row = |row: &Row| row.key.len() + row.value.as_ref().map_or(0, Vec::len) + 64;
    let bytes = writes + job.rows.iter().map(row).sum::<usize>();
    let room = room(core, bytes).await?;
    queue(core, job, bytes, room).await
}

async fn queue(core: &Core, mut job: Job, bytes: usize, room: OwnedSemaphorePermit) -> Result<Timestamp> {
    let (done, outcome) = oneshot::channel();
    job.sync &= core.options.sync;
    core.queue.push(Queued {
        job,
        bytes,
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
            for space in core.spaces.all() {
                space.cache.clear();
            }
            core.oracle.end_flight(None);
        }
    }
}

/// A job accepted into the batch.
struct Accepted {
    job: Queued,
    commit_ts: Timestamp,
    spaces: Vec<Arc<Space>>,
    /// What was written to each.
    entries: Vec<(UserKey, UserValue)>,
}

impl Accepted {
    /// Tells the range caches, before the commit is visible.
    fn write_to_caches(&self) {
        let mut at = 0;
        for same in self.spaces.chunk_by(Arc::ptr_eq) {
            let entries = &self.entries[at..at + same.len()];
            at += same.len();
            same[0].cache.write(entries.iter().filter_map(|(entry, raw)| {
                let (key, ts) = format::split(entry)?;
                Some((key, ts, format::decode_value(raw)?))
            }));
        }
    }
}

fn process(core: &Core, mut jobs: Vec<Queued>) {
    if let Err(e) = core.check_space() {
        let system_may = core.check_space_for_system().is_ok();
        let may = |job: &Job| job.urgent || (system_may && job.is_of_system(&core.spaces));
        let (accepted, refused) = jobs.into_iter().partition(|q| may(&q.job));
        reject_all(refused, &e);
        jobs = accepted;
    }
    let spaces = &core.spaces;
    let pin = spaces.pin();
    let takes_next = |q: &&Queued| matches!(q.job.at, CommitAt::Next(_));
    let flight = match jobs.iter().filter(takes_next).count() {
        0 => None,
        count => match core.oracle.begin_flight(count) {
            Ok(flight) => Some(flight),
            Err(e) => return reject_all(jobs, &e),
        },
    };
    let mut next_ts = flight.as_ref().map_or(Timestamp::ZERO, |flight| flight.first);
    let new_bound = flight.and_then(|flight| flight.new_bound);
    let watch_writes = jobs.iter().any(|q| !q.job.preconditions.is_empty());
    let mut written: HashSet<Bytes, RandomState> = HashSet::default();
    let mut accepted = Vec::with_capacity(jobs.len());
    let mut put_off = Vec::new();
    let mut batch = fjall::OwnedWriteBatch::with_capacity(
        spaces.db.clone(),
        jobs.iter()
            .map(|q| q.job.writes.len() + q.job.rows.len() + 1)
            .sum::<usize>()
            + 2,
    );
    let mut sync = false;
    for mut queued in jobs {
        let job = &mut queued.job;
        let commit_ts = match job.at {
            CommitAt::Given(ts) => ts,
            CommitAt::Next(_) => {
                let ts = next_ts;
                next_ts = ts.next();
                ts
            }
        };
        // An earlier job of this batch writes what this one depends on: it is checked once that is applied.
        if job.preconditions.iter().any(|p| written.contains(&p.key)) {
            put_off.push(queued);
            continue;
        }
        if let Err(e) = check(core, job, commit_ts) {
            count_conflict(&e);
            reject(queued, e);
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
                reject(queued, e);
                continue;
            }
        };
        let mut entries = Vec::with_capacity(targets.len());
        for (w, space) in job.writes.iter_mut().zip(&targets) {
            let (stored, raw) = w.take(commit_ts);
            batch.insert(&space.keyspace, stored.clone(), raw.clone());
            entries.push((stored, raw));
            if watch_writes {
                written.insert(w.key.clone());
            }
        }
        for row in std::mem::take(&mut job.rows) {
            match row.value {
                Some(value) => batch.insert(&row.keyspace, row.key, value),
                None => batch.remove(&row.keyspace, row.key),
            }
        }
        if let (Some(start_ts), Some(two_phase)) = (job.note, &spaces.two_phase) {
            let (key, value) = (start_ts.0.to_be_bytes(), commit_ts.0.to_be_bytes());
            batch.insert(&two_phase.status, key, value);
        }
        sync |= job.sync;
        accepted.push(Accepted {
            job: queued,
            commit_ts,
            spaces: targets,
            entries,
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
    if let Some(bound) = new_bound {
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
    match &outcome {
        Ok(()) => accepted.iter().for_each(Accepted::write_to_caches),
        // It does not say that nothing was written.
        Err(_) => accepted
            .iter()
            .flat_map(|a| &a.spaces)
            .for_each(|space| space.cache.clear()),
    }
    drop(pin);
    match outcome {
        Ok(()) => {
            core.batches.applied(mark.number, sync);
            core.oracle.end_flight(new_bound);
            METRICS.commits.inc_by(accepted.len() as u64);
            for Accepted {
                job,
                commit_ts,
                spaces,
                ..
            } in accepted
            {
                let Queued { job, done, .. } = job;
                for (w, space) in job.writes.iter().zip(&spaces) {
                    if w.garbage {
                        space.garbage.note(commit_ts);
                    }
                }
                (job.applied)(core, commit_ts);
                // The caller may have gone; the commit stands.
                let _ = done.send(Ok(commit_ts));
            }
        }
        Err(e) => {
            core.oracle.end_flight(None);
            reject_all(accepted.into_iter().map(|a| a.job).collect(), &e);
        }
    }
}

fn apply(core: &Core, batch: fjall::OwnedWriteBatch) -> Result<()> {
    fail::fail_point!("embedded::commit::before", |kind| Err(Error::injected(
        kind,
        Error::Io("injected before the batch was written".into())
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
    fail::fail_point!("embedded::commit::after", |_| Err(Error::Undetermined(
        "injected after the batch was written".into()
    )));
    Ok(())
}

/// The checks that are the committer's: the lease, and the preconditions against what is applied.
fn check(core: &Core, job: &Job, commit_ts: Timestamp) -> Result<()> {
    if let CommitAt::Next(Some(max_commit_ts)) = job.at
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

fn reject(queued: Queued, error: Error) {
    let Queued { job, done, .. } = queued;
    // With what it holds.
    drop(job);
    // The caller may have gone.
    let _ = done.send(Err(error));
}

fn reject_all(jobs: Vec<Queued>, error: &Error) {
    for job in jobs {
        reject(job, error.clone());
    }
}
