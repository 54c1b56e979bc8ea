//! The protocol: TLS, compression, handshakes, flags, long data.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use mysql_async::Conn;

use super::connect_as;
use super::support::raw::Raw;
use super::support::{Server, run};

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
