//! The small services: sizes of regions, from TiKV's debugging service, and our own, for tests.

use std::sync::Arc;

use ilmenite_proto::debugpb::debug_server::Debug;
use ilmenite_proto::debugpb::{
    GetRegionPropertiesRequest, GetRegionPropertiesResponse, Property, RegionSizeRequest, RegionSizeResponse,
    region_size_response,
};
use ilmenite_proto::ilmenitepb::chaos_request::Action;
use ilmenite_proto::ilmenitepb::ilmenite_server::Ilmenite;
use ilmenite_proto::ilmenitepb::{ChaosRequest, ChaosResponse};
use tonic::{Request, Response, Status};

use crate::cluster::Cluster;
use crate::keys;
use crate::pd::status;

pub(crate) struct DebugService(pub Arc<Cluster>);

impl DebugService {
    /// Bytes and entries of a region, by estimate.
    fn size(&self, region_id: u64) -> Result<(u64, u64), Status> {
        let region = self.0.regions.get(region_id);
        let region = region.ok_or_else(|| Status::not_found(format!("region {region_id}")))?;
        self.0.size(&region.range).map_err(status)
    }
}

#[tonic::async_trait]
impl Debug for DebugService {
    /// All that is there counts as `write`.
    async fn region_size(
        &self,
        request: Request<RegionSizeRequest>,
    ) -> Result<Response<RegionSizeResponse>, Status> {
        let request = request.into_inner();
        let (bytes, _) = self.size(request.region_id)?;
        let entry = |cf: String| region_size_response::Entry {
            size: if cf == "write" { bytes } else { 0 },
            cf,
        };
        Ok(Response::new(RegionSizeResponse {
            entries: request.cfs.into_iter().map(entry).collect(),
        }))
    }

    async fn get_region_properties(
        &self,
        request: Request<GetRegionPropertiesRequest>,
    ) -> Result<Response<GetRegionPropertiesResponse>, Status> {
        let (_, entries) = self.size(request.into_inner().region_id)?;
        let property = |name: &str| Property {
            name: name.into(),
            value: entries.to_string(),
        };
        Ok(Response::new(GetRegionPropertiesResponse {
            props: vec![property("mvcc.num_rows"), property("mvcc.num_versions")],
        }))
    }
}

pub(crate) struct IlmeniteService(pub Arc<Cluster>);

#[tonic::async_trait]
impl Ilmenite for IlmeniteService {
    async fn chaos(&self, request: Request<ChaosRequest>) -> Result<Response<ChaosResponse>, Status> {
        let cluster = &self.0;
        if !cluster.options.testing {
            return Err(Status::permission_denied(
                "this store was not started with --testing",
            ));
        }
        let missing = |what: &str| Status::not_found(what.to_owned());
        let mut answer = ChaosResponse::default();
        match request.into_inner().action {
            None => return Err(Status::invalid_argument("nothing to do")),
            Some(Action::SplitRegion(split)) => {
                let key = keys::decode(&split.key).filter(|key| !key.is_empty());
                let key = key.ok_or_else(|| Status::invalid_argument("not an encoded key"))?;
                if cluster.regions.at(&key).is_some_and(|r| r.range.start == key) {
                    return Err(Status::invalid_argument("the key is a region's bound"));
                }
                let regions = cluster.regions.split(&[key]).map_err(status)?;
                answer.regions = regions.iter().map(|r| r.meta.clone()).collect();
            }
            Some(Action::MergeRegions(merge)) => {
                let merged = cluster
                    .regions
                    .merge(merge.source_region_id, merge.target_region_id)
                    .map_err(status)?;
                let merged = merged.ok_or_else(|| missing("no such neighbours"))?;
                answer.regions.push(merged.meta.clone());
            }
            Some(Action::TransferLeader(to)) => {
                let moved = cluster.regions.transfer_leader(to.region_id, to.store_id);
                let moved = moved.ok_or_else(|| missing("no such region, or no peer of it there"))?;
                answer.regions.push(moved.meta.clone());
            }
            Some(Action::AddFault(fault)) => {
                let id = cluster.ids.next(1).map_err(status)?;
                cluster.faults.add(id, fault).map_err(Status::invalid_argument)?;
                answer.fault_id = id;
            }
            Some(Action::ClearFaults(clear)) => answer.struck = cluster.faults.clear(clear.fault_id),
        }
        Ok(Response::new(answer))
    }
}
