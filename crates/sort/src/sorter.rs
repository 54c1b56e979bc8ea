//! `RunSorter`: takes entries in any order, and leaves them sorted: in memory when they fit, else as runs on object
//! storage.

use ilmenite_base::background;
use ilmenite_store::KvBatch;
use tokio_util::sync::CancellationToken;

use crate::buffer::{SortBuffer, TOUCHED_AT_ONCE};
use crate::duplicates::{DuplicateFilter, DuplicatePolicy, Duplicates};
use crate::error::{Error, Result};
use crate::run::RunMeta;
use crate::storage::ObjectStorage;
use crate::writer::{RunSetWriter, WriterOptions};
use ilmenite_store::EntryDigest;

/// How often, in entries, work on the processor looks whether it was cancelled.
pub(crate) const CANCEL_CHECK_ENTRIES: usize = 1 << 14;

#[derive(Debug, Clone)]
pub struct SorterOptions {
    /// All the memory that the sorter may take: buffer, its index, and parts being uploaded.
    pub budget_bytes: usize,
    /// Objects are named `{prefix}/{number}.run`: unique to the sorter.
    pub prefix: String,
    pub duplicates: DuplicatePolicy,
    /// Hand the entries out without writing them, when all of them fit.
    pub in_memory_allowed: bool,
}

/// What came of sorting.
#[derive(Debug)]
pub struct SortOutput {
    pub run: SortedRun,
    /// All entries pushed. Less `duplicates.conflicting` and `duplicates.collapsed` it is what `run` holds.
    pub pushed: EntryDigest,
    pub duplicates: Duplicates,
    /// The entries came in order: nothing was sorted.
    pub was_sorted: bool,
}

#[derive(Debug)]
pub enum SortedRun {
    InMemory(SortedEntries),
    /// None, when nothing was pushed and holding in memory is not allowed.
    Stored(Vec<RunMeta>),
}

/// Sorts within a budget. For a thread, or at least a task, of its own: it sorts and encodes between its waits for uploads.
pub struct RunSorter {
    options: SorterOptions,
    buffer: SortBuffer,
    storage: ObjectStorage,
    writer_options: WriterOptions,
    writer: Option<RunSetWriter>,
    cancel: CancellationToken,
    pushed: EntryDigest,
    filter: DuplicateFilter,
    was_sorted: bool,
    /// The last key of the run before: sorted input continues it.
    last_key: Option<Vec<u8>>,
}

impl RunSorter {
    /// The least budget with which runs can be written to `storage`.
    pub fn min_budget_bytes(storage: &ObjectStorage) -> usize {
        let writer = WriterOptions::for_budget(0, storage).memory_bytes();
        writer + writer / 2
    }

    pub fn new(
        storage: &ObjectStorage,
        options: SorterOptions,
        cancel: &CancellationToken,
    ) -> Result<RunSorter> {
        let least = Self::min_budget_bytes(storage);
        if options.budget_bytes < least {
            let (needed, budget) = (least as u64, options.budget_bytes as u64);
            return Err(Error::BudgetTooSmall {
                what: "sorting",
                needed,
                budget,
            });
        }
        let writer_options = WriterOptions::for_budget(options.budget_bytes, storage);
        Ok(RunSorter {
            buffer: SortBuffer::new(options.budget_bytes - writer_options.memory_bytes()),
            filter: DuplicateFilter::new(options.duplicates),
            storage: storage.clone(),
            options,
            writer_options,
            writer: None,
            cancel: cancel.clone(),
            pushed: EntryDigest::default(),
            was_sorted: true,
            last_key: None,
        })
    }

    /// Adds an entry, if there is room for it. `false`: the buffer is full, and `spill_and_push` has to make room.
    #[inline]
    pub fn push(&mut self, key: &[u8], value: &[u8]) -> Result<bool> {
        let added = self.buffer.push(key, value)?;
        if added {
            self.pushed.add(key, value);
        }
        Ok(added)
    }

    /// Sorts the buffer and writes it as a run; then adds the entry.
    pub async fn spill_and_push(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        self.spill().await?;
        if self.push(key, value)? {
            return Ok(());
        }
        Err(Error::BudgetTooSmall {
            what: "one index entry",
            needed: (key.len() + value.len()) as u64,
            budget: self.options.budget_bytes as u64,
        })
    }

    /// Entries pushed so far.
    pub fn pushed(&self) -> EntryDigest {
        self.pushed
    }

    /// Duplicates found so far: only within runs already written.
    pub fn duplicates_found(&self) -> &Duplicates {
        &self.filter.found
    }

    /// Memory held by buffer and index, by capacity.
    pub fn buffer_memory_bytes(&self) -> usize {
        self.buffer.memory_bytes()
    }

    async fn spill(&mut self) -> Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        if self.cancel.is_cancelled() {
            return Err(Error::Cancelled);
        }
        self.sort_buffer();
        let writer = self.writer.get_or_insert_with(|| {
            let prefix = self.options.prefix.clone();
            RunSetWriter::new(&self.storage, prefix, 0, self.writer_options, &self.cancel)
        });
        let mut kept: Option<usize> = None;
        for index in 0..self.buffer.len() {
            if index % CANCEL_CHECK_ENTRIES == 0 && self.cancel.is_cancelled() {
                return Err(Error::Cancelled);
            }
            if index.is_multiple_of(TOUCHED_AT_ONCE) {
                background::let_others_run();
                self.buffer.touch(index);
            }
            if !passes(&mut self.filter, &self.buffer, kept, index) {
                continue;
            }
            kept = Some(index);
            let (key, value) = self.buffer.get(index);
            if writer.push(key, value)? {
                writer.flush().await?;
            }
        }
        writer.end_run().await?;
        self.buffer.clear();
        Ok(())
    }

    fn sort_buffer(&mut self) {
        let sorted = self.buffer.sort();
        let first = self.buffer.get(0).0;
        let continues = self.last_key.as_deref().is_none_or(|last| last <= first);
        self.was_sorted &= sorted && continues;
        if self.was_sorted {
            self.last_key = Some(self.buffer.get(self.buffer.len() - 1).0.to_vec());
        }
    }

    /// Writes what is in the buffer and waits until all runs so far are on storage: what a checkpoint may rely on.
    /// Afterwards nothing can be handed out in memory.
    pub async fn settle(&mut self) -> Result<Vec<RunMeta>> {
        self.spill().await?;
        match &mut self.writer {
            Some(writer) => Ok(writer.settle().await?.to_vec()),
            None => Ok(Vec::new()),
        }
    }

    /// Sorts and writes the rest and waits for all uploads; or, when nothing was written so far, hands out the
    /// entries in memory.
    pub async fn finish(mut self) -> Result<SortOutput> {
        if self.cancel.is_cancelled() {
            return Err(Error::Cancelled);
        }
        if self.writer.is_none() && self.options.in_memory_allowed {
            if !self.buffer.is_empty() {
                self.sort_buffer();
            }
            let entries = SortedEntries::new(self.buffer, &mut self.filter);
            return Ok(SortOutput {
                run: SortedRun::InMemory(entries),
                pushed: self.pushed,
                duplicates: self.filter.found,
                was_sorted: self.was_sorted,
            });
        }
        self.spill().await?;
        let runs = match self.writer.take() {
            Some(writer) => writer.finish().await?,
            None => Vec::new(),
        };
        Ok(SortOutput {
            run: SortedRun::Stored(runs),
            pushed: self.pushed,
            duplicates: self.filter.found,
            was_sorted: self.was_sorted,
        })
    }
}

/// Whether the entry at `index` stays in the stream in which the one at `kept` is the last.
fn passes(filter: &mut DuplicateFilter, buffer: &SortBuffer, kept: Option<usize>, index: usize) -> bool {
    let Some(kept) = kept.filter(|_| filter.detects()) else {
        return true;
    };
    let (first_key, first) = buffer.get(kept);
    let (key, value) = buffer.get(index);
    first_key != key || filter.equal_keys(key, first, value)
}

/// Sorted entries in memory, duplicates left out as the policy has it.
pub struct SortedEntries {
    buffer: SortBuffer,
    digest: EntryDigest,
    /// Put before all keys that batches get.
    key_prefix: Vec<u8>,
    next: usize,
}

impl std::fmt::Debug for SortedEntries {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SortedEntries({} entries)", self.len())
    }
}

impl SortedEntries {
    fn new(mut buffer: SortBuffer, filter: &mut DuplicateFilter) -> SortedEntries {
        let mut digest = EntryDigest::default();
        let mut kept = 0usize;
        for index in 0..buffer.len() {
            if index.is_multiple_of(TOUCHED_AT_ONCE) {
                background::let_others_run();
                buffer.touch(index);
            }
            if passes(filter, &buffer, kept.checked_sub(1), index) {
                let (key, value) = buffer.get(index);
                digest.add(key, value);
                buffer.move_entry(index, kept);
                kept += 1;
            }
        }
        buffer.truncate(kept);
        SortedEntries {
            buffer,
            digest,
            key_prefix: Vec::new(),
            next: 0,
        }
    }

    /// Batches have keys with `key_prefix` before them.
    pub fn with_key_prefix(self, key_prefix: &[u8]) -> SortedEntries {
        SortedEntries {
            key_prefix: key_prefix.to_vec(),
            ..self
        }
    }

    pub fn len(&self) -> usize {
        self.buffer.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Of the entries that are handed out.
    pub fn digest(&self) -> EntryDigest {
        self.digest
    }

    pub fn get(&self, index: usize) -> (&[u8], &[u8]) {
        self.buffer.get(index)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        (0..self.len()).map(|index| self.get(index))
    }

    /// Memory held, by capacity.
    pub fn memory_bytes(&self) -> usize {
        self.buffer.memory_bytes()
    }

    /// Replaces the batch's content with the next entries, about `batch_bytes` of them; `false` means the end.
    pub fn next_batch(&mut self, batch: &mut KvBatch, batch_bytes: usize) -> bool {
        batch.clear();
        while self.next < self.len() && (batch.is_empty() || batch.bytes() < batch_bytes) {
            if self.next.is_multiple_of(TOUCHED_AT_ONCE) {
                background::let_others_run();
                self.buffer.touch(self.next);
            }
            let (key, value) = self.buffer.get(self.next);
            batch.push_prefixed(&self.key_prefix, key, value);
            self.next += 1;
        }
        !batch.is_empty()
    }

    /// Begins again at the first entry.
    pub fn rewind(&mut self) {
        self.next = 0;
    }
}
