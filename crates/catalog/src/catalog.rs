//! The catalog of one node: its view of the schema, its lease, its part in ownership.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use ilmenite_store::{Check, CommitOptions, StoreRef, Timestamp, run_txn};
use tokio::sync::{Mutex, watch};
use tokio_util::sync::CancellationToken;

use crate::auto_id::AutoIds;
use crate::error::{Error, Result};
use crate::mdl::{Mdl, TransactionPins};
use crate::meta::{Meta, SchemaDiff};
use crate::node::{self, Node, NodeInfo};
use crate::owner::{self, OwnerInfo, OwnerTerm};
use crate::{Name, SchemaInfo, SchemaState, SchemaVersion, SchemaView, TableId, metrics};

/// Its presence says that bootstrap is done.
const BOOTSTRAP_KEY: &[u8] = b"i/bootstrap";
/// How often a node looks for new schema versions and requests of the owner, below being told.
const POLL: Duration = Duration::from_millis(100);

pub struct CatalogConfig {
    pub store: StoreRef,
    pub address: String,
    pub status_address: String,
    pub version: String,
    pub service_scope: String,
    pub slots: u32,
    /// How long a node that falls silent is waited for.
    pub lease: Duration,
}

impl CatalogConfig {
    pub fn new(store: StoreRef) -> Self {
        CatalogConfig {
            store,
            address: String::new(),
            status_address: String::new(),
            version: env!("CARGO_PKG_VERSION").into(),
            service_scope: String::new(),
            slots: 1,
            lease: Duration::from_secs(15),
        }
    }
}

pub struct Catalog {
    store: StoreRef,
    id: String,
    view: Arc<ArcSwap<SchemaView>>,
    /// One refresh at a time: the second finds that there is nothing left to load.
    refreshing: Mutex<()>,
    version: watch::Sender<SchemaVersion>,
    settings_changed: watch::Sender<u64>,
    pub(crate) mdl: Arc<Mdl>,
    node: Arc<Node>,
    term: ArcSwapOption<OwnerTerm>,
    owner_changed: watch::Sender<u64>,
    auto_ids: AutoIds,
    stop: CancellationToken,
}

impl Catalog {
    /// Bootstraps an empty store, joins the cluster and loads the schema.
    pub async fn open(config: CatalogConfig) -> Result<Arc<Catalog>> {
        let store = config.store;
        let id = uuid::Uuid::new_v4().to_string();
        let info = NodeInfo {
            id: id.clone(),
            address: config.address,
            status_address: config.status_address,
            version: config.version,
            service_scope: config.service_scope,
            slots: config.slots.max(1),
            start_ms: store.timestamp().await?.millis(),
            schema_version: 0,
            lease_end: Timestamp::ZERO,
        };
        if store.exclusive() {
            // Earlier processes on this store cannot be alive: nobody needs to wait for their leases.
            node::remove_all(&store).await?;
        }
        bootstrap(&store).await?;
        let view = Arc::new(ArcSwap::from_pointee(SchemaView::default()));
        let catalog = Arc::new(Catalog {
            mdl: Arc::new(Mdl::new(view.clone())),
            view,
            refreshing: Mutex::default(),
            version: watch::channel(0).0,
            settings_changed: watch::channel(0).0,
            node: Node::new(store.clone(), info, config.lease),
            term: ArcSwapOption::empty(),
            owner_changed: watch::channel(0).0,
            auto_ids: AutoIds::default(),
            stop: CancellationToken::new(),
            store,
            id,
        });
        catalog.node.renew().await?;
        catalog.refresh().await?;
        catalog.campaign().await?;
        tokio::spawn(Self::keep_lease(
            Arc::downgrade(&catalog),
            catalog.stop.clone(),
            config.lease / 3,
        ));
        tokio::spawn(Self::keep_current(Arc::downgrade(&catalog), catalog.stop.clone()));
        Ok(catalog)
    }

    pub fn store(&self) -> &StoreRef {
        &self.store
    }

    /// The newest schema this node has loaded.
    pub fn view(&self) -> Arc<SchemaView> {
        self.view.load_full()
    }

    /// Told of every version loaded.
    pub fn changed(&self) -> watch::Receiver<SchemaVersion> {
        self.version.subscribe()
    }

    /// Loads what is newer than the view. Cheap when nothing is.
    pub async fn refresh(&self) -> Result<()> {
        let _one = self.refreshing.lock().await;
        let ts = self.store.timestamp().await?;
        let timer = metrics::REFRESH_SECONDS.start_timer();
        let Some(view) = self.view.load().newer(&self.store, ts).await? else {
            timer.stop_and_discard();
            return Ok(());
        };
        timer.observe_duration();
        let version = view.version();
        let view = Arc::new(view);
        self.auto_ids.retain(|table| view.table_by_id(table).is_some());
        self.view.store(view);
        metrics::SCHEMA_VERSION.set(version);
        self.node.edit(|info| info.schema_version = version);
        self.version.send_replace(version);
        Ok(())
    }

    // ---- this node, and the others

    pub fn node_id(&self) -> &str {
        &self.id
    }

    pub fn node_info(&self) -> NodeInfo {
        self.node.info()
    }

    pub fn service_scope(&self) -> String {
        self.node.info().service_scope
    }

    /// Takes effect with the next renewal for others, at once here.
    pub fn set_service_scope(&self, scope: &str) {
        self.node.edit(|info| info.service_scope = scope.to_string());
    }

    /// The ports are known only once they are bound.
    pub fn set_addresses(&self, address: &str, status_address: &str) {
        self.node.edit(|info| {
            info.address = address.to_string();
            info.status_address = status_address.to_string();
        });
    }

    /// Does the node hold its lease, by its own, cautious clock?
    pub fn is_live(&self) -> bool {
        self.node.is_live()
    }

    /// The end of this node's lease: what every commit of the node must not go beyond.
    pub fn lease_end(&self) -> Timestamp {
        self.node.lease_end()
    }

    /// For the node's own commits; refused while the lease is lost.
    pub fn commit_options(&self) -> Result<CommitOptions> {
        if !self.is_live() {
            return Err(Error::LeaseLost);
        }
        Ok(CommitOptions {
            max_commit_ts: Some(self.lease_end()),
            ..Default::default()
        })
    }

    /// Every node whose lease has not ended, this one included.
    pub async fn live_nodes(&self) -> Result<Vec<NodeInfo>> {
        let (mut live, _) = node::nodes(&self.store).await?;
        match live.iter_mut().find(|n| n.id == self.id) {
            Some(me) => *me = self.node.info(),
            None if self.is_live() => live.push(self.node.info()),
            None => {}
        }
        Ok(live)
    }

    pub(crate) async fn other_nodes(&self) -> Result<Vec<NodeInfo>> {
        let (live, _) = node::nodes(&self.store).await?;
        Ok(live.into_iter().filter(|n| n.id != self.id).collect())
    }

    // ---- ownership

    /// This node's term as owner, while it is the owner.
    pub fn owner_term(&self) -> Option<OwnerTerm> {
        self.term.load().as_deref().cloned()
    }

    /// Told whenever this node becomes the owner or stops being it.
    pub fn owner_changed(&self) -> watch::Receiver<u64> {
        self.owner_changed.subscribe()
    }

    /// Who the owner is, as the store has it.
    pub async fn owner(&self) -> Result<Option<OwnerInfo>> {
        Ok(owner::read(&self.store)
            .await?
            .map(|(info, _)| info)
            .filter(|info| !info.node_id.is_empty()))
    }

    async fn campaign(&self) -> Result<()> {
        let term = owner::campaign(&self.store, &self.node).await?;
        self.set_term(term);
        Ok(())
    }

    fn set_term(&self, term: Option<OwnerTerm>) {
        if self.term.load().as_deref() == term.as_ref() {
            return;
        }
        tracing::info!(
            node = self.id,
            epoch = term.as_ref().map_or(0, |t| t.epoch),
            owner = term.is_some(),
            "ownership changed"
        );
        self.term.store(term.map(Arc::new));
        self.owner_changed.send_modify(|n| *n += 1);
    }

    // ---- the metadata lock

    /// The pins of one connection.
    pub fn pins(&self, connection_id: u64, user: &str) -> TransactionPins {
        self.mdl.pins(connection_id, user)
    }

    // ---- auto-increment

    /// `n` fresh values for the table, see `AutoIds::alloc`: `increment` apart, congruent to `offset`.
    pub async fn alloc_auto_ids(&self, table: TableId, n: i64, increment: i64, offset: i64) -> Result<i64> {
        let of = self.auto_id_home(table)?;
        self.auto_ids
            .alloc(&self.store, self.commit_options()?, of, n, increment, offset)
            .await
    }

    /// Later values will be greater than `at_least`.
    pub async fn rebase_auto_id(&self, table: TableId, at_least: i64) -> Result<()> {
        let of = self.auto_id_home(table)?;
        self.auto_ids
            .rebase(&self.store, self.commit_options()?, of, at_least)
            .await
    }

    fn auto_id_home(&self, table: TableId) -> Result<(i64, TableId)> {
        let view = self.view.load();
        let schema = view
            .schema_of(table)
            .ok_or_else(|| Error::NotFound(format!("table {table}")))?;
        Ok((schema.id, table))
    }

    // ---- settings

    /// Told whenever a setting was changed on this node, and at every poll elsewhere.
    pub fn settings_changed(&self) -> watch::Receiver<u64> {
        self.settings_changed.subscribe()
    }

    pub(crate) fn notify_settings(&self) {
        self.settings_changed.send_modify(|n| *n += 1);
    }

    // ---- life

    /// Resigns and leaves, so that nobody waits for this node.
    pub async fn shutdown(&self) {
        self.stop.cancel();
        if let Some(term) = self.owner_term() {
            self.set_term(None);
            if let Err(e) = owner::resign(&self.store, &term).await {
                tracing::warn!(error = %e, "resigning failed: the next owner waits for the lease to end");
            }
        }
        if let Err(e) = self.node.retire().await {
            tracing::warn!(error = %e, "leaving failed: others wait for the lease to end");
        }
    }

    async fn keep_lease(this: std::sync::Weak<Self>, stop: CancellationToken, every: Duration) {
        let mut live = true;
        loop {
            tokio::select! {
                _ = stop.cancelled() => return,
                _ = tokio::time::sleep(every) => {}
            }
            let Some(this) = this.upgrade() else { return };
            if live && !this.is_live() {
                this.lost_lease();
                live = false;
            }
            if let Err(e) = this.node.renew().await {
                metrics::LEASE_FAILURES.inc();
                tracing::warn!(error = %e, live = this.is_live(), "the node's lease could not be renewed");
                if live && !this.is_live() {
                    this.lost_lease();
                    live = false;
                }
                continue;
            }
            if !live {
                tracing::info!("the node has its lease again");
                live = true;
            }
            if let Err(e) = this.refresh().await {
                tracing::warn!(error = %e, "the schema could not be loaded");
            }
            if let Err(e) = this.campaign().await {
                tracing::warn!(error = %e, "ownership could not be looked at");
            }
            if this.owner_term().is_some()
                && let Err(e) = this.remove_dead_nodes().await
            {
                tracing::warn!(error = %e, "rows of dead nodes could not be removed");
            }
        }
    }

    /// Others may have moved on: what this node's open transactions know of the schema proves nothing any more.
    fn lost_lease(&self) {
        tracing::error!("the node has lost its lease: no writes until it has it again");
        self.mdl.lease_generation.fetch_add(1, Ordering::SeqCst);
        self.set_term(None);
    }

    async fn remove_dead_nodes(&self) -> Result<()> {
        let (_, dead) = node::nodes(&self.store).await?;
        if dead.is_empty() {
            Ok(())
        } else {
            node::remove(&self.store, dead).await
        }
    }

    async fn keep_current(this: std::sync::Weak<Self>, stop: CancellationToken) {
        loop {
            tokio::select! {
                _ = stop.cancelled() => return,
                _ = tokio::time::sleep(POLL) => {}
            }
            let Some(this) = this.upgrade() else { return };
            if let Err(e) = this.answer_requests().await {
                tracing::warn!(error = %e, "the schema could not be synchronised");
            }
        }
    }
}

impl Drop for Catalog {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// What an empty store starts with: databases `mysql` and `test`, schema version 1.
async fn bootstrap(store: &StoreRef) -> Result<()> {
    run_txn(store, CommitOptions::default(), |txn| {
        Box::pin(async move {
            if txn.get(BOOTSTRAP_KEY).await?.is_some() {
                return Ok::<_, Error>(());
            }
            let mut meta = Meta::new(txn);
            for name in ["mysql", "test"] {
                let id = meta.alloc_global_ids(1).await?;
                meta.put_schema(&SchemaInfo {
                    id,
                    name: Name::new(name),
                    charset: "utf8mb4".into(),
                    collate: "utf8mb4_bin".into(),
                    state: SchemaState::Public,
                })?;
            }
            meta.bump_schema_version(SchemaDiff::default()).await?;
            txn.put(BOOTSTRAP_KEY, env!("CARGO_PKG_VERSION"), Check::Unchanged)?;
            Ok(())
        })
    })
    .await
}
