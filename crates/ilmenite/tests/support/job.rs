//! DDL jobs, as ADMIN SHOW DDL JOBS shows them.

use mysql_async::Conn;

use super::{Server, columns, rows};

/// Fixed: scripts rely on them.
pub(crate) const COLUMNS: [&str; 13] = [
    "JOB_ID",
    "DB_NAME",
    "TABLE_NAME",
    "JOB_TYPE",
    "SCHEMA_STATE",
    "SCHEMA_ID",
    "TABLE_ID",
    "ROW_COUNT",
    "CREATE_TIME",
    "START_TIME",
    "END_TIME",
    "STATE",
    "COMMENTS",
];

#[derive(Debug, Clone)]
pub(crate) struct Job {
    pub id: i64,
    pub table: String,
    pub job_type: String,
    pub schema_state: String,
    pub row_count: u64,
    pub end_time: String,
    pub state: String,
    pub comments: String,
}

impl Job {
    pub(crate) fn is_over(&self) -> bool {
        matches!(self.state.as_str(), "synced" | "cancelled" | "rollback done")
    }
}

/// All live jobs, and the newest `history` finished ones; newest first.
pub(crate) async fn jobs(conn: &mut Conn, history: u32) -> Vec<Job> {
    let found = rows(conn, &format!("ADMIN SHOW DDL JOBS {history}")).await;
    let job = |row: Vec<String>| Job {
        id: row[0].parse().expect("a number in JOB_ID"),
        table: row[2].clone(),
        job_type: row[3].clone(),
        schema_state: row[4].clone(),
        row_count: row[7].parse().expect("a number in ROW_COUNT"),
        end_time: row[10].clone(),
        state: row[11].clone(),
        comments: row[12].clone(),
    };
    found.into_iter().map(job).collect()
}

pub(crate) async fn assert_columns(conn: &mut Conn) {
    assert_eq!(columns(conn, "ADMIN SHOW DDL JOBS").await, COLUMNS);
}

pub(crate) async fn newest(conn: &mut Conn) -> Job {
    jobs(conn, 1).await.into_iter().next().expect("a job")
}

pub(crate) async fn by_id(conn: &mut Conn, id: i64) -> Job {
    let all = jobs(conn, 1000).await;
    all.into_iter()
        .find(|job| job.id == id)
        .unwrap_or_else(|| panic!("no job {id}"))
}

/// Waits until job `id` looks as asked for.
pub(crate) async fn wait_for(
    conn: &mut Conn,
    id: i64,
    seconds: u64,
    what: &str,
    is: impl Fn(&Job) -> bool,
) -> Job {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(seconds);
    loop {
        let job = by_id(conn, id).await;
        if is(&job) {
            return job;
        }
        assert!(
            !job.is_over(),
            "waiting for: {what}; but the job is over: {job:?}"
        );
        assert!(
            std::time::Instant::now() < deadline,
            "waited {seconds} s for: {what}; the job is {job:?}"
        );
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

/// Waits until no job is live, and returns those that ended last.
pub(crate) async fn wait_for_all(conn: &mut Conn, seconds: u64) -> Vec<Job> {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(seconds);
    loop {
        let all = jobs(conn, 20).await;
        let live: Vec<&Job> = all.iter().filter(|job| !job.is_over()).collect();
        if live.is_empty() {
            return all;
        }
        assert!(
            std::time::Instant::now() < deadline,
            "jobs have not ended after {seconds} s: {live:?}"
        );
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

/// Runs a schema change that must go through without anybody's help: a job that pauses is a failure.
pub(crate) async fn run_unaided(server: &Server, conn: &mut Conn, ddl: &str) {
    let mut other = server.connect().await;
    let watch = async {
        loop {
            tokio::time::sleep(std::time::Duration::from_millis(500)).await;
            let paused = jobs(&mut other, 0)
                .await
                .into_iter()
                .find(|job| job.state == "paused");
            assert!(paused.is_none(), "{ddl}: {paused:?}");
        }
    };
    tokio::select! {
        () = super::run(conn, ddl) => {}
        () = watch => {}
    }
}

/// Nothing a finished job made may be left, in the object store or in the server's scratch directory.
pub(crate) fn assert_no_objects(server: &Server) {
    let left = server.objects();
    assert!(left.is_empty(), "{} objects left: {left:?}", left.len());
}
