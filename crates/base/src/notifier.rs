//! Waking whoever looks at rows that have changed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;

/// Says that there may be something new. Subscribers are woken in the order in which they began to wait (those of
/// a `tokio::sync::watch` in a random one, which no simulation could repeat). Clones are the same notifier.
#[derive(Debug, Clone, Default)]
pub struct Notifier {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    notifications: AtomicU64,
    notify: Notify,
}

impl Notifier {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn notify(&self) {
        self.inner.notifications.fetch_add(1, Ordering::SeqCst);
        self.inner.notify.notify_waiters();
    }

    /// Sees every notification from now on.
    pub fn subscribe(&self) -> Subscription {
        Subscription {
            inner: self.inner.clone(),
            seen: self.inner.notifications.load(Ordering::SeqCst),
        }
    }
}

#[derive(Debug)]
pub struct Subscription {
    inner: Arc<Inner>,
    seen: u64,
}

impl Subscription {
    /// Notifications so far count as seen: to be called before looking at what they tell of.
    pub fn mark_seen(&mut self) {
        self.seen = self.inner.notifications.load(Ordering::SeqCst);
    }

    /// Completes when something was notified that is not seen yet. Dropped before, it has seen nothing.
    pub async fn notified(&mut self) {
        loop {
            // Registered at its creation: a notification between the look and the wait is not lost.
            let notified = self.inner.notify.notified();
            let notifications = self.inner.notifications.load(Ordering::SeqCst);
            if notifications != self.seen {
                self.seen = notifications;
                return;
            }
            notified.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    async fn silent(subscription: &mut Subscription) -> bool {
        tokio::time::timeout(Duration::from_millis(20), subscription.notified())
            .await
            .is_err()
    }

    #[tokio::test]
    async fn every_ring_since_the_last_look_is_seen_once() {
        let notifier = Notifier::new();
        notifier.notify();
        let (mut one, mut two) = (notifier.subscribe(), notifier.subscribe());
        assert!(silent(&mut one).await, "from before it listened");
        notifier.clone().notify();
        notifier.notify();
        one.notified().await;
        assert!(silent(&mut one).await);
        two.mark_seen();
        assert!(silent(&mut two).await);
        let waiting = tokio::spawn(async move { two.notified().await });
        tokio::task::yield_now().await;
        notifier.notify();
        waiting.await.unwrap();
    }
}
