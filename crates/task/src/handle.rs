//! How a running subtask talks to the framework.

use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use serde_json::Value;

use crate::{Progress, RetryStatus, TaskError};

/// Where a subtask's reports go. Progress and retries are written with the next heartbeat; a checkpoint at once.
#[async_trait]
pub(crate) trait ReportSink: Send + Sync {
    async fn checkpoint(&self, checkpoint: Value) -> Result<(), TaskError>;
}

#[derive(Default)]
pub(crate) struct Reported {
    pub progress: Progress,
    pub retry: Option<RetryStatus>,
}

#[derive(Clone)]
pub struct SubtaskHandle {
    pub(crate) reported: Arc<Mutex<Reported>>,
    pub(crate) sink: Arc<dyn ReportSink>,
}

impl SubtaskHandle {
    /// Totals so far of this subtask, checkpointed part included.
    pub fn progress(&self, progress: Progress) {
        self.reported.lock().progress = progress;
    }

    /// What is being retried inside the subtask just now (an object request, an ingest); `None` once it went through.
    pub fn retrying(&self, retry: Option<RetryStatus>) {
        self.reported.lock().retry = retry;
    }

    /// Durably records how far the subtask got. Inputs may be deleted only after it returned Ok.
    /// An error means the claim is lost or the store refuses: stop.
    pub async fn checkpoint(&self, checkpoint: Value) -> Result<(), TaskError> {
        self.sink.checkpoint(checkpoint).await
    }
}
