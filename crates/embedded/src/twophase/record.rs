//! Locks of transactions in two phases, and their stored form.

use bytes::Bytes;

use ilmenite_store::{Error, Result, Timestamp};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockKind {
    Put,
    Delete,
    /// Writes nothing but a lock record.
    Lock,
    /// Taken before the transaction knows what it will write; readers pass it by. Lives in memory only.
    Pessimistic,
}

#[derive(Debug, Clone)]
pub struct LockRecord {
    pub kind: LockKind,
    pub start_ts: Timestamp,
    pub primary: Bytes,
    /// From the physical part of `start_ts`.
    pub ttl_ms: u64,
    pub for_update_ts: Timestamp,
    pub txn_size: u64,
    /// It will not be committed before it. Zero: the client did not ask for this to be kept.
    pub min_commit_ts: Timestamp,
    /// There may be an older version.
    pub hides: bool,
}

/// A lock and the key it is on.
#[derive(Debug, Clone)]
pub struct LockInfo {
    pub key: Bytes,
    pub lock: LockRecord,
}

const FORMAT: u8 = 1;
/// Format, kind, hides, and five numbers.
const FIXED: usize = 3 + 5 * 8 + 4;

impl LockRecord {
    /// Has the lock outlived its time?
    pub fn expired(&self, now: Timestamp) -> bool {
        self.start_ts.millis().saturating_add(self.ttl_ms) < now.millis()
    }

    pub fn is_prewrite(&self) -> bool {
        self.kind != LockKind::Pessimistic
    }

    /// With the value it writes.
    pub(crate) fn encode(&self, value: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(FIXED + self.primary.len() + value.len());
        let kind = match self.kind {
            LockKind::Put => 0,
            LockKind::Delete => 1,
            LockKind::Lock => 2,
            LockKind::Pessimistic => 3,
        };
        out.extend_from_slice(&[FORMAT, kind, u8::from(self.hides)]);
        for number in [
            self.start_ts.0,
            self.ttl_ms,
            self.for_update_ts.0,
            self.txn_size,
            self.min_commit_ts.0,
        ] {
            out.extend_from_slice(&number.to_be_bytes());
        }
        out.extend_from_slice(&(self.primary.len() as u32).to_be_bytes());
        out.extend_from_slice(&self.primary);
        out.extend_from_slice(value);
        out
    }

    /// The lock, and where in `row` its value begins. `None`: not a lock.
    pub(crate) fn decode(row: &[u8]) -> Option<(LockRecord, usize)> {
        let (&[format, kind, hides], mut rest) = row.split_first_chunk::<3>()?;
        if format != FORMAT {
            return None;
        }
        let kind = match kind {
            0 => LockKind::Put,
            1 => LockKind::Delete,
            2 => LockKind::Lock,
            3 => LockKind::Pessimistic,
            _ => return None,
        };
        let mut numbers = [0; 5];
        for number in &mut numbers {
            let (bytes, behind) = rest.split_first_chunk::<8>()?;
            *number = u64::from_be_bytes(*bytes);
            rest = behind;
        }
        let (len, rest) = rest.split_first_chunk::<4>()?;
        let primary = rest.get(..u32::from_be_bytes(*len) as usize)?;
        let [start_ts, ttl_ms, for_update_ts, txn_size, min_commit_ts] = numbers;
        let record = LockRecord {
            kind,
            start_ts: Timestamp(start_ts),
            primary: Bytes::copy_from_slice(primary),
            ttl_ms,
            for_update_ts: Timestamp(for_update_ts),
            txn_size,
            min_commit_ts: Timestamp(min_commit_ts),
            hides: hides != 0,
        };
        Some((record, FIXED + primary.len()))
    }
}

pub(crate) fn decode(row: &[u8], path: &std::path::Path) -> Result<(LockRecord, usize)> {
    LockRecord::decode(row).ok_or_else(|| Error::Damaged {
        path: path.display().to_string(),
        detail: "a lock that does not decode".into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comes_back_as_it_was_and_garbage_does_not() {
        let lock = LockRecord {
            kind: LockKind::Delete,
            start_ts: Timestamp(1),
            primary: Bytes::from_static(b"primary"),
            ttl_ms: 2,
            for_update_ts: Timestamp(3),
            txn_size: 4,
            min_commit_ts: Timestamp(5),
            hides: true,
        };
        let row = lock.encode(b"value");
        let (back, at) = LockRecord::decode(&row).unwrap();
        assert_eq!(format!("{back:?}"), format!("{lock:?}"));
        assert_eq!(&row[at..], b"value");
        for len in 0..at {
            assert!(LockRecord::decode(&row[..len]).is_none(), "{len}");
        }
        let mut other = row.clone();
        other[0] = 9;
        assert!(LockRecord::decode(&other).is_none());
    }

    #[test]
    fn expires_by_the_store_s_time() {
        let mut lock = LockRecord {
            kind: LockKind::Put,
            start_ts: Timestamp::from_millis(1000),
            primary: Bytes::new(),
            ttl_ms: 10,
            for_update_ts: Timestamp::ZERO,
            txn_size: 0,
            min_commit_ts: Timestamp::ZERO,
            hides: false,
        };
        assert!(!lock.expired(Timestamp::from_millis(1010)));
        assert!(lock.expired(Timestamp::from_millis(1011)));
        lock.ttl_ms = u64::MAX;
        assert!(!lock.expired(Timestamp::MAX));
    }
}
