//! Regions: the key space cut into pieces, each with an id and an epoch, kept over restarts.
//!
//! All data lie in one engine, so a split or a merge moves nothing and no request can go wrong by one: regions are what
//! clients are told, and requests are held to it so that a client is seen to behave. As in TiKV, a split region keeps
//! its id on the right, and a request's keys and epoch version must fit its region.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::Arc;

use ahash::RandomState;
use bytes::Bytes;
use ilmenite_embedded::EmbeddedStore;
use ilmenite_proto::errorpb;
use ilmenite_proto::kvrpcpb::Context;
use ilmenite_proto::metapb::{Peer, Region, RegionEpoch};
use ilmenite_store::{Error, KeyRange, Result};
use parking_lot::{Mutex, RwLock};
use prost::Message;

use crate::convert::Refused;
use crate::ids::Ids;
use crate::keys;

const ROW_PREFIX: &[u8] = b"region/";

/// A region as it stands.
#[derive(Debug, Clone)]
pub(crate) struct RegionInfo {
    pub meta: Region,
    /// Its bounds as users' keys.
    pub range: KeyRange,
    pub leader: Peer,
}

impl RegionInfo {
    fn new(meta: Region, leader_store: u64) -> Result<Self> {
        let bound = |key: &[u8]| {
            keys::decode(key).ok_or_else(|| Error::Damaged {
                path: format!("region {}", meta.id),
                detail: "a bound that is no encoded key".into(),
            })
        };
        let range = KeyRange::new(bound(&meta.start_key)?, bound(&meta.end_key)?);
        let led = |p: &&Peer| p.store_id == leader_store;
        let leader = meta.peers.iter().find(led).or(meta.peers.first());
        let leader = *leader.ok_or_else(|| Error::Bug(format!("region {} has no peer", meta.id)))?;
        Ok(RegionInfo { meta, range, leader })
    }

    pub(crate) fn id(&self) -> u64 {
        self.meta.id
    }

    fn epoch(&self) -> RegionEpoch {
        self.meta.region_epoch.unwrap_or_default()
    }

    /// Refuses keys that are not the region's.
    pub(crate) fn check_key(&self, key: &[u8]) -> Refused<()> {
        if self.range.contains(key) {
            return Ok(());
        }
        refuse(errorpb::Error {
            message: format!("key is not in region {}", self.id()),
            key_not_in_region: Some(errorpb::KeyNotInRegion {
                key: keys::encode(key),
                region_id: self.id(),
                start_key: self.meta.start_key.clone(),
                end_key: self.meta.end_key.clone(),
            }),
            ..Default::default()
        })
    }

    /// The part of the range that lies in the region.
    pub(crate) fn clip(&self, range: &KeyRange) -> KeyRange {
        let end = match (range.end.is_empty(), self.range.end.is_empty()) {
            (true, _) => &self.range.end,
            (_, true) => &range.end,
            _ => (&range.end).min(&self.range.end),
        };
        KeyRange::new((&range.start).max(&self.range.start).clone(), end.clone())
    }
}

pub(crate) struct Regions {
    store: Arc<EmbeddedStore>,
    ids: Arc<Ids>,
    /// The stores that the process pretends to be.
    stores: Vec<u64>,
    state: RwLock<State>,
    /// One change at a time, until it is stored.
    changing: Mutex<()>,
}

#[derive(Default)]
struct State {
    by_start: BTreeMap<Bytes, Arc<RegionInfo>>,
    starts: HashMap<u64, Bytes, RandomState>,
}

impl State {
    fn put(&mut self, region: RegionInfo) {
        let start = region.range.start.clone();
        self.starts.insert(region.id(), start.clone());
        self.by_start.insert(start, Arc::new(region));
    }

    fn get(&self, id: u64) -> Option<&Arc<RegionInfo>> {
        self.by_start.get(self.starts.get(&id)?)
    }

    fn at(&self, key: &[u8]) -> Option<&Arc<RegionInfo>> {
        let upto = (Bound::Unbounded, Bound::Included(key));
        self.by_start.range::<[u8], _>(upto).next_back().map(|(_, r)| r)
    }
}

fn row_key(id: u64) -> Vec<u8> {
    [ROW_PREFIX, &id.to_be_bytes()].concat()
}

impl Regions {
    /// Reads the regions; the first time there is one, of everything.
    pub(crate) fn open(store: Arc<EmbeddedStore>, ids: Arc<Ids>, stores: Vec<u64>) -> Result<Self> {
        let mut state = State::default();
        for (_, row) in store.server_rows(ROW_PREFIX)? {
            let meta = Region::decode(row).map_err(|e| Error::Damaged {
                path: "regions".into(),
                detail: e.to_string(),
            })?;
            state.put(RegionInfo::new(with_peers(meta, &stores, &ids)?, stores[0])?);
        }
        let regions = Regions {
            store,
            ids,
            stores,
            state: RwLock::new(state),
            changing: Mutex::new(()),
        };
        if regions.state.read().by_start.is_empty() {
            let meta = Region {
                id: regions.ids.next(1)?,
                region_epoch: Some(RegionEpoch {
                    conf_ver: 1,
                    version: 1,
                }),
                ..Default::default()
            };
            let meta = with_peers(meta, &regions.stores, &regions.ids)?;
            regions.change(vec![RegionInfo::new(meta, regions.stores[0])?], None)?;
        }
        regions.check_contiguous()?;
        Ok(regions)
    }

    fn check_contiguous(&self) -> Result<()> {
        let state = self.state.read();
        let mut at = Some(Bytes::new());
        for region in state.by_start.values() {
            if at.as_ref() != Some(&region.range.start) {
                return Err(Error::Damaged {
                    path: "regions".into(),
                    detail: format!("region {} does not follow the one before", region.id()),
                });
            }
            let end = &region.range.end;
            at = (!end.is_empty()).then(|| end.clone());
        }
        match at {
            None => Ok(()),
            Some(_) => Err(Error::Damaged {
                path: "regions".into(),
                detail: "the last region has an end".into(),
            }),
        }
    }

    /// Stores changed regions, then shows them. `gone` is one that is no more.
    fn change(&self, changed: Vec<RegionInfo>, gone: Option<u64>) -> Result<()> {
        let mut rows: Vec<_> = changed
            .iter()
            .map(|r| (row_key(r.id()), Some(r.meta.encode_to_vec())))
            .collect();
        rows.extend(gone.map(|id| (row_key(id), None)));
        self.store.put_server_rows(&rows)?;
        let mut state = self.state.write();
        let old: Vec<u64> = changed.iter().map(RegionInfo::id).chain(gone).collect();
        for id in old {
            if let Some(start) = state.starts.remove(&id) {
                state.by_start.remove(&start);
            }
        }
        for region in changed {
            state.put(region);
        }
        Ok(())
    }

    pub(crate) fn stores(&self) -> &[u64] {
        &self.stores
    }

    pub(crate) fn get(&self, id: u64) -> Option<Arc<RegionInfo>> {
        self.state.read().get(id).cloned()
    }

    /// The region of a user's key.
    pub(crate) fn at(&self, key: &[u8]) -> Option<Arc<RegionInfo>> {
        self.state.read().at(key).cloned()
    }

    /// The region before that of the key.
    pub(crate) fn before(&self, key: &[u8]) -> Option<Arc<RegionInfo>> {
        let state = self.state.read();
        let start = state.at(key)?.range.start.clone();
        state.by_start.range(..start).next_back().map(|(_, r)| r.clone())
    }

    /// The regions that overlap the range, in order.
    pub(crate) fn scan(&self, range: &KeyRange, limit: usize) -> Vec<Arc<RegionInfo>> {
        let state = self.state.read();
        let Some(first) = state.at(&range.start) else {
            return Vec::new();
        };
        state
            .by_start
            .range(first.range.start.clone()..)
            .map(|(_, region)| region)
            .take_while(|r| range.end.is_empty() || r.range.start < range.end)
            .take(limit)
            .cloned()
            .collect()
    }

    pub(crate) fn count(&self) -> usize {
        self.state.read().by_start.len()
    }

    /// The region that a request is for, or why it is refused. `exact`: the peers' epoch is compared too.
    pub(crate) fn check(&self, context: Option<&Context>, exact: bool) -> Refused<Arc<RegionInfo>> {
        let default = Context::default();
        let context = context.unwrap_or(&default);
        let peer = context.peer.unwrap_or_default();
        if !self.stores.contains(&peer.store_id) {
            return refuse(errorpb::Error {
                message: format!("store {} is not here", peer.store_id),
                store_not_match: Some(errorpb::StoreNotMatch {
                    request_store_id: peer.store_id,
                    actual_store_id: self.stores[0],
                }),
                ..Default::default()
            });
        }
        let region_id = context.region_id;
        let state = self.state.read();
        let Some(region) = state.get(region_id) else {
            return refuse(not_found(region_id));
        };
        if peer.store_id != region.leader.store_id {
            return refuse(errorpb::Error {
                message: format!("peer is not leader for region {region_id}"),
                not_leader: Some(errorpb::NotLeader {
                    region_id,
                    leader: Some(region.leader),
                }),
                ..Default::default()
            });
        }
        if peer.id != region.leader.id {
            return refuse(errorpb::Error {
                message: format!("mismatch peer id {} != {}", region.leader.id, peer.id),
                mismatch_peer_id: Some(errorpb::MismatchPeerId {
                    request_peer_id: peer.id,
                    store_peer_id: region.leader.id,
                }),
                ..Default::default()
            });
        }
        let Some(epoch) = context.region_epoch else {
            return refuse(errorpb::Error {
                message: "missing epoch!".into(),
                ..Default::default()
            });
        };
        let now = region.epoch();
        if epoch.version != now.version || (exact && epoch.conf_ver != now.conf_ver) {
            return refuse(epoch_not_match(&state, region));
        }
        Ok(region.clone())
    }

    pub(crate) fn epoch_error(&self, region_id: u64) -> errorpb::Error {
        let state = self.state.read();
        match state.get(region_id) {
            Some(region) => epoch_not_match(&state, region),
            None => not_found(region_id),
        }
    }

    /// Cuts regions at users' keys; those that are bounds already change nothing. Returns the regions on both sides of
    /// each cut, in order.
    pub(crate) fn split(&self, cuts: &[Bytes]) -> Result<Vec<Arc<RegionInfo>>> {
        let _changing = self.changing.lock();
        let mut by_region: BTreeMap<Bytes, Vec<Bytes>> = BTreeMap::new();
        let mut touched: Vec<Bytes> = Vec::new();
        for cut in cuts {
            if cut.is_empty() {
                continue;
            }
            let region = self
                .at(cut)
                .ok_or_else(|| Error::Bug("a key in no region".into()))?;
            touched.push(cut.clone());
            if region.range.start != *cut {
                by_region
                    .entry(region.range.start.clone())
                    .or_default()
                    .push(cut.clone());
            }
        }
        for (start, mut cuts) in by_region {
            cuts.sort();
            cuts.dedup();
            let region = self
                .at(&start)
                .ok_or_else(|| Error::Bug("a region is gone".into()))?;
            let mut epoch = region.epoch();
            epoch.version += cuts.len() as u64;
            let mut changed = Vec::with_capacity(cuts.len() + 1);
            let mut at = region.meta.start_key.clone();
            for cut in cuts {
                let end = keys::encode(&cut);
                let meta = Region {
                    id: self.ids.next(1)?,
                    start_key: std::mem::replace(&mut at, end.clone()),
                    end_key: end,
                    region_epoch: Some(epoch),
                    peers: Vec::new(),
                };
                let meta = with_peers(meta, &self.stores, &self.ids)?;
                changed.push(RegionInfo::new(meta, region.leader.store_id)?);
            }
            let right = Region {
                start_key: at,
                region_epoch: Some(epoch),
                ..region.meta.clone()
            };
            changed.push(RegionInfo::new(right, region.leader.store_id)?);
            self.change(changed, None)?;
        }
        touched.sort();
        touched.dedup();
        let mut out: Vec<Arc<RegionInfo>> = Vec::new();
        for cut in touched {
            for region in [self.before(&cut), self.at(&cut)].into_iter().flatten() {
                if out.last().is_none_or(|last| last.id() != region.id()) {
                    out.push(region);
                }
            }
        }
        Ok(out)
    }

    /// Joins two neighbours under the id of `target`. `None`: they are none.
    pub(crate) fn merge(&self, source: u64, target: u64) -> Result<Option<Arc<RegionInfo>>> {
        let _changing = self.changing.lock();
        let (Some(source), Some(target)) = (self.get(source), self.get(target)) else {
            return Ok(None);
        };
        let (s, t) = (&source.meta, &target.meta);
        let (left, right) = if !s.end_key.is_empty() && s.end_key == t.start_key {
            (s, t)
        } else if !t.end_key.is_empty() && t.end_key == s.start_key {
            (t, s)
        } else {
            return Ok(None);
        };
        let merged = Region {
            start_key: left.start_key.clone(),
            end_key: right.end_key.clone(),
            region_epoch: Some(RegionEpoch {
                conf_ver: target.epoch().conf_ver,
                version: source.epoch().version.max(target.epoch().version) + 1,
            }),
            ..t.clone()
        };
        let merged = RegionInfo::new(merged, target.leader.store_id)?;
        self.change(vec![merged], Some(source.id()))?;
        Ok(self.get(target.id()))
    }

    /// Makes the region's peer on the store its leader. `None`: no such region, or no peer there.
    pub(crate) fn transfer_leader(&self, region_id: u64, store_id: u64) -> Option<Arc<RegionInfo>> {
        let _changing = self.changing.lock();
        let mut state = self.state.write();
        let region = state.get(region_id)?;
        let leader = *region.meta.peers.iter().find(|p| p.store_id == store_id)?;
        let region = RegionInfo {
            leader,
            ..RegionInfo::clone(region)
        };
        state.put(region);
        state.get(region_id).cloned()
    }
}

fn refuse<T>(error: errorpb::Error) -> Refused<T> {
    Err(Box::new(error))
}

fn not_found(region_id: u64) -> errorpb::Error {
    errorpb::Error {
        message: format!("region {region_id} is not found"),
        region_not_found: Some(errorpb::RegionNotFound { region_id }),
        ..Default::default()
    }
}

/// With the region as it is now, and its neighbours: what it was split into, or merged with, is among them.
fn epoch_not_match(state: &State, region: &RegionInfo) -> errorpb::Error {
    let start = &region.range.start;
    let before = state.by_start.range(..start.clone()).next_back();
    let behind = state.by_start.range(region.range.end.clone()..).next();
    let behind = behind.filter(|_| !region.range.end.is_empty());
    let neighbours = [before, behind].into_iter().flatten();
    let current = std::iter::once(region.meta.clone());
    errorpb::Error {
        message: format!("current epoch of region {} is {:?}", region.id(), region.epoch()),
        epoch_not_match: Some(errorpb::EpochNotMatch {
            current_regions: current.chain(neighbours.map(|(_, r)| r.meta.clone())).collect(),
        }),
        ..Default::default()
    }
}

/// One peer on each store.
fn with_peers(mut region: Region, stores: &[u64], ids: &Ids) -> Result<Region> {
    let have: Vec<u64> = region.peers.iter().map(|p| p.store_id).collect();
    if have != stores {
        let first = ids.next(stores.len() as u64)? + 1 - stores.len() as u64;
        let peer = |(i, &store_id): (usize, &u64)| Peer {
            id: first + i as u64,
            store_id,
            ..Default::default()
        };
        region.peers = stores.iter().enumerate().map(peer).collect();
        if let Some(epoch) = &mut region.region_epoch
            && !have.is_empty()
        {
            epoch.conf_ver += 1;
        }
    }
    Ok(region)
}
