//! Waking other nodes: whoever writes rows that others wait for rings their bells, so that nobody has to poll.
//!
//! A ring is a hint and never the news itself: what is true stands in the store. One that is lost costs the time until
//! the next poll, one too many costs a read. So nothing is retried, and what a slow node has not taken yet is merged
//! into one: at most one call to a node is under way.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use ilmenite_base::Notifier;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::Catalog;

/// A call that takes longer is given up.
const CALL_TIMEOUT: Duration = Duration::from_secs(1);
/// Between looks at what another node ought to have woken this one for.
const SAFETY_NET: Duration = Duration::from_millis(500);

/// What there may be something new of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Topic {
    /// Nodes: one came, went, or moved.
    Nodes = 1,
    /// A schema version, an owner's question about one, or a setting.
    Schema = 2,
    /// An answer to an owner's question.
    Answers = 4,
    /// DDL jobs.
    Jobs = 8,
    /// Tasks and subtasks.
    Tasks = 16,
}

const TOPICS: [Topic; 5] = [
    Topic::Nodes,
    Topic::Schema,
    Topic::Answers,
    Topic::Jobs,
    Topic::Tasks,
];
/// A call to the node is under way.
const BUSY: u8 = 128;

/// How a node is reached.
#[async_trait]
pub trait WakeTransport: Send + Sync + 'static {
    /// Has the node at `status_address` call `Catalog::woken(topics)`. Errors are for the log.
    async fn wake(&self, status_address: &str, topics: u8) -> Result<(), String>;
}

/// Another node, and what it has not been told yet.
struct Peer {
    status_address: String,
    pending: AtomicU8,
}

/// This node's part in waking and being woken.
#[derive(Default)]
pub(crate) struct Waking {
    transport: Mutex<Option<Arc<dyn WakeTransport>>>,
    /// By node id.
    peers: Mutex<HashMap<String, Arc<Peer>>>,
    /// Has the other nodes looked at now.
    pub look_at_peers_now: Arc<Notify>,
    /// The next renewal shows something new of this node.
    renewal_shows: AtomicBool,
    /// It was shown: others are to be told, once they are known.
    announce: AtomicBool,
    answers: Notifier,
    jobs: Notifier,
    tasks: Notifier,
}

impl Waking {
    pub fn notifier(&self, topic: Topic) -> Option<&Notifier> {
        match topic {
            // Background tasks with wake-ups of their own.
            Topic::Nodes | Topic::Schema => None,
            Topic::Answers => Some(&self.answers),
            Topic::Jobs => Some(&self.jobs),
            Topic::Tasks => Some(&self.tasks),
        }
    }
}

impl Catalog {
    /// How this node reaches others. Without one it wakes nobody, and others find its changes when they poll.
    pub fn set_wake_transport(&self, transport: Arc<dyn WakeTransport>) {
        *self.waking.transport.lock() = Some(transport);
        self.waking.look_at_peers_now.notify_one();
    }

    /// Rings when another node has rung `Answers`, `Jobs` or `Tasks`; whoever changes such rows here rings it, too, and
    /// calls `wake_others`.
    pub fn notifier(&self, topic: Topic) -> Notifier {
        self.waking.notifier(topic).cloned().unwrap_or_default()
    }

    /// How often to look at what other nodes write: `polled`, where nobody wakes this node.
    pub(crate) fn look_interval(&self, polled: Duration) -> Duration {
        match &*self.waking.transport.lock() {
            Some(_) => polled.max(SAFETY_NET),
            None => polled,
        }
    }

    /// What this node shows of itself is about to change.
    pub(crate) fn announce_soon(&self) {
        self.waking.renewal_shows.store(true, Ordering::Release);
    }

    /// The node's row was written.
    pub(crate) fn shown(&self) {
        if self.waking.renewal_shows.swap(false, Ordering::AcqRel) {
            self.waking.announce.store(true, Ordering::Release);
            self.waking.look_at_peers_now.notify_one();
        }
    }

    /// The status addresses of the nodes this one would wake.
    pub fn peer_addresses(&self) -> Vec<String> {
        let peers = self.waking.peers.lock();
        peers.values().map(|peer| peer.status_address.clone()).collect()
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

    /// Rings at all other nodes. Returns at once.
    pub fn wake_others(&self, topic: Topic) {
        let peers = self.waking.peers.lock();
        if peers.is_empty() {
            return;
        }
        let Some(transport) = self.waking.transport.lock().clone() else {
            return;
        };
        for peer in peers.values() {
            if peer.pending.fetch_or(topic as u8 | BUSY, Ordering::AcqRel) & BUSY == 0 {
                tokio::spawn(peer.clone().tell(transport.clone()));
            }
        }
    }

    /// The other nodes as they are now, so that they can be woken.
    pub(crate) async fn look_at_peers(&self) -> crate::Result<()> {
        if self.waking.transport.lock().is_none() {
            return Ok(());
        }
        let nodes = self.live_nodes().await?;
        let mut peers = self.waking.peers.lock();
        let mut known = std::mem::take(&mut *peers);
        for node in nodes {
            if node.id == self.node_id() || node.status_address.is_empty() {
                continue;
            }
            let peer = match known.remove(&node.id) {
                Some(peer) if peer.status_address == node.status_address => peer,
                _ => Arc::new(Peer {
                    status_address: node.status_address,
                    pending: AtomicU8::new(0),
                }),
            };
            peers.insert(node.id, peer);
        }
        drop(peers);
        if self.waking.announce.swap(false, Ordering::AcqRel) {
            self.wake_others(Topic::Nodes);
        }
        Ok(())
    }
}

impl Peer {
    /// Tells the node what is pending, until nothing is.
    async fn tell(self: Arc<Self>, transport: Arc<dyn WakeTransport>) {
        loop {
            let topics = self.pending.fetch_and(BUSY, Ordering::AcqRel) & !BUSY;
            if topics == 0 {
                let idle = self
                    .pending
                    .compare_exchange(BUSY, 0, Ordering::AcqRel, Ordering::Acquire);
                if idle.is_ok() {
                    return;
                }
                continue;
            }
            let call = transport.wake(&self.status_address, topics);
            let error = match tokio::time::timeout(CALL_TIMEOUT, call).await {
                Ok(Ok(())) => continue,
                Ok(Err(error)) => error,
                Err(_) => "no answer in time".into(),
            };
            tracing::debug!(node = self.status_address, error, "waking another node failed");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use tokio::sync::Semaphore;

    use super::*;

    struct Slow {
        calls: Mutex<Vec<u8>>,
        started: AtomicUsize,
        go: Semaphore,
    }

    #[async_trait]
    impl WakeTransport for Slow {
        async fn wake(&self, _: &str, topics: u8) -> Result<(), String> {
            self.started.fetch_add(1, Ordering::SeqCst);
            let permit = self.go.acquire().await.map_err(|e| e.to_string())?;
            permit.forget();
            self.calls.lock().push(topics);
            Ok(())
        }
    }

    fn notify(peer: &Arc<Peer>, transport: &Arc<Slow>, topic: Topic) {
        if peer.pending.fetch_or(topic as u8 | BUSY, Ordering::AcqRel) & BUSY == 0 {
            tokio::spawn(peer.clone().tell(transport.clone()));
        }
    }

    #[tokio::test]
    async fn what_a_slow_node_has_not_taken_is_merged() {
        let transport = Arc::new(Slow {
            calls: Mutex::default(),
            started: AtomicUsize::new(0),
            go: Semaphore::new(0),
        });
        let peer = Arc::new(Peer {
            status_address: "a:1".into(),
            pending: AtomicU8::new(0),
        });
        notify(&peer, &transport, Topic::Jobs);
        while transport.started.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        for _ in 0..10 {
            notify(&peer, &transport, Topic::Tasks);
            notify(&peer, &transport, Topic::Schema);
        }
        transport.go.add_permits(10);
        while peer.pending.load(Ordering::SeqCst) != 0 {
            tokio::task::yield_now().await;
        }
        let merged = Topic::Tasks as u8 | Topic::Schema as u8;
        assert_eq!(*transport.calls.lock(), [Topic::Jobs as u8, merged]);
        // And a later ring is told, too.
        notify(&peer, &transport, Topic::Nodes);
        while peer.pending.load(Ordering::SeqCst) != 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(transport.calls.lock().last(), Some(&(Topic::Nodes as u8)));
    }
}
