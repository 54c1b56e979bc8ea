//! What all nodes share, and what may befall it: the store, the objects, chance, time, the log.

use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use ilmenite_base::Notifier;
use ilmenite_catalog::{Catalog, TableRef};
use ilmenite_store::Timestamp;
use ilmenite_store::memory::Memory;
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::core::{Broken, Core, LOCK_TTL, SchemaChange, outline};
use crate::link::Link;
use crate::log::Log;
use crate::objects::Objects;

/// A commit that is late by chance arrives within this.
const MAX_LATE_MS: u64 = 2500;

/// How likely a request meets what. All zero: nothing ever fails, and only the time it takes is random.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Rates {
    /// It takes longer than usual, up to the time.
    pub slow: f64,
    pub slow_max_ms: u64,
    /// It fails and has no effect.
    pub error: f64,
    /// It has its effect, and fails.
    pub lost_reply: f64,
    /// A commit that never arrives, without anyone being told.
    pub lost_commit: f64,
    /// A commit that arrives later, after its sender gave it up.
    pub late_commit: f64,
    /// An ingest of which only a part takes effect.
    pub partial_ingest: f64,
    pub object_slow: f64,
    pub object_error: f64,
    pub object_lost_reply: f64,
    pub object_truncated: f64,
}

pub struct World {
    pub log: Log,
    pub chance: Mutex<StdRng>,
    pub rates: Mutex<Rates>,
    pub broken: Broken,
    pub core: Mutex<Core>,
    /// Rings when locks were given back.
    pub released: Notifier,
    pub objects: Mutex<Objects>,
    /// How far the wall clocks of nodes are off, in milliseconds.
    pub wall_off_ms: Arc<Mutex<i64>>,
    /// What is to befall certain commits, whatever the rates.
    planned: Mutex<Vec<Planned>>,
    /// What must never be and was.
    violations: Mutex<Vec<String>>,
    catalogs: Mutex<Vec<Member>>,
}

/// What may befall a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mishap {
    /// It has its effect, and its sender is not told.
    ReplyLost,
    /// It never arrives, and its sender does not know.
    Lost,
    /// It arrives so much later, after its sender gave it up.
    Late(Duration),
}

#[derive(Debug, Clone)]
struct Planned {
    key_prefix: Vec<u8>,
    times: u32,
    mishap: Mishap,
}

/// A node as the invariant of two versions sees it.
struct Member {
    node: usize,
    catalog: Weak<Catalog>,
    link: Arc<Link>,
}

impl World {
    pub fn new(seed: u64, broken: Broken, log: Log) -> Arc<World> {
        Arc::new(World {
            log,
            chance: Mutex::new(StdRng::seed_from_u64(seed ^ 0x05ee_d0fc_4a05)),
            rates: Mutex::default(),
            broken,
            core: Mutex::new(Core::default()),
            released: Notifier::new(),
            objects: Mutex::default(),
            wall_off_ms: Arc::default(),
            planned: Mutex::default(),
            violations: Mutex::default(),
            catalogs: Mutex::default(),
        })
    }

    pub fn draw(&self, probability: f64) -> bool {
        probability > 0.0 && self.chance.lock().random_bool(probability)
    }

    pub fn range(&self, range: std::ops::Range<u64>) -> u64 {
        self.chance.lock().random_range(range)
    }

    pub fn rates(&self) -> Rates {
        *self.rates.lock()
    }

    /// The time a request needs on its way. Zero means: at once, but after whoever else is ready.
    pub fn delay(&self, slow: f64) -> Duration {
        let slow_max_ms = self.rates.lock().slow_max_ms;
        let mut chance = self.chance.lock();
        let ms = if slow > 0.0 && chance.random_bool(slow) {
            chance.random_range(0..slow_max_ms.max(1))
        } else if chance.random_bool(0.15) {
            chance.random_range(1..4)
        } else {
            0
        };
        Duration::from_millis(ms)
    }

    pub async fn travel(&self, slow: f64) {
        let delay = self.delay(slow);
        if delay.is_zero() {
            tokio::task::yield_now().await;
        } else {
            tokio::time::sleep(delay).await;
        }
    }

    /// What is in the store now, seen from outside of all nodes.
    pub fn with_memory<T>(&self, look: impl FnOnce(&Memory, Timestamp) -> T) -> T {
        let mut core = self.core.lock();
        let now = core.timestamp(self.log.now_ms());
        look(&core.memory, now)
    }

    /// The live pairs of a range now.
    pub fn pairs(&self, prefix: &[u8]) -> Vec<(Bytes, Bytes)> {
        self.with_memory(|memory, now| {
            let range = ilmenite_store::KeyRange::prefix(prefix);
            let options = ilmenite_store::ScanOptions {
                batch_bytes: usize::MAX,
                ..Default::default()
            };
            memory.scan(&range, now, options)
        })
    }

    /// The next `times` commits that write a key with this prefix meet the mishap.
    pub fn plan_mishap(&self, key_prefix: &[u8], times: u32, mishap: Mishap) {
        self.planned.lock().push(Planned {
            key_prefix: key_prefix.to_vec(),
            times,
            mishap,
        });
    }

    /// Mishaps that have yet to happen as planned.
    pub fn mishaps_left(&self) -> u32 {
        self.planned.lock().iter().map(|planned| planned.times).sum()
    }

    /// What befalls this commit: as planned, or by chance.
    pub fn mishap<'a>(&self, mut keys: impl Iterator<Item = &'a Bytes>) -> Option<Mishap> {
        let mut planned = self.planned.lock();
        if !planned.is_empty() {
            let concerned = keys.find_map(|key| {
                planned
                    .iter()
                    .position(|p| p.times > 0 && key.starts_with(&p.key_prefix))
            });
            if let Some(at) = concerned {
                planned[at].times -= 1;
                return Some(planned[at].mishap);
            }
        }
        drop(planned);
        let rates = self.rates();
        if self.draw(rates.lost_commit) {
            Some(Mishap::Lost)
        } else if self.draw(rates.late_commit) {
            Some(Mishap::Late(Duration::from_millis(self.range(1..MAX_LATE_MS))))
        } else if self.draw(rates.lost_reply) {
            Some(Mishap::ReplyLost)
        } else {
            None
        }
    }

    pub fn violation(&self, text: String) {
        self.log.note(|| format!("VIOLATION: {text}"));
        self.violations.lock().push(text);
    }

    pub fn violations(&self) -> Vec<String> {
        self.violations.lock().clone()
    }

    pub fn add_catalog(&self, node: usize, catalog: &Arc<Catalog>, link: &Arc<Link>) {
        self.catalogs.lock().push(Member {
            node,
            catalog: Arc::downgrade(catalog),
            link: link.clone(),
        });
    }

    /// The transaction goes by these versions of tables: none may be older than the last but one when it commits.
    pub fn expect_versions(&self, start_ts: Timestamp, tables: &[TableRef]) {
        let mut core = self.core.lock();
        core.pinned.insert(start_ts, tables.to_vec());
    }

    /// A table has a new version: every live node must hold the one before it, or this one.
    pub fn check_views(&self, change: &SchemaChange) {
        for member in self.catalogs.lock().iter() {
            let Some(catalog) = member.catalog.upgrade() else {
                continue;
            };
            // One whose lease is over commits nothing, whatever it holds.
            if member.link.is_dead() || catalog.lease_end() < change.commit_ts {
                continue;
            }
            let view = catalog.view();
            let held = view.table_by_id(change.table_id);
            if !change.allows(held.map(|t| &**t)) {
                self.violation(format!(
                    "TWO VERSIONS APART: at {} table {} went to {}, while n{} holds {}",
                    change.commit_ts,
                    change.table_id,
                    change.now.as_ref().map_or("nothing".into(), outline),
                    member.node,
                    held.map_or("nothing".into(), |t| outline(t)),
                ));
            }
        }
    }

    /// Locks of a node that keeps them alive no more run out.
    pub fn abandon_all(self: &Arc<Self>, node: usize) {
        let world = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(LOCK_TTL).await;
            let mut core = world.core.lock();
            let of_node = core.txns.iter().filter(|(_, txn)| txn.node == node);
            let starts: Vec<Timestamp> = of_node.map(|(start, _)| *start).collect();
            for start in starts {
                core.end(start);
            }
            drop(core);
            world.released.notify();
        });
    }
}
