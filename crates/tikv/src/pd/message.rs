//! The headers of PD's messages.

use ilmenite_proto::pdpb::{self, RequestHeader, ResponseHeader};

pub(crate) trait PdRequest: Clone + Send {
    fn set_header(&mut self, header: RequestHeader);
}

pub(crate) trait PdResponse {
    fn header(&self) -> Option<&ResponseHeader>;
}

macro_rules! requests {
    ($($name:ident)+) => { $(
        impl PdRequest for pdpb::$name {
            fn set_header(&mut self, header: RequestHeader) {
                self.header = Some(header);
            }
        }
    )+ };
}

macro_rules! responses {
    ($($name:ident)+) => { $(
        impl PdResponse for pdpb::$name {
            fn header(&self) -> Option<&ResponseHeader> {
                self.header.as_ref()
            }
        }
    )+ };
}

requests! {
    GetRegionRequest ScanRegionsRequest GetStoreRequest GetAllStoresRequest ScatterRegionRequest
    GetGcSafePointRequest UpdateGcSafePointRequest UpdateServiceGcSafePointRequest
}
responses! {
    GetRegionResponse ScanRegionsResponse GetStoreResponse GetAllStoresResponse ScatterRegionResponse
    GetGcSafePointResponse UpdateGcSafePointResponse UpdateServiceGcSafePointResponse
}
