//! How a store is opened.

use std::time::Duration;

/// The length of the prefix of a key that names its partition; `None` for keys that belong to none. It must depend on
/// no more than that prefix, be at most 100, and keys of one partition must be free of prefixes of each other.
pub type PartitionFn = fn(&[u8]) -> Option<usize>;

/// What the embedded store is opened with.
#[derive(Debug, Clone)]
pub struct EmbeddedOptions {
    /// Sync the journal before a commit is acknowledged. Off: a crash of the machine (not of the process) may lose
    /// the last commits.
    pub sync: bool,
    /// Memory for blocks read from tables, and rows of ranges with many old versions.
    pub cache_bytes: u64,
    /// Which keys have a keyspace of their own: those of a table, of an index.
    pub partition: PartitionFn,
    /// How long old versions stay readable.
    pub gc_life_time: Duration,
    /// How often garbage is looked for.
    pub gc_interval: Duration,
    /// A transaction older than this no longer holds back garbage collection.
    pub max_transaction_age: Duration,
    /// Commits and ingests are refused with `DiskFull` when less than this is free; those of rows that belong to no
    /// partition when less than a quarter of it is.
    pub reserve_disk_bytes: u64,
    /// Keys and values of one transaction.
    pub max_transaction_bytes: usize,
    /// Memory for the locks of one transaction, and of all.
    pub max_transaction_lock_bytes: usize,
    pub max_lock_bytes: usize,
    /// For whoever serves the store over the network: transactions may be committed in two phases, and their locks wait
    /// for their clients over restarts. Otherwise what such a server left is settled when the store is opened.
    pub two_phase: bool,
    /// When reads change their ways.
    pub read_thresholds: ReadThresholds,
}

impl Default for EmbeddedOptions {
    fn default() -> Self {
        EmbeddedOptions {
            sync: true,
            cache_bytes: 256 << 20,
            partition: |_| None,
            gc_life_time: Duration::from_secs(600),
            gc_interval: Duration::from_secs(60),
            max_transaction_age: Duration::from_secs(3600),
            reserve_disk_bytes: 128 << 20,
            max_transaction_bytes: 128 << 20,
            max_transaction_lock_bytes: 256 << 20,
            max_lock_bytes: 1 << 30,
            two_phase: false,
            read_thresholds: ReadThresholds::default(),
        }
    }
}

/// How much a read walks before it goes on in another way, and how much is copied for that. What is read is the same with
/// any values: the defaults are those that were measured to be fast, and tests take small ones, so that few rows meet
/// every way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadThresholds {
    /// Entries of one key passed over before the cursor is moved behind them: as many as are about as fast to pass as a
    /// seek.
    pub seek_after_entries: u32,
    /// Entries of no use after which a scan turns to the range cache, which costs it more than passing a few.
    pub cache_after_entries: u32,
    /// What a range of the range cache holds at most when it is filled: each commit to it copies it. Grown to twice this
    /// it is dropped.
    pub cache_range_rows: usize,
    /// Entries walked after which a long scan past the caches leaves the engine's iterator and reads its tables.
    pub tables_after_entries: u32,
    /// The memtable is copied when a scan goes on in tables, so a longer one is not read: it is written to a table, and
    /// the scan stays with the iterator.
    pub max_memtable_entries: usize,
}

impl Default for ReadThresholds {
    fn default() -> Self {
        ReadThresholds {
            seek_after_entries: 32,
            cache_after_entries: 64,
            cache_range_rows: 64,
            tables_after_entries: 8192,
            max_memtable_entries: 32 << 10,
        }
    }
}
