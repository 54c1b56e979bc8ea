//! The tables of a statement: found by name in one view of the schema, pinned for the transaction, and measured.

use std::ops::ControlFlow;
use std::sync::Arc;

use ilmenite_catalog::{Pinned, TableRef};
use ilmenite_error::{Error, Result};
use ilmenite_planner::{
    PlanContext, Privilege, TableUse, VirtualTable, same_name, split_name, virtual_schema,
};
use ilmenite_types::{Datum, FieldType};
use sqlparser::ast::{Expr, ObjectName, Statement, Visit, visit_relations};

use super::eval_context::variable_type;
use crate::context::SessionContext;
use crate::infoschema;

/// What a statement's names stand for.
#[derive(Debug, Default)]
pub(crate) struct StatementTables {
    tables: Vec<(String, String, TableUse)>,
}

fn names_in_statement(statement: &Statement, current: Option<&str>) -> Vec<(String, String)> {
    names_in(statement, current)
}

fn names_in_expr(expr: &Expr, current: Option<&str>) -> Vec<(String, String)> {
    names_in(expr, current)
}

/// Databases and tables, each once.
fn names_in(tree: &impl Visit, current: Option<&str>) -> Vec<(String, String)> {
    let mut names: Vec<(String, String)> = Vec::new();
    let _ = visit_relations(tree, |name: &ObjectName| {
        if let Ok((database, table)) = split_name(name)
            && let Some(database) = database.or(current)
            && !names
                .iter()
                .any(|(d, t)| same_name(d, database) && same_name(t, table))
        {
            names.push((database.to_owned(), table.to_owned()));
        }
        ControlFlow::<()>::Continue(())
    });
    names
}

/// How often a name is looked up again because the table changed meanwhile.
const RESOLVE_ATTEMPTS: usize = 8;

impl StatementTables {
    /// Every table `statement` names, pinned for the session's transaction. Names that are no tables (aliases, CTEs) are
    /// left alone: whether something is missing is found when it is bound.
    pub(super) async fn of(ctx: &SessionContext, statement: &Statement) -> Result<Self> {
        StatementTables::named(ctx, names_in_statement(statement, ctx.database.as_deref())).await
    }

    /// Those that an expression outside of a query names.
    pub(super) async fn of_expr(ctx: &SessionContext, expr: &Expr) -> Result<Self> {
        StatementTables::named(ctx, names_in_expr(expr, ctx.database.as_deref())).await
    }

    async fn named(ctx: &SessionContext, names: Vec<(String, String)>) -> Result<Self> {
        let mut tables = StatementTables::default();
        for (database, table) in names {
            tables.add(ctx, &database, &table).await?;
        }
        Ok(tables)
    }

    /// Pins one more table, if there is one of that name.
    pub(super) async fn add(&mut self, ctx: &SessionContext, database: &str, table: &str) -> Result<()> {
        if virtual_schema(database).is_some() {
            return Ok(());
        }
        for _ in 0..RESOLVE_ATTEMPTS {
            let view = ctx.engine.catalog.view();
            let Some(found) = view.table(database, table) else {
                return Ok(());
            };
            match ctx.txn.pin(&view, found.id)? {
                Pinned::As(info) => {
                    let rows = ctx.engine.row_counts.rows(&ctx.engine.store, info.id).await?;
                    let schema = view
                        .schema(database)
                        .map_or(database, |schema| schema.name.original.as_str());
                    let found = TableUse {
                        database: schema.into(),
                        info,
                        rows,
                    };
                    self.tables.push((database.to_owned(), table.to_owned(), found));
                    return Ok(());
                }
                Pinned::Changed => {}
            }
        }
        Err(Error::schema_changed())
    }

    /// The table of that name: 1049 or 1146 when there is none.
    pub(super) fn find(&self, database: &str, table: &str) -> Result<&TableUse> {
        self.tables
            .iter()
            .find(|(d, t, _)| same_name(d, database) && same_name(t, table))
            .map(|(.., found)| found)
            .ok_or_else(|| Error::no_such_table(database, table))
    }

    /// (database, name, table): what a cached plan was made for.
    pub(super) fn used(&self) -> impl Iterator<Item = (&str, &str, &TableRef)> {
        self.tables
            .iter()
            .map(|(database, name, found)| (database.as_str(), name.as_str(), &found.info))
    }
}

/// The session, as planning sees it.
pub(super) struct PlanView<'a> {
    pub ctx: &'a SessionContext,
    pub tables: &'a StatementTables,
}

impl PlanContext for PlanView<'_> {
    fn database(&self) -> Option<&str> {
        self.ctx.database.as_deref()
    }

    fn table(&self, database: &str, table: &str) -> Result<&TableUse> {
        self.tables.find(database, table)
    }

    fn virtual_table(&self, database: &str, table: &str) -> Option<Arc<dyn VirtualTable>> {
        infoschema::resolve(database, table).map(|table| table as Arc<dyn VirtualTable>)
    }

    fn check(&self, privilege: Privilege, database: &str, table: &str) -> Result<()> {
        self.ctx.check(privilege, database, table)
    }

    fn user(&self) -> (&str, &str) {
        (&self.ctx.user, &self.ctx.host)
    }

    fn user_variable(&self, name: &str) -> Option<&Datum> {
        self.ctx.user_vars.get(name)
    }

    fn system_variable_type(&self, name: &str) -> Result<FieldType> {
        variable_type(name)
    }
}
