//! How a build is sized: pure functions, for whoever wants to know beforehand.

pub use ilmenite_table::part_bytes;

/// A batch handed to the store at once.
pub(crate) const BATCH_BYTES: usize = 256 << 10;
/// Batches on their way: the merge's, and those the store has taken over.
const BATCHES: u64 = 4;

/// What of a slot's memory write&ingest has for reading runs: its plan has to reckon with the same.
pub fn merge_budget_bytes(slot_bytes: u64) -> usize {
    slot_bytes.saturating_sub(BATCHES * BATCH_BYTES as u64) as usize
}

/// Ingests are few and large: each stalls writers for a moment, and many small ones for long.
pub const MIN_INGEST_BYTES: u64 = 64 << 20;
const MAX_INGEST_BYTES: u64 = 1 << 30;

/// What one subtask ingests of an index of `total_bytes`; no less than `least_bytes`, unless there is no more.
pub fn ingest_target_bytes(total_bytes: u64, slots: u32, least_bytes: u64) -> u64 {
    (total_bytes / u64::from(slots.max(1)))
        .max(least_bytes)
        .min(MAX_INGEST_BYTES)
}
