//! `ilmenite store`: open the store, serve it, wait for a signal, stop.

use std::sync::Arc;
use std::time::Duration;

use ilmenite_codec::key::partition_prefix_len;
use ilmenite_embedded::{EmbeddedOptions, EmbeddedStore};
use ilmenite_store::Store;
use ilmenite_tikv_server::{Server, ServerOptions};
use tokio::signal::unix::{SignalKind, signal};

use crate::config::{StoreArgs, Switch};

/// What requests under way get after SIGTERM. Streams that clients keep open are cut off then.
const DRAIN: Duration = Duration::from_secs(2);
/// From SIGTERM to exit at most 10 s; nothing acknowledged is lost by what is cut off.
const CLOSE: Duration = Duration::from_secs(6);

pub(crate) async fn run(args: StoreArgs) -> Result<(), String> {
    let mut terminate = signal(SignalKind::terminate()).map_err(|e| e.to_string())?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(|e| e.to_string())?;
    let mut options = EmbeddedOptions {
        partition: partition_prefix_len,
        sync: args.sync != Some(Switch::Off),
        two_phase: true,
        ..Default::default()
    };
    if let Some(bytes) = args.cache_bytes {
        options.cache_bytes = bytes;
    }
    if !options.sync {
        tracing::warn!("--sync=off: commits acknowledged just before a crash of the machine may be lost");
    }
    let testing = args.testing == Some(true);
    let stores = args.pretend_stores.unwrap_or(1);
    if stores > 1 && !testing {
        return Err("--pretend-stores is for tests: it needs --testing".into());
    }
    let listen = args.listen.clone().unwrap_or_else(|| "127.0.0.1:2379".into());
    let advertise = args.advertise.clone().unwrap_or_else(|| listen.clone());
    if args.advertise.is_none() && (listen.starts_with("0.0.0.0:") || listen.starts_with("[::]:")) {
        return Err(format!(
            "--listen {listen} is no address that clients can connect to: give one with --advertise"
        ));
    }
    let dir = args.path.clone().unwrap_or_else(|| "./ilmenite-data".into());
    let store = tokio::task::spawn_blocking(move || EmbeddedStore::open(dir, options))
        .await
        .map_err(|e| e.to_string())?
        .map_err(|e| e.to_string())?;
    let store = Arc::new(store);
    let mut options = ServerOptions {
        address: advertise,
        testing,
        stores,
        ..Default::default()
    };
    if let Some(bytes) = args.region_bytes {
        options.region_bytes = bytes.max(1 << 16);
    }
    let server = Server::start(store.clone(), &listen, options)
        .await
        .map_err(|e| e.to_string())?;
    tracing::info!(address = %server.address(), "store is ready for connections");
    tokio::select! {
        _ = terminate.recv() => tracing::info!("SIGTERM: stopping"),
        _ = interrupt.recv() => tracing::info!("SIGINT: stopping"),
    }
    server.stop(DRAIN).await;
    match tokio::time::timeout(CLOSE, store.close()).await {
        Ok(Ok(())) => tracing::info!("stopped"),
        Ok(Err(e)) => return Err(format!("the store did not close cleanly: {e}")),
        Err(_) => tracing::warn!("closing took too long: the next start reads the journal"),
    }
    Ok(())
}
