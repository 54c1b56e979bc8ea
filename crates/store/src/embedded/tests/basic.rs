//! Versions, scans, checks, ingest, delete range, regions, restart.

use super::*;

#[tokio::test]
async fn versions_are_read_at_their_timestamps() {
    let dir = tempfile::tempdir().unwrap();
    let s = open(&dir);
    let t1 = write(&s, &[("a", Some("1")), ("pA1", Some("x"))]).await;
    let t2 = write(&s, &[("a", Some("2")), ("pA1", None)]).await;
    let now = s.timestamp().await.unwrap();
    assert!(t1 < t2 && t2 <= now);
    assert_eq!(s.get(b"a", t1).await.unwrap(), Some(b("1")));
    assert_eq!(s.get(b"a", t2.prev()).await.unwrap(), Some(b("1")));
    assert_eq!(s.get(b"a", now).await.unwrap(), Some(b("2")));
    assert_eq!(s.get(b"a", t1.prev()).await.unwrap(), None);
    let both = s.batch_get(&[b("pA1"), b("nothing"), b("a")], t1).await.unwrap();
    assert_eq!(both, vec![Some(b("x")), None, Some(b("1"))]);
    assert_eq!(s.get(b"pA1", now).await.unwrap(), None);
    assert_eq!(
        s.versions(b"a", t1).await.unwrap(),
        vec![(t2, Some(b("2"))), (t1, Some(b("1")))]
    );
    assert_eq!(s.versions(b"pA1", t2).await.unwrap(), vec![(t2, None)]);
}

#[tokio::test]
async fn scans_cross_keyspaces_both_ways() {
    let dir = tempfile::tempdir().unwrap();
    let s = open(&dir);
    let t1 = write(
        &s,
        &[
            ("a", Some("1")),
            ("a\0", Some("2")),
            ("pA1", Some("3")),
            ("pA2", Some("4")),
            ("pB1", Some("5")),
            ("pb", Some("6")),
            ("z", Some("7")),
        ],
    )
    .await;
    let t2 = write(&s, &[("pA1", None), ("a", Some("one"))]).await;
    let all = KeyRange::default();
    let expected = [
        ("a", "one"),
        ("a\0", "2"),
        ("pA2", "4"),
        ("pB1", "5"),
        ("pb", "6"),
        ("z", "7"),
    ];
    for batch_bytes in [1, 5, 1 << 20] {
        let forward = ScanOptions {
            batch_bytes,
            ..ScanOptions::default()
        };
        let reverse = ScanOptions {
            reverse: true,
            ..forward
        };
        assert_eq!(scan_all(&*s, all.clone(), t2, forward).await, pairs(&expected));
        let mut backwards = pairs(&expected);
        backwards.reverse();
        assert_eq!(scan_all(&*s, all.clone(), t2, reverse).await, backwards);
    }
    assert_eq!(
        scan_all(&*s, all.clone(), t1, ScanOptions::default()).await.len(),
        7
    );
    assert!(
        scan_all(&*s, all.clone(), t1.prev(), ScanOptions::default())
            .await
            .is_empty()
    );
    let limited = ScanOptions {
        limit: 2,
        key_only: true,
        ..ScanOptions::default()
    };
    assert_eq!(
        scan_all(&*s, KeyRange::new("a\0", "z"), t2, limited).await,
        pairs(&[("a\0", ""), ("pA2", "")])
    );
    let limited = ScanOptions {
        reverse: true,
        ..limited
    };
    assert_eq!(
        scan_all(&*s, KeyRange::new("a", "pB2"), t2, limited).await,
        pairs(&[("pB1", ""), ("pA2", "")])
    );
}

/// The bounds of a scan are often not keys but a key and a zero byte, which sorts among the key's own entries.
#[tokio::test]
async fn bounds_right_behind_a_key() {
    let dir = tempfile::tempdir().unwrap();
    let s = open(&dir);
    write(&s, &[("pA1", Some("1")), ("pA2", Some("2")), ("pA3", Some("3"))]).await;
    let ts = write(&s, &[("pA2", Some("two"))]).await;
    for reverse in [false, true] {
        let options = ScanOptions {
            reverse,
            ..ScanOptions::default()
        };
        let scan = async |start: &str, end: &str| {
            let mut rows = scan_all(&*s, KeyRange::new(b(start), b(end)), ts, options).await;
            rows.sort();
            rows
        };
        assert_eq!(scan("pA1\0", "pA9").await, pairs(&[("pA2", "two"), ("pA3", "3")]));
        assert_eq!(scan("pA", "pA2\0").await, pairs(&[("pA1", "1"), ("pA2", "two")]));
        assert_eq!(scan("pA2", "pA2\0").await, pairs(&[("pA2", "two")]));
        assert_eq!(scan("pA2", "pA2\u{ff}").await, pairs(&[("pA2", "two")]));
        assert_eq!(scan("pA2\0", "pA3").await, pairs(&[]));
        assert_eq!(scan("pA", "pA").await, pairs(&[]));
    }
}

#[tokio::test]
async fn checks_refuse_conflicting_commits() {
    let dir = tempfile::tempdir().unwrap();
    let s = open(&dir);
    let early = s.begin_timestamp().await.unwrap();
    let t1 = write(&s, &[("a", Some("1"))]).await;
    let commit = async |start_ts, m| {
        s.commit(CommitRequest {
            start_ts,
            mutations: vec![m],
            ..CommitRequest::default()
        })
        .await
    };
    let refused = commit(early, mutation("a", Some("2"), Check::Unchanged)).await;
    assert!(matches!(refused, Err(Error::WriteConflict { conflict_ts, .. }) if conflict_ts == t1));
    let start = s.begin_timestamp().await.unwrap();
    let refused = commit(start, mutation("a", Some("2"), Check::MustNotExist)).await;
    assert!(matches!(refused, Err(Error::KeyExists { .. })));
    commit(start, mutation("a", None, Check::Unchanged))
        .await
        .unwrap();
    let start = s.begin_timestamp().await.unwrap();
    commit(start, mutation("a", Some("3"), Check::MustNotExist))
        .await
        .unwrap();

    let start = s.begin_timestamp().await.unwrap();
    let late = s
        .commit(CommitRequest {
            start_ts: start,
            mutations: vec![mutation("a", Some("4"), Check::Unchanged)],
            max_commit_ts: Some(start),
            ..CommitRequest::default()
        })
        .await;
    assert!(matches!(late, Err(Error::CommitTooLate { .. })));
    let fenced = s
        .commit(CommitRequest {
            start_ts: start,
            mutations: vec![mutation("a", Some("4"), Check::Unchanged)],
            preconditions: vec![crate::Precondition {
                key: b("owner"),
                value: Some(b("me")),
            }],
            ..CommitRequest::default()
        })
        .await;
    assert!(matches!(fenced, Err(Error::PreconditionFailed { .. })));
    let now = s.timestamp().await.unwrap();
    assert_eq!(s.get(b"a", now).await.unwrap(), Some(b("3")));
}

#[tokio::test]
async fn ingest_lies_under_newer_versions() {
    let dir = tempfile::tempdir().unwrap();
    let s = open(&dir);
    write(&s, &[("pA0", Some("before"))]).await;
    let at = s.timestamp().await.unwrap();
    write(&s, &[("pA1", Some("newer")), ("pA2", Some("gone"))]).await;
    write(&s, &[("pA2", None), ("pA3", None)]).await;
    let rows = [("pA1", "i1"), ("pA2", "i2"), ("pA3", "i3"), ("pA4", "i4")];
    let expected = pairs(&[("pA0", "before"), ("pA1", "newer"), ("pA4", "i4")]);
    for _ in 0..2 {
        ingest(&*s, KeyRange::prefix(b"pA"), at, &rows).await;
        let now = s.timestamp().await.unwrap();
        let all = KeyRange::prefix(b"pA");
        assert_eq!(
            scan_all(&*s, all.clone(), now, ScanOptions::default()).await,
            expected
        );
        assert_eq!(
            scan_all(&*s, all.clone(), at, ScanOptions::default()).await.len(),
            5
        );
        assert_eq!(
            scan_all(&*s, all, at.prev(), ScanOptions::default()).await.len(),
            1
        );
    }
    let ts = write(&s, &[("pA4", Some("on top"))]).await;
    assert_eq!(s.get(b"pA4", ts).await.unwrap(), Some(b("on top")));
}

#[tokio::test]
async fn ingest_refuses_what_the_engine_would_panic_on() {
    let dir = tempfile::tempdir().unwrap();
    let s = open(&dir);
    let at = s.timestamp().await.unwrap();
    for rows in [["pA2", "pA1"], ["pA1", "pA1"], ["pA1", "pB1"], ["pA1", "pA8"]] {
        let mut ingest = s.ingest(KeyRange::new("pA0", "pA5"), at).await.unwrap();
        let mut batch = KvBatch::new();
        for key in rows {
            batch.push(key.as_bytes(), b"v");
        }
        assert!(
            matches!(ingest.write(&batch).await, Err(Error::IngestOrder(_))),
            "{rows:?}"
        );
        assert!(
            ingest.write(&batch).await.is_err(),
            "a failed ingest stays failed"
        );
        assert!(ingest.finish().await.is_err());
    }
    // Across calls; and dropped, so nothing of the first call remains.
    let mut ingest = s.ingest(KeyRange::prefix(b"pA"), at).await.unwrap();
    let mut batch = KvBatch::new();
    batch.push(b"pA5", b"v");
    ingest.write(&batch).await.unwrap();
    assert!(matches!(ingest.write(&batch).await, Err(Error::IngestOrder(_))));
    drop(ingest);
    let future = at.plus(Duration::from_secs(60));
    assert!(s.ingest(KeyRange::prefix(b"pA"), future).await.is_err());
    let now = s.timestamp().await.unwrap();
    assert!(
        scan_all(&*s, KeyRange::default(), now, ScanOptions::default())
            .await
            .is_empty()
    );
    // Nothing at all is an ordinary ingest.
    let empty = s.ingest(KeyRange::prefix(b"pA"), at).await.unwrap();
    assert_eq!(empty.finish().await.unwrap(), crate::IngestSummary::default());
}

#[tokio::test(flavor = "multi_thread")]
async fn parallel_ingests_of_one_keyspace() {
    let dir = tempfile::tempdir().unwrap();
    let s = open(&dir);
    let at = s.timestamp().await.unwrap();
    let mut tasks = Vec::new();
    for part in 0..4 {
        let s = s.clone();
        tasks.push(tokio::spawn(async move {
            let range = KeyRange::new(format!("pA{part}"), format!("pA{}", part + 1));
            let mut ingest = s.ingest(range, at).await.unwrap();
            for chunk in 0..10 {
                let mut batch = KvBatch::new();
                for i in 0..1000 {
                    batch.push(format!("pA{part}{:05}", chunk * 1000 + i).as_bytes(), b"v");
                }
                ingest.write(&batch).await.unwrap();
            }
            ingest.finish().await.unwrap();
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    let now = s.timestamp().await.unwrap();
    let rows = scan_all(&*s, KeyRange::prefix(b"pA"), now, ScanOptions::default()).await;
    assert_eq!(rows.len(), 40_000);
    assert!(rows.is_sorted());
}

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
    let dropped = s.core.spaces.lookup(b"pA").unwrap().keyspace.path().to_owned();
    for _ in 0..2 {
        // Part of the default keyspace, all of A, part of B.
        s.delete_range(KeyRange::new("b", "pB2")).await.unwrap();
        let now = s.timestamp().await.unwrap();
        assert_eq!(
            scan_all(&*s, KeyRange::default(), now, ScanOptions::default()).await,
            pairs(&[("a", "1"), ("pB2", "5"), ("pC1", "6")])
        );
    }
    assert!(s.core.spaces.lookup(b"pA").is_none());
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
