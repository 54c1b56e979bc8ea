//! Packets of MySQL's protocol over any byte stream: 3 bytes of length, 1 of sequence number, payload; longer payloads
//! than 2^24-2 bytes continue in the next packet.
//!
//! Source of the format: MySQL internals, "MySQL Packets".

use std::io;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::compress::Compression;
use crate::stream::Stream;

pub(crate) const PAYLOAD_MAX: usize = (1 << 24) - 1;
/// Written out once so much has gathered.
const WRITE_BUFFER_BYTES: usize = 64 << 10;
/// A read buffer that grew beyond this for one large packet is given back after it.
const READ_BUFFER_KEPT_BYTES: usize = 256 << 10;

/// Why a connection cannot go on reading.
#[derive(Debug)]
pub(crate) enum ReadError {
    /// The peer closed between two packets.
    Closed,
    /// Longer than `max_allowed_packet`.
    TooLarge,
    /// The sequence number is not the one due.
    OutOfOrder,
    Io(io::Error),
}

impl From<io::Error> for ReadError {
    fn from(e: io::Error) -> Self {
        ReadError::Io(e)
    }
}

/// Reads and writes whole payloads; writing is buffered until `flush`.
pub(crate) struct PacketIo {
    stream: Stream,
    read: BytesMut,
    write: Vec<u8>,
    sequence: u8,
    pub max_allowed_packet: usize,
    /// From the end of the handshake on, where the client asked for it.
    compression: Option<Compression>,
}

impl PacketIo {
    pub(crate) fn new(stream: Stream, max_allowed_packet: usize) -> Self {
        PacketIo {
            stream,
            read: BytesMut::new(),
            write: Vec::new(),
            sequence: 0,
            max_allowed_packet,
            compression: None,
        }
    }

    /// What is read and written from here on is compressed.
    pub(crate) fn compress(&mut self, compression: Compression) {
        self.compression = Some(compression);
    }

    pub(crate) fn is_tls(&self) -> bool {
        self.stream.is_tls()
    }

    /// For the change to TLS: the bare stream, what has been read of it already (a client may send the beginning of TLS along
    /// with its wish), and the sequence number due.
    pub(crate) fn into_parts(self) -> (Stream, Bytes, u8) {
        (self.stream, self.read.freeze(), self.sequence)
    }

    pub(crate) fn with_sequence(mut self, sequence: u8) -> Self {
        self.sequence = sequence;
        self
    }

    /// A new command begins: numbers count from 0 again.
    pub(crate) fn reset_sequence(&mut self) {
        self.sequence = 0;
        if let Some(compression) = &mut self.compression {
            compression.reset_sequence();
        }
    }

    pub(crate) async fn read_packet(&mut self) -> Result<Bytes, ReadError> {
        let mut whole: Option<BytesMut> = None;
        loop {
            self.fill(4, whole.is_none()).await?;
            let length = self.read[0] as usize | (self.read[1] as usize) << 8 | (self.read[2] as usize) << 16;
            let sequence = self.read[3];
            // Compressed packets have numbers of their own; what those inside have, clients do not agree on.
            if sequence != self.sequence && self.compression.is_none() {
                return Err(ReadError::OutOfOrder);
            }
            let so_far = whole.as_ref().map_or(0, |w| w.len());
            if so_far + length > self.max_allowed_packet {
                return Err(ReadError::TooLarge);
            }
            self.sequence = self.sequence.wrapping_add(1);
            self.read.advance(4);
            self.fill(length, false).await?;
            let part = self.read.split_to(length);
            if self.read.is_empty() && self.read.capacity() > READ_BUFFER_KEPT_BYTES {
                self.read = BytesMut::new();
            }
            match (&mut whole, length == PAYLOAD_MAX) {
                (None, false) => return Ok(part.freeze()),
                (None, true) => whole = Some(part),
                (Some(w), more) => {
                    w.extend_from_slice(&part);
                    if !more {
                        return Ok(whole.take().unwrap_or_default().freeze());
                    }
                }
            }
        }
    }

    /// Has at least `n` bytes in the buffer afterwards.
    async fn fill(&mut self, n: usize, at_start: bool) -> Result<(), ReadError> {
        self.read.reserve(
            n.saturating_sub(self.read.len())
                .max(if self.read.is_empty() { 4096 } else { 0 }),
        );
        while self.read.len() < n {
            let more = match &mut self.compression {
                None => self.stream.read_buf(&mut self.read).await? > 0,
                Some(compression) => {
                    let more = compression.read(&mut self.stream, &mut self.read).await?;
                    self.sequence = compression.sequence();
                    more
                }
            };
            if !more {
                return Err(match at_start && self.read.is_empty() {
                    true => ReadError::Closed,
                    false => ReadError::Io(io::ErrorKind::UnexpectedEof.into()),
                });
            }
        }
        Ok(())
    }

    /// Lets `build` append one payload to the buffer, and puts the headers around it.
    pub(crate) fn put(&mut self, build: impl FnOnce(&mut Vec<u8>)) {
        let start = self.write.len();
        self.write.extend_from_slice(&[0; 4]);
        build(&mut self.write);
        let length = self.write.len() - start - 4;
        if length < PAYLOAD_MAX {
            self.header(start, length);
            return;
        }
        // Rare: over 16 MiB. Cut it up; a payload that fills its last packet exactly is followed by an empty one.
        let payload = self.write.split_off(start + 4);
        self.write.truncate(start);
        let mut rest = &payload[..];
        loop {
            let (part, after) = rest.split_at(rest.len().min(PAYLOAD_MAX));
            let at = self.write.len();
            self.write.extend_from_slice(&[0; 4]);
            self.write.extend_from_slice(part);
            self.header(at, part.len());
            if part.len() < PAYLOAD_MAX {
                return;
            }
            rest = after;
        }
    }

    fn header(&mut self, at: usize, length: usize) {
        self.write[at..at + 3].copy_from_slice(&(length as u32).to_le_bytes()[..3]);
        self.write[at + 3] = self.sequence;
        self.sequence = self.sequence.wrapping_add(1);
    }

    /// Writes the buffer out once it is large: what keeps a large result from gathering in memory.
    pub(crate) async fn flush_if_large(&mut self) -> io::Result<()> {
        if self.write.len() >= WRITE_BUFFER_BYTES {
            self.flush().await
        } else {
            Ok(())
        }
    }

    pub(crate) async fn flush(&mut self) -> io::Result<()> {
        if !self.write.is_empty() {
            match &mut self.compression {
                None => self.stream.write_all(&self.write).await?,
                Some(compression) => {
                    compression.write(&mut self.stream, &self.write).await?;
                    self.sequence = compression.sequence();
                }
            }
            self.write.clear();
            if self.write.capacity() > 4 * WRITE_BUFFER_BYTES {
                self.write.shrink_to(WRITE_BUFFER_BYTES);
            }
        }
        self.stream.flush().await
    }

    pub(crate) async fn shutdown(&mut self) {
        let _ = self.flush().await;
        let _ = self.stream.shutdown().await;
    }
}

/// Appends a length-encoded integer.
pub(crate) fn put_lenenc_int(out: &mut Vec<u8>, n: u64) {
    match n {
        0..=250 => out.push(n as u8),
        251..=0xffff => {
            out.push(0xfc);
            out.extend_from_slice(&(n as u16).to_le_bytes());
        }
        0x1_0000..=0xff_ffff => {
            out.push(0xfd);
            out.extend_from_slice(&(n as u32).to_le_bytes()[..3]);
        }
        _ => {
            out.push(0xfe);
            out.extend_from_slice(&n.to_le_bytes());
        }
    }
}

/// Appends a length-encoded string.
pub(crate) fn put_lenenc_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_lenenc_int(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// A cursor over a received payload; each read fails, rather than panics, when the payload is too short.
pub(crate) struct Reader {
    pub rest: Bytes,
}

/// The packet does not have the form its command prescribes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

impl Reader {
    pub(crate) fn new(payload: Bytes) -> Self {
        Reader { rest: payload }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(crate) fn bytes(&mut self, n: usize) -> Result<Bytes, Malformed> {
        if n > self.rest.len() {
            return Err(Malformed);
        }
        Ok(self.rest.split_to(n))
    }

    pub(crate) fn uint(&mut self, n: usize) -> Result<u64, Malformed> {
        let bytes = self.bytes(n)?;
        let mut le = [0; 8];
        le[..n].copy_from_slice(&bytes);
        Ok(u64::from_le_bytes(le))
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Malformed> {
        Ok(self.uint(1)? as u8)
    }

    pub(crate) fn lenenc_int(&mut self) -> Result<u64, Malformed> {
        match self.u8()? {
            n @ 0..=250 => Ok(n as u64),
            0xfc => self.uint(2),
            0xfd => self.uint(3),
            0xfe => self.uint(8),
            _ => Err(Malformed),
        }
    }

    pub(crate) fn lenenc_bytes(&mut self) -> Result<Bytes, Malformed> {
        let n = usize::try_from(self.lenenc_int()?).map_err(|_| Malformed)?;
        self.bytes(n)
    }

    /// Up to a zero byte, or (as some clients leave the last one out) to the end.
    pub(crate) fn zero_terminated(&mut self) -> Bytes {
        match self.rest.iter().position(|b| *b == 0) {
            Some(n) => {
                let s = self.rest.split_to(n);
                self.rest.advance(1);
                s
            }
            None => self.rest.split_off(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpStream;

    use super::*;

    #[test]
    fn lenenc_round_trip_at_every_boundary() {
        for n in [
            0,
            250,
            251,
            252,
            0xffff,
            0x1_0000,
            0xff_ffff,
            0x100_0000,
            u64::MAX,
        ] {
            let mut out = Vec::new();
            put_lenenc_int(&mut out, n);
            let mut reader = Reader::new(out.into());
            assert_eq!(reader.lenenc_int(), Ok(n));
            assert!(reader.is_empty());
        }
        assert_eq!(
            Reader::new(Bytes::from_static(&[0xfc, 1])).lenenc_int(),
            Err(Malformed)
        );
        assert_eq!(
            Reader::new(Bytes::from_static(&[0xfb])).lenenc_int(),
            Err(Malformed)
        );
        assert_eq!(
            Reader::new(Bytes::from_static(&[5, 1, 2])).lenenc_bytes(),
            Err(Malformed)
        );
    }

    async fn pair() -> (PacketIo, PacketIo) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap());
        let (client, server) = tokio::join!(client, listener.accept());
        (
            PacketIo::new(Stream::Plain(client.unwrap()), 64 << 20),
            PacketIo::new(Stream::Plain(server.unwrap().0), 64 << 20),
        )
    }

    #[tokio::test]
    async fn payloads_around_16_mib_are_split_and_joined() {
        for length in [
            0,
            1,
            PAYLOAD_MAX - 1,
            PAYLOAD_MAX,
            PAYLOAD_MAX + 1,
            2 * PAYLOAD_MAX,
        ] {
            let (mut a, mut b) = pair().await;
            let payload: Vec<u8> = (0..length).map(|i| (i % 251) as u8).collect();
            let sent = payload.clone();
            let sender = tokio::spawn(async move {
                a.put(|out| out.extend_from_slice(&sent));
                a.put(|out| out.push(7));
                a.flush().await.unwrap();
                a
            });
            assert!(b.read_packet().await.unwrap() == payload, "length {length}");
            assert_eq!(&b.read_packet().await.unwrap()[..], [7]);
            sender.await.unwrap();
        }
    }

    #[tokio::test]
    async fn too_large_and_out_of_order_are_refused() {
        let (mut a, mut b) = pair().await;
        b.max_allowed_packet = 10;
        a.put(|out| out.extend_from_slice(&[0; 11]));
        a.flush().await.unwrap();
        assert!(matches!(b.read_packet().await, Err(ReadError::TooLarge)));
        let (mut a, mut b) = pair().await;
        a.sequence = 3;
        a.put(|out| out.push(1));
        a.flush().await.unwrap();
        assert!(matches!(b.read_packet().await, Err(ReadError::OutOfOrder)));
        let (a, mut b) = pair().await;
        drop(a);
        assert!(matches!(b.read_packet().await, Err(ReadError::Closed)));
    }
}
