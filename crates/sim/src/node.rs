//! A simulated node: the real catalog, task framework and DDL, over handles that the simulation controls.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ilmenite_catalog::{Catalog, CatalogConfig};
use ilmenite_ddl::{Ddl, StorageAt};
use ilmenite_node::NodeConfig;
use ilmenite_sort::{MemoryBudget, ObjectStorage};
use ilmenite_store::StoreRef;
use ilmenite_task::{Place, Tasks};
use tokio_util::sync::CancellationToken;

use crate::bucket::SimObjects;
use crate::kinds::{self, Sizes};
use crate::link::{Link, LinkClock};
use crate::mutation::Mutation;
use crate::objects::SCRATCH;
use crate::store::SimStore;
use crate::world::World;

/// How nodes are set up: the same for all of a simulation.
#[derive(Debug, Clone, Copy)]
pub struct NodeSettings {
    pub lease: Duration,
    /// How often everything is looked at when nothing wakes it.
    pub poll: Duration,
    pub follow: Duration,
    pub slots: u32,
    pub memory_bytes: u64,
    pub sizes: Sizes,
    pub mutation: Option<Mutation>,
}

pub struct Node {
    pub number: usize,
    pub link: Arc<Link>,
    pub store: StoreRef,
    pub catalog: Arc<Catalog>,
    pub tasks: Arc<Tasks>,
    pub ddl: Arc<Ddl>,
    /// Fires when it is killed: its clients' connections break.
    pub killed: CancellationToken,
}

impl Node {
    pub async fn open(
        world: &Arc<World>,
        number: usize,
        settings: NodeSettings,
    ) -> Result<Node, ilmenite_catalog::Error> {
        let link = Arc::new(Link::new(number));
        let store: StoreRef = Arc::new(SimStore {
            world: world.clone(),
            link: link.clone(),
            quiet: false,
        });
        let mut config = CatalogConfig::new(store.clone());
        config.address = format!("n{number}");
        config.slots = settings.slots;
        config.lease = settings.lease;
        config.poll = Some(settings.follow);
        config.clock = Arc::new(LinkClock(link.clone()));
        // Several nodes sort on the object store only; a single one comes back on its own machine.
        let bucket = |prefix: String| SimObjects {
            world: world.clone(),
            link: link.clone(),
            prefix,
        };
        let (cloud, scratch) = (bucket(String::new()), bucket(SCRATCH.into()));
        let open_storage = move |at: StorageAt<'_>| {
            let (backend, name) = match at {
                StorageAt::Uri(uri) => (cloud.clone(), uri.to_owned()),
                StorageAt::Scratch(_) => (scratch.clone(), "scratch".to_owned()),
            };
            Ok(ObjectStorage::with_backend(Arc::new(backend), &name))
        };
        let (world_of_kinds, link_of_kinds) = (world.clone(), link.clone());
        let wrap = move |kinds| {
            kinds::wrap(
                kinds,
                settings.sizes,
                settings.mutation,
                &world_of_kinds,
                &link_of_kinds,
            )
        };
        let memory = MemoryBudget::new(settings.memory_bytes);
        let node = ilmenite_node::Node::open(NodeConfig {
            open_storage: Some(Arc::new(open_storage)),
            poll: settings.poll,
            place: Place::Runtime,
            wrap_kinds: Some(Box::new(wrap)),
            ..NodeConfig::new(config, "sim".into(), PathBuf::from("/simulated"), memory)
        })
        .await?;
        let ilmenite_node::Node {
            catalog, tasks, ddl, ..
        } = node;
        world
            .log
            .note(|| format!("n{number} is up: {}", catalog.node_id()));
        Ok(Node {
            number,
            link,
            store,
            catalog,
            tasks,
            ddl,
            killed: CancellationToken::new(),
        })
    }
}
