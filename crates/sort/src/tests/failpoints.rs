//! Fail points are of the whole process: run these alone, with
//! `cargo test -p ilmenite-sort --features failpoints failpoints`.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn each_operation_can_be_failed_before_and_after() {
    let scenario = fail::FailScenario::setup();
    for op in Op::ALL.into_iter().filter(|op| *op != Op::CompleteMultipart) {
        for point in [op.failpoint_before(), op.failpoint_after()] {
            // Denied for good, what the probe made may have to stay.
            let (_dir, storage) = directory();
            fail::cfg(point, "return(permission)").unwrap();
            let error = storage.probe(&token()).await.unwrap_err();
            assert!(
                error.to_string().contains("injected error (Permission)"),
                "{point}: {error}"
            );
            // Once only: retried, and well.
            let (_dir, storage) = directory();
            fail::cfg(point, "1*return(transient)").unwrap();
            storage.probe(&token()).await.unwrap();
            assert!(storage.stats().retries >= 1, "{point}");
            assert_eq!(storage.list("", &token()).await.unwrap(), vec![], "{point}");
            fail::remove(point);
        }
    }
    scenario.teardown();
}
