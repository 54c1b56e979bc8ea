//! Reads of single keys at a timestamp.

use std::collections::HashMap;
use std::sync::Arc;

use ahash::RandomState;
use bytes::Bytes;
use ilmenite_proto::kvrpcpb::{BatchGetRequest, Context, GetRequest, LockInfo};
use ilmenite_store::{Result, Timestamp};

use crate::cluster::Cluster;
use crate::key_error::to_error;
use crate::resolve::ReadView;

/// Bytes of keys in one request. Their values are counted as this much each beforehand; an answer may take up to
/// `channel::MAX_MESSAGE_BYTES`.
const BATCH_BYTES: usize = 128 << 10;

impl ReadView {
    pub(crate) fn context(&self) -> Context {
        Context {
            resolved_locks: self.resolved.clone(),
            committed_locks: self.committed.clone(),
            ..Context::default()
        }
    }
}

impl Cluster {
    pub(crate) async fn get(
        self: &Arc<Self>,
        key: &[u8],
        ts: Timestamp,
        mut view: ReadView,
    ) -> Result<Option<Bytes>> {
        let mut backoff = self.backoff("get");
        let mut request = GetRequest {
            key: Bytes::copy_from_slice(key),
            version: ts.0,
            ..GetRequest::default()
        };
        loop {
            request.context = Some(view.context());
            let answer = self.by_key(key, &request, &mut backoff).await?;
            match answer.error {
                None if answer.not_found => return Ok(None),
                None => return Ok(Some(answer.value)),
                Some(e) => match e.locked {
                    Some(lock) => {
                        self.meet_for_read(vec![lock], ts, &mut view, &mut backoff)
                            .await?;
                    }
                    None => return Err(to_error(*e, ts)),
                },
            }
        }
    }

    /// In the order of `keys`.
    pub(crate) async fn batch_get(
        self: &Arc<Self>,
        keys: &[Bytes],
        ts: Timestamp,
        mut view: ReadView,
    ) -> Result<Vec<Option<Bytes>>> {
        if let [key] = keys {
            return Ok(vec![self.get(key, ts, view).await?]);
        }
        let mut backoff = self.backoff("batch get");
        let mut found: HashMap<Bytes, Bytes, RandomState> = HashMap::default();
        let mut missing = keys.to_vec();
        missing.sort_unstable();
        missing.dedup();
        while !missing.is_empty() {
            let mut locks: Vec<LockInfo> = Vec::new();
            let mut locked_keys = Vec::new();
            let context = view.context();
            self.by_keys(
                std::mem::take(&mut missing),
                BATCH_BYTES,
                &mut backoff,
                |keys| BatchGetRequest {
                    context: Some(context.clone()),
                    keys: keys.to_vec(),
                    version: ts.0,
                },
                |keys, answer| {
                    let mut failed = None;
                    if let Some(e) = answer.error {
                        match e.locked {
                            Some(lock) => {
                                locks.push(lock);
                                locked_keys.extend(keys);
                            }
                            None => failed = Some(to_error(*e, ts)),
                        }
                    }
                    for pair in answer.pairs {
                        match pair.error {
                            None => {
                                found.insert(pair.key, pair.value);
                            }
                            Some(e) => match e.locked {
                                Some(lock) => {
                                    locked_keys.push(lock.key.clone());
                                    locks.push(lock);
                                }
                                None => failed = Some(to_error(*e, ts)),
                            },
                        }
                    }
                    std::future::ready(failed.map_or(Ok(Vec::new()), Err))
                },
            )
            .await?;
            if !locks.is_empty() {
                self.meet_for_read(locks, ts, &mut view, &mut backoff).await?;
                missing = locked_keys;
            }
        }
        Ok(keys.iter().map(|key| found.get(key).cloned()).collect())
    }
}
