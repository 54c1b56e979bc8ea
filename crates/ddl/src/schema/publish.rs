//! The step of an ALTER TABLE in which it becomes visible.

use ilmenite_catalog::{ColumnId, ColumnInfo, IndexId, SchemaState, TableInfo};
use ilmenite_types::FieldFlags;

use super::column::{implicit_default, place_column};
use super::subjob::SubJob;
use super::{recompute_key_flags, reorder_columns};
use crate::error::{DdlError, Result};
use crate::statement::{AlterAction, ColumnPosition};

/// The one step in which the change becomes visible. What is dropped goes to write-only, behind everything of the same
/// name that stays. Does not touch the table's schema or name (`RenameTable`) nor its allocator (`AutoIncrement`).
pub fn publish_alter(table: &mut TableInfo, subjobs: &[SubJob]) -> Result<()> {
    for subjob in subjobs.iter().filter(|s| s.skipped.is_none()) {
        publish_one(table, subjob)?;
    }
    recompute_key_flags(table);
    Ok(())
}

fn publish_one(table: &mut TableInfo, subjob: &SubJob) -> Result<()> {
    for id in subjob.dropped_indexes() {
        let at = index_position(table, id)?;
        let mut index = table.indexes.remove(at);
        index.state = SchemaState::WriteOnly;
        table.indexes.push(index);
    }
    let (index_id, column_id) = (
        subjob.index_id.unwrap_or_default(),
        subjob.column_id.unwrap_or_default(),
    );
    match &subjob.action {
        AlterAction::AddIndex(_) => add_index(table, index_id)?,
        AlterAction::RenameIndex { to, .. } => {
            let at = index_position(table, index_id)?;
            table.indexes[at].name = to.clone();
        }
        AlterAction::IndexVisibility { invisible, .. } => {
            let at = index_position(table, index_id)?;
            table.indexes[at].invisible = *invisible;
        }
        AlterAction::AddColumn { position, .. } => {
            column_mut(table, column_id)?.state = SchemaState::Public;
            place_column(table, column_id, position.as_ref())?;
        }
        AlterAction::DropColumn { .. } => drop_column(table, column_id)?,
        AlterAction::ModifyColumn {
            column: new,
            position,
            ..
        } => modify_column(table, column_id, new, position.as_ref())?,
        AlterAction::RenameColumn { to, .. } => {
            column_mut(table, column_id)?.name = to.clone();
            reorder_columns(table, |_| {})?;
        }
        AlterAction::SetDefault { default, is_expr, .. } => {
            set_default(table, column_id, default.clone(), *is_expr, false)?;
        }
        AlterAction::DropDefault { .. } => set_default(table, column_id, None, false, true)?,
        AlterAction::Comment(comment) => table.comment = comment.clone(),
        AlterAction::Charset { charset, collate } => {
            table.charset = charset.clone();
            table.collate = collate.clone();
        }
        AlterAction::DropIndex { .. }
        | AlterAction::DropPrimaryKey
        | AlterAction::AutoIncrement(_)
        | AlterAction::RenameTable(_) => {}
    }
    Ok(())
}

fn add_index(table: &mut TableInfo, id: IndexId) -> Result<()> {
    let at = index_position(table, id)?;
    let mut index = table.indexes.remove(at);
    index.state = SchemaState::Public;
    index.building_job = None;
    let public = table
        .indexes
        .iter()
        .take_while(|i| i.state == SchemaState::Public);
    let target = if index.primary { 0 } else { public.count() };
    table.indexes.insert(target, index);
    Ok(())
}

fn drop_column(table: &mut TableInfo, id: ColumnId) -> Result<()> {
    let column = column_mut(table, id)?;
    column.state = SchemaState::WriteOnly;
    if column.field_type.is_not_null() && column.default.is_none() {
        // Rows written from now on carry something in its place, for nodes that still read it.
        column.origin_default = column
            .origin_default
            .take()
            .or_else(|| implicit_default(&column.field_type));
    }
    reorder_columns(table, |table| {
        if let Some(at) = table.columns.iter().position(|c| c.id == id) {
            let column = table.columns.remove(at);
            table.columns.push(column);
        }
    })
}

fn modify_column(
    table: &mut TableInfo,
    id: ColumnId,
    new: &ColumnInfo,
    position: Option<&ColumnPosition>,
) -> Result<()> {
    let column = column_mut(table, id)?;
    column.name = new.name.clone();
    column.field_type = new.field_type.clone();
    column.default = new.default.clone();
    column.default_is_expr = new.default_is_expr;
    column.comment = new.comment.clone();
    // The column that is the handle is known by this flag alone.
    let is_handle = table.pk_is_handle && table.handle_column().is_none();
    column_mut(table, id)?
        .field_type
        .flags
        .set(FieldFlags::PRI_KEY, is_handle);
    match position {
        Some(_) => place_column(table, id, position),
        None => reorder_columns(table, |_| {}),
    }
}

fn set_default(
    table: &mut TableInfo,
    id: ColumnId,
    default: Option<String>,
    is_expr: bool,
    dropped: bool,
) -> Result<()> {
    let column = column_mut(table, id)?;
    column.default = default;
    column.default_is_expr = is_expr;
    column.field_type.flags.set(FieldFlags::NO_DEFAULT_VALUE, dropped);
    Ok(())
}

fn index_position(table: &TableInfo, id: IndexId) -> Result<usize> {
    table
        .indexes
        .iter()
        .position(|i| i.id == id)
        .ok_or_else(|| DdlError::bug(format!("index {id} is gone")))
}

fn column_mut(table: &mut TableInfo, id: ColumnId) -> Result<&mut ColumnInfo> {
    table
        .columns
        .iter_mut()
        .find(|c| c.id == id)
        .ok_or_else(|| DdlError::bug(format!("column {id} is gone")))
}
