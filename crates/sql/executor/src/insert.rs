//! INSERT and REPLACE.

use ilmenite_codec::Handle;
use ilmenite_store::Transaction;
use ilmenite_table::{OldRow, Row as WriteRow, RowChange, RowOutcome};
use ilmenite_types::{Datum, FieldType};

use super::runtime::Runtime;
use super::tables::WritableTable;
use super::update::{apply_assignments, changed};
use super::write::{WriteContext, column_value, default_value, number_rows};
use crate::result::Row;
use ilmenite_error::{Error, Result};
use ilmenite_expr::Expr;
use ilmenite_planner::{InsertPlan, OnDuplicatePlan};

/// Rows encoded, locked and written at once.
pub(crate) const WRITE_ROWS: usize = 1024;
/// Deleting one row that is in the way may uncover another; there are no more than unique keys.
const MAX_COLLISIONS: usize = 70;

/// What became of the rows of an INSERT, a REPLACE or LOAD DATA.
#[derive(Debug, Clone, Default)]
pub struct Inserted {
    pub affected: u64,
    /// Rows that were to be inserted.
    pub records: u64,
    pub duplicates: u64,
    /// The first automatic id that was made: what LAST_INSERT_ID() says from now on.
    pub first_generated: Option<u64>,
    /// The last id that was given: what the client is told when none was made.
    pub(crate) last_given: Option<u64>,
    /// More than one row was given: the client is told how many there were.
    pub(crate) several: bool,
}

/// What to do about rows that collide with others.
#[derive(Clone, Copy)]
pub(crate) enum Collision<'p> {
    Fail,
    /// Leave the new row out, with a warning.
    Skip,
    Replace,
    Update(&'p OnDuplicatePlan),
}

/// Makes the rows of VALUES, over the defaults of columns that are not given.
pub(crate) async fn value_rows(
    plan: &InsertPlan,
    table: &WritableTable,
    rows: &[Vec<Option<Expr>>],
    first: u64,
    single: bool,
    rt: &Runtime<'_>,
) -> Result<Vec<Row>> {
    let mut made = Vec::with_capacity(rows.len());
    for (at, exprs) in rows.iter().enumerate() {
        let number = first + at as u64 + 1;
        rt.eval
            .row_number
            .store(number, std::sync::atomic::Ordering::Relaxed);
        let subqueries = super::runtime::used_subqueries(exprs.iter().flatten());
        let mut row = vec![Datum::Null; table.public];
        fill_defaults(plan, table, &mut row, &rt.eval)?;
        // A column named before it is given a value stands for its default.
        if exprs.iter().flatten().any(|expr| expr.const_value().is_none()) {
            for column in &plan.columns {
                if let Some(value) = plan.defaults[*column].as_ref().and_then(Expr::const_value) {
                    row[*column] = value.clone();
                }
            }
        }
        if !subqueries.is_empty() {
            rt.subqueries.prepare(rt, &subqueries, &row).await?;
        }
        for (column, expr) in plan.columns.iter().zip(exprs) {
            row[*column] = match expr {
                Some(expr) => {
                    let value = expr.eval(&row, &rt.eval)?;
                    column_value(table, *column, value, expr.field_type(), &rt.eval, single)?
                }
                None => default_value(table, *column, &plan.defaults[*column], &row, &rt.eval)?,
            };
        }
        made.push(row);
    }
    Ok(made)
}

/// Gives the columns that are not listed their defaults.
fn fill_defaults(
    plan: &InsertPlan,
    table: &WritableTable,
    row: &mut Row,
    eval: &ilmenite_expr::EvalContext,
) -> Result<()> {
    if plan.columns.len() == table.public {
        return Ok(());
    }
    for column in 0..table.public {
        if !plan.columns.contains(&column) {
            row[column] = default_value(table, column, &plan.defaults[column], row, eval)?;
        }
    }
    Ok(())
}

/// Makes rows of what a query gave.
pub(crate) fn query_rows(
    plan: &InsertPlan,
    table: &WritableTable,
    given: Vec<Row>,
    types: &[FieldType],
    first: u64,
    eval: &ilmenite_expr::EvalContext,
) -> Result<Vec<Row>> {
    let mut made = Vec::with_capacity(given.len());
    for (at, values) in given.into_iter().enumerate() {
        eval.row_number
            .store(first + at as u64 + 1, std::sync::atomic::Ordering::Relaxed);
        let mut row = vec![Datum::Null; table.public];
        fill_defaults(plan, table, &mut row, eval)?;
        for ((column, value), ty) in plan.columns.iter().zip(values).zip(types) {
            row[*column] = column_value(table, *column, value, ty, eval, false)?;
        }
        made.push(row);
    }
    Ok(made)
}

/// Writes complete rows (all public columns, converted), in order.
pub(crate) async fn write_rows(
    table: &WritableTable,
    mut rows: Vec<Row>,
    collision: Collision<'_>,
    txn: &mut Transaction,
    write: &WriteContext<'_>,
    inserted: &mut Inserted,
) -> Result<()> {
    let generated = number_rows(table, &mut rows, write, inserted).await?;
    let zone = Some(&write.eval.time_zone);
    let mut handles: Vec<Handle> = Vec::with_capacity(rows.len());
    for (row, generated) in rows.iter_mut().zip(generated) {
        handles.push(table.handle(row, generated, zone)?);
        table.writer.complete(zone, row)?;
    }
    inserted.records += rows.len() as u64;
    let batch: Vec<WriteRow<'_>> = rows
        .iter()
        .zip(&handles)
        .map(|(datums, handle)| WriteRow { handle, datums })
        .collect();
    match collision {
        Collision::Fail | Collision::Skip => {
            let outcomes = table.writer.insert(txn, &batch, write.options()).await?;
            for (row, outcome) in rows.iter().zip(outcomes) {
                match outcome {
                    RowOutcome::Duplicate { index, .. } => {
                        let error: Error = table.writer.duplicate_error(index, row).into();
                        if matches!(collision, Collision::Fail) {
                            return Err(error);
                        }
                        inserted.duplicates += 1;
                        write.eval.warn(error);
                    }
                    _ => inserted.affected += 1,
                }
            }
        }
        Collision::Replace | Collision::Update(_) => {
            // Usually nothing collides. When something does, row by row: each must see what was made of those before it.
            let before = txn.savepoint();
            let outcomes = table.writer.insert(txn, &batch, write.options()).await?;
            if outcomes.iter().all(|outcome| *outcome == RowOutcome::Written) {
                inserted.affected += rows.len() as u64;
                return Ok(());
            }
            txn.rollback_to(before);
            for row in &batch {
                write.env.statement.turn().await?;
                match collision {
                    Collision::Update(plan) => {
                        insert_or_update(table, row, plan, txn, write, inserted).await?
                    }
                    _ => replace(table, row, txn, write, inserted).await?,
                }
            }
        }
    }
    Ok(())
}

async fn replace(
    table: &WritableTable,
    row: &WriteRow<'_>,
    txn: &mut Transaction,
    write: &WriteContext<'_>,
    inserted: &mut Inserted,
) -> Result<()> {
    for _ in 0..MAX_COLLISIONS {
        let outcomes = table
            .writer
            .insert(txn, std::slice::from_ref(row), write.options())
            .await?;
        let Some(RowOutcome::Duplicate { existing, .. }) = outcomes.into_iter().next() else {
            inserted.affected += 1;
            return Ok(());
        };
        let old = OldRow {
            handle: &existing,
            stored: None,
        };
        table.writer.remove(txn, &[old], write.options()).await?;
        inserted.affected += 1;
        inserted.duplicates += 1;
    }
    Err(Error::bug(
        "REPLACE meets more rows in its way than there are unique keys",
    ))
}

async fn insert_or_update(
    table: &WritableTable,
    row: &WriteRow<'_>,
    plan: &OnDuplicatePlan,
    txn: &mut Transaction,
    write: &WriteContext<'_>,
    inserted: &mut Inserted,
) -> Result<()> {
    let outcomes = table
        .writer
        .insert(txn, std::slice::from_ref(row), write.options())
        .await?;
    let Some(RowOutcome::Duplicate { existing, .. }) = outcomes.into_iter().next() else {
        inserted.affected += 1;
        return Ok(());
    };
    inserted.duplicates += 1;
    let key: bytes::Bytes = ilmenite_codec::record_key(table.info().id, existing.as_ref()).into();
    let Some(stored) = write.current(txn, key).await? else {
        return Err(Error::bug("the row an entry names is not there"));
    };
    let old = table.decode(existing.as_ref(), &stored, None)?;
    let zone = &write.eval.time_zone;
    let mut working = if table.has_timestamps {
        table.decode(existing.as_ref(), &stored, Some(zone))?
    } else {
        old.clone()
    };
    working.truncate(table.public);
    working.extend(row.datums[..table.public].iter().cloned());
    working.resize(plan.width.max(working.len()), Datum::Null);
    let new = apply_assignments(table, &plan.assignments, 0, &mut working, &old, write.eval)?;
    if let Some(at) = table.auto_increment {
        // What the client is told: the row that was there.
        if let Datum::Int(n) = &new[at] {
            inserted.last_given = u64::try_from(*n).ok();
        }
    }
    if !changed(&old, &new) {
        inserted.affected += u64::from(write.env.settings.found_rows);
        return Ok(());
    }
    let handle = if table.generates_handles() {
        existing.clone()
    } else {
        table.handle(&new, None, None)?
    };
    let change = RowChange {
        old: Some(OldRow {
            handle: &existing,
            stored: Some(&stored),
        }),
        new: Some(WriteRow {
            handle: &handle,
            datums: &new,
        }),
    };
    let outcomes = table.writer.apply(txn, &[change], write.options_utc()).await?;
    if let Some(RowOutcome::Duplicate { index, .. }) = outcomes.into_iter().next() {
        let error: Error = table.writer.duplicate_error(index, &new).into();
        if write.eval.ignores() {
            write.eval.warn(error);
            return Ok(());
        }
        return Err(error);
    }
    inserted.affected += 2;
    Ok(())
}
