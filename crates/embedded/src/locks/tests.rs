use super::*;
use std::sync::Arc;

fn key(s: &str) -> Bytes {
    Bytes::copy_from_slice(s.as_bytes())
}

fn table() -> Arc<LockTable> {
    Arc::new(LockTable::new(1 << 20, 1 << 20))
}

fn spawn_lock(t: &Arc<LockTable>, ts: u64, k: &str, ms: u64) -> tokio::task::JoinHandle<Result<()>> {
    let (t, k) = (t.clone(), key(k));
    tokio::spawn(async move {
        t.lock(Timestamp(ts), &[k], Duration::from_millis(ms))
            .await
            .map(Taken::keep)
    })
}

async fn pause() {
    tokio::time::sleep(Duration::from_millis(20)).await;
}

#[tokio::test]
async fn waiters_are_served_in_order() {
    let t = table();
    spawn_lock(&t, 1, "a", 0).await.unwrap().unwrap();
    let order = Arc::new(Mutex::new(Vec::new()));
    let mut tasks = Vec::new();
    for ts in 2..6u64 {
        let (t, order) = (t.clone(), order.clone());
        tasks.push(tokio::spawn(async move {
            let keys = [key("a")];
            t.lock(Timestamp(ts), &keys, Duration::from_secs(5))
                .await
                .unwrap()
                .keep();
            order.lock().push(ts);
            t.unlock(Timestamp(ts), None);
        }));
        pause().await;
    }
    t.unlock(Timestamp(1), None);
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(*order.lock(), vec![2, 3, 4, 5]);
    assert_eq!(t.bytes(), 0);
    assert!(
        t.shards.iter().all(|s| s.lock().is_empty()),
        "nothing left behind"
    );
}

#[tokio::test]
async fn a_wait_ends_in_time_and_leaves_the_queue() {
    let t = table();
    spawn_lock(&t, 1, "a", 0).await.unwrap().unwrap();
    let began = Instant::now();
    let refused = spawn_lock(&t, 2, "a", 50).await.unwrap();
    assert!(matches!(refused, Err(Error::LockTimeout { holder, .. }) if holder == Timestamp(1)));
    assert!(began.elapsed() >= Duration::from_millis(50));
    let refused = spawn_lock(&t, 3, "a", 0).await.unwrap();
    assert!(matches!(refused, Err(Error::LockNotAvailable { .. })));
    // Aborted while it waits.
    let waiting = spawn_lock(&t, 4, "a", 5000);
    pause().await;
    waiting.abort();
    pause().await;
    t.unlock(Timestamp(1), None);
    spawn_lock(&t, 5, "a", 0).await.unwrap().unwrap();
    t.unlock(Timestamp(5), None);
    assert_eq!(t.bytes(), 0);
    assert!(t.waits().is_empty());
}

#[tokio::test]
async fn the_request_that_closes_a_cycle_is_refused() {
    let t = table();
    for (ts, k) in [(1, "a"), (2, "b"), (3, "c")] {
        spawn_lock(&t, ts, k, 0).await.unwrap().unwrap();
    }
    let one = spawn_lock(&t, 1, "b", 5000);
    let two = spawn_lock(&t, 2, "c", 5000);
    pause().await;
    let three = spawn_lock(&t, 3, "a", 5000).await.unwrap();
    assert!(matches!(three, Err(Error::Deadlock { .. })));
    t.unlock(Timestamp(3), None);
    two.await.unwrap().unwrap();
    t.unlock(Timestamp(2), None);
    one.await.unwrap().unwrap();
    t.unlock(Timestamp(1), None);
    assert_eq!(t.bytes(), 0);
}

#[tokio::test]
async fn all_keys_or_none() {
    let t = table();
    spawn_lock(&t, 1, "b", 0).await.unwrap().unwrap();
    let keys = [key("a"), key("b")];
    let refused = t.lock(Timestamp(2), &keys, Duration::ZERO).await;
    assert!(refused.is_err());
    drop(refused);
    spawn_lock(&t, 3, "a", 0).await.unwrap().unwrap();
    // Again by the holder: no conflict, and nothing counted twice.
    spawn_lock(&t, 3, "a", 0).await.unwrap().unwrap();
    t.unlock(Timestamp(3), Some(&[key("a")]));
    t.unlock(Timestamp(1), None);
    assert_eq!(t.bytes(), 0);
}

#[tokio::test]
async fn commits_conflict_with_transactions_and_wait_for_commits() {
    let t = table();
    spawn_lock(&t, 1, "a", 0).await.unwrap().unwrap();
    let keys = [key("a")];
    let refused = t.take_for_commit(Timestamp(2), keys.iter()).await;
    assert!(matches!(refused, Err(Error::WriteConflict { .. })));
    let own = t.take_for_commit(Timestamp(1), keys.iter()).await.unwrap();
    drop(own);
    t.unlock(Timestamp(1), None);
    let first = t.take_for_commit(Timestamp(3), keys.iter()).await.unwrap();
    let t2 = t.clone();
    let second = tokio::spawn(async move {
        let keys = [key("a")];
        drop(t2.take_for_commit(Timestamp(4), keys.iter()).await.unwrap());
    });
    let waiter = spawn_lock(&t, 5, "a", 5000);
    pause().await;
    assert!(!second.is_finished() && !waiter.is_finished());
    drop(first);
    waiter.await.unwrap().unwrap();
    // The transaction was queued for the lock, so the second commit meets it now.
    assert!(second.await.is_err());
    t.unlock(Timestamp(5), None);
}

#[tokio::test]
async fn locks_are_bounded() {
    let t = Arc::new(LockTable::new(2 * (1 + LOCK_OVERHEAD_BYTES), 1 << 20));
    let keys = [key("a"), key("b"), key("c")];
    let refused = t.lock(Timestamp(1), &keys, Duration::ZERO).await;
    assert!(matches!(refused, Err(Error::TooLarge { .. })));
    drop(refused);
    assert_eq!(t.bytes(), 0);
}

#[tokio::test]
async fn a_lock_granted_after_its_transaction_ended_is_given_back() {
    let t = table();
    spawn_lock(&t, 1, "a", 0).await.unwrap().unwrap();
    let waiting = tokio::spawn({
        let t = t.clone();
        async move {
            let deadline = Some(Instant::now() + Duration::from_secs(5));
            let new = t
                .lock_one(Timestamp(2), &key("a"), deadline, false)
                .await
                .unwrap();
            let holds = HeldKeys::new(&t, Timestamp(2));
            if new {
                holds.add(key("a"));
            }
        }
    });
    pause().await;
    t.unlock(Timestamp(2), None);
    t.unlock(Timestamp(1), None);
    waiting.await.unwrap();
    assert!(
        t.shards.iter().all(|s| s.lock().is_empty()),
        "nothing left behind"
    );
}

#[tokio::test]
async fn a_second_request_for_what_the_first_waits_for_does_not_pass() {
    let t = table();
    spawn_lock(&t, 1, "a", 0).await.unwrap().unwrap();
    let waiting = spawn_lock(&t, 2, "a", 5000);
    pause().await;
    let again = spawn_lock(&t, 2, "a", 5000).await.unwrap();
    assert!(matches!(again, Err(Error::LockTimeout { .. })), "{again:?}");
    assert!(!t.holds(Timestamp(2), b"a"));
    t.unlock(Timestamp(1), None);
    waiting.await.unwrap().unwrap();
    assert!(t.holds(Timestamp(2), b"a"));
}
