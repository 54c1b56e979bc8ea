//! Files of TiKV's import service: written, and not yet ingested.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use ahash::RandomState;
use bytes::Bytes;
use ilmenite_store::Ingest;
use parking_lot::Mutex;
use tonic::Status;

/// Each has a thread and a buffer in the engine.
const MAX_FILES: usize = 256;
/// One that nobody ingests is given up.
const FILE_LIFE: Duration = Duration::from_secs(15 * 60);

/// Files that wait for being ingested, by uuid.
#[derive(Default)]
pub(crate) struct Files(Mutex<HashMap<Bytes, File, RandomState>>);

impl Files {
    pub(crate) fn put(&self, uuid: &[u8], file: File) -> Result<(), Status> {
        let mut files = self.0.lock();
        if files.len() >= MAX_FILES {
            return Err(Status::resource_exhausted("too many files that are not ingested"));
        }
        files.insert(Bytes::copy_from_slice(uuid), file);
        Ok(())
    }

    pub(crate) fn take(&self, uuid: &[u8]) -> Option<File> {
        self.0.lock().remove(uuid)
    }

    /// Gives up those that nobody has ingested for long: they hold back garbage collection.
    pub(crate) fn expire(&self) {
        self.0.lock().retain(|_, file| file.written.elapsed() < FILE_LIFE);
    }
}

/// What a `Write` wrote: an ingest for each partition it touched.
pub(crate) struct File {
    pub ingests: Vec<Box<dyn Ingest>>,
    written: Instant,
}

impl File {
    pub(crate) fn new(ingests: Vec<Box<dyn Ingest>>) -> Self {
        File {
            ingests,
            written: Instant::now(),
        }
    }
}
