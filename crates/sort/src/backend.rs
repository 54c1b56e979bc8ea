//! The few operations that global sort needs of an object store, one request each, without retries: `ObjectStorage`
//! puts retries, timeouts, counting and cancellation around them.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::client::{HttpError, HttpErrorKind};
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{BackoffConfig, ClientOptions, GetOptions, GetRange, ObjectStore, RetryConfig};

use crate::error::{Error, Result, StorageErrorKind};
use crate::uri::{Scheme, StorageUri};

/// A failed request: what kind of failure, and the store's own text.
#[derive(Debug, Clone)]
pub struct BackendError {
    pub kind: StorageErrorKind,
    pub detail: String,
}

impl BackendError {
    pub fn new(kind: StorageErrorKind, detail: impl Into<String>) -> Self {
        BackendError {
            kind,
            detail: detail.into(),
        }
    }
}

impl fmt::Display for BackendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

pub type BackendResult<T> = std::result::Result<T, BackendError>;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectEntry {
    pub path: String,
    pub bytes: u64,
}

/// Where a part of a multipart upload goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartPosition {
    /// From 0, without gaps.
    pub index: usize,
    /// Sum of the lengths of the parts before it.
    pub offset: u64,
}

/// Paths are relative to the bucket (or directory), with '/' between their segments.
#[async_trait]
pub trait Backend: Send + Sync + fmt::Debug + 'static {
    async fn put(&self, path: &str, data: Bytes) -> BackendResult<()>;

    /// May return less than was asked for: the caller checks.
    async fn get_range(&self, path: &str, range: Range<u64>) -> BackendResult<Bytes>;

    /// The last `bytes` bytes (or all, when there are fewer), and the length of the object.
    async fn get_tail(&self, path: &str, bytes: u64) -> BackendResult<(Bytes, u64)>;

    /// All objects under the path `prefix`, taken as whole segments. Nothing there: an empty list.
    async fn list(&self, prefix: &str) -> BackendResult<Vec<ObjectEntry>>;

    /// The next segments under `prefix` that have objects below them.
    async fn list_directories(&self, prefix: &str) -> BackendResult<Vec<String>>;

    /// An object that is not there counts as deleted. At most [`MAX_DELETES`] paths.
    async fn delete(&self, paths: &[String]) -> BackendResult<()>;

    async fn create_multipart(&self, path: &str) -> BackendResult<String>;

    /// Sending the same part again replaces it.
    async fn put_part(&self, path: &str, id: &str, at: PartPosition, data: Bytes) -> BackendResult<PartId>;

    /// Makes the object visible, whole. `parts` in the order of their indexes.
    async fn complete_multipart(&self, path: &str, id: &str, parts: Vec<PartId>) -> BackendResult<()>;

    async fn abort_multipart(&self, path: &str, id: &str) -> BackendResult<()>;

    /// The least length of a part other than the last.
    fn min_part_bytes(&self) -> usize;
}

/// Most paths in one [`Backend::delete`]: S3's limit for one request.
pub(crate) const MAX_DELETES: usize = 1000;

/// What `object_store`'s cloud clients have in common.
trait CloudStore: ObjectStore + MultipartStore {}
impl<T: ObjectStore + MultipartStore> CloudStore for T {}

/// S3, Google Cloud Storage or Azure, by `object_store`.
#[derive(Clone)]
pub(crate) struct CloudBackend {
    store: Arc<dyn CloudStore>,
}

impl fmt::Debug for CloudBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CloudBackend")
    }
}

impl CloudBackend {
    /// No request is made: wrong keys show at the first.
    pub(crate) fn open(uri: &StorageUri, request_timeout: Duration) -> Result<CloudBackend> {
        install_crypto();
        let fail = |error: object_store::Error| {
            Error::InvalidUri(
                uri.secrets()
                    .scrub(&format!("{}: '{}'", full_text(&error), uri.redacted())),
            )
        };
        let store: Arc<dyn CloudStore> = match uri.scheme {
            Scheme::S3 => Arc::new(s3_builder(uri, request_timeout)?.build().map_err(fail)?),
            Scheme::Gcs => {
                let mut builder = match uri.get("credentials-file") {
                    Some(file) => GoogleCloudStorageBuilder::new().with_service_account_path(file),
                    None => GoogleCloudStorageBuilder::from_env(),
                };
                if let Some(endpoint) = uri.get("endpoint") {
                    builder = builder.with_base_url(endpoint);
                }
                let builder = builder
                    .with_bucket_name(&uri.bucket)
                    .with_retry(no_retry())
                    .with_client_options(client_options(request_timeout));
                Arc::new(builder.build().map_err(fail)?)
            }
            Scheme::Azure => {
                let own_keys = uri.get("account-key").is_some() || uri.get("sas-token").is_some();
                let mut builder = if own_keys {
                    MicrosoftAzureBuilder::new()
                } else {
                    MicrosoftAzureBuilder::from_env()
                };
                if let Some(account) = uri.get("account-name") {
                    builder = builder.with_account(account);
                }
                if let Some(key) = uri.get("account-key") {
                    builder = builder.with_access_key(key);
                }
                if let Some(token) = uri.get("sas-token") {
                    builder = builder.with_config(AzureConfigKey::SasKey, token);
                }
                if let Some(endpoint) = uri.get("endpoint") {
                    builder = builder.with_endpoint(endpoint.to_string());
                }
                let builder = builder
                    .with_container_name(&uri.bucket)
                    .with_allow_http(true)
                    .with_retry(no_retry())
                    .with_client_options(client_options(request_timeout));
                Arc::new(builder.build().map_err(fail)?)
            }
            Scheme::File => return Err(Error::Bug("a file URI has no cloud client".into())),
        };
        Ok(CloudBackend { store })
    }
}

fn s3_builder(uri: &StorageUri, request_timeout: Duration) -> Result<AmazonS3Builder> {
    let mut builder = match (uri.get("access-key"), uri.get("secret-access-key")) {
        // A session token of the environment must not be mixed with the URI's keys.
        (Some(id), Some(secret)) => AmazonS3Builder::new()
            .with_access_key_id(id)
            .with_secret_access_key(secret),
        _ => AmazonS3Builder::from_env(),
    };
    if let Some(token) = uri.get("session-token") {
        builder = builder.with_token(token);
    }
    if let Some(region) = uri.get("region") {
        builder = builder.with_region(region);
    }
    let path_style = uri.get_bool("force-path-style", true)?;
    if uri.get_bool("use-accelerate-endpoint", false)? {
        builder = builder
            .with_endpoint(format!("https://{}.s3-accelerate.amazonaws.com", uri.bucket))
            .with_virtual_hosted_style_request(true);
    } else if let Some(endpoint) = uri.get("endpoint") {
        let endpoint = endpoint.trim_end_matches('/');
        // In virtual-hosted style, the bucket is part of the host's name.
        let endpoint = match endpoint.split_once("://") {
            Some((scheme, host)) if !path_style => format!("{scheme}://{}.{host}", uri.bucket),
            Some(_) => endpoint.to_string(),
            None => {
                return Err(Error::InvalidUri(format!(
                    "'endpoint' must begin with http:// or https://: '{}'",
                    uri.redacted()
                )));
            }
        };
        builder = builder
            .with_endpoint(endpoint)
            .with_virtual_hosted_style_request(!path_style);
    } else {
        builder = builder.with_virtual_hosted_style_request(!path_style);
    }
    if let Some(sse) = uri.get("sse") {
        builder = match (sse, uri.get("sse-kms-key-id")) {
            ("aws:kms", Some(key)) => builder.with_sse_kms_encryption(key),
            (other, _) => {
                let key = "aws_server_side_encryption".parse::<AmazonS3ConfigKey>();
                let key = key.map_err(|error| Error::InvalidUri(error.to_string()))?;
                builder.with_config(key, other)
            }
        };
    }
    Ok(builder
        .with_bucket_name(&uri.bucket)
        .with_allow_http(true)
        .with_retry(no_retry())
        .with_client_options(client_options(request_timeout)))
}

/// Retries are made, counted and shown in one place only: `ObjectStorage`.
fn no_retry() -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig::default(),
        max_retries: 0,
        retry_timeout: Duration::from_secs(1),
    }
}

fn client_options(request_timeout: Duration) -> ClientOptions {
    ClientOptions::new()
        .with_allow_http(true)
        .with_timeout(request_timeout)
        .with_connect_timeout(request_timeout.min(Duration::from_secs(10)))
}

/// TLS by rustls with ring, unless the process has chosen already.
fn install_crypto() {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // Losing a race to install it means that one is installed.
        drop(rustls::crypto::ring::default_provider().install_default());
    }
}

#[async_trait]
impl Backend for CloudBackend {
    async fn put(&self, path: &str, data: Bytes) -> BackendResult<()> {
        self.store
            .put_opts(&Path::from(path), data.into(), Default::default())
            .await?;
        Ok(())
    }

    async fn get_range(&self, path: &str, range: Range<u64>) -> BackendResult<Bytes> {
        let options = GetOptions::new().with_range(Some(range));
        Ok(self
            .store
            .get_opts(&Path::from(path), options)
            .await?
            .bytes()
            .await?)
    }

    async fn get_tail(&self, path: &str, bytes: u64) -> BackendResult<(Bytes, u64)> {
        let options = GetOptions::new().with_range(Some(GetRange::Suffix(bytes)));
        let result = self.store.get_opts(&Path::from(path), options).await?;
        let total = result.meta.size;
        Ok((result.bytes().await?, total))
    }

    async fn list(&self, prefix: &str) -> BackendResult<Vec<ObjectEntry>> {
        let prefix = Path::from(prefix);
        let entries = self.store.list(Some(&prefix)).map_ok(|meta| ObjectEntry {
            path: meta.location.to_string(),
            bytes: meta.size,
        });
        Ok(entries.try_collect().await?)
    }

    async fn list_directories(&self, prefix: &str) -> BackendResult<Vec<String>> {
        let listed = self.store.list_with_delimiter(Some(&Path::from(prefix))).await?;
        Ok(listed
            .common_prefixes
            .iter()
            .filter_map(|path| path.filename().map(str::to_string))
            .collect())
    }

    async fn delete(&self, paths: &[String]) -> BackendResult<()> {
        let paths: Vec<_> = paths.iter().map(|path| Ok(Path::from(path.as_str()))).collect();
        let mut results = self.store.delete_stream(futures::stream::iter(paths).boxed());
        while let Some(result) = results.next().await {
            match result {
                Ok(_) | Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => {
                    let error = BackendError::from(error);
                    // Deleting in a bucket that is not there is another matter than an object that is not.
                    let object_gone =
                        error.kind == StorageErrorKind::NotFound || error.detail.contains("code: NoSuchKey");
                    if !object_gone {
                        return Err(error);
                    }
                }
            }
        }
        Ok(())
    }

    async fn create_multipart(&self, path: &str) -> BackendResult<String> {
        Ok(self.store.create_multipart(&Path::from(path)).await?)
    }

    async fn put_part(&self, path: &str, id: &str, at: PartPosition, data: Bytes) -> BackendResult<PartId> {
        let id = id.to_string();
        Ok(self
            .store
            .put_part(&Path::from(path), &id, at.index, data.into())
            .await?)
    }

    async fn complete_multipart(&self, path: &str, id: &str, parts: Vec<PartId>) -> BackendResult<()> {
        self.store
            .complete_multipart(&Path::from(path), &id.to_string(), parts)
            .await?;
        Ok(())
    }

    async fn abort_multipart(&self, path: &str, id: &str) -> BackendResult<()> {
        Ok(self
            .store
            .abort_multipart(&Path::from(path), &id.to_string())
            .await?)
    }

    fn min_part_bytes(&self) -> usize {
        5 << 20
    }
}

impl From<object_store::Error> for BackendError {
    fn from(error: object_store::Error) -> Self {
        let detail = full_text(&error);
        BackendError {
            kind: classify(&error, &detail),
            detail,
        }
    }
}

/// The error's text with those of its causes that it does not repeat itself.
fn full_text(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let part = error.to_string();
        if !text.contains(&part) {
            text.push_str(": ");
            text.push_str(&part);
        }
        cause = error.source();
    }
    text
}

fn classify(error: &object_store::Error, text: &str) -> StorageErrorKind {
    use object_store::Error as E;
    match error {
        E::NotFound { .. } => StorageErrorKind::NotFound,
        E::PermissionDenied { .. } | E::Unauthenticated { .. } => StorageErrorKind::Permission,
        // No request of ours is conditional: a 409 says that another one on the same object is under way.
        E::AlreadyExists { .. } => StorageErrorKind::Transient,
        E::Generic { .. } => classify_generic(error, text),
        E::InvalidPath { .. }
        | E::NotSupported { .. }
        | E::NotImplemented { .. }
        | E::Precondition { .. }
        | E::NotModified { .. }
        | E::UnknownConfigurationKey { .. } => StorageErrorKind::Invalid,
        _ => StorageErrorKind::Other,
    }
}

/// The status codes of other errors are not part of the library's interface, only of its text.
fn classify_generic(error: &object_store::Error, text: &str) -> StorageErrorKind {
    let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
    if says(&["QuotaExceeded", "StorageFull", "InsufficientStorage"]) {
        return StorageErrorKind::OutOfSpace;
    }
    if says(&[
        "AccessDenied",
        "ExpiredToken",
        "InvalidAccessKeyId",
        "SignatureDoesNotMatch",
    ]) {
        return StorageErrorKind::Permission;
    }
    if says(&[
        "SlowDown",
        "InternalError",
        "ServiceUnavailable",
        "RequestTimeout",
    ]) {
        return StorageErrorKind::Transient;
    }
    if let Some(status) = status_code(text) {
        return match status {
            408 | 409 | 425 | 429 => StorageErrorKind::Transient,
            404 => StorageErrorKind::NotFound,
            507 => StorageErrorKind::OutOfSpace,
            501 | 505 => StorageErrorKind::Invalid,
            500..=599 => StorageErrorKind::Transient,
            _ => StorageErrorKind::Invalid,
        };
    }
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(http) = error.downcast_ref::<HttpError>() {
            return match http.kind() {
                HttpErrorKind::Connect
                | HttpErrorKind::Request
                | HttpErrorKind::Timeout
                | HttpErrorKind::Interrupted
                | HttpErrorKind::Decode
                | HttpErrorKind::Unknown => StorageErrorKind::Transient,
                _ => StorageErrorKind::Other,
            };
        }
        cause = error.source();
    }
    StorageErrorKind::Other
}

fn status_code(text: &str) -> Option<u16> {
    let at = text.find("status code: ")? + "status code: ".len();
    text.get(at..at + 3)?.parse().ok()
}
