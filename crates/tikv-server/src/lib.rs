//! The embedded store behind PD's and TiKV's own protocol, on one port: for several SQL nodes without a TiKV.
//!
//! One process, not replicated. What TiKV and PD do that can be seen through the protocol, it does; what it declines
//! (asynchronous commit, coprocessors, raw keys) a client of theirs does without. It knows nothing of tables or SQL.

mod call;
mod cluster;
mod convert;
mod extra;
mod faults;
mod files;
mod ids;
mod import;
mod keys;
mod pd;
mod regions;
mod tikv;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use ilmenite_embedded::EmbeddedStore;
use ilmenite_proto::debugpb::debug_server::DebugServer;
use ilmenite_proto::ilmenitepb::ilmenite_server::IlmeniteServer;
use ilmenite_proto::import_sstpb::import_sst_server::ImportSstServer;
use ilmenite_proto::pdpb::pd_server::PdServer;
use ilmenite_proto::tikvpb::tikv_server::TikvServer;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tonic::transport::Server as Transport;
use tonic::transport::server::TcpIncoming;

use cluster::Cluster;
pub use cluster::ServerOptions;

/// Of one message, either way.
const MAX_MESSAGE_BYTES: usize = 512 << 20;
/// What may be on its way on one stream, and on one connection, before the receiver has read it.
const STREAM_WINDOW_BYTES: u32 = 16 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 64 << 20;
const FRAME_BYTES: u32 = 1 << 20;
/// How often transactions are looked for whose clients are gone, and how old they must be.
const ABANDONED_INTERVAL: Duration = Duration::from_secs(60);
const ABANDONED_AGE: Duration = Duration::from_secs(300);

#[derive(Debug, Error)]
pub enum ServeError {
    #[error(transparent)]
    Store(#[from] ilmenite_store::Error),
    #[error("cannot listen on {address}: {error}")]
    Listen { address: String, error: std::io::Error },
    #[error("{0}")]
    Failed(String),
}

/// A running server. Dropping it stops it at once; `stop` lets requests under way end.
pub struct Server {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Server {
    /// Serves the store, which was opened with `two_phase`, on `listen` (HOST:PORT; port 0: any free one). Where
    /// `options.address` has port 0, it gets the real one.
    pub fn start(
        store: Arc<EmbeddedStore>,
        listen: &str,
        mut options: ServerOptions,
    ) -> BoxFuture<'_, Result<Server, ServeError>> {
        Box::pin(async move {
            let failed = |error| ServeError::Listen {
                address: listen.to_owned(),
                error,
            };
            let listener = TcpListener::bind(listen).await.map_err(failed)?;
            let address = listener.local_addr().map_err(failed)?;
            if let Some(host) = options.address.strip_suffix(":0") {
                options.address = format!("{host}:{}", address.port());
            }
            let opened = tokio::task::spawn_blocking(move || Cluster::open(store, options)).await;
            let cluster = opened.map_err(|e| ServeError::Failed(e.to_string()))??;
            let cluster = Arc::new(cluster);
            tracing::info!(
                address = cluster.options.address,
                cluster_id = cluster.cluster_id,
                regions = cluster.regions.count(),
                "serving the store"
            );

            let (stop, stopped) = watch::channel(false);
            let tasks = vec![
                tokio::spawn(serve(cluster.clone(), listener, stopped.clone())),
                tokio::spawn(keep_up(cluster, stopped)),
            ];
            Ok(Server { address, stop, tasks })
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes no more connections, lets requests under way end for at most `limit`, then cuts off what is left.
    pub async fn stop(mut self, limit: Duration) {
        self.stop.send_replace(true);
        let deadline = tokio::time::Instant::now() + limit;
        for task in &mut self.tasks {
            // Streams that clients keep open, such as of timestamps, do not end by themselves.
            if tokio::time::timeout_at(deadline, &mut *task).await.is_err() {
                task.abort();
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        for task in &self.tasks {
            task.abort();
        }
    }
}

async fn until_stopped(mut stopped: watch::Receiver<bool>) {
    // An error means that the server is gone: the same.
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

async fn serve(cluster: Arc<Cluster>, listener: TcpListener, stopped: watch::Receiver<bool>) {
    macro_rules! sized {
        ($service:expr) => {
            $service
                .max_decoding_message_size(MAX_MESSAGE_BYTES)
                .max_encoding_message_size(MAX_MESSAGE_BYTES)
        };
    }
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let served = Transport::builder()
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_frame_size(FRAME_BYTES)
        .http2_keepalive_interval(Some(Duration::from_secs(10)))
        .http2_keepalive_timeout(Some(Duration::from_secs(20)))
        .add_service(sized!(PdServer::new(pd::PdService(cluster.clone()))))
        .add_service(sized!(TikvServer::new(call::TikvService(cluster.clone()))))
        .add_service(sized!(ImportSstServer::new(import::ImportService(
            cluster.clone()
        ))))
        .add_service(DebugServer::new(extra::DebugService(cluster.clone())))
        .add_service(IlmeniteServer::new(extra::IlmeniteService(cluster)))
        .serve_with_incoming_shutdown(incoming, until_stopped(stopped))
        .await;
    if let Err(e) = served {
        tracing::error!(error = %e, "the server has ended");
    }
}

/// What is to be done from time to time: splitting regions, ending transactions that were left.
async fn keep_up(cluster: Arc<Cluster>, stopped: watch::Receiver<bool>) {
    let mut split = tokio::time::interval(cluster.options.split_interval);
    let mut abandoned = tokio::time::interval(ABANDONED_INTERVAL);
    let ended = until_stopped(stopped);
    tokio::pin!(ended);
    loop {
        tokio::select! {
            () = &mut ended => return,
            _ = split.tick() => {
                let cluster = cluster.clone();
                match tokio::task::spawn_blocking(move || cluster.split_large()).await {
                    Ok(Ok(_)) => {}
                    Ok(Err(e)) => tracing::warn!(error = %e, "splitting regions failed"),
                    Err(e) => tracing::error!(error = %e, "splitting regions failed"),
                }
            }
            _ = abandoned.tick() => {
                cluster.files.expire();
                if let Err(e) = cluster.txns.end_abandoned(ABANDONED_AGE).await {
                    tracing::warn!(error = %e, "ending transactions that were left failed");
                }
            }
        }
    }
}
