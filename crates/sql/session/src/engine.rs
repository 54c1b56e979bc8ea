//! The engine: what all sessions of one node share, and its life.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use ilmenite_base::ErrorClass;
use ilmenite_catalog::{Catalog, CatalogConfig, Settings};
use ilmenite_ddl::Ddl;
use ilmenite_error::{Error, Result};
use ilmenite_executor::{StopReason, TableCache};
use ilmenite_node::{Node, NodeConfig, cluster_id, local_id, memory_bytes};
use ilmenite_parser::ParseCache;
use ilmenite_sort::MemoryBudget;
use ilmenite_store::StoreRef;
use parking_lot::Mutex;
use serde_json::json;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use crate::account::{self, Account, FastAuth, Login};
use crate::registry::{Registry, SessionEntry};
use crate::row_counts::RowCounts;
use crate::user_locks::UserLockTable;
use crate::variables::Globals;

/// How often variables that another node may have set are looked at.
const SETTINGS_POLL: Duration = Duration::from_secs(2);

/// At shutdown, how long steps of jobs and subtasks have to stop.
const HAND_OVER: Duration = Duration::from_secs(2);

/// What a node is told at its start.
pub struct EngineConfig {
    pub store: StoreRef,
    /// For sorting without object storage, and for spilling.
    pub data_dir: PathBuf,
    /// `host:port` other nodes and people know this node by.
    pub address: String,
    pub service_scope: String,
    /// Subtasks at once.
    pub slots: u32,
}

impl EngineConfig {
    pub fn new(store: StoreRef, data_dir: PathBuf) -> Self {
        let slots = std::thread::available_parallelism().map_or(1, |n| n.get() as u32);
        EngineConfig {
            store,
            data_dir,
            address: String::new(),
            service_scope: String::new(),
            slots,
        }
    }
}

pub struct Engine {
    pub store: StoreRef,
    pub catalog: Arc<Catalog>,
    pub ddl: Arc<Ddl>,
    node: Node,
    pub(crate) globals: Arc<Globals>,
    pub(crate) parses: ParseCache,
    pub(crate) table_cache: TableCache,
    pub(crate) row_counts: RowCounts,
    pub(crate) registry: Registry,
    /// Run since the start.
    pub(crate) statements: AtomicU64,
    /// What GET_LOCK took.
    pub(crate) user_locks: Arc<UserLockTable>,
    /// Where statements spill.
    pub(crate) spill_dir: PathBuf,
    accounts: Mutex<Arc<Vec<Account>>>,
    /// Rises with every change of the accounts: sessions look whether theirs is as it was.
    accounts_generation: AtomicU64,
    fast_auth: Arc<FastAuth>,
    started: Instant,
    /// The runtime the engine was opened on: what must not wait for statements runs there.
    pub(crate) control: Handle,
    next_connection: AtomicU64,
    stop: CancellationToken,
}

/// `8.0.36-Ilmenite-0.1.0`
pub(crate) const SERVER_VERSION: &str = concat!("8.0.36-Ilmenite-", env!("CARGO_PKG_VERSION"));
/// What `tidb_version()` says.
pub(crate) const SERVER_VERSION_DETAIL: &str = concat!(
    "Release Version: 8.0.36-Ilmenite-",
    env!("CARGO_PKG_VERSION"),
    "\nEdition: Community"
);

impl Engine {
    pub fn open(config: EngineConfig) -> BoxFuture<'static, Result<Arc<Engine>>> {
        Box::pin(async move {
            let globals = Arc::new(Globals::new(&fixed_variables(&config.data_dir)));
            let spill_dir = config.data_dir.join("tmp");
            std::fs::create_dir_all(&spill_dir)
                .map_err(|e| Error::other(ErrorClass::Permanent, format!("{}: {e}", spill_dir.display())))?;
            let catalog = CatalogConfig {
                address: config.address,
                version: SERVER_VERSION.into(),
                service_scope: config.service_scope,
                local_id: local_id(&config.data_dir)?,
                slots: config.slots,
                ..CatalogConfig::new(config.store.clone())
            };
            let cluster_id = cluster_id(&config.store).await?;
            let scratch = config.data_dir.join("sort");
            let memory = MemoryBudget::new(globals.number("ilmenite_ddl_memory_budget"));
            let node = Node::open(NodeConfig::new(catalog, cluster_id, scratch, memory)).await?;
            let engine = Arc::new(Engine {
                store: node.store.clone(),
                catalog: node.catalog.clone(),
                ddl: node.ddl.clone(),
                node,
                globals,
                parses: ParseCache::default(),
                table_cache: TableCache::default(),
                row_counts: RowCounts::default(),
                registry: Registry::default(),
                statements: AtomicU64::new(0),
                user_locks: Arc::default(),
                spill_dir,
                accounts: Mutex::default(),
                accounts_generation: AtomicU64::new(0),
                fast_auth: Arc::default(),
                started: Instant::now(),
                control: Handle::current(),
                next_connection: AtomicU64::new(1),
                stop: CancellationToken::new(),
            });
            engine.load_settings().await?;
            if engine.accounts().is_empty() {
                let root = Account::root();
                Account::store(
                    &engine.catalog,
                    vec![(root.user.clone(), root.host.clone(), Some(root))],
                )
                .await?;
                engine.load_settings().await?;
            }
            tokio::spawn(Self::keep_settings(Arc::downgrade(&engine), engine.stop.clone()));
            Ok(engine)
        })
    }

    /// Takes over the variables and accounts that are stored.
    pub(crate) async fn load_settings(&self) -> Result<()> {
        let stored = self.catalog.settings(Settings::Variables).await?;
        let stored: Vec<(String, String)> = stored
            .into_iter()
            .map(|(name, value)| (name, String::from_utf8_lossy(&value).into_owned()))
            .collect();
        self.globals
            .load_stored(stored.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        let accounts = Account::load_all(&self.catalog).await?;
        {
            let mut known = self.accounts.lock();
            if **known != accounts {
                *known = Arc::new(accounts);
                self.accounts_generation.fetch_add(1, Ordering::Release);
            }
        }
        self.apply_settings();
        Ok(())
    }

    /// Variables that reach below the SQL layer.
    fn apply_settings(&self) {
        self.node
            .memory
            .set_limit(self.globals.number("ilmenite_ddl_memory_budget"));
    }

    async fn keep_settings(this: std::sync::Weak<Self>, stop: CancellationToken) {
        let Some(mut changed) = this.upgrade().map(|e| e.catalog.settings_changed()) else {
            return;
        };
        loop {
            tokio::select! {
                _ = stop.cancelled() => return,
                result = changed.changed() => if result.is_err() { return },
                _ = tokio::time::sleep(SETTINGS_POLL) => {}
            }
            let Some(engine) = this.upgrade() else { return };
            if let Err(e) = engine.load_settings().await {
                tracing::warn!(error = %e, "stored variables and accounts could not be read");
            }
        }
    }

    pub(crate) fn accounts(&self) -> Arc<Vec<Account>> {
        self.accounts.lock().clone()
    }

    pub(crate) fn accounts_generation(&self) -> u64 {
        self.accounts_generation.load(Ordering::Acquire)
    }

    /// The account of exactly that name and host.
    pub(crate) fn find_account(&self, user: &str, host: &str) -> Option<Account> {
        self.accounts()
            .iter()
            .find(|a| a.user == user && a.host.eq_ignore_ascii_case(host))
            .cloned()
    }

    /// The account a client of that name and host logs in to; 3159 where it should use TLS and does not.
    pub async fn account(&self, user: &str, host: &str, tls: bool) -> Result<Option<Login>> {
        if !tls && self.globals.flag("require_secure_transport") {
            return Err(Error::secure_transport_required());
        }
        let accounts = self.accounts();
        let found = account::choose(&accounts, user, host).filter(|a| !a.locked);
        Ok(found.map(|account| Login {
            account: account.clone(),
            cache: self.fast_auth.clone(),
        }))
    }

    pub fn version(&self) -> &'static str {
        SERVER_VERSION
    }

    pub fn next_connection_id(&self) -> u64 {
        self.next_connection.fetch_add(1, Ordering::Relaxed)
    }

    /// Ends the statement of a connection whose client has gone.
    pub fn client_gone(&self, connection_id: u64) {
        if let Some(session) = self.registry.get(connection_id) {
            session.stop_statement(StopReason::ClientGone);
        }
    }

    /// 1290 while `read_only` or `super_read_only` is set. `exempt`: whether the user is one whom `read_only` leaves alone.
    pub(crate) fn check_writable(&self, exempt: impl FnOnce() -> bool) -> Result<()> {
        if self.globals.flag("super_read_only") {
            return Err(Error::read_only_server("super-read-only"));
        }
        if self.globals.flag("read_only") && !exempt() {
            return Err(Error::read_only_server("read-only"));
        }
        Ok(())
    }

    pub(crate) fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    /// Every session, for SHOW PROCESSLIST.
    pub(crate) fn sessions(&self) -> Vec<Arc<SessionEntry>> {
        self.registry.all()
    }

    /// Tells every running statement to end.
    pub fn interrupt_all(&self) {
        for session in self.registry.all() {
            session.stop_statement(StopReason::ClientGone);
        }
    }

    /// What the status port answers under /status.
    pub async fn status_json(&self) -> serde_json::Value {
        let node = self.catalog.node_info();
        let (owner, problem) = match self.catalog.owner().await {
            Ok(owner) => (owner.map(|o| o.node_id), None),
            Err(e) => (None, Some(e.to_string())),
        };
        json!({
            "version": SERVER_VERSION,
            "connections": self.registry.count(),
            "uptime_seconds": self.uptime().as_secs(),
            "node_id": node.id,
            "address": node.address,
            "service_scope": node.service_scope,
            "is_live": self.catalog.is_live(),
            "schema_version": self.catalog.view().version(),
            "owner_id": owner,
            "is_owner": self.catalog.owner_term().is_some(),
            "problem": problem,
        })
    }

    /// Hands over what runs here and leaves the cluster.
    pub fn shutdown(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            self.stop.cancel();
            self.interrupt_all();
            self.node.shutdown(HAND_OVER).await;
        })
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Variables whose value this process knows best.
fn fixed_variables(data_dir: &std::path::Path) -> Vec<(&'static str, String)> {
    let hostname = std::fs::read_to_string("/proc/sys/kernel/hostname")
        .unwrap_or_default()
        .trim()
        .to_string();
    let mut fixed = vec![
        ("version", SERVER_VERSION.to_string()),
        (
            "version_comment",
            format!("Ilmenite {}", env!("CARGO_PKG_VERSION")),
        ),
        ("hostname", hostname),
        ("datadir", data_dir.display().to_string()),
    ];
    if let Some(bytes) = memory_bytes() {
        fixed.push(("ilmenite_ddl_memory_budget", (bytes / 4).to_string()));
    }
    fixed
}
