//! The engine as the trait has it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::BoxFuture;
use ilmenite_store::{
    CommitRequest, GcHold, Ingest, KeyRange, LockRequest, Region, Result, Scan, ScanOptions, Store, Timestamp,
};

use crate::cluster::Cluster;
use crate::gc::Gc;
use crate::ingest::TikvIngest;
use crate::lock::Engine;
use crate::options::{TikvOptions, parse_url};
use crate::pd::Pd;
use crate::registry::Registry;
use crate::resolve::ReadView;
use crate::scan::TikvScan;

/// How long `close` waits for commits and clean-ups that are under way.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// A TiKV cluster, or an `ilmenite store`.
pub struct TikvStore {
    engine: Arc<Engine>,
    gc: Arc<Gc>,
}

impl TikvStore {
    /// `url`: `tikv://HOST:PORT[,HOST:PORT…]`, the PDs' addresses. Within `options.connect_timeout`.
    /// Errors: `Invalid` (the URL), `Unavailable` (no PD answers, with what each said).
    pub fn connect(url: &str, options: TikvOptions) -> BoxFuture<'_, Result<Self>> {
        // Boxed here, as are the other ways into a crate that the binary awaits: all that an async function awaits is otherwise
        // compiled with whoever polls it, in the end with the binary.
        Box::pin(async move {
            let endpoints = parse_url(url)?;
            let options = Arc::new(options);
            let pd = Pd::connect(endpoints, options.clone()).await?;
            let engine = Arc::new(Engine {
                registry: Arc::new(Registry::new(
                    options.max_transaction_lock_bytes,
                    options.max_lock_bytes,
                )),
                cluster: Arc::new(Cluster::new(pd, options)),
            });
            let gc = Arc::new(Gc::new(engine.clone()));
            gc.refresh().await?;
            engine.cluster.background.spawn(gc.clone().run());
            Ok(TikvStore { engine, gc })
        })
    }

    fn cluster(&self) -> &Arc<Cluster> {
        &self.engine.cluster
    }

    /// A round of garbage collection, now. Returns the safe point if it moved.
    pub async fn run_gc(&self) -> Result<Option<Timestamp>> {
        self.cluster().check_open()?;
        self.gc.register().await?;
        self.gc.round(true).await
    }
}

impl Drop for TikvStore {
    /// What is under way ends as it can; `close` waits for it.
    fn drop(&mut self) {
        self.engine.cluster.stop.cancel();
    }
}

#[async_trait]
impl Store for TikvStore {
    async fn timestamp(&self) -> Result<Timestamp> {
        self.cluster().check_open()?;
        self.cluster().timestamp().await
    }

    async fn begin_timestamp(&self) -> Result<Timestamp> {
        self.cluster().check_open()?;
        let ts = self.cluster().timestamp().await?;
        self.engine.registry.begin(ts);
        Ok(ts)
    }

    async fn get(&self, key: &[u8], ts: Timestamp) -> Result<Option<Bytes>> {
        self.cluster().check_open()?;
        self.gc.check_readable(ts)?;
        self.cluster().get(key, ts, ReadView::default()).await
    }

    async fn batch_get(&self, keys: &[Bytes], ts: Timestamp) -> Result<Vec<Option<Bytes>>> {
        self.cluster().check_open()?;
        self.gc.check_readable(ts)?;
        self.cluster().batch_get(keys, ts, ReadView::default()).await
    }

    fn scan(&self, range: KeyRange, ts: Timestamp, options: ScanOptions) -> Result<Box<dyn Scan>> {
        self.cluster().check_open()?;
        self.gc.check_readable(ts)?;
        Ok(Box::new(TikvScan::new(
            self.cluster().clone(),
            range,
            ts,
            options,
        )))
    }

    async fn versions(&self, key: &[u8], since: Timestamp) -> Result<Vec<(Timestamp, Option<Bytes>)>> {
        self.cluster().check_open()?;
        self.gc.check_readable(since)?;
        self.cluster().versions_of(key, since).await
    }

    async fn lock(&self, request: LockRequest) -> Result<Vec<Option<Bytes>>> {
        self.cluster().check_open()?;
        self.engine.lock(request).await
    }

    async fn unlock(&self, start_ts: Timestamp, keys: Option<&[Bytes]>) -> Result<()> {
        self.engine.unlock(start_ts, keys).await
    }

    async fn commit(&self, request: CommitRequest) -> Result<Timestamp> {
        self.cluster().check_open()?;
        self.engine.commit(request).await
    }

    async fn regions(&self, range: &KeyRange) -> Result<Vec<Region>> {
        self.cluster().check_open()?;
        self.cluster().regions_of(range).await
    }

    async fn ingest(&self, range: KeyRange, ts: Timestamp) -> Result<Box<dyn Ingest>> {
        self.cluster().check_open()?;
        Ok(Box::new(TikvIngest::open(self.engine.clone(), range, ts).await?))
    }

    async fn delete_range(&self, range: KeyRange) -> Result<()> {
        self.cluster().check_open()?;
        self.cluster().destroy_range(range).await
    }

    async fn set_gc_hold(&self, hold: GcHold) -> Result<()> {
        self.cluster().check_open()?;
        self.gc.set_hold(hold).await
    }

    async fn release_gc_hold(&self, id: &str) -> Result<()> {
        self.cluster().check_open()?;
        self.gc.release_hold(id).await
    }

    async fn gc_holds(&self) -> Result<Vec<GcHold>> {
        self.cluster().check_open()?;
        self.gc.holds().await
    }

    async fn gc_safe_point(&self) -> Result<Timestamp> {
        self.cluster().check_open()?;
        self.gc.refresh().await
    }

    async fn close(&self) -> Result<()> {
        let cluster = self.cluster();
        cluster.stop.cancel();
        cluster.background.close();
        if tokio::time::timeout(CLOSE_TIMEOUT, cluster.background.wait())
            .await
            .is_err()
        {
            tracing::warn!("the store closed with clean-ups still under way; locks left run out");
        }
        Ok(())
    }
}
