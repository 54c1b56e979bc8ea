//! The engine: what all sessions of one node share, and its life.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ilmenite_catalog::{Catalog, CatalogConfig, Settings};
use ilmenite_ddl::{Backfill, BackfillConfig, Ddl, DdlConfig, task_kinds};
use ilmenite_sort::MemoryBudget;
use ilmenite_store::{Check, CommitOptions, ErrorClass, StoreRef, run_txn};
use ilmenite_task::{Tasks, TasksConfig};
use parking_lot::Mutex;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::account::{self, Account, Login};
use crate::context::StopReason;
use crate::error::{Error, Result};
use crate::exec::TableCache;
use crate::parse::ParseCache;
use crate::session::{Registry, SessionEntry};
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
    tasks: Arc<Tasks>,
    /// What this node's index builds may hold.
    ddl_memory: MemoryBudget,
    pub globals: Arc<Globals>,
    pub parses: ParseCache,
    pub table_cache: TableCache,
    pub(crate) registry: Registry,
    /// What GET_LOCK took.
    pub user_locks: Arc<UserLockTable>,
    /// Where statements spill.
    pub spill_dir: PathBuf,
    accounts: Mutex<Arc<Vec<Account>>>,
    fast_auth: Arc<FastAuth>,
    started: Instant,
    next_connection: AtomicU64,
    stop: CancellationToken,
}

/// `8.0.36-Ilmenite-0.1.0`
pub const SERVER_VERSION: &str = concat!("8.0.36-Ilmenite-", env!("CARGO_PKG_VERSION"));
/// What `tidb_version()` says.
pub(crate) const SERVER_VERSION_DETAIL: &str = concat!(
    "Release Version: 8.0.36-Ilmenite-",
    env!("CARGO_PKG_VERSION"),
    "\nEdition: Community"
);

/// Name and host.
type AccountKey = (String, String);

/// What full logins with `caching_sha2_password` left behind: SHA-256 of SHA-256 of passwords, by account row.
#[derive(Default)]
pub struct FastAuth {
    known: Mutex<HashMap<AccountKey, (account::Credential, [u8; 32])>>,
}

impl FastAuth {
    pub(crate) fn get(&self, account: &Account) -> Option<[u8; 32]> {
        let known = self.known.lock();
        let (credential, double) = known.get(&(account.user.clone(), account.host.clone()))?;
        // A new password makes a new row.
        (*credential == account.credential).then_some(*double)
    }

    pub(crate) fn put(&self, account: &Account, double: [u8; 32]) {
        let key = (account.user.clone(), account.host.clone());
        self.known
            .lock()
            .insert(key, (account.credential.clone(), double));
    }
}

impl Engine {
    pub async fn open(config: EngineConfig) -> Result<Arc<Engine>> {
        let catalog = Catalog::open(CatalogConfig {
            address: config.address,
            version: SERVER_VERSION.into(),
            service_scope: config.service_scope,
            local_id: local_id(&config.data_dir)?,
            slots: config.slots,
            ..CatalogConfig::new(config.store.clone())
        })
        .await?;
        let globals = Arc::new(Globals::new(&fixed_variables(&config.data_dir)));
        let spill_dir = config.data_dir.join("tmp");
        std::fs::create_dir_all(&spill_dir)
            .map_err(|e| Error::other(ErrorClass::Permanent, format!("{}: {e}", spill_dir.display())))?;
        let memory = MemoryBudget::new(globals.number("ilmenite_ddl_memory_budget"));
        let backfill = Backfill::new(BackfillConfig {
            store: config.store.clone(),
            catalog: catalog.clone(),
            slots: config.slots,
            memory: memory.clone(),
            scratch_directory: config.data_dir.join("sort"),
            cluster_id: cluster_id(&config.store).await?,
            open_storage: None,
        });
        let tasks_config = TasksConfig::new(config.store.clone(), catalog.clone(), config.slots);
        let tasks = Tasks::start(tasks_config, task_kinds(&backfill));
        let ddl = Ddl::start(DdlConfig::new(
            config.store.clone(),
            catalog.clone(),
            tasks.clone(),
            backfill,
        ));
        let engine = Arc::new(Engine {
            store: config.store,
            catalog,
            ddl,
            tasks,
            ddl_memory: memory,
            globals,
            parses: ParseCache::default(),
            table_cache: TableCache::default(),
            registry: Registry::default(),
            user_locks: Arc::default(),
            spill_dir,
            accounts: Mutex::default(),
            fast_auth: Arc::default(),
            started: Instant::now(),
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
    }

    /// Takes over the variables and accounts that are stored.
    pub async fn load_settings(&self) -> Result<()> {
        let stored = self.catalog.settings(Settings::Variables).await?;
        let stored: Vec<(String, String)> = stored
            .into_iter()
            .map(|(name, value)| (name, String::from_utf8_lossy(&value).into_owned()))
            .collect();
        self.globals
            .load_stored(stored.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        let accounts = Account::load_all(&self.catalog).await?;
        *self.accounts.lock() = Arc::new(accounts);
        self.apply_settings();
        Ok(())
    }

    /// Variables that reach below the SQL layer.
    fn apply_settings(&self) {
        self.ddl_memory
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

    pub fn accounts(&self) -> Arc<Vec<Account>> {
        self.accounts.lock().clone()
    }

    /// The account a client of that name and host logs in to.
    pub async fn account(&self, user: &str, host: &str) -> Result<Option<Login>> {
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

    pub fn max_connections(&self) -> usize {
        self.globals.number("max_connections") as usize
    }

    pub fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    /// Every session, for SHOW PROCESSLIST.
    pub fn sessions(&self) -> Vec<Arc<SessionEntry>> {
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
    pub async fn shutdown(&self) {
        self.stop.cancel();
        self.interrupt_all();
        tokio::join!(self.ddl.shutdown(HAND_OVER), self.tasks.shutdown(HAND_OVER));
        self.catalog.shutdown().await;
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Names this cluster among others that share an object store; made once.
async fn cluster_id(store: &StoreRef) -> Result<String> {
    const KEY: &[u8] = b"i/cluster";
    run_txn(store, CommitOptions::default(), |txn| {
        Box::pin(async move {
            if let Some(id) = txn.get(KEY).await? {
                return Ok(String::from_utf8_lossy(&id).into_owned());
            }
            let id = uuid::Uuid::new_v4().simple().to_string();
            txn.put(KEY, id.clone(), Check::Unchanged)?;
            Ok::<_, Error>(id)
        })
    })
    .await
}

/// Names the directory since the machine's start: what is sorted there is on this disk and no other, and not synced.
fn local_id(dir: &std::path::Path) -> Result<String> {
    // Where it is not known, every start counts as the machine's.
    let boot_id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .unwrap_or_else(|_| uuid::Uuid::new_v4().to_string());
    Ok(format!("{}@{}", directory_id(dir)?, boot_id.trim()))
}

/// Names the directory, once and for all.
fn directory_id(dir: &std::path::Path) -> Result<String> {
    let path = dir.join("node-id");
    let failed = |e: std::io::Error| Error::other(ErrorClass::Permanent, format!("{}: {e}", path.display()));
    match std::fs::read_to_string(&path) {
        Ok(id) if !id.trim().is_empty() => Ok(id.trim().to_owned()),
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(failed(e)),
        _ => {
            let id = uuid::Uuid::new_v4().simple().to_string();
            std::fs::create_dir_all(dir).map_err(failed)?;
            std::fs::write(&path, &id).map_err(failed)?;
            Ok(id)
        }
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

/// Memory of this machine, or of the container where that is less.
fn memory_bytes() -> Option<u64> {
    let meminfo = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = meminfo.lines().find_map(|l| l.strip_prefix("MemTotal:"))?;
    let total = line.split_whitespace().next()?.parse::<u64>().ok()? * 1024;
    let limit = std::fs::read_to_string("/sys/fs/cgroup/memory.max")
        .ok()
        .and_then(|t| t.trim().parse().ok());
    Some(limit.map_or(total, |limit: u64| limit.min(total)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_has_one_id_until_the_machine_starts_again() {
        let dir = tempfile::tempdir().unwrap();
        let id = local_id(dir.path()).unwrap();
        assert_eq!(local_id(dir.path()).unwrap(), id);
        let boot_id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
        assert!(id.ends_with(boot_id.trim()), "{id}");
        assert_ne!(local_id(&dir.path().join("another")).unwrap(), id);
    }
}
