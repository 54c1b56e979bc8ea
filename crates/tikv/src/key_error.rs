//! What a store says about a key, as an error of the trait.

use ilmenite_proto::kvrpcpb::KeyError;
use ilmenite_proto::kvrpcpb::write_conflict::Reason;
use ilmenite_store::{Error, Timestamp};

use crate::metrics::METRICS;

/// `seen_at`: the timestamp a newer version conflicts with. Locks are to be resolved before.
pub(crate) fn to_error(e: KeyError, seen_at: Timestamp) -> Error {
    let count = |kind: &str| METRICS.conflicts.with_label_values(&[kind]).inc();
    if let Some(lock) = e.locked {
        return Error::Unavailable(format!(
            "a key is locked by the transaction {} for {} ms",
            lock.lock_version, lock.lock_ttl
        ));
    }
    if let Some(conflict) = e.conflict {
        if conflict.reason() == Reason::SelfRolledBack {
            count("locks_lost");
            return Error::LocksLost(format!(
                "the transaction {} was rolled back by another that met its locks",
                conflict.start_ts
            ));
        }
        count("write_conflict");
        return Error::WriteConflict {
            key: conflict.key.to_vec(),
            start_ts: seen_at,
            conflict_ts: Timestamp(conflict.conflict_commit_ts.max(conflict.conflict_ts)),
        };
    }
    if let Some(exists) = e.already_exist {
        count("key_exists");
        return Error::KeyExists {
            key: exists.key.to_vec(),
        };
    }
    if let Some(deadlock) = e.deadlock {
        METRICS.deadlocks.inc();
        return Error::Deadlock {
            key: deadlock.lock_key.to_vec(),
            waiting_for: Timestamp(deadlock.lock_ts),
        };
    }
    if let Some(missing) = e.txn_lock_not_found {
        count("locks_lost");
        return Error::LocksLost(format!("no lock on the key {:02x?}", &missing.key[..]));
    }
    if let Some(missing) = e.txn_not_found {
        count("locks_lost");
        return Error::LocksLost(format!("the store knows no transaction {}", missing.start_ts));
    }
    if let Some(large) = e.commit_ts_too_large {
        return Error::Unavailable(format!("the commit timestamp {} is too large", large.commit_ts));
    }
    if let Some(failed) = e.assertion_failed {
        return Error::Bug(format!("an assertion on the key {:02x?} failed", &failed.key[..]));
    }
    if let Some(mismatch) = e.primary_mismatch {
        return Error::Bug(format!("not the transaction's primary: {mismatch:?}"));
    }
    let text = if e.abort.is_empty() { e.retryable } else { e.abort };
    // These have no field of their own in the protocol.
    if text.contains("PessimisticLockNotFound")
        || text.contains("TxnLockNotFound")
        || text.contains("PessimisticLockRolledBack")
    {
        count("locks_lost");
        return Error::LocksLost(text);
    }
    // Of an `ilmenite store`, which collects garbage as soon as it is told to.
    if let Some(rest) = text.strip_prefix("the snapshot at ") {
        let number = |word: Option<&str>| Timestamp(word.and_then(|w| w.parse().ok()).unwrap_or_default());
        return Error::SnapshotTooOld {
            ts: number(rest.split(' ').next()),
            safe_point: number(rest.rsplit(' ').next()),
        };
    }
    if text.contains("KeyIsTooLarge") || text.contains("key too large") {
        return Error::Invalid(text);
    }
    Error::Unavailable(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_without_a_field_of_their_own() {
        let abort = |text: &str| {
            let e = KeyError {
                abort: text.into(),
                ..KeyError::default()
            };
            to_error(e, Timestamp(9))
        };
        let own = Error::SnapshotTooOld {
            ts: Timestamp(5),
            safe_point: Timestamp(77),
        };
        match abort(&own.to_string()) {
            Error::SnapshotTooOld { ts, safe_point } => {
                assert_eq!((ts, safe_point), (Timestamp(5), Timestamp(77)))
            }
            e => panic!("{e}"),
        }
        let lost = abort("Error(Txn(Error(Mvcc(Error(PessimisticLockNotFound { start_ts: 1, key: [] })))))");
        assert!(matches!(lost, Error::LocksLost(_)));
        assert!(matches!(abort("something else"), Error::Unavailable(_)));
    }
}
