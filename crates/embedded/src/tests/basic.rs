//! Versions, scans, checks, ingest, delete range, regions, restart.

use super::*;

#[tokio::test]
async fn delete_range_removes_all_versions() {
    let dir = tempfile::tempdir().unwrap();
    let s = open(&dir);
    write(&s, &[("a", Some("1")), ("b", Some("2")), ("pA1", Some("3"))]).await;
    write(
        &s,
        &[
            ("b", Some("22")),
            ("pB1", Some("4")),
            ("pB2", Some("5")),
            ("pC1", Some("6")),
        ],
    )
    .await;
    let dropped = s.core.keyspaces.lookup(b"pA").unwrap().inner.path().to_owned();
    for _ in 0..2 {
        // Part of the default keyspace, all of A, part of B.
        s.delete_range(KeyRange::new("b", "pB2")).await.unwrap();
        let now = s.timestamp().await.unwrap();
        assert_eq!(
            scan_all(&*s, KeyRange::default(), now, ScanOptions::default()).await,
            pairs(&[("a", "1"), ("pB2", "5"), ("pC1", "6")])
        );
    }
    assert!(s.core.keyspaces.lookup(b"pA").is_none());
    assert!(!dropped.exists(), "the keyspace's folder is gone");
    // The same keyspace again, empty.
    let ts = write(&s, &[("pA9", Some("new"))]).await;
    assert_eq!(
        scan_all(&*s, KeyRange::prefix(b"pA"), ts, ScanOptions::default()).await,
        pairs(&[("pA9", "new")])
    );
    drop(s);
    let s = open(&dir);
    let now = s.timestamp().await.unwrap();
    assert_eq!(
        scan_all(&*s, KeyRange::default(), now, ScanOptions::default())
            .await
            .len(),
        4
    );
}

#[tokio::test]
async fn regions_cover_the_range_in_similar_parts() {
    let dir = tempfile::tempdir().unwrap();
    let s = open(&dir);
    let empty = s.regions(&KeyRange::prefix(b"pA")).await.unwrap();
    assert_eq!(empty.len(), 1);
    assert_eq!(empty[0].range, KeyRange::prefix(b"pA"));

    let at = s.timestamp().await.unwrap();
    let mut writer = s.ingest(KeyRange::prefix(b"pA"), at).await.unwrap();
    let rows = 1_200_000u64;
    let mut batch = KvBatch::new();
    for i in 0..rows {
        let mut key = b"pA".to_vec();
        key.extend_from_slice(&(i | 1 << 63).to_be_bytes());
        batch.push(&key, b"value");
        if batch.len() == 10_000 {
            writer.write(&batch).await.unwrap();
            batch.clear();
        }
    }
    writer.finish().await.unwrap();
    for range in [
        KeyRange::prefix(b"pA"),
        KeyRange::default(),
        KeyRange::new("o", "pA\u{ff}"),
    ] {
        let regions = s.regions(&range).await.unwrap();
        assert_eq!(regions[0].range.start, range.start);
        assert_eq!(regions[regions.len() - 1].range.end, range.end);
        assert!(regions.windows(2).all(|w| w[0].range.end == w[1].range.start));
        assert!(regions.iter().all(|r| !r.range.is_empty()));
        let large: Vec<_> = regions.iter().filter(|r| r.approximate_keys > 0).collect();
        assert!(large.len() >= 4, "{regions:?}");
        let now = s.timestamp().await.unwrap();
        for r in &large {
            let n = scan_all(&*s, r.range.clone(), now, ScanOptions::default())
                .await
                .len() as f64;
            let fair = rows as f64 / large.len() as f64;
            assert!((0.6..1.5).contains(&(n / fair)), "{n} of {fair} in {r:?}");
        }
    }
}

#[tokio::test]
async fn a_restart_keeps_everything() {
    let dir = tempfile::tempdir().unwrap();
    let s = open(&dir);
    let t1 = write(&s, &[("a", Some("1")), ("pA1", Some("2"))]).await;
    ingest(&*s, KeyRange::prefix(b"pB"), t1, &[("pB1", "3")]).await;
    s.set_gc_hold(GcHold {
        id: "ddl/1".into(),
        ts: t1,
    })
    .await
    .unwrap();
    let last = s.begin_timestamp().await.unwrap();
    s.close().await.unwrap();
    assert!(s.timestamp().await.is_err(), "closed");
    s.close().await.unwrap();
    drop(s);
    let s = open(&dir);
    assert!(s.begin_timestamp().await.unwrap() > last);
    let now = s.timestamp().await.unwrap();
    let rows = scan_all(&*s, KeyRange::new("", "q"), now, ScanOptions::default()).await;
    assert_eq!(rows.len(), 4, "{rows:?}");
    assert_eq!(s.gc_holds().await.unwrap().len(), 1);
    s.release_gc_hold("ddl/1").await.unwrap();
    s.release_gc_hold("ddl/1").await.unwrap();
    assert!(s.gc_holds().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_second_opening_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let first = open(&dir);
    let path = dir.path().join("db");
    let second = EmbeddedStore::open(&path, test_options());
    assert!(matches!(second, Err(Error::Locked { .. })), "{:?}", second.err());
    drop(first);
    EmbeddedStore::open(&path, test_options()).unwrap();
}
