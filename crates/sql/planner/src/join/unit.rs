//! What inner joins are made of.

use ilmenite_expr::Expr;

use crate::condition::split_and;
use crate::from::FromTree;
use crate::{JoinKind, Node};

/// Rows of a block before grouping, and whether they come in the order that was asked for.
pub(crate) struct Joined {
    pub node: Node,
    pub ordered: bool,
}

/// One side of inner joins: a source, or an outer join as a whole.
pub(super) struct Unit {
    pub tree: FromTree,
    /// A set of bits.
    pub sources: u64,
    /// What reads no other source.
    pub conditions: Vec<Expr>,
}

impl Unit {
    pub(super) fn of(tree: FromTree) -> Unit {
        Unit {
            sources: mask(&tree),
            tree,
            conditions: Vec::new(),
        }
    }
}

/// One more unit to be joined to what is joined already.
pub(super) struct Step {
    pub kind: JoinKind,
    pub left: Node,
    pub left_set: u64,
    pub right: Unit,
    /// With the sources each reads.
    pub on: Vec<(Expr, u64)>,
}

/// Inner joins as units and conditions; whether their order is fixed.
pub(super) fn flatten(tree: FromTree, units: &mut Vec<Unit>, conditions: &mut Vec<Expr>) -> bool {
    match tree {
        FromTree::Join {
            kind: JoinKind::Inner,
            left,
            right,
            on,
            straight,
        } => {
            let left_fixed = flatten(*left, units, conditions);
            let right_fixed = flatten(*right, units, conditions);
            for condition in on {
                split_and(condition, conditions);
            }
            straight || left_fixed || right_fixed
        }
        other => {
            units.push(Unit::of(other));
            false
        }
    }
}

/// The sources of a tree as a set of bits.
pub(super) fn mask(tree: &FromTree) -> u64 {
    let mut sources = Vec::new();
    tree.sources(&mut sources);
    sources.iter().fold(0, |set, source| set | 1 << source)
}
