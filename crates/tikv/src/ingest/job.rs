//! One job of an ingest: sorted pairs, brought into whichever regions they lie in. Files are written on every store of a
//! region (`Write`), then its leader takes them in with one entry of its log (`MultiIngest`).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::try_join_all;
use futures::stream;
use ilmenite_base::rng;
use ilmenite_proto::errorpb;
use ilmenite_proto::import_sstpb::{
    MultiIngestRequest, Pair, Range, SstMeta, WriteBatch, WriteRequest, write_request::Chunk,
};
use ilmenite_proto::kvrpcpb::{Context, SplitRegionRequest};
use ilmenite_store::{Error, Result, Timestamp};
use tonic::{Request, Status};

use crate::backoff::{Backoff, Pause};
use crate::cluster::Cluster;
use crate::key;
use crate::metrics::METRICS;
use crate::reaction::Failure;
use crate::region::Region;

/// Bytes of pairs in one message.
const MESSAGE_BYTES: usize = 64 << 10;
/// A store writes a file of a job within this, or is taken for dead.
const WRITE_TIMEOUT: Duration = Duration::from_secs(120);
const INGEST_TIMEOUT: Duration = Duration::from_secs(60);
/// How long one job is tried: stores may stall on writing for a while.
const JOB_TIME: Duration = Duration::from_secs(180);
/// The leader is asked to take in written files this often, before they are written anew.
const MAX_INGEST_ATTEMPTS: u32 = 20;

/// Keys and values in one buffer.
pub(super) struct Pairs {
    pub data: Bytes,
    /// (start of key, start of value, end of value).
    pub entries: Vec<(u32, u32, u32)>,
}

/// Where the last pairs went, and how much went there since it was last split.
#[derive(Default, Clone, Copy)]
pub(crate) struct Placed {
    region_id: u64,
    bytes: usize,
}

/// A pair's place in a job: (piece, pair).
type At = (usize, usize);

struct Job {
    cluster: Arc<Cluster>,
    pieces: Arc<Vec<Pairs>>,
    ts: Timestamp,
}

pub(super) async fn run(
    cluster: Arc<Cluster>,
    pieces: Vec<Pairs>,
    ts: Timestamp,
    mut placed: Placed,
) -> Result<Placed> {
    let job = Job {
        cluster,
        pieces: Arc::new(pieces),
        ts,
    };
    let mut backoff = Backoff::new("ingest", JOB_TIME);
    let mut at = (0, 0);
    while at.0 < job.pieces.len() {
        job.cluster.check_open()?;
        let first = job.key(at);
        let mut region = job.cluster.regions.locate(&first, &mut backoff).await?;
        if placed.region_id == region.id && placed.bytes >= job.cluster.options.ingest_region_bytes {
            placed = Placed::default();
            job.split(&region, first.clone(), &mut backoff).await;
            region = job.cluster.regions.locate(&first, &mut backoff).await?;
        }
        let (end, bytes) = job.up_to(at, &region);
        match job.ingest(&region, at, end, &mut backoff).await {
            Ok(()) => {
                if placed.region_id != region.id {
                    placed = Placed {
                        region_id: region.id,
                        bytes: 0,
                    };
                }
                placed.bytes += bytes;
                at = end;
                // What went well does not count against what comes.
                backoff = Backoff::new("ingest", JOB_TIME);
            }
            Err(failure) => job.cluster.react(&region, &failure, &mut backoff).await?,
        }
    }
    Ok(placed)
}

impl Job {
    fn key(&self, at: At) -> Bytes {
        self.pieces[at.0].key(at.1)
    }

    fn next(&self, at: At) -> At {
        if at.1 + 1 < self.pieces[at.0].len() {
            (at.0, at.1 + 1)
        } else {
            (at.0 + 1, 0)
        }
    }

    /// The place behind the last pair from `at` on that lies in the region, and the bytes of those.
    fn up_to(&self, at: At, region: &Region) -> (At, usize) {
        let mut bytes = 0;
        let mut end = at;
        while end.0 < self.pieces.len() && region.contains(&self.key(end)) {
            bytes += self.pieces[end.0].bytes(end.1);
            end = self.next(end);
        }
        (end, bytes)
    }

    /// Cuts off what comes, so that it does not all pile up in one region. Not having done so is no error.
    async fn split(&self, region: &Region, at: Bytes, backoff: &mut Backoff) {
        let request = SplitRegionRequest {
            split_keys: vec![at],
            ..SplitRegionRequest::default()
        };
        let timeout = self.cluster.options.call_timeout;
        match self.cluster.send(region, request, timeout).await {
            Ok(answer) => {
                let ids = answer.regions.iter().map(|r| r.id).collect();
                self.cluster
                    .regions
                    .learn_current(answer.regions, region.leader.store_id);
                let cluster = self.cluster.clone();
                let scatter = async move {
                    if let Err(e) = cluster.pd.scatter(ids).await {
                        tracing::debug!(error = %e, "scattering regions failed");
                    }
                };
                self.cluster.in_background(scatter).await;
            }
            Err(failure) => {
                let tried = self.cluster.react(region, &failure, backoff).await;
                tracing::debug!(region = region.id, ?failure, ?tried, "splitting a region failed");
            }
        }
    }

    async fn ingest(
        &self,
        region: &Region,
        from: At,
        end: At,
        backoff: &mut Backoff,
    ) -> std::result::Result<(), Failure> {
        let uuid = uuid::Builder::from_random_bytes(rng::bytes()).into_uuid();
        let uuid = Bytes::copy_from_slice(uuid.as_bytes());
        let mut last = from;
        let mut next = self.next(from);
        while next != end {
            last = next;
            next = self.next(next);
        }
        let meta = SstMeta {
            uuid,
            range: Some(Range {
                start: key::encode(&self.key(from)),
                end: key::encode(&self.key(last)),
            }),
            region_id: region.id,
            region_epoch: Some(region.epoch),
            ..SstMeta::default()
        };
        let peers = region.peers.iter().filter(|peer| !peer.is_witness);
        let writes = peers.map(|peer| async {
            let metas = self.write(peer.store_id, meta.clone(), from, end).await?;
            Ok::<_, Failure>((peer.store_id, metas))
        });
        let written = try_join_all(writes).await?;
        let leader = region.leader.store_id;
        let Some((_, metas)) = written.into_iter().find(|(store_id, _)| *store_id == leader) else {
            let text = format!("region {} has no peer on its leader's store {leader}", region.id);
            return Err(Failure::NotSent(Error::Unavailable(text)));
        };
        self.take_in(region, metas, backoff).await
    }

    /// Writes the pairs into files of one store.
    async fn write(
        &self,
        store_id: u64,
        meta: SstMeta,
        from: At,
        end: At,
    ) -> std::result::Result<Vec<SstMeta>, Failure> {
        let link = self.cluster.links.get(store_id).await.map_err(Failure::NotSent)?;
        let context = Context {
            request_source: "ilmenite".into(),
            ..Context::default()
        };
        let head = WriteRequest {
            chunk: Some(Chunk::Meta(meta)),
            context: Some(context.clone()),
        };
        let (pieces, commit_ts) = (self.pieces.clone(), self.ts.0);
        let messages = stream::unfold((Some(head), from), move |(head, at)| {
            let next = match head {
                Some(head) => Some((head, (None, at))),
                None if at == end => None,
                None => {
                    let (batch, next) = message(&pieces, at, end, commit_ts);
                    let request = WriteRequest {
                        chunk: Some(Chunk::Batch(batch)),
                        context: Some(context.clone()),
                    };
                    Some((request, (None, next)))
                }
            };
            std::future::ready(next)
        });
        let mut client = link.import();
        let answer = tokio::time::timeout(WRITE_TIMEOUT, client.write(Request::new(messages))).await;
        let answer = match answer {
            Err(_) => Err(Status::deadline_exceeded(format!(
                "no answer to Write within {} s",
                WRITE_TIMEOUT.as_secs()
            ))),
            Ok(answer) => answer,
        };
        count("Write", answer.is_ok());
        let answer = answer.map_err(Failure::Call)?.into_inner();
        match answer.error {
            None if answer.metas.is_empty() => {
                let text = format!("store {store_id} wrote no file");
                Err(Failure::Region(Box::new(errorpb::Error {
                    message: text,
                    ..errorpb::Error::default()
                })))
            }
            None => Ok(answer.metas),
            Some(e) => Err(Failure::Region(e.store_error.unwrap_or_else(|| {
                Box::new(errorpb::Error {
                    message: e.message,
                    ..errorpb::Error::default()
                })
            }))),
        }
    }

    async fn take_in(
        &self,
        region: &Region,
        metas: Vec<SstMeta>,
        backoff: &mut Backoff,
    ) -> std::result::Result<(), Failure> {
        let leader = region.leader.store_id;
        for _ in 0..MAX_INGEST_ATTEMPTS {
            let link = self.cluster.links.get(leader).await.map_err(Failure::NotSent)?;
            let mut request = Request::new(MultiIngestRequest {
                context: Some(region.context()),
                ssts: metas.clone(),
            });
            request.set_timeout(INGEST_TIMEOUT);
            let mut client = link.import();
            let answer = tokio::time::timeout(INGEST_TIMEOUT, client.multi_ingest(request)).await;
            let answer =
                answer.unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer to MultiIngest")));
            count("MultiIngest", answer.is_ok());
            let failure = match answer.map_err(Failure::Call)?.into_inner().error {
                None => return Ok(()),
                Some(e) => Failure::Region(e),
            };
            // The files are still there, and the region is the same.
            let Failure::Region(e) = &failure else {
                return Err(failure);
            };
            let least = match (&e.server_is_busy, &e.read_index_not_ready) {
                (Some(busy), _) => Duration::from_millis(busy.backoff_ms.min(5000)),
                (None, Some(_)) => Duration::ZERO,
                (None, None) => return Err(failure),
            };
            let last = failure.error(leader, region.id);
            let waited = backoff
                .wait_at_least(Pause::Busy, least, "server_is_busy", last)
                .await;
            if waited.is_err() {
                // Whoever reacts to it finds the same.
                return Err(failure);
            }
        }
        Err(Failure::Region(Box::new(errorpb::Error {
            message: "the region's leader is too busy to take files in".into(),
            ..errorpb::Error::default()
        })))
    }
}

fn message(pieces: &[Pairs], mut at: At, end: At, commit_ts: u64) -> (WriteBatch, At) {
    let mut batch = WriteBatch {
        commit_ts,
        pairs: Vec::new(),
    };
    let mut bytes = 0;
    while at != end && bytes < MESSAGE_BYTES {
        let piece = &pieces[at.0];
        batch.pairs.push(Pair {
            key: piece.key(at.1),
            value: piece.value(at.1),
            ..Pair::default()
        });
        bytes += piece.bytes(at.1);
        at = if at.1 + 1 < piece.len() {
            (at.0, at.1 + 1)
        } else {
            (at.0 + 1, 0)
        };
    }
    (batch, at)
}

fn count(method: &str, ok: bool) {
    let outcome = if ok { "ok" } else { "failed" };
    METRICS.requests.with_label_values(&[method, outcome]).inc();
}
