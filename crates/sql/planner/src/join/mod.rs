//! Joins: outer joins made inner where that is the same, conditions pushed to where they can be decided, the order of
//! inner joins, and a method for each.

use std::sync::Arc;

use ilmenite_types::Datum;

use super::access::{Choice, Request, WantedOrder};
use super::binder::{Binder, SourceKind};
use super::condition::{equality, is_fixed, rejects_null, split_and, walk};
use super::from::FromTree;
use super::{DerivedScan, Join, JoinKind, JoinMethod, Node, NodeKind, Path, SemiJoin, VirtualScan, cost};
use ilmenite_error::{Error, Result};
use ilmenite_expr::{CmpOp, Comparer, Expr, Op, SubqueryUse};

/// Rows of a block before grouping, and whether they come in the order that was asked for.
pub(crate) struct Joined {
    pub node: Node,
    pub ordered: bool,
}

/// One side of inner joins: a source, or an outer join as a whole.
struct Unit {
    tree: FromTree,
    sources: u64,
    conditions: Vec<Expr>,
}

impl Binder<'_> {
    /// Plans FROM and WHERE of block `level`.
    pub fn plan_from(
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
        let mut fixed_order = false;
        flatten(tree, &mut units, &mut pending, &mut fixed_order);
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
        if !constants.is_empty() {
            joined.node = filter(joined.node, constants);
        }
        Ok(joined)
    }

    fn plan_unit(
        &mut self,
        level: usize,
        unit: Unit,
        order: &WantedOrder,
        limit: Option<u64>,
    ) -> Result<Joined> {
        match unit.tree {
            FromTree::Source(source) => {
                let (node, ordered) = self.plan_source(level, source, unit.conditions, order, limit)?;
                Ok(Joined { node, ordered })
            }
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
                let unit = Unit {
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
                let mut node = self.join_unit(level, JoinKind::Left, outer.node, left_set, unit, on)?;
                if !above.is_empty() {
                    node = filter(node, above);
                }
                Ok(Joined {
                    node,
                    ordered: outer.ordered,
                })
            }
        }
    }

    /// Joins all units, cheapest first.
    fn order_joins(
        &mut self,
        level: usize,
        mut units: Vec<Unit>,
        mut between: Vec<(Expr, u64)>,
        fixed_order: bool,
    ) -> Result<Node> {
        let mut sizes = Vec::with_capacity(units.len());
        for unit in &units {
            sizes.push(self.unit_rows(level, unit)?);
        }
        let smallest = |sizes: &[f64]| {
            let least = sizes.iter().enumerate().min_by(|a, b| a.1.total_cmp(b.1));
            least.map_or(0, |(at, _)| at)
        };
        let first = if fixed_order { 0 } else { smallest(&sizes) };
        let unit = units.remove(first);
        sizes.remove(first);
        let mut done = unit.sources;
        let mut node = self.plan_unit(level, unit, &[], None)?.node;
        while !units.is_empty() {
            let next = if fixed_order {
                0
            } else {
                // Connected before unconnected, then what makes the fewest rows for the least work.
                let mut best = (0, f64::INFINITY);
                for (at, unit) in units.iter().enumerate() {
                    let connected: Vec<&Expr> = between
                        .iter()
                        .filter(|(_, set)| set & !(done | unit.sources) == 0 && set & unit.sources != 0)
                        .map(|(condition, _)| condition)
                        .collect();
                    let mut price = self.price(level, &node, done, unit, &connected, sizes[at])?;
                    if connected.is_empty() {
                        price += 1e12;
                    }
                    if price < best.1 {
                        best = (at, price);
                    }
                }
                best.0
            };
            let unit = units.remove(next);
            sizes.remove(next);
            let together = done | unit.sources;
            let (now, later): (Vec<_>, Vec<_>) =
                between.into_iter().partition(|(_, set)| set & !together == 0);
            between = later;
            node = self.join_unit(level, JoinKind::Inner, node, done, unit, now)?;
            done = together;
        }
        if !between.is_empty() {
            node = filter(
                node,
                between.into_iter().map(|(condition, _)| condition).collect(),
            );
        }
        Ok(node)
    }

    /// Rows of a unit alone.
    fn unit_rows(&self, level: usize, unit: &Unit) -> Result<f64> {
        let mut sources = Vec::new();
        unit.tree.sources(&mut sources);
        let mut rows = 1.0;
        for source in &sources {
            rows *= match &self.blocks[level].sources[*source].kind {
                SourceKind::Table(_) if sources.len() == 1 => {
                    let conditions = &unit.conditions;
                    self.choose_path(&Request {
                        level,
                        source: *source,
                        conditions,
                        available: 0,
                        order: &[],
                        limit: None,
                    })?
                    .rows
                }
                SourceKind::Table(table) => table.rows,
                SourceKind::Derived { plan: Some(plan), .. } => plan.root.rows,
                _ => 100.0,
            };
        }
        Ok(rows.max(1.0))
    }

    /// What joining `unit` next would cost.
    fn price(
        &self,
        level: usize,
        outer: &Node,
        done: u64,
        unit: &Unit,
        connected: &[&Expr],
        rows: f64,
    ) -> Result<f64> {
        let by_index = self.index_join(level, outer.rows, done, unit, connected.iter().copied())?;
        let alone = rows + outer.rows;
        Ok(match by_index {
            Some((choice, _)) => {
                (outer.rows * (choice.cost + 1.0)).min(alone * 1.5) + outer.rows * choice.rows.min(rows)
            }
            None if connected.is_empty() => outer.rows * rows,
            None => alone + outer.rows.max(rows),
        })
    }

    /// The path by which `unit`, a single table, is read for each row of the left side.
    fn index_join<'e>(
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
            level,
            source,
            conditions: &conditions,
            available: done,
            order: &[],
            limit: None,
        })?;
        let bounds = match &choice.path {
            Path::Table { bounds, .. } | Path::Index { bounds, .. } => bounds,
        };
        let mut exprs = Vec::new();
        bounds.iter().for_each(|bound| bound.exprs(&mut exprs));
        let mut reads_left = false;
        for expr in exprs {
            walk(expr, &mut |node| {
                reads_left |= matches!(node.op, Op::Column { .. })
            });
        }
        let price = outer_rows * (choice.cost + 1.0);
        Ok(reads_left.then_some((choice, price)))
    }

    fn join_unit(
        &mut self,
        level: usize,
        kind: JoinKind,
        left: Node,
        left_set: u64,
        unit: Unit,
        on: Vec<(Expr, u64)>,
    ) -> Result<Node> {
        let mut right_sources = Vec::new();
        unit.tree.sources(&mut right_sources);
        let right_slots = right_sources
            .iter()
            .flat_map(|s| self.blocks[level].slots_of(*s))
            .collect();
        let alone = self.unit_rows(level, &unit)?;
        // A condition with a subquery needs the whole row, and is not for choosing a path by.
        let simple = |condition: &Expr| {
            let mut simple = true;
            walk(condition, &mut |node| {
                simple &= !matches!(node.op, Op::Subquery { .. })
            });
            simple
        };
        let on_simple = on.iter().map(|(c, _)| c).filter(|c| simple(c));
        let by_index = self.index_join(level, left.rows, left_set, &unit, on_simple)?;
        let keys: Vec<(Expr, Expr, Comparer)> = on
            .iter()
            .filter_map(|(condition, _)| {
                let (l, r) = equality(condition, left_set, unit.sources, |e| self.sources_of(level, e))?;
                let comparer = match &condition.op {
                    Op::Compare(CmpOp::Eq, comparer) => comparer.clone(),
                    _ => Comparer::Int,
                };
                Some((l.clone(), r.clone(), comparer))
            })
            .collect();
        let hash_price = if keys.is_empty() {
            left.rows * alone
        } else {
            alone * 1.5 + left.rows
        };
        let forced =
            matches!(&unit.tree, FromTree::Source(s) if self.blocks[level].sources[*s].hints.only.is_some());
        if let Some((choice, price)) = by_index
            && (price <= hash_price || forced)
        {
            let FromTree::Source(source) = unit.tree else {
                return Err(Error::bug("an index join of what is no table"));
            };
            let rows = left.rows * choice.rows.max(0.01);
            let per_row = choice.rows;
            let scan = self.table_scan(level, source, choice)?;
            let right = Node::new(per_row, NodeKind::Table(Arc::new(scan)));
            let conditions = on.into_iter().map(|(c, _)| c).filter(|c| !simple(c)).collect();
            let rows = if kind == JoinKind::Left {
                rows.max(left.rows)
            } else {
                rows
            };
            let join = Join {
                kind,
                left,
                right,
                right_slots,
                method: JoinMethod::Index,
                conditions,
            };
            return Ok(Node::new(rows, NodeKind::Join(Box::new(join))));
        }
        let right = self.plan_unit(level, unit, &[], None)?.node;
        let rows = if keys.is_empty() {
            left.rows * right.rows
        } else {
            left.rows.max(right.rows)
        };
        let rows = if kind == JoinKind::Left {
            rows.max(left.rows)
        } else {
            rows
        };
        let (conditions, method) = if keys.is_empty() {
            (on.into_iter().map(|(c, _)| c).collect(), JoinMethod::Loop)
        } else {
            let rest = on.into_iter().filter(|(c, _)| {
                equality(c, left_set, mask_of(&right_sources), |e| {
                    self.sources_of(level, e)
                })
                .is_none()
            });
            (rest.map(|(c, _)| c).collect(), JoinMethod::Hash { keys })
        };
        let join = Join {
            kind,
            left,
            right,
            right_slots,
            method,
            conditions,
        };
        Ok(Node::new(rows, NodeKind::Join(Box::new(join))))
    }

    /// One source by itself.
    fn plan_source(
        &mut self,
        level: usize,
        source: usize,
        conditions: Vec<Expr>,
        order: &WantedOrder,
        limit: Option<u64>,
    ) -> Result<(Node, bool)> {
        let block = &self.blocks[level];
        let width = block.width;
        let columns = block.used_columns(source);
        match &block.sources[source].kind {
            SourceKind::Table(_) => {
                let conditions = &conditions;
                let choice = self.choose_path(&Request {
                    level,
                    source,
                    conditions,
                    available: 0,
                    order,
                    limit,
                })?;
                let (rows, ordered) = (choice.rows, choice.ordered);
                let mut scan = self.table_scan(level, source, choice)?;
                if ordered && scan.filter.is_empty() && scan.index_filter.is_empty() {
                    scan.limit = limit;
                }
                let rows = scan.limit.map_or(rows, |limit| rows.min(limit as f64));
                Ok((Node::new(rows, NodeKind::Table(Arc::new(scan))), ordered))
            }
            SourceKind::Virtual { table } => {
                let mut equals = Vec::new();
                for condition in &conditions {
                    for (column, slot) in &columns {
                        if let Some(values) = values_of(condition, *slot) {
                            equals.push((table.columns()[*column].name.to_lowercase(), values));
                        }
                    }
                }
                let scan = VirtualScan {
                    table: table.clone(),
                    alias: block.sources[source].alias.clone(),
                    width,
                    columns,
                    equals,
                    filter: conditions,
                };
                Ok((
                    Node::new(100.0, NodeKind::Virtual(Arc::new(scan))),
                    order.is_empty(),
                ))
            }
            SourceKind::Derived { .. } => {
                let SourceKind::Derived { plan, .. } = &mut self.blocks[level].sources[source].kind else {
                    return Err(Error::bug("a derived table that is none"));
                };
                let query = *plan
                    .take()
                    .ok_or_else(|| Error::bug("a derived table planned twice"))?;
                let rows = query.root.rows * cost::selectivity(&conditions);
                let scan = DerivedScan {
                    query,
                    width,
                    columns,
                    filter: conditions,
                };
                Ok((
                    Node::new(rows, NodeKind::Derived(Box::new(scan))),
                    order.is_empty(),
                ))
            }
            SourceKind::NewRow { .. } => Err(Error::bug("the row being inserted is no table to read")),
        }
    }
}

/// The values a column must be one of, by this condition.
fn values_of(condition: &Expr, slot: usize) -> Option<Vec<Expr>> {
    let is_column = |expr: &Expr| {
        let mut expr = expr;
        // A name or a text cast for comparing is still the column.
        while let (Op::Cast { implicit: true, .. }, [inner]) = (&expr.op, &expr.args[..]) {
            expr = inner;
        }
        matches!(&expr.op, Op::Column { slot: s, .. } if *s == slot)
    };
    match &condition.op {
        Op::CompareInt(CmpOp::Eq) | Op::Compare(CmpOp::Eq, _) => match &condition.args[..] {
            [l, r] if is_column(l) && is_fixed(r) => Some(vec![r.clone()]),
            [l, r] if is_column(r) && is_fixed(l) => Some(vec![l.clone()]),
            _ => None,
        },
        Op::In { negated: false, .. } => {
            let (x, items) = condition.args.split_first()?;
            (is_column(x) && items.iter().all(is_fixed)).then(|| items.to_vec())
        }
        _ => None,
    }
}

fn flatten(tree: FromTree, units: &mut Vec<Unit>, conditions: &mut Vec<Expr>, fixed_order: &mut bool) {
    match tree {
        FromTree::Join {
            kind: JoinKind::Inner,
            left,
            right,
            on,
            straight,
        } => {
            *fixed_order |= straight;
            flatten(*left, units, conditions, fixed_order);
            flatten(*right, units, conditions, fixed_order);
            for condition in on {
                split_and(condition, conditions);
            }
        }
        other => {
            let sources = mask(&other);
            units.push(Unit {
                tree: other,
                sources,
                conditions: Vec::new(),
            });
        }
    }
}

fn mask(tree: &FromTree) -> u64 {
    let mut sources = Vec::new();
    tree.sources(&mut sources);
    mask_of(&sources)
}

fn mask_of(sources: &[usize]) -> u64 {
    sources.iter().fold(0, |set, source| set | 1 << source)
}

pub(crate) fn filter(input: Node, conditions: Vec<Expr>) -> Node {
    let rows = input.rows * cost::selectivity(&conditions);
    Node::new(
        rows,
        NodeKind::Filter {
            input: Box::new(input),
            conditions,
        },
    )
}
