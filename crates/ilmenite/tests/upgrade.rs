//! A data directory that an older program left behind is opened, and a build that was under way goes on.

mod support;

use std::path::Path;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder};
use support::{Server, admin_check, job, rows, run, value};

/// See input/README.md.
const OF_0_1_0: &str = "directory-of-0.1.0.tar.zst";
/// The paused build in it.
const PAUSED: i64 = 11;

fn unpack(archive: &str, into: &Path) {
    let input = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/input")
        .join(archive);
    let file = std::fs::File::open(&input).expect("the archive is there");
    // As it was packed: with a window as large as the directory.
    let mut decoder = zstd::Decoder::new(file).expect("zstd's format");
    decoder.window_log_max(27).expect("a window of 128 MiB");
    tar::Archive::new(decoder)
        .unpack(into)
        .expect("the archive is whole");
}

async fn texts(conn: &mut Conn, sql: &str) -> Vec<String> {
    let rows = rows(conn, sql).await;
    rows.into_iter().map(|row| row.join("|")).collect()
}

async fn number(conn: &mut Conn, sql: &str) -> i64 {
    value(conn, sql).await.parse().expect("a number")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_and_a_job_of_0_1_0_go_on() {
    let mut server = Server::stopped(None, &[]);
    unpack(OF_0_1_0, server.dir());
    server.restart().await;
    let mut conn = server.connect().await;

    // Rows, by every index that was there.
    assert_eq!(number(&mut conn, "SELECT COUNT(*) FROM orders").await, 3_042);
    let all = "SELECT COUNT(*) FROM orders USE INDEX () WHERE ";
    let wrong = "paid <> (id % 3 = 0) OR id % 100 = 99 OR (id % 50 = 0) <> (note LIKE '%changed')";
    assert_eq!(number(&mut conn, &format!("{all}{wrong}")).await, 0);
    for key in ["PRIMARY", "by_customer", "by_city", "by_price"] {
        let sql = format!("SELECT COUNT(*) FROM orders FORCE INDEX ({key})");
        assert_eq!(number(&mut conn, &sql).await, 3_042, "{key}");
    }
    assert_eq!(
        texts(
            &mut conn,
            "SELECT customer, city, price, placed, tags FROM orders WHERE id <= 3 ORDER BY id"
        )
        .await,
        [
            "7|Oslo|12.25|2026-11-30 12:34:56.789|{\"a\": [1, null]}",
            "8|OSLO|1.50|NULL|NULL",
            "9|NULL|0.01|1999-12-31 23:59:59.999|[]",
        ]
    );
    // The collation is not binary.
    let folded = "SELECT COUNT(DISTINCT city) FROM orders FORCE INDEX (by_city)";
    assert_eq!(number(&mut conn, folded).await, 1);
    assert_eq!(
        texts(&mut conn, "SELECT * FROM named ORDER BY n").await,
        ["one|1", "two|2", "three|3"]
    );
    admin_check(&mut conn, "orders").await;
    admin_check(&mut conn, "named").await;

    // Settings, users and what they may.
    for (variable, expected) in [
        ("tidb_ddl_reorg_worker_cnt", 3),
        ("ilmenite_slow_statement_ms", 1_234),
        ("tidb_ddl_reorg_max_write_speed", 1),
    ] {
        let sql = format!("SELECT @@global.{variable}");
        assert_eq!(number(&mut conn, &sql).await, expected, "{variable}");
    }
    let reader = OptsBuilder::from_opts(server.opts())
        .user(Some("reader"))
        .pass(Some("let me in"));
    let mut reader = Conn::new(reader).await.expect("the user logs in");
    run(&mut reader, "SELECT 1 FROM orders LIMIT 1").await;
    let refused = reader
        .query_drop("DELETE FROM orders")
        .await
        .expect_err("it may only read");
    assert!(refused.to_string().contains("1142"), "{refused}");

    // The history, and the job that goes on. What it has to write was limited to nearly nothing.
    let history = job::jobs(&mut conn, 20).await;
    let ended: Vec<i64> = history
        .iter()
        .filter(|job| job.state == "synced")
        .map(|job| job.id)
        .collect();
    for id in [9, 8, 6, 5, 3] {
        assert!(ended.contains(&id), "job {id} in {ended:?}");
    }
    let paused = job::by_id(&mut conn, PAUSED).await;
    assert_eq!(
        (paused.state.as_str(), paused.schema_state.as_str()),
        ("paused", "write reorganization")
    );
    // Keys that it will find changed, again.
    run(
        &mut conn,
        "UPDATE orders SET note = CONCAT(note, ' again') WHERE id % 70 = 0",
    )
    .await;
    run(
        &mut conn,
        &format!("ADMIN ALTER DDL JOBS {PAUSED} MAX_WRITE_SPEED = 0"),
    )
    .await;
    run(&mut conn, &format!("ADMIN RESUME DDL JOBS {PAUSED}")).await;
    let done = job::wait_for(&mut conn, PAUSED, 60, "its end", |job| job.is_over()).await;
    assert_eq!(done.state, "synced", "{done:?}");
    admin_check(&mut conn, "orders").await;
    let by_note = "SELECT COUNT(*) FROM orders FORCE INDEX (by_note) WHERE note LIKE 'gift%'";
    assert_eq!(number(&mut conn, by_note).await, 3_042);

    // And what it writes now it opens again.
    run(
        &mut conn,
        "ALTER TABLE orders ADD COLUMN seen INT, DROP INDEX by_city",
    )
    .await;
    drop((conn, reader));
    server.stop().await;
    server.restart().await;
    let mut conn = server.connect().await;
    admin_check(&mut conn, "orders").await;
}
