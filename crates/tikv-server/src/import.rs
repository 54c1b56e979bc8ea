//! TiKV's import service. A `Write` streams its pairs straight into an ingest of the engine, past journal and memtable,
//! where they are on disk but not to be seen; `MultiIngest` makes them visible. So nothing is written twice, and a
//! region's worth of pairs is one ingest.

use std::pin::Pin;
use std::sync::Arc;

use futures::Stream;
use ilmenite_codec::key::partition_prefix_len;
use ilmenite_proto::errorpb;
use ilmenite_proto::import_sstpb::import_sst_server::ImportSst;
use ilmenite_proto::import_sstpb::*;
use ilmenite_store::{Ingest, KeyRange, KvBatch, Store, Timestamp};
use tonic::{Request, Response, Status, Streaming};

use crate::call::{target, with_faults};
use crate::cluster::Cluster;
use crate::convert::Refused;
use crate::files::File;
use crate::pd::status;

/// Pairs are handed to the engine in batches of about this size.
const BATCH_BYTES: usize = 256 << 10;

pub(crate) struct ImportService(pub Arc<Cluster>);

type Answer<T> = Result<Response<T>, Status>;

impl ImportService {
    /// Takes in a stream of pairs after its first message.
    async fn write_all(
        &self,
        meta: SstMeta,
        mut requests: Streaming<WriteRequest>,
    ) -> Result<Vec<SstMeta>, Status> {
        let region = self.0.regions.get(meta.region_id);
        let fits = region
            .as_ref()
            .is_some_and(|r| r.meta.region_epoch == meta.region_epoch);
        let (Some(region), true) = (region, fits) else {
            return Err(Status::unknown(format!(
                "RequestTooOld: region {} is not as it was",
                meta.region_id
            )));
        };
        let mut writer = Writer::new(&self.0, region.range.clone());
        while let Some(request) = requests.message().await? {
            match request.chunk {
                Some(write_request::Chunk::Batch(batch)) => writer.take(batch).await?,
                _ => return Err(Status::invalid_argument("a batch is expected")),
            }
        }
        let (ingests, pairs, bytes) = writer.end().await?;
        if ingests.is_empty() {
            return Err(Status::invalid_argument("a file without pairs"));
        }
        self.0.files.put(&meta.uuid, File::new(ingests))?;
        Ok(vec![SstMeta {
            cf_name: "write".into(),
            length: bytes,
            total_bytes: bytes,
            total_kvs: pairs,
            ..meta
        }])
    }

    async fn ingest_all(&self, ssts: Vec<SstMeta>) -> Refused<()> {
        for sst in ssts {
            let Some(file) = self.0.files.take(&sst.uuid) else {
                // Taken in before, perhaps; or lost in a restart.
                return Err(Box::new(errorpb::Error {
                    message: "the file is not here".into(),
                    stale_command: Some(errorpb::StaleCommand {}),
                    ..Default::default()
                }));
            };
            for ingest in file.ingests {
                ingest.finish().await.map_err(|e| {
                    Box::new(errorpb::Error {
                        message: e.to_string(),
                        ..Default::default()
                    })
                })?;
            }
        }
        Ok(())
    }

    async fn ingest_checked(
        &self,
        method: &'static str,
        context: Option<ilmenite_proto::kvrpcpb::Context>,
        ssts: Vec<SstMeta>,
    ) -> Answer<IngestResponse> {
        let answer = |error| IngestResponse { error };
        let work = async {
            // Without files it asks only whether this can be done.
            if ssts.is_empty() {
                return answer(None);
            }
            let done = match self.0.regions.check(context.as_ref(), true) {
                Ok(_) => self.ingest_all(ssts).await,
                Err(e) => Err(e),
            };
            answer(done.err())
        };
        let refuse = |e| answer(Some(e));
        let done = with_faults(&self.0, target(method, context.as_ref()), refuse, work).await?;
        Ok(Response::new(done))
    }
}

/// Cuts a stream of pairs into the engine's ingests: keys of a partition each.
struct Writer<'c> {
    cluster: &'c Cluster,
    range: KeyRange,
    commit_ts: u64,
    ingests: Vec<Box<dyn Ingest>>,
    prefix: Option<Vec<u8>>,
    batch: KvBatch,
    pairs: u64,
    bytes: u64,
}

impl<'c> Writer<'c> {
    fn new(cluster: &'c Cluster, range: KeyRange) -> Self {
        Writer {
            cluster,
            range,
            commit_ts: 0,
            ingests: Vec::new(),
            prefix: None,
            batch: KvBatch::new(),
            pairs: 0,
            bytes: 0,
        }
    }

    async fn take(&mut self, batch: WriteBatch) -> Result<(), Status> {
        if batch.commit_ts == 0 {
            return Err(Status::invalid_argument("commit_ts is 0"));
        }
        if self.commit_ts == 0 {
            self.commit_ts = batch.commit_ts;
        } else if self.commit_ts != batch.commit_ts {
            return Err(Status::invalid_argument("two commit timestamps in one file"));
        }
        for pair in batch.pairs {
            if pair.op() != pair::Op::Put {
                return Err(Status::unimplemented("only puts can be imported"));
            }
            let prefix = &pair.key[..partition_prefix_len(&pair.key).unwrap_or(0)];
            if self.prefix.as_deref() != Some(prefix) {
                self.flush().await?;
                let opened = self
                    .cluster
                    .store
                    .ingest(self.range.clone(), Timestamp(self.commit_ts))
                    .await;
                self.ingests.push(opened.map_err(status)?);
                self.prefix = Some(prefix.to_vec());
            }
            self.pairs += 1;
            self.batch.push(&pair.key, &pair.value);
            if self.batch.bytes() >= BATCH_BYTES {
                self.flush().await?;
            }
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), Status> {
        if let Some(ingest) = self.ingests.last_mut() {
            self.bytes += self.batch.bytes() as u64;
            ingest.write(&self.batch).await.map_err(status)?;
        }
        self.batch.clear();
        Ok(())
    }

    async fn end(mut self) -> Result<(Vec<Box<dyn Ingest>>, u64, u64), Status> {
        self.flush().await?;
        Ok((self.ingests, self.pairs, self.bytes))
    }
}

#[tonic::async_trait]
impl ImportSst for ImportService {
    /// There is but one mode.
    async fn switch_mode(&self, _: Request<SwitchModeRequest>) -> Answer<SwitchModeResponse> {
        Ok(Response::new(SwitchModeResponse {}))
    }

    async fn write(&self, request: Request<Streaming<WriteRequest>>) -> Answer<WriteResponse> {
        let mut requests = request.into_inner();
        let first = requests.message().await?;
        let Some(WriteRequest {
            chunk: Some(write_request::Chunk::Meta(meta)),
            context,
        }) = first
        else {
            return Err(Status::invalid_argument("the first message has no meta"));
        };
        let mut target = target("Write", context.as_ref());
        target.region_id = meta.region_id;
        let refuse = |e: Box<errorpb::Error>| {
            Ok(WriteResponse {
                error: Some(Error {
                    message: e.message.clone(),
                    store_error: Some(e),
                }),
                metas: Vec::new(),
            })
        };
        let work = async {
            let metas = self.write_all(meta, requests).await?;
            Ok(WriteResponse { error: None, metas })
        };
        with_faults(&self.0, target, refuse, work)
            .await?
            .map(Response::new)
    }

    async fn ingest(&self, request: Request<IngestRequest>) -> Answer<IngestResponse> {
        let request = request.into_inner();
        let ssts = request.sst.into_iter().collect();
        self.ingest_checked("Ingest", request.context, ssts).await
    }

    async fn multi_ingest(&self, request: Request<MultiIngestRequest>) -> Answer<IngestResponse> {
        let request = request.into_inner();
        self.ingest_checked("MultiIngest", request.context, request.ssts)
            .await
    }

    type DuplicateDetectStream = Pin<Box<dyn Stream<Item = Result<DuplicateDetectResponse, Status>> + Send>>;

    async fn duplicate_detect(
        &self,
        _: Request<DuplicateDetectRequest>,
    ) -> Answer<Self::DuplicateDetectStream> {
        Err(Status::unimplemented("duplicates are not looked for here"))
    }

    /// Regions are split where clients ask for it, and not for any time.
    async fn add_force_partition_range(
        &self,
        _: Request<AddPartitionRangeRequest>,
    ) -> Answer<AddPartitionRangeResponse> {
        Ok(Response::new(AddPartitionRangeResponse {}))
    }

    async fn remove_force_partition_range(
        &self,
        _: Request<RemovePartitionRangeRequest>,
    ) -> Answer<RemovePartitionRangeResponse> {
        Ok(Response::new(RemovePartitionRangeResponse {}))
    }
}
