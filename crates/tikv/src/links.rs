//! Stores, and the connections to them.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ilmenite_proto::debugpb::debug_client::DebugClient;
use ilmenite_proto::import_sstpb::import_sst_client::ImportSstClient;
use ilmenite_proto::metapb::{Store, StoreState};
use ilmenite_proto::tikvpb::tikv_client::TikvClient;
use ilmenite_store::{Error, Result};
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tonic::transport::Channel;

use crate::channel::{MAX_MESSAGE_BYTES, connect_lazy};
use crate::options::TikvOptions;
use crate::pd::Pd;

/// One store, as far as one talks to it.
pub(crate) struct StoreLink {
    pub id: u64,
    pub address: String,
    channels: Vec<Channel>,
    /// For import, which a store may serve elsewhere.
    import: Channel,
    next: AtomicUsize,
    /// Back-pressure: requests beyond these wait.
    pub room: Semaphore,
}

impl StoreLink {
    fn new(store: &Store, options: &TikvOptions) -> Result<Self> {
        let channels = (0..options.channels_per_store.max(1))
            .map(|_| connect_lazy(&store.address))
            .collect::<Result<Vec<_>>>()?;
        let import = if store.peer_address.is_empty() {
            connect_lazy(&store.address)?
        } else {
            connect_lazy(&store.peer_address)?
        };
        Ok(StoreLink {
            id: store.id,
            address: store.address.clone(),
            channels,
            import,
            next: AtomicUsize::new(0),
            room: Semaphore::new(options.requests_per_store.max(1)),
        })
    }

    fn channel(&self) -> Channel {
        let i = self.next.fetch_add(1, Ordering::Relaxed) % self.channels.len();
        self.channels[i].clone()
    }

    pub(crate) fn tikv(&self) -> TikvClient<Channel> {
        TikvClient::new(self.channel())
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES)
    }

    pub(crate) fn debug(&self) -> DebugClient<Channel> {
        DebugClient::new(self.channel())
    }

    pub(crate) fn import(&self) -> ImportSstClient<Channel> {
        ImportSstClient::new(self.import.clone())
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES)
    }
}

/// Does the store hold rows? (Column replicas take no part in anything of ours.)
pub(crate) fn is_row_store(store: &Store) -> bool {
    let tiflash =
        |l: &ilmenite_proto::metapb::StoreLabel| l.key == "engine" && l.value.starts_with("tiflash");
    store.state() != StoreState::Tombstone && !store.labels.iter().any(tiflash)
}

/// The stores that were asked for, by id.
pub(crate) struct Links {
    pd: Arc<Pd>,
    options: Arc<TikvOptions>,
    links: Mutex<HashMap<u64, Arc<StoreLink>>>,
}

impl Links {
    pub(crate) fn new(pd: Arc<Pd>, options: Arc<TikvOptions>) -> Self {
        Links {
            pd,
            options,
            links: Mutex::default(),
        }
    }

    pub(crate) async fn get(&self, store_id: u64) -> Result<Arc<StoreLink>> {
        if let Some(link) = self.links.lock().get(&store_id) {
            return Ok(link.clone());
        }
        let store = self.pd.store(store_id).await?;
        if store.state() == StoreState::Tombstone {
            return Err(Error::Unavailable(format!(
                "store {store_id} was taken out of the cluster"
            )));
        }
        let link = Arc::new(StoreLink::new(&store, &self.options)?);
        Ok(self
            .links
            .lock()
            .entry(store_id)
            .or_insert_with(|| link.clone())
            .clone())
    }

    /// Its address is asked for anew when it is next needed.
    pub(crate) fn forget(&self, store_id: u64) {
        self.links.lock().remove(&store_id);
    }
}
