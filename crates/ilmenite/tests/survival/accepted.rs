//! What is accepted is done, refused or warned of.

use mysql_async::prelude::Queryable;

use super::support::{Server, rows, run};
use super::{connect_as, number, refused};

/// S23, S25: docs/faults.md says what failed.
#[tokio::test(flavor = "multi_thread")]
async fn locking_reads_lock() {
    let server = Server::start().await;
    let (mut holder, mut other) = (server.connect().await, server.connect().await);
    run(&mut holder, "CREATE TABLE parent (id INT PRIMARY KEY)").await;
    run(&mut holder, "INSERT INTO parent VALUES (1), (2)").await;
    run(&mut other, "SET innodb_lock_wait_timeout = 1").await;
    for clause in ["FOR SHARE", "LOCK IN SHARE MODE", "FOR UPDATE"] {
        run(&mut holder, "BEGIN").await;
        run(
            &mut holder,
            &format!("SELECT * FROM parent WHERE id = 1 {clause}"),
        )
        .await;
        assert_eq!(
            refused(&mut other, "DELETE FROM parent WHERE id = 1").await,
            1205,
            "{clause}"
        );
        // Also where the reading statement is a transaction by itself.
        assert_eq!(
            refused(&mut other, "SELECT * FROM parent FOR UPDATE NOWAIT").await,
            3572
        );
        let free: Vec<i64> = other
            .query("SELECT id FROM parent FOR UPDATE SKIP LOCKED")
            .await
            .expect("what is not locked");
        assert_eq!(free, [2]);
        run(&mut holder, "ROLLBACK").await;
    }
    run(&mut other, "DELETE FROM parent WHERE id = 1").await;
}

/// S24, S26, S27: docs/faults.md says what failed.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_accepted_is_done_or_warned_of() {
    let server = Server::start().await;
    let mut root = server.connect().await;
    run(&mut root, "CREATE TABLE t (a INT)").await;
    run(&mut root, "CREATE USER plain").await;
    run(&mut root, "GRANT ALL ON test.* TO plain").await;
    let mut plain = connect_as(&server, "plain").await;
    run(&mut root, "SET GLOBAL read_only = ON").await;
    for text in [
        "INSERT INTO test.t VALUES (1)",
        "CREATE TABLE test.u (a INT)",
        "DELETE FROM test.t",
    ] {
        assert_eq!(refused(&mut plain, text).await, 1290, "{text}");
    }
    run(&mut plain, "SELECT * FROM test.t").await;
    run(&mut root, "INSERT INTO t VALUES (1)").await;
    run(&mut root, "SET GLOBAL super_read_only = ON").await;
    assert_eq!(refused(&mut root, "INSERT INTO t VALUES (1)").await, 1290);
    run(&mut root, "SET GLOBAL super_read_only = OFF").await;
    run(&mut root, "SET GLOBAL read_only = OFF").await;

    assert_eq!(refused(&mut root, "FLUSH TABLES WITH READ LOCK").await, 1235);
    assert_eq!(
        refused(&mut root, "SET sql_mode = 'PAD_CHAR_TO_FULL_LENGTH'").await,
        1235
    );
    run(&mut root, "SET sql_mode = 'REAL_AS_FLOAT'").await;
    run(&mut root, "CREATE TABLE r (a REAL)").await;
    let shown: (String, String) = root
        .query_first("SHOW CREATE TABLE r")
        .await
        .expect("shown")
        .expect("a row");
    assert!(shown.1.contains("`a` float"), "{}", shown.1);

    // UNLOCK TABLES without LOCK TABLES leaves the transaction open.
    run(&mut root, "BEGIN").await;
    run(&mut root, "INSERT INTO t VALUES (2)").await;
    run(&mut root, "UNLOCK TABLES").await;
    run(&mut root, "ROLLBACK").await;
    let count = number(&mut root, "SELECT COUNT(*) FROM t").await;
    assert_eq!(count, 1);
    run(&mut root, "LOCK TABLES t READ").await;
    assert_eq!(rows(&mut root, "SHOW WARNINGS").await.len(), 1);

    run(&mut root, "SET SESSION TRANSACTION READ ONLY").await;
    assert_eq!(refused(&mut root, "CREATE TABLE u (a INT)").await, 1792);
    run(&mut root, "SET SESSION TRANSACTION READ WRITE").await;
    run(&mut root, "START TRANSACTION READ ONLY").await;
    assert_eq!(refused(&mut root, "DROP TABLE t").await, 1792);
}
