//! One attempt at a statement that writes, or locks what it reads.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use ilmenite_error::Result;
use ilmenite_expr::EvalContext;
use ilmenite_planner::{
    DeletePlan, InsertPlan, InsertSource, Planned, PlannedKind, ResultColumn, TargetTable, UpdatePlan,
};
use ilmenite_store::{Timestamp, Transaction};

use crate::env::StatementEnv;
use crate::insert::{Collision, Inserted, WRITE_ROWS, query_rows, value_rows, write_rows};
use crate::query;
use crate::result::{ResultSink, Row, StatementOutcome};
use crate::runtime::{BATCH_ROWS, ReadView, Runtime, SubqueryRows, SubqueryRunner, collect, used_subqueries};
use crate::tables::WritableTable;
use crate::update::{delete_rows, new_values, update_rows};
use crate::write::WriteContext;

/// What an attempt did.
pub enum Done {
    Insert(Inserted),
    Update {
        matched: u64,
        changed: u64,
    },
    Delete(u64),
    /// The rows of a query that are locked now, and are still to be sent.
    Locked {
        columns: Arc<[ResultColumn]>,
        rows: Vec<Row>,
        /// What FOUND_ROWS() says.
        found: u64,
    },
}

/// Runs a planned statement in `transaction`, reading the newest as of `ts`. On an error the transaction holds part of what
/// was written: the caller takes it back to where it stood.
pub async fn attempt(
    env: &StatementEnv<'_>,
    planned: &Planned,
    rows: Arc<SubqueryRows>,
    eval: &EvalContext,
    transaction: &mut Transaction,
    ts: Timestamp,
) -> Result<Done> {
    let runner = SubqueryRunner::new(planned.subqueries(), rows);
    let work = Work {
        runner: &runner,
        write: WriteContext {
            env,
            eval,
            for_update_ts: ts,
        },
    };
    match &planned.kind {
        PlannedKind::Query { plan, .. } => {
            let (rows, found) = query::read_and_lock(plan, &work, transaction).await?;
            Ok(Done::Locked {
                columns: plan.columns.clone(),
                rows,
                found,
            })
        }
        PlannedKind::Insert(plan) => work.insert(plan, transaction).await,
        PlannedKind::Update(plan) => work.update(plan, transaction).await,
        PlannedKind::Delete(plan) => work.delete(plan, transaction).await,
    }
}

/// What an attempt goes by, but for its transaction.
pub(crate) struct Work<'a> {
    runner: &'a SubqueryRunner<'a>,
    pub write: WriteContext<'a>,
}

impl Work<'_> {
    /// For operators: the newest rows, with the transaction's own writes over them.
    pub(crate) fn reading<'t>(&'t self, transaction: &'t Transaction) -> Runtime<'t> {
        Runtime {
            env: self.write.env,
            view: ReadView {
                store: self.write.env.store,
                txn: Some(transaction),
                ts: self.write.for_update_ts,
            },
            eval: self.write.eval.clone(),
            subqueries: self.runner,
        }
    }

    async fn update(&self, plan: &UpdatePlan, transaction: &mut Transaction) -> Result<Done> {
        let tables = self.tables(&plan.targets)?;
        let eval = self.write.eval;
        let (rows, memory) = {
            let rt = self.reading(transaction);
            let (read, memory) = collect(&plan.rows, &rt, usize::MAX).await?;
            let used = used_subqueries(plan.assignments.iter().map(|a| &a.value));
            let mut rows = Vec::with_capacity(read.len());
            for (at, row) in read.into_iter().enumerate() {
                eval.row_number.store(at as u64 + 1, Ordering::Relaxed);
                if !used.is_empty() {
                    self.runner.prepare(&rt, &used, &row).await?;
                }
                let news = new_values(plan, &tables, &row, eval)?;
                rows.push((row, news));
            }
            (rows, memory)
        };
        let updated = update_rows(plan, &tables, rows, transaction, &self.write).await?;
        drop(memory);
        Ok(Done::Update {
            matched: updated.matched,
            changed: updated.changed,
        })
    }

    async fn delete(&self, plan: &DeletePlan, transaction: &mut Transaction) -> Result<Done> {
        let tables = self.tables(&plan.targets)?;
        let (rows, memory) = collect(&plan.rows, &self.reading(transaction), usize::MAX).await?;
        let deleted = delete_rows(plan, &tables, &rows, transaction, &self.write).await?;
        drop(memory);
        Ok(Done::Delete(deleted))
    }

    fn tables(&self, targets: &[TargetTable]) -> Result<Vec<Arc<WritableTable>>> {
        let tables = targets.iter();
        tables
            .map(|target| self.write.env.tables.writable(&target.table.info))
            .collect()
    }

    async fn insert(&self, plan: &InsertPlan, transaction: &mut Transaction) -> Result<Done> {
        let table = self.write.env.tables.writable(&plan.table.info)?;
        let mut inserted = Inserted::default();
        match &plan.source {
            InsertSource::Values(rows) => {
                inserted.several = rows.len() > 1;
                for chunk in rows.chunks(WRITE_ROWS) {
                    self.write.env.statement.turn().await?;
                    let first = inserted.records;
                    let single = !inserted.several;
                    let rt = self.reading(transaction);
                    let rows = value_rows(plan, &table, chunk, first, single, &rt).await?;
                    drop(rt);
                    self.write_rows(plan, &table, rows, transaction, &mut inserted)
                        .await?;
                }
            }
            InsertSource::Query(query) => {
                inserted.several = true;
                // Read to its end first: it may read the table that is written.
                let (rows, memory) = collect(&query.root, &self.reading(transaction), usize::MAX).await?;
                let types: Vec<_> = query.columns.iter().map(|c| c.field_type.clone()).collect();
                let mut rows = rows.into_iter();
                loop {
                    let chunk: Vec<Row> = rows.by_ref().take(WRITE_ROWS).collect();
                    if chunk.is_empty() {
                        break;
                    }
                    self.write.env.statement.turn().await?;
                    let rows = query_rows(plan, &table, chunk, &types, inserted.records, self.write.eval)?;
                    self.write_rows(plan, &table, rows, transaction, &mut inserted)
                        .await?;
                }
                drop(memory);
            }
        }
        Ok(Done::Insert(inserted))
    }

    async fn write_rows(
        &self,
        plan: &InsertPlan,
        table: &WritableTable,
        rows: Vec<Row>,
        transaction: &mut Transaction,
        inserted: &mut Inserted,
    ) -> Result<()> {
        let collision = match (&plan.on_duplicate, plan.replace, plan.ignore) {
            (Some(update), ..) => Collision::Update(update),
            (None, true, _) => Collision::Replace,
            (None, false, true) => Collision::Skip,
            _ => Collision::Fail,
        };
        write_rows(table, rows, collision, transaction, &self.write, inserted).await
    }
}

impl Done {
    /// What the client is told, after the rows that were locked are sent. `set`: what LAST_INSERT_ID(n) was given.
    pub async fn outcome(
        self,
        env: &StatementEnv<'_>,
        warnings: u64,
        set: Option<u64>,
        sink: &mut dyn ResultSink,
    ) -> Result<StatementOutcome> {
        Ok(match self {
            Done::Insert(inserted) => {
                let told = inserted.first_generated.or(set).or(inserted.last_given);
                let (records, duplicates) = (inserted.records, inserted.duplicates);
                StatementOutcome {
                    affected: inserted.affected,
                    last_insert_id: told.unwrap_or_default(),
                    info: match inserted.several {
                        true => {
                            format!("Records: {records}  Duplicates: {duplicates}  Warnings: {warnings}")
                        }
                        false => String::new(),
                    },
                    ..StatementOutcome::default()
                }
            }
            Done::Update { matched, changed } => StatementOutcome {
                affected: if env.settings.found_rows { matched } else { changed },
                last_insert_id: set.unwrap_or_default(),
                info: format!("Rows matched: {matched}  Changed: {changed}  Warnings: {warnings}"),
                ..StatementOutcome::default()
            },
            Done::Delete(deleted) => StatementOutcome {
                affected: deleted,
                ..StatementOutcome::default()
            },
            Done::Locked { columns, rows, found } => {
                sink.columns(&columns).await?;
                let sent = rows.len() as u64;
                for batch in rows.chunks(BATCH_ROWS) {
                    sink.rows(batch).await?;
                }
                StatementOutcome {
                    rows_sent: Some(sent),
                    found_rows: (found != sent).then_some(found),
                    ..StatementOutcome::default()
                }
            }
        })
    }
}
