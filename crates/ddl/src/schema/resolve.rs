//! What one action of an ALTER TABLE is about, by name, and whether the table allows it.

use ilmenite_catalog::{ColumnId, ColumnInfo, IndexId, IndexInfo, Name, SchemaState, TableInfo};
use ilmenite_types::FieldFlags;

use super::column::{check_column, check_default, check_modify, find_public};
use super::{check_name, check_table_name};
use crate::error::{DdlError, Result};
use crate::statement::{AlterAction, ColumnPosition, IndexSpec};

pub(super) enum Refusal {
    /// `IF [NOT] EXISTS`: a note.
    Skip(DdlError),
    Fail(DdlError),
}

impl From<DdlError> for Refusal {
    fn from(error: DdlError) -> Self {
        Refusal::Fail(error)
    }
}

fn refuse<T>(lenient: bool, error: DdlError) -> Result<T, Refusal> {
    Err(if lenient {
        Refusal::Skip(error)
    } else {
        Refusal::Fail(error)
    })
}

/// The ids of what an action names.
#[derive(Default)]
pub(super) struct Found {
    pub index_id: Option<IndexId>,
    pub column_id: Option<ColumnId>,
    /// Single-column indexes that go with a dropped column.
    pub index_ids: Vec<IndexId>,
}

impl Found {
    fn index(id: IndexId) -> Self {
        Found {
            index_id: Some(id),
            ..Found::default()
        }
    }

    fn column(id: ColumnId) -> Self {
        Found {
            column_id: Some(id),
            ..Found::default()
        }
    }
}

/// Finds what the action is about, and refuses it when the table does not allow it.
pub(super) fn resolve(table: &TableInfo, action: &AlterAction) -> Result<Found, Refusal> {
    match action {
        AlterAction::AddIndex(spec) => add_index(table, spec),
        AlterAction::DropIndex { name, if_exists } => drop_index(table, name, *if_exists),
        AlterAction::DropPrimaryKey => Ok(drop_primary_key(table)?),
        AlterAction::RenameIndex { from, to } => Ok(rename_index(table, from, to)?),
        AlterAction::IndexVisibility { name, invisible } => {
            let index = find_index(table, name)?;
            if index.primary && *invisible {
                return Err(DdlError::InvisiblePrimaryKey.into());
            }
            Ok(Found::index(index.id))
        }
        AlterAction::AddColumn {
            column,
            position,
            if_not_exists,
        } => add_column(table, column, position.as_ref(), *if_not_exists),
        AlterAction::DropColumn { name, if_exists } => drop_column(table, name, *if_exists),
        AlterAction::ModifyColumn {
            name,
            column,
            position,
        } => {
            let old = find_public(table, name, &table.name.original)?;
            check_free_column_name(table, old, &column.name)?;
            check_modify(table, old, column)?;
            check_position(table, name, position.as_ref())?;
            Ok(Found::column(old.id))
        }
        AlterAction::RenameColumn { from, to } => {
            let old = find_public(table, from, &table.name.original)?;
            check_free_column_name(table, old, to)?;
            Ok(Found::column(old.id))
        }
        AlterAction::SetDefault {
            column,
            default,
            is_expr,
        } => Ok(set_default(table, column, default.as_deref(), *is_expr)?),
        AlterAction::DropDefault { column } => {
            let column = find_public(table, column, &table.name.original)?;
            Ok(Found::column(column.id))
        }
        AlterAction::RenameTable(to) => {
            check_table_name(&to.table.original)?;
            Ok(Found::default())
        }
        AlterAction::Comment(_) | AlterAction::AutoIncrement(_) | AlterAction::Charset { .. } => {
            Ok(Found::default())
        }
    }
}

fn add_index(table: &TableInfo, spec: &IndexSpec) -> Result<Found, Refusal> {
    let named = spec.name.as_ref().filter(|_| !spec.primary);
    if let Some(name) = named.filter(|name| table.index(&name.original).is_some()) {
        let name = name.original.clone();
        return refuse(spec.if_not_exists, DdlError::DuplicateKeyName { name });
    }
    Ok(Found::default())
}

fn drop_index(table: &TableInfo, name: &Name, if_exists: bool) -> Result<Found, Refusal> {
    match table.index(&name.original) {
        Some(index) if table.is_clustered(index) => Err(clustered_key_stays().into()),
        Some(index) => Ok(Found::index(index.id)),
        None if table.pk_is_handle && name.lower == "primary" => Err(clustered_key_stays().into()),
        None => {
            let name = name.original.clone();
            refuse(if_exists, DdlError::CannotDrop { name })
        }
    }
}

fn drop_primary_key(table: &TableInfo) -> Result<Found> {
    match table.primary_index() {
        Some(index) if !table.is_clustered(index) => Ok(Found::index(index.id)),
        None if !table.pk_is_handle => Err(DdlError::CannotDrop {
            name: "PRIMARY".into(),
        }),
        _ => Err(clustered_key_stays()),
    }
}

fn clustered_key_stays() -> DdlError {
    DdlError::unsupported("drop of a clustered primary key")
}

fn rename_index(table: &TableInfo, from: &Name, to: &Name) -> Result<Found> {
    let id = find_index(table, from)?.id;
    let name = to.original.clone();
    check_name(&name, |name| DdlError::WrongIndexName { name })?;
    if to.lower == "primary" || from.lower == "primary" {
        return Err(DdlError::WrongIndexName { name });
    }
    if table.index(&name).is_some_and(|other| other.id != id) {
        return Err(DdlError::DuplicateKeyName { name });
    }
    Ok(Found::index(id))
}

fn add_column(
    table: &TableInfo,
    column: &ColumnInfo,
    position: Option<&ColumnPosition>,
    if_not_exists: bool,
) -> Result<Found, Refusal> {
    check_column(column)?;
    if column.field_type.flags.has(FieldFlags::AUTO_INCREMENT) {
        return Err(DdlError::unsupported("add column with AUTO_INCREMENT").into());
    }
    if table.column(&column.name.original).is_some() {
        let name = column.name.original.clone();
        return refuse(if_not_exists, DdlError::DuplicateColumn { name });
    }
    check_position(table, &column.name, position)?;
    Ok(Found::default())
}

fn drop_column(table: &TableInfo, name: &Name, if_exists: bool) -> Result<Found, Refusal> {
    let Some(column) = table.public_columns().find(|c| c.name.lower == name.lower) else {
        let name = name.original.clone();
        return refuse(if_exists, DdlError::CannotDrop { name });
    };
    let index_ids = indexes_of_dropped(table, column)?;
    if table.public_columns().count() == 1 {
        return Err(DdlError::CannotDropAllColumns.into());
    }
    Ok(Found {
        index_ids,
        ..Found::column(column.id)
    })
}

fn set_default(table: &TableInfo, column: &Name, default: Option<&str>, is_expr: bool) -> Result<Found> {
    let old = find_public(table, column, &table.name.original)?;
    if default.is_none() && old.field_type.is_not_null() {
        return Err(DdlError::InvalidDefault {
            column: column.original.clone(),
        });
    }
    check_default(&ColumnInfo {
        default: default.map(str::to_owned),
        default_is_expr: is_expr,
        ..old.clone()
    })?;
    Ok(Found::column(old.id))
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
