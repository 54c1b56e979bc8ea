//! What becomes of the rows of a SELECT: its list, DISTINCT, ORDER BY and LIMIT.

use ilmenite_types::{FieldType, TypeCode};

use super::clauses::Clauses;
use crate::binder::Binder;
use crate::condition::is_fixed;
use crate::ops::{cut, limited, project, sort, sort_key};
use crate::query::Tail;
use crate::{Node, NodeKind, QueryPlan, ResultColumn, SortKey};
use ilmenite_error::{Error, Result};
use ilmenite_expr::{Comparer, Expr, Op, SqlMode};

impl Binder<'_> {
    /// `ordered`: the rows come in the order asked for already.
    pub(super) fn shape(
        &mut self,
        level: usize,
        node: Node,
        clauses: Clauses,
        tail: Tail<'_>,
        ordered: bool,
    ) -> Result<QueryPlan> {
        let Clauses {
            items,
            order,
            distinct,
            grouped,
            calc_found_rows,
            ..
        } = clauses;
        let visible = items.len();
        let (mut exprs, columns): (Vec<Expr>, Vec<ResultColumn>) =
            items.into_iter().map(|item| (item.expr, item.column)).unzip();
        let keys = if ordered {
            Vec::new()
        } else {
            sort_keys(&mut exprs, order)
        };
        if distinct && exprs.len() > visible && self.mode(SqlMode::ONLY_FULL_GROUP_BY) {
            return Err(not_selected(&keys, visible));
        }
        // Rows that will be locked carry their keys to the end.
        let lock_from = exprs.len();
        if tail.lock.is_some() && !grouped && !distinct {
            exprs.extend(self.row_keys(level));
        }
        let locked = exprs.len() > lock_from;
        let mut node = if !grouped && self.is_the_row(level, &exprs) {
            node
        } else {
            project(node, exprs)
        };
        if distinct {
            node = distinct_rows(node, &columns);
        }
        let extra = !keys.is_empty() && lock_from > visible && !locked;
        // LIMIT of rows that are all counted is left to who sends them.
        let (limit, calc_limit) = if calc_found_rows {
            (None, tail.limit)
        } else {
            (tail.limit, None)
        };
        if !keys.is_empty() {
            node = sort(node, keys, limit.clone());
        }
        if let Some(limit) = limit {
            node = limited(node, limit);
        }
        if extra {
            node = cut(node, visible);
        }
        Ok(QueryPlan {
            root: node,
            columns: columns.into(),
            lock: tail.lock,
            lock_keys: if locked { lock_from } else { 0 },
            calc_found_rows,
            calc_limit,
        })
    }

    /// The keys of the tables' rows.
    fn row_keys(&self, level: usize) -> impl Iterator<Item = Expr> {
        let sources = self.blocks[level].sources.iter();
        sources
            .filter_map(|source| source.key_slot)
            .map(|slot| Expr::column(slot, FieldType::new(TypeCode::Blob), ""))
    }

    /// Are these the row's own slots, all of them and in order?
    fn is_the_row(&self, level: usize, exprs: &[Expr]) -> bool {
        let mut exprs_at = exprs.iter().enumerate();
        exprs.len() == self.blocks[level].width
            && exprs_at.all(|(at, expr)| matches!(&expr.op, Op::Column { slot, .. } if *slot == at))
    }
}

/// ORDER BY as keys of the row, to which it adds what is not in it. A key that is fixed sorts nothing.
fn sort_keys(exprs: &mut Vec<Expr>, order: Vec<(Expr, bool)>) -> Vec<SortKey> {
    let mut keys: Vec<SortKey> = order
        .into_iter()
        .map(|(expr, descending)| sort_key(exprs, expr, descending))
        .collect();
    let is_constant = |expr: &Expr| is_fixed(expr) && !matches!(expr.op, Op::Outer { .. });
    keys.retain(|key| !is_constant(&exprs[key.slot]));
    keys
}

/// 3065: DISTINCT rows cannot be sorted by what they do not show.
fn not_selected(keys: &[SortKey], visible: usize) -> Error {
    let at = keys.iter().position(|key| key.slot >= visible).unwrap_or(0);
    let column = keys.get(at).map(|key| key.text.clone()).unwrap_or_default();
    Error::order_by_not_in_select(at + 1, "ORDER BY clause", column, "DISTINCT")
}

fn distinct_rows(node: Node, columns: &[ResultColumn]) -> Node {
    let types = columns.iter().map(|column| &column.field_type);
    let keys = types.map(Comparer::for_type).collect();
    let input = Box::new(node);
    Node::new(input.rows * 0.8, NodeKind::Distinct { input, keys })
}
