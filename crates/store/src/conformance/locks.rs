//! Pessimistic locks.

use std::time::Instant;

use super::*;

const LONG: Duration = Duration::from_secs(10);

async fn begin(s: &StoreRef) -> Timestamp {
    s.begin_timestamp().await.unwrap()
}

async fn lock(
    s: &StoreRef,
    start_ts: Timestamp,
    keys: &[&str],
    wait: Duration,
) -> Result<Vec<Option<Bytes>>> {
    let for_update_ts = s.timestamp().await.unwrap();
    s.lock(LockRequest {
        start_ts,
        keys: keys.iter().map(b).collect(),
        for_update_ts,
        wait,
    })
    .await
}

async fn pause() {
    tokio::time::sleep(Duration::from_millis(100)).await;
}

pub async fn locks_return_the_newest_values(s: &StoreRef) {
    let one = begin(s).await;
    let t1 = write(&**s, &[("a", Some("1")), ("pA1", Some("2"))]).await;
    let values = lock(s, one, &["pA1", "none", "a", "pA1"], Duration::ZERO)
        .await
        .unwrap();
    assert_eq!(values, vec![Some(b("2")), None, Some(b("1")), Some(b("2"))]);
    // Again, with one more.
    let values = lock(s, one, &["a", "b"], Duration::ZERO).await.unwrap();
    assert_eq!(values, vec![Some(b("1")), None]);
    s.unlock(one, None).await.unwrap();

    let two = begin(s).await;
    let refused = s
        .lock(LockRequest {
            start_ts: two,
            keys: vec![b("a")],
            for_update_ts: t1.prev(),
            wait: LONG,
        })
        .await;
    assert!(
        matches!(refused, Err(Error::WriteConflict { conflict_ts, .. }) if conflict_ts == t1),
        "{refused:?}"
    );
    // It holds nothing now.
    let three = begin(s).await;
    lock(s, three, &["a"], Duration::ZERO).await.unwrap();
    s.unlock(three, None).await.unwrap();
    s.unlock(two, None).await.unwrap();
}

pub async fn all_keys_or_none(s: &StoreRef) {
    let (one, two, three) = (begin(s).await, begin(s).await, begin(s).await);
    lock(s, one, &["m"], Duration::ZERO).await.unwrap();
    let refused = lock(s, two, &["a", "m", "z"], Duration::ZERO).await;
    assert!(
        matches!(refused, Err(Error::LockNotAvailable { ref key, holder }) if key == b"m" && holder == one),
        "{refused:?}"
    );
    lock(s, three, &["a", "z"], Duration::ZERO).await.unwrap();
    for txn in [one, two, three] {
        s.unlock(txn, None).await.unwrap();
    }
}

pub async fn waits_end_in_time(s: &StoreRef) {
    let (one, two) = (begin(s).await, begin(s).await);
    lock(s, one, &["a"], Duration::ZERO).await.unwrap();
    let began = Instant::now();
    let refused = lock(s, two, &["a"], Duration::from_millis(300)).await;
    assert!(
        matches!(refused, Err(Error::LockTimeout { holder, .. }) if holder == one),
        "{refused:?}"
    );
    let took = began.elapsed();
    assert!(
        (Duration::from_millis(290)..Duration::from_secs(3)).contains(&took),
        "{took:?}"
    );
    // Longer than any sign of life is apart: the holder is alive all the same.
    let refused = lock(s, two, &["a"], Duration::from_millis(2500)).await;
    assert!(matches!(refused, Err(Error::LockTimeout { .. })), "{refused:?}");
    s.unlock(one, None).await.unwrap();
    lock(s, two, &["a"], Duration::ZERO).await.unwrap();
    s.unlock(two, None).await.unwrap();
}

pub async fn a_waiter_gets_the_lock(s: &StoreRef) {
    let one = begin(s).await;
    lock(s, one, &["a"], Duration::ZERO).await.unwrap();
    let waiting = {
        let s = s.clone();
        tokio::spawn(async move {
            let two = begin(&s).await;
            let got = lock(&s, two, &["a"], LONG).await;
            s.unlock(two, None).await.unwrap();
            got
        })
    };
    pause().await;
    assert!(!waiting.is_finished());
    s.unlock(one, None).await.unwrap();
    assert_eq!(waiting.await.unwrap().unwrap(), vec![None]);

    // Let go by a commit: what the waiter finds is newer than what it had read.
    let one = begin(s).await;
    lock(s, one, &["a"], Duration::ZERO).await.unwrap();
    let waiting = {
        let s = s.clone();
        tokio::spawn(async move {
            let two = begin(&s).await;
            let got = lock(&s, two, &["a"], LONG).await;
            s.unlock(two, None).await.unwrap();
            got
        })
    };
    pause().await;
    let committed = s
        .commit(CommitRequest {
            start_ts: one,
            mutations: vec![mutation("a", Some("1"), Check::None)],
            ..CommitRequest::default()
        })
        .await
        .unwrap();
    match waiting.await.unwrap() {
        Err(Error::WriteConflict { conflict_ts, .. }) => assert_eq!(conflict_ts, committed),
        other => panic!("{other:?}"),
    }
}

pub async fn a_dropped_wait_leaves_nothing(s: &StoreRef) {
    let (one, two, three) = (begin(s).await, begin(s).await, begin(s).await);
    lock(s, one, &["m"], Duration::ZERO).await.unwrap();
    let waiting = {
        let s = s.clone();
        tokio::spawn(async move { lock(&s, two, &["a", "m"], Duration::from_secs(2)).await })
    };
    pause().await;
    waiting.abort();
    assert!(waiting.await.is_err());
    // In the background, so within moments.
    lock(s, three, &["a"], Duration::from_secs(4)).await.unwrap();
    s.unlock(one, None).await.unwrap();
    lock(s, three, &["m"], Duration::from_secs(4)).await.unwrap();
    s.unlock(three, None).await.unwrap();
    s.unlock(two, None).await.unwrap();
}

pub async fn deadlocks_are_found(s: &StoreRef) {
    let (one, two) = (begin(s).await, begin(s).await);
    lock(s, one, &["a"], Duration::ZERO).await.unwrap();
    lock(s, two, &["pA1"], Duration::ZERO).await.unwrap();
    let waiting = {
        let s = s.clone();
        tokio::spawn(async move { lock(&s, one, &["pA1"], LONG).await })
    };
    pause().await;
    let refused = lock(s, two, &["a"], LONG).await;
    assert!(
        matches!(refused, Err(Error::Deadlock { ref key, .. }) if key == b"a"),
        "{refused:?}"
    );
    s.unlock(two, None).await.unwrap();
    waiting.await.unwrap().unwrap();
    s.unlock(one, None).await.unwrap();
}

/// Writing a key on which another transaction holds a lock is a conflict at once.
pub async fn commits_conflict_with_locks(s: &StoreRef) {
    let one = begin(s).await;
    lock(s, one, &["a"], Duration::ZERO).await.unwrap();
    for check in [Check::None, Check::Unchanged, Check::MustNotExist] {
        let two = begin(s).await;
        let began = Instant::now();
        let refused = s
            .commit(CommitRequest {
                start_ts: two,
                mutations: vec![mutation("a", Some("2"), check), mutation("pA1", Some("2"), check)],
                ..CommitRequest::default()
            })
            .await;
        assert!(
            matches!(refused, Err(Error::WriteConflict { ref key, .. }) if key == b"a"),
            "{refused:?}"
        );
        assert!(began.elapsed() < Duration::from_secs(1), "never a wait");
        s.unlock(two, None).await.unwrap();
    }
    s.commit(CommitRequest {
        start_ts: one,
        mutations: vec![mutation("a", Some("1"), Check::Unchanged)],
        ..CommitRequest::default()
    })
    .await
    .unwrap();
    let now = s.timestamp().await.unwrap();
    assert_eq!(s.get(b"a", now).await.unwrap(), Some(b("1")));
    assert_eq!(s.get(b"pA1", now).await.unwrap(), None);
}

/// Under the transaction's own lock the version is the one it locked, however new.
pub async fn a_locked_key_is_written_whatever_happened_before(s: &StoreRef) {
    let one = begin(s).await;
    write(&**s, &[("a", Some("newer")), ("pA1", Some("newer"))]).await;
    let values = lock(s, one, &["a", "pA1", "b", "unwritten"], Duration::ZERO)
        .await
        .unwrap();
    assert_eq!(values, vec![Some(b("newer")), Some(b("newer")), None, None]);
    let exists = s
        .commit(CommitRequest {
            start_ts: one,
            mutations: vec![mutation("a", Some("1"), Check::MustNotExist)],
            ..CommitRequest::default()
        })
        .await;
    assert!(matches!(exists, Err(Error::KeyExists { .. })), "{exists:?}");
    // Nothing was written, the locks stay.
    let two = begin(s).await;
    assert!(lock(s, two, &["a"], Duration::ZERO).await.is_err());
    s.commit(CommitRequest {
        start_ts: one,
        mutations: vec![
            mutation("a", Some("1"), Check::Unchanged),
            mutation("pA1", None, Check::None),
            mutation("b", Some("1"), Check::MustNotExist),
            mutation("unlocked", Some("1"), Check::None),
        ],
        ..CommitRequest::default()
    })
    .await
    .unwrap();
    let now = s.timestamp().await.unwrap();
    let all = scan_all(&**s, KeyRange::default(), now, ScanOptions::default()).await;
    assert_eq!(all, pairs(&[("a", "1"), ("b", "1"), ("unlocked", "1")]));
    // All locks went with the commit, that on the key it did not write too.
    lock(s, two, &["a", "b", "pA1", "unwritten"], Duration::from_secs(2))
        .await
        .unwrap();
    s.unlock(two, None).await.unwrap();
}

pub async fn giving_back_some_of_the_locks(s: &StoreRef) {
    let (one, two) = (begin(s).await, begin(s).await);
    lock(s, one, &["a", "b"], Duration::ZERO).await.unwrap();
    lock(s, one, &["c"], Duration::ZERO).await.unwrap();
    s.unlock(one, Some(&[b("b"), b("c"), b("nothing")]))
        .await
        .unwrap();
    lock(s, two, &["b", "c"], Duration::ZERO).await.unwrap();
    assert!(lock(s, two, &["a"], Duration::ZERO).await.is_err());
    s.unlock(two, None).await.unwrap();
    // A statement that took the first locks of all, and more before it failed.
    s.unlock(one, Some(&[b("a")])).await.unwrap();
    lock(s, two, &["a"], Duration::ZERO).await.unwrap();
    s.unlock(two, None).await.unwrap();
    // The transaction goes on.
    lock(s, one, &["a", "d"], Duration::ZERO).await.unwrap();
    s.commit(CommitRequest {
        start_ts: one,
        mutations: vec![mutation("d", Some("1"), Check::Unchanged)],
        ..CommitRequest::default()
    })
    .await
    .unwrap();
    s.unlock(two, None).await.unwrap();
}
