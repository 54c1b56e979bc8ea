//! All virtual tables, by name; and their rows, for the executor.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use async_trait::async_trait;
use ilmenite_error::{Error, Result};
use ilmenite_executor::{Row, VirtualFilter, VirtualRows};
use ilmenite_planner::{VirtualTable, virtual_schema};

use super::define::Table;
use super::{columns, constraints, ddl, empty, mysql, objects, server, variables};
use crate::context::SessionContext;

struct Registry {
    all: Vec<Arc<Table>>,
    /// By lower-cased schema and table.
    by_name: HashMap<(&'static str, String), Arc<Table>>,
}

static REGISTRY: LazyLock<Registry> = LazyLock::new(|| {
    let definitions = [
        objects::TABLES,
        super::tables::TABLES,
        columns::TABLES,
        constraints::TABLES,
        server::TABLES,
        variables::TABLES,
        mysql::TABLES,
        ddl::TABLES,
        empty::TABLES,
    ];
    let all: Vec<Arc<Table>> = definitions
        .into_iter()
        .flatten()
        .map(|definition| Arc::new(Table::new(definition)))
        .collect();
    let by_name = all
        .iter()
        .map(|table| ((table.schema(), table.name().to_lowercase()), table.clone()))
        .collect();
    Registry { all, by_name }
});

/// Every virtual table.
pub(crate) fn tables() -> &'static [Arc<Table>] {
    &REGISTRY.all
}

/// The virtual table of that name.
pub(crate) fn resolve(schema: &str, table: &str) -> Option<Arc<Table>> {
    let schema = virtual_schema(schema)?;
    REGISTRY.by_name.get(&(schema, table.to_lowercase())).cloned()
}

#[async_trait]
impl VirtualRows for SessionContext {
    async fn rows(&self, table: &dyn VirtualTable, filter: &VirtualFilter) -> Result<Vec<Row>> {
        let (schema, name) = (table.schema(), table.name());
        let found = resolve(schema, name).ok_or_else(|| Error::no_such_table(schema, name))?;
        found.rows(self, filter).await
    }
}
