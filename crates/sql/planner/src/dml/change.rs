//! UPDATE and DELETE: which rows of which tables, and what becomes of them.

use ilmenite_types::{FieldType, TypeCode};
use sqlparser::ast::{
    Delete, Expr as Ast, FromTable, ObjectName, OrderByExpr, SqliteOnConflict, TableFactor, TableWithJoins,
    Update,
};

use super::plan::{AssignmentPlan, DeletePlan, TargetTable, UpdatePlan};
use super::row::{add_on_update, assignment_column, value_or_default};
use crate::binder::{Binder, same_name};
use crate::condition::split_and;
use crate::context::PlanEnv;
use crate::from::FromTree;
use crate::names::Clause;
use crate::ops::{limited, project, sort, sort_key};
use crate::query::descending;
use crate::{Limit, Node, Privilege};
use ilmenite_error::{Error, Result};
use ilmenite_expr::Expr;

/// FROM of an UPDATE or DELETE; what may be done to its tables is checked by `make_target` and `check_reads`.
fn bind_targets(binder: &mut Binder<'_>, level: usize, from: &[TableWithJoins]) -> Result<FromTree> {
    binder.changing = Some(level);
    binder.bind_from(level, from)?.ok_or_else(|| Error::syntax("''"))
}

fn make_target(
    binder: &mut Binder<'_>,
    level: usize,
    source: usize,
    privilege: Privilege,
) -> Result<TargetTable> {
    let block = &mut binder.blocks[level];
    let Some(table) = block.sources[source].table().cloned() else {
        return Err(Error::non_updatable_table(
            &block.sources[source].alias,
            privilege.as_str(),
        ));
    };
    let target = TargetTable {
        key_slot: block.key_slot(source),
        raw_slot: block.raw_slot(source),
        table,
    };
    binder.env.context.check(
        privilege,
        &target.table.database,
        &target.table.info.name.original,
    )?;
    Ok(target)
}

/// SELECT takes whatever is read: tables that are no `targets`, and those of which a column is used.
fn check_reads(binder: &Binder<'_>, level: usize, targets: &[usize]) -> Result<()> {
    for (at, source) in binder.blocks[level].sources.iter().enumerate() {
        let is_read = !targets.contains(&at) || source.slots.iter().any(Option::is_some);
        if let (true, Some(table)) = (is_read, source.table()) {
            binder
                .env
                .context
                .check(Privilege::Select, &table.database, &table.info.name.original)?;
        }
    }
    Ok(())
}

/// Rows of FROM with WHERE, ORDER BY and LIMIT.
fn target_rows(
    binder: &mut Binder<'_>,
    level: usize,
    tree: FromTree,
    selection: Option<&Ast>,
    order_by: &[OrderByExpr],
    limit: Option<&Ast>,
) -> Result<Node> {
    let mut conditions = Vec::new();
    if let Some(selection) = selection {
        let condition = binder.expr(level, Clause::Where, selection)?;
        split_and(condition, &mut conditions);
    }
    let order: Vec<(Expr, bool)> = order_by
        .iter()
        .map(|item| Ok((binder.expr(level, Clause::OrderBy, &item.expr)?, descending(item))))
        .collect::<Result<_>>()?;
    let limit: Option<Limit> = binder.limit(limit, None)?;
    let pushed = limit
        .as_ref()
        .and_then(|limit| limit.known_rows)
        .filter(|_| order.is_empty());
    let joined = binder.plan_from(level, tree, conditions, &[], pushed)?;
    let mut node = joined.node;
    if !order.is_empty() {
        let width = binder.blocks[level].width;
        let mut exprs: Vec<Expr> = (0..width)
            .map(|slot| Expr::column(slot, FieldType::new(TypeCode::Null), ""))
            .collect();
        let keys = order
            .into_iter()
            .map(|(expr, descending)| sort_key(&mut exprs, expr, descending))
            .collect();
        node = sort(project(node, exprs), keys, limit.clone());
    }
    if let Some(limit) = limit {
        node = limited(node, limit);
    }
    Ok(node)
}

/// Of several tables there is no order, nor a first few rows.
fn refuse_order_and_limit(statement: &str, order_by: &[OrderByExpr], limit: Option<&Ast>) -> Result<()> {
    match (limit, order_by) {
        (Some(_), _) => Err(Error::wrong_usage(statement, "LIMIT")),
        (None, [_, ..]) => Err(Error::wrong_usage(statement, "ORDER BY")),
        (None, []) => Ok(()),
    }
}

pub(crate) fn bind_update(env: &PlanEnv<'_>, update: &Update) -> Result<UpdatePlan> {
    if update.from.is_some() || update.returning.is_some() {
        return Err(Error::syntax("'FROM'"));
    }
    let mut binder = Binder::new(env);
    let level = binder.open_block(None);
    let tree = bind_targets(&mut binder, level, std::slice::from_ref(&update.table))?;
    let multiple = binder.blocks[level].sources.len() > 1;
    if multiple {
        refuse_order_and_limit("UPDATE", &update.order_by, update.limit.as_ref())?;
    }
    let mut sources: Vec<usize> = Vec::new();
    let mut assignments = Vec::with_capacity(update.assignments.len());
    for assignment in &update.assignments {
        let name = assignment_column(&assignment.target)?;
        let (source, column) = binder.assigned_column(level, name)?;
        let target = sources
            .iter()
            .position(|known| *known == source)
            .unwrap_or_else(|| {
                sources.push(source);
                sources.len() - 1
            });
        let Some(table) = binder.blocks[level].sources[source].table().cloned() else {
            return Err(Error::non_updatable_table(name, "UPDATE"));
        };
        let value = value_or_default(&mut binder, level, &table, column, &assignment.value)?;
        assignments.push(AssignmentPlan {
            target,
            column,
            slot: None,
            value,
            automatic: false,
        });
    }
    let mut targets = Vec::with_capacity(sources.len());
    for (at, source) in sources.iter().enumerate() {
        let target = make_target(&mut binder, level, *source, Privilege::Update)?;
        add_on_update(env, &target.table, at, &mut assignments, |_| None)?;
        targets.push(target);
    }
    let rows = target_rows(
        &mut binder,
        level,
        tree,
        update.selection.as_ref(),
        &update.order_by,
        update.limit.as_ref(),
    )?;
    check_reads(&binder, level, &sources)?;
    for assignment in &mut assignments {
        assignment.slot = binder.blocks[level].sources[sources[assignment.target]].slots[assignment.column];
    }
    binder.close_block()?;
    let ignore = matches!(update.or, Some(SqliteOnConflict::Ignore));
    Ok(UpdatePlan {
        rows,
        targets,
        assignments,
        ignore,
        subqueries: binder.finish()?,
    })
}

impl Binder<'_> {
    /// The column an UPDATE assigns to.
    fn assigned_column(&mut self, level: usize, name: &ObjectName) -> Result<(usize, usize)> {
        let parts: Vec<&str> = name
            .0
            .iter()
            .filter_map(|part| part.as_ident().map(|i| i.value.as_str()))
            .collect();
        let (schema, table, column) = match &parts[..] {
            [column] => (None, None, *column),
            [table, column] => (None, Some(*table), *column),
            [schema, table, column] => (Some(*schema), Some(*table), *column),
            _ => return Err(Error::syntax(format!("'{name}'"))),
        };
        let name = ilmenite_expr::ColumnName {
            schema,
            table,
            column,
        };
        self.find_in_block(level, &name, Clause::Fields)?
            .ok_or_else(|| Error::unknown_column(name, Clause::Fields.as_str()))
    }
}

pub(crate) fn bind_delete(env: &PlanEnv<'_>, delete: &Delete) -> Result<DeletePlan> {
    if delete.returning.is_some() {
        return Err(Error::not_supported_yet("RETURNING"));
    }
    let listed = match &delete.from {
        FromTable::WithFromKeyword(list) | FromTable::WithoutKeyword(list) => list,
    };
    let mut binder = Binder::new(env);
    let level = binder.open_block(None);
    let (tree, names): (FromTree, Vec<ObjectName>) = if let Some(using) = &delete.using {
        // DELETE FROM t1, t2 USING …
        let names = listed
            .iter()
            .map(|item| table_name(&item.relation))
            .collect::<Result<_>>()?;
        (bind_targets(&mut binder, level, using)?, names)
    } else if !delete.tables.is_empty() {
        // DELETE t1, t2 FROM …
        (bind_targets(&mut binder, level, listed)?, delete.tables.clone())
    } else {
        (bind_targets(&mut binder, level, listed)?, Vec::new())
    };
    let multiple = !names.is_empty();
    if multiple {
        refuse_order_and_limit("DELETE", &delete.order_by, delete.limit.as_ref())?;
    }
    let sources: Vec<usize> = if multiple {
        let sources = names.iter().map(|name| named_target(&binder, level, name));
        sources.collect::<Result<_>>()?
    } else {
        vec![0]
    };
    let targets = sources
        .iter()
        .map(|source| make_target(&mut binder, level, *source, Privilege::Delete))
        .collect::<Result<_>>()?;
    let rows = target_rows(
        &mut binder,
        level,
        tree,
        delete.selection.as_ref(),
        &delete.order_by,
        delete.limit.as_ref(),
    )?;
    check_reads(&binder, level, &sources)?;
    binder.close_block()?;
    Ok(DeletePlan {
        rows,
        targets,
        subqueries: binder.finish()?,
    })
}

/// The source a DELETE of several tables names; `t.*` names t as well.
fn named_target(binder: &Binder<'_>, level: usize, name: &ObjectName) -> Result<usize> {
    let parts: Vec<&str> = name
        .0
        .iter()
        .filter_map(|part| part.as_ident().map(|i| i.value.as_str()))
        .filter(|part| *part != "*")
        .collect();
    let (database, table) = match &parts[..] {
        [table] => (None, *table),
        [database, table] => (Some(*database), *table),
        _ => return Err(Error::syntax(format!("'{name}'"))),
    };
    let source = binder.blocks[level].sources.iter().position(|source| {
        same_name(&source.alias, table)
            && database.is_none_or(|db| source.database.as_deref().is_some_and(|own| same_name(own, db)))
    });
    source.ok_or_else(|| Error::unknown_table(table, "MULTI DELETE"))
}

fn table_name(factor: &TableFactor) -> Result<ObjectName> {
    match factor {
        TableFactor::Table { name, .. } => Ok(name.clone()),
        other => Err(Error::syntax(format!("'{other}'"))),
    }
}
