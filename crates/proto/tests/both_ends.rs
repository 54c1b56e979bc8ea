//! Our clients against our server traits, over a real socket.

use ilmenite_proto::ilmenitepb::ilmenite_client::IlmeniteClient;
use ilmenite_proto::ilmenitepb::ilmenite_server::{Ilmenite, IlmeniteServer};
use ilmenite_proto::ilmenitepb::{ChaosRequest, ChaosResponse, ClearFaults, chaos_request::Action};
use ilmenite_proto::pdpb::pd_client::PdClient;
use ilmenite_proto::pdpb::{GetMembersRequest, TsoRequest};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Code, Request, Response, Status};

/// A server of the smallest kind: it clears faults, and is not for the rest.
struct Server;

#[tonic::async_trait]
impl Ilmenite for Server {
    async fn chaos(&self, request: Request<ChaosRequest>) -> Result<Response<ChaosResponse>, Status> {
        match request.into_inner().action {
            Some(Action::ClearFaults(clear)) => Ok(Response::new(ChaosResponse {
                struck: clear.fault_id + 1,
                ..Default::default()
            })),
            _ => Err(Status::permission_denied("not started for testing")),
        }
    }
}

async fn serve() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let address = listener.local_addr().expect("its address");
    tokio::spawn(
        tonic::transport::Server::builder()
            .add_service(IlmeniteServer::new(Server))
            .serve_with_incoming(TcpListenerStream::new(listener)),
    );
    format!("http://{address}")
}

#[tokio::test]
async fn an_answer_comes_back() {
    let mut ours = IlmeniteClient::connect(serve().await).await.expect("connects");
    let clear = Action::ClearFaults(ClearFaults { fault_id: 41 });
    let answer = ours.chaos(ChaosRequest { action: Some(clear) }).await;
    assert_eq!(answer.expect("answers").into_inner().struck, 42);
}

#[tokio::test]
async fn refusals_keep_their_codes() {
    let url = serve().await;
    let mut ours = IlmeniteClient::connect(url.clone()).await.expect("connects");
    let denied = ours.chaos(ChaosRequest::default()).await.expect_err("refused");
    assert_eq!(denied.code(), Code::PermissionDenied);

    // A service that is not there: what a node gets that asks a real TiKV for ours.
    let mut pd = PdClient::connect(url).await.expect("connects");
    let missing = pd
        .get_members(GetMembersRequest::default())
        .await
        .expect_err("not served");
    assert_eq!(missing.code(), Code::Unimplemented);
    let missing = pd
        .tso(tokio_stream::once(TsoRequest::default()))
        .await
        .expect_err("not served");
    assert_eq!(missing.code(), Code::Unimplemented);
}
