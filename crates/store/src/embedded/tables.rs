//! Long scans past the engine's iterator, which hands each entry through seven layers even where a range lies in one run
//! of tables, and takes twice as long for it.
//!
//! What is read is the same: the tables of a keyspace and its memtable as they were when a snapshot was taken, entries up
//! to its sequence number, of each key the newest. Tables as they are later would not do: the engine drops entries that an
//! open snapshot needs from a table it writes anew, and counts on the old one for it.
//!
//! The engine's interfaces for this are those it has for its own crates: hence the exact version of it in Cargo.toml.

use std::ops::Bound;
use std::sync::Arc;

use fjall::{AbstractTree, Keyspace, SeqNo, Snapshot, UserKey, UserValue};
use lsm_tree::{BoxedIterator, InternalValue, Memtable, Table};

/// The memtable is copied when a scan goes on here, so a long one is not read.
const MAX_MEMTABLE_ENTRIES: usize = if cfg!(test) { 4 } else { 32 << 10 };

/// All that a keyspace held when a snapshot was taken.
pub(super) struct Tables {
    seqno: SeqNo,
    memtable: Arc<Memtable>,
    /// Each of tables in order, which do not overlap.
    runs: Vec<Vec<Table>>,
}

impl Tables {
    /// Takes a snapshot. With it what the keyspaces held, except where memtables were too long (which are then written to
    /// tables, in the background), or something changed at that moment.
    pub fn at_snapshot<'k>(
        keyspaces: impl Iterator<Item = &'k Keyspace> + Clone,
        snapshot: impl FnOnce() -> Snapshot,
    ) -> (Snapshot, Vec<Option<Self>>) {
        let before: Vec<_> = keyspaces.clone().map(state).collect();
        let snapshot = snapshot();
        let tables = keyspaces.zip(before).map(|(keyspace, before)| {
            let tree = &keyspace.tree;
            let memtable = tree.active_memtable();
            let version = tree.current_version();
            if before.is_none() || before != state(keyspace) {
                return None;
            }
            let runs = version.iter_levels().flat_map(|level| level.iter());
            Some(Tables {
                seqno: snapshot.seqno(),
                memtable,
                runs: runs.map(|run| run.to_vec()).collect(),
            })
        });
        let tables = tables.collect();
        (snapshot, tables)
    }

    /// The entries behind `from`. `None`: the memtable has become too long to copy.
    pub fn behind(&self, from: &[u8]) -> fjall::Result<Option<TableIter>> {
        if self.memtable.len() > 2 * MAX_MEMTABLE_ENTRIES {
            return Ok(None);
        }
        let recent = self.memtable.iter().skip_while(|e| e.key.user_key <= from);
        let recent: Vec<_> = recent.filter(|e| e.key.seqno < self.seqno).map(Ok).collect();
        let mut sources = Vec::new();
        sources.extend(Source::new(Box::new(recent.into_iter()), self.seqno)?);
        let bounds = (Bound::Excluded(UserKey::from(from)), Bound::Unbounded);
        for run in &self.runs {
            let first = run.partition_point(|table| **table.metadata.key_range.max() <= *from);
            let tables = run[first..].to_vec();
            let mut tables = tables.into_iter();
            let first = tables.next().map(|table| table.range(bounds.clone()));
            let entries = first.into_iter().flatten().chain(tables.flat_map(|t| t.iter()));
            sources.extend(Source::new(Box::new(entries), self.seqno)?);
        }
        let mut iter = TableIter {
            seqno: self.seqno,
            sources,
            lead: 0,
            bound: None,
            tie: false,
        };
        iter.choose();
        Ok(Some(iter))
    }
}

/// What changes with the memtable or the tables. `None`: there is more than tables and a short memtable.
fn state(keyspace: &Keyspace) -> Option<(u64, u64)> {
    let tree = &keyspace.tree;
    let memtable = tree.active_memtable();
    if memtable.len() > MAX_MEMTABLE_ENTRIES {
        // The scan does without: the engine's iterator reads memtables of any length.
        if let Err(error) = keyspace.rotate_memtable() {
            tracing::warn!(%error, "a memtable could not be sealed");
        }
        return None;
    }
    let state = (memtable.id(), tree.current_version().id());
    (tree.sealed_memtable_count() == 0).then_some(state)
}

/// Entries in the order of their keys, those of one key newest first.
struct Source {
    head: InternalValue,
    rest: BoxedIterator<'static>,
}

impl Source {
    /// The first entry that there was below `seqno`.
    fn new(mut rest: BoxedIterator<'static>, seqno: SeqNo) -> lsm_tree::Result<Option<Self>> {
        while let Some(head) = rest.next().transpose()? {
            if head.key.seqno < seqno {
                return Ok(Some(Source { head, rest }));
            }
        }
        Ok(None)
    }

    /// Goes on to the next key and returns the entry that was the head. `None`: there is no other, and the head stays.
    fn step(&mut self, seqno: SeqNo) -> lsm_tree::Result<Option<InternalValue>> {
        loop {
            match self.rest.next() {
                Some(Ok(entry)) => {
                    if entry.key.seqno < seqno && entry.key.user_key != self.head.key.user_key {
                        return Ok(Some(std::mem::replace(&mut self.head, entry)));
                    }
                }
                Some(Err(e)) => return Err(e),
                None => return Ok(None),
            }
        }
    }
}

pub(super) struct TableIter {
    seqno: SeqNo,
    sources: Vec<Source>,
    /// The source with the least key, and the least key of the others.
    lead: usize,
    bound: Option<UserKey>,
    /// Others have the key of the lead's head, older.
    tie: bool,
}

impl TableIter {
    fn choose(&mut self) {
        let heads = self.sources.iter().map(|source| &source.head.key).enumerate();
        let Some((lead, head)) = heads.clone().min_by_key(|(_, head)| *head) else {
            return;
        };
        let others = heads
            .filter(|(at, _)| *at != lead)
            .map(|(_, other)| &other.user_key);
        self.bound = others.min().cloned();
        self.tie = self.bound.as_ref() == Some(&head.user_key);
        self.lead = lead;
    }

    /// Takes a source's head. `true`: it was its last.
    fn take(&mut self, at: usize) -> lsm_tree::Result<(InternalValue, bool)> {
        match self.sources[at].step(self.seqno)? {
            Some(entry) => Ok((entry, false)),
            None => Ok((self.sources.swap_remove(at).head, true)),
        }
    }

    fn try_next(&mut self) -> lsm_tree::Result<Option<(UserKey, UserValue)>> {
        while !self.sources.is_empty() {
            let (entry, last) = self.take(self.lead)?;
            let key = &entry.key.user_key;
            if self.tie {
                for at in (0..self.sources.len()).rev() {
                    if self.sources[at].head.key.user_key == *key {
                        self.take(at)?;
                    }
                }
            }
            let beyond = |head: &InternalValue| {
                let bound = self.bound.as_ref();
                bound.is_some_and(|bound| head.key.user_key >= *bound)
            };
            if self.tie || last || beyond(&self.sources[self.lead].head) {
                self.choose();
            }
            if !entry.is_tombstone() {
                return Ok(Some((entry.key.user_key, entry.value)));
            }
        }
        Ok(None)
    }
}

impl Iterator for TableIter {
    type Item = fjall::Result<(UserKey, UserValue)>;

    fn next(&mut self) -> Option<Self::Item> {
        self.try_next().map_err(Into::into).transpose()
    }
}

#[cfg(test)]
mod tests;
