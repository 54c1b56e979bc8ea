//! What is the same for every call of TiKV's service: faults, the region check, and the answer of a refused one.

use std::future::Future;
use std::sync::Arc;

use ilmenite_proto::errorpb;
use ilmenite_proto::kvrpcpb::*;
use tonic::Status;

use crate::cluster::Cluster;
use crate::convert::Refused;
use crate::faults::{self, Strike, Target};
use crate::regions::RegionInfo;

#[derive(Clone)]
pub(crate) struct TikvService(pub Arc<Cluster>);

/// A request for a region.
pub(crate) trait Command {
    /// Of the call that carries it.
    const METHOD: &'static str;
    type Answer: Send;

    fn context(&self) -> Option<&Context>;
    fn refused(error: Box<errorpb::Error>) -> Self::Answer;
}

macro_rules! commands {
    ($($method:literal: $request:ident => $answer:ident;)+) => {
        $(impl Command for $request {
            const METHOD: &'static str = $method;
            type Answer = $answer;

            fn context(&self) -> Option<&Context> {
                self.context.as_ref()
            }

            fn refused(error: Box<errorpb::Error>) -> $answer {
                $answer {
                    region_error: Some(error),
                    ..Default::default()
                }
            }
        })+
    };
}

commands! {
    "KvGet": GetRequest => GetResponse;
    "KvBatchGet": BatchGetRequest => BatchGetResponse;
    "KvScan": ScanRequest => ScanResponse;
    "KvPrewrite": PrewriteRequest => PrewriteResponse;
    "KvCommit": CommitRequest => CommitResponse;
    "KvBatchRollback": BatchRollbackRequest => BatchRollbackResponse;
    "KvPessimisticLock": PessimisticLockRequest => PessimisticLockResponse;
    "KVPessimisticRollback": PessimisticRollbackRequest => PessimisticRollbackResponse;
    "KvTxnHeartBeat": TxnHeartBeatRequest => TxnHeartBeatResponse;
    "KvCheckTxnStatus": CheckTxnStatusRequest => CheckTxnStatusResponse;
    "KvCheckSecondaryLocks": CheckSecondaryLocksRequest => CheckSecondaryLocksResponse;
    "KvScanLock": ScanLockRequest => ScanLockResponse;
    "KvResolveLock": ResolveLockRequest => ResolveLockResponse;
    "KvCleanup": CleanupRequest => CleanupResponse;
    "KvGC": GcRequest => GcResponse;
    "KvDeleteRange": DeleteRangeRequest => DeleteRangeResponse;
    "SplitRegion": SplitRegionRequest => SplitRegionResponse;
    "MvccGetByKey": MvccGetByKeyRequest => MvccGetByKeyResponse;
}

pub(crate) fn target(method: &'static str, context: Option<&Context>) -> Target {
    Target {
        method,
        region_id: context.map_or(0, |c| c.region_id),
        store_id: context.and_then(|c| c.peer).map_or(0, |p| p.store_id),
    }
}

/// Carries out `work`, unless a fault has it otherwise. `refuse` makes a region error the answer.
pub(crate) async fn with_faults<T>(
    cluster: &Cluster,
    target: Target,
    refuse: impl FnOnce(Box<errorpb::Error>) -> T,
    work: impl Future<Output = T>,
) -> Result<T, Status> {
    let struck = || Status::unavailable(format!("asked for: {} fails", target.method));
    match cluster.faults.strike(target) {
        None => Ok(work.await),
        Some(Strike::Delay(delay)) => {
            tokio::time::sleep(delay).await;
            Ok(work.await)
        }
        Some(Strike::Unavailable) => Err(struck()),
        Some(Strike::LostReply) => {
            work.await;
            Err(struck())
        }
        Some(Strike::Refuse(kind, backoff_ms)) => {
            use ilmenite_proto::ilmenitepb::FaultKind;
            let error = match kind {
                FaultKind::EpochNotMatch => cluster.regions.epoch_error(target.region_id),
                kind => faults::region_error(kind, target.region_id, backoff_ms),
            };
            Ok(refuse(Box::new(error)))
        }
    }
}

impl TikvService {
    /// One call: faults, the region check, then `work`.
    pub(crate) async fn serve<C, F, W>(&self, command: C, work: F) -> Result<C::Answer, Status>
    where
        C: Command,
        F: FnOnce(TikvService, Arc<RegionInfo>, C) -> W,
        W: Future<Output = Refused<C::Answer>>,
    {
        let target = target(C::METHOD, command.context());
        let checked = async {
            let region = match self.0.regions.check(command.context(), false) {
                Ok(region) => region,
                Err(e) => return C::refused(e),
            };
            let answer = work(self.clone(), region, command).await;
            answer.unwrap_or_else(C::refused)
        };
        with_faults(&self.0, target, C::refused, checked).await
    }
}
