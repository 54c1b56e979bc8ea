//! ADMIN and schema changes over a real node: parsing, rights, jobs, checks, KILL.

use std::time::Duration;

use ilmenite_catalog::Pinned;

use crate::privilege::{Grants, PrivilegeSet};
use crate::testing::{Captured, Node, run};
use ilmenite_executor::StopReason;
use ilmenite_planner::Privilege;

async fn code(ctx: &mut crate::context::SessionContext, text: &str) -> u16 {
    match run(ctx, text).await {
        Err(e) => e.code,
        Ok(found) => panic!("{text}: {:?}", found.text()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_table_takes_an_index_and_the_job_says_so() {
    let node = Node::open().await;
    let mut ctx = node.session();
    run(
        &mut ctx,
        "CREATE TABLE t (a INT PRIMARY KEY, b VARCHAR(20), c INT)",
    )
    .await
    .unwrap();
    run(&mut ctx, "ALTER TABLE t ADD INDEX i (b(5), c) COMMENT 'x'")
        .await
        .unwrap();
    run(&mut ctx, "CREATE UNIQUE INDEX u ON test.t (c)")
        .await
        .unwrap();

    let jobs = run(&mut ctx, "ADMIN SHOW DDL JOBS").await.unwrap();
    assert_eq!(
        jobs.names(),
        [
            "JOB_ID",
            "DB_NAME",
            "TABLE_NAME",
            "JOB_TYPE",
            "SCHEMA_STATE",
            "SCHEMA_ID",
            "TABLE_ID",
            "ROW_COUNT",
            "CREATE_TIME",
            "START_TIME",
            "END_TIME",
            "STATE",
            "COMMENTS"
        ]
    );
    assert_eq!(
        jobs.column("JOB_TYPE"),
        ["add index /* ingest */", "add index /* ingest */", "create table"]
    );
    assert!(
        jobs.column("STATE").iter().all(|state| state == "synced"),
        "{:?}",
        jobs.text()
    );
    assert!(
        jobs.column("END_TIME").iter().all(|time| time.len() == 26),
        "{:?}",
        jobs.text()
    );

    let one = run(&mut ctx, "ADMIN SHOW DDL JOBS 1").await.unwrap();
    assert_eq!(one.rows.len(), 1);
    let some = run(
        &mut ctx,
        "ADMIN SHOW DDL JOBS 10 WHERE state = 'synced' AND job_type LIKE 'create%' AND db_name = 'test'",
    )
    .await
    .unwrap();
    assert_eq!(some.column("TABLE_NAME"), ["t"]);
    assert_eq!(code(&mut ctx, "ADMIN SHOW DDL JOBS WHERE nope = 1").await, 1054);

    let ids = jobs.column("JOB_ID");
    let queries = run(&mut ctx, &format!("ADMIN SHOW DDL JOB QUERIES {}", ids[1]))
        .await
        .unwrap();
    assert_eq!(
        queries.text(),
        [["ALTER TABLE t ADD INDEX i (b(5), c) COMMENT 'x'"]]
    );
    let queries = run(&mut ctx, "ADMIN SHOW DDL JOB QUERIES LIMIT 1 OFFSET 1")
        .await
        .unwrap();
    assert_eq!(queries.column("JOB_ID"), [ids[1].clone()]);

    let ddl = run(&mut ctx, "ADMIN SHOW DDL").await.unwrap();
    assert_eq!(
        ddl.names(),
        [
            "SCHEMA_VER",
            "OWNER_ID",
            "OWNER_ADDRESS",
            "RUNNING_JOBS",
            "SELF_ID",
            "QUERY"
        ]
    );
    assert_eq!(ddl.column("OWNER_ID"), ddl.column("SELF_ID"));

    assert!(
        run(&mut ctx, "ADMIN CHECK TABLE t")
            .await
            .unwrap()
            .columns
            .is_empty()
    );
    assert!(
        run(&mut ctx, "ADMIN CHECK INDEX t u")
            .await
            .unwrap()
            .columns
            .is_empty()
    );
    let sum = run(&mut ctx, "ADMIN CHECKSUM TABLE t").await.unwrap();
    assert_eq!(
        sum.names(),
        [
            "Db_name",
            "Table_name",
            "Checksum_crc64_xor",
            "Total_kvs",
            "Total_bytes"
        ]
    );
    assert_eq!(sum.column("Total_kvs"), ["0"]);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_has_its_number() {
    let node = Node::open().await;
    let mut ctx = node.session();
    run(&mut ctx, "CREATE TABLE t (a INT PRIMARY KEY, b TEXT)")
        .await
        .unwrap();
    run(&mut ctx, "ALTER TABLE t ADD INDEX i (b(5))").await.unwrap();
    for (text, expected) in [
        ("CREATE TABLE t (a INT)", 1050),
        ("CREATE DATABASE test", 1007),
        ("DROP DATABASE nope", 1008),
        ("DROP TABLE nope", 1051),
        ("ALTER TABLE nope ADD INDEX i (a)", 1146),
        ("ALTER TABLE nope.t ADD INDEX i (a)", 1146),
        ("ALTER TABLE nope DISABLE KEYS", 1146),
        ("ALTER TABLE t ADD INDEX i (a)", 1061),
        ("ALTER TABLE t ADD INDEX j (nope)", 1072),
        ("ALTER TABLE t ADD INDEX j (b)", 1170),
        ("ALTER TABLE t ADD INDEX j (b(1000))", 1071),
        ("ALTER TABLE t ADD INDEX j (a(3))", 1089),
        ("ALTER TABLE t DROP INDEX nope", 1091),
        ("ALTER TABLE t ADD COLUMN a INT", 1060),
        ("ALTER TABLE t ALTER COLUMN nope SET DEFAULT 1", 1054),
        ("ALTER TABLE t ADD FOREIGN KEY (a) REFERENCES u (b)", 1235),
        ("CREATE TABLE information_schema.t (a INT)", 1044),
        ("CREATE TABLE u AS SELECT 1", 1235),
        ("ADMIN CHECK TABLE nope", 1146),
        ("ADMIN CHECK INDEX t nope", 1176),
        ("ADMIN RECOVER INDEX t i", 1235),
        ("ADMIN ALTER DDL JOBS 1 THREAD = 100000", 1231),
        ("ADMIN ALTER DDL JOBS 999999 THREAD = 8", 8224),
    ] {
        assert_eq!(code(&mut ctx, text).await, expected, "{text}");
    }
    run(&mut ctx, "CREATE TABLE IF NOT EXISTS t (a INT)")
        .await
        .unwrap();
    assert_eq!(ctx.warnings.kept()[0].code, 1050);
    run(&mut ctx, "DROP TABLE IF EXISTS nope").await.unwrap();
    assert_eq!(ctx.warnings.kept()[0].code, 1051);
    run(&mut ctx, "ALTER TABLE t DISABLE KEYS").await.unwrap();
    let results = run(&mut ctx, "ADMIN CANCEL DDL JOBS 999999").await.unwrap();
    assert_eq!(
        results.text(),
        [["999999", "error: [ddl:8224]DDL Job:999999 not found"]]
    );
    ctx.database = None;
    assert_eq!(code(&mut ctx, "ALTER TABLE t ADD INDEX j (a)").await, 1046);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rights_are_asked_for() {
    let node = Node::open().await;
    run(&mut node.session(), "CREATE TABLE t (a INT)").await.unwrap();
    let mut ctx = node.session_of(Grants::default());
    for (text, expected) in [
        ("ALTER TABLE t ADD INDEX i (a)", 1142),
        ("CREATE INDEX i ON t (a)", 1142),
        ("DROP TABLE t", 1142),
        ("CREATE DATABASE d", 1044),
        ("ADMIN SHOW DDL JOBS", 1227),
        ("ADMIN CANCEL DDL JOBS 1", 1227),
    ] {
        assert_eq!(code(&mut ctx, text).await, expected, "{text}");
    }
    let mut grants = Grants::default();
    grants
        .databases
        .insert("test".into(), PrivilegeSet::of([Privilege::Index]));
    let mut ctx = node.session_of(grants);
    run(&mut ctx, "CREATE INDEX i ON t (a)").await.unwrap();
    assert_eq!(code(&mut ctx, "ALTER TABLE t ADD INDEX j (a)").await, 1142);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_cancels_the_job_and_a_client_that_left_does_not() {
    let node = Node::open().await;
    let mut ctx = node.session();
    run(&mut ctx, "CREATE TABLE t (a INT)").await.unwrap();
    let view = node.engine.catalog.view();
    let id = view.table("test", "t").unwrap().id;
    for (reason, expected) in [(StopReason::Killed, 8214), (StopReason::ClientGone, 1317)] {
        // Another connection's transaction uses the table: the job has to wait for it.
        let mut pins = node.engine.catalog.pins(77, "other");
        assert!(matches!(
            pins.pin(&node.engine.catalog.view(), id),
            Pinned::As(..)
        ));
        let mut waiting = node.session();
        let statement = waiting.statement.clone();
        let alter = tokio::spawn(async move { code(&mut waiting, "ALTER TABLE t ADD INDEX i (a)").await });
        let blocked = async {
            while node.engine.ddl.blockers().await.unwrap().is_empty() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), blocked)
            .await
            .expect("the job waits for the transaction");
        statement.stop(reason);
        let ended = async {
            if reason == StopReason::ClientGone {
                return alter.await.unwrap();
            }
            // A cancelled job still waits for whoever uses what it rolls back.
            tokio::time::sleep(Duration::from_millis(50)).await;
            pins.clear();
            alter.await.unwrap()
        };
        let code = tokio::time::timeout(Duration::from_secs(10), ended)
            .await
            .expect("the wait ends");
        assert_eq!(code, expected, "{reason:?}");
        let has_index = || {
            node.engine
                .catalog
                .view()
                .table("test", "t")
                .unwrap()
                .index("i")
                .is_some()
        };
        if reason == StopReason::Killed {
            assert!(!has_index(), "the cancelled job left its index");
            continue;
        }
        drop(pins);
        let public = async {
            while run(&mut node.session(), "ADMIN SHOW DDL JOBS 1")
                .await
                .unwrap()
                .column("STATE")
                != ["synced"]
            {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), public)
            .await
            .expect("the job goes on by itself");
        assert!(has_index());
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn maintenance_statements_answer_with_rows() {
    let node = Node::open().await;
    let mut ctx = node.session();
    run(&mut ctx, "CREATE TABLE t (a INT, KEY (a))").await.unwrap();
    let rows = |found: Captured| found.text();
    let found = rows(run(&mut ctx, "CHECK TABLE t, nope").await.unwrap());
    assert_eq!(found[0], ["test.t", "check", "status", "OK"]);
    assert_eq!(found[1][..3], ["test.nope", "check", "Error"]);
    assert_eq!(found[2][3], "Operation failed");
    let found = rows(run(&mut ctx, "ANALYZE TABLE t").await.unwrap());
    assert_eq!(found, [["test.t", "analyze", "status", "OK"]]);
    node.stop().await;
}
