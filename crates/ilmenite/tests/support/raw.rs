//! A client that can misbehave: packets by hand, and a connection that can be cut in the middle.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// CLIENT_LONG_PASSWORD, CLIENT_PROTOCOL_41, CLIENT_SECURE_CONNECTION, CLIENT_PLUGIN_AUTH, CLIENT_TRANSACTIONS.
const CAPABILITIES: u32 = 1 | 1 << 9 | 1 << 13 | 1 << 15 | 1 << 19;
const ANSWER: Duration = Duration::from_secs(20);

pub(crate) struct Raw {
    pub socket: TcpStream,
}

impl Raw {
    /// Connected, the greeting read, nothing said.
    pub(crate) async fn greeted(address: SocketAddr) -> Raw {
        let socket = TcpStream::connect(address).await.expect("the server listens");
        let mut raw = Raw { socket };
        let (sequence, greeting) = raw.read().await.expect("a greeting");
        assert_eq!((sequence, greeting[0]), (0, 10), "protocol version 10");
        raw
    }

    /// Logged in as root, which has no password.
    pub(crate) async fn logged_in(address: SocketAddr) -> Raw {
        let mut raw = Raw::greeted(address).await;
        let mut hello = Vec::new();
        hello.extend_from_slice(&CAPABILITIES.to_le_bytes());
        hello.extend_from_slice(&(16u32 << 20).to_le_bytes());
        hello.push(45);
        hello.extend_from_slice(&[0; 23]);
        hello.extend_from_slice(b"root\0");
        hello.push(0);
        hello.extend_from_slice(b"mysql_native_password\0");
        raw.send(1, &hello).await;
        let (_, answer) = raw.read().await.expect("an answer to the login");
        assert_eq!(answer[0], 0, "logged in: {answer:?}");
        raw
    }

    pub(crate) async fn send(&mut self, sequence: u8, payload: &[u8]) {
        let mut packet = (payload.len() as u32).to_le_bytes()[..3].to_vec();
        packet.push(sequence);
        packet.extend_from_slice(payload);
        self.send_bytes(&packet).await;
    }

    /// The server may have hung up already, which is fine.
    pub(crate) async fn send_bytes(&mut self, bytes: &[u8]) {
        drop(self.socket.write_all(bytes).await);
    }

    /// The next packet; `None` when the server has closed the connection.
    pub(crate) async fn read(&mut self) -> Option<(u8, Vec<u8>)> {
        let work = async {
            let mut header = [0; 4];
            self.socket.read_exact(&mut header).await.ok()?;
            let length = u32::from_le_bytes([header[0], header[1], header[2], 0]);
            let mut payload = vec![0; length as usize];
            self.socket.read_exact(&mut payload).await.ok()?;
            Some((header[3], payload))
        };
        tokio::time::timeout(ANSWER, work)
            .await
            .expect("an answer or an end in time")
    }

    /// Reads until the server hangs up: what it said before, which must be errors alone.
    pub(crate) async fn read_to_end(&mut self) -> Vec<String> {
        let mut said = Vec::new();
        while let Some((_, payload)) = self.read().await {
            assert_eq!(payload.first(), Some(&0xff), "an error packet: {payload:?}");
            said.push(String::from_utf8_lossy(&payload[3..]).into_owned());
        }
        said
    }
}

/// Passes bytes on until it is cut, like a network.
pub(crate) struct Wire {
    pub address: SocketAddr,
    task: tokio::task::JoinHandle<()>,
}

impl Wire {
    pub(crate) async fn to(server: SocketAddr) -> Wire {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let task = tokio::spawn(async move {
            let (mut client, _) = listener.accept().await.expect("a client");
            let mut server = TcpStream::connect(server).await.expect("the server listens");
            drop(tokio::io::copy_bidirectional(&mut client, &mut server).await);
        });
        Wire { address, task }
    }

    /// Both ends find the connection closed.
    pub(crate) fn cut(self) {
        self.task.abort();
    }
}
