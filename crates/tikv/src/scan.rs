//! Scans: region after region, batch after batch, the next one on its way while the last is looked at.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use ilmenite_proto::kvrpcpb::{self, KvPair, LockInfo, ScanRequest};
use ilmenite_store::{Error, KeyRange, KvBatch, Result, Scan, ScanOptions, Timestamp};
use tokio_util::task::AbortOnDropHandle;

use crate::cluster::Cluster;
use crate::key;
use crate::key_error::to_error;
use crate::resolve::ReadView;

/// Pairs of a first batch, when nothing is known of their size.
const FIRST_PAIRS: usize = 256;
const MAX_PAIRS: usize = 64 << 10;
/// From one batch to the next, as the pairs may grow too.
const GROWTH: usize = 4;
/// A batch is never asked to be larger than this.
const MAX_BATCH_BYTES: usize = 8 << 20;

/// What is left of a scan, between two requests.
struct Cursor {
    cluster: Arc<Cluster>,
    ts: Timestamp,
    options: ScanOptions,
    /// Not yet read.
    range: KeyRange,
    remaining: usize,
    /// Bytes of a pair, about, once some were seen.
    pair_bytes: usize,
    /// Asked for the last time.
    last_pairs: usize,
    view: ReadView,
    ended: bool,
}

pub(crate) struct TikvScan {
    state: State,
    /// Batches given out: reading ahead begins with the second.
    given: usize,
}

enum State {
    Idle(Box<Cursor>),
    Ahead(AbortOnDropHandle<Result<(Box<Cursor>, Vec<KvPair>)>>),
    Failed(Error),
}

impl TikvScan {
    pub(crate) fn new(cluster: Arc<Cluster>, range: KeyRange, ts: Timestamp, options: ScanOptions) -> Self {
        TikvScan {
            state: State::Idle(Box::new(Cursor {
                cluster,
                ts,
                options,
                ended: range.is_empty() || options.limit == 0,
                range,
                remaining: options.limit,
                pair_bytes: 0,
                last_pairs: FIRST_PAIRS,
                view: ReadView::default(),
            })),
            given: 0,
        }
    }
}

#[async_trait]
impl Scan for TikvScan {
    async fn next_batch(&mut self, batch: &mut KvBatch) -> Result<bool> {
        batch.clear();
        let gone = || State::Failed(Error::Cancelled);
        let fetched = match std::mem::replace(&mut self.state, gone()) {
            State::Failed(error) => {
                self.state = State::Failed(error.clone());
                return Err(error);
            }
            State::Idle(cursor) => cursor.fetch().await,
            State::Ahead(mut task) => (&mut task)
                .await
                .unwrap_or_else(|e| Err(Error::Bug(format!("reading ahead: {e}")))),
        };
        let (cursor, pairs) = match fetched {
            Ok(fetched) => fetched,
            Err(error) => {
                self.state = State::Failed(error.clone());
                return Err(error);
            }
        };
        for pair in &pairs {
            batch.push(&pair.key, &pair.value);
        }
        self.given += 1;
        self.state = if cursor.ended || self.given < 2 {
            State::Idle(cursor)
        } else {
            State::Ahead(AbortOnDropHandle::new(tokio::spawn(cursor.fetch())))
        };
        Ok(!batch.is_empty())
    }
}

impl Cursor {
    /// The next pairs in scan order; none at the end.
    async fn fetch(mut self: Box<Self>) -> Result<(Box<Self>, Vec<KvPair>)> {
        let mut pairs = Vec::new();
        while pairs.is_empty() && !self.ended {
            pairs = self.fetch_some().await?;
        }
        Ok((self, pairs))
    }

    fn wanted_pairs(&self) -> usize {
        let wanted = match self.pair_bytes {
            0 => FIRST_PAIRS,
            bytes => self.options.batch_bytes.min(MAX_BATCH_BYTES) / bytes,
        };
        let most = self.last_pairs.saturating_mul(GROWTH).clamp(1, MAX_PAIRS);
        wanted.clamp(1, most).min(self.remaining)
    }

    /// From one region. May be nothing, which is not the end.
    async fn fetch_some(&mut self) -> Result<Vec<KvPair>> {
        let cluster = self.cluster.clone();
        let mut backoff = cluster.backoff("scan");
        let reverse = self.options.reverse;
        loop {
            let region = if reverse {
                cluster
                    .regions
                    .locate_before(&self.range.end, &mut backoff)
                    .await?
            } else {
                cluster.regions.locate(&self.range.start, &mut backoff).await?
            };
            let (from, to) = if reverse {
                let from = key::least_end(&self.range.end, &region.end);
                // TiKV takes an empty upper bound for the first key.
                let from = if from.is_empty() {
                    Bytes::from_static(&key::BEYOND_ALL)
                } else {
                    from
                };
                (from, self.range.start.clone().max(region.start.clone()))
            } else {
                (
                    self.range.start.clone(),
                    key::least_end(&self.range.end, &region.end),
                )
            };
            let limit = self.wanted_pairs();
            let request = ScanRequest {
                context: Some(kvrpcpb::Context {
                    not_fill_cache: self.options.bypass_cache,
                    ..self.view.context()
                }),
                start_key: from,
                end_key: to.clone(),
                limit: limit as u32,
                version: self.ts.0,
                key_only: self.options.key_only,
                reverse,
            };
            let answer = match cluster.send(&region, request, cluster.options.call_timeout).await {
                Ok(answer) => answer,
                Err(failure) => {
                    if failure.answer_too_large() && limit > 1 {
                        self.last_pairs = limit / GROWTH / 4;
                    }
                    cluster.react(&region, &failure, &mut backoff).await?;
                    continue;
                }
            };
            if let Some(e) = answer.error {
                let Some(lock) = e.locked else {
                    return Err(to_error(*e, self.ts));
                };
                cluster
                    .meet_for_read(vec![lock], self.ts, &mut self.view, &mut backoff)
                    .await?;
                continue;
            }
            self.last_pairs = limit;
            let full = answer.pairs.len() >= limit;
            let mut pairs = answer.pairs;
            let locks = cut_at_lock(&mut pairs, self.ts)?;
            if pairs.is_empty() && !locks.is_empty() {
                cluster
                    .meet_for_read(locks, self.ts, &mut self.view, &mut backoff)
                    .await?;
                continue;
            }
            self.advance(&pairs, full || !locks.is_empty(), to);
            return Ok(pairs);
        }
    }

    /// `more`: the region may hold further pairs; otherwise it was read as far as `to`.
    fn advance(&mut self, pairs: &[KvPair], more: bool, to: Bytes) {
        let reverse = self.options.reverse;
        if let Some(last) = pairs.last() {
            let bytes: usize = pairs.iter().map(|p| p.key.len() + p.value.len()).sum();
            self.pair_bytes = (bytes / pairs.len()).max(1);
            self.remaining -= pairs.len().min(self.remaining);
            if more {
                if reverse {
                    self.range.end = last.key.clone();
                } else {
                    self.range.start = key::after(&last.key);
                }
            }
        }
        if !more {
            // An empty bound here is the end, or the start, of all keys.
            let all_read = if reverse {
                to <= self.range.start
            } else {
                to.is_empty() || (!self.range.end.is_empty() && to >= self.range.end)
            };
            self.ended |= all_read;
            if reverse {
                self.range.end = to;
            } else {
                self.range.start = to;
            }
        }
        self.ended |= self.remaining == 0 || self.range.is_empty();
    }
}

/// Keeps the pairs before the first locked key, and returns the locks met.
fn cut_at_lock(pairs: &mut Vec<KvPair>, ts: Timestamp) -> Result<Vec<LockInfo>> {
    let Some(first) = pairs.iter().position(|p| p.error.is_some()) else {
        return Ok(Vec::new());
    };
    let mut locks = Vec::new();
    for pair in pairs.drain(first..) {
        if let Some(e) = pair.error {
            match e.locked {
                Some(lock) => locks.push(lock),
                None => return Err(to_error(*e, ts)),
            }
        }
    }
    Ok(locks)
}
