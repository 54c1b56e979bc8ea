//! How one more unit is joined: by an index for each left row, by a hash table, or every pair.

use std::sync::Arc;

use super::unit::{Step, Unit};
use crate::access::{Choice, Request};
use crate::binder::Binder;
use crate::condition::{equality, walk};
use crate::from::FromTree;
use crate::{Join, JoinKind, JoinMethod, Node, NodeKind, Slot};
use ilmenite_error::{Error, Result};
use ilmenite_expr::{CmpOp, Comparer, Expr, Op};

/// (left, right, how to compare)
type HashKey = (Expr, Expr, Comparer);

impl Binder<'_> {
    pub(super) fn join_unit(&mut self, level: usize, step: Step) -> Result<Node> {
        let alone = self.unit_rows(level, &step.right)?;
        let on = step.on.iter().map(|(condition, _)| condition);
        let on = on.filter(|condition| !has_subquery(condition));
        let by_index = self.index_join(level, step.left.rows, step.left_set, &step.right, on)?;
        let (keys, rest) = self.hash_keys(level, &step);
        let other_price = if keys.is_empty() {
            step.left.rows * alone
        } else {
            alone * 1.5 + step.left.rows
        };
        match by_index {
            Some((choice, price)) if price <= other_price || self.is_forced(level, &step.right) => {
                self.joined_by_index(level, step, choice)
            }
            _ => self.joined_by_rows(level, step, keys, rest),
        }
    }

    /// The path by which `unit`, a single table, is read for each row of the left side, and its price.
    pub(super) fn index_join<'e>(
        &self,
        level: usize,
        outer_rows: f64,
        done: u64,
        unit: &'e Unit,
        on: impl Iterator<Item = &'e Expr>,
    ) -> Result<Option<(Choice, f64)>> {
        let FromTree::Source(source) = unit.tree else {
            return Ok(None);
        };
        if self.blocks[level].sources[source].table().is_none() {
            return Ok(None);
        }
        let conditions: Vec<Expr> = unit.conditions.iter().chain(on).cloned().collect();
        let choice = self.choose_path(&Request {
            available: done,
            ..Request::alone(level, source, &conditions)
        })?;
        let mut exprs = Vec::new();
        choice
            .path
            .bounds()
            .iter()
            .for_each(|bound| bound.exprs(&mut exprs));
        let mut reads_left = false;
        for expr in exprs {
            walk(expr, &mut |node| {
                reads_left |= matches!(node.op, Op::Column { .. })
            });
        }
        let price = outer_rows * (choice.cost + 1.0);
        Ok(reads_left.then_some((choice, price)))
    }

    fn is_forced(&self, level: usize, unit: &Unit) -> bool {
        match unit.tree {
            FromTree::Source(source) => self.blocks[level].sources[source].hints.only.is_some(),
            FromTree::Join { .. } => false,
        }
    }

    /// The conditions that say what is equal on both sides, and the others.
    fn hash_keys(&self, level: usize, step: &Step) -> (Vec<HashKey>, Vec<Expr>) {
        let (mut keys, mut rest) = (Vec::new(), Vec::new());
        for (condition, _) in &step.on {
            let sources = |expr: &Expr| self.sources_of(level, expr);
            let Some((l, r)) = equality(condition, step.left_set, step.right.sources, sources) else {
                rest.push(condition.clone());
                continue;
            };
            let comparer = match &condition.op {
                Op::Compare(CmpOp::Eq, comparer) => comparer.clone(),
                _ => Comparer::Int,
            };
            keys.push((l.clone(), r.clone(), comparer));
        }
        (keys, rest)
    }

    fn slots_filled_by(&self, level: usize, tree: &FromTree) -> Vec<Slot> {
        let mut sources = Vec::new();
        tree.sources(&mut sources);
        let slots = sources.iter().map(|source| self.blocks[level].slots_of(*source));
        slots.flatten().collect()
    }

    fn joined_by_index(&mut self, level: usize, step: Step, choice: Choice) -> Result<Node> {
        let FromTree::Source(source) = step.right.tree else {
            return Err(Error::bug("an index join of what is no table"));
        };
        let right_slots = self.blocks[level].slots_of(source);
        let rows = step.left.rows * choice.rows.max(0.01);
        let per_row = choice.rows;
        let scan = self.table_scan(level, source, choice)?;
        let conditions = step.on.into_iter().map(|(condition, _)| condition);
        Ok(joined(
            rows,
            Join {
                kind: step.kind,
                left: step.left,
                right: Node::new(per_row, NodeKind::Table(Arc::new(scan))),
                right_slots,
                method: JoinMethod::Index,
                // The others chose the path.
                conditions: conditions.filter(has_subquery).collect(),
            },
        ))
    }

    /// `rest`: the conditions that no key says.
    fn joined_by_rows(
        &mut self,
        level: usize,
        step: Step,
        keys: Vec<HashKey>,
        rest: Vec<Expr>,
    ) -> Result<Node> {
        let right_slots = self.slots_filled_by(level, &step.right.tree);
        // Not only a unit: the right side of an outer join may be inner joins.
        let right = self.plan_tree(level, step.right.tree, step.right.conditions, &[], None)?;
        let right = right.node;
        let left = step.left;
        let (rows, method) = if keys.is_empty() {
            (left.rows * right.rows, JoinMethod::Loop)
        } else {
            (left.rows.max(right.rows), JoinMethod::Hash { keys })
        };
        Ok(joined(
            rows,
            Join {
                kind: step.kind,
                left,
                right,
                right_slots,
                method,
                conditions: rest,
            },
        ))
    }
}

/// Such a condition needs the whole row, and is not for choosing a path by.
fn has_subquery(condition: &Expr) -> bool {
    let mut found = false;
    walk(condition, &mut |node| {
        found |= matches!(node.op, Op::Subquery { .. })
    });
    found
}

fn joined(rows: f64, join: Join) -> Node {
    let rows = match join.kind {
        JoinKind::Left => rows.max(join.left.rows),
        JoinKind::Inner => rows,
    };
    Node::new(rows, NodeKind::Join(Box::new(join)))
}
