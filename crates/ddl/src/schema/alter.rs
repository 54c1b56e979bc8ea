//! ALTER TABLE as one change. New columns and indexes walk through their states invisibly; one *publish* makes them
//! public, applies what needs no walk, and takes what is dropped out of sight, all in one schema version; then what is
//! dropped walks out. Up to the publish everything can be rolled back, after it nothing needs to be.
//!
//! Columns walk none → write-only → public: while nodes in `none` and in `write-only` coexist every row reads as the
//! column's default; nodes in `write-only` keep the values that nodes in `public` write. Indexes walk none →
//! delete-only → write-only → write-reorganization → public, and back public → write-only → delete-only →
//! delete-reorganization → none: nodes that only write and nodes that do not must not meet on a unique index.

use ilmenite_catalog::{ColumnId, IndexId, SchemaState, TableInfo};

use super::column::{check_auto_increment, check_column_count, implicit_default};
use super::publish::publish_alter;
use super::resolve::{Found, Refusal, resolve};
use super::subjob::SubJob;
use super::{build_index, recompute_key_flags, reorder_columns};
use crate::error::{DdlError, Result};
use crate::ids::JobId;
use crate::statement::{AlterAction, JobWarning};

/// Checks all actions, each against the table as the ones before it leave it; resolves names to ids; and puts new
/// columns (write-only) and new indexes (delete-only) into `table`. On an error `table` may be half changed: drop it.
pub fn begin_alter(table: &mut TableInfo, job: JobId, actions: &[AlterAction]) -> Result<Vec<SubJob>> {
    let mut preview = table.clone();
    let mut subjobs = Vec::with_capacity(actions.len());
    for action in actions {
        let subjob = match resolve(&preview, action) {
            Ok(about) => {
                let mut subjob = SubJob::new(action.clone(), about, None);
                add_objects(table, &mut preview, &mut subjob, job)?;
                subjob
            }
            Err(Refusal::Skip(error)) => {
                let note = JobWarning {
                    code: error.code(),
                    message: error.to_string(),
                };
                SubJob::new(action.clone(), Found::default(), Some(note))
            }
            Err(Refusal::Fail(error)) => return Err(error),
        };
        let subjobs_so_far = std::slice::from_ref(&subjob);
        publish_alter(&mut preview, subjobs_so_far)?;
        // What is dropped leaves the preview at once: its name is free for the actions behind it.
        remove_dropped(&mut preview, subjobs_so_far)?;
        subjobs.push(subjob);
    }
    check_column_count(preview.public_columns().count())?;
    check_auto_increment(&preview)?;
    Ok(subjobs)
}

/// Puts what the action adds into both tables, with the same ids. In the preview offsets may differ: names were
/// resolved there, and are carried over by column id.
fn add_objects(
    table: &mut TableInfo,
    preview: &mut TableInfo,
    subjob: &mut SubJob,
    job: JobId,
) -> Result<()> {
    match &subjob.action {
        AlterAction::AddIndex(spec) => {
            let mut index = build_index(preview, spec, SchemaState::DeleteOnly)?;
            table.max_idx_id += 1;
            preview.max_idx_id = table.max_idx_id;
            index.id = table.max_idx_id;
            index.building_job = Some(job);
            preview.indexes.push(index.clone());
            for part in &mut index.columns {
                let id = preview.columns[part.offset].id;
                let column = table.column_by_id(id);
                part.offset = column
                    .ok_or_else(|| DdlError::bug(format!("column {id} of a new index is gone")))?
                    .offset;
            }
            subjob.index_id = Some(index.id);
            table.indexes.push(index);
        }
        AlterAction::AddColumn { column, .. } => {
            table.max_col_id += 1;
            preview.max_col_id = table.max_col_id;
            let mut column = (**column).clone();
            column.id = table.max_col_id;
            column.state = SchemaState::WriteOnly;
            if column.origin_default.is_none() && column.field_type.is_not_null() {
                column.origin_default = implicit_default(&column.field_type);
            }
            subjob.column_id = Some(column.id);
            for table in [table, preview] {
                column.offset = table.columns.len();
                table.columns.push(column.clone());
            }
        }
        _ => {}
    }
    Ok(())
}

fn remove_dropped(table: &mut TableInfo, subjobs: &[SubJob]) -> Result<()> {
    for subjob in subjobs.iter().filter(|s| s.skipped.is_none()) {
        table
            .indexes
            .retain(|i| !subjob.dropped_indexes().any(|id| id == i.id));
        remove_column(table, subjob.dropped_column())?;
    }
    Ok(())
}

fn remove_column(table: &mut TableInfo, id: Option<ColumnId>) -> Result<()> {
    match id {
        Some(id) => reorder_columns(table, |table| table.columns.retain(|c| c.id != id)),
        None => Ok(()),
    }
}

/// Takes what the actions drop one state further. `None`: everything is gone already; otherwise the state reached.
/// Columns leave with the last step of the indexes.
pub fn drop_step(table: &mut TableInfo, subjobs: &[SubJob]) -> Result<Option<SchemaState>> {
    let indexes: Vec<IndexId> = subjobs.iter().flat_map(SubJob::dropped_indexes).collect();
    let columns: Vec<ColumnId> = subjobs.iter().filter_map(SubJob::dropped_column).collect();
    walk_out(table, &indexes, &columns)
}

/// Begins to take back what `begin_alter` put there: the indexes to delete-only.
pub fn rollback_alter(table: &mut TableInfo, subjobs: &[SubJob]) {
    for index in &mut table.indexes {
        if subjobs.iter().any(|s| s.added_index() == Some(index.id)) {
            index.state = SchemaState::DeleteOnly;
        }
    }
}

/// Takes what the actions added one state further out.
pub fn rollback_step(table: &mut TableInfo, subjobs: &[SubJob]) -> Result<Option<SchemaState>> {
    let indexes: Vec<IndexId> = subjobs.iter().filter_map(SubJob::added_index).collect();
    let columns: Vec<ColumnId> = subjobs.iter().filter_map(SubJob::added_column).collect();
    walk_out(table, &indexes, &columns)
}

fn walk_out(table: &mut TableInfo, indexes: &[IndexId], columns: &[ColumnId]) -> Result<Option<SchemaState>> {
    use SchemaState as S;
    let mut reached = None;
    for index in table.indexes.iter_mut().filter(|i| indexes.contains(&i.id)) {
        index.state = match index.state {
            S::Public => S::WriteOnly,
            S::WriteOnly | S::WriteReorganization => S::DeleteOnly,
            S::DeleteOnly => S::DeleteReorganization,
            S::DeleteReorganization | S::None => S::None,
        };
        reached = Some(index.state);
    }
    if matches!(reached, None | Some(S::None)) {
        table.indexes.retain(|i| !indexes.contains(&i.id));
        for id in columns {
            if table.column_by_id(*id).is_some() {
                remove_column(table, Some(*id))?;
                reached = Some(S::None);
            }
        }
        recompute_key_flags(table);
    }
    Ok(reached)
}
