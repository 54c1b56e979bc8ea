//! What the end-to-end tests share: the real binary in a directory of its own, and clients.

// Each test file is a program of its own and uses its part of this.
#![allow(dead_code)]

pub(crate) mod cluster;
pub(crate) mod job;
pub(crate) mod load;
pub(crate) mod raw;
pub(crate) mod s3;
pub(crate) mod sysbench;

use std::fs::{File, OpenOptions};
use std::future::Future;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error, Opts, OptsBuilder, ServerError, Value};
use tempfile::TempDir;

/// A start that takes longer has failed. Generous: debug builds, after a crash, on a busy machine.
const START: Duration = Duration::from_secs(60);
/// The end of the server's log that is printed when a test fails.
const LOG_LINES: usize = 60;

pub(crate) fn binary() -> Command {
    Command::new(env!("CARGO_BIN_EXE_ilmenite"))
}

/// Runs a test to its end, or fails it: nothing here waits for ever.
pub(crate) async fn within<T>(seconds: u64, what: &str, work: impl Future<Output = T>) -> T {
    match tokio::time::timeout(Duration::from_secs(seconds), work).await {
        Ok(result) => result,
        Err(_) => panic!("{what} took over {seconds} s"),
    }
}

/// Tries until `done` says so.
pub(crate) async fn wait_until<F: Future<Output = bool>>(
    seconds: u64,
    what: &str,
    mut done: impl FnMut() -> F,
) {
    let deadline = Instant::now() + Duration::from_secs(seconds);
    while !done().await {
        assert!(Instant::now() < deadline, "waited {seconds} s in vain: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The seed of a test that draws lots: `ILMENITE_TEST_SEED`, or a new one. Printed, so that a failure can be repeated.
pub(crate) fn seed(test: &str) -> u64 {
    let seed = match std::env::var("ILMENITE_TEST_SEED") {
        Ok(text) => text.parse().expect("ILMENITE_TEST_SEED is a number"),
        Err(_) => u32::from_le_bytes(ilmenite_base::rng::bytes()).into(),
    };
    println!("{test}: repeat with ILMENITE_TEST_SEED={seed}");
    seed
}

/// A server process, its data, its objects and its log, all in one directory that goes with it.
pub(crate) struct Server {
    dir: TempDir,
    /// `--store`; none: a directory of its own.
    store: Option<String>,
    args: Vec<String>,
    child: Option<Child>,
    address: SocketAddr,
    status_address: SocketAddr,
}

impl Server {
    pub(crate) async fn start() -> Server {
        Server::with_args(&[]).await
    }

    /// Small memory budgets per slot: builds of a few megabytes go through object storage. No less, or merging many
    /// runs would have to pause for memory.
    pub(crate) async fn with_small_slots() -> Server {
        let server = Server::with_args(&["--slots", "4"]).await;
        let mut conn = server.connect().await;
        run(&mut conn, "SET GLOBAL ilmenite_ddl_memory_budget = 67108864").await;
        server
    }

    /// For builds over so many rows: all of them go through object storage.
    pub(crate) async fn for_rows(count: i64) -> Server {
        if count > 100_000 {
            Server::start().await
        } else {
            Server::with_small_slots().await
        }
    }

    pub(crate) async fn with_args(args: &[&str]) -> Server {
        Server::on(None, args).await
    }

    /// A node on a store that others share.
    pub(crate) async fn on(store: Option<String>, args: &[&str]) -> Server {
        let mut server = Server::stopped(store, args);
        server.restart().await;
        server
    }

    /// Not started yet, without data.
    pub(crate) fn stopped(store: Option<String>, args: &[&str]) -> Server {
        let dir = tempfile::tempdir().expect("a temporary directory");
        std::fs::create_dir(dir.path().join("objects")).expect("a directory for objects");
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let args = args.iter().map(ToString::to_string).collect();
        Server {
            dir,
            store,
            args,
            child: None,
            address: nowhere,
            status_address: nowhere,
        }
    }

    /// Starts the process again on the same directory. Panics with the log when it does not come up.
    pub(crate) async fn restart(&mut self) {
        assert!(self.child.is_none(), "it runs already");
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.log_path())
            .expect("a log file");
        let begin = log.metadata().expect("the log's length").len();
        let command = self
            .command()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn();
        self.child = Some(command.expect("the server's binary runs"));
        let deadline = Instant::now() + START;
        loop {
            let text = self.log_from(begin);
            if let Some((address, status_address)) = ready_addresses(&text) {
                (self.address, self.status_address) = (address, status_address);
                return;
            }
            let ended = self
                .child
                .as_mut()
                .and_then(|c| c.try_wait().expect("a child of ours"));
            if let Some(status) = ended {
                self.child = None;
                panic!("the server ended with {status}");
            }
            assert!(
                Instant::now() < deadline,
                "the server is not ready after {START:?}"
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// The command line that `restart` runs.
    pub(crate) fn command(&self) -> Command {
        let mut command = binary();
        command.arg("server").arg("--store");
        match &self.store {
            Some(url) => command.arg(url).arg("--temp-dir").arg(self.data_dir()),
            None => command.arg(self.data_dir()),
        };
        command
            .args(["--port", "0", "--status-port", "0"])
            .args(&self.args);
        command
    }

    /// kill -9.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("it can be killed");
            child.wait().expect("it has ended");
        }
    }

    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.as_ref().expect("a running server").id();
        let status = Command::new("kill")
            .arg(format!("-{name}"))
            .arg(pid.to_string())
            .status();
        assert!(status.expect("kill runs").success());
    }

    /// The most memory the process has had since it started.
    #[cfg(target_os = "linux")]
    pub(crate) fn peak_resident_bytes(&self) -> u64 {
        let pid = self.child.as_ref().expect("a running server").id();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the process's status");
        let line = status
            .lines()
            .find_map(|l| l.strip_prefix("VmHWM:"))
            .expect("a peak");
        line.trim()
            .trim_end_matches(" kB")
            .parse::<u64>()
            .expect("a number")
            << 10
    }

    /// Waits for the process to end by itself.
    pub(crate) async fn exit(&mut self, seconds: u64) -> ExitStatus {
        let deadline = Instant::now() + Duration::from_secs(seconds);
        loop {
            let child = self.child.as_mut().expect("a running server");
            if let Some(status) = child.try_wait().expect("a child of ours") {
                self.child = None;
                return status;
            }
            assert!(
                Instant::now() < deadline,
                "the server has not ended after {seconds} s"
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// SIGTERM, and the exit that must follow.
    pub(crate) async fn stop(&mut self) {
        self.signal("TERM");
        let status = self.exit(10).await;
        assert_eq!(status.code(), Some(0), "exit code after SIGTERM");
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn objects_dir(&self) -> PathBuf {
        self.dir.path().join("objects")
    }

    pub(crate) fn objects_uri(&self) -> String {
        format!("file://{}", self.objects_dir().display())
    }

    /// Objects there are, whatever they are called.
    pub(crate) fn objects(&self) -> Vec<PathBuf> {
        files_below(&self.objects_dir())
    }

    pub(crate) fn opts(&self) -> OptsBuilder {
        OptsBuilder::default()
            .ip_or_hostname(self.address.ip().to_string())
            .tcp_port(self.address.port())
            .user(Some("root"))
            .db_name(Some("test"))
            .prefer_socket(Some(false))
            .tcp_nodelay(true)
    }

    pub(crate) async fn connect(&self) -> Conn {
        self.connect_with(self.opts()).await
    }

    pub(crate) async fn connect_with(&self, opts: impl Into<Opts>) -> Conn {
        let conn = within(30, "connecting", Conn::new(opts.into())).await;
        conn.unwrap_or_else(|e| panic!("cannot connect: {e}"))
    }

    /// The body of a GET from the status port, which must succeed.
    pub(crate) async fn get(&self, path: &str) -> String {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let work = async {
            let mut socket = tokio::net::TcpStream::connect(self.status_address).await?;
            let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
            socket.write_all(request.as_bytes()).await?;
            let mut answer = String::new();
            socket.read_to_string(&mut answer).await?;
            Ok::<_, std::io::Error>(answer)
        };
        let answer = within(30, path, work).await.expect("the status port answers");
        assert!(answer.starts_with("HTTP/1.1 200"), "GET {path}: {answer}");
        answer.split_once("\r\n\r\n").expect("a body").1.to_string()
    }

    /// The sum of a metric over all its labels; 0 when it has not been touched.
    pub(crate) async fn metric(&self, name: &str) -> f64 {
        let text = self.get("/metrics").await;
        let of_metric = text.lines().filter(|l| {
            l.strip_prefix(name)
                .is_some_and(|rest| rest.starts_with(['{', ' ']))
        });
        of_metric
            .filter_map(|l| l.rsplit(' ').next()?.parse::<f64>().ok())
            .sum()
    }

    pub(crate) fn log(&self) -> String {
        self.log_from(0)
    }

    fn log_path(&self) -> PathBuf {
        self.dir.path().join("server.log")
    }

    fn log_from(&self, begin: u64) -> String {
        use std::io::{Read, Seek, SeekFrom};
        let mut text = Vec::new();
        let mut file = File::open(self.log_path()).expect("the log");
        file.seek(SeekFrom::Start(begin)).expect("a place in the log");
        file.read_to_end(&mut text).expect("the log");
        String::from_utf8_lossy(&text).into_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            let shown = &lines[lines.len().saturating_sub(LOG_LINES)..];
            eprintln!(
                "--- the server's log, last {} of {} lines",
                shown.len(),
                lines.len()
            );
            eprintln!("{}", shown.join("\n"));
        }
        self.kill();
    }
}

/// From the line that says the server is ready.
fn ready_addresses(log: &str) -> Option<(SocketAddr, SocketAddr)> {
    // Only whole lines: the last one may still be on its way.
    let mut lines = log.split_inclusive('\n').filter(|l| l.ends_with('\n'));
    let line = lines.rfind(|l| l.contains("server is ready for connections"))?;
    let field = |name: &str| {
        let rest = line.split_once(&format!("[{name}="))?.1;
        rest.split_once(']')?.0.trim_matches('"').parse().ok()
    };
    Some((field("address")?, field("status_address")?))
}

pub(crate) fn files_below(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut dirs = vec![dir.to_path_buf()];
    while let Some(dir) = dirs.pop() {
        // Directories may go while they are walked.
        let Ok(entries) = std::fs::read_dir(&dir) else {
            continue;
        };
        for path in entries.flatten().map(|e| e.path()) {
            if path.is_dir() {
                dirs.push(path);
            } else {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// A process that must end by itself: exit code, and what it wrote to stdout and stderr.
pub(crate) async fn output(mut command: Command, seconds: u64) -> (Option<i32>, String) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("output");
    let file = File::create(&path).expect("a file for the output");
    command
        .stdin(Stdio::null())
        .stdout(file.try_clone().expect("a second handle"))
        .stderr(file);
    let mut child = command.spawn().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let deadline = Instant::now() + Duration::from_secs(seconds);
    loop {
        let status = child.try_wait().expect("a child of ours");
        if status.is_none() && Instant::now() >= deadline {
            child.kill().expect("it can be killed");
            child.wait().expect("it has ended");
        }
        let text = || String::from_utf8_lossy(&std::fs::read(&path).expect("the output")).into_owned();
        match status {
            Some(status) => return (status.code(), text()),
            None if Instant::now() >= deadline => {
                panic!("{command:?} has not ended after {seconds} s:\n{}", text())
            }
            None => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

/// Where a program is, if it is installed.
pub(crate) fn installed(program: &str) -> Option<PathBuf> {
    let paths = std::env::var_os("PATH")?;
    std::env::split_paths(&paths)
        .map(|dir| dir.join(program))
        .find(|path| path.is_file())
}

// --- SQL ---------------------------------------------------------------------------------------------------------

/// Runs a statement that must succeed.
pub(crate) async fn run(conn: &mut Conn, sql: &str) {
    conn.query_drop(sql)
        .await
        .unwrap_or_else(|e| panic!("{}: {e}", shortened(sql)));
}

/// All rows of a query that must succeed, as text; NULL as `NULL`.
pub(crate) async fn rows(conn: &mut Conn, sql: &str) -> Vec<Vec<String>> {
    let rows: Vec<mysql_async::Row> = conn
        .query(sql)
        .await
        .unwrap_or_else(|e| panic!("{}: {e}", shortened(sql)));
    rows.into_iter()
        .map(|row| row.unwrap().iter().map(text).collect())
        .collect()
}

/// The names of a result's columns.
pub(crate) async fn columns(conn: &mut Conn, sql: &str) -> Vec<String> {
    let result = conn
        .query_iter(sql)
        .await
        .unwrap_or_else(|e| panic!("{}: {e}", shortened(sql)));
    let names = result
        .columns_ref()
        .iter()
        .map(|c| c.name_str().into_owned())
        .collect();
    result
        .drop_result()
        .await
        .unwrap_or_else(|e| panic!("{}: {e}", shortened(sql)));
    names
}

/// The one value of a query that gives one.
pub(crate) async fn value(conn: &mut Conn, sql: &str) -> String {
    let rows = rows(conn, sql).await;
    match &rows[..] {
        [row] if row.len() == 1 => row[0].clone(),
        other => panic!("{}: not one value: {other:?}", shortened(sql)),
    }
}

/// The error of a statement that must be refused by the server, on a connection that goes on.
pub(crate) async fn error(conn: &mut Conn, sql: &str) -> ServerError {
    match conn.query_drop(sql).await {
        Err(Error::Server(e)) => e,
        Err(e) => panic!("{}: broken off: {e}", shortened(sql)),
        Ok(()) => panic!("{}: went through", shortened(sql)),
    }
}

/// Code and text of the error.
pub(crate) async fn code(conn: &mut Conn, sql: &str) -> (u16, String) {
    let e = error(conn, sql).await;
    (e.code, e.message)
}

/// ADMIN CHECK TABLE: no error, and no row.
pub(crate) async fn admin_check(conn: &mut Conn, table: &str) {
    let found = rows(conn, &format!("ADMIN CHECK TABLE {table}")).await;
    assert!(found.is_empty(), "ADMIN CHECK TABLE {table}: {found:?}");
}

pub(crate) fn text(value: &Value) -> String {
    match value {
        Value::NULL => "NULL".into(),
        Value::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Value::Int(n) => n.to_string(),
        Value::UInt(n) => n.to_string(),
        Value::Float(f) => f.to_string(),
        Value::Double(f) => f.to_string(),
        other => other.as_sql(true).trim_matches('\'').to_string(),
    }
}

fn shortened(sql: &str) -> String {
    match sql.char_indices().nth(300) {
        Some((at, _)) => format!("{}…", &sql[..at]),
        None => sql.to_string(),
    }
}
