//! Writing run files: encoding on the caller's thread, parts uploaded meanwhile, a bounded number at once.

use bytes::Bytes;
use object_store::multipart::PartId;
use tokio::task::{JoinError, JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;
use xxhash_rust::xxh3::xxh3_64;

use crate::backend::PartPosition;
use crate::error::{Error, Result};
use crate::format::{BLOCK_RAW_BYTES, BlockInfo, Footer, MAX_ENTRY_BYTES, put_varint};
use crate::run::{HistogramBuilder, RunMeta, separator};
use crate::storage::{Multipart, ObjectStorage};
use ilmenite_store::EntryDigest;

/// Stores refuse more than 10,000 parts; half of that leaves room for estimates that were wrong.
const MAX_PARTS: usize = 5_000;

/// So many parts have one size, the next so many twice that: 5,000 parts of at first 5 MiB reach past S3's 5 TiB.
const PARTS_PER_SIZE: usize = 500;

/// An object is closed once it is so long. Few large objects: requests cost time and money each.
pub const TARGET_OBJECT_BYTES: u64 = 256 << 20;

/// The fastest of zstd's: it has the time that a slow storage leaves.
const ZSTD_LEVEL: i32 = 1;
/// What zstd takes for compressing blocks at that level, rounded up.
const COMPRESSOR_BYTES: usize = 1 << 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WriterOptions {
    /// Length of the first parts. What is shorter goes up in one put.
    pub part_bytes: usize,
    /// Parts under way at once.
    pub max_in_flight: usize,
    pub target_object_bytes: u64,
    /// For blocks written while the storage is slower than the writer. `None`: all are stored as they are.
    pub zstd_level: Option<i32>,
}

impl WriterOptions {
    /// Options with which a writer takes about a third of `budget_bytes` (and of a large one less).
    pub fn for_budget(budget_bytes: usize, storage: &ObjectStorage) -> WriterOptions {
        let least = storage.min_part_bytes().max(64 << 10);
        let most = (8 << 20).max(least);
        WriterOptions {
            part_bytes: (budget_bytes / 12).clamp(least, most),
            max_in_flight: 2,
            target_object_bytes: TARGET_OBJECT_BYTES,
            // A disk of our own is faster than any compression.
            zstd_level: (!storage.is_scratch()).then_some(ZSTD_LEVEL),
        }
    }

    /// Memory that a writer takes: the part being filled, those under way, the sparse index with its encoded form,
    /// the block being filled with its compressed form, and the compressor.
    pub fn memory_bytes(&self) -> usize {
        (self.max_in_flight + 1) * (self.part_bytes + BLOCK_RAW_BYTES)
            + 2 * self.max_index_bytes()
            + 3 * BLOCK_RAW_BYTES
            + COMPRESSOR_BYTES
    }

    /// An object is closed, too, once its sparse index is so long: keys can be as long as values.
    fn max_index_bytes(&self) -> usize {
        self.part_bytes / 2
    }
}

/// Turns sorted entries into the bytes of a file. Does no I/O.
pub(crate) struct RunEncoder {
    block: Vec<u8>,
    block_entries: u32,
    block_first_key: Vec<u8>,
    block_entry_bytes: u64,
    last_key: Vec<u8>,
    /// The last key of the block before.
    closed_last_key: Vec<u8>,
    compressor: Option<zstd::bulk::Compressor<'static>>,
    /// Whether blocks are compressed from here on, given a compressor.
    pub compressing: bool,
    scratch: Vec<u8>,
    /// Encoded, not yet taken.
    pending: Vec<u8>,
    /// `pending` does not reserve more than this unless it must.
    part_bytes: usize,
    offset: u64,
    blocks: Vec<BlockInfo>,
    index_bytes: usize,
    max_block_bytes: u32,
    histogram: HistogramBuilder,
    digest: EntryDigest,
}

impl RunEncoder {
    pub(crate) fn new(part_bytes: usize, zstd_level: Option<i32>) -> Result<RunEncoder> {
        let compressor = zstd_level.map(zstd::bulk::Compressor::new).transpose();
        let compressor = compressor.map_err(|error| Error::Bug(format!("zstd does not start: {error}")))?;
        Ok(RunEncoder {
            block: Vec::with_capacity(BLOCK_RAW_BYTES + 4096),
            block_entries: 0,
            block_first_key: Vec::new(),
            block_entry_bytes: 0,
            last_key: Vec::new(),
            closed_last_key: Vec::new(),
            compressor,
            compressing: true,
            scratch: Vec::new(),
            pending: Vec::with_capacity(part_bytes.min(1 << 20)),
            part_bytes: part_bytes + BLOCK_RAW_BYTES,
            offset: 0,
            blocks: Vec::new(),
            index_bytes: 0,
            max_block_bytes: 0,
            histogram: HistogramBuilder::new(BLOCK_RAW_BYTES as u64),
            digest: EntryDigest::default(),
        })
    }

    pub(crate) fn push(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        let len = key.len().saturating_add(value.len());
        if len > MAX_ENTRY_BYTES {
            return Err(Error::TooLarge {
                what: "index entry",
                size: len as u64,
                limit: MAX_ENTRY_BYTES as u64,
            });
        }
        if self.digest.entries > 0 && key < &self.last_key[..] {
            return Err(Error::Bug("entries reach a run out of order".into()));
        }
        if self.block_entries == 0 {
            self.block_first_key.clear();
            self.block_first_key.extend_from_slice(key);
        }
        put_varint(&mut self.block, key.len() as u32);
        put_varint(&mut self.block, value.len() as u32);
        self.block.extend_from_slice(key);
        self.block.extend_from_slice(value);
        self.block_entries += 1;
        self.block_entry_bytes += len as u64;
        self.digest.add(key, value);
        self.last_key.clear();
        self.last_key.extend_from_slice(key);
        if self.block.len() >= BLOCK_RAW_BYTES {
            self.close_block()?;
        }
        Ok(())
    }

    fn close_block(&mut self) -> Result<()> {
        if self.block_entries == 0 {
            return Ok(());
        }
        let mut stored = &self.block;
        if let Some(compressor) = self.compressor.as_mut().filter(|_| self.compressing) {
            self.scratch.clear();
            let bound = zstd::zstd_safe::compress_bound(self.block.len());
            self.scratch.reserve(bound);
            compressor
                .compress_to_buffer(&self.block, &mut self.scratch)
                .map_err(|error| Error::Bug(format!("zstd cannot compress: {error}")))?;
            if self.scratch.len() < self.block.len() {
                stored = &self.scratch;
            }
        }
        let first_key = Bytes::copy_from_slice(&self.block_first_key);
        let info = BlockInfo {
            offset: self.offset,
            stored_len: stored.len() as u32,
            raw_len: self.block.len() as u32,
            entries: self.block_entries,
            checksum: xxh3_64(stored),
            first_key,
        };
        let needed = self.pending.len() + stored.len();
        if needed > self.pending.capacity() {
            let capacity = needed.max((2 * self.pending.capacity()).min(self.part_bytes));
            self.pending.reserve_exact(capacity - self.pending.len());
        }
        self.pending.extend_from_slice(stored);
        self.offset = info.end();
        self.max_block_bytes = self.max_block_bytes.max(info.raw_len);
        self.index_bytes += info.first_key.len() + size_of::<BlockInfo>();
        let first_block = self.blocks.is_empty();
        let (before, first) = (&self.closed_last_key, &info.first_key);
        self.histogram
            .add(u64::from(info.entries), self.block_entry_bytes, || {
                if first_block {
                    first.clone()
                } else {
                    separator(before, first)
                }
            });
        self.blocks.push(info);
        self.closed_last_key.clone_from(&self.last_key);
        self.block.clear();
        // One huge entry must not keep its memory for the rest of the run.
        if self.block.capacity() > 4 * BLOCK_RAW_BYTES {
            self.block.shrink_to(BLOCK_RAW_BYTES);
            self.scratch = Vec::new();
        }
        self.block_entries = 0;
        self.block_entry_bytes = 0;
        Ok(())
    }

    /// Bytes of the file encoded so far.
    pub(crate) fn encoded_bytes(&self) -> u64 {
        self.offset
    }

    pub(crate) fn pending_bytes(&self) -> usize {
        self.pending.len()
    }

    pub(crate) fn entries(&self) -> u64 {
        self.digest.entries
    }

    #[cfg(test)]
    pub(crate) fn memory_bytes(&self) -> usize {
        self.block.capacity() + self.scratch.capacity() + self.pending.capacity() + self.index_bytes
    }

    pub(crate) fn take_pending(&mut self) -> Vec<u8> {
        let capacity = self.pending.len();
        std::mem::replace(&mut self.pending, Vec::with_capacity(capacity))
    }

    /// The rest of the file, and what to remember of it. `path` becomes the name in the meta.
    pub(crate) fn finish(mut self, path: String) -> Result<(Vec<u8>, RunMeta)> {
        self.close_block()?;
        let first_key = self
            .blocks
            .first()
            .map_or_else(Bytes::new, |block| block.first_key.clone());
        let footer = Footer {
            digest: self.digest,
            min_key: first_key,
            max_key: Bytes::copy_from_slice(&self.last_key),
            blocks: self.blocks,
        };
        let footer_bytes = footer.encode();
        let meta = RunMeta {
            path,
            min_key: footer.min_key.clone(),
            max_key: footer.max_key.clone(),
            digest: self.digest,
            stored_bytes: self.offset + footer_bytes.len() as u64,
            footer_bytes: footer_bytes.len() as u64,
            blocks: footer.blocks.len() as u32,
            max_block_bytes: self.max_block_bytes,
            histogram: self.histogram.finish(),
        };
        self.pending.extend_from_slice(&footer_bytes);
        Ok((self.pending, meta))
    }
}

/// Writes one run file. `push` encodes; `flush` hands finished parts to the store; `finish` makes the object appear.
/// Dropped before `finish`, nothing of it appears.
pub struct RunWriter {
    storage: ObjectStorage,
    path: String,
    options: WriterOptions,
    cancel: CancellationToken,
    encoder: RunEncoder,
    // The uploads of parts end before the upload that they belong to is aborted: dropped in this order.
    in_flight: JoinSet<Result<(usize, PartId)>>,
    upload: Option<Multipart>,
    parts: Vec<Option<PartId>>,
    sent_bytes: u64,
}

impl RunWriter {
    pub fn new(
        storage: &ObjectStorage,
        path: String,
        options: WriterOptions,
        cancel: &CancellationToken,
    ) -> Result<RunWriter> {
        Ok(RunWriter {
            storage: storage.clone(),
            path,
            options,
            cancel: cancel.clone(),
            encoder: RunEncoder::new(options.part_bytes, options.zstd_level)?,
            in_flight: JoinSet::new(),
            upload: None,
            parts: Vec::new(),
            sent_bytes: 0,
        })
    }

    /// Takes the next entry, in key order. CPU only.
    pub fn push(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        self.encoder.push(key, value)
    }

    /// Whether a part is full: then `flush` before pushing more.
    pub fn needs_flush(&self) -> bool {
        self.encoder.pending_bytes() >= self.part_bytes()
    }

    /// Whether the object has reached its intended length.
    pub fn is_full(&self) -> bool {
        self.encoder.encoded_bytes() >= self.options.target_object_bytes
            || self.encoder.index_bytes >= self.options.max_index_bytes()
    }

    pub fn entries(&self) -> u64 {
        self.encoder.entries()
    }

    fn part_bytes(&self) -> usize {
        self.options.part_bytes << (self.parts.len() / PARTS_PER_SIZE).min(16)
    }

    /// Whether the storage is slower than what writes: there is no room yet for another part under way.
    fn storage_is_behind(&mut self) -> Result<bool> {
        while let Some(joined) = self.in_flight.try_join_next() {
            self.note_part(joined)?;
        }
        Ok(self.in_flight.len() >= self.options.max_in_flight)
    }

    /// Begins to upload the pending part, after waiting for room among those under way.
    pub async fn flush(&mut self) -> Result<()> {
        if self.encoder.pending_bytes() == 0 {
            return Ok(());
        }
        while self.in_flight.len() >= self.options.max_in_flight {
            self.join_part().await?;
        }
        let data = self.encoder.take_pending();
        self.send(data).await
    }

    async fn send(&mut self, data: Vec<u8>) -> Result<()> {
        if self.parts.len() >= MAX_PARTS {
            return Err(Error::TooLarge {
                what: "run file (parts)",
                size: self.parts.len() as u64 + 1,
                limit: MAX_PARTS as u64,
            });
        }
        let upload = match &mut self.upload {
            Some(upload) => upload,
            none => none.insert(self.storage.create_multipart(&self.path, &self.cancel).await?),
        };
        let at = PartPosition {
            index: self.parts.len(),
            offset: self.sent_bytes,
        };
        self.sent_bytes += data.len() as u64;
        let part = upload.put_part(at, Bytes::from(data), &self.cancel);
        self.in_flight.spawn(async move { Ok((at.index, part.await?)) });
        self.parts.push(None);
        Ok(())
    }

    async fn join_part(&mut self) -> Result<()> {
        match self.in_flight.join_next().await {
            None => Ok(()),
            Some(joined) => self.note_part(joined),
        }
    }

    fn note_part(&mut self, joined: std::result::Result<Result<(usize, PartId)>, JoinError>) -> Result<()> {
        match joined {
            Ok(Ok((index, id))) => {
                self.parts[index] = Some(id);
                Ok(())
            }
            Ok(Err(error)) => Err(error),
            Err(error) => Err(Error::Bug(format!("the task of an upload ended: {error}"))),
        }
    }

    /// Uploads the rest and makes the object appear. A run without entries is not written: `None`.
    pub async fn finish(mut self) -> Result<Option<RunMeta>> {
        if self.encoder.entries() == 0 {
            return Ok(None);
        }
        let encoder = std::mem::replace(&mut self.encoder, RunEncoder::new(0, None)?);
        let (rest, meta) = encoder.finish(self.path.clone())?;
        if self.upload.is_none() && rest.len() <= self.part_bytes() + (1 << 20) {
            self.storage
                .put(&self.path, Bytes::from(rest), &self.cancel)
                .await?;
            return Ok(Some(meta));
        }
        self.send(rest).await?;
        while !self.in_flight.is_empty() {
            self.join_part().await?;
        }
        let mut parts = Vec::with_capacity(self.parts.len());
        for part in &mut self.parts {
            parts.push(
                part.take()
                    .ok_or_else(|| Error::Bug("a part was never uploaded".into()))?,
            );
        }
        if let Some(upload) = self.upload.take() {
            upload.complete(parts, meta.stored_bytes, &self.cancel).await?;
        }
        Ok(Some(meta))
    }
}

/// Writes a sorted stream as a row of run files, `{prefix}/{number}.run`, each near the intended length.
pub struct RunSetWriter {
    storage: ObjectStorage,
    prefix: String,
    next_number: u32,
    options: WriterOptions,
    cancel: CancellationToken,
    current: Option<RunWriter>,
    /// Whether blocks are compressed: while the storage is slower than what writes, and until that is known.
    compressing: bool,
    /// The object before, whose last parts are under way.
    finishing: Option<Finishing>,
    done: Vec<RunMeta>,
}

/// Ends its task when dropped: nothing appears after its owner gave up.
struct Finishing(JoinHandle<Result<Option<RunMeta>>>);

impl Drop for Finishing {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl RunSetWriter {
    pub fn new(
        storage: &ObjectStorage,
        prefix: String,
        first_number: u32,
        options: WriterOptions,
        cancel: &CancellationToken,
    ) -> RunSetWriter {
        RunSetWriter {
            storage: storage.clone(),
            prefix,
            next_number: first_number,
            options,
            cancel: cancel.clone(),
            current: None,
            compressing: true,
            finishing: None,
            done: Vec::new(),
        }
    }

    /// The number of the next object.
    pub fn next_number(&self) -> u32 {
        self.next_number
    }

    /// Takes the next entry, in key order. CPU only. `true`: call `flush` before pushing more.
    pub fn push(&mut self, key: &[u8], value: &[u8]) -> Result<bool> {
        let writer = match &mut self.current {
            Some(writer) => writer,
            none => {
                let path = format!("{}/{:06}.run", self.prefix, self.next_number);
                self.next_number += 1;
                let mut writer = RunWriter::new(&self.storage, path, self.options, &self.cancel)?;
                writer.encoder.compressing = self.compressing;
                none.insert(writer)
            }
        };
        writer.push(key, value)?;
        Ok(writer.needs_flush() || writer.is_full())
    }

    /// Begins to upload what is complete.
    pub async fn flush(&mut self) -> Result<()> {
        let finishing = self.finishing.as_ref().is_some_and(|task| !task.0.is_finished());
        // One object at a time: its parts are what the memory was counted for.
        self.join_finishing().await?;
        if let Some(writer) = &mut self.current
            && writer.needs_flush()
        {
            self.compressing = finishing || writer.storage_is_behind()?;
            writer.encoder.compressing = self.compressing;
            writer.flush().await?;
        }
        if self.current.as_ref().is_some_and(RunWriter::is_full) {
            self.start_finish();
        }
        Ok(())
    }

    /// Lets the current object finish in the background; the next entry begins another.
    /// Must be called within a runtime.
    fn start_finish(&mut self) {
        if let Some(writer) = self.current.take() {
            self.finishing = Some(Finishing(tokio::spawn(writer.finish())));
        }
    }

    /// Ends the current run: the next entry may have any key. Its upload goes on in the background.
    pub async fn end_run(&mut self) -> Result<()> {
        self.join_finishing().await?;
        self.start_finish();
        Ok(())
    }

    async fn join_finishing(&mut self) -> Result<()> {
        if let Some(mut finishing) = self.finishing.take() {
            match (&mut finishing.0).await {
                Ok(meta) => self.done.extend(meta?),
                Err(error) => return Err(Error::Bug(format!("the task of an upload ended: {error}"))),
            }
        }
        Ok(())
    }

    /// Ends the current run, waits until its objects are there, and returns all so far.
    pub async fn settle(&mut self) -> Result<&[RunMeta]> {
        self.end_run().await?;
        self.join_finishing().await?;
        Ok(&self.done)
    }

    /// Waits until all objects are there.
    pub async fn finish(mut self) -> Result<Vec<RunMeta>> {
        self.settle().await?;
        Ok(std::mem::take(&mut self.done))
    }
}
