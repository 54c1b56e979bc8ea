//! What the committer is asked to write.

use bytes::Bytes;
use fjall::{UserKey, UserValue};

use crate::format::{self, SUFFIX_LEN};
use crate::keyspaces::Keyspaces;
use crate::transactions::Transactions;
use ilmenite_store::{Precondition, Timestamp};

/// What a write takes in the queue besides the bytes of its key and value, about.
pub(crate) const WRITE_OVERHEAD_BYTES: usize = 64;

/// A version, or a lock record, to be written.
pub(crate) struct VersionWrite {
    pub key: Bytes,
    /// The stored key, with room for the commit timestamp behind it.
    stored: Vec<u8>,
    raw: Vec<u8>,
    /// It hides an older version, or is a delete marker.
    pub garbage: bool,
}

impl VersionWrite {
    /// `raw`: the value as stored. `hides`: there may be an older version.
    pub(crate) fn new(keyspaces: &Keyspaces, key: Bytes, raw: Vec<u8>, hides: bool) -> Self {
        let prefix = keyspaces.partition_of(&key);
        let mut stored = Vec::with_capacity(key.len() + SUFFIX_LEN + 2);
        if prefix.is_empty() {
            format::encode_default(&key, &mut stored);
        } else {
            stored.extend_from_slice(&key[prefix.len()..]);
        }
        stored.extend_from_slice(&[0; SUFFIX_LEN]);
        VersionWrite {
            stored,
            garbage: hides || raw[..] == [format::KIND_DELETE] || format::is_lock_record(&raw),
            raw,
            key,
        }
    }

    /// Key and value as stored, committed at `ts`; they are gone from it then.
    pub(crate) fn take(&mut self, ts: Timestamp) -> (UserKey, UserValue) {
        let mut stored = std::mem::take(&mut self.stored);
        debug_assert!(stored.len() > SUFFIX_LEN, "a write is taken once");
        let suffix_at = stored.len() - SUFFIX_LEN;
        stored[suffix_at..].copy_from_slice(&format::suffix(ts));
        (stored.into(), std::mem::take(&mut self.raw).into())
    }

    fn bytes(&self) -> usize {
        self.stored.len() + self.raw.len() + WRITE_OVERHEAD_BYTES
    }
}

/// A row without versions, of a keyspace that has none, to be written (or with `None` removed).
pub(crate) struct PlainWrite {
    pub keyspace: fjall::Keyspace,
    pub key: Vec<u8>,
    pub value: Option<Vec<u8>>,
}

impl PlainWrite {
    fn bytes(&self) -> usize {
        self.key.len() + self.value.as_ref().map_or(0, Vec::len) + WRITE_OVERHEAD_BYTES
    }
}

/// Where the commit timestamp of a request's versions comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CommitAt {
    /// The next one, if it is not greater than the limit.
    Next(Option<Timestamp>),
    /// A client of two-phase commit was given it before; or there is nothing to commit.
    Given(Timestamp),
}

/// Called by the committer when the request is applied, before its sender is told.
pub(crate) type Applied = Box<dyn FnOnce(&Transactions) + Send>;

/// What the committer is to write, all of it or nothing.
pub(crate) struct WriteRequest {
    pub versions: Vec<VersionWrite>,
    pub rows: Vec<PlainWrite>,
    pub preconditions: Vec<Precondition>,
    pub at: CommitAt,
    /// Write down that the transaction of this start timestamp is committed, for those that ask later.
    pub status_of: Option<Timestamp>,
    pub sync: bool,
    /// Not refused for want of space: it ends a transaction, and makes room in the end.
    pub urgent: bool,
    pub applied: Applied,
}

impl WriteRequest {
    /// Of rows only: nothing is committed.
    pub(crate) fn of_rows(rows: Vec<PlainWrite>, sync: bool, applied: Applied) -> WriteRequest {
        WriteRequest {
            versions: Vec::new(),
            rows,
            preconditions: Vec::new(),
            at: CommitAt::Given(Timestamp::ZERO),
            status_of: None,
            sync,
            urgent: false,
            applied,
        }
    }

    /// Whether it writes no row and no index entry of a table, and locks none.
    pub(crate) fn is_of_system(&self, keyspaces: &Keyspaces) -> bool {
        let versions = self.versions.iter().map(|write| &write.key[..]);
        let rows = self.rows.iter().map(|row| &row.key[..]);
        versions
            .chain(rows)
            .all(|key| keyspaces.partition_of(key).is_empty())
    }

    /// How many entries of the engine it makes, at most.
    pub(crate) fn entries(&self) -> usize {
        self.versions.len() + self.rows.len() + usize::from(self.status_of.is_some())
    }

    pub(crate) fn bytes(&self) -> usize {
        let versions = self.versions.iter().map(VersionWrite::bytes).sum::<usize>();
        versions + self.rows.iter().map(PlainWrite::bytes).sum::<usize>()
    }
}
