//! Waiting until a schema version is everywhere: every node holds it, and no transaction goes by an older one.
//!
//! On the owner's own node that is a matter of memory. For the others the owner writes what it waits for
//! (`i/mdl/<job>`); each node answers once its transactions allow (`i/sync/<job>/<node>`), or says who is in the way.
//! A node that does not answer is waited for until its lease ends, and no longer.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use bytes::Bytes;
use ilmenite_base::ErrorClass;
use ilmenite_store::rows::{self, Change, Outcome, Stored, encode};
use ilmenite_store::{CommitOptions, Durability, KeyRange, Precondition, ScanOptions, Timestamp};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::error::{Error, Result};
use crate::metrics::METRICS;
use crate::node::nodes_at;
use crate::owner::OwnerTerm;
use crate::pins::Holder;
use crate::wake::Topic;
use crate::{Blocker, Catalog, SchemaVersion, TableId, keys};

/// How often the owner looks for answers of other nodes.
const ANSWER_INTERVAL: Duration = Duration::from_millis(20);
/// How often it looks again while only transactions of its own node are in the way: these wake it.
const OWN_INTERVAL: Duration = Duration::from_secs(1);
/// Passing errors of the store in a row that a wait bears.
const MAX_ERRORS: u32 = 20;
/// Blockers a node names.
const MAX_BLOCKERS: usize = 256;
/// Characters of a blocker's statement that are kept.
const MAX_STATEMENT: usize = 1024;

/// But for the age, which always changes.
fn same(a: &[Blocker], b: &[Blocker]) -> bool {
    let ageless = |b: &Blocker| Blocker {
        age_ms: 0,
        ..b.clone()
    };
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| ageless(a) == ageless(b))
}

/// What an owner waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct WaitRow {
    owner: String,
    epoch: u64,
    version: SchemaVersion,
    table_ids: Vec<TableId>,
}

/// The question is still there.
fn asked(job_id: i64, question: Bytes) -> Precondition {
    Precondition {
        key: keys::wait(job_id),
        value: Some(question),
    }
}

/// A node's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct ReportRow {
    version: SchemaVersion,
    /// Empty: the node holds the version, and so do all its transactions on those tables.
    blockers: Vec<Blocker>,
}

/// What this node has answered to an owner's question.
struct Answered {
    question: Bytes,
    blockers: Vec<Blocker>,
}

/// What a node's follower remembers between its rounds.
#[derive(Default)]
pub(crate) struct Follower {
    answered: BTreeMap<i64, Answered>,
    incarnation: u64,
}

/// A wait going on. Its blockers are shown as long as it lasts.
struct Waiting<'a> {
    catalog: &'a Catalog,
    job_id: i64,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.catalog.blockers.lock().remove(&self.job_id);
        self.catalog.asked.lock().over(self.job_id);
    }
}

/// Questions to other nodes that this node may have in the store.
#[derive(Default)]
pub(crate) struct Asked {
    /// By job: whether it still waits for the answers.
    jobs: BTreeMap<i64, bool>,
    /// Those of earlier terms may be there too.
    of_others: bool,
}

impl Asked {
    fn ask(&mut self, job_id: i64) {
        self.jobs.insert(job_id, true);
    }

    fn over(&mut self, job_id: i64) {
        if let Some(waits) = self.jobs.get_mut(&job_id) {
            *waits = false;
        }
    }

    /// Another node is the owner: what is left is its to clear away.
    pub(crate) fn forget(&mut self) {
        *self = Asked::default();
    }

    pub(crate) fn of_others(&mut self) {
        self.of_others = true;
    }
}

impl Catalog {
    /// Waits, after a step of a job, until every node holds `version` and no transaction that touched one of
    /// `table_ids` goes by an older one. `on_blocked` gets all who are in the way at once, and again whenever they
    /// change; once nobody is any more, an empty list.
    /// Errors: `Cancelled` as soon as `cancel` fires; `NotOwner`, `LeaseLost`; the store's.
    pub async fn wait_synced(
        &self,
        job_id: i64,
        version: SchemaVersion,
        table_ids: &[TableId],
        cancel: &CancellationToken,
        mut on_blocked: impl FnMut(Vec<Blocker>) + Send,
    ) -> Result<()> {
        let began = Instant::now();
        if self.view().version() < version && self.refreshed().await?.version() < version {
            return Err(Error::Bug(format!(
                "schema version {version} is not in the store"
            )));
        }
        let shown = Waiting {
            catalog: self,
            job_id,
        };
        let _watch = self.local.pins.watch();
        let mut told: Option<Vec<Blocker>> = None;
        let mut errors = 0;
        let mut answers = self.notifier(Topic::Answers).subscribe();
        loop {
            answers.mark_seen();
            let gone = self.local.pins.gone();
            if cancel.is_cancelled() {
                return Err(Error::Cancelled);
            }
            let holders = self.local.pins.holders_older_than(table_ids, version);
            let mut blockers = self.blockers_of(holders);
            let own = blockers.len();
            match self.others_in_the_way(job_id, version, table_ids, began).await {
                Ok(others) => {
                    errors = 0;
                    blockers.extend(others);
                    if blockers.is_empty() {
                        break;
                    }
                    if told.as_ref().is_none_or(|told| !same(told, &blockers)) {
                        if told.is_none() {
                            METRICS.mdl_waits.inc();
                        }
                        self.blockers.lock().insert(job_id, blockers.clone());
                        on_blocked(blockers.clone());
                        // Other nodes answered in the store; they can read there what is in the way here, too.
                        if let Err(e) = self
                            .report_own(job_id, version, table_ids, &blockers[..own])
                            .await
                        {
                            tracing::warn!(error = %e, job = job_id, "showing other nodes who is in the way failed");
                        }
                        told = Some(blockers.clone());
                    }
                }
                Err(e) if e.class() == ErrorClass::Transient && errors < MAX_ERRORS => {
                    errors += 1;
                    tracing::warn!(error = %e, job = job_id, "asking other nodes for a schema version failed; trying again");
                }
                Err(e) => return Err(e),
            }
            let pause = if errors > 0 || blockers.len() > own {
                self.waking.look_interval(ANSWER_INTERVAL)
            } else {
                OWN_INTERVAL
            };
            tokio::select! {
                biased;
                _ = cancel.cancelled() => return Err(Error::Cancelled),
                _ = gone => {}
                _ = answers.notified() => {}
                _ = tokio::time::sleep(pause) => {}
            }
        }
        if told.is_some() {
            on_blocked(Vec::new());
        }
        METRICS.mdl_wait_seconds.observe(began.elapsed().as_secs_f64());
        drop(shown);
        if let Some(term) = self.owner_term()
            && let Err(e) = self.clear_questions(&term).await
        {
            tracing::warn!(error = %e, job = job_id, "removing the answers of other nodes failed; tried again later");
        }
        Ok(())
    }

    async fn report_own(
        &self,
        job_id: i64,
        version: SchemaVersion,
        table_ids: &[TableId],
        own: &[Blocker],
    ) -> Result<()> {
        if self.asked.lock().jobs.get(&job_id) != Some(&true) {
            return Ok(());
        }
        let term = self.owner_term().ok_or(Error::NotOwner)?;
        let report = ReportRow {
            version,
            blockers: own.to_vec(),
        };
        let mut change = Change::guarded(term.guard());
        change.put(keys::report(job_id, &self.node_id), encode(&report)?);
        // Only as long as the question is there: answers are removed with it.
        change.require(asked(job_id, self.question(version, table_ids, &term)?));
        self.commit_as_owner(change).await
    }

    /// Whoever jobs wait for, as all nodes have reported it to the owner: for those who are not. Ages are as of the report.
    pub async fn reported_blockers(&self) -> Result<Vec<(i64, Blocker)>> {
        let ts = self.store.timestamp().await?;
        let range = keys::all_reports();
        let mut blockers = Vec::new();
        let reports: Vec<Stored<ReportRow>> =
            rows::scan_at(&self.store, range.clone(), ts, ScanOptions::default()).await?;
        for report in reports {
            let job = keys::suffix(&range, &report.key).split('/').next();
            let Some(job_id) = job.and_then(|id| id.parse().ok()) else {
                let key = report.key.escape_ascii();
                return Err(Error::Damaged(format!("an answer under {key}")));
            };
            let of_job = report.value.blockers.into_iter();
            blockers.extend(of_job.map(|blocker| (job_id, blocker)));
        }
        Ok(blockers)
    }

    /// Whoever jobs wait for just now, on this node as their owner: (job, blocker).
    pub fn blockers(&self) -> Vec<(i64, Blocker)> {
        let blockers = self.blockers.lock();
        let of_job = |(job, list): (&i64, &Vec<Blocker>)| {
            let job = *job;
            list.iter().map(move |b| (job, b.clone())).collect::<Vec<_>>()
        };
        blockers.iter().flat_map(of_job).collect()
    }

    fn blockers_of(&self, holders: Vec<Holder>) -> Vec<Blocker> {
        let view = self.view();
        let blocker = |h: Holder| Blocker {
            node: self.node_id.clone(),
            connection_id: h.connection_id,
            user: h.user.to_string(),
            statement: h.statement.chars().take(MAX_STATEMENT).collect(),
            age_ms: h.age.as_millis() as u64,
            table_id: h.table.id,
            table: view
                .qualified_name(h.table.id)
                .unwrap_or_else(|| h.table.name.to_string()),
        };
        holders.into_iter().take(MAX_BLOCKERS).map(blocker).collect()
    }

    /// Other nodes that are live and have not answered, or whose transactions are in the way.
    async fn others_in_the_way(
        &self,
        job_id: i64,
        version: SchemaVersion,
        table_ids: &[TableId],
        began: Instant,
    ) -> Result<Vec<Blocker>> {
        if !self.is_live() {
            return Err(Error::LeaseLost);
        }
        // A node that joins later than this loads the version before it does anything.
        let ts = self.store.timestamp().await?;
        let mut others = nodes_at(&self.store, ts).await?;
        others.retain(|node| node.id != self.node_id && node.is_live_at(ts));
        if others.is_empty() {
            return Ok(Vec::new());
        }
        let term = self.owner_term().ok_or(Error::NotOwner)?;
        self.ask(job_id, version, table_ids, &term, ts).await?;
        let reports = self.reports_at(job_id, ts).await?;
        let mut blockers = Vec::new();
        for node in others {
            match reports.get(&node.id) {
                Some(report) if report.version >= version => blockers.extend(report.blockers.iter().cloned()),
                _ => blockers.push(Blocker {
                    statement: format!(
                        "(node {} has not loaded schema version {version} yet)",
                        node.address
                    ),
                    node: node.id,
                    connection_id: 0,
                    user: String::new(),
                    age_ms: began.elapsed().as_millis() as u64,
                    table_id: 0,
                    table: String::new(),
                }),
            }
        }
        Ok(blockers)
    }

    fn question(&self, version: SchemaVersion, table_ids: &[TableId], term: &OwnerTerm) -> Result<Bytes> {
        let row = WaitRow {
            owner: self.node_id.clone(),
            epoch: term.epoch,
            version,
            table_ids: table_ids.to_vec(),
        };
        Ok(encode(&row)?)
    }

    async fn ask(
        &self,
        job_id: i64,
        version: SchemaVersion,
        table_ids: &[TableId],
        term: &OwnerTerm,
        ts: Timestamp,
    ) -> Result<()> {
        let key = keys::wait(job_id);
        let row = self.question(version, table_ids, term)?;
        self.asked.lock().ask(job_id);
        if self.store.get(&key, ts).await?.as_ref() == Some(&row) {
            return Ok(());
        }
        let mut change = Change::guarded(term.guard());
        change.put(key, row);
        self.commit_as_owner(change).await?;
        self.wake_others(Topic::Schema);
        Ok(())
    }

    async fn commit_as_owner(&self, change: Change) -> Result<()> {
        match self.commit_relaxed(change).await? {
            // Nobody waits for the answer any more.
            Outcome::Written | Outcome::Changed => Ok(()),
            Outcome::Fenced => Err(Error::NotOwner),
        }
    }

    /// Rows that mean nothing after a crash, or are written again: no need to wait for the disk.
    async fn commit_relaxed(&self, change: Change) -> Result<Outcome> {
        let options = CommitOptions {
            durability: Durability::Relaxed,
            ..self.commit_options()?
        };
        Ok(change.commit(&self.store, options).await?)
    }

    async fn reports_at(&self, job_id: i64, ts: Timestamp) -> Result<HashMap<String, ReportRow>> {
        let range = keys::reports(job_id);
        let reports = rows::scan_at(&self.store, range.clone(), ts, ScanOptions::default()).await?;
        let by_node =
            |report: Stored<ReportRow>| (keys::suffix(&range, &report.key).to_owned(), report.value);
        Ok(reports.into_iter().map(by_node).collect())
    }

    /// Removes questions, with their answers, that nobody waits for any more: what a wait that was given up has left, or
    /// an earlier owner. The owner's, from time to time.
    pub(crate) async fn clear_questions(&self, term: &OwnerTerm) -> Result<()> {
        let (of_others, over) = {
            let asked = self.asked.lock();
            let over = asked.jobs.iter().filter(|(_, waits)| !**waits);
            let over: Vec<i64> = over.map(|(job_id, _)| *job_id).collect();
            (asked.of_others, over)
        };
        if of_others {
            // One that is asked just now is asked again.
            self.forget(keys::waits(), term).await?;
            self.forget(keys::all_reports(), term).await?;
            self.asked.lock().of_others = false;
        }
        for job_id in over {
            self.forget_wait(job_id, term).await?;
            let mut asked = self.asked.lock();
            if asked.jobs.get(&job_id) == Some(&false) {
                asked.jobs.remove(&job_id);
            }
        }
        Ok(())
    }

    async fn forget_wait(&self, job_id: i64, term: &OwnerTerm) -> Result<()> {
        let question = KeyRange::new(keys::wait(job_id), [&keys::wait(job_id)[..], &[0]].concat());
        // The question first: without it no answer is written any more, so that none is missed.
        self.forget(question, term).await?;
        self.forget(keys::reports(job_id), term).await
    }

    async fn forget(&self, range: KeyRange, term: &OwnerTerm) -> Result<()> {
        let ts = self.store.timestamp().await?;
        let found = rows::pairs_at(&self.store, range, ts, ScanOptions::default()).await?;
        if found.is_empty() {
            return Ok(());
        }
        let mut change = Change::guarded(term.guard());
        for (key, _) in found {
            // An answer may be written anew meanwhile; it goes all the same.
            change.delete(key);
        }
        self.commit_as_owner(change).await
    }

    /// One round of a node's follower: takes over a new version, and answers owners' questions. Says whether a question
    /// is open because of transactions of this node.
    pub(crate) async fn follow(&self, follower: &mut Follower) -> Result<bool> {
        if !self.is_live() {
            return Ok(false);
        }
        let incarnation = self.local.lease.incarnation();
        if follower.incarnation != incarnation {
            follower.answered.clear();
            follower.incarnation = incarnation;
        }
        let ts = self.store.timestamp().await?;
        let range = keys::waits();
        let mut questions = BTreeMap::new();
        let waits: Vec<Stored<WaitRow>> =
            rows::scan_at(&self.store, range.clone(), ts, ScanOptions::default()).await?;
        for wait in waits {
            let Ok(job_id) = keys::suffix(&range, &wait.key).parse::<i64>() else {
                return Err(Error::Damaged(format!(
                    "an owner's question: no job id in its key {}",
                    wait.key.escape_ascii()
                )));
            };
            if wait.value.owner != self.node_id {
                questions.insert(job_id, (wait.value, wait.raw));
            }
        }
        follower
            .answered
            .retain(|job_id, _| questions.contains_key(job_id));
        // After the questions: so it is at least as new as any of them.
        let view = self.refreshed().await?;
        let mut open = false;
        for (job_id, (row, raw)) in questions {
            if view.version() < row.version {
                return Err(Error::Bug(format!(
                    "schema version {} is not in the store",
                    row.version
                )));
            }
            let holders = self.local.pins.holders_older_than(&row.table_ids, row.version);
            let blockers = self.blockers_of(holders);
            open |= !blockers.is_empty();
            let known = follower.answered.get(&job_id);
            // The answer may have been cleared away with an earlier question of the same words.
            if known.is_some_and(|a| a.question == raw && same(&a.blockers, &blockers))
                && self
                    .store
                    .get(&keys::report(job_id, &self.node_id), ts)
                    .await?
                    .is_some()
            {
                continue;
            }
            let report = ReportRow {
                version: row.version,
                blockers,
            };
            if self.answer(job_id, &raw, &report).await? {
                let blockers = report.blockers;
                let answered = Answered {
                    question: raw,
                    blockers,
                };
                follower.answered.insert(job_id, answered);
            }
        }
        Ok(open)
    }

    /// False when nobody waits for the answer any more.
    async fn answer(&self, job_id: i64, question: &Bytes, report: &ReportRow) -> Result<bool> {
        let mut change = Change::default();
        change.put(keys::report(job_id, &self.node_id), encode(report)?);
        change.require(asked(job_id, question.clone()));
        let answered = self.commit_relaxed(change).await? == Outcome::Written;
        if answered {
            self.wake_others(Topic::Answers);
        }
        Ok(answered)
    }
}
