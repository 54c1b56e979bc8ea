//! Where each key lives: a cache of PD's regions, corrected by what the stores answer.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use ilmenite_proto::kvrpcpb;
use ilmenite_proto::metapb::{self, Peer, RegionEpoch};
use ilmenite_store::{Error, Result};
use parking_lot::RwLock;

use crate::backoff::{Backoff, Pause};
use crate::key;
use crate::pd::{Pd, PdRegion};

/// A region as it was when we last heard of it. Bounds are raw keys; an empty end: to the last key.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Region {
    pub id: u64,
    pub epoch: RegionEpoch,
    pub start: Bytes,
    pub end: Bytes,
    pub peers: Vec<Peer>,
    pub leader: Peer,
}

impl Region {
    /// `None`: without a leader one cannot do anything with it.
    fn new(meta: metapb::Region, leader: Option<Peer>) -> Option<Self> {
        Some(Region {
            id: meta.id,
            epoch: meta.region_epoch?,
            start: key::decode_bound(&meta.start_key),
            end: key::decode_bound(&meta.end_key),
            leader: leader?,
            peers: meta.peers,
        })
    }

    pub(crate) fn contains(&self, key: &[u8]) -> bool {
        key >= &self.start[..] && (self.end.is_empty() || key < &self.end[..])
    }

    pub(crate) fn context(&self) -> kvrpcpb::Context {
        kvrpcpb::Context {
            region_id: self.id,
            region_epoch: Some(self.epoch),
            peer: Some(self.leader),
            request_source: "ilmenite".into(),
            ..kvrpcpb::Context::default()
        }
    }
}

#[derive(Default)]
struct Map {
    by_start: BTreeMap<Bytes, Arc<Region>>,
    start_of: HashMap<u64, Bytes>,
}

impl Map {
    fn at(&self, key: &[u8]) -> Option<&Arc<Region>> {
        let (_, region) = self
            .by_start
            .range::<[u8], _>((Bound::Unbounded, Bound::Included(key)))
            .next_back()?;
        region.contains(key).then_some(region)
    }

    /// The region that holds the keys just below `end`.
    fn before(&self, end: &[u8]) -> Option<&Arc<Region>> {
        let below = if end.is_empty() {
            Bound::Unbounded
        } else {
            Bound::Excluded(end)
        };
        let (_, region) = self
            .by_start
            .range::<[u8], _>((Bound::Unbounded, below))
            .next_back()?;
        let reaches = region.end.is_empty() || (!end.is_empty() && end <= &region.end[..]);
        reaches.then_some(region)
    }

    fn remove(&mut self, id: u64) {
        if let Some(start) = self.start_of.remove(&id)
            && self.by_start.get(&start).is_some_and(|r| r.id == id)
        {
            self.by_start.remove(&start);
        }
    }

    /// Unless something newer is known of any part of it, which is PD being late.
    fn insert(&mut self, region: Arc<Region>) {
        let known = self.start_of.get(&region.id);
        if let Some(known) = known.and_then(|start| self.by_start.get(start))
            && known.id == region.id
            && (known.epoch.version > region.epoch.version || known.epoch.conf_ver > region.epoch.conf_ver)
        {
            return;
        }
        let mut overlapping = Vec::new();
        if let Some(first) = self.at(&region.start) {
            overlapping.push(first.clone());
        }
        let end = if region.end.is_empty() {
            Bound::Unbounded
        } else {
            Bound::Excluded(&region.end)
        };
        if region.end.is_empty() || region.start < region.end {
            let within = self
                .by_start
                .range::<Bytes, _>((Bound::Excluded(&region.start), end));
            overlapping.extend(within.map(|(_, r)| r.clone()));
        }
        let newer = |r: &Arc<Region>| r.id != region.id && r.epoch.version > region.epoch.version;
        if overlapping.iter().any(newer) {
            return;
        }
        for old in overlapping {
            self.remove(old.id);
        }
        self.remove(region.id);
        self.start_of.insert(region.id, region.start.clone());
        self.by_start.insert(region.start.clone(), region);
    }
}

pub(crate) struct RegionCache {
    pd: Arc<Pd>,
    map: RwLock<Map>,
}

impl RegionCache {
    pub(crate) fn new(pd: Arc<Pd>) -> Self {
        RegionCache {
            pd,
            map: RwLock::default(),
        }
    }

    /// The region that holds `key`.
    pub(crate) async fn locate(&self, key: &[u8], backoff: &mut Backoff) -> Result<Arc<Region>> {
        loop {
            if let Some(region) = self.map.read().at(key) {
                return Ok(region.clone());
            }
            let found = self.pd.region(key::encode(key)).await?;
            if let Some(region) = self.learn(found)
                && region.contains(key)
            {
                return Ok(region);
            }
            self.wait_for_pd(key, backoff).await?;
        }
    }

    /// The region that holds the keys just below `end`; empty: the last one.
    pub(crate) async fn locate_before(&self, end: &[u8], backoff: &mut Backoff) -> Result<Arc<Region>> {
        loop {
            if let Some(region) = self.map.read().before(end) {
                return Ok(region.clone());
            }
            let encoded = if end.is_empty() {
                key::encode(&key::BEYOND_ALL)
            } else {
                key::encode(end)
            };
            let mut found = self.pd.region(encoded.clone()).await?;
            if !end.is_empty() && found.as_ref().is_some_and(|r| r.meta.start_key >= encoded) {
                found = self.pd.previous_region(encoded).await?;
            }
            if let Some(region) = self.learn(found)
                && (region.end.is_empty() || (!end.is_empty() && end <= &region.end[..]))
                && (end.is_empty() || &region.start[..] < end)
            {
                return Ok(region);
            }
            self.wait_for_pd(end, backoff).await?;
        }
    }

    async fn wait_for_pd(&self, key: &[u8], backoff: &mut Backoff) -> Result<()> {
        let why = Error::Unavailable(format!("PD knows no region with a leader for the key {key:02x?}"));
        backoff.wait(Pause::Settle, "no_region", why).await
    }

    fn learn(&self, found: Option<PdRegion>) -> Option<Arc<Region>> {
        let found = found?;
        let region = Arc::new(Region::new(found.meta, found.leader)?);
        self.map.write().insert(region.clone());
        Some(region)
    }

    /// What a store told with `EpochNotMatch`. The leader stays where it was, if there is still a peer.
    pub(crate) fn learn_current(&self, regions: Vec<metapb::Region>, leader_store: u64) {
        let mut map = self.map.write();
        for meta in regions {
            let leader = meta.peers.iter().find(|p| p.store_id == leader_store);
            let leader = leader.or(meta.peers.first()).cloned();
            if let Some(region) = Region::new(meta, leader) {
                map.insert(Arc::new(region));
            }
        }
    }

    /// `region` is led by `leader` now.
    pub(crate) fn set_leader(&self, region: &Region, leader: Peer) {
        let mut map = self.map.write();
        let known = map.start_of.get(&region.id).cloned();
        if let Some(known) = known.and_then(|start| map.by_start.get_mut(&start))
            && known.id == region.id
            && known.epoch == region.epoch
        {
            let mut moved = Region::clone(known);
            moved.leader = leader;
            *known = Arc::new(moved);
        }
    }

    /// Asks PD the next time, unless something newer than `region` is known already.
    pub(crate) fn forget(&self, region: &Region) {
        let mut map = self.map.write();
        let start = map.start_of.get(&region.id);
        let known = start.and_then(|start| map.by_start.get(start));
        if known.is_some_and(|r| r.id == region.id && r.epoch == region.epoch) {
            map.remove(region.id);
        }
    }

    /// The regions from `start` to `end` as PD knows them now: contiguous, at least one. Also remembers them.
    pub(crate) async fn scan(
        &self,
        start: &[u8],
        end: &[u8],
        backoff: &mut Backoff,
    ) -> Result<Vec<Arc<Region>>> {
        'again: loop {
            let mut regions: Vec<Arc<Region>> = Vec::new();
            let mut next = Bytes::copy_from_slice(start);
            loop {
                let page = self
                    .pd
                    .scan_regions(key::encode_start(&next), key::encode_end(end))
                    .await?;
                let mut came_on = false;
                for found in page {
                    // A region that has no leader now is as good for planning; the next request waits for one.
                    let leader = found.leader.or(found.meta.peers.first().cloned());
                    let Some(region) = Region::new(found.meta, leader) else {
                        continue;
                    };
                    let fits = if regions.is_empty() {
                        region.contains(&next)
                    } else {
                        region.start == next
                    };
                    if !fits {
                        // A hole, or two answers of different times.
                        break;
                    }
                    came_on = true;
                    next = region.end.clone();
                    let region = Arc::new(region);
                    self.map.write().insert(region.clone());
                    regions.push(region);
                    if next.is_empty() || (!end.is_empty() && &next[..] >= end) {
                        return Ok(regions);
                    }
                }
                if !came_on {
                    self.wait_for_pd(&next, backoff).await?;
                    continue 'again;
                }
            }
        }
    }

    /// Sorts `items` into batches by region, of about `batch_bytes` at most each, in key order. `of` tells an item's key
    /// and bytes.
    pub(crate) async fn group<T>(
        &self,
        mut items: Vec<T>,
        of: impl Fn(&T) -> (Bytes, usize),
        batch_bytes: usize,
        backoff: &mut Backoff,
    ) -> Result<Vec<Batch<T>>> {
        items.sort_by_cached_key(|item| of(item).0);
        let mut batches: Vec<Batch<T>> = Vec::new();
        let mut bytes = 0;
        for item in items {
            let (key, size) = of(&item);
            if let Some(batch) = batches.last_mut()
                && batch.region.contains(&key)
                && bytes + size <= batch_bytes
            {
                bytes += size;
                batch.items.push(item);
                continue;
            }
            let region = match batches.last() {
                Some(batch) if batch.region.contains(&key) => batch.region.clone(),
                _ => self.locate(&key, backoff).await?,
            };
            bytes = size;
            batches.push(Batch {
                region,
                items: vec![item],
            });
        }
        Ok(batches)
    }
}

/// Items whose keys lie in one region.
pub(crate) struct Batch<T> {
    pub region: Arc<Region>,
    pub items: Vec<T>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn region(id: u64, start: &'static str, end: &'static str, version: u64) -> Arc<Region> {
        let leader = Peer {
            id: id * 10,
            store_id: 1,
            ..Peer::default()
        };
        Arc::new(Region {
            id,
            epoch: RegionEpoch { conf_ver: 1, version },
            start: start.into(),
            end: end.into(),
            peers: vec![leader],
            leader,
        })
    }

    fn ids(map: &Map) -> Vec<u64> {
        map.by_start.values().map(|r| r.id).collect()
    }

    #[test]
    fn splits_and_merges_replace_what_they_overlap() {
        let mut map = Map::default();
        map.insert(region(1, "", "", 1));
        assert_eq!(map.at(b"m").unwrap().id, 1);
        // Split at m: the upper half keeps the id.
        map.insert(region(2, "", "m", 2));
        assert!(
            map.at(b"z").is_none(),
            "what was known of region 1 is out of date"
        );
        map.insert(region(1, "m", "", 2));
        assert_eq!(ids(&map), [2, 1]);
        assert_eq!(map.at(b"a").unwrap().id, 2);
        assert_eq!(map.at(b"m").unwrap().id, 1);
        // An old answer changes nothing.
        map.insert(region(1, "", "", 1));
        assert_eq!(ids(&map), [2, 1]);
        // Merged into 2.
        map.insert(region(2, "", "", 3));
        assert_eq!(ids(&map), [2]);
        map.insert(region(1, "m", "", 2));
        assert_eq!(ids(&map), [2]);
    }

    #[test]
    fn found_from_the_end_too() {
        let mut map = Map::default();
        map.insert(region(1, "", "g", 1));
        map.insert(region(2, "g", "p", 1));
        map.insert(region(3, "p", "", 1));
        assert_eq!(map.before(b"").unwrap().id, 3);
        assert_eq!(map.before(b"p").unwrap().id, 2);
        assert_eq!(map.before(b"pa").unwrap().id, 3);
        assert_eq!(map.before(b"g").unwrap().id, 1);
        map.remove(2);
        assert!(map.before(b"p").is_none());
        assert!(map.at(b"h").is_none());
        map.remove(3);
        assert!(map.before(b"").is_none());
    }
}
