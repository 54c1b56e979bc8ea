//! Long scans past the engine's iterator, which makes values of their own of each entry and hands them through seven layers
//! even where a range lies in one run of tables.
//!
//! What is read is the same: the tables of a keyspace and its memtable as they were when a snapshot was taken, entries up
//! to its sequence number, of each key the newest. Tables as they are later would not do: the engine drops entries that an
//! open snapshot needs from a table it writes anew, and counts on the old one for it.
//!
//! The engine's interfaces for this are those it has for its own crates: hence the exact version of it in Cargo.toml.

mod source;

use std::sync::Arc;

use fjall::{AbstractTree, Keyspace, SeqNo, Snapshot};
use lsm_tree::{Memtable, Table, TreeId};

use source::Source;

/// All that a keyspace held when a snapshot was taken.
pub(crate) struct Tables {
    seqno: SeqNo,
    tree: TreeId,
    memtable: Arc<Memtable>,
    max_memtable_entries: usize,
    /// Each of tables in order, which do not overlap.
    runs: Vec<Vec<Table>>,
}

impl Tables {
    /// Takes a snapshot. With it what the keyspaces held, except where memtables were too long (which are then written to
    /// tables, in the background), or something changed at that moment.
    ///
    /// `max_memtable_entries`: see `ReadThresholds`.
    pub(crate) fn at_snapshot<'k>(
        keyspaces: impl Iterator<Item = &'k Keyspace> + Clone,
        max_memtable_entries: usize,
        snapshot: impl FnOnce() -> Snapshot,
    ) -> (Snapshot, Vec<Option<Self>>) {
        let state = |keyspace| state(keyspace, max_memtable_entries);
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
                tree: tree.id(),
                memtable,
                max_memtable_entries,
                runs: runs.map(|run| run.to_vec()).collect(),
            })
        });
        let tables = tables.collect();
        (snapshot, tables)
    }

    /// The entries behind `from`. `None`: the memtable has become too long to copy.
    pub(crate) fn behind(&self, from: &[u8]) -> fjall::Result<Option<TableIter>> {
        if self.memtable.len() > 2 * self.max_memtable_entries {
            return Ok(None);
        }
        let mut sources = Vec::new();
        sources.extend(Source::of_memtable(&self.memtable, from, self.seqno)?);
        for run in &self.runs {
            sources.extend(Source::of_tables(run, self.tree, from, self.seqno)?);
        }
        let mut iter = TableIter {
            sources,
            lead: 0,
            bound: None,
            tie: false,
            given: false,
        };
        iter.choose();
        Ok(Some(iter))
    }
}

/// What changes with the memtable or the tables. `None`: there is more than tables and a short memtable.
fn state(keyspace: &Keyspace, max_memtable_entries: usize) -> Option<(u64, u64)> {
    let tree = &keyspace.tree;
    let memtable = tree.active_memtable();
    if memtable.len() > max_memtable_entries {
        // The scan does without: the engine's iterator reads memtables of any length.
        if let Err(error) = keyspace.rotate_memtable() {
            tracing::warn!(%error, "a memtable could not be sealed");
        }
        return None;
    }
    let state = (memtable.id(), tree.current_version().id());
    (tree.sealed_memtable_count() == 0).then_some(state)
}

/// The entries of several sources as one: of each key the newest, unless it is a tombstone. What is given lies where it
/// was read.
pub(crate) struct TableIter {
    sources: Vec<Source>,
    /// The source with the least key, and the least key of the others.
    lead: usize,
    bound: Option<Vec<u8>>,
    /// Others have the key of the lead, older.
    tie: bool,
    /// The lead's entry has been given.
    given: bool,
}

impl TableIter {
    fn choose(&mut self) {
        self.sources.retain(|source| !source.has_ended());
        let heads = self.sources.iter().enumerate();
        let order = |a: &Source, b: &Source| a.key().cmp(b.key()).then(b.seqno().cmp(&a.seqno()));
        let Some((lead, head)) = heads.clone().min_by(|(_, a), (_, b)| order(a, b)) else {
            return;
        };
        let others = heads.filter(|(at, _)| *at != lead).map(|(_, other)| other.key());
        let bound = others.min();
        self.tie = bound == Some(head.key());
        match bound {
            Some(bound) => bound.clone_into(self.bound.get_or_insert_default()),
            None => self.bound = None,
        }
        self.lead = lead;
    }

    /// Leaves the key of the lead.
    fn leave(&mut self) -> lsm_tree::Result<()> {
        let left = cfg!(debug_assertions).then(|| self.sources[self.lead].key().to_vec());
        self.leave_lead()?;
        debug_assert!(
            self.sources
                .iter()
                .all(|source| Some(source.key()) > left.as_deref()),
            "an older version of the key, or one passed by, would be given"
        );
        Ok(())
    }

    fn leave_lead(&mut self) -> lsm_tree::Result<()> {
        if self.tie {
            // The bound is the lead's key.
            for source in &mut self.sources {
                if Some(source.key()) == self.bound.as_deref() {
                    source.advance()?;
                }
            }
            self.choose();
            return Ok(());
        }
        let lead = &mut self.sources[self.lead];
        let beyond = |key: &[u8]| self.bound.as_ref().is_some_and(|bound| *key >= **bound);
        if !lead.advance()? || beyond(lead.key()) {
            self.choose();
        }
        Ok(())
    }

    /// Goes on to the next entry. `false`: there is none.
    pub(crate) fn advance(&mut self) -> fjall::Result<bool> {
        loop {
            if self.given {
                self.leave()?;
                self.given = false;
            }
            let Some(lead) = self.sources.get(self.lead) else {
                return Ok(false);
            };
            self.given = true;
            if !lead.is_tombstone() {
                return Ok(true);
            }
        }
    }

    /// The entry that `advance` went to.
    pub(crate) fn entry(&self) -> (&[u8], &[u8]) {
        let lead = &self.sources[self.lead];
        (lead.key(), lead.value())
    }
}

#[cfg(test)]
mod tests;
