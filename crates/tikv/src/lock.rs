//! Pessimistic locks: taking them (all or none), keeping them alive, giving them back.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ahash::RandomState;
use bytes::Bytes;
use futures::stream::{FuturesUnordered, StreamExt};
use ilmenite_proto::kvrpcpb::{self, LockInfo, Op, PessimisticLockRequest, TxnHeartBeatRequest};
use ilmenite_store::{Error, LockRequest, Result, Timestamp};

use crate::backoff::{Backoff, Pause};
use crate::cluster::Cluster;
use crate::key::check_key;
use crate::key_error::to_error;
use crate::metrics::METRICS;
use crate::region::Batch;
use crate::registry::{Held, Registry, Txn};
use crate::resolve::{Met, ReadView};

/// A store is asked to wait no longer than this in one request: then one looks whether the holder is alive.
const LONGEST_WAIT: Duration = Duration::from_secs(3);
/// A commit under way ends by itself; even NOWAIT waits for one this long.
const COMMIT_WAIT: Duration = Duration::from_secs(3);
/// Bytes of keys in one request.
const BATCH_BYTES: usize = 64 << 10;

/// What the engine's transactional calls work on.
pub(crate) struct Engine {
    pub cluster: Arc<Cluster>,
    pub registry: Arc<Registry>,
}

/// Locks that were asked for and are not the transaction's yet. Dropped, it gives them back in the background, those
/// included that a request still under way may yet get.
struct Attempt {
    engine: Arc<Engine>,
    txn: Arc<Txn>,
    keys: Vec<Bytes>,
    for_update_ts: Timestamp,
    longest_wait: Duration,
    armed: bool,
}

impl Attempt {
    /// Gives back what was got. Completes when that is done; goes on if nobody waits for it.
    async fn undo(mut self) {
        self.armed = false;
        self.txn.forget_primary_without_locks();
        let cluster = self.engine.cluster.clone();
        let (engine, txn, keys) = (self.engine.clone(), self.txn.clone(), self.keys.clone());
        let for_update_ts = self.for_update_ts;
        let undone = cluster.background.spawn(async move {
            engine.give_back(&txn, for_update_ts, keys).await;
        });
        // It only fails when the runtime ends.
        let _ = undone.await;
        // One request at most, and that was answered: nothing can come later.
        if self.keys.len() > 1 {
            cluster.background.spawn(self.later());
        }
    }

    /// A request that was given up may be waiting in the store and still get its locks.
    fn later(&mut self) -> impl Future<Output = ()> + Send + 'static {
        let (engine, txn, keys) = (
            self.engine.clone(),
            self.txn.clone(),
            std::mem::take(&mut self.keys),
        );
        let (for_update_ts, wait) = (self.for_update_ts, self.longest_wait);
        async move {
            tokio::select! {
                _ = engine.cluster.stop.cancelled() => {}
                _ = tokio::time::sleep(wait + Duration::from_millis(100)) => {
                    engine.give_back_unheld(&txn, for_update_ts, &keys).await;
                }
            }
        }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if !self.armed || self.keys.is_empty() {
            return;
        }
        self.txn.forget_primary_without_locks();
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        let (engine, txn, keys) = (self.engine.clone(), self.txn.clone(), self.keys.clone());
        let for_update_ts = self.for_update_ts;
        let later = self.later();
        let work = async move {
            engine.give_back_unheld(&txn, for_update_ts, &keys).await;
            later.await;
        };
        self.engine.cluster.background.spawn_on(work, &runtime);
    }
}

enum Answer {
    Locked(Vec<Option<Bytes>>),
    /// Held by others.
    Held(Vec<LockInfo>),
}

fn answer(
    response: kvrpcpb::PessimisticLockResponse,
    keys: usize,
    for_update_ts: Timestamp,
) -> Result<Answer> {
    let mut locks = Vec::new();
    for e in response.errors {
        match e.locked {
            Some(lock) => locks.push(lock),
            None => return Err(to_error(e, for_update_ts)),
        }
    }
    if !locks.is_empty() {
        return Ok(Answer::Held(locks));
    }
    if response.values.len() != keys {
        return Err(Error::Io(format!(
            "{} values for {keys} locked keys",
            response.values.len()
        )));
    }
    let mut not_found = response.not_founds.into_iter();
    let values = response.values.into_iter().map(|value| {
        // A store too old to tell sends an empty value for none.
        let missing = not_found.next().unwrap_or(value.is_empty());
        (!missing).then_some(value)
    });
    Ok(Answer::Locked(values.collect()))
}

impl Engine {
    pub(crate) async fn lock(self: &Arc<Self>, request: LockRequest) -> Result<Vec<Option<Bytes>>> {
        let began = Instant::now();
        let LockRequest {
            start_ts,
            keys,
            for_update_ts,
            wait,
        } = request;
        let txn = self.registry.begin(start_ts);
        // A transaction makes one request at a time; the others' waiting counts as theirs.
        let _turn = txn.turn.lock().await;
        let (held, new): (Vec<Bytes>, Vec<Bytes>) = {
            let locks = txn.locks.lock();
            locks.check()?;
            let mut unique = keys.clone();
            unique.sort_unstable();
            unique.dedup();
            unique.into_iter().partition(|key| locks.keys.contains_key(key))
        };
        for key in &new {
            check_key(key)?;
        }
        self.registry.check_room(&txn, new.iter())?;
        let mut values: HashMap<Bytes, Option<Bytes>, RandomState> = HashMap::default();
        if !new.is_empty() {
            self.lock_new(&txn, new, for_update_ts, wait, &mut values).await?;
        }
        if !held.is_empty() {
            self.values_of_held(&txn, held, &mut values).await?;
        }
        METRICS.lock_wait_seconds.observe(began.elapsed().as_secs_f64());
        Ok(keys
            .iter()
            .map(|key| values.get(key).cloned().flatten())
            .collect())
    }

    /// Under a lock the newest version is the one it was taken on.
    async fn values_of_held(
        &self,
        txn: &Txn,
        held: Vec<Bytes>,
        values: &mut HashMap<Bytes, Option<Bytes>, RandomState>,
    ) -> Result<()> {
        let at = {
            let mut locks = txn.locks.lock();
            for key in &held {
                if let Some(h) = locks.keys.get_mut(key) {
                    h.ghost = false;
                }
            }
            locks.greatest_for_update_ts()
        };
        let view = ReadView {
            resolved: vec![txn.start_ts.0],
            ..ReadView::default()
        };
        let read = self.cluster.batch_get(&held, at, view).await?;
        values.extend(held.into_iter().zip(read));
        Ok(())
    }

    async fn lock_new(
        self: &Arc<Self>,
        txn: &Arc<Txn>,
        new: Vec<Bytes>,
        for_update_ts: Timestamp,
        wait: Duration,
        values: &mut HashMap<Bytes, Option<Bytes>, RandomState>,
    ) -> Result<()> {
        let Some(first) = new.first().cloned() else {
            return Ok(());
        };
        let (primary, has_locks) = {
            let locks = txn.locks.lock();
            (locks.primary.clone(), !locks.keys.is_empty())
        };
        let chosen = primary.unwrap_or(first);
        let attempt = Attempt {
            engine: self.clone(),
            txn: txn.clone(),
            keys: new.clone(),
            for_update_ts,
            longest_wait: wait.min(LONGEST_WAIT),
            armed: true,
        };
        // The primary's lock must stand before one that points to it.
        let (before, after): (Vec<Bytes>, Vec<Bytes>) = if has_locks {
            (Vec::new(), new)
        } else {
            new.into_iter().partition(|key| *key == chosen)
        };
        let alone = after.is_empty();
        let mut waiting = Waiting {
            engine: self,
            txn,
            primary: chosen.clone(),
            for_update_ts,
            no_wait: wait.is_zero(),
            deadline: Instant::now().checked_add(wait),
            commit_deadline: Instant::now() + COMMIT_WAIT,
            first: !has_locks && alone,
            backoff: self.backoff_for(wait),
        };
        let outcome = async {
            waiting.take(before, values).await?;
            // From here on others may be waited for.
            txn.locks.lock().primary = Some(chosen);
            self.start_heartbeat(txn);
            waiting.take(after, values).await
        };
        let outcome = outcome.await;
        if let Err(e) = outcome {
            attempt.undo().await;
            return Err(e);
        }
        let mut attempt = attempt;
        attempt.armed = false;
        let locked = std::mem::take(&mut attempt.keys).into_iter().map(|key| {
            let exists = values.get(&key).is_some_and(Option::is_some);
            let held = Held {
                for_update_ts,
                exists,
                ghost: false,
            };
            (key, held)
        });
        self.registry.hold(txn, locked.collect());
        Ok(())
    }

    /// Retries go on for as long as one would wait for the lock, besides their own bound.
    fn backoff_for(&self, wait: Duration) -> Backoff {
        Backoff::new("lock", self.cluster.options.retry_time.saturating_add(wait))
    }

    /// The time to live of a lock taken now, from the transaction's start.
    pub(crate) fn ttl_ms(&self, txn: &Txn) -> u64 {
        (txn.began.elapsed() + self.cluster.options.lock_ttl).as_millis() as u64
    }

    /// Returns keys that are not the transaction's (any more), with bounded retries. What stays runs out.
    pub(crate) async fn give_back(&self, txn: &Txn, for_update_ts: Timestamp, keys: Vec<Bytes>) {
        let mut backoff = self.cluster.backoff("giving back locks");
        let given = self
            .cluster
            .pessimistic_rollback(txn.start_ts.0, for_update_ts.0, keys, &mut backoff)
            .await;
        if let Err(e) = given {
            tracing::warn!(error = %e, start_ts = %txn.start_ts, "giving back locks failed; they will run out");
        }
    }

    /// `give_back` of those that a later request has not got meanwhile.
    async fn give_back_unheld(&self, txn: &Txn, for_update_ts: Timestamp, keys: &[Bytes]) {
        let _turn = txn.turn.lock().await;
        let unheld: Vec<Bytes> = {
            let locks = txn.locks.lock();
            keys.iter()
                .filter(|k| !locks.keys.contains_key(*k))
                .cloned()
                .collect()
        };
        if !unheld.is_empty() {
            self.give_back(txn, for_update_ts, unheld).await;
        }
    }

    pub(crate) async fn unlock(&self, start_ts: Timestamp, keys: Option<&[Bytes]>) -> Result<()> {
        let Some(txn) = self.registry.get(start_ts) else {
            return Ok(());
        };
        if keys.is_none() && txn.locks.lock().keys.is_empty() && txn.turn.try_lock().is_ok() {
            self.registry.end(start_ts);
            return Ok(());
        }
        let _turn = txn.turn.lock().await;
        let (given, for_update_ts) = {
            let mut locks = txn.locks.lock();
            let for_update_ts = locks.greatest_for_update_ts();
            let given: Vec<Bytes> = match keys {
                None => locks.keys.keys().cloned().collect(),
                Some(keys) => {
                    let mut given: Vec<Bytes> = keys
                        .iter()
                        .filter(|k| locks.keys.contains_key(*k))
                        .cloned()
                        .collect();
                    given.sort_unstable();
                    given.dedup();
                    // The primary says of all others that their transaction is alive, so it goes last.
                    let goes =
                        |given: &Vec<Bytes>, k: &Bytes, h: &Held| h.ghost || given.binary_search(k).is_ok();
                    if locks.keys.iter().all(|(k, h)| goes(&given, k, h)) {
                        given = locks.keys.keys().cloned().collect();
                    } else if let Some(primary) = locks.primary.clone()
                        && let Ok(at) = given.binary_search(&primary)
                    {
                        given.remove(at);
                        if let Some(h) = locks.keys.get_mut(&primary) {
                            h.ghost = true;
                        }
                    }
                    given
                }
            };
            (given, for_update_ts)
        };
        let all = keys.is_none() || given.len() == txn.locks.lock().keys.len();
        if all {
            txn.stop_heartbeat();
        }
        let result = if given.is_empty() {
            Ok(())
        } else {
            let mut backoff = self.cluster.backoff("unlock");
            self.cluster
                .pessimistic_rollback(start_ts.0, for_update_ts.0, given.clone(), &mut backoff)
                .await
        };
        // Even when it failed: nobody keeps them alive any more.
        match keys {
            None => self.registry.end(start_ts),
            Some(_) => self.registry.release(&txn, &given),
        }
        result
    }

    /// Signs of life, until the transaction ends, is too old, or the store says that its locks are gone.
    pub(crate) fn start_heartbeat(self: &Arc<Self>, txn: &Arc<Txn>) {
        let token = {
            let mut locks = txn.locks.lock();
            if locks.heartbeat.is_some() {
                return;
            }
            let token = self.cluster.stop.child_token();
            locks.heartbeat = Some(token.clone());
            token
        };
        let (engine, txn) = (self.clone(), txn.clone());
        self.cluster.background.spawn(async move {
            tokio::select! {
                _ = token.cancelled() => {}
                _ = engine.keep_alive(&txn) => {}
            }
        });
    }

    async fn keep_alive(&self, txn: &Txn) {
        let options = &self.cluster.options;
        loop {
            tokio::time::sleep(options.heartbeat_interval).await;
            if txn.began.elapsed() > options.max_transaction_age {
                txn.locks.lock().lost = Some("the transaction is too old".into());
                return;
            }
            let Some(primary) = txn.locks.lock().primary.clone() else {
                continue;
            };
            let request = TxnHeartBeatRequest {
                primary_lock: primary.clone(),
                start_version: txn.start_ts.0,
                advise_lock_ttl: self.ttl_ms(txn),
                ..TxnHeartBeatRequest::default()
            };
            let mut backoff = Backoff::new("heartbeat", options.lock_ttl);
            match self.cluster.by_key(&primary, &request, &mut backoff).await {
                Ok(answer) => {
                    if let Some(e) = answer.error {
                        let error = to_error(*e, txn.start_ts);
                        tracing::info!(%error, start_ts = %txn.start_ts, "a transaction lost its locks");
                        txn.locks.lock().lost = Some(error.to_string());
                        return;
                    }
                }
                // The store may come back before the lock runs out.
                Err(e) => tracing::debug!(error = %e, start_ts = %txn.start_ts, "no sign of life"),
            }
        }
    }
}

/// One request for locks under way.
struct Waiting<'e> {
    engine: &'e Arc<Engine>,
    txn: &'e Txn,
    primary: Bytes,
    for_update_ts: Timestamp,
    no_wait: bool,
    /// `None`: so far away that it does not matter.
    deadline: Option<Instant>,
    commit_deadline: Instant,
    /// The transaction's first lock: it cannot be part of a deadlock.
    first: bool,
    backoff: Backoff,
}

impl Waiting<'_> {
    fn left(&self) -> Duration {
        match self.deadline {
            Some(deadline) => deadline.saturating_duration_since(Instant::now()),
            None => Duration::MAX,
        }
    }

    fn request(&self, keys: &[Bytes]) -> (PessimisticLockRequest, Duration) {
        let wait = self.left().min(LONGEST_WAIT);
        let request = PessimisticLockRequest {
            mutations: keys
                .iter()
                .map(|key| kvrpcpb::Mutation {
                    op: Op::PessimisticLock as i32,
                    key: key.clone(),
                    ..kvrpcpb::Mutation::default()
                })
                .collect(),
            primary_lock: self.primary.clone(),
            start_version: self.txn.start_ts.0,
            lock_ttl: self.engine.ttl_ms(self.txn),
            for_update_ts: self.for_update_ts.0,
            is_first_lock: self.first,
            // 0 would be the store's default.
            wait_timeout: match wait.as_millis() as i64 {
                0 => -1,
                ms => ms,
            },
            return_values: true,
            min_commit_ts: self.for_update_ts.0 + 1,
            ..PessimisticLockRequest::default()
        };
        (request, self.engine.cluster.options.call_timeout + wait)
    }

    /// Locks all of `keys`, several regions at a time. On an error some may be locked.
    async fn take(
        &mut self,
        keys: Vec<Bytes>,
        values: &mut HashMap<Bytes, Option<Bytes>, RandomState>,
    ) -> Result<()> {
        let cluster = self.engine.cluster.clone();
        let of = |key: &Bytes| (key.clone(), key.len() + 32);
        let mut queue: VecDeque<Batch<Bytes>> = cluster
            .regions
            .group(keys, of, BATCH_BYTES, &mut self.backoff)
            .await?
            .into();
        let mut running = FuturesUnordered::new();
        loop {
            while running.len() < cluster.options.concurrency.max(1)
                && let Some(batch) = queue.pop_front()
            {
                let (request, timeout) = self.request(&batch.items);
                let cluster = cluster.clone();
                running.push(async move {
                    let sent = cluster.send(&batch.region, request, timeout).await;
                    (batch, sent)
                });
            }
            let Some((batch, sent)) = running.next().await else {
                return Ok(());
            };
            match sent {
                Ok(response) => match answer(response, batch.items.len(), self.for_update_ts)? {
                    Answer::Locked(found) => {
                        values.extend(batch.items.into_iter().zip(found));
                        continue;
                    }
                    Answer::Held(locks) => {
                        for lock in locks {
                            self.meet(&lock).await?;
                        }
                    }
                },
                Err(failure) => cluster.react(&batch.region, &failure, &mut self.backoff).await?,
            }
            let batches = cluster
                .regions
                .group(batch.items, of, BATCH_BYTES, &mut self.backoff)
                .await?;
            queue.extend(batches);
        }
    }

    /// Another transaction's lock is still there after the store waited.
    async fn meet(&mut self, lock: &LockInfo) -> Result<()> {
        let Met::Alive {
            start_ts,
            pessimistic,
        } = self
            .engine
            .cluster
            .meet_for_write(lock, &mut self.backoff)
            .await?
        else {
            return Ok(());
        };
        let key = lock.key.to_vec();
        let holder = start_ts;
        if self.no_wait {
            if pessimistic || Instant::now() >= self.commit_deadline {
                return Err(Error::LockNotAvailable { key, holder });
            }
        } else if self.left().is_zero() {
            METRICS.lock_timeouts.inc();
            return Err(Error::LockTimeout { key, holder });
        }
        let timeout = Error::LockTimeout { key, holder };
        self.backoff.wait(Pause::Lock, "lock_wait", timeout).await
    }
}
