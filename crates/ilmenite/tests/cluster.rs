//! Several SQL nodes over one store, as processes: any takes a statement, one owns the DDL, all do the subtasks, and
//! none is needed.

mod support;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use support::cluster::{Cluster, RegionChaos};
use support::load::{Load, TABLE, create};
use support::sysbench::{Sysbench, figure};
use support::{admin_check, job, rows, run, seed, wait_until, within};

/// Each test is four processes or more: one at a time, so that they are measured against the machine and not each other.
static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// The starting case on three nodes, through each in turn.
/// Against P01 of docs/faults.md.
#[tokio::test(flavor = "multi_thread")]
async fn an_index_on_an_empty_table_is_there_at_once_on_three_nodes() {
    let _turn = TURN.lock().await;
    within(170, "the rounds", async {
        let cluster = Cluster::start(3, &[], &[]).await;
        let mut conns: Vec<Conn> = Vec::new();
        for node in &cluster.nodes {
            conns.push(node.connect().await);
        }
        run(
            &mut conns[0],
            "CREATE TABLE t (a INT NOT NULL PRIMARY KEY, b INT, c VARCHAR(20))",
        )
        .await;
        let mut times = Vec::new();
        for round in 0..100 {
            let at = round % conns.len();
            let began = Instant::now();
            run(&mut conns[at], "ALTER TABLE t ADD INDEX i_b (b, c)").await;
            times.push(began.elapsed());
            // Every node reads through it at once.
            for conn in &mut conns {
                let plan = format!(
                    "{:?}",
                    rows(conn, "EXPLAIN SELECT b, c FROM t FORCE INDEX (i_b) WHERE b = 1").await
                );
                assert!(plan.contains("index:i_b"), "round {round}: {plan}");
            }
            run(&mut conns[(at + 1) % 3], "ALTER TABLE t DROP INDEX i_b").await;
        }
        times.sort();
        let (median, worst) = (times[50], times[99]);
        println!("3 nodes: 100 × ADD INDEX on an empty table: median {median:?}, worst {worst:?}");
        let limit = Duration::from_millis(if cfg!(debug_assertions) { 2000 } else { 150 });
        assert!(median < limit, "median {median:?}, at most {limit:?} expected");
        let jobs = job::jobs(&mut conns[0], 200).await;
        assert!(jobs.iter().all(|job| job.state == "synced"));
        assert!(cluster.objects().is_empty());
    })
    .await;
}

/// A transaction on another node is named on every node while a job waits for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_on_another_node_is_named_everywhere() {
    let _turn = TURN.lock().await;
    within(120, "the test", async {
        let cluster = Cluster::start(3, &[], &[]).await;
        let mut conns: Vec<Conn> = Vec::new();
        for node in &cluster.nodes {
            conns.push(node.connect().await);
        }
        run(
            &mut conns[0],
            "CREATE TABLE b (a INT NOT NULL PRIMARY KEY, b INT)",
        )
        .await;
        run(&mut conns[0], "INSERT INTO b VALUES (1, 1)").await;
        let owner = cluster.owner(&mut conns[0]).await;
        let other = (owner + 1) % 3;
        let mut blocker = cluster.nodes[other].connect().await;
        let id = rows(&mut blocker, "SELECT CONNECTION_ID()")
            .await
            .remove(0)
            .remove(0);
        blocker.query_drop("BEGIN").await.expect("begun");
        blocker
            .query_drop("UPDATE b SET b = 2 WHERE a = 1")
            .await
            .expect("updated");
        let mut alter = cluster.nodes[owner].connect().await;
        let alter = tokio::spawn(async move { run(&mut alter, "ALTER TABLE b ADD INDEX i (b)").await });
        for (at, conn) in conns.iter_mut().enumerate() {
            let deadline = Instant::now() + Duration::from_secs(20);
            loop {
                let shown = format!(
                    "{:?}",
                    rows(conn, "SELECT * FROM information_schema.ddl_blockers").await
                );
                let jobs = format!("{:?}", job::newest(conn).await);
                if shown.contains(&format!("\"{id}\""))
                    && shown.contains("UPDATE b SET b = 2")
                    && jobs.contains("connection")
                {
                    break;
                }
                assert!(Instant::now() < deadline, "node {at}: {shown}; {jobs}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        assert!(!alter.is_finished());
        blocker.query_drop("COMMIT").await.expect("committed");
        alter.await.expect("the ALTER goes through");
        for conn in &mut conns {
            assert_eq!(
                rows(conn, "SELECT a FROM b FORCE INDEX (i) WHERE b = 2").await,
                [["1"]]
            );
        }
    })
    .await;
}

/// A node's lease, and what a job may take after it ended.
const LEASE: Duration = Duration::from_secs(15);
const AFTER_LEASE: Duration = Duration::from_secs(if cfg!(debug_assertions) { 90 } else { 15 });
const FREEZE: Duration = Duration::from_secs(15);

/// What all rounds add; each name is one index.
const BUILDS: [(&str, &[&str]); 3] = [
    ("ALTER TABLE w ADD UNIQUE INDEX u_u (u)", &["u_u"]),
    (
        "ALTER TABLE w ADD INDEX i_k (k), ADD INDEX i_c (c, s)",
        &["i_k", "i_c"],
    ),
    ("CREATE UNIQUE INDEX u_sid ON w (s(20), id)", &["u_sid"]),
];

const SYSBENCH_BUILD: (&str, &[&str]) = ("ALTER TABLE sbtest1 ADD INDEX i_pad (pad, c(10))", &["i_pad"]);

/// What is done to the cluster while it builds.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Blow {
    Kill,
    Freeze,
    /// kill -9 of the store, and its restart.
    KillStore,
}

/// Rounds of two schema changes at once under load on all nodes; in each, something happens to one of the processes.
async fn rounds(
    count: usize,
    rows_count: i64,
    seed: u64,
    blows: &[Blow],
    regions_move: bool,
    sysbench: Option<Sysbench>,
) {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut cluster = Cluster::start(3, &["--testing", "--region-bytes", "4194304"], &[]).await;
    let mut conn = cluster.nodes[0].connect().await;
    create(&mut conn, rows_count).await;
    let sql = "SELECT TABLE_ID FROM information_schema.ddl_jobs WHERE TABLE_NAME = 'w' LIMIT 1";
    let table_id = rows(&mut conn, sql).await[0][0]
        .parse()
        .expect("a number in TABLE_ID");
    let mut load = Load::new(6, rows_count, seed);
    let chaos = regions_move.then(|| RegionChaos::start(cluster.store.address(), table_id, seed));
    if let Some(sysbench) = &sysbench {
        sysbench.succeed(cluster.nodes[0].address(), "prepare").await;
    }
    let mut slowest = Duration::ZERO;
    let mut transactions = 0;
    for round in 0..count {
        let blow = blows[round % blows.len()];
        let owner = cluster.owner(&mut conn).await;
        // The owner every third time.
        let victim = if round % 3 == 0 {
            owner
        } else {
            rng.random_range(0..cluster.nodes.len())
        };
        load.start_on(cluster.opts()).await;
        let mut benches = Vec::new();
        for node in cluster.nodes.iter().filter(|_| sysbench.is_some()) {
            let (sysbench, address) = (sysbench.clone(), node.address());
            benches.push(tokio::spawn(async move {
                sysbench.expect("seen above").step(address, "run").await
            }));
        }
        let (first, second) = (
            rng.random_range(0..BUILDS.len()),
            rng.random_range(1..BUILDS.len()),
        );
        let mut chosen = vec![BUILDS[first], BUILDS[(first + second) % BUILDS.len()]];
        if sysbench.is_some() {
            chosen.push(SYSBENCH_BUILD);
        }
        let mut alters = Vec::new();
        for (at, &(ddl, _)) in chosen.iter().enumerate() {
            // Not on the victim: its clients lose their connections.
            let mut alter = cluster.nodes[(victim + 1 + at % 2) % 3].connect().await;
            alters.push(tokio::spawn(async move { alter.query_drop(ddl).await }));
        }
        tokio::time::sleep(Duration::from_millis(rng.random_range(0..2500))).await;
        let began = Instant::now();
        match blow {
            Blow::Kill => cluster.nodes[victim].kill(),
            Blow::Freeze => cluster.nodes[victim].signal("STOP"),
            Blow::KillStore => {
                cluster.store.kill();
                cluster.store.restart().await;
            }
        }
        let watching = (victim + 1) % 3;
        let mut watcher = cluster.nodes[watching].connect().await;
        if blow == Blow::Freeze {
            tokio::time::sleep(FREEZE).await;
            cluster.nodes[victim].signal("CONT");
        }
        let jobs = job::wait_for_all(&mut watcher, (LEASE + AFTER_LEASE).as_secs()).await;
        let took = began.elapsed();
        slowest = slowest.max(took);
        for alter in alters {
            match alter.await.expect("the ALTER's task ends") {
                Ok(()) | Err(Error::Io(_) | Error::Driver(_)) => {}
                Err(e) => panic!("round {round}: {e}"),
            }
        }
        println!("round {round}: {blow:?} of node {victim} (owner {owner}): jobs ended {took:.1?} after it");
        assert!(took < LEASE + AFTER_LEASE, "round {round}: {took:?}");
        load.stop().await;
        for (at, bench) in benches.into_iter().enumerate() {
            let (status, said) = bench.await.expect("sysbench ends");
            // On nodes that live, nothing but what it retries; a store that is away is felt by all.
            if at != victim && blow != Blow::KillStore {
                assert_eq!(status, Some(0), "round {round}: sysbench on node {at}:\n{said}");
                transactions += figure(&said, "transactions:");
            }
        }
        if blow == Blow::Kill {
            cluster.nodes[victim].restart().await;
        }
        conn = cluster.nodes[watching].connect().await;
        for job in jobs
            .iter()
            .filter(|j| !j.job_type.contains("drop") && !j.job_type.contains("subjob"))
            .take(chosen.len())
        {
            assert_eq!(job.state, "synced", "round {round}: {job:?}");
        }
        load.settle(&mut conn).await;
        load.verify(&mut conn).await;
        admin_check(&mut conn, TABLE).await;
        wait_until(20, "objects are left", || {
            let left = cluster.objects().len();
            async move { left == 0 }
        })
        .await;
        if sysbench.is_some() {
            admin_check(&mut conn, "sbtest1").await;
        }
        for (ddl, names) in &chosen {
            let table = if *ddl == SYSBENCH_BUILD.0 {
                "sbtest1"
            } else {
                TABLE
            };
            for index in *names {
                run(&mut conn, &format!("ALTER TABLE {table} DROP INDEX {index}")).await;
            }
        }
    }
    if let Some(chaos) = chaos {
        println!("{} regions split, merged or moved", chaos.stop().await);
    }
    let (acknowledged, retried) = load.totals();
    println!(
        "{count} rounds: slowest {slowest:.1?}; {acknowledged} writes acknowledged, {retried} given up; {transactions} \
         transactions of sysbench on nodes that lived"
    );
}

/// Against F42 of docs/faults.md.
#[tokio::test(flavor = "multi_thread")]
async fn jobs_outlive_a_node_that_dies() {
    let _turn = TURN.lock().await;
    let seed = seed("cluster");
    within(
        400,
        "the rounds",
        rounds(2, 20_000, seed, &[Blow::Kill], true, None),
    )
    .await;
}

/// Against F42 of docs/faults.md.
#[tokio::test(flavor = "multi_thread")]
async fn jobs_outlive_a_restart_of_the_store() {
    let _turn = TURN.lock().await;
    let seed = seed("cluster, store");
    within(
        400,
        "the rounds",
        rounds(2, 20_000, seed, &[Blow::KillStore], false, None),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long (half an hour): cargo test --release --test cluster -- --ignored --nocapture"]
async fn jobs_outlive_fifty_blows() {
    let _turn = TURN.lock().await;
    let seed = seed("cluster, 50 rounds");
    let blows = [
        Blow::Kill,
        Blow::Freeze,
        Blow::Kill,
        Blow::KillStore,
        Blow::Freeze,
    ];
    let sysbench = Sysbench::new("oltp_read_write", 2, 20);
    within(
        7200,
        "the rounds",
        rounds(50, 30_000, seed, &blows, true, sysbench),
    )
    .await;
}

/// Without object storage runs lie on one node's disk: that node does the whole build, and another begins it anew when
/// the first one dies.
/// Against F05 of docs/faults.md.
#[tokio::test(flavor = "multi_thread")]
async fn without_object_storage_one_node_sorts_and_another_begins_anew() {
    let _turn = TURN.lock().await;
    within(170, "the test", async {
        let mut cluster = Cluster::start(3, &[], &["--slots", "4"]).await;
        let mut conn = cluster.nodes[0].connect().await;
        run(&mut conn, "SET GLOBAL tidb_cloud_storage_uri = ''").await;
        run(&mut conn, "SET GLOBAL ilmenite_ddl_memory_budget = 67108864").await;
        create(&mut conn, 40_000).await;
        run(
            &mut conn,
            "ALTER TABLE w ADD INDEX i_c (c, s), ADD UNIQUE INDEX u_u (u)",
        )
        .await;
        admin_check(&mut conn, TABLE).await;
        run(&mut conn, "ALTER TABLE w DROP INDEX i_c").await;
        // Slow enough to be hit.
        run(&mut conn, "SET GLOBAL tidb_ddl_reorg_max_write_speed = '200KiB'").await;
        let owner = cluster.owner(&mut conn).await;
        let mut alter = cluster.nodes[(owner + 1) % 3].connect().await;
        let alter = tokio::spawn(async move { alter.query_drop("ALTER TABLE w ADD INDEX i_c (c, s)").await });
        let mut conn = cluster.nodes[(owner + 2) % 3].connect().await;
        let sql = "SELECT DISTINCT NODE FROM information_schema.ddl_subtasks WHERE STATE = 'running'";
        wait_until(60, "a subtask runs", || async {
            let mut conn = cluster.nodes[(owner + 2) % 3].connect().await;
            !rows(&mut conn, sql).await.is_empty()
        })
        .await;
        cluster.nodes[owner].kill();
        run(&mut conn, "SET GLOBAL tidb_ddl_reorg_max_write_speed = '0'").await;
        alter.await.expect("it ends").expect("the ALTER goes through");
        assert_eq!(job::newest(&mut conn).await.state, "synced");
        admin_check(&mut conn, TABLE).await;
    })
    .await;
}

/// Times of some builds of one index, and on which nodes subtasks were seen at work.
async fn builds(cluster: &Cluster, count: usize) -> (Vec<Duration>, BTreeSet<String>) {
    let mut conn = cluster.nodes[0].connect().await;
    let mut watcher = cluster.nodes[0].connect().await;
    let mut at_work = BTreeSet::new();
    let mut times = Vec::new();
    for _ in 0..count {
        let began = Instant::now();
        let mut alter = std::pin::pin!(run(&mut conn, "ALTER TABLE w ADD INDEX i_c (c, s)"));
        loop {
            tokio::select! {
                () = &mut alter => break,
                () = tokio::time::sleep(Duration::from_millis(20)) => {
                    let sql = "SELECT DISTINCT NODE FROM information_schema.ddl_subtasks WHERE STATE = 'running'";
                    at_work.extend(rows(&mut watcher, sql).await.into_iter().flatten());
                }
            }
        }
        times.push(began.elapsed());
        run(&mut watcher, "ALTER TABLE w DROP INDEX i_c").await;
    }
    times.sort();
    (times, at_work)
}

/// The more nodes, the faster: a large build on one node with one slot, and on three of them.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "long (some minutes): cargo test --release --test cluster -- --ignored --nocapture"]
async fn three_nodes_of_one_slot_share_a_build() {
    let _turn = TURN.lock().await;
    within(900, "the builds", async {
        let slot = ["--slots", "1"];
        let mut cluster = Cluster::start(1, &[], &slot).await;
        create(&mut cluster.nodes[0].connect().await, 500_000).await;
        let (one, at_work) = builds(&cluster, 3).await;
        assert_eq!(at_work.len(), 1, "{at_work:?}");
        cluster.add_node(&slot).await;
        cluster.add_node(&slot).await;
        let (three, at_work) = builds(&cluster, 3).await;
        let ratio = one[1].as_secs_f64() / three[1].as_secs_f64();
        println!("500,000 rows, one slot to a node: 1 node {one:.2?}, 3 nodes {three:.2?}: {ratio:.2} times as fast");
        assert_eq!(at_work.len(), 3, "{at_work:?}");
        assert!(ratio > 1.0);
        admin_check(&mut cluster.nodes[1].connect().await, TABLE).await;
    })
    .await;
}
