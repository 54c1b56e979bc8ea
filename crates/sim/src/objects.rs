//! The state of the simulated object store: a bucket all nodes share.

use std::collections::BTreeMap;

use bytes::Bytes;
use ilmenite_sort::{BackendError, BackendResult, StorageErrorKind};

/// What the names of objects in a node's own directory begin with: nothing befalls those but a full disk.
pub const SCRATCH: &str = "scratch:";

/// What is wrong with the whole of it, for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Trouble {
    #[default]
    None,
    /// 503 on everything.
    Down,
    /// Writes are refused.
    ReadOnly,
    /// Deletes are refused.
    NoDelete,
    /// The bucket is gone; it comes back as it was.
    BucketGone,
    /// No room for anything new.
    Full,
    /// What is new is not listed.
    ListingLag,
}

#[derive(Debug, Default)]
pub struct Objects {
    pub objects: BTreeMap<String, Object>,
    pub uploads: BTreeMap<String, Upload>,
    pub next_upload: u64,
    pub trouble: Trouble,
    /// Requests so far.
    pub requests: u64,
}

#[derive(Debug)]
pub struct Object {
    pub data: Bytes,
    /// Put while listings lagged: not listed until they catch up.
    pub hidden: bool,
}

#[derive(Debug)]
pub struct Upload {
    pub path: String,
    pub parts: BTreeMap<usize, Bytes>,
}

impl Objects {
    pub fn set_trouble(&mut self, trouble: Trouble) {
        self.trouble = trouble;
        if trouble != Trouble::ListingLag {
            for object in self.objects.values_mut() {
                object.hidden = false;
            }
        }
    }

    pub fn put(&mut self, path: &str, data: Bytes) {
        let hidden = self.trouble == Trouble::ListingLag && !path.starts_with(SCRATCH);
        self.objects.insert(path.to_owned(), Object { data, hidden });
    }

    pub fn get(&self, path: &str) -> BackendResult<&Bytes> {
        let missing = || BackendError::new(StorageErrorKind::NotFound, format!("404 NoSuchKey: {path}"));
        Ok(&self.objects.get(path).ok_or_else(missing)?.data)
    }
}
