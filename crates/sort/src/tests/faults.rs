use std::sync::Arc;
use std::time::{Duration, Instant};

use ilmenite_base::{ErrorClass, RetryPolicy};
use parking_lot::Mutex;

use super::*;
use crate::testing::{Fault, Faults, Rule};

const BUDGET: usize = 4 << 20;

fn quick() -> RetryPolicy {
    RetryPolicy {
        max_attempts: 6,
        max_elapsed: Duration::from_secs(5),
        base_delay: Duration::from_millis(2),
        max_delay: Duration::from_millis(20),
    }
}

fn faulty() -> (tempfile::TempDir, ObjectStorage, Faults) {
    let (dir, storage) = directory();
    let faults = Faults::new();
    let storage = faults
        .wrap(&storage)
        .with_retry(quick(), Duration::from_millis(300));
    (dir, storage, faults)
}

fn entries() -> Vec<Entry> {
    let mut rng = rng(11);
    (0..60_000)
        .map(|_| {
            (
                rng.random::<[u8; 16]>().to_vec(),
                rng.random::<[u8; 16]>().to_vec(),
            )
        })
        .collect()
}

/// The whole way: sort, store, merge, read.
async fn round_trip(storage: &ObjectStorage) -> Result<()> {
    let mut entries = entries();
    let output = sort_all(storage, options(BUDGET, DETECT, false), entries.clone()).await?;
    let SortedRun::Stored(runs) = output.run else {
        panic!()
    };
    let merged = merge_runs(storage, &runs, "7/2/1".into(), 64 << 20, DETECT, &token(), |_| {}).await?;
    let mut merge = Merge::new(
        storage,
        &merged.runs,
        KeyRange::default(),
        &merge_options(64 << 20, DETECT),
        &token(),
    )?;
    entries.sort();
    assert!(read_all(&mut merge).await? == entries);
    Ok(())
}

async fn assert_nothing_left(storage: &ObjectStorage, faults: &Faults) {
    faults.clear();
    storage.delete_prefix("7", &token()).await.unwrap();
    // An abort in the background may still be on its way, but brings nothing back.
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(storage.list("", &token()).await.unwrap(), vec![]);
}

/// Against F48 of docs/faults.md.
#[tokio::test(flavor = "multi_thread")]
async fn an_outage_passes_and_is_seen() {
    let (_dir, storage, faults) = faulty();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = seen.clone();
    let storage = storage.with_observer(Arc::new(move |event: &RetryEvent| log.lock().push(event.clone())));
    for (op, fault) in [
        // The first requests of any kind.
        (None, Fault::Fail(StorageErrorKind::Transient)),
        (Some(Op::Put), Fault::LoseAnswer),
        (Some(Op::PutPart), Fault::LoseAnswer),
        (Some(Op::CompleteMultipart), Fault::LoseAnswer),
        (Some(Op::Get), Fault::Truncate),
        (Some(Op::Get), Fault::Delay(Duration::from_millis(600))),
    ] {
        let before = storage.stats().retries;
        faults.add(Rule {
            op,
            skip: 0,
            times: 3,
            fault,
        });
        round_trip(&storage).await.unwrap();
        let retries = storage.stats().retries - before;
        assert!(retries >= 1, "{op:?} {fault:?}: no retry was counted");
    }
    let seen = seen.lock().clone();
    assert_eq!(seen.len() as u64, storage.stats().retries);
    assert!(seen.iter().any(|event| event.error.contains("503 SlowDown")));
    assert!(
        seen.iter()
            .any(|event| event.error.contains("no answer within 0.3 s"))
    );
    assert!(
        seen.iter()
            .all(|event| event.attempt < 6 && event.next_try_in <= Duration::from_millis(20))
    );
    assert_nothing_left(&storage, &faults).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_without_end_is_a_bounded_error() {
    for op in [
        Op::Put,
        Op::CreateMultipart,
        Op::PutPart,
        Op::CompleteMultipart,
        Op::Get,
    ] {
        let (_dir, storage, faults) = faulty();
        faults.add(Rule::always(op, Fault::Fail(StorageErrorKind::Transient)));
        let begun = Instant::now();
        match round_trip(&storage).await {
            Err(error @ Error::Storage { attempts: 6, .. }) => {
                assert_eq!(error.class(), ErrorClass::Transient);
                assert!(error.to_string().contains("503 SlowDown"), "{error}");
            }
            other => panic!("{op}: {other:?}"),
        }
        assert!(begun.elapsed() < Duration::from_secs(20));
        assert_nothing_left(&storage, &faults).await;
    }
    let (_dir, storage, faults) = faulty();
    faults.add(Rule::always(Op::Get, Fault::Truncate));
    let error = round_trip(&storage).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Transient);
    assert!(error.to_string().contains("bytes came of"), "{error}");

    // A store that never answers.
    let (_dir, storage, faults) = faulty();
    faults.add(Rule::always(Op::Put, Fault::Delay(Duration::from_secs(3600))));
    let begun = Instant::now();
    let error = storage
        .put("7/x", Bytes::from_static(b"x"), &token())
        .await
        .unwrap_err();
    assert!(error.to_string().contains("no answer within"), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(8));
}

#[tokio::test(flavor = "multi_thread")]
async fn permanent_and_resource_errors_are_not_retried() {
    for (kind, class) in [
        (StorageErrorKind::OutOfSpace, ErrorClass::Resource),
        (StorageErrorKind::Permission, ErrorClass::Permanent),
        (StorageErrorKind::NotFound, ErrorClass::Permanent),
        (StorageErrorKind::Other, ErrorClass::Permanent),
    ] {
        for op in [Op::PutPart, Op::Get] {
            let (_dir, storage, faults) = faulty();
            faults.add(Rule::nth(op, 2, Fault::Fail(kind)));
            let error = round_trip(&storage).await.unwrap_err();
            assert_eq!(error.class(), class, "{error}");
            assert_eq!(storage.stats().retries, 0);
            assert_nothing_left(&storage, &faults).await;
        }
    }
    let (_dir, storage, faults) = faulty();
    faults.add(Rule::disk_full_after(Op::PutPart, 3));
    let error = round_trip(&storage).await.unwrap_err();
    assert!(error.to_string().contains("no space left on device"), "{error}");
    let io = std::io::Error::from_raw_os_error(28);
    assert_eq!(crate::local::classify_io(&io), StorageErrorKind::OutOfSpace);
    let io = std::io::Error::from_raw_os_error(122);
    assert_eq!(crate::local::classify_io(&io), StorageErrorKind::OutOfSpace);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_bit_on_the_way_is_found() {
    let (_dir, storage, faults) = faulty();
    for nth in 1..4 {
        faults.add(Rule::nth(Op::Get, nth, Fault::FlipBit));
        let error = round_trip(&storage).await.unwrap_err();
        assert!(matches!(error, Error::Damaged { .. }), "{error}");
    }
    assert_nothing_left(&storage, &faults).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn denied_deletes_are_reported() {
    let (_dir, storage, faults) = faulty();
    storage
        .put("7/a", Bytes::from_static(b"a"), &token())
        .await
        .unwrap();
    faults.add(Rule::deny_deletes());
    let error = storage.delete_prefix("7", &token()).await.unwrap_err();
    assert!(
        error.to_string().contains("AccessDenied") && error.class() == ErrorClass::Permanent,
        "{error}"
    );
    let error = storage.probe(&token()).await.unwrap_err();
    assert!(matches!(error, Error::Storage { op: Op::Delete, .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_probe_names_what_fails() {
    for op in [
        Op::Put,
        Op::Get,
        Op::List,
        Op::Delete,
        Op::CreateMultipart,
        Op::PutPart,
        Op::AbortMultipart,
    ] {
        let (_dir, storage, faults) = faulty();
        faults.add(Rule::nth(op, 1, Fault::Fail(StorageErrorKind::Permission)));
        match storage.probe(&token()).await {
            Err(Error::Storage {
                op: failed, detail, ..
            }) => {
                assert_eq!(failed, op);
                assert!(detail.contains("403 AccessDenied"));
            }
            other => panic!("{op}: {other:?}"),
        }
        let asked: Vec<Op> = faults.requests().into_iter().map(|(op, _)| op).collect();
        assert!(asked.contains(&op));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_ends_retries_and_hanging_requests() {
    for fault in [
        Fault::Fail(StorageErrorKind::Transient),
        Fault::Delay(Duration::from_secs(3600)),
    ] {
        let (_dir, storage, faults) = faulty();
        let patient = RetryPolicy {
            max_attempts: 1000,
            max_elapsed: Duration::from_secs(3600),
            base_delay: Duration::from_secs(600),
            max_delay: Duration::from_secs(600),
        };
        let storage = storage.with_retry(patient, Duration::from_secs(3600));
        faults.add(Rule {
            op: None,
            skip: 0,
            times: u64::MAX,
            fault,
        });
        let cancel = token();
        let (storage_of_task, cancel_of_task) = (storage.clone(), cancel.clone());
        let get = tokio::spawn(async move { storage_of_task.get_tail("7/x", 5, &cancel_of_task).await });
        let (storage_of_task, cancel_of_task) = (storage.clone(), cancel.clone());
        let put = tokio::spawn(async move {
            storage_of_task
                .put("7/x", Bytes::from_static(b"x"), &cancel_of_task)
                .await
        });
        while faults.requests().len() < 2 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let begun = Instant::now();
        cancel.cancel();
        assert!(matches!(get.await.unwrap(), Err(Error::Cancelled)));
        assert!(matches!(put.await.unwrap(), Err(Error::Cancelled)));
        assert!(begun.elapsed() < Duration::from_secs(4));
        assert!(matches!(storage.list("", &cancel).await, Err(Error::Cancelled)));
    }
}
