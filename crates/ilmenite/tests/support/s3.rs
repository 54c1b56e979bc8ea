//! A real S3 endpoint in the test's process, over HTTP on the loopback device.

use std::path::{Path, PathBuf};

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use s3s::access::{S3Access, S3AccessContext};
use s3s::auth::SimpleAuth;
use s3s::path::S3Path;
use s3s::service::S3ServiceBuilder;
use s3s::{S3Result, s3_error};

use super::files_below;

pub(crate) const KEY_ID: &str = "AKIDOFTHETESTS";
pub(crate) const SECRET: &str = "very/secret+key&with=signs";
/// The bucket there is.
pub(crate) const BUCKET: &str = "bucket";

/// What s3s-fs lacks: buckets must exist, and operations can be denied.
struct Rights {
    root: PathBuf,
    denied: &'static [&'static str],
}

#[async_trait::async_trait]
impl S3Access for Rights {
    async fn check(&self, context: &mut S3AccessContext<'_>) -> S3Result<()> {
        if context.credentials().is_none() || self.denied.contains(&context.s3_op().name()) {
            return Err(s3_error!(
                AccessDenied,
                "the policy denies {}",
                context.s3_op().name()
            ));
        }
        if let S3Path::Bucket { bucket } | S3Path::Object { bucket, .. } = context.s3_path()
            && !self.root.join(&**bucket).is_dir()
        {
            return Err(s3_error!(NoSuchBucket));
        }
        Ok(())
    }
}

pub(crate) struct S3 {
    root: tempfile::TempDir,
    port: u16,
}

impl S3 {
    /// `denied`: names of operations that are refused, such as `DeleteObject`.
    pub(crate) async fn start(denied: &'static [&'static str]) -> S3 {
        let root = tempfile::tempdir().expect("a temporary directory");
        std::fs::create_dir(root.path().join(BUCKET)).expect("a bucket");
        let mut builder = S3ServiceBuilder::new(s3s_fs::FileSystem::new(root.path()).expect("an S3 service"));
        builder.set_auth(SimpleAuth::from_single(KEY_ID, SECRET));
        builder.set_access(Rights {
            root: root.path().to_path_buf(),
            denied,
        });
        let service = builder.build();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                // A client that hangs up is no failure of the server.
                let _ = socket.set_nodelay(true);
                let service = service.clone();
                tokio::spawn(async move {
                    let builder = Builder::new(TokioExecutor::new());
                    drop(builder.serve_connection(TokioIo::new(socket), service).await);
                });
            }
        });
        S3 { root, port }
    }

    pub(crate) fn uri(&self) -> String {
        self.uri_with(BUCKET, KEY_ID, SECRET)
    }

    pub(crate) fn uri_with(&self, bucket: &str, key_id: &str, secret: &str) -> String {
        let secret: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
        format!(
            "s3://{bucket}/some/prefix?endpoint=http://127.0.0.1:{}&access-key={key_id}&secret-access-key={secret}\
             &region=us-east-1",
            self.port
        )
    }

    /// Objects and parts of uploads on the endpoint's disk; not its own notes beside them.
    pub(crate) fn objects(&self) -> Vec<PathBuf> {
        let is_note = |path: &Path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with('.') && !name.contains(".part-")
        };
        files_below(self.root.path())
            .into_iter()
            .filter(|path| !is_note(path))
            .collect()
    }
}
