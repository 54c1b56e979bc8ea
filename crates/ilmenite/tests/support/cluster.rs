//! One store and several SQL nodes on it, each a process.

use std::fs::OpenOptions;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ilmenite_codec::key::{HandleRef, index_range, record_key};
use ilmenite_codec::memcomparable::encode_bytes;
use ilmenite_proto::ilmenitepb::chaos_request::Action;
use ilmenite_proto::ilmenitepb::ilmenite_client::IlmeniteClient;
use ilmenite_proto::ilmenitepb::{ChaosRequest, ChaosResponse, MergeRegions, SplitRegion, TransferLeader};
use ilmenite_proto::kvrpcpb::{Context, LockInfo, ScanLockRequest};
use ilmenite_proto::metapb;
use ilmenite_proto::pdpb::{self, pd_client::PdClient};
use ilmenite_proto::tikvpb::tikv_client::TikvClient;
use mysql_async::{Conn, Opts};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tempfile::TempDir;

use super::{Server, binary, files_below, run};

/// `ilmenite store` on a directory and a port of its own.
pub(crate) struct StoreProcess {
    dir: TempDir,
    port: u16,
    args: Vec<String>,
    child: Option<Child>,
}

impl StoreProcess {
    pub(crate) async fn start(args: &[&str]) -> StoreProcess {
        // The port must be the same after a restart: clients know no other.
        let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = free.local_addr().expect("its address").port();
        drop(free);
        let mut store = StoreProcess {
            dir: tempfile::tempdir().expect("a temporary directory"),
            port,
            args: args.iter().map(ToString::to_string).collect(),
            child: None,
        };
        store.restart().await;
        store
    }

    pub(crate) fn url(&self) -> String {
        format!("tikv://127.0.0.1:{}", self.port)
    }

    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    fn log_path(&self) -> PathBuf {
        self.dir.path().join("store.log")
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    pub(crate) async fn restart(&mut self) {
        assert!(self.child.is_none(), "it runs already");
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.log_path())
            .expect("a log file");
        let ready = |log: &str| log.matches("store is ready for connections").count();
        let before = ready(&self.log());
        let mut command = binary();
        command
            .arg("store")
            .arg("--path")
            .arg(self.dir.path().join("data"));
        command.args(["--listen", &self.address()]).args(&self.args);
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn();
        self.child = Some(child.expect("the store's binary runs"));
        let deadline = Instant::now() + Duration::from_secs(60);
        while ready(&self.log()) == before {
            if let Some(status) = self
                .child
                .as_mut()
                .and_then(|c| c.try_wait().expect("a child of ours"))
            {
                self.child = None;
                panic!("the store ended with {status}: {}", self.log());
            }
            assert!(
                Instant::now() < deadline,
                "the store is not ready: {}",
                self.log()
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// kill -9.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("it can be killed");
            child.wait().expect("it has ended");
        }
    }
}

impl Drop for StoreProcess {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            eprintln!(
                "--- the store's log\n{}",
                lines[lines.len().saturating_sub(40)..].join("\n")
            );
        }
        self.kill();
    }
}

pub(crate) struct Cluster {
    pub nodes: Vec<Server>,
    objects: TempDir,
    // Last: nodes go before their store.
    pub store: StoreProcess,
}

impl Cluster {
    /// With global sort through a directory that all nodes share.
    pub(crate) async fn start(nodes: usize, store_args: &[&str], node_args: &[&str]) -> Cluster {
        let store = StoreProcess::start(store_args).await;
        let mut cluster = Cluster {
            nodes: Vec::new(),
            objects: tempfile::tempdir().expect("a temporary directory"),
            store,
        };
        for _ in 0..nodes {
            cluster.add_node(node_args).await;
        }
        let mut conn = cluster.nodes[0].connect().await;
        run(
            &mut conn,
            &format!(
                "SET GLOBAL tidb_cloud_storage_uri = 'file://{}'",
                cluster.objects.path().display()
            ),
        )
        .await;
        cluster
    }

    pub(crate) async fn add_node(&mut self, args: &[&str]) {
        self.nodes.push(Server::on(Some(self.store.url()), args).await);
    }

    pub(crate) fn opts(&self) -> Vec<Opts> {
        self.nodes.iter().map(|node| node.opts().into()).collect()
    }

    pub(crate) fn objects(&self) -> Vec<PathBuf> {
        files_below(self.objects.path())
    }

    /// The node that owns the DDL, by its MySQL address.
    pub(crate) async fn owner(&self, conn: &mut Conn) -> usize {
        let shown = super::rows(conn, "ADMIN SHOW DDL").await;
        let address = &shown[0][2];
        self.nodes
            .iter()
            .position(|node| node.address().to_string() == *address)
            .unwrap_or_else(|| panic!("no node at the owner's address: {shown:?}"))
    }
}

/// Splits, merges and moves regions at random, until stopped.
pub(crate) struct RegionChaos {
    stop: Arc<AtomicBool>,
    work: tokio::task::JoinHandle<u64>,
}

impl RegionChaos {
    pub(crate) fn start(address: String, table_id: i64, seed: u64) -> RegionChaos {
        let stop = Arc::new(AtomicBool::new(false));
        let work = tokio::spawn({
            let stop = stop.clone();
            async move {
                let mut rng = StdRng::seed_from_u64(seed ^ 0x5eed);
                let mut done = 0;
                let mut refused = String::new();
                while !stop.load(Ordering::Relaxed) {
                    tokio::time::sleep(Duration::from_millis(rng.random_range(5..200))).await;
                    match trouble(&address, table_id, &mut rng).await {
                        Ok(()) => done += 1,
                        Err(e) => refused = e,
                    }
                }
                assert!(done > 0, "no region was touched: {refused}");
                done
            }
        });
        RegionChaos { stop, work }
    }

    /// How often something was done.
    pub(crate) async fn stop(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.work.await.expect("regions were touched")
    }
}

/// The regions of a store, at most 1000.
async fn regions(address: &str) -> Result<Vec<metapb::Region>, String> {
    let text = |e: &dyn std::fmt::Display| e.to_string();
    let mut pd = PdClient::connect(format!("http://{address}"))
        .await
        .map_err(|e| text(&e))?;
    let members = pd
        .get_members(pdpb::GetMembersRequest::default())
        .await
        .map_err(|e| text(&e))?;
    let cluster_id = members.into_inner().header.map_or(0, |h| h.cluster_id);
    let scan = pdpb::ScanRegionsRequest {
        header: Some(pdpb::RequestHeader {
            cluster_id,
            ..Default::default()
        }),
        limit: 1000,
        ..Default::default()
    };
    let regions = pd
        .scan_regions(scan)
        .await
        .map_err(|e| text(&e))?
        .into_inner()
        .regions;
    Ok(regions.into_iter().filter_map(|r| r.region).collect())
}

/// Trouble on demand, from a store that was started with `--testing`.
pub(crate) async fn chaos(address: &str, action: Action) -> Result<ChaosResponse, String> {
    let url = format!("http://{address}");
    let mut client = IlmeniteClient::connect(url).await.map_err(|e| e.to_string())?;
    let request = ChaosRequest { action: Some(action) };
    let done = client.chaos(request).await.map_err(|e| e.to_string())?;
    Ok(done.into_inner())
}

/// Splits the region at a key, if it is not a bound already; the id of the one that begins there.
pub(crate) async fn split_at(address: &str, key: &[u8]) -> u64 {
    let mut encoded = Vec::new();
    encode_bytes(key, &mut encoded);
    let split = SplitRegion {
        key: encoded.clone().into(),
    };
    drop(chaos(address, Action::SplitRegion(split)).await);
    let regions = regions(address).await.expect("the store's regions");
    let region = regions.into_iter().find(|r| r.start_key == encoded);
    region.expect("a region that begins there").id
}

/// All locks in a store, of whatever transactions.
pub(crate) async fn locks(address: &str) -> Vec<LockInfo> {
    let regions = regions(address).await.expect("the store's regions");
    let client = TikvClient::connect(format!("http://{address}")).await;
    let mut client = client.expect("the store answers");
    let mut locks = Vec::new();
    for region in regions {
        let context = Context {
            region_id: region.id,
            region_epoch: region.region_epoch,
            peer: region.peers.first().cloned(),
            ..Default::default()
        };
        let request = ScanLockRequest {
            context: Some(context),
            max_version: u64::MAX,
            ..Default::default()
        };
        let answer = client.kv_scan_lock(request).await.expect("locks").into_inner();
        assert_eq!((answer.region_error, answer.error), (None, None));
        locks.extend(answer.locks);
    }
    locks
}

/// One split, merge or move. Refused where it makes no sense: then nothing happened.
async fn trouble(address: &str, table_id: i64, rng: &mut StdRng) -> Result<(), String> {
    let found = regions(address).await?;
    let at = rng.random_range(0..found.len().max(1));
    let region = found.get(at).ok_or("no region")?;
    let action = match rng.random_range(0..3) {
        0 if found.len() < 60 => {
            let raw = if rng.random() {
                record_key(table_id, HandleRef::Int(rng.random_range(1..100_000)))
            } else {
                let (mut key, _) = index_range(table_id, rng.random_range(1..10));
                key.push(3);
                key.extend_from_slice(&(1u64 << 63 | rng.random_range(0..100_000)).to_be_bytes());
                key
            };
            let mut key = Vec::new();
            encode_bytes(&raw, &mut key);
            Action::SplitRegion(SplitRegion { key: key.into() })
        }
        1 => {
            let next = found.get(at + 1).ok_or("the last region")?;
            Action::MergeRegions(MergeRegions {
                source_region_id: region.id,
                target_region_id: next.id,
            })
        }
        _ => Action::TransferLeader(TransferLeader {
            region_id: region.id,
            store_id: region
                .peers
                .get(rng.random_range(0..region.peers.len().max(1)))
                .ok_or("no peer")?
                .store_id,
        }),
    };
    chaos(address, action).await.map(drop)
}
