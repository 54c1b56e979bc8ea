//! The clauses of a SELECT bound, in the order they mean something.

use sqlparser::ast::{Distinct, Select, TableFactor};

use super::items::Item;
use crate::binder::Binder;
use crate::condition::split_and;
use crate::from::FromTree;
use crate::names::{Alias, Clause};
use crate::query::{Tail, ordinal};
use ilmenite_error::{Error, Result};
use ilmenite_expr::Expr;

/// A SELECT with its names resolved.
pub(super) struct Clauses {
    /// `None` without FROM.
    pub tree: Option<FromTree>,
    /// WHERE, split at AND.
    pub conditions: Vec<Expr>,
    pub items: Vec<Item>,
    /// GROUP BY.
    pub keys: Vec<Expr>,
    /// Split at AND.
    pub having: Vec<Expr>,
    /// ORDER BY; whether descending.
    pub order: Vec<(Expr, bool)>,
    pub distinct: bool,
    pub calc_found_rows: bool,
    /// By keys, or all rows as one group.
    pub grouped: bool,
}

impl Binder<'_> {
    pub(super) fn clauses(&mut self, level: usize, select: &Select, tail: &Tail<'_>) -> Result<Clauses> {
        // SELECT … FROM DUAL is SELECT without FROM.
        let from_dual = matches!(&select.from[..], [one] if one.joins.is_empty() && is_dual(&one.relation));
        let tree = if from_dual {
            None
        } else {
            self.bind_from(level, &select.from)?
        };
        let mut conditions = Vec::new();
        if let Some(selection) = &select.selection {
            let condition = self.expr(level, Clause::Where, selection)?;
            split_and(condition, &mut conditions);
        }
        let items = self.items(level, &select.projection, tree.is_some())?;
        let aliases: Vec<Alias> = items
            .iter()
            .map(|item| Alias {
                name: item.column.name.clone(),
                expr: item.expr.clone(),
            })
            .collect();
        let keys = self.group_keys(level, &select.group_by, &aliases)?;
        let mut having = Vec::new();
        if let Some(ast) = &select.having {
            let condition = self.expr_with_aliases(level, Clause::Having, &aliases, ast)?;
            split_and(condition, &mut having);
        }
        let mut order: Vec<(Expr, bool)> = Vec::with_capacity(tail.order_by.len());
        for (ast, descending) in &tail.order_by {
            let expr = match ordinal(ast, items.len())? {
                Some(at) => items[at].expr.clone(),
                None => self.expr_with_aliases(level, Clause::OrderBy, &aliases, ast)?,
            };
            order.push((expr, *descending));
        }
        let distinct = match &select.distinct {
            None | Some(Distinct::All) => false,
            Some(Distinct::Distinct) => true,
            Some(Distinct::On(_)) => return Err(Error::syntax("'ON'")),
        };
        let modifiers = select.select_modifiers.as_ref();
        Ok(Clauses {
            tree,
            conditions,
            grouped: !keys.is_empty() || !self.blocks[level].aggregates.is_empty(),
            items,
            keys,
            having,
            order,
            distinct,
            calc_found_rows: modifiers.is_some_and(|m| m.sql_calc_found_rows),
        })
    }
}

fn is_dual(factor: &TableFactor) -> bool {
    matches!(factor, TableFactor::Table { name, alias: None, .. }
        if matches!(&name.0[..], [one] if one.as_ident().is_some_and(|i| i.value.eq_ignore_ascii_case("dual"))))
}
