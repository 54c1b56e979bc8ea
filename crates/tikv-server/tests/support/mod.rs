//! A store served on a real socket, and a client that is no more than the protocol.
#![allow(dead_code)]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ilmenite_embedded::{EmbeddedOptions, EmbeddedStore};
use ilmenite_proto::ilmenitepb::ilmenite_client::IlmeniteClient;
use ilmenite_proto::import_sstpb::import_sst_client::ImportSstClient;
use ilmenite_proto::kvrpcpb::*;
use ilmenite_proto::metapb;
use ilmenite_proto::pdpb::pd_client::PdClient;
use ilmenite_proto::pdpb::{self, GetMembersRequest, GetRegionRequest, RequestHeader, TsoRequest};
use ilmenite_proto::tikvpb::tikv_client::TikvClient;
use ilmenite_store::Store;
use ilmenite_tikv_server::{Server, ServerOptions};
use tonic::transport::{Channel, Endpoint};

/// As in the real thing: keys of tables have keyspaces of their own.
pub(crate) fn partition(key: &[u8]) -> Option<usize> {
    ilmenite_codec::key::partition_prefix_len(key)
}

pub(crate) fn b(s: impl AsRef<[u8]>) -> Bytes {
    Bytes::copy_from_slice(s.as_ref())
}

pub(crate) struct Served {
    pub dir: PathBuf,
    pub store: Arc<EmbeddedStore>,
    pub server: Server,
    _temp: Option<tempfile::TempDir>,
}

pub(crate) fn options() -> EmbeddedOptions {
    EmbeddedOptions {
        cache_bytes: 8 << 20,
        partition,
        two_phase: true,
        ..Default::default()
    }
}

pub(crate) fn server_options() -> ServerOptions {
    ServerOptions {
        address: "127.0.0.1:0".into(),
        testing: true,
        stores: 3,
        ..Default::default()
    }
}

impl Served {
    pub(crate) async fn new() -> Served {
        let temp = tempfile::tempdir().expect("a directory");
        let dir = temp.path().join("db");
        let mut served = Served::open(&dir, server_options()).await;
        served._temp = Some(temp);
        served
    }

    pub(crate) async fn open(dir: &Path, server_options: ServerOptions) -> Served {
        let store = Arc::new(EmbeddedStore::open(dir, options()).expect("opens"));
        let server = Server::start(store.clone(), "127.0.0.1:0", server_options)
            .await
            .expect("serves");
        Served {
            dir: dir.to_owned(),
            store,
            server,
            _temp: None,
        }
    }

    /// As after a crash of nothing: all closed and opened again.
    pub(crate) async fn reopen(self) -> Served {
        let Served {
            dir,
            store,
            server,
            _temp,
        } = self;
        server.stop(Duration::from_millis(100)).await;
        store.close().await.expect("closes");
        // Handlers of cut-off connections may still hold it for a moment.
        for _ in 0..200 {
            if Arc::strong_count(&store) == 1 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        drop(store);
        let mut served = None;
        for _ in 0..200 {
            match EmbeddedStore::open(&dir, options()) {
                Ok(store) => {
                    let store = Arc::new(store);
                    let server = Server::start(store.clone(), "127.0.0.1:0", server_options())
                        .await
                        .expect("serves");
                    served = Some((store, server));
                    break;
                }
                Err(ilmenite_store::Error::Locked { .. }) => {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                Err(e) => panic!("{e}"),
            }
        }
        let (store, server) = served.expect("the directory comes free");
        Served {
            dir,
            store,
            server,
            _temp,
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.server.address())
    }

    pub(crate) async fn client(&self) -> Client {
        Client::connect(self.url()).await
    }
}

/// A client without a region cache: it asks PD each time.
#[derive(Clone)]
pub(crate) struct Client {
    pub pd: PdClient<Channel>,
    pub kv: TikvClient<Channel>,
    pub import: ImportSstClient<Channel>,
    pub chaos: IlmeniteClient<Channel>,
    pub cluster_id: u64,
}

impl Client {
    pub(crate) async fn connect(url: String) -> Client {
        let channel = Endpoint::from_shared(url)
            .expect("a url")
            .tcp_nodelay(true)
            .initial_stream_window_size(16 << 20)
            .initial_connection_window_size(64 << 20)
            .connect()
            .await
            .expect("connects");
        let mut pd = PdClient::new(channel.clone());
        let members = pd
            .get_members(GetMembersRequest::default())
            .await
            .expect("members")
            .into_inner();
        Client {
            pd,
            kv: TikvClient::new(channel.clone()).max_decoding_message_size(512 << 20),
            import: ImportSstClient::new(channel.clone()),
            chaos: IlmeniteClient::new(channel),
            cluster_id: members.header.expect("a header").cluster_id,
        }
    }

    pub(crate) fn header(&self) -> Option<RequestHeader> {
        Some(RequestHeader {
            cluster_id: self.cluster_id,
            ..Default::default()
        })
    }

    pub(crate) async fn timestamps(&self, count: u32) -> u64 {
        let request = TsoRequest {
            header: self.header(),
            count,
            ..Default::default()
        };
        let answers = self.pd.clone().tso(tokio_stream::once(request)).await;
        let answer = answers.expect("tso").into_inner().message().await;
        let ts = answer
            .expect("tso")
            .expect("an answer")
            .timestamp
            .expect("a timestamp");
        ((ts.physical as u64) << 18) + ts.logical as u64
    }

    pub(crate) async fn ts(&self) -> u64 {
        self.timestamps(1).await
    }

    pub(crate) async fn region(&self, key: &[u8]) -> (metapb::Region, metapb::Peer) {
        let request = GetRegionRequest {
            header: self.header(),
            region_key: encoded(key),
        };
        let answer = self
            .pd
            .clone()
            .get_region(request)
            .await
            .expect("a region")
            .into_inner();
        (answer.region.expect("a region"), answer.leader.expect("a leader"))
    }

    pub(crate) async fn context(&self, key: &[u8]) -> Option<Context> {
        let (region, leader) = self.region(key).await;
        Some(Context {
            region_id: region.id,
            region_epoch: region.region_epoch,
            peer: Some(leader),
            ..Default::default()
        })
    }

    pub(crate) async fn get(&self, key: &str, ts: u64) -> GetResponse {
        let request = GetRequest {
            context: self.context(key.as_bytes()).await,
            key: b(key),
            version: ts,
        };
        self.kv.clone().kv_get(request).await.expect("get").into_inner()
    }

    /// The value, where nothing must stand in the way.
    pub(crate) async fn value(&self, key: &str, ts: u64) -> Option<String> {
        let answer = self.get(key, ts).await;
        assert_eq!((answer.region_error, answer.error), (None, None), "{key}");
        (!answer.not_found).then(|| String::from_utf8_lossy(&answer.value).into_owned())
    }

    pub(crate) async fn scan(
        &self,
        start: &str,
        end: &str,
        ts: u64,
        reverse: bool,
        limit: u32,
    ) -> ScanResponse {
        let (from, to) = if reverse { (end, start) } else { (start, end) };
        let request = ScanRequest {
            context: self.context(start.as_bytes()).await,
            start_key: b(from),
            end_key: b(to),
            limit,
            version: ts,
            reverse,
            ..Default::default()
        };
        self.kv.clone().kv_scan(request).await.expect("scan").into_inner()
    }

    pub(crate) async fn prewrite(&self, request: PrewriteRequest) -> PrewriteResponse {
        let request = PrewriteRequest {
            context: self.context(&request.mutations[0].key).await,
            ..request
        };
        self.kv
            .clone()
            .kv_prewrite(request)
            .await
            .expect("prewrite")
            .into_inner()
    }

    pub(crate) async fn commit(&self, keys: &[&str], start_ts: u64, commit_ts: u64) -> CommitResponse {
        let request = CommitRequest {
            context: self.context(keys[0].as_bytes()).await,
            start_version: start_ts,
            keys: keys.iter().map(b).collect(),
            commit_version: commit_ts,
            ..Default::default()
        };
        self.kv
            .clone()
            .kv_commit(request)
            .await
            .expect("commit")
            .into_inner()
    }

    pub(crate) async fn rollback(&self, keys: &[&str], start_ts: u64) -> BatchRollbackResponse {
        let request = BatchRollbackRequest {
            context: self.context(keys[0].as_bytes()).await,
            start_version: start_ts,
            keys: keys.iter().map(b).collect(),
        };
        let answer = self.kv.clone().kv_batch_rollback(request).await;
        answer.expect("rollback").into_inner()
    }

    pub(crate) async fn check_status(&self, request: CheckTxnStatusRequest) -> CheckTxnStatusResponse {
        let request = CheckTxnStatusRequest {
            context: self.context(&request.primary_key).await,
            ..request
        };
        let answer = self.kv.clone().kv_check_txn_status(request).await;
        answer.expect("status").into_inner()
    }

    pub(crate) async fn lock(&self, request: PessimisticLockRequest) -> PessimisticLockResponse {
        let request = PessimisticLockRequest {
            context: self.context(&request.mutations[0].key).await,
            ..request
        };
        let answer = self.kv.clone().kv_pessimistic_lock(request).await;
        answer.expect("lock").into_inner()
    }

    pub(crate) async fn unlock(&self, keys: &[&str], start_ts: u64, for_update_ts: u64) {
        let request = PessimisticRollbackRequest {
            context: self.context(keys[0].as_bytes()).await,
            start_version: start_ts,
            for_update_ts,
            keys: keys.iter().map(b).collect(),
        };
        let answer = self.kv.clone().kv_pessimistic_rollback(request).await;
        let answer = answer.expect("unlock").into_inner();
        assert_eq!((answer.region_error, answer.errors), (None, vec![]));
    }

    /// Writes in one phase; a `None` deletes.
    pub(crate) async fn write(&self, pairs: &[(&str, Option<&str>)]) -> u64 {
        let start_ts = self.ts().await;
        let answer = self
            .prewrite(PrewriteRequest {
                try_one_pc: true,
                ..prewrite(start_ts, pairs)
            })
            .await;
        assert_eq!((answer.region_error, answer.errors), (None, vec![]));
        assert!(answer.one_pc_commit_ts > start_ts);
        answer.one_pc_commit_ts
    }

    pub(crate) async fn all_regions(&self) -> Vec<pdpb::Region> {
        let request = pdpb::ScanRegionsRequest {
            header: self.header(),
            ..Default::default()
        };
        let answer = self.pd.clone().scan_regions(request).await;
        answer.expect("regions").into_inner().regions
    }
}

pub(crate) fn encoded(key: &[u8]) -> Bytes {
    if key.is_empty() {
        return Bytes::new();
    }
    let mut out = Vec::new();
    ilmenite_codec::memcomparable::encode_bytes(key, &mut out);
    out.into()
}

pub(crate) fn mutation(op: Op, key: &str, value: &str) -> Mutation {
    Mutation {
        op: op.into(),
        key: b(key),
        value: b(value),
        ..Default::default()
    }
}

/// A prewrite in two phases of an optimistic transaction; the first key is the primary.
pub(crate) fn prewrite(start_ts: u64, pairs: &[(&str, Option<&str>)]) -> PrewriteRequest {
    let of = |(key, value): &(&str, Option<&str>)| match value {
        Some(value) => mutation(Op::Put, key, value),
        None => mutation(Op::Del, key, ""),
    };
    PrewriteRequest {
        mutations: pairs.iter().map(of).collect(),
        primary_lock: b(pairs[0].0),
        start_version: start_ts,
        lock_ttl: 3000,
        txn_size: pairs.len() as u64,
        min_commit_ts: start_ts + 1,
        ..Default::default()
    }
}

/// A request for pessimistic locks; the first key is the primary.
pub(crate) fn lock(start_ts: u64, for_update_ts: u64, keys: &[&str]) -> PessimisticLockRequest {
    PessimisticLockRequest {
        mutations: keys
            .iter()
            .map(|k| mutation(Op::PessimisticLock, k, ""))
            .collect(),
        primary_lock: b(keys[0]),
        start_version: start_ts,
        lock_ttl: 3000,
        for_update_ts,
        return_values: true,
        ..Default::default()
    }
}
