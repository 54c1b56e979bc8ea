//! Reading a key range of a run file by ranged gets, ahead of where the reader is.

use std::collections::VecDeque;
use std::ops::Range;

use bytes::Bytes;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::error::{Error, Result};
use crate::format::{
    BLOCK_RAW_BYTES, BlockInfo, EntryPosition, Footer, FormatResult, TRAILER_BYTES, Trailer, decode_block,
    entry_at,
};
use crate::run::{RunMeta, key_word};
use crate::storage::ObjectStorage;

/// Reads and checks the footer of a run: one ranged get.
pub async fn read_footer(
    storage: &ObjectStorage,
    run: &RunMeta,
    cancel: &CancellationToken,
) -> Result<Footer> {
    let damaged = |detail: String| Error::Damaged {
        path: run.path.clone(),
        detail,
    };
    if run.footer_bytes > run.stored_bytes {
        return Err(damaged("its description contradicts itself".into()));
    }
    let (tail, total) = storage.get_tail(&run.path, run.footer_bytes, cancel).await?;
    if total != run.stored_bytes {
        return Err(damaged(format!(
            "it has {total} bytes, {} were written",
            run.stored_bytes
        )));
    }
    let footer = decode_tail(&tail, total).map_err(damaged)?;
    if footer.digest != run.digest || footer.min_key != run.min_key || footer.max_key != run.max_key {
        return Err(damaged("its footer is that of another run".into()));
    }
    Ok(footer)
}

fn decode_tail(tail: &Bytes, file_bytes: u64) -> FormatResult<Footer> {
    let trailer = Trailer::decode(tail)?;
    let body = &tail[..tail.len() - TRAILER_BYTES];
    if trailer.footer_len != body.len() as u64 {
        return Err(format!(
            "its footer has {} bytes, {} were written",
            trailer.footer_len,
            body.len()
        ));
    }
    trailer.check(body)?;
    Footer::decode(&tail.slice(..body.len()), file_bytes)
}

/// What zstd takes for decompressing, rounded up.
const DECOMPRESSOR_BYTES: usize = 192 << 10;

/// How a reader reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ReadOptions {
    /// Least bytes of a request, where the file has them.
    pub request_bytes: usize,
    /// Requests under way ahead of the one being consumed.
    pub ahead: usize,
}

impl ReadOptions {
    pub(crate) const MIN_REQUEST_BYTES: usize = 1 << 20;
    const MAX_REQUEST_BYTES: usize = 4 << 20;
    const MAX_AHEAD: usize = 3;
    const LEAST: ReadOptions = ReadOptions {
        request_bytes: Self::MIN_REQUEST_BYTES,
        ahead: 1,
    };

    /// Memory of one reader of a run: the request consumed and those ahead, each at most a block longer than wanted,
    /// a decoded block, the sparse index, and the decompressor.
    pub(crate) fn memory_bytes(&self, needs: ReaderNeeds) -> usize {
        let request = self.request_bytes + needs.max_block_bytes;
        // A short run is never more than itself in memory.
        let requests = ((self.ahead + 1) * request).min(needs.stored_bytes);
        requests + needs.max_block_bytes + 3 * needs.footer_bytes + DECOMPRESSOR_BYTES
    }

    /// The best options with which `readers` readers of such runs stay within the budget; `None`: there are none.
    pub(crate) fn for_budget(budget_bytes: usize, readers: usize, needs: ReaderNeeds) -> Option<ReadOptions> {
        let share = budget_bytes / readers.max(1);
        if Self::LEAST.memory_bytes(needs) > share {
            return None;
        }
        let mut best = Self::LEAST;
        loop {
            // More in flight first, then longer requests.
            let better = if best.ahead < Self::MAX_AHEAD {
                ReadOptions {
                    ahead: best.ahead + 1,
                    ..best
                }
            } else if best.request_bytes < Self::MAX_REQUEST_BYTES {
                ReadOptions {
                    request_bytes: best.request_bytes * 2,
                    ..best
                }
            } else {
                return Some(best);
            };
            if better.memory_bytes(needs) > share {
                return Some(best);
            }
            best = better;
        }
    }

    /// Memory of a reader at its least.
    pub(crate) fn least_bytes(needs: ReaderNeeds) -> usize {
        Self::LEAST.memory_bytes(needs)
    }
}

/// What of runs decides how much memory a reader takes: the worst of several.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ReaderNeeds {
    pub max_block_bytes: usize,
    pub footer_bytes: usize,
    pub stored_bytes: usize,
}

impl ReaderNeeds {
    /// Runs of ordinary entries, as long as they get.
    pub(crate) const TYPICAL: ReaderNeeds = ReaderNeeds {
        max_block_bytes: BLOCK_RAW_BYTES + 4096,
        footer_bytes: 256 << 10,
        stored_bytes: usize::MAX,
    };

    pub(crate) fn of<'a>(runs: impl IntoIterator<Item = &'a RunMeta>) -> ReaderNeeds {
        let mut needs = ReaderNeeds {
            max_block_bytes: 0,
            footer_bytes: 0,
            stored_bytes: 0,
        };
        for run in runs {
            needs.max_block_bytes = needs.max_block_bytes.max(run.max_block_bytes as usize);
            needs.footer_bytes = needs.footer_bytes.max(run.footer_bytes as usize);
            needs.stored_bytes = needs.stored_bytes.max(run.stored_bytes as usize);
        }
        needs
    }
}

/// A ranged get under way.
struct Fetch {
    blocks: Range<usize>,
    task: JoinHandle<Result<Bytes>>,
}

impl Drop for Fetch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A cursor over the entries of a run with keys in `[start, end)`.
pub(crate) struct RunReader {
    storage: ObjectStorage,
    path: String,
    options: ReadOptions,
    cancel: CancellationToken,
    /// Those of the range, in order.
    blocks: Vec<BlockInfo>,
    /// Blocks before this are requested.
    next_request: usize,
    fetches: VecDeque<Fetch>,
    /// The answer being consumed, and the blocks in it that are not decoded yet.
    fetched: Bytes,
    fetched_blocks: Range<usize>,
    decompressor: zstd::bulk::Decompressor<'static>,
    block: Vec<u8>,
    entries_left: u32,
    entry: EntryPosition,
    end: Bytes,
}

impl RunReader {
    /// Opens a run and stands on its first entry with a key of `[start, end)`; `None` when there is none.
    pub(crate) async fn open(
        storage: &ObjectStorage,
        run: &RunMeta,
        start: &Bytes,
        end: &Bytes,
        options: ReadOptions,
        cancel: &CancellationToken,
    ) -> Result<Option<RunReader>> {
        let mut footer = read_footer(storage, run, cancel).await?;
        let range = footer.blocks_of(start, end);
        footer.blocks.truncate(range.end);
        footer.blocks.drain(..range.start);
        let decompressor = zstd::bulk::Decompressor::new()
            .map_err(|error| Error::Bug(format!("zstd does not start: {error}")))?;
        let mut reader = RunReader {
            storage: storage.clone(),
            path: run.path.clone(),
            options,
            cancel: cancel.clone(),
            blocks: footer.blocks,
            next_request: 0,
            fetches: VecDeque::new(),
            fetched: Bytes::new(),
            fetched_blocks: 0..0,
            decompressor,
            block: Vec::new(),
            entries_left: 0,
            entry: EntryPosition::default(),
            end: end.clone(),
        };
        loop {
            if !reader.advance_in_block()? && !reader.next_block().await? {
                return Ok(None);
            }
            if reader.key() >= &start[..] {
                return Ok(Some(reader));
            }
        }
    }

    #[inline]
    pub(crate) fn key(&self) -> &[u8] {
        &self.block[self.entry.key..self.entry.value]
    }

    #[inline]
    pub(crate) fn value(&self) -> &[u8] {
        &self.block[self.entry.value..self.entry.end]
    }

    #[inline]
    pub(crate) fn key_word(&self, at: usize) -> u64 {
        key_word(self.key(), at)
    }

    /// Goes to the next entry if it is in the block at hand. `false`: the block is used up, call `next_block`.
    #[inline]
    pub(crate) fn advance_in_block(&mut self) -> Result<bool> {
        if self.entries_left == 0 {
            return Ok(false);
        }
        let Some(entry) = entry_at(&self.block, self.entry.end) else {
            return Err(self.damaged("an entry reaches past the end of its block"));
        };
        self.entry = entry;
        self.entries_left -= 1;
        Ok(!self.past_end())
    }

    /// Whether the current key is at or after the end of the range; if so, ends the reader.
    #[inline]
    fn past_end(&mut self) -> bool {
        if self.end.is_empty() || self.key() < &self.end[..] {
            return false;
        }
        self.finish();
        true
    }

    fn finish(&mut self) {
        self.entries_left = 0;
        self.fetches.clear();
        self.next_request = self.blocks.len();
        self.fetched_blocks = 0..0;
        self.fetched = Bytes::new();
    }

    /// Fetches and decodes the next block and goes to its first entry; `false` at the end of the range.
    pub(crate) async fn next_block(&mut self) -> Result<bool> {
        while self.fetched_blocks.is_empty() {
            self.request_ahead();
            let Some(mut fetch) = self.fetches.pop_front() else {
                return Ok(false);
            };
            // Before waiting: what was consumed is not kept beside what comes.
            self.fetched = Bytes::new();
            self.fetched = match (&mut fetch.task).await {
                Ok(result) => result?,
                Err(_) if self.cancel.is_cancelled() => return Err(Error::Cancelled),
                Err(error) => return Err(Error::Bug(format!("the task of a read ended: {error}"))),
            };
            self.fetched_blocks = fetch.blocks.clone();
            self.request_ahead();
        }
        let index = self.fetched_blocks.start;
        self.fetched_blocks.start += 1;
        let info = &self.blocks[index];
        let stored = self.fetched.split_to(info.stored_len as usize);
        let decoded = decode_block(info, &stored, &mut self.decompressor, &mut self.block);
        decoded.map_err(|detail| self.damaged(&detail))?;
        let info = &self.blocks[index];
        let Some(entry) = entry_at(&self.block, 0) else {
            return Err(self.damaged("an entry reaches past the end of its block"));
        };
        if self.block[entry.key..entry.value] != info.first_key[..] {
            return Err(self.damaged("a block does not begin with the key that the footer names"));
        }
        self.entry = entry;
        self.entries_left = info.entries - 1;
        Ok(!self.past_end())
    }

    fn request_ahead(&mut self) {
        while self.fetches.len() < self.options.ahead.max(1) && self.next_request < self.blocks.len() {
            let first = self.next_request;
            let start = self.blocks[first].offset;
            let mut last = first;
            while last + 1 < self.blocks.len()
                && self.blocks[last].end() - start < self.options.request_bytes as u64
            {
                last += 1;
            }
            let range = start..self.blocks[last].end();
            let (storage, path, cancel) = (self.storage.clone(), self.path.clone(), self.cancel.clone());
            let task = tokio::spawn(async move { storage.get_range(&path, range, &cancel).await });
            self.fetches.push_back(Fetch {
                blocks: first..last + 1,
                task,
            });
            self.next_request = last + 1;
        }
    }

    /// Memory held, by capacity; what is under way counts as arrived.
    #[cfg(test)]
    pub(crate) fn memory_bytes(&self) -> usize {
        let under_way = self.fetches.iter().map(|fetch| {
            let blocks = &self.blocks[fetch.blocks.clone()];
            blocks
                .iter()
                .map(|block| block.stored_len as usize)
                .sum::<usize>()
        });
        let keys: usize = self.blocks.iter().map(|block| block.first_key.len()).sum();
        let consumed: usize = self.blocks[..self.next_request]
            .iter()
            .rev()
            .take(64)
            .map(|block| block.stored_len as usize)
            .sum();
        // The answer at hand is kept whole until its last block is decoded.
        let at_hand = if self.fetched_blocks.is_empty() {
            0
        } else {
            consumed.min(self.options.request_bytes)
        };
        self.blocks.capacity() * size_of::<BlockInfo>()
            + keys
            + under_way.sum::<usize>()
            + at_hand.max(self.fetched.len())
            + self.block.capacity()
    }

    fn damaged(&self, detail: &str) -> Error {
        Error::Damaged {
            path: self.path.clone(),
            detail: detail.to_string(),
        }
    }
}
