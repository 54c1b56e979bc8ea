//! One way to make a node: what keeps running without a client. A node is a view of the schemas with a lease, the task
//! framework and the worker of schema changes, all over one store. Servers put sessions on top of it; simulations and tests
//! open the same thing over stores and object stores of their own.

// A seed of the simulation has to repeat itself.
#![deny(clippy::iter_over_hash_type)]

mod identity;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use ilmenite_base::RetryPolicy;
use ilmenite_catalog::{Catalog, CatalogConfig, Error};
use ilmenite_ddl::{Backfill, BackfillConfig, Ddl, DdlConfig, OpenStorage, task_kinds};
use ilmenite_sort::MemoryBudget;
use ilmenite_store::StoreRef;
use ilmenite_task::{DEFAULT_RETRY, Place, TaskKind, Tasks, TasksConfig};

pub use identity::{cluster_id, local_id, memory_bytes};

/// Looks at the kinds of task before they start.
pub type WrapKinds = Box<dyn FnOnce(Vec<Arc<dyn TaskKind>>) -> Vec<Arc<dyn TaskKind>> + Send>;

pub struct NodeConfig {
    /// The store, and who the node is.
    pub catalog: CatalogConfig,
    /// Names the cluster among others that share an object store.
    pub cluster_id: String,
    /// What index builds may hold.
    pub memory: MemoryBudget,
    /// For sorting without object storage.
    pub scratch_directory: PathBuf,
    /// `None`: object storage as URIs name it.
    pub open_storage: Option<OpenStorage>,
    /// For subtasks and for steps of jobs.
    pub retry: RetryPolicy,
    /// The safety net below waking.
    pub poll: Duration,
    /// Where subtasks run.
    pub place: Place,
    /// How long a paused build keeps its snapshot before it has to begin anew.
    pub pause_hold: Duration,
    /// For simulations that break a kind on purpose.
    pub wrap_kinds: Option<WrapKinds>,
}

impl NodeConfig {
    pub const PAUSE_HOLD: Duration = Duration::from_secs(24 * 3600);

    pub fn new(
        catalog: CatalogConfig,
        cluster_id: String,
        scratch_directory: PathBuf,
        memory: MemoryBudget,
    ) -> Self {
        NodeConfig {
            catalog,
            cluster_id,
            memory,
            scratch_directory,
            open_storage: None,
            retry: DEFAULT_RETRY,
            poll: Duration::from_secs(1),
            place: Place::default(),
            pause_hold: Self::PAUSE_HOLD,
            wrap_kinds: None,
        }
    }
}

pub struct Node {
    pub store: StoreRef,
    pub catalog: Arc<Catalog>,
    pub tasks: Arc<Tasks>,
    pub ddl: Arc<Ddl>,
    /// What index builds may hold.
    pub memory: MemoryBudget,
}

impl Node {
    /// Joins the cluster and begins to work.
    pub fn open(config: NodeConfig) -> BoxFuture<'static, Result<Node, Error>> {
        Box::pin(async move {
            let store = config.catalog.store.clone();
            let slots = config.catalog.slots;
            let catalog = Catalog::open(config.catalog).await?;
            let backfill = Backfill::new(BackfillConfig {
                store: store.clone(),
                catalog: catalog.clone(),
                slots,
                memory: config.memory.clone(),
                scratch_directory: config.scratch_directory,
                cluster_id: config.cluster_id,
                open_storage: config.open_storage,
            });
            let mut kinds = task_kinds(&backfill);
            if let Some(wrap) = config.wrap_kinds {
                kinds = wrap(kinds);
            }
            let tasks = Tasks::start(
                TasksConfig {
                    store: store.clone(),
                    catalog: catalog.clone(),
                    slots,
                    retry: config.retry,
                    poll: config.poll,
                    place: config.place,
                },
                kinds,
            );
            let ddl = Ddl::start(DdlConfig {
                store: store.clone(),
                catalog: catalog.clone(),
                tasks: tasks.clone(),
                backfill,
                retry: config.retry,
                poll: config.poll,
                pause_hold: config.pause_hold,
            });
            Ok(Node {
                store,
                catalog,
                tasks,
                ddl,
                memory: config.memory,
            })
        })
    }

    /// Hands over what runs here and leaves the cluster. Steps of jobs and subtasks have `timeout` to stop.
    pub fn shutdown(&self, timeout: Duration) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            tokio::join!(self.ddl.shutdown(timeout), self.tasks.shutdown(timeout));
            self.catalog.shutdown().await;
        })
    }
}
