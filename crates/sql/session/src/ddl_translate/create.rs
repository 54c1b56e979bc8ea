//! CREATE TABLE.

use ilmenite_catalog::{ColumnInfo, SchemaState, TableInfo};
use ilmenite_ddl::{CreateTable as NewTable, DdlStatement, IndexPart, IndexSpec};

use super::column::{ColumnContext, column_info};
use super::field_type::collation_said;
use super::index::{column_key, index_spec};
use super::{TranslateContext, check_engine};
use crate::context::Warnings;
use ilmenite_error::{Error, Result};
use ilmenite_parser::CreateTable;

pub(super) fn create_table(
    create: &CreateTable,
    ctx: &TranslateContext<'_>,
    warnings: &mut Warnings,
) -> Result<DdlStatement> {
    let target = ctx.target(&create.table)?;
    if create.temporary {
        return Err(Error::not_supported_yet("temporary tables"));
    }
    if let Some(like) = &create.like {
        return Ok(DdlStatement::CreateTableLike {
            table: target,
            like: ctx.target(like)?,
            if_not_exists: create.if_not_exists,
        });
    }
    refuse_unsupported(create)?;
    check_engine(&create.options, &create.table.name, warnings);
    let options = &create.options;
    let collation = collation_said(&options.charset, ctx.collation_of(&target.schema.original))?;
    let column_ctx = ColumnContext {
        collation,
        dates: ctx.dates,
    };
    let mut columns = Vec::with_capacity(create.columns.len());
    let mut indexes = Vec::new();
    let mut clustered = None;
    for (offset, def) in create.columns.iter().enumerate() {
        let mut column = column_info(def, &column_ctx)?;
        column.offset = offset;
        columns.push(column);
        if let Some((index, said)) = column_key(def) {
            clustered = clustered.or(said);
            indexes.push(index);
        }
    }
    if columns.is_empty() {
        return Err(Error::table_must_have_columns());
    }
    for index in &create.indexes {
        clustered = clustered.or(index.clustered);
        indexes.push(index_spec(index)?);
    }
    let primary: Vec<&IndexSpec> = indexes.iter().filter(|i| i.primary).collect();
    if primary.len() > 1 {
        return Err(Error::multiple_primary_key());
    }
    if ctx.require_primary_key && primary.is_empty() {
        return Err(Error::table_without_primary_key());
    }
    if let (None, Some(primary)) = (clustered, primary.first()) {
        clustered = clustered_by_default(ctx, primary, &columns);
    }
    let table = TableInfo {
        id: 0,
        name: target.table.clone(),
        charset: collation.charset().name.into(),
        collate: collation.name().into(),
        columns,
        indexes: Vec::new(),
        state: SchemaState::None,
        pk_is_handle: false,
        is_common_handle: false,
        common_handle_version: 0,
        comment: options.comment.clone().unwrap_or_default(),
        auto_inc_id: options
            .auto_increment
            .map_or(0, |n| i64::try_from(n).unwrap_or(i64::MAX)),
        max_col_id: 0,
        max_idx_id: 0,
        update_ts: 0,
        unknown: Default::default(),
    };
    Ok(DdlStatement::CreateTable(Box::new(NewTable {
        schema: target.schema,
        table,
        indexes,
        clustered,
        if_not_exists: create.if_not_exists,
    })))
}

fn refuse_unsupported(create: &CreateTable) -> Result<()> {
    if create.partitioned {
        return Err(Error::not_supported_yet("partitioned tables"));
    }
    if create.foreign_keys > 0 {
        return Err(Error::not_supported_yet("foreign keys"));
    }
    if create.checks > 0 {
        return Err(Error::not_supported_yet("CHECK constraints"));
    }
    Ok(())
}

/// What `tidb_enable_clustered_index` says of a primary key that does not say itself.
fn clustered_by_default(
    ctx: &TranslateContext<'_>,
    primary: &IndexSpec,
    columns: &[ColumnInfo],
) -> Option<bool> {
    let is_integer = |part: &IndexPart| {
        columns
            .iter()
            .any(|c| c.name.lower == part.column.lower && c.field_type.is_integer())
    };
    match ctx.clustered_index {
        "OFF" => Some(false),
        "INT_ONLY" => Some(matches!(&primary.columns[..], [only] if is_integer(only))),
        _ => None,
    }
}
