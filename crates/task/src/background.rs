//! Threads that work in the time that statements leave: a runtime of their own, for subtasks and for all they start.
//!
//! On the runtime of the connections a subtask's reads, its files and what it compresses would be in the way of statements,
//! however low the priority of its own thread; and threads that a runtime keeps would inherit that priority.

use std::future::Future;
use std::io;

use ilmenite_base::background;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

/// Added to the server's own, which then gets about ten times as much of a busy processor.
const NICENESS: i32 = 10;

pub(crate) struct Background {
    /// Always there, until it is dropped.
    runtime: Option<Runtime>,
}

impl Background {
    /// For `subtasks` at once, which keep the processor busy between their waits.
    pub(crate) fn new(subtasks: u32) -> io::Result<Self> {
        let priority = lower_priority();
        let runtime = Builder::new_multi_thread()
            .worker_threads(subtasks.max(1) as usize)
            .thread_name("subtask")
            .on_thread_start(move || {
                background::enter();
                yield_to_statements(priority);
            })
            .enable_all()
            .build()?;
        Ok(Background {
            runtime: Some(runtime),
        })
    }

    /// Runs `body` on a thread of its own: the workers are for what it starts.
    pub(crate) fn start<T: Send + 'static>(
        &self,
        body: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T> {
        let handle = match &self.runtime {
            Some(runtime) => runtime.handle().clone(),
            None => tokio::runtime::Handle::current(),
        };
        let of_body = handle.clone();
        handle.spawn_blocking(move || of_body.block_on(body))
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Not waiting for its threads: this may be one of another runtime.
            runtime.shutdown_background();
        }
    }
}

/// The niceness for the threads; `None`: the system does not know priorities of threads.
fn lower_priority() -> Option<i32> {
    if cfg!(target_os = "linux") {
        let ours = rustix::process::getpriority_process(None).ok()?;
        Some((ours + NICENESS).min(19))
    } else {
        None
    }
}

/// On Linux a priority is one of a thread. A thread started by one of these has it already.
fn yield_to_statements(priority: Option<i32>) {
    if let Some(priority) = priority
        && let Err(error) = rustix::process::setpriority_process(None, priority)
    {
        tracing::debug!(%error, "a subtask works at the priority of statements");
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    fn niceness() -> i32 {
        rustix::process::getpriority_process(None).unwrap()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn subtasks_and_what_they_start_yield_to_statements_and_nothing_else_does() {
        let usual = niceness();
        let background = Background::new(2).unwrap();
        for _ in 0..3 {
            let inside = background.start(async {
                let spawned = tokio::spawn(async { niceness() }).await.unwrap();
                let blocking = tokio::task::spawn_blocking(niceness).await.unwrap();
                // The store's ingest has a thread of its own.
                let thread = std::thread::spawn(niceness).join().unwrap();
                [niceness(), spawned, blocking, thread]
            });
            let lower = (usual + NICENESS).min(19);
            assert_eq!(inside.await.unwrap(), [lower; 4]);
            assert_eq!(tokio::task::spawn_blocking(niceness).await.unwrap(), usual);
        }
        let panicking = background.start(async { panic!("on purpose") });
        assert!(panicking.await.unwrap_err().is_panic());
    }
}
