//! The embedded engine: everything in one directory, on `fjall` (an LSM tree in Rust).
//!
//! What fjall gives: atomic batches over keyspaces, snapshots, recovery, bulk ingestion. What is ours: versions, time,
//! locks, group commit, a keyspace for each table and index, garbage collection, the detection of lost data, and, for
//! those who serve the store over the network, transactions in two phases. The files, in the order of the data:
//!
//! **What there is.** A value lies in the engine under its key and its commit timestamp (`format`), in one of the
//! `keyspaces`; the store's own rows are in one without versions (`meta`). `oracle` is the store's time. `transactions` has
//! what is known of those under way: when they began, and what they hold (`locks`; and in `twophase::index`, what those of
//! two phases have prewritten). `core` holds all of it together.
//!
//! **The life of a commit.** `store` is the face, `Store` for the layers above. `commit`: the caller locks the keys and
//! makes the checks, puts what is to be written (`commit::write`) into the queue (`commit::queue`) and waits; the committer
//! (`commit::committer`), one thread, makes one batch of the engine of all that wait, takes commit timestamps from the
//! oracle, numbers the batch (`watermark`) and has it synced; then it tells the range caches, lets the oracle show the
//! timestamps, and the callers go on. What became garbage by it is counted (`garbage`).
//!
//! **The life of a read.** `read` of one key: from the range cache, which has the newest rows of ranges that are read often
//! (`range_cache`, filled by `range_cache::fill`), or the newest version at the timestamp in a snapshot of the engine.
//! `scan` of a range: it is cut into the parts that lie in one keyspace each (`segment`); in each a cursor
//! (`scan::cursor`) walks entries, goes on in the range cache where they are mostly old, and on a long way past the engine's
//! iterator, in its `tables`.
//!
//! **The life of an ingest.** `ingest`: sorted pairs at a given timestamp go past journal and memtable straight into
//! tables, which become visible at once in the end, under whatever is newer. `delete_range` drops what lies there,
//! `regions` says how much that is, and where to cut it.
//!
//! **What goes.** `gc`: the safe point is the oldest timestamp anybody may read at; it waits for holds (`gc_holds`), ingests
//! and transactions; `sweep` removes what nobody can see any more. `maintenance` does that from time to time.
//!
//! **Opening and closing.** `open`: the directory is locked and checked before fjall sees it (`watermark`, `journal`), then
//! come the keyspaces, the time, what was held, and the threads (`shutdown` ends them). `options` is what one may choose.
//!
//! **Over the network.** `twophase`: locks that are stored, and transactions that their clients commit, or that others end
//! for them; `server`: what its server needs besides.
//!
//! Besides: `error` has the engine's errors in our words, `compaction` lets others run, `metrics` counts.

pub mod twophase;

mod commit;
mod compaction;
mod core;
mod delete_range;
mod error;
mod format;
mod garbage;
mod gc;
mod gc_holds;
mod ingest;
mod journal;
mod keyspaces;
mod locks;
mod maintenance;
mod meta;
mod metrics;
mod open;
mod options;
mod oracle;
mod range_cache;
mod read;
mod regions;
mod scan;
mod segment;
mod server;
mod shutdown;
mod store;
mod sweep;
mod tables;
mod transactions;
mod watermark;

pub use options::{EmbeddedOptions, PartitionFn, ReadThresholds};
pub use server::ServiceSafePoint;
pub use store::EmbeddedStore;
#[cfg(any(test, feature = "testing"))]
pub use store::Unfinished;

#[cfg(test)]
mod tests;
