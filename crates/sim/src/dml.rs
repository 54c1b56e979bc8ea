//! Clients that write: random transactions through the real `TableWriter`, and what is known of the rows from their
//! acknowledgements.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ilmenite_base::ErrorClass;
use ilmenite_catalog::{TableRef, TransactionPins};
use ilmenite_codec::Handle;
use ilmenite_store::{Error as StoreError, Transaction, TxnMode};
use ilmenite_table::{Error as WriteError, RowOutcome};
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::node::Node;
use crate::oracle::RowKey;
use crate::sim::Sim;
use crate::table::{self, Change, Decoder, Values};

/// What a transaction has done so far: known also when its node dies under it.
#[derive(Default)]
struct Intent {
    writes: BTreeMap<RowKey, Option<Values>>,
    committing: bool,
}

enum End {
    Committed,
    RolledBack,
    Unknown,
}

/// One client, until the writers are told to stop.
pub async fn client(sim: Arc<Sim>, me: usize, seed: u64) {
    let mut rng = StdRng::seed_from_u64(seed);
    while !sim.writers_stop.is_cancelled() {
        let Some(node) = sim.any_node(&mut rng) else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let intent = Mutex::new(Intent::default());
        let end = tokio::select! {
            biased;
            () = node.killed.cancelled() => match intent.lock().committing {
                true => End::Unknown,
                false => End::RolledBack,
            },
            end = transaction(&sim, &node, me, &mut rng, &intent) => end,
        };
        let writes = std::mem::take(&mut intent.lock().writes);
        match end {
            End::Committed => {
                sim.oracle.acknowledged(&writes);
                sim.commits.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            }
            End::RolledBack => {}
            End::Unknown => sim.oracle.unknown(&writes),
        }
        let think = rng.random_range(0..=sim.settings.dml.think_ms);
        tokio::time::sleep(Duration::from_millis(think)).await;
    }
}

/// A client at work on a node, with the transaction it has begun.
struct Client<'a> {
    sim: &'a Sim,
    node: &'a Node,
    me: usize,
    intent: &'a Mutex<Intent>,
    mode: TxnMode,
    txn: Transaction,
    /// Behind the transaction, which must have ended when they go.
    pins: TransactionPins,
    /// The versions of tables it goes by.
    tables: Vec<TableRef>,
}

async fn transaction(sim: &Sim, node: &Node, me: usize, rng: &mut StdRng, intent: &Mutex<Intent>) -> End {
    let mode = if rng.random_bool(0.25) {
        TxnMode::Optimistic
    } else {
        TxnMode::Pessimistic
    };
    let pins = node.catalog.pins(me as u64 + 1, "root");
    pins.set_statement("a client's statement".into());
    let Ok(txn) = Transaction::begin(&node.store, mode).await else {
        return End::RolledBack;
    };
    let mut client = Client {
        sim,
        node,
        me,
        intent,
        mode,
        txn,
        pins,
        tables: Vec::new(),
    };
    let lingers = rng.random_bool(sim.settings.dml.lingers);
    let statements = rng.random_range(1..4);
    for _ in 0..statements {
        let number = rng.random_range(0..sim.settings.tables);
        let Some(table) = table::pin(&node.catalog, &mut client.pins, &sim.table_name(number)) else {
            break;
        };
        if client.pins.lease_was_lost() {
            break;
        }
        if !client.statement(number, table, rng).await {
            drop(client.txn.rollback().await);
            return End::RolledBack;
        }
        let pause = if lingers { 1500 } else { sim.settings.dml.think_ms };
        if rng.random_bool(0.5) {
            tokio::time::sleep(Duration::from_millis(rng.random_range(0..=pause))).await;
        }
    }
    if rng.random_bool(0.1) || intent.lock().writes.is_empty() {
        drop(client.txn.rollback().await);
        return End::RolledBack;
    }
    client.commit().await
}

impl Client<'_> {
    /// One random change. False: the transaction cannot go on.
    async fn statement(&mut self, number: usize, table: TableRef, rng: &mut StdRng) -> bool {
        let (sim, node, me) = (self.sim, self.node, self.me);
        if !self.tables.contains(&table) {
            self.tables.push(table.clone());
        }
        let change = random_change(sim, me, number, rng, &self.intent.lock().writes);
        let savepoint = self.txn.savepoint();
        let start_ts = self.txn.start_ts();
        let outcome = match table::change(&node.store, &mut self.txn, &table, &change).await {
            Ok(outcome) => outcome,
            Err(error) => {
                judge_error(sim, node, &error);
                return false;
            }
        };
        sim.world.log.event(&[201, me as u64, change.id() as u64], || {
            format!(
                "client {me} on n{} {start_ts} {number} {change:?}: {outcome:?}",
                node.number
            )
        });
        if matches!(outcome, RowOutcome::Duplicate { .. })
            && (node.catalog.confirm_lease().await.is_err() || self.pins.lease_was_lost())
        {
            // The session says 8028 instead.
            return false;
        }
        let key = (number, change.id());
        if !self.judge_outcome(key, &table, &change, &outcome) {
            return false;
        }
        if outcome == RowOutcome::Written {
            if rng.random_bool(0.05) {
                // The statement failed in the end, for whatever reason: its writes are undone, its locks stay.
                self.txn.rollback_to(savepoint);
            } else {
                self.intent.lock().writes.insert(key, change.after().cloned());
            }
        }
        true
    }

    async fn commit(mut self) -> End {
        let (sim, node) = (self.sim, self.node);
        let options = match self.pins.commit_options() {
            Ok(options) => options,
            Err(_) => {
                drop(self.txn.rollback().await);
                return End::RolledBack;
            }
        };
        let start_ts = self.txn.start_ts();
        sim.world.expect_versions(start_ts, &self.tables);
        self.intent.lock().committing = true;
        match self.txn.commit(options).await {
            Ok(_) => End::Committed,
            Err(StoreError::Undetermined(_)) => {
                self.pins.linger(&node.store, start_ts, options.max_commit_ts);
                End::Unknown
            }
            Err(error) => {
                if matches!(error, StoreError::CommitTooLate { .. }) {
                    node.catalog.lease_refused();
                }
                judge_error(sim, node, &WriteError::Store(error));
                End::RolledBack
            }
        }
    }

    /// Is what the statement says possible? False ends the transaction.
    fn judge_outcome(&self, key: RowKey, table: &TableRef, change: &Change, outcome: &RowOutcome) -> bool {
        let start_ts = self.txn.start_ts();
        let possible = match self.intent.lock().writes.get(&key) {
            Some(own) => vec![own.clone()],
            None => self.sim.oracle.possible(key),
        };
        let (may_exist, may_lack) = (
            possible.iter().any(Option::is_some),
            possible.iter().any(Option::is_none),
        );
        let inserts = matches!(change, Change::Insert(..));
        let possible_outcome = match outcome {
            RowOutcome::Written => (inserts && may_lack) || (!inserts && may_exist),
            RowOutcome::Missing => !inserts && may_lack,
            RowOutcome::Duplicate { index: None, .. } => inserts && may_exist,
            RowOutcome::Duplicate {
                index: Some(id),
                existing,
            } => {
                if self.mode == TxnMode::Pessimistic
                    && let Some(values) = change.after()
                    && !self.holds_key((key.0, existing), table, *id, values)
                {
                    self.sim.violation(format!(
                        "FALSE DUPLICATE: {change:?} in {start_ts} is said to collide with {existing:?} in index {id}"
                    ));
                    return false;
                }
                true
            }
        };
        if !possible_outcome {
            self.sim.violation(format!(
                "LOST WRITE: {change:?} in {start_ts} was {outcome:?}, but row {key:?} is one of {possible:?}"
            ));
        }
        possible_outcome
    }

    /// Does the row really have these values in the index's columns now?
    fn holds_key(
        &self,
        (table_number, existing): (usize, &Handle),
        table: &TableRef,
        index: i64,
        values: &Values,
    ) -> bool {
        let Handle::Int(id) = existing else { return false };
        let own = self.intent.lock().writes.get(&(table_number, *id)).cloned();
        let held = match own {
            Some(own) => own,
            None => {
                let row_key = ilmenite_codec::key::record_key(table.id, existing.as_ref());
                let stored = self.sim.world.with_memory(|memory, _| memory.newest(&row_key));
                let decoder = Decoder::new(table).ok();
                stored.and_then(|stored| decoder?.values(*id, &stored))
            }
        };
        let (Some(held), Some(index)) = (held, table.index_by_id(index)) else {
            return false;
        };
        index
            .columns
            .iter()
            .all(|column| match column.name.lower.as_str() {
                "a" => held.0.is_some() && held.0 == values.0,
                "b" => match usize::try_from(column.length) {
                    Ok(n) => held.1.chars().take(n).eq(values.1.chars().take(n)),
                    Err(_) => held.1 == values.1,
                },
                // The key would carry the row's own handle.
                _ => false,
            })
    }
}

fn random_change(
    sim: &Sim,
    me: usize,
    table: usize,
    rng: &mut StdRng,
    mine: &BTreeMap<RowKey, Option<Values>>,
) -> Change {
    let dml = &sim.settings.dml;
    let id = rng.random_range(0..dml.rows_each) * dml.clients as i64 + me as i64;
    let a = (!rng.random_bool(0.1)).then(|| rng.random_range(0..dml.values));
    let b = ["x", "y", "zz"][rng.random_range(0..3)].to_owned();
    // Mostly what can succeed, by what is known of the row.
    let known = mine.get(&(table, id)).cloned().unwrap_or_else(|| {
        let mut possible = sim.oracle.possible((table, id));
        possible.pop().unwrap_or_default()
    });
    let sensible = rng.random_bool(0.85);
    match (known.is_some() == sensible, rng.random_range(0..3)) {
        (true, 0) => Change::Delete(id),
        (true, _) => match known {
            // Read, modified, written.
            Some((Some(a), b)) if rng.random_bool(0.3) => Change::Update(id, (Some((a + 1) % dml.values), b)),
            _ => Change::Update(id, (a, b)),
        },
        (false, _) => Change::Insert(id, (a, b)),
    }
}

/// Errors that a client may get; others are our bugs.
fn judge_error(sim: &Sim, node: &Node, error: &WriteError) {
    let expected = match error {
        WriteError::Store(e) => {
            matches!(
                e,
                StoreError::CommitTooLate { .. } | StoreError::Aborted(_) | StoreError::KeyExists { .. }
            ) || e.class() == ErrorClass::Transient
        }
        other => other.class() == ErrorClass::Transient,
    };
    sim.world
        .log
        .note(|| format!("client's transaction on n{} failed: {error}", node.number));
    if !expected {
        sim.violation(format!("a client got an unexpected error: {error}"));
    }
}
