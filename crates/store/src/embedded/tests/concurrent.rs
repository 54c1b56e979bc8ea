//! Writers and readers at once.

use super::*;

/// Dropping a keyspace while others write to it: no error, no panic, and what is written afterwards is there.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn drops_race_with_writes_and_creations() {
    let dir = tempfile::tempdir().unwrap();
    let s = open(&dir);
    let mut writers = Vec::new();
    for w in 0..4 {
        let s = s.clone();
        writers.push(tokio::spawn(async move {
            for i in 0..60 {
                write(
                    &s,
                    &[
                        (&format!("pA{w}{i:03}"), Some("v")),
                        (&format!("a{w}{i:03}"), Some("v")),
                    ],
                )
                .await;
            }
        }));
    }
    for _ in 0..15 {
        s.delete_range(KeyRange::prefix(b"pA")).await.unwrap();
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    for writer in writers {
        writer.await.unwrap();
    }
    s.delete_range(KeyRange::prefix(b"pA")).await.unwrap();
    let ts = write(&s, &[("pA9999", Some("last"))]).await;
    drop(s);
    let s = open(&dir);
    let rows = scan_all(&*s, KeyRange::new("a", "q"), ts, ScanOptions::default()).await;
    assert_eq!(rows.len(), 241);
    assert_eq!(rows[240], ("pA9999".to_owned(), "last".to_owned()));
}
