//! Waking whoever looks at rows that have changed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;

/// Says that there may be something new. Those who listen are woken in the order in which they began to wait (those of
/// a `tokio::sync::watch` in a random one, which no simulation could repeat). Clones are the same bell.
#[derive(Debug, Clone, Default)]
pub struct Bell {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    rings: AtomicU64,
    notify: Notify,
}

impl Bell {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn ring(&self) {
        self.inner.rings.fetch_add(1, Ordering::SeqCst);
        self.inner.notify.notify_waiters();
    }

    /// Hears every ring from now on.
    pub fn listen(&self) -> Listener {
        Listener {
            inner: self.inner.clone(),
            heard: self.inner.rings.load(Ordering::SeqCst),
        }
    }
}

#[derive(Debug)]
pub struct Listener {
    inner: Arc<Inner>,
    heard: u64,
}

impl Listener {
    /// Rings so far count as heard: to be called before looking at what they tell of.
    pub fn look(&mut self) {
        self.heard = self.inner.rings.load(Ordering::SeqCst);
    }

    /// Completes when the bell rang since it was last heard or looked at. Dropped before, it has heard nothing.
    pub async fn rung(&mut self) {
        loop {
            // Registered at its creation: a ring between the look and the wait is not lost.
            let notified = self.inner.notify.notified();
            let rings = self.inner.rings.load(Ordering::SeqCst);
            if rings != self.heard {
                self.heard = rings;
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

    async fn silent(listener: &mut Listener) -> bool {
        tokio::time::timeout(Duration::from_millis(20), listener.rung())
            .await
            .is_err()
    }

    #[tokio::test]
    async fn every_ring_since_the_last_look_is_heard_once() {
        let bell = Bell::new();
        bell.ring();
        let (mut one, mut two) = (bell.listen(), bell.listen());
        assert!(silent(&mut one).await, "from before it listened");
        bell.clone().ring();
        bell.ring();
        one.rung().await;
        assert!(silent(&mut one).await);
        two.look();
        assert!(silent(&mut two).await);
        let waiting = tokio::spawn(async move { two.rung().await });
        tokio::task::yield_now().await;
        bell.ring();
        waiting.await.unwrap();
    }
}
