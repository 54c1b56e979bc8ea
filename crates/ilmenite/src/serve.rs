//! `ilmenite server`: open the store, start the engine and the server, wait for a signal, stop.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ilmenite_codec::key::partition_prefix_len;
use ilmenite_embedded::{EmbeddedOptions, EmbeddedStore};
use ilmenite_server::{Server, ServerConfig};
use ilmenite_session::{Engine, EngineConfig};
use ilmenite_store::StoreRef;
use ilmenite_tikv::{TikvOptions, TikvStore};
use tokio::runtime::{Handle, Runtime};
use tokio::signal::unix::{SignalKind, signal};

use crate::config::{ServerArgs, Switch};

/// What running statements get after SIGTERM.
const DRAIN: Duration = Duration::from_secs(4);
/// From SIGTERM to exit at most 10 s. What is cut off then is what a crash would cut off: nothing acknowledged is lost,
/// and jobs go on at the next start.
const STOP: Duration = Duration::from_secs(9);

pub(crate) async fn run(args: ServerArgs) -> Result<(), String> {
    let mut terminate = signal(SignalKind::terminate()).map_err(|e| e.to_string())?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(|e| e.to_string())?;
    let node = Node::start(&args).await?;
    tokio::select! {
        _ = terminate.recv() => tracing::info!("SIGTERM: stopping"),
        _ = interrupt.recv() => tracing::info!("SIGINT: stopping"),
    }
    if tokio::time::timeout(STOP, node.stop()).await.is_err() {
        tracing::warn!("stopping took too long: what still runs is cut off and goes on after the next start");
    }
    Ok(())
}

/// Store, engine and server of one process.
pub(crate) struct Node {
    pub engine: Arc<Engine>,
    pub server: Server,
    store: StoreRef,
    _statements: Statements,
}

/// The threads that statements run on. The runtime that everything else runs on is the caller's.
struct Statements(Option<Runtime>);

/// Nested expressions are walked by recursion. Of what is not used, nothing is taken.
const STATEMENT_STACK_BYTES: usize = 8 << 20;

impl Statements {
    fn start() -> std::io::Result<(Statements, Handle)> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .thread_name("statement")
            .thread_stack_size(STATEMENT_STACK_BYTES)
            .build()?;
        let handle = runtime.handle().clone();
        Ok((Statements(Some(runtime)), handle))
    }
}

impl Drop for Statements {
    fn drop(&mut self) {
        // What still runs there is cut off; nothing waits for it.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl Node {
    pub(crate) async fn start(args: &ServerArgs) -> Result<Node, String> {
        let url = args.store();
        let (store, data_dir) = match url.split_once("://") {
            Some(("tikv", _)) => connect(url, args).await?,
            Some((scheme, _)) => {
                return Err(format!(
                    "store {url}: there is no '{scheme}' store; give a directory, or tikv://HOST:PORT"
                ));
            }
            None => open(url.into(), args).await?,
        };
        let host = args.host.clone().unwrap_or_else(|| "127.0.0.1".into());
        let port = args.port();
        let mut config = EngineConfig::new(store.clone(), data_dir);
        config.address = format!("{host}:{port}");
        config.service_scope = args.service_scope.clone().unwrap_or_default();
        if let Some(slots) = args.slots {
            config.slots = slots;
        }
        let engine = Engine::open(config).await.map_err(|e| e.to_string())?;
        let (_statements, statements) = Statements::start().map_err(|e| e.to_string())?;
        let config = ServerConfig {
            host,
            statements,
            advertise_address: args.advertise_address.clone(),
            port,
            status_port: args.status_port.unwrap_or(10080),
            tls_files: args.tls_cert.clone().zip(args.tls_key.clone()),
        };
        let server = Server::start(engine.clone(), config)
            .await
            .map_err(|e| e.to_string())?;
        Ok(Node {
            engine,
            server,
            store,
            _statements,
        })
    }

    pub(crate) async fn stop(self) {
        self.server.shutdown(DRAIN).await;
        self.engine.shutdown().await;
        if let Err(e) = self.store.close().await {
            tracing::error!(error = %e, "the store did not close cleanly");
        }
        tracing::info!("stopped");
    }
}

/// The embedded store, and the directory it shares with what the node keeps for a while.
async fn open(dir: PathBuf, args: &ServerArgs) -> Result<(StoreRef, PathBuf), String> {
    let mut options = EmbeddedOptions {
        partition: partition_prefix_len,
        sync: args.sync != Some(Switch::Off),
        ..Default::default()
    };
    if let Some(bytes) = args.cache_bytes {
        options.cache_bytes = bytes;
    }
    if !options.sync {
        tracing::warn!("--sync=off: commits acknowledged just before a crash of the machine may be lost");
    }
    let temp_dir = args.temp_dir.clone().unwrap_or_else(|| dir.clone());
    let store = tokio::task::spawn_blocking(move || EmbeddedStore::open(dir, options))
        .await
        .map_err(|e| e.to_string())?
        .map_err(|e| e.to_string())?;
    Ok((Arc::new(store), temp_dir))
}

/// A store that others share, and a directory of this node's own.
async fn connect(url: &str, args: &ServerArgs) -> Result<(StoreRef, PathBuf), String> {
    if args.sync.is_some() || args.cache_bytes.is_some() {
        return Err(format!(
            "--sync and --cache-bytes are matters of the store itself, not of a node on {url}"
        ));
    }
    let temp_dir = args.temp_dir.clone().unwrap_or_else(|| {
        // The same after a restart, and no other node's.
        let name = match args.port() {
            0 => format!("ilmenite-process-{}", std::process::id()),
            port => format!("ilmenite-{port}"),
        };
        std::env::temp_dir().join(name)
    });
    std::fs::create_dir_all(&temp_dir).map_err(|e| format!("--temp-dir {}: {e}", temp_dir.display()))?;
    let store = TikvStore::connect(url, TikvOptions::default())
        .await
        .map_err(|e| e.to_string())?;
    Ok((Arc::new(store), temp_dir))
}
