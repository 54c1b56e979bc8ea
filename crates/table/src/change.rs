//! What is to become of rows, and what became of them.

use std::time::Duration;

use bytes::Bytes;
use ilmenite_catalog::IndexId;
use ilmenite_codec::Handle;
use ilmenite_store::Timestamp;
use ilmenite_types::Datum;
use jiff::tz::TimeZone;

/// How rows are written.
#[derive(Debug, Clone, Copy)]
pub struct WriteOptions<'a> {
    /// Of a pessimistic transaction: a version newer than this is a write conflict, and the statement starts anew with
    /// a newer one. (An optimistic one reads at its start and has the store check at commit.)
    pub for_update_ts: Timestamp,
    /// How long to wait for other transactions' locks; zero: not at all.
    pub wait: Duration,
    /// The zone TIMESTAMPs are given in; `None`: UTC.
    pub zone: Option<&'a TimeZone>,
}

/// A row to be written: its handle, and its values by position in `TableInfo::columns`, those of columns that are not
/// public too (`TableWriter::complete` fills them in for a new row; a changed one keeps what it had).
#[derive(Debug, Clone, Copy)]
pub struct Row<'a> {
    pub handle: &'a Handle,
    pub datums: &'a [Datum],
}

/// A row that is to change or to go.
#[derive(Debug, Clone, Copy)]
pub struct OldRow<'a> {
    pub handle: &'a Handle,
    /// The row's value as the statement read it from the store; `None` has it read here. Index entries are found by
    /// what is stored, not by values that went through a time zone.
    pub stored: Option<&'a Bytes>,
}

/// What is to become of a row: `old` alone is removed, `new` alone inserted, both updated.
#[derive(Debug, Clone, Copy)]
pub struct RowChange<'a> {
    pub old: Option<OldRow<'a>>,
    pub new: Option<Row<'a>>,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RowOutcome {
    Written,
    /// Nothing at all was written of this row (its keys stay locked).
    Duplicate {
        /// The unique index it collides in; `None`: the primary key that is the row's own key.
        index: Option<IndexId>,
        /// The row that is there already.
        existing: Handle,
    },
    /// The old row is not there (any more): nothing was written.
    Missing,
}
