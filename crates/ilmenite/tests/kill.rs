//! kill -9 in the middle of building an index: after a restart the job goes on by itself and ends, index and table
//! agree, no acknowledged write is lost, and no object is left.

mod support;

use std::time::{Duration, Instant};

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use support::load::{Load, TABLE, create};
use support::{Server, admin_check, job, rows, run, seed, wait_until, within};

const WRITERS: i64 = 3;
/// Index and statement. Values of `u` are unique, so every one of them can be built.
const BUILDS: [(&str, &str); 4] = [
    ("u_u", "ALTER TABLE w ADD UNIQUE INDEX u_u (u)"),
    ("i_c", "ALTER TABLE w ADD INDEX i_c (c, s)"),
    ("i_kd", "ALTER TABLE w ADD INDEX i_kd (k, d)"),
    (
        "u_sid",
        "ALTER TABLE w ADD UNIQUE INDEX u_sid (s(20), id), ADD INDEX i_k (k)",
    ),
];

async fn indexes(conn: &mut Conn) -> Vec<String> {
    let sql = "SELECT DISTINCT INDEX_NAME FROM information_schema.STATISTICS WHERE TABLE_SCHEMA = 'test' AND
        TABLE_NAME = 'w' AND INDEX_NAME <> 'PRIMARY' ORDER BY INDEX_NAME";
    rows(conn, sql)
        .await
        .into_iter()
        .map(|mut row| row.remove(0))
        .collect()
}

async fn drop_indexes(conn: &mut Conn) {
    for index in indexes(conn).await {
        run(conn, &format!("ALTER TABLE w DROP INDEX {index}")).await;
    }
}

async fn kill_at_random(rounds: usize, count: i64, seed: u64) {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut server = Server::for_rows(count).await;
    let mut conn = server.connect().await;
    run(
        &mut conn,
        &format!("SET GLOBAL tidb_cloud_storage_uri = '{}'", server.objects_uri()),
    )
    .await;
    create(&mut conn, count).await;
    let mut load = Load::new(WRITERS, count, seed);

    // How long each takes undisturbed: the moments to draw from.
    let mut typical = Vec::new();
    load.start(server.opts(), false).await;
    for (_, ddl) in BUILDS {
        let began = Instant::now();
        job::run_unaided(&server, &mut conn, ddl).await;
        typical.push(began.elapsed());
    }
    load.stop().await;
    drop_indexes(&mut conn).await;

    let (mut unsent, mut resumed, mut finished) = (0, 0, 0);
    let mut round = 0;
    // At least one that hit a job: how long builds take is no promise.
    while round < rounds || (resumed == 0 && round < 4 * rounds) {
        round += 1;
        let which = rng.random_range(0..BUILDS.len());
        let (name, ddl) = BUILDS[which];
        let newest_before = job::newest(&mut conn).await.id;
        load.start(server.opts(), true).await;
        let mut alter_conn = server.connect().await;
        let alter = tokio::spawn(async move {
            let result = alter_conn.query_drop(ddl).await;
            // A statement may only be cut off, never refused.
            assert!(
                matches!(result, Ok(()) | Err(Error::Io(_) | Error::Driver(_))),
                "{ddl}: {result:?}"
            );
            result.is_ok()
        });
        let moment = typical[which].mul_f64(rng.random_range(0.0..0.9));
        tokio::time::sleep(moment).await;
        server.kill();
        let acknowledged = alter.await.expect("the ALTER did not fail otherwise");
        load.stop().await;
        // Sometimes it dies again while it recovers, or just after.
        if rng.random_ratio(1, 4) {
            server.restart().await;
            tokio::time::sleep(Duration::from_millis(rng.random_range(0..300))).await;
            server.kill();
        }
        server.restart().await;

        conn = server.connect().await;
        let jobs = job::wait_for_all(&mut conn, 120).await;
        let outcome = jobs.iter().find(|job| job.id > newest_before);
        let there = indexes(&mut conn).await;
        println!(
            "round {round}: {name} killed after {moment:.0?}: {:?}, indexes {there:?}",
            outcome.map(|j| &j.state)
        );
        match outcome {
            None => {
                unsent += 1;
                assert!(
                    !acknowledged && there.is_empty(),
                    "round {round}: no job, yet {there:?} (acknowledged: {acknowledged})"
                );
            }
            // Nothing was wrong with it, so it must have gone on to its end.
            Some(job) => {
                assert_eq!(job.state, "synced", "round {round}: {job:?}");
                assert!(there.iter().any(|i| i == name), "round {round}: {there:?}");
                if acknowledged { finished += 1 } else { resumed += 1 }
            }
        }
        admin_check(&mut conn, TABLE).await;
        load.verify(&mut conn).await;
        // What was being written at the moment of the kill goes with the scrubber, soon after the start.
        wait_until(15, &format!("round {round}: objects are left"), || {
            let left = server.objects().len();
            async move { left == 0 }
        })
        .await;
        drop_indexes(&mut conn).await;
    }
    println!(
        "{rounds} kills: {unsent} before the job was there, {resumed} in the middle of it, {finished} after it"
    );
    assert!(resumed > 0, "no kill hit a job");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_goes_on_with_its_jobs() {
    let seed = seed("kill");
    within(170, "the rounds", kill_at_random(6, 40_000, seed)).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long (minutes): cargo test --release --test kill -- --ignored --nocapture"]
async fn a_server_killed_a_hundred_times_goes_on_with_its_jobs() {
    let seed = seed("kill, 100 rounds");
    within(3600, "the rounds", kill_at_random(100, 200_000, seed)).await;
}
