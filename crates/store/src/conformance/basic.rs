//! Versions, scans, checks, ingest.

use super::*;

pub async fn versions_are_read_at_their_timestamps(s: &StoreRef) {
    let t1 = write(&**s, &[("a", Some("1")), ("pA1", Some("x"))]).await;
    let t2 = write(&**s, &[("a", Some("2")), ("pA1", None)]).await;
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

/// Scans pass over the versions that do not count, however many there are.
pub async fn rows_of_many_versions_are_read_at_every_snapshot(s: &StoreRef) {
    for partition in ["", "pA"] {
        let key = |k: &str| format!("{partition}{k}");
        let (a, b, c, d) = (key("a"), key("b"), key("c"), key("d"));
        write(&**s, &[(&a, Some("0")), (&c, Some("0"))]).await;
        let mut committed = Vec::new();
        for i in 1..=150 {
            let value = i.to_string();
            // Every seventh version is a delete.
            let value = (i % 7 != 0).then_some(value.as_str());
            committed.push((i, write(&**s, &[(&b, value), (&d, value)]).await));
        }
        for (i, ts) in committed {
            let shown = i.to_string();
            let mut expected = vec![(&*a, "0"), (&*b, &*shown), (&*c, "0"), (&*d, &*shown)];
            if i % 7 == 0 {
                expected = vec![(&*a, "0"), (&*c, "0")];
            }
            let range = KeyRange::new(a.clone(), key("e"));
            let forward = scan_all(&**s, range.clone(), ts, ScanOptions::default()).await;
            assert_eq!(forward, pairs(&expected), "at version {i}");
            expected.reverse();
            let reverse = ScanOptions {
                reverse: true,
                ..ScanOptions::default()
            };
            assert_eq!(
                scan_all(&**s, range, ts, reverse).await,
                pairs(&expected),
                "at version {i}"
            );
        }
    }
}

pub async fn scans_cross_keyspaces_both_ways(s: &StoreRef) {
    let t1 = write(
        &**s,
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
    let t2 = write(&**s, &[("pA1", None), ("a", Some("one"))]).await;
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
        assert_eq!(scan_all(&**s, all.clone(), t2, forward).await, pairs(&expected));
        let mut backwards = pairs(&expected);
        backwards.reverse();
        assert_eq!(scan_all(&**s, all.clone(), t2, reverse).await, backwards);
    }
    assert_eq!(
        scan_all(&**s, all.clone(), t1, ScanOptions::default())
            .await
            .len(),
        7
    );
    assert!(
        scan_all(&**s, all.clone(), t1.prev(), ScanOptions::default())
            .await
            .is_empty()
    );
    let limited = ScanOptions {
        limit: 2,
        key_only: true,
        ..ScanOptions::default()
    };
    assert_eq!(
        scan_all(&**s, KeyRange::new("a\0", "z"), t2, limited).await,
        pairs(&[("a\0", ""), ("pA2", "")])
    );
    let limited = ScanOptions {
        reverse: true,
        ..limited
    };
    assert_eq!(
        scan_all(&**s, KeyRange::new("a", "pB2"), t2, limited).await,
        pairs(&[("pB1", ""), ("pA2", "")])
    );
}

/// The bounds of a scan are often not keys but a key and a zero byte, which sorts among the key's own entries.
pub async fn bounds_right_behind_a_key(s: &StoreRef) {
    write(
        &**s,
        &[("pA1", Some("1")), ("pA2", Some("2")), ("pA3", Some("3"))],
    )
    .await;
    let ts = write(&**s, &[("pA2", Some("two"))]).await;
    for reverse in [false, true] {
        let options = ScanOptions {
            reverse,
            ..ScanOptions::default()
        };
        let scan = async |start: &str, end: &str| {
            let mut rows = scan_all(&**s, KeyRange::new(b(start), b(end)), ts, options).await;
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

pub async fn ingest_lies_under_newer_versions(s: &StoreRef) {
    write(&**s, &[("pA0", Some("before"))]).await;
    let at = s.timestamp().await.unwrap();
    write(&**s, &[("pA1", Some("newer")), ("pA2", Some("gone"))]).await;
    write(&**s, &[("pA2", None), ("pA3", None)]).await;
    let rows = [("pA1", "i1"), ("pA2", "i2"), ("pA3", "i3"), ("pA4", "i4")];
    let expected = pairs(&[("pA0", "before"), ("pA1", "newer"), ("pA4", "i4")]);
    for _ in 0..2 {
        ingest(&**s, KeyRange::prefix(b"pA"), at, &rows).await;
        let now = s.timestamp().await.unwrap();
        let all = KeyRange::prefix(b"pA");
        assert_eq!(
            scan_all(&**s, all.clone(), now, ScanOptions::default()).await,
            expected
        );
        assert_eq!(
            scan_all(&**s, all.clone(), at, ScanOptions::default())
                .await
                .len(),
            5
        );
        assert_eq!(
            scan_all(&**s, all, at.prev(), ScanOptions::default()).await.len(),
            1
        );
    }
    let ts = write(&**s, &[("pA4", Some("on top"))]).await;
    assert_eq!(s.get(b"pA4", ts).await.unwrap(), Some(b("on top")));
}

pub async fn ingest_refuses_what_the_engine_would_panic_on(s: &StoreRef) {
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
        scan_all(&**s, KeyRange::default(), now, ScanOptions::default())
            .await
            .is_empty()
    );
    // Nothing at all is an ordinary ingest.
    let empty = s.ingest(KeyRange::prefix(b"pA"), at).await.unwrap();
    assert_eq!(empty.finish().await.unwrap(), IngestSummary::default());
}

pub async fn parallel_ingests_of_one_keyspace(s: &StoreRef) {
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
    let rows = scan_all(&**s, KeyRange::prefix(b"pA"), now, ScanOptions::default()).await;
    assert_eq!(rows.len(), 40_000);
    assert!(rows.is_sorted());
}

pub async fn a_deleted_range_is_gone(s: &StoreRef) {
    let rows = [
        ("a", Some("1")),
        ("b", Some("2")),
        ("pA1", Some("3")),
        ("pB1", Some("4")),
        ("pB2", Some("5")),
    ];
    write(&**s, &rows).await;
    write(&**s, &[("b", Some("22")), ("pA1", None)]).await;
    for _ in 0..2 {
        s.delete_range(KeyRange::new("b", "pB2")).await.unwrap();
        let now = s.timestamp().await.unwrap();
        assert_eq!(
            scan_all(&**s, KeyRange::default(), now, ScanOptions::default()).await,
            pairs(&[("a", "1"), ("pB2", "5")])
        );
    }
    assert!(s.versions(b"b", Timestamp(1)).await.unwrap().is_empty());
    let ts = write(&**s, &[("pA9", Some("new"))]).await;
    assert_eq!(
        scan_all(&**s, KeyRange::prefix(b"pA"), ts, ScanOptions::default()).await,
        pairs(&[("pA9", "new")])
    );
    let regions = s.regions(&KeyRange::new("a", "z")).await.unwrap();
    assert_eq!(
        (
            &regions[0].range.start[..],
            &regions[regions.len() - 1].range.end[..]
        ),
        (&b"a"[..], &b"z"[..])
    );
    assert!(regions.windows(2).all(|w| w[0].range.end == w[1].range.start));
}
