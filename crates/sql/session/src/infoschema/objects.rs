//! What schemas and tables there are, stored and virtual, for the eyes of one user; SCHEMATA.

use std::collections::BTreeMap;
use std::sync::Arc;

use ilmenite_catalog::{ColumnInfo, Name, SchemaRef, SchemaState, SchemaView, TableInfo, TableRef};
use ilmenite_planner::virtual_schema;
use ilmenite_types::{Datum, FieldFlags};

use super::define::{COLLATION, Definition, Source};
use super::registry::{resolve, tables};
use crate::context::SessionContext;
use ilmenite_error::{Error, Result};
use ilmenite_executor::Row;
use ilmenite_executor::VirtualFilter;
use ilmenite_parser::TableName;
use ilmenite_planner::VirtualTable;

pub(super) const TABLES: &[Definition] = &[Definition {
    schema: "information_schema",
    name: "SCHEMATA",
    columns: "
        CATALOG_NAME varchar(64) not null
        SCHEMA_NAME varchar(64) not null
        DEFAULT_CHARACTER_SET_NAME varchar(64) not null
        DEFAULT_COLLATION_NAME varchar(64) not null
        SQL_PATH binary(0)
        DEFAULT_ENCRYPTION enum('NO','YES') not null",
    source: Source::Memory(schemata),
}];

/// A table, wherever its rows are.
#[derive(Clone)]
pub(crate) enum TableLike {
    Stored(SchemaRef, TableRef),
    Virtual(Arc<dyn VirtualTable>),
}

impl TableLike {
    pub(crate) fn schema(&self) -> &str {
        match self {
            TableLike::Stored(schema, _) => &schema.name.original,
            TableLike::Virtual(table) => table.schema(),
        }
    }

    pub(crate) fn name(&self) -> &str {
        match self {
            TableLike::Stored(_, table) => &table.name.original,
            TableLike::Virtual(table) => table.name(),
        }
    }

    /// As TABLE_TYPE names it.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            TableLike::Virtual(table) if table.schema() == "information_schema" => "SYSTEM VIEW",
            _ => "BASE TABLE",
        }
    }

    /// Its definition; of a virtual table, one made of its columns.
    pub(crate) fn info(&self) -> TableRef {
        match self {
            TableLike::Stored(_, table) => table.clone(),
            TableLike::Virtual(table) => Arc::new(virtual_info(table.as_ref())),
        }
    }
}

fn virtual_info(table: &dyn VirtualTable) -> TableInfo {
    let columns = table.columns().iter().enumerate().map(|(offset, column)| {
        let mut field_type = column.field_type.clone();
        let not_null = field_type.is_not_null();
        field_type.flags.set(FieldFlags::NO_DEFAULT_VALUE, not_null);
        ColumnInfo {
            id: offset as i64 + 1,
            name: Name::new(column.name),
            offset,
            field_type,
            state: SchemaState::Public,
            default: None,
            default_is_expr: false,
            origin_default: None,
            comment: String::new(),
            unknown: Default::default(),
        }
    });
    let columns: Vec<ColumnInfo> = columns.collect();
    TableInfo {
        id: 0,
        name: Name::new(table.name()),
        charset: "utf8mb4".into(),
        collate: COLLATION.name().into(),
        max_col_id: columns.len() as i64,
        columns,
        indexes: Vec::new(),
        state: SchemaState::Public,
        pk_is_handle: false,
        is_common_handle: false,
        common_handle_version: 0,
        comment: String::new(),
        auto_inc_id: 0,
        max_idx_id: 0,
        update_ts: 0,
        unknown: Default::default(),
    }
}

pub(crate) struct SchemaEntry {
    pub name: String,
    pub charset: String,
    pub collate: String,
}

/// Schemas that anybody may look at; those of `mysql` need a grant.
fn is_open(schema: &str) -> bool {
    virtual_schema(schema).is_some() && !schema.eq_ignore_ascii_case("mysql")
}

/// The schemas the user may see, by name; `column` is the filter's name for theirs.
pub(super) fn schema_entries(ctx: &SessionContext, filter: &VirtualFilter, column: &str) -> Vec<SchemaEntry> {
    let view = ctx.engine.catalog.view();
    let mut found: BTreeMap<String, SchemaEntry> = tables()
        .iter()
        .map(|table| SchemaEntry {
            name: table.schema().into(),
            charset: "utf8mb4".into(),
            collate: COLLATION.name().into(),
        })
        .map(|entry| (entry.name.clone(), entry))
        .collect();
    for schema in view.schemas() {
        let entry = SchemaEntry {
            name: schema.name.original.clone(),
            charset: schema.charset.clone(),
            collate: schema.collate.clone(),
        };
        found.insert(schema.name.lower.clone(), entry);
    }
    let grants = &ctx.privileges.grants;
    found
        .into_values()
        .filter(|entry| filter.admits(column, &entry.name))
        .filter(|entry| is_open(&entry.name) || grants.sees_database(&entry.name))
        .collect()
}

/// The tables the user may see, by schema and name; the columns are the filter's names for theirs.
pub(crate) fn table_entries(
    ctx: &SessionContext,
    filter: &VirtualFilter,
    schema_column: &str,
    table_column: &str,
) -> Vec<TableLike> {
    let view = ctx.engine.catalog.view();
    if let (Some(schema), Some(table)) = (filter.only(schema_column), filter.only(table_column)) {
        let (schema, table) = (schema.trim_end(), table.trim_end());
        let found = lookup(&view, schema, table).filter(|found| is_visible(ctx, found));
        return found.into_iter().collect();
    }
    let mut found: BTreeMap<(String, String), TableLike> = BTreeMap::new();
    for schema in view.schemas() {
        if !filter.admits(schema_column, &schema.name.original) {
            continue;
        }
        for table in view.tables(&schema.name.lower) {
            if filter.admits(table_column, &table.name.original) {
                let key = (schema.name.lower.clone(), table.name.lower.clone());
                found.insert(key, TableLike::Stored(schema.clone(), table.clone()));
            }
        }
    }
    for table in tables() {
        if filter.admits(schema_column, table.schema()) && filter.admits(table_column, table.name()) {
            let key = (table.schema().to_string(), table.name().to_lowercase());
            found
                .entry(key)
                .or_insert_with(|| TableLike::Virtual(table.clone()));
        }
    }
    found.retain(|_, table| is_visible(ctx, table));
    found.into_values().collect()
}

/// The stored ones of `table_entries`.
pub(super) fn stored_tables(ctx: &SessionContext, filter: &VirtualFilter) -> Vec<(SchemaRef, TableRef)> {
    table_entries(ctx, filter, "TABLE_SCHEMA", "TABLE_NAME")
        .into_iter()
        .filter_map(|table| match table {
            TableLike::Stored(schema, table) => Some((schema, table)),
            TableLike::Virtual(_) => None,
        })
        .collect()
}

fn lookup(view: &SchemaView, schema: &str, table: &str) -> Option<TableLike> {
    if let (Some(schema), Some(table)) = (view.schema(schema), view.table(schema, table)) {
        return Some(TableLike::Stored(schema.clone(), table.clone()));
    }
    resolve(schema, table).map(|table| TableLike::Virtual(table))
}

fn is_visible(ctx: &SessionContext, table: &TableLike) -> bool {
    is_open(table.schema()) || ctx.privileges.grants.sees_table(table.schema(), table.name())
}

/// The table a SHOW names: 1046, 1142, 1049 or 1146 when there is none to show.
pub(crate) fn find_table(ctx: &SessionContext, name: &TableName) -> Result<TableLike> {
    let schema = match &name.database {
        Some(database) => database.as_str(),
        None => ctx.current_database()?,
    };
    let visible = is_open(schema) || ctx.privileges.grants.sees_table(schema, &name.name);
    if !visible {
        let user = &ctx.privileges;
        return Err(Error::table_access_denied(
            "SELECT", &user.user, &user.host, &name.name,
        ));
    }
    let view = ctx.engine.catalog.view();
    match lookup(&view, schema, &name.name) {
        Some(found) => Ok(found),
        None if view.schema(schema).is_none() && virtual_schema(schema).is_none() => {
            Err(Error::unknown_database(schema))
        }
        None => Err(Error::no_such_table(schema, &name.name)),
    }
}

fn schemata(ctx: &SessionContext, filter: &VirtualFilter) -> Result<Vec<Row>> {
    let entries = schema_entries(ctx, filter, "SCHEMA_NAME").into_iter();
    let rows = entries.map(|entry| {
        vec![
            Datum::text("def"),
            Datum::text(entry.name),
            Datum::text(entry.charset),
            Datum::text(entry.collate),
            Datum::Null,
            Datum::text("NO"),
        ]
    });
    Ok(rows.collect())
}
