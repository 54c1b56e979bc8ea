//! The services of the fake, over its world.

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ilmenite_codec::memcomparable::decode_bytes;
use ilmenite_proto::debugpb::debug_server::{Debug, DebugServer};
use ilmenite_proto::debugpb::*;
use ilmenite_proto::import_sstpb::import_sst_server::{ImportSst, ImportSstServer};
use ilmenite_proto::import_sstpb::{self as sst, write_request::Chunk};
use ilmenite_proto::kvrpcpb::{self as pb, KeyError, Op};
use ilmenite_proto::pdpb::pd_server::{Pd, PdServer};
use ilmenite_proto::pdpb::*;
use ilmenite_proto::tikvpb::tikv_server::{Tikv, TikvServer};
use ilmenite_proto::tikvpb::{BatchCommandsRequest, BatchCommandsResponse};
use ilmenite_proto::{errorpb, metapb};
use parking_lot::Mutex;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tokio_stream::{Stream, StreamExt};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use super::mvcc::Write;
use super::{CLUSTER, FakeRegion, Trouble, World, peer};

type Shared = Arc<Mutex<World>>;
type Answer<T> = Result<Response<T>, Status>;
type BoxStream<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

pub(super) async fn serve_store(
    world: Shared,
    id: u64,
    listener: TcpListenerStream,
    stop: CancellationToken,
) {
    let store = Store { world, id };
    let serving = tonic::transport::Server::builder()
        .add_service(TikvServer::new(store.clone()).max_decoding_message_size(64 << 20))
        .add_service(DebugServer::new(store.clone()))
        .add_service(ImportSstServer::new(store).max_decoding_message_size(64 << 20))
        .serve_with_incoming(listener);
    tokio::select! {
        _ = stop.cancelled() => {}
        served = serving => served.unwrap(),
    }
}

pub(super) async fn serve_pd(world: Shared, id: usize, listener: TcpListenerStream, stop: CancellationToken) {
    let serving = tonic::transport::Server::builder()
        .add_service(PdServer::new(FakePd { world, id }))
        .serve_with_incoming(listener);
    tokio::select! {
        _ = stop.cancelled() => {}
        served = serving => served.unwrap(),
    }
}

#[derive(Clone)]
struct Store {
    world: Shared,
    id: u64,
}

fn raw(encoded: &[u8]) -> Bytes {
    let mut out = Vec::new();
    if !encoded.is_empty() && decode_bytes(encoded, &mut out).is_err() {
        return Bytes::from_static(&[0xff; 64]);
    }
    out.into()
}

impl Store {
    /// What every request goes through: planned trouble, the region's checks, the work.
    async fn on<R: Default>(
        &self,
        method: &'static str,
        ctx: Option<pb::Context>,
        refused: impl FnOnce(Box<errorpb::Error>) -> R,
        work: impl FnOnce(&mut World, &FakeRegion, &pb::Context) -> R,
    ) -> Answer<R> {
        let trouble = self.world.lock().trouble(method);
        match trouble {
            Some(Trouble::Refuse(e)) => return Ok(Response::new(refused(e))),
            Some(Trouble::Fail) => return Err(Status::unavailable("planned: failed")),
            Some(Trouble::Delay(d)) => tokio::time::sleep(d).await,
            _ => {}
        }
        let answer = {
            let mut world = self.world.lock();
            let ctx = ctx.unwrap_or_default();
            match world.check(self.id, &ctx) {
                Ok(region) => work(&mut world, &region, &ctx),
                Err(e) => return Ok(Response::new(refused(e))),
            }
        };
        match trouble {
            Some(Trouble::LoseReply) => Err(Status::unavailable("planned: reply lost")),
            _ => Ok(Response::new(answer)),
        }
    }
}

macro_rules! refused {
    ($response:ident) => {
        |e| pb::$response {
            region_error: Some(e),
            ..Default::default()
        }
    };
}

fn no<T>() -> Answer<T> {
    Err(Status::unimplemented("not in the fake"))
}

fn boxed(e: KeyError) -> Option<Box<KeyError>> {
    Some(Box::new(e))
}

#[tonic::async_trait]
impl Tikv for Store {
    async fn kv_get(&self, r: Request<pb::GetRequest>) -> Answer<pb::GetResponse> {
        let r = r.into_inner();
        self.on("KvGet", r.context, refused!(GetResponse), |w, _, ctx| {
            let mut answer = pb::GetResponse::default();
            match w.mvcc.get(ctx, &r.key, r.version) {
                Ok(Some(value)) => answer.value = value,
                Ok(None) => answer.not_found = true,
                Err(e) => answer.error = boxed(e),
            }
            answer
        })
        .await
    }

    async fn kv_batch_get(&self, r: Request<pb::BatchGetRequest>) -> Answer<pb::BatchGetResponse> {
        let r = r.into_inner();
        self.on(
            "KvBatchGet",
            r.context,
            refused!(BatchGetResponse),
            |w, region, ctx| {
                let mut answer = pb::BatchGetResponse::default();
                for key in r.keys {
                    assert!(region.contains(&key), "a key of another region");
                    match w.mvcc.get(ctx, &key, r.version) {
                        Ok(Some(value)) => answer.pairs.push(pb::KvPair {
                            key,
                            value,
                            error: None,
                        }),
                        Ok(None) => {}
                        Err(e) => answer.pairs.push(pb::KvPair {
                            error: boxed(e),
                            ..Default::default()
                        }),
                    }
                }
                answer
            },
        )
        .await
    }

    async fn kv_scan(&self, r: Request<pb::ScanRequest>) -> Answer<pb::ScanResponse> {
        let r = r.into_inner();
        self.on("KvScan", r.context, refused!(ScanResponse), |w, region, ctx| {
            let (low, high) = if r.reverse {
                (&r.end_key, &r.start_key)
            } else {
                (&r.start_key, &r.end_key)
            };
            let within = |k: &Bytes| region.contains(k) && k >= low && (high.is_empty() || k < high);
            let mut keys: Vec<Bytes> = w.mvcc.keys.keys().filter(|k| within(k)).cloned().collect();
            if r.reverse {
                keys.reverse();
            }
            let mut answer = pb::ScanResponse::default();
            for key in keys {
                if answer.pairs.len() >= r.limit as usize {
                    break;
                }
                match w.mvcc.get(ctx, &key, r.version) {
                    Ok(Some(value)) => answer.pairs.push(pb::KvPair {
                        key,
                        value: if r.key_only { Bytes::new() } else { value },
                        error: None,
                    }),
                    Ok(None) => {}
                    Err(e) => answer.pairs.push(pb::KvPair {
                        error: boxed(e),
                        ..Default::default()
                    }),
                }
            }
            answer
        })
        .await
    }

    async fn kv_prewrite(&self, r: Request<pb::PrewriteRequest>) -> Answer<pb::PrewriteResponse> {
        let r = r.into_inner();
        let ctx = r.context.clone();
        self.on("KvPrewrite", ctx, refused!(PrewriteResponse), |w, region, _| {
            assert!(
                r.mutations.iter().all(|m| region.contains(&m.key)),
                "a key of another region"
            );
            w.mvcc.prewrite(r)
        })
        .await
    }

    async fn kv_commit(&self, r: Request<pb::CommitRequest>) -> Answer<pb::CommitResponse> {
        let r = r.into_inner();
        self.on("KvCommit", r.context, refused!(CommitResponse), |w, region, _| {
            assert!(
                r.keys.iter().all(|k| region.contains(k)),
                "a key of another region"
            );
            let done = w.mvcc.commit(r.start_version, &r.keys, r.commit_version);
            pb::CommitResponse {
                error: done.err().and_then(boxed),
                commit_version: r.commit_version,
                region_error: None,
            }
        })
        .await
    }

    async fn kv_batch_rollback(
        &self,
        r: Request<pb::BatchRollbackRequest>,
    ) -> Answer<pb::BatchRollbackResponse> {
        let r = r.into_inner();
        self.on(
            "KvBatchRollback",
            r.context,
            refused!(BatchRollbackResponse),
            |w, _, _| {
                w.mvcc.rollback(r.start_version, &r.keys);
                Default::default()
            },
        )
        .await
    }

    async fn kv_pessimistic_lock(
        &self,
        r: Request<pb::PessimisticLockRequest>,
    ) -> Answer<pb::PessimisticLockResponse> {
        let r = r.into_inner();
        let until = Instant::now() + Duration::from_millis(r.wait_timeout.max(0) as u64);
        loop {
            let mut wait = false;
            let answer = self
                .on(
                    "KvPessimisticLock",
                    r.context.clone(),
                    refused!(PessimisticLockResponse),
                    |w, _, _| {
                        w.mvcc.waits.remove(&r.start_version);
                        let mut answer = pb::PessimisticLockResponse::default();
                        match w.mvcc.pessimistic_lock(&r) {
                            Ok(values) => {
                                for value in values {
                                    answer.not_founds.push(value.is_none());
                                    answer.values.push(value.unwrap_or_default());
                                }
                            }
                            Err(e) => {
                                let met = e.locked.clone();
                                let refused = match met {
                                    Some(lock) if Instant::now() < until => {
                                        wait = true;
                                        w.mvcc.wait_for(r.start_version, &lock).err()
                                    }
                                    _ => None,
                                };
                                wait &= refused.is_none();
                                answer.errors.push(refused.unwrap_or(e));
                            }
                        }
                        answer
                    },
                )
                .await;
            if !wait {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
    }

    async fn kv_pessimistic_rollback(
        &self,
        r: Request<pb::PessimisticRollbackRequest>,
    ) -> Answer<pb::PessimisticRollbackResponse> {
        let r = r.into_inner();
        self.on(
            "KVPessimisticRollback",
            r.context,
            refused!(PessimisticRollbackResponse),
            |w, _, _| {
                w.mvcc
                    .pessimistic_rollback(r.start_version, r.for_update_ts, &r.keys);
                Default::default()
            },
        )
        .await
    }

    async fn kv_txn_heart_beat(
        &self,
        r: Request<pb::TxnHeartBeatRequest>,
    ) -> Answer<pb::TxnHeartBeatResponse> {
        let r = r.into_inner();
        self.on(
            "KvTxnHeartBeat",
            r.context,
            refused!(TxnHeartBeatResponse),
            |w, _, _| {
                let mut answer = pb::TxnHeartBeatResponse::default();
                let lock = w.mvcc.keys.get_mut(&r.primary_lock).and_then(|k| k.lock.as_mut());
                match lock.filter(|l| l.start_ts == r.start_version) {
                    Some(lock) => {
                        lock.ttl_ms = lock.ttl_ms.max(r.advise_lock_ttl);
                        answer.lock_ttl = lock.ttl_ms;
                    }
                    None => {
                        answer.error = boxed(KeyError {
                            txn_not_found: Some(pb::TxnNotFound {
                                start_ts: r.start_version,
                                primary_key: r.primary_lock,
                            }),
                            ..Default::default()
                        });
                    }
                }
                answer
            },
        )
        .await
    }

    async fn get_lock_wait_info(
        &self,
        _: Request<pb::GetLockWaitInfoRequest>,
    ) -> Answer<pb::GetLockWaitInfoResponse> {
        no()
    }

    async fn kv_check_txn_status(
        &self,
        r: Request<pb::CheckTxnStatusRequest>,
    ) -> Answer<pb::CheckTxnStatusResponse> {
        let r = r.into_inner();
        let ctx = r.context.clone();
        self.on(
            "KvCheckTxnStatus",
            ctx,
            refused!(CheckTxnStatusResponse),
            |w, _, _| w.mvcc.check_txn_status(&r),
        )
        .await
    }

    async fn kv_check_secondary_locks(
        &self,
        _: Request<pb::CheckSecondaryLocksRequest>,
    ) -> Answer<pb::CheckSecondaryLocksResponse> {
        no()
    }

    async fn kv_scan_lock(&self, r: Request<pb::ScanLockRequest>) -> Answer<pb::ScanLockResponse> {
        let r = r.into_inner();
        self.on(
            "KvScanLock",
            r.context,
            refused!(ScanLockResponse),
            |w, region, _| {
                let mut answer = pb::ScanLockResponse::default();
                for (key, state) in &w.mvcc.keys {
                    let Some(lock) = state.lock.as_ref().filter(|l| l.start_ts <= r.max_version) else {
                        continue;
                    };
                    if region.contains(key) && key >= &r.start_key && answer.locks.len() < r.limit as usize {
                        answer.locks.push(pb::LockInfo {
                            primary_lock: lock.primary.clone(),
                            lock_version: lock.start_ts,
                            key: key.clone(),
                            lock_ttl: lock.ttl_ms,
                            lock_type: lock.op as i32,
                            ..Default::default()
                        });
                    }
                }
                answer
            },
        )
        .await
    }

    async fn kv_resolve_lock(&self, r: Request<pb::ResolveLockRequest>) -> Answer<pb::ResolveLockResponse> {
        let r = r.into_inner();
        self.on(
            "KvResolveLock",
            r.context,
            refused!(ResolveLockResponse),
            |w, region, _| {
                w.mvcc
                    .resolve(r.start_version, r.commit_version, |k| region.contains(k), &r.keys);
                Default::default()
            },
        )
        .await
    }

    async fn kv_cleanup(&self, _: Request<pb::CleanupRequest>) -> Answer<pb::CleanupResponse> {
        no()
    }

    async fn kv_gc(&self, _: Request<pb::GcRequest>) -> Answer<pb::GcResponse> {
        no()
    }

    async fn kv_delete_range(&self, _: Request<pb::DeleteRangeRequest>) -> Answer<pb::DeleteRangeResponse> {
        no()
    }

    async fn unsafe_destroy_range(
        &self,
        r: Request<pb::UnsafeDestroyRangeRequest>,
    ) -> Answer<pb::UnsafeDestroyRangeResponse> {
        let r = r.into_inner();
        let mut world = self.world.lock();
        if let Some(Trouble::Fail) = world.trouble("UnsafeDestroyRange") {
            return Err(Status::unavailable("planned: failed"));
        }
        world.mvcc.keys.retain(|k, _| k < &r.start_key || k >= &r.end_key);
        Ok(Response::new(Default::default()))
    }

    async fn split_region(&self, r: Request<pb::SplitRegionRequest>) -> Answer<pb::SplitRegionResponse> {
        let r = r.into_inner();
        self.on(
            "SplitRegion",
            r.context,
            refused!(SplitRegionResponse),
            |w, _, _| {
                for key in &r.split_keys {
                    w.split(key);
                }
                pb::SplitRegionResponse {
                    regions: w.regions.iter().map(|r| w.meta(r)).collect(),
                    ..Default::default()
                }
            },
        )
        .await
    }

    async fn mvcc_get_by_key(&self, r: Request<pb::MvccGetByKeyRequest>) -> Answer<pb::MvccGetByKeyResponse> {
        let r = r.into_inner();
        self.on(
            "MvccGetByKey",
            r.context,
            refused!(MvccGetByKeyResponse),
            |w, _, _| pb::MvccGetByKeyResponse {
                info: Some(w.mvcc.mvcc_info(&r.key)),
                ..Default::default()
            },
        )
        .await
    }

    type BatchCommandsStream = BoxStream<BatchCommandsResponse>;
    async fn batch_commands(
        &self,
        _: Request<Streaming<BatchCommandsRequest>>,
    ) -> Answer<Self::BatchCommandsStream> {
        no()
    }
}

#[tonic::async_trait]
impl Debug for Store {
    async fn region_size(&self, r: Request<RegionSizeRequest>) -> Answer<RegionSizeResponse> {
        let world = self.world.lock();
        let id = r.into_inner().region_id;
        let Some(region) = world.regions.iter().find(|r| r.id == id) else {
            return Err(Status::not_found("no such region"));
        };
        let keys = world.mvcc.keys.iter().filter(|(k, _)| region.contains(k));
        let size = keys.map(|(k, s)| s.writes.iter().map(|w| k.len() + w.value.len()).sum::<usize>() as u64);
        Ok(Response::new(RegionSizeResponse {
            entries: vec![region_size_response::Entry {
                cf: "write".into(),
                size: size.sum(),
            }],
        }))
    }

    async fn get_region_properties(
        &self,
        _: Request<GetRegionPropertiesRequest>,
    ) -> Answer<GetRegionPropertiesResponse> {
        no()
    }
}

fn import_error(e: Box<errorpb::Error>) -> sst::WriteResponse {
    sst::WriteResponse {
        error: Some(sst::Error {
            message: e.message.clone(),
            store_error: Some(e),
        }),
        metas: Vec::new(),
    }
}

#[tonic::async_trait]
impl ImportSst for Store {
    async fn switch_mode(&self, _: Request<sst::SwitchModeRequest>) -> Answer<sst::SwitchModeResponse> {
        no()
    }

    async fn write(&self, r: Request<Streaming<sst::WriteRequest>>) -> Answer<sst::WriteResponse> {
        let mut stream = r.into_inner();
        let mut meta = sst::SstMeta::default();
        let mut pairs = Vec::new();
        while let Some(message) = stream.next().await {
            match message?.chunk {
                Some(Chunk::Meta(m)) => meta = m,
                Some(Chunk::Batch(batch)) => {
                    assert!(batch.commit_ts > 0);
                    pairs.extend(batch.pairs.into_iter().map(|p| (p.key, p.value, batch.commit_ts)));
                }
                None => {}
            }
        }
        let mut world = self.world.lock();
        match world.trouble("Write") {
            Some(Trouble::Refuse(e)) => return Ok(Response::new(import_error(e))),
            Some(Trouble::Fail) => return Err(Status::unavailable("planned: failed")),
            _ => {}
        }
        let region = world.regions.iter().find(|r| r.id == meta.region_id).cloned();
        let Some(region) = region.filter(|r| Some(r.epoch) == meta.region_epoch) else {
            return Err(Status::unknown("RequestTooOld"));
        };
        assert!(pairs.is_sorted_by(|a, b| a.0 < b.0) && !pairs.is_empty());
        let range = meta.range.clone().unwrap();
        assert_eq!(range.start, super::encode(&pairs[0].0));
        assert_eq!(range.end, super::encode(&pairs[pairs.len() - 1].0));
        assert!(
            pairs.iter().all(|p| region.contains(&p.0)),
            "a key of another region"
        );
        let name = [&meta.uuid[..], &self.id.to_be_bytes()].concat();
        world.files.insert(name.into(), pairs);
        Ok(Response::new(sst::WriteResponse {
            error: None,
            metas: vec![meta],
        }))
    }

    async fn ingest(&self, _: Request<sst::IngestRequest>) -> Answer<sst::IngestResponse> {
        no()
    }

    async fn multi_ingest(&self, r: Request<sst::MultiIngestRequest>) -> Answer<sst::IngestResponse> {
        let r = r.into_inner();
        let refused = |e| sst::IngestResponse { error: Some(e) };
        self.on("MultiIngest", r.context, refused, |w, region, _| {
            for meta in &r.ssts {
                // The files must be on every store.
                let mut pairs = Vec::new();
                for store in 1..=w.stores.len() as u64 {
                    let name = [&meta.uuid[..], &store.to_be_bytes()].concat();
                    match w.files.remove(&Bytes::from(name)) {
                        Some(found) => pairs = found,
                        None => {
                            let mut e = Box::<errorpb::Error>::default();
                            e.stale_command = Some(Default::default());
                            return refused(e);
                        }
                    }
                }
                assert!(meta.region_epoch == Some(region.epoch));
                for (key, value, ts) in pairs {
                    let state = w.mvcc.keys.entry(key).or_default();
                    state.writes.retain(|old| old.commit_ts != ts);
                    state.writes.push(Write {
                        op: Op::Put,
                        start_ts: ts,
                        commit_ts: ts,
                        value,
                    });
                    state.writes.sort_by_key(|w| std::cmp::Reverse(w.commit_ts));
                }
            }
            sst::IngestResponse::default()
        })
        .await
    }

    type DuplicateDetectStream = BoxStream<sst::DuplicateDetectResponse>;
    async fn duplicate_detect(
        &self,
        _: Request<sst::DuplicateDetectRequest>,
    ) -> Answer<Self::DuplicateDetectStream> {
        no()
    }

    async fn add_force_partition_range(
        &self,
        _: Request<sst::AddPartitionRangeRequest>,
    ) -> Answer<sst::AddPartitionRangeResponse> {
        no()
    }

    async fn remove_force_partition_range(
        &self,
        _: Request<sst::RemovePartitionRangeRequest>,
    ) -> Answer<sst::RemovePartitionRangeResponse> {
        no()
    }
}

struct FakePd {
    world: Shared,
    id: usize,
}

impl FakePd {
    fn lead(&self, method: &'static str) -> Result<parking_lot::MutexGuard<'_, World>, Status> {
        let mut world = self.world.lock();
        if world.pd_leader != self.id {
            return Err(Status::unavailable("not leader"));
        }
        match world.trouble(method) {
            Some(Trouble::Fail) => Err(Status::unavailable("planned: failed")),
            _ => Ok(world),
        }
    }
}

fn header() -> Option<ResponseHeader> {
    Some(ResponseHeader {
        cluster_id: CLUSTER,
        error: None,
    })
}

fn store_meta(world: &World, id: u64) -> metapb::Store {
    metapb::Store {
        id,
        address: world.stores[id as usize - 1].clone(),
        ..Default::default()
    }
}

fn region_response(world: &World, region: Option<&FakeRegion>) -> GetRegionResponse {
    GetRegionResponse {
        header: header(),
        region: region.map(|r| world.meta(r)),
        leader: region.map(|r| peer(r.id, r.leader)),
        ..Default::default()
    }
}

#[tonic::async_trait]
impl Pd for FakePd {
    async fn get_cluster_info(&self, _: Request<GetClusterInfoRequest>) -> Answer<GetClusterInfoResponse> {
        no()
    }

    async fn get_members(&self, _: Request<GetMembersRequest>) -> Answer<GetMembersResponse> {
        let world = self.world.lock();
        let member = |(id, url): (usize, &String)| Member {
            member_id: id as u64,
            client_urls: vec![format!("http://{url}")],
            ..Default::default()
        };
        let members: Vec<Member> = world.pds.iter().enumerate().map(member).collect();
        Ok(Response::new(GetMembersResponse {
            header: header(),
            leader: members.get(world.pd_leader).cloned(),
            members,
            ..Default::default()
        }))
    }

    async fn get_cluster_config(
        &self,
        _: Request<GetClusterConfigRequest>,
    ) -> Answer<GetClusterConfigResponse> {
        no()
    }

    type TsoStream = BoxStream<TsoResponse>;
    async fn tso(&self, r: Request<Streaming<TsoRequest>>) -> Answer<Self::TsoStream> {
        drop(self.lead("TsoStream")?);
        let mut requests = r.into_inner();
        let (tx, rx) = tokio::sync::mpsc::channel(4);
        let (world, id) = (self.world.clone(), self.id);
        tokio::spawn(async move {
            while let Some(Ok(request)) = requests.next().await {
                let answer = {
                    let mut world = world.lock();
                    if world.pd_leader != id {
                        Err(Status::unavailable("no longer the leader"))
                    } else {
                        let _ = world.trouble("Tso");
                        assert_eq!(request.header.unwrap().cluster_id, CLUSTER);
                        let mut last = 0;
                        for _ in 0..request.count {
                            last = world.timestamp();
                        }
                        // As PD: all of one batch in one millisecond.
                        if last & ((1 << 18) - 1) < u64::from(request.count) {
                            last += u64::from(request.count);
                            world.last_ts = last;
                        }
                        Ok(TsoResponse {
                            header: header(),
                            count: request.count,
                            timestamp: Some(Timestamp {
                                physical: (last >> 18) as i64,
                                logical: (last & ((1 << 18) - 1)) as i64,
                                ..Default::default()
                            }),
                        })
                    }
                };
                if tx.send(answer).await.is_err() {
                    return;
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(rx))))
    }

    async fn alloc_id(&self, _: Request<AllocIdRequest>) -> Answer<AllocIdResponse> {
        no()
    }

    async fn get_store(&self, r: Request<GetStoreRequest>) -> Answer<GetStoreResponse> {
        let world = self.lead("GetStore")?;
        Ok(Response::new(GetStoreResponse {
            header: header(),
            store: Some(store_meta(&world, r.into_inner().store_id)),
            ..Default::default()
        }))
    }

    async fn get_all_stores(&self, _: Request<GetAllStoresRequest>) -> Answer<GetAllStoresResponse> {
        let world = self.lead("GetAllStores")?;
        Ok(Response::new(GetAllStoresResponse {
            header: header(),
            stores: (1..=world.stores.len() as u64)
                .map(|id| store_meta(&world, id))
                .collect(),
        }))
    }

    async fn get_region(&self, r: Request<GetRegionRequest>) -> Answer<GetRegionResponse> {
        let world = self.lead("GetRegion")?;
        let key = raw(&r.into_inner().region_key);
        Ok(Response::new(region_response(
            &world,
            Some(world.region_of(&key)),
        )))
    }

    async fn get_prev_region(&self, r: Request<GetRegionRequest>) -> Answer<GetRegionResponse> {
        let world = self.lead("GetPrevRegion")?;
        let key = raw(&r.into_inner().region_key);
        let at = world.regions.iter().position(|r| r.contains(&key)).unwrap();
        let before = at.checked_sub(1).map(|i| &world.regions[i]);
        Ok(Response::new(region_response(&world, before)))
    }

    async fn get_region_by_id(&self, _: Request<GetRegionByIdRequest>) -> Answer<GetRegionResponse> {
        no()
    }

    async fn scan_regions(&self, r: Request<ScanRegionsRequest>) -> Answer<ScanRegionsResponse> {
        let mut world = self.lead("ScanRegions")?;
        let r = r.into_inner();
        let (start, end) = (raw(&r.start_key), raw(&r.end_key));
        let within = |region: &&FakeRegion| {
            (region.end.is_empty() || region.end > start) && (end.is_empty() || region.start < end)
        };
        let found = world.regions.iter().filter(within).take(r.limit as usize);
        let mut regions: Vec<Region> = found
            .map(|r| Region {
                region: Some(world.meta(r)),
                leader: Some(peer(r.id, r.leader)),
                ..Default::default()
            })
            .collect();
        if world.holes > 0 && regions.len() > 1 {
            world.holes -= 1;
            regions.remove(1);
        }
        Ok(Response::new(ScanRegionsResponse {
            header: header(),
            regions,
            ..Default::default()
        }))
    }

    async fn batch_scan_regions(
        &self,
        _: Request<BatchScanRegionsRequest>,
    ) -> Answer<BatchScanRegionsResponse> {
        no()
    }

    async fn split_regions(&self, _: Request<SplitRegionsRequest>) -> Answer<SplitRegionsResponse> {
        no()
    }

    async fn split_and_scatter_regions(
        &self,
        _: Request<SplitAndScatterRegionsRequest>,
    ) -> Answer<SplitAndScatterRegionsResponse> {
        no()
    }

    async fn scatter_region(&self, _: Request<ScatterRegionRequest>) -> Answer<ScatterRegionResponse> {
        drop(self.lead("ScatterRegion")?);
        Ok(Response::new(ScatterRegionResponse {
            header: header(),
            ..Default::default()
        }))
    }

    async fn get_operator(&self, _: Request<GetOperatorRequest>) -> Answer<GetOperatorResponse> {
        no()
    }

    async fn get_gc_safe_point(&self, _: Request<GetGcSafePointRequest>) -> Answer<GetGcSafePointResponse> {
        let world = self.lead("GetGCSafePoint")?;
        Ok(Response::new(GetGcSafePointResponse {
            header: header(),
            safe_point: world.safe_point,
        }))
    }

    async fn update_gc_safe_point(
        &self,
        r: Request<UpdateGcSafePointRequest>,
    ) -> Answer<UpdateGcSafePointResponse> {
        let mut world = self.lead("UpdateGCSafePoint")?;
        world.safe_point = world.safe_point.max(r.into_inner().safe_point);
        Ok(Response::new(UpdateGcSafePointResponse {
            header: header(),
            new_safe_point: world.safe_point,
        }))
    }

    async fn update_service_gc_safe_point(
        &self,
        r: Request<UpdateServiceGcSafePointRequest>,
    ) -> Answer<UpdateServiceGcSafePointResponse> {
        let mut world = self.lead("UpdateServiceGCSafePoint")?;
        let r = r.into_inner();
        let id = String::from_utf8_lossy(&r.service_id).into_owned();
        world.services.entry("gc_worker".into()).or_insert((0, i64::MAX));
        let least = |world: &World| {
            world
                .services
                .iter()
                .map(|(id, (ts, _))| (*ts, id.clone()))
                .min()
                .unwrap()
        };
        if r.ttl <= 0 {
            world.services.remove(&id);
        } else if r.safe_point >= least(&world).0 {
            world.services.insert(id, (r.safe_point, r.ttl));
        }
        let (min_safe_point, service_id) = least(&world);
        Ok(Response::new(UpdateServiceGcSafePointResponse {
            header: header(),
            service_id: service_id.into_bytes().into(),
            ttl: i64::MAX,
            min_safe_point,
        }))
    }
}
