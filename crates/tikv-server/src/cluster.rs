//! What all services share.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ilmenite_base::{clock, rng};
use ilmenite_embedded::EmbeddedStore;
use ilmenite_embedded::twophase::TwoPhase;
use ilmenite_proto::metapb;
use ilmenite_store::{Error, KeyRange, Result};

use crate::faults::Faults;
use crate::files::Files;
use crate::ids::Ids;
use crate::regions::Regions;

const CLUSTER_ROW: &[u8] = b"cluster_id";
/// The TiKV whose protocol this speaks: clients go by it.
const VERSION: &str = "8.5.0";
/// A region is split when it is this much larger than it should be.
const SPLIT_AT_PERCENT: u64 = 150;

/// How a server is set up.
#[derive(Debug, Clone)]
pub struct ServerOptions {
    /// HOST:PORT under which clients find it.
    pub address: String,
    /// Trouble on demand is allowed.
    pub testing: bool,
    /// As how many stores, all of this address, the server appears: 1 to 3. More than one only for tests.
    pub stores: u64,
    /// Regions are kept at about this size.
    pub region_bytes: u64,
    pub split_interval: Duration,
}

impl Default for ServerOptions {
    fn default() -> Self {
        ServerOptions {
            address: "127.0.0.1:2379".into(),
            testing: false,
            stores: 1,
            region_bytes: 96 << 20,
            split_interval: Duration::from_secs(10),
        }
    }
}

pub(crate) struct Cluster {
    pub store: Arc<EmbeddedStore>,
    pub txns: TwoPhase,
    pub regions: Regions,
    pub ids: Arc<Ids>,
    pub faults: Faults,
    pub files: Files,
    pub options: ServerOptions,
    pub cluster_id: u64,
    started: i64,
}

impl Cluster {
    /// Blocks.
    pub(crate) fn open(store: Arc<EmbeddedStore>, options: ServerOptions) -> Result<Self> {
        let txns = store
            .two_phase()
            .ok_or_else(|| Error::Bug("the store is not opened for transactions in two phases".into()))?;
        let cluster_id = match store.server_rows(CLUSTER_ROW)?.first() {
            Some((_, row)) => {
                let bytes: [u8; 8] = row[..].try_into().map_err(|_| Error::Damaged {
                    path: "cluster_id".into(),
                    detail: format!("{} bytes", row.len()),
                })?;
                u64::from_be_bytes(bytes)
            }
            None => {
                let id = u128::from_le_bytes(rng::bytes()) as u64 >> 1 | 1;
                let row = (CLUSTER_ROW.to_vec(), Some(id.to_be_bytes().to_vec()));
                store.put_server_rows(&[row])?;
                id
            }
        };
        let ids = Arc::new(Ids::open(store.clone())?);
        // Ids of stores are the first there are.
        let stores: Vec<u64> = (1..=options.stores.clamp(1, 3)).collect();
        if ids.next(1)? <= 3 {
            ids.next(3)?;
        }
        let regions = Regions::open(store.clone(), ids.clone(), stores)?;
        Ok(Cluster {
            store,
            txns,
            regions,
            ids,
            faults: Faults::default(),
            files: Files::default(),
            options,
            cluster_id,
            started: clock::since_epoch().as_secs() as i64,
        })
    }

    /// A store that this process is, or pretends to be.
    pub(crate) fn describe(&self, store_id: u64) -> Option<metapb::Store> {
        if !self.regions.stores().contains(&store_id) {
            return None;
        }
        let label = |key: &str, value: String| metapb::StoreLabel {
            key: key.into(),
            value,
        };
        Some(metapb::Store {
            id: store_id,
            address: self.options.address.clone(),
            state: metapb::StoreState::Up.into(),
            labels: if self.regions.stores().len() > 1 {
                vec![label("pretended", format!("{store_id} of one process"))]
            } else {
                Vec::new()
            },
            version: VERSION.into(),
            peer_address: self.options.address.clone(),
            status_address: String::new(),
            start_timestamp: self.started,
            last_heartbeat: clock::since_epoch().as_nanos() as i64,
            node_state: metapb::NodeState::Serving.into(),
        })
    }

    /// Bytes and entries in a range, by estimate.
    pub(crate) fn size(&self, range: &KeyRange) -> Result<(u64, u64)> {
        let pieces = self.store.pieces(range, u64::MAX, u64::MAX)?;
        Ok(pieces.iter().fold((0, 0), |(bytes, entries), piece| {
            (bytes + piece.approximate_bytes, entries + piece.approximate_keys)
        }))
    }

    /// Splits regions that have grown too large. Returns how many regions there are more. Blocks.
    pub(crate) fn split_large(&self) -> Result<usize> {
        let before = self.regions.count();
        let target = self.options.region_bytes;
        for region in self.regions.scan(&KeyRange::default(), usize::MAX) {
            let pieces = self.store.pieces(&region.range, target, u64::MAX)?;
            let total: u64 = pieces.iter().map(|p| p.approximate_bytes).sum();
            if total < target / 100 * SPLIT_AT_PERCENT {
                continue;
            }
            let parts = total.div_ceil(target).max(2);
            let each = total / parts;
            let mut cuts: Vec<Bytes> = Vec::new();
            let mut bytes = 0;
            for piece in pieces {
                if bytes >= each && piece.range.start > region.range.start {
                    cuts.push(piece.range.start);
                    bytes = 0;
                }
                bytes += piece.approximate_bytes;
            }
            if !cuts.is_empty() {
                tracing::info!(
                    region = region.id(),
                    cuts = cuts.len(),
                    total,
                    "splitting a large region"
                );
                self.regions.split(&cuts)?;
            }
        }
        Ok(self.regions.count() - before)
    }
}
