//! Reads.

use std::sync::Arc;

use bytes::Bytes;
use ilmenite_embedded::twophase::{ScannedPair, TxnError, VersionKind};
use ilmenite_proto::kvrpcpb::*;
use ilmenite_store::KeyRange;

use crate::call::TikvService;
use crate::convert::{self, Refused, key_error};
use crate::regions::RegionInfo;

/// Longer values stand apart from their version's record.
const SHORT_VALUE_BYTES: usize = 255;

pub(super) async fn get(
    s: TikvService,
    region: Arc<RegionInfo>,
    request: GetRequest,
) -> Refused<GetResponse> {
    region.check_key(&request.key)?;
    let options = convert::read_options(request.context.as_ref(), request.version);
    Ok(match s.0.txns.get(&request.key, &options) {
        Ok(Some(value)) => GetResponse {
            value,
            ..Default::default()
        },
        Ok(None) => GetResponse {
            not_found: true,
            ..Default::default()
        },
        Err(e) => GetResponse {
            error: Some(key_error(e)?),
            ..Default::default()
        },
    })
}

fn failed(e: TxnError) -> Refused<KvPair> {
    Ok(KvPair {
        error: Some(key_error(e)?),
        ..Default::default()
    })
}

fn found(key: Bytes, value: Bytes) -> KvPair {
    KvPair {
        error: None,
        key,
        value,
    }
}

pub(super) async fn batch_get(
    s: TikvService,
    region: Arc<RegionInfo>,
    request: BatchGetRequest,
) -> Refused<BatchGetResponse> {
    for key in &request.keys {
        region.check_key(key)?;
    }
    let options = convert::read_options(request.context.as_ref(), request.version);
    match s.0.txns.batch_get(&request.keys, &options) {
        Ok(pairs) => {
            let pair = |(key, value)| match value {
                Ok(value) => Ok(found(key, value)),
                Err(e) => failed(e),
            };
            Ok(BatchGetResponse {
                pairs: pairs.into_iter().map(pair).collect::<Refused<_>>()?,
                ..Default::default()
            })
        }
        Err(e) => {
            let error = key_error(e)?;
            Ok(BatchGetResponse {
                error: Some(error),
                ..Default::default()
            })
        }
    }
}

pub(super) async fn scan(
    s: TikvService,
    region: Arc<RegionInfo>,
    request: ScanRequest,
) -> Refused<ScanResponse> {
    let range = if request.reverse {
        KeyRange::new(request.end_key.clone(), request.start_key.clone())
    } else {
        // The lower bound tells which region is meant; the upper one may lie anywhere.
        if !request.start_key.is_empty() {
            region.check_key(&request.start_key)?;
        }
        KeyRange::new(request.start_key.clone(), request.end_key.clone())
    };
    let range = region.clip(&range);
    let options = convert::read_options(request.context.as_ref(), request.version);
    let limit = request.limit as usize;
    let scanned =
        s.0.txns
            .scan(&range, &options, limit, request.reverse, request.key_only);
    match scanned {
        Ok(scanned) => {
            let pair = |scanned| match scanned {
                ScannedPair::Value(key, value) => Ok(found(key, value)),
                ScannedPair::Locked(info) => failed(TxnError::Locked(info)),
            };
            Ok(ScanResponse {
                pairs: scanned.into_iter().map(pair).collect::<Refused<_>>()?,
                ..Default::default()
            })
        }
        Err(e) => {
            let error = key_error(e)?;
            Ok(ScanResponse {
                pairs: vec![KvPair {
                    error: Some(error.clone()),
                    ..Default::default()
                }],
                error: Some(error),
                ..Default::default()
            })
        }
    }
}

/// Of versions it is not kept when their transactions began; as with ingested ones, it is taken to be their commit.
pub(super) async fn versions(
    s: TikvService,
    region: Arc<RegionInfo>,
    request: MvccGetByKeyRequest,
) -> Refused<MvccGetByKeyResponse> {
    region.check_key(&request.key)?;
    let read = s.0.txns.versions(&request.key).and_then(|(lock, versions)| {
        let value = match &lock {
            Some(info) if info.lock.is_prewrite() => s.0.txns.lock_value(&request.key)?,
            _ => Bytes::new(),
        };
        Ok((lock, value, versions))
    });
    let (lock, lock_value, versions) = match read {
        Ok(read) => read,
        Err(e) => {
            return Ok(MvccGetByKeyResponse {
                error: convert::error_text(e)?,
                ..Default::default()
            });
        }
    };
    let mut info = MvccInfo::default();
    for (ts, kind, value) in versions {
        let (short_value, long) = if value.len() <= SHORT_VALUE_BYTES {
            (value, None)
        } else {
            (Bytes::new(), Some(value))
        };
        info.values.extend(long.map(|value| MvccValue {
            start_ts: ts.0,
            value,
        }));
        info.writes.push(MvccWrite {
            r#type: match kind {
                VersionKind::Put => Op::Put,
                VersionKind::Delete => Op::Del,
                VersionKind::Lock => Op::Lock,
            }
            .into(),
            start_ts: ts.0,
            commit_ts: ts.0,
            short_value,
            ..Default::default()
        });
    }
    if let Some(lock) = lock {
        let lock = lock.lock;
        let (short_value, long) = if lock_value.len() <= SHORT_VALUE_BYTES {
            (lock_value, None)
        } else {
            (Bytes::new(), Some(lock_value))
        };
        info.values.extend(long.map(|value| MvccValue {
            start_ts: lock.start_ts.0,
            value,
        }));
        info.lock = Some(MvccLock {
            r#type: convert::lock_kind(lock.kind).into(),
            start_ts: lock.start_ts.0,
            primary: lock.primary,
            short_value,
            ttl: lock.ttl_ms,
            for_update_ts: lock.for_update_ts.0,
            txn_size: lock.txn_size,
            ..Default::default()
        });
    }
    Ok(MvccGetByKeyResponse {
        info: Some(info),
        ..Default::default()
    })
}
