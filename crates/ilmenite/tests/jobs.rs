//! Jobs that are cancelled, paused, resumed, handed over, or left by their client.

mod support;

use std::time::{Duration, Instant};

use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use support::load::{TABLE, create};
use support::raw::Wire;
use support::{Server, admin_check, job, rows, run, value, wait_until, within};

const SLOW: &str = "ALTER TABLE w ADD INDEX i_c (c)";

/// A table whose index takes its time, and nobody's patience: writing is limited to a trickle.
async fn slow_builds() -> (Server, Conn) {
    let server = Server::with_small_slots().await;
    let mut conn = server.connect().await;
    run(
        &mut conn,
        &format!("SET GLOBAL tidb_cloud_storage_uri = '{}'", server.objects_uri()),
    )
    .await;
    create(&mut conn, 20_000).await;
    run(&mut conn, "SET GLOBAL tidb_ddl_reorg_max_write_speed = 100000").await;
    (server, conn)
}

/// The ALTER in a client of its own, and its job once it builds.
async fn begin_slow(
    server: &Server,
    conn: &mut Conn,
) -> (tokio::task::JoinHandle<mysql_async::Result<()>>, job::Job) {
    let mut client = server.connect().await;
    let alter = tokio::spawn(async move { client.query_drop(SLOW).await });
    let job = running_build(conn).await;
    (alter, job)
}

async fn running_build(conn: &mut Conn) -> job::Job {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let live = job::jobs(conn, 0)
            .await
            .into_iter()
            .find(|j| j.state == "running");
        if let Some(job) = live.filter(|j| j.schema_state == "write reorganization" && j.row_count > 0) {
            return job;
        }
        assert!(
            Instant::now() < deadline,
            "the build does not begin: {:?}",
            job::jobs(conn, 1).await
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn lift_the_limit(conn: &mut Conn, id: i64) {
    run(conn, &format!("ADMIN ALTER DDL JOBS {id} MAX_WRITE_SPEED = 0")).await;
}

/// The RESULT of a command on one job.
async fn command(conn: &mut Conn, what: &str, id: i64) -> String {
    let found = rows(conn, &format!("ADMIN {what} DDL JOBS {id}")).await;
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0][0], id.to_string());
    found[0][1].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_does_not_take_its_job_along() {
    within(120, "the test", async {
        let (server, mut conn) = slow_builds().await;
        let wire = Wire::to(server.address()).await;
        let opts = server.opts().tcp_port(wire.address.port());
        let mut client = server.connect_with(opts).await;
        let alter = tokio::spawn(async move { client.query_drop(SLOW).await });
        let job = running_build(&mut conn).await;
        wire.cut();
        assert!(alter.await.expect("no panic").is_err(), "the client was cut off");
        // Its session ends, the job does not.
        wait_until(10, "the session of the client has ended", || {
            let opts = server.opts();
            let sql = "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE INFO LIKE 'ALTER TABLE%'";
            let server = &server;
            async move { value(&mut server.connect_with(opts).await, sql).await == "0" }
        })
        .await;
        assert_eq!(job::by_id(&mut conn, job.id).await.state, "running");
        lift_the_limit(&mut conn, job.id).await;
        job::wait_for(&mut conn, job.id, 60, "the job's end", |j| j.state == "synced").await;
        admin_check(&mut conn, TABLE).await;
        job::assert_no_objects(&server);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_are_cancelled_paused_and_resumed() {
    within(170, "the test", async {
        let (server, mut conn) = slow_builds().await;
        assert!(command(&mut conn, "CANCEL", 987_654).await.contains("not found"));

        // Pause: it stops soon, stays where it is, and goes on.
        let (alter, job) = begin_slow(&server, &mut conn).await;
        assert_eq!(command(&mut conn, "PAUSE", job.id).await, "successful");
        job::wait_for(&mut conn, job.id, 5, "paused", |j| j.state == "paused").await;
        assert!(command(&mut conn, "PAUSE", job.id).await.starts_with("error: "));
        tokio::time::sleep(Duration::from_millis(500)).await;
        let paused = job::by_id(&mut conn, job.id).await;
        assert_eq!(paused.state, "paused");
        assert!(paused.comments.contains("paused"), "{paused:?}");
        // Meanwhile the table is in use.
        run(
            &mut conn,
            "UPDATE w SET c = 'written while it was paused' WHERE id = 77",
        )
        .await;
        assert_eq!(command(&mut conn, "RESUME", job.id).await, "successful");
        job::wait_for(&mut conn, job.id, 5, "running again", |j| j.state == "running").await;
        assert!(command(&mut conn, "RESUME", job.id).await.starts_with("error: "));
        lift_the_limit(&mut conn, job.id).await;
        alter
            .await
            .expect("no panic")
            .expect("the paused ALTER goes through in the end");
        let found = rows(
            &mut conn,
            "SELECT id FROM w FORCE INDEX (i_c) WHERE c = 'written while it was paused'",
        )
        .await;
        assert_eq!(found, [["77"]]);
        admin_check(&mut conn, TABLE).await;
        assert!(command(&mut conn, "CANCEL", job.id).await.starts_with("error: "));
        run(&mut conn, "ALTER TABLE w DROP INDEX i_c").await;

        // Cancel: the client is told, and nothing is left.
        let (alter, job) = begin_slow(&server, &mut conn).await;
        assert_eq!(command(&mut conn, "CANCEL", job.id).await, "successful");
        let began = Instant::now();
        assert_cancelled(alter.await.expect("no panic"));
        assert!(
            began.elapsed() < Duration::from_secs(10),
            "cancelled after {:?}",
            began.elapsed()
        );
        assert_gone(&server, &mut conn, job.id).await;

        // So does KILL QUERY.
        let (alter, job) = begin_slow(&server, &mut conn).await;
        let sql = "SELECT ID FROM information_schema.PROCESSLIST WHERE INFO LIKE 'ALTER TABLE w%'";
        let id = value(&mut conn, sql).await;
        run(&mut conn, &format!("KILL QUERY {id}")).await;
        assert_cancelled(alter.await.expect("no panic"));
        assert_gone(&server, &mut conn, job.id).await;

        // A restart does not wake a paused job, and cancelling works then, too.
        let (alter, job) = begin_slow(&server, &mut conn).await;
        assert_eq!(command(&mut conn, "PAUSE", job.id).await, "successful");
        job::wait_for(&mut conn, job.id, 5, "paused", |j| j.state == "paused").await;
        let mut server = server;
        server.kill();
        assert!(alter.await.expect("no panic").is_err());
        server.restart().await;
        let mut conn = server.connect().await;
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert_eq!(job::by_id(&mut conn, job.id).await.state, "paused");
        assert_eq!(command(&mut conn, "CANCEL", job.id).await, "successful");
        job::wait_for(&mut conn, job.id, 20, "its end", job::Job::is_over).await;
        assert_gone(&server, &mut conn, job.id).await;
    })
    .await;
}

fn assert_cancelled(result: mysql_async::Result<()>) {
    match result {
        Err(mysql_async::Error::Server(e)) => {
            assert!(e.code == 8214 || e.code == 1317, "{e}");
        }
        other => panic!("not cancelled: {other:?}"),
    }
}

async fn assert_gone(server: &Server, conn: &mut Conn, id: i64) {
    let job = job::by_id(conn, id).await;
    assert!(
        matches!(job.state.as_str(), "cancelled" | "rollback done"),
        "{job:?}"
    );
    assert!(
        rows(conn, "SHOW INDEX FROM w WHERE Key_name <> 'PRIMARY'")
            .await
            .is_empty()
    );
    job::assert_no_objects(server);
    admin_check(conn, TABLE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_in_the_middle_of_a_build_hands_it_over() {
    within(120, "the test", async {
        let (mut server, mut conn) = slow_builds().await;
        let (alter, job) = begin_slow(&server, &mut conn).await;
        server.stop().await;
        assert!(alter.await.expect("no panic").is_err());
        server.restart().await;
        let mut conn = server.connect().await;
        lift_the_limit(&mut conn, job.id).await;
        job::wait_for(&mut conn, job.id, 60, "its end", |j| j.state == "synced").await;
        admin_check(&mut conn, TABLE).await;
        job::assert_no_objects(&server);
    })
    .await;
}
