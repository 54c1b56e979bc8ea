//! An index built while clients work: sysbench's read-write transactions, by a client of our own that takes the time
//! of every single statement.
//!
//! Three phases: full speed, to know what the machine can do; a share of it without a build; the same with the build.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error, Params, Statement};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::data;
use crate::peers::mysql::Address;
use crate::peers::{DATABASE, Peer, TABLE};
use crate::stats::Histogram;
use crate::workload::Index;

/// How long clients run at full speed.
const FULL_SPEED: Duration = Duration::from_secs(8);
/// Rows of each range that is read.
const RANGE: u64 = 100;
/// Errors that applications repeat their transaction after: duplicate key of a row another client has just written
/// again, record changed, lock wait timeout, deadlock.
const RETRIED: [u16; 4] = [1062, 1020, 1205, 1213];
/// A statement that takes longer is an error.
const STATEMENT: Duration = Duration::from_secs(120);

#[derive(Debug, Clone)]
pub(crate) struct LoadOptions {
    pub rows: u64,
    pub threads: u32,
    pub seconds: u64,
    pub share: f64,
}

/// What became of clients and build.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Figures {
    pub build_seconds: f64,
    pub full_per_s: f64,
    pub without: Phase,
    pub with: Phase,
}

/// One phase of the clients' work.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Phase {
    pub transactions_per_s: f64,
    pub p99_ms: f64,
    pub max_ms: f64,
}

impl Figures {
    /// In percent of the transactions without a build.
    pub(crate) fn loss_percent(&self) -> f64 {
        if self.without.transactions_per_s == 0.0 {
            return 0.0;
        }
        100.0 * (1.0 - self.with.transactions_per_s / self.without.transactions_per_s)
    }

    pub(crate) fn named(&self) -> [(&'static str, f64); 8] {
        [
            ("full_per_s", self.full_per_s),
            ("without_per_s", self.without.transactions_per_s),
            ("with_per_s", self.with.transactions_per_s),
            ("loss_percent", self.loss_percent()),
            ("without_p99_ms", self.without.p99_ms),
            ("with_p99_ms", self.with.p99_ms),
            ("without_max_ms", self.without.max_ms),
            ("with_max_ms", self.with.max_ms),
        ]
    }
}

/// `None`: the peer does not speak MySQL's protocol.
pub(crate) async fn run(
    peer: &mut dyn Peer,
    variant: &str,
    index: Index,
    options: &LoadOptions,
) -> Result<Option<Figures>, String> {
    let Some(address) = peer.mysql() else {
        return Ok(None);
    };
    let clients = Clients::start(address, options, None).await?;
    tokio::time::sleep(FULL_SPEED).await;
    let full = clients.stop().await?;

    let rate = full.transactions_per_s * options.share;
    let clients = Clients::start(address, options, Some(rate)).await?;
    tokio::time::sleep(Duration::from_secs(options.seconds)).await;
    let without = clients.stop().await?;

    let clients = Clients::start(address, options, Some(rate)).await?;
    let built = peer.build(variant, index).await;
    let with = clients.stop().await?;
    Ok(Some(Figures {
        build_seconds: built?.seconds,
        full_per_s: full.transactions_per_s,
        without,
        with,
    }))
}

struct Clients {
    began: Instant,
    stop: Arc<AtomicBool>,
    running: tokio::task::JoinSet<Result<(u64, Histogram), String>>,
}

impl Clients {
    /// `rate`: transactions a second of all together; `None`: as fast as they can.
    async fn start(address: Address, options: &LoadOptions, rate: Option<f64>) -> Result<Clients, String> {
        let mut ready = Vec::new();
        for number in 0..options.threads {
            let conn = address.connect(Some(DATABASE)).await?;
            ready.push(Client::new(conn, number, options.rows).await?);
        }
        let stop = Arc::new(AtomicBool::new(false));
        let begun = Arc::new(AtomicU64::new(0));
        let began = Instant::now();
        let mut running = tokio::task::JoinSet::new();
        for client in ready {
            let (stop, begun) = (stop.clone(), begun.clone());
            running.spawn(client.work(stop, move || {
                let number = begun.fetch_add(1, Ordering::Relaxed);
                rate.map(|rate| began + Duration::from_secs_f64(number as f64 / rate.max(0.1)))
            }));
        }
        Ok(Clients { began, stop, running })
    }

    async fn stop(mut self) -> Result<Phase, String> {
        let seconds = self.began.elapsed().as_secs_f64();
        self.stop.store(true, Ordering::Relaxed);
        let (mut transactions, mut all) = (0, Histogram::default());
        while let Some(done) = self.running.join_next().await {
            let (count, latencies) = done.map_err(|e| e.to_string())??;
            transactions += count;
            all.add(&latencies);
        }
        Ok(Phase {
            transactions_per_s: transactions as f64 / seconds.max(1e-9),
            p99_ms: all.percentile_ms(0.99),
            max_ms: all.max_ms(),
        })
    }
}

/// The statements of sysbench's oltp_read_write, and how often each is in a transaction.
const POINT: usize = 0;
const STATEMENTS: [&str; 9] = [
    "SELECT c FROM {t} WHERE id = ?",
    "SELECT c FROM {t} WHERE id BETWEEN ? AND ?",
    "SELECT SUM(k) FROM {t} WHERE id BETWEEN ? AND ?",
    "SELECT c FROM {t} WHERE id BETWEEN ? AND ? ORDER BY c",
    "SELECT DISTINCT c FROM {t} WHERE id BETWEEN ? AND ? ORDER BY c",
    "UPDATE {t} SET k = k + 1 WHERE id = ?",
    "UPDATE {t} SET c = ? WHERE id = ?",
    "DELETE FROM {t} WHERE id = ?",
    "INSERT INTO {t} (id, k, c, pad) VALUES (?, ?, ?, ?)",
];
const RANGES: std::ops::RangeInclusive<usize> = 1..=4;
const UPDATE_K: usize = 5;
const UPDATE_C: usize = 6;
const DELETE: usize = 7;
const INSERT: usize = 8;
const POINTS: u32 = 10;

struct Client {
    conn: Conn,
    rows: u64,
    random: StdRng,
    statements: Vec<Statement>,
    latencies: Histogram,
}

impl Client {
    async fn new(mut conn: Conn, number: u32, rows: u64) -> Result<Client, String> {
        let mut statements = Vec::new();
        for sql in STATEMENTS {
            let sql = sql.replace("{t}", TABLE);
            statements.push(conn.prep(&sql[..]).await.map_err(|e| format!("{sql}: {e}"))?);
        }
        Ok(Client {
            conn,
            rows,
            random: StdRng::seed_from_u64(u64::from(number)),
            statements,
            latencies: Histogram::default(),
        })
    }

    async fn work(
        mut self,
        stop: Arc<AtomicBool>,
        next_begin: impl Fn() -> Option<Instant>,
    ) -> Result<(u64, Histogram), String> {
        let mut done = 0;
        while !stop.load(Ordering::Relaxed) {
            if let Some(begin) = next_begin() {
                tokio::time::sleep_until(begin.into()).await;
                if stop.load(Ordering::Relaxed) {
                    break;
                }
            }
            match self.transaction().await {
                Ok(()) => done += 1,
                Err(Error::Server(e)) if RETRIED.contains(&e.code) => {
                    self.text("ROLLBACK").await.map_err(text)?
                }
                Err(e) => return Err(format!("a client of the load failed: {e}")),
            }
        }
        Ok((done, self.latencies))
    }

    async fn transaction(&mut self) -> Result<(), Error> {
        self.text("BEGIN").await?;
        for _ in 0..POINTS {
            let id = self.id();
            self.prepared(POINT, (id,)).await?;
        }
        for range in RANGES {
            let id = self.id();
            self.prepared(range, (id, id + RANGE - 1)).await?;
        }
        let id = self.id();
        self.prepared(UPDATE_K, (id,)).await?;
        let (id, c) = (self.id(), self.string(data::c));
        self.prepared(UPDATE_C, (c, id)).await?;
        let id = self.id();
        self.prepared(DELETE, (id,)).await?;
        let (k, c, pad) = (self.id(), self.string(data::c), self.string(data::pad));
        self.prepared(INSERT, (id, k, c, pad)).await?;
        self.text("COMMIT").await
    }

    fn id(&mut self) -> u64 {
        self.random.random_range(1..=self.rows.max(1))
    }

    fn string(&mut self, make: fn(u64, &mut Vec<u8>)) -> Vec<u8> {
        let mut out = Vec::with_capacity(120);
        make(self.random.random(), &mut out);
        out
    }

    async fn text(&mut self, sql: &'static str) -> Result<(), Error> {
        let began = Instant::now();
        let result = tokio::time::timeout(STATEMENT, self.conn.query_drop(sql)).await;
        self.took(began, result)
    }

    async fn prepared(&mut self, statement: usize, params: impl Into<Params> + Send) -> Result<(), Error> {
        let began = Instant::now();
        let work = self.conn.exec_drop(&self.statements[statement], params);
        let result = tokio::time::timeout(STATEMENT, work).await;
        self.took(began, result)
    }

    fn took(
        &mut self,
        began: Instant,
        result: Result<Result<(), Error>, tokio::time::error::Elapsed>,
    ) -> Result<(), Error> {
        self.latencies.record(began.elapsed().as_micros() as u64);
        result.unwrap_or_else(|_| Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()))
    }
}

fn text(error: Error) -> String {
    format!("a client of the load failed: {error}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_are_in_percent_of_the_work_without_a_build() {
        let phase = |transactions_per_s| Phase {
            transactions_per_s,
            ..Phase::default()
        };
        let figures = Figures {
            build_seconds: 1.0,
            full_per_s: 300.0,
            without: phase(200.0),
            with: phase(190.0),
        };
        assert!((figures.loss_percent() - 5.0).abs() < 1e-9);
        let none = Figures {
            without: phase(0.0),
            ..figures
        };
        assert_eq!(none.loss_percent(), 0.0);
    }
}
