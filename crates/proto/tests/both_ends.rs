//! Our clients against our server traits, over a real socket.

use std::pin::Pin;

use bytes::Bytes;
use ilmenite_proto::ilmenitepb::ilmenite_client::IlmeniteClient;
use ilmenite_proto::ilmenitepb::ilmenite_server::{Ilmenite, IlmeniteServer};
use ilmenite_proto::ilmenitepb::{
    ChaosRequest, ChaosResponse, Notice, PublishRequest, PublishResponse, WatchRequest, WatchResponse,
};
use ilmenite_proto::pdpb::pd_client::PdClient;
use ilmenite_proto::pdpb::{GetMembersRequest, TsoRequest};
use tokio::sync::broadcast;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_stream::{Stream, StreamExt};
use tonic::{Code, Request, Response, Status};

/// A server of the smallest kind that answers as ilmenitepb.proto says.
struct Board(broadcast::Sender<Notice>);

#[tonic::async_trait]
impl Ilmenite for Board {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<WatchResponse, Status>> + Send>>;

    async fn watch(&self, request: Request<WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let prefixes = request.into_inner().prefixes;
        let mut notices = self.0.subscribe();
        let (tx, rx) = tokio::sync::mpsc::channel(4);
        tokio::spawn(async move {
            let mut next = WatchResponse::default();
            while tx.send(Ok(next)).await.is_ok() {
                next = loop {
                    match notices.recv().await {
                        Ok(n) if prefixes.iter().any(|p| n.topic.starts_with(p)) => {
                            break WatchResponse {
                                notices: vec![n],
                                lost: false,
                            };
                        }
                        Ok(_) => {}
                        Err(_) => return,
                    }
                };
            }
        });
        let stream = tokio_stream::wrappers::ReceiverStream::new(rx);
        Ok(Response::new(Box::pin(stream)))
    }

    async fn publish(&self, request: Request<PublishRequest>) -> Result<Response<PublishResponse>, Status> {
        let mut watchers = 0;
        for notice in request.into_inner().notices {
            watchers = self.0.send(notice).unwrap_or(0) as u32;
        }
        Ok(Response::new(PublishResponse { watchers }))
    }

    async fn chaos(&self, _: Request<ChaosRequest>) -> Result<Response<ChaosResponse>, Status> {
        Err(Status::permission_denied("not started for testing"))
    }
}

async fn serve() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let address = listener.local_addr().expect("its address");
    let server = IlmeniteServer::new(Board(broadcast::channel(16).0));
    tokio::spawn(
        tonic::transport::Server::builder()
            .add_service(server)
            .serve_with_incoming(TcpListenerStream::new(listener)),
    );
    format!("http://{address}")
}

fn notice(topic: &'static str) -> Notice {
    Notice {
        topic: Bytes::from_static(topic.as_bytes()),
        payload: Bytes::from_static(b"payload"),
    }
}

#[tokio::test]
async fn a_watcher_is_told_of_its_topics() {
    let url = serve().await;
    let mut watcher = IlmeniteClient::connect(url.clone()).await.expect("connects");
    let mut publisher = IlmeniteClient::connect(url).await.expect("connects");
    let mut seen = watcher
        .watch(WatchRequest {
            node: Bytes::from_static(b"n1"),
            prefixes: vec![Bytes::from_static(b"ddl/")],
        })
        .await
        .expect("watches")
        .into_inner();
    let first = seen.next().await.expect("a message").expect("no error");
    assert_eq!(first, WatchResponse::default());

    let answer = publisher
        .publish(PublishRequest {
            node: Bytes::from_static(b"n2"),
            notices: vec![notice("other"), notice("ddl/jobs")],
        })
        .await
        .expect("publishes")
        .into_inner();
    assert_eq!(answer.watchers, 1);
    let second = seen.next().await.expect("a message").expect("no error");
    assert_eq!(second.notices, vec![notice("ddl/jobs")]);
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
