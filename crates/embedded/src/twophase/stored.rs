//! What is stored of transactions in two phases: their locks, by key, and what became of them.

use bytes::Bytes;

use super::record::{self, LockKind};
use crate::commit::write::{PlainWrite, VersionWrite};
use crate::format;
use crate::keyspaces::{Keyspaces, TwoPhaseKeyspaces};
use ilmenite_store::{Error, Result, Timestamp};

/// The status of a transaction that has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FinalStatus {
    Committed(Timestamp),
    RolledBack,
}

impl FinalStatus {
    /// The commit timestamp, and zero of one that was rolled back.
    pub(super) fn encode(self) -> [u8; 8] {
        let ts = match self {
            FinalStatus::Committed(ts) => ts,
            FinalStatus::RolledBack => Timestamp::ZERO,
        };
        ts.0.to_be_bytes()
    }
}

pub(super) fn two_phase(keyspaces: &Keyspaces) -> Result<&TwoPhaseKeyspaces> {
    let two_phase = keyspaces.two_phase.as_ref();
    two_phase.ok_or_else(|| Error::Bug("not opened for transactions in two phases".into()))
}

/// The status of the transaction, if it has ended.
pub(super) fn final_status(keyspaces: &Keyspaces, start_ts: Timestamp) -> Result<Option<FinalStatus>> {
    let Some(two_phase) = &keyspaces.two_phase else {
        return Ok(None);
    };
    let row = two_phase.status.get(start_ts.0.to_be_bytes());
    let row = row.map_err(|e| keyspaces.map_error(e))?;
    row.map(|row| {
        let bytes: [u8; 8] = row.as_ref().try_into().map_err(|_| Error::Damaged {
            path: two_phase.status.path().display().to_string(),
            detail: format!("the status of transaction {start_ts} is {} bytes long", row.len()),
        })?;
        Ok(match u64::from_be_bytes(bytes) {
            0 => FinalStatus::RolledBack,
            ts => FinalStatus::Committed(Timestamp(ts)),
        })
    })
    .transpose()
}

pub(super) fn status_row(
    keyspaces: &Keyspaces,
    start_ts: Timestamp,
    status: FinalStatus,
) -> Result<PlainWrite> {
    Ok(PlainWrite {
        keyspace: two_phase(keyspaces)?.status.clone(),
        key: start_ts.0.to_be_bytes().to_vec(),
        value: Some(status.encode().to_vec()),
    })
}

/// The value a prewritten lock carries; none, when there is no lock.
pub(super) fn lock_value(keyspaces: &Keyspaces, key: &[u8]) -> Result<Bytes> {
    let locks = &two_phase(keyspaces)?.locks;
    let row = locks.get(key).map_err(|e| keyspaces.map_error(e))?;
    let Some(row) = row else {
        return Ok(Bytes::new());
    };
    let (_, value_at) = record::decode(&row, locks.path())?;
    Ok(Bytes::copy_from_slice(&row[value_at..]))
}

/// The version that a prewritten lock becomes when it is committed.
pub(super) fn version_of(keyspaces: &Keyspaces, key: &Bytes) -> Result<VersionWrite> {
    let locks = &two_phase(keyspaces)?.locks;
    let row = locks.get(key).map_err(|e| keyspaces.map_error(e))?;
    let row = row.ok_or_else(|| Error::Bug(format!("the lock on {} is not stored", hex::encode(key))))?;
    let (lock, value_at) = record::decode(&row, locks.path())?;
    let raw = match lock.kind {
        LockKind::Put => format::encode_value(Some(&row[value_at..])),
        LockKind::Delete => format::encode_value(None),
        LockKind::Lock => format::encode_lock_record(),
        LockKind::Pessimistic => return Err(Error::Bug("a pessimistic lock is stored".into())),
    };
    Ok(VersionWrite::new(keyspaces, key.clone(), raw, lock.hides))
}
