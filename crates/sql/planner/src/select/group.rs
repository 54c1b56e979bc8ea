//! GROUP BY and aggregates: the keys, and what comes after the grouping moved to its result.

use ilmenite_catalog::SchemaState;
use ilmenite_types::FieldFlags;
use sqlparser::ast::GroupByExpr;

use super::clauses::Clauses;
use crate::binder::{Binder, Block};
use crate::condition::{is_fixed, same_expr, walk};
use crate::names::{Alias, Clause};
use crate::query::ordinal;
use crate::text::expr_text;
use crate::{Aggregate, Node, NodeKind};
use ilmenite_error::{Error, Result};
use ilmenite_expr::{CmpOp, Expr, Op, SqlMode};

impl Binder<'_> {
    pub(super) fn group_keys(
        &mut self,
        level: usize,
        group_by: &GroupByExpr,
        aliases: &[Alias],
    ) -> Result<Vec<Expr>> {
        let GroupByExpr::Expressions(list, modifiers) = group_by else {
            return Err(Error::syntax("'ALL'"));
        };
        if !modifiers.is_empty() {
            return Err(Error::not_supported_yet("WITH ROLLUP"));
        }
        let mut keys: Vec<Expr> = Vec::with_capacity(list.len());
        for ast in list {
            let expr = match ordinal(ast, aliases.len()) {
                Ok(Some(at)) => aliases[at].expr.clone(),
                Ok(None) => self.expr_with_aliases(level, Clause::GroupBy, aliases, ast)?,
                Err(_) => return Err(Error::unknown_column(ast, Clause::GroupBy.as_str())),
            };
            let mut aggregate = false;
            walk(&expr, &mut |node| {
                aggregate |= matches!(node.op, Op::Aggregate { .. })
            });
            if aggregate {
                return Err(Error::wrong_group_field(ast));
            }
            if !keys.iter().any(|known| same_expr(known, &expr)) {
                keys.push(expr);
            }
        }
        Ok(keys)
    }

    /// Puts the grouping under what comes after it, which then reads from its result.
    /// `pinned`: slots that WHERE gives one value.
    pub(super) fn group(
        &mut self,
        level: usize,
        input: Node,
        clauses: &mut Clauses,
        pinned: &[usize],
    ) -> Result<Node> {
        let Clauses {
            keys,
            items,
            having,
            order,
            ..
        } = clauses;
        let calls = std::mem::take(&mut self.blocks[level].aggregates);
        let full = self.mode(SqlMode::ONLY_FULL_GROUP_BY);
        let mut firsts: Vec<Expr> = Vec::new();
        let determined = determined_sources(&self.blocks[level], keys, pinned);
        let owners = self.blocks[level].owners.clone();
        let (key_count, call_count) = (keys.len(), calls.len());
        let mut place = |node: &Expr, number: usize, clause: &str| -> Result<Option<Expr>> {
            let moved = |slot: usize| Some(Expr::column(slot, node.field_type().clone(), &expr_text(node)));
            if let Some(at) = keys.iter().position(|key| same_expr(key, node)) {
                return Ok(moved(at));
            }
            match &node.op {
                Op::Aggregate { index, .. } => Ok(moved(key_count + index)),
                Op::Column { slot, name } => {
                    let source = owners.get(*slot).copied().unwrap_or_default();
                    if full && !pinned.contains(slot) && determined & (1 << source) == 0 {
                        return Err(if key_count == 0 {
                            Error::mix_of_group_func(number, clause, name)
                        } else {
                            Error::not_in_group_by(number, clause, name)
                        });
                    }
                    let at = match firsts.iter().position(|known| same_expr(known, node)) {
                        Some(at) => at,
                        None => {
                            firsts.push(node.clone());
                            firsts.len() - 1
                        }
                    };
                    Ok(moved(key_count + call_count + at))
                }
                _ => Ok(None),
            }
        };
        for (at, item) in items.iter_mut().enumerate() {
            let expr = std::mem::replace(&mut item.expr, Expr::null());
            item.expr = self.rewrite_all(expr, &mut |node| place(node, at + 1, "SELECT list"))?;
        }
        for (at, condition) in having.iter_mut().enumerate() {
            let expr = std::mem::replace(condition, Expr::null());
            *condition = self.rewrite_all(expr, &mut |node| place(node, at + 1, "HAVING clause"))?;
        }
        for (at, (key, _)) in order.iter_mut().enumerate() {
            let expr = std::mem::replace(key, Expr::null());
            *key = self.rewrite_all(expr, &mut |node| place(node, at + 1, "ORDER BY clause"))?;
        }
        let rows = if key_count == 0 {
            1.0
        } else {
            (input.rows * 0.8).max(1.0)
        };
        let aggregate = Aggregate {
            input,
            keys: std::mem::take(keys),
            calls,
            firsts,
        };
        Ok(Node::new(rows, NodeKind::Aggregate(Box::new(aggregate))))
    }
}

/// Slots that WHERE gives one value.
pub(super) fn pinned_columns(block: &Block, conditions: &[Expr]) -> Vec<usize> {
    let mut pinned = Vec::new();
    for condition in conditions {
        if !matches!(
            condition.op,
            Op::CompareInt(CmpOp::Eq) | Op::Compare(CmpOp::Eq, _)
        ) {
            continue;
        }
        if let [l, r] = &condition.args[..] {
            for (column, value) in [(l, r), (r, l)] {
                if let Op::Column { slot, .. } = &column.op
                    && is_fixed(value)
                    && *slot < block.width
                {
                    pinned.push(*slot);
                }
            }
        }
    }
    pinned
}

/// Sources of which each group has one row: a key of theirs is grouped by.
fn determined_sources(block: &Block, keys: &[Expr], pinned: &[usize]) -> u64 {
    let fixed = |slot: Option<usize>| {
        slot.is_some_and(|slot| {
            pinned.contains(&slot)
                || keys
                    .iter()
                    .any(|key| matches!(&key.op, Op::Column { slot: s, .. } if *s == slot))
        })
    };
    let mut set = 0;
    for (at, source) in block.sources.iter().enumerate() {
        let Some(table) = source.table() else { continue };
        let info = &table.info;
        let by_handle = info
            .handle_column()
            .is_some_and(|column| fixed(source.slots[column.offset]));
        let by_index = info
            .indexes
            .iter()
            .filter(|index| index.unique && index.state == SchemaState::Public)
            .any(|index| {
                index.columns.iter().all(|part| {
                    part.length < 0
                        && info.columns[part.offset]
                            .field_type
                            .flags
                            .has(FieldFlags::NOT_NULL)
                        && fixed(source.slots[part.offset])
                })
            });
        if by_handle || by_index {
            set |= 1 << at;
        }
    }
    set
}
