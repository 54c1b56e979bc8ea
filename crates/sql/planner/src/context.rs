//! What planning may ask of the world around it: tables, rights, variables, the current database. Nothing of it waits, and
//! the answers stay the same while one statement is planned.

use std::cell::RefCell;
use std::sync::Arc;

use ilmenite_catalog::{IndexInfo, TableRef};
use ilmenite_error::{Error, Result};
use ilmenite_expr::{BuildOptions, EvalContext};
use ilmenite_store::Timestamp;
use ilmenite_types::{Datum, FieldType};

use crate::privilege::Privilege;

/// The session, as planning sees it.
pub trait PlanContext {
    fn database(&self) -> Option<&str>;

    /// 1049 or 1146 when there is none of that name.
    fn table(&self, database: &str, table: &str) -> Result<&TableUse>;

    /// The virtual table of that name (information_schema and its like).
    fn virtual_table(&self, database: &str, table: &str) -> Option<Arc<dyn VirtualTable>>;

    /// May the user do this? `table` empty: to the database as a whole.
    fn check(&self, privilege: Privilege, database: &str, table: &str) -> Result<()>;

    /// User and host, as messages name them.
    fn user(&self) -> (&str, &str);

    fn user_variable(&self, name: &str) -> Option<&Datum>;

    /// 1193 when there is none of that name.
    fn system_variable_type(&self, name: &str) -> Result<FieldType>;
}

/// A table as a statement goes by it.
#[derive(Debug, Clone)]
pub struct TableUse {
    pub database: Arc<str>,
    pub info: TableRef,
    /// About so many rows.
    pub rows: f64,
}

/// A column of a virtual table.
#[derive(Debug, Clone, PartialEq)]
pub struct VirtualColumn {
    pub name: &'static str,
    pub field_type: FieldType,
}

/// A table whose rows are made when asked for; who makes them is the executor's business.
pub trait VirtualTable: Send + Sync {
    /// The schema it is in.
    fn schema(&self) -> &'static str;
    /// As the schema names it.
    fn name(&self) -> &'static str;
    fn columns(&self) -> &[VirtualColumn];
}

impl std::fmt::Debug for dyn VirtualTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

const VIRTUAL_SCHEMAS: &[&str] = &["information_schema", "mysql", "performance_schema", "sys"];

/// The schema of virtual tables of that name, as it is written.
pub fn virtual_schema(name: &str) -> Option<&'static str> {
    VIRTUAL_SCHEMAS
        .iter()
        .copied()
        .find(|schema| schema.eq_ignore_ascii_case(name))
}

/// The variables a statement names.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct UsedVariables {
    /// Any user variable.
    pub user: bool,
    /// Lower case; whether the global value is meant.
    pub system: Vec<(String, bool)>,
}

impl UsedVariables {
    pub fn any(&self) -> bool {
        self.user || !self.system.is_empty()
    }
}

/// How planning is asked for.
#[derive(Debug, Clone, Copy, Default)]
pub struct PlanMode {
    /// Only describe: `?` have no values yet.
    pub describing: bool,
    /// The plan is used again with other values: those of now decide nothing.
    pub keep: bool,
}

/// One statement's planning: where it looks things up, and what it met.
pub struct PlanEnv<'a> {
    pub(crate) context: &'a dyn PlanContext,
    pub(crate) options: BuildOptions,
    /// For constants that planning wants to know, and the values of `?`.
    pub(crate) eval: EvalContext,
    /// What the statement reads at: indexes younger than that cannot be read.
    pub(crate) read_ts: Timestamp,
    pub(crate) mode: PlanMode,
    /// Variables met while binding.
    pub(crate) variables: RefCell<UsedVariables>,
}

impl<'a> PlanEnv<'a> {
    pub fn new(
        context: &'a dyn PlanContext,
        options: BuildOptions,
        eval: EvalContext,
        read_ts: Timestamp,
        mode: PlanMode,
    ) -> Self {
        PlanEnv {
            context,
            options,
            eval,
            read_ts,
            mode,
            variables: RefCell::default(),
        }
    }

    /// The current database, or 1046.
    pub(crate) fn current_database(&self) -> Result<&str> {
        self.context.database().ok_or_else(Error::no_database_selected)
    }

    /// May the statement's snapshot be read through the index? One that was built later lacks what the snapshot has.
    pub(crate) fn may_read(&self, index: &IndexInfo) -> bool {
        index.readable_since <= self.read_ts.0
    }
}
