//! ADMIN PAUSE and ADMIN CANCEL in every phase of an index build, on three nodes over one store: writes stop within seconds,
//! and of a cancelled job nothing is left: no index, no object, no lock, no hold on garbage collection.
//!
//! A job is held in each phase by what would hold it there in earnest: transactions that stay open, a limit on its write
//! speed, a store that is slow to read. Commands are given on a node that does not own the DDL.

mod support;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use ilmenite_codec::key::{HandleRef, record_key};
use ilmenite_proto::ilmenitepb::chaos_request::Action;
use ilmenite_proto::ilmenitepb::{ClearFaults, Fault, FaultKind};
use ilmenite_store::Store;
use ilmenite_tikv::{TikvOptions, TikvStore};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error};
use support::cluster::{Cluster, chaos, locks, split_at};
use support::job::{self, Job};
use support::load::{TABLE, create};
use support::{admin_check, rows, run, value, within};

const ALTER: &str = "ALTER TABLE w ADD UNIQUE INDEX u_x (u, c, s)";
/// So many merges, one at a time on each node, that some are seen.
const ALTER_WITH_MERGES: &str = "ALTER TABLE w ADD UNIQUE INDEX u_x (u, c, s), ADD INDEX i_1 (c, s, u),
    ADD INDEX i_2 (s, c, u), ADD INDEX i_3 (c, u, s)";
const ROWS: i64 = 20_000;
/// From the command on, until nothing writes any more.
const STOPS: Duration = Duration::from_secs(if cfg!(debug_assertions) { 15 } else { 5 });
/// A job that does not come to its phase by then.
const REACHES: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Queueing,
    DeleteOnly,
    WriteOnly,
    ReadIndex,
    MergeSort,
    WriteIngest,
    Reconcile,
    Verify,
    RollingBack,
}

use Phase::*;

impl Phase {
    const ALL: [Phase; 9] = [
        Queueing,
        DeleteOnly,
        WriteOnly,
        ReadIndex,
        MergeSort,
        WriteIngest,
        Reconcile,
        Verify,
        RollingBack,
    ];

    /// The step whose subtasks run in it.
    fn step(self) -> Option<&'static str> {
        match self {
            ReadIndex => Some("read-index"),
            MergeSort => Some("merge-sort"),
            WriteIngest => Some("write&ingest"),
            Reconcile => Some("reconcile"),
            Verify => Some("verify"),
            Queueing | DeleteOnly | WriteOnly | RollingBack => None,
        }
    }
}

/// The cluster, and what holds the job.
struct Lab {
    cluster: Cluster,
    /// On a node that is not the owner: gives the commands.
    conn: Conn,
    owner: usize,
    /// The region with the table's rows, and none of its indexes.
    region_id: u64,
    transactions: Vec<Conn>,
    jobs: Vec<(i64, tokio::task::JoinHandle<mysql_async::Result<()>>)>,
}

impl Lab {
    async fn new() -> Lab {
        // Slots so small that an index of some megabytes takes several runs, and these a merge.
        let cluster = Cluster::start(3, &["--testing"], &["--slots", "12"]).await;
        let mut conn = cluster.nodes[0].connect().await;
        run(&mut conn, "SET GLOBAL ilmenite_ddl_memory_budget = 67108864").await;
        create(&mut conn, ROWS).await;
        let sql = "SELECT TABLE_ID FROM information_schema.ddl_jobs WHERE TABLE_NAME = 'w' LIMIT 1";
        let table_id = value(&mut conn, sql).await.parse().expect("a number");
        let first = record_key(table_id, HandleRef::Int(i64::MIN));
        let region_id = split_at(&cluster.store.address(), &first).await;
        let owner = cluster.owner(&mut conn).await;
        // Whatever is to write an index does not get far. Set where the statements are given.
        let mut conn = cluster.nodes[(owner + 2) % 3].connect().await;
        run(&mut conn, "SET GLOBAL tidb_ddl_reorg_max_write_speed = 50000").await;
        let conn = cluster.nodes[(owner + 1) % 3].connect().await;
        Lab {
            cluster,
            conn,
            owner,
            region_id,
            transactions: Vec::new(),
            jobs: Vec::new(),
        }
    }

    /// A transaction that stays open, on another node than the owner and the one that commands.
    async fn hold(&mut self, sql: &str) {
        let mut conn = self.cluster.nodes[(self.owner + 2) % 3].connect().await;
        run(&mut conn, "BEGIN").await;
        run(&mut conn, sql).await;
        self.transactions.push(conn);
    }

    async fn end_first_transaction(&mut self) {
        run(&mut self.transactions.remove(0), "COMMIT").await;
    }

    /// Reading rows takes so long from now on, a request.
    async fn slow_reads(&self, delay_ms: u64) {
        let fault = Fault {
            kind: FaultKind::Delay.into(),
            region_id: self.region_id,
            method: "KvScan".into(),
            duration_ms: 120_000,
            delay_ms,
            ..Default::default()
        };
        self.chaos(Action::AddFault(fault)).await;
    }

    async fn chaos(&self, action: Action) {
        let done = chaos(&self.cluster.store.address(), action).await;
        done.expect("the store is one for tests");
    }

    /// Nothing holds the job any more.
    async fn release(&mut self) {
        self.chaos(Action::ClearFaults(ClearFaults::default())).await;
        while !self.transactions.is_empty() {
            self.end_first_transaction().await;
        }
    }

    /// Starts an ALTER TABLE in a client of its own.
    async fn submit(&mut self, ddl: &'static str) -> i64 {
        let last = job::jobs(&mut self.conn, 1).await.iter().map(|j| j.id).max();
        let mut client = self.cluster.nodes[(self.owner + 2) % 3].connect().await;
        let alter = tokio::spawn(async move {
            client.query_drop("SET tidb_ddl_reorg_batch_size = 32").await?;
            client.query_drop("SET tidb_ddl_reorg_worker_cnt = 1").await?;
            client.query_drop(ddl).await
        });
        let deadline = Instant::now() + REACHES;
        loop {
            let newest = job::jobs(&mut self.conn, 1).await.into_iter().map(|j| j.id).max();
            if newest > last {
                let id = newest.expect("greater than none");
                self.jobs.push((id, alter));
                return id;
            }
            assert!(Instant::now() < deadline, "{ddl} is not submitted");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// A new job, in the phase and held there.
    async fn bring_into(&mut self, phase: Phase) -> i64 {
        let id = match phase {
            Queueing => {
                self.hold("UPDATE w SET k = k + 1 WHERE id = 1").await;
                let first = self.submit("ALTER TABLE w ADD COLUMN x INT").await;
                self.wait_for(first, "its blocker", |job, _| job.comments.contains("blocked by"))
                    .await;
                self.submit(ALTER).await
            }
            DeleteOnly | WriteOnly => {
                self.hold("UPDATE w SET k = k + 1 WHERE id = 1").await;
                let id = self.submit(ALTER).await;
                self.wait_for(id, "delete only", |job, _| job.schema_state == "delete only")
                    .await;
                if phase == WriteOnly {
                    // Once the node knows the version: it reports who does not.
                    self.wait_for(id, "its blocker", |job, _| job.comments.contains("blocked by"))
                        .await;
                    self.hold("UPDATE w SET k = k + 1 WHERE id = 2").await;
                    self.end_first_transaction().await;
                }
                id
            }
            ReadIndex => {
                self.slow_reads(100).await;
                self.submit(ALTER).await
            }
            MergeSort => self.submit(ALTER_WITH_MERGES).await,
            WriteIngest => self.submit(ALTER).await,
            Reconcile => {
                self.slow_reads(100).await;
                let id = self.submit(ALTER).await;
                self.lift_the_limit(id).await;
                self.wait_for(id, "reading", |_, running| running.contains(&"read-index".into()))
                    .await;
                // A key is noted, and the step before reconciling is waiting for a transaction that knows the version
                // before; one that knows the new one locks the key.
                run(&mut self.conn, "UPDATE w SET s = 'noted' WHERE id = 9").await;
                self.hold("UPDATE w SET k = k + 1 WHERE id = 7").await;
                self.chaos(Action::ClearFaults(ClearFaults::default())).await;
                self.wait_for(id, "its barrier", |job, _| job.comments.contains("blocked by"))
                    .await;
                self.hold("UPDATE w SET s = 'locked' WHERE id = 9").await;
                self.end_first_transaction().await;
                id
            }
            Verify => {
                let id = self.submit(ALTER).await;
                self.wait_for(id, "writing", |_, running| {
                    running.contains(&"write&ingest".into())
                })
                .await;
                self.slow_reads(100).await;
                self.lift_the_limit(id).await;
                id
            }
            RollingBack => {
                let id = self.submit(ALTER).await;
                self.wait_for(id, "writing", |_, running| {
                    running.contains(&"write&ingest".into())
                })
                .await;
                self.hold("UPDATE w SET k = k + 1 WHERE id = 1").await;
                assert_eq!(self.command("CANCEL", id).await, "successful");
                id
            }
        };
        self.reach(id, phase).await;
        id
    }

    async fn lift_the_limit(&mut self, id: i64) {
        run(
            &mut self.conn,
            &format!("ADMIN ALTER DDL JOBS {id} MAX_WRITE_SPEED = 0"),
        )
        .await;
    }

    async fn reach(&mut self, id: i64, phase: Phase) {
        let what = format!("{phase:?}");
        let reached = |job: &Job, running: &[String]| match phase {
            Queueing => job.state == "queueing",
            DeleteOnly => job.state == "running" && job.schema_state == "delete only",
            WriteOnly => job.state == "running" && job.schema_state == "write only",
            RollingBack => job.state == "rollingback",
            _ => job.state == "running" && running.iter().any(|step| Some(&step[..]) == phase.step()),
        };
        self.wait_for(id, &what, reached).await;
    }

    /// The steps whose subtasks run, one for each subtask.
    async fn running(&mut self, id: i64) -> Vec<String> {
        let sql = format!(
            "SELECT STEP FROM information_schema.ddl_subtasks WHERE JOB_ID = {id} AND STATE = 'running'"
        );
        rows(&mut self.conn, &sql).await.into_iter().flatten().collect()
    }

    /// Waits until job and running steps look as asked for.
    async fn wait_for(&mut self, id: i64, what: &str, is: impl Fn(&Job, &[String]) -> bool) {
        let deadline = Instant::now() + REACHES;
        loop {
            let running = self.running(id).await;
            let job = job::by_id(&mut self.conn, id).await;
            if is(&job, &running) {
                return;
            }
            assert!(!job.is_over(), "waiting for {what}, but: {job:?}");
            assert!(
                Instant::now() < deadline,
                "waited for {what}: {job:?}, running {running:?}"
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// The RESULT of a command on a job.
    async fn command(&mut self, what: &str, id: i64) -> String {
        let found = rows(&mut self.conn, &format!("ADMIN {what} DDL JOBS {id}")).await;
        assert_eq!(found.len(), 1, "{found:?}");
        found[0][1].clone()
    }

    /// Objects with their lengths.
    fn objects(&self) -> Vec<(PathBuf, u64)> {
        let length = |path: PathBuf| {
            let length = std::fs::metadata(&path).map_or(0, |m| m.len());
            (path, length)
        };
        self.cluster.objects().into_iter().map(length).collect()
    }

    /// PAUSE, until nothing writes; and RESUME.
    async fn pause(&mut self, id: i64, phase: Phase) -> Duration {
        let began = Instant::now();
        assert_eq!(self.command("PAUSE", id).await, "successful", "{phase:?}");
        self.wait_for(id, "paused", |job, running| {
            job.state == "paused" && running.is_empty()
        })
        .await;
        let took = began.elapsed();
        let before = self.objects();
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(
            self.objects(),
            before,
            "{phase:?}: objects change while the job is paused"
        );
        assert_eq!(job::by_id(&mut self.conn, id).await.state, "paused");
        assert_eq!(self.command("RESUME", id).await, "successful", "{phase:?}");
        took
    }

    /// CANCEL: how long until nothing writes, and until it is over.
    async fn cancel(&mut self, id: i64, phase: Phase) -> Cancelled {
        let began = Instant::now();
        if phase != RollingBack {
            assert_eq!(self.command("CANCEL", id).await, "successful", "{phase:?}");
        }
        // A schema version that a transaction does not know is waited for, on the way back, too. It is named.
        let held = matches!(phase, WriteOnly | Reconcile | RollingBack);
        let stopped = |job: &Job, running: &[String]| {
            running.is_empty() && (job.is_over() || held && job.comments.contains("blocked by"))
        };
        let deadline = Instant::now() + REACHES;
        loop {
            let running = self.running(id).await;
            let job = job::by_id(&mut self.conn, id).await;
            if stopped(&job, &running) {
                break;
            }
            assert!(
                Instant::now() < deadline,
                "{phase:?}: it does not stop: {job:?}, {running:?}"
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let stopped = began.elapsed();
        let released = Instant::now();
        let is_over = job::by_id(&mut self.conn, id).await.is_over();
        assert_ne!(is_over, held, "{phase:?}");
        self.release().await;
        let over = |job: &Job, _: &[String]| job.is_over();
        self.wait_for(id, "its end", over).await;
        Cancelled {
            stopped,
            over: if held { released.elapsed() } else { stopped },
            held,
        }
    }

    /// No index, object, lock or hold; the table is free.
    async fn assert_nothing_left(&mut self, id: i64, phase: Phase) {
        let job = job::by_id(&mut self.conn, id).await;
        assert!(
            matches!(&job.state[..], "cancelled" | "rollback done"),
            "{phase:?}: {job:?}"
        );
        for (job, alter) in self.jobs.drain(..) {
            let result = within(60, "the client is told", alter).await.expect("no panic");
            match result {
                Err(Error::Server(e)) if job == id => assert_eq!(e.code, 8214, "{e}"),
                Ok(()) if job != id => {}
                other => panic!("{phase:?}: job {job}: {other:?}"),
            }
        }
        if phase == Queueing {
            run(&mut self.conn, "ALTER TABLE w DROP COLUMN x").await;
        }
        let left = rows(&mut self.conn, "SHOW INDEX FROM w WHERE Key_name <> 'PRIMARY'").await;
        assert_eq!(left, Vec::<Vec<String>>::new(), "{phase:?}");
        assert_eq!(self.objects(), [], "{phase:?}");
        let began = Instant::now();
        run(&mut self.conn, "UPDATE w SET k = k + 1 WHERE id <= 200").await;
        rows(&mut self.conn, "SELECT id FROM w WHERE id <= 200 FOR UPDATE").await;
        assert!(
            began.elapsed() < Duration::from_secs(5),
            "{phase:?}: rows are locked"
        );
        // A node that tidies up behind itself holds one for a moment.
        let began = Instant::now();
        loop {
            let left = locks(&self.cluster.store.address()).await;
            if left.is_empty() {
                break;
            }
            assert!(began.elapsed() < Duration::from_secs(2), "{phase:?}: {left:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let store = TikvStore::connect(&self.cluster.store.url(), TikvOptions::default()).await;
        let store = store.expect("the store answers");
        let holds = store.gc_holds().await.expect("holds");
        assert!(
            !holds.iter().any(|h| h.id.starts_with("ddl/")),
            "{phase:?}: {holds:?}"
        );
        store.close().await.expect("closed");
        admin_check(&mut self.conn, TABLE).await;
    }
}

struct Cancelled {
    stopped: Duration,
    over: Duration,
    /// By a transaction: it is over only after that.
    held: bool,
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_stop_within_seconds_in_every_phase() {
    within(300, "the phases", async {
        let mut lab = Lab::new().await;
        let mut table = Vec::new();
        for phase in Phase::ALL {
            let began = Instant::now();
            let id = lab.bring_into(phase).await;
            let paused = match phase {
                RollingBack => {
                    // What goes back goes on going back.
                    for what in ["PAUSE", "CANCEL"] {
                        let refused = lab.command(what, id).await;
                        assert!(refused.starts_with("error: "), "{what}: {refused}");
                    }
                    None
                }
                _ => {
                    let paused = lab.pause(id, phase).await;
                    lab.reach(id, phase).await;
                    Some(paused)
                }
            };
            let cancelled = lab.cancel(id, phase).await;
            lab.assert_nothing_left(id, phase).await;
            let ms = |d: Duration| format!("{} ms", d.as_millis());
            table.push(format!(
                "{:<12} pause {:<8} cancel {:<8} over {}{}   ({:.1?})",
                format!("{phase:?}:"),
                paused.map_or("refused".into(), ms),
                ms(cancelled.stopped),
                ms(cancelled.over),
                if cancelled.held { " after its blocker" } else { "" },
                began.elapsed(),
            ));
            println!("{}", table.last().expect("just pushed"));
            let longest = [paused.unwrap_or_default(), cancelled.stopped, cancelled.over];
            assert!(longest.iter().all(|took| *took < STOPS), "{phase:?}: {longest:?}");
        }
    })
    .await;
}
