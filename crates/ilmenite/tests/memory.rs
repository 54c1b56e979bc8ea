//! The memory of a build has a bound that no number of rows moves: the budget, and a base that is the rest of the
//! server (the store's block cache, its write buffers, connections).

#![cfg(target_os = "linux")]

mod support;

use std::time::{Duration, Instant};

use support::load::{TABLE, create};
use support::{Server, admin_check, job, run, value, within};

const BUDGET_BYTES: u64 = 256 << 20;
/// The block cache's default of 256 MiB, as much again for write buffers and their flushing, and the program.
const BASE_BYTES: u64 = 640 << 20;

const BUILDS: [&str; 2] = [
    "ALTER TABLE w ADD INDEX i_c (c, s), ADD INDEX i_k (k)",
    "ALTER TABLE w ADD UNIQUE INDEX u_u (u)",
];

/// The most memory a fresh server over `count` rows ever had while it built the indexes.
async fn peak_bytes(count: i64) -> u64 {
    let mut server = Server::start().await;
    let mut conn = server.connect().await;
    create(&mut conn, count).await;
    // What loading took is not to be counted.
    drop(conn);
    server.stop().await;
    server.restart().await;
    let mut conn = server.connect().await;
    let uri = server.objects_uri();
    run(
        &mut conn,
        &format!("SET GLOBAL ilmenite_ddl_memory_budget = {BUDGET_BYTES}"),
    )
    .await;
    run(&mut conn, &format!("SET GLOBAL tidb_cloud_storage_uri = '{uri}'")).await;
    let before = server.peak_resident_bytes();
    for ddl in BUILDS {
        job::run_unaided(&server, &mut conn, ddl).await;
    }
    let peak = server.peak_resident_bytes();
    println!(
        "{count} rows: {} MiB before the builds, at most {} MiB with a budget of {} MiB",
        before >> 20,
        peak >> 20,
        BUDGET_BYTES >> 20
    );
    job::assert_no_objects(&server);
    admin_check(&mut conn, TABLE).await;
    peak
}

async fn assert_bounded(counts: &[i64]) {
    for &count in counts {
        let peak = peak_bytes(count).await;
        assert!(
            peak <= BUDGET_BYTES + BASE_BYTES,
            "{count} rows took {} MiB",
            peak >> 20
        );
    }
}

/// Against F70 of docs/faults.md.
#[tokio::test(flavor = "multi_thread")]
async fn a_build_keeps_to_its_memory() {
    within(170, "the builds", assert_bounded(&[50_000])).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long (ten minutes): cargo test --release --test memory -- --ignored --nocapture"]
async fn builds_over_ten_million_rows_keep_to_their_memory() {
    within(
        3600,
        "the builds",
        assert_bounded(&[1_000_000, 3_000_000, 10_000_000]),
    )
    .await;
}

const TABLES: usize = 2_000;
const OPEN_WITHIN: Duration = Duration::from_secs(5);
const OPEN_BYTES: u64 = 1 << 30;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long (four minutes): cargo test --release --test memory -- --ignored --nocapture"]
async fn thousands_of_tables_open_in_seconds() {
    within(1200, "the tables", async {
        let mut server = Server::start().await;
        let mut conn = server.connect().await;
        for table in 0..TABLES {
            let columns = "id INT PRIMARY KEY, a INT, b VARCHAR(50), c INT, KEY (a), KEY (b), KEY (c)";
            run(&mut conn, &format!("CREATE TABLE t{table} ({columns})")).await;
            run(&mut conn, &format!("INSERT INTO t{table} VALUES (1, 1, 'x', 2), (2, 3, 'y', {table})")).await;
        }
        for killed in [false, true] {
            match killed {
                true => server.kill(),
                false => server.stop().await,
            }
            let began = Instant::now();
            server.restart().await;
            let mut conn = server.connect().await;
            let open = began.elapsed();
            for table in 0..TABLES {
                let c = value(&mut conn, &format!("SELECT c FROM t{table} WHERE a = 3")).await;
                assert_eq!(c, table.to_string());
            }
            let peak = server.peak_resident_bytes();
            println!(
                "{TABLES} tables with three indexes each open in {open:.2?} (killed: {killed}), {} MiB once all were read",
                peak >> 20
            );
            assert!(open <= OPEN_WITHIN && peak <= OPEN_BYTES);
        }
    })
    .await;
}
