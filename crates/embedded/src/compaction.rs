//! Compactions let others run.
//!
//! The engine's compactions work for seconds without a pause, at the priority of statements: whoever wakes up meanwhile
//! on the same processor, the committer above all, waits until the system's clock ticks. The engine calls a filter for
//! each entry that a compaction writes, and this one keeps them all.

use std::sync::Arc;

use fjall::compaction::filter::{
    CompactionFilter, CompactionFilterResult, Context, Factory, ItemAccessor, Verdict,
};

use ilmenite_base::background;

/// For all keyspaces.
pub(crate) fn filter_factory() -> Arc<dyn Factory> {
    Arc::new(LetOthersRun)
}

struct LetOthersRun;

impl Factory for LetOthersRun {
    fn name(&self) -> &str {
        "let-others-run"
    }

    fn make_filter(&self, _: &Context) -> Box<dyn CompactionFilter> {
        background::enter_engine();
        Box::new(Entries(0))
    }
}

/// Seen so far.
struct Entries(usize);

impl CompactionFilter for Entries {
    fn filter_item(&mut self, _: ItemAccessor<'_>, _: &Context) -> CompactionFilterResult {
        background::at(self.0);
        self.0 = self.0.wrapping_add(1);
        Ok(Verdict::Keep)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compactions_keep_everything_and_let_others_run() {
        let dir = tempfile::tempdir().unwrap();
        let db = fjall::Database::builder(dir.path())
            .with_compaction_filter_factories(Arc::new(|_| Some(filter_factory())))
            .open()
            .unwrap();
        let keyspace = db.keyspace("a", fjall::KeyspaceCreateOptions::default).unwrap();
        for round in 0..3u32 {
            for number in (0..3_000u32).filter(|number| number % 3 <= round) {
                keyspace
                    .insert(number.to_be_bytes(), round.to_be_bytes())
                    .unwrap();
            }
            keyspace.rotate_memtable_and_wait().unwrap();
        }
        assert!(!background::entered());
        keyspace.major_compact().unwrap();
        assert!(background::entered(), "a compaction on this thread");
        assert_eq!(keyspace.len().unwrap(), 3_000);
        for number in 0..3_000u32 {
            let value = keyspace.get(number.to_be_bytes()).unwrap().unwrap();
            assert_eq!(&*value, &2u32.to_be_bytes());
        }
    }
}
