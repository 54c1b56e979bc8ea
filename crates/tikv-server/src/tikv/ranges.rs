//! Whole ranges: deleting, splitting.

use std::sync::Arc;

use ilmenite_embedded::twophase::TxnError;
use ilmenite_proto::kvrpcpb::*;
use ilmenite_store::{KeyRange, Store};
use tonic::Status;

use crate::call::{TikvService, target, with_faults};
use crate::convert::{self, Refused, key_error};
use crate::faults::Target;
use crate::keys::own;
use crate::regions::RegionInfo;

async fn remove(s: &TikvService, range: KeyRange) -> Result<(), TxnError> {
    s.0.txns.drop_locks(&range).await?;
    Ok(s.0.store.delete_range(range).await?)
}

pub(super) async fn delete(
    s: TikvService,
    region: Arc<RegionInfo>,
    request: DeleteRangeRequest,
) -> Refused<DeleteRangeResponse> {
    if !request.start_key.is_empty() {
        region.check_key(&request.start_key)?;
    }
    if request.notify_only {
        return Ok(DeleteRangeResponse::default());
    }
    let range = region.clip(&KeyRange::new(own(&request.start_key), own(&request.end_key)));
    Ok(DeleteRangeResponse {
        error: match remove(&s, range).await {
            Ok(()) => String::new(),
            Err(e) => convert::error_text(e)?,
        },
        ..Default::default()
    })
}

/// Of all regions, and without looking at them.
pub(super) async fn destroy(
    s: &TikvService,
    request: UnsafeDestroyRangeRequest,
) -> Result<UnsafeDestroyRangeResponse, Status> {
    let target = Target {
        method: "UnsafeDestroyRange",
        ..target("", request.context.as_ref())
    };
    let refuse = |e| UnsafeDestroyRangeResponse {
        region_error: Some(e),
        ..Default::default()
    };
    let work = async {
        let range = KeyRange::new(own(&request.start_key), own(&request.end_key));
        let error = match remove(s, range).await {
            Ok(()) => Ok(String::new()),
            Err(e) => convert::error_text(e),
        };
        match error {
            Ok(error) => UnsafeDestroyRangeResponse {
                error,
                ..Default::default()
            },
            Err(e) => UnsafeDestroyRangeResponse {
                region_error: Some(e),
                ..Default::default()
            },
        }
    };
    with_faults(&s.0, target, refuse, work).await
}

/// Versions are collected by themselves, up to the safe point that PD is told.
pub(super) async fn gc(_: TikvService, _: Arc<RegionInfo>, _: GcRequest) -> Refused<GcResponse> {
    Ok(GcResponse::default())
}

pub(super) async fn split(
    s: TikvService,
    region: Arc<RegionInfo>,
    request: SplitRegionRequest,
) -> Refused<SplitRegionResponse> {
    let mut cuts = Vec::with_capacity(request.split_keys.len());
    for key in &request.split_keys {
        let key = if request.is_raw_kv {
            crate::keys::decode(key).unwrap_or_else(|| own(key))
        } else {
            own(key)
        };
        region.check_key(&key)?;
        cuts.push(key);
    }
    let range = region.range.clone();
    let cluster = s.0.clone();
    let split = tokio::task::spawn_blocking(move || cluster.regions.split(&cuts)).await;
    let split = split.unwrap_or_else(|e| Err(ilmenite_store::Error::Bug(e.to_string())));
    if let Err(e) = split {
        // There is no place in the answer for it but this.
        let error = key_error(TxnError::Store(e))?;
        return Err(Box::new(ilmenite_proto::errorpb::Error {
            message: error.abort,
            ..Default::default()
        }));
    }
    let regions = s.0.regions.scan(&range, usize::MAX);
    Ok(SplitRegionResponse {
        regions: regions.iter().map(|r| r.meta.clone()).collect(),
        ..Default::default()
    })
}
