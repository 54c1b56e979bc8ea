//! An object store that fails on demand, for the tests of this crate and of those above (feature `testing`).

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use object_store::multipart::PartId;
use parking_lot::Mutex;

use crate::backend::{Backend, BackendError, BackendResult, ObjectEntry, PartPosition};
use crate::error::StorageErrorKind;
use crate::metrics::Op;
use crate::storage::ObjectStorage;

/// What happens to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It fails with the kind of error, unsent.
    Fail(StorageErrorKind),
    /// It is carried out, but its answer is lost: a transient error.
    LoseAnswer,
    /// It is carried out after a pause.
    Delay(Duration),
    /// A get returns only the first half.
    Truncate,
    /// A get returns one flipped bit.
    FlipBit,
}

/// A fault and the requests it befalls.
#[derive(Debug, Clone, Copy)]
pub struct Rule {
    /// `None`: any.
    pub op: Option<Op>,
    /// Matching requests that pass first.
    pub skip: u64,
    /// Matching requests that are then befallen; `u64::MAX`: for ever.
    pub times: u64,
    pub fault: Fault,
}

impl Rule {
    /// The fault on the `n`-th matching request from now, from 1.
    pub fn nth(op: Op, n: u64, fault: Fault) -> Rule {
        Rule {
            op: Some(op),
            skip: n.saturating_sub(1),
            times: 1,
            fault,
        }
    }

    /// The fault on the next `times` matching requests.
    pub fn next(op: Op, times: u64, fault: Fault) -> Rule {
        Rule {
            op: Some(op),
            skip: 0,
            times,
            fault,
        }
    }

    /// The fault on all matching requests from now on.
    pub fn always(op: Op, fault: Fault) -> Rule {
        Rule {
            op: Some(op),
            skip: 0,
            times: u64::MAX,
            fault,
        }
    }

    /// 503 on the next `times` requests of any kind.
    pub fn outage(times: u64) -> Rule {
        Rule {
            op: None,
            skip: 0,
            times,
            fault: Fault::Fail(StorageErrorKind::Transient),
        }
    }

    /// As of a key without the right to delete.
    pub fn deny_deletes() -> Rule {
        Rule::always(Op::Delete, Fault::Fail(StorageErrorKind::Permission))
    }

    /// As of a disk that has room for `writes` more writes.
    pub fn disk_full_after(op: Op, writes: u64) -> Rule {
        let fault = Fault::Fail(StorageErrorKind::OutOfSpace);
        Rule {
            op: Some(op),
            skip: writes,
            times: u64::MAX,
            fault,
        }
    }
}

/// The rules in force, shared by all that use the store; and a log of what was asked.
#[derive(Clone, Default)]
pub struct Faults {
    rules: Arc<Mutex<Vec<Rule>>>,
    requests: Arc<Mutex<Vec<(Op, String)>>>,
}

impl Faults {
    pub fn new() -> Faults {
        Faults::default()
    }

    pub fn add(&self, rule: Rule) {
        self.rules.lock().push(rule);
    }

    pub fn clear(&self) {
        self.rules.lock().clear();
    }

    /// All requests that reached the store's door so far.
    pub fn requests(&self) -> Vec<(Op, String)> {
        self.requests.lock().clone()
    }

    /// `storage` as seen through these faults.
    pub fn wrap(&self, storage: &ObjectStorage) -> ObjectStorage {
        storage.wrapped(|inner| {
            Arc::new(FaultStore {
                inner,
                faults: self.clone(),
            })
        })
    }

    /// The first rule that befalls this request; each matching rule counts it.
    fn draw(&self, op: Op, path: &str) -> Option<Fault> {
        self.requests.lock().push((op, path.to_string()));
        let mut drawn = None;
        for rule in self.rules.lock().iter_mut() {
            if rule.op.is_some_and(|wanted| wanted != op) {
                continue;
            }
            if rule.skip > 0 {
                rule.skip -= 1;
            } else if rule.times > 0 && drawn.is_none() {
                rule.times = if rule.times == u64::MAX {
                    u64::MAX
                } else {
                    rule.times - 1
                };
                drawn = Some(rule.fault);
            }
        }
        drawn
    }
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.rules.lock().fmt(f)
    }
}

/// A backend behind faults.
#[derive(Debug)]
pub struct FaultStore {
    inner: Arc<dyn Backend>,
    faults: Faults,
}

fn error(kind: StorageErrorKind) -> BackendError {
    let text = match kind {
        StorageErrorKind::Transient => "503 SlowDown: please reduce your request rate",
        StorageErrorKind::Permission => "403 AccessDenied: access denied",
        StorageErrorKind::OutOfSpace => "no space left on device (os error 28)",
        StorageErrorKind::NotFound => "404 NoSuchKey: the specified key does not exist",
        StorageErrorKind::Invalid => "400 InvalidRequest",
        StorageErrorKind::Other => "something else",
    };
    BackendError::new(kind, format!("injected: {text}"))
}

impl FaultStore {
    async fn around<T>(
        &self,
        op: Op,
        path: &str,
        request: impl Future<Output = BackendResult<T>>,
        spoil: impl FnOnce(T, Fault) -> T,
    ) -> BackendResult<T> {
        match self.faults.draw(op, path) {
            None => request.await,
            Some(Fault::Fail(kind)) => Err(error(kind)),
            Some(Fault::LoseAnswer) => {
                request.await?;
                Err(BackendError::new(
                    StorageErrorKind::Transient,
                    "injected: connection reset by peer",
                ))
            }
            Some(Fault::Delay(pause)) => {
                tokio::time::sleep(pause).await;
                request.await
            }
            Some(fault) => Ok(spoil(request.await?, fault)),
        }
    }

    async fn plain<T>(
        &self,
        op: Op,
        path: &str,
        request: impl Future<Output = BackendResult<T>>,
    ) -> BackendResult<T> {
        self.around(op, path, request, |value, _| value).await
    }
}

fn spoil_bytes(data: Bytes, fault: Fault) -> Bytes {
    match fault {
        Fault::Truncate => data.slice(..data.len() / 2),
        Fault::FlipBit => {
            let mut data = data.to_vec();
            let middle = data.len() / 2;
            if let Some(byte) = data.get_mut(middle) {
                *byte ^= 0x10;
            }
            data.into()
        }
        _ => data,
    }
}

#[async_trait]
impl Backend for FaultStore {
    async fn put(&self, path: &str, data: Bytes) -> BackendResult<()> {
        self.plain(Op::Put, path, self.inner.put(path, data)).await
    }

    async fn get_range(&self, path: &str, range: Range<u64>) -> BackendResult<Bytes> {
        self.around(Op::Get, path, self.inner.get_range(path, range), spoil_bytes)
            .await
    }

    async fn get_tail(&self, path: &str, bytes: u64) -> BackendResult<(Bytes, u64)> {
        let request = self.inner.get_tail(path, bytes);
        self.around(Op::Get, path, request, |(data, total), fault| {
            (spoil_bytes(data, fault), total)
        })
        .await
    }

    async fn list(&self, prefix: &str) -> BackendResult<Vec<ObjectEntry>> {
        self.plain(Op::List, prefix, self.inner.list(prefix)).await
    }

    async fn list_directories(&self, prefix: &str) -> BackendResult<Vec<String>> {
        self.plain(Op::List, prefix, self.inner.list_directories(prefix))
            .await
    }

    async fn delete(&self, paths: &[String]) -> BackendResult<()> {
        let label = paths.first().map_or("", String::as_str);
        self.plain(Op::Delete, label, self.inner.delete(paths)).await
    }

    async fn create_multipart(&self, path: &str) -> BackendResult<String> {
        self.plain(Op::CreateMultipart, path, self.inner.create_multipart(path))
            .await
    }

    async fn put_part(&self, path: &str, id: &str, at: PartPosition, data: Bytes) -> BackendResult<PartId> {
        self.plain(Op::PutPart, path, self.inner.put_part(path, id, at, data))
            .await
    }

    async fn complete_multipart(&self, path: &str, id: &str, parts: Vec<PartId>) -> BackendResult<()> {
        self.plain(
            Op::CompleteMultipart,
            path,
            self.inner.complete_multipart(path, id, parts),
        )
        .await
    }

    async fn abort_multipart(&self, path: &str, id: &str) -> BackendResult<()> {
        self.plain(Op::AbortMultipart, path, self.inner.abort_multipart(path, id))
            .await
    }

    fn min_part_bytes(&self) -> usize {
        self.inner.min_part_bytes()
    }
}
