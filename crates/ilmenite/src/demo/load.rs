//! The application of the demo: connections that read and write `lineitem` all the while, and remember every answer.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error, Opts};
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio_util::sync::CancellationToken;

/// Errors every MySQL client retries: lock wait timeout, deadlock.
const RETRIED: [u16; 2] = [1205, 1213];

type Key = (i64, i32);

/// What one connection did.
#[derive(Default)]
pub(super) struct Tally {
    pub statements: u64,
    pub retried: u64,
    /// Rows this connection alone writes: the quantity last acknowledged, `None` for deleted.
    pub acknowledged: HashMap<Key, Option<i64>>,
    /// Statement latencies in microseconds, with the time they ended at.
    pub latencies: Vec<(Instant, u32)>,
}

pub(super) struct Load {
    stop: CancellationToken,
    tallies: Vec<Arc<Mutex<Tally>>>,
    tasks: tokio::task::JoinSet<Result<(), String>>,
}

impl Load {
    pub(super) async fn start(opts: &Opts, writers: u32, readers: u32, orders: i64) -> Result<Load, String> {
        let stop = CancellationToken::new();
        let mut tallies = Vec::new();
        let mut tasks = tokio::task::JoinSet::new();
        for n in 0..writers + readers {
            let conn = Conn::new(opts.clone()).await.map_err(|e| e.to_string())?;
            let tally = Arc::new(Mutex::new(Tally::default()));
            tallies.push(tally.clone());
            let client = Client {
                conn,
                tally,
                rng: StdRng::seed_from_u64(n as u64),
                n: n as i64,
                orders,
            };
            let stop = stop.clone();
            if n < writers {
                tasks.spawn(client.write(stop, writers as i64));
            } else {
                tasks.spawn(client.read(stop));
            }
        }
        Ok(Load { stop, tallies, tasks })
    }

    pub(super) fn statements(&self) -> u64 {
        self.tallies.iter().map(|t| t.lock().statements).sum()
    }

    /// Latencies of statements that ended between `from` and `to`, sorted, in microseconds.
    pub(super) fn latencies(&self, from: Instant, to: Instant) -> Vec<u32> {
        let mut all: Vec<u32> = Vec::new();
        for tally in &self.tallies {
            all.extend(
                tally
                    .lock()
                    .latencies
                    .iter()
                    .filter(|(at, _)| *at >= from && *at < to)
                    .map(|(_, us)| *us),
            );
        }
        all.sort_unstable();
        all
    }

    pub(super) async fn stop(mut self) -> Result<Vec<Tally>, String> {
        self.stop.cancel();
        while let Some(done) = self.tasks.join_next().await {
            done.map_err(|e| e.to_string())??;
        }
        Ok(self
            .tallies
            .iter()
            .map(|t| std::mem::take(&mut *t.lock()))
            .collect())
    }
}

struct Client {
    conn: Conn,
    tally: Arc<Mutex<Tally>>,
    rng: StdRng,
    n: i64,
    orders: i64,
}

impl Client {
    /// Updates, inserts, deletes and rolled-back transactions on orders that only this connection writes.
    async fn write(mut self, stop: CancellationToken, writers: i64) -> Result<(), String> {
        while !stop.is_cancelled() {
            let order = self.rng.random_range(0..self.orders / writers) * writers + self.n + 1;
            let line = self.rng.random_range(1..=7);
            let quantity = self.rng.random_range(1..=50_i64);
            let kind = self.rng.random_range(0..10);
            let began = Instant::now();
            let result = match kind {
                0..=4 => self.update(order, line, quantity).await,
                5..=6 => self.replace(order, line, quantity).await,
                7..=8 => self.delete(order, line).await,
                _ => self.rolled_back(order, line).await,
            };
            self.account(began, result)?;
        }
        Ok(())
    }

    async fn read(mut self, stop: CancellationToken) -> Result<(), String> {
        while !stop.is_cancelled() {
            let order = self.rng.random_range(1..=self.orders);
            let began = Instant::now();
            let result = self
                .conn
                .exec_drop(
                    "SELECT l_quantity, l_comment FROM lineitem WHERE l_orderkey = ?",
                    (order,),
                )
                .await;
            self.account(began, result)?;
        }
        Ok(())
    }

    fn account(&mut self, began: Instant, result: Result<(), Error>) -> Result<(), String> {
        let now = Instant::now();
        let mut tally = self.tally.lock();
        match result {
            Ok(()) => {
                tally.statements += 1;
                let micros = (now - began).min(Duration::from_secs(4000)).as_micros() as u32;
                tally.latencies.push((now, micros));
                Ok(())
            }
            Err(Error::Server(e)) if RETRIED.contains(&e.code) => {
                tally.retried += 1;
                Ok(())
            }
            Err(e) => Err(format!("a client of the demo failed: {e}")),
        }
    }

    async fn update(&mut self, order: i64, line: i32, quantity: i64) -> Result<(), Error> {
        let sql = "UPDATE lineitem SET l_quantity = ?, l_shipdate = l_shipdate + INTERVAL 1 DAY, l_partkey = l_partkey + 1
            WHERE l_orderkey = ? AND l_linenumber = ?";
        self.conn.exec_drop(sql, (quantity, order, line)).await?;
        if self.conn.affected_rows() > 0 {
            self.tally
                .lock()
                .acknowledged
                .insert((order, line), Some(quantity));
        }
        Ok(())
    }

    async fn replace(&mut self, order: i64, line: i32, quantity: i64) -> Result<(), Error> {
        let sql = "REPLACE INTO lineitem VALUES (?, ?, ?, ?, ?, 100.00, 0.01, 0.02, 'N', 'O', '1998-01-02', '1998-02-03',
            '1998-03-04', 'NONE', 'AIR', ?)";
        let comment = format!("written by client {} for order {order}", self.n);
        self.conn
            .exec_drop(sql, (order, order % 1000, order % 100, line, quantity, comment))
            .await?;
        self.tally
            .lock()
            .acknowledged
            .insert((order, line), Some(quantity));
        Ok(())
    }

    async fn delete(&mut self, order: i64, line: i32) -> Result<(), Error> {
        let sql = "DELETE FROM lineitem WHERE l_orderkey = ? AND l_linenumber = ?";
        self.conn.exec_drop(sql, (order, line)).await?;
        self.tally.lock().acknowledged.insert((order, line), None);
        Ok(())
    }

    async fn rolled_back(&mut self, order: i64, line: i32) -> Result<(), Error> {
        self.conn.query_drop("BEGIN").await?;
        let sql =
            "UPDATE lineitem SET l_partkey = 0, l_suppkey = 0 WHERE l_orderkey = ? AND l_linenumber = ?";
        let result = self.conn.exec_drop(sql, (order, line)).await;
        self.conn.query_drop("ROLLBACK").await?;
        result
    }
}

/// How many of the acknowledged writes the table does not hold as acknowledged.
pub(super) async fn lost_writes(conn: &mut Conn, tallies: &[Tally]) -> Result<(usize, usize), String> {
    let (mut checked, mut lost) = (0, 0);
    let statement = conn
        .prep("SELECT CAST(l_quantity AS SIGNED) FROM lineitem WHERE l_orderkey = ? AND l_linenumber = ?")
        .await
        .map_err(|e| e.to_string())?;
    for tally in tallies {
        for ((order, line), expected) in &tally.acknowledged {
            let found: Option<i64> = conn
                .exec_first(&statement, (order, line))
                .await
                .map_err(|e| e.to_string())?;
            checked += 1;
            if found != *expected {
                lost += 1;
                eprintln!("order {order} line {line}: acknowledged {expected:?}, found {found:?}");
            }
        }
    }
    Ok((checked, lost))
}
