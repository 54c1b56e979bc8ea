//! Prewriting, and commit in one phase.

use std::collections::HashSet;
use std::sync::Arc;

use ahash::RandomState;
use bytes::Bytes;
use fjall::Snapshot;

use super::error::{Assertion, ConflictReason, TxnError, TxnResult, aborted};
use super::record::{LockKind, LockRecord};
use super::stored::FinalStatus;
use super::{Guard, TwoPhase};
use crate::commit::write::{CommitAt, PlainWrite, VersionWrite, WriteRequest};
use crate::keyspaces::Keyspaces;
use crate::locks::HeldKeys;
use crate::transactions::Transactions;
use crate::{commit, format, read};
use ilmenite_store::{Error, Timestamp};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    Put,
    Delete,
    /// Writes no value; a lock record, with which later writers conflict.
    Lock,
    /// A put of a key that must not exist.
    Insert,
    /// Writes nothing, checks only.
    CheckNotExists,
}

/// Of a pessimistic transaction's mutation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PessimisticAction {
    /// Neither locked before nor checked.
    Skip,
    /// Locked before.
    Locked,
    /// Not locked before; checked as in an optimistic transaction.
    Check,
}

#[derive(Debug, Clone)]
pub struct PrewriteMutation {
    pub op: Op,
    pub key: Bytes,
    pub value: Bytes,
    pub assertion: Assertion,
    pub action: PessimisticAction,
    /// The `for_update_ts` that its pessimistic lock must have.
    pub expected_for_update_ts: Option<Timestamp>,
}

#[derive(Debug, Clone)]
pub struct Prewrite {
    pub start_ts: Timestamp,
    pub primary: Bytes,
    pub mutations: Vec<PrewriteMutation>,
    pub ttl_ms: u64,
    /// Above zero: a pessimistic transaction.
    pub for_update_ts: Timestamp,
    pub txn_size: u64,
    pub min_commit_ts: Timestamp,
    /// This is the whole transaction: commit it at once, if that can be before `max_commit_ts`.
    pub one_phase: bool,
    pub max_commit_ts: Option<Timestamp>,
    /// Of an optimistic transaction: no checks for newer versions.
    pub skip_checks: bool,
    pub check_assertions: bool,
    /// The request may have been carried out before.
    pub is_retry: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prewritten {
    Locked,
    /// In one phase, now or by an earlier attempt.
    Committed(Timestamp),
}

/// What is to be written of a mutation that passed its checks.
struct Accepted<'m> {
    key: &'m Bytes,
    value: &'m [u8],
    lock: LockRecord,
}

impl Accepted<'_> {
    fn version(&self, keyspaces: &Keyspaces) -> VersionWrite {
        let raw = match self.lock.kind {
            LockKind::Put => format::encode_value(Some(self.value)),
            LockKind::Delete => format::encode_value(None),
            LockKind::Lock | LockKind::Pessimistic => format::encode_lock_record(),
        };
        VersionWrite::new(keyspaces, self.key.clone(), raw, self.lock.hides)
    }
}

impl TwoPhase {
    /// Locks the request's keys, each with its new value, or none of them; durably.
    pub async fn prewrite(&self, request: &Prewrite) -> TxnResult<Result<Prewritten, Vec<TxnError>>> {
        self.core.check_open()?;
        check_sizes(self.core.options.max_transaction_bytes, request)?;
        let start_ts = request.start_ts;
        let latch = self.latch(start_ts).await;
        self.check_age(start_ts)?;
        match self.final_status(start_ts)? {
            Some(FinalStatus::Committed(ts)) => return Ok(Ok(Prewritten::Committed(ts))),
            Some(FinalStatus::RolledBack) => {
                return Ok(Err(vec![TxnError::WriteConflict {
                    key: request.primary.clone(),
                    start_ts,
                    conflict_ts: start_ts,
                    primary: request.primary.clone(),
                    reason: ConflictReason::SelfRolledBack,
                }]));
            }
            None => {}
        }

        let keys: Vec<Bytes> = request.mutations.iter().map(|m| m.key.clone()).collect();
        let guard = Arc::new(Guard {
            holds: HeldKeys::new(self.lock_table(), start_ts),
            _latch: latch,
        });
        let locked = self.hold_all(start_ts, &keys, &guard.holds).await?;
        if !locked.is_empty() {
            // What is wrong without waiting is said first, as the client would wait in vain.
            return Ok(Err(locked.into_iter().map(TxnError::Locked).collect()));
        }

        let snapshot = self.core.keyspaces.db.snapshot();
        let mut accepted = Vec::with_capacity(keys.len());
        let mut one_phase = request.one_phase;
        let mut failed_assertion = None;
        for mutation in &request.mutations {
            match self.check(request, mutation, &snapshot) {
                Ok(Outcome::Write(lock)) => accepted.push(Accepted {
                    key: &mutation.key,
                    value: &mutation.value,
                    lock,
                }),
                Ok(Outcome::Nothing) => {}
                // An earlier attempt fell back to two phases.
                Ok(Outcome::Done) => one_phase = false,
                Err(e @ TxnError::AssertionFailed { .. }) => {
                    failed_assertion.get_or_insert(e);
                }
                Err(e) => return Ok(Err(vec![e])),
            }
        }
        drop(snapshot);
        if let Some(e) = failed_assertion {
            return Ok(Err(vec![e]));
        }

        if one_phase {
            match self.commit_now(request, &accepted, &guard).await {
                Err(TxnError::Store(Error::CommitTooLate { .. })) => {}
                outcome => return outcome.map(|ts| Ok(Prewritten::Committed(ts))),
            }
        }
        self.store_locks(accepted, guard).await?;
        Ok(Ok(Prewritten::Locked))
    }

    async fn commit_now(
        &self,
        request: &Prewrite,
        accepted: &[Accepted<'_>],
        guard: &Arc<Guard>,
    ) -> TxnResult<Timestamp> {
        let start_ts = request.start_ts;
        let guard = guard.clone();
        let request = WriteRequest {
            versions: accepted.iter().map(|a| a.version(&self.core.keyspaces)).collect(),
            rows: Vec::new(),
            preconditions: Vec::new(),
            at: CommitAt::Next(request.max_commit_ts),
            status_of: Some(start_ts),
            sync: true,
            urgent: false,
            applied: Box::new(move |transactions| {
                // Its pessimistic locks go with it.
                for key in transactions.locks.keys_of(start_ts) {
                    transactions.index.remove(&key, start_ts);
                }
                transactions.end(start_ts);
                drop(guard);
            }),
        };
        Ok(commit::submit(&self.core, request).await?)
    }

    async fn store_locks(&self, accepted: Vec<Accepted<'_>>, guard: Arc<Guard>) -> TxnResult<()> {
        if accepted.is_empty() {
            return Ok(());
        }
        let locks = &self.keyspaces()?.locks;
        let rows = accepted.iter().map(|a| PlainWrite {
            keyspace: locks.clone(),
            key: a.key.to_vec(),
            value: Some(a.lock.encode(a.value)),
        });
        let rows = rows.collect();
        let new: Vec<_> = accepted.into_iter().map(|a| (a.key.clone(), a.lock)).collect();
        let applied = Box::new(move |transactions: &Transactions| {
            let kept: HashSet<Bytes, RandomState> = new.iter().map(|(key, _)| key.clone()).collect();
            for (key, lock) in new {
                debug_assert!(
                    transactions.locks.holds(lock.start_ts, &key),
                    "whoever changes a key's lock holds the key"
                );
                transactions.index.put(key, lock);
            }
            guard.holds.keep(|key| kept.contains(key));
        });
        commit::submit(&self.core, WriteRequest::of_rows(rows, true, applied)).await?;
        Ok(())
    }

    /// The lock that the mutation writes, its key being held.
    fn check(&self, request: &Prewrite, m: &PrewriteMutation, snapshot: &Snapshot) -> TxnResult<Outcome> {
        let start_ts = request.start_ts;
        let pessimistic = request.for_update_ts > Timestamp::ZERO;
        let not_found = |why: &str| {
            let key = hex::encode(&m.key);
            aborted(format!(
                "PessimisticLockNotFound: start_ts {start_ts}, key {key}: {why}"
            ))
        };
        let mut lock = LockRecord {
            kind: match m.op {
                Op::Put | Op::Insert => LockKind::Put,
                Op::Delete => LockKind::Delete,
                Op::Lock | Op::CheckNotExists => LockKind::Lock,
            },
            start_ts,
            primary: request.primary.clone(),
            ttl_ms: request.ttl_ms,
            for_update_ts: request.for_update_ts,
            txn_size: request.txn_size,
            min_commit_ts: request.min_commit_ts,
            hides: true,
        };
        let mut must_be_unchanged = !pessimistic && !request.skip_checks;
        let mut amend = false;
        match self.index().own(&m.key, start_ts) {
            Some(own) if own.is_prewrite() => return Ok(Outcome::Done),
            Some(_) if !pessimistic => {
                return Err(aborted(format!(
                    "LockTypeNotMatch: start_ts {start_ts}: a pessimistic lock in an optimistic transaction"
                )));
            }
            Some(own) => {
                if m.expected_for_update_ts.is_some_and(|ts| ts != own.for_update_ts) {
                    return Err(not_found("locked at another for_update_ts than expected"));
                }
                lock.ttl_ms = lock.ttl_ms.max(own.ttl_ms);
                lock.min_commit_ts = lock.min_commit_ts.max(own.min_commit_ts);
                lock.for_update_ts = lock.for_update_ts.max(own.for_update_ts);
            }
            None if pessimistic => match m.action {
                PessimisticAction::Locked => amend = true,
                PessimisticAction::Check => must_be_unchanged = true,
                PessimisticAction::Skip => {}
            },
            None => {}
        }
        let must_not_exist = matches!(m.op, Op::Insert | Op::CheckNotExists);
        let asserts = request.check_assertions && m.assertion != Assertion::None;
        let retried = pessimistic && request.is_retry && m.action == PessimisticAction::Skip;
        let checks_existence = must_not_exist && m.action != PessimisticAction::Locked;
        if !(must_be_unchanged || amend || checks_existence || asserts || retried) {
            return Ok(Outcome::write(m, lock));
        }

        let (newest, written) = read::newest_write(&self.core.keyspaces, snapshot, &m.key, Timestamp::MAX)?;
        if let Some(ts) = written {
            if amend && ts >= start_ts {
                // The lock was lost, in a restart, and somebody used that.
                return Err(not_found("the lock is lost, and the key was written since"));
            }
            if must_be_unchanged && ts > start_ts {
                return Err(TxnError::WriteConflict {
                    key: m.key.clone(),
                    start_ts,
                    conflict_ts: ts,
                    primary: request.primary.clone(),
                    reason: if pessimistic {
                        ConflictReason::LazyUniquenessCheck
                    } else {
                        ConflictReason::Optimistic
                    },
                });
            }
            if retried && ts > request.for_update_ts {
                return Err(not_found("a key that was not locked was written since"));
            }
        }
        let value = newest.as_ref().and_then(|v| v.value());
        if checks_existence && value.is_some() {
            return Err(TxnError::AlreadyExists { key: m.key.clone() });
        }
        let holds = match m.assertion {
            Assertion::Exists => value.is_some(),
            Assertion::NotExists => value.is_none(),
            Assertion::None => true,
        };
        if asserts && !holds {
            return Err(TxnError::AssertionFailed {
                key: m.key.clone(),
                start_ts,
                assertion: m.assertion,
                existing_ts: newest.as_ref().map_or(Timestamp::ZERO, |v| v.ts),
            });
        }
        lock.hides = written.is_some();
        Ok(Outcome::write(m, lock))
    }
}

enum Outcome {
    Write(LockRecord),
    /// The mutation was a check only.
    Nothing,
    /// Locked by an earlier attempt.
    Done,
}

impl Outcome {
    fn write(m: &PrewriteMutation, lock: LockRecord) -> Outcome {
        if m.op == Op::CheckNotExists {
            Outcome::Nothing
        } else {
            Outcome::Write(lock)
        }
    }
}

fn check_sizes(limit: usize, request: &Prewrite) -> TxnResult<()> {
    let mut bytes = 0;
    let mut unique: HashSet<&[u8], RandomState> = HashSet::default();
    for m in &request.mutations {
        format::check_key(&m.key)?;
        format::check_value(&m.value)?;
        bytes += m.key.len() + m.value.len() + 64;
        if !unique.insert(&m.key) {
            return Err(aborted("a key twice in one prewrite"));
        }
    }
    if bytes > limit {
        return Err(Error::TooLarge {
            what: "prewrite",
            size: bytes,
            limit,
        }
        .into());
    }
    Ok(())
}
