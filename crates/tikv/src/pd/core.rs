//! Who leads PD, and calls to the leader.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ilmenite_base::RetryPolicy;
use ilmenite_proto::pdpb::pd_client::PdClient;
use ilmenite_proto::pdpb::{self, ErrorType, GetMembersRequest, RequestHeader};
use ilmenite_store::{Error, Result};
use parking_lot::Mutex;
use tonic::transport::Channel;
use tonic::{Code, Request, Response, Status};

use super::message::{PdRequest, PdResponse};
use crate::backoff::{Backoff, Pause};
use crate::channel::{MAX_MESSAGE_BYTES, connect_lazy};
use crate::metrics::METRICS;
use crate::options::TikvOptions;

/// Deadline of one question to one member.
const MEMBER_TIMEOUT: Duration = Duration::from_secs(3);
/// Looking for the leader more often than this helps nobody.
const REDISCOVER_INTERVAL: Duration = Duration::from_millis(100);
/// Between tries to reach any of them at all.
const CONNECT_PAUSE: Duration = Duration::from_millis(200);
#[derive(Clone)]
pub(super) struct Leader {
    pub url: String,
    pub channel: Channel,
}

struct State {
    leader: Leader,
    /// Every address that was ever told, the URL's own included.
    known: BTreeSet<String>,
}

/// What callers and the timestamps' task share.
pub(super) struct PdCore {
    cluster_id: u64,
    pub options: Arc<TikvOptions>,
    state: Mutex<State>,
    /// One looks for the leader at a time; when it was last done.
    search: tokio::sync::Mutex<Option<Instant>>,
}

/// For people.
pub(super) fn text(status: &Status) -> String {
    match status.message() {
        "" => format!("{}", status.code()),
        message => message.to_owned(),
    }
}

/// Asks one member who leads. Returns the cluster's id, the leader, and all addresses.
async fn ask_member(address: &str) -> std::result::Result<(u64, Leader, Vec<String>), String> {
    let channel = connect_lazy(address).map_err(|e| e.to_string())?;
    let mut client = PdClient::new(channel.clone());
    let asked = client.get_members(GetMembersRequest::default());
    let answer = match tokio::time::timeout(MEMBER_TIMEOUT, asked).await {
        Err(_) => return Err(format!("no answer within {} ms", MEMBER_TIMEOUT.as_millis())),
        Ok(Err(status)) => return Err(text(&status)),
        Ok(Ok(answer)) => answer.into_inner(),
    };
    let header = answer.header.unwrap_or_default();
    if let Some(error) = header.error.filter(|e| e.r#type() != ErrorType::Ok) {
        return Err(error.message);
    }
    let urls = |m: &pdpb::Member| m.client_urls.clone();
    let known = answer.members.iter().flat_map(urls).collect();
    let Some(leader) = answer.leader else {
        return Err("it knows of no leader".into());
    };
    // A lone member leads; the address it was reached by works even where the one it tells (behind a NAT) does not.
    let leader = if answer.members.len() <= 1 || leader.client_urls.iter().any(|u| same_host(u, address)) {
        Leader {
            url: address.to_owned(),
            channel,
        }
    } else {
        let Some(url) = leader.client_urls.first() else {
            return Err("its leader has no address".into());
        };
        Leader {
            url: url.clone(),
            channel: connect_lazy(url).map_err(|e| e.to_string())?,
        }
    };
    Ok((header.cluster_id, leader, known))
}

fn same_host(a: &str, b: &str) -> bool {
    let bare = |s: &str| s.trim_start_matches("http://").trim_end_matches('/').to_owned();
    bare(a) == bare(b)
}

impl PdCore {
    /// Within `options.connect_timeout`, or an error that names what each endpoint said.
    pub(super) async fn connect(endpoints: Vec<String>, options: Arc<TikvOptions>) -> Result<Arc<Self>> {
        let mut attempts = RetryPolicy {
            max_attempts: u32::MAX,
            max_elapsed: options.connect_timeout,
            base_delay: CONNECT_PAUSE,
            max_delay: CONNECT_PAUSE,
        }
        .begin();
        let mut problems;
        loop {
            problems = Vec::new();
            for address in &endpoints {
                let left = options.connect_timeout.saturating_sub(attempts.elapsed());
                let asked = tokio::time::timeout(left.max(Duration::from_millis(100)), ask_member(address));
                match asked.await {
                    Ok(Ok((cluster_id, leader, more))) => {
                        return Ok(Arc::new(PdCore {
                            cluster_id,
                            options,
                            state: Mutex::new(State {
                                leader,
                                known: endpoints.iter().cloned().chain(more).collect(),
                            }),
                            search: tokio::sync::Mutex::default(),
                        }));
                    }
                    Ok(Err(problem)) => problems.push(format!("{address}: {problem}")),
                    Err(_) => problems.push(format!("{address}: no answer in time")),
                }
            }
            if !attempts.again().await {
                break;
            }
        }
        Err(Error::Unavailable(format!(
            "no PD can be reached within {} ms: {}",
            options.connect_timeout.as_millis(),
            problems.join("; ")
        )))
    }

    pub(super) fn leader(&self) -> Leader {
        self.state.lock().leader.clone()
    }

    pub(super) fn header(&self) -> RequestHeader {
        RequestHeader {
            cluster_id: self.cluster_id,
            caller_component: "ilmenite".into(),
            ..RequestHeader::default()
        }
    }

    /// Looks for the leader. Callers that come while one looks share what it finds.
    pub(super) async fn rediscover(&self) {
        let came = Instant::now();
        let mut last = self.search.lock().await;
        if last.is_some_and(|at| at > came || at.elapsed() < REDISCOVER_INTERVAL) {
            return;
        }
        let known: Vec<String> = self.state.lock().known.iter().cloned().collect();
        for address in known {
            match ask_member(&address).await {
                Ok((cluster_id, leader, more)) if cluster_id == self.cluster_id => {
                    let mut state = self.state.lock();
                    if state.leader.url != leader.url {
                        tracing::info!(from = state.leader.url, to = leader.url, "PD has another leader");
                    }
                    state.leader = leader;
                    state.known.extend(more);
                    break;
                }
                Ok((cluster_id, ..)) => {
                    tracing::warn!(address, cluster_id, "a PD of another cluster");
                }
                Err(error) => tracing::debug!(address, error, "a PD did not answer"),
            }
        }
        *last = Some(Instant::now());
    }

    /// One call to the leader, made again within the bounds while it may help.
    pub(super) async fn call<Q, R, F, Fut>(&self, name: &'static str, mut request: Q, call: F) -> Result<R>
    where
        Q: PdRequest,
        R: PdResponse,
        F: Fn(PdClient<Channel>, Request<Q>) -> Fut,
        Fut: Future<Output = std::result::Result<Response<R>, Status>>,
    {
        request.set_header(self.header());
        let mut backoff = Backoff::new(name, self.options.retry_time);
        loop {
            let leader = self.leader();
            let client = PdClient::new(leader.channel)
                .max_decoding_message_size(MAX_MESSAGE_BYTES)
                .max_encoding_message_size(MAX_MESSAGE_BYTES);
            let began = Instant::now();
            let timeout = self.options.call_timeout;
            let answer = tokio::time::timeout(timeout, call(client, Request::new(request.clone()))).await;
            let failed = |outcome: &str| METRICS.requests.with_label_values(&[name, outcome]).inc();
            let problem = match answer {
                Err(_) => format!("no answer within {} ms", timeout.as_millis()),
                Ok(Err(status)) if is_final(status.code()) => {
                    failed("failed");
                    return Err(Error::Io(format!(
                        "{name}: PD at {}: {}",
                        leader.url,
                        text(&status)
                    )));
                }
                Ok(Err(status)) => text(&status),
                Ok(Ok(answer)) => {
                    let answer = answer.into_inner();
                    match answer.header().and_then(|h| h.error.as_ref()) {
                        Some(e) if e.r#type() != ErrorType::Ok => e.message.clone(),
                        _ => {
                            failed("ok");
                            METRICS
                                .request_seconds
                                .with_label_values(&[name])
                                .observe(began.elapsed().as_secs_f64());
                            return Ok(answer);
                        }
                    }
                }
            };
            failed("failed");
            let error = Error::Unavailable(format!("PD at {}: {problem}", leader.url));
            backoff.wait(Pause::Network, "pd", error).await?;
            self.rediscover().await;
        }
    }
}

fn is_final(code: Code) -> bool {
    matches!(
        code,
        Code::Unimplemented | Code::InvalidArgument | Code::PermissionDenied | Code::Unauthenticated
    )
}
