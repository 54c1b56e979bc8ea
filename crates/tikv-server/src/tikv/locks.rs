//! Pessimistic locks, and looking at locks.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ilmenite_embedded::twophase::{LockedKey, PessimisticLock};
use ilmenite_proto::kvrpcpb::*;
use ilmenite_store::{KeyRange, Timestamp};

use crate::call::TikvService;
use crate::convert::{Refused, key_error, lock_info, wait_entry};
use crate::keys::own;
use crate::regions::RegionInfo;

/// The longest wait for a lock, and the usual one. A client that wants to wait longer asks again: so it learns of
/// locks whose owners are gone.
const MAX_WAIT: Duration = Duration::from_secs(1);
/// Locks in one answer, when no limit is given.
const MAX_LOCKS: usize = 100_000;

pub(super) async fn lock(
    s: TikvService,
    region: Arc<RegionInfo>,
    request: PessimisticLockRequest,
) -> Refused<PessimisticLockResponse> {
    for m in &request.mutations {
        region.check_key(&m.key)?;
    }
    let keys: Vec<Bytes> = request.mutations.iter().map(|m| own(&m.key)).collect();
    let force = request.wake_up_mode() == PessimisticLockWakeUpMode::WakeUpModeForceLock && keys.len() == 1;
    let only_if_exists = request.lock_only_if_exists && request.return_values;
    let lock = PessimisticLock {
        start_ts: Timestamp(request.start_version),
        primary: own(&request.primary_lock),
        must_not_exist: request
            .mutations
            .iter()
            .map(|m| m.assertion() == Assertion::NotExist)
            .collect(),
        keys,
        ttl_ms: request.lock_ttl,
        for_update_ts: Timestamp(request.for_update_ts),
        wait: match request.wait_timeout {
            0 => MAX_WAIT,
            ..0 => Duration::ZERO,
            ms => Duration::from_millis(ms as u64).min(MAX_WAIT),
        },
        min_commit_ts: Timestamp(request.min_commit_ts),
        only_if_exists,
        force,
    };
    let mut answer = PessimisticLockResponse::default();
    match s.0.txns.lock(&lock).await {
        Ok(locked) if force => answer.results = locked.into_iter().map(|l| result(l, &request)).collect(),
        Ok(locked) => {
            for l in locked {
                if request.return_values || request.check_existence {
                    answer.not_founds.push(l.value.is_none());
                }
                if request.return_values {
                    answer.values.push(l.value.unwrap_or_default());
                }
            }
        }
        Err(e) => answer.errors.push(*key_error(e)?),
    }
    Ok(answer)
}

fn result(locked: LockedKey, request: &PessimisticLockRequest) -> PessimisticLockKeyResult {
    let conflict = locked.conflict_ts.is_some();
    let existence = locked.value.is_some();
    PessimisticLockKeyResult {
        r#type: if conflict {
            PessimisticLockKeyResultType::LockResultLockedWithConflict
        } else {
            PessimisticLockKeyResultType::LockResultNormal
        }
        .into(),
        value: if request.return_values || conflict {
            locked.value.unwrap_or_default()
        } else {
            Bytes::new()
        },
        existence: existence && (request.return_values || request.check_existence || conflict),
        locked_with_conflict_ts: locked.conflict_ts.map_or(0, |ts| ts.0),
        skip_resolving_lock: false,
    }
}

pub(super) async fn unlock(
    s: TikvService,
    region: Arc<RegionInfo>,
    request: PessimisticRollbackRequest,
) -> Refused<PessimisticRollbackResponse> {
    for key in &request.keys {
        region.check_key(key)?;
    }
    let done = s.0.txns.unlock(
        Timestamp(request.start_version),
        Timestamp(request.for_update_ts),
        &request.keys,
    );
    let mut answer = PessimisticRollbackResponse::default();
    if let Err(e) = done.await {
        answer.errors.push(*key_error(e)?);
    }
    Ok(answer)
}

pub(super) async fn heart_beat(
    s: TikvService,
    region: Arc<RegionInfo>,
    request: TxnHeartBeatRequest,
) -> Refused<TxnHeartBeatResponse> {
    region.check_key(&request.primary_lock)?;
    let primary = own(&request.primary_lock);
    let start_ts = Timestamp(request.start_version);
    let beaten = s.0.txns.heart_beat(&primary, start_ts, request.advise_lock_ttl);
    Ok(match beaten.await {
        Ok(lock_ttl) => TxnHeartBeatResponse {
            lock_ttl,
            ..Default::default()
        },
        Err(e) => TxnHeartBeatResponse {
            error: Some(key_error(e)?),
            ..Default::default()
        },
    })
}

pub(super) async fn scan(
    s: TikvService,
    region: Arc<RegionInfo>,
    request: ScanLockRequest,
) -> Refused<ScanLockResponse> {
    let range = region.clip(&KeyRange::new(request.start_key, request.end_key));
    let limit = match request.limit {
        0 => MAX_LOCKS,
        limit => limit as usize,
    };
    Ok(
        match s.0.txns.locks(&range, Timestamp(request.max_version), limit) {
            Ok(locks) => ScanLockResponse {
                locks: locks.into_iter().map(lock_info).collect(),
                ..Default::default()
            },
            Err(e) => ScanLockResponse {
                error: Some(key_error(e)?),
                ..Default::default()
            },
        },
    )
}

pub(super) fn wait_info(s: &TikvService) -> GetLockWaitInfoResponse {
    GetLockWaitInfoResponse {
        entries: s.0.txns.waits().into_iter().map(wait_entry).collect(),
        ..Default::default()
    }
}
