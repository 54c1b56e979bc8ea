//! ALTER TABLE as one change. New columns and indexes walk through their states invisibly; one *publish* makes them
//! public, applies what needs no walk, and takes what is dropped out of sight, all in one schema version; then what is
//! dropped walks out. Up to the publish everything can be rolled back, after it nothing needs to be.
//!
//! Columns walk none → write-only → public: while nodes in `none` and in `write-only` coexist every row reads as the
//! column's default; nodes in `write-only` keep the values that nodes in `public` write. Indexes walk none →
//! delete-only → write-only → write-reorganization → public, and back public → write-only → delete-only →
//! delete-reorganization → none: nodes that only write and nodes that do not must not meet on a unique index.

use ilmenite_catalog::{ColumnId, ColumnInfo, IndexId, IndexInfo, Name, SchemaState, TableInfo};
use ilmenite_types::FieldFlags;
use serde::{Deserialize, Serialize};

use super::column::{
    check_auto_increment, check_column, check_column_count, check_default, check_modify, find_public,
    implicit_default, place_column,
};
use super::{build_index, check_name, recompute_key_flags, reorder_columns};
use crate::error::{DdlError, Result};
use crate::ids::JobId;
use crate::statement::{AlterAction, ColumnPosition, JobWarning};

/// One action of an ALTER TABLE, with its names resolved to ids.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SubJob {
    pub action: AlterAction,
    /// The index added, dropped, renamed or made (in)visible.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index_id: Option<IndexId>,
    /// The column added, dropped or changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column_id: Option<ColumnId>,
    /// Single-column indexes that go with a dropped column.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub index_ids: Vec<IndexId>,
    /// IF [NOT] EXISTS made it do nothing.
    #[serde(default)]
    pub skipped: Option<JobWarning>,
}

impl SubJob {
    fn new(action: AlterAction) -> Self {
        SubJob {
            action,
            index_id: None,
            column_id: None,
            index_ids: Vec::new(),
            skipped: None,
        }
    }

    /// The indexes this action takes away.
    pub fn dropped_indexes(&self) -> impl Iterator<Item = IndexId> + '_ {
        let own = match self.action {
            AlterAction::DropIndex { .. } | AlterAction::DropPrimaryKey => self.index_id,
            _ => None,
        };
        own.into_iter().chain(self.index_ids.iter().copied())
    }

    /// The index this action builds.
    pub fn added_index(&self) -> Option<IndexId> {
        matches!(self.action, AlterAction::AddIndex(_))
            .then_some(self.index_id)
            .flatten()
    }

    pub fn added_column(&self) -> Option<ColumnId> {
        matches!(self.action, AlterAction::AddColumn { .. })
            .then_some(self.column_id)
            .flatten()
    }

    pub fn dropped_column(&self) -> Option<ColumnId> {
        matches!(self.action, AlterAction::DropColumn { .. })
            .then_some(self.column_id)
            .flatten()
    }
}

/// Checks all actions, each against the table as the ones before it leave it; resolves names to ids; and puts new
/// columns (write-only) and new indexes (delete-only) into `table`. On an error `table` may be half changed: drop it.
pub fn begin_alter(table: &mut TableInfo, job: JobId, actions: &[AlterAction]) -> Result<Vec<SubJob>> {
    let mut preview = table.clone();
    let mut subjobs = Vec::with_capacity(actions.len());
    for action in actions {
        let mut subjob = SubJob::new(action.clone());
        match resolve(&preview, &mut subjob) {
            Ok(()) => add_objects(table, &mut preview, &mut subjob, job)?,
            Err(Refusal::Skip(error)) => {
                subjob.skipped = Some(JobWarning {
                    code: error.code(),
                    message: error.to_string(),
                });
            }
            Err(Refusal::Fail(error)) => return Err(error),
        }
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

enum Refusal {
    /// IF [NOT] EXISTS: a note.
    Skip(DdlError),
    Fail(DdlError),
}

impl From<DdlError> for Refusal {
    fn from(error: DdlError) -> Self {
        Refusal::Fail(error)
    }
}

fn skip_if(lenient: bool, error: DdlError) -> Result<(), Refusal> {
    Err(if lenient {
        Refusal::Skip(error)
    } else {
        Refusal::Fail(error)
    })
}

/// Finds what the action is about, and refuses it when the table does not allow it.
fn resolve(table: &TableInfo, subjob: &mut SubJob) -> Result<(), Refusal> {
    let SubJob {
        action,
        index_id,
        column_id,
        index_ids,
        ..
    } = subjob;
    match action {
        AlterAction::AddIndex(spec) => {
            if let Some(name) = spec
                .name
                .as_ref()
                .filter(|n| !spec.primary && table.index(&n.original).is_some())
            {
                skip_if(
                    spec.if_not_exists,
                    DdlError::DuplicateKeyName {
                        name: name.original.clone(),
                    },
                )?;
            }
        }
        AlterAction::DropIndex { name, if_exists } => match table.index(&name.original) {
            Some(index) if table.is_clustered(index) => {
                return Err(DdlError::unsupported("drop of a clustered primary key").into());
            }
            Some(index) => *index_id = Some(index.id),
            None if table.pk_is_handle && name.lower == "primary" => {
                return Err(DdlError::unsupported("drop of a clustered primary key").into());
            }
            None => skip_if(
                *if_exists,
                DdlError::CannotDrop {
                    name: name.original.clone(),
                },
            )?,
        },
        AlterAction::DropPrimaryKey => match table.primary_index() {
            Some(index) if !table.is_clustered(index) => *index_id = Some(index.id),
            None if !table.pk_is_handle => {
                return Err(DdlError::CannotDrop {
                    name: "PRIMARY".into(),
                }
                .into());
            }
            _ => return Err(DdlError::unsupported("drop of a clustered primary key").into()),
        },
        AlterAction::RenameIndex { from, to } => {
            *index_id = Some(find_index(table, from)?.id);
            check_name(&to.original, |name| DdlError::WrongIndexName { name })?;
            if to.lower == "primary" || from.lower == "primary" {
                return Err(DdlError::WrongIndexName {
                    name: to.original.clone(),
                }
                .into());
            }
            if table.index(&to.original).is_some_and(|i| Some(i.id) != *index_id) {
                return Err(DdlError::DuplicateKeyName {
                    name: to.original.clone(),
                }
                .into());
            }
        }
        AlterAction::IndexVisibility { name, invisible } => {
            let index = find_index(table, name)?;
            if index.primary && *invisible {
                return Err(DdlError::InvisiblePrimaryKey.into());
            }
            *index_id = Some(index.id);
        }
        AlterAction::AddColumn {
            column,
            position,
            if_not_exists,
        } => {
            check_column(column)?;
            if column.field_type.flags.has(FieldFlags::AUTO_INCREMENT) {
                return Err(DdlError::unsupported("add column with AUTO_INCREMENT").into());
            }
            if table.column(&column.name.original).is_some() {
                skip_if(
                    *if_not_exists,
                    DdlError::DuplicateColumn {
                        name: column.name.original.clone(),
                    },
                )?;
            }
            check_position(table, &column.name, position.as_ref())?;
        }
        AlterAction::DropColumn { name, if_exists } => {
            match table.public_columns().find(|c| c.name.lower == name.lower) {
                None => skip_if(
                    *if_exists,
                    DdlError::CannotDrop {
                        name: name.original.clone(),
                    },
                )?,
                Some(column) => {
                    *column_id = Some(column.id);
                    *index_ids = indexes_of_dropped(table, column)?;
                    if table.public_columns().count() == 1 {
                        return Err(DdlError::CannotDropAllColumns.into());
                    }
                }
            }
        }
        AlterAction::ModifyColumn {
            name,
            column,
            position,
        } => {
            let old = find_public(table, name, &table.name.original)?;
            *column_id = Some(old.id);
            check_free_column_name(table, old, &column.name)?;
            check_modify(table, old, column)?;
            check_position(table, name, position.as_ref())?;
        }
        AlterAction::RenameColumn { from, to } => {
            let old = find_public(table, from, &table.name.original)?;
            *column_id = Some(old.id);
            check_free_column_name(table, old, to)?;
        }
        AlterAction::SetDefault {
            column,
            default,
            is_expr,
        } => {
            let old = find_public(table, column, &table.name.original)?;
            *column_id = Some(old.id);
            if default.is_none() && old.field_type.is_not_null() {
                return Err(DdlError::InvalidDefault {
                    column: column.original.clone(),
                }
                .into());
            }
            check_default(&ColumnInfo {
                default: default.clone(),
                default_is_expr: *is_expr,
                ..old.clone()
            })?;
        }
        AlterAction::DropDefault { column } => {
            *column_id = Some(find_public(table, column, &table.name.original)?.id);
        }
        AlterAction::RenameTable(to) => super::check_table_name(&to.table.original)?,
        AlterAction::Comment(_) | AlterAction::AutoIncrement(_) | AlterAction::Charset { .. } => {}
    }
    Ok(())
}

fn find_index<'t>(table: &'t TableInfo, name: &Name) -> Result<&'t IndexInfo> {
    let missing = || DdlError::KeyMissing {
        key: name.original.clone(),
        table: table.name.original.clone(),
    };
    table
        .index(&name.original)
        .filter(|i| i.state == SchemaState::Public)
        .ok_or_else(missing)
}

fn check_free_column_name(table: &TableInfo, old: &ColumnInfo, to: &Name) -> Result<()> {
    check_name(&to.original, |name| DdlError::WrongColumnName { name })?;
    match table.column(&to.original) {
        Some(other) if other.id != old.id => Err(DdlError::DuplicateColumn {
            name: to.original.clone(),
        }),
        _ => Ok(()),
    }
}

fn check_position(table: &TableInfo, column: &Name, position: Option<&ColumnPosition>) -> Result<()> {
    match position {
        Some(ColumnPosition::After(name)) if name.lower == column.lower => Err(DdlError::UnknownColumn {
            column: name.original.clone(),
            place: table.name.original.clone(),
        }),
        Some(ColumnPosition::After(name)) => find_public(table, name, &table.name.original).map(|_| ()),
        _ => Ok(()),
    }
}

fn indexes_of_dropped(table: &TableInfo, column: &ColumnInfo) -> Result<Vec<IndexId>> {
    if table.handle_column().is_some_and(|c| c.id == column.id) {
        return Err(DdlError::unsupported(format!(
            "drop of the primary key column '{}'",
            column.name
        )));
    }
    let mut ids = Vec::new();
    for index in table
        .indexes
        .iter()
        .filter(|i| i.columns.iter().any(|p| p.offset == column.offset))
    {
        if index.columns.len() > 1 || index.primary {
            return Err(DdlError::unsupported(format!(
                "drop of column '{}': a primary key or an index of several columns covers it",
                column.name
            )));
        }
        ids.push(index.id);
    }
    Ok(ids)
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
    match &subjob.action {
        AlterAction::AddIndex(_) => {
            let at = index_position(table, subjob.index_id.unwrap_or_default())?;
            let mut index = table.indexes.remove(at);
            index.state = SchemaState::Public;
            index.building_job = None;
            let target = table
                .indexes
                .iter()
                .take_while(|i| i.state == SchemaState::Public)
                .count();
            table
                .indexes
                .insert(if index.primary { 0 } else { target }, index);
        }
        AlterAction::RenameIndex { to, .. } => {
            let at = index_position(table, subjob.index_id.unwrap_or_default())?;
            table.indexes[at].name = to.clone();
        }
        AlterAction::IndexVisibility { invisible, .. } => {
            let at = index_position(table, subjob.index_id.unwrap_or_default())?;
            table.indexes[at].invisible = *invisible;
        }
        AlterAction::AddColumn { position, .. } => {
            let id = subjob.column_id.unwrap_or_default();
            column_mut(table, id)?.state = SchemaState::Public;
            place_column(table, id, position.as_ref())?;
        }
        AlterAction::DropColumn { .. } => {
            let id = subjob.column_id.unwrap_or_default();
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
            })?;
        }
        AlterAction::ModifyColumn {
            column: new,
            position,
            ..
        } => {
            let id = subjob.column_id.unwrap_or_default();
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
                Some(_) => place_column(table, id, position.as_ref())?,
                None => reorder_columns(table, |_| {})?,
            }
        }
        AlterAction::RenameColumn { to, .. } => {
            column_mut(table, subjob.column_id.unwrap_or_default())?.name = to.clone();
            reorder_columns(table, |_| {})?;
        }
        AlterAction::SetDefault { default, is_expr, .. } => {
            let column = column_mut(table, subjob.column_id.unwrap_or_default())?;
            column.default = default.clone();
            column.default_is_expr = *is_expr;
            column.field_type.flags.set(FieldFlags::NO_DEFAULT_VALUE, false);
        }
        AlterAction::DropDefault { .. } => {
            let column = column_mut(table, subjob.column_id.unwrap_or_default())?;
            column.default = None;
            column.default_is_expr = false;
            column.field_type.flags.set(FieldFlags::NO_DEFAULT_VALUE, true);
        }
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
