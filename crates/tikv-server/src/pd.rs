//! PD's service: timestamps, regions, stores, safe points.

use std::pin::Pin;
use std::sync::Arc;

use futures::Stream;
use ilmenite_embedded::ServiceSafePoint;
use ilmenite_proto::metapb;
use ilmenite_proto::pdpb::pd_server::Pd;
use ilmenite_proto::pdpb::*;
use ilmenite_store::{KeyRange, Store, Timestamp as Ts};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use crate::cluster::Cluster;
use crate::keys;
use crate::regions::RegionInfo;

/// Who moves the safe point, by PD's convention. It has a hold from the beginning, that never ends.
const GC_WORKER: &str = "gc_worker";
/// Regions in one answer, when no limit is given.
const MAX_REGIONS: usize = 10_000;
const MAX_IDS: u32 = 1 << 20;
/// Answers to timestamp requests on their way.
const TSO_QUEUE: usize = 64;

pub(crate) struct PdService(pub Arc<Cluster>);

type Answer<T> = Result<Response<T>, Status>;

pub(crate) fn status(e: ilmenite_store::Error) -> Status {
    use ilmenite_store::Error as E;
    let text = e.to_string();
    match e {
        E::Unavailable(_) => Status::unavailable(text),
        E::DiskFull(_) | E::TooLarge { .. } => Status::resource_exhausted(text),
        _ => Status::internal(text),
    }
}

impl PdService {
    fn header(&self) -> Option<ResponseHeader> {
        Some(ResponseHeader {
            cluster_id: self.0.cluster_id,
            error: None,
        })
    }

    fn check(&self, header: Option<&RequestHeader>) -> Result<(), Status> {
        let id = header.map_or(0, |h| h.cluster_id);
        if id != self.0.cluster_id {
            return Err(Status::failed_precondition(format!(
                "mismatch cluster id, need {} but got {id}",
                self.0.cluster_id
            )));
        }
        Ok(())
    }

    fn member(&self) -> Member {
        let url = format!("http://{}", self.0.options.address);
        Member {
            name: "ilmenite-store".into(),
            member_id: 1,
            peer_urls: vec![url.clone()],
            client_urls: vec![url],
            ..Default::default()
        }
    }

    fn region(&self, region: Option<Arc<RegionInfo>>) -> Answer<GetRegionResponse> {
        let (meta, leader) = region.map(|r| (r.meta.clone(), r.leader)).unzip();
        Ok(Response::new(GetRegionResponse {
            header: self.header(),
            region: meta,
            leader,
            ..Default::default()
        }))
    }

    fn stats(&self, store_id: u64) -> StoreStats {
        StoreStats {
            store_id,
            region_count: self.0.regions.count() as u32,
            ..Default::default()
        }
    }

    /// The hold that holds back most.
    fn least(&self) -> ServiceSafePoint {
        let store = &self.0.store;
        let mut points = store.service_safe_points();
        if !points.iter().any(|p| p.id == GC_WORKER) {
            points.push(ServiceSafePoint {
                id: GC_WORKER.into(),
                ts: store.gc_goal(),
                until_ms: None,
            });
        }
        let least = points.into_iter().min_by_key(|p| p.ts);
        least.unwrap_or_else(|| ServiceSafePoint {
            id: GC_WORKER.into(),
            ts: Ts::ZERO,
            until_ms: None,
        })
    }

    async fn split_at(&self, encoded: &[bytes::Bytes]) -> Result<Vec<u64>, Status> {
        let cuts: Option<Vec<_>> = encoded.iter().map(|key| keys::decode(key)).collect();
        let cuts = cuts.ok_or_else(|| Status::invalid_argument("a split key that is not encoded"))?;
        let cluster = self.0.clone();
        let split = tokio::task::spawn_blocking(move || cluster.regions.split(&cuts)).await;
        let regions = split
            .map_err(|e| Status::internal(e.to_string()))?
            .map_err(status)?;
        Ok(regions.iter().map(|r| r.id()).collect())
    }
}

fn raw(encoded: &[u8]) -> Result<bytes::Bytes, Status> {
    // A bound that is no whole key lies between two: clients cut bounds out of prefixes.
    keys::decode(encoded).ok_or_else(|| Status::invalid_argument("a key that is not encoded"))
}

fn listed(region: &RegionInfo) -> Region {
    Region {
        region: Some(region.meta.clone()),
        leader: Some(region.leader),
        ..Default::default()
    }
}

#[tonic::async_trait]
impl Pd for PdService {
    async fn get_cluster_info(&self, _: Request<GetClusterInfoRequest>) -> Answer<GetClusterInfoResponse> {
        Ok(Response::new(GetClusterInfoResponse {
            header: self.header(),
            service_modes: vec![ServiceMode::PdSvcMode.into()],
            tso_urls: Vec::new(),
        }))
    }

    async fn get_members(&self, _: Request<GetMembersRequest>) -> Answer<GetMembersResponse> {
        Ok(Response::new(GetMembersResponse {
            header: self.header(),
            members: vec![self.member()],
            leader: Some(self.member()),
            etcd_leader: Some(self.member()),
        }))
    }

    async fn get_cluster_config(
        &self,
        request: Request<GetClusterConfigRequest>,
    ) -> Answer<GetClusterConfigResponse> {
        self.check(request.get_ref().header.as_ref())?;
        Ok(Response::new(GetClusterConfigResponse {
            header: self.header(),
            cluster: Some(metapb::Cluster {
                id: self.0.cluster_id,
                max_peer_count: self.0.regions.stores().len() as u32,
            }),
        }))
    }

    type TsoStream = Pin<Box<dyn Stream<Item = Result<TsoResponse, Status>> + Send>>;

    async fn tso(&self, request: Request<Streaming<TsoRequest>>) -> Answer<Self::TsoStream> {
        let mut requests = request.into_inner();
        let (answers, stream) = mpsc::channel(TSO_QUEUE);
        let service = PdService(self.0.clone());
        // Ends with the client's stream, or when the client no longer reads.
        tokio::spawn(async move {
            while let Ok(Some(request)) = requests.message().await {
                let answer = service.timestamps(request).await;
                let failed = answer.is_err();
                if answers.send(answer).await.is_err() || failed {
                    return;
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
    }

    async fn alloc_id(&self, request: Request<AllocIdRequest>) -> Answer<AllocIdResponse> {
        let request = request.into_inner();
        self.check(request.header.as_ref())?;
        let count = request.count.clamp(1, MAX_IDS);
        let id = self.0.ids.next(count.into()).map_err(status)?;
        Ok(Response::new(AllocIdResponse {
            header: self.header(),
            id,
            count,
        }))
    }

    async fn get_store(&self, request: Request<GetStoreRequest>) -> Answer<GetStoreResponse> {
        let request = request.into_inner();
        self.check(request.header.as_ref())?;
        let store = self.0.describe(request.store_id).ok_or_else(|| {
            // What PD says, in the same kind of error.
            Status::unknown(format!("invalid store ID {}, not found", request.store_id))
        })?;
        Ok(Response::new(GetStoreResponse {
            header: self.header(),
            stats: Some(self.stats(store.id)),
            store: Some(store),
        }))
    }

    async fn get_all_stores(&self, request: Request<GetAllStoresRequest>) -> Answer<GetAllStoresResponse> {
        self.check(request.get_ref().header.as_ref())?;
        let ids = self.0.regions.stores().iter();
        Ok(Response::new(GetAllStoresResponse {
            header: self.header(),
            stores: ids.filter_map(|&id| self.0.describe(id)).collect(),
        }))
    }

    async fn get_region(&self, request: Request<GetRegionRequest>) -> Answer<GetRegionResponse> {
        let request = request.into_inner();
        self.check(request.header.as_ref())?;
        self.region(self.0.regions.at(&raw(&request.region_key)?))
    }

    async fn get_prev_region(&self, request: Request<GetRegionRequest>) -> Answer<GetRegionResponse> {
        let request = request.into_inner();
        self.check(request.header.as_ref())?;
        self.region(self.0.regions.before(&raw(&request.region_key)?))
    }

    async fn get_region_by_id(&self, request: Request<GetRegionByIdRequest>) -> Answer<GetRegionResponse> {
        let request = request.into_inner();
        self.check(request.header.as_ref())?;
        self.region(self.0.regions.get(request.region_id))
    }

    async fn scan_regions(&self, request: Request<ScanRegionsRequest>) -> Answer<ScanRegionsResponse> {
        let request = request.into_inner();
        self.check(request.header.as_ref())?;
        let range = KeyRange::new(raw(&request.start_key)?, raw(&request.end_key)?);
        let limit = match request.limit {
            1.. => request.limit as usize,
            _ => MAX_REGIONS,
        };
        let regions = self.0.regions.scan(&range, limit);
        Ok(Response::new(ScanRegionsResponse {
            header: self.header(),
            region_metas: regions.iter().map(|r| r.meta.clone()).collect(),
            leaders: regions.iter().map(|r| r.leader).collect(),
            regions: regions.iter().map(|r| listed(r)).collect(),
        }))
    }

    async fn batch_scan_regions(
        &self,
        request: Request<BatchScanRegionsRequest>,
    ) -> Answer<BatchScanRegionsResponse> {
        let request = request.into_inner();
        self.check(request.header.as_ref())?;
        let limit = match request.limit {
            1.. => request.limit as usize,
            _ => MAX_REGIONS,
        };
        let mut regions: Vec<Arc<RegionInfo>> = Vec::new();
        for range in &request.ranges {
            let range = KeyRange::new(raw(&range.start_key)?, raw(&range.end_key)?);
            for region in self.0.regions.scan(&range, limit - regions.len().min(limit)) {
                if regions.last().is_none_or(|last| last.id() != region.id()) {
                    regions.push(region);
                }
            }
        }
        Ok(Response::new(BatchScanRegionsResponse {
            header: self.header(),
            regions: regions.iter().map(|r| listed(r)).collect(),
        }))
    }

    async fn split_regions(&self, request: Request<SplitRegionsRequest>) -> Answer<SplitRegionsResponse> {
        let request = request.into_inner();
        self.check(request.header.as_ref())?;
        Ok(Response::new(SplitRegionsResponse {
            header: self.header(),
            finished_percentage: 100,
            regions_id: self.split_at(&request.split_keys).await?,
        }))
    }

    async fn split_and_scatter_regions(
        &self,
        request: Request<SplitAndScatterRegionsRequest>,
    ) -> Answer<SplitAndScatterRegionsResponse> {
        let request = request.into_inner();
        self.check(request.header.as_ref())?;
        Ok(Response::new(SplitAndScatterRegionsResponse {
            header: self.header(),
            split_finished_percentage: 100,
            scatter_finished_percentage: 100,
            regions_id: self.split_at(&request.split_keys).await?,
        }))
    }

    /// There is nowhere to scatter to.
    async fn scatter_region(&self, request: Request<ScatterRegionRequest>) -> Answer<ScatterRegionResponse> {
        self.check(request.get_ref().header.as_ref())?;
        Ok(Response::new(ScatterRegionResponse {
            header: self.header(),
            finished_percentage: 100,
            failed_regions_id: Vec::new(),
        }))
    }

    async fn get_operator(&self, request: Request<GetOperatorRequest>) -> Answer<GetOperatorResponse> {
        let request = request.into_inner();
        self.check(request.header.as_ref())?;
        Ok(Response::new(GetOperatorResponse {
            header: self.header(),
            region_id: request.region_id,
            desc: bytes::Bytes::from_static(b"scatter-region"),
            status: OperatorStatus::Success.into(),
            kind: bytes::Bytes::new(),
        }))
    }

    async fn get_gc_safe_point(
        &self,
        request: Request<GetGcSafePointRequest>,
    ) -> Answer<GetGcSafePointResponse> {
        self.check(request.get_ref().header.as_ref())?;
        let reached = self.0.store.gc_safe_point().await.map_err(status)?;
        Ok(Response::new(GetGcSafePointResponse {
            header: self.header(),
            safe_point: reached.max(self.0.store.gc_goal()).0,
        }))
    }

    async fn update_gc_safe_point(
        &self,
        request: Request<UpdateGcSafePointRequest>,
    ) -> Answer<UpdateGcSafePointResponse> {
        let request = request.into_inner();
        self.check(request.header.as_ref())?;
        // Zero would mean that nobody asks.
        let ts = Ts(request.safe_point.max(1)).min(self.0.store.last_timestamp());
        let goal = self.0.store.set_gc_goal(ts).map_err(status)?;
        Ok(Response::new(UpdateGcSafePointResponse {
            header: self.header(),
            new_safe_point: goal.0,
        }))
    }

    async fn update_service_gc_safe_point(
        &self,
        request: Request<UpdateServiceGcSafePointRequest>,
    ) -> Answer<UpdateServiceGcSafePointResponse> {
        let request = request.into_inner();
        self.check(request.header.as_ref())?;
        let store = &self.0.store;
        let id = String::from_utf8(request.service_id.to_vec())
            .map_err(|_| Status::invalid_argument("a service id that is no text"))?;
        let now_ms = store.now_millis();
        if request.ttl <= 0 {
            if id == GC_WORKER {
                return Err(Status::unknown("cannot remove service safe point of gc_worker"));
            }
            store.remove_service_safe_point(&id).await.map_err(status)?;
        } else {
            if id == GC_WORKER && request.ttl != i64::MAX {
                return Err(Status::unknown(
                    "TTL of gc_worker's service safe point must be infinity",
                ));
            }
            let until_ms = (request.ttl as u64)
                .checked_mul(1000)
                .map(|ttl| now_ms.saturating_add(ttl));
            let point = ServiceSafePoint {
                id,
                ts: Ts(request.safe_point),
                until_ms: until_ms.filter(|_| request.ttl < i64::MAX / 1000),
            };
            let reached = store.gc_safe_point().await.map_err(status)?;
            if point.ts >= self.least().ts && point.ts >= reached {
                match store.set_service_safe_point(point).await {
                    // The safe point has moved past it just now: refused, as the answer will tell.
                    Err(ilmenite_store::Error::SnapshotTooOld { .. }) => {}
                    set => set.map_err(status)?,
                }
            }
        }
        let least = self.least();
        let reached = store.gc_safe_point().await.map_err(status)?;
        Ok(Response::new(UpdateServiceGcSafePointResponse {
            header: self.header(),
            ttl: match least.until_ms {
                Some(until) => until.saturating_sub(now_ms).div_ceil(1000) as i64,
                None => i64::MAX,
            },
            service_id: least.id.into(),
            min_safe_point: least.ts.max(reached).0,
        }))
    }
}

impl PdService {
    async fn timestamps(&self, request: TsoRequest) -> Result<TsoResponse, Status> {
        self.check(request.header.as_ref())?;
        if request.count == 0 {
            return Err(Status::invalid_argument("tso count should be positive"));
        }
        let last = self
            .0
            .txns
            .timestamps(request.count.into())
            .await
            .map_err(status)?;
        let logical = last.0 & ((1 << Ts::LOGICAL_BITS) - 1);
        Ok(TsoResponse {
            header: self.header(),
            count: request.count,
            timestamp: Some(Timestamp {
                physical: last.millis() as i64,
                logical: logical as i64,
                suffix_bits: 0,
            }),
        })
    }
}
