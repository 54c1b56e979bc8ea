//! What a commit checks.

use super::*;
use crate::rows::{self, Change, Outcome, RowError, Stored};

async fn commit_one(s: &StoreRef, start_ts: Timestamp, m: Mutation) -> Result<Timestamp> {
    s.commit(CommitRequest {
        start_ts,
        mutations: vec![m],
        ..CommitRequest::default()
    })
    .await
}

async fn value(s: &StoreRef, key: &str) -> Option<Bytes> {
    let now = s.timestamp().await.unwrap();
    s.get(key.as_bytes(), now).await.unwrap()
}

pub async fn checks_refuse_conflicting_commits(s: &StoreRef) {
    let early = s.begin_timestamp().await.unwrap();
    let t1 = write(&**s, &[("a", Some("1"))]).await;
    let refused = commit_one(s, early, mutation("a", Some("2"), Check::Unchanged)).await;
    assert!(matches!(refused, Err(Error::WriteConflict { conflict_ts, .. }) if conflict_ts == t1));
    // Without a check the later commit wins.
    let early = s.begin_timestamp().await.unwrap();
    write(&**s, &[("n", Some("1"))]).await;
    commit_one(s, early, mutation("n", Some("2"), Check::None))
        .await
        .unwrap();
    assert_eq!(value(s, "n").await, Some(b("2")));

    let start = s.begin_timestamp().await.unwrap();
    let refused = commit_one(s, start, mutation("a", Some("2"), Check::MustNotExist)).await;
    assert!(matches!(refused, Err(Error::KeyExists { key }) if key == b"a"));
    let start = s.begin_timestamp().await.unwrap();
    commit_one(s, start, mutation("a", None, Check::Unchanged))
        .await
        .unwrap();
    let start = s.begin_timestamp().await.unwrap();
    commit_one(s, start, mutation("a", Some("3"), Check::MustNotExist))
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
    assert_eq!(value(s, "a").await, Some(b("3")));
    // The limit is far: no matter.
    let start = s.begin_timestamp().await.unwrap();
    let max_commit_ts = Some(start.plus(Duration::from_secs(60)));
    s.commit(CommitRequest {
        start_ts: start,
        mutations: vec![mutation("a", Some("5"), Check::Unchanged)],
        max_commit_ts,
        ..CommitRequest::default()
    })
    .await
    .unwrap();
    assert_eq!(value(s, "a").await, Some(b("5")));
}

pub async fn preconditions_hold_at_the_commit(s: &StoreRef) {
    let guarded = async |key: &str, guard: &str, required: Option<&str>| {
        let start_ts = s.begin_timestamp().await.unwrap();
        s.commit(CommitRequest {
            start_ts,
            mutations: vec![mutation(key, Some("done"), Check::None)],
            preconditions: vec![Precondition {
                key: b(guard),
                value: required.map(b),
            }],
            ..CommitRequest::default()
        })
        .await
    };
    let refused = guarded("x", "owner", Some("me")).await;
    assert!(matches!(refused, Err(Error::PreconditionFailed { key }) if key == b"owner"));
    assert_eq!(value(s, "x").await, None);
    guarded("x", "owner", None).await.unwrap();
    write(&**s, &[("owner", Some("me"))]).await;
    guarded("y", "owner", Some("me")).await.unwrap();
    assert!(matches!(
        guarded("z", "owner", None).await,
        Err(Error::PreconditionFailed { .. })
    ));
    assert!(matches!(
        guarded("z", "owner", Some("you")).await,
        Err(Error::PreconditionFailed { .. })
    ));
    assert_eq!(value(s, "z").await, None);
    // On the very key that is written: compare and swap.
    guarded("owner", "owner", Some("me")).await.unwrap();
    assert!(matches!(
        guarded("owner", "owner", Some("me")).await,
        Err(Error::PreconditionFailed { .. })
    ));
    assert_eq!(value(s, "owner").await, Some(b("done")));
    // What a failed one would have written can be written by another at once.
    write(&**s, &[("z", Some("free"))]).await;
}

pub async fn a_key_that_was_inserted_and_taken_away(s: &StoreRef) {
    let both = async |key: &str| {
        let start_ts = s.begin_timestamp().await.unwrap();
        s.commit(CommitRequest {
            start_ts,
            mutations: vec![
                mutation(key, None, Check::MustNotExist),
                mutation("beside", Some("1"), Check::Unchanged),
            ],
            ..CommitRequest::default()
        })
        .await
    };
    both("absent").await.unwrap();
    write(&**s, &[("there", Some("1"))]).await;
    assert!(matches!(both("there").await, Err(Error::KeyExists { key }) if key == b"there"));
    assert_eq!(value(s, "there").await, Some(b("1")));
}

pub async fn bounds_of_a_commit(s: &StoreRef) {
    let start = s.begin_timestamp().await.unwrap();
    let twice = s
        .commit(CommitRequest {
            start_ts: start,
            mutations: vec![mutation("a", None, Check::None), mutation("a", None, Check::None)],
            ..CommitRequest::default()
        })
        .await;
    assert!(matches!(twice, Err(Error::Bug(_))));
    let long = "k".repeat(64 << 10);
    let refused = commit_one(s, start, mutation(&long, Some("1"), Check::None)).await;
    assert!(matches!(refused, Err(Error::TooLarge { what: "key", .. })));
    let empty = commit_one(s, start, mutation("", Some("1"), Check::None)).await;
    assert!(matches!(empty, Err(Error::Bug(_))));
    // A value that is empty is a value, and a long one comes back whole.
    let start = s.begin_timestamp().await.unwrap();
    let large = "v".repeat(1 << 20);
    s.commit(CommitRequest {
        start_ts: start,
        mutations: vec![
            mutation("empty", Some(""), Check::None),
            mutation("large", Some(&large), Check::None),
        ],
        ..CommitRequest::default()
    })
    .await
    .unwrap();
    assert_eq!(value(s, "empty").await, Some(Bytes::new()));
    assert_eq!(value(s, "large").await, Some(b(&large)));
    let versions = s.versions(b"large", Timestamp(1)).await.unwrap();
    assert_eq!((versions.len(), versions[0].1.clone()), (1, Some(b(&large))));
    assert_eq!(
        s.versions(b"empty", Timestamp(1)).await.unwrap()[0].1,
        Some(Bytes::new())
    );
}

/// Nothing to write: the conditions are still checked, and the locks given back.
pub async fn commits_without_writes(s: &StoreRef) {
    let start_ts = s.begin_timestamp().await.unwrap();
    let guard = |value: Option<&str>| CommitRequest {
        start_ts,
        preconditions: vec![Precondition {
            key: b("g"),
            value: value.map(b),
        }],
        ..CommitRequest::default()
    };
    assert!(matches!(
        s.commit(guard(Some("1"))).await,
        Err(Error::PreconditionFailed { .. })
    ));
    assert!(s.commit(guard(None)).await.unwrap() >= start_ts);

    let mut reader = Transaction::begin(s, TxnMode::Pessimistic).await.unwrap();
    let now = s.timestamp().await.unwrap();
    reader.lock(vec![b("l")], now, Duration::ZERO).await.unwrap();
    reader.commit(CommitOptions::default()).await.unwrap();
    let other = Transaction::begin(s, TxnMode::Pessimistic).await.unwrap();
    let mut other = other;
    let now = s.timestamp().await.unwrap();
    other.lock(vec![b("l")], now, Duration::ZERO).await.unwrap();
    other.rollback().await.unwrap();
}

pub async fn rows_are_changed_as_they_were_read_or_not_at_all(s: &StoreRef) {
    let options = CommitOptions::default();
    let mut change = Change::default();
    for (key, value) in [("rows/1", "1"), ("rows/2", "2"), ("rows/3", "x"), ("term", "7")] {
        change.put(b(key), b(value));
    }
    assert_eq!(change.commit(s, options).await.unwrap(), Outcome::Written);
    let one: Stored<u64> = rows::read(s, b("rows/1")).await.unwrap().unwrap();
    assert_eq!(
        (one.value, &one.raw[..], &one.key[..]),
        (1, &b"1"[..], &b"rows/1"[..])
    );
    assert!(rows::read::<u64>(s, b("rows/0")).await.unwrap().is_none());
    let both = KeyRange::new("rows/1", "rows/3");
    let read: Vec<Stored<u64>> = rows::scan(s, both, ScanOptions::default()).await.unwrap();
    assert_eq!(read.iter().map(|row| row.value).collect::<Vec<_>>(), [1, 2]);
    // One that does not parse is an error that names it, never an absent row.
    for damaged in [
        rows::read::<u64>(s, b("rows/3")).await.map(drop),
        rows::scan::<u64>(s, KeyRange::prefix(b"rows/"), ScanOptions::default())
            .await
            .map(drop),
    ] {
        assert!(matches!(damaged, Err(RowError::Damaged(row)) if row.contains("rows/3")));
    }

    let guard = |value: &str| Precondition {
        key: b("term"),
        value: Some(b(value)),
    };
    let mut change = Change::guarded(guard("7"));
    let raw = change.replace(&one, &11).unwrap();
    change.delete(b("rows/3"));
    assert_eq!(change.commit(s, options).await.unwrap(), Outcome::Written);
    assert_eq!(value(s, "rows/1").await, Some(raw));
    // The row has changed since it was read: nothing of it is written.
    let mut change = Change::guarded(guard("7"));
    change.replace(&one, &12).unwrap();
    change.put(b("rows/3"), b("3"));
    assert_eq!(change.commit(s, options).await.unwrap(), Outcome::Changed);
    let mut change = Change::default();
    change.remove(&one);
    assert_eq!(change.commit(s, options).await.unwrap(), Outcome::Changed);
    // The term is over, whatever the rows are.
    let one: Stored<u64> = rows::read(s, b("rows/1")).await.unwrap().unwrap();
    let mut change = Change::guarded(guard("6"));
    change.remove(&one);
    assert_eq!(change.commit(s, options).await.unwrap(), Outcome::Fenced);
    assert_eq!(value(s, "rows/1").await, Some(b("11")));
    assert_eq!(value(s, "rows/3").await, None);
    // A row that is only looked at counts as well.
    let mut change = Change::default();
    change.expect(&one);
    change.put(b("rows/1"), b("13"));
    assert_eq!(change.commit(s, options).await.unwrap(), Outcome::Written);
    let mut change = Change::default();
    change.expect(&one);
    assert_eq!(change.commit(s, options).await.unwrap(), Outcome::Changed);
    // Bounds of the commit hold for it.
    let mut change = Change::default();
    change.put(b("rows/1"), b("14"));
    let limit = CommitOptions {
        max_commit_ts: Some(Timestamp(1)),
        ..options
    };
    let late = change.commit(s, limit).await;
    assert!(matches!(late, Err(Error::CommitTooLate { .. })), "{late:?}");
    assert_eq!(value(s, "rows/1").await, Some(b("13")));
}
