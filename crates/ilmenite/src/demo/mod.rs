//! `ilmenite demo`: the main job on a real workload, from nothing, in one command.
//!
//! Makes TPC-H lineitem, runs an application against it over the MySQL protocol, adds indexes to it meanwhile, and
//! then shows the jobs, the check, and one query before and after.

mod data;
mod load;
mod report;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::Args;
use ilmenite_sort::ObjectStorage;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Opts, OptsBuilder};
use tokio_util::sync::CancellationToken;

use crate::config::ServerArgs;
use crate::logging::{self, LogFormat};
use crate::serve::Node;

const WRITERS: u32 = 6;
const READERS: u32 = 2;
/// What the application does before the first index is added, to compare with.
const WARM_UP: Duration = Duration::from_secs(3);
const QUERY: &str = "SELECT COUNT(*), SUM(l_extendedprice) FROM lineitem WHERE l_partkey BETWEEN 700 AND 702";

const INDEXES: [&str; 3] = [
    "ALTER TABLE lineitem ADD INDEX i_shipdate (l_shipdate), ADD INDEX i_part_supp (l_partkey, l_suppkey)",
    "ALTER TABLE lineitem ADD UNIQUE INDEX u_line_order (l_linenumber, l_orderkey)",
    "ALTER TABLE lineitem ADD INDEX i_comment (l_comment(12))",
];

/// Exit code 0 means: every index was built, checked equal to its table, no acknowledged write lost, no object left.
#[derive(Debug, Clone, Args)]
pub(crate) struct DemoArgs {
    /// Rows of lineitem, about
    #[arg(long, default_value_t = 3_000_000, value_parser = clap::value_parser!(u64).range(1000..=100_000_000))]
    rows: u64,

    /// Where to put data and objects [default: a temporary directory, removed afterwards]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,

    /// Sort through this object store, e.g. s3://bucket/prefix?endpoint=…&access-key=…&secret-access-key=…
    /// [default: a directory, by file://]
    #[arg(long, value_name = "URI")]
    cloud_storage_uri: Option<String>,

    /// What to log on stderr while the demo runs
    #[arg(long, default_value = "error", value_name = "LEVEL")]
    log_level: String,
}

pub(crate) async fn run(args: DemoArgs) -> Result<(), String> {
    logging::init(&args.log_level, LogFormat::Text)?;
    let temporary = match &args.dir {
        Some(_) => None,
        None => Some(tempfile::tempdir().map_err(|e| format!("no temporary directory: {e}"))?),
    };
    let dir = match (&args.dir, &temporary) {
        (Some(dir), _) => dir.clone(),
        (None, Some(temporary)) => temporary.path().to_path_buf(),
        (None, None) => PathBuf::from("."),
    };
    let objects = dir.join("objects");
    std::fs::create_dir_all(&objects).map_err(|e| format!("{}: {e}", objects.display()))?;
    let objects = objects
        .canonicalize()
        .map_err(|e| format!("{}: {e}", objects.display()))?;
    let uri = args
        .cloud_storage_uri
        .clone()
        .unwrap_or_else(|| format!("file://{}", objects.display()));

    let server = ServerArgs {
        store: Some(dir.join("data").display().to_string()),
        port: Some(0),
        status_port: Some(0),
        ..Default::default()
    };
    let node = Node::start(&server).await?;
    let result = Demo::new(&node, args.rows).run(&uri).await;
    node.stop().await;
    result
}

struct Demo<'a> {
    node: &'a Node,
    opts: Opts,
    rows: u64,
}

impl<'a> Demo<'a> {
    fn new(node: &'a Node, rows: u64) -> Self {
        let opts = OptsBuilder::default()
            .ip_or_hostname("127.0.0.1")
            .tcp_port(node.server.address().port())
            .user(Some("root"))
            .db_name(Some("test"))
            .prefer_socket(Some(false));
        Demo {
            node,
            opts: opts.into(),
            rows,
        }
    }

    async fn connect(&self) -> Result<Conn, String> {
        Conn::new(self.opts.clone()).await.map_err(|e| e.to_string())
    }

    async fn run(&self, uri: &str) -> Result<(), String> {
        println!("Ilmenite {} is listening:", env!("CARGO_PKG_VERSION"));
        println!(
            "  mysql -h 127.0.0.1 -P {} -u root test",
            self.node.server.address().port()
        );
        println!("  http://{}/status\n", self.node.server.status_address());

        let mut conn = self.connect().await?;
        let set = format!(
            "SET GLOBAL tidb_cloud_storage_uri = '{}'",
            uri.replace('\'', "''")
        );
        execute(&mut conn, &set).await?;
        execute(&mut conn, data::CREATE_TABLE).await?;
        self.load().await?;

        let before = report::measure_query(&mut conn, QUERY).await?;
        let orders: Option<i64> = conn
            .query_first("SELECT MAX(l_orderkey) FROM lineitem")
            .await
            .map_err(text)?;
        let load = load::Load::start(&self.opts, WRITERS, READERS, orders.unwrap_or(1)).await?;
        println!("{WRITERS} writers and {READERS} readers are at work on it.\n");
        let warm_up = Instant::now();
        tokio::time::sleep(WARM_UP).await;
        let started = Instant::now();
        for ddl in INDEXES {
            println!("{ddl}");
            self.alter(ddl, &load).await?;
        }
        let ended = Instant::now();
        let (quiet, busy) = (load.latencies(warm_up, started), load.latencies(started, ended));
        let tallies = load.stop().await?;

        report::print_load(&quiet, started - warm_up, &busy, ended - started, &tallies);
        report::print_result(&mut conn, "ADMIN SHOW DDL JOBS 3").await?;
        let check = Instant::now();
        execute(&mut conn, "ADMIN CHECK TABLE lineitem").await?;
        println!(
            "ADMIN CHECK TABLE lineitem: every index equals the table ({:.1} s).",
            check.elapsed().as_secs_f64()
        );
        let (checked, lost) = load::lost_writes(&mut conn, &tallies).await?;
        println!("{checked} rows that clients had written read back as acknowledged, {lost} did not.");
        let storage = ObjectStorage::from_uri(uri).map_err(|e| e.to_string())?;
        let left = storage
            .list("", &CancellationToken::new())
            .await
            .map_err(|e| e.to_string())?
            .len();
        println!("{left} objects left on {}.\n", storage.redacted_uri());

        let after = report::measure_query(&mut conn, QUERY).await?;
        report::print_query(QUERY, &before, &after);
        match (lost, left) {
            (0, 0) => Ok(()),
            _ => Err("the demo found something lost or left behind".into()),
        }
    }

    async fn load(&self) -> Result<(), String> {
        let loaded = Arc::new(AtomicU64::new(0));
        let bar = report::bar(self.rows, "loading lineitem");
        let work = data::load(self.opts.clone(), self.rows, loaded.clone());
        let mut work = std::pin::pin!(work);
        let began = Instant::now();
        loop {
            tokio::select! {
                result = &mut work => {
                    result?;
                    break;
                }
                _ = tokio::time::sleep(Duration::from_millis(200)) => bar.at(loaded.load(Ordering::Relaxed), String::new()),
            }
        }
        let rows = loaded.load(Ordering::Relaxed);
        let seconds = began.elapsed().as_secs_f64();
        bar.end(format!(
            "{rows} rows of lineitem loaded in {seconds:.1} s ({:.0} rows/s)",
            rows as f64 / seconds
        ));
        Ok(())
    }

    /// Runs one ALTER and shows how it gets on.
    async fn alter(&self, ddl: &str, load: &load::Load) -> Result<(), String> {
        let mut conn = self.connect().await?;
        let began = Instant::now();
        let (mut statements, mut looked) = (load.statements(), began);
        let bar = report::bar(100, "");
        let mut work = std::pin::pin!(execute(&mut conn, ddl));
        loop {
            tokio::select! {
                result = &mut work => {
                    result?;
                    break;
                }
                _ = tokio::time::sleep(Duration::from_millis(200)) => {
                    let now = load.statements();
                    let rate = (now - statements) as f64 / looked.elapsed().as_secs_f64();
                    (statements, looked) = (now, Instant::now());
                    let jobs = self.node.engine.ddl.jobs(0).await.map_err(|e| e.to_string())?;
                    if let Some(job) = jobs.iter().find(|j| j.progress.is_some()) {
                        let (percent, line) = report::progress_line(job);
                        bar.at(percent as u64, format!("{line}  |  application {rate:.0} statements/s"));
                    }
                }
            }
        }
        bar.end(format!("  done in {:.2} s", began.elapsed().as_secs_f64()));
        Ok(())
    }
}

async fn execute(conn: &mut Conn, sql: &str) -> Result<(), String> {
    conn.query_drop(sql).await.map_err(|e| format!("{sql}: {e}"))
}

fn text(e: mysql_async::Error) -> String {
    e.to_string()
}
