//! Requests to one region: what they have in common.

use std::future::Future;

use ilmenite_proto::tikvpb::tikv_client::TikvClient;
use ilmenite_proto::{errorpb, kvrpcpb};
use tonic::transport::Channel;
use tonic::{Request, Response, Status};

/// A unary call of TiKV's service that goes to one region's leader.
pub(crate) trait RegionRequest: Clone + Send + Sync + 'static {
    type Response: Send;
    const NAME: &'static str;

    fn set_context(&mut self, context: kvrpcpb::Context);
    fn take_context(&mut self) -> kvrpcpb::Context;
    fn take_region_error(response: &mut Self::Response) -> Option<Box<errorpb::Error>>;
    fn call(
        client: TikvClient<Channel>,
        request: Request<Self>,
    ) -> impl Future<Output = Result<Response<Self::Response>, Status>> + Send;
}

macro_rules! region_requests {
    ($($request:ident $response:ident $method:ident $name:literal)+) => { $(
        impl RegionRequest for kvrpcpb::$request {
            type Response = kvrpcpb::$response;
            const NAME: &'static str = $name;

            fn set_context(&mut self, context: kvrpcpb::Context) {
                self.context = Some(context);
            }

            fn take_context(&mut self) -> kvrpcpb::Context {
                self.context.take().unwrap_or_default()
            }

            fn take_region_error(response: &mut Self::Response) -> Option<Box<errorpb::Error>> {
                response.region_error.take()
            }

            async fn call(
                mut client: TikvClient<Channel>,
                request: Request<Self>,
            ) -> Result<Response<Self::Response>, Status> {
                client.$method(request).await
            }
        }
    )+ };
}

region_requests! {
    GetRequest GetResponse kv_get "KvGet"
    BatchGetRequest BatchGetResponse kv_batch_get "KvBatchGet"
    ScanRequest ScanResponse kv_scan "KvScan"
    PrewriteRequest PrewriteResponse kv_prewrite "KvPrewrite"
    CommitRequest CommitResponse kv_commit "KvCommit"
    BatchRollbackRequest BatchRollbackResponse kv_batch_rollback "KvBatchRollback"
    PessimisticLockRequest PessimisticLockResponse kv_pessimistic_lock "KvPessimisticLock"
    PessimisticRollbackRequest PessimisticRollbackResponse kv_pessimistic_rollback "KVPessimisticRollback"
    TxnHeartBeatRequest TxnHeartBeatResponse kv_txn_heart_beat "KvTxnHeartBeat"
    CheckTxnStatusRequest CheckTxnStatusResponse kv_check_txn_status "KvCheckTxnStatus"
    CheckSecondaryLocksRequest CheckSecondaryLocksResponse kv_check_secondary_locks "KvCheckSecondaryLocks"
    ScanLockRequest ScanLockResponse kv_scan_lock "KvScanLock"
    ResolveLockRequest ResolveLockResponse kv_resolve_lock "KvResolveLock"
    SplitRegionRequest SplitRegionResponse split_region "SplitRegion"
    MvccGetByKeyRequest MvccGetByKeyResponse mvcc_get_by_key "MvccGetByKey"
}
