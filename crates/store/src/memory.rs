//! What the trait `Store` means, in memory and without waits or faults: for model checks, which copy the whole of it and
//! put it back, and for simulations, which put waits, faults and time around it (feature `testing`).

use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;

use crate::{
    Check, CommitRequest, Error, KeyRange, LockRequest, Mutation, Precondition, Result, ScanOptions,
    Timestamp,
};

/// Versions of a key, newest first; `None` is a delete marker.
pub type Versions = Vec<(Timestamp, Option<Bytes>)>;

/// Versions and pessimistic locks.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    pub data: BTreeMap<Bytes, Versions>,
    /// Which transaction holds a key.
    pub locks: BTreeMap<Bytes, Timestamp>,
}

/// Why a lock was not given.
#[derive(Debug, Clone)]
pub enum Refused {
    /// Another transaction holds the key.
    Held { key: Bytes, holder: Timestamp },
    /// A version newer than the request's.
    Conflict(Error),
}

impl Memory {
    /// When the newest version was committed.
    pub fn newest_ts(&self, key: &[u8]) -> Timestamp {
        self.data
            .get(key)
            .and_then(|versions| versions.first())
            .map_or(Timestamp::ZERO, |(ts, _)| *ts)
    }

    pub fn newest(&self, key: &[u8]) -> Option<Bytes> {
        self.read(key, Timestamp::MAX)
    }

    pub fn read(&self, key: &[u8], ts: Timestamp) -> Option<Bytes> {
        visible(self.data.get(key)?, ts).cloned()
    }

    /// The next live pairs of a range, up to a number and about a size.
    pub fn scan(&self, range: &KeyRange, ts: Timestamp, options: ScanOptions) -> Vec<(Bytes, Bytes)> {
        if range.is_empty() {
            return Vec::new();
        }
        let end = if range.end.is_empty() {
            Bound::Unbounded
        } else {
            Bound::Excluded(&range.end[..])
        };
        let within = self
            .data
            .range::<[u8], _>((Bound::Included(&range.start[..]), end))
            .filter_map(|(key, versions)| Some((key, visible(versions, ts)?)));
        let (mut pairs, mut bytes) = (Vec::new(), 0);
        let mut take = |(key, value): (&Bytes, &Bytes)| {
            let value = if options.key_only {
                Bytes::new()
            } else {
                value.clone()
            };
            bytes += key.len() + value.len();
            pairs.push((key.clone(), value));
            pairs.len() < options.limit && bytes < options.batch_bytes
        };
        if options.limit > 0 {
            if options.reverse {
                within.rev().all(&mut take);
            } else {
                let mut within = within;
                within.all(&mut take);
            }
        }
        pairs
    }

    /// Of a key, those committed at or after `since`, newest first.
    pub fn versions(&self, key: &[u8], since: Timestamp) -> Versions {
        let versions = self.data.get(key).into_iter().flatten();
        versions.filter(|(ts, _)| *ts >= since).cloned().collect()
    }

    /// Another version; one of the same timestamp is replaced.
    pub fn put(&mut self, key: Bytes, ts: Timestamp, value: Option<Bytes>) {
        let versions = self.data.entry(key).or_default();
        match versions.binary_search_by(|(at, _)| ts.cmp(at)) {
            Ok(same) => versions[same].1 = value,
            Err(place) => versions.insert(place, (ts, value)),
        }
    }

    /// All of the keys, or none; with their newest values.
    pub fn lock(&mut self, request: &LockRequest) -> Result<Vec<Option<Bytes>>, Refused> {
        let me = request.start_ts;
        for key in &request.keys {
            if let Some(holder) = self.locks.get(key).filter(|holder| **holder != me) {
                let (key, holder) = (key.clone(), *holder);
                return Err(Refused::Held { key, holder });
            }
            let newest = self.newest_ts(key);
            if newest > request.for_update_ts {
                return Err(Refused::Conflict(conflict(key, request.for_update_ts, newest)));
            }
        }
        for key in &request.keys {
            self.locks.insert(key.clone(), me);
        }
        Ok(request.keys.iter().map(|key| self.newest(key)).collect())
    }

    pub fn unlock(&mut self, start_ts: Timestamp, keys: Option<&[Bytes]>) {
        match keys {
            None => self.locks.retain(|_, holder| *holder != start_ts),
            Some(keys) => {
                for key in keys {
                    if self.locks.get(key) == Some(&start_ts) {
                        self.locks.remove(key);
                    }
                }
            }
        }
    }

    pub fn check_preconditions(&self, preconditions: &[Precondition]) -> Result<()> {
        match preconditions.iter().find(|p| self.newest(&p.key) != p.value) {
            Some(broken) => Err(Error::PreconditionFailed {
                key: broken.key.to_vec(),
            }),
            None => Ok(()),
        }
    }

    pub fn check_mutations(&self, start_ts: Timestamp, mutations: &[Mutation]) -> Result<()> {
        for mutation in mutations {
            let key = &mutation.key;
            let held = self.locks.get(key);
            if let Some(holder) = held.filter(|holder| **holder != start_ts) {
                return Err(conflict(key, start_ts, *holder));
            }
            if mutation.check == Check::None {
                continue;
            }
            let newest = self.newest_ts(key);
            // Under its own lock the version is the one it locked, however new.
            if newest > start_ts && held.is_none() {
                return Err(conflict(key, start_ts, newest));
            }
            if mutation.check == Check::MustNotExist && self.newest(key).is_some() {
                return Err(Error::KeyExists { key: key.to_vec() });
            }
        }
        Ok(())
    }

    /// The whole of a commit at `commit_ts`: its checks, and its effect. Locks go.
    pub fn commit(&mut self, request: CommitRequest, commit_ts: Timestamp) -> Result<()> {
        if let Some(max_commit_ts) = request.max_commit_ts.filter(|max| commit_ts > *max) {
            return Err(Error::CommitTooLate {
                commit_ts,
                max_commit_ts,
            });
        }
        self.check_mutations(request.start_ts, &request.mutations)?;
        self.check_preconditions(&request.preconditions)?;
        for mutation in request.mutations {
            self.put(mutation.key, commit_ts, mutation.value);
        }
        self.unlock(request.start_ts, None);
        Ok(())
    }

    pub fn delete_range(&mut self, range: &KeyRange) {
        let within: Vec<Bytes> = match range.is_empty() {
            true => Vec::new(),
            false => {
                let from = self
                    .data
                    .range::<[u8], _>((Bound::Included(&range.start[..]), Bound::Unbounded));
                let keys = from.map(|(key, _)| key).take_while(|key| range.contains(key));
                keys.cloned().collect()
            }
        };
        for key in within {
            self.data.remove(&key);
        }
    }

    /// Removes versions that nobody sees at `safe_point` or later.
    pub fn collect_garbage(&mut self, safe_point: Timestamp) {
        self.data.retain(|_, versions| {
            if let Some(kept) = versions.iter().position(|(ts, _)| *ts <= safe_point) {
                let marker = versions[kept].1.is_none();
                versions.truncate(kept + usize::from(!marker));
            }
            !versions.is_empty()
        });
    }
}

fn visible(versions: &Versions, ts: Timestamp) -> Option<&Bytes> {
    versions
        .iter()
        .find(|(at, _)| *at <= ts)
        .and_then(|(_, value)| value.as_ref())
}

fn conflict(key: &Bytes, start_ts: Timestamp, conflict_ts: Timestamp) -> Error {
    Error::WriteConflict {
        key: key.to_vec(),
        start_ts,
        conflict_ts,
    }
}
