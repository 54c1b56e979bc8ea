//! The run file: sorted entries in checksummed blocks, and a footer that tells where each block begins and with what.
//!
//! All integers are little-endian. There is no header: a file is read from its end.
//!
//! ```text
//! file    := block*  footer  trailer
//! block   := the entries one after another, compressed (zstd) where that is wanted and shorter, else as they are
//! entry   := key_len varint, value_len varint, key bytes, value bytes      (varint: LEB128, at most 5 bytes)
//!
//! footer  := entries u64, raw_bytes u64 (keys and values), digest_sum u128,
//!            min_key bytes, max_key bytes, block_count u32, block_info * block_count
//! bytes   := len u32, the bytes
//! block_info := offset u64, stored_len u32, raw_len u32, entries u32, checksum u64 (xxh3_64 of the stored bytes),
//!            first_key bytes
//!            stored as it is when stored_len = raw_len, compressed when stored_len < raw_len
//!
//! trailer := footer_len u64, footer checksum u64 (xxh3_64), version u32,
//!            trailer checksum u32 (low half of xxh3_64 of the 20 bytes before it), magic 8 bytes     (32 bytes)
//! ```
//!
//! Every byte of the file is covered by one of the checksums or is one of the fixed bytes: a change of any is found.
//! Blocks lie without gaps from offset 0; keys ascend (equal ones may be neighbours) through the whole file.

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_64;

use ilmenite_store::EntryDigest;

pub const MAGIC: [u8; 8] = *b"ILMRUN\r\n";
/// Raised, too, when what the entries are changes for those who use them: since 3 their keys lack the index's prefix.
pub const VERSION: u32 = 3;
pub const TRAILER_BYTES: usize = 32;

/// Longest key plus value that a run can hold.
pub const MAX_ENTRY_BYTES: usize = 64 << 20;

/// A block is closed once it has so many raw bytes, so it can be longer by one entry.
pub const BLOCK_RAW_BYTES: usize = 128 << 10;

/// Most raw bytes of a block that a reader accepts.
const MAX_BLOCK_RAW_BYTES: usize = MAX_ENTRY_BYTES + BLOCK_RAW_BYTES + 16;

/// What is wrong with a file, without its name.
pub(crate) type FormatResult<T> = std::result::Result<T, String>;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockInfo {
    pub first_key: Bytes,
    pub offset: u64,
    pub stored_len: u32,
    pub raw_len: u32,
    pub entries: u32,
    pub checksum: u64,
}

impl BlockInfo {
    pub fn end(&self) -> u64 {
        self.offset + u64::from(self.stored_len)
    }
}

/// The decoded footer of a run file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Footer {
    pub digest: EntryDigest,
    pub min_key: Bytes,
    pub max_key: Bytes,
    pub blocks: Vec<BlockInfo>,
}

impl Footer {
    /// Footer and trailer as they stand at the end of the file.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let keys: usize = self.blocks.iter().map(|block| block.first_key.len() + 32).sum();
        let mut out = Vec::with_capacity(keys + self.min_key.len() + self.max_key.len() + 80);
        out.extend_from_slice(&self.digest.entries.to_le_bytes());
        out.extend_from_slice(&self.digest.bytes.to_le_bytes());
        out.extend_from_slice(&self.digest.sum.to_le_bytes());
        put_bytes(&mut out, &self.min_key);
        put_bytes(&mut out, &self.max_key);
        out.extend_from_slice(&(self.blocks.len() as u32).to_le_bytes());
        for block in &self.blocks {
            out.extend_from_slice(&block.offset.to_le_bytes());
            out.extend_from_slice(&block.stored_len.to_le_bytes());
            out.extend_from_slice(&block.raw_len.to_le_bytes());
            out.extend_from_slice(&block.entries.to_le_bytes());
            out.extend_from_slice(&block.checksum.to_le_bytes());
            put_bytes(&mut out, &block.first_key);
        }
        let len = out.len() as u64;
        let checksum = xxh3_64(&out);
        let trailer = out.len();
        out.extend_from_slice(&len.to_le_bytes());
        out.extend_from_slice(&checksum.to_le_bytes());
        out.extend_from_slice(&VERSION.to_le_bytes());
        let trailer_checksum = xxh3_64(&out[trailer..]) as u32;
        out.extend_from_slice(&trailer_checksum.to_le_bytes());
        out.extend_from_slice(&MAGIC);
        out
    }

    /// From the footer's bytes as checked by [`Trailer::check`]. `file_bytes` is the length of the whole file.
    pub(crate) fn decode(data: &Bytes, file_bytes: u64) -> FormatResult<Footer> {
        let mut reader = Reader { data, at: 0 };
        let digest = EntryDigest {
            entries: reader.u64()?,
            bytes: reader.u64()?,
            sum: reader.u128()?,
        };
        let min_key = reader.bytes()?;
        let max_key = reader.bytes()?;
        let count = reader.u32()? as usize;
        // Each block takes at least 32 bytes here: a wrong count must not reserve memory.
        if count > data.len() / 32 {
            return Err(format!(
                "{count} blocks do not fit a footer of {} bytes",
                data.len()
            ));
        }
        let mut blocks = Vec::with_capacity(count);
        let mut offset = 0;
        let mut entries = 0;
        for index in 0..count {
            let block = BlockInfo {
                offset: reader.u64()?,
                stored_len: reader.u32()?,
                raw_len: reader.u32()?,
                entries: reader.u32()?,
                checksum: reader.u64()?,
                first_key: reader.bytes()?,
            };
            if block.offset != offset
                || block.stored_len > block.raw_len
                || block.stored_len == 0
                || block.entries == 0
                || block.raw_len as usize > MAX_BLOCK_RAW_BYTES
            {
                return Err(format!("block {index} is described wrongly"));
            }
            offset = block.end();
            entries += u64::from(block.entries);
            blocks.push(block);
        }
        if reader.at != data.len() {
            return Err("bytes follow the footer's last block".into());
        }
        if offset + data.len() as u64 + TRAILER_BYTES as u64 != file_bytes {
            return Err(format!(
                "blocks and footer do not make up the file's {file_bytes} bytes"
            ));
        }
        let ordered = blocks
            .windows(2)
            .all(|pair| pair[0].first_key <= pair[1].first_key);
        let ends_fit = blocks.first().is_none_or(|first| first.first_key == min_key)
            && blocks.last().is_none_or(|last| last.first_key <= max_key);
        if entries != digest.entries || !ordered || !ends_fit {
            return Err("the footer contradicts itself".into());
        }
        Ok(Footer {
            digest,
            min_key,
            max_key,
            blocks,
        })
    }

    /// The indexes of the blocks that can hold keys of `[start, end)`; an empty `end` is no bound.
    pub fn blocks_of(&self, start: &[u8], end: &[u8]) -> std::ops::Range<usize> {
        // The block before the first that begins at or after `start` may reach into the range, as may, when keys are
        // repeated, none before it.
        let first = self
            .blocks
            .partition_point(|block| &block.first_key[..] < start)
            .saturating_sub(1);
        let last = if end.is_empty() {
            self.blocks.len()
        } else {
            self.blocks.partition_point(|block| &block.first_key[..] < end)
        };
        first.min(last)..last
    }
}

/// The fixed-length end of a file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Trailer {
    pub footer_len: u64,
    checksum: u64,
}

impl Trailer {
    /// From the end of a file, of which at least [`TRAILER_BYTES`] are needed.
    pub(crate) fn decode(tail: &[u8]) -> FormatResult<Trailer> {
        let Some(trailer) = tail.last_chunk::<TRAILER_BYTES>() else {
            return Err(format!("{} bytes are too few for a run file", tail.len()));
        };
        if trailer[24..] != MAGIC {
            return Err("this is no run file: its last bytes are wrong".into());
        }
        let mut reader = Reader {
            data: &Bytes::copy_from_slice(trailer),
            at: 0,
        };
        let footer_len = reader.u64()?;
        let checksum = reader.u64()?;
        let version = reader.u32()?;
        let trailer_checksum = reader.u32()?;
        if trailer_checksum != xxh3_64(&trailer[..20]) as u32 {
            return Err("the trailer's checksum is wrong".into());
        }
        if version != VERSION {
            return Err(format!("format version {version} is not known, only {VERSION}"));
        }
        Ok(Trailer { footer_len, checksum })
    }

    pub(crate) fn check(&self, footer: &[u8]) -> FormatResult<()> {
        if footer.len() as u64 != self.footer_len || xxh3_64(footer) != self.checksum {
            return Err("the footer's checksum is wrong".into());
        }
        Ok(())
    }
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    out.extend_from_slice(bytes);
}

struct Reader<'a> {
    data: &'a Bytes,
    at: usize,
}

impl Reader<'_> {
    fn array<const N: usize>(&mut self) -> FormatResult<[u8; N]> {
        let rest = self.data.get(self.at..).and_then(|rest| rest.first_chunk::<N>());
        let array = *rest.ok_or("the footer ends too early")?;
        self.at += N;
        Ok(array)
    }

    fn u32(&mut self) -> FormatResult<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> FormatResult<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn u128(&mut self) -> FormatResult<u128> {
        self.array().map(u128::from_le_bytes)
    }

    fn bytes(&mut self) -> FormatResult<Bytes> {
        let len = self.u32()? as usize;
        let end = self.at.checked_add(len).filter(|&end| end <= self.data.len());
        let end = end.ok_or("the footer ends too early")?;
        let bytes = self.data.slice(self.at..end);
        self.at = end;
        Ok(bytes)
    }
}

#[inline]
pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u32) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[inline]
fn get_varint(data: &[u8], at: &mut usize) -> Option<u32> {
    let mut value = 0u64;
    for shift in [0, 7, 14, 21, 28] {
        let byte = *data.get(*at)?;
        *at += 1;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return u32::try_from(value).ok();
        }
    }
    None
}

/// One entry within a decoded block.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct EntryPosition {
    pub key: usize,
    pub value: usize,
    pub end: usize,
}

/// The entry that begins at `at` of a decoded block.
#[inline]
pub(crate) fn entry_at(block: &[u8], mut at: usize) -> Option<EntryPosition> {
    let key_len = get_varint(block, &mut at)? as usize;
    let value_len = get_varint(block, &mut at)? as usize;
    let value = at.checked_add(key_len)?;
    let end = value.checked_add(value_len)?;
    (end <= block.len()).then_some(EntryPosition { key: at, value, end })
}

/// Checks and decodes one block into `out`, whose content is replaced.
pub(crate) fn decode_block(
    info: &BlockInfo,
    stored: &[u8],
    decompressor: &mut zstd::bulk::Decompressor<'static>,
    out: &mut Vec<u8>,
) -> FormatResult<()> {
    if stored.len() != info.stored_len as usize || xxh3_64(stored) != info.checksum {
        return Err(format!("the checksum of the block at {} is wrong", info.offset));
    }
    out.clear();
    let raw_len = info.raw_len as usize;
    out.reserve_exact(raw_len);
    if info.stored_len == info.raw_len {
        out.extend_from_slice(stored);
        return Ok(());
    }
    let written = decompressor
        .decompress_to_buffer(stored, out)
        .map_err(|error| format!("the block at {} does not decompress: {error}", info.offset))?;
    if written != raw_len {
        return Err(format!(
            "the block at {} has {written} bytes, not {raw_len}",
            info.offset
        ));
    }
    Ok(())
}
