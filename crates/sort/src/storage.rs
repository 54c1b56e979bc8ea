//! `ObjectStorage`: a handle on a prefix of an object store, with retries, timeouts, cancellation and counting.

use std::fmt;
use std::future::Future;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ilmenite_base::RetryPolicy;
use object_store::multipart::PartId;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use crate::backend::{
    Backend, BackendError, BackendResult, CloudBackend, MAX_DELETES, ObjectEntry, PartPosition,
};
use crate::error::{Error, Result, StorageErrorKind};
use crate::local::LocalBackend;
use crate::metrics::{Op, RequestCounters, RequestStats};
use crate::retry::{ObserverRef, PATIENT, REQUEST_TIMEOUT, RetryEvent, RetryObserver};
use crate::uri::{Scheme, Secrets, StorageUri};

/// How long a request that makes an object visible may still finish after a cancel. Dropped at once it might succeed
/// unseen, after the clean-up.
const PUBLISH_GRACE: Duration = Duration::from_secs(2);

/// Listing and deleting again before giving up on a prefix in which objects stay or keep appearing.
const DELETE_ROUNDS: u32 = 4;

/// A handle on a prefix of an object store. Clones share the counters; [`ObjectStorage::handle`] starts new ones.
/// All paths are relative to the prefix.
#[derive(Clone)]
pub struct ObjectStorage {
    backend: Arc<dyn Backend>,
    location: Arc<Location>,
    counters: Arc<RequestCounters>,
    retry: RetryPolicy,
    /// A single request that takes longer is given up, and counts as a transient failure.
    request_timeout: Duration,
    observer: Option<ObserverRef>,
}

struct Location {
    /// Joined before every path, without slashes at its ends.
    prefix: String,
    redacted_uri: String,
    secrets: Secrets,
    /// A directory of this node only, chosen by ourselves.
    scratch: bool,
}

impl fmt::Debug for ObjectStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ObjectStorage({})", self.location.redacted_uri)
    }
}

impl fmt::Display for ObjectStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.location.redacted_uri)
    }
}

impl ObjectStorage {
    /// Opens a storage URI (see [`crate::uri`]). For the cloud stores no request is made yet: [`Self::probe`] does.
    pub fn from_uri(uri: &str) -> Result<ObjectStorage> {
        let uri = StorageUri::parse(uri)?;
        let (backend, prefix): (Arc<dyn Backend>, String) = match uri.scheme {
            Scheme::File => {
                let backend = LocalBackend::open(Path::new(&uri.prefix), true)
                    .map_err(|error| Error::InvalidUri(format!("{error}: '{uri}'")))?;
                (Arc::new(backend), String::new())
            }
            _ => (
                Arc::new(CloudBackend::open(&uri, REQUEST_TIMEOUT)?),
                uri.prefix.clone(),
            ),
        };
        Ok(Self::new(
            backend,
            Location {
                prefix,
                redacted_uri: uri.redacted().to_string(),
                secrets: uri.secrets().clone(),
                scratch: false,
            },
        ))
    }

    /// A scratch directory of this node, for builds without a storage URI. Made when missing. What is in it is not
    /// synced: after a crash of the machine nobody may rely on it.
    pub fn local(directory: &Path) -> Result<ObjectStorage> {
        let backend =
            LocalBackend::open(directory, false).map_err(|error| Error::InvalidUri(error.to_string()))?;
        let location = Location {
            prefix: String::new(),
            redacted_uri: format!("file://{}", directory.display()),
            secrets: Secrets::default(),
            scratch: true,
        };
        Ok(Self::new(Arc::new(backend), location))
    }

    /// A handle on another implementation, under the given name.
    pub fn with_backend(backend: Arc<dyn Backend>, name: &str) -> ObjectStorage {
        let location = Location {
            prefix: String::new(),
            redacted_uri: name.to_string(),
            secrets: Secrets::default(),
            scratch: false,
        };
        Self::new(backend, location)
    }

    fn new(backend: Arc<dyn Backend>, location: Location) -> ObjectStorage {
        ObjectStorage {
            backend,
            location: Arc::new(location),
            counters: Arc::default(),
            retry: PATIENT,
            request_timeout: REQUEST_TIMEOUT,
            observer: None,
        }
    }

    /// The same store with counters of its own.
    pub fn handle(&self) -> ObjectStorage {
        ObjectStorage {
            counters: Arc::default(),
            ..self.clone()
        }
    }

    /// The same store and counters, with retries told to `observer`.
    pub fn with_observer(&self, observer: Arc<dyn RetryObserver>) -> ObjectStorage {
        ObjectStorage {
            observer: Some(observer),
            ..self.clone()
        }
    }

    /// The same store and counters, with other bounds on requests.
    pub(crate) fn with_retry(&self, retry: RetryPolicy, request_timeout: Duration) -> ObjectStorage {
        ObjectStorage {
            retry,
            request_timeout,
            ..self.clone()
        }
    }

    /// The same store seen through `wrap`, with counters of its own: for tests that inject faults.
    pub fn wrapped(&self, wrap: impl FnOnce(Arc<dyn Backend>) -> Arc<dyn Backend>) -> ObjectStorage {
        ObjectStorage {
            backend: wrap(self.backend.clone()),
            counters: Arc::default(),
            ..self.clone()
        }
    }

    /// The URI without its secrets.
    pub fn redacted_uri(&self) -> &str {
        &self.location.redacted_uri
    }

    /// Whether this is a node's own scratch directory, which other nodes cannot read.
    pub fn is_scratch(&self) -> bool {
        self.location.scratch
    }

    pub fn stats(&self) -> RequestStats {
        self.counters.snapshot()
    }

    pub(crate) fn min_part_bytes(&self) -> usize {
        self.backend.min_part_bytes()
    }

    /// The handle's secrets replaced in a text of any origin.
    pub fn scrub(&self, text: &str) -> String {
        self.location.secrets.scrub(text)
    }

    fn full(&self, path: &str) -> String {
        match (self.location.prefix.as_str(), path) {
            ("", path) => path.to_string(),
            (prefix, "") => prefix.to_string(),
            (prefix, path) => format!("{prefix}/{path}"),
        }
    }

    pub async fn put(&self, path: &str, data: Bytes, cancel: &CancellationToken) -> Result<()> {
        let full = self.full(path);
        let bytes = data.len() as u64;
        self.run(Op::Put, path, cancel, |_| self.backend.put(&full, data.clone()))
            .await?;
        self.counters.sent(bytes);
        Ok(())
    }

    /// Exactly the bytes of `range`: fewer are a transient error, retried, then reported.
    pub async fn get_range(
        &self,
        path: &str,
        range: Range<u64>,
        cancel: &CancellationToken,
    ) -> Result<Bytes> {
        let full = self.full(path);
        let wanted = range.end.saturating_sub(range.start);
        if wanted == 0 {
            return Ok(Bytes::new());
        }
        self.run(Op::Get, path, cancel, |_| async {
            let data = self.backend.get_range(&full, range.clone()).await?;
            self.counters.received(data.len() as u64);
            if data.len() as u64 != wanted {
                return Err(BackendError::new(
                    StorageErrorKind::Transient,
                    format!(
                        "{} bytes came of the {wanted} of range {}..{}",
                        data.len(),
                        range.start,
                        range.end
                    ),
                ));
            }
            Ok(data)
        })
        .await
    }

    /// The last `bytes` bytes of an object, or the whole of a shorter one, and its length.
    pub async fn get_tail(&self, path: &str, bytes: u64, cancel: &CancellationToken) -> Result<(Bytes, u64)> {
        let full = self.full(path);
        self.run(Op::Get, path, cancel, |_| async {
            let (data, total) = self.backend.get_tail(&full, bytes).await?;
            self.counters.received(data.len() as u64);
            if data.len() as u64 != bytes.min(total) {
                return Err(BackendError::new(
                    StorageErrorKind::Transient,
                    format!(
                        "{} bytes came of the last {} of {total}",
                        data.len(),
                        bytes.min(total)
                    ),
                ));
            }
            Ok((data, total))
        })
        .await
    }

    /// All objects under `prefix` (whole path segments), unfinished local uploads included.
    pub async fn list(&self, prefix: &str, cancel: &CancellationToken) -> Result<Vec<ObjectEntry>> {
        let full = self.full(prefix);
        let mut entries = self
            .run(Op::List, prefix, cancel, |_| self.backend.list(&full))
            .await?;
        if !self.location.prefix.is_empty() {
            for entry in &mut entries {
                if let Some(rest) = entry.path.strip_prefix(&self.location.prefix) {
                    entry.path = rest.trim_start_matches('/').to_string();
                }
            }
        }
        Ok(entries)
    }

    /// The names directly under `prefix` that have objects below them: for finding what no task owns.
    pub async fn list_directories(&self, prefix: &str, cancel: &CancellationToken) -> Result<Vec<String>> {
        let full = self.full(prefix);
        self.run(Op::List, prefix, cancel, |_| self.backend.list_directories(&full))
            .await
    }

    /// Deletes objects; those that are not there are no error.
    pub async fn delete(&self, paths: &[String], cancel: &CancellationToken) -> Result<()> {
        for chunk in paths.chunks(MAX_DELETES) {
            let full: Vec<String> = chunk.iter().map(|path| self.full(path)).collect();
            let label = chunk.first().map_or("", String::as_str);
            self.run(Op::Delete, label, cancel, |_| self.backend.delete(&full))
                .await?;
        }
        Ok(())
    }

    /// Deletes everything under `prefix` and makes sure by listing again that nothing is left.
    /// Returns how many objects were deleted. An empty prefix is refused.
    pub async fn delete_prefix(&self, prefix: &str, cancel: &CancellationToken) -> Result<u64> {
        if prefix.trim_matches('/').is_empty() {
            return Err(Error::Bug(
                "deleting everything in an object store was asked for".into(),
            ));
        }
        let mut deleted = 0;
        let mut left = 0;
        for _ in 0..DELETE_ROUNDS {
            let entries = self.list(prefix, cancel).await?;
            left = entries.len();
            if left == 0 {
                return Ok(deleted);
            }
            let paths: Vec<String> = entries.into_iter().map(|entry| entry.path).collect();
            self.delete(&paths, cancel).await?;
            deleted += paths.len() as u64;
        }
        if self.list(prefix, cancel).await?.is_empty() {
            return Ok(deleted);
        }
        Err(Error::Storage {
            op: Op::Delete,
            kind: StorageErrorKind::Transient,
            path: prefix.to_string(),
            detail: format!("{left} objects are still listed after they were deleted"),
            attempts: DELETE_ROUNDS,
        })
    }

    pub async fn create_multipart(&self, path: &str, cancel: &CancellationToken) -> Result<Multipart> {
        let full = self.full(path);
        let id = self
            .run(Op::CreateMultipart, path, cancel, |_| {
                self.backend.create_multipart(&full)
            })
            .await?;
        Ok(Multipart {
            inner: Arc::new(MultipartInner {
                storage: self.clone(),
                path: path.to_string(),
                id,
                runtime: Handle::current(),
            }),
            open: true,
        })
    }

    /// One request with its retries. `request` is told the number of the try, from 1.
    async fn run<'a, T, F, Fut>(
        &'a self,
        op: Op,
        path: &str,
        cancel: &CancellationToken,
        request: F,
    ) -> Result<T>
    where
        F: Fn(u32) -> Fut,
        Fut: Future<Output = BackendResult<T>> + 'a,
    {
        let mut attempts = self.retry.begin();
        loop {
            let attempt = attempts.number();
            if cancel.is_cancelled() {
                return Err(Error::Cancelled);
            }
            self.counters.request(op);
            let outcome = self.attempt(op, cancel, request(attempt)).await?;
            let error = match outcome {
                Ok(value) => {
                    if attempt > 1
                        && let Some(observer) = &self.observer
                    {
                        observer.on_recovered(op, path);
                    }
                    return Ok(value);
                }
                Err(error) => error,
            };
            let detail = self.location.secrets.scrub(&error.detail);
            let passes = error.kind == StorageErrorKind::Transient;
            let Some(delay) = attempts.failed().filter(|_| passes) else {
                return Err(Error::Storage {
                    op,
                    kind: error.kind,
                    path: path.to_string(),
                    detail,
                    attempts: attempt,
                });
            };
            self.counters.retry();
            tracing::warn!(%op, path, attempt, error = %detail, delay_ms = delay.as_millis() as u64, "object storage: will retry");
            if let Some(observer) = &self.observer {
                observer.on_retry(&RetryEvent {
                    op,
                    path: path.to_string(),
                    attempt,
                    max_attempts: self.retry.max_attempts,
                    kind: error.kind,
                    error: detail,
                    next_try_in: delay,
                });
            }
            tokio::select! {
                biased;
                () = cancel.cancelled() => return Err(Error::Cancelled),
                () = tokio::time::sleep(delay) => {}
            }
        }
    }

    /// One try: bounded in time, given up on cancel. The outer error is `Cancelled`.
    async fn attempt<T>(
        &self,
        op: Op,
        cancel: &CancellationToken,
        request: impl Future<Output = BackendResult<T>>,
    ) -> Result<BackendResult<T>> {
        let timeout = self.request_timeout;
        let timed = tokio::time::timeout(timeout, with_failpoints(op, request));
        tokio::pin!(timed);
        let finished = tokio::select! {
            biased;
            finished = &mut timed => finished,
            () = cancel.cancelled() => {
                if matches!(op, Op::Put | Op::CompleteMultipart | Op::CreateMultipart) {
                    drop(tokio::time::timeout(PUBLISH_GRACE, timed).await);
                }
                return Err(Error::Cancelled);
            }
        };
        Ok(finished.unwrap_or_else(|_| {
            Err(BackendError::new(
                StorageErrorKind::Transient,
                format!("no answer within {} s", timeout.as_secs_f64()),
            ))
        }))
    }
}

/// Injected errors: `return(transient)`, `return(permission)`, `return(space)`…
async fn with_failpoints<T>(op: Op, request: impl Future<Output = BackendResult<T>>) -> BackendResult<T> {
    let (_before, _after) = (op.failpoint_before(), op.failpoint_after());
    fail::fail_point!(_before, |kind| Err(injected(kind)));
    let value = request.await?;
    fail::fail_point!(_after, |kind| Err(injected(kind)));
    Ok(value)
}

// Whether it is used is decided by `fail`'s own feature, which another crate of the build may have turned on.
#[allow(dead_code)]
fn injected(kind: Option<String>) -> BackendError {
    let kind = match kind.as_deref() {
        Some("not_found") => StorageErrorKind::NotFound,
        Some("permission") => StorageErrorKind::Permission,
        Some("invalid") => StorageErrorKind::Invalid,
        Some("space") => StorageErrorKind::OutOfSpace,
        Some("other") => StorageErrorKind::Other,
        _ => StorageErrorKind::Transient,
    };
    BackendError::new(kind, format!("injected error ({kind:?})"))
}

/// A multipart upload. The object appears at `complete`; dropped before that, it is aborted in the background.
/// One that a killed process leaves on a cloud store shows in no list of objects: a bucket's lifecycle rule that aborts
/// incomplete uploads after a day frees it. In a directory, [`ObjectStorage::delete_prefix`] finds it.
pub struct Multipart {
    inner: Arc<MultipartInner>,
    open: bool,
}

struct MultipartInner {
    storage: ObjectStorage,
    path: String,
    id: String,
    /// For aborting when dropped on a thread without a runtime of its own.
    runtime: Handle,
}

impl Multipart {
    /// Sends one part; several may be under way at once.
    pub fn put_part(
        &self,
        at: PartPosition,
        data: Bytes,
        cancel: &CancellationToken,
    ) -> impl Future<Output = Result<PartId>> + Send + 'static {
        let inner = self.inner.clone();
        let cancel = cancel.clone();
        async move {
            let storage = &inner.storage;
            let full = storage.full(&inner.path);
            let bytes = data.len() as u64;
            let id = storage
                .run(Op::PutPart, &inner.path, &cancel, |_| {
                    storage.backend.put_part(&full, &inner.id, at, data.clone())
                })
                .await?;
            storage.counters.sent(bytes);
            Ok(id)
        }
    }

    /// Makes the object of `bytes` bytes visible, from all of its parts in order.
    pub async fn complete(
        mut self,
        parts: Vec<PartId>,
        bytes: u64,
        cancel: &CancellationToken,
    ) -> Result<()> {
        let storage = &self.inner.storage;
        let full = storage.full(&self.inner.path);
        let id = &self.inner.id;
        let (full, parts) = (&full, &parts);
        storage
            .run(
                Op::CompleteMultipart,
                &self.inner.path,
                cancel,
                |attempt| async move {
                    let done = storage.backend.complete_multipart(full, id, parts.clone()).await;
                    match done {
                        // The first try may have succeeded and only its answer been lost: then the upload is gone and
                        // the object is there.
                        Err(error) if attempt > 1 && error.kind != StorageErrorKind::Permission => {
                            match storage.backend.get_tail(full, 1).await {
                                Ok((_, total)) if total == bytes => Ok(()),
                                _ => Err(error),
                            }
                        }
                        other => other,
                    }
                },
            )
            .await?;
        self.open = false;
        Ok(())
    }

    /// Frees what was uploaded.
    pub async fn abort(mut self, cancel: &CancellationToken) -> Result<()> {
        self.open = false;
        self.inner.abort(cancel).await
    }
}

impl MultipartInner {
    async fn abort(&self, cancel: &CancellationToken) -> Result<()> {
        let full = self.storage.full(&self.path);
        let request = |_| async {
            match self.storage.backend.abort_multipart(&full, &self.id).await {
                Err(error) if error.kind == StorageErrorKind::NotFound => Ok(()),
                other => other,
            }
        };
        self.storage
            .run(Op::AbortMultipart, &self.path, cancel, request)
            .await
    }
}

impl Drop for Multipart {
    fn drop(&mut self) {
        if !self.open {
            return;
        }
        let inner = self.inner.clone();
        self.inner.runtime.spawn(async move {
            // Not cancellable by the work that was dropped, but bounded by the retry policy.
            if let Err(error) = inner.abort(&CancellationToken::new()).await {
                tracing::warn!(path = inner.path, %error, "an unfinished upload could not be aborted");
            }
        });
    }
}
