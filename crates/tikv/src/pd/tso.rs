//! Timestamps in batches: one task, one stream, one request under way; whoever comes meanwhile is served by the next.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ilmenite_base::RetryPolicy;
use ilmenite_proto::pdpb::pd_client::PdClient;
use ilmenite_proto::pdpb::{ErrorType, TsoRequest, TsoResponse};
use ilmenite_store::{Error, Result, Timestamp};
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use super::core::{PdCore, text};
use crate::metrics::METRICS;

/// Waiters; those beyond wait for a place.
const MAX_WAITERS: usize = 16 << 10;
/// PD answers within a millisecond or not at all.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);
/// Between requests that fail. Whoever waits for a timestamp has bounds of his own.
const PAUSE: RetryPolicy = RetryPolicy::endless(Duration::from_millis(40), Duration::from_millis(1280));

type Waiter = oneshot::Sender<Timestamp>;

pub(super) struct Tso {
    waiters: mpsc::Sender<Waiter>,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    last: AtomicU64,
    problem: Mutex<String>,
}

impl Tso {
    /// The task ends when the `Tso` is dropped.
    pub(super) fn start(core: Arc<PdCore>) -> Self {
        let (waiters, queue) = mpsc::channel(MAX_WAITERS);
        let shared = Arc::new(Shared::default());
        tokio::spawn(run(core, queue, shared.clone()));
        Tso { waiters, shared }
    }

    pub(super) async fn get(&self, within: Duration) -> Result<Timestamp> {
        let (tx, rx) = oneshot::channel();
        let asked = async {
            self.waiters.send(tx).await.ok()?;
            rx.await.ok()
        };
        match tokio::time::timeout(within, asked).await {
            Ok(Some(ts)) => Ok(ts),
            Ok(None) => Err(Error::Unavailable("the store is closed".into())),
            Err(_) => Err(Error::Unavailable(format!(
                "no timestamp from PD within {} ms: {}",
                within.as_millis(),
                self.shared.problem.lock()
            ))),
        }
    }

    pub(super) fn last(&self) -> Timestamp {
        Timestamp(self.shared.last.load(Ordering::SeqCst))
    }
}

/// An open stream. The first request must be on its way before the answer's head comes.
struct Stream {
    requests: mpsc::Sender<TsoRequest>,
    answers: Streaming<TsoResponse>,
}

async fn run(core: Arc<PdCore>, mut queue: mpsc::Receiver<Waiter>, shared: Arc<Shared>) {
    let mut stream: Option<Stream> = None;
    let mut waiting: Vec<Waiter> = Vec::new();
    let mut failures = 0u32;
    loop {
        // Those whose caller has gone cost nothing more.
        waiting.retain(|w| !w.is_closed());
        if waiting.is_empty() {
            match queue.recv().await {
                Some(waiter) => waiting.push(waiter),
                None => return,
            }
        }
        while waiting.len() < MAX_WAITERS
            && let Ok(waiter) = queue.try_recv()
        {
            waiting.push(waiter);
        }
        let request = TsoRequest {
            header: Some(core.header()),
            count: waiting.len() as u32,
            ..TsoRequest::default()
        };
        let began = Instant::now();
        let answer = tokio::time::timeout(ANSWER_TIMEOUT, ask(&core, &mut stream, request)).await;
        let answer = answer.unwrap_or_else(|_| Err("no answer".into()));
        match answer.and_then(|a| timestamps(a, waiting.len())) {
            Ok((first, last)) => {
                failures = 0;
                METRICS.requests.with_label_values(&["Tso", "ok"]).inc();
                METRICS.tso_batch_size.observe(waiting.len() as f64);
                let took = began.elapsed().as_secs_f64();
                METRICS.request_seconds.with_label_values(&["Tso"]).observe(took);
                shared.last.fetch_max(last, Ordering::SeqCst);
                for (i, waiter) in waiting.drain(..).enumerate() {
                    // One that has gone leaves its timestamp unused.
                    let _ = waiter.send(Timestamp(first + i as u64));
                }
            }
            Err(problem) => {
                stream = None;
                METRICS.requests.with_label_values(&["Tso", "failed"]).inc();
                METRICS.retries.with_label_values(&["tso"]).inc();
                let url = core.leader().url;
                tracing::debug!(url, problem, "no timestamps");
                *shared.problem.lock() = format!("PD at {url}: {problem}");
                failures = failures.saturating_add(1);
                tokio::time::sleep(PAUSE.delay(failures)).await;
                core.rediscover().await;
            }
        }
    }
}

async fn ask(
    core: &PdCore,
    stream: &mut Option<Stream>,
    request: TsoRequest,
) -> std::result::Result<TsoResponse, String> {
    let open = match stream {
        Some(open) => {
            let sent = open.requests.send(request).await;
            sent.map_err(|_| "the stream was closed".to_owned())?;
            open
        }
        None => {
            let (requests, outgoing) = mpsc::channel(1);
            // There is room for it: the channel is new.
            let _ = requests.try_send(request);
            let mut client = PdClient::new(core.leader().channel);
            let answers = client
                .tso(ReceiverStream::new(outgoing))
                .await
                .map_err(|status| text(&status))?
                .into_inner();
            stream.insert(Stream { requests, answers })
        }
    };
    match open.answers.message().await {
        Ok(Some(answer)) => Ok(answer),
        Ok(None) => Err("the stream ended".into()),
        Err(status) => Err(text(&status)),
    }
}

/// First and last of the timestamps in an answer.
fn timestamps(answer: TsoResponse, asked: usize) -> std::result::Result<(u64, u64), String> {
    let error = answer.header.and_then(|h| h.error);
    if let Some(error) = error.filter(|e| e.r#type() != ErrorType::Ok) {
        return Err(error.message);
    }
    let Some(last) = answer.timestamp.filter(|_| answer.count as usize == asked) else {
        return Err(format!("{} timestamps instead of {asked}", answer.count));
    };
    let last = ((last.physical as u64) << Timestamp::LOGICAL_BITS) + last.logical as u64;
    Ok((last - (asked as u64 - 1), last))
}
