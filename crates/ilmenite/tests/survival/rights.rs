//! Accounts and rights.

use mysql_async::prelude::Queryable;

use super::support::{Server, run};
use super::{connect_as, number, refused};

/// S12: docs/faults.md says what failed.
#[tokio::test(flavor = "multi_thread")]
async fn what_changes_of_an_account_holds_from_the_next_statement_on() {
    let server = Server::start().await;
    let mut root = server.connect().await;
    run(&mut root, "CREATE TABLE t (a INT)").await;
    for user in ["granted", "dropped", "locked"] {
        run(&mut root, &format!("CREATE USER {user}")).await;
        run(&mut root, &format!("GRANT SELECT ON test.* TO {user}")).await;
    }
    let mut granted = connect_as(&server, "granted").await;
    let mut dropped = connect_as(&server, "dropped").await;
    let mut locked = connect_as(&server, "locked").await;
    let prepared = granted.prep("SELECT * FROM test.t").await.expect("prepared");
    for conn in [&mut granted, &mut dropped, &mut locked] {
        run(conn, "SELECT * FROM test.t").await;
    }
    run(&mut root, "REVOKE SELECT ON test.* FROM granted").await;
    run(&mut root, "DROP USER dropped").await;
    run(&mut root, "ALTER USER locked ACCOUNT LOCK").await;
    assert_eq!(refused(&mut granted, "SELECT * FROM test.t").await, 1142);
    let executed = granted.exec_drop(&prepared, ()).await;
    assert!(executed.is_err_and(|e| e.to_string().contains("1142")));
    run(&mut root, "GRANT SELECT ON test.t TO granted").await;
    run(&mut granted, "SELECT * FROM test.t").await;
    for conn in [&mut dropped, &mut locked] {
        assert_eq!(refused(conn, "SELECT 1").await, 1045);
        assert!(
            conn.query_drop("SELECT 1").await.is_err(),
            "the connection has ended"
        );
    }
}

/// S15: docs/faults.md says what failed.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_changes_an_account_that_may_do_more_and_one_administrator_stays() {
    let server = Server::start().await;
    let mut root = server.connect().await;
    run(&mut root, "CREATE USER clerk, other").await;
    run(&mut root, "GRANT CREATE USER ON *.* TO clerk").await;
    let mut clerk = connect_as(&server, "clerk").await;
    for text in [
        "ALTER USER root IDENTIFIED BY 'x'",
        "SET PASSWORD FOR root = 'x'",
        "ALTER USER root ACCOUNT LOCK",
        "DROP USER root",
        "RENAME USER root TO toor",
    ] {
        assert_eq!(refused(&mut clerk, text).await, 1227, "{text}");
    }
    run(&mut clerk, "ALTER USER other IDENTIFIED BY 'x'").await;
    run(&mut clerk, "DROP USER other").await;
    for text in [
        "DROP USER root",
        "ALTER USER root ACCOUNT LOCK",
        "REVOKE ALL PRIVILEGES, GRANT OPTION FROM root",
        "REVOKE CREATE USER ON *.* FROM root",
    ] {
        assert_eq!(refused(&mut root, text).await, 1396, "{text}");
    }
    run(&mut root, "CREATE USER second").await;
    run(
        &mut root,
        "GRANT ALL PRIVILEGES ON *.* TO second WITH GRANT OPTION",
    )
    .await;
    run(&mut root, "RENAME USER root TO first").await;
}

/// S16, S17: docs/faults.md says what failed.
#[tokio::test(flavor = "multi_thread")]
async fn names_of_accounts_and_databases_are_what_they_say() {
    let server = Server::start().await;
    let mut root = server.connect().await;
    run(
        &mut root,
        "CREATE USER 'a'@'b@%' IDENTIFIED BY 'one', 'a@b'@'%' IDENTIFIED BY 'two'",
    )
    .await;
    let count = number(&mut root, "SELECT COUNT(*) FROM mysql.user WHERE user LIKE 'a%'").await;
    assert_eq!(count, 2);
    run(&mut root, "DROP USER 'a@b'@'%'").await;
    let count = number(&mut root, "SELECT COUNT(*) FROM mysql.user WHERE user LIKE 'a%'").await;
    assert_eq!(count, 1);

    run(&mut root, "CREATE USER shopper").await;
    for database in ["shop", "shed", "other", "s_x", "sax"] {
        run(&mut root, &format!("CREATE DATABASE {database}")).await;
        run(&mut root, &format!("CREATE TABLE {database}.t (a INT)")).await;
    }
    run(&mut root, "GRANT SELECT ON `sh%`.* TO shopper").await;
    run(&mut root, r"GRANT SELECT ON `s\_x`.* TO shopper").await;
    let mut shopper = connect_as(&server, "shopper").await;
    for database in ["shop", "shed", "s_x"] {
        run(&mut shopper, &format!("SELECT * FROM {database}.t")).await;
    }
    for database in ["other", "sax"] {
        assert_eq!(
            refused(&mut shopper, &format!("SELECT * FROM {database}.t")).await,
            1142
        );
    }
}

/// S22: docs/faults.md says what failed.
#[tokio::test(flavor = "multi_thread")]
async fn who_only_writes_need_not_be_allowed_to_read() {
    let server = Server::start().await;
    let mut root = server.connect().await;
    run(&mut root, "CREATE TABLE t (a INT, b INT)").await;
    run(&mut root, "CREATE USER writer").await;
    run(&mut root, "GRANT UPDATE, DELETE ON test.t TO writer").await;
    let mut writer = connect_as(&server, "writer").await;
    run(&mut writer, "UPDATE test.t SET a = 1").await;
    run(&mut writer, "DELETE FROM test.t").await;
    for text in [
        "UPDATE test.t SET a = b",
        "UPDATE test.t SET a = 1 WHERE b = 1",
        "UPDATE test.t SET a = 1 ORDER BY b",
        "DELETE FROM test.t WHERE a = 1",
        "SELECT * FROM test.t",
    ] {
        assert_eq!(refused(&mut writer, text).await, 1142, "{text}");
    }
}
