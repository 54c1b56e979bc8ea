//! Virtual tables: information_schema and its like, as columns and rows that queries read like any table.

use std::sync::Arc;

use async_trait::async_trait;
use ilmenite_codec::{Datum, FieldType};

use crate::context::SessionContext;
use crate::error::Result;
use crate::result::Row;

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
}

/// A table whose rows are made when asked for.
#[async_trait]
pub trait VirtualTable: Send + Sync {
    /// As the schema names it.
    fn name(&self) -> &'static str;
    fn columns(&self) -> &[VirtualColumn];
    /// All rows, or only those that `filter` admits. Each has a datum per column.
    async fn rows(&self, ctx: &SessionContext, filter: &VirtualFilter) -> Result<Vec<Row>>;
}

/// Schemas that hold virtual tables only.
pub const VIRTUAL_SCHEMAS: &[&str] = &["information_schema", "mysql", "performance_schema", "sys"];

pub fn is_virtual_schema(schema: &str) -> bool {
    VIRTUAL_SCHEMAS
        .iter()
        .any(|name| name.eq_ignore_ascii_case(schema))
}

/// The virtual table of that name.
pub fn resolve(schema: &str, _table: &str) -> Option<Arc<dyn VirtualTable>> {
    if !is_virtual_schema(schema) {
        return None;
    }
    None
}
