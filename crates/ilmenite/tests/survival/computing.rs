//! Statements that compute long, and texts that are long.

use std::time::{Duration, Instant};

use mysql_async::prelude::Queryable;

use super::support::{Server, run, within};
use super::{number, refused};

/// S03, S05: docs/faults.md says what failed.
#[tokio::test(flavor = "multi_thread")]
async fn long_texts_are_read_in_linear_time_on_a_short_stack() {
    let server = Server::start().await;
    let mut conn = server.connect().await;
    run(&mut conn, "CREATE TABLE t (id INT PRIMARY KEY, a INT)").await;
    run(&mut conn, "INSERT INTO t VALUES (1, 1), (2, 2)").await;
    let ids: Vec<String> = (0..40_000).map(|id| id.to_string()).collect();
    let texts = [
        format!("SELECT COUNT(*) FROM t WHERE id IN ({})", ids.join(",")),
        format!(
            "SELECT COUNT(*) FROM t WHERE a = 2{}",
            " OR a = 0 OR a = 1".repeat(20_000)
        ),
        format!(
            "SELECT COUNT(*) FROM t WHERE a < 3{}",
            " AND a <> 7".repeat(40_000)
        ),
        format!(
            "SELECT 2 FROM (SELECT 1{}) x LIMIT 1",
            " UNION ALL SELECT 1".repeat(500)
        ),
    ];
    for text in &texts {
        let began = Instant::now();
        let count = within(60, "a long text", number(&mut conn, text)).await;
        assert_eq!(count, 2, "{}…", &text[..60]);
        assert!(began.elapsed() < Duration::from_secs(if cfg!(debug_assertions) { 20 } else { 2 }));
    }
    let items = vec!["1"; 4000].join(",");
    run(&mut conn, &format!("SELECT {items}")).await;
    for text in [
        format!("SELECT 1{}", "+1".repeat(100_000)),
        format!("SELECT 1{} )", "+1".repeat(100_000)),
        format!("SELECT {}1{}", "(".repeat(30_000), ")".repeat(30_000)),
        format!("SELECT {}1", "-".repeat(30_000)),
        format!("SELECT {}1", "NOT ".repeat(30_000)),
        format!("SELECT 1{}", " IS NULL".repeat(50_000)),
        format!("SELECT 1{}", " UNION SELECT 1 EXCEPT SELECT 2".repeat(5_000)),
    ] {
        let code = within(30, "a deep text", refused(&mut conn, &text)).await;
        assert!([1064, 1235, 1436].contains(&code), "{code}: {}…", &text[..40]);
    }
    for first in ["1", "id"] {
        let text = format!("SELECT {first}{} FROM t WHERE id = 1", "+1".repeat(400));
        assert_eq!(number(&mut conn, &text).await, 401);
    }
}

/// S04: docs/faults.md says what failed.
#[tokio::test(flavor = "multi_thread")]
async fn whatever_the_text_reading_it_comes_to_an_end() {
    let server = Server::start().await;
    let mut conn = server.connect().await;
    for text in [
        "SELECT 1..2",
        "SELECT ..1",
        "SELECT 1...",
        "SELECT .e1.e2",
        "SELECT 0x..1",
    ] {
        let code = within(10, text, refused(&mut conn, text)).await;
        assert!([1064, 1054].contains(&code), "{text}: {code}");
    }
}

/// S02, S11: docs/faults.md says what failed.
#[tokio::test(flavor = "multi_thread")]
async fn statements_that_compute_keep_nobody_waiting() {
    const IN_TIME: Duration = Duration::from_millis(if cfg!(debug_assertions) { 3000 } else { 1000 });
    let server = Server::start().await;
    let mut root = server.connect().await;
    run(&mut root, "CREATE TABLE t (id INT PRIMARY KEY, g INT)").await;
    for from in (0..3000).step_by(1000) {
        let rows: Vec<String> = (from..from + 1000).map(|id| format!("({id}, 1)")).collect();
        run(&mut root, &format!("INSERT INTO t VALUES {}", rows.join(","))).await;
    }
    let endless = [
        "SELECT COUNT(*) FROM t a, t b, t c",
        "SELECT COUNT(*) FROM t a JOIN t b ON a.g = b.g JOIN t c ON b.g = c.g",
        "SELECT BENCHMARK(1000000000000, 1 + 1)",
        "SELECT COUNT(*) FROM (SELECT a.id FROM t a, t b, t c ORDER BY a.g + b.id) x",
        "SELECT COUNT(DISTINCT a.id + b.id) FROM t a, t b, t c",
    ];
    for text in endless {
        let mut running = Vec::new();
        for _ in 0..4 {
            let mut conn = server.connect().await;
            let id = conn.id();
            running.push((id, tokio::spawn(async move { conn.query_drop(text).await })));
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
        // Logging in, a short statement, the status port.
        for _ in 0..10 {
            let began = Instant::now();
            let mut conn = server.connect().await;
            run(&mut conn, "SELECT 1").await;
            assert!(
                began.elapsed() < IN_TIME,
                "{text}: a login took {:?}",
                began.elapsed()
            );
        }
        let began = Instant::now();
        server.get("/status").await;
        assert!(
            began.elapsed() < IN_TIME,
            "{text}: the status took {:?}",
            began.elapsed()
        );
        // A limit of its own, and a client that leaves.
        let mut limited = server.connect().await;
        run(&mut limited, "SET max_execution_time = 200").await;
        let began = Instant::now();
        assert_eq!(refused(&mut limited, text).await, 3024, "{text}");
        assert!(
            began.elapsed() < Duration::from_millis(200) + IN_TIME,
            "{text}: {:?}",
            began.elapsed()
        );
        let leaving = server.connect().await;
        let gone = leaving.id();
        let leaving = tokio::spawn(async move {
            let mut conn = leaving;
            conn.query_drop(text).await
        });
        tokio::time::sleep(Duration::from_millis(200)).await;
        leaving.abort();
        let began = Instant::now();
        let still = format!("SELECT COUNT(*) FROM information_schema.processlist WHERE id = {gone}");
        while number(&mut root, &still).await > 0 {
            assert!(
                began.elapsed() < Duration::from_secs(1) + IN_TIME,
                "{text}: runs for nobody"
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        for (id, task) in running {
            let began = Instant::now();
            run(&mut root, &format!("KILL QUERY {id}")).await;
            let ended = within(10, "ending after KILL", task).await.expect("no panic");
            assert!(ended.is_err_and(|e| e.to_string().contains("1317")), "{text}");
            assert!(
                began.elapsed() < IN_TIME,
                "{text}: KILL took {:?}",
                began.elapsed()
            );
        }
    }
    assert!(
        !server.log().contains("lease"),
        "no lease was lost: {}",
        server.log()
    );
}
