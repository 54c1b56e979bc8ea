//! A table of one size on a node of its own, and what is done to it in every cell.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ilmenite_codec::Handle;
use ilmenite_ddl::{DdlError, DdlStatement, JobId, JobRequest, JobSettings};
use ilmenite_store::{Check, CommitOptions, KeyRange, Transaction, TxnMode};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tempfile::TempDir;
use tokio::task::JoinHandle;

use crate::cell::{Counts, Kind, Scenario, Size, points};
use crate::common::*;

/// Rows that DML changes; those before stay as they are.
const CHANGED: std::ops::Range<i64> = 10..60;

/// Rows that tell where a finished task may yet leave objects.
const SWEEPS: &[u8] = b"i/ddl/sweep/";

pub(crate) struct World {
    pub dir: TempDir,
    pub size: Size,
    node: Option<Node>,
    /// The last job there was before the cell.
    pub last_job: JobId,
}

impl World {
    pub(crate) async fn new(size: Size) -> World {
        let dir = TempDir::new().unwrap();
        let node = open(dir.path(), false).await;
        let columns = vec![int("id"), int("a"), varchar("b", 700)];
        node.create(create("t", columns, vec![primary(&["id"])])).await;
        let (count, len) = match size {
            Size::Empty => (0, 0),
            Size::Small => (300, 10),
            Size::Large => (8_000, 600),
        };
        let mut rng = StdRng::seed_from_u64(1);
        let mut text = |id: i64| -> String {
            // What is random does not compress, and an object has several parts.
            let letters = (0..len).map(|_| rng.random_range(b'!'..b'~') as char);
            format!("{id}{}", letters.collect::<String>())
        };
        // Far from each other: in runs of their own, if there are several.
        let twice = text(3);
        let mut rows = Vec::new();
        for id in 0..count {
            let b = text(id);
            let b = if id == 3 || id == count - 1 { &twice } else { &b };
            rows.push(row(id, Some(id), b));
        }
        node.insert("t", &rows).await;
        node.assert_nothing_left(dir.path()).await;
        let mut world = World {
            dir,
            size,
            node: Some(node),
            last_job: 0,
        };
        world.last_job = world.newest_job().await;
        world
    }

    pub(crate) fn node(&self) -> &Node {
        self.node.as_ref().expect("the node runs")
    }

    /// Lets go of the directory.
    pub(crate) async fn close(&mut self) {
        if let Some(node) = self.node.take() {
            node.stop().await;
        }
    }

    pub(crate) async fn open(&mut self) {
        if self.node.is_none() {
            self.node = Some(open(self.dir.path(), false).await);
        }
    }

    pub(crate) async fn newest_job(&self) -> JobId {
        let jobs = self.node().ddl.jobs(1).await.unwrap();
        jobs.iter().map(|job| job.job_id).max().unwrap_or(0)
    }

    /// How often each point is passed when nothing happens there, until nothing is left of the job.
    pub(crate) async fn count(&mut self, kind: Kind) -> Counts {
        let counters: Vec<_> = points()
            .into_iter()
            .map(|point| (point, Arc::new(AtomicU64::new(0))))
            .collect();
        for (point, counter) in &counters {
            let counter = counter.clone();
            let count = move || {
                counter.fetch_add(1, Ordering::Relaxed);
            };
            fail::cfg_callback(*point, count).unwrap();
        }
        let ran = undisturbed(
            self.node(),
            self.dir.path(),
            Scenario {
                size: self.size,
                kind,
            },
        )
        .await;
        for point in points() {
            fail::remove(point);
        }
        match (kind, ran) {
            (Kind::Plain | Kind::Unique, Ok(_)) => {}
            (Kind::Duplicate, Err(error)) if error.code() == 1062 => {}
            // Ok: it was too late.
            (Kind::Cancelled, Ok(_) | Err(DdlError::JobCancelled)) => {}
            (_, ran) => panic!("{kind:?}: {ran:?}"),
        }
        self.clear().await;
        counters
            .into_iter()
            .map(|(point, counter)| (point, counter.load(Ordering::Relaxed)))
            .collect()
    }

    /// As it was before a cell.
    pub(crate) async fn clear(&mut self) {
        let node = self.node();
        if self.has_index() {
            node.alter("t", vec![drop_index("i")]).await.unwrap();
        }
        // Where a task's objects were is looked at for a day: not here, where that would count as a passage.
        let mut txn = Transaction::begin(&node.store, TxnMode::Optimistic)
            .await
            .unwrap();
        for (key, _) in node.scan(KeyRange::prefix(SWEEPS)).await {
            txn.delete(key, Check::None).unwrap();
        }
        txn.commit(CommitOptions::default()).await.unwrap();
        node.assert_nothing_left(self.dir.path()).await;
        self.last_job = self.newest_job().await;
    }

    /// Has the sweeper look now where objects may turn up late, instead of some seconds later.
    pub(crate) async fn hurry_sweeps(&self) {
        let node = self.node();
        let mut txn = Transaction::begin(&node.store, TxnMode::Optimistic)
            .await
            .unwrap();
        for (key, value) in node.scan(KeyRange::prefix(SWEEPS)).await {
            let mut sweep: serde_json::Value = serde_json::from_slice(&value).unwrap();
            sweep["next_look_ms"] = 0.into();
            txn.put(key, sweep.to_string(), Check::None).unwrap();
        }
        txn.commit(CommitOptions::default()).await.unwrap();
    }

    pub(crate) fn has_index(&self) -> bool {
        !self.node().table("t").indexes.is_empty()
    }
}

pub(crate) async fn open(directory: &Path, sync: bool) -> Node {
    let options = Options {
        sync,
        memory_bytes: 12 << 20,
        ..Default::default()
    };
    Node::open_with(directory, options).await
}

/// The cell's ALTER TABLE. A unique index has a key that no two rows share, by their ids.
pub(crate) fn request(directory: &Path, scenario: Scenario) -> JobRequest {
    let spec = match scenario.kind {
        Kind::Plain => key("i", &["b", "a"]),
        Kind::Unique | Kind::Cancelled => unique("i", &["b", "id"]),
        Kind::Duplicate => unique("i", &["b"]),
    };
    let mut settings = JobSettings::default();
    // Otherwise in the node's own directory.
    if scenario.size == Size::Large || scenario.kind == Kind::Unique {
        let bucket = directory.join("bucket");
        std::fs::create_dir_all(&bucket).unwrap();
        settings.cloud_storage_uri = format!("file://{}", bucket.display());
    }
    let statement: DdlStatement = alter("t", vec![add(spec)]);
    JobRequest {
        query: String::new(),
        statement,
        settings,
    }
}

/// The whole of a cell in which nothing happens.
pub(crate) async fn undisturbed(
    node: &Node,
    directory: &Path,
    scenario: Scenario,
) -> ilmenite_ddl::Result<ilmenite_ddl::JobOutcome> {
    let writing = write_meanwhile(node, scenario.size);
    let work = async {
        let ran = match node.ddl.submit(request(directory, scenario)).await {
            Ok(id) => {
                cancel_if_asked(node, id, scenario);
                node.wait(id).await
            }
            Err(error) => Err(error),
        };
        node.assert_nothing_left(directory).await;
        ran
    };
    tokio::select! {
        ran = work => ran,
        never = writing => match never {},
    }
}

/// ADMIN CANCEL in the middle of reading the table, if it is that kind. Tells whether it was taken.
pub(crate) fn cancel_if_asked(node: &Node, id: JobId, scenario: Scenario) -> JoinHandle<bool> {
    let ddl = node.ddl.clone();
    // Some objects are there by then, and some are being written.
    let middle = Duration::from_millis(if scenario.size == Size::Large { 120 } else { 0 });
    tokio::spawn(async move {
        if scenario.kind != Kind::Cancelled {
            return false;
        }
        while ddl.subtasks().await.unwrap().is_empty() {
            if ddl.job_details(id).await.unwrap().unwrap().state.is_finished() {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        tokio::time::sleep(middle).await;
        ddl.cancel(&[id]).await[0].1.is_ok()
    })
}

/// DML on a few rows, for as long as it is polled: what it fails with is the cell's doing.
pub(crate) async fn write_meanwhile(node: &Node, size: Size) -> std::convert::Infallible {
    if size == Size::Empty {
        return std::future::pending().await;
    }
    static WRITES: AtomicU64 = AtomicU64::new(0);
    let mut rng = StdRng::seed_from_u64(7);
    loop {
        let id = rng.random_range(CHANGED);
        let new = row(
            id,
            Some(id),
            &format!("{id} {}", WRITES.fetch_add(1, Ordering::Relaxed)),
        );
        let op = match rng.random_range(0..4) {
            0 => Op::Delete(Handle::Int(id)),
            1 => Op::Insert(new),
            _ => Op::Update(Handle::Int(id), new),
        };
        drop(node.write("t", vec![op]).await);
        tokio::time::sleep(Duration::from_millis(4)).await;
    }
}
