//! PostgreSQL, as Debian's `postgresql` installs it, by way of `psql`.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use async_trait::async_trait;
use rustix::process::Signal;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use super::{Built, DATABASE, Owner, Peer, START, STATEMENT, TABLE, find_user, make_dir, mysql, timed};
use crate::process::{self, Server};
use crate::workload::Index;
use crate::{data, machine};

/// As in the comparison that the project's targets were set by: memory for a parallel build, everything durable, and
/// no checkpoint forced by the log's size in the middle of a build.
const SETTINGS: [&str; 6] = [
    "shared_buffers=1GB",
    "maintenance_work_mem=1GB",
    "max_parallel_maintenance_workers=2",
    "fsync=on",
    "max_wal_size=16GB",
    "checkpoint_timeout=30min",
];
const INIT: Duration = Duration::from_secs(120);
pub(crate) const BLOCKING: &str = "postgres-blocking";
pub(crate) const CONCURRENTLY: &str = "postgres-concurrently";

pub(crate) struct Postgres {
    server: Server,
    port: u16,
    bin: PathBuf,
    locale: String,
    extra: Vec<String>,
}

/// The newest version's programs.
fn find_bin() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok();
    let mut bins: Vec<(u32, PathBuf)> = versions
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let version = entry.file_name().to_str()?.parse().ok()?;
            Some((version, entry.path().join("bin")))
        })
        .filter(|(_, bin)| bin.join("postgres").is_file())
        .collect();
    bins.sort();
    let packaged = bins.pop().map(|(_, bin)| bin);
    packaged.or_else(|| {
        let program = process::installed("postgres", &[])?;
        Some(program.parent()?.to_path_buf())
    })
}

impl Postgres {
    /// `None`: it is not installed.
    pub(crate) async fn start(
        base: &Path,
        locale: &str,
        extra: &[String],
    ) -> Result<Option<Postgres>, String> {
        let Some(bin) = find_bin() else {
            return Ok(None);
        };
        // It refuses to run as root.
        let owner = match rustix::process::geteuid().is_root() {
            true => {
                let passwd =
                    std::fs::read_to_string("/etc/passwd").map_err(|e| format!("/etc/passwd: {e}"))?;
                let owner = find_user(&passwd, "postgres");
                Some(owner.ok_or("PostgreSQL does not run as root, and there is no user 'postgres'")?)
            }
            false => None,
        };
        let dir = make_dir(base, "postgres", owner)?;
        let data_dir = dir.join("data");
        let mut command = program(&bin, "initdb", owner);
        command
            .args(["--username=postgres", "--auth=trust", "--encoding=UTF8"])
            .arg(format!("--locale={locale}"))
            .arg("--pgdata")
            .arg(&data_dir)
            .current_dir(&dir);
        process::run("initdb", command, INIT).await?;

        let port = process::free_port()?;
        let mut command = program(&bin, "postgres", owner);
        command
            .arg("-D")
            .arg(&data_dir)
            .args(["-p", &port.to_string(), "-h", "127.0.0.1"])
            .arg("-k")
            .arg(&dir)
            .current_dir(&dir);
        for setting in SETTINGS
            .iter()
            .map(ToString::to_string)
            .chain(extra.iter().cloned())
        {
            command.args(["-c", &setting]);
        }
        let log = dir.join("log");
        let server = Server::spawn("postgres", command, log)?;
        let mut peer = Postgres {
            server,
            port,
            bin,
            locale: locale.into(),
            extra: extra.to_vec(),
        };
        let ask = {
            let (bin, port) = (peer.bin.clone(), peer.port);
            move || {
                let mut command = psql(&bin, port, "postgres");
                command.args(["-c", "SELECT 1"]);
                async move { process::run("psql", command, START).await.is_ok() }
            }
        };
        peer.server.ready(START, ask).await?;
        let mut command = psql(&peer.bin, port, "postgres");
        command.args(["-c", &format!("CREATE DATABASE {DATABASE}")]);
        process::run("psql", command, START).await?;
        Ok(Some(peer))
    }

    /// Runs statements one after another; the seconds that the client saw for all of them.
    async fn run(&self, statements: &[String]) -> Result<f64, String> {
        let mut command = psql(&self.bin, self.port, DATABASE);
        command.args(["-c", "\\timing on"]);
        for statement in statements {
            command.args(["-c", statement]);
        }
        let said = process::run("psql", command, STATEMENT).await?;
        let (count, seconds) = times(&said);
        if count != statements.len() {
            return Err(format!(
                "psql gave {count} times for {} statements:\n{said}",
                statements.len()
            ));
        }
        Ok(seconds)
    }

    async fn copy(&self, table: &str, rows: u64) -> Result<(), String> {
        let mut command = psql(&self.bin, self.port, DATABASE);
        command
            .args(["-c", &format!("COPY {table} (id, k, c, pad, u) FROM STDIN")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let mut child = command
            .spawn()
            .map_err(|e| format!("psql cannot be started: {e}"))?;
        let mut stdin = child.stdin.take().ok_or("psql has no input")?;
        let (sender, mut receiver) = tokio::sync::mpsc::channel(4);
        let maker = tokio::task::spawn_blocking(move || {
            data::pieces(1, rows, rows).all(|piece| sender.blocking_send(piece).is_ok())
        });
        while let Some(piece) = receiver.recv().await {
            if stdin.write_all(&piece).await.is_err() {
                // psql says why.
                break;
            }
        }
        drop((stdin, receiver));
        let output = child.wait_with_output().await.map_err(|e| e.to_string())?;
        process::finished("psql", &output)?;
        match maker.await {
            Ok(true) => Ok(()),
            _ => Err("psql did not take all rows".into()),
        }
    }
}

fn program(bin: &Path, name: &str, owner: Option<Owner>) -> Command {
    let mut command = Command::new(bin.join(name));
    if let Some(owner) = owner {
        command.uid(owner.user).gid(owner.group);
    }
    command
}

fn psql(bin: &Path, port: u16, database: &str) -> Command {
    let mut command = Command::new(bin.join("psql"));
    command
        .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-U", "postgres"])
        .args(["-h", "127.0.0.1", "-p", &port.to_string(), "-d", database])
        .env("PGCONNECT_TIMEOUT", "10");
    command
}

/// How many `Time: 12.345 ms` psql said, and their sum in seconds.
fn times(said: &str) -> (usize, f64) {
    let each = said.lines().filter_map(|line| {
        let rest = line.strip_prefix("Time: ")?;
        rest.split_whitespace().next()?.parse::<f64>().ok()
    });
    each.fold((0, 0.0), |(count, sum), ms| (count + 1, sum + ms / 1e3))
}

#[async_trait]
impl Peer for Postgres {
    fn name(&self) -> &'static str {
        "postgres"
    }

    fn version(&self) -> String {
        machine::version_of(&self.bin.join("postgres"), "--version")
    }

    fn settings(&self) -> Vec<String> {
        let mut all: Vec<String> = SETTINGS.iter().map(ToString::to_string).collect();
        all.push(format!("initdb --locale={}", self.locale));
        all.extend(self.extra.iter().cloned());
        all
    }

    fn variants(&self) -> Vec<String> {
        vec![BLOCKING.into(), CONCURRENTLY.into()]
    }

    fn pids(&self) -> Vec<u32> {
        self.server.pid().into_iter().collect()
    }

    fn mysql(&self) -> Option<mysql::Address> {
        None
    }

    async fn load(&mut self, rows: u64) -> Result<(), String> {
        self.run(&[data::create_table_postgres(TABLE)]).await?;
        self.copy(TABLE, rows).await?;
        // The first reader of rows marks them as committed, and writes them again: not the first index, please.
        self.run(&[format!("VACUUM ANALYZE {TABLE}"), "CHECKPOINT".into()])
            .await?;
        Ok(())
    }

    async fn bulk_load(&mut self, rows: u64) -> Result<f64, String> {
        self.run(&[data::create_table_postgres("loaded")]).await?;
        let (_, seconds) = timed("the bulk load", self.copy("loaded", rows)).await?;
        self.run(&["DROP TABLE loaded".into()]).await?;
        Ok(seconds)
    }

    async fn build(&mut self, variant: &str, index: Index) -> Result<Built, String> {
        let statements = index.create_postgres(TABLE, variant == CONCURRENTLY);
        Ok(Built {
            seconds: self.run(&statements).await?,
            ..Built::default()
        })
    }

    async fn drop_indexes(&mut self, index: Index) -> Result<(), String> {
        let mut statements = index.drop_postgres();
        statements.push("CHECKPOINT".into());
        self.run(&statements).await?;
        Ok(())
    }

    async fn stop(self: Box<Self>) -> Result<(), String> {
        // SIGINT: disconnect clients, write everything, end.
        self.server.stop(Signal::INT).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_statements_add_up() {
        let (count, seconds) = times("Time: 12.5 ms\nx\nTime: 61000.0 ms (01:01.000)\n");
        assert_eq!(count, 2);
        assert!((seconds - 61.0125).abs() < 1e-9);
        assert_eq!(times(""), (0, 0.0));
    }
}
