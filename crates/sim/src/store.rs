//! A node's handle on the simulated store: the trait `Store`, with the time requests take and the faults they meet.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use ilmenite_store::{
    CommitRequest, Error, GcHold, Ingest, IngestSummary, KeyRange, KvBatch, LockRequest, Region, Result,
    Scan, ScanOptions, Store, Timestamp,
};
use tokio::time::Instant;

use crate::core::{LOCK_TTL, Locked};
use crate::link::{Link, Target};
use crate::world::{Mishap, World};

#[derive(Clone)]
pub struct SimStore {
    pub world: Arc<World>,
    pub link: Arc<Link>,
    /// Without waits, faults and log: for looking at what is.
    pub quiet: bool,
}

/// What a request is, for the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
enum Op {
    Timestamp = 1,
    Begin,
    Get,
    BatchGet,
    Scan,
    Versions,
    Lock,
    Unlock,
    Commit,
    Regions,
    IngestBegin,
    Ingest,
    DeleteRange,
    Hold,
    SafePoint,
}

fn unavailable(what: &str) -> Error {
    Error::Unavailable(format!("simulated: {what}"))
}

impl SimStore {
    fn now_ms(&self) -> u64 {
        self.world.log.now_ms()
    }

    fn event(&self, op: Op, detail: u64, text: impl FnOnce() -> String) {
        if self.quiet {
            return;
        }
        let numbers = [op as u64, self.link.node as u64, detail];
        self.world
            .log
            .event(&numbers, || format!("n{} {op:?} {}", self.link.node, text()));
    }

    /// A request on its way to the store.
    async fn send(&self, op: Op) -> Result<()> {
        if self.quiet {
            return Ok(());
        }
        let rates = self.world.rates();
        self.world.travel(rates.slow).await;
        if !self.link.reach(Target::Store).await {
            self.event(op, 1, || "cut off".into());
            return Err(unavailable("the store cannot be reached"));
        }
        if self.world.draw(rates.error) {
            self.event(op, 2, || "error".into());
            return Err(unavailable("the server is busy"));
        }
        Ok(())
    }

    /// The answer on its way back. False: it is lost.
    async fn answer(&self, op: Op) -> bool {
        if self.quiet {
            return true;
        }
        let rates = self.world.rates();
        if self.world.draw(rates.slow) {
            self.world.travel(rates.slow).await;
        }
        self.link.running().await;
        let lost = self.world.draw(rates.lost_reply);
        if lost {
            self.event(op, 3, || "reply lost".into());
        }
        !lost
    }

    async fn read<T>(&self, op: Op, ts: Timestamp, read: impl FnOnce(&World) -> T) -> Result<T> {
        self.send(op).await?;
        let safe_point = self.world.core.lock().safe_point;
        if ts < safe_point {
            self.event(op, 4, || format!("snapshot {ts} too old"));
            return Err(Error::SnapshotTooOld { ts, safe_point });
        }
        let value = read(&self.world);
        self.event(op, 0, String::new);
        if self.answer(op).await {
            Ok(value)
        } else {
            Err(unavailable("the reply was lost"))
        }
    }

    async fn write<T>(&self, op: Op, write: impl FnOnce(&World) -> T) -> Result<T> {
        self.send(op).await?;
        let value = write(&self.world);
        self.event(op, 0, String::new);
        if self.answer(op).await {
            Ok(value)
        } else {
            Err(unavailable("the reply was lost"))
        }
    }

    /// Once the node keeps them alive no more, the transaction's locks run out.
    fn abandon(&self, start_ts: Timestamp) {
        let world = self.world.clone();
        tokio::spawn(async move {
            tokio::time::sleep(LOCK_TTL).await;
            world.core.lock().end(start_ts);
            world.released.notify();
        });
    }

    fn apply_commit(&self, request: CommitRequest, late: bool) -> Result<Timestamp> {
        let start_ts = request.start_ts;
        let writes: Vec<(Bytes, Option<Bytes>)> = request
            .mutations
            .iter()
            .map(|m| (m.key.clone(), m.value.clone()))
            .collect();
        let now_ms = self.now_ms();
        let result = self.world.core.lock().commit(request, self.world.broken, now_ms);
        self.world.released.notify();
        let result = result.map(|committed| {
            committed
                .violation
                .into_iter()
                .for_each(|v| self.world.violation(v));
            for change in &committed.changes {
                self.world.check_views(change);
            }
            committed.commit_ts
        });
        let number = match &result {
            Ok(ts) => ts.0,
            Err(_) => 5,
        };
        self.event(Op::Commit, number, || {
            let show = |(key, value): &(Bytes, Option<Bytes>)| shown(key) + &value_shown(key, value.as_ref());
            let keys: Vec<String> = writes.iter().map(show).collect();
            let late = if late { "late " } else { "" };
            match &result {
                Ok(ts) => format!("{late}{start_ts} at {ts}: {}", keys.join(" ")),
                Err(e) => format!("{late}{start_ts} refused ({e}): {}", keys.join(" ")),
            }
        });
        result
    }
}

/// A key as people can read it.
pub fn shown(key: &[u8]) -> String {
    if let (b't', Some(table)) = (key.first().copied().unwrap_or(0), key.get(1..9)) {
        let number = |bytes: &[u8]| match bytes.try_into() {
            Ok(bytes) => (u64::from_be_bytes(bytes) ^ (1 << 63)) as i64,
            Err(_) => 0,
        };
        let table = number(table);
        match (key.get(9..11), key.get(11..19)) {
            (Some(b"_r"), Some(handle)) => return format!("t{table}_r{}", number(handle)),
            (Some(b"_i"), Some(index)) => {
                let rest = key.get(19..).unwrap_or_default();
                return format!("t{table}_i{}_{}", number(index), hex(rest));
            }
            _ => {}
        }
    }
    for prefix in [
        "i/ddl/job/",
        "i/ddl/history/",
        "i/ddl/storage/",
        "i/ddl/delete_range/",
        "i/task/t/",
        "i/task/s/",
    ] {
        let Some(rest) = key.strip_prefix(prefix.as_bytes()) else {
            continue;
        };
        let (words, rest) = (rest.chunks_exact(8), rest.chunks_exact(8).remainder());
        let ids: Vec<String> = words
            .map(|word| {
                word.iter()
                    .fold(0u64, |n, byte| (n << 8) | u64::from(*byte))
                    .to_string()
            })
            .collect();
        return format!("{prefix}{}.{}", ids.join("."), hex(rest));
    }
    if let Some(at) = key.windows(6).position(|w| w == b"Table:") {
        let digits = key[at + 6..].iter().filter(|b| b.is_ascii_digit());
        return format!("table {}", digits.map(|d| char::from(*d)).collect::<String>());
    }
    key.escape_ascii().to_string()
}

/// What a commit makes of a row, as far as people want to know.
fn value_shown(key: &[u8], value: Option<&Bytes>) -> String {
    let Some(value) = value else {
        return " deleted".into();
    };
    if !(key.starts_with(b"i/ddl/job/") || key.starts_with(b"i/task/t/") || key.starts_with(b"i/task/s/")) {
        return String::new();
    }
    let Ok(row) = serde_json::from_slice::<serde_json::Value>(value) else {
        return String::new();
    };
    let field = |name: &str| row.get(name).map(|v| v.to_string()).unwrap_or_default();
    let names = ["state", "stage", "step", "node", "attempt"];
    let fields: Vec<String> = names.iter().map(|n| field(n)).filter(|f| !f.is_empty()).collect();
    let errors = ["error", "err", "retry"]
        .iter()
        .map(|n| field(n))
        .filter(|f| !f.is_empty() && f != "null");
    format!(" ({} {})", fields.join(" "), errors.collect::<Vec<_>>().join(" "))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// A transaction whose beginning nobody has heard of, because the reply was lost or the caller has gone: it runs out.
struct Begun<'a> {
    store: &'a SimStore,
    start_ts: Option<Timestamp>,
}

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        // With the runtime itself everything goes.
        if let (Some(start_ts), Ok(_)) = (self.start_ts, tokio::runtime::Handle::try_current()) {
            self.store.abandon(start_ts);
        }
    }
}

/// Removed from the graph of waits when dropped.
struct Wait<'a> {
    world: &'a World,
    me: Timestamp,
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        self.world.core.lock().waits.remove(&self.me);
    }
}

#[async_trait]
impl Store for SimStore {
    async fn timestamp(&self) -> Result<Timestamp> {
        self.send(Op::Timestamp).await?;
        let ts = self.world.core.lock().timestamp(self.now_ms());
        if self.answer(Op::Timestamp).await {
            Ok(ts)
        } else {
            Err(unavailable("the reply was lost"))
        }
    }

    async fn begin_timestamp(&self) -> Result<Timestamp> {
        self.send(Op::Begin).await?;
        let ts = self.world.core.lock().begin(self.link.node, self.now_ms());
        let mut begun = Begun {
            store: self,
            start_ts: Some(ts),
        };
        if self.answer(Op::Begin).await {
            begun.start_ts = None;
            Ok(ts)
        } else {
            Err(unavailable("the reply was lost"))
        }
    }

    async fn get(&self, key: &[u8], ts: Timestamp) -> Result<Option<Bytes>> {
        self.read(Op::Get, ts, |world| world.core.lock().memory.read(key, ts))
            .await
    }

    async fn batch_get(&self, keys: &[Bytes], ts: Timestamp) -> Result<Vec<Option<Bytes>>> {
        self.read(Op::BatchGet, ts, |world| {
            let core = world.core.lock();
            keys.iter().map(|key| core.memory.read(key, ts)).collect()
        })
        .await
    }

    fn scan(&self, range: KeyRange, ts: Timestamp, options: ScanOptions) -> Result<Box<dyn Scan>> {
        Ok(Box::new(SimScan {
            store: self.clone(),
            range,
            ts,
            options,
            remaining: options.limit,
            ended: false,
        }))
    }

    async fn versions(&self, key: &[u8], since: Timestamp) -> Result<Vec<(Timestamp, Option<Bytes>)>> {
        self.read(Op::Versions, since, |world| {
            world.core.lock().memory.versions(key, since)
        })
        .await
    }

    async fn lock(&self, request: LockRequest) -> Result<Vec<Option<Bytes>>> {
        self.send(Op::Lock).await?;
        let deadline = Instant::now() + request.wait;
        let me = request.start_ts;
        let mut wait: Option<Wait<'_>> = None;
        loop {
            let mut released = self.world.released.subscribe();
            self.link.running().await;
            let outcome = self.world.core.lock().lock(&request)?;
            let (key, holder) = match outcome {
                Locked::Yes(values) => {
                    drop(wait);
                    self.event(Op::Lock, me.0, || {
                        let keys: Vec<String> = request.keys.iter().map(|k| shown(k)).collect();
                        format!("{me}: {}", keys.join(" "))
                    });
                    if self.answer(Op::Lock).await {
                        return Ok(values);
                    }
                    return Err(unavailable("the reply was lost"));
                }
                Locked::HeldBy(holder, key) => (key, holder),
            };
            let key = key.to_vec();
            if request.wait.is_zero() {
                return Err(Error::LockNotAvailable { key, holder });
            }
            {
                let mut core = self.world.core.lock();
                if core.deadlocks(me, holder) {
                    let waiting_for = holder;
                    return Err(Error::Deadlock { key, waiting_for });
                }
                core.waits.insert(me, holder);
            }
            wait.get_or_insert(Wait {
                world: &self.world,
                me,
            });
            if tokio::time::timeout_at(deadline, released.notified())
                .await
                .is_err()
            {
                self.event(Op::Lock, 6, || format!("{me} waited too long for {holder}"));
                return Err(Error::LockTimeout { key, holder });
            }
        }
    }

    async fn unlock(&self, start_ts: Timestamp, keys: Option<&[Bytes]>) -> Result<()> {
        let unlocked = self
            .write(Op::Unlock, |world| {
                let mut core = world.core.lock();
                match keys {
                    Some(_) => core.memory.unlock(start_ts, keys),
                    None => core.end(start_ts),
                }
            })
            .await;
        if unlocked.is_err() && keys.is_none() {
            self.abandon(start_ts);
        }
        self.world.released.notify();
        unlocked
    }

    async fn commit(&self, request: CommitRequest) -> Result<Timestamp> {
        self.send(Op::Commit).await?;
        let (start_ts, slow) = (request.start_ts, self.world.rates().slow);
        let mishap = match self.quiet {
            true => None,
            false => self.world.mishap(request.mutations.iter().map(|m| &m.key)),
        };
        let unknown = |what: &str| Err(Error::Undetermined(format!("simulated: {what}")));
        let result = match mishap {
            Some(Mishap::Lost) => {
                self.event(Op::Commit, 7, || format!("{start_ts} lost on its way"));
                unknown("the commit was lost")
            }
            Some(Mishap::Late(late)) => {
                self.event(Op::Commit, 8, || format!("{start_ts} delayed on its way"));
                let this = self.clone();
                tokio::spawn(async move {
                    tokio::time::sleep(late).await;
                    drop(this.apply_commit(request, true));
                });
                unknown("no answer to the commit")
            }
            Some(Mishap::ReplyLost) => {
                drop(self.apply_commit(request, false));
                self.event(Op::Commit, 3, || "reply lost".into());
                unknown("the reply was lost")
            }
            None => self.apply_commit(request, false),
        };
        if !self.quiet {
            self.world.travel(slow).await;
            self.link.running().await;
        }
        result
    }

    async fn regions(&self, range: &KeyRange) -> Result<Vec<Region>> {
        self.read(Op::Regions, Timestamp::MAX, |world| {
            world.core.lock().regions(range)
        })
        .await
    }

    async fn ingest(&self, range: KeyRange, ts: Timestamp) -> Result<Box<dyn Ingest>> {
        self.send(Op::IngestBegin).await?;
        Ok(Box::new(SimIngest {
            store: self.clone(),
            range,
            ts,
            pairs: Vec::new(),
            bytes: 0,
        }))
    }

    async fn delete_range(&self, range: KeyRange) -> Result<()> {
        self.write(Op::DeleteRange, |world| {
            world.core.lock().memory.delete_range(&range);
            world.log.note(|| {
                let (start, end) = (shown(&range.start), shown(&range.end));
                format!("deleted {start} .. {end}")
            });
        })
        .await
    }

    async fn set_gc_hold(&self, hold: GcHold) -> Result<()> {
        self.write(Op::Hold, |world| {
            world.core.lock().holds.insert(hold.id.clone(), hold);
        })
        .await
    }

    async fn release_gc_hold(&self, id: &str) -> Result<()> {
        self.write(Op::Hold, |world| {
            world.core.lock().holds.remove(id);
        })
        .await
    }

    async fn gc_holds(&self) -> Result<Vec<GcHold>> {
        self.read(Op::Hold, Timestamp::MAX, |world| {
            world.core.lock().holds.values().cloned().collect()
        })
        .await
    }

    async fn gc_safe_point(&self) -> Result<Timestamp> {
        self.read(Op::SafePoint, Timestamp::MAX, |world| {
            world.core.lock().safe_point
        })
        .await
    }
}

struct SimScan {
    store: SimStore,
    /// What is left of it.
    range: KeyRange,
    ts: Timestamp,
    options: ScanOptions,
    remaining: usize,
    ended: bool,
}

#[async_trait]
impl Scan for SimScan {
    async fn next_batch(&mut self, batch: &mut KvBatch) -> Result<bool> {
        batch.clear();
        if self.ended {
            return Ok(false);
        }
        let options = ScanOptions {
            limit: self.remaining,
            ..self.options
        };
        let (range, ts) = (self.range.clone(), self.ts);
        let pairs = self
            .store
            .read(Op::Scan, ts, |world| {
                world.core.lock().memory.scan(&range, ts, options)
            })
            .await?;
        for (key, value) in &pairs {
            batch.push(key, value);
        }
        self.remaining -= pairs.len();
        match pairs.last() {
            Some((last, _)) if self.remaining > 0 => {
                if self.options.reverse {
                    self.range.end = last.clone();
                } else {
                    self.range.start = [&last[..], &[0]].concat().into();
                }
                self.ended = self.range.is_empty();
            }
            _ => self.ended = true,
        }
        Ok(!batch.is_empty())
    }
}

struct SimIngest {
    store: SimStore,
    range: KeyRange,
    ts: Timestamp,
    pairs: Vec<(Bytes, Bytes)>,
    bytes: u64,
}

#[async_trait]
impl Ingest for SimIngest {
    async fn write(&mut self, batch: &KvBatch) -> Result<()> {
        for (key, value) in batch.iter() {
            let ascending = self.pairs.last().is_none_or(|(last, _)| &last[..] < key);
            if !ascending || !self.range.contains(key) {
                return Err(Error::IngestOrder(format!("key {}", shown(key))));
            }
            self.bytes += (key.len() + value.len()) as u64;
            self.pairs
                .push((Bytes::copy_from_slice(key), Bytes::copy_from_slice(value)));
        }
        self.store.send(Op::Ingest).await
    }

    async fn finish(self: Box<Self>) -> Result<IngestSummary> {
        self.store.send(Op::Ingest).await?;
        let world = &self.store.world;
        let summary = IngestSummary {
            entries: self.pairs.len() as u64,
            bytes: self.bytes,
        };
        let rates = world.rates();
        let partial = world.draw(rates.partial_ingest);
        let taken = if partial {
            self.pairs.len() / 2
        } else {
            self.pairs.len()
        };
        {
            let mut core = world.core.lock();
            for (key, value) in self.pairs.into_iter().take(taken) {
                core.memory.put(key, self.ts, Some(value));
            }
        }
        self.store.event(Op::Ingest, taken as u64, || {
            let (start, end) = (shown(&self.range.start), shown(&self.range.end));
            format!("{taken} of {} at {}: {start} .. {end}", summary.entries, self.ts)
        });
        if partial || !self.store.answer(Op::Ingest).await {
            return Err(unavailable("the ingest broke off"));
        }
        Ok(summary)
    }
}
