//! Rows and index entries of one table.
//!
//! - `encoding`: from tables and indexes as the catalog has them to the codecs of their rows and entries;
//! - `writer` ([`TableWriter`]): rows written with every index kept up by its schema state, the one way DML touches a table;
//!   `change`: what it is told and what it answers; `batch`: the entries of a batch of rows; `note`, `duplicate`: what it
//!   leaves for a build, and says of a collision;
//! - `check`: table against index, and checksums; `digest`, `ranges`, `scan`: adding up ranges, on all cores.
//!
//! Knows nothing of jobs, tasks or SQL.
//!
//! What DML does to an index in each state (nodes are never two states apart):
//!
//! | state | old entry | new entry | uniqueness |
//! |---|---|---|---|
//! | none | – | – | – |
//! | delete-only, delete-reorganization | removed | – | – |
//! | write-only, write-reorganization | removed | written | checked against what is there |
//! | public | removed | written | checked, exactly |
//!
//! While a *unique* index is being built, what is there is not all there is: rows older than the build have no entry
//! yet. Three rules let the build put that right afterwards (see `backfill`):
//!
//! 1. *Own entries only.* A row that leaves a key removes the entry only when it is its own, or when there is none (then
//!    a delete marker is written all the same, to lie over what the build ingests underneath at an earlier time).
//! 2. *Noted.* Every (key, handle) written or removed is noted in the same transaction, under `i/note/…`.
//! 3. *Locked.* Every unique key that is written or removed is locked first, in every state that writes or removes, so
//!    that a check, the write that follows from it and the reconciling of that key never overlap.

// A seed of the simulation has to repeat itself.
#![deny(clippy::iter_over_hash_type)]

mod batch;
mod change;
mod check;
mod digest;
mod duplicate;
mod encoding;
mod error;
mod note;
mod ranges;
mod scan;
mod writer;

pub use change::{OldRow, Row, RowChange, RowOutcome, WriteOptions};
pub use check::{TableChecksum, check_index_at, check_table_at, checksum_table_at};
pub use digest::RangeDigest;
pub use duplicate::{decode_duplicate, duplicate_error, handle_text};
pub use encoding::{IndexCodec, TableCodec, handle_layout, index_layout, missing_value, row_column};
pub use error::{Error, Result};
pub use note::{all_notes, append_note_prefix, note_owner, note_range, split_note};
pub use ranges::{Piece, cut_range, part_bytes};
pub use scan::{options as scan_options, stored as stored_scan_options};
pub use writer::TableWriter;
