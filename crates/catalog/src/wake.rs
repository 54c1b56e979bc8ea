//! Waking other nodes: whoever writes rows that others wait for rings their bells, so that nobody has to poll.
//!
//! A ring is a hint and never the news itself: what is true stands in the store. One that is lost costs the time until
//! the next poll, one too many costs a read. So nothing is retried, and what a slow node has not taken yet is merged
//! into one: at most one call to a node is under way.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use ilmenite_base::Notifier;
use parking_lot::Mutex;
use tokio::sync::Notify;

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

pub(crate) const TOPICS: [Topic; 5] = [
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
    peers: Mutex<BTreeMap<String, Arc<Peer>>>,
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
    /// How this node reaches others. Without one it wakes nobody, and others find its changes when they poll.
    pub(crate) fn set_transport(&self, transport: Arc<dyn WakeTransport>) {
        *self.transport.lock() = Some(transport);
        self.look_at_peers_now.notify_one();
    }

    pub(crate) fn notifier(&self, topic: Topic) -> Notifier {
        match topic {
            // Background tasks with wake-ups of their own.
            Topic::Nodes | Topic::Schema => Notifier::default(),
            Topic::Answers => self.answers.clone(),
            Topic::Jobs => self.jobs.clone(),
            Topic::Tasks => self.tasks.clone(),
        }
    }

    /// How often to look at what other nodes write: `polled`, where nobody wakes this node.
    pub(crate) fn look_interval(&self, polled: Duration) -> Duration {
        match &*self.transport.lock() {
            Some(_) => polled.max(SAFETY_NET),
            None => polled,
        }
    }

    /// What this node shows of itself is about to change.
    pub(crate) fn announce_soon(&self) {
        self.renewal_shows.store(true, Ordering::Release);
    }

    /// The node's row was written.
    pub(crate) fn shown(&self) {
        if self.renewal_shows.swap(false, Ordering::AcqRel) {
            self.announce.store(true, Ordering::Release);
            self.look_at_peers_now.notify_one();
        }
    }

    /// The status addresses of the nodes this one would wake.
    pub(crate) fn peer_addresses(&self) -> Vec<String> {
        let peers = self.peers.lock();
        peers.values().map(|peer| peer.status_address.clone()).collect()
    }

    /// Rings at all other nodes. Returns at once.
    pub(crate) fn others(&self, topic: Topic) {
        let peers = self.peers.lock();
        if peers.is_empty() {
            return;
        }
        let Some(transport) = self.transport.lock().clone() else {
            return;
        };
        for peer in peers.values() {
            if peer.pending.fetch_or(topic as u8 | BUSY, Ordering::AcqRel) & BUSY == 0 {
                tokio::spawn(peer.clone().tell(transport.clone()));
            }
        }
    }

    /// Does anyone wake others here?
    pub(crate) fn reaches_others(&self) -> bool {
        self.transport.lock().is_some()
    }

    /// The other nodes as they are now, by id and status address, so that they can be woken.
    pub(crate) fn set_peers(&self, nodes: impl Iterator<Item = (String, String)>) {
        let mut peers = self.peers.lock();
        let mut known = std::mem::take(&mut *peers);
        for (id, status_address) in nodes {
            let peer = match known.remove(&id) {
                Some(peer) if peer.status_address == status_address => peer,
                _ => Arc::new(Peer {
                    status_address,
                    pending: AtomicU8::new(0),
                }),
            };
            peers.insert(id, peer);
        }
        drop(peers);
        if self.announce.swap(false, Ordering::AcqRel) {
            self.others(Topic::Nodes);
        }
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
