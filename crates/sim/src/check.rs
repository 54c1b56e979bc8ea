//! What must hold: while everything goes on, and in the end.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ilmenite_catalog::{MetaReader, TableInfo};
use ilmenite_ddl::{AlterAction, DdlError, Job, JobState};
use ilmenite_store::Timestamp;
use ilmenite_table::check_table_at;
use rand::Rng;
use rand::rngs::StdRng;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::jobs::{self, finished_jobs, live_jobs};
use crate::sim::Sim;
use crate::table::{self, Decoder, Values};

/// Once troubles are over, every job ends within this, in virtual time.
const JOBS_END: Duration = Duration::from_secs(90);
/// Once nobody writes, a cancelled job ends within this.
const CANCEL_ENDS: Duration = Duration::from_secs(5);
/// What finished jobs leave to be cleared away is gone after this.
const CLEARED: Duration = Duration::from_secs(70);

/// Looks now and then whether every index that can be read equals its table.
pub async fn auditor(sim: Arc<Sim>) {
    loop {
        tokio::time::sleep(Duration::from_millis(1700)).await;
        indexes_equal_tables(&sim).await;
    }
}

/// The tables as they are in the store at a moment.
async fn tables_at(sim: &Sim, ts: Timestamp) -> Vec<TableInfo> {
    let meta = MetaReader::at(&sim.truth, ts);
    let mut tables = Vec::new();
    for schema in meta.schemas().await.unwrap_or_default() {
        tables.extend(meta.tables(schema.id).await.unwrap_or_default());
    }
    tables
}

pub async fn indexes_equal_tables(sim: &Sim) {
    let Ok(ts) = sim.truth.timestamp().await else {
        return;
    };
    for table in tables_at(sim, ts).await {
        let checked = check_table_at(&sim.truth, &table, ts, &CancellationToken::new()).await;
        if let Err(error) = checked {
            sim.violation(format!("WRONG INDEX at {ts}: {error}"));
        }
    }
}

/// Waits until no job is live: they must all end soon, now that nothing is in their way.
pub async fn jobs_end(sim: &Arc<Sim>) -> bool {
    let deadline = Instant::now() + JOBS_END;
    loop {
        let live = live_jobs(sim);
        if live.is_empty() {
            return true;
        }
        if Instant::now() > deadline {
            for job in live {
                sim.violation(format!("HANGS: {}", outline(&job)));
            }
            return false;
        }
        if let Some(node) = sim.nodes().first() {
            jobs::resume_all(sim, node).await;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// Every node comes back by itself: none is without its lease for long.
pub async fn nodes_come_back(sim: &Arc<Sim>) {
    let deadline = Instant::now() + sim.settings.node.lease * 2 + Duration::from_secs(5);
    while Instant::now() < deadline {
        let nodes = sim.nodes();
        let owned = nodes.iter().any(|node| node.catalog.owner_term().is_some());
        if owned && nodes.iter().all(|node| node.catalog.is_live()) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    sim.violation(
        "a node does not get its lease back, or none becomes the owner, although all is well".into(),
    );
}

fn statement(job: &Job) -> String {
    let ilmenite_ddl::DdlStatement::AlterTable { table, actions } = &job.statement else {
        return format!("{:?}", job.statement);
    };
    let action = |action: &AlterAction| match action {
        AlterAction::AddIndex(spec) => {
            let parts = spec.columns.iter().map(|c| match c.length {
                Some(n) => format!("{}({n})", c.column),
                None => c.column.to_string(),
            });
            let name = spec.name.as_ref().map(|n| n.to_string()).unwrap_or_default();
            let unique = if spec.unique { "UNIQUE " } else { "" };
            format!(
                "ADD {unique}INDEX {name} ({})",
                parts.collect::<Vec<_>>().join(", ")
            )
        }
        other => format!("{other:?}"),
    };
    format!(
        "{} {}",
        table.table,
        actions.iter().map(action).collect::<Vec<_>>().join(", ")
    )
}

fn outline(job: &Job) -> String {
    format!(
        "job {} <{}> is {} at {:?}, error {:?}, retry {:?}, pause reason {:?}",
        job.id,
        statement(job),
        job.state.as_str(),
        job.stage,
        job.error,
        job.retry,
        job.pause_reason
    )
}

async fn ended(sim: &Sim, id: i64, within: Duration) -> Option<Job> {
    let deadline = Instant::now() + within;
    while Instant::now() < deadline {
        if let Some(job) = finished_jobs(sim).into_iter().find(|job| job.id == id) {
            return Some(job);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    None
}

/// A job that is cancelled, wherever it is, ends at once when nobody writes.
pub async fn job_can_be_cancelled(sim: &Arc<Sim>, rng: &mut StdRng) {
    let nodes = sim.nodes();
    let (node, other) = (
        &nodes[rng.random_range(0..nodes.len())],
        &nodes[rng.random_range(0..nodes.len())],
    );
    let index = table::index("cancelled", &["b", "id"], rng.random_bool(0.5));
    let statement = table::alter(&sim.table_name(0), vec![AlterAction::AddIndex(index)]);
    let mut settings = jobs::plain_settings();
    settings.max_write_speed_bytes = 500;
    let Some(id) = jobs::submit_surely(sim, node, statement, settings).await else {
        return;
    };
    tokio::time::sleep(Duration::from_millis(rng.random_range(0..3000))).await;
    let cancelled = jobs::cancel(sim, other, id).await;
    if ended(sim, id, CANCEL_ENDS).await.is_none() {
        let live = live_jobs(sim);
        let job = live.iter().find(|job| job.id == id).map(outline);
        sim.violation(format!("CANCELLED ({cancelled:?}) BUT ALIVE: {job:?}"));
    }
}

/// And when all is well an index is built, quickly.
pub async fn index_can_be_built(sim: &Arc<Sim>) {
    let nodes = sim.nodes();
    let index = table::index("last", &["b", "id"], true);
    let statement = table::alter(&sim.table_name(0), vec![AlterAction::AddIndex(index)]);
    let node = &nodes[nodes.len() - 1];
    let Some(id) = jobs::submit_surely(sim, node, statement, jobs::plain_settings()).await else {
        return;
    };
    match ended(sim, id, Duration::from_secs(20)).await {
        Some(job) if job.state == JobState::Synced => {}
        Some(job) => sim.violation(format!("ALL IS WELL, YET: {}", outline(&job))),
        None => {
            let live = live_jobs(sim);
            let job = live.iter().find(|job| job.id == id).map(outline);
            sim.violation(format!("ALL IS WELL, YET HANGS: {job:?}"));
        }
    }
}

/// Nothing of any job is left but its history.
pub async fn nothing_is_left(sim: &Sim) {
    let deadline = Instant::now() + CLEARED;
    loop {
        let left = leftovers(sim);
        if left.is_empty() {
            return;
        }
        if Instant::now() > deadline {
            for what in left {
                sim.violation(format!("LEFT BEHIND: {what}"));
            }
            return;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

fn leftovers(sim: &Sim) -> Vec<String> {
    let mut left = Vec::new();
    for prefix in [
        "i/ddl/job/",
        "i/ddl/delete_range/",
        "i/ddl/storage/",
        "i/task/t/",
        "i/task/s/",
        "i/task/key/",
        "i/note/",
        "i/mdl/",
        "i/sync/",
    ] {
        let rows = sim.world.pairs(prefix.as_bytes());
        if !rows.is_empty() {
            let keys: Vec<_> = rows.iter().take(3).map(|(k, _)| crate::store::shown(k)).collect();
            left.push(format!("{} rows under {prefix}: {keys:?}", rows.len()));
        }
    }
    let core = sim.world.core.lock();
    if !core.holds.is_empty() {
        left.push(format!("holds on garbage collection: {:?}", core.holds));
    }
    // Left open, one would hold back garbage collection. Those of the moment are none of ours.
    let now = core.last_ms();
    let old = core
        .txns
        .iter()
        .filter(|(start, _)| start.millis() + 20_000 < now);
    let old: Vec<_> = old.map(|(start, txn)| (*start, txn.node)).collect();
    if !old.is_empty() {
        left.push(format!(
            "{} transactions that nobody ended: {:?}",
            old.len(),
            &old[..old.len().min(5)]
        ));
    }
    if !core.memory.locks.is_empty() {
        let locks: Vec<_> = core
            .memory
            .locks
            .iter()
            .take(5)
            .map(|(k, ts)| (crate::store::shown(k), ts))
            .collect();
        left.push(format!("{} locks: {locks:?}", core.memory.locks.len()));
    }
    drop(core);
    let objects = sim.world.objects.lock();
    if !objects.objects.is_empty() {
        let paths: Vec<_> = objects.objects.keys().take(5).collect();
        left.push(format!("{} objects: {paths:?}", objects.objects.len()));
    }
    left
}

/// Every row is what its last acknowledged write made of it.
pub fn rows_are_as_acknowledged(sim: &Sim) {
    let nodes = sim.nodes();
    for number in 0..sim.settings.tables {
        let Some(table) = nodes
            .iter()
            .find_map(|n| table::find(&n.catalog, &sim.table_name(number)))
        else {
            return sim.violation(format!("table {number} is gone"));
        };
        let Ok(decoder) = Decoder::new(&table) else { return };
        let prefix = ilmenite_codec::key::record_range(table.id).0;
        let mut actual: BTreeMap<i64, Option<Values>> = BTreeMap::new();
        for (key, stored) in sim.world.pairs(&prefix) {
            let handle = ilmenite_codec::key::decode_record_handle(&key).map(|h| h.to_owned());
            if let Ok(ilmenite_codec::Handle::Int(id)) = handle {
                actual.insert(id, decoder.values(id, &stored));
            }
        }
        for key in sim.oracle.keys().into_iter().filter(|key| key.0 == number) {
            let is = actual.remove(&key.1).flatten();
            let possible = sim.oracle.possible(key);
            if !possible.contains(&is) {
                sim.violation(format!(
                    "LOST WRITE: row {key:?} is {is:?}, not one of {possible:?}"
                ));
            }
        }
        if !actual.is_empty() {
            sim.violation(format!("rows that nobody wrote: {actual:?}"));
        }
    }
}

/// Each job ended in a way that what happened explains.
pub fn jobs_ended_rightly(sim: &Sim) {
    for job in finished_jobs(sim) {
        let error = match (&job.state, &job.error) {
            (JobState::Synced, None) => continue,
            (JobState::Synced, Some(error)) => {
                sim.violation(format!("synced in spite of {error}: {}", outline(&job)));
                continue;
            }
            (JobState::RollbackDone | JobState::Cancelled, Some(error)) => error,
            _ => {
                sim.violation(format!("ENDED STRANGELY: {}", outline(&job)));
                continue;
            }
        };
        let explained = match error {
            DdlError::JobCancelled => sim.jobs.was_cancelled(job.id),
            DdlError::CannotDrop { .. } => !job.is_reorg(),
            DdlError::DuplicateEntry { entry, key } => duplicate_was_there(sim, &job, entry, key),
            // Refused, or gone with the bucket.
            other => {
                let text = other.to_string();
                let of_objects = text.contains("object storage") || text.contains("simulated: 404");
                sim.settings.troubles.object_refusals && of_objects
            }
        };
        if !explained {
            sim.violation(format!("ENDED FOR NO REASON: {}", outline(&job)));
        }
    }
}

/// Did two rows ever hold the value, since the job began?
fn duplicate_was_there(sim: &Sim, job: &Job, entry: &str, key: &str) -> bool {
    let index_name = key.rsplit('.').next().unwrap_or_default();
    let ilmenite_ddl::DdlStatement::AlterTable { actions, .. } = &job.statement else {
        return false;
    };
    let spec = actions.iter().find_map(|action| match action {
        AlterAction::AddIndex(spec) if spec.name.as_ref().is_some_and(|n| n.original == index_name) => {
            Some(spec)
        }
        _ => None,
    });
    let Some(spec) = spec.filter(|spec| spec.unique) else {
        return false;
    };
    let nodes = sim.nodes();
    let Some(table) = nodes
        .iter()
        .find_map(|n| n.catalog.view().table_by_id(job.table_id).cloned())
    else {
        return false;
    };
    let Ok(decoder) = Decoder::new(&table) else {
        return false;
    };
    let value = |id: i64, values: &Values| -> Option<String> {
        let mut parts = Vec::new();
        for part in &spec.columns {
            parts.push(match part.column.lower.as_str() {
                "a" => values.0?.to_string(),
                "b" => match part.length {
                    Some(n) => values.1.chars().take(n as usize).collect(),
                    None => values.1.clone(),
                },
                _ => id.to_string(),
            });
        }
        Some(parts.join("-"))
    };
    // The history of rows, replayed in the order of commits.
    let (prefix, _) = ilmenite_codec::key::record_range(table.id);
    let mut steps: Vec<(Timestamp, i64, Option<String>)> = Vec::new();
    for (key, versions) in sim
        .world
        .core
        .lock()
        .row_history
        .iter()
        .filter(|(k, _)| k.starts_with(&prefix))
    {
        let Ok(ilmenite_codec::Handle::Int(id)) =
            ilmenite_codec::key::decode_record_handle(key).map(|h| h.to_owned())
        else {
            continue;
        };
        for (ts, stored) in versions {
            let values = stored.as_ref().and_then(|stored| decoder.values(id, stored));
            steps.push((*ts, id, values.and_then(|v| value(id, &v))));
        }
    }
    steps.sort();
    let mut held: BTreeMap<i64, Option<String>> = BTreeMap::new();
    let count =
        |held: &BTreeMap<i64, Option<String>>| held.values().flatten().filter(|v| *v == entry).count();
    for (ts, id, value) in steps {
        if ts >= job.real_start_ts && count(&held) >= 2 {
            return true;
        }
        if ts > job.end_ts {
            break;
        }
        held.insert(id, value);
    }
    count(&held) >= 2
}
