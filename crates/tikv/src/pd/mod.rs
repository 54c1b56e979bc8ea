//! PD: who leads it, timestamps (`tso`), where regions and stores are, safe points.
//!
//! Only the leader answers. It is looked for among all members whenever a call fails, at most a few times a second, and
//! the call is made again within its bounds.

mod message;
mod tso;

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ilmenite_base::RetryPolicy;
use ilmenite_proto::metapb::Store;
use ilmenite_proto::pdpb::pd_client::PdClient;
use ilmenite_proto::pdpb::{self, ErrorType, GetMembersRequest, RequestHeader};
use ilmenite_store::{Error, Result, Timestamp};
use parking_lot::Mutex;
use tonic::transport::Channel;
use tonic::{Code, Request, Response, Status};

use crate::backoff::{Backoff, Pause};
use crate::channel::{MAX_MESSAGE_BYTES, connect_lazy};
use crate::metrics::METRICS;
use crate::options::TikvOptions;
use message::{PdRequest, PdResponse};

/// Deadline of one question to one member.
const MEMBER_TIMEOUT: Duration = Duration::from_secs(3);
/// Looking for the leader more often than this helps nobody.
const REDISCOVER_INTERVAL: Duration = Duration::from_millis(100);
/// Between tries to reach any of them at all.
const CONNECT_PAUSE: Duration = Duration::from_millis(200);
/// Regions asked for in one call.
pub(crate) const REGION_PAGE: i32 = 128;

/// A region as PD knows it.
#[derive(Debug, Clone)]
pub(crate) struct PdRegion {
    pub meta: ilmenite_proto::metapb::Region,
    pub leader: Option<ilmenite_proto::metapb::Peer>,
}

/// The least of all services' safe points.
#[derive(Debug, Clone)]
pub(crate) struct ServiceMinimum {
    pub service_id: String,
    pub safe_point: Timestamp,
}

#[derive(Clone)]
struct Leader {
    url: String,
    channel: Channel,
}

struct State {
    leader: Leader,
    /// Every address that was ever told, the URL's own included.
    known: BTreeSet<String>,
}

/// What callers and the timestamps' task share.
pub(crate) struct PdCore {
    cluster_id: u64,
    options: Arc<TikvOptions>,
    state: Mutex<State>,
    /// One looks for the leader at a time; when it was last done.
    search: tokio::sync::Mutex<Option<Instant>>,
}

pub(crate) struct Pd {
    core: Arc<PdCore>,
    tso: tso::Tso,
}

fn text(status: &Status) -> String {
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
    fn leader(&self) -> Leader {
        self.state.lock().leader.clone()
    }

    fn header(&self) -> RequestHeader {
        RequestHeader {
            cluster_id: self.cluster_id,
            caller_component: "ilmenite".into(),
            ..RequestHeader::default()
        }
    }

    /// Looks for the leader. Callers that come while one looks share what it finds.
    async fn rediscover(&self) {
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
    async fn call<Q, R, F, Fut>(&self, name: &'static str, mut request: Q, call: F) -> Result<R>
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

impl Pd {
    /// Within `options.connect_timeout`, or an error that names what each endpoint said.
    pub async fn connect(endpoints: Vec<String>, options: Arc<TikvOptions>) -> Result<Self> {
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
                        let core = Arc::new(PdCore {
                            cluster_id,
                            options,
                            state: Mutex::new(State {
                                leader,
                                known: endpoints.iter().cloned().chain(more).collect(),
                            }),
                            search: tokio::sync::Mutex::default(),
                        });
                        let tso = tso::Tso::start(core.clone());
                        return Ok(Pd { core, tso });
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

    /// A timestamp nobody else gets, greater than every one given before.
    pub async fn timestamp(&self) -> Result<Timestamp> {
        self.tso.get(self.core.options.retry_time).await
    }

    /// The greatest timestamp seen so far, without asking.
    pub fn last_timestamp(&self) -> Timestamp {
        self.tso.last()
    }

    pub async fn region(&self, encoded_key: Bytes) -> Result<Option<PdRegion>> {
        METRICS.region_lookups.inc();
        let request = pdpb::GetRegionRequest {
            region_key: encoded_key,
            ..Default::default()
        };
        let call = |mut c: PdClient<_>, r| async move { c.get_region(r).await };
        let answer: pdpb::GetRegionResponse = self.core.call("GetRegion", request, call).await?;
        Ok(found(answer))
    }

    /// The region before the one that holds the key.
    pub async fn previous_region(&self, encoded_key: Bytes) -> Result<Option<PdRegion>> {
        METRICS.region_lookups.inc();
        let request = pdpb::GetRegionRequest {
            region_key: encoded_key,
            ..Default::default()
        };
        let call = |mut c: PdClient<_>, r| async move { c.get_prev_region(r).await };
        let answer: pdpb::GetRegionResponse = self.core.call("GetPrevRegion", request, call).await?;
        Ok(found(answer))
    }

    /// One page of the regions from `start` to `end`, in key order.
    pub async fn scan_regions(&self, start: Bytes, end: Bytes) -> Result<Vec<PdRegion>> {
        METRICS.region_lookups.inc();
        let request = pdpb::ScanRegionsRequest {
            start_key: start,
            end_key: end,
            limit: REGION_PAGE,
            ..Default::default()
        };
        let call = |mut c: PdClient<_>, r| async move { c.scan_regions(r).await };
        let answer: pdpb::ScanRegionsResponse = self.core.call("ScanRegions", request, call).await?;
        if !answer.regions.is_empty() {
            let regions = answer.regions.into_iter();
            return Ok(regions.filter_map(|r| with_leader(r.region, r.leader)).collect());
        }
        let mut leaders = answer.leaders.into_iter();
        let regions = answer.region_metas.into_iter();
        Ok(regions
            .filter_map(|meta| with_leader(Some(meta), leaders.next()))
            .collect())
    }

    pub async fn store(&self, store_id: u64) -> Result<Store> {
        let request = pdpb::GetStoreRequest {
            store_id,
            ..Default::default()
        };
        let call = |mut c: PdClient<_>, r| async move { c.get_store(r).await };
        let answer: pdpb::GetStoreResponse = self.core.call("GetStore", request, call).await?;
        answer
            .store
            .ok_or_else(|| Error::Unavailable(format!("PD knows no store {store_id}")))
    }

    pub async fn stores(&self) -> Result<Vec<Store>> {
        let request = pdpb::GetAllStoresRequest {
            exclude_tombstone_stores: true,
            ..Default::default()
        };
        let call = |mut c: PdClient<_>, r| async move { c.get_all_stores(r).await };
        let answer: pdpb::GetAllStoresResponse = self.core.call("GetAllStores", request, call).await?;
        Ok(answer.stores)
    }

    /// Asks PD to move regions that were just split off to stores of their own choice. Nothing rests on it.
    pub async fn scatter(&self, region_ids: Vec<u64>) -> Result<()> {
        let request = pdpb::ScatterRegionRequest {
            // For a PD that does not know the list.
            region_id: region_ids.first().copied().unwrap_or_default(),
            regions_id: region_ids,
            skip_store_limit: true,
            ..Default::default()
        };
        let call = |mut c: PdClient<_>, r| async move { c.scatter_region(r).await };
        let _: pdpb::ScatterRegionResponse = self.core.call("ScatterRegion", request, call).await?;
        Ok(())
    }

    pub async fn gc_safe_point(&self) -> Result<Timestamp> {
        let request = pdpb::GetGcSafePointRequest::default();
        let call = |mut c: PdClient<_>, r| async move { c.get_gc_safe_point(r).await };
        let answer: pdpb::GetGcSafePointResponse = self.core.call("GetGCSafePoint", request, call).await?;
        Ok(Timestamp(answer.safe_point))
    }

    /// Returns the safe point that holds now: this one, or a later one.
    pub async fn update_gc_safe_point(&self, safe_point: Timestamp) -> Result<Timestamp> {
        let request = pdpb::UpdateGcSafePointRequest {
            safe_point: safe_point.0,
            ..Default::default()
        };
        let call = |mut c: PdClient<_>, r| async move { c.update_gc_safe_point(r).await };
        let answer: pdpb::UpdateGcSafePointResponse =
            self.core.call("UpdateGCSafePoint", request, call).await?;
        Ok(Timestamp(answer.new_safe_point))
    }

    /// Holds the safe point at or before `safe_point` for `ttl_seconds` (0: no longer; the greatest: for ever), in the
    /// name of `service_id`. It took effect if the minimum returned is not greater.
    pub async fn update_service_safe_point(
        &self,
        service_id: &str,
        safe_point: Timestamp,
        ttl_seconds: i64,
    ) -> Result<ServiceMinimum> {
        let request = pdpb::UpdateServiceGcSafePointRequest {
            service_id: Bytes::copy_from_slice(service_id.as_bytes()),
            ttl: ttl_seconds,
            safe_point: safe_point.0,
            ..Default::default()
        };
        let call = |mut c: PdClient<_>, r| async move { c.update_service_gc_safe_point(r).await };
        let answer: pdpb::UpdateServiceGcSafePointResponse =
            self.core.call("UpdateServiceGCSafePoint", request, call).await?;
        Ok(ServiceMinimum {
            service_id: String::from_utf8_lossy(&answer.service_id).into_owned(),
            safe_point: Timestamp(answer.min_safe_point),
        })
    }
}

fn with_leader(
    meta: Option<ilmenite_proto::metapb::Region>,
    leader: Option<ilmenite_proto::metapb::Peer>,
) -> Option<PdRegion> {
    Some(PdRegion {
        meta: meta?,
        leader: leader.filter(|peer| peer.id != 0),
    })
}

fn found(answer: pdpb::GetRegionResponse) -> Option<PdRegion> {
    with_leader(answer.region, answer.leader)
}
