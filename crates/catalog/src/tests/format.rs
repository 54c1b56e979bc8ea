use futures::FutureExt;
use ilmenite_base::ErrorClass;
use ilmenite_store::format::{Format, PROGRAM};
use ilmenite_store::{Check, run_txn};

use super::*;
use crate::bootstrap::bootstrap;
use crate::format::{UPGRADES, Upgrade, newest, upgrade};

/// A row of some kind, to be upgraded.
const ROW: &[u8] = b"i/of_tests";

async fn get(store: &StoreRef, key: &'static [u8]) -> String {
    let ts = store.timestamp().await.unwrap();
    let raw = store.get(key, ts).await.unwrap().unwrap();
    String::from_utf8_lossy(&raw).into_owned()
}

async fn put(store: &StoreRef, key: &'static [u8], value: &'static str) {
    let mut txn = Transaction::begin(store, TxnMode::Optimistic).await.unwrap();
    txn.put(key, value, Check::None).unwrap();
    txn.commit(CommitOptions::default()).await.unwrap();
}

/// Appends the format's number to the row, unless it is there.
fn append<'a>(store: &'a StoreRef, format: &'static str) -> futures::future::BoxFuture<'a, Result<()>> {
    async move {
        run_txn(store, CommitOptions::default(), |txn| {
            async move {
                let row = txn.get(ROW).await?.unwrap_or_default();
                let text = String::from_utf8_lossy(&row).into_owned();
                if !text.contains(format) {
                    txn.put(ROW, text + format, Check::Unchanged)?;
                }
                Result::<()>::Ok(())
            }
            .boxed()
        })
        .await
    }
    .boxed()
}

const STEPS: &[Upgrade] = &[|store| append(store, "2"), |store| append(store, "3")];

#[tokio::test]
async fn a_new_store_has_the_newest_format() {
    let t = TestStore::new();
    bootstrap(&t.store).await.unwrap();
    let format = Format::of_this_program(newest(UPGRADES));
    assert_eq!(
        get(&t.store, keys::BOOTSTRAP).await.as_bytes(),
        &format.encode()[..]
    );
    upgrade(&t.store, UPGRADES, &[]).await.unwrap();
}

#[tokio::test]
async fn an_older_store_is_upgraded_step_by_step_and_once() {
    let t = TestStore::new();
    bootstrap(&t.store).await.unwrap();
    put(&t.store, ROW, "1").await;
    // As 0.1.0 wrote it.
    put(&t.store, keys::BOOTSTRAP, "1").await;
    upgrade(&t.store, &STEPS[..1], &[]).await.unwrap();
    assert_eq!(get(&t.store, ROW).await, "12");
    assert_eq!(get(&t.store, keys::BOOTSTRAP).await, format!("2 {PROGRAM}"));
    // Two nodes at once, and once more.
    let both = futures::join!(upgrade(&t.store, STEPS, &[]), upgrade(&t.store, STEPS, &[]));
    both.0.unwrap();
    both.1.unwrap();
    upgrade(&t.store, STEPS, &[]).await.unwrap();
    assert_eq!(get(&t.store, ROW).await, "123");
    assert_eq!(get(&t.store, keys::BOOTSTRAP).await, format!("3 {PROGRAM}"));
}

#[tokio::test]
async fn nothing_is_upgraded_while_others_run() {
    let t = TestStore::new();
    bootstrap(&t.store).await.unwrap();
    put(&t.store, ROW, "1").await;
    let running = ["one:4000".to_owned(), "two:4000".to_owned()];
    // Nothing to do: they may run.
    upgrade(&t.store, UPGRADES, &running).await.unwrap();
    put(&t.store, keys::BOOTSTRAP, "1").await;
    let error = upgrade(&t.store, STEPS, &running).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Permanent);
    assert!(error.to_string().contains("(one:4000, two:4000)"), "{error}");
    assert_eq!(get(&t.store, ROW).await, "1");
}

/// The node does not open, and leaves everything as it is.
#[tokio::test]
async fn a_newer_store_is_refused_with_the_program_to_use() {
    let t = TestStore::new();
    bootstrap(&t.store).await.unwrap();
    put(&t.store, keys::BOOTSTRAP, "77 9.8.7").await;
    let Err(error) = Catalog::open(CatalogConfig::new(t.store.clone())).await else {
        panic!("a newer store was opened");
    };
    assert_eq!(error.class(), ErrorClass::Permanent);
    assert!(
        error.to_string().contains("use ilmenite 9.8.7 or newer"),
        "{error}"
    );
    let ts = t.store.timestamp().await.unwrap();
    assert!(crate::node::nodes_at(&t.store, ts).await.unwrap().is_empty());
    assert_eq!(get(&t.store, keys::BOOTSTRAP).await, "77 9.8.7");
}
