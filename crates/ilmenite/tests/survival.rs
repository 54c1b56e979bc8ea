//! What one client could do to a server and to everyone else on it: the family S of docs/faults.md.

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder};
use support::raw::Raw;
use support::{Server, run, value, within};

/// The error code of a statement that must fail.
async fn refused(conn: &mut Conn, text: &str) -> u16 {
    support::error(conn, text).await.code
}

async fn number(conn: &mut Conn, text: &str) -> i64 {
    value(conn, text).await.parse().expect("a number")
}

async fn connect_as(server: &Server, user: &str) -> Conn {
    let opts: OptsBuilder = server.opts().user(Some(user)).db_name(None::<&str>);
    server.connect_with(opts).await
}

mod tls {
    use std::sync::Arc;

    use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
    use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
    use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme};

    /// The server's certificate is one it made itself.
    #[derive(Debug)]
    struct TrustAll;

    impl ServerCertVerifier for TrustAll {
        fn verify_server_cert(
            &self,
            _: &CertificateDer<'_>,
            _: &[CertificateDer<'_>],
            _: &ServerName<'_>,
            _: &[u8],
            _: UnixTime,
        ) -> Result<ServerCertVerified, Error> {
            Ok(ServerCertVerified::assertion())
        }

        fn verify_tls12_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            Ok(HandshakeSignatureValid::assertion())
        }

        fn verify_tls13_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            Ok(HandshakeSignatureValid::assertion())
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            rustls::crypto::ring::default_provider()
                .signature_verification_algorithms
                .supported_schemes()
        }
    }

    pub(super) fn client() -> ClientConnection {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("ring knows the usual versions")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(TrustAll))
            .with_no_client_auth();
        let name = ServerName::try_from("localhost").expect("a name");
        ClientConnection::new(Arc::new(config), name).expect("a client")
    }
}

const CLIENT_SSL: u32 = 1 << 11;
const CLIENT_COMPRESS: u32 = 1 << 5;
/// CLIENT_LONG_PASSWORD, CLIENT_PROTOCOL_41, CLIENT_TRANSACTIONS, CLIENT_SECURE_CONNECTION, CLIENT_PLUGIN_AUTH.
const CAPABILITIES: u32 = 1 | 1 << 9 | 1 << 13 | 1 << 15 | 1 << 19;

fn packet(sequence: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = (payload.len() as u32).to_le_bytes()[..3].to_vec();
    packet.push(sequence);
    packet.extend_from_slice(payload);
    packet
}

fn hello(capabilities: u32) -> Vec<u8> {
    let mut hello = capabilities.to_le_bytes().to_vec();
    hello.extend_from_slice(&(16u32 << 20).to_le_bytes());
    hello.push(45);
    hello.extend_from_slice(&[0; 23]);
    hello
}

fn login(capabilities: u32) -> Vec<u8> {
    let mut login = hello(capabilities);
    login.extend_from_slice(b"root\0\0mysql_native_password\0");
    login
}

fn read_packet(stream: &mut impl Read) -> Vec<u8> {
    let mut header = [0; 4];
    stream.read_exact(&mut header).expect("a packet's header");
    let mut payload = vec![0; u32::from_le_bytes([header[0], header[1], header[2], 0]) as usize];
    stream.read_exact(&mut payload).expect("a packet's payload");
    payload
}

fn greeted(server: &Server) -> TcpStream {
    let mut tcp = TcpStream::connect(server.address()).expect("the server listens");
    tcp.set_read_timeout(Some(Duration::from_secs(20)))
        .expect("a timeout");
    tcp.set_nodelay(true).expect("no delay");
    assert_eq!(read_packet(&mut tcp)[0], 10);
    tcp
}

/// Logs in by TLS, what comes before TLS and its beginning cut into two segments at `cut`.
fn login_by_tls(server: &Server, cut: usize) {
    let mut tcp = greeted(server);
    let mut client = tls::client();
    let mut bytes = packet(1, &hello(CAPABILITIES | CLIENT_SSL));
    client.write_tls(&mut bytes).expect("a ClientHello");
    let (first, second) = bytes.split_at(cut.min(bytes.len()));
    tcp.write_all(first).expect("the first segment");
    if !second.is_empty() {
        std::thread::sleep(Duration::from_millis(1));
        tcp.write_all(second).expect("the second segment");
    }
    let mut stream = rustls::Stream::new(&mut client, &mut tcp);
    stream
        .write_all(&packet(2, &login(CAPABILITIES | CLIENT_SSL)))
        .expect("the login");
    assert_eq!(read_packet(&mut stream)[0], 0, "logged in, cut at {cut}");
    stream.write_all(&packet(0, b"\x0e")).expect("a ping");
    assert_eq!(read_packet(&mut stream)[0], 0, "alive, cut at {cut}");
}

/// S01: docs/faults.md says what failed.
#[tokio::test(flavor = "multi_thread")]
async fn tls_begins_with_whatever_was_read_before() {
    let server = Server::start().await;
    let cuts = (1..60).step_by(7).chain([36, 37, 41, 100, usize::MAX]);
    for cut in cuts {
        tokio::task::block_in_place(|| login_by_tls(&server, cut));
    }
}

/// S03, S05: docs/faults.md says what failed.
#[tokio::test(flavor = "multi_thread")]
async fn long_texts_are_read_in_linear_time_on_a_short_stack() {
    let server = Server::start().await;
    let mut conn = server.connect().await;
    run(&mut conn, "CREATE TABLE t (id INT PRIMARY KEY, a INT)").await;
    run(&mut conn, "INSERT INTO t VALUES (1, 1), (2, 2)").await;
    let ids: Vec<String> = (0..40_000).map(|id| id.to_string()).collect();
    let texts = [
        format!("SELECT COUNT(*) FROM t WHERE id IN ({})", ids.join(",")),
        format!(
            "SELECT COUNT(*) FROM t WHERE a = 2{}",
            " OR a = 0 OR a = 1".repeat(20_000)
        ),
        format!(
            "SELECT COUNT(*) FROM t WHERE a < 3{}",
            " AND a <> 7".repeat(40_000)
        ),
        format!(
            "SELECT 2 FROM (SELECT 1{}) x LIMIT 1",
            " UNION ALL SELECT 1".repeat(500)
        ),
    ];
    for text in &texts {
        let began = Instant::now();
        let count = within(60, "a long text", number(&mut conn, text)).await;
        assert_eq!(count, 2, "{}…", &text[..60]);
        assert!(began.elapsed() < Duration::from_secs(if cfg!(debug_assertions) { 20 } else { 2 }));
    }
    let items = vec!["1"; 4000].join(",");
    run(&mut conn, &format!("SELECT {items}")).await;
    for text in [
        format!("SELECT 1{}", "+1".repeat(100_000)),
        format!("SELECT 1{} )", "+1".repeat(100_000)),
        format!("SELECT {}1{}", "(".repeat(30_000), ")".repeat(30_000)),
        format!("SELECT {}1", "-".repeat(30_000)),
        format!("SELECT {}1", "NOT ".repeat(30_000)),
        format!("SELECT 1{}", " IS NULL".repeat(50_000)),
        format!("SELECT 1{}", " UNION SELECT 1 EXCEPT SELECT 2".repeat(5_000)),
    ] {
        let code = within(30, "a deep text", refused(&mut conn, &text)).await;
        assert!([1064, 1235, 1436].contains(&code), "{code}: {}…", &text[..40]);
    }
    for first in ["1", "id"] {
        let text = format!("SELECT {first}{} FROM t WHERE id = 1", "+1".repeat(400));
        assert_eq!(number(&mut conn, &text).await, 401);
    }
}

/// S04: docs/faults.md says what failed.
#[tokio::test(flavor = "multi_thread")]
async fn whatever_the_text_reading_it_comes_to_an_end() {
    let server = Server::start().await;
    let mut conn = server.connect().await;
    for text in [
        "SELECT 1..2",
        "SELECT ..1",
        "SELECT 1...",
        "SELECT .e1.e2",
        "SELECT 0x..1",
    ] {
        let code = within(10, text, refused(&mut conn, text)).await;
        assert!([1064, 1054].contains(&code), "{text}: {code}");
    }
}

/// S09: docs/faults.md says what failed.
#[tokio::test(flavor = "multi_thread")]
async fn compression_is_spoken() {
    let server = Server::start().await;
    let answers = tokio::task::block_in_place(|| {
        let mut tcp = greeted(&server);
        tcp.write_all(&packet(1, &login(CAPABILITIES | CLIENT_COMPRESS)))
            .expect("the login");
        assert_eq!(read_packet(&mut tcp)[0], 0);
        let query = packet(0, b"\x03SELECT REPEAT('abc', 100000)");
        let mut wire = (query.len() as u32).to_le_bytes()[..3].to_vec();
        wire.extend_from_slice(&[0, 0, 0, 0]);
        wire.extend_from_slice(&query);
        tcp.write_all(&wire).expect("the query");
        // Until the row's last byte is there, and the EOF after it.
        let (mut unpacked, mut packed) = (Vec::new(), 0);
        while !unpacked.ends_with(b"\xfe\0\0\x02\0") {
            let mut header = [0; 7];
            tcp.read_exact(&mut header).expect("a compressed packet");
            let length = u32::from_le_bytes([header[0], header[1], header[2], 0]) as usize;
            let mut body = vec![0; length];
            tcp.read_exact(&mut body).expect("its body");
            packed += length;
            match header[4..] {
                [0, 0, 0] => unpacked.extend_from_slice(&body),
                _ => {
                    flate2::read::ZlibDecoder::new(&body[..])
                        .read_to_end(&mut unpacked)
                        .expect("zlib");
                }
            }
        }
        (unpacked, packed)
    });
    let (unpacked, packed) = answers;
    assert!(unpacked.windows(300).any(|w| w == "abc".repeat(100).as_bytes()));
    assert!(
        unpacked.len() > 300_000 && packed < 30_000,
        "{packed} bytes on the wire"
    );
}

/// S10: docs/faults.md says what failed.
#[tokio::test(flavor = "multi_thread")]
async fn handshakes_that_never_end_keep_nobody_out() {
    let server = Server::start().await;
    let mut silent = Vec::new();
    for _ in 0..1200 {
        silent.push(
            tokio::net::TcpStream::connect(server.address())
                .await
                .expect("connected"),
        );
    }
    let began = Instant::now();
    let mut conn = server.connect().await;
    assert!(began.elapsed() < Duration::from_secs(5));
    // All connections are taken, and an administrator comes in.
    run(&mut conn, "CREATE USER plain").await;
    run(&mut conn, "SET GLOBAL max_connections = 3").await;
    let _taken = (
        connect_as(&server, "plain").await,
        connect_as(&server, "plain").await,
    );
    let plain = server.opts().user(Some("plain")).db_name(None::<&str>);
    let refused = Conn::new(mysql_async::Opts::from(plain)).await;
    assert!(refused.is_err_and(|e| e.to_string().contains("Too many connections")));
    run(&mut server.connect().await, "SELECT 1").await;
}

/// S12: docs/faults.md says what failed.
#[tokio::test(flavor = "multi_thread")]
async fn what_changes_of_an_account_holds_from_the_next_statement_on() {
    let server = Server::start().await;
    let mut root = server.connect().await;
    run(&mut root, "CREATE TABLE t (a INT)").await;
    for user in ["granted", "dropped", "locked"] {
        run(&mut root, &format!("CREATE USER {user}")).await;
        run(&mut root, &format!("GRANT SELECT ON test.* TO {user}")).await;
    }
    let mut granted = connect_as(&server, "granted").await;
    let mut dropped = connect_as(&server, "dropped").await;
    let mut locked = connect_as(&server, "locked").await;
    let prepared = granted.prep("SELECT * FROM test.t").await.expect("prepared");
    for conn in [&mut granted, &mut dropped, &mut locked] {
        run(conn, "SELECT * FROM test.t").await;
    }
    run(&mut root, "REVOKE SELECT ON test.* FROM granted").await;
    run(&mut root, "DROP USER dropped").await;
    run(&mut root, "ALTER USER locked ACCOUNT LOCK").await;
    assert_eq!(refused(&mut granted, "SELECT * FROM test.t").await, 1142);
    let executed = granted.exec_drop(&prepared, ()).await;
    assert!(executed.is_err_and(|e| e.to_string().contains("1142")));
    run(&mut root, "GRANT SELECT ON test.t TO granted").await;
    run(&mut granted, "SELECT * FROM test.t").await;
    for conn in [&mut dropped, &mut locked] {
        assert_eq!(refused(conn, "SELECT 1").await, 1045);
        assert!(
            conn.query_drop("SELECT 1").await.is_err(),
            "the connection has ended"
        );
    }
}

/// S13: docs/faults.md says what failed.
#[tokio::test(flavor = "multi_thread")]
async fn every_answer_says_how_backslashes_are_read() {
    let server = Server::start().await;
    let mut raw = Raw::logged_in(server.address()).await;
    const NO_BACKSLASH_ESCAPES: u16 = 0x200;
    let mut flags = async |text: &str| {
        let mut command = vec![3];
        command.extend_from_slice(text.as_bytes());
        raw.send(0, &command).await;
        let (_, ok) = raw.read().await.expect("an answer");
        assert_eq!(ok[0], 0, "{text}: {ok:?}");
        u16::from_le_bytes([ok[3], ok[4]])
    };
    assert_eq!(flags("SET sql_mode = ''").await & NO_BACKSLASH_ESCAPES, 0);
    assert_ne!(
        flags("SET sql_mode = 'NO_BACKSLASH_ESCAPES'").await & NO_BACKSLASH_ESCAPES,
        0
    );
    assert_ne!(flags("DO 1").await & NO_BACKSLASH_ESCAPES, 0);
    // The EOF after the columns, and the one after the rows.
    raw.send(0, b"\x03SELECT 1").await;
    let mut eofs = 0;
    while eofs < 2 {
        let (_, packet) = raw.read().await.expect("an answer");
        if packet[0] == 0xfe && packet.len() == 5 {
            eofs += 1;
            assert_ne!(
                u16::from_le_bytes([packet[3], packet[4]]) & NO_BACKSLASH_ESCAPES,
                0
            );
        }
    }
}

/// S14: docs/faults.md says what failed.
#[tokio::test(flavor = "multi_thread")]
async fn tls_can_be_demanded() {
    let server = Server::start().await;
    let mut root = server.connect().await;
    run(&mut root, "SET GLOBAL require_secure_transport = ON").await;
    let plain = Conn::new(mysql_async::Opts::from(server.opts())).await;
    assert!(plain.is_err_and(|e| e.to_string().contains("3159")));
    tokio::task::block_in_place(|| login_by_tls(&server, usize::MAX));
    run(&mut root, "SET GLOBAL require_secure_transport = OFF").await;
}

/// S15: docs/faults.md says what failed.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_changes_an_account_that_may_do_more_and_one_administrator_stays() {
    let server = Server::start().await;
    let mut root = server.connect().await;
    run(&mut root, "CREATE USER clerk, other").await;
    run(&mut root, "GRANT CREATE USER ON *.* TO clerk").await;
    let mut clerk = connect_as(&server, "clerk").await;
    for text in [
        "ALTER USER root IDENTIFIED BY 'x'",
        "SET PASSWORD FOR root = 'x'",
        "ALTER USER root ACCOUNT LOCK",
        "DROP USER root",
        "RENAME USER root TO toor",
    ] {
        assert_eq!(refused(&mut clerk, text).await, 1227, "{text}");
    }
    run(&mut clerk, "ALTER USER other IDENTIFIED BY 'x'").await;
    run(&mut clerk, "DROP USER other").await;
    for text in [
        "DROP USER root",
        "ALTER USER root ACCOUNT LOCK",
        "REVOKE ALL PRIVILEGES, GRANT OPTION FROM root",
        "REVOKE CREATE USER ON *.* FROM root",
    ] {
        assert_eq!(refused(&mut root, text).await, 1396, "{text}");
    }
    run(&mut root, "CREATE USER second").await;
    run(
        &mut root,
        "GRANT ALL PRIVILEGES ON *.* TO second WITH GRANT OPTION",
    )
    .await;
    run(&mut root, "RENAME USER root TO first").await;
}

/// S16, S17: docs/faults.md says what failed.
#[tokio::test(flavor = "multi_thread")]
async fn names_of_accounts_and_databases_are_what_they_say() {
    let server = Server::start().await;
    let mut root = server.connect().await;
    run(
        &mut root,
        "CREATE USER 'a'@'b@%' IDENTIFIED BY 'one', 'a@b'@'%' IDENTIFIED BY 'two'",
    )
    .await;
    let count = number(&mut root, "SELECT COUNT(*) FROM mysql.user WHERE user LIKE 'a%'").await;
    assert_eq!(count, 2);
    run(&mut root, "DROP USER 'a@b'@'%'").await;
    let count = number(&mut root, "SELECT COUNT(*) FROM mysql.user WHERE user LIKE 'a%'").await;
    assert_eq!(count, 1);

    run(&mut root, "CREATE USER shopper").await;
    for database in ["shop", "shed", "other", "s_x", "sax"] {
        run(&mut root, &format!("CREATE DATABASE {database}")).await;
        run(&mut root, &format!("CREATE TABLE {database}.t (a INT)")).await;
    }
    run(&mut root, "GRANT SELECT ON `sh%`.* TO shopper").await;
    run(&mut root, r"GRANT SELECT ON `s\_x`.* TO shopper").await;
    let mut shopper = connect_as(&server, "shopper").await;
    for database in ["shop", "shed", "s_x"] {
        run(&mut shopper, &format!("SELECT * FROM {database}.t")).await;
    }
    for database in ["other", "sax"] {
        assert_eq!(
            refused(&mut shopper, &format!("SELECT * FROM {database}.t")).await,
            1142
        );
    }
}

/// S22: docs/faults.md says what failed.
#[tokio::test(flavor = "multi_thread")]
async fn who_only_writes_need_not_be_allowed_to_read() {
    let server = Server::start().await;
    let mut root = server.connect().await;
    run(&mut root, "CREATE TABLE t (a INT, b INT)").await;
    run(&mut root, "CREATE USER writer").await;
    run(&mut root, "GRANT UPDATE, DELETE ON test.t TO writer").await;
    let mut writer = connect_as(&server, "writer").await;
    run(&mut writer, "UPDATE test.t SET a = 1").await;
    run(&mut writer, "DELETE FROM test.t").await;
    for text in [
        "UPDATE test.t SET a = b",
        "UPDATE test.t SET a = 1 WHERE b = 1",
        "UPDATE test.t SET a = 1 ORDER BY b",
        "DELETE FROM test.t WHERE a = 1",
        "SELECT * FROM test.t",
    ] {
        assert_eq!(refused(&mut writer, text).await, 1142, "{text}");
    }
}

/// S23, S25: docs/faults.md says what failed.
#[tokio::test(flavor = "multi_thread")]
async fn locking_reads_lock() {
    let server = Server::start().await;
    let (mut holder, mut other) = (server.connect().await, server.connect().await);
    run(&mut holder, "CREATE TABLE parent (id INT PRIMARY KEY)").await;
    run(&mut holder, "INSERT INTO parent VALUES (1), (2)").await;
    run(&mut other, "SET innodb_lock_wait_timeout = 1").await;
    for clause in ["FOR SHARE", "LOCK IN SHARE MODE", "FOR UPDATE"] {
        run(&mut holder, "BEGIN").await;
        run(
            &mut holder,
            &format!("SELECT * FROM parent WHERE id = 1 {clause}"),
        )
        .await;
        assert_eq!(
            refused(&mut other, "DELETE FROM parent WHERE id = 1").await,
            1205,
            "{clause}"
        );
        // Also where the reading statement is a transaction by itself.
        assert_eq!(
            refused(&mut other, "SELECT * FROM parent FOR UPDATE NOWAIT").await,
            3572
        );
        let free: Vec<i64> = other
            .query("SELECT id FROM parent FOR UPDATE SKIP LOCKED")
            .await
            .expect("what is not locked");
        assert_eq!(free, [2]);
        run(&mut holder, "ROLLBACK").await;
    }
    run(&mut other, "DELETE FROM parent WHERE id = 1").await;
}

/// S24, S26, S27: docs/faults.md says what failed.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_accepted_is_done_or_warned_of() {
    let server = Server::start().await;
    let mut root = server.connect().await;
    run(&mut root, "CREATE TABLE t (a INT)").await;
    run(&mut root, "CREATE USER plain").await;
    run(&mut root, "GRANT ALL ON test.* TO plain").await;
    let mut plain = connect_as(&server, "plain").await;
    run(&mut root, "SET GLOBAL read_only = ON").await;
    for text in [
        "INSERT INTO test.t VALUES (1)",
        "CREATE TABLE test.u (a INT)",
        "DELETE FROM test.t",
    ] {
        assert_eq!(refused(&mut plain, text).await, 1290, "{text}");
    }
    run(&mut plain, "SELECT * FROM test.t").await;
    run(&mut root, "INSERT INTO t VALUES (1)").await;
    run(&mut root, "SET GLOBAL super_read_only = ON").await;
    assert_eq!(refused(&mut root, "INSERT INTO t VALUES (1)").await, 1290);
    run(&mut root, "SET GLOBAL super_read_only = OFF").await;
    run(&mut root, "SET GLOBAL read_only = OFF").await;

    assert_eq!(refused(&mut root, "FLUSH TABLES WITH READ LOCK").await, 1235);
    assert_eq!(
        refused(&mut root, "SET sql_mode = 'PAD_CHAR_TO_FULL_LENGTH'").await,
        1235
    );
    run(&mut root, "SET sql_mode = 'REAL_AS_FLOAT'").await;
    run(&mut root, "CREATE TABLE r (a REAL)").await;
    let shown: (String, String) = root
        .query_first("SHOW CREATE TABLE r")
        .await
        .expect("shown")
        .expect("a row");
    assert!(shown.1.contains("`a` float"), "{}", shown.1);

    // UNLOCK TABLES without LOCK TABLES leaves the transaction open.
    run(&mut root, "BEGIN").await;
    run(&mut root, "INSERT INTO t VALUES (2)").await;
    run(&mut root, "UNLOCK TABLES").await;
    run(&mut root, "ROLLBACK").await;
    let count = number(&mut root, "SELECT COUNT(*) FROM t").await;
    assert_eq!(count, 1);
    run(&mut root, "LOCK TABLES t READ").await;
    assert_eq!(support::rows(&mut root, "SHOW WARNINGS").await.len(), 1);

    run(&mut root, "SET SESSION TRANSACTION READ ONLY").await;
    assert_eq!(refused(&mut root, "CREATE TABLE u (a INT)").await, 1792);
    run(&mut root, "SET SESSION TRANSACTION READ WRITE").await;
    run(&mut root, "START TRANSACTION READ ONLY").await;
    assert_eq!(refused(&mut root, "DROP TABLE t").await, 1792);
}

/// S31: docs/faults.md says what failed.
#[tokio::test(flavor = "multi_thread")]
async fn long_data_is_whole_or_an_error() {
    let server = Server::start().await;
    let mut raw = Raw::logged_in(server.address()).await;
    raw.send(0, b"\x16SELECT LENGTH(?)").await;
    let (_, prepared) = raw.read().await.expect("prepared");
    let id = prepared[1..5].to_vec();
    for _ in 0..4 {
        raw.read().await.expect("columns and their ends");
    }
    let chunk = vec![b'x'; 15 << 20];
    for chunks in [4, 5] {
        for _ in 0..chunks {
            let mut data = vec![0x18];
            data.extend_from_slice(&id);
            data.extend_from_slice(&[0, 0]);
            data.extend_from_slice(&chunk);
            raw.send(0, &data).await;
        }
        let mut execute = vec![0x17];
        execute.extend_from_slice(&id);
        execute.extend_from_slice(&[0, 1, 0, 0, 0, 0, 1, 0xfc, 0]);
        raw.send(0, &execute).await;
        let (_, answer) = raw.read().await.expect("an answer");
        if chunks == 5 {
            assert_eq!(
                (answer[0], u16::from_le_bytes([answer[1], answer[2]])),
                (0xff, 1105)
            );
            continue;
        }
        assert_eq!(answer[0], 1, "one column: {answer:?}");
        let mut rows = Vec::new();
        for _ in 0..4 {
            rows.push(raw.read().await.expect("a packet").1);
        }
        let length = (4 * chunk.len() as u64).to_le_bytes();
        assert!(
            rows[2].ends_with(&length) || rows[2].ends_with(&length[..4]),
            "{rows:?}"
        );
    }
}

/// S02, S11: docs/faults.md says what failed.
#[tokio::test(flavor = "multi_thread")]
async fn statements_that_compute_keep_nobody_waiting() {
    const IN_TIME: Duration = Duration::from_millis(if cfg!(debug_assertions) { 3000 } else { 1000 });
    let server = Server::start().await;
    let mut root = server.connect().await;
    run(&mut root, "CREATE TABLE t (id INT PRIMARY KEY, g INT)").await;
    for from in (0..3000).step_by(1000) {
        let rows: Vec<String> = (from..from + 1000).map(|id| format!("({id}, 1)")).collect();
        run(&mut root, &format!("INSERT INTO t VALUES {}", rows.join(","))).await;
    }
    let endless = [
        "SELECT COUNT(*) FROM t a, t b, t c",
        "SELECT COUNT(*) FROM t a JOIN t b ON a.g = b.g JOIN t c ON b.g = c.g",
        "SELECT BENCHMARK(1000000000000, 1 + 1)",
        "SELECT COUNT(*) FROM (SELECT a.id FROM t a, t b, t c ORDER BY a.g + b.id) x",
        "SELECT COUNT(DISTINCT a.id + b.id) FROM t a, t b, t c",
    ];
    for text in endless {
        let mut running = Vec::new();
        for _ in 0..4 {
            let mut conn = server.connect().await;
            let id = conn.id();
            running.push((id, tokio::spawn(async move { conn.query_drop(text).await })));
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
        // Logging in, a short statement, the status port.
        for _ in 0..10 {
            let began = Instant::now();
            let mut conn = server.connect().await;
            run(&mut conn, "SELECT 1").await;
            assert!(
                began.elapsed() < IN_TIME,
                "{text}: a login took {:?}",
                began.elapsed()
            );
        }
        let began = Instant::now();
        server.get("/status").await;
        assert!(
            began.elapsed() < IN_TIME,
            "{text}: the status took {:?}",
            began.elapsed()
        );
        // A limit of its own, and a client that leaves.
        let mut limited = server.connect().await;
        run(&mut limited, "SET max_execution_time = 200").await;
        let began = Instant::now();
        assert_eq!(refused(&mut limited, text).await, 3024, "{text}");
        assert!(
            began.elapsed() < Duration::from_millis(200) + IN_TIME,
            "{text}: {:?}",
            began.elapsed()
        );
        let leaving = server.connect().await;
        let gone = leaving.id();
        let leaving = tokio::spawn(async move {
            let mut conn = leaving;
            conn.query_drop(text).await
        });
        tokio::time::sleep(Duration::from_millis(200)).await;
        leaving.abort();
        let began = Instant::now();
        let still = format!("SELECT COUNT(*) FROM information_schema.processlist WHERE id = {gone}");
        while number(&mut root, &still).await > 0 {
            assert!(
                began.elapsed() < Duration::from_secs(1) + IN_TIME,
                "{text}: runs for nobody"
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        for (id, task) in running {
            let began = Instant::now();
            run(&mut root, &format!("KILL QUERY {id}")).await;
            let ended = within(10, "ending after KILL", task).await.expect("no panic");
            assert!(ended.is_err_and(|e| e.to_string().contains("1317")), "{text}");
            assert!(
                began.elapsed() < IN_TIME,
                "{text}: KILL took {:?}",
                began.elapsed()
            );
        }
    }
    assert!(
        !server.log().contains("lease"),
        "no lease was lost: {}",
        server.log()
    );
}
