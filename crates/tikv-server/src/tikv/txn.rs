//! Prewriting, committing, and what becomes of transactions.

use std::sync::Arc;

use bytes::Bytes;
use ilmenite_embedded::twophase::{CheckStatus, FinalStatus, Prewritten, TxnStatus};
use ilmenite_proto::kvrpcpb::*;
use ilmenite_store::Timestamp;

use crate::call::TikvService;
use crate::convert::{self, Refused, key_error, lock_info};
use crate::keys::own;
use crate::regions::RegionInfo;

pub(super) async fn prewrite(
    s: TikvService,
    region: Arc<RegionInfo>,
    request: PrewriteRequest,
) -> Refused<PrewriteResponse> {
    for m in &request.mutations {
        region.check_key(&m.key)?;
    }
    let done = match convert::prewrite(&request) {
        Ok(prewrite) => s.0.txns.prewrite(&prewrite).await,
        Err(e) => Err(e),
    };
    let errors = match done {
        Ok(Ok(Prewritten::Locked)) => Vec::new(),
        Ok(Ok(Prewritten::Committed(ts))) => {
            return Ok(PrewriteResponse {
                one_pc_commit_ts: if request.try_one_pc { ts.0 } else { 0 },
                min_commit_ts: if request.use_async_commit { ts.0 } else { 0 },
                ..Default::default()
            });
        }
        Ok(Err(errors)) => errors,
        Err(e) => vec![e],
    };
    // Without `min_commit_ts`: asynchronous commit is declined, and the client goes on in two phases.
    Ok(PrewriteResponse {
        errors: errors
            .into_iter()
            .map(|e| key_error(e).map(|e| *e))
            .collect::<Refused<_>>()?,
        ..Default::default()
    })
}

pub(super) async fn commit(
    s: TikvService,
    region: Arc<RegionInfo>,
    request: CommitRequest,
) -> Refused<CommitResponse> {
    for key in &request.keys {
        region.check_key(key)?;
    }
    let start_ts = Timestamp(request.start_version);
    let commit_ts = Timestamp(request.commit_version);
    Ok(match s.0.txns.commit(start_ts, &request.keys, commit_ts).await {
        Ok(committed) => CommitResponse {
            commit_version: committed.0.0,
            ..Default::default()
        },
        Err(e) => CommitResponse {
            error: Some(key_error(e)?),
            ..Default::default()
        },
    })
}

pub(super) async fn rollback(
    s: TikvService,
    region: Arc<RegionInfo>,
    request: BatchRollbackRequest,
) -> Refused<BatchRollbackResponse> {
    for key in &request.keys {
        region.check_key(key)?;
    }
    let done =
        s.0.txns
            .rollback(Timestamp(request.start_version), &request.keys)
            .await;
    Ok(BatchRollbackResponse {
        error: done.err().map(key_error).transpose()?,
        ..Default::default()
    })
}

pub(super) async fn check_status(
    s: TikvService,
    region: Arc<RegionInfo>,
    request: CheckTxnStatusRequest,
) -> Refused<CheckTxnStatusResponse> {
    region.check_key(&request.primary_key)?;
    let check = CheckStatus {
        primary: own(&request.primary_key),
        start_ts: Timestamp(request.lock_ts),
        caller_start_ts: Timestamp(request.caller_start_ts),
        now: Timestamp(request.current_ts),
        rollback_if_not_exist: request.rollback_if_not_exist,
        resolving_pessimistic: request.resolving_pessimistic_lock,
        verify_is_primary: request.verify_is_primary,
    };
    let mut answer = CheckTxnStatusResponse::default();
    let action = match s.0.txns.check_status(&check).await {
        Ok(TxnStatus::Locked { lock, pushed }) => {
            answer.lock_ttl = lock.lock.ttl_ms;
            answer.lock_info = Some(lock_info(lock));
            if pushed {
                Action::MinCommitTsPushed
            } else {
                Action::NoAction
            }
        }
        Ok(TxnStatus::Committed(ts)) => {
            answer.commit_version = ts.0;
            Action::NoAction
        }
        Ok(TxnStatus::RolledBack) => Action::NoAction,
        Ok(TxnStatus::Expired) => Action::TtlExpireRollback,
        Ok(TxnStatus::PessimisticExpired) => Action::TtlExpirePessimisticRollback,
        Ok(TxnStatus::NotFoundRolledBack) => Action::LockNotExistRollback,
        Ok(TxnStatus::NotFoundDoNothing) => Action::LockNotExistDoNothing,
        Err(e) => {
            answer.error = Some(key_error(e)?);
            Action::NoAction
        }
    };
    answer.action = action.into();
    Ok(answer)
}

pub(super) async fn check_secondaries(
    s: TikvService,
    region: Arc<RegionInfo>,
    request: CheckSecondaryLocksRequest,
) -> Refused<CheckSecondaryLocksResponse> {
    for key in &request.keys {
        region.check_key(key)?;
    }
    let checked =
        s.0.txns
            .check_secondaries(Timestamp(request.start_version), &request.keys);
    let mut answer = CheckSecondaryLocksResponse::default();
    match checked.await {
        Ok(Ok(locks)) => answer.locks = locks.into_iter().map(lock_info).collect(),
        Ok(Err(FinalStatus::Committed(ts))) => answer.commit_ts = ts.0,
        Ok(Err(FinalStatus::RolledBack)) => {}
        Err(e) => answer.error = Some(key_error(e)?),
    }
    Ok(answer)
}

pub(super) async fn resolve(
    s: TikvService,
    region: Arc<RegionInfo>,
    request: ResolveLockRequest,
) -> Refused<ResolveLockResponse> {
    for key in &request.keys {
        region.check_key(key)?;
    }
    let keys: Option<&[Bytes]> = (!request.keys.is_empty()).then_some(&request.keys);
    let one = TxnInfo {
        txn: request.start_version,
        status: request.commit_version,
    };
    let several = &request.txn_infos[..];
    let all = if several.is_empty() {
        std::slice::from_ref(&one)
    } else {
        several
    };
    for txn in all {
        let decided = match txn.status {
            0 => FinalStatus::RolledBack,
            ts => FinalStatus::Committed(Timestamp(ts)),
        };
        let resolved = s.0.txns.resolve(Timestamp(txn.txn), decided, &region.range, keys);
        if let Err(e) = resolved.await {
            return Ok(ResolveLockResponse {
                error: Some(key_error(e)?),
                ..Default::default()
            });
        }
    }
    Ok(ResolveLockResponse::default())
}

pub(super) async fn clean_up(
    s: TikvService,
    region: Arc<RegionInfo>,
    request: CleanupRequest,
) -> Refused<CleanupResponse> {
    region.check_key(&request.key)?;
    let now = (request.current_ts > 0).then_some(Timestamp(request.current_ts));
    let start_ts = Timestamp(request.start_version);
    Ok(match s.0.txns.clean_up(&own(&request.key), start_ts, now).await {
        Ok(committed) => CleanupResponse {
            commit_version: committed.map_or(0, |c| c.0.0),
            ..Default::default()
        },
        Err(e) => CleanupResponse {
            error: Some(key_error(e)?),
            ..Default::default()
        },
    })
}
