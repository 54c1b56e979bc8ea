use std::sync::Arc;

use super::{affected, fails, ok, rows};
use crate::testing::Node;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn snapshots_savepoints_and_statements_that_fail() {
    let node = Node::open().await;
    let a = &mut node.session();
    let b = &mut node.session();
    ok(a, "CREATE TABLE t (id INT PRIMARY KEY, v INT)").await;
    ok(a, "INSERT INTO t VALUES (1,1),(2,2)").await;
    ok(a, "BEGIN").await;
    assert_eq!(rows(a, "SELECT v FROM t WHERE id = 1").await, ["1"]);
    ok(b, "UPDATE t SET v = 100 WHERE id = 1").await;
    assert_eq!(
        rows(a, "SELECT v FROM t WHERE id = 1").await,
        ["1"],
        "repeatable read"
    );
    assert_eq!(
        rows(a, "SELECT v FROM t WHERE id = 1 FOR UPDATE").await,
        ["100"],
        "a current read"
    );
    assert_eq!(affected(a, "UPDATE t SET v = v + 1 WHERE id = 1").await, 1);
    assert_eq!(
        rows(a, "SELECT v FROM t WHERE id = 1").await,
        ["101"],
        "its own write"
    );
    ok(a, "SAVEPOINT one").await;
    ok(a, "INSERT INTO t VALUES (3,3)").await;
    assert_eq!(fails(a, "INSERT INTO t VALUES (4,4),(3,3)").await, 1062);
    assert_eq!(
        rows(a, "SELECT id FROM t ORDER BY id").await,
        ["1", "2", "3"],
        "the statement as a whole"
    );
    ok(a, "ROLLBACK TO SAVEPOINT one").await;
    assert_eq!(rows(a, "SELECT id FROM t ORDER BY id").await, ["1", "2"]);
    assert_eq!(fails(a, "ROLLBACK TO SAVEPOINT two").await, 1305);
    ok(a, "COMMIT").await;
    assert_eq!(rows(b, "SELECT v FROM t WHERE id = 1").await, ["101"]);
    ok(a, "START TRANSACTION READ ONLY").await;
    assert_eq!(fails(a, "DELETE FROM t").await, 1792);
    ok(a, "ROLLBACK").await;
    ok(a, "BEGIN").await;
    ok(a, "DELETE FROM t").await;
    assert_eq!(rows(a, "SELECT COUNT(*) FROM t").await, ["0"]);
    ok(a, "ROLLBACK").await;
    assert_eq!(rows(a, "SELECT COUNT(*) FROM t").await, ["2"]);
    node.stop().await;
}

/// SET TRANSACTION without SESSION or GLOBAL: the next transaction is so, and no other, be it one statement or many.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_next_transaction_is_to_be() {
    let node = Node::open().await;
    let a = &mut node.session();
    let b = &mut node.session();
    ok(a, "CREATE TABLE t (id INT PRIMARY KEY, v INT)").await;
    ok(a, "INSERT INTO t VALUES (1,1)").await;
    ok(a, "SET TRANSACTION READ ONLY").await;
    assert_eq!(fails(a, "UPDATE t SET v = 2").await, 1792);
    assert_eq!(affected(a, "UPDATE t SET v = 2").await, 1);
    ok(a, "SET TRANSACTION READ ONLY").await;
    ok(a, "BEGIN").await;
    assert_eq!(fails(a, "SET TRANSACTION READ WRITE").await, 1568);
    assert_eq!(fails(a, "UPDATE t SET v = 3").await, 1792);
    ok(a, "COMMIT").await;
    assert_eq!(affected(a, "UPDATE t SET v = 3").await, 1);
    for (level, seen) in [("READ COMMITTED", "7"), ("REPEATABLE READ", "3")] {
        ok(b, "UPDATE t SET v = 3").await;
        ok(a, &format!("SET TRANSACTION ISOLATION LEVEL {level}")).await;
        ok(a, "BEGIN").await;
        assert_eq!(rows(a, "SELECT v FROM t").await, ["3"]);
        ok(b, "UPDATE t SET v = 7").await;
        assert_eq!(rows(a, "SELECT v FROM t").await, [seen], "{level}");
        ok(a, "COMMIT").await;
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn locks_are_waited_for_refused_or_skipped() {
    let node = Node::open().await;
    let a = &mut node.session();
    let b = &mut node.session();
    ok(a, "CREATE TABLE t (id INT PRIMARY KEY, v INT)").await;
    ok(a, "INSERT INTO t VALUES (1,1),(2,2)").await;
    ok(a, "BEGIN").await;
    ok(a, "SELECT * FROM t WHERE id = 1 FOR UPDATE").await;
    ok(b, "BEGIN").await;
    assert_eq!(fails(b, "SELECT * FROM t FOR UPDATE NOWAIT").await, 3572);
    assert_eq!(rows(b, "SELECT id FROM t FOR UPDATE SKIP LOCKED").await, ["2"]);
    b.vars.set_by_name("innodb_lock_wait_timeout", "1");
    assert_eq!(fails(b, "UPDATE t SET v = 5 WHERE id = 1").await, 1205);
    assert!(b.txn.in_transaction(), "only the statement is undone");
    // Each now waits for the other: one of the two is a deadlock's victim.
    b.vars.set_by_name("innodb_lock_wait_timeout", "20");
    let (ra, rb) = tokio::join!(
        crate::testing::run(a, "UPDATE t SET v = 7 WHERE id = 2"),
        crate::testing::run(b, "UPDATE t SET v = 8 WHERE id = 1")
    );
    let codes: Vec<u16> = [ra, rb]
        .into_iter()
        .filter_map(|r| r.err().map(|e| e.code))
        .collect();
    assert_eq!(codes, [1213]);
    assert!(
        a.txn.in_transaction() != b.txn.in_transaction(),
        "the victim's transaction is over"
    );
    ok(a, "ROLLBACK").await;
    ok(b, "ROLLBACK").await;
    node.stop().await;
}

/// Money moves between accounts in both ways at once; the sum stays what it was.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bank_loses_nothing() {
    const ACCOUNTS: u64 = 10;
    let node = Arc::new(Node::open().await);
    let s = &mut node.session();
    ok(
        s,
        "CREATE TABLE bank (id INT PRIMARY KEY, balance INT NOT NULL, KEY (balance))",
    )
    .await;
    for id in 0..ACCOUNTS {
        ok(s, &format!("INSERT INTO bank VALUES ({id}, 100)")).await;
    }
    let mut tellers = Vec::new();
    for teller in 0..4u64 {
        let node = node.clone();
        tellers.push(tokio::spawn(async move {
            let s = &mut node.session();
            let mut moved = 0;
            for step in 0..40u64 {
                let (from, to) = (
                    (teller * 7 + step * 3) % ACCOUNTS,
                    (teller * 5 + step * 11 + 1) % ACCOUNTS,
                );
                if from == to {
                    continue;
                }
                ok(s, "BEGIN").await;
                let first = crate::testing::run(
                    s,
                    &format!("UPDATE bank SET balance = balance - 1 WHERE id = {from}"),
                )
                .await;
                let both = match first {
                    Ok(_) => {
                        crate::testing::run(
                            s,
                            &format!("UPDATE bank SET balance = balance + 1 WHERE id = {to}"),
                        )
                        .await
                    }
                    failed => failed,
                };
                match both {
                    Ok(_) => {
                        ok(s, "COMMIT").await;
                        moved += 1;
                    }
                    Err(e) => {
                        assert!(matches!(e.code, 1213 | 1205), "{e}");
                        ok(s, "ROLLBACK").await;
                    }
                }
            }
            moved
        }));
    }
    let mut moved = 0;
    for teller in tellers {
        moved += teller.await.unwrap();
    }
    assert!(moved > 0);
    assert_eq!(
        rows(s, "SELECT SUM(balance), COUNT(*) FROM bank").await,
        ["1000|10"]
    );
    assert_eq!(
        rows(s, "SELECT SUM(balance) FROM bank FORCE INDEX (balance)").await,
        ["1000"]
    );
    ok(s, "ADMIN CHECK TABLE bank").await;
}

/// Counting up without a transaction of several statements loses no step: each statement reads what it locks.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_update_is_lost() {
    let node = Arc::new(Node::open().await);
    let s = &mut node.session();
    ok(s, "CREATE TABLE n (id INT PRIMARY KEY, v INT)").await;
    ok(s, "INSERT INTO n VALUES (1, 0)").await;
    let mut workers = Vec::new();
    for _ in 0..4 {
        let node = node.clone();
        workers.push(tokio::spawn(async move {
            let s = &mut node.session();
            for _ in 0..50 {
                ok(s, "UPDATE n SET v = v + 1 WHERE id = 1").await;
            }
        }));
    }
    for worker in workers {
        worker.await.unwrap();
    }
    assert_eq!(rows(s, "SELECT v FROM n").await, ["200"]);
}

/// Write skew is possible under REPEATABLE READ, as in MySQL: each checks what the other is about to change. Reading with
/// FOR UPDATE prevents it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn write_skew_needs_locking_reads() {
    let node = Node::open().await;
    let a = &mut node.session();
    let b = &mut node.session();
    ok(a, "CREATE TABLE duty (id INT PRIMARY KEY, on_call INT)").await;
    ok(a, "INSERT INTO duty VALUES (1,1),(2,1)").await;
    ok(a, "BEGIN").await;
    ok(b, "BEGIN").await;
    assert_eq!(rows(a, "SELECT SUM(on_call) FROM duty").await, ["2"]);
    assert_eq!(rows(b, "SELECT SUM(on_call) FROM duty").await, ["2"]);
    ok(a, "UPDATE duty SET on_call = 0 WHERE id = 1").await;
    ok(b, "UPDATE duty SET on_call = 0 WHERE id = 2").await;
    ok(a, "COMMIT").await;
    ok(b, "COMMIT").await;
    assert_eq!(rows(a, "SELECT SUM(on_call) FROM duty").await, ["0"]);
    ok(a, "UPDATE duty SET on_call = 1").await;
    ok(a, "BEGIN").await;
    ok(a, "SELECT * FROM duty FOR UPDATE").await;
    ok(b, "BEGIN").await;
    assert_eq!(fails(b, "SELECT * FROM duty FOR UPDATE NOWAIT").await, 3572);
    ok(a, "ROLLBACK").await;
    ok(b, "ROLLBACK").await;
    node.stop().await;
}
