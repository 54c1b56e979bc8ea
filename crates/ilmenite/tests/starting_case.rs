//! The case all this started from: ADD INDEX on an empty table, with global sort switched on. It must end, and at once.

mod support;

use std::time::{Duration, Instant};

use mysql_async::Conn;
use support::s3::S3;
use support::{Server, job, rows, run, within};

const ROUNDS: usize = 100;

/// Adds and drops an index `ROUNDS` times and returns how long each ADD took.
async fn add_and_drop(conn: &mut Conn, job_type: &str) -> Vec<Duration> {
    run(
        conn,
        "CREATE TABLE t (a INT NOT NULL PRIMARY KEY, b INT, c VARCHAR(20))",
    )
    .await;
    let mut times = Vec::new();
    for round in 0..ROUNDS {
        let began = Instant::now();
        run(conn, "ALTER TABLE t ADD INDEX i_b (b, c)").await;
        times.push(began.elapsed());
        let added = job::newest(conn).await;
        assert_eq!(
            (added.state.as_str(), added.schema_state.as_str()),
            ("synced", "public"),
            "round {round}: {added:?}"
        );
        assert_eq!(
            (added.job_type.as_str(), added.row_count),
            (job_type, 0),
            "round {round}: {added:?}"
        );
        assert_ne!(added.end_time, "NULL", "round {round}: {added:?}");
        let index = rows(conn, "SHOW INDEX FROM t WHERE Key_name = 'i_b'").await;
        assert_eq!(index.len(), 2, "round {round}: {index:?}");
        run(conn, "ALTER TABLE t DROP INDEX i_b").await;
        let dropped = job::newest(conn).await;
        assert_eq!(
            (dropped.state.as_str(), dropped.job_type.as_str()),
            ("synced", "drop index"),
            "round {round}"
        );
        assert!(dropped.id > added.id);
    }
    job::assert_columns(conn).await;
    times
}

fn assert_quick(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let (median, worst) = (times[times.len() / 2], times[times.len() - 1]);
    println!("{what}: {ROUNDS} × ADD INDEX on an empty table: median {median:?}, worst {worst:?}");
    let (median_limit, worst_limit) = if cfg!(debug_assertions) {
        (Duration::from_millis(1000), Duration::from_secs(5))
    } else {
        (Duration::from_millis(50), Duration::from_millis(500))
    };
    assert!(
        median < median_limit,
        "{what}: median {median:?}, at most {median_limit:?} expected"
    );
    assert!(
        worst < worst_limit,
        "{what}: worst {worst:?}, at most {worst_limit:?} expected"
    );
}

// One test, so that the cases are timed one after another.
/// Against F30 of docs/faults.md.
#[tokio::test(flavor = "multi_thread")]
async fn an_index_on_an_empty_table_is_there_at_once() {
    within(170, "the starting case", async {
        let server = Server::start().await;
        let mut conn = server.connect().await;
        run(
            &mut conn,
            &format!("SET GLOBAL tidb_cloud_storage_uri = '{}'", server.objects_uri()),
        )
        .await;
        assert_quick(
            "file://",
            add_and_drop(&mut conn, "add index /* ingest cloud */").await,
        );
        job::assert_no_objects(&server);

        let server = Server::start().await;
        let s3 = S3::start(&[]).await;
        let mut conn = server.connect().await;
        run(
            &mut conn,
            &format!("SET GLOBAL tidb_cloud_storage_uri = '{}'", s3.uri()),
        )
        .await;
        assert_quick(
            "s3://",
            add_and_drop(&mut conn, "add index /* ingest cloud */").await,
        );
        assert!(s3.objects().is_empty(), "{:?}", s3.objects());

        let server = Server::start().await;
        let mut conn = server.connect().await;
        assert_quick(
            "no object storage",
            add_and_drop(&mut conn, "add index /* ingest */").await,
        );
    })
    .await;
}
