//! Operators over operators: what the parts of a statement put over the rows that come from below.

use ilmenite_expr::{Comparer, Expr};

use crate::condition::same_expr;
use crate::text::expr_text;
use crate::{Limit, Node, NodeKind, SortKey, cost};

/// Only rows that fulfil all of the conditions.
pub(crate) fn filter(input: Node, conditions: Vec<Expr>) -> Node {
    if conditions.is_empty() {
        return input;
    }
    let rows = input.rows * cost::selectivity(&conditions);
    let input = Box::new(input);
    Node::new(rows, NodeKind::Filter { input, conditions })
}

pub(crate) fn project(input: Node, exprs: Vec<Expr>) -> Node {
    let input = Box::new(input);
    Node::new(input.rows, NodeKind::Project { input, exprs })
}

pub(crate) fn sort(input: Node, keys: Vec<SortKey>, limit: Option<Limit>) -> Node {
    let input = Box::new(input);
    Node::new(input.rows, NodeKind::Sort { input, keys, limit })
}

pub(crate) fn limited(input: Node, limit: Limit) -> Node {
    let rows = limit.known_rows.map_or(input.rows, |n| input.rows.min(n as f64));
    let input = Box::new(input);
    Node::new(rows, NodeKind::Limit { input, limit })
}

/// Rows of their first `width` datums.
pub(crate) fn cut(input: Node, width: usize) -> Node {
    let input = Box::new(input);
    Node::new(input.rows, NodeKind::Cut { input, width })
}

/// The key that sorts by `expr`, which joins `exprs` (the columns of the row) unless it is there already.
pub(crate) fn sort_key(exprs: &mut Vec<Expr>, expr: Expr, descending: bool) -> SortKey {
    let comparer = Comparer::for_type(expr.field_type());
    let text = expr_text(&expr);
    let slot = match exprs.iter().position(|known| same_expr(known, &expr)) {
        Some(at) => at,
        None => {
            exprs.push(expr);
            exprs.len() - 1
        }
    };
    SortKey {
        slot,
        descending,
        comparer,
        text,
    }
}
