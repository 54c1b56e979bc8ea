//! MariaDB, as Debian's `mariadb-server` installs it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use rustix::process::Signal;
use tokio::process::Command;

use super::mysql::{self, Address};
use super::{Built, DATABASE, Peer, START, TABLE, make_dir, timed};
use crate::process::{self, Server};
use crate::workload::Index;
use crate::{data, machine};

/// A crash loses no transaction (`innodb_flush_log_at_trx_commit`), as with Ilmenite's `--sync=on`; there is no binary
/// log. Buffer pool and redo log as large as the other systems' caches.
const SETTINGS: [&str; 5] = [
    "innodb_buffer_pool_size=1G",
    "innodb_flush_log_at_trx_commit=1",
    "innodb_log_file_size=512M",
    "local_infile=ON",
    "max_connections=200",
];
const INIT: Duration = Duration::from_secs(120);
const ONLINE: &str = ", ALGORITHM=INPLACE, LOCK=NONE";

pub(crate) struct MariaDb {
    server: Server,
    address: Address,
    program: PathBuf,
    extra: Vec<String>,
}

fn places() -> [PathBuf; 2] {
    ["/usr/sbin".into(), "/usr/bin".into()]
}

impl MariaDb {
    /// `None`: it is not installed. `extra`: settings besides ours.
    pub(crate) async fn start(base: &Path, extra: &[String]) -> Result<Option<MariaDb>, String> {
        let (Some(program), Some(init)) = (
            process::installed("mariadbd", &places()),
            process::installed("mariadb-install-db", &places()),
        ) else {
            return Ok(None);
        };
        let dir = make_dir(base, "mariadb", None)?;
        // The server refuses to run as root unless told so; the directory is ours alone.
        let root = rustix::process::geteuid().is_root();
        let user: &[&str] = if root { &["--user=root"] } else { &[] };
        let data_dir = format!("--datadir={}", dir.join("data").display());
        let mut command = Command::new(init);
        command.arg("--no-defaults").args(user).args([
            &data_dir,
            "--auth-root-authentication-method=normal",
            "--skip-test-db",
        ]);
        process::run("mariadb-install-db", command, INIT).await?;

        let address = Address {
            port: process::free_port()?,
        };
        let mut command = Command::new(&program);
        command
            .arg("--no-defaults")
            .args(user)
            .args([&data_dir, "--bind-address=127.0.0.1"])
            .arg(format!("--port={}", address.port))
            .arg(format!("--socket={}", dir.join("socket").display()))
            .args(
                SETTINGS
                    .iter()
                    .map(ToString::to_string)
                    .chain(extra.iter().cloned())
                    .map(|s| format!("--{s}")),
            );
        let mut server = Server::spawn("mariadbd", command, dir.join("log"))?;
        server.ready(START, || address.answers()).await?;
        address.run(None, &format!("CREATE DATABASE {DATABASE}")).await?;
        Ok(Some(MariaDb {
            server,
            address,
            program,
            extra: extra.to_vec(),
        }))
    }

    async fn run(&self, sql: &str) -> Result<(), String> {
        self.address.run(Some(DATABASE), sql).await
    }
}

#[async_trait]
impl Peer for MariaDb {
    fn name(&self) -> &'static str {
        "mariadb"
    }

    fn version(&self) -> String {
        machine::version_of(&self.program, "--version")
    }

    fn settings(&self) -> Vec<String> {
        let fixed = SETTINGS.iter().map(ToString::to_string);
        fixed.chain(self.extra.iter().cloned()).collect()
    }

    fn variants(&self) -> Vec<String> {
        vec!["mariadb".into()]
    }

    fn pids(&self) -> Vec<u32> {
        self.server.pid().into_iter().collect()
    }

    fn mysql(&self) -> Option<Address> {
        Some(self.address)
    }

    async fn load(&mut self, rows: u64) -> Result<(), String> {
        self.run(&data::create_table(TABLE)).await?;
        let mut conn = self.address.connect(Some(DATABASE)).await?;
        mysql::load(&mut conn, TABLE, rows).await
    }

    async fn bulk_load(&mut self, rows: u64) -> Result<f64, String> {
        mysql::bulk_load(self.address, rows).await
    }

    async fn build(&mut self, _: &str, index: Index) -> Result<Built, String> {
        for pid in self.pids() {
            process::reset_peak(pid);
        }
        let sql = index.add_mysql(TABLE, ONLINE);
        let (_, seconds) = timed(&sql, self.run(&sql)).await?;
        Ok(Built {
            seconds,
            peak_bytes: self.server.pid().and_then(process::peak_bytes),
            ..Built::default()
        })
    }

    async fn drop_indexes(&mut self, index: Index) -> Result<(), String> {
        self.run(&index.drop_mysql(TABLE)).await
    }

    async fn stop(self: Box<Self>) -> Result<(), String> {
        self.server.stop(Signal::TERM).await
    }
}
