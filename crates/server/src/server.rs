//! A server's life: bind, accept, authenticate, serve, stop.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use ilmenite_error::Error;
use ilmenite_session::{ConnectionInfo, Engine, Session};
use mysql_common::constants::CapabilityFlags;
use thiserror::Error as ThisError;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::admission::{Admission, Open};
use crate::clients::Clients;
use crate::connection::{Connection, Ended};
use crate::handshake::{self, ClientHello, HandshakeError, NONCE_BYTES, Proof};
use crate::keys::{PasswordKey, tls_acceptor};
use crate::packet::{PacketIo, ReadError};
use crate::reply::put_error;
use crate::status;
use crate::stream::Stream;
use crate::wake::HttpWake;

/// A client that has not finished its handshake by then is cut off.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// A dead peer is noticed after about a minute and a half.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
/// Before anyone is known, nothing long is taken.
const HANDSHAKE_PACKET_MAX: usize = 64 << 10;

pub struct ServerConfig {
    pub host: String,
    /// Where other nodes and clients find this one; none: `host`.
    pub advertise_address: Option<String>,
    /// 0: any free port.
    pub port: u16,
    pub status_port: u16,
    /// Where connections are served and statements run. Not the runtime that starts the server: what keeps the node alive
    /// (accepting, leases, the status port, schema changes) must not wait for a thread that statements hold.
    pub statements: Handle,
    /// Certificate and key as PEM files; none: a self-signed certificate made at start.
    pub tls_files: Option<(PathBuf, PathBuf)>,
}

#[derive(Debug, ThisError)]
pub enum ServerError {
    #[error("cannot listen on {address}: {source}")]
    Bind { address: String, source: std::io::Error },
    #[error("TLS: {0}")]
    Tls(String),
    #[error("cannot set up the calls to other nodes: {0}")]
    Wake(String),
}

/// A running server.
pub struct Server {
    engine: Arc<Engine>,
    address: SocketAddr,
    status_address: SocketAddr,
    stop: CancellationToken,
    connections: TaskTracker,
}

struct Shared {
    engine: Arc<Engine>,
    tls: TlsAcceptor,
    key: Arc<PasswordKey>,
    stop: CancellationToken,
    admission: Admission,
    clients: Arc<Clients>,
}

impl Server {
    pub fn start(
        engine: Arc<Engine>,
        config: ServerConfig,
    ) -> BoxFuture<'static, Result<Server, ServerError>> {
        Box::pin(async move {
            let files = config
                .tls_files
                .as_ref()
                .map(|(cert, key)| (cert.as_path(), key.as_path()));
            let tls = tls_acceptor(files).map_err(ServerError::Tls)?;
            let listener = bind(&config.host, config.port).await?;
            let status_listener = bind(&config.host, config.status_port).await?;
            let of = |listener: &TcpListener| {
                listener.local_addr().map_err(|source| ServerError::Bind {
                    address: config.host.clone(),
                    source,
                })
            };
            let (address, status_address) = (of(&listener)?, of(&status_listener)?);
            let stop = CancellationToken::new();
            let connections = TaskTracker::new();
            let shared = Arc::new(Shared {
                engine: engine.clone(),
                tls,
                key: Arc::default(),
                stop: stop.clone(),
                admission: Admission::default(),
                clients: Arc::default(),
            });
            tokio::spawn(shared.clients.clone().watch(engine.clone(), stop.clone()));
            tokio::spawn(status::serve(status_listener, engine.clone(), stop.clone()));
            tokio::spawn(accept(
                listener,
                shared,
                connections.clone(),
                config.statements.clone(),
            ));
            let advertised = config.advertise_address.as_deref().unwrap_or(&config.host);
            engine.catalog.set_addresses(
                &format!("{advertised}:{}", address.port()),
                &format!("{advertised}:{}", status_address.port()),
            );
            // A node with the store to itself has nobody to wake.
            if !engine.store.exclusive() {
                let transport = HttpWake::new().map_err(ServerError::Wake)?;
                engine.catalog.set_wake_transport(Arc::new(transport));
            }
            tracing::info!(%address, %status_address, "server is ready for connections");
            Ok(Server {
                engine,
                address,
                status_address,
                stop,
                connections,
            })
        })
    }

    /// Where the MySQL protocol is spoken.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn status_address(&self) -> SocketAddr {
        self.status_address
    }

    /// Takes no new connections, ends idle ones at once and busy ones after their statement, or when `timeout` is over.
    pub async fn shutdown(&self, timeout: Duration) {
        self.stop.cancel();
        self.connections.close();
        if tokio::time::timeout(timeout, self.connections.wait())
            .await
            .is_err()
        {
            tracing::warn!("statements still running are interrupted");
            self.engine.interrupt_all();
            let _ = tokio::time::timeout(Duration::from_secs(1), self.connections.wait()).await;
        }
    }
}

async fn bind(host: &str, port: u16) -> Result<TcpListener, ServerError> {
    TcpListener::bind((host, port))
        .await
        .map_err(|source| ServerError::Bind {
            address: format!("{host}:{port}"),
            source,
        })
}

async fn accept(listener: TcpListener, shared: Arc<Shared>, connections: TaskTracker, statements: Handle) {
    loop {
        let accepted = tokio::select! {
            _ = shared.stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((tcp, peer)) => {
                let shared = shared.clone();
                let connection = async move {
                    match serve(&shared, tcp, peer).await {
                        Ok(()) => {}
                        // A look whether anyone is there, as load balancers take it.
                        Err(HandshakeError::Read(ReadError::Closed)) => {
                            tracing::debug!(%peer, "closed before the handshake");
                        }
                        Err(e) => tracing::info!(%peer, error = %e, "handshake failed"),
                    }
                };
                connections.spawn_on(connection, &statements);
            }
            Err(e) => {
                // Out of file descriptors, most likely: wait for some to come back.
                tracing::warn!(error = %e, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn serve(shared: &Arc<Shared>, tcp: TcpStream, peer: SocketAddr) -> Result<(), HandshakeError> {
    tcp.set_nodelay(true)?;
    let keepalive = socket2::TcpKeepalive::new()
        .with_time(KEEPALIVE_IDLE)
        .with_interval(KEEPALIVE_INTERVAL);
    socket2::SockRef::from(&tcp).set_tcp_keepalive(&keepalive)?;
    let std = tcp.into_std()?;
    let socket = std.try_clone()?;
    let mut io = PacketIo::new(Stream::Plain(TcpStream::from_std(std)?), HANDSHAKE_PACKET_MAX);

    let id = shared.engine.next_connection_id();
    if shared
        .admission
        .is_full(Session::max_connections(&shared.engine, None))
    {
        // In place of the greeting: the client reads it as why it cannot connect.
        let error = Error::too_many_connections();
        io.put(|out| put_error(out, &error, Default::default()));
        io.shutdown().await;
        return Ok(());
    }
    let nonce = handshake::nonce();
    let half_open = shared.admission.begin(id);
    let greet = async {
        let version = shared.engine.version();
        let (mut io, hello) = handshake::greet(io, version, id, &nonce, Some(&shared.tls)).await?;
        let session = authenticate(shared, &mut io, &hello, &nonce, id, peer).await?;
        Ok::<_, HandshakeError>((io, hello, session))
    };
    let greeted = tokio::select! {
        greeted = tokio::time::timeout(HANDSHAKE_TIMEOUT, greet) => greeted,
        _ = half_open.displaced.cancelled() => {
            tracing::info!(%peer, "cut off in its handshake: too many of them at once");
            return Ok(());
        }
    };
    drop(half_open);
    let (mut io, hello, session) = match greeted {
        Ok(greeted) => greeted?,
        Err(_) => return Ok(()),
    };
    let Some(session) = session else { return Ok(()) };
    let Some(_open) = enter(shared, &session) else {
        refuse(&mut io, &Error::too_many_connections(), hello.capabilities).await;
        return Ok(());
    };
    let client = shared.clients.add(id, socket.try_clone()?);
    let mut connection = Connection::new(io, session, hello.capabilities, client, shared.stop.clone());
    connection.put_ok(&Default::default());
    connection.io.flush().await?;
    if let Some(compression) = hello.compression()? {
        connection.io.compress(compression);
    }
    loop {
        match connection.serve().await {
            Ended::Closed => {
                connection.io.shutdown().await;
                connection.session.close().await;
                return Ok(());
            }
            Ended::ChangeUser(payload) => {
                let hello = handshake::parse_change_user(payload, connection.capabilities)?;
                let nonce = handshake::nonce();
                // What it sent along answers an older nonce: always ask anew.
                let hello = ClientHello {
                    plugin: "none".into(),
                    ..hello
                };
                connection.session.close().await;
                match authenticate(shared, &mut connection.io, &hello, &nonce, id, peer).await? {
                    Some(session) => {
                        connection.client = shared.clients.add(id, socket.try_clone()?);
                        connection.session = session;
                    }
                    None => return Ok(()),
                }
                connection.put_ok(&Default::default());
                connection.io.flush().await?;
            }
        }
    }
}

/// The session of an authenticated client; `None` when it was refused, and told so.
async fn authenticate(
    shared: &Arc<Shared>,
    io: &mut PacketIo,
    hello: &ClientHello,
    nonce: &[u8; NONCE_BYTES],
    id: u64,
    peer: SocketAddr,
) -> Result<Option<Session>, HandshakeError> {
    match try_authenticate(shared, io, hello, nonce, id, peer).await? {
        Ok(session) => Ok(Some(session)),
        Err(error) => {
            refuse(io, &error, hello.capabilities).await;
            Ok(None)
        }
    }
}

/// In place of the OK that would end the handshake.
async fn refuse(io: &mut PacketIo, error: &Error, capabilities: CapabilityFlags) {
    io.put(|out| put_error(out, error, capabilities));
    io.shutdown().await;
}

fn enter<'a>(shared: &'a Shared, session: &Session) -> Option<Open<'a>> {
    shared
        .admission
        .enter(Session::max_connections(&shared.engine, Some(session)))
}

async fn try_authenticate(
    shared: &Arc<Shared>,
    io: &mut PacketIo,
    hello: &ClientHello,
    nonce: &[u8; NONCE_BYTES],
    id: u64,
    peer: SocketAddr,
) -> Result<Result<Session, Error>, HandshakeError> {
    let host = peer.ip().to_string();
    let denied = |with_password: bool| {
        Error::access_denied(&hello.user, &host, if with_password { "YES" } else { "NO" })
    };
    // An unknown user goes through the same motions, so that names cannot be probed for.
    let account = match shared.engine.account(&hello.user, &host, io.is_tls()).await {
        Ok(account) => account,
        Err(e) => return Ok(Err(e)),
    };
    let plugin = match account.as_ref().map(|a| a.plugin()) {
        Some(handshake::CACHING_SHA2) => handshake::CACHING_SHA2,
        _ => handshake::NATIVE,
    };
    let with_password = match handshake::prove(io, hello, plugin, nonce).await? {
        Proof::Empty => {
            if !account.as_ref().is_some_and(|a| a.is_passwordless()) {
                return Ok(Err(denied(false)));
            }
            false
        }
        Proof::Scramble {
            plugin: handshake::NATIVE,
            response,
        } => {
            if !account
                .as_ref()
                .is_some_and(|a| a.verify_native(nonce, &response))
            {
                return Ok(Err(denied(true)));
            }
            true
        }
        Proof::Scramble { response, .. } => {
            let Some(account) = &account else {
                return Ok(Err(denied(true)));
            };
            match account.verify_fast(nonce, &response) {
                Some(true) => handshake::put_fast_auth_ok(io),
                Some(false) => return Ok(Err(denied(true))),
                None => {
                    let password = handshake::full_auth(io, nonce, &shared.key).await?;
                    if !account.verify_password(&password).await {
                        return Ok(Err(denied(true)));
                    }
                }
            }
            true
        }
    };
    let Some(account) = account else {
        return Ok(Err(denied(with_password)));
    };
    let info = ConnectionInfo {
        id,
        user: hello.user.clone(),
        host,
        account,
        database: hello.database.clone(),
        collation: hello.collation,
        found_rows: hello.capabilities.contains(CapabilityFlags::CLIENT_FOUND_ROWS),
        interactive: hello.capabilities.contains(CapabilityFlags::CLIENT_INTERACTIVE),
        attributes: hello.attributes.clone(),
        tls: io.is_tls(),
    };
    Ok(Session::open(&shared.engine, info).await)
}
