//! A store served in this process, and trouble on demand.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ilmenite_codec::memcomparable::encode_bytes;
use ilmenite_embedded::{EmbeddedOptions, EmbeddedStore};
use ilmenite_proto::ilmenitepb::chaos_request::Action;
use ilmenite_proto::ilmenitepb::ilmenite_client::IlmeniteClient;
use ilmenite_proto::ilmenitepb::{
    ChaosRequest, ChaosResponse, ClearFaults, Fault, MergeRegions, SplitRegion, TransferLeader,
};
use ilmenite_store::StoreRef;
use ilmenite_tikv::{TikvOptions, TikvStore};
use ilmenite_tikv_server::{Server, ServerOptions};
use tokio_util::sync::CancellationToken;

pub(crate) struct Served {
    dir: PathBuf,
    _temp: tempfile::TempDir,
    running: Option<Running>,
    address: String,
}

fn embedded(dir: &Path) -> ilmenite_store::Result<EmbeddedStore> {
    let options = EmbeddedOptions {
        cache_bytes: 8 << 20,
        partition: |key| (key.len() >= 2 && key[0] == b'p' && key[1].is_ascii_uppercase()).then_some(2),
        two_phase: true,
        ..EmbeddedOptions::default()
    };
    EmbeddedStore::open(dir, options)
}

/// A server on a runtime of its own: when that ends, everything of it is gone, connections included.
struct Running {
    stop: CancellationToken,
    thread: std::thread::JoinHandle<()>,
}

/// Returns when it serves, with its address.
async fn serve(dir: PathBuf, listen: String) -> (String, Running) {
    let (told, address) = tokio::sync::oneshot::channel();
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    let thread = std::thread::spawn(move || {
        let store = Arc::new(embedded(&dir).unwrap());
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let options = ServerOptions {
                address: listen.clone(),
                testing: true,
                stores: 3,
                ..ServerOptions::default()
            };
            let server = Server::start(store.clone(), &listen, options).await.unwrap();
            told.send(server.address().to_string()).unwrap();
            stopped.cancelled().await;
        });
        drop(runtime);
        drop(store);
    });
    (address.await.unwrap(), Running { stop, thread })
}

pub(crate) fn options() -> TikvOptions {
    TikvOptions {
        call_timeout: Duration::from_secs(5),
        gc: false,
        ..TikvOptions::default()
    }
}

impl Served {
    pub(crate) async fn start() -> Self {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("db");
        let (address, running) = serve(dir.clone(), "127.0.0.1:0".into()).await;
        Served {
            dir,
            _temp: temp,
            address,
            running: Some(running),
        }
    }

    pub(crate) async fn connect(&self) -> StoreRef {
        self.connect_with(options()).await
    }

    pub(crate) async fn connect_with(&self, options: TikvOptions) -> Arc<TikvStore> {
        let url = format!("tikv://{}", self.address);
        Arc::new(TikvStore::connect(&url, options).await.unwrap())
    }

    /// Cuts all connections off, closes the store, and serves it again at the same address.
    pub(crate) async fn restart(&mut self, pause: Duration) {
        if let Some(running) = self.running.take() {
            running.stop.cancel();
            let ended = tokio::task::spawn_blocking(|| running.thread.join());
            ended.await.unwrap().unwrap();
        }
        tokio::time::sleep(pause).await;
        let (_, running) = serve(self.dir.clone(), self.address.clone()).await;
        self.running = Some(running);
    }

    pub(crate) async fn chaos(&self) -> Chaos {
        Chaos(
            IlmeniteClient::connect(format!("http://{}", self.address))
                .await
                .unwrap(),
        )
    }

    /// Returns the id of the region that begins at `at`.
    pub(crate) async fn split(&self, at: &str) -> u64 {
        self.chaos().await.split(at.as_bytes()).await.unwrap()
    }

    pub(crate) async fn lead(&self, region_id: u64, store_id: u64) {
        self.chaos().await.lead(region_id, store_id).await.unwrap();
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        if let Some(running) = &self.running {
            running.stop.cancel();
        }
    }
}

#[derive(Clone)]
pub(crate) struct Chaos(IlmeniteClient<tonic::transport::Channel>);

fn encode(raw: &[u8]) -> Bytes {
    let mut out = Vec::new();
    encode_bytes(raw, &mut out);
    out.into()
}

impl Chaos {
    async fn act(&mut self, action: Action) -> Result<ChaosResponse, tonic::Status> {
        let request = ChaosRequest { action: Some(action) };
        Ok(self.0.chaos(request).await?.into_inner())
    }

    pub(crate) async fn split(&mut self, at: &[u8]) -> Result<u64, tonic::Status> {
        let key = encode(at);
        let answer = self
            .act(Action::SplitRegion(SplitRegion { key: key.clone() }))
            .await?;
        let region = answer.regions.iter().find(|r| r.start_key == key);
        Ok(region.map_or(0, |r| r.id))
    }

    pub(crate) async fn merge(&mut self, source: u64, target: u64) -> Result<(), tonic::Status> {
        let merge = MergeRegions {
            source_region_id: source,
            target_region_id: target,
        };
        self.act(Action::MergeRegions(merge)).await.map(drop)
    }

    pub(crate) async fn lead(&mut self, region_id: u64, store_id: u64) -> Result<(), tonic::Status> {
        let to = TransferLeader { region_id, store_id };
        self.act(Action::TransferLeader(to)).await.map(drop)
    }

    pub(crate) async fn fault(&mut self, fault: Fault) -> Result<(), tonic::Status> {
        self.act(Action::AddFault(fault)).await.map(drop)
    }

    /// Returns how often faults had struck.
    pub(crate) async fn clear(&mut self) -> Result<u64, tonic::Status> {
        let answer = self.act(Action::ClearFaults(ClearFaults { fault_id: 0 })).await?;
        Ok(answer.struck)
    }
}
