//! Percolator in memory: just enough of TiKV's rules to try a client of it.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use ilmenite_proto::kvrpcpb::prewrite_request::PessimisticAction;
use ilmenite_proto::kvrpcpb::{self as pb, Action, KeyError, Op};

#[derive(Clone, Debug)]
pub(crate) struct Lock {
    pub op: Op,
    pub start_ts: u64,
    pub primary: Bytes,
    pub value: Bytes,
    pub ttl_ms: u64,
    pub for_update_ts: u64,
    pub min_commit_ts: u64,
    pub txn_size: u64,
}

#[derive(Clone, Debug)]
pub(crate) struct Write {
    pub op: Op,
    pub start_ts: u64,
    pub commit_ts: u64,
    pub value: Bytes,
}

#[derive(Default, Debug)]
pub(crate) struct Key {
    pub lock: Option<Lock>,
    /// Newest first.
    pub writes: Vec<Write>,
}

#[derive(Default)]
pub(crate) struct Mvcc {
    pub keys: BTreeMap<Bytes, Key>,
    pub max_ts: u64,
    /// Who waits for whom.
    pub waits: HashMap<u64, u64>,
}

fn info(key: &Bytes, lock: &Lock) -> pb::LockInfo {
    pb::LockInfo {
        primary_lock: lock.primary.clone(),
        lock_version: lock.start_ts,
        key: key.clone(),
        lock_ttl: lock.ttl_ms,
        txn_size: lock.txn_size,
        lock_type: lock.op as i32,
        lock_for_update_ts: lock.for_update_ts,
        min_commit_ts: lock.min_commit_ts,
        ..Default::default()
    }
}

fn locked(key: &Bytes, lock: &Lock) -> KeyError {
    KeyError {
        locked: Some(info(key, lock)),
        ..Default::default()
    }
}

fn conflict(key: &Bytes, start_ts: u64, write: &Write, reason: pb::write_conflict::Reason) -> KeyError {
    KeyError {
        conflict: Some(pb::WriteConflict {
            start_ts,
            conflict_ts: write.start_ts,
            conflict_commit_ts: write.commit_ts,
            key: key.clone(),
            reason: reason as i32,
            ..Default::default()
        }),
        ..Default::default()
    }
}

fn abort(text: &str) -> KeyError {
    KeyError {
        abort: text.into(),
        ..Default::default()
    }
}

impl Key {
    /// The newest put or delete.
    fn newest(&self) -> Option<&Write> {
        self.writes.iter().find(|w| matches!(w.op, Op::Put | Op::Del))
    }

    pub(crate) fn value(&self) -> Option<Bytes> {
        self.newest().filter(|w| w.op == Op::Put).map(|w| w.value.clone())
    }

    fn add(&mut self, write: Write) {
        self.writes.push(write);
        self.writes.sort_by_key(|w| std::cmp::Reverse(w.commit_ts));
    }
}

impl Mvcc {
    fn key(&mut self, key: &Bytes) -> &mut Key {
        self.keys.entry(key.clone()).or_default()
    }

    pub(crate) fn get(&mut self, ctx: &pb::Context, key: &Bytes, ts: u64) -> Result<Option<Bytes>, KeyError> {
        self.max_ts = self.max_ts.max(ts);
        let Some(state) = self.keys.get(key) else {
            return Ok(None);
        };
        if let Some(lock) = &state.lock
            && lock.start_ts <= ts
            && matches!(lock.op, Op::Put | Op::Del)
            && lock.min_commit_ts <= ts
            && !ctx.resolved_locks.contains(&lock.start_ts)
        {
            if !ctx.committed_locks.contains(&lock.start_ts) {
                return Err(locked(key, lock));
            }
            return Ok((lock.op == Op::Put).then(|| lock.value.clone()));
        }
        let visible = state
            .writes
            .iter()
            .find(|w| w.commit_ts <= ts && matches!(w.op, Op::Put | Op::Del));
        Ok(visible.filter(|w| w.op == Op::Put).map(|w| w.value.clone()))
    }

    fn check_prewrite(&self, r: &pb::PrewriteRequest, i: usize) -> Result<(), KeyError> {
        let m = &r.mutations[i];
        let Some(state) = self.keys.get(&m.key) else {
            let must_be_locked =
                r.pessimistic_actions.get(i) == Some(&(PessimisticAction::DoPessimisticCheck as i32));
            return if must_be_locked {
                Err(abort("PessimisticLockNotFound"))
            } else {
                Ok(())
            };
        };
        let action = r
            .pessimistic_actions
            .get(i)
            .map(|a| PessimisticAction::try_from(*a).unwrap());
        match &state.lock {
            Some(lock) if lock.start_ts != r.start_version => {
                if action == Some(PessimisticAction::DoPessimisticCheck) {
                    return Err(abort("PessimisticLockNotFound"));
                }
                let mut e = locked(&m.key, lock);
                if r.for_update_ts > 0
                    && let Some(lock) = &mut e.locked
                {
                    // As TiKV: the client is to find out for itself.
                    lock.lock_ttl = 0;
                }
                return Err(e);
            }
            Some(lock) if lock.op != Op::PessimisticLock => return Ok(()),
            Some(_) if action == Some(PessimisticAction::DoPessimisticCheck) => return Ok(()),
            None if action == Some(PessimisticAction::DoPessimisticCheck) => {
                // An in-memory lock may be lost; no harm if nobody wrote since.
                return match state.writes.first() {
                    Some(w) if w.commit_ts >= r.start_version => Err(abort("PessimisticLockNotFound")),
                    _ => Ok(()),
                };
            }
            _ => {}
        }
        let own = state.writes.iter().find(|w| w.start_ts == r.start_version);
        if let Some(own) = own.filter(|w| w.op == Op::Rollback) {
            return Err(conflict(
                &m.key,
                r.start_version,
                own,
                pb::write_conflict::Reason::SelfRolledBack,
            ));
        }
        if action == Some(PessimisticAction::SkipPessimisticCheck) {
            return Ok(());
        }
        if let Some(w) = state
            .writes
            .iter()
            .find(|w| w.commit_ts > r.start_version && w.op != Op::Rollback)
        {
            return Err(conflict(
                &m.key,
                r.start_version,
                w,
                pb::write_conflict::Reason::Optimistic,
            ));
        }
        if m.op() == Op::Insert && state.value().is_some() {
            return Err(KeyError {
                already_exist: Some(pb::AlreadyExist { key: m.key.clone() }),
                ..Default::default()
            });
        }
        Ok(())
    }

    pub(crate) fn prewrite(&mut self, r: pb::PrewriteRequest) -> pb::PrewriteResponse {
        let mut answer = pb::PrewriteResponse::default();
        // A retry of what was committed in one phase.
        if r.try_one_pc
            && let Some(done) = self.keys.get(&r.primary_lock)
            && let Some(w) = done
                .writes
                .iter()
                .find(|w| w.start_ts == r.start_version && w.op != Op::Rollback)
            && r.context.as_ref().is_some_and(|c| c.is_retry_request)
        {
            answer.one_pc_commit_ts = w.commit_ts;
            return answer;
        }
        answer.errors = (0..r.mutations.len())
            .filter_map(|i| self.check_prewrite(&r, i).err())
            .collect();
        if !answer.errors.is_empty() {
            return answer;
        }
        let commit_ts = self.max_ts.max(r.start_version).max(r.for_update_ts) + 1;
        let commit_ts = commit_ts.max(r.min_commit_ts);
        let one_phase = r.try_one_pc && (r.max_commit_ts == 0 || commit_ts <= r.max_commit_ts);
        for m in &r.mutations {
            let op = if m.op() == Op::Insert { Op::Put } else { m.op() };
            let state = self.key(&m.key);
            if one_phase {
                state.lock = None;
                state.add(Write {
                    op,
                    start_ts: r.start_version,
                    commit_ts,
                    value: m.value.clone(),
                });
            } else if state.lock.as_ref().is_none_or(|l| l.op == Op::PessimisticLock) {
                state.lock = Some(Lock {
                    op,
                    start_ts: r.start_version,
                    primary: r.primary_lock.clone(),
                    value: m.value.clone(),
                    ttl_ms: r.lock_ttl,
                    for_update_ts: r.for_update_ts,
                    min_commit_ts: r.min_commit_ts,
                    txn_size: r.txn_size,
                });
            }
        }
        if one_phase {
            answer.one_pc_commit_ts = commit_ts;
        }
        answer
    }

    pub(crate) fn commit(&mut self, start_ts: u64, keys: &[Bytes], commit_ts: u64) -> Result<(), KeyError> {
        for key in keys {
            let state = self.key(key);
            match &state.lock {
                Some(lock) if lock.start_ts == start_ts => {
                    if lock.min_commit_ts > commit_ts {
                        return Err(KeyError {
                            commit_ts_expired: Some(pb::CommitTsExpired {
                                start_ts,
                                attempted_commit_ts: commit_ts,
                                key: key.clone(),
                                min_commit_ts: lock.min_commit_ts,
                            }),
                            ..Default::default()
                        });
                    }
                    let lock = state.lock.take().unwrap();
                    state.add(Write {
                        op: lock.op,
                        start_ts,
                        commit_ts,
                        value: lock.value,
                    });
                }
                _ => {
                    let own = state.writes.iter().find(|w| w.start_ts == start_ts);
                    if own.is_none_or(|w| w.op == Op::Rollback) {
                        return Err(KeyError {
                            txn_lock_not_found: Some(pb::TxnLockNotFound { key: key.clone() }),
                            ..Default::default()
                        });
                    }
                }
            }
        }
        Ok(())
    }

    pub(crate) fn rollback(&mut self, start_ts: u64, keys: &[Bytes]) {
        for key in keys {
            let state = self.key(key);
            if state.lock.as_ref().is_some_and(|l| l.start_ts == start_ts) {
                state.lock = None;
            }
            if !state.writes.iter().any(|w| w.start_ts == start_ts) {
                state.add(Write {
                    op: Op::Rollback,
                    start_ts,
                    commit_ts: start_ts,
                    value: Bytes::new(),
                });
            }
        }
    }

    pub(crate) fn pessimistic_rollback(&mut self, start_ts: u64, for_update_ts: u64, keys: &[Bytes]) {
        for key in keys {
            let state = self.key(key);
            let own = |l: &Lock| {
                l.start_ts == start_ts && l.op == Op::PessimisticLock && l.for_update_ts <= for_update_ts
            };
            if state.lock.as_ref().is_some_and(own) {
                state.lock = None;
            }
        }
    }

    /// All or none. The error `locked` may be waited for.
    pub(crate) fn pessimistic_lock(
        &mut self,
        r: &pb::PessimisticLockRequest,
    ) -> Result<Vec<Option<Bytes>>, KeyError> {
        for m in &r.mutations {
            let Some(state) = self.keys.get(&m.key) else {
                continue;
            };
            match &state.lock {
                Some(lock) if lock.start_ts != r.start_version => return Err(locked(&m.key, lock)),
                Some(_) => continue,
                None => {}
            }
            if let Some(w) = state
                .writes
                .iter()
                .find(|w| w.commit_ts > r.for_update_ts && w.op != Op::Rollback)
            {
                return Err(conflict(
                    &m.key,
                    r.start_version,
                    w,
                    pb::write_conflict::Reason::PessimisticRetry,
                ));
            }
        }
        let mut values = Vec::new();
        for m in &r.mutations {
            let state = self.key(&m.key);
            values.push(state.value());
            if state.lock.is_none() {
                state.lock = Some(Lock {
                    op: Op::PessimisticLock,
                    start_ts: r.start_version,
                    primary: r.primary_lock.clone(),
                    value: Bytes::new(),
                    ttl_ms: r.lock_ttl,
                    for_update_ts: r.for_update_ts,
                    min_commit_ts: r.min_commit_ts,
                    txn_size: 0,
                });
            }
        }
        Ok(values)
    }

    /// Notes a wait; the error if it closes a circle.
    pub(crate) fn wait_for(&mut self, waiter: u64, lock: &pb::LockInfo) -> Result<(), KeyError> {
        let mut at = lock.lock_version;
        while let Some(next) = self.waits.get(&at) {
            if *next == waiter {
                return Err(KeyError {
                    deadlock: Some(pb::Deadlock {
                        lock_ts: lock.lock_version,
                        lock_key: lock.key.clone(),
                        ..Default::default()
                    }),
                    ..Default::default()
                });
            }
            at = *next;
        }
        self.waits.insert(waiter, lock.lock_version);
        Ok(())
    }

    pub(crate) fn check_txn_status(&mut self, r: &pb::CheckTxnStatusRequest) -> pb::CheckTxnStatusResponse {
        let mut answer = pb::CheckTxnStatusResponse::default();
        let state = self.keys.entry(r.primary_key.clone()).or_default();
        if let Some(lock) = state.lock.as_mut().filter(|l| l.start_ts == r.lock_ts) {
            if r.verify_is_primary && lock.primary != r.primary_key {
                answer.error = Some(Box::new(KeyError {
                    primary_mismatch: Some(pb::PrimaryMismatch {
                        lock_info: Some(info(&r.primary_key, lock)),
                    }),
                    ..Default::default()
                }));
                return answer;
            }
            let expired = (r.lock_ts >> 18) + lock.ttl_ms < (r.current_ts >> 18);
            if expired {
                if lock.op == Op::PessimisticLock && r.resolving_pessimistic_lock {
                    state.lock = None;
                    answer.action = Action::TtlExpirePessimisticRollback as i32;
                } else {
                    self.rollback(r.lock_ts, std::slice::from_ref(&r.primary_key));
                    answer.action = Action::TtlExpireRollback as i32;
                }
                return answer;
            }
            if r.caller_start_ts > 0 && lock.op != Op::PessimisticLock {
                lock.min_commit_ts = lock.min_commit_ts.max(r.caller_start_ts + 1);
                answer.action = Action::MinCommitTsPushed as i32;
            }
            answer.lock_ttl = lock.ttl_ms;
            answer.lock_info = Some(info(&r.primary_key, lock));
            return answer;
        }
        match state.writes.iter().find(|w| w.start_ts == r.lock_ts) {
            Some(w) if w.op != Op::Rollback => answer.commit_version = w.commit_ts,
            Some(_) => {}
            None if r.rollback_if_not_exist => {
                if r.resolving_pessimistic_lock {
                    answer.action = Action::LockNotExistDoNothing as i32;
                } else {
                    self.rollback(r.lock_ts, std::slice::from_ref(&r.primary_key));
                    answer.action = Action::LockNotExistRollback as i32;
                }
            }
            None => {
                answer.error = Some(Box::new(KeyError {
                    txn_not_found: Some(pb::TxnNotFound {
                        start_ts: r.lock_ts,
                        primary_key: r.primary_key.clone(),
                    }),
                    ..Default::default()
                }));
            }
        }
        answer
    }

    pub(crate) fn resolve(
        &mut self,
        start_ts: u64,
        commit_ts: u64,
        within: impl Fn(&[u8]) -> bool,
        keys: &[Bytes],
    ) {
        let found: Vec<Bytes> = self
            .keys
            .iter()
            .filter(|(k, s)| within(k) && s.lock.as_ref().is_some_and(|l| l.start_ts == start_ts))
            .filter(|(k, _)| keys.is_empty() || keys.contains(k))
            .map(|(k, _)| k.clone())
            .collect();
        if commit_ts == 0 {
            self.rollback(start_ts, &found);
        } else {
            let _ = self.commit(start_ts, &found, commit_ts);
        }
    }

    pub(crate) fn mvcc_info(&self, key: &Bytes) -> pb::MvccInfo {
        let Some(state) = self.keys.get(key) else {
            return pb::MvccInfo::default();
        };
        pb::MvccInfo {
            lock: state.lock.as_ref().map(|l| pb::MvccLock {
                r#type: l.op as i32,
                start_ts: l.start_ts,
                primary: l.primary.clone(),
                ttl: l.ttl_ms,
                for_update_ts: l.for_update_ts,
                txn_size: l.txn_size,
                ..Default::default()
            }),
            writes: state
                .writes
                .iter()
                .map(|w| pb::MvccWrite {
                    r#type: w.op as i32,
                    start_ts: w.start_ts,
                    commit_ts: w.commit_ts,
                    short_value: if w.value.len() > 255 {
                        Bytes::new()
                    } else {
                        w.value.clone()
                    },
                    ..Default::default()
                })
                .collect(),
            values: state
                .writes
                .iter()
                .filter(|w| w.value.len() > 255)
                .map(|w| pb::MvccValue {
                    start_ts: w.start_ts,
                    value: w.value.clone(),
                })
                .collect(),
        }
    }

    pub(crate) fn locks(&self) -> usize {
        self.keys.values().filter(|k| k.lock.is_some()).count()
    }
}
