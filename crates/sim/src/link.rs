//! A node's way to everything outside of it. What befalls a node befalls it here: a dead one's requests never return, a
//! frozen one's return when it is thawed, one that is cut off gets errors. So the code on the node is what it always is.

use std::time::Duration;

use ilmenite_base::Notifier;
use ilmenite_catalog::Clock;
use parking_lot::Mutex;
use tokio::time::Instant;

/// How long a request to what cannot be reached takes before it fails.
const CUT_PATIENCE: Duration = Duration::from_millis(700);

#[derive(Debug, Default, Clone, Copy)]
struct State {
    dead: bool,
    frozen: bool,
    /// The node's own clock stands still while it is frozen: the machine sleeps.
    clock_stands: bool,
    store_cut: bool,
    objects_cut: bool,
}

#[derive(Debug)]
pub struct Link {
    pub node: usize,
    state: Mutex<State>,
    changed: Notifier,
    clock: NodeClock,
}

/// Whither a request goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    Store,
    Objects,
}

impl Link {
    pub fn new(node: usize) -> Self {
        Link {
            node,
            state: Mutex::default(),
            changed: Notifier::new(),
            clock: NodeClock {
                began: Instant::now(),
                stood: Mutex::default(),
            },
        }
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock());
        self.changed.notify();
    }

    pub fn kill(&self) {
        self.change(|s| s.dead = true);
    }

    pub fn is_dead(&self) -> bool {
        self.state.lock().dead
    }

    pub fn freeze(&self, clock_stands: bool) {
        if clock_stands {
            self.clock.stood.lock().1 = Some(Instant::now());
        }
        self.change(|s| {
            s.frozen = true;
            s.clock_stands = clock_stands;
        });
    }

    pub fn thaw(&self) {
        let mut stood = self.clock.stood.lock();
        if let Some(since) = stood.1.take() {
            stood.0 += since.elapsed();
        }
        drop(stood);
        self.change(|s| s.frozen = false);
    }

    pub fn is_frozen(&self) -> bool {
        self.state.lock().frozen
    }

    pub fn cut(&self, target: Target, cut: bool) {
        self.change(|s| match target {
            Target::Store => s.store_cut = cut,
            Target::Objects => s.objects_cut = cut,
        });
    }

    pub fn is_cut(&self, target: Target) -> bool {
        let state = *self.state.lock();
        match target {
            Target::Store => state.store_cut,
            Target::Objects => state.objects_cut,
        }
    }

    /// Returns when the node runs: at once, or once it is thawed, or never.
    pub async fn running(&self) {
        loop {
            let mut changed = self.changed.subscribe();
            let state = *self.state.lock();
            if state.dead {
                return std::future::pending().await;
            }
            if !state.frozen {
                return;
            }
            changed.notified().await;
        }
    }

    /// Whether what the request goes to can be reached now, or soon.
    pub async fn reach(&self, target: Target) -> bool {
        self.running().await;
        if !self.is_cut(target) {
            return true;
        }
        let deadline = Instant::now() + CUT_PATIENCE;
        loop {
            let mut changed = self.changed.subscribe();
            if !self.is_cut(target) {
                self.running().await;
                return true;
            }
            if tokio::time::timeout_at(deadline, changed.notified())
                .await
                .is_err()
            {
                self.running().await;
                return false;
            }
        }
    }

    pub fn clock_now(&self) -> Duration {
        self.clock.now()
    }
}

/// Stands still while the node is frozen in that way.
#[derive(Debug)]
struct NodeClock {
    began: Instant,
    /// How long it stood in all, and since when it does now.
    stood: Mutex<(Duration, Option<Instant>)>,
}

impl NodeClock {
    fn now(&self) -> Duration {
        let (stood, since) = *self.stood.lock();
        let now = since.unwrap_or_else(Instant::now);
        now.saturating_duration_since(self.began).saturating_sub(stood)
    }
}

/// A node's clock, for its catalog.
#[derive(Debug)]
pub struct LinkClock(pub std::sync::Arc<Link>);

impl Clock for LinkClock {
    fn now(&self) -> Duration {
        self.0.clock_now()
    }
}
