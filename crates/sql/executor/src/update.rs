//! UPDATE and DELETE: rows are read to the end first, so that no change is met again by the same statement, then written.

use ahash::AHashSet;
use bytes::Bytes;
use ilmenite_codec::{Handle, key};
use ilmenite_store::{Transaction, TxnMode};
use ilmenite_table::{OldRow, Row as WriteRow, RowChange, RowOutcome};
use ilmenite_types::Datum;

use super::insert::WRITE_ROWS;
use super::tables::WritableTable;
use super::write::{WriteContext, column_value, to_utc};
use crate::result::Row;
use ilmenite_error::{Error, Result};
use ilmenite_expr::EvalContext;
use ilmenite_planner::{AssignmentPlan, DeletePlan, TargetTable, UpdatePlan};

#[derive(Debug, Default)]
pub(crate) struct Updated {
    pub matched: u64,
    pub changed: u64,
}

/// Does anything differ?
pub(crate) fn changed(old: &[Datum], new: &[Datum]) -> bool {
    old != new
}

/// The row after the assignments to `target`, as stored (TIMESTAMPs in UTC). `working` is the row the expressions read; it
/// follows the assignments, since later ones see what earlier ones did.
pub(crate) fn apply_assignments(
    table: &WritableTable,
    assignments: &[AssignmentPlan],
    target: usize,
    working: &mut Row,
    old: &[Datum],
    eval: &EvalContext,
) -> Result<Vec<Datum>> {
    let mut new = old.to_vec();
    let own = || assignments.iter().filter(|a| a.target == target);
    for assignment in own().filter(|a| !a.automatic) {
        assign(table, assignment, working, &mut new, eval)?;
    }
    if changed(old, &new) {
        for assignment in own().filter(|a| a.automatic) {
            assign(table, assignment, working, &mut new, eval)?;
        }
    }
    Ok(new)
}

fn assign(
    table: &WritableTable,
    assignment: &AssignmentPlan,
    working: &mut Row,
    new: &mut [Datum],
    eval: &EvalContext,
) -> Result<()> {
    let value = assignment.value.eval(working, eval)?;
    let value = column_value(
        table,
        assignment.column,
        value,
        assignment.value.field_type(),
        eval,
        false,
    )?;
    let info = &table.info().columns[assignment.column];
    if value == Datum::Null && info.field_type.is_not_null() {
        return Err(Error::column_cannot_be_null(&info.name));
    }
    if let Some(slot) = assignment.slot {
        working[slot] = value.clone();
    }
    new[assignment.column] = to_utc(value, &info.field_type, &eval.time_zone)?;
    Ok(())
}

/// A row to change: its handle and its value as stored.
struct Found {
    handle: Handle,
    stored: Bytes,
    key: Bytes,
}

/// The target's part of a row read; `None` where an outer join found nothing.
fn found(row: &[Datum], target: &TargetTable) -> Result<Option<Found>> {
    match (&row[target.key_slot], &row[target.raw_slot]) {
        (Datum::Bytes(key), Datum::Bytes(stored)) => Ok(Some(Found {
            handle: key::decode_record_handle(key)?.to_owned(),
            stored: stored.clone(),
            key: key.clone(),
        })),
        _ => Ok(None),
    }
}

/// Changes the rows read. `subqueries_ready` is called before the assignments of each row are evaluated.
pub(crate) async fn update_rows(
    plan: &UpdatePlan,
    tables: &[std::sync::Arc<WritableTable>],
    rows: Vec<(Row, Vec<Option<Vec<Datum>>>)>,
    txn: &mut Transaction,
    write: &WriteContext<'_>,
) -> Result<Updated> {
    let mut updated = Updated::default();
    for (at, (target, table)) in plan.targets.iter().zip(tables).enumerate() {
        // A row joined to several others is changed once.
        let mut done: AHashSet<Bytes> = AHashSet::new();
        let several = plan.targets.len() > 1 || is_join(plan);
        for chunk in rows.chunks(WRITE_ROWS) {
            write.env.statement.turn().await?;
            let mut changes: Vec<(Found, Handle, Vec<Datum>)> = Vec::with_capacity(chunk.len());
            let mut unchanged: Vec<Bytes> = Vec::new();
            for (row, news) in chunk {
                let Some(found) = found(row, target)? else {
                    continue;
                };
                if several && !done.insert(found.key.clone()) {
                    continue;
                }
                let Some(Some(new)) = news.get(at) else { continue };
                updated.matched += 1;
                let old = table.decode(found.handle.as_ref(), &found.stored, None)?;
                if !changed(&old, new) {
                    unchanged.push(found.key);
                    continue;
                }
                let handle = if table.generates_handles() {
                    found.handle.clone()
                } else {
                    table.handle(new, None, None)?
                };
                changes.push((found, handle, new.clone()));
            }
            if txn.mode() == TxnMode::Pessimistic && !unchanged.is_empty() {
                unchanged.sort_unstable();
                unchanged.dedup();
                txn.lock(
                    unchanged,
                    write.for_update_ts,
                    write.env.settings.lock_wait_timeout,
                )
                .await?;
            }
            let batch: Vec<RowChange<'_>> = changes
                .iter()
                .map(|(found, handle, new)| RowChange {
                    old: Some(OldRow {
                        handle: &found.handle,
                        stored: Some(&found.stored),
                    }),
                    new: Some(WriteRow { handle, datums: new }),
                })
                .collect();
            let outcomes = table.writer.apply(txn, &batch, write.options_utc()).await?;
            for ((_, _, new), outcome) in changes.iter().zip(outcomes) {
                match outcome {
                    RowOutcome::Written => updated.changed += 1,
                    RowOutcome::Missing => {}
                    RowOutcome::Duplicate { index, .. } => {
                        let error: Error = table.writer.duplicate_error(index, new).into();
                        if !plan.ignore {
                            return Err(error);
                        }
                        write.eval.warn(error);
                    }
                }
            }
        }
    }
    Ok(updated)
}

fn is_join(plan: &UpdatePlan) -> bool {
    fn joins(node: &ilmenite_planner::Node) -> bool {
        use ilmenite_planner::NodeKind;
        match &node.kind {
            NodeKind::Join(_) => true,
            NodeKind::Filter { input, .. }
            | NodeKind::Project { input, .. }
            | NodeKind::Sort { input, .. }
            | NodeKind::Limit { input, .. }
            | NodeKind::Cut { input, .. } => joins(input),
            NodeKind::SemiJoin(semi) => joins(&semi.input),
            _ => false,
        }
    }
    joins(&plan.rows)
}

/// The new values of each target's row, for one row read.
pub(crate) fn new_values(
    plan: &UpdatePlan,
    tables: &[std::sync::Arc<WritableTable>],
    row: &Row,
    eval: &EvalContext,
) -> Result<Vec<Option<Vec<Datum>>>> {
    let mut news = Vec::with_capacity(tables.len());
    for (at, (target, table)) in plan.targets.iter().zip(tables).enumerate() {
        let Some(found) = found(row, target)? else {
            news.push(None);
            continue;
        };
        let old = table.decode(found.handle.as_ref(), &found.stored, None)?;
        let mut working = row.clone();
        news.push(Some(apply_assignments(
            table,
            &plan.assignments,
            at,
            &mut working,
            &old,
            eval,
        )?));
    }
    Ok(news)
}

/// Removes the rows read; returns how many.
pub(crate) async fn delete_rows(
    plan: &DeletePlan,
    tables: &[std::sync::Arc<WritableTable>],
    rows: &[Row],
    txn: &mut Transaction,
    write: &WriteContext<'_>,
) -> Result<u64> {
    let mut deleted = 0;
    for (target, table) in plan.targets.iter().zip(tables) {
        let mut done: AHashSet<Bytes> = AHashSet::new();
        for chunk in rows.chunks(WRITE_ROWS) {
            write.env.statement.turn().await?;
            let mut batch = Vec::with_capacity(chunk.len());
            for row in chunk {
                if let Some(found) = found(row, target)?
                    && done.insert(found.key.clone())
                {
                    batch.push(found);
                }
            }
            let olds: Vec<OldRow<'_>> = batch
                .iter()
                .map(|found| OldRow {
                    handle: &found.handle,
                    stored: Some(&found.stored),
                })
                .collect();
            let outcomes = table.writer.remove(txn, &olds, write.options_utc()).await?;
            deleted += outcomes
                .iter()
                .filter(|outcome| **outcome == RowOutcome::Written)
                .count() as u64;
        }
    }
    Ok(deleted)
}
