//! Indexes are added by global sort while an application writes: none of them may miss a row, hold one too many, or
//! cost a write.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use mysql_async::Conn;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use support::load::{Load, TABLE, create};
use support::{Server, admin_check, files_below, job, rows, run, seed, within};

const WRITERS: i64 = 8;

/// One of each kind: the statements, the index each makes, and a condition that is true for all of its rows.
const ADD: [&str; 4] = [
    "ALTER TABLE w ADD INDEX i_k (k)",
    "ALTER TABLE w ADD UNIQUE INDEX u_u (u)",
    // One shared scan.
    "ALTER TABLE w ADD INDEX i_kd (k, d, s), ADD INDEX i_c (c(110), s)",
    "CREATE UNIQUE INDEX u_sid ON w (s(8), id)",
];
const INDEXES: [(&str, &str, &str); 5] = [
    ("i_k", "k >= 0", "k BETWEEN {lo} AND {lo} + 300"),
    ("u_u", "u > 0", "u BETWEEN {lo} AND {lo} + 300"),
    ("i_kd", "k >= 0", "k = {lo} AND d > 100"),
    ("i_c", "c >= ''", "c LIKE '{lo}%'"),
    ("u_sid", "s >= ''", "s LIKE 'name 0{lo}%'"),
];

/// What the index says and what the table says are the same, for all rows and for ranges of them.
async fn assert_reads_agree(conn: &mut Conn, rng: &mut StdRng) {
    for (index, all, range) in INDEXES {
        let sums = "COUNT(*), COUNT(DISTINCT id), SUM(id), SUM(k), COUNT(u), SUM(u), SUM(CRC32(s)), SUM(CRC32(c)), SUM(d)";
        let mut conditions = vec![(sums, all.to_string())];
        for _ in 0..5 {
            // Digits as they begin `c`, and numbers of the size of `k` and `u`.
            let lo = rng.random_range(100..1000).to_string();
            conditions.push(("id, k, u, s, c, d", range.replace("{lo}", &lo)));
        }
        for (wanted, condition) in conditions {
            let every = INDEXES.map(|(index, ..)| index).join(", ");
            let query = |hint: &str, indexes: &str| {
                format!("SELECT {wanted} FROM w {hint} INDEX ({indexes}) WHERE {condition}")
            };
            let (forced, ignored) = (query("FORCE", index), query("IGNORE", &every));
            let plan = format!("{:?}", rows(conn, &format!("EXPLAIN {forced}")).await);
            assert!(plan.contains(&format!("index:{index}(")), "{forced}: {plan}");
            let plan = format!("{:?}", rows(conn, &format!("EXPLAIN {ignored}")).await);
            assert!(!plan.contains("index:"), "{ignored}: {plan}");
            let mut by_index = rows(conn, &forced).await;
            let mut by_table = rows(conn, &ignored).await;
            by_index.sort();
            by_table.sort();
            assert!(
                by_index == by_table,
                "{forced}: {} and {} rows",
                by_index.len(),
                by_table.len()
            );
        }
    }
}

async fn add_indexes_under_load(count: i64, seed: u64) {
    let mut server = Server::for_rows(count).await;
    let mut conn = server.connect().await;
    run(
        &mut conn,
        &format!("SET GLOBAL tidb_cloud_storage_uri = '{}'", server.objects_uri()),
    )
    .await;
    let began = Instant::now();
    create(&mut conn, count).await;
    println!("{count} rows loaded in {:.1?}", began.elapsed());

    // How many objects there are at once, at most.
    let (most, done) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let watcher = tokio::task::spawn_blocking({
        let (most, done, dir) = (most.clone(), done.clone(), server.objects_dir());
        move || {
            while !done.load(Ordering::Relaxed) {
                most.fetch_max(files_below(&dir).len(), Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    });
    let mut load = Load::new(WRITERS, count, seed);
    load.start(server.opts(), false).await;
    for ddl in ADD {
        let (began, before) = (Instant::now(), load.acknowledged.load(Ordering::Relaxed));
        job::run_unaided(&server, &mut conn, ddl).await;
        let (took, written) = (
            began.elapsed(),
            load.acknowledged.load(Ordering::Relaxed) - before,
        );
        println!("{ddl}: {took:.1?}, {written} writes meanwhile");
        let made = job::jobs(&mut conn, 1).await.remove(0);
        assert_eq!(made.state, "synced", "{made:?}");
        assert!(made.row_count >= count as u64 / 2, "{made:?}");
        // An index that is there is right from the first moment.
        admin_check(&mut conn, TABLE).await;
        assert!(!load.failed(), "a writer has ended");
    }
    load.stop().await;
    done.store(true, Ordering::Relaxed);
    watcher.await.expect("the watcher ends");

    let (acknowledged, retried) = load.totals();
    println!(
        "{acknowledged} writes acknowledged, {retried} given up; at most {} objects",
        most.load(Ordering::Relaxed)
    );
    assert!(acknowledged > 100, "hardly any write got through: {acknowledged}");
    assert!(
        most.load(Ordering::Relaxed) > 0,
        "nothing went through object storage"
    );
    job::assert_no_objects(&server);
    load.verify(&mut conn).await;
    admin_check(&mut conn, TABLE).await;
    assert_reads_agree(&mut conn, &mut StdRng::seed_from_u64(seed)).await;

    // All of it is on disk.
    drop(conn);
    server.kill();
    server.restart().await;
    let mut conn = server.connect().await;
    load.verify(&mut conn).await;
    admin_check(&mut conn, TABLE).await;
}

/// Against F18, F19 of docs/faults.md.
#[tokio::test(flavor = "multi_thread")]
async fn indexes_added_under_load_equal_their_table() {
    let seed = seed("online");
    within(
        150,
        "adding indexes under load",
        add_indexes_under_load(50_000, seed),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long (minutes): cargo test --release --test online -- --ignored --nocapture"]
async fn indexes_added_to_three_million_rows_under_load_equal_their_table() {
    let seed = seed("online, 3 million rows");
    within(
        3600,
        "adding indexes under load",
        add_indexes_under_load(3_000_000, seed),
    )
    .await;
}
