//! Against a real S3 server in this process, over HTTP on the loopback device.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use ilmenite_base::ErrorClass;
use s3s::access::{S3Access, S3AccessContext};
use s3s::auth::SimpleAuth;
use s3s::path::S3Path;
use s3s::service::S3ServiceBuilder;
use s3s::{S3Result, s3_error};

use super::*;

const KEY_ID: &str = "AKIDOFTHETESTS";
const SECRET: &str = "very/secret+key&with=signs";

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

struct Server {
    root: tempfile::TempDir,
    port: u16,
}

impl Server {
    async fn start(denied: &'static [&'static str]) -> Server {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("bucket")).unwrap();
        let mut builder = S3ServiceBuilder::new(s3s_fs::FileSystem::new(root.path()).unwrap());
        builder.set_auth(SimpleAuth::from_single(KEY_ID, SECRET));
        builder.set_access(Rights {
            root: root.path().to_path_buf(),
            denied,
        });
        let service = builder.build();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                socket.set_nodelay(true).unwrap();
                let service = service.clone();
                tokio::spawn(async move {
                    let builder = Builder::new(TokioExecutor::new());
                    // A client that hangs up is no failure of the server.
                    drop(builder.serve_connection(TokioIo::new(socket), service).await);
                });
            }
        });
        Server { root, port }
    }

    fn uri(&self, bucket: &str, key_id: &str, secret: &str) -> String {
        let secret: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
        format!(
            "s3://{bucket}/some/prefix?endpoint=http://127.0.0.1:{}&access-key={key_id}&secret-access-key={secret}&region=us-east-1",
            self.port
        )
    }

    fn storage(&self) -> ObjectStorage {
        ObjectStorage::from_uri(&self.uri("bucket", KEY_ID, SECRET)).unwrap()
    }

    /// Objects and parts of uploads on the server's disk; not its notes beside them.
    fn files(&self) -> usize {
        fn count(dir: PathBuf) -> usize {
            let paths = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
            let of_one = |path: PathBuf| {
                let name = path.file_name().unwrap().to_string_lossy().into_owned();
                let note = name.starts_with('.') && !name.contains(".part-");
                if path.is_dir() {
                    count(path)
                } else {
                    usize::from(!note)
                }
            };
            paths.map(of_one).sum()
        }
        count(self.root.path().to_path_buf())
    }
}

fn assert_no_secret(text: &str) {
    for secret in [KEY_ID, SECRET, "very%2Fsecret", "very/secret", "wrongsecret"] {
        assert!(!text.contains(secret), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sort_merge_and_clean_up_over_s3() {
    let server = Server::start(&[]).await;
    let storage = server.storage();
    storage.probe(&token()).await.unwrap();
    assert_eq!(server.files(), 0, "the probe left something");

    let mut rng = rng(21);
    let mut entries: Vec<Entry> = (0..120_000)
        .map(|_| {
            (
                rng.random::<[u8; 24]>().to_vec(),
                rng.random::<[u8; 80]>().to_vec(),
            )
        })
        .collect();
    let budget = RunSorter::min_budget_bytes(&storage);
    let output = sort_all(&storage.handle(), options(budget, DETECT, false), entries.clone())
        .await
        .unwrap();
    let SortedRun::Stored(runs) = output.run else {
        panic!()
    };
    storage
        .put("71/neighbour", Bytes::from_static(b"not task 7's"), &token())
        .await
        .unwrap();
    let merged = merge_runs(
        &storage,
        &runs,
        "7/2/1".into(),
        64 << 20,
        DETECT,
        &token(),
        |_| {},
    )
    .await
    .unwrap();
    let stats = storage.stats();
    assert!(stats.part >= 4 && stats.get > 2 && stats.bytes_out > 8 << 20 && stats.bytes_in > 8 << 20);
    assert_eq!(stats.retries, 0);
    let got = merge_range(&storage, &merged.runs, KeyRange::default(), 64 << 20).await;
    entries.sort();
    assert!(got == entries);

    let listed = storage.list("7", &token()).await.unwrap();
    assert_eq!(listed.len(), runs.len() + merged.runs.len());
    assert!(listed.iter().any(|object| object.path == merged.runs[0].path));
    let mut tasks = storage.list_directories("", &token()).await.unwrap();
    tasks.sort();
    assert_eq!(tasks, ["7", "71"]);
    assert_eq!(
        storage.delete_prefix("7", &token()).await.unwrap(),
        listed.len() as u64
    );
    assert_eq!(storage.delete_prefix("7", &token()).await.unwrap(), 0);
    let left = storage.list("", &token()).await.unwrap();
    assert_eq!(
        left.iter().map(|object| object.path.as_str()).collect::<Vec<_>>(),
        ["71/neighbour"]
    );
    assert_no_secret(&format!("{storage:?} {storage} {}", storage.redacted_uri()));
}

/// Against F71 of docs/faults.md.
#[tokio::test(flavor = "multi_thread")]
async fn an_upload_given_up_leaves_no_object() {
    let server = Server::start(&[]).await;
    let storage = server.storage();
    let options = WriterOptions::for_budget(64 << 20, &storage);
    let mut writer = RunWriter::new(&storage, "9/1/1/0.run".into(), options, &token()).unwrap();
    let mut rng = rng(3);
    for i in 0..90_000u64 {
        writer.push(&i.to_be_bytes(), &rng.random::<[u8; 80]>()).unwrap();
        if writer.needs_flush() {
            writer.flush().await.unwrap();
        }
    }
    assert!(storage.stats().part > 0);
    drop(writer);
    let begun = Instant::now();
    while server.files() > 0 && begun.elapsed() < Duration::from_secs(20) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(server.files(), 0, "parts were left");
}

/// Against P16 of docs/faults.md.
#[tokio::test(flavor = "multi_thread")]
async fn bad_uris_and_rights_are_told_in_the_stores_words() {
    let server = Server::start(&[]).await;
    for (bucket, key_id, secret, words, kind) in [
        (
            "missing",
            KEY_ID,
            SECRET,
            "NoSuchBucket",
            StorageErrorKind::NotFound,
        ),
        (
            "bucket",
            KEY_ID,
            "wrongsecret",
            "SignatureDoesNotMatch",
            StorageErrorKind::Permission,
        ),
        (
            "bucket",
            "WRONGKEYID",
            SECRET,
            "not signed up",
            StorageErrorKind::Permission,
        ),
    ] {
        let storage = ObjectStorage::from_uri(&server.uri(bucket, key_id, secret)).unwrap();
        let begun = Instant::now();
        let error = storage.probe(&token()).await.unwrap_err();
        assert!(
            begun.elapsed() < Duration::from_secs(5),
            "a wrong answer is no reason to retry"
        );
        let text = format!("{error} {error:?}");
        assert!(text.contains(words), "{text}");
        assert_no_secret(&text);
        match error {
            Error::Storage {
                kind: found,
                op: Op::Put,
                ..
            } => assert_eq!(found, kind, "{text}"),
            other => panic!("{other:?}"),
        }
        assert_eq!(
            Error::class(&storage.probe(&token()).await.unwrap_err()),
            ErrorClass::Permanent
        );
    }
    assert_eq!(server.files(), 0);
    for (denied, op) in [
        (&["PutObject"] as &[_], Op::Put),
        (&["GetObject"], Op::Get),
        (&["ListObjectsV2"], Op::List),
        (&["DeleteObject", "DeleteObjects"], Op::Delete),
        (&["CreateMultipartUpload"], Op::CreateMultipart),
        (&["UploadPart"], Op::PutPart),
        (&["AbortMultipartUpload"], Op::AbortMultipart),
    ] {
        let server = Server::start(denied).await;
        match server.storage().probe(&token()).await {
            Err(Error::Storage {
                op: failed,
                kind,
                detail,
                ..
            }) => {
                assert_eq!((failed, kind), (op, StorageErrorKind::Permission), "{detail}");
                assert!(detail.contains("the policy denies"), "{detail}");
            }
            other => panic!("{op}: {other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_listens() {
    let uri =
        format!("s3://bucket?endpoint=http://127.0.0.1:1&access-key={KEY_ID}&secret-access-key=wrongsecret");
    let storage = ObjectStorage::from_uri(&uri).unwrap();
    let begun = Instant::now();
    let error = storage.probe(&token()).await.unwrap_err();
    assert!(begun.elapsed() < Duration::from_secs(15));
    assert_eq!(error.class(), ErrorClass::Transient, "{error}");
    assert!(
        error.to_string().to_lowercase().contains("connection refused"),
        "{error}"
    );
    assert_eq!(storage.stats().retries, 2);
    assert_no_secret(&error.to_string());
}
