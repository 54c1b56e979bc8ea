//! Programs that speak the protocol, where they are installed: the command-line client and sysbench.

mod support;

use std::process::Command;

use support::sysbench::{Sysbench, figure};
use support::{Server, admin_check, installed, job, output, rows, run, within};

/// The command-line client; `None`, and a note, when there is none.
fn client(server: &Server, test: &str) -> Option<Command> {
    let Some(program) = installed("mariadb").or_else(|| installed("mysql")) else {
        println!("{test}: SKIPPED, neither 'mariadb' nor 'mysql' is installed");
        return None;
    };
    let mut command = Command::new(program);
    let port = server.address().port().to_string();
    // Nobody's settings.
    command.args(["--no-defaults", "-h", "127.0.0.1", "-P", &port, "-u", "root"]);
    Some(command)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_client() {
    within(120, "the test", async {
        let server = Server::start().await;
        let Some(mut command) = client(&server, "the_command_line_client") else { return };
        command.args(["-e", "CREATE TABLE c (a INT PRIMARY KEY, b VARCHAR(9)); INSERT INTO c VALUES (1,'x'),(2,NULL); SELECT * FROM c", "test"]);
        assert_eq!(output(command, 30).await, (Some(0), "a\tb\n1\tx\n2\tNULL\n".into()));
        let ask = |args: &'static [&'static str]| {
            let mut command = client(&server, "").expect("as before");
            command.args(args);
            output(command, 30)
        };
        let (status, said) = ask(&["--table", "test", "-e", "DESC c; SHOW CREATE TABLE c; SHOW TABLES; ADMIN SHOW DDL JOBS 1"]).await;
        assert_eq!(status, Some(0), "{said}");
        for expected in ["| a     | int", "CREATE TABLE `c`", "| Tables_in_test |", "| create table |"] {
            assert!(said.contains(expected), "no '{expected}' in\n{said}");
        }
        // As when used interactively: names are read ahead, and \s asks for everything.
        let (status, said) = ask(&["--auto-rehash", "test", "-e", "\\s"]).await;
        assert_eq!(status, Some(0), "{said}");
        assert!(said.contains("-Ilmenite-") && said.contains("root@"), "{said}");
        let (status, said) = ask(&["test", "-e", "SELECT nothing FROM c"]).await;
        assert_eq!(status, Some(1));
        assert!(said.contains("ERROR 1054 (42S22) at line 1: Unknown column 'nothing' in 'field list'"), "{said}");
        let (status, said) = ask(&["test", "-N", "-e", "SELECT $$"]).await;
        assert!(status == Some(1) && said.contains("ERROR 1064 (42000)"), "{said}");
        let (status, said) = ask(&["--ssl", "test", "-e", "\\s"]).await;
        assert!(status == Some(0) && said.contains("Cipher in use is TLS_"), "{said}");

        // The starting case, through it.
        run(&mut server.connect().await, &format!("SET GLOBAL tidb_cloud_storage_uri = '{}'", server.objects_uri())).await;
        let many = "ALTER TABLE c ADD INDEX i (b); ALTER TABLE c DROP INDEX i;".repeat(20);
        let mut command = client(&server, "").expect("as before");
        command.args(["test", "-e", &format!("DELETE FROM c; {many}")]);
        let (status, said) = output(command, 60).await;
        assert_eq!((status, said.as_str()), (Some(0), ""));
        let mut conn = server.connect().await;
        let jobs = job::jobs(&mut conn, 40).await;
        assert!(jobs.len() == 40 && jobs.iter().all(|j| j.state == "synced"), "{jobs:?}");
        assert_eq!(jobs.iter().filter(|j| j.job_type == "add index /* ingest cloud */").count(), 20);
    })
    .await;
}

/// Prepares, runs, cleans up; a run without a single error.
async fn sysbench_cycle(server: &Server, test: &'static str, threads: u32, seconds: u32) {
    let Some(sysbench) = Sysbench::new(test, threads, seconds) else {
        return;
    };
    sysbench.succeed(server.address(), "prepare").await;
    let said = sysbench.succeed(server.address(), "run").await;
    let transactions = figure(&said, "transactions:");
    println!("sysbench {test}, {threads} threads: {transactions} transactions in {seconds} s");
    assert!(transactions > 0, "{said}");
    assert_eq!(figure(&said, "reconnects:"), 0, "{said}");
    let mut conn = server.connect().await;
    let tables = rows(&mut conn, "SHOW TABLES LIKE 'sbtest%'").await;
    assert!(!tables.is_empty());
    for table in tables {
        admin_check(&mut conn, &table[0]).await;
    }
    sysbench.succeed(server.address(), "cleanup").await;
    assert!(rows(&mut conn, "SHOW TABLES LIKE 'sbtest%'").await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn sysbench_read_write() {
    within(150, "the test", async {
        let server = Server::start().await;
        sysbench_cycle(&server, "oltp_read_write", 4, 5).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long (two minutes): cargo test --release --test programs -- --ignored --nocapture"]
async fn sysbench_all_with_16_threads() {
    within(1200, "the test", async {
        let server = Server::start().await;
        for test in [
            "oltp_read_write",
            "oltp_point_select",
            "oltp_insert",
            "bulk_insert",
        ] {
            sysbench_cycle(&server, test, 16, 20).await;
        }
    })
    .await;
}
