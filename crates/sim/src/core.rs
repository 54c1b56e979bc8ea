//! The state of the simulated store: versions and locks (`ilmenite_store::memory`), time, transactions, holds, regions.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use ilmenite_catalog::{TableId, TableInfo, TableRef};
use ilmenite_store::memory::{Memory, Refused};
use ilmenite_store::{CommitRequest, Error, GcHold, KeyRange, LockRequest, Region, Result, Timestamp};

/// Milliseconds since 1970 at which every simulation begins.
pub const BEGIN_MS: u64 = 1_700_000_000_000;
/// Locks that nobody keeps alive run out after this.
pub const LOCK_TTL: Duration = Duration::from_secs(3);
/// Versions are kept so long at least, whoever may read them.
pub const GC_LIFE: Duration = Duration::from_secs(40);
/// A transaction older than this holds garbage collection back no more.
const MAX_TXN_AGE: Duration = Duration::from_secs(120);

/// What a deliberately broken store or node does wrong: see `mutation`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Broken {
    pub ignores_preconditions: bool,
    pub ignores_max_commit_ts: bool,
}

/// A transaction that has begun and not ended.
#[derive(Debug)]
pub struct Txn {
    pub node: usize,
    /// Its locks ran out: it must not commit.
    pub expired: bool,
}

#[derive(Default)]
pub struct Core {
    pub memory: Memory,
    last: u64,
    /// The store's time minus the world's, in milliseconds.
    pub time_off_ms: i64,
    pub txns: BTreeMap<Timestamp, Txn>,
    /// Who waits for whom.
    pub waits: BTreeMap<Timestamp, Timestamp>,
    pub holds: BTreeMap<String, GcHold>,
    pub safe_point: Timestamp,
    /// Where regions begin, but the first.
    pub boundaries: BTreeSet<Bytes>,
    /// What a region is said to hold, in bytes: planning takes it for true.
    pub region_bytes: u64,
    /// Every version of every row ever committed, for judging what a build says of duplicates.
    pub row_history: BTreeMap<Bytes, Vec<(Timestamp, Option<Bytes>)>>,
    /// What open transactions go by.
    pub pinned: BTreeMap<Timestamp, Vec<TableRef>>,
    /// Each table's versions, the newest last; `None`: it is gone.
    tables: BTreeMap<TableId, Vec<Option<TableInfo>>>,
}

/// A table has become another one.
#[derive(Debug, Clone)]
pub struct SchemaChange {
    pub table_id: TableId,
    pub commit_ts: Timestamp,
    pub before: Option<TableInfo>,
    pub now: Option<TableInfo>,
}

impl SchemaChange {
    /// May anyone go by this version now?
    pub fn allows(&self, held: Option<&TableInfo>) -> bool {
        let outline_of = |table: Option<&TableInfo>| table.map(outline);
        let held = outline_of(held);
        held == outline_of(self.now.as_ref()) || held == outline_of(self.before.as_ref())
    }
}

/// What of a table's version concerns those who write to it.
pub fn outline(table: &TableInfo) -> String {
    let indexes = table.indexes.iter();
    let indexes: Vec<String> = indexes
        .map(|i| format!("{} {}", i.name, i.state.as_str()))
        .collect();
    format!("[{}]", indexes.join(", "))
}

/// Whether all keys are locked now.
pub enum Locked {
    /// With their newest values.
    Yes(Vec<Option<Bytes>>),
    /// Not while this transaction holds the key.
    HeldBy(Timestamp, Bytes),
}

/// What a commit did.
pub struct Committed {
    pub commit_ts: Timestamp,
    pub changes: Vec<SchemaChange>,
    pub violation: Option<String>,
}

impl Core {
    /// A new timestamp: greater than every one before, and no less than the store's time says.
    pub fn timestamp(&mut self, now_ms: u64) -> Timestamp {
        let ms = (BEGIN_MS + now_ms).saturating_add_signed(self.time_off_ms);
        self.last = (self.last + 1).max(ms << Timestamp::LOGICAL_BITS);
        Timestamp(self.last)
    }

    /// The store's time, as far as it was asked for.
    pub fn last_ms(&self) -> u64 {
        Timestamp(self.last).millis()
    }

    pub fn begin(&mut self, node: usize, now_ms: u64) -> Timestamp {
        let start_ts = self.timestamp(now_ms);
        let expired = false;
        self.txns.insert(start_ts, Txn { node, expired });
        start_ts
    }

    pub fn commit(&mut self, request: CommitRequest, broken: Broken, now_ms: u64) -> Result<Committed> {
        let start_ts = request.start_ts;
        let Some(txn) = self.txns.get(&start_ts) else {
            // Rolled back already: what arrives late has no effect.
            return Err(Error::Aborted("the transaction has ended".into()));
        };
        if txn.expired && !request.mutations.is_empty() {
            return Err(Error::WriteConflict {
                key: request.mutations[0].key.to_vec(),
                start_ts,
                conflict_ts: Timestamp(self.last),
            });
        }
        let commit_ts = self.timestamp(now_ms);
        let mut request = request;
        if broken.ignores_preconditions {
            request.preconditions.clear();
        }
        if broken.ignores_max_commit_ts {
            request.max_commit_ts = None;
        }
        let watched: Vec<(Bytes, Option<Bytes>)> = request
            .mutations
            .iter()
            .filter(|m| is_row(&m.key) || m.key.first() == Some(&b'm'))
            .map(|m| (m.key.clone(), m.value.clone()))
            .collect();
        self.memory.commit(request, commit_ts)?;
        self.txns.remove(&start_ts);
        let mut changes = Vec::new();
        for (key, value) in watched {
            if is_row(&key) {
                self.row_history.entry(key).or_default().push((commit_ts, value));
            } else {
                changes.extend(self.schema_change(&key, value.as_ref(), commit_ts));
            }
        }
        let violation = self.pinned.remove(&start_ts).and_then(|pinned| {
            let old = pinned.iter().find(|table| !self.is_recent(table))?;
            let now = self.tables.get(&old.id).and_then(|v| v.last()?.as_ref());
            Some(format!(
                "TWO VERSIONS APART: {start_ts}, which went by {}, committed at {commit_ts} to {}",
                outline(old),
                now.map_or("nothing".into(), outline)
            ))
        });
        Ok(Committed {
            commit_ts,
            changes,
            violation,
        })
    }

    fn schema_change(
        &mut self,
        key: &Bytes,
        value: Option<&Bytes>,
        commit_ts: Timestamp,
    ) -> Option<SchemaChange> {
        let at = key.windows(6).position(|w| w == b"Table:")?;
        // Fields are padded in groups of eight bytes: digits may be parted by a group's marker.
        let digits = key[at + 6..].iter().filter(|b| b.is_ascii_digit());
        let table_id: TableId = String::from_utf8(digits.copied().collect()).ok()?.parse().ok()?;
        let now: Option<TableInfo> = match value {
            Some(raw) => Some(serde_json::from_slice(raw).ok()?),
            None => None,
        };
        let versions = self.tables.entry(table_id).or_default();
        let before = versions.last().cloned().flatten();
        versions.push(now.clone());
        Some(SchemaChange {
            table_id,
            commit_ts,
            before,
            now,
        })
    }

    /// Is it the table's newest version, or the one before?
    fn is_recent(&self, table: &TableInfo) -> bool {
        let versions = self.tables.get(&table.id).map_or(&[][..], |v| v);
        let held = outline(table);
        let mut recent = versions.iter().rev().take(2);
        recent.any(|v| v.as_ref().is_some_and(|v| outline(v) == held))
    }

    /// Takes all locks, or says whom to wait for.
    pub fn lock(&mut self, request: &LockRequest) -> Result<Locked> {
        if self.txns.get(&request.start_ts).is_none_or(|txn| txn.expired) {
            return Err(Error::Aborted("the transaction's locks ran out".into()));
        }
        match self.memory.lock(request) {
            Ok(values) => Ok(Locked::Yes(values)),
            Err(Refused::Conflict(error)) => Err(error),
            Err(Refused::Held { key, holder }) => Ok(Locked::HeldBy(holder, key)),
        }
    }

    /// Would waiting for `holder` close a circle?
    pub fn deadlocks(&self, me: Timestamp, holder: Timestamp) -> bool {
        let mut at = holder;
        for _ in 0..=self.waits.len() {
            if at == me {
                return true;
            }
            match self.waits.get(&at) {
                Some(next) => at = *next,
                None => return false,
            }
        }
        false
    }

    pub fn end(&mut self, start_ts: Timestamp) {
        self.pinned.remove(&start_ts);
        self.memory.unlock(start_ts, None);
        self.txns.remove(&start_ts);
    }

    /// The locks of a transaction run out: nobody kept them alive.
    pub fn expire(&mut self, start_ts: Timestamp) {
        if let Some(txn) = self.txns.get_mut(&start_ts) {
            txn.expired = true;
            self.memory.unlock(start_ts, None);
        }
    }

    pub fn regions(&self, range: &KeyRange) -> Vec<Region> {
        let mut starts = vec![range.start.clone()];
        starts.extend(
            self.boundaries
                .iter()
                .filter(|b| range.contains(b) && **b > range.start)
                .cloned(),
        );
        let ends = starts.iter().skip(1).cloned().chain([range.end.clone()]);
        let regions = starts.iter().cloned().zip(ends).zip(1..);
        regions
            .map(|((start, end), id)| Region {
                id,
                range: KeyRange { start, end },
                approximate_bytes: self.region_bytes,
                approximate_keys: 1000,
            })
            .collect()
    }

    /// Moves the safe point as far as promises allow, and removes what is behind it.
    pub fn collect_garbage(&mut self, now_ms: u64) {
        let now = self.timestamp(now_ms);
        let ago = |d: Duration| Timestamp::from_millis(now.millis().saturating_sub(d.as_millis() as u64));
        let oldest = ago(MAX_TXN_AGE);
        let open = self.txns.keys().find(|start| **start >= oldest).copied();
        let held = self.holds.values().map(|hold| hold.ts).min();
        let bounds = [Some(ago(GC_LIFE)), open, held];
        let safe_point = bounds.into_iter().flatten().min().unwrap_or_default();
        // A hold behind the safe point came too late and moves nothing back.
        self.safe_point = self.safe_point.max(safe_point);
        self.memory.collect_garbage(self.safe_point);
    }
}

fn is_row(key: &[u8]) -> bool {
    key.len() > 11 && key[0] == b't' && &key[9..11] == b"_r"
}
