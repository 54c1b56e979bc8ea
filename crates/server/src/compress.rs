//! The compressed protocol: between packets and stream, what is written is cut into pieces, each compressed by itself.
//!
//! A piece has a header of 7 bytes: 3 of its length, 1 of a sequence number of its own, 3 of the length when it is unpacked, 0
//! where it was not worth compressing. Source of the format: MySQL internals, "Compression".

use std::io;

use bytes::{Buf, BytesMut};
use flate2::{Compress, Decompress, FlushCompress, FlushDecompress, Status};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

const HEADER_BYTES: usize = 7;
/// What fits into the 3 bytes of a length.
const PIECE_BYTES_MAX: usize = (1 << 24) - 1;
/// Pieces shorter than this do not get smaller: what MySQL takes for it.
const WORTHWHILE_BYTES: usize = 50;
const ZLIB_LEVEL: u32 = 6;
const ZSTD_LEVEL_DEFAULT: i32 = 3;
const ZSTD_LEVEL_MAX: i32 = 22;

enum Method {
    Zlib(Box<Compress>),
    Zstd(zstd::bulk::Compressor<'static>),
}

pub(crate) struct Compression {
    method: Method,
    sequence: u8,
    /// Read from the stream and not unpacked yet.
    packed: BytesMut,
    scratch: Vec<u8>,
}

impl Compression {
    pub(crate) fn zlib() -> Compression {
        let compress = Compress::new(flate2::Compression::new(ZLIB_LEVEL), true);
        Compression::by(Method::Zlib(Box::new(compress)))
    }

    /// `level`: as the client asks, of 1 to 22.
    pub(crate) fn zstd(level: u8) -> io::Result<Compression> {
        let level = match i32::from(level) {
            0 => ZSTD_LEVEL_DEFAULT,
            level => level.min(ZSTD_LEVEL_MAX),
        };
        Ok(Compression::by(Method::Zstd(zstd::bulk::Compressor::new(level)?)))
    }

    fn by(method: Method) -> Compression {
        Compression {
            method,
            sequence: 0,
            packed: BytesMut::new(),
            scratch: Vec::new(),
        }
    }

    pub(crate) fn reset_sequence(&mut self) {
        self.sequence = 0;
    }

    /// The number due.
    pub(crate) fn sequence(&self) -> u8 {
        self.sequence
    }

    /// Reads one piece and appends what is in it to `out`; `false` at the end of the stream.
    pub(crate) async fn read(
        &mut self,
        stream: &mut (impl AsyncRead + Unpin),
        out: &mut BytesMut,
    ) -> io::Result<bool> {
        if !self.fill(stream, HEADER_BYTES).await? {
            return Ok(false);
        }
        let length = self.packed.get_uint_le(3) as usize;
        let sequence = self.packed.get_u8();
        let unpacked = self.packed.get_uint_le(3) as usize;
        if sequence != self.sequence {
            return Err(io::Error::other("a compressed packet out of order"));
        }
        self.sequence = self.sequence.wrapping_add(1);
        if !self.fill(stream, length).await? && length > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let piece = self.packed.split_to(length);
        match unpacked {
            0 => out.extend_from_slice(&piece),
            n => self.unpack(&piece, n, out)?,
        }
        Ok(true)
    }

    /// Has at least `n` bytes afterwards; `false` when the stream ended before there was one.
    async fn fill(&mut self, stream: &mut (impl AsyncRead + Unpin), n: usize) -> io::Result<bool> {
        self.packed.reserve(n.saturating_sub(self.packed.len()));
        while self.packed.len() < n {
            if stream.read_buf(&mut self.packed).await? == 0 {
                return match self.packed.is_empty() {
                    true => Ok(false),
                    false => Err(io::ErrorKind::UnexpectedEof.into()),
                };
            }
        }
        Ok(true)
    }

    /// Appends the `length` bytes that `piece` unpacks to, neither more nor fewer.
    fn unpack(&mut self, piece: &[u8], length: usize, out: &mut BytesMut) -> io::Result<()> {
        let damaged = || io::Error::other("a compressed packet that is damaged");
        let at = out.len();
        out.resize(at + length, 0);
        let unpacked = match &self.method {
            Method::Zlib(_) => {
                let mut zlib = Decompress::new(true);
                let status = zlib
                    .decompress(piece, &mut out[at..], FlushDecompress::Finish)
                    .map_err(|_| damaged())?;
                match status {
                    Status::StreamEnd => zlib.total_out() as usize,
                    _ => return Err(damaged()),
                }
            }
            Method::Zstd(_) => {
                zstd::bulk::decompress_to_buffer(piece, &mut out[at..]).map_err(|_| damaged())?
            }
        };
        if unpacked != length {
            return Err(damaged());
        }
        Ok(())
    }

    pub(crate) async fn write(
        &mut self,
        stream: &mut (impl AsyncWrite + Unpin),
        bytes: &[u8],
    ) -> io::Result<()> {
        for piece in bytes.chunks(PIECE_BYTES_MAX) {
            // Header and body in one buffer, for one write.
            self.scratch.clear();
            self.scratch.resize(HEADER_BYTES, 0);
            let packed = piece.len() >= WORTHWHILE_BYTES && self.pack(piece)?;
            if !packed {
                self.scratch.truncate(HEADER_BYTES);
                self.scratch.extend_from_slice(piece);
            }
            let length = self.scratch.len() - HEADER_BYTES;
            let unpacked = if packed { piece.len() } else { 0 };
            self.scratch[..3].copy_from_slice(&(length as u32).to_le_bytes()[..3]);
            self.scratch[3] = self.sequence;
            self.scratch[4..HEADER_BYTES].copy_from_slice(&(unpacked as u32).to_le_bytes()[..3]);
            self.sequence = self.sequence.wrapping_add(1);
            stream.write_all(&self.scratch).await?;
        }
        Ok(())
    }

    /// Appends `piece` to the scratch, compressed; `false` when that makes it no shorter.
    fn pack(&mut self, piece: &[u8]) -> io::Result<bool> {
        match &mut self.method {
            Method::Zlib(zlib) => {
                zlib.reset();
                self.scratch.reserve_exact(piece.len());
                let status = zlib
                    .compress_vec(piece, &mut self.scratch, FlushCompress::Finish)
                    .map_err(io::Error::other)?;
                Ok(status == Status::StreamEnd && self.scratch.len() - HEADER_BYTES < piece.len())
            }
            Method::Zstd(zstd) => {
                let bound = zstd::zstd_safe::compress_bound(piece.len());
                self.scratch.resize(HEADER_BYTES + bound, 0);
                let n = zstd.compress_to_buffer(piece, &mut self.scratch[HEADER_BYTES..])?;
                self.scratch.truncate(HEADER_BYTES + n);
                Ok(n < piece.len())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_written_is_read_however_it_compresses() {
        let noise: Vec<u8> = (0..100_000u64)
            .map(|i| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as u8)
            .collect();
        let texts: Vec<Vec<u8>> = vec![
            vec![],
            b"short".to_vec(),
            vec![b'a'; 49],
            vec![b'a'; 50],
            vec![b'a'; PIECE_BYTES_MAX + 10],
            noise,
        ];
        let methods: [fn() -> Compression; 2] = [Compression::zlib, || Compression::zstd(3).unwrap()];
        for method in methods {
            let (mut writer, mut reader) = (method(), method());
            for text in &texts {
                writer.reset_sequence();
                reader.reset_sequence();
                let mut wire = Vec::new();
                writer.write(&mut wire, text).await.unwrap();
                let (mut wire, mut out) = (&wire[..], BytesMut::new());
                while reader.read(&mut wire, &mut out).await.unwrap() {}
                assert!(out == text[..], "{} bytes", text.len());
                assert_eq!(reader.sequence(), writer.sequence());
            }
        }
    }

    #[tokio::test]
    async fn damage_is_an_error_and_takes_no_more_than_was_announced() {
        let mut wire = Vec::new();
        Compression::zlib()
            .write(&mut wire, &[b'a'; 10_000])
            .await
            .unwrap();
        for at in 0..wire.len() {
            let mut damaged = wire.clone();
            damaged[at] ^= 0x55;
            let mut out = BytesMut::new();
            let read = Compression::zlib().read(&mut &damaged[..], &mut out).await;
            assert!(read.is_err() || out[..] != [b'a'; 10_000], "byte {at}");
            assert!(out.len() <= PIECE_BYTES_MAX);
        }
        for length in 1..wire.len() {
            let mut out = BytesMut::new();
            let read = Compression::zlib().read(&mut &wire[..length], &mut out).await;
            assert!(read.is_err(), "{length} bytes");
        }
    }
}
