//! TiKV's service: which call is whose. The calls themselves: `read`, `txn`, `locks`, `ranges`; many of them in one: `batch`.

mod batch;
mod locks;
mod ranges;
mod read;
mod txn;

use std::pin::Pin;

use futures::Stream;
use ilmenite_proto::kvrpcpb::*;
use ilmenite_proto::tikvpb::tikv_server::Tikv;
use ilmenite_proto::tikvpb::{BatchCommandsRequest, BatchCommandsResponse};
use tonic::{Request, Response, Status, Streaming};

use crate::call::TikvService;

macro_rules! service {
    ($($rpc:ident: $request:ident => $answer:ident, $work:path;)+) => {
        #[tonic::async_trait]
        impl Tikv for TikvService {
            $(async fn $rpc(&self, request: Request<$request>) -> Result<Response<$answer>, Status> {
                self.serve(request.into_inner(), $work).await.map(Response::new)
            })+

            async fn get_lock_wait_info(
                &self,
                _: Request<GetLockWaitInfoRequest>,
            ) -> Result<Response<GetLockWaitInfoResponse>, Status> {
                Ok(Response::new(locks::wait_info(self)))
            }

            async fn unsafe_destroy_range(
                &self,
                request: Request<UnsafeDestroyRangeRequest>,
            ) -> Result<Response<UnsafeDestroyRangeResponse>, Status> {
                ranges::destroy(self, request.into_inner()).await.map(Response::new)
            }

            type BatchCommandsStream =
                Pin<Box<dyn Stream<Item = Result<BatchCommandsResponse, Status>> + Send>>;

            async fn batch_commands(
                &self,
                request: Request<Streaming<BatchCommandsRequest>>,
            ) -> Result<Response<Self::BatchCommandsStream>, Status> {
                Ok(Response::new(batch::serve(self.clone(), request.into_inner())))
            }
        }
    };
}

service! {
    kv_get: GetRequest => GetResponse, read::get;
    kv_batch_get: BatchGetRequest => BatchGetResponse, read::batch_get;
    kv_scan: ScanRequest => ScanResponse, read::scan;
    mvcc_get_by_key: MvccGetByKeyRequest => MvccGetByKeyResponse, read::versions;
    kv_prewrite: PrewriteRequest => PrewriteResponse, txn::prewrite;
    kv_commit: CommitRequest => CommitResponse, txn::commit;
    kv_batch_rollback: BatchRollbackRequest => BatchRollbackResponse, txn::rollback;
    kv_check_txn_status: CheckTxnStatusRequest => CheckTxnStatusResponse, txn::check_status;
    kv_check_secondary_locks: CheckSecondaryLocksRequest => CheckSecondaryLocksResponse, txn::check_secondaries;
    kv_resolve_lock: ResolveLockRequest => ResolveLockResponse, txn::resolve;
    kv_cleanup: CleanupRequest => CleanupResponse, txn::clean_up;
    kv_pessimistic_lock: PessimisticLockRequest => PessimisticLockResponse, locks::lock;
    kv_pessimistic_rollback: PessimisticRollbackRequest => PessimisticRollbackResponse, locks::unlock;
    kv_txn_heart_beat: TxnHeartBeatRequest => TxnHeartBeatResponse, locks::heart_beat;
    kv_scan_lock: ScanLockRequest => ScanLockResponse, locks::scan;
    kv_gc: GcRequest => GcResponse, ranges::gc;
    kv_delete_range: DeleteRangeRequest => DeleteRangeResponse, ranges::delete;
    split_region: SplitRegionRequest => SplitRegionResponse, ranges::split;
}
