//! The process among others: exit codes, signals, its data directory, and clients that misbehave.

mod support;

use std::path::Path;
use std::time::{Duration, Instant};

use mysql_async::prelude::Queryable;
use support::load::{TABLE, create};
use support::raw::Raw;
use support::{Server, admin_check, binary, output, rows, run, value, wait_until, within};

#[tokio::test(flavor = "multi_thread")]
async fn exit_codes() {
    within(120, "the test", async {
        let mut server = Server::start().await;
        let mut conn = server.connect().await;
        run(&mut conn, "CREATE TABLE t (a INT PRIMARY KEY, b INT)").await;
        run(&mut conn, "INSERT INTO t VALUES (1, 1)").await;

        let (status, said) = output(server.command(), 20).await;
        assert_eq!(status, Some(1), "{said}");
        let data = server.data_dir().display().to_string();
        assert!(
            said.contains(&data) && said.contains("in use by another process"),
            "{said}"
        );
        assert_eq!(
            value(&mut conn, "SELECT COUNT(*) FROM t").await,
            "1",
            "the first process goes on"
        );

        for args in [
            &["server", "--no-such-flag"][..],
            &["server", "--port", "99999"],
            &["server", "--sync", "perhaps"],
            &["server", "--config", "/no/such/file.toml"],
            &["no-such-command"],
            &[],
        ] {
            let mut command = binary();
            command.args(args);
            let (status, said) = output(command, 20).await;
            assert_eq!(status, Some(2), "{args:?}: {said}");
            assert!(!said.is_empty(), "{args:?}");
        }
        for args in [&["--help"][..], &["server", "--help"], &["--version"]] {
            let mut command = binary();
            command.args(args);
            let (status, said) = output(command, 20).await;
            assert_eq!(status, Some(0), "{args:?}: {said}");
        }
        // A port that is taken is a failure at work.
        let mut command = binary();
        let port = server.address().port().to_string();
        command
            .arg("server")
            .arg("--store")
            .arg(server.dir().join("other"))
            .args(["--port", &port, "--status-port", "0"]);
        let (status, said) = output(command, 20).await;
        assert_eq!(status, Some(1), "{said}");

        // SIGTERM with an idle client, and with one in the middle of a statement and of a transaction.
        let mut busy = server.connect().await;
        let statement = tokio::spawn(async move { busy.query_drop("SELECT SLEEP(60)").await });
        let mut open = server.connect().await;
        run(&mut open, "BEGIN").await;
        run(&mut open, "INSERT INTO t VALUES (2, 2)").await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        server.stop().await;
        drop((conn, open));
        drop(statement.await);
        server.restart().await;
        let mut conn = server.connect().await;
        assert_eq!(
            rows(&mut conn, "SELECT * FROM t").await,
            [["1", "1"]],
            "what was not committed is not there"
        );
    })
    .await;
}

/// Does something bad to a file.
type Damage<'a> = &'a dyn Fn(&Path);

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_data_directory_is_refused_by_name() {
    within(120, "the test", async {
        let mut server = Server::start().await;
        let mut conn = server.connect().await;
        create(&mut conn, 3_000).await;
        run(&mut conn, "ALTER TABLE w ADD INDEX i_k (k)").await;
        drop(conn);
        server.stop().await;
        let data = server.data_dir();
        let kept = server.dir().join("kept");
        copy(&data, &kept);

        let manifest = data.join("keyspaces").join("0").join("current");
        let garbage = |path: &Path| std::fs::write(path, "garbage").expect("writable");
        let truncate = |path: &Path| std::fs::write(path, "").expect("writable");
        let remove = |path: &Path| std::fs::remove_file(path).expect("removable");
        let cases: [(&Path, Damage<'_>); 5] = [
            (&data.join("WATERMARK"), &garbage),
            (&data.join("WATERMARK"), &remove),
            (&data.join("version"), &remove),
            (&manifest, &truncate),
            (&manifest, &remove),
        ];
        for (path, damage) in cases {
            damage(path);
            let (status, said) = output(server.command(), 30).await;
            assert_eq!(status, Some(1), "{}: {said}", path.display());
            assert!(
                said.contains(&path.display().to_string()),
                "does not name {}: {said}",
                path.display()
            );
            std::fs::remove_dir_all(&data).expect("removable");
            copy(&kept, &data);
        }
        // A directory that is somebody else's.
        let other = server.dir().join("foreign");
        std::fs::create_dir(&other).expect("a directory");
        std::fs::write(other.join("letter.txt"), "dear").expect("writable");
        let mut command = binary();
        command
            .arg("server")
            .arg("--store")
            .arg(&other)
            .args(["--port", "0", "--status-port", "0"]);
        let (status, said) = output(command, 30).await;
        assert_eq!(status, Some(1), "{said}");
        assert_eq!(
            std::fs::read_to_string(other.join("letter.txt")).expect("still there"),
            "dear"
        );

        // And the copies were good.
        server.restart().await;
        let mut conn = server.connect().await;
        assert_eq!(value(&mut conn, "SELECT COUNT(*) FROM w").await, "3000");
        admin_check(&mut conn, TABLE).await;
    })
    .await;
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a directory");
    for entry in std::fs::read_dir(from).expect("readable").flatten() {
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy(&path, &target);
        } else {
            std::fs::copy(&path, &target).expect("copied");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_misbehaves_ends_its_own_connection_alone() {
    within(120, "the test", async {
        let server = Server::start().await;
        let mut witness = server.connect().await;
        run(&mut witness, "CREATE TABLE t (a INT PRIMARY KEY)").await;
        run(&mut witness, "BEGIN").await;
        run(&mut witness, "INSERT INTO t VALUES (1)").await;
        let address = server.address();

        // Before the login: nothing said at all, half a packet, noise, another protocol, a hello that lies.
        let silent = Raw::greeted(address).await;
        let mut half = Raw::greeted(address).await;
        half.send_bytes(&[200, 0]).await;
        let mut lie = vec![0x05, 0xa6, 0x7f, 0x01];
        lie.extend_from_slice(&[0xfb; 60]);
        for noise in [
            &[0xff; 64][..],
            b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
            &[0; 4],
            &[0, 0, 0, 1],
            &[1, 0, 0, 1, 9],
        ] {
            let mut raw = Raw::greeted(address).await;
            raw.send_bytes(noise).await;
            drop(raw.read_to_end().await);
        }
        let mut raw = Raw::greeted(address).await;
        raw.send(1, &lie).await;
        drop(raw.read_to_end().await);
        // A packet much longer than any login.
        let mut raw = Raw::greeted(address).await;
        raw.send_bytes(&[0xff, 0xff, 0xff, 1]).await;
        raw.send_bytes(&[7; 100_000]).await;
        drop(raw.read_to_end().await);

        // After it: bad payloads are answered and the connection goes on …
        let mut raw = Raw::logged_in(address).await;
        let malformed: [&[u8]; 10] = [
            &[0x03, 0xff, 0xfe, 0x80],
            b"\x03SELEC 1",
            b"\x03",
            &[0x17, 9, 0, 0, 0, 0, 1, 0, 0, 0],
            &[0x17, 1],
            &[0x16, 0xff, 0xff],
            &[0x1a, 1],
            &[0x1b, 9],
            &[0x0c],
            &[0xf0, 1, 2, 3],
        ];
        for payload in malformed {
            raw.send(0, payload).await;
            let (_, answer) = raw
                .read()
                .await
                .unwrap_or_else(|| panic!("closed after {payload:?}"));
            assert_eq!(answer[0], 0xff, "{payload:?} must be refused: {answer:?}");
        }
        // These two have no answer.
        raw.send(0, &[0x19, 1]).await;
        raw.send(0, &[0x18, 9, 0, 0, 0, 0, 0, 1, 2]).await;
        raw.send(0, b"\x0e").await;
        let (_, answer) = raw.read().await.expect("an answer to the ping");
        assert_eq!(answer[0], 0, "{answer:?}");
        // … and broken framing ends it.
        raw.send(5, b"\x0e").await;
        let said = raw.read_to_end().await;
        assert!(said.len() <= 1, "{said:?}");
        // Half a statement, then nothing more.
        let mut cut = Raw::logged_in(address).await;
        cut.send_bytes(&[100, 0, 0, 0, 3, b'I', b'N', b'S']).await;
        drop(cut);

        // Longer than max_allowed_packet.
        run(&mut witness, "COMMIT").await;
        run(&mut witness, "SET GLOBAL max_allowed_packet = 1048576").await;
        let mut raw = Raw::logged_in(address).await;
        raw.send_bytes(&[0xff, 0xff, 0xff, 0]).await;
        let said = raw.read_to_end().await;
        assert!(
            said.len() == 1 && said[0].contains("max_allowed_packet"),
            "{said:?}"
        );

        // The login has to come within 10 s.
        let began = Instant::now();
        for mut raw in [silent, half] {
            drop(raw.read_to_end().await);
        }
        assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());

        assert_eq!(rows(&mut witness, "SELECT * FROM t").await, [["1"]]);
        let mut another = server.connect().await;
        assert_eq!(rows(&mut another, "SELECT * FROM t").await, [["1"]]);
        // Nothing of them is left.
        wait_until(10, "their sessions have ended", || {
            let server = &server;
            async move {
                let mut conn = server.connect().await;
                value(&mut conn, "SELECT COUNT(*) FROM information_schema.PROCESSLIST").await == "3"
            }
        })
        .await;
    })
    .await;
}
