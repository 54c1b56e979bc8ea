//! How a node wakes others: a POST to their status ports.

use std::time::Duration;

use async_trait::async_trait;
use ilmenite_catalog::WakeTransport;

const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);
const IDLE: Duration = Duration::from_secs(60);

pub(crate) struct HttpWake {
    client: reqwest::Client,
}

impl HttpWake {
    pub(crate) fn new() -> Result<HttpWake, String> {
        // The client wants a provider of TLS even for plain HTTP; an error says that there is one already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder()
            // Nodes talk to each other directly, whatever the environment says about proxies.
            .no_proxy()
            .tcp_nodelay(true)
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(1)
            .build()
            .map_err(|e| e.to_string())?;
        Ok(HttpWake { client })
    }
}

#[async_trait]
impl WakeTransport for HttpWake {
    async fn wake(&self, status_address: &str, topics: u8) -> Result<(), String> {
        let answer = self
            .client
            .post(format!("http://{status_address}/wake/{topics}"))
            .send()
            .await;
        answer
            .and_then(reqwest::Response::error_for_status)
            .map(drop)
            .map_err(|e| e.to_string())
    }
}
