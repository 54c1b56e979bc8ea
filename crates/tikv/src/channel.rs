//! Connections.

use std::time::Duration;

use ilmenite_store::{Error, Result};
use tonic::transport::{Channel, Endpoint};

/// Largest message taken or sent. TiKV's own bound for a raft entry is 8 MiB; scans and batches are cut far below.
pub(crate) const MAX_MESSAGE_BYTES: usize = 128 << 20;
const STREAM_WINDOW_BYTES: u32 = 4 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Only while calls are under way: servers of this protocol cut off clients that ping idle connections.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection that is made when first used, and again after it broke. `address`: HOST:PORT, with or without `http://`.
pub(crate) fn connect_lazy(address: &str) -> Result<Channel> {
    if address.starts_with("https://") {
        return Err(Error::Invalid(format!(
            "{address} asks for TLS, which this engine does not speak"
        )));
    }
    let url = if address.starts_with("http://") {
        address.to_owned()
    } else {
        format!("http://{address}")
    };
    let endpoint = Endpoint::from_shared(url)
        .map_err(|e| Error::Unavailable(format!("{address:?} is no address to connect to: {e}")))?
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .tcp_keepalive(Some(KEEPALIVE_INTERVAL))
        .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .keep_alive_while_idle(false)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES);
    Ok(endpoint.connect_lazy())
}
