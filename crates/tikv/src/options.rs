//! Settings of the engine, and the URL that names a cluster.

use std::time::Duration;

use ilmenite_store::{Error, Result};

#[derive(Debug, Clone)]
pub struct TikvOptions {
    /// How long `connect` tries to reach a PD.
    pub connect_timeout: Duration,
    /// Deadline of one call that reads or writes a few rows.
    pub call_timeout: Duration,
    /// How long one operation goes on retrying before it is `Unavailable`.
    pub retry_time: Duration,
    /// A lock outlives its node's last sign of life by this.
    pub lock_ttl: Duration,
    /// How often signs of life are given.
    pub heartbeat_interval: Duration,
    /// Requests to one store at the same time; those beyond wait here.
    pub requests_per_store: usize,
    /// Connections to one store.
    pub channels_per_store: usize,
    /// Regions that one operation asks at the same time.
    pub concurrency: usize,
    /// Keys and values of one transaction.
    pub max_transaction_bytes: usize,
    /// Memory for the locks of one transaction, and of all of this node's.
    pub max_transaction_lock_bytes: usize,
    pub max_lock_bytes: usize,
    /// A transaction older than this is given up: its locks run out, and it no longer holds back garbage collection.
    pub max_transaction_age: Duration,
    /// Does this node take its turn in moving the safe point? Off where something else does it.
    pub gc: bool,
    /// How long old versions stay readable.
    pub gc_life_time: Duration,
    /// How often this node renews what it holds and looks whether a round of garbage collection is due.
    pub gc_interval: Duration,
    /// Pairs of an ingest are collected up to so many bytes before they are sent; twice that much is held at most.
    pub ingest_job_bytes: usize,
    /// An ingest splits a region into which it has put more than this.
    pub ingest_region_bytes: usize,
}

impl Default for TikvOptions {
    fn default() -> Self {
        TikvOptions {
            connect_timeout: Duration::from_secs(10),
            call_timeout: Duration::from_secs(10),
            retry_time: Duration::from_secs(20),
            lock_ttl: Duration::from_secs(8),
            heartbeat_interval: Duration::from_millis(2500),
            requests_per_store: 256,
            channels_per_store: 2,
            concurrency: 16,
            max_transaction_bytes: 128 << 20,
            max_transaction_lock_bytes: 256 << 20,
            max_lock_bytes: 1 << 30,
            max_transaction_age: Duration::from_secs(3600),
            gc: true,
            gc_life_time: Duration::from_secs(600),
            gc_interval: Duration::from_secs(30),
            ingest_job_bytes: 32 << 20,
            ingest_region_bytes: 96 << 20,
        }
    }
}

const SCHEME: &str = "tikv://";

/// `tikv://HOST:PORT[,HOST:PORT…]`: the PDs' addresses.
pub(crate) fn parse_url(url: &str) -> Result<Vec<String>> {
    let bad = |why: String| Error::Invalid(format!("store URL {url:?}: {why}"));
    let Some(rest) = url.strip_prefix(SCHEME) else {
        return Err(bad(format!("it must begin with {SCHEME}")));
    };
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let mut endpoints = Vec::new();
    for part in rest.split(',') {
        let part = part.trim();
        let Some((host, port)) = part.rsplit_once(':') else {
            return Err(bad(format!("{part:?} has no port; expected HOST:PORT")));
        };
        if host.is_empty() || host.contains(['/', '@', '?', '#', ' ']) {
            return Err(bad(format!(
                "{part:?} has no usable host name; expected HOST:PORT"
            )));
        }
        if host.contains(':') && !(host.starts_with('[') && host.ends_with(']')) {
            return Err(bad(format!(
                "the IPv6 address in {part:?} must stand in brackets"
            )));
        }
        match port.parse::<u16>() {
            Ok(port) if port > 0 => {}
            _ => return Err(bad(format!("{port:?} is no port"))),
        }
        if !endpoints.iter().any(|e| e == part) {
            endpoints.push(part.to_owned());
        }
    }
    Ok(endpoints)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_name_endpoints() {
        assert_eq!(
            parse_url("tikv://a:1,b:2379,a:1").unwrap(),
            vec!["a:1".to_owned(), "b:2379".to_owned()]
        );
        assert_eq!(parse_url("tikv://[::1]:9/").unwrap(), vec!["[::1]:9".to_owned()]);
    }

    #[test]
    fn bad_urls_say_what_is_wrong() {
        for (url, part) in [
            ("pd://a:1", "begin with tikv://"),
            ("tikv://", "no port"),
            ("tikv://a", "no port"),
            ("tikv://a:1,,b:2", "no port"),
            ("tikv://:1", "no usable host"),
            ("tikv://u@h:1", "no usable host"),
            ("tikv://a:x", "is no port"),
            ("tikv://a:0", "is no port"),
            ("tikv://a:70000", "is no port"),
            ("tikv://::1:9", "brackets"),
        ] {
            let error = parse_url(url).unwrap_err().to_string();
            assert!(error.contains(part) && error.contains(url), "{url}: {error}");
        }
    }
}
