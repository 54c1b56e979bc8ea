//! Virtual tables: information_schema and its like, as columns and rows that queries read like any table.
//!
//! `define` turns a list of names and types into a table; the other modules are the tables, by topic.

mod columns;
mod constraints;
mod ddl;
mod define;
mod empty;
mod keys;
mod keywords;
mod mysql;
mod objects;
mod server;
mod tables;
#[cfg(test)]
mod tests;
mod types;
mod variables;

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use async_trait::async_trait;
use ilmenite_codec::{Datum, FieldType};

use crate::context::SessionContext;
use crate::error::Result;
use crate::result::Row;

pub(crate) use columns::default_text;
pub(crate) use define::column_type;
pub(crate) use keys::{Key, keys};
pub(crate) use objects::{TableLike, find_table, table_entries};
pub(crate) use server::{PRIVILEGES, grantee};
pub(crate) use tables::auto_increment;
pub(crate) use types::{identifier, quoted};
pub use types::{type_name, type_text};

/// A column of a virtual table.
#[derive(Debug, Clone, PartialEq)]
pub struct VirtualColumn {
    pub name: &'static str,
    pub field_type: FieldType,
}

/// What the query asks of the table, for tables that can make fewer rows by it. Rows that do not fit may still come:
/// the query filters again.
#[derive(Debug, Clone, Default)]
pub struct VirtualFilter {
    /// Lower-cased column name, and the values it may have (`=` and `IN` with constants).
    pub equals: Vec<(String, Vec<Datum>)>,
}

impl VirtualFilter {
    /// The rows whose `column` is this text.
    pub fn equal(column: &str, value: &str) -> Self {
        VirtualFilter::default().and(column, value)
    }

    pub fn and(mut self, column: &str, value: &str) -> Self {
        self.equals
            .push((column.to_lowercase(), vec![Datum::text(value)]));
        self
    }

    /// May a row with this text in `column` pass? Case-insensitive, so never stricter than the query's own filter.
    pub fn admits(&self, column: &str, value: &str) -> bool {
        self.equals
            .iter()
            .filter(|(name, _)| name.eq_ignore_ascii_case(column))
            .all(|(_, values)| {
                values.iter().any(|datum| match datum {
                    Datum::Bytes(bytes) => String::from_utf8_lossy(bytes)
                        .to_lowercase()
                        .trim_end()
                        .eq(value.to_lowercase().trim_end()),
                    // Compared as numbers or otherwise: left to the query.
                    _ => true,
                })
            })
    }

    /// The one text that `column` may have, when the query names exactly one.
    pub fn only(&self, column: &str) -> Option<String> {
        let (_, values) = self
            .equals
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(column))?;
        match &values[..] {
            [Datum::Bytes(bytes)] => String::from_utf8(bytes.to_vec()).ok(),
            _ => None,
        }
    }
}

/// A table whose rows are made when asked for.
#[async_trait]
pub trait VirtualTable: Send + Sync {
    /// The schema it is in.
    fn schema(&self) -> &'static str;
    /// As the schema names it.
    fn name(&self) -> &'static str;
    fn columns(&self) -> &[VirtualColumn];
    /// All rows, or only those that `filter` admits. Each has a datum per column.
    async fn rows(&self, ctx: &SessionContext, filter: &VirtualFilter) -> Result<Vec<Row>>;
}

/// Schemas that hold virtual tables.
pub const VIRTUAL_SCHEMAS: &[&str] = &["information_schema", "mysql", "performance_schema", "sys"];

pub fn is_virtual_schema(schema: &str) -> bool {
    VIRTUAL_SCHEMAS
        .iter()
        .any(|name| name.eq_ignore_ascii_case(schema))
}

struct Registry {
    all: Vec<Arc<dyn VirtualTable>>,
    /// By lower-cased schema and table.
    by_name: HashMap<(&'static str, String), Arc<dyn VirtualTable>>,
}

static REGISTRY: LazyLock<Registry> = LazyLock::new(|| {
    let definitions = [
        objects::TABLES,
        tables::TABLES,
        columns::TABLES,
        constraints::TABLES,
        server::TABLES,
        variables::TABLES,
        mysql::TABLES,
        ddl::TABLES,
        empty::TABLES,
    ];
    let all: Vec<Arc<dyn VirtualTable>> = definitions
        .into_iter()
        .flatten()
        .map(|definition| Arc::new(define::Table::new(definition)) as Arc<dyn VirtualTable>)
        .collect();
    let by_name = all
        .iter()
        .map(|table| ((table.schema(), table.name().to_lowercase()), table.clone()))
        .collect();
    Registry { all, by_name }
});

/// Every virtual table.
pub fn tables() -> &'static [Arc<dyn VirtualTable>] {
    &REGISTRY.all
}

/// The virtual table of that name.
pub fn resolve(schema: &str, table: &str) -> Option<Arc<dyn VirtualTable>> {
    let schema = VIRTUAL_SCHEMAS
        .iter()
        .find(|name| name.eq_ignore_ascii_case(schema))?;
    REGISTRY.by_name.get(&(*schema, table.to_lowercase())).cloned()
}
