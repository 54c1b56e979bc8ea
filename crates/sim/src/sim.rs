//! One simulation: the cluster, and what everybody in it shares.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use ilmenite_store::StoreRef;
use parking_lot::Mutex;
use rand::Rng;
use rand::rngs::StdRng;
use tokio_util::sync::CancellationToken;

use crate::link::Link;
use crate::node::Node;
use crate::oracle::{Jobs, Oracle};
use crate::settings::Settings;
use crate::store::SimStore;
use crate::world::World;

pub struct Sim {
    pub settings: Settings,
    pub world: Arc<World>,
    nodes: Mutex<Vec<Arc<Node>>>,
    next_node: Mutex<usize>,
    pub oracle: Oracle,
    pub jobs: Jobs,
    /// Transactions acknowledged.
    pub commits: AtomicU64,
    pub writers_stop: CancellationToken,
    pub ddl_stop: CancellationToken,
    /// The store as it is, without waits and faults.
    pub truth: StoreRef,
}

impl Sim {
    pub fn new(settings: Settings, world: Arc<World>) -> Arc<Sim> {
        let truth: StoreRef = Arc::new(SimStore {
            world: world.clone(),
            link: Arc::new(Link::new(999)),
            quiet: true,
        });
        Arc::new(Sim {
            settings,
            world,
            nodes: Mutex::default(),
            next_node: Mutex::new(1),
            oracle: Oracle::default(),
            jobs: Jobs::default(),
            commits: AtomicU64::new(0),
            writers_stop: CancellationToken::new(),
            ddl_stop: CancellationToken::new(),
            truth,
        })
    }

    pub fn violation(&self, text: String) {
        self.world.violation(text);
    }

    pub fn table_name(&self, number: usize) -> String {
        format!("t{number}")
    }

    /// The nodes that were not killed.
    pub fn nodes(&self) -> Vec<Arc<Node>> {
        self.nodes.lock().clone()
    }

    pub fn any_node(&self, rng: &mut StdRng) -> Option<Arc<Node>> {
        let nodes = self.nodes.lock();
        if nodes.is_empty() {
            return None;
        }
        Some(nodes[rng.random_range(0..nodes.len())].clone())
    }

    /// Another node, with a number that none had before. Tried again until it is there.
    pub async fn start_node(self: &Arc<Self>) -> Arc<Node> {
        let number = {
            let mut next = self.next_node.lock();
            *next += 1;
            *next - 1
        };
        loop {
            match Node::open(&self.world, number, self.settings.node).await {
                Ok(node) => {
                    let node = Arc::new(node);
                    self.world.add_catalog(number, &node.catalog, &node.link);
                    self.nodes.lock().push(node.clone());
                    return node;
                }
                Err(error) => {
                    self.world
                        .log
                        .note(|| format!("n{number} does not start: {error}"));
                    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
                }
            }
        }
    }

    /// As `kill -9`: nothing it asked for is answered any more, and its locks run out.
    pub fn kill(&self, node: &Arc<Node>) {
        self.world
            .log
            .event(&[301, node.number as u64], || format!("KILL n{}", node.number));
        node.link.kill();
        node.killed.cancel();
        self.nodes.lock().retain(|n| n.number != node.number);
        self.world.abandon_all(node.number);
    }
}
