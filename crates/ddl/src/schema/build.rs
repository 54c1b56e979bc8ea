//! CREATE TABLE: the whole of a table from its specification.

use ilmenite_catalog::{IndexInfo, Name, SchemaState, TableInfo};
use ilmenite_types::FieldFlags;

use super::column::{check_auto_increment, check_column, check_column_count};
use super::{build_index, check_table_name, recompute_key_flags};
use crate::error::{CommentedObject, DdlError, Result};
use crate::statement::CreateTable;

const MAX_TABLE_COMMENT_CHARS: usize = 2048;

/// Makes the table the statement describes, in state public, with id 0.
pub fn build_table(create: &CreateTable) -> Result<TableInfo> {
    let given = &create.table;
    check_table_name(&given.name.original)?;
    check_column_count(given.columns.len())?;
    if given.comment.chars().count() > MAX_TABLE_COMMENT_CHARS {
        let name = given.name.original.clone();
        return Err(DdlError::CommentTooLong {
            what: CommentedObject::Table,
            name,
            max: MAX_TABLE_COMMENT_CHARS,
        });
    }
    let mut table = TableInfo {
        id: 0,
        state: SchemaState::Public,
        ..given.clone()
    };
    table.indexes = Vec::with_capacity(create.indexes.len());
    table.pk_is_handle = false;
    table.is_common_handle = false;
    table.common_handle_version = 0;
    for offset in 0..table.columns.len() {
        let (earlier, rest) = table.columns.split_at_mut(offset);
        let column = &mut rest[0];
        if earlier.iter().any(|c| c.name.lower == column.name.lower) {
            return Err(DdlError::DuplicateColumn {
                name: column.name.original.clone(),
            });
        }
        check_column(column)?;
        column.id = offset as i64 + 1;
        column.offset = offset;
        column.state = SchemaState::Public;
        column.origin_default = None;
    }
    table.max_col_id = table.columns.len() as i64;
    // Parts of the primary key are NOT NULL whether that was said or not.
    if let Some(primary) = create.indexes.iter().find(|i| i.primary) {
        for part in &primary.columns {
            if let Some(column) = table
                .columns
                .iter_mut()
                .find(|c| c.name.lower == part.column.lower)
            {
                column.field_type.flags.set(FieldFlags::NOT_NULL, true);
            }
        }
    }
    // Named keys first, so that made-up names keep out of their way; the primary key before all, as SHOW lists it.
    let mut order: Vec<usize> = (0..create.indexes.len()).collect();
    order.sort_by_key(|&i| (!create.indexes[i].primary, create.indexes[i].name.is_none()));
    let mut built: Vec<(usize, IndexInfo)> = Vec::new();
    for position in order {
        let index = build_index(&table, &create.indexes[position], SchemaState::Public)?;
        table.indexes.push(index.clone());
        built.push((position, index));
    }
    built.sort_by_key(|(position, index)| (!index.primary, *position));
    table.indexes = built.into_iter().map(|(_, index)| index).collect();
    cluster(&mut table, create.clustered);
    for (i, index) in table.indexes.iter_mut().enumerate() {
        index.id = i as i64 + 1;
    }
    table.max_idx_id = table.indexes.len() as i64;
    recompute_key_flags(&mut table);
    check_auto_increment(&table)?;
    Ok(table)
}

/// Decides what the handle is: an integer primary key itself, the encoded primary key, or a hidden row id.
fn cluster(table: &mut TableInfo, clustered: Option<bool>) {
    let Some(at) = table.indexes.iter().position(|i| i.primary) else {
        return;
    };
    if clustered == Some(false) {
        return;
    }
    if let [only] = &table.indexes[at].columns[..] {
        let offset = only.offset;
        if table.columns[offset].field_type.is_integer() {
            // As in TiDB: such a key is no index of its own.
            table.indexes.remove(at);
            table.pk_is_handle = true;
            table.columns[offset]
                .field_type
                .flags
                .set(FieldFlags::PRI_KEY, true);
            return;
        }
    }
    table.is_common_handle = true;
    table.common_handle_version = 1;
}

/// CREATE TABLE … LIKE: the same columns and public keys, none of the rows, nothing of what is being changed just now.
pub fn copy_table(like: &TableInfo, name: &Name) -> Result<TableInfo> {
    check_table_name(&name.original)?;
    let mut table = like.clone();
    table.id = 0;
    table.name = name.clone();
    table.state = SchemaState::Public;
    table.auto_inc_id = 0;
    table.indexes.retain(|i| i.state == SchemaState::Public);
    // Non-public columns stand last, so no offset changes when they go.
    table.columns.retain(|c| c.state == SchemaState::Public);
    for column in &mut table.columns {
        column.origin_default = None;
    }
    recompute_key_flags(&mut table);
    Ok(table)
}
