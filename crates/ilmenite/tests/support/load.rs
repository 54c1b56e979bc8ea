//! An application: connections that write to one table all the while, and know what must be in it afterwards.
//!
//! Each writer owns the rows whose id leaves its number when divided by the number of writers, and the values of the
//! unique column `u` likewise: nobody but it changes them, so it knows after every acknowledged statement what is there.

mod row;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error, Opts, Params};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::{rows, run};
use row::{Row, Statement, delete, insert, set_u, statement, update};

pub(crate) const TABLE: &str = "w";
const CREATE: &str =
    "CREATE TABLE w (id BIGINT NOT NULL PRIMARY KEY, k INT NOT NULL, u BIGINT, s VARCHAR(60) NOT NULL,
    c CHAR(120) NOT NULL DEFAULT '', d DECIMAL(12,2), t DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP)";
/// Lock wait timeout and deadlock: what every MySQL client retries.
const RETRIED: [u16; 2] = [1205, 1213];
const DUPLICATE: u16 = 1062;
/// A node that shuts down, or has lost its lease (a frozen one that woke up) says so; the client goes elsewhere.
const LOST_NODE: [u16; 3] = [1053, 8027, 1836];
/// A statement that takes longer is on a node that is frozen or dead.
const PATIENCE: Duration = Duration::from_secs(5);
/// A transaction of a node that died holds its locks until they run out.
const FIND_OUT: Duration = Duration::from_secs(60);

async fn connect_to_one(nodes: &[Opts]) -> Option<Conn> {
    for opts in nodes {
        if let Ok(Ok(conn)) = tokio::time::timeout(Duration::from_secs(2), Conn::new(opts.clone())).await {
            return Some(conn);
        }
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    None
}

const ROWS_PER_INSERT: i64 = 500;

/// Makes the table, with ids from 1 to `count`.
pub(crate) async fn create(conn: &mut Conn, count: i64) {
    run(conn, CREATE).await;
    let mut id = 1;
    while id <= count {
        let end = (id + ROWS_PER_INSERT).min(count + 1);
        let tuples: Vec<String> = (id..end)
            .map(|id| {
                let values = Row::initial(id).values(id);
                let texts: Vec<String> = values.iter().map(|v| v.as_sql(true)).collect();
                format!("({})", texts.join(","))
            })
            .collect();
        run(
            conn,
            &format!("INSERT INTO w (id, k, u, s, c, d) VALUES {}", tuples.join(",")),
        )
        .await;
        id = end;
    }
}

/// What a writer does next: one statement, or a transaction.
struct Work {
    statements: Vec<Statement>,
    changes: Vec<(i64, Option<Row>)>,
    rolled_back: bool,
}

pub(crate) struct Writer {
    number: i64,
    writers: i64,
    rng: StdRng,
    rows: BTreeMap<i64, Row>,
    /// Values of `u` that no row has at the moment.
    free_u: Vec<i64>,
    next_id: i64,
    /// Sent, but not acknowledged: the server was killed. All of it is there, or nothing.
    pending: Vec<(i64, Option<Row>)>,
    pub acknowledged: u64,
    pub retried: u64,
}

impl Writer {
    fn new(number: i64, writers: i64, seed: u64, rows: BTreeMap<i64, Row>) -> Writer {
        let last = rows.keys().next_back().copied().unwrap_or(0);
        // The next multiple, and this writer's place behind it.
        let next_id = (last / writers + 1) * writers + number;
        let rng = StdRng::seed_from_u64(seed ^ (number as u64) << 32);
        Writer {
            number,
            writers,
            rng,
            rows,
            free_u: Vec::new(),
            next_id,
            pending: Vec::new(),
            acknowledged: 0,
            retried: 0,
        }
    }

    /// A row that is there; rows near a random place, so that every part of the table is written to.
    fn pick(&mut self) -> Option<(i64, Row)> {
        let from = self.rng.random_range(0..self.next_id.max(1));
        let found = self.rows.range(from..).next().or_else(|| self.rows.iter().next());
        found.map(|(id, row)| (*id, row.clone()))
    }

    /// An id without a row: one of a row deleted before, or a new one.
    fn vacant_id(&mut self) -> i64 {
        let multiple = self.rng.random_range(0..self.next_id / self.writers);
        let id = multiple * self.writers + self.number;
        if id > 0 && !self.rows.contains_key(&id) {
            return id;
        }
        self.next_id += self.writers;
        self.next_id - self.writers
    }

    fn take_u(&mut self) -> Option<i64> {
        if self.free_u.is_empty() || self.rng.random_ratio(1, 5) {
            return None;
        }
        let at = self.rng.random_range(0..self.free_u.len());
        Some(self.free_u[at])
    }

    fn new_row(&mut self, u: Option<i64>) -> Row {
        Row {
            k: self.rng.random_range(0..100_003),
            u,
            v: self.rng.random(),
        }
    }

    fn work(&mut self) -> Work {
        let kind = self.rng.random_range(0..100);
        let (a, b) = (self.pick(), self.pick());
        let one = |statement: Statement, id: i64, row: Option<Row>| Work {
            statements: vec![statement],
            changes: vec![(id, row)],
            rolled_back: false,
        };
        match (kind, a, b) {
            (0..=34, Some((id, row)), _) => {
                let new = self.new_row(row.u);
                one(update(id, &new), id, Some(new))
            }
            (35..=44, Some((id, row)), _) => {
                let new = Row {
                    k: row.k.wrapping_add(1),
                    ..row
                };
                one(
                    statement("UPDATE w SET k = k + 1 WHERE id = ?", vec![id.into()], Some(1)),
                    id,
                    Some(new),
                )
            }
            (45..=54, Some((id, _)), _) => one(delete(id), id, None),
            (55..=59, Some((id, row)), _) => {
                // The row is there: it must be replaced.
                let new = self.new_row(row.u);
                let sql = "REPLACE INTO w (id, k, u, s, c, d) VALUES (?, ?, ?, ?, ?, ?)";
                one(statement(sql, new.values(id), Some(2)), id, Some(new))
            }
            (60..=64, Some((id, row)), _) => {
                let new = self.new_row(row.u);
                let sql = "INSERT INTO w (id, k, u, s, c, d) VALUES (?, ?, ?, ?, ?, ?) ON DUPLICATE KEY UPDATE \
                    k = VALUES(k), s = VALUES(s), c = VALUES(c), d = VALUES(d)";
                one(statement(sql, new.values(id), Some(2)), id, Some(new))
            }
            (65..=71, Some((a, row_a)), Some((b, row_b))) if a != b => {
                // Two rows change their unique values; in between one has none.
                let (new_a, new_b) = (
                    Row {
                        u: row_b.u,
                        ..row_a.clone()
                    },
                    Row {
                        u: row_a.u,
                        ..row_b.clone()
                    },
                );
                let statements = vec![
                    set_u(a, None, None),
                    set_u(b, row_a.u, None),
                    set_u(a, row_b.u, None),
                ];
                Work {
                    statements,
                    changes: vec![(a, Some(new_a)), (b, Some(new_b))],
                    rolled_back: false,
                }
            }
            (72..=79, Some((a, row_a)), _) => {
                // A row goes and another one takes its unique value.
                let id = self.vacant_id();
                let new = self.new_row(row_a.u);
                let statements = vec![delete(a), insert(id, &new)];
                Work {
                    statements,
                    changes: vec![(a, None), (id, Some(new))],
                    rolled_back: false,
                }
            }
            (80..=89, Some((a, _)), Some((b, row_b))) if a != b => {
                // Never to be seen: among others a second row with a unique value.
                let id = self.vacant_id();
                let new = self.new_row(row_b.u);
                let statements = vec![
                    delete(a),
                    set_u(a, row_b.u, None),
                    insert(id, &new),
                    update(b, &new),
                ];
                Work {
                    statements,
                    changes: Vec::new(),
                    rolled_back: true,
                }
            }
            _ => {
                let u = self.take_u();
                let (id, row) = (self.vacant_id(), self.new_row(u));
                one(insert(id, &row), id, Some(row))
            }
        }
    }

    /// One statement or transaction. An error is one that no client expects, or a broken connection.
    async fn step(&mut self, conn: &mut Conn) -> Result<(), Error> {
        let work = self.work();
        let in_transaction = work.rolled_back || work.statements.len() > 1;
        let done = self.perform(conn, &work, in_transaction).await;
        match done {
            Ok(()) => {
                self.acknowledged += 1;
                self.pending.clear();
                self.apply(&work.changes);
                Ok(())
            }
            Err(Error::Server(e)) if RETRIED.contains(&e.code) => {
                self.retried += 1;
                self.pending.clear();
                if in_transaction {
                    conn.query_drop("ROLLBACK").await?;
                }
                Ok(())
            }
            Err(e) => Err(e),
        }
    }

    async fn perform(&mut self, conn: &mut Conn, work: &Work, in_transaction: bool) -> Result<(), Error> {
        if in_transaction {
            conn.query_drop("BEGIN").await?;
        }
        for statement in &work.statements {
            if !in_transaction {
                self.pending.clone_from(&work.changes);
            }
            let sent = self.send(conn, statement).await;
            match sent {
                // Whether it is refused depends on whether the unique index is there already.
                Err(Error::Server(e)) if work.rolled_back && e.code == DUPLICATE => {}
                other => other?,
            }
        }
        if work.rolled_back {
            return conn.query_drop("ROLLBACK").await;
        }
        if in_transaction {
            self.pending.clone_from(&work.changes);
            conn.query_drop("COMMIT").await?;
        }
        Ok(())
    }

    async fn send(&mut self, conn: &mut Conn, statement: &Statement) -> Result<(), Error> {
        if self.rng.random() {
            conn.exec_drop(statement.sql, Params::Positional(statement.params.clone()))
                .await?;
        } else {
            let mut parts = statement.sql.split('?');
            let mut text = parts.next().unwrap_or_default().to_string();
            for (part, value) in parts.zip(&statement.params) {
                text.push_str(&value.as_sql(true));
                text.push_str(part);
            }
            conn.query_drop(text).await?;
        }
        if let Some(expected) = statement.affected {
            let found = conn.affected_rows();
            assert_eq!(
                found, expected,
                "rows affected by {} with {:?}",
                statement.sql, statement.params
            );
        }
        Ok(())
    }

    /// What became of the statement that was under way when the connection was lost: its rows are looked at under
    /// locks, so that nothing of it can come later.
    async fn find_out(&mut self, conn: &mut Conn) {
        let pending = std::mem::take(&mut self.pending);
        if pending.is_empty() {
            return;
        }
        let ids: Vec<String> = pending.iter().map(|(id, _)| id.to_string()).collect();
        let sql = format!(
            "SELECT id, k, u, s, c, d FROM w WHERE id IN ({}) FOR UPDATE",
            ids.join(",")
        );
        let deadline = std::time::Instant::now() + FIND_OUT;
        loop {
            let found: Result<Vec<mysql_async::Row>, Error> = async {
                conn.query_drop("BEGIN").await?;
                let found = conn.query(&sql).await?;
                conn.query_drop("COMMIT").await?;
                Ok(found)
            }
            .await;
            match found {
                Ok(found) => {
                    let stored: BTreeMap<i64, Vec<String>> = found
                        .into_iter()
                        .map(|row| {
                            let row: Vec<String> = row.unwrap().iter().map(super::text).collect();
                            (row[0].parse().expect("a number in id"), row)
                        })
                        .collect();
                    let as_new = |(id, row): &(i64, Option<Row>)| {
                        stored.get(id) == row.as_ref().map(|r| r.shown(*id)).as_ref()
                    };
                    if pending.iter().all(as_new) {
                        self.apply(&pending);
                    }
                    return;
                }
                Err(e) if std::time::Instant::now() < deadline => {
                    if !matches!(e, Error::Server(_)) {
                        // This node went, too: the next one is asked.
                        self.pending = pending;
                        return;
                    }
                    let _ = conn.query_drop("ROLLBACK").await;
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                Err(e) => panic!("writer {} cannot find out: {e}", self.number),
            }
        }
    }

    fn apply(&mut self, changes: &[(i64, Option<Row>)]) {
        let of = |rows: &BTreeMap<i64, Row>| -> Vec<i64> {
            changes.iter().filter_map(|(id, _)| rows.get(id)?.u).collect()
        };
        let before = of(&self.rows);
        for (id, row) in changes {
            match row {
                Some(row) => self.rows.insert(*id, row.clone()),
                None => self.rows.remove(id),
            };
        }
        let after = of(&self.rows);
        self.free_u.retain(|u| !after.contains(u));
        self.free_u
            .extend(before.into_iter().filter(|u| !after.contains(u)));
    }
}

/// Writers at work, or between two phases of it.
pub(crate) struct Load {
    writers: Vec<Writer>,
    running: Vec<tokio::task::JoinHandle<Writer>>,
    stop: Arc<AtomicBool>,
    pub acknowledged: Arc<AtomicU64>,
}

impl Load {
    /// For the table as `create` makes it.
    pub(crate) fn new(writers: i64, count: i64, seed: u64) -> Load {
        let writers = (0..writers).map(|number| {
            let ids = (1..=count).filter(|id| id % writers == number);
            let rows = ids.map(|id| (id, Row::initial(id))).collect();
            Writer::new(number, writers, seed, rows)
        });
        Load {
            writers: writers.collect(),
            running: Vec::new(),
            stop: Arc::default(),
            acknowledged: Arc::default(),
        }
    }

    /// Sets the writers to work on several nodes, in turn. Any of them may die, or freeze: a writer that loses its
    /// connection goes on where it can, once it has found out what became of the statement it had sent.
    pub(crate) async fn start_on(&mut self, nodes: Vec<Opts>) {
        self.stop = Arc::default();
        for mut writer in self.writers.drain(..) {
            let mut nodes: Vec<Opts> = nodes.clone();
            let first = writer.number as usize % nodes.len().max(1);
            nodes.rotate_left(first);
            let (stop, acknowledged) = (self.stop.clone(), self.acknowledged.clone());
            self.running.push(tokio::spawn(async move {
                let mut conn: Option<Conn> = None;
                while !stop.load(Ordering::Relaxed) {
                    let Some(open) = &mut conn else {
                        conn = connect_to_one(&nodes).await;
                        if let Some(open) = &mut conn {
                            writer.find_out(open).await;
                        }
                        nodes.rotate_left(1);
                        continue;
                    };
                    match tokio::time::timeout(PATIENCE, writer.step(open)).await {
                        Ok(Ok(())) => {
                            acknowledged.fetch_add(1, Ordering::Relaxed);
                        }
                        Ok(Err(Error::Io(_) | Error::Driver(_))) | Err(_) => conn = None,
                        Ok(Err(Error::Server(e))) if LOST_NODE.contains(&e.code) => conn = None,
                        // The store is away for a moment: what became of the statement is to be found out, too.
                        Ok(Err(Error::Server(e))) if e.message.contains("temporarily unavailable") => {
                            conn = None
                        }
                        Ok(Err(e)) => panic!("writer {} failed: {e}", writer.number),
                    }
                }
                writer
            }));
        }
    }

    /// Sets the writers to work. `dies`: the server will be killed, and a broken connection ends a writer in peace.
    pub(crate) async fn start(&mut self, opts: impl Into<Opts>, dies: bool) {
        let opts: Opts = opts.into();
        self.stop = Arc::default();
        for mut writer in self.writers.drain(..) {
            let mut conn = Conn::new(opts.clone()).await.expect("a writer can connect");
            let (stop, acknowledged) = (self.stop.clone(), self.acknowledged.clone());
            self.running.push(tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    match writer.step(&mut conn).await {
                        Ok(()) => {
                            acknowledged.fetch_add(1, Ordering::Relaxed);
                        }
                        Err(Error::Io(_) | Error::Driver(_)) if dies => break,
                        Err(e) => panic!("writer {} failed: {e}", writer.number),
                    }
                }
                writer
            }));
        }
    }

    /// Finds out what became of statements that were under way when their connections were lost.
    pub(crate) async fn settle(&mut self, conn: &mut Conn) {
        for writer in &mut self.writers {
            writer.find_out(conn).await;
        }
    }

    /// Lets every writer end what it is at.
    pub(crate) async fn stop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for task in self.running.drain(..) {
            match task.await {
                Ok(writer) => self.writers.push(writer),
                Err(e) => std::panic::resume_unwind(e.into_panic()),
            }
        }
    }

    pub(crate) fn failed(&self) -> bool {
        !self.stop.load(Ordering::Relaxed) && self.running.iter().any(|task| task.is_finished())
    }

    /// Statements and transactions acknowledged, and those that had to be given up.
    pub(crate) fn totals(&self) -> (u64, u64) {
        let sum = |of: fn(&Writer) -> u64| self.writers.iter().map(of).sum();
        (sum(|w| w.acknowledged), sum(|w| w.retried))
    }

    /// The table must hold exactly what was acknowledged; what was under way at a kill wholly or not at all.
    pub(crate) async fn verify(&mut self, conn: &mut Conn) {
        let found = rows(conn, "SELECT id, k, u, s, c, d FROM w ORDER BY id").await;
        let stored: BTreeMap<i64, Vec<String>> = found
            .into_iter()
            .map(|row| (row[0].parse().expect("a number in id"), row))
            .collect();
        for writer in &mut self.writers {
            let pending = std::mem::take(&mut writer.pending);
            let as_new = |(id, row): &(i64, Option<Row>)| {
                stored.get(id) == row.as_ref().map(|r| r.shown(*id)).as_ref()
            };
            if !pending.is_empty() && pending.iter().all(as_new) {
                writer.apply(&pending);
            }
        }
        let expected: BTreeMap<i64, Vec<String>> = self
            .writers
            .iter()
            .flat_map(|writer| writer.rows.iter().map(|(id, row)| (*id, row.shown(*id))))
            .collect();
        if stored != expected {
            let ids: std::collections::BTreeSet<&i64> = stored.keys().chain(expected.keys()).collect();
            let wrong: Vec<_> = ids
                .into_iter()
                .filter(|id| stored.get(id) != expected.get(id))
                .collect();
            for id in wrong.iter().take(5) {
                eprintln!(
                    "id {id}: acknowledged {:?}\n  found {:?}",
                    expected.get(id),
                    stored.get(id)
                );
            }
            panic!(
                "{} of {} rows are not as they were acknowledged",
                wrong.len(),
                expected.len()
            );
        }
    }
}
