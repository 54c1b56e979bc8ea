//! The engine's errors and locks in the protocol's words, and requests in the engine's.

use std::collections::HashSet;

use ahash::RandomState;
use bytes::Bytes;
use ilmenite_embedded::twophase::{
    Assertion, ConflictReason, LockInfo, LockKind, LockWait, Op, PessimisticAction, Prewrite,
    PrewriteMutation, ReadOptions, TxnError,
};
use ilmenite_proto::kvrpcpb::{self, KeyError};
use ilmenite_proto::{deadlock, errorpb};
use ilmenite_store::{Error, Timestamp};

use crate::keys::own;

/// A refusal concerns a key, or the whole request.
pub(crate) type Refused<T> = Result<T, Box<errorpb::Error>>;

pub(crate) fn lock_kind(kind: LockKind) -> kvrpcpb::Op {
    match kind {
        LockKind::Put => kvrpcpb::Op::Put,
        LockKind::Delete => kvrpcpb::Op::Del,
        LockKind::Lock => kvrpcpb::Op::Lock,
        LockKind::Pessimistic => kvrpcpb::Op::PessimisticLock,
    }
}

pub(crate) fn lock_info(info: LockInfo) -> kvrpcpb::LockInfo {
    let LockInfo { key, lock } = info;
    kvrpcpb::LockInfo {
        lock_type: lock_kind(lock.kind).into(),
        primary_lock: lock.primary,
        lock_version: lock.start_ts.0,
        key,
        lock_ttl: lock.ttl_ms,
        txn_size: lock.txn_size,
        lock_for_update_ts: lock.for_update_ts.0,
        min_commit_ts: lock.min_commit_ts.0,
        ..Default::default()
    }
}

/// What the store as a whole cannot do now is a region error, so that clients try again; `Err` of the rest.
fn store_error(e: Error) -> Refused<String> {
    let text = e.to_string();
    let error = match e {
        Error::Unavailable(_) => errorpb::Error {
            server_is_busy: Some(errorpb::ServerIsBusy {
                reason: text.clone(),
                ..Default::default()
            }),
            ..Default::default()
        },
        Error::DiskFull(_) => errorpb::Error {
            disk_full: Some(errorpb::DiskFull {
                store_id: Vec::new(),
                reason: text.clone(),
            }),
            ..Default::default()
        },
        Error::Undetermined(_) => errorpb::Error {
            undetermined_result: Some(errorpb::UndeterminedResult {
                message: text.clone(),
            }),
            ..Default::default()
        },
        e => {
            if e.class() == ilmenite_base::ErrorClass::Bug
                || matches!(e, Error::Io(_) | Error::Damaged { .. })
            {
                tracing::error!(error = %e, "a request failed");
            }
            return Ok(text);
        }
    };
    Err(Box::new(errorpb::Error {
        message: text,
        ..error
    }))
}

/// For calls whose answer has a text for an error.
pub(crate) fn error_text(e: TxnError) -> Refused<String> {
    match e {
        TxnError::Store(e) => store_error(e),
        e => Ok(e.to_string()),
    }
}

pub(crate) fn key_error(e: TxnError) -> Refused<Box<KeyError>> {
    let text = e.to_string();
    let error = match e {
        TxnError::Locked(info) => KeyError {
            locked: Some(lock_info(info)),
            ..Default::default()
        },
        TxnError::WriteConflict {
            key,
            start_ts,
            conflict_ts,
            primary,
            reason,
        } => KeyError {
            conflict: Some(kvrpcpb::WriteConflict {
                start_ts: start_ts.0,
                // The version does not say when its transaction began.
                conflict_ts: conflict_ts.0,
                key,
                primary,
                conflict_commit_ts: conflict_ts.0,
                reason: conflict_reason(reason).into(),
            }),
            retryable: format!("WriteConflict: {text}"),
            ..Default::default()
        },
        TxnError::AlreadyExists { key } => KeyError {
            already_exist: Some(kvrpcpb::AlreadyExist { key }),
            ..Default::default()
        },
        TxnError::Deadlock { lock_ts, key, circle } => KeyError {
            deadlock: Some(kvrpcpb::Deadlock {
                lock_ts: lock_ts.0,
                deadlock_key_hash: hash(&key),
                // The key of the asker that somebody of the circle waits for.
                deadlock_key: circle.last().map(|w| w.key.clone()).unwrap_or_default(),
                lock_key: key,
                wait_chain: circle.into_iter().map(wait_entry).collect(),
            }),
            ..Default::default()
        },
        TxnError::CommitTooEarly {
            key,
            start_ts,
            commit_ts,
            min_commit_ts,
        } => KeyError {
            commit_ts_expired: Some(kvrpcpb::CommitTsExpired {
                start_ts: start_ts.0,
                attempted_commit_ts: commit_ts.0,
                key,
                min_commit_ts: min_commit_ts.0,
            }),
            ..Default::default()
        },
        TxnError::LockNotFound { key, .. } => KeyError {
            retryable: format!("TxnLockNotFound: {text}"),
            txn_lock_not_found: Some(kvrpcpb::TxnLockNotFound { key }),
            ..Default::default()
        },
        TxnError::TxnNotFound { start_ts, primary } => KeyError {
            txn_not_found: Some(kvrpcpb::TxnNotFound {
                start_ts: start_ts.0,
                primary_key: primary,
            }),
            ..Default::default()
        },
        TxnError::PrimaryMismatch(info) => KeyError {
            primary_mismatch: Some(kvrpcpb::PrimaryMismatch {
                lock_info: Some(lock_info(info)),
            }),
            ..Default::default()
        },
        TxnError::AssertionFailed {
            key,
            start_ts,
            assertion,
            existing_ts,
        } => KeyError {
            assertion_failed: Some(kvrpcpb::AssertionFailed {
                start_ts: start_ts.0,
                key,
                assertion: match assertion {
                    Assertion::None => kvrpcpb::Assertion::None,
                    Assertion::Exists => kvrpcpb::Assertion::Exist,
                    Assertion::NotExists => kvrpcpb::Assertion::NotExist,
                }
                .into(),
                existing_start_ts: existing_ts.0,
                existing_commit_ts: existing_ts.0,
            }),
            ..Default::default()
        },
        TxnError::Aborted(text) => KeyError {
            abort: text,
            ..Default::default()
        },
        TxnError::Store(e) => KeyError {
            abort: store_error(e)?,
            ..Default::default()
        },
    };
    Ok(Box::new(error))
}

fn conflict_reason(reason: ConflictReason) -> kvrpcpb::write_conflict::Reason {
    use kvrpcpb::write_conflict::Reason;
    match reason {
        ConflictReason::Optimistic => Reason::Optimistic,
        ConflictReason::PessimisticRetry => Reason::PessimisticRetry,
        ConflictReason::SelfRolledBack => Reason::SelfRolledBack,
        ConflictReason::LazyUniquenessCheck => Reason::LazyUniquenessCheck,
    }
}

/// FNV-1a.
fn hash(key: &[u8]) -> u64 {
    key.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &b| {
        (hash ^ u64::from(b)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

pub(crate) fn wait_entry(wait: LockWait) -> deadlock::WaitForEntry {
    deadlock::WaitForEntry {
        txn: wait.waiter.0,
        wait_for_txn: wait.holder.0,
        key_hash: hash(&wait.key),
        key: wait.key,
        resource_group_tag: Bytes::new(),
        wait_time: wait.waited.as_millis() as u64,
    }
}

pub(crate) fn read_options(context: Option<&kvrpcpb::Context>, version: u64) -> ReadOptions {
    let context = context.cloned().unwrap_or_default();
    ReadOptions {
        ts: Timestamp(version),
        ignore_locks: context.isolation_level() == kvrpcpb::IsolationLevel::Rc,
        bypass_cache: context.not_fill_cache,
        bypass: context.resolved_locks,
        read_through: context.committed_locks,
    }
}

/// With asynchronous commit a transaction is committed once all of it is prewritten. When it is all in this request,
/// that is one step; otherwise asynchronous commit is declined.
pub(crate) fn is_whole_async(request: &kvrpcpb::PrewriteRequest) -> bool {
    if !request.use_async_commit || request.secondaries.len() + 1 != request.mutations.len() {
        return false;
    }
    let keys: HashSet<&[u8], RandomState> = request.mutations.iter().map(|m| &m.key[..]).collect();
    let mut all = request.secondaries.iter().chain([&request.primary_lock]);
    all.all(|key| keys.contains(&key[..]))
}

/// `Err`: what the request asks for that is not to be had.
pub(crate) fn prewrite(request: &kvrpcpb::PrewriteRequest) -> Result<Prewrite, TxnError> {
    let pessimistic = request.for_update_ts > 0;
    let mut mutations = Vec::with_capacity(request.mutations.len());
    for (i, m) in request.mutations.iter().enumerate() {
        let op = match m.op() {
            kvrpcpb::Op::Put => Op::Put,
            kvrpcpb::Op::Del => Op::Delete,
            kvrpcpb::Op::Lock => Op::Lock,
            kvrpcpb::Op::Insert => Op::Insert,
            kvrpcpb::Op::CheckNotExists => Op::CheckNotExists,
            other => {
                return Err(TxnError::Aborted(format!(
                    "mutations of the kind {} cannot be prewritten here",
                    other.as_str_name()
                )));
            }
        };
        use kvrpcpb::prewrite_request::PessimisticAction as Asked;
        let action = request.pessimistic_actions.get(i).copied().unwrap_or_default();
        mutations.push(PrewriteMutation {
            op,
            key: own(&m.key),
            value: m.value.clone(),
            assertion: match m.assertion() {
                kvrpcpb::Assertion::None => Assertion::None,
                kvrpcpb::Assertion::Exist => Assertion::Exists,
                kvrpcpb::Assertion::NotExist => Assertion::NotExists,
            },
            action: match Asked::try_from(action) {
                Ok(Asked::DoPessimisticCheck) if pessimistic => PessimisticAction::Locked,
                Ok(Asked::DoConstraintCheck) if pessimistic => PessimisticAction::Check,
                _ => PessimisticAction::Skip,
            },
            expected_for_update_ts: None,
        });
    }
    for constraint in &request.for_update_ts_constraints {
        if let Some(m) = mutations.get_mut(constraint.index as usize) {
            m.expected_for_update_ts = Some(Timestamp(constraint.expected_for_update_ts));
        }
    }
    Ok(Prewrite {
        start_ts: Timestamp(request.start_version),
        primary: own(&request.primary_lock),
        mutations,
        ttl_ms: request.lock_ttl,
        for_update_ts: Timestamp(request.for_update_ts),
        txn_size: request.txn_size,
        min_commit_ts: Timestamp(request.min_commit_ts),
        one_phase: request.try_one_pc || is_whole_async(request),
        max_commit_ts: (request.max_commit_ts > 0).then_some(Timestamp(request.max_commit_ts)),
        skip_checks: request.skip_constraint_check,
        check_assertions: request.assertion_level() != kvrpcpb::AssertionLevel::Off,
        is_retry: request.context.as_ref().is_some_and(|c| c.is_retry_request),
    })
}
