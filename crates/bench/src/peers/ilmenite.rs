//! Ilmenite itself: the binary that is given, with the embedded store or as a node over `ilmenite store`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use rustix::process::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;

use super::mysql::{self, Address};
use super::{Built, DATABASE, Peer, START, TABLE, make_dir, timed};
use crate::process::{self, Server};
use crate::workload::Index;
use crate::{data, machine};

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Engine {
    /// `ilmenite server --store DIR`
    Embedded,
    /// `ilmenite store`, and `ilmenite server --store tikv://…` over it
    Store,
}

#[derive(Debug, Clone)]
pub(crate) struct IlmeniteOptions {
    pub binary: PathBuf,
    pub engine: Engine,
    pub cache_bytes: u64,
    pub budget_bytes: u64,
    /// For builds through S3; without it they are left out.
    pub s3_uri: Option<String>,
}

pub(crate) struct Ilmenite {
    options: IlmeniteOptions,
    dir: PathBuf,
    running: Option<Running>,
}

struct Running {
    server: Server,
    store: Option<Server>,
    address: Address,
    status_port: u16,
}

const VERIFIES: [&str; 2] = ["sort", "full"];

impl Ilmenite {
    pub(crate) async fn start(base: &Path, options: IlmeniteOptions) -> Result<Ilmenite, String> {
        let dir = make_dir(base, "ilmenite", None)?;
        make_dir(&dir, "objects", None)?;
        let mut peer = Ilmenite {
            options,
            dir,
            running: None,
        };
        peer.restart().await?;
        peer.set("local_infile", "ON").await?;
        peer.set(
            "ilmenite_ddl_memory_budget",
            &peer.options.budget_bytes.to_string(),
        )
        .await?;
        peer.address()?
            .run(None, &format!("CREATE DATABASE {DATABASE}"))
            .await?;
        Ok(peer)
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.dir.join("data")
    }

    pub(crate) async fn restart(&mut self) -> Result<(), String> {
        self.halt().await?;
        let cache = format!("--cache-bytes={}", self.options.cache_bytes);
        let (port, status_port) = (process::free_port()?, process::free_port()?);
        let mut command = Command::new(&self.options.binary);
        command.arg("server").arg("--store");
        let store = match self.options.engine {
            Engine::Embedded => {
                command.arg(self.data_dir()).arg(cache);
                None
            }
            Engine::Store => {
                let (store, url) = self.start_store(cache).await?;
                command.arg(url).arg("--temp-dir").arg(self.dir.join("node"));
                Some(store)
            }
        };
        command
            .args([
                "--port",
                &port.to_string(),
                "--status-port",
                &status_port.to_string(),
            ])
            .args(["--log-level", "warn"]);
        let mut server = Server::spawn("ilmenite server", command, self.dir.join("log"))?;
        let address = Address { port };
        server.ready(START, || address.answers()).await?;
        self.running = Some(Running {
            server,
            store,
            address,
            status_port,
        });
        Ok(())
    }

    async fn start_store(&self, cache: String) -> Result<(Server, String), String> {
        let listen = format!("127.0.0.1:{}", process::free_port()?);
        let mut command = Command::new(&self.options.binary);
        command
            .arg("store")
            .arg("--path")
            .arg(self.data_dir())
            .args(["--listen", &listen, "--log-level", "warn"])
            .arg(cache);
        let mut store = Server::spawn("ilmenite store", command, self.dir.join("store-log"))?;
        let connects = || async { tokio::net::TcpStream::connect(&listen).await.is_ok() };
        store.ready(START, connects).await?;
        Ok((store, format!("tikv://{listen}")))
    }

    /// Ends the processes; the data stay.
    pub(crate) async fn halt(&mut self) -> Result<(), String> {
        let Some(running) = self.running.take() else {
            return Ok(());
        };
        running.server.stop(Signal::TERM).await?;
        match running.store {
            Some(store) => store.stop(Signal::TERM).await,
            None => Ok(()),
        }
    }

    fn running(&self) -> Result<&Running, String> {
        self.running
            .as_ref()
            .ok_or_else(|| "Ilmenite does not run".into())
    }

    fn address(&self) -> Result<Address, String> {
        Ok(self.running()?.address)
    }

    async fn set(&self, name: &str, value: &str) -> Result<(), String> {
        let quoted = match value.parse::<u64>() {
            Ok(_) => value.to_owned(),
            Err(_) => format!("'{value}'"),
        };
        self.address()?
            .run(None, &format!("SET GLOBAL {name} = {quoted}"))
            .await
    }

    /// Where builds of this variant sort.
    fn uri(&self, storage: &str) -> String {
        match storage {
            "file" => format!("file://{}", self.dir.join("objects").display()),
            "s3" => self.options.s3_uri.clone().unwrap_or_default(),
            _ => String::new(),
        }
    }

    /// Requests to object storage and their bytes since the server started.
    async fn objects(&self) -> Result<BTreeMap<String, u64>, String> {
        let port = self.running()?.status_port;
        let text = get(port, "/metrics")
            .await
            .map_err(|e| format!("/metrics: {e}"))?;
        Ok(object_metrics(&text))
    }
}

async fn get(port: u16, path: &str) -> std::io::Result<String> {
    let mut socket = tokio::net::TcpStream::connect(("127.0.0.1", port)).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await?;
    Ok(answer)
}

/// Of the metrics text: `get`, `put_part`, … with requests, and bytes by direction.
fn object_metrics(text: &str) -> BTreeMap<String, u64> {
    let sample = |line: &str| {
        let rest = ["requests", "bytes"]
            .iter()
            .find_map(|kind| line.strip_prefix(&format!("ilmenite_object_{kind}_total{{")))?;
        let (labels, value) = rest.split_once("} ")?;
        let label = labels.split('"').nth(1)?;
        let name = match line.starts_with("ilmenite_object_bytes") {
            true => format!("bytes_{label}"),
            false => label.to_owned(),
        };
        let value = value.trim().parse::<f64>().ok()? as u64;
        Some((name, value))
    };
    text.lines().filter_map(sample).collect()
}

#[async_trait]
impl Peer for Ilmenite {
    fn name(&self) -> &'static str {
        match self.options.engine {
            Engine::Embedded => "ilmenite",
            Engine::Store => "ilmenite-store",
        }
    }

    fn version(&self) -> String {
        machine::version_of(&self.options.binary, "--version")
    }

    fn settings(&self) -> Vec<String> {
        let engine = match self.options.engine {
            Engine::Embedded => "server --store DIR",
            Engine::Store => "store, server --store tikv://",
        };
        vec![
            engine.into(),
            "--sync=on".into(),
            format!("--cache-bytes={}", self.options.cache_bytes),
            format!("ilmenite_ddl_memory_budget={}", self.options.budget_bytes),
        ]
    }

    /// Storage and verification.
    fn variants(&self) -> Vec<String> {
        let mut storages = vec!["none", "file"];
        if self.options.s3_uri.is_some() {
            storages.push("s3");
        }
        let name = self.name();
        let all = storages
            .iter()
            .flat_map(|storage| VERIFIES.map(|verify| format!("{name}-{storage}-{verify}")));
        all.collect()
    }

    fn pids(&self) -> Vec<u32> {
        let running = self.running.iter();
        running
            .flat_map(|r| [r.server.pid(), r.store.as_ref().and_then(Server::pid)])
            .flatten()
            .collect()
    }

    fn mysql(&self) -> Option<Address> {
        self.running.as_ref().map(|r| r.address)
    }

    async fn load(&mut self, rows: u64) -> Result<(), String> {
        let mut conn = self.address()?.connect(Some(DATABASE)).await?;
        mysql::run(&mut conn, &data::create_table(TABLE)).await?;
        mysql::load(&mut conn, TABLE, rows).await
    }

    async fn bulk_load(&mut self, rows: u64) -> Result<f64, String> {
        mysql::bulk_load(self.address()?, rows).await
    }

    async fn build(&mut self, variant: &str, index: Index) -> Result<Built, String> {
        let mut words = variant.rsplit('-');
        let (Some(verify), Some(storage)) = (words.next(), words.next()) else {
            return Err(format!("there is no variant '{variant}'"));
        };
        self.set("tidb_cloud_storage_uri", &self.uri(storage)).await?;
        self.set("ilmenite_ddl_verify", verify).await?;
        let before = self.objects().await?;
        let pids = self.pids();
        pids.iter().copied().for_each(process::reset_peak);
        let sql = index.add_mysql(TABLE, "");
        let (_, seconds) = timed(&sql, self.address()?.run(Some(DATABASE), &sql)).await?;
        // With a store of its own the two peaks need not have been at the same time: at most their sum.
        let peak_bytes = pids.iter().copied().map(process::peak_bytes).sum();
        let mut objects = self.objects().await?;
        for (name, value) in &mut objects {
            *value = value.saturating_sub(before.get(name).copied().unwrap_or(0));
        }
        objects.retain(|_, value| *value > 0);
        Ok(Built {
            seconds,
            peak_bytes,
            objects,
        })
    }

    async fn drop_indexes(&mut self, index: Index) -> Result<(), String> {
        self.address()?
            .run(Some(DATABASE), &index.drop_mysql(TABLE))
            .await
    }

    async fn snapshot(&mut self, to: &Path) -> Result<bool, String> {
        if self.options.engine != Engine::Embedded {
            return Ok(false);
        }
        self.halt().await?;
        crate::limit::clone_store(&self.data_dir(), to)?;
        self.restart().await?;
        Ok(true)
    }

    async fn stop(mut self: Box<Self>) -> Result<(), String> {
        self.halt().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_of_objects_are_found() {
        let text = "# TYPE x counter\nilmenite_object_requests_total{op=\"put_part\"} 12\n\
                    ilmenite_object_bytes_total{direction=\"out\"} 3000\nilmenite_store_x 9\n";
        let found = object_metrics(text);
        let expected = [("bytes_out".to_string(), 3000), ("put_part".to_string(), 12)];
        assert_eq!(found, expected.into());
    }
}
