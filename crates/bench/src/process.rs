//! Server processes: started on free ports, watched, measured, and gone when dropped.

use std::fs::{File, OpenOptions};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;

/// What a server gets to end by itself.
const STOP: Duration = Duration::from_secs(60);
/// Lines of a log that are shown when its process fails.
const LOG_LINES: usize = 15;

/// A port nobody listens on just now.
pub(crate) fn free_port() -> Result<u16, String> {
    let listener = TcpListener::bind("127.0.0.1:0").map_err(|e| format!("no free port: {e}"))?;
    let address = listener.local_addr().map_err(|e| format!("no free port: {e}"))?;
    Ok(address.port())
}

/// The program, when it is in PATH or in one of `places`.
pub(crate) fn installed(name: &str, places: &[PathBuf]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let dirs = std::env::split_paths(&path).chain(places.iter().cloned());
    dirs.map(|dir| dir.join(name)).find(|file| file.is_file())
}

/// A child process in a group of its own, so that an interrupt at the terminal reaches only the harness, which then
/// ends its children itself.
pub(crate) struct Server {
    name: &'static str,
    child: Child,
    log: PathBuf,
}

impl Server {
    pub(crate) fn spawn(name: &'static str, mut command: Command, log: PathBuf) -> Result<Server, String> {
        let file = open_log(&log)?;
        let copy = file.try_clone().map_err(|e| format!("{}: {e}", log.display()))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(file)
            .stderr(copy)
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|e| format!("{name} cannot be started: {e}"))?;
        Ok(Server { name, child, log })
    }

    /// Waits until `is_ready` says so.
    pub(crate) async fn ready<F>(
        &mut self,
        patience: Duration,
        mut is_ready: impl FnMut() -> F,
    ) -> Result<(), String>
    where
        F: Future<Output = bool>,
    {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(status) = self.child.try_wait().map_err(|e| e.to_string())? {
                return Err(format!("{} ended with {status}:\n{}", self.name, self.log_end()));
            }
            let attempt = tokio::time::timeout(Duration::from_secs(5), is_ready());
            if attempt.await == Ok(true) {
                return Ok(());
            }
            if Instant::now() >= deadline {
                let seconds = patience.as_secs();
                return Err(format!(
                    "{} is not ready after {seconds} s:\n{}",
                    self.name,
                    self.log_end()
                ));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn log_end(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
    }

    pub(crate) fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// SIGTERM (or `signal`), and the end that must follow; SIGKILL if it does not.
    pub(crate) async fn stop(mut self, signal: rustix::process::Signal) -> Result<(), String> {
        if let Some(pid) = self
            .child
            .id()
            .and_then(|id| rustix::process::Pid::from_raw(id as i32))
        {
            // It may have ended by itself.
            let _ = rustix::process::kill_process(pid, signal);
        }
        match tokio::time::timeout(STOP, self.child.wait()).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(e)) => Err(format!("{}: {e}", self.name)),
            Err(_) => Err(format!("{} has not ended after {} s", self.name, STOP.as_secs())),
        }
    }
}

fn open_log(path: &Path) -> Result<File, String> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .map_err(|e| format!("{}: {e}", path.display()))
}

/// Runs a program to its end; its output when it succeeds.
pub(crate) async fn run(name: &str, mut command: Command, patience: Duration) -> Result<String, String> {
    command.stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(patience, command.output())
        .await
        .map_err(|_| format!("{name} has not ended after {} s", patience.as_secs()))?
        .map_err(|e| format!("{name} cannot be started: {e}"))?;
    finished(name, &output)
}

/// What a program printed, or the failure with what it said.
pub(crate) fn finished(name: &str, output: &std::process::Output) -> Result<String, String> {
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(said);
    }
    let error = String::from_utf8_lossy(&output.stderr);
    Err(format!("{name} ended with {}:\n{error}{said}", output.status))
}

/// Parent and processor ticks of a process, from its `stat`.
fn parse_stat(stat: &str) -> Option<(u32, u64)> {
    // The name, in parentheses, may contain anything.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let parent = fields.nth(1)?.parse().ok()?;
    let user: u64 = fields.nth(9)?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some((parent, user + system))
}

/// Processor ticks (hundredths of a second) of the processes and all below them so far.
fn ticks_of(roots: &[u32]) -> u64 {
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return 0;
    };
    let mut all: Vec<(u32, u32, u64)> = Vec::new();
    for entry in entries.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|n| n.parse::<u32>().ok()) else {
            continue;
        };
        let stat = std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        if let Some((parent, ticks)) = parse_stat(&stat) {
            all.push((pid, parent, ticks));
        }
    }
    let mut members: Vec<u32> = roots.to_vec();
    let mut at = 0;
    while at < members.len() {
        let parent = members[at];
        members.extend(all.iter().filter(|p| p.1 == parent).map(|p| p.0));
        at += 1;
    }
    all.iter().filter(|p| members.contains(&p.0)).map(|p| p.2).sum()
}

/// A server at rest takes less than this share of one core.
const REST: f64 = 0.05;
const LOOK: Duration = Duration::from_millis(500);

/// Writes out what the machine has in its caches, and waits until the servers are at rest: what they still do for the
/// work before must not be counted as part of the next. `false`: they did not come to rest in time.
pub(crate) async fn settle(roots: &[u32], patience: Duration) -> bool {
    // Blocks until the disks have it.
    let synced = tokio::task::spawn_blocking(rustix::fs::sync);
    let deadline = Instant::now() + patience;
    let _ = tokio::time::timeout(patience, synced).await;
    let (mut quiet, mut before) = (0, ticks_of(roots));
    while quiet < 2 {
        if Instant::now() >= deadline {
            return false;
        }
        tokio::time::sleep(LOOK).await;
        let now = ticks_of(roots);
        let used = now.saturating_sub(before) as f64 / 100.0 / LOOK.as_secs_f64();
        quiet = if used < REST { quiet + 1 } else { 0 };
        before = now;
    }
    true
}

/// Lets the peak of a process's resident memory begin anew.
pub(crate) fn reset_peak(pid: u32) {
    // Only a figure is lost when it may not be written.
    let _ = std::fs::write(format!("/proc/{pid}/clear_refs"), "5");
}

/// The most memory the process has had resident.
pub(crate) fn peak_bytes(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    parse_peak(&status)
}

fn parse_peak(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().ok()?;
    Some(kib << 10)
}

/// Ends when the user wants the program to end, and says so.
pub(crate) async fn interrupted() -> String {
    let (Ok(mut terminate), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return "signals cannot be waited for".into();
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    "interrupted".into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_tells_is_understood() {
        let stat = "42 (a) b (c) S 7 42 42 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 9";
        assert_eq!(parse_stat(stat), Some((7, 300)));
        assert_eq!(parse_stat("nonsense"), None);
        assert_eq!(parse_peak("VmPeak:\t9 kB\nVmHWM:\t  12 kB\n"), Some(12 << 10));
        let me = std::process::id();
        assert!(peak_bytes(me).is_some_and(|bytes| bytes > 1 << 20));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn work_of_a_process_counts_with_its_parents() {
        let mut command = Command::new("sh");
        command.args(["-c", "sh -c 'while :; do :; done' & wait"]);
        let dir = tempfile::tempdir().unwrap();
        let server = Server::spawn("sh", command, dir.path().join("log")).unwrap();
        let pid = server.pid().unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        while ticks_of(&[pid]) < 10 {
            assert!(Instant::now() < deadline, "no ticks of the grandchild");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        // Its whole group: the shell itself does not end its children.
        let group = rustix::process::Pid::from_raw(pid as i32).unwrap();
        rustix::process::kill_process_group(group, rustix::process::Signal::KILL).unwrap();
        server.stop(rustix::process::Signal::KILL).await.unwrap();
    }

    #[tokio::test]
    async fn a_server_that_ends_or_is_late_is_an_error_with_its_log() {
        let dir = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "echo no such luck; exit 3"]);
        let mut server = Server::spawn("sh", command, dir.path().join("a")).unwrap();
        let error = server.ready(Duration::from_secs(20), || async { false }).await;
        assert!(
            error.as_ref().is_err_and(|e| e.contains("no such luck")),
            "{error:?}"
        );
        let mut command = Command::new("sleep");
        command.arg("60");
        let mut server = Server::spawn("sleep", command, dir.path().join("b")).unwrap();
        let error = server.ready(Duration::from_millis(100), || async { false }).await;
        assert!(
            error.as_ref().is_err_and(|e| e.contains("not ready")),
            "{error:?}"
        );
    }
}
