//! The store's own threads, and how they and all long work are told to end.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use ilmenite_store::{Error, Result};

#[derive(Default)]
pub(crate) struct Shutdown {
    begun: AtomicBool,
    /// Held while `begun` is set, and from looking at it to going to sleep.
    sleep: Mutex<()>,
    wake: Condvar,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Shutdown {
    /// Long work ends early then.
    pub(crate) fn has_begun(&self) -> bool {
        self.begun.load(Ordering::Relaxed)
    }

    pub(crate) fn begin(&self) {
        let sleep = self.sleep.lock();
        self.begun.store(true, Ordering::SeqCst);
        drop(sleep);
        self.wake.notify_all();
    }

    /// Sleeps for `pause`, or until it begins: whether it has.
    pub(crate) fn sleep(&self, pause: Duration) -> bool {
        let mut sleep = self.sleep.lock();
        if !self.has_begun() {
            self.wake.wait_for(&mut sleep, pause);
        }
        self.has_begun()
    }

    /// Starts a thread that ends once the shutdown begins.
    pub(crate) fn spawn(&self, name: &str, main: impl FnOnce() + Send + 'static) -> Result<()> {
        let thread = std::thread::Builder::new()
            .name(name.into())
            .spawn(main)
            .map_err(|e| Error::Unavailable(format!("no thread for {name}: {e}")))?;
        self.threads.lock().push(thread);
        Ok(())
    }

    /// Waits for the threads. `false`: that was done before.
    pub(crate) fn join(&self) -> bool {
        let threads = std::mem::take(&mut *self.threads.lock());
        let any = !threads.is_empty();
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("a thread of the store panicked");
            }
        }
        any
    }
}
