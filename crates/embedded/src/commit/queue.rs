//! Requests on their way to the committer.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::{Condvar, Mutex};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::write::WriteRequest;
use crate::error::closed;
use crate::transactions::Transactions;
use ilmenite_store::{Error, Result, Timestamp};

/// Bounds of one batch.
const MAX_BATCH_REQUESTS: usize = 512;
const MAX_BATCH_BYTES: usize = 16 << 20;
/// Bytes of requests waiting for the committer; those beyond wait before they are queued.
const MAX_QUEUED_KIB: u32 = 128 << 10;

/// Room in the queue, for the bytes of one request.
pub(crate) struct Room {
    bytes: usize,
    _permit: OwnedSemaphorePermit,
}

pub(crate) struct QueuedRequest {
    pub request: WriteRequest,
    /// To tell its sender.
    done: oneshot::Sender<Result<Timestamp>>,
    room: Room,
}

impl QueuedRequest {
    /// It was not written, or nobody knows; what it holds is given back.
    pub(crate) fn reject(self, error: Error) {
        let QueuedRequest { request, done, .. } = self;
        drop(request);
        // The sender may have gone.
        let _ = done.send(Err(error));
    }

    /// It is applied.
    pub(crate) fn finish(self, transactions: &Transactions, commit_ts: Timestamp) {
        let QueuedRequest { request, done, .. } = self;
        (request.applied)(transactions);
        // The sender may have gone; the commit stands.
        let _ = done.send(Ok(commit_ts));
    }
}

#[derive(Default)]
struct State {
    requests: VecDeque<QueuedRequest>,
    closed: bool,
}

pub(crate) struct Queue {
    state: Mutex<State>,
    wake: Condvar,
    room: Arc<Semaphore>,
}

impl Queue {
    pub(crate) fn new() -> Self {
        Queue {
            state: Mutex::default(),
            wake: Condvar::new(),
            room: Arc::new(Semaphore::new(MAX_QUEUED_KIB as usize)),
        }
    }

    /// Waits for room for a request of so many bytes.
    pub(crate) async fn room(&self, bytes: usize) -> Result<Room> {
        let kib = (bytes / 1024 + 1).min(MAX_QUEUED_KIB as usize) as u32;
        let permit = self.room.clone().acquire_many_owned(kib).await;
        Ok(Room {
            bytes,
            _permit: permit.map_err(|_| closed())?,
        })
    }

    /// Where the commit timestamp will arrive. Not waited for, the request is written all the same.
    pub(crate) fn push(
        &self,
        request: WriteRequest,
        room: Room,
    ) -> Result<oneshot::Receiver<Result<Timestamp>>> {
        let (done, outcome) = oneshot::channel();
        let mut state = self.state.lock();
        if state.closed {
            return Err(closed());
        }
        state.requests.push_back(QueuedRequest { request, done, room });
        self.wake.notify_one();
        Ok(outcome)
    }

    /// What is queued is still written.
    pub(crate) fn close(&self) {
        self.state.lock().closed = true;
        self.wake.notify_all();
    }

    /// The next batch's requests, in order; none when closed and done.
    pub(crate) fn take(&self) -> Vec<QueuedRequest> {
        let mut state = self.state.lock();
        while state.requests.is_empty() && !state.closed {
            self.wake.wait(&mut state);
        }
        let mut requests = Vec::new();
        let mut bytes = 0;
        while requests.len() < MAX_BATCH_REQUESTS
            && bytes < MAX_BATCH_BYTES
            && let Some(queued) = state.requests.pop_front()
        {
            bytes += queued.room.bytes;
            requests.push(queued);
        }
        requests
    }

    /// To be taken next.
    pub(crate) fn put_back(&self, requests: Vec<QueuedRequest>) {
        let mut state = self.state.lock();
        for queued in requests.into_iter().rev() {
            state.requests.push_front(queued);
        }
    }
}
