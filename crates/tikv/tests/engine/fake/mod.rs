//! A PD and some stores in this process, over real sockets, with trouble on demand: refusals, lost replies, silence.

// Errors are the protocol's own, as large as they are.
#[allow(clippy::result_large_err)]
pub(crate) mod mvcc;
mod services;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ilmenite_codec::memcomparable::encode_bytes;
use ilmenite_proto::metapb::{self, Peer, RegionEpoch};
use ilmenite_proto::{errorpb, kvrpcpb as pb};
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::CancellationToken;

use ilmenite_tikv::{TikvOptions, TikvStore};
use mvcc::Mvcc;

pub(crate) const CLUSTER: u64 = 77;

#[derive(Clone, Debug)]
pub(crate) struct FakeRegion {
    pub id: u64,
    pub start: Bytes,
    pub end: Bytes,
    pub epoch: RegionEpoch,
    pub leader: u64,
}

#[derive(Clone, Debug)]
pub(crate) enum Trouble {
    /// Refused, not done.
    Refuse(Box<errorpb::Error>),
    /// Done, and the call fails.
    LoseReply,
    /// Not done, and the call fails.
    Fail,
    /// Done after a while.
    Delay(Duration),
}

struct Planned {
    method: &'static str,
    trouble: Trouble,
    times: usize,
}

#[derive(Default)]
pub(crate) struct World {
    pub mvcc: Mvcc,
    pub regions: Vec<FakeRegion>,
    /// By id.
    pub stores: Vec<String>,
    /// Addresses of PDs, and which of them leads.
    pub pds: Vec<String>,
    pub pd_leader: usize,
    last_ts: u64,
    next_id: u64,
    planned: Vec<Planned>,
    pub calls: HashMap<&'static str, usize>,
    pub services: HashMap<String, (u64, i64)>,
    pub safe_point: u64,
    pub files: HashMap<Bytes, Vec<(Bytes, Bytes, u64)>>,
    /// What `ScanRegions` leaves out, as often as said.
    pub holes: usize,
}

impl World {
    pub(crate) fn timestamp(&mut self) -> u64 {
        let now = ilmenite_base::clock::wall_ms();
        self.last_ts = (now << 18).max(self.last_ts + 1);
        self.last_ts
    }

    fn id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id + 100
    }

    pub(crate) fn region_of(&self, key: &[u8]) -> &FakeRegion {
        self.regions.iter().find(|r| r.contains(key)).unwrap()
    }

    pub(crate) fn split(&mut self, at: &[u8]) {
        let id = self.id();
        let i = self.regions.iter().position(|r| r.contains(at)).unwrap();
        if self.regions[i].start == at {
            return;
        }
        let mut left = self.regions[i].clone();
        left.id = id;
        left.end = Bytes::copy_from_slice(at);
        left.epoch.version += 1;
        self.regions[i].start = left.end.clone();
        self.regions[i].epoch.version += 1;
        self.regions.insert(i, left);
    }

    /// The region that begins at `at` goes into the one before it.
    pub(crate) fn merge(&mut self, at: &[u8]) {
        let i = self.regions.iter().position(|r| r.start == at).unwrap();
        let gone = self.regions.remove(i);
        let into = &mut self.regions[i - 1];
        into.end = gone.end;
        into.epoch.version = into.epoch.version.max(gone.epoch.version) + 1;
    }

    pub(crate) fn lead(&mut self, key: &[u8], store: u64) {
        let i = self.regions.iter().position(|r| r.contains(key)).unwrap();
        self.regions[i].leader = store;
    }

    fn trouble(&mut self, method: &'static str) -> Option<Trouble> {
        *self.calls.entry(method).or_default() += 1;
        let planned = self
            .planned
            .iter_mut()
            .find(|p| p.method == method && p.times > 0)?;
        planned.times -= 1;
        Some(planned.trouble.clone())
    }

    pub(crate) fn meta(&self, region: &FakeRegion) -> metapb::Region {
        metapb::Region {
            id: region.id,
            start_key: encode(&region.start),
            end_key: encode(&region.end),
            region_epoch: Some(region.epoch),
            peers: (1..=self.stores.len() as u64)
                .map(|store| peer(region.id, store))
                .collect(),
        }
    }

    /// TiKV's checks before a request is looked at.
    fn check(&self, store: u64, ctx: &pb::Context) -> Result<FakeRegion, Box<errorpb::Error>> {
        let mut e = errorpb::Error::default();
        let Some(region) = self.regions.iter().find(|r| r.id == ctx.region_id) else {
            e.region_not_found = Some(errorpb::RegionNotFound {
                region_id: ctx.region_id,
            });
            return Err(Box::new(e));
        };
        let asked = ctx.peer.unwrap_or_default();
        if asked.store_id != store {
            e.store_not_match = Some(errorpb::StoreNotMatch {
                request_store_id: asked.store_id,
                actual_store_id: store,
            });
        } else if region.leader != store {
            e.not_leader = Some(errorpb::NotLeader {
                region_id: region.id,
                leader: Some(peer(region.id, region.leader)),
            });
        } else if ctx.region_epoch != Some(region.epoch) {
            e.epoch_not_match = Some(errorpb::EpochNotMatch {
                current_regions: self.regions.iter().map(|r| self.meta(r)).collect(),
            });
        } else {
            return Ok(region.clone());
        }
        Err(Box::new(e))
    }
}

impl FakeRegion {
    pub(crate) fn contains(&self, key: &[u8]) -> bool {
        key >= &self.start[..] && (self.end.is_empty() || key < &self.end[..])
    }
}

fn peer(region: u64, store: u64) -> Peer {
    Peer {
        id: region * 10 + store,
        store_id: store,
        ..Peer::default()
    }
}

pub(crate) fn encode(raw: &[u8]) -> Bytes {
    let mut out = Vec::new();
    if !raw.is_empty() {
        encode_bytes(raw, &mut out);
    }
    out.into()
}

/// The cluster; dropped, its sockets close.
pub(crate) struct Fake {
    pub world: Arc<Mutex<World>>,
    stops: Vec<CancellationToken>,
    pd_stops: Vec<CancellationToken>,
}

impl Drop for Fake {
    fn drop(&mut self) {
        for stop in self.stops.iter().chain(&self.pd_stops) {
            stop.cancel();
        }
    }
}

/// Serves on a runtime of its own, so that all its connections close when it is stopped.
fn serve<F: Future<Output = ()>>(
    run: impl FnOnce(TcpListenerStream, CancellationToken) -> F + Send + 'static,
) -> (String, CancellationToken) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let listener = TcpListener::from_std(listener).unwrap();
            run(TcpListenerStream::new(listener), stopped).await;
        });
    });
    (address, stop)
}

impl Fake {
    pub(crate) async fn start(stores: usize) -> Self {
        Self::start_with(stores, 1).await
    }

    pub(crate) async fn start_with(stores: usize, pds: usize) -> Self {
        let world = Arc::new(Mutex::new(World {
            regions: vec![FakeRegion {
                id: 1,
                start: Bytes::new(),
                end: Bytes::new(),
                epoch: RegionEpoch {
                    conf_ver: 1,
                    version: 1,
                },
                leader: 1,
            }],
            ..World::default()
        }));
        let mut fake = Fake {
            world: world.clone(),
            stops: Vec::new(),
            pd_stops: Vec::new(),
        };
        for store in 1..=stores as u64 {
            fake.start_store(store);
        }
        for pd in 0..pds {
            let served = world.clone();
            let (address, stop) = serve(move |listener, stop| services::serve_pd(served, pd, listener, stop));
            world.lock().pds.push(address);
            fake.pd_stops.push(stop);
        }
        fake
    }

    pub(crate) fn url(&self) -> String {
        format!("tikv://{}", self.world.lock().pds.join(","))
    }

    pub(crate) async fn connect(&self) -> Arc<TikvStore> {
        self.connect_with(options()).await
    }

    pub(crate) async fn connect_with(&self, options: TikvOptions) -> Arc<TikvStore> {
        Arc::new(TikvStore::connect(&self.url(), options).await.unwrap())
    }

    pub(crate) fn plan(&self, method: &'static str, times: usize, trouble: Trouble) {
        self.world.lock().planned.push(Planned {
            method,
            trouble,
            times,
        });
    }

    pub(crate) fn refuse(&self, method: &'static str, times: usize, fill: impl FnOnce(&mut errorpb::Error)) {
        let mut e = Box::<errorpb::Error>::default();
        fill(&mut e);
        self.plan(method, times, Trouble::Refuse(e));
    }

    /// Trouble that has not come yet.
    pub(crate) fn planned(&self) -> usize {
        self.world.lock().planned.iter().map(|p| p.times).sum()
    }

    pub(crate) fn calls(&self, method: &'static str) -> usize {
        self.world.lock().calls.get(method).copied().unwrap_or_default()
    }

    pub(crate) fn all_calls(&self) -> usize {
        self.world.lock().calls.values().sum()
    }

    /// The store's sockets close, those open included. It can be brought back under another address.
    pub(crate) fn kill_store(&self, store: u64) {
        self.stops[store as usize - 1].cancel();
    }

    pub(crate) fn revive_store(&mut self, store: u64) {
        self.start_store(store);
    }

    fn start_store(&mut self, store: u64) {
        let world = self.world.clone();
        let (address, stop) =
            serve(move |listener, stop| services::serve_store(world, store, listener, stop));
        let (i, mut world) = (store as usize - 1, self.world.lock());
        world.stores.truncate(self.stops.len());
        if i == world.stores.len() {
            world.stores.push(address);
            self.stops.push(stop);
        } else {
            world.stores[i] = address;
            self.stops[i] = stop;
        }
    }

    pub(crate) fn kill_pd(&self, pd: usize) {
        self.pd_stops[pd].cancel();
    }
}

pub(crate) fn options() -> TikvOptions {
    TikvOptions {
        connect_timeout: Duration::from_secs(2),
        call_timeout: Duration::from_secs(2),
        retry_time: Duration::from_secs(5),
        lock_ttl: Duration::from_secs(3),
        heartbeat_interval: Duration::from_millis(400),
        // Rounds are run by the tests.
        gc: false,
        ..TikvOptions::default()
    }
}
