//! How much the protocol costs: ingest, scan, point reads and commits through it, against the engine without it, on the
//! same data in the same process and run.
//!
//! `cargo run --release -p ilmenite-tikv-server --example speed [ENTRIES]`

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use ilmenite_codec::key::{index_prefix, partition_prefix_len};
use ilmenite_embedded::{EmbeddedOptions, EmbeddedStore};
use ilmenite_proto::import_sstpb::import_sst_client::ImportSstClient;
use ilmenite_proto::import_sstpb::{
    self, MultiIngestRequest, SstMeta, WriteBatch, WriteRequest, write_request,
};
use ilmenite_proto::kvrpcpb::*;
use ilmenite_proto::pdpb::pd_client::PdClient;
use ilmenite_proto::pdpb::{GetMembersRequest, GetRegionRequest, RequestHeader};
use ilmenite_proto::tikvpb::tikv_client::TikvClient;
use ilmenite_store::{KeyRange, KvBatch, ScanOptions, Store};
use ilmenite_tikv_server::{Server, ServerOptions};
use tonic::transport::{Channel, Endpoint};

type Failure = Box<dyn std::error::Error + Send + Sync>;

const ROUNDS: usize = 3;
/// Pairs in one message, and in one answer.
const WRITE_PAIRS: usize = 1024;
const SCAN_PAIRS: u32 = 4096;

fn key(index: i64, i: u64) -> Vec<u8> {
    let mut key = index_prefix(1, index).to_vec();
    key.extend_from_slice(&i.to_be_bytes());
    key.extend_from_slice(&(i ^ 0x5555).to_be_bytes());
    key
}

fn value(i: u64, bytes: usize) -> Vec<u8> {
    i.to_le_bytes().iter().copied().cycle().take(bytes).collect()
}

struct Remote {
    kv: TikvClient<Channel>,
    pd: PdClient<Channel>,
    import: ImportSstClient<Channel>,
    header: Option<RequestHeader>,
}

impl Remote {
    async fn connect(url: String) -> Result<Remote, Failure> {
        let channel = Endpoint::from_shared(url)?
            .tcp_nodelay(true)
            .initial_stream_window_size(16 << 20)
            .initial_connection_window_size(64 << 20)
            .connect()
            .await?;
        let mut pd = PdClient::new(channel.clone());
        let members = pd.get_members(GetMembersRequest::default()).await?.into_inner();
        Ok(Remote {
            kv: TikvClient::new(channel.clone()).max_decoding_message_size(512 << 20),
            import: ImportSstClient::new(channel),
            pd,
            header: Some(RequestHeader {
                cluster_id: members.header.map_or(0, |h| h.cluster_id),
                ..Default::default()
            }),
        })
    }

    async fn context(&self, key: &[u8]) -> Result<Context, Failure> {
        let mut encoded = Vec::new();
        ilmenite_codec::memcomparable::encode_bytes(key, &mut encoded);
        let request = GetRegionRequest {
            header: self.header.clone(),
            region_key: encoded.into(),
        };
        let answer = self.pd.clone().get_region(request).await?.into_inner();
        let region = answer.region.ok_or("no region")?;
        Ok(Context {
            region_id: region.id,
            region_epoch: region.region_epoch,
            peer: answer.leader,
            ..Default::default()
        })
    }

    async fn ingest(&self, index: i64, entries: u64, bytes: usize, ts: u64) -> Result<(), Failure> {
        let context = self.context(&key(index, 0)).await?;
        let meta = SstMeta {
            uuid: Bytes::from(index.to_be_bytes().repeat(2)),
            region_id: context.region_id,
            region_epoch: context.region_epoch,
            ..Default::default()
        };
        let chunk = |chunk| WriteRequest {
            chunk: Some(chunk),
            context: None,
        };
        let first = chunk(write_request::Chunk::Meta(meta));
        let batches = (0..entries).step_by(WRITE_PAIRS).map(move |from| {
            let to = (from + WRITE_PAIRS as u64).min(entries);
            let pairs = (from..to).map(|i| import_sstpb::Pair {
                key: key(index, i).into(),
                value: value(i, bytes).into(),
                op: 0,
            });
            let pairs = pairs.collect();
            chunk(write_request::Chunk::Batch(WriteBatch { commit_ts: ts, pairs }))
        });
        let messages = tokio_stream::iter(std::iter::once(first).chain(batches));
        let written = self.import.clone().write(messages).await?.into_inner();
        let request = MultiIngestRequest {
            context: Some(context),
            ssts: written.metas,
        };
        let done = self.import.clone().multi_ingest(request).await?.into_inner();
        done.error.map_or(Ok(()), |e| Err(e.message.into()))
    }

    async fn scan(&self, index: i64, ts: u64) -> Result<(u64, u64), Failure> {
        let mut start: Bytes = index_prefix(1, index).to_vec().into();
        let end: Bytes = index_prefix(1, index + 1).to_vec().into();
        let context = self.context(&start).await?;
        let (mut entries, mut bytes) = (0, 0);
        loop {
            let request = ScanRequest {
                context: Some(context.clone()),
                start_key: start.clone(),
                end_key: end.clone(),
                limit: SCAN_PAIRS,
                version: ts,
                ..Default::default()
            };
            let answer = self.kv.clone().kv_scan(request).await?.into_inner();
            if let Some(e) = answer.region_error {
                return Err(e.message.into());
            }
            entries += answer.pairs.len() as u64;
            bytes += answer
                .pairs
                .iter()
                .map(|p| (p.key.len() + p.value.len()) as u64)
                .sum::<u64>();
            match answer.pairs.last() {
                Some(last) if answer.pairs.len() == SCAN_PAIRS as usize => {
                    start = [&last.key[..], &[0]].concat().into();
                }
                _ => return Ok((entries, bytes)),
            }
        }
    }

    async fn get(&self, key: Vec<u8>, ts: u64, context: &Context) -> Result<bool, Failure> {
        let request = GetRequest {
            context: Some(context.clone()),
            key: key.into(),
            version: ts,
        };
        Ok(!self.kv.clone().kv_get(request).await?.into_inner().not_found)
    }
}

async fn ingest(
    store: &EmbeddedStore,
    index: i64,
    entries: u64,
    bytes: usize,
    ts: u64,
) -> Result<(), Failure> {
    let range = KeyRange::prefix(&index_prefix(1, index));
    let mut ingest = store.ingest(range, ilmenite_store::Timestamp(ts)).await?;
    let mut batch = KvBatch::new();
    for i in 0..entries {
        batch.push(&key(index, i), &value(i, bytes));
        if batch.bytes() >= 256 << 10 {
            ingest.write(&batch).await?;
            batch.clear();
        }
    }
    ingest.write(&batch).await?;
    ingest.finish().await?;
    Ok(())
}

async fn scan(store: &EmbeddedStore, index: i64, ts: u64) -> Result<(u64, u64), Failure> {
    let range = KeyRange::prefix(&index_prefix(1, index));
    let mut scan = store.scan(range, ilmenite_store::Timestamp(ts), ScanOptions::default())?;
    let mut batch = KvBatch::new();
    let (mut entries, mut bytes) = (0, 0);
    while scan.next_batch(&mut batch).await? {
        entries += batch.len() as u64;
        bytes += batch.bytes() as u64;
    }
    Ok((entries, bytes))
}

fn median(mut seconds: Vec<f64>) -> f64 {
    seconds.sort_by(f64::total_cmp);
    seconds[seconds.len() / 2]
}

async fn timed<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<(f64, T), Failure> {
    let began = Instant::now();
    let out = work.await?;
    Ok((began.elapsed().as_secs_f64(), out))
}

fn report(what: &str, unit: &str, amount: f64, engine: Vec<f64>, protocol: Vec<f64>) {
    let (engine, protocol) = (amount / median(engine), amount / median(protocol));
    println!(
        "{what:<28} engine {engine:>10.0} {unit}   protocol {protocol:>10.0} {unit}   ratio {:.2}",
        protocol / engine
    );
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let entries: u64 = std::env::args().nth(1).map_or(Ok(1_000_000), |n| n.parse())?;
    let dir = std::env::temp_dir().join(format!("ilmenite-speed-{}", std::process::id()));
    let options = EmbeddedOptions {
        partition: partition_prefix_len,
        two_phase: true,
        ..Default::default()
    };
    let store = Arc::new(EmbeddedStore::open(&dir, options)?);
    let address = ServerOptions {
        address: "127.0.0.1:0".into(),
        // One region throughout.
        region_bytes: u64::MAX / 1000,
        ..Default::default()
    };
    let server = Server::start(store.clone(), "127.0.0.1:0", address).await?;
    let remote = Remote::connect(format!("http://{}", server.address())).await?;
    let ts = store.timestamp().await?.0;
    for (name, bytes) in [("index entries, 8 B", 8), ("rows, 200 B", 200)] {
        let (mut direct, mut through) = (Vec::new(), Vec::new());
        let (mut direct_scan, mut through_scan) = (Vec::new(), Vec::new());
        let mut scanned = (0, 0);
        for round in 0..ROUNDS as i64 {
            let index = bytes as i64 * 1000 + round * 2;
            direct.push(timed(ingest(&store, index, entries, bytes, ts)).await?.0);
            through.push(timed(remote.ingest(index + 1, entries, bytes, ts)).await?.0);
            let (seconds, a) = timed(scan(&store, index, ts)).await?;
            direct_scan.push(seconds);
            let (seconds, b) = timed(remote.scan(index + 1, ts)).await?;
            through_scan.push(seconds);
            if a != b || a.0 != entries {
                return Err(format!("{a:?} read directly, {b:?} through the protocol").into());
            }
            scanned = a;
        }
        report(
            &format!("ingest {name}"),
            "entries/s",
            entries as f64,
            direct,
            through,
        );
        report(
            &format!("scan {name}"),
            "MB/s",
            scanned.1 as f64 / 1e6,
            direct_scan,
            through_scan,
        );
    }
    let index = 8 * 1000;
    let context = remote.context(&key(index, 0)).await?;
    let (mut direct, mut through) = (Vec::new(), Vec::new());
    const GETS: u64 = 20_000;
    for _ in 0..ROUNDS {
        let work = async {
            for i in 0..GETS {
                let key = key(index, i * 7919 % entries);
                store.get(&key, ilmenite_store::Timestamp(ts)).await?;
            }
            Ok::<_, Failure>(())
        };
        direct.push(timed(work).await?.0);
        let work = async {
            for i in 0..GETS {
                remote.get(key(index, i * 7919 % entries), ts, &context).await?;
            }
            Ok::<_, Failure>(())
        };
        through.push(timed(work).await?.0);
    }
    report(
        "point reads, one at a time",
        "reads/s",
        GETS as f64,
        direct,
        through,
    );
    server.stop(std::time::Duration::from_millis(100)).await;
    store.close().await?;
    std::fs::remove_dir_all(dir)?;
    Ok(())
}
