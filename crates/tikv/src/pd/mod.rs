//! PD: who leads it, timestamps (`tso`), where regions and stores are, safe points.
//!
//! Only the leader answers. It is looked for among all members whenever a call fails, at most a few times a second, and
//! the call is made again within its bounds.

mod core;
mod message;
mod tso;

use std::sync::Arc;

use bytes::Bytes;
use ilmenite_proto::metapb::Store;
use ilmenite_proto::pdpb;
use ilmenite_proto::pdpb::pd_client::PdClient;
use ilmenite_store::{Error, Result, Timestamp};

use crate::metrics::METRICS;
use crate::options::TikvOptions;
use core::PdCore;
use tso::Tso;

/// Regions asked for in one call.
pub(crate) const REGION_PAGE: i32 = 128;

/// A region as PD knows it.
#[derive(Debug, Clone)]
pub(crate) struct PdRegion {
    pub meta: ilmenite_proto::metapb::Region,
    pub leader: Option<ilmenite_proto::metapb::Peer>,
}

/// The least of all services' safe points.
#[derive(Debug, Clone)]
pub(crate) struct ServiceMinimum {
    pub service_id: String,
    pub safe_point: Timestamp,
}

pub(crate) struct Pd {
    core: Arc<PdCore>,
    tso: Tso,
}

impl Pd {
    /// Within `options.connect_timeout`, or an error that names what each endpoint said.
    pub(crate) async fn connect(endpoints: Vec<String>, options: Arc<TikvOptions>) -> Result<Self> {
        let core = PdCore::connect(endpoints, options).await?;
        let tso = Tso::start(core.clone());
        Ok(Pd { core, tso })
    }

    /// A timestamp nobody else gets, greater than every one given before.
    pub(crate) async fn timestamp(&self) -> Result<Timestamp> {
        self.tso.get(self.core.options.retry_time).await
    }

    /// The greatest timestamp seen so far, without asking.
    pub(crate) fn last_timestamp(&self) -> Timestamp {
        self.tso.last()
    }

    pub(crate) async fn region(&self, encoded_key: Bytes) -> Result<Option<PdRegion>> {
        METRICS.region_lookups.inc();
        let request = pdpb::GetRegionRequest {
            region_key: encoded_key,
            ..Default::default()
        };
        let call = |mut c: PdClient<_>, r| async move { c.get_region(r).await };
        let answer: pdpb::GetRegionResponse = self.core.call("GetRegion", request, call).await?;
        Ok(found(answer))
    }

    /// The region before the one that holds the key.
    pub(crate) async fn previous_region(&self, encoded_key: Bytes) -> Result<Option<PdRegion>> {
        METRICS.region_lookups.inc();
        let request = pdpb::GetRegionRequest {
            region_key: encoded_key,
            ..Default::default()
        };
        let call = |mut c: PdClient<_>, r| async move { c.get_prev_region(r).await };
        let answer: pdpb::GetRegionResponse = self.core.call("GetPrevRegion", request, call).await?;
        Ok(found(answer))
    }

    /// One page of the regions from `start` to `end`, in key order.
    pub(crate) async fn scan_regions(&self, start: Bytes, end: Bytes) -> Result<Vec<PdRegion>> {
        METRICS.region_lookups.inc();
        let request = pdpb::ScanRegionsRequest {
            start_key: start,
            end_key: end,
            limit: REGION_PAGE,
            ..Default::default()
        };
        let call = |mut c: PdClient<_>, r| async move { c.scan_regions(r).await };
        let answer: pdpb::ScanRegionsResponse = self.core.call("ScanRegions", request, call).await?;
        if !answer.regions.is_empty() {
            let regions = answer.regions.into_iter();
            return Ok(regions.filter_map(|r| with_leader(r.region, r.leader)).collect());
        }
        let mut leaders = answer.leaders.into_iter();
        let regions = answer.region_metas.into_iter();
        Ok(regions
            .filter_map(|meta| with_leader(Some(meta), leaders.next()))
            .collect())
    }

    pub(crate) async fn store(&self, store_id: u64) -> Result<Store> {
        let request = pdpb::GetStoreRequest {
            store_id,
            ..Default::default()
        };
        let call = |mut c: PdClient<_>, r| async move { c.get_store(r).await };
        let answer: pdpb::GetStoreResponse = self.core.call("GetStore", request, call).await?;
        answer
            .store
            .ok_or_else(|| Error::Unavailable(format!("PD knows no store {store_id}")))
    }

    pub(crate) async fn stores(&self) -> Result<Vec<Store>> {
        let request = pdpb::GetAllStoresRequest {
            exclude_tombstone_stores: true,
            ..Default::default()
        };
        let call = |mut c: PdClient<_>, r| async move { c.get_all_stores(r).await };
        let answer: pdpb::GetAllStoresResponse = self.core.call("GetAllStores", request, call).await?;
        Ok(answer.stores)
    }

    /// Asks PD to move regions that were just split off to stores of their own choice. Nothing rests on it.
    pub(crate) async fn scatter(&self, region_ids: Vec<u64>) -> Result<()> {
        let request = pdpb::ScatterRegionRequest {
            // For a PD that does not know the list.
            region_id: region_ids.first().copied().unwrap_or_default(),
            regions_id: region_ids,
            skip_store_limit: true,
            ..Default::default()
        };
        let call = |mut c: PdClient<_>, r| async move { c.scatter_region(r).await };
        let _: pdpb::ScatterRegionResponse = self.core.call("ScatterRegion", request, call).await?;
        Ok(())
    }

    pub(crate) async fn gc_safe_point(&self) -> Result<Timestamp> {
        let request = pdpb::GetGcSafePointRequest::default();
        let call = |mut c: PdClient<_>, r| async move { c.get_gc_safe_point(r).await };
        let answer: pdpb::GetGcSafePointResponse = self.core.call("GetGCSafePoint", request, call).await?;
        Ok(Timestamp(answer.safe_point))
    }

    /// Returns the safe point that holds now: this one, or a later one.
    pub(crate) async fn update_gc_safe_point(&self, safe_point: Timestamp) -> Result<Timestamp> {
        let request = pdpb::UpdateGcSafePointRequest {
            safe_point: safe_point.0,
            ..Default::default()
        };
        let call = |mut c: PdClient<_>, r| async move { c.update_gc_safe_point(r).await };
        let answer: pdpb::UpdateGcSafePointResponse =
            self.core.call("UpdateGCSafePoint", request, call).await?;
        Ok(Timestamp(answer.new_safe_point))
    }

    /// Holds the safe point at or before `safe_point` for `ttl_seconds` (0: no longer; the greatest: for ever), in the
    /// name of `service_id`. It took effect if the minimum returned is not greater.
    pub(crate) async fn update_service_safe_point(
        &self,
        service_id: &str,
        safe_point: Timestamp,
        ttl_seconds: i64,
    ) -> Result<ServiceMinimum> {
        let request = pdpb::UpdateServiceGcSafePointRequest {
            service_id: Bytes::copy_from_slice(service_id.as_bytes()),
            ttl: ttl_seconds,
            safe_point: safe_point.0,
            ..Default::default()
        };
        let call = |mut c: PdClient<_>, r| async move { c.update_service_gc_safe_point(r).await };
        let answer: pdpb::UpdateServiceGcSafePointResponse =
            self.core.call("UpdateServiceGCSafePoint", request, call).await?;
        Ok(ServiceMinimum {
            service_id: String::from_utf8_lossy(&answer.service_id).into_owned(),
            safe_point: Timestamp(answer.min_safe_point),
        })
    }
}

fn with_leader(
    meta: Option<ilmenite_proto::metapb::Region>,
    leader: Option<ilmenite_proto::metapb::Peer>,
) -> Option<PdRegion> {
    Some(PdRegion {
        meta: meta?,
        leader: leader.filter(|peer| peer.id != 0),
    })
}

fn found(answer: pdpb::GetRegionResponse) -> Option<PdRegion> {
    with_leader(answer.region, answer.leader)
}
