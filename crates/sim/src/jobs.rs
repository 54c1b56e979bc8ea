//! Clients that change schemas: ADD INDEX and DROP INDEX on random nodes, and ADMIN statements on the jobs they know.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ilmenite_catalog::{Name, SchemaState};
use ilmenite_ddl::{
    AlterAction, DdlError, DdlStatement, IndexSpec, Job, JobChange, JobId, JobRequest, JobSettings, JobState,
    Verify,
};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio_util::sync::CancellationToken;

use crate::node::Node;
use crate::sim::Sim;
use crate::table;

/// Live jobs, as their rows say.
pub fn live_jobs(sim: &Sim) -> Vec<Job> {
    decode(sim, b"i/ddl/job/")
}

pub fn finished_jobs(sim: &Sim) -> Vec<Job> {
    decode(sim, b"i/ddl/history/")
}

fn decode(sim: &Sim, prefix: &[u8]) -> Vec<Job> {
    let rows = sim.world.pairs(prefix);
    let job = |raw: &[u8]| match serde_json::from_slice(raw) {
        Ok(job) => Some(job),
        Err(error) => {
            sim.violation(format!("the row of a job does not parse: {error}"));
            None
        }
    };
    rows.iter().filter_map(|(_, raw)| job(raw)).collect()
}

/// One client, until told to stop.
pub async fn client(sim: Arc<Sim>, me: usize, seed: u64) {
    let mut rng = StdRng::seed_from_u64(seed);
    while !sim.ddl_stop.is_cancelled() {
        let think = rng.random_range(0..=sim.settings.ddl_think_ms);
        tokio::time::sleep(Duration::from_millis(think)).await;
        let Some(node) = sim.any_node(&mut rng) else {
            continue;
        };
        tokio::select! {
            biased;
            () = node.killed.cancelled() => {}
            () = sim.ddl_stop.cancelled() => {}
            () = statement(&sim, &node, me, &mut rng) => {}
        }
    }
}

async fn statement(sim: &Arc<Sim>, node: &Node, me: usize, rng: &mut StdRng) {
    let jobs = live_jobs(sim);
    let steers = !jobs.is_empty() && rng.random_bool(0.5);
    if steers {
        let job = &jobs[rng.random_range(0..jobs.len())];
        return steer(sim, node, job, rng).await;
    }
    // Few at a time: what is queued behind another is not tested by it.
    if jobs.len() >= 3 {
        return;
    }
    let number = rng.random_range(0..sim.settings.tables);
    let name = sim.table_name(number);
    let Some(table) = table::find(&node.catalog, &name) else {
        return;
    };
    let indexes: Vec<Name> = table
        .maintained_indexes()
        .filter(|i| i.state == SchemaState::Public)
        .map(|i| i.name.clone())
        .collect();
    let drops = !indexes.is_empty() && (indexes.len() > 4 || rng.random_bool(0.3));
    let actions = if drops {
        vec![AlterAction::DropIndex {
            name: indexes[rng.random_range(0..indexes.len())].clone(),
            if_exists: false,
        }]
    } else {
        let n = if rng.random_bool(0.25) {
            rng.random_range(2..=3)
        } else {
            1
        };
        (0..n)
            .map(|_| AlterAction::AddIndex(random_index(sim, rng)))
            .collect()
    };
    let statement = table::alter(&name, actions);
    let settings = JobSettings {
        concurrency: rng.random_range(0..4),
        batch_size: [32, 256][rng.random_range(0..2)],
        max_write_speed_bytes: if rng.random_bool(0.2) { 2000 } else { 0 },
        cloud_storage_uri: if rng.random_bool(sim.settings.cloud) {
            "s3://bucket/prefix".into()
        } else {
            String::new()
        },
        verify: sim.settings.verify.unwrap_or_default(),
        service_scope: String::new(),
    };
    let waits = rng.random_bool(0.5);
    submit(sim, node, me, statement, settings, waits).await;
}

fn random_index(sim: &Sim, rng: &mut StdRng) -> IndexSpec {
    let n = sim.jobs.next_index.fetch_add(1, Ordering::Relaxed);
    let columns: &[&str] = match rng.random_range(0..6) {
        0 | 1 => &["a"],
        2 => &["b"],
        3 => &["a", "b"],
        4 => &["b(1)", "a"],
        _ => &["a", "id"],
    };
    table::index(&format!("i{n}"), columns, rng.random_bool(0.5))
}

/// Submits, and perhaps waits like the client of an ALTER TABLE does.
pub async fn submit(
    sim: &Arc<Sim>,
    node: &Node,
    me: usize,
    statement: DdlStatement,
    settings: JobSettings,
    waits: bool,
) -> Option<JobId> {
    let request = JobRequest {
        query: format!("client {me}"),
        statement,
        settings,
    };
    let text = format!("{:?}", request.statement);
    let id = match node.ddl.submit(request).await {
        Ok(id) => id,
        Err(error) => {
            sim.world
                .log
                .note(|| format!("submitting on n{} failed: {error}", node.number));
            return None;
        }
    };
    sim.jobs.submitted.fetch_add(1, Ordering::Relaxed);
    sim.world.log.event(&[202, id as u64], || {
        format!("job {id} submitted on n{}: {text}", node.number)
    });
    if waits {
        let cancel = CancellationToken::new();
        let waited = tokio::time::timeout(Duration::from_secs(20), node.ddl.wait(id, &cancel)).await;
        if let Ok(Err(DdlError::JobNotFound { .. })) = waited {
            sim.violation(format!("job {id} was lost"));
        }
    }
    Some(id)
}

/// Submits on a node that is well: again for a while, should it have lost its lease a moment ago without knowing.
pub async fn submit_surely(
    sim: &Arc<Sim>,
    node: &Node,
    statement: DdlStatement,
    settings: JobSettings,
) -> Option<JobId> {
    for _ in 0..10 {
        let submitted = submit(sim, node, 0, statement.clone(), settings.clone(), false).await;
        if submitted.is_some() {
            return submitted;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    sim.violation("a job could not be submitted although all is well".into());
    None
}

/// An ADMIN statement on a job.
async fn steer(sim: &Sim, node: &Node, job: &Job, rng: &mut StdRng) {
    let id = job.id;
    let result = match rng.random_range(0..10) {
        0..2 if sim.settings.cancels => cancel(sim, node, id).await,
        0..4 => first(node.ddl.pause(&[id]).await),
        4..8 => first(node.ddl.resume(&[id]).await),
        _ => {
            let change = JobChange {
                concurrency: Some(rng.random_range(1..5)),
                batch_size: Some(64),
                max_write_speed_bytes: Some([0, 3000][rng.random_range(0..2)]),
            };
            node.ddl.alter(id, change).await
        }
    };
    sim.world.log.event(&[203, id as u64], || {
        format!("job {id} steered on n{}: {result:?}", node.number)
    });
}

pub async fn cancel(sim: &Sim, node: &Node, id: JobId) -> Result<(), DdlError> {
    // Asked for is enough: an answer may be lost.
    sim.jobs.cancel_asked(id, sim.world.log.now_ms());
    first(node.ddl.cancel(&[id]).await)
}

fn first(results: Vec<(JobId, Result<(), DdlError>)>) -> Result<(), DdlError> {
    results.into_iter().next().map_or(Ok(()), |(_, result)| result)
}

/// Resumes what is paused, on behalf of whoever looks after the cluster.
pub async fn resume_all(sim: &Sim, node: &Node) {
    for job in live_jobs(sim) {
        if job.state == JobState::Paused {
            let resumed = first(node.ddl.resume(&[job.id]).await);
            sim.world
                .log
                .note(|| format!("job {} resumed: {resumed:?}", job.id));
        }
    }
}

/// The usual settings.
pub fn plain_settings() -> JobSettings {
    JobSettings {
        cloud_storage_uri: "s3://bucket/prefix".into(),
        verify: Verify::Full,
        ..JobSettings::default()
    }
}
