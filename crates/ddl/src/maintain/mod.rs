//! Rows written with every index kept up by its schema state: the one way DML touches a table.
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

mod batch;
mod duplicate;
mod error;
mod note;
mod writer;

pub use duplicate::decode_duplicate;
pub(crate) use duplicate::{conflict_of, duplicate_error, handle_text};
pub use error::WriteError;
pub(crate) use note::{all_notes, append_note_prefix, note_owner, note_range, split_note};
pub use writer::{OldRow, Row, RowChange, RowOutcome, TableWriter, WriteOptions};
