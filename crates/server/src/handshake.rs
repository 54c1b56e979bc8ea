//! From an accepted socket to an authenticated user: greeting, TLS, authentication.
//!
//! Source of the formats: MySQL internals, "Connection Phase". Two authentication methods: `mysql_native_password` and
//! `caching_sha2_password`, the latter with its fast way, and the full one through TLS or RSA.

use std::sync::Arc;

use bytes::Bytes;
use ilmenite_base::rng;
use mysql_common::constants::{CapabilityFlags, StatusFlags};
use tokio_rustls::TlsAcceptor;

use crate::compress::Compression;
use crate::keys::PasswordKey;
use crate::packet::{Malformed, PacketIo, ReadError, Reader};

pub(crate) const NATIVE: &str = "mysql_native_password";
pub(crate) const CACHING_SHA2: &str = "caching_sha2_password";
pub(crate) const NONCE_BYTES: usize = 20;
/// utf8mb4_bin.
const GREETING_COLLATION: u8 = 46;

/// What this server can do.
pub(crate) fn capabilities(tls: bool) -> CapabilityFlags {
    let mut flags = CapabilityFlags::CLIENT_LONG_PASSWORD
        | CapabilityFlags::CLIENT_FOUND_ROWS
        | CapabilityFlags::CLIENT_LONG_FLAG
        | CapabilityFlags::CLIENT_CONNECT_WITH_DB
        | CapabilityFlags::CLIENT_COMPRESS
        | CapabilityFlags::CLIENT_ZSTD_COMPRESSION_ALGORITHM
        | CapabilityFlags::CLIENT_LOCAL_FILES
        | CapabilityFlags::CLIENT_IGNORE_SPACE
        | CapabilityFlags::CLIENT_PROTOCOL_41
        | CapabilityFlags::CLIENT_INTERACTIVE
        | CapabilityFlags::CLIENT_TRANSACTIONS
        | CapabilityFlags::CLIENT_SECURE_CONNECTION
        | CapabilityFlags::CLIENT_MULTI_STATEMENTS
        | CapabilityFlags::CLIENT_MULTI_RESULTS
        | CapabilityFlags::CLIENT_PS_MULTI_RESULTS
        | CapabilityFlags::CLIENT_PLUGIN_AUTH
        | CapabilityFlags::CLIENT_CONNECT_ATTRS
        | CapabilityFlags::CLIENT_PLUGIN_AUTH_LENENC_CLIENT_DATA
        | CapabilityFlags::CLIENT_DEPRECATE_EOF;
    if tls {
        flags |= CapabilityFlags::CLIENT_SSL;
    }
    flags
}

/// What the client said of itself.
#[derive(Debug, Clone)]
pub(crate) struct ClientHello {
    pub capabilities: CapabilityFlags,
    pub collation: u8,
    pub user: String,
    pub database: Option<String>,
    pub plugin: String,
    pub auth_response: Bytes,
    pub attributes: Vec<(String, String)>,
    /// With `CLIENT_ZSTD_COMPRESSION_ALGORITHM`.
    pub zstd_level: u8,
}

impl ClientHello {
    /// How the connection is compressed once the client is known, where it asks for it.
    pub(crate) fn compression(&self) -> std::io::Result<Option<Compression>> {
        let wants = |flag| self.capabilities.contains(flag);
        // Of a client that can do both, MySQL takes the older one.
        Ok(if wants(CapabilityFlags::CLIENT_COMPRESS) {
            Some(Compression::zlib())
        } else if wants(CapabilityFlags::CLIENT_ZSTD_COMPRESSION_ALGORITHM) {
            Some(Compression::zstd(self.zstd_level)?)
        } else {
            None
        })
    }
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum HandshakeError {
    #[error("{0:?}")]
    Read(ReadError),
    #[error("malformed packet")]
    Malformed,
    #[error("TLS: {0}")]
    Tls(std::io::Error),
    #[error("a client older than protocol 4.1")]
    TooOld,
}

impl From<ReadError> for HandshakeError {
    fn from(e: ReadError) -> Self {
        HandshakeError::Read(e)
    }
}

impl From<std::io::Error> for HandshakeError {
    fn from(e: std::io::Error) -> Self {
        HandshakeError::Read(ReadError::Io(e))
    }
}

impl From<Malformed> for HandshakeError {
    fn from(_: Malformed) -> Self {
        HandshakeError::Malformed
    }
}

/// 20 random bytes, none of them zero or '$' (clients take them for a C string).
pub(crate) fn nonce() -> [u8; NONCE_BYTES] {
    let mut nonce: [u8; NONCE_BYTES] = rng::bytes();
    for byte in &mut nonce {
        *byte &= 0x7f;
        if *byte == 0 || *byte == b'$' {
            *byte += 1;
        }
    }
    nonce
}

pub(crate) fn put_greeting(out: &mut Vec<u8>, version: &str, id: u64, nonce: &[u8; NONCE_BYTES], tls: bool) {
    let flags = capabilities(tls).bits();
    out.push(10);
    out.extend_from_slice(version.as_bytes());
    out.push(0);
    out.extend_from_slice(&(id as u32).to_le_bytes());
    out.extend_from_slice(&nonce[..8]);
    out.push(0);
    out.extend_from_slice(&(flags as u16).to_le_bytes());
    out.push(GREETING_COLLATION);
    out.extend_from_slice(&StatusFlags::SERVER_STATUS_AUTOCOMMIT.bits().to_le_bytes());
    out.extend_from_slice(&((flags >> 16) as u16).to_le_bytes());
    out.push(NONCE_BYTES as u8 + 1);
    out.extend_from_slice(&[0; 10]);
    out.extend_from_slice(&nonce[8..]);
    out.push(0);
    out.extend_from_slice(NATIVE.as_bytes());
    out.push(0);
}

/// Sends the greeting, changes to TLS when the client asks, and returns the client's answer.
pub(crate) async fn greet(
    mut io: PacketIo,
    version: &str,
    id: u64,
    nonce: &[u8; NONCE_BYTES],
    tls: Option<&TlsAcceptor>,
) -> Result<(PacketIo, ClientHello), HandshakeError> {
    io.put(|out| put_greeting(out, version, id, nonce, tls.is_some()));
    io.flush().await?;
    let mut payload = io.read_packet().await?;
    let flags = Reader::new(payload.clone()).uint(4)? as u32;
    let flags = CapabilityFlags::from_bits_truncate(flags);
    if !flags.contains(CapabilityFlags::CLIENT_PROTOCOL_41) {
        return Err(HandshakeError::TooOld);
    }
    if let (true, Some(acceptor)) = (flags.contains(CapabilityFlags::CLIENT_SSL), tls) {
        let limit = io.max_allowed_packet;
        let (stream, read, sequence) = io.into_parts();
        let stream = stream
            .start_tls(read, acceptor)
            .await
            .map_err(HandshakeError::Tls)?;
        io = PacketIo::new(stream, limit).with_sequence(sequence);
        payload = io.read_packet().await?;
    }
    let hello = parse_hello(payload)?;
    Ok((io, hello))
}

fn text(bytes: Bytes) -> String {
    String::from_utf8_lossy(&bytes).into_owned()
}

fn parse_hello(payload: Bytes) -> Result<ClientHello, Malformed> {
    let mut r = Reader::new(payload);
    // What only the client claims counts for nothing.
    let capabilities = CapabilityFlags::from_bits_truncate(r.uint(4)? as u32) & capabilities(true);
    let _max_packet = r.uint(4)?;
    let collation = r.u8()?;
    r.bytes(23)?;
    let user = text(r.zero_terminated());
    let auth_response = if capabilities.contains(CapabilityFlags::CLIENT_PLUGIN_AUTH_LENENC_CLIENT_DATA) {
        r.lenenc_bytes()?
    } else if capabilities.contains(CapabilityFlags::CLIENT_SECURE_CONNECTION) {
        let n = r.u8()? as usize;
        r.bytes(n)?
    } else {
        r.zero_terminated()
    };
    let mut database = None;
    if capabilities.contains(CapabilityFlags::CLIENT_CONNECT_WITH_DB) && !r.is_empty() {
        database = Some(text(r.zero_terminated())).filter(|d| !d.is_empty());
    }
    let mut plugin = String::new();
    if capabilities.contains(CapabilityFlags::CLIENT_PLUGIN_AUTH) && !r.is_empty() {
        plugin = text(r.zero_terminated());
    }
    let mut attributes = Vec::new();
    if capabilities.contains(CapabilityFlags::CLIENT_CONNECT_ATTRS) && !r.is_empty() {
        attributes = parse_attributes(&mut r)?;
    }
    let mut zstd_level = 0;
    if capabilities.contains(CapabilityFlags::CLIENT_ZSTD_COMPRESSION_ALGORITHM) && !r.is_empty() {
        zstd_level = r.u8()?;
    }
    Ok(ClientHello {
        capabilities,
        collation,
        user,
        database,
        plugin,
        auth_response,
        attributes,
        zstd_level,
    })
}

fn parse_attributes(r: &mut Reader) -> Result<Vec<(String, String)>, Malformed> {
    let mut inner = Reader::new(r.lenenc_bytes()?);
    let mut attributes = Vec::new();
    while !inner.is_empty() {
        attributes.push((text(inner.lenenc_bytes()?), text(inner.lenenc_bytes()?)));
    }
    Ok(attributes)
}

/// COM_CHANGE_USER carries what the handshake's answer carries, in another order.
pub(crate) fn parse_change_user(
    payload: Bytes,
    capabilities: CapabilityFlags,
) -> Result<ClientHello, Malformed> {
    let mut r = Reader::new(payload);
    let user = text(r.zero_terminated());
    let n = r.u8()? as usize;
    let auth_response = r.bytes(n)?;
    let database = Some(text(r.zero_terminated())).filter(|d| !d.is_empty());
    let collation = if r.is_empty() {
        GREETING_COLLATION
    } else {
        r.uint(2)? as u8
    };
    let plugin = if r.is_empty() {
        String::new()
    } else {
        text(r.zero_terminated())
    };
    let mut attributes = Vec::new();
    if capabilities.contains(CapabilityFlags::CLIENT_CONNECT_ATTRS) && !r.is_empty() {
        attributes = parse_attributes(&mut r)?;
    }
    Ok(ClientHello {
        capabilities,
        collation,
        user,
        database,
        plugin,
        auth_response,
        attributes,
        // The connection stays as it is compressed.
        zstd_level: 0,
    })
}

/// Asks the client to answer by another method, with a nonce.
async fn switch(io: &mut PacketIo, plugin: &str, nonce: &[u8; NONCE_BYTES]) -> Result<Bytes, HandshakeError> {
    io.put(|out| {
        out.push(0xfe);
        out.extend_from_slice(plugin.as_bytes());
        out.push(0);
        out.extend_from_slice(nonce);
        out.push(0);
    });
    io.flush().await?;
    Ok(io.read_packet().await?)
}

/// What the client proved.
pub(crate) enum Proof {
    /// An empty password.
    Empty,
    /// The response of `plugin` to our nonce.
    Scramble { plugin: &'static str, response: Bytes },
}

/// Gets the client's proof for a user whose account uses `plugin`.
pub(crate) async fn prove(
    io: &mut PacketIo,
    hello: &ClientHello,
    plugin: &'static str,
    nonce: &[u8; NONCE_BYTES],
) -> Result<Proof, HandshakeError> {
    let response = if hello.plugin == plugin || (hello.plugin.is_empty() && plugin == NATIVE) {
        hello.auth_response.clone()
    } else {
        switch(io, plugin, nonce).await?
    };
    Ok(match &response[..] {
        [] | [0] => Proof::Empty,
        _ => Proof::Scramble { plugin, response },
    })
}

/// `caching_sha2_password`: tells the client that its scramble was enough.
pub(crate) fn put_fast_auth_ok(io: &mut PacketIo) {
    io.put(|out| out.extend_from_slice(&[1, 3]));
}

/// `caching_sha2_password`, the full way: the password itself, over TLS as it is, else encrypted for our RSA key.
pub(crate) async fn full_auth(
    io: &mut PacketIo,
    nonce: &[u8; NONCE_BYTES],
    key: &Arc<PasswordKey>,
) -> Result<Vec<u8>, HandshakeError> {
    io.put(|out| out.extend_from_slice(&[1, 4]));
    io.flush().await?;
    let mut payload = io.read_packet().await?;
    if io.is_tls() {
        return Ok(without_zero(payload.to_vec()));
    }
    if payload[..] == [2] {
        let pem = PasswordKey::public_pem(key)
            .await
            .ok_or(HandshakeError::Malformed)?;
        io.put(|out| {
            out.push(1);
            out.extend_from_slice(pem.as_bytes());
        });
        io.flush().await?;
        payload = io.read_packet().await?;
    }
    let mut password = PasswordKey::decrypt(key, payload)
        .await
        .ok_or(HandshakeError::Malformed)?;
    for (byte, key) in password.iter_mut().zip(nonce.iter().chain(&[0]).cycle()) {
        *byte ^= key;
    }
    Ok(without_zero(password))
}

fn without_zero(mut password: Vec<u8>) -> Vec<u8> {
    if password.last() == Some(&0) {
        password.pop();
    }
    password
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn greeting_has_the_published_layout() {
        let mut out = Vec::new();
        let nonce = [7; NONCE_BYTES];
        put_greeting(&mut out, "8.0.36-X", 9, &nonce, false);
        assert_eq!(out[0], 10);
        assert_eq!(&out[1..10], b"8.0.36-X\0");
        assert_eq!(&out[10..14], [9, 0, 0, 0]);
        assert_eq!(&out[14..22], [7; 8]);
        assert_eq!(out[22], 0);
        let after_caps = 10 + 4 + 8 + 1 + 2 + 1 + 2 + 2;
        assert_eq!(out[after_caps], 21);
        assert_eq!(&out[after_caps + 11..after_caps + 23], [7; 12]);
        assert!(out.ends_with(b"\0mysql_native_password\0"));
    }

    #[test]
    fn truncated_hellos_are_malformed_and_never_panic() {
        let mut full = Vec::new();
        full.extend_from_slice(&capabilities(true).bits().to_le_bytes());
        full.extend_from_slice(&[0, 0, 0, 1, 46]);
        full.extend_from_slice(&[0; 23]);
        full.extend_from_slice(b"root\0\x03abcmydb\0mysql_native_password\0\x08\x03key\x03val");
        let hello = parse_hello(full.clone().into()).unwrap();
        assert_eq!(
            (hello.user.as_str(), hello.database.as_deref()),
            ("root", Some("mydb"))
        );
        assert_eq!(hello.attributes, [("key".to_string(), "val".to_string())]);
        for n in 0..full.len() {
            let _ = parse_hello(full[..n].to_vec().into());
        }
        assert!(parse_hello(full[..20].to_vec().into()).is_err());
    }

    #[test]
    fn nonce_has_no_zero() {
        for _ in 0..200 {
            assert!(nonce().iter().all(|b| *b != 0 && *b < 0x80 && *b != b'$'));
        }
    }
}
