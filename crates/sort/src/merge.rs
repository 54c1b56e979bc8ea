//! Merging runs: a loser tree over readers of a key range, each reading ahead within the budget.

use std::collections::VecDeque;

use ilmenite_base::background;
use ilmenite_store::{KeyRange, KvBatch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::duplicates::{DuplicateFilter, DuplicatePolicy, Duplicates};
use crate::error::{Error, Result};
use crate::loser_tree::LoserTree;
use crate::reader::{ReadOptions, ReaderNeeds, RunReader};
use crate::run::{RunMeta, common_prefix_len, overlap_in};
use crate::sorter::CANCEL_CHECK_ENTRIES;
use crate::storage::ObjectStorage;
use crate::writer::{RunSetWriter, WriterOptions};
use ilmenite_store::EntryDigest;

#[derive(Debug, Clone)]
pub struct MergeOptions {
    /// For all readers together; the caller's batch is not in it.
    pub budget_bytes: usize,
    /// About so many bytes a batch.
    pub batch_bytes: usize,
    pub duplicates: DuplicatePolicy,
}

/// A run in the tree.
struct Slot {
    reader: Option<RunReader>,
    /// The 8 bytes of the reader's key past what all keys share.
    word: u64,
}

/// A run that is being opened before its turn.
struct Opening(JoinHandle<Result<Option<RunReader>>>);

impl Drop for Opening {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The entries of several runs in key order, in batches. Runs are opened only when the stream reaches their first key,
/// so that any number of runs one after the other is read like one.
pub struct Merge {
    storage: ObjectStorage,
    range: KeyRange,
    read: ReadOptions,
    batch_bytes: usize,
    cancel: CancellationToken,
    /// Runs not yet opened, by their first keys.
    waiting: VecDeque<RunMeta>,
    opening: Option<Opening>,
    slots: Vec<Slot>,
    open: usize,
    max_open: usize,
    tree: LoserTree,
    common: usize,
    filter: DuplicateFilter,
    /// Put before all keys that are handed out.
    key_prefix: Vec<u8>,
    emitted: EntryDigest,
    /// The last entry that passed, without the prefix, when the batch that holds it has gone.
    last: Option<(Vec<u8>, Vec<u8>)>,
}

impl Merge {
    /// Over those of `runs` that reach into `range` (an empty end is no bound). Fails when more of them overlap than
    /// can be read at once in the budget: merge them in groups first.
    pub fn new(
        storage: &ObjectStorage,
        runs: &[RunMeta],
        range: KeyRange,
        options: &MergeOptions,
        cancel: &CancellationToken,
    ) -> Result<Merge> {
        let mut runs: Vec<RunMeta> = runs
            .iter()
            .filter(|run| run.intersects(&range.start, &range.end))
            .cloned()
            .collect();
        runs.sort_by(|a, b| a.min_key.cmp(&b.min_key));
        let overlap = overlap_in(&runs, &range);
        let needs = ReaderNeeds::of(&runs);
        let budget = options.budget_bytes;
        // One more than overlap, when the budget allows, so that the next in line is opened in time.
        let spare = usize::from(runs.len() > overlap);
        let with_spare =
            ReadOptions::for_budget(budget, overlap + spare, needs).map(|read| (read, overlap + spare));
        let chosen = with_spare
            .or_else(|| ReadOptions::for_budget(budget, overlap, needs).map(|read| (read, overlap)));
        let Some((read, max_open)) = chosen else {
            let needed = (overlap * ReadOptions::least_bytes(needs)) as u64;
            return Err(Error::BudgetTooSmall {
                what: "merging runs",
                needed,
                budget: budget as u64,
            });
        };
        let common = match (
            runs.iter().map(|run| &run.min_key).min(),
            runs.iter().map(|run| &run.max_key).max(),
        ) {
            (Some(min), Some(max)) => common_prefix_len(min, max),
            _ => 0,
        };
        Ok(Merge {
            storage: storage.clone(),
            range,
            read,
            batch_bytes: options.batch_bytes.max(1),
            cancel: cancel.clone(),
            waiting: runs.into(),
            opening: None,
            slots: Vec::with_capacity(max_open),
            open: 0,
            max_open,
            tree: LoserTree::default(),
            common,
            filter: DuplicateFilter::new(options.duplicates),
            key_prefix: Vec::new(),
            emitted: EntryDigest::default(),
            last: None,
        })
    }

    /// Hands out keys with `key_prefix` before them, which runs, range, digest and duplicates do without.
    pub fn with_key_prefix(self, key_prefix: &[u8]) -> Merge {
        Merge {
            key_prefix: key_prefix.to_vec(),
            ..self
        }
    }

    /// Replaces the batch's content with the next entries, keys ascending; `false` means the end.
    /// Must be called within a runtime, and uses the processor between its waits: best by `Handle::block_on` on a
    /// blocking thread.
    pub async fn next_batch(&mut self, batch: &mut KvBatch) -> Result<bool> {
        batch.clear();
        let detects = self.filter.detects();
        let mut steps = 0usize;
        while batch.is_empty() || batch.bytes() < self.batch_bytes {
            if self.wants_opening() {
                self.open_due().await?;
            }
            if self.open == 0 {
                break;
            }
            if steps.is_multiple_of(CANCEL_CHECK_ENTRIES) && self.cancel.is_cancelled() {
                return Err(Error::Cancelled);
            }
            background::at(steps);
            steps += 1;
            let winner = self.tree.winner();
            let Some(reader) = &self.slots[winner].reader else {
                return Err(Error::Bug("an empty slot won the merge".into()));
            };
            let (key, value) = (reader.key(), reader.value());
            let mut passes = true;
            if detects {
                let before = match batch.len().checked_sub(1) {
                    Some(index) => Some((&batch.key(index)[self.key_prefix.len()..], batch.value(index))),
                    None => self.last.as_ref().map(|(key, value)| (&key[..], &value[..])),
                };
                if let Some((last_key, first)) = before
                    && last_key == key
                {
                    passes = self.filter.equal_keys(key, first, value);
                }
            }
            if passes {
                self.emitted.add(key, value);
                batch.push_prefixed(&self.key_prefix, key, value);
            }
            self.advance(winner).await?;
        }
        if detects && let Some(index) = batch.len().checked_sub(1) {
            let (key, value) = self.last.get_or_insert_default();
            key.clear();
            key.extend_from_slice(&batch.key(index)[self.key_prefix.len()..]);
            value.clear();
            value.extend_from_slice(batch.value(index));
        }
        Ok(!batch.is_empty())
    }

    #[cfg(test)]
    pub(crate) fn memory_bytes(&self) -> usize {
        self.slots
            .iter()
            .filter_map(|slot| slot.reader.as_ref())
            .map(RunReader::memory_bytes)
            .sum()
    }

    /// Entries that passed so far.
    pub fn emitted(&self) -> EntryDigest {
        self.emitted
    }

    /// What was left out so far.
    pub fn duplicates(&self) -> &Duplicates {
        &self.filter.found
    }

    pub fn into_duplicates(self) -> Duplicates {
        self.filter.found
    }

    /// The winner's reader goes to its next entry.
    async fn advance(&mut self, winner: usize) -> Result<()> {
        let slot = &mut self.slots[winner];
        let Some(reader) = &mut slot.reader else {
            return Ok(());
        };
        if reader.advance_in_block()? || reader.next_block().await? {
            slot.word = reader.key_word(self.common);
        } else {
            slot.reader = None;
            self.open -= 1;
        }
        let (slots, common) = (&self.slots, self.common);
        self.tree.replay(|a, b| less(slots, common, a, b));
        Ok(())
    }

    /// Opens the waiting runs whose turn has come: those that may hold a key not greater than the winner's.
    async fn open_due(&mut self) -> Result<()> {
        while self.is_due() {
            self.open_next().await?;
        }
        if self.may_open_ahead() {
            self.begin_opening();
        }
        Ok(())
    }

    #[inline]
    fn wants_opening(&self) -> bool {
        !self.waiting.is_empty() && (self.is_due() || self.may_open_ahead())
    }

    #[inline]
    fn may_open_ahead(&self) -> bool {
        self.opening.is_none() && self.open < self.max_open && !self.waiting.is_empty()
    }

    #[inline]
    fn is_due(&self) -> bool {
        let Some(next) = self.waiting.front() else {
            return false;
        };
        if self.open == 0 {
            return true;
        }
        match &self.slots[self.tree.winner()].reader {
            Some(reader) => next.min_key <= reader.key(),
            None => true,
        }
    }

    fn begin_opening(&mut self) {
        if let Some(run) = self.waiting.front() {
            let (run, storage, range) = (run.clone(), self.storage.clone(), self.range.clone());
            let (read, cancel) = (self.read, self.cancel.clone());
            self.opening = Some(Opening(tokio::spawn(async move {
                RunReader::open(&storage, &run, &range.start, &range.end, read, &cancel).await
            })));
        }
    }

    async fn open_next(&mut self) -> Result<()> {
        if self.opening.is_none() {
            self.begin_opening();
        }
        let Some(mut opening) = self.opening.take() else {
            return Ok(());
        };
        let opened = match (&mut opening.0).await {
            Ok(result) => result?,
            Err(_) if self.cancel.is_cancelled() => return Err(Error::Cancelled),
            Err(error) => return Err(Error::Bug(format!("the task of a read ended: {error}"))),
        };
        self.waiting.pop_front();
        let Some(reader) = opened else {
            return Ok(());
        };
        let slot = Slot {
            word: reader.key_word(self.common),
            reader: Some(reader),
        };
        match self.slots.iter().position(|slot| slot.reader.is_none()) {
            Some(free) => self.slots[free] = slot,
            None => self.slots.push(slot),
        }
        self.open += 1;
        let (slots, common) = (&self.slots, self.common);
        self.tree.rebuild(slots.len(), |a, b| less(slots, common, a, b));
        Ok(())
    }
}

#[inline]
fn less(slots: &[Slot], common: usize, a: usize, b: usize) -> bool {
    let (x, y) = (&slots[a], &slots[b]);
    match (&x.reader, &y.reader) {
        (Some(left), Some(right)) => {
            if x.word != y.word {
                return x.word < y.word;
            }
            let (left, right) = (left.key(), right.key());
            // All keys share `common` bytes.
            (left.get(common..), a) < (right.get(common..), b)
        }
        (Some(_), None) => true,
        (None, _) => false,
    }
}

/// What came of merging runs into fewer.
#[derive(Debug)]
pub struct MergeOutput {
    /// Without overlap, in key order.
    pub runs: Vec<RunMeta>,
    /// What `runs` hold.
    pub emitted: EntryDigest,
    pub duplicates: Duplicates,
}

/// Merges `runs` into new ones named `{prefix}/{number}.run`, within `budget_bytes` for reading and writing together.
/// The merged runs stay: the caller deletes them once the output is recorded. For a blocking thread or a task of its
/// own: it uses the processor between its waits. Must be called within a runtime.
pub async fn merge_runs(
    storage: &ObjectStorage,
    runs: &[RunMeta],
    prefix: String,
    budget_bytes: usize,
    duplicates: DuplicatePolicy,
    cancel: &CancellationToken,
    mut progress: impl FnMut(EntryDigest) + Send,
) -> Result<MergeOutput> {
    let writer_options = merge_writer_options(budget_bytes, storage);
    let batch_bytes = merge_batch_bytes(budget_bytes);
    let writing = writer_options.memory_bytes() + 2 * batch_bytes;
    let options = MergeOptions {
        budget_bytes: budget_bytes.saturating_sub(writing),
        batch_bytes,
        duplicates,
    };
    let mut merge = Merge::new(storage, runs, KeyRange::default(), &options, cancel)?;
    let mut writer = RunSetWriter::new(storage, prefix, 0, writer_options, cancel);
    let mut batch = KvBatch::new();
    while merge.next_batch(&mut batch).await? {
        for (key, value) in batch.iter() {
            if writer.push(key, value)? {
                writer.flush().await?;
            }
        }
        progress(merge.emitted());
    }
    let emitted = merge.emitted();
    Ok(MergeOutput {
        runs: writer.finish().await?,
        emitted,
        duplicates: merge.into_duplicates(),
    })
}

fn merge_batch_bytes(budget_bytes: usize) -> usize {
    (budget_bytes / 64).clamp(16 << 10, 256 << 10)
}

fn merge_writer_options(budget_bytes: usize, storage: &ObjectStorage) -> WriterOptions {
    WriterOptions::for_budget(budget_bytes, storage)
}

/// Runs of ordinary entries that can be read at once in `budget_bytes`. At least 1.
pub fn merge_fan_in(budget_bytes: usize) -> usize {
    fan_in_for(budget_bytes, ReaderNeeds::TYPICAL)
}

pub(crate) fn fan_in_for(budget_bytes: usize, needs: ReaderNeeds) -> usize {
    (budget_bytes / ReadOptions::least_bytes(needs).max(1)).max(1)
}

/// What of `budget_bytes` is left for reading when merged runs are also written.
pub(crate) fn merge_read_budget(budget_bytes: usize) -> usize {
    // The pure planner does not know the store: the largest parts that a writer would choose for the budget.
    let part_bytes = (budget_bytes / 12).clamp(5 << 20, 8 << 20);
    let writer = WriterOptions {
        part_bytes,
        max_in_flight: 2,
        target_object_bytes: 0,
        zstd_level: Some(0),
    };
    budget_bytes.saturating_sub(writer.memory_bytes() + 2 * merge_batch_bytes(budget_bytes))
}
