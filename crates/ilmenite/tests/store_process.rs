//! `ilmenite store` as a process: it says that it is ready, ends on SIGTERM, and finds its data again.

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::{Duration, Instant};

fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ilmenite"));
    command.arg("store").stdin(Stdio::null()).stdout(Stdio::null());
    command
}

/// Starts it and waits for the line that says it is ready.
fn start(dir: &Path) -> (Child, BufReader<ChildStderr>, SocketAddr) {
    let mut child = command()
        .args([
            "--listen",
            "127.0.0.1:0",
            "--testing",
            "--pretend-stores",
            "3",
            "--path",
        ])
        .arg(dir)
        .stderr(Stdio::piped())
        .spawn()
        .expect("starts");
    let mut log = BufReader::new(child.stderr.take().expect("its log"));
    let mut line = String::new();
    loop {
        line.clear();
        let read = log.read_line(&mut line).expect("a line");
        assert!(read > 0, "it ended before it was ready");
        if line.contains("store is ready for connections") {
            break;
        }
    }
    let address = line
        .split("[address=")
        .nth(1)
        .and_then(|rest| rest.split(']').next());
    let address = address.and_then(|a| a.parse().ok());
    (
        child,
        log,
        address.unwrap_or_else(|| panic!("no address in {line}")),
    )
}

fn terminate(child: &mut Child) -> Option<i32> {
    let pid = libc::pid_t::try_from(child.id()).expect("a pid");
    let sent = Command::new("kill")
        .arg(pid.to_string())
        .status()
        .expect("kill runs");
    assert!(sent.success());
    let began = Instant::now();
    loop {
        if let Some(status) = child.try_wait().expect("waits") {
            return status.code();
        }
        if began.elapsed() > Duration::from_secs(10) {
            // Best effort: the test fails anyway.
            let _ = child.kill();
            panic!("not ended 10 s after SIGTERM");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn is_ready_and_ends_when_told_to_though_clients_stay() {
    let temp = tempfile::tempdir().expect("a directory");
    let dir = temp.path().join("data");
    for _ in 0..2 {
        let (mut child, _log, address) = start(&dir);
        let _stays = TcpStream::connect(address).expect("connects");
        let second = command()
            .args(["--listen", "127.0.0.1:0", "--path"])
            .arg(&dir)
            .output();
        let second = second.expect("runs");
        assert_eq!(second.status.code(), Some(1));
        assert!(String::from_utf8_lossy(&second.stderr).contains("in use by another process"));
        assert_eq!(terminate(&mut child), Some(0));
    }
}

#[test]
fn bad_usage_is_told_apart_from_failure() {
    let bad = command().args(["--pretend-stores", "9"]).output().expect("runs");
    assert_eq!(bad.status.code(), Some(2));
    let temp = tempfile::tempdir().expect("a directory");
    let untested = command()
        .args(["--pretend-stores", "2", "--listen", "127.0.0.1:0", "--path"])
        .arg(temp.path().join("data"))
        .output()
        .expect("runs");
    assert_eq!(untested.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&untested.stderr).contains("--testing"));
}
