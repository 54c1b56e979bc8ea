//! OLTP by the program sysbench, for systems that speak MySQL's protocol.

use std::path::PathBuf;
use std::time::Duration;

use tokio::process::Command;

use crate::data;
use crate::peers::mysql::{self, Address};
use crate::process;
use crate::workload::Oltp;

/// Tables of their own: these runs change their rows.
const DATABASE: &str = "oltp";
const INSERT_DATABASE: &str = "oltp_insert";
/// sysbench's name for its first table.
const TABLE: &str = "sbtest1";
/// Before what is measured: caches and plans are as in service.
const WARM_UP_SECONDS: u64 = 3;

#[derive(Debug, Clone)]
pub(crate) struct OltpOptions {
    pub sysbench: PathBuf,
    pub rows: u64,
    pub threads: u32,
    pub seconds: u64,
}

/// What one run of sysbench said.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Figures {
    pub transactions_per_s: f64,
    pub queries_per_s: f64,
    pub p99_ms: f64,
    pub max_ms: f64,
    pub errors_per_s: f64,
}

/// Makes and fills the table of all mixes but insert's.
pub(crate) async fn prepare(address: Address, options: &OltpOptions) -> Result<(), String> {
    let mut conn = address.connect(None).await?;
    for database in [DATABASE, INSERT_DATABASE] {
        mysql::run(&mut conn, &format!("CREATE DATABASE {database}")).await?;
    }
    let table = format!("{DATABASE}.{TABLE}");
    mysql::run(&mut conn, &data::create_table(&table)).await?;
    mysql::load(&mut conn, &table, options.rows).await?;
    mysql::run(&mut conn, &format!("ALTER TABLE {table} ADD INDEX k_1 (k)")).await
}

/// An empty table, for inserts.
async fn prepare_inserts(address: Address) -> Result<(), String> {
    let table = format!("{INSERT_DATABASE}.{TABLE}");
    let mut conn = address.connect(None).await?;
    mysql::run(&mut conn, &format!("DROP TABLE IF EXISTS {table}")).await?;
    mysql::run(&mut conn, &data::create_table(&table)).await?;
    mysql::run(&mut conn, &format!("ALTER TABLE {table} ADD INDEX k_1 (k)")).await
}

pub(crate) async fn run(address: Address, mix: Oltp, options: &OltpOptions) -> Result<Figures, String> {
    let database = match mix {
        Oltp::Insert => {
            prepare_inserts(address).await?;
            INSERT_DATABASE
        }
        _ => DATABASE,
    };
    sysbench(address, database, mix, options, WARM_UP_SECONDS).await?;
    sysbench(address, database, mix, options, options.seconds).await
}

async fn sysbench(
    address: Address,
    database: &str,
    mix: Oltp,
    options: &OltpOptions,
    seconds: u64,
) -> Result<Figures, String> {
    let mut command = Command::new(&options.sysbench);
    command.arg(mix.script()).args([
        "--db-driver=mysql".to_owned(),
        "--mysql-host=127.0.0.1".into(),
        format!("--mysql-port={}", address.port),
        "--mysql-user=root".into(),
        "--mysql-ssl=off".into(),
        format!("--mysql-db={database}"),
        "--tables=1".into(),
        format!("--table-size={}", options.rows),
        format!("--threads={}", options.threads),
        format!("--time={seconds}"),
        "--percentile=99".into(),
        "run".into(),
    ]);
    let patience = Duration::from_secs(seconds + 60);
    let said = process::run("sysbench", command, patience).await?;
    parse(&said, seconds).ok_or_else(|| format!("sysbench said something else than expected:\n{said}"))
}

fn parse(said: &str, seconds: u64) -> Option<Figures> {
    let after = |name: &str| {
        let rest = said.split_once(name)?.1;
        rest.split_whitespace().next()?.parse::<f64>().ok()
    };
    // The second figure is a rate: `transactions: 600 (199.26 per sec.)`.
    let rate = |name: &str| {
        let rest = said.split_once(name)?.1.split_once('(')?.1;
        rest.split_whitespace().next()?.parse::<f64>().ok()
    };
    Some(Figures {
        transactions_per_s: rate("transactions:")?,
        queries_per_s: rate("queries:")?,
        p99_ms: after("99th percentile:")?,
        max_ms: after("max:")?,
        errors_per_s: after("ignored errors:")? / seconds.max(1) as f64,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_sysbench_says_is_understood() {
        let said = "SQL statistics:
    queries performed:
        read:                            8400
        total:                           12000
    transactions:                        600    (199.26 per sec.)
    queries:                             12000  (3985.19 per sec.)
    ignored errors:                      6      (2.00 per sec.)
    reconnects:                          0      (0.00 per sec.)

General statistics:
    total time:                          3.0096s
    total number of events:              600

Latency (ms):
         min:                                   10.00
         avg:                                   80.18
         max:                                  190.71
         99th percentile:                      153.02
         sum:                                48106.81
";
        let expected = Figures {
            transactions_per_s: 199.26,
            queries_per_s: 3985.19,
            p99_ms: 153.02,
            max_ms: 190.71,
            errors_per_s: 2.0,
        };
        assert_eq!(parse(said, 3), Some(expected));
        assert_eq!(parse("FATAL: nothing", 3), None);
    }
}
