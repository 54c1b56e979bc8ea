//! A table's columns by name, and the values assigned to them.

use ilmenite_types::FieldFlags;
use sqlparser::ast::{AssignmentTarget, Expr as Ast, ObjectName};

use super::plan::AssignmentPlan;
use crate::binder::{Binder, IndexHints, Source, SourceKind, same_name};
use crate::context::{PlanEnv, TableUse, virtual_schema};
use crate::defaults::{default_expr, now};
use crate::names::Clause;
use crate::{Privilege, Slot};
use ilmenite_error::{Error, Result};
use ilmenite_expr::Expr;

/// The table rows go into, with what one may do there.
pub(super) fn target<'e>(
    env: &'e PlanEnv<'_>,
    database: &str,
    table: &str,
    privileges: &[Privilege],
) -> Result<&'e TableUse> {
    for privilege in privileges {
        env.context.check(*privilege, database, table)?;
    }
    if virtual_schema(database).is_some() {
        let (user, host) = env.context.user();
        return Err(Error::table_access_denied("INSERT", user, host, table));
    }
    env.context.table(database, table)
}

pub(super) fn find_column(table: &TableUse, name: &str) -> Result<usize> {
    table
        .info
        .public_columns()
        .position(|column| same_name(&column.name.original, name))
        .ok_or_else(|| Error::unknown_column(name, Clause::Fields.as_str()))
}

/// The last part of a column's name, after checking that what is before it names the table.
pub(super) fn own_column(table: &TableUse, alias: &str, name: &ObjectName) -> Result<usize> {
    let parts: Vec<&str> = name
        .0
        .iter()
        .filter_map(|part| part.as_ident().map(|i| i.value.as_str()))
        .collect();
    match &parts[..] {
        [column] => find_column(table, column),
        [owner, column] | [_, owner, column]
            if same_name(owner, alias) || same_name(owner, &table.info.name.original) =>
        {
            find_column(table, column)
        }
        _ => Err(Error::unknown_column(name, Clause::Fields.as_str())),
    }
}

pub(super) fn assignment_column(target: &AssignmentTarget) -> Result<&ObjectName> {
    match target {
        AssignmentTarget::ColumnName(name) => Ok(name),
        AssignmentTarget::Tuple(_) => Err(Error::syntax("'('")),
    }
}

/// `DEFAULT` alone, as a value.
fn is_default(ast: &Ast) -> bool {
    matches!(ast, Ast::Identifier(ident) if ident.quote_style.is_none() && ident.value.eq_ignore_ascii_case("default"))
}

/// A block whose slots are the columns of the row being made.
pub(super) fn row_block(binder: &mut Binder<'_>, table: &TableUse, alias: &str) -> Result<usize> {
    let level = binder.open_block(None);
    let public = table.info.public_columns().count();
    binder.add_source(level, own_source(table, alias, SourceKind::Table(table.clone())))?;
    for column in 0..public {
        binder.blocks[level].slot(0, column);
    }
    Ok(level)
}

/// The table itself as the only source there is.
pub(super) fn own_source(table: &TableUse, alias: &str, kind: SourceKind) -> Source {
    Source {
        alias: alias.to_owned(),
        database: Some(table.database.to_string()),
        slots: vec![None; table.info.public_columns().count()],
        kind,
        key_slot: None,
        raw_slot: None,
        hints: IndexHints::default(),
    }
}

/// The value assigned to a column; `None` for DEFAULT.
pub(super) fn value(
    binder: &mut Binder<'_>,
    level: usize,
    table: &TableUse,
    column: usize,
    ast: &Ast,
) -> Result<Option<Expr>> {
    if is_default(ast) {
        return Ok(None);
    }
    let expr = binder.expr(level, Clause::Fields, ast)?;
    Ok(Some(expr.into_assignment(&table.info.columns[column].field_type)))
}

/// The value assigned to a column, DEFAULT too.
pub(super) fn value_or_default(
    binder: &mut Binder<'_>,
    level: usize,
    table: &TableUse,
    column: usize,
    ast: &Ast,
) -> Result<Expr> {
    match value(binder, level, table, column, ast)? {
        Some(value) => Ok(value),
        None => default_expr(binder.env, &table.info.columns[column]),
    }
}

/// ON UPDATE CURRENT_TIMESTAMP of columns that are not assigned.
pub(super) fn add_on_update(
    env: &PlanEnv<'_>,
    table: &TableUse,
    target: usize,
    assignments: &mut Vec<AssignmentPlan>,
    slot: impl Fn(usize) -> Option<Slot>,
) -> Result<()> {
    for (at, column) in table.info.public_columns().enumerate() {
        let assigned = assignments.iter().any(|a| a.target == target && a.column == at);
        if column.field_type.flags.has(FieldFlags::ON_UPDATE_NOW) && !assigned {
            let value = now(env, &column.field_type)?;
            assignments.push(AssignmentPlan {
                target,
                column: at,
                slot: slot(at),
                value,
                automatic: true,
            });
        }
    }
    Ok(())
}
