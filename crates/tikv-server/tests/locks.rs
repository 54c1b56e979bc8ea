//! Pessimistic locks, and what becomes of transactions that others meet.

mod support;

use std::time::{Duration, Instant};

use ilmenite_proto::ilmenitepb::{self, chaos_request::Action as Chaos};
use ilmenite_proto::kvrpcpb::*;
use support::*;

fn committed_with(start_ts: u64, for_update_ts: u64, keys: &[&str]) -> PrewriteRequest {
    let pairs: Vec<_> = keys.iter().map(|k| (*k, Some("new"))).collect();
    PrewriteRequest {
        for_update_ts,
        pessimistic_actions: vec![prewrite_request::PessimisticAction::DoPessimisticCheck.into(); keys.len()],
        ..prewrite(start_ts, &pairs)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pessimistic_transaction_from_lock_to_commit() {
    let served = Served::new().await;
    let c = served.client().await;
    c.write(&[("a", Some("1"))]).await;
    let start_ts = c.ts().await;
    let locked = c.lock(lock(start_ts, start_ts, &["a", "b"])).await;
    assert_eq!(locked.errors, vec![]);
    assert_eq!(
        (locked.values, locked.not_founds),
        (vec![b("1"), b("")], vec![false, true])
    );
    // Readers pass by.
    assert_eq!(c.value("a", c.ts().await).await.as_deref(), Some("1"));
    // A writer does not, and is told whose lock it is.
    let other = c.ts().await;
    let errors = c.prewrite(prewrite(other, &[("a", Some("x"))])).await.errors;
    let info = errors[0].locked.clone().expect("locked");
    assert_eq!(
        (info.lock_version, info.lock_type()),
        (start_ts, Op::PessimisticLock)
    );
    assert_eq!(info.lock_for_update_ts, start_ts);

    assert_eq!(
        c.prewrite(committed_with(start_ts, start_ts, &["a", "b"]))
            .await
            .errors,
        vec![]
    );
    assert!(
        c.get("a", c.ts().await).await.error.is_some(),
        "now it is prewritten"
    );
    let commit_ts = c.ts().await;
    assert_eq!(c.commit(&["a", "b"], start_ts, commit_ts).await.error, None);
    assert_eq!(c.value("b", commit_ts).await.as_deref(), Some("new"));

    // A lock at an old timestamp is a conflict, unless it is forced.
    let start_ts = other;
    let errors = c.lock(lock(start_ts, start_ts, &["a"])).await.errors;
    let conflict = errors[0].conflict.clone().expect("a conflict");
    assert_eq!(conflict.reason(), write_conflict::Reason::PessimisticRetry);
    let forced = PessimisticLockRequest {
        wake_up_mode: PessimisticLockWakeUpMode::WakeUpModeForceLock.into(),
        ..lock(start_ts, start_ts, &["a"])
    };
    let result = c.lock(forced).await.results[0].clone();
    assert_eq!(
        (result.locked_with_conflict_ts, &result.value[..]),
        (commit_ts, &b"new"[..])
    );
    c.unlock(&["a"], start_ts, commit_ts).await;
    // In one phase it goes too.
    let start_ts = c.ts().await;
    assert_eq!(c.lock(lock(start_ts, start_ts, &["a"])).await.errors, vec![]);
    let answer = c
        .prewrite(PrewriteRequest {
            try_one_pc: true,
            ..committed_with(start_ts, start_ts, &["a"])
        })
        .await;
    assert!(answer.one_pc_commit_ts > start_ts);
    c.write(&[("a", Some("free again"))]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn waiters_wait_and_circles_are_found() {
    let served = Served::new().await;
    let c = served.client().await;
    let (one, two) = (c.ts().await, c.ts().await);
    assert_eq!(c.lock(lock(one, one, &["a"])).await.errors, vec![]);
    assert_eq!(c.lock(lock(two, two, &["b"])).await.errors, vec![]);
    // Not at all; in vain; for as long as it takes.
    let no_wait = PessimisticLockRequest {
        wait_timeout: -1,
        ..lock(two, two, &["a"])
    };
    let began = Instant::now();
    assert!(c.lock(no_wait).await.errors[0].locked.is_some());
    assert!(began.elapsed() < Duration::from_millis(200));
    let short = PessimisticLockRequest {
        wait_timeout: 300,
        ..lock(two, two, &["a"])
    };
    let began = Instant::now();
    assert!(c.lock(short).await.errors[0].locked.is_some());
    assert!(began.elapsed() >= Duration::from_millis(290));

    let waiting = tokio::spawn({
        let c = c.clone();
        async move { c.lock(lock(two, two, &["a"])).await }
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    let waits =
        c.kv.clone()
            .get_lock_wait_info(GetLockWaitInfoRequest::default())
            .await;
    let waits = waits.expect("answers").into_inner().entries;
    assert_eq!(
        (waits[0].txn, waits[0].wait_for_txn, &waits[0].key[..]),
        (two, one, &b"a"[..])
    );
    let errors = c.lock(lock(one, one, &["b"])).await.errors;
    let deadlock = errors[0].deadlock.clone().expect("a deadlock");
    assert_eq!((deadlock.lock_ts, &deadlock.lock_key[..]), (two, &b"b"[..]));
    let chain: Vec<_> = deadlock
        .wait_chain
        .iter()
        .map(|w| (w.txn, w.wait_for_txn))
        .collect();
    assert_eq!(chain, [(one, two), (two, one)]);
    c.unlock(&["a"], one, one).await;
    assert_eq!(waiting.await.expect("ends").errors, vec![]);
}

fn status(primary: &str, start_ts: u64, now: u64) -> CheckTxnStatusRequest {
    CheckTxnStatusRequest {
        primary_key: b(primary),
        lock_ts: start_ts,
        caller_start_ts: now,
        current_ts: now,
        rollback_if_not_exist: true,
        verify_is_primary: true,
        ..Default::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_becomes_of_a_transaction() {
    let served = Served::new().await;
    let c = served.client().await;
    // Alive: pushed past the reader, who then passes its locks by.
    let start_ts = c.ts().await;
    c.prewrite(prewrite(start_ts, &[("a", Some("1")), ("b", Some("1"))]))
        .await;
    let reader = c.ts().await;
    let answer = c.check_status(status("a", start_ts, reader)).await;
    assert_eq!(
        (answer.action(), answer.lock_ttl),
        (Action::MinCommitTsPushed, 3000)
    );
    assert!(answer.lock_info.expect("the lock").min_commit_ts > reader);
    assert_eq!(c.value("a", reader).await, None);
    let request = GetRequest {
        context: Some(Context {
            resolved_locks: vec![start_ts],
            ..c.context(b"b").await.expect("a context")
        }),
        key: b("b"),
        version: reader,
    };
    assert!(
        c.kv.clone()
            .kv_get(request)
            .await
            .expect("get")
            .into_inner()
            .not_found
    );
    let early = c.commit(&["a"], start_ts, reader).await.error.expect("too early");
    assert!(early.commit_ts_expired.expect("says so").min_commit_ts > reader);
    let commit_ts = c.ts().await;
    assert_eq!(c.commit(&["a"], start_ts, commit_ts).await.error, None);

    // Committed: the reader of the other key learns it, and may read through it or resolve it.
    let answer = c.check_status(status("a", start_ts, c.ts().await)).await;
    assert_eq!(
        (answer.commit_version, answer.action()),
        (commit_ts, Action::NoAction)
    );
    let through = Context {
        committed_locks: vec![start_ts],
        ..c.context(b"b").await.expect("a context")
    };
    let request = GetRequest {
        context: Some(through.clone()),
        key: b("b"),
        version: commit_ts,
    };
    assert_eq!(
        &c.kv
            .clone()
            .kv_get(request)
            .await
            .expect("get")
            .into_inner()
            .value[..],
        b"1"
    );
    let request = ScanRequest {
        context: Some(through.clone()),
        limit: 10,
        version: commit_ts,
        ..Default::default()
    };
    let pairs =
        c.kv.clone()
            .kv_scan(request)
            .await
            .expect("scan")
            .into_inner()
            .pairs;
    assert_eq!(pairs.iter().map(|p| &p.key[..]).collect::<Vec<_>>(), [b"a", b"b"]);
    let scanned = c.scan("", "", commit_ts, false, 10).await.pairs;
    assert_eq!((scanned.len(), &scanned[0].key[..]), (2, &b"a"[..]));
    assert_eq!(
        &scanned[1]
            .error
            .clone()
            .expect("locked")
            .locked
            .expect("locked")
            .key[..],
        b"b"
    );
    let request = ResolveLockRequest {
        context: c.context(b"b").await,
        start_version: start_ts,
        commit_version: commit_ts,
        ..Default::default()
    };
    let done =
        c.kv.clone()
            .kv_resolve_lock(request)
            .await
            .expect("resolves")
            .into_inner();
    assert_eq!(done.error, None);
    assert_eq!(c.value("b", commit_ts).await.as_deref(), Some("1"));

    // Its time over: rolled back, also on secondaries found by looking for locks.
    let start_ts = c.ts().await;
    let request = PrewriteRequest {
        lock_ttl: 1,
        ..prewrite(start_ts, &[("c", Some("1")), ("d", Some("1"))])
    };
    c.prewrite(request).await;
    tokio::time::sleep(Duration::from_millis(10)).await;
    let answer = c.check_status(status("c", start_ts, c.ts().await)).await;
    assert_eq!(answer.action(), Action::TtlExpireRollback);
    let answer = c.check_status(status("c", start_ts, c.ts().await)).await;
    assert_eq!(
        (answer.action(), answer.commit_version, answer.lock_ttl),
        (Action::NoAction, 0, 0)
    );
    let request = ScanLockRequest {
        context: c.context(b"d").await,
        max_version: c.ts().await,
        limit: 10,
        ..Default::default()
    };
    let locks =
        c.kv.clone()
            .kv_scan_lock(request)
            .await
            .expect("scans")
            .into_inner()
            .locks;
    assert_eq!(locks.iter().map(|l| &l.key[..]).collect::<Vec<_>>(), [b"d"]);
    let request = ResolveLockRequest {
        context: c.context(b"d").await,
        txn_infos: vec![TxnInfo {
            txn: start_ts,
            status: 0,
        }],
        ..Default::default()
    };
    c.kv.clone().kv_resolve_lock(request).await.expect("resolves");
    assert_eq!(c.value("d", c.ts().await).await, None);

    // Never heard of: an error, or rolled back for good.
    let start_ts = c.ts().await;
    let request = CheckTxnStatusRequest {
        rollback_if_not_exist: false,
        ..status("n", start_ts, start_ts)
    };
    assert!(
        c.check_status(request)
            .await
            .error
            .expect("an error")
            .txn_not_found
            .is_some()
    );
    let request = CheckTxnStatusRequest {
        resolving_pessimistic_lock: true,
        ..status("n", start_ts, start_ts)
    };
    assert_eq!(
        c.check_status(request).await.action(),
        Action::LockNotExistDoNothing
    );
    let answer = c.check_status(status("n", start_ts, start_ts)).await;
    assert_eq!(answer.action(), Action::LockNotExistRollback);
    assert_eq!(
        c.prewrite(prewrite(start_ts, &[("n", Some("1"))]))
            .await
            .errors
            .len(),
        1
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn heartbeats_keep_a_transaction_alive() {
    let served = Served::new().await;
    let c = served.client().await;
    let start_ts = c.ts().await;
    let request = PessimisticLockRequest {
        lock_ttl: 1,
        ..lock(start_ts, start_ts, &["a"])
    };
    c.lock(request).await;
    let beat = TxnHeartBeatRequest {
        context: c.context(b"a").await,
        primary_lock: b("a"),
        start_version: start_ts,
        advise_lock_ttl: 60_000,
        ..Default::default()
    };
    let beaten =
        c.kv.clone()
            .kv_txn_heart_beat(beat.clone())
            .await
            .expect("beats")
            .into_inner();
    assert_eq!((beaten.error, beaten.lock_ttl), (None, 60_000));
    tokio::time::sleep(Duration::from_millis(20)).await;
    let answer = c.check_status(status("a", start_ts, c.ts().await)).await;
    assert_eq!(answer.lock_ttl, 60_000);
    // In the end somebody decides that it has expired; of a pessimistic lock only that one goes.
    let later = start_ts + (70_000 << 18);
    let request = CheckTxnStatusRequest {
        resolving_pessimistic_lock: true,
        ..status("a", start_ts, later)
    };
    let answer = c.check_status(request).await;
    assert_eq!(answer.action(), Action::TtlExpirePessimisticRollback);
    let beaten =
        c.kv.clone()
            .kv_txn_heart_beat(beat)
            .await
            .expect("beats")
            .into_inner();
    assert!(beaten.error.expect("an error").txn_not_found.is_some());
    // Its loss is amended when nobody used it, and found when somebody did.
    assert_eq!(
        c.prewrite(committed_with(start_ts, start_ts, &["a"]))
            .await
            .errors,
        vec![]
    );
    assert_eq!(c.rollback(&["a"], start_ts).await.error, None);
    let start_ts = c.ts().await;
    c.write(&[("a", Some("1"))]).await;
    let errors = c
        .prewrite(committed_with(start_ts, start_ts, &["a"]))
        .await
        .errors;
    assert!(errors[0].abort.contains("PessimisticLockNotFound"), "{errors:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_without_a_value_stands_in_the_way_of_older_writers() {
    let served = Served::new().await;
    let c = served.client().await;
    c.write(&[("a", Some("1"))]).await;
    let older = c.ts().await;
    let start_ts = c.ts().await;
    let request = PrewriteRequest {
        mutations: vec![mutation(Op::Lock, "a", ""), mutation(Op::Put, "b", "2")],
        try_one_pc: true,
        ..prewrite(start_ts, &[("a", None)])
    };
    let ts = c.prewrite(request).await.one_pc_commit_ts;
    assert!(ts > 0);
    let errors = c.prewrite(prewrite(older, &[("a", Some("x"))])).await.errors;
    assert_eq!(
        errors[0].conflict.clone().expect("a conflict").conflict_commit_ts,
        ts
    );
    let now = c.ts().await;
    assert_eq!(c.value("a", now).await.as_deref(), Some("1"));
    for reverse in [false, true] {
        let pairs = c.scan("a", "c", now, reverse, 10).await.pairs;
        assert_eq!(pairs.len(), 2, "reverse {reverse}");
    }
    let request = MvccGetByKeyRequest {
        context: c.context(b"a").await,
        key: b("a"),
    };
    let info =
        c.kv.clone()
            .mvcc_get_by_key(request)
            .await
            .expect("reads")
            .into_inner()
            .info;
    let info = info.expect("versions");
    let kinds: Vec<_> = info.writes.iter().map(|w| w.r#type()).collect();
    assert_eq!((kinds, info.writes[0].commit_ts), (vec![Op::Lock, Op::Put], ts));
    served.store.run_gc().expect("collects");
    assert_eq!(c.value("a", c.ts().await).await.as_deref(), Some("1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn locks_and_statuses_survive_a_restart() {
    let served = Served::new().await;
    let c = served.client().await;
    let committed = c.ts().await;
    c.prewrite(prewrite(committed, &[("a", Some("1")), ("b", Some("1"))]))
        .await;
    let commit_ts = c.ts().await;
    c.commit(&["a"], committed, commit_ts).await;
    let open = c.ts().await;
    c.prewrite(prewrite(open, &[("c", Some("2"))])).await;
    let beat = TxnHeartBeatRequest {
        context: c.context(b"c").await,
        primary_lock: b("c"),
        start_version: open,
        advise_lock_ttl: 50_000,
        ..Default::default()
    };
    c.kv.clone().kv_txn_heart_beat(beat).await.expect("beats");
    // A reader has pushed it, which is known in memory only.
    let reader = c.ts().await;
    c.check_status(status("c", open, reader)).await;
    let rolled_back = c.ts().await;
    c.rollback(&["d"], rolled_back).await;
    let one_phase = c.ts().await;
    let request = PrewriteRequest {
        try_one_pc: true,
        ..prewrite(one_phase, &[("e", Some("3"))])
    };
    let one_phase_ts = c.prewrite(request.clone()).await.one_pc_commit_ts;

    let served = served.reopen().await;
    let c = served.client().await;
    let info = c
        .get("b", c.ts().await)
        .await
        .error
        .expect("locked")
        .locked
        .expect("locked");
    assert_eq!(info.lock_version, committed);
    let answer = c.check_status(status("a", committed, c.ts().await)).await;
    assert_eq!(answer.commit_version, commit_ts);
    assert_eq!(c.commit(&["b"], committed, commit_ts).await.error, None);
    assert_eq!(c.value("b", commit_ts).await.as_deref(), Some("1"));
    let info = c
        .get("c", c.ts().await)
        .await
        .error
        .expect("locked")
        .locked
        .expect("locked");
    assert_eq!(info.lock_ttl, 50_000);
    let early = c.commit(&["c"], open, reader).await.error.expect("too early");
    assert!(early.commit_ts_expired.is_some(), "{early:?}");
    let late = c.ts().await;
    assert_eq!(c.commit(&["c"], open, late).await.error, None);
    assert_eq!(
        c.prewrite(prewrite(rolled_back, &[("d", Some("1"))]))
            .await
            .errors
            .len(),
        1
    );
    // Whoever lost the reply of a commit in one phase asks again, and is told what happened then.
    assert_eq!(c.prewrite(request).await.one_pc_commit_ts, one_phase_ts);
    assert_eq!(c.write(&[("e", Some("4"))]).await.min(one_phase_ts), one_phase_ts);
}

#[tokio::test(flavor = "multi_thread")]
async fn opened_natively_what_was_left_is_settled() {
    use ilmenite_embedded::{EmbeddedOptions, EmbeddedStore};
    use ilmenite_store::Store;
    let temp = tempfile::tempdir().expect("a directory");
    let dir = temp.path().join("db");
    let native = || EmbeddedOptions {
        two_phase: false,
        ..options()
    };
    {
        let store = EmbeddedStore::open(&dir, native()).expect("opens");
        let commit = ilmenite_store::CommitRequest {
            start_ts: store.begin_timestamp().await.expect("begins"),
            mutations: vec![ilmenite_store::Mutation {
                key: b("native"),
                value: Some(b("0")),
                check: ilmenite_store::Check::None,
            }],
            ..Default::default()
        };
        store.commit(commit).await.expect("commits");
        store.close().await.expect("closes");
    }
    let served = Served::open(&dir, server_options()).await;
    let c = served.client().await;
    assert_eq!(c.value("native", c.ts().await).await.as_deref(), Some("0"));
    let committed = c.ts().await;
    c.prewrite(prewrite(committed, &[("a", Some("1")), ("b", Some("1"))]))
        .await;
    let commit_ts = c.ts().await;
    c.commit(&["a"], committed, commit_ts).await;
    let open = c.ts().await;
    c.prewrite(prewrite(open, &[("c", Some("2"))])).await;
    drop(c);
    served.server.stop(Duration::from_millis(100)).await;
    served.store.close().await.expect("closes");
    drop(served.store);
    let mut opened = EmbeddedStore::open(&dir, native());
    for _ in 0..200 {
        if !matches!(opened, Err(ilmenite_store::Error::Locked { .. })) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
        opened = EmbeddedStore::open(&dir, native());
    }
    let store = opened.expect("opens");
    let now = store.timestamp().await.expect("now");
    assert_eq!(
        store.get(b"b", now).await.expect("reads").as_deref(),
        Some(&b"1"[..])
    );
    assert_eq!(store.get(b"c", now).await.expect("reads"), None);
    drop(store);
    // And back again: the rolled back one stays so.
    let served = Served::open(&dir, server_options()).await;
    let c = served.client().await;
    assert!(c.commit(&["c"], open, c.ts().await).await.error.is_some());
    assert_eq!(c.value("b", c.ts().await).await.as_deref(), Some("1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_strike_and_end() {
    let served = Served::new().await;
    let c = served.client().await;
    c.write(&[("a", Some("1"))]).await;
    let fault = |kind: ilmenitepb::FaultKind, method: &str| ilmenitepb::ChaosRequest {
        action: Some(Chaos::AddFault(ilmenitepb::Fault {
            kind: kind.into(),
            method: method.into(),
            requests: 1,
            backoff_ms: 7,
            ..Default::default()
        })),
    };
    let add = |request| {
        let mut chaos = c.chaos.clone();
        async move { chaos.chaos(request).await.expect("added") }
    };
    use ilmenitepb::FaultKind::*;
    add(fault(ServerIsBusy, "KvGet")).await;
    let error = c.get("a", c.ts().await).await.region_error.expect("struck");
    assert_eq!(error.server_is_busy.expect("busy").backoff_ms, 7);
    add(fault(EpochNotMatch, "KvGet")).await;
    let error = c.get("a", c.ts().await).await.region_error.expect("struck");
    assert_eq!(error.epoch_not_match.expect("epoch").current_regions.len(), 1);
    for (kind, check) in [(NotLeader, 0), (StaleCommand, 1), (RegionNotFound, 2)] {
        add(fault(kind, "")).await;
        let e = c.get("a", c.ts().await).await.region_error.expect("struck");
        let is = [
            e.not_leader.is_some(),
            e.stale_command.is_some(),
            e.region_not_found.is_some(),
        ];
        assert!(is[check], "{kind:?}");
    }
    // The reply is lost, the commit is not.
    add(fault(LostReply, "KvPrewrite")).await;
    let start_ts = c.ts().await;
    let request = PrewriteRequest {
        context: c.context(b"a").await,
        try_one_pc: true,
        ..prewrite(start_ts, &[("a", Some("2"))])
    };
    let lost = c.kv.clone().kv_prewrite(request.clone()).await.expect_err("lost");
    assert_eq!(lost.code(), tonic::Code::Unavailable);
    assert_eq!(c.value("a", c.ts().await).await.as_deref(), Some("2"));
    let again =
        c.kv.clone()
            .kv_prewrite(request)
            .await
            .expect("answers")
            .into_inner();
    assert!(again.one_pc_commit_ts > start_ts && again.errors.is_empty());
}
