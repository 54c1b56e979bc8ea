use super::*;
use crate::uri::{Scheme, StorageUri};

fn refused(uri: &str) -> String {
    match ObjectStorage::from_uri(uri) {
        Err(error @ Error::InvalidUri(_)) => {
            assert_eq!(error.class(), ilmenite_base::ErrorClass::User);
            error.to_string()
        }
        Err(other) => panic!("{uri}: {other}"),
        Ok(_) => panic!("{uri} was taken"),
    }
}

#[test]
fn uris_are_parsed() {
    let uri = StorageUri::parse(
        "s3://bucket/a%20b/c/?Access_Key=id&secret-access-key=a%2Bb%2F&force-path-style=false&region=eu",
    )
    .unwrap();
    assert_eq!(
        (uri.scheme, &*uri.bucket, &*uri.prefix),
        (Scheme::S3, "bucket", "a b/c")
    );
    assert_eq!(uri.get("secret-access-key"), Some("a+b/"));
    assert!(!uri.get_bool("force-path-style", true).unwrap());
    assert!(uri.get_bool("use-accelerate-endpoint", true).unwrap());
    assert_eq!(
        uri.to_string(),
        "s3://bucket/a%20b/c/?Access_Key=xxxxxx&secret-access-key=xxxxxx&force-path-style=false&region=eu"
    );
    assert_eq!(format!("{uri:?}"), format!("StorageUri({uri})"));
    for uri in [
        "gcs://b/p",
        "gs://b",
        "azure://c?account-name=a&account-key=a2V5",
        "azblob://c/p",
        "file:///x/y",
    ] {
        StorageUri::parse(uri).unwrap();
    }
}

#[test]
fn cloud_clients_open_without_a_request() {
    for uri in [
        "s3://bucket/p?access-key=a&secret-access-key=b&endpoint=https://s3.example.com",
        "s3://bucket?access-key=a&secret-access-key=b&session-token=t&use-accelerate-endpoint=true",
        "s3://bucket?access-key=a&secret-access-key=b&sse=aws:kms&sse-kms-key-id=k",
        "s3://bucket?access-key=a&secret-access-key=b&sse=AES256",
        "azure://c/p?account-name=a&account-key=a2V5",
        "azblob://c?account-name=a&sas-token=sv%3D2020%26sig%3Dabc",
    ] {
        ObjectStorage::from_uri(uri).unwrap();
    }
}

#[test]
fn unusable_uris_are_refused_without_their_secrets() {
    for (uri, words) in [
        ("", "relative URL"),
        ("no uri", "relative URL"),
        ("ftp://bucket/x?secret-access-key=hidden", "unknown scheme 'ftp'"),
        ("s3://", "bucket is missing"),
        (
            "s3:///prefix?access-key=hidden&secret-access-key=hidden",
            "bucket is missing",
        ),
        ("s3://bucket?acess-key=x", "unknown parameter 'acess-key'"),
        ("s3://bucket?access-key=hidden", "go together"),
        ("s3://bucket?secret-access-key=hidden", "go together"),
        ("s3://bucket?region=a&region=b", "given twice"),
        ("s3://user:hidden@bucket/x", "not supported"),
        ("s3://bucket:9000/x", "endpoint"),
        (
            "s3://bucket?access-key=hidden&secret-access-key=hidden&endpoint=host:9000",
            "http:// or https://",
        ),
        ("s3://bucket?force-path-style=maybe", "true or false"),
        ("file://relative/dir", "three slashes"),
        ("file:///etc/passwd/sub", "Not a directory"),
        ("file:///tmp?x=1", "unknown parameter"),
        ("gcs://bucket?credentials-file=/does/not/exist", "/does/not/exist"),
        (
            "azure://c?account-name=a&account-key=hidden!not-base64",
            "Invalid Access Key",
        ),
    ] {
        let text = refused(uri);
        assert!(
            text.to_lowercase().contains(&words.to_lowercase()),
            "{uri}: {text}"
        );
        assert!(!text.contains("hidden"), "{text}");
    }
}

#[test]
fn secrets_are_scrubbed_from_texts_in_every_form() {
    let storage = ObjectStorage::from_uri("s3://b?access-key=KEYID&secret-access-key=s%2Fe+c%26r").unwrap();
    let text = storage.scrub("<Id>KEYID</Id> s/e c&r s%2Fe+c%26r s%2Fe%20c%26r s/e c&amp;r");
    assert_eq!(text, "<Id>xxxxxx</Id> xxxxxx xxxxxx xxxxxx xxxxxx");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_is_a_store() {
    let dir = tempfile::tempdir().unwrap();
    let uri = format!("file://{}/made/when/missing", dir.path().display());
    let storage = ObjectStorage::from_uri(&uri).unwrap();
    assert!(!storage.is_scratch());
    storage.probe(&token()).await.unwrap();
    let made = dir.path().join("made/when/missing");
    assert_eq!(
        std::fs::read_dir(&made).unwrap().count(),
        0,
        "the probe left something"
    );

    let data = Bytes::from_static(b"0123456789");
    storage.put("1/a/x.run", data.clone(), &token()).await.unwrap();
    storage.put("11/x.run", data.clone(), &token()).await.unwrap();
    assert_eq!(
        storage.get_range("1/a/x.run", 2..5, &token()).await.unwrap(),
        "234"
    );
    assert_eq!(storage.get_range("1/a/x.run", 5..5, &token()).await.unwrap(), "");
    assert_eq!(
        storage.get_tail("1/a/x.run", 3, &token()).await.unwrap(),
        (Bytes::from_static(b"789"), 10)
    );
    assert_eq!(
        storage.get_tail("1/a/x.run", 99, &token()).await.unwrap(),
        (data.clone(), 10)
    );
    let absent = storage.get_tail("1/a/y.run", 3, &token()).await.unwrap_err();
    assert!(
        matches!(
            absent,
            Error::Storage {
                kind: StorageErrorKind::NotFound,
                attempts: 1,
                ..
            }
        ),
        "{absent}"
    );
    let outside = storage
        .put("../escape", data.clone(), &token())
        .await
        .unwrap_err();
    assert!(
        matches!(
            outside,
            Error::Storage {
                kind: StorageErrorKind::Invalid,
                ..
            }
        ),
        "{outside}"
    );

    // What a crash leaves of an upload is found and removed, too.
    let upload = storage.create_multipart("1/b/y.run", &token()).await.unwrap();
    let at = PartPosition { index: 0, offset: 0 };
    upload.put_part(at, data.clone(), &token()).await.unwrap();
    std::mem::forget(upload);
    let listed = storage.list("1", &token()).await.unwrap();
    assert_eq!(listed.len(), 2);
    assert!(
        listed.iter().any(|object| object.path.ends_with(".unfinished")),
        "{listed:?}"
    );
    assert_eq!(storage.list_directories("1", &token()).await.unwrap().len(), 2);
    assert_eq!(storage.delete_prefix("1", &token()).await.unwrap(), 2);
    assert_eq!(storage.list("", &token()).await.unwrap().len(), 1);
    assert!(
        !made.join("1").exists() && made.exists(),
        "empty directories go, too"
    );
    assert_eq!(
        storage.delete_prefix("/", &token()).await.unwrap_err().class(),
        ilmenite_base::ErrorClass::Bug
    );
    let stats = storage.stats();
    assert_eq!(
        (stats.retries, storage.handle().stats()),
        (0, RequestStats::default())
    );
    assert!(stats.requests() > 10 && stats.bytes_out > 30);
}

#[test]
fn metrics_are_exported() {
    register_metrics();
    let names: Vec<String> = prometheus::gather()
        .iter()
        .map(|family| family.name().to_string())
        .collect();
    for name in [
        "ilmenite_object_requests_total",
        "ilmenite_object_bytes_total",
        "ilmenite_object_retries_total",
        "ilmenite_sort_memory_held_bytes",
        "ilmenite_sort_memory_peak_bytes",
    ] {
        assert!(names.iter().any(|known| known == name), "{name} of {names:?}");
    }
}
