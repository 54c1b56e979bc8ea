use std::time::Duration;

use super::*;

#[tokio::test]
async fn shares_and_limits() {
    let budget = MemoryBudget::new(1000);
    assert_eq!(budget.share(4), 250);
    assert_eq!(budget.share(0), 1000);
    let error = budget.acquire(1001, &token()).await.unwrap_err();
    assert_eq!(error.class(), ilmenite_base::ErrorClass::Resource);
    let mut all = budget.acquire(1000, &token()).await.unwrap();
    assert_eq!(budget.status().held_bytes, 1000);
    all.shrink_to(400);
    assert_eq!((all.bytes(), budget.status().held_bytes), (400, 400));
    drop(all);
    let status = budget.status();
    assert_eq!(
        (status.held_bytes, status.peak_bytes, status.waiting),
        (0, 1000, 0)
    );
}

async fn until_waiting(budget: &MemoryBudget, count: usize) {
    while budget.status().waiting != count {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn first_come_first_served_even_if_a_later_one_would_fit() {
    let budget = MemoryBudget::new(100);
    let held = budget.acquire(60, &token()).await.unwrap();
    let order = std::sync::Arc::new(parking_lot::Mutex::new(Vec::new()));
    let mut tasks = Vec::new();
    for (name, bytes) in [("large", 90), ("small", 10), ("last", 50)] {
        let (budget_of_task, order) = (budget.clone(), order.clone());
        tasks.push(tokio::spawn(async move {
            let grant = budget_of_task.acquire(bytes, &token()).await.unwrap();
            order.lock().push(name);
            tokio::time::sleep(Duration::from_millis(5)).await;
            drop(grant);
        }));
        until_waiting(&budget, tasks.len()).await;
    }
    assert_eq!(budget.status().waiting_bytes, 150);
    assert!(order.lock().is_empty());
    drop(held);
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(*order.lock(), ["large", "small", "last"]);
    assert_eq!(budget.status().held_bytes, 0);
}

#[tokio::test]
async fn a_wait_ends_on_cancel_drop_and_a_lower_limit() {
    let budget = MemoryBudget::new(100);
    let held = budget.acquire(100, &token()).await.unwrap();
    let cancel = token();
    let (waiting, canceller) = (budget.clone(), cancel.clone());
    let task = tokio::spawn(async move { waiting.acquire(50, &canceller).await.map(|_| ()) });
    until_waiting(&budget, 1).await;
    cancel.cancel();
    assert!(matches!(task.await.unwrap(), Err(Error::Cancelled)));

    let dropped = tokio::time::timeout(Duration::from_millis(10), budget.acquire(50, &token())).await;
    assert!(dropped.is_err());
    assert_eq!(budget.status().waiting, 0);

    let waiting = budget.clone();
    let task = tokio::spawn(async move { waiting.acquire(50, &token()).await.map(|_| ()) });
    until_waiting(&budget, 1).await;
    budget.set_limit(40);
    assert!(matches!(task.await.unwrap(), Err(Error::BudgetTooSmall { .. })));
    drop(held);
    assert_eq!(budget.acquire(40, &token()).await.unwrap().bytes(), 40);
    budget.set_limit(200);
    assert_eq!(budget.acquire(200, &token()).await.unwrap().bytes(), 200);
}

/// Against F49, P18 of docs/faults.md.
#[tokio::test(flavor = "multi_thread")]
async fn never_more_than_the_limit_and_nobody_starves() {
    let budget = MemoryBudget::new(1000);
    let tasks: Vec<_> = (0..40u64)
        .map(|number| {
            let budget = budget.clone();
            tokio::spawn(async move {
                let mut rng = rng(number);
                for _ in 0..50 {
                    let cancel = token();
                    if rng.random_bool(0.2) {
                        let cancel = cancel.clone();
                        tokio::spawn(async move { cancel.cancel() });
                    }
                    let bytes = rng.random_range(1..=1000);
                    match budget.acquire(bytes, &cancel).await {
                        Ok(_grant) => {
                            assert!(budget.status().held_bytes <= 1000);
                            tokio::task::yield_now().await;
                        }
                        Err(error) => assert!(matches!(error, Error::Cancelled)),
                    }
                }
            })
        })
        .collect();
    for task in tasks {
        tokio::time::timeout(Duration::from_secs(60), task)
            .await
            .expect("a task starved")
            .unwrap();
    }
    let status = budget.status();
    assert_eq!((status.held_bytes, status.waiting), (0, 0));
    assert!(status.peak_bytes <= 1000);
}
