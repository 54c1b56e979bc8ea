//! FROM and WHERE as a plan: outer joins made inner where that is the same, and conditions pushed to where they can be decided.
//!
//! Inner joins come apart into units (`unit`), each a source (`source` reads it) or an outer join; `order` is the order they
//! are joined in, and `method` how each of them is.

mod method;
mod order;
mod source;
mod unit;

use ilmenite_types::Datum;

use crate::access::WantedOrder;
use crate::binder::Binder;
use crate::condition::rejects_null;
use crate::from::FromTree;
use crate::ops::filter;
use crate::{JoinKind, Node, NodeKind, SemiJoin, cost};
use ilmenite_error::{Error, Result};
use ilmenite_expr::{Comparer, Expr, Op, SubqueryUse};
use unit::{Joined, Step, Unit, flatten, mask};

impl Binder<'_> {
    /// Plans FROM and WHERE of block `level`.
    pub(crate) fn plan_from(
        &mut self,
        level: usize,
        tree: FromTree,
        conditions: Vec<Expr>,
        order: &WantedOrder,
        limit: Option<u64>,
    ) -> Result<Joined> {
        let mut semi = Vec::new();
        let mut plain = Vec::new();
        for condition in conditions {
            if self.is_semi_join(&condition) {
                semi.push(condition)
            } else {
                plain.push(condition)
            }
        }
        let limit = limit.filter(|_| semi.is_empty());
        let tree = self.inner_where_same(level, tree, &plain);
        let mut joined = self.plan_tree(level, tree, plain, order, limit)?;
        for condition in semi {
            joined.node = self.semi_join(joined.node, condition)?;
        }
        Ok(joined)
    }

    /// `x IN (SELECT …)` that does not depend on the row around it.
    fn is_semi_join(&self, condition: &Expr) -> bool {
        match &condition.op {
            Op::Subquery {
                id,
                usage: SubqueryUse::In { .. },
                ..
            } => {
                let bound = self.subqueries.get(id.0).and_then(|s| s.as_ref());
                bound.is_some_and(|subquery| subquery.outer.is_empty())
            }
            _ => false,
        }
    }

    fn semi_join(&mut self, input: Node, condition: Expr) -> Result<Node> {
        let Op::Subquery {
            id,
            usage: SubqueryUse::In { negated },
            comparers,
            ..
        } = condition.op
        else {
            return Err(Error::bug("a semi join of what is none"));
        };
        let rows = input.rows * cost::OTHER;
        let comparers: Vec<Comparer> = comparers.to_vec();
        let join = SemiJoin {
            input,
            subquery: id.0,
            left: condition.args,
            comparers,
            negated,
        };
        Ok(Node::new(rows, NodeKind::SemiJoin(Box::new(join))))
    }

    /// An outer join whose NULL-extended rows a condition above throws away is an inner join.
    fn inner_where_same(&self, level: usize, tree: FromTree, above: &[Expr]) -> FromTree {
        let FromTree::Join {
            kind,
            left,
            right,
            on,
            straight,
        } = tree
        else {
            return tree;
        };
        let mut kind = kind;
        if kind == JoinKind::Left {
            let set = mask(&right);
            if above
                .iter()
                .any(|condition| rejects_null(&self.blocks[level], condition, set))
            {
                kind = JoinKind::Inner;
            }
        }
        // What an inner join asks holds for all below it as well; an outer join's ON only for its right side.
        let both: Vec<Expr>;
        let (for_left, for_right): (&[Expr], &[Expr]) = if kind == JoinKind::Inner {
            both = above.iter().chain(&on).cloned().collect();
            (&both, &both)
        } else {
            (above, &on)
        };
        let left = Box::new(self.inner_where_same(level, *left, for_left));
        let right = Box::new(self.inner_where_same(level, *right, for_right));
        FromTree::Join {
            kind,
            left,
            right,
            on,
            straight,
        }
    }

    fn plan_tree(
        &mut self,
        level: usize,
        tree: FromTree,
        conditions: Vec<Expr>,
        order: &WantedOrder,
        limit: Option<u64>,
    ) -> Result<Joined> {
        let mut units = Vec::new();
        let mut pending = conditions;
        let fixed_order = flatten(tree, &mut units, &mut pending);
        // Conditions that read no table decide about all rows at once; those of one unit go into it.
        let mut constants = Vec::new();
        let mut between: Vec<(Expr, u64)> = Vec::new();
        for condition in pending {
            let set = self.sources_of(level, &condition);
            if set == 0 {
                constants.push(condition);
            } else if let Some(unit) = units.iter_mut().find(|unit| set & !unit.sources == 0) {
                unit.conditions.push(condition);
            } else {
                between.push((condition, set));
            }
        }
        let never = constants.iter().any(|condition| {
            condition
                .const_value()
                .is_some_and(|value| matches!(value, Datum::Int(0) | Datum::Null | Datum::UInt(0)))
        });
        constants.retain(|condition| {
            !condition
                .const_value()
                .is_some_and(|value| matches!(value, Datum::Int(n) if *n != 0))
        });
        if never {
            return Ok(Joined {
                node: Node::new(0.0, NodeKind::Empty),
                ordered: true,
            });
        }
        let mut joined = if units.len() == 1 {
            let unit = units.pop().ok_or_else(|| Error::bug("FROM without tables"))?;
            let limit = limit.filter(|_| constants.is_empty());
            self.plan_unit(level, unit, order, limit)?
        } else {
            Joined {
                node: self.order_joins(level, units, between, fixed_order)?,
                ordered: order.is_empty(),
            }
        };
        joined.node = filter(joined.node, constants);
        Ok(joined)
    }

    /// A source, or an outer join.
    fn plan_unit(
        &mut self,
        level: usize,
        unit: Unit,
        order: &WantedOrder,
        limit: Option<u64>,
    ) -> Result<Joined> {
        match unit.tree {
            FromTree::Source(source) => self.plan_source(level, source, unit.conditions, order, limit),
            FromTree::Join {
                kind: JoinKind::Inner,
                ..
            } => Err(Error::bug("inner joins that did not come apart")),
            FromTree::Join { left, right, on, .. } => {
                let (left_set, right_set) = (mask(&left), mask(&right));
                // WHERE on the left side alone may go below the join.
                let (below, above): (Vec<_>, Vec<_>) = unit
                    .conditions
                    .into_iter()
                    .partition(|c| self.sources_of(level, c) & !left_set == 0);
                let outer = self.plan_tree(level, *left, below, order, None)?;
                let (inner_only, on): (Vec<_>, Vec<_>) = on.into_iter().partition(|c| {
                    let set = self.sources_of(level, c);
                    set != 0 && set & !right_set == 0
                });
                let right = Unit {
                    tree: *right,
                    sources: right_set,
                    conditions: inner_only,
                };
                let on: Vec<(Expr, u64)> = on
                    .into_iter()
                    .map(|c| {
                        let set = self.sources_of(level, &c);
                        (c, set)
                    })
                    .collect();
                let step = Step {
                    kind: JoinKind::Left,
                    left: outer.node,
                    left_set,
                    right,
                    on,
                };
                let node = self.join_unit(level, step)?;
                Ok(Joined {
                    node: filter(node, above),
                    ordered: outer.ordered,
                })
            }
        }
    }
}
