//! Schema changes as pure functions on `TableInfo`: what a statement's names mean, whether it is allowed, and what the
//! table looks like in each state. No I/O: the worker reads, calls, and writes.

mod alter;
mod build;
mod column;
mod index;
mod publish;
mod resolve;
mod subjob;

pub use alter::{begin_alter, drop_step, rollback_alter, rollback_step};
pub use build::{build_table, copy_table};
pub use index::{build_index, recompute_key_flags};
pub use publish::publish_alter;
pub use subjob::SubJob;

use ilmenite_catalog::{ColumnId, TableInfo};

use crate::error::{DdlError, Result};

pub const MAX_NAME_CHARS: usize = 64;
pub const MAX_COLUMNS: usize = 1017;
pub const MAX_KEYS: usize = 64;
pub const MAX_KEY_PARTS: usize = 16;
pub const MAX_KEY_BYTES: usize = 3072;

pub(crate) fn check_name(name: &str, wrong: impl FnOnce(String) -> DdlError) -> Result<()> {
    if name.is_empty() || name.ends_with(' ') || name.contains('\0') {
        return Err(wrong(name.to_owned()));
    }
    if name.chars().count() > MAX_NAME_CHARS {
        return Err(DdlError::NameTooLong {
            name: name.to_owned(),
        });
    }
    Ok(())
}

pub(crate) fn check_database_name(name: &str) -> Result<()> {
    check_name(name, |name| DdlError::WrongDatabaseName { name })
}

pub(crate) fn check_table_name(name: &str) -> Result<()> {
    check_name(name, |name| DdlError::WrongTableName { name })
}

/// Changes the order or number of columns, and keeps offsets, in columns and in index parts, pointing at the same
/// columns: by id, since two columns may bear one name while one is dropped and the other added.
pub(crate) fn reorder_columns(table: &mut TableInfo, change: impl FnOnce(&mut TableInfo)) -> Result<()> {
    let before: Vec<ColumnId> = table.columns.iter().map(|c| c.id).collect();
    change(table);
    for (offset, column) in table.columns.iter_mut().enumerate() {
        column.offset = offset;
    }
    let TableInfo { columns, indexes, .. } = table;
    for index in indexes {
        for part in &mut index.columns {
            let id = before.get(part.offset).copied();
            let column = columns.iter().find(|c| Some(c.id) == id).ok_or_else(|| {
                DdlError::bug(format!(
                    "index {} names a column that is gone: {}",
                    index.name, part.name
                ))
            })?;
            part.offset = column.offset;
            part.name = column.name.clone();
        }
    }
    Ok(())
}
