//! The protocol over a real socket: what a client sees.

mod support;

use ilmenite_proto::kvrpcpb::*;
use support::*;

#[tokio::test(flavor = "multi_thread")]
async fn commits_in_one_phase_and_in_two() {
    let served = Served::new().await;
    let c = served.client().await;
    let before = c.ts().await;
    let first = c.write(&[("a", Some("1")), ("b", Some("2"))]).await;
    assert!(first > before);
    assert_eq!(c.value("a", first).await.as_deref(), Some("1"));
    assert_eq!(c.value("a", first - 1).await, None);

    let start_ts = c.ts().await;
    let answer = c
        .prewrite(prewrite(
            start_ts,
            &[("a", Some("3")), ("c", Some("4")), ("b", None)],
        ))
        .await;
    assert_eq!(
        (answer.errors, answer.one_pc_commit_ts, answer.min_commit_ts),
        (vec![], 0, 0)
    );
    // Older readers pass the locks by, newer ones do not.
    assert_eq!(c.value("a", start_ts - 1).await.as_deref(), Some("1"));
    let locked = c
        .get("b", c.ts().await)
        .await
        .error
        .expect("locked")
        .locked
        .expect("locked");
    assert_eq!(
        (&locked.primary_lock[..], &locked.key[..], locked.lock_version),
        (&b"a"[..], &b"b"[..], start_ts)
    );
    assert_eq!((locked.lock_ttl, locked.txn_size), (3000, 3));
    assert_eq!(
        (locked.lock_type(), locked.min_commit_ts),
        (Op::Del, start_ts + 1)
    );

    let commit_ts = c.ts().await;
    let done = c.commit(&["a"], start_ts, commit_ts).await;
    assert_eq!((done.error, done.commit_version), (None, commit_ts));
    assert_eq!(c.value("a", commit_ts).await.as_deref(), Some("3"));
    assert!(c.get("c", commit_ts).await.error.is_some(), "not committed yet");
    // The same again changes nothing, and secondaries follow.
    let done = c.commit(&["a", "b", "c"], start_ts, commit_ts).await;
    assert_eq!(done.error, None);
    assert_eq!(c.value("b", commit_ts).await, None);
    assert_eq!(c.value("b", commit_ts - 1).await.as_deref(), Some("2"));

    let scanned = c.scan("a", "z", commit_ts, false, 10).await.pairs;
    let pairs: Vec<_> = scanned.iter().map(|p| (&p.key[..], &p.value[..])).collect();
    assert_eq!(pairs, [(&b"a"[..], &b"3"[..]), (b"c", b"4")]);
    let scanned = c.scan("a", "z", commit_ts - 1, true, 1).await.pairs;
    assert_eq!(&scanned[0].key[..], b"b");
}

#[tokio::test(flavor = "multi_thread")]
async fn conflicts_are_reported_as_they_are() {
    let served = Served::new().await;
    let c = served.client().await;
    let old = c.ts().await;
    let written = c.write(&[("a", Some("1"))]).await;
    let errors = c.prewrite(prewrite(old, &[("a", Some("2"))])).await.errors;
    let conflict = errors[0].conflict.clone().expect("a conflict");
    assert_eq!((conflict.start_ts, conflict.conflict_commit_ts), (old, written));
    assert_eq!(conflict.reason(), write_conflict::Reason::Optimistic);

    let start_ts = c.ts().await;
    let insert = PrewriteRequest {
        mutations: vec![mutation(Op::Insert, "a", "x")],
        ..prewrite(start_ts, &[("a", None)])
    };
    let errors = c.prewrite(insert).await.errors;
    assert_eq!(&errors[0].already_exist.clone().expect("exists").key[..], b"a");
    let check = |op| PrewriteRequest {
        mutations: vec![mutation(op, "n", "")],
        ..prewrite(start_ts, &[("n", None)])
    };
    assert_eq!(c.prewrite(check(Op::CheckNotExists)).await.errors, vec![]);
    assert_eq!(c.value("n", c.ts().await).await, None, "a check leaves no lock");

    // A key locked by another transaction; nothing of the request is written.
    assert_eq!(
        c.prewrite(prewrite(start_ts, &[("k", Some("1"))])).await.errors,
        vec![]
    );
    let other = c.ts().await;
    let errors = c
        .prewrite(prewrite(other, &[("j", Some("2")), ("k", Some("2"))]))
        .await
        .errors;
    assert_eq!(errors[0].locked.clone().expect("locked").lock_version, start_ts);
    assert_eq!(c.value("j", c.ts().await).await, None);
    // Rolled back, its late prewrite and commit fail.
    assert_eq!(c.rollback(&["k"], start_ts).await.error, None);
    let errors = c.prewrite(prewrite(start_ts, &[("k", Some("1"))])).await.errors;
    let reason = errors[0].conflict.clone().expect("a conflict").reason();
    assert_eq!(reason, write_conflict::Reason::SelfRolledBack);
    let done = c.commit(&["k"], start_ts, c.ts().await).await;
    assert!(done.error.expect("fails").txn_lock_not_found.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_phase_past_its_limit_leaves_locks() {
    let served = Served::new().await;
    let c = served.client().await;
    let start_ts = c.ts().await;
    let request = PrewriteRequest {
        try_one_pc: true,
        max_commit_ts: start_ts + 1,
        ..prewrite(start_ts, &[("a", Some("1"))])
    };
    let answer = c.prewrite(request).await;
    assert_eq!((answer.errors, answer.one_pc_commit_ts), (vec![], 0));
    let commit_ts = c.ts().await;
    assert_eq!(c.commit(&["a"], start_ts, commit_ts).await.error, None);
    assert_eq!(c.value("a", commit_ts).await.as_deref(), Some("1"));
}
