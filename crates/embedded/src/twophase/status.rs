//! What has become of a transaction, asked through its primary key, and of its secondary keys.

use std::sync::Arc;

use bytes::Bytes;

use super::TwoPhase;
use super::error::{TxnError, TxnResult};
use super::record::{LockInfo, LockRecord};
use super::stored::FinalStatus;
use ilmenite_store::Timestamp;

#[derive(Debug, Clone)]
pub struct CheckStatus {
    pub primary: Bytes,
    pub start_ts: Timestamp,
    /// The reader's timestamp: the transaction shall be committed after it, if that can still be had.
    pub caller_start_ts: Timestamp,
    /// Decides whether the primary's lock has outlived its time.
    pub now: Timestamp,
    pub rollback_if_not_exist: bool,
    /// The lock that led here is a pessimistic one: then the transaction's status is not decided by this.
    pub resolving_pessimistic: bool,
    pub verify_is_primary: bool,
}

#[derive(Debug, Clone)]
pub enum TxnStatus {
    Locked {
        lock: LockInfo,
        /// It will not be committed at or before the caller's timestamp.
        pushed: bool,
    },
    Committed(Timestamp),
    /// Before this.
    RolledBack,
    /// Now, as its time is over.
    Expired,
    /// Its pessimistic primary lock was removed; nothing else is decided.
    PessimisticExpired,
    /// There was no trace of it, and now there is: it is rolled back.
    NotFoundRolledBack,
    NotFoundDoNothing,
}

impl TwoPhase {
    pub async fn check_status(&self, request: &CheckStatus) -> TxnResult<TxnStatus> {
        self.core.check_open()?;
        let CheckStatus { start_ts, now, .. } = *request;
        let primary = &request.primary;
        let keys = std::slice::from_ref(primary);
        let latch = self.latch(start_ts).await;
        let status = self.final_status(start_ts)?;
        let lock = self.index().own(primary, start_ts);
        match (status, &lock) {
            (Some(status), lock) => {
                if lock.as_ref().is_some_and(|lock| !lock.is_prewrite()) {
                    self.drop_pessimistic(primary, start_ts);
                }
                return Ok(match status {
                    FinalStatus::Committed(ts) => TxnStatus::Committed(ts),
                    FinalStatus::RolledBack => TxnStatus::RolledBack,
                });
            }
            (None, None) => {}
            (None, Some(lock)) if request.verify_is_primary && lock.primary != *primary => {
                if request.resolving_pessimistic || lock.is_prewrite() {
                    return Err(TxnError::PrimaryMismatch(info(primary, lock)));
                }
                // The primary of a prewritten lock is final, so this pessimistic one is left from an earlier choice.
                self.drop_pessimistic(primary, start_ts);
            }
            (None, Some(lock)) if lock.expired(now) => {
                if !lock.is_prewrite() && request.resolving_pessimistic {
                    self.drop_pessimistic(primary, start_ts);
                    return Ok(TxnStatus::PessimisticExpired);
                }
                self.finish(start_ts, keys, FinalStatus::RolledBack, None, latch)
                    .await?;
                return Ok(TxnStatus::Expired);
            }
            (None, Some(lock)) => return Ok(self.push(request, lock)),
        }
        self.check_age(start_ts)?;
        if !request.rollback_if_not_exist {
            return Err(TxnError::TxnNotFound {
                start_ts,
                primary: primary.clone(),
            });
        }
        if request.resolving_pessimistic {
            return Ok(TxnStatus::NotFoundDoNothing);
        }
        self.finish(start_ts, keys, FinalStatus::RolledBack, None, latch)
            .await?;
        Ok(TxnStatus::NotFoundRolledBack)
    }

    /// The transaction lives: moves the least timestamp it can be committed at behind the caller's, if it takes part
    /// in that. In memory only: after a restart no lock is committed before what was given out before it.
    fn push(&self, request: &CheckStatus, lock: &Arc<LockRecord>) -> TxnStatus {
        let caller = request.caller_start_ts;
        let mut lock = LockRecord::clone(lock);
        let may_push = lock.min_commit_ts > Timestamp::ZERO && caller < Timestamp::MAX;
        if may_push && caller >= lock.min_commit_ts {
            lock.min_commit_ts = caller.next();
            if request.now < Timestamp::MAX {
                lock.min_commit_ts = lock.min_commit_ts.max(request.now);
            }
            self.index().put(request.primary.clone(), lock.clone());
        }
        let pushed = caller == Timestamp::MAX || (caller > Timestamp::ZERO && lock.min_commit_ts > caller);
        TxnStatus::Locked {
            lock: LockInfo {
                key: request.primary.clone(),
                lock,
            },
            pushed,
        }
    }

    /// The transaction's locks on the keys, or, when one is missing, what became of it: rolled back, if it was not
    /// committed before.
    pub async fn check_secondaries(
        &self,
        start_ts: Timestamp,
        keys: &[Bytes],
    ) -> TxnResult<Result<Vec<LockInfo>, FinalStatus>> {
        self.core.check_open()?;
        let latch = self.latch(start_ts).await;
        if let Some(status) = self.final_status(start_ts)? {
            return Ok(Err(status));
        }
        let mut locks = Vec::with_capacity(keys.len());
        for key in keys {
            match self.index().own(key, start_ts) {
                Some(lock) if lock.is_prewrite() => locks.push(info(key, &lock)),
                _ => {
                    let keys = std::slice::from_ref(key);
                    self.finish(start_ts, keys, FinalStatus::RolledBack, None, latch)
                        .await?;
                    return Ok(Err(FinalStatus::RolledBack));
                }
            }
        }
        Ok(Ok(locks))
    }
}

fn info(key: &Bytes, lock: &LockRecord) -> LockInfo {
    LockInfo {
        key: key.clone(),
        lock: lock.clone(),
    }
}
