//! Requests to whichever store leads the region of a key, made again while that may help.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::stream::{FuturesUnordered, StreamExt};
use ilmenite_proto::kvrpcpb;
use ilmenite_store::{Error, Result, Timestamp};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::{Request, Status};

use crate::backoff::Backoff;
use crate::links::Links;
use crate::metrics::METRICS;
use crate::options::TikvOptions;
use crate::outcome::Outcomes;
use crate::pd::Pd;
use crate::reaction::{Cached, Failure, Next, plan};
use crate::region::{Batch, Region, RegionCache};
use crate::request::RegionRequest;

/// Clean-ups and second phases that run on by themselves; beyond these, whoever wants one more does it itself.
const BACKGROUND_TASKS: usize = 256;

/// Did the call fail before there was a connection to send it on?
fn is_connect_error(status: &Status) -> bool {
    let mut source = std::error::Error::source(status);
    while let Some(error) = source {
        // The transport's own type for it is not public.
        if error.to_string().contains("tcp connect error") {
            return true;
        }
        source = error.source();
    }
    false
}

/// What everything of the engine shares.
pub(crate) struct Cluster {
    pub options: Arc<TikvOptions>,
    pub pd: Arc<Pd>,
    pub regions: RegionCache,
    pub links: Links,
    /// Outcomes of transactions whose locks were met.
    pub outcomes: Outcomes,
    /// Fires when the store closes: the background ends.
    pub stop: CancellationToken,
    pub background: TaskTracker,
    background_room: Arc<Semaphore>,
}

impl Cluster {
    pub(crate) fn new(pd: Pd, options: Arc<TikvOptions>) -> Self {
        let pd = Arc::new(pd);
        Cluster {
            regions: RegionCache::new(pd.clone()),
            links: Links::new(pd.clone(), options.clone()),
            outcomes: Outcomes::default(),
            stop: CancellationToken::new(),
            background: TaskTracker::new(),
            background_room: Arc::new(Semaphore::new(BACKGROUND_TASKS)),
            pd,
            options,
        }
    }

    pub(crate) fn check_open(&self) -> Result<()> {
        if self.stop.is_cancelled() {
            return Err(Error::Unavailable("the store is closed".into()));
        }
        Ok(())
    }

    pub(crate) async fn timestamp(&self) -> Result<Timestamp> {
        self.pd.timestamp().await
    }

    /// A budget of tries for one operation.
    pub(crate) fn backoff(&self, what: &'static str) -> Backoff {
        Backoff::new(what, self.options.retry_time)
    }

    /// Runs `work` in the background, or at once when there is too much of it already.
    pub(crate) async fn in_background(&self, work: impl Future<Output = ()> + Send + 'static) {
        match self.background_room.clone().try_acquire_owned() {
            Ok(permit) => {
                self.background.spawn(async move {
                    work.await;
                    drop(permit);
                });
            }
            Err(_) => work.await,
        }
    }

    /// One try, without a retry. `timeout`: for the answer.
    pub(crate) async fn send<Q: RegionRequest>(
        &self,
        region: &Region,
        mut request: Q,
        timeout: Duration,
    ) -> std::result::Result<Q::Response, Failure> {
        let link = self
            .links
            .get(region.leader.store_id)
            .await
            .map_err(Failure::NotSent)?;
        let given = request.take_context();
        request.set_context(kvrpcpb::Context {
            resolved_locks: given.resolved_locks,
            committed_locks: given.committed_locks,
            is_retry_request: given.is_retry_request,
            not_fill_cache: given.not_fill_cache,
            ..region.context()
        });
        let _room = match tokio::time::timeout(timeout, link.room.acquire()).await {
            Ok(Ok(room)) => room,
            _ => {
                let full = format!("store {} has too many requests under way", link.id);
                return Err(Failure::NotSent(Error::Unavailable(full)));
            }
        };
        let mut call = Request::new(request);
        call.set_timeout(timeout);
        let began = Instant::now();
        let answer = tokio::time::timeout(timeout, Q::call(link.tikv(), call)).await;
        let count = |outcome: &str| METRICS.requests.with_label_values(&[Q::NAME, outcome]).inc();
        match answer {
            Ok(Ok(answer)) => {
                let took = began.elapsed().as_secs_f64();
                METRICS
                    .request_seconds
                    .with_label_values(&[Q::NAME])
                    .observe(took);
                let mut answer = answer.into_inner();
                match Q::take_region_error(&mut answer) {
                    Some(e) => {
                        count("region_error");
                        Err(Failure::Region(e))
                    }
                    None => {
                        count("ok");
                        Ok(answer)
                    }
                }
            }
            Ok(Err(status)) => {
                count("failed");
                if is_connect_error(&status) {
                    let text = format!("store {} at {} cannot be reached", link.id, link.address);
                    return Err(Failure::NotSent(Error::Unavailable(text)));
                }
                tracing::debug!(method = Q::NAME, address = link.address, %status, "a call failed");
                Err(Failure::Call(status))
            }
            Err(_) => {
                count("failed");
                let text = format!("no answer to {} within {} ms", Q::NAME, timeout.as_millis());
                Err(Failure::Call(Status::deadline_exceeded(text)))
            }
        }
    }

    /// Corrects the caches and waits; an error when the request is not to be made again.
    pub(crate) async fn react(
        &self,
        region: &Region,
        failure: &Failure,
        backoff: &mut Backoff,
    ) -> Result<()> {
        self.check_open()?;
        let store_id = region.leader.store_id;
        let reaction = plan(failure, store_id);
        if reaction.forget_store {
            self.links.forget(store_id);
        }
        match reaction.cached {
            Cached::Keep => {}
            Cached::Forget => self.regions.forget(region),
            Cached::Leader(leader) => self.regions.set_leader(region, leader),
            Cached::Current(regions) => {
                self.regions.forget(region);
                self.regions.learn_current(regions, store_id);
            }
        }
        match reaction.next {
            Next::Fail(error) => Err(error),
            Next::Retry { pause, least } => {
                let error = failure.error(store_id, region.id);
                backoff.wait_at_least(pause, least, reaction.reason, error).await
            }
        }
    }

    /// A request about one key. `unknown` is set when a try may have been carried out without our knowing.
    pub(crate) async fn by_key_noting<Q: RegionRequest>(
        &self,
        key: &[u8],
        request: &Q,
        backoff: &mut Backoff,
        unknown: &mut bool,
    ) -> Result<Q::Response> {
        loop {
            let region = self.regions.locate(key, backoff).await?;
            let mut request = request.clone();
            if *unknown {
                let mut context = request.take_context();
                context.is_retry_request = true;
                request.set_context(context);
            }
            match self.send(&region, request, self.options.call_timeout).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => {
                    *unknown |= failure.outcome_unknown();
                    self.react(&region, &failure, backoff).await?;
                }
            }
        }
    }

    pub(crate) async fn by_key<Q: RegionRequest>(
        &self,
        key: &[u8],
        request: &Q,
        backoff: &mut Backoff,
    ) -> Result<Q::Response> {
        self.by_key_noting(key, request, backoff, &mut false).await
    }

    /// One request to each batch of keys, several at a time; `make` builds it, `take` gets the batch back with its
    /// answer and returns what of it is to be done again (after having waited, if it must).
    pub(crate) async fn by_keys<Q, M, T, Fut>(
        &self,
        keys: Vec<Bytes>,
        mut batch_bytes: usize,
        backoff: &mut Backoff,
        make: M,
        mut take: T,
    ) -> Result<()>
    where
        Q: RegionRequest,
        M: Fn(&[Bytes]) -> Q,
        T: FnMut(Vec<Bytes>, Q::Response) -> Fut,
        Fut: Future<Output = Result<Vec<Bytes>>>,
    {
        let of = |key: &Bytes| (key.clone(), key.len() + 32);
        let mut queue: VecDeque<Batch<Bytes>> =
            self.regions.group(keys, of, batch_bytes, backoff).await?.into();
        let mut running = FuturesUnordered::new();
        loop {
            while running.len() < self.options.concurrency.max(1)
                && let Some(batch) = queue.pop_front()
            {
                let request = make(&batch.items);
                running.push(async move {
                    let sent = self.send(&batch.region, request, self.options.call_timeout).await;
                    (batch, sent)
                });
            }
            let Some((batch, sent)) = running.next().await else {
                return Ok(());
            };
            let again = match sent {
                Ok(answer) => take(batch.items, answer).await?,
                Err(failure) => {
                    self.react(&batch.region, &failure, backoff).await?;
                    if failure.answer_too_large() {
                        batch_bytes = (batch_bytes / 2).max(1);
                    }
                    batch.items
                }
            };
            if !again.is_empty() {
                let batches = self.regions.group(again, of, batch_bytes, backoff).await?;
                queue.extend(batches);
            }
        }
    }
}
