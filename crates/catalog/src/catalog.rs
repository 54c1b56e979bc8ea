//! The catalog of one node: its view of the schemas, its place among the nodes, and the tasks that keep both fresh.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Weak};
use std::time::Duration;

use ilmenite_base::{ErrorClass, Notifier, RetryPolicy, rng};
use ilmenite_store::StoreRef;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::auto_id::AutoIdTable;
use crate::bootstrap::bootstrap;
use crate::clock::{Clock, SystemClock};
use crate::error::{Error, Result};
use crate::format;
use crate::local::Local;
use crate::mdl::TransactionPins;
use crate::meta::MetaReader;
use crate::metrics::METRICS;
use crate::node::{Addresses, running_nodes};
use crate::owner::Ownership;
use crate::pins::{Blocker, Watch};
use crate::sync::{Asked, Follower};
use crate::wake::{TOPICS, Topic, WakeTransport, Waking};
use crate::{SchemaVersion, SchemaView, keys};

/// How often a node looks for new versions by itself, where no other node could make one; and where others may.
const POLL_ALONE: Duration = Duration::from_secs(1);
const POLL_AMONG_OTHERS: Duration = Duration::from_millis(50);
/// Attempts to join when the catalog is opened.
const JOIN: RetryPolicy = RetryPolicy {
    max_attempts: 10,
    max_elapsed: Duration::from_secs(60),
    base_delay: Duration::from_millis(20),
    max_delay: Duration::from_millis(200),
};
/// How long shutting down takes at most.
const SHUTDOWN_TIME: Duration = Duration::from_secs(2);

#[derive(Clone)]
pub struct CatalogConfig {
    pub store: StoreRef,
    /// Where clients connect to, `host:port`.
    pub address: String,
    pub status_address: String,
    /// Of the program.
    pub version: String,
    pub service_scope: String,
    /// Names what only this node reaches, such as its disk, and what is there: the same after a restart of the process,
    /// another after the machine's, which may have lost it. Empty: nothing of the kind.
    pub local_id: String,
    /// How many subtasks the node can work on at once.
    pub slots: u32,
    /// How long the node may be cut off before others go on without it.
    pub lease: Duration,
    /// How often to look for new versions; `None` for what suits the store.
    pub poll: Option<Duration>,
    /// By which the node judges whether it still has its lease.
    pub clock: Arc<dyn Clock>,
}

impl CatalogConfig {
    pub const DEFAULT_LEASE: Duration = Duration::from_secs(15);

    pub fn new(store: StoreRef) -> Self {
        CatalogConfig {
            store,
            address: String::new(),
            status_address: String::new(),
            version: env!("CARGO_PKG_VERSION").into(),
            service_scope: String::new(),
            local_id: String::new(),
            slots: 1,
            lease: Self::DEFAULT_LEASE,
            poll: None,
            clock: Arc::new(SystemClock::new()),
        }
    }
}

/// One per node. Dropped without `shutdown`, it leaves as a crash would: its lease runs out.
pub struct Catalog {
    pub(crate) config: CatalogConfig,
    pub(crate) store: StoreRef,
    pub(crate) node_id: String,
    pub(crate) start_ms: u64,
    pub(crate) addresses: Mutex<Addresses>,
    pub(crate) service_scope: Mutex<String>,
    pub(crate) local: Arc<Local>,
    pub(crate) owner: Ownership,
    pub(crate) auto_ids: AutoIdTable,
    /// Who the waits going on wait for, by job.
    pub(crate) blockers: Mutex<BTreeMap<i64, Vec<Blocker>>>,
    pub(crate) asked: Mutex<Asked>,
    /// The loss of the lease has been reported.
    pub(crate) lost_told: AtomicBool,
    pub(crate) renew_now: Arc<Notify>,
    pub(crate) campaign_now: Arc<Notify>,
    pub(crate) waking: Waking,
    follow_now: Arc<Notify>,
    changed: watch::Sender<SchemaVersion>,
    settings: Mutex<Option<bytes::Bytes>>,
    settings_changed: watch::Sender<u64>,
    /// Held while a version is loaded.
    turn: tokio::sync::Mutex<()>,
    stop: CancellationToken,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

type Round<'a> = Pin<Box<dyn Future<Output = Pause> + Send + 'a>>;

/// How long a background task rests after a round.
struct Pause {
    time: Duration,
    /// Transactions of this node that go end the pause.
    until_pins_go: bool,
}

impl Pause {
    fn of(time: Duration) -> Self {
        Pause {
            time,
            until_pins_go: false,
        }
    }
}

impl Catalog {
    /// Bootstraps a new store, joins the nodes, loads all schemas, and campaigns once for owner. Must be called within
    /// a runtime, on which it starts its background tasks.
    pub async fn open(config: CatalogConfig) -> Result<Arc<Self>> {
        let store = config.store.clone();
        bootstrap(&store).await?;
        let now = store.timestamp().await?;
        let running = running_nodes(&store, now).await?;
        format::upgrade(&store, format::UPGRADES, &running).await?;
        let start_ms = now.millis();
        let catalog = Arc::new(Catalog {
            node_id: uuid::Builder::from_random_bytes(rng::bytes())
                .into_uuid()
                .to_string(),
            start_ms,
            addresses: Mutex::new(Addresses {
                mysql: config.address.clone(),
                status: config.status_address.clone(),
            }),
            service_scope: Mutex::new(config.service_scope.clone()),
            local: Arc::new(Local::new(config.clock.clone())),
            owner: Ownership::new(),
            auto_ids: AutoIdTable::default(),
            blockers: Mutex::default(),
            asked: Mutex::default(),
            lost_told: AtomicBool::new(false),
            renew_now: Arc::default(),
            campaign_now: Arc::default(),
            waking: Waking::default(),
            follow_now: Arc::default(),
            changed: watch::Sender::new(0),
            settings: Mutex::default(),
            settings_changed: watch::Sender::new(0),
            turn: tokio::sync::Mutex::default(),
            stop: CancellationToken::new(),
            tasks: Mutex::default(),
            store,
            config,
        });
        let mut attempts = JOIN.begin();
        while let Err(e) = catalog.join().await {
            if e.class() != ErrorClass::Transient || !attempts.again().await {
                return Err(e);
            }
            tracing::warn!(error = %e, "joining failed; trying again");
        }
        if let Err(e) = catalog.campaign().await {
            tracing::warn!(error = %e, "campaigning for owner failed; trying again");
        }
        catalog.start();
        Ok(catalog)
    }

    fn start(self: &Arc<Self>) {
        let lease = self.config.lease;
        self.spawn(self.renew_now.clone(), lease / 3, |c| {
            Box::pin(async { Pause::of(c.keep_lease().await) })
        });
        self.spawn(self.campaign_now.clone(), self.campaign_interval(), |c| {
            Box::pin(c.owner_round())
        });
        self.spawn(self.waking.look_at_peers_now.clone(), Duration::ZERO, |c| {
            Box::pin(c.peers_round())
        });
        let follower = Arc::new(tokio::sync::Mutex::new(Follower::default()));
        self.spawn(self.follow_now.clone(), Duration::ZERO, move |c| {
            let follower = follower.clone();
            Box::pin(async move { c.follow_round(&mut *follower.lock().await).await })
        });
    }

    /// A background task: rounds, with pauses between, until the catalog is shut down or gone.
    fn spawn<F>(self: &Arc<Self>, wake: Arc<Notify>, first: Duration, round: F)
    where
        F: for<'a> Fn(&'a Catalog) -> Round<'a> + Send + Sync + 'static,
    {
        let weak: Weak<Catalog> = Arc::downgrade(self);
        let stop = self.stop.clone();
        let local = self.local.clone();
        let work = async move {
            tokio::select! {
                biased;
                _ = stop.cancelled() => return,
                _ = tokio::time::sleep(first) => {}
                _ = wake.notified() => {}
            }
            let mut watch: Option<Watch<'_>> = None;
            loop {
                // From before the round on, so that no transaction goes unnoticed after the round looked.
                let gone = watch.is_some().then(|| local.pins.gone());
                let Some(catalog) = weak.upgrade() else { return };
                let pause = round(&catalog).await;
                drop(catalog);
                if pause.until_pins_go && gone.is_none() {
                    watch = Some(local.pins.watch());
                    continue;
                }
                let pins = async {
                    match gone {
                        Some(gone) => gone.await,
                        None => std::future::pending().await,
                    }
                };
                tokio::select! {
                    biased;
                    _ = stop.cancelled() => return,
                    _ = tokio::time::sleep(pause.time) => {}
                    _ = wake.notified() => {}
                    _ = pins => {}
                }
                if !pause.until_pins_go {
                    watch = None;
                }
            }
        };
        self.tasks.lock().push(tokio::spawn(work));
    }

    async fn owner_round(&self) -> Pause {
        if let Err(e) = self.campaign().await {
            tracing::warn!(error = %e, "looking for the owner failed; trying again");
        } else if let Some(term) = self.owner_term() {
            if let Err(e) = self.remove_dead_nodes(term.guard()).await {
                tracing::warn!(error = %e, "removing rows of dead nodes failed; trying again");
            }
            if let Err(e) = self.clear_questions(&term).await {
                tracing::warn!(error = %e, "removing questions to other nodes failed; trying again");
            }
        }
        Pause::of(self.campaign_interval())
    }

    async fn peers_round(&self) -> Pause {
        let looked = async {
            if self.waking.reaches_others() {
                let mut nodes = self.live_nodes().await?;
                nodes.retain(|node| node.id != self.node_id && !node.status_address.is_empty());
                self.waking
                    .set_peers(nodes.into_iter().map(|node| (node.id, node.status_address)));
            }
            Ok::<_, Error>(())
        };
        if let Err(e) = looked.await {
            tracing::warn!(error = %e, "looking for other nodes failed; trying again");
        }
        Pause::of(self.config.lease / 3)
    }

    async fn follow_round(&self, follower: &mut Follower) -> Pause {
        let suits = if self.store.exclusive() {
            POLL_ALONE
        } else {
            POLL_AMONG_OTHERS
        };
        let open = self.follow(follower).await.unwrap_or_else(|e| {
            tracing::warn!(error = %e, "looking for new schema versions failed; trying again");
            false
        });
        if let Err(e) = self.look_at_settings().await {
            tracing::warn!(error = %e, "looking for changed settings failed; trying again");
        }
        Pause {
            time: self
                .config
                .poll
                .unwrap_or_else(|| self.waking.look_interval(suits)),
            until_pins_go: open,
        }
    }

    /// Resigns as owner, leaves the nodes, stops the background tasks. Transactions must have ended before: as long
    /// as one is open, others wait for this node's lease to end. Gives up after two seconds. Idempotent.
    pub async fn shutdown(&self) {
        self.stop.cancel();
        let tasks = std::mem::take(&mut *self.tasks.lock());
        let work = async {
            for task in tasks {
                if let Err(e) = task.await {
                    tracing::error!(error = %e, "a background task of the catalog failed");
                }
            }
            if !self.is_live() {
                return Ok::<_, Error>(());
            }
            self.resign().await?;
            self.leave().await?;
            self.wake_others(Topic::Nodes);
            Ok(())
        };
        match tokio::time::timeout(SHUTDOWN_TIME, work).await {
            Ok(Ok(())) => {}
            Ok(Err(e)) => tracing::warn!(error = %e, "leaving the nodes failed; the lease will run out"),
            Err(_) => tracing::warn!("leaving the nodes took too long; the lease will run out"),
        }
        self.local.lease.lost();
        self.owner.set(None);
    }

    pub fn store(&self) -> &StoreRef {
        &self.store
    }

    /// The newest view this node holds.
    pub fn view(&self) -> Arc<SchemaView> {
        self.local.view.load_full()
    }

    /// The newest version this node holds, whenever it changes.
    pub fn changed(&self) -> watch::Receiver<SchemaVersion> {
        self.changed.subscribe()
    }

    /// Another node says that there is something new: looks at once instead of at the next poll.
    pub fn wake(&self) {
        self.follow_now.notify_one();
    }

    /// How this node reaches others. Without one it wakes nobody, and others find its changes when they poll.
    pub fn set_wake_transport(&self, transport: Arc<dyn WakeTransport>) {
        self.waking.set_transport(transport);
    }

    /// Rings when another node has rung `Answers`, `Jobs` or `Tasks`; whoever changes such rows here rings it, too, and
    /// calls `wake_others`.
    pub fn notifier(&self, topic: Topic) -> Notifier {
        self.waking.notifier(topic)
    }

    /// Rings at all other nodes. Returns at once.
    pub fn wake_others(&self, topic: Topic) {
        self.waking.others(topic);
    }

    /// Another node rang.
    pub fn woken(&self, topics: u8) {
        for topic in TOPICS {
            if topics & topic as u8 == 0 {
                continue;
            }
            match topic {
                Topic::Nodes => {
                    self.waking.look_at_peers_now.notify_one();
                    self.campaign_now.notify_one();
                }
                Topic::Schema => self.wake(),
                _ => self.notifier(topic).notify(),
            }
        }
    }

    /// The status addresses of the nodes this one would wake.
    pub fn peer_addresses(&self) -> Vec<String> {
        self.waking.peer_addresses()
    }

    /// The pins of one connection's transactions; with whom to name when others wait for one.
    pub fn pins(&self, connection_id: u64, user: &str) -> TransactionPins {
        TransactionPins::new(self.local.clone(), connection_id, user.into())
    }

    /// Told whenever settings were changed, on this node or another.
    pub fn settings_changed(&self) -> watch::Receiver<u64> {
        self.settings_changed.subscribe()
    }

    /// Looks whether settings have changed, at whichever node.
    pub(crate) async fn look_at_settings(&self) -> Result<()> {
        let ts = self.store.timestamp().await?;
        let now = self.store.get(keys::SETTINGS, ts).await?;
        let mut known = self.settings.lock();
        if *known != now {
            *known = now;
            drop(known);
            self.settings_changed.send_modify(|n| *n += 1);
        }
        Ok(())
    }

    /// Brings the view to the version the store has now. Cheap when there is nothing new.
    pub async fn refresh(&self) -> Result<()> {
        self.refreshed().await.map(drop)
    }

    /// `refresh`, and the view.
    pub(crate) async fn refreshed(&self) -> Result<Arc<SchemaView>> {
        let _turn = self.turn.lock().await;
        let held = self.view();
        let ts = self.store.timestamp().await?;
        let version = MetaReader::at(&self.store, ts).schema_version().await?;
        if version == held.version() {
            return Ok(held);
        }
        if version < held.version() {
            return Err(Error::Bug(format!(
                "the store has schema version {version}, but {} was there before",
                held.version()
            )));
        }
        let began = Instant::now();
        let advanced = held.advance(&self.store, ts, version).await?;
        let (next, rebased) = match advanced {
            Some(advanced) => (advanced.view, Some(advanced.rebased)),
            None => {
                METRICS.full_loads.inc();
                (SchemaView::load(&self.store, ts).await?, None)
            }
        };
        let next = Arc::new(next);
        // Before anyone looks for pins on older versions: see `mdl`.
        self.local.view.store(next.clone());
        match rebased {
            Some(rebased) => self.auto_ids.retain(&next, &rebased),
            None => self.auto_ids.clear(),
        }
        METRICS.schema_version.set(version);
        METRICS.refresh_seconds.observe(began.elapsed().as_secs_f64());
        self.changed.send_replace(version);
        Ok(next)
    }

    /// Names a failpoint of one node among several in a process: `return(a b)` makes the nodes of these addresses fail as
    /// a store that is out of reach would.
    pub(crate) fn failpoint(&self, name: &'static str) -> Result<()> {
        fail::fail_point!(name, |nodes: Option<String>| {
            let nodes = nodes.unwrap_or_default();
            if !nodes.split_whitespace().any(|node| node == self.config.address) {
                return Ok(());
            }
            let injected = format!("injected at {name}");
            Err(Error::Store(ilmenite_store::Error::Unavailable(injected)))
        });
        let _ = name;
        Ok(())
    }
}

impl Drop for Catalog {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
