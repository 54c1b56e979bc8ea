//! What all parts of an open store share.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use crate::commit::queue::Queue;
use crate::error;
use crate::gc::Gc;
use crate::keyspaces::Keyspaces;
use crate::options::EmbeddedOptions;
use crate::oracle::Oracle;
use crate::shutdown::Shutdown;
use crate::transactions::Transactions;
use crate::watermark::Batches;
use ilmenite_store::{Result, Timestamp};

pub(crate) struct Core {
    pub options: EmbeddedOptions,
    pub path: Arc<Path>,
    pub keyspaces: Arc<Keyspaces>,
    pub oracle: Oracle,
    pub transactions: Transactions,
    pub gc: Gc,
    pub queue: Queue,
    pub batches: Batches,
    pub shutdown: Shutdown,
    /// Last, so that the directory is free only when the engine has let go of it.
    pub _lock: File,
}

impl Core {
    pub(crate) fn check_open(&self) -> Result<()> {
        match self.shutdown.has_begun() {
            true => Err(error::closed()),
            false => Ok(()),
        }
    }

    /// Begins a transaction.
    pub(crate) async fn begin(&self) -> Result<Timestamp> {
        self.check_open()?;
        let start_ts = self.oracle.begin().await?;
        self.transactions.begin(start_ts);
        Ok(start_ts)
    }

    pub(crate) fn check_space(&self) -> Result<()> {
        error::check_space(&self.path, self.options.reserve_disk_bytes)
    }

    /// For rows of no partition, which are few and small: leases, jobs, schemas. They may use three quarters of the
    /// reserve, or a full disk would take the node its lease, and nobody could be told why a build stands still.
    pub(crate) fn check_space_for_system(&self) -> Result<()> {
        error::check_space(&self.path, self.options.reserve_disk_bytes / 4)
    }
}
