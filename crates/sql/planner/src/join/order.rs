//! The order of inner joins: from the smallest side on, what is connected before what is not, the cheapest first.

use super::unit::{Step, Unit};
use crate::access::Request;
use crate::binder::{Binder, SourceKind};
use crate::ops::filter;
use crate::{JoinKind, Node};
use ilmenite_error::Result;
use ilmenite_expr::Expr;

/// What makes pairs of unconnected rows come last, whatever their number.
const UNCONNECTED: f64 = 1e12;

impl Binder<'_> {
    /// Joins all units; `between` are the conditions over several of them, with the sources each reads.
    pub(super) fn order_joins(
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
        let smallest = || {
            let least = sizes.iter().enumerate().min_by(|a, b| a.1.total_cmp(b.1));
            least.map_or(0, |(at, _)| at)
        };
        let first = if fixed_order { 0 } else { smallest() };
        sizes.remove(first);
        let unit = units.remove(first);
        let mut done = unit.sources;
        let mut node = self.plan_unit(level, unit, &[], None)?.node;
        while !units.is_empty() {
            let next = if fixed_order {
                0
            } else {
                self.next_unit(level, &node, done, &units, &sizes, &between)?
            };
            sizes.remove(next);
            let unit = units.remove(next);
            let together = done | unit.sources;
            let (now, later): (Vec<_>, Vec<_>) =
                between.into_iter().partition(|(_, set)| set & !together == 0);
            between = later;
            let step = Step {
                kind: JoinKind::Inner,
                left: node,
                left_set: done,
                right: unit,
                on: now,
            };
            node = self.join_unit(level, step)?;
            done = together;
        }
        Ok(filter(
            node,
            between.into_iter().map(|(condition, _)| condition).collect(),
        ))
    }

    /// Connected before unconnected, then what makes the fewest rows for the least work.
    fn next_unit(
        &self,
        level: usize,
        outer: &Node,
        done: u64,
        units: &[Unit],
        sizes: &[f64],
        between: &[(Expr, u64)],
    ) -> Result<usize> {
        let mut best = (0, f64::INFINITY);
        for (at, (unit, rows)) in units.iter().zip(sizes).enumerate() {
            let connected: Vec<&Expr> = between
                .iter()
                .filter(|(_, set)| set & !(done | unit.sources) == 0 && set & unit.sources != 0)
                .map(|(condition, _)| condition)
                .collect();
            let price = self.price(level, outer, done, unit, &connected, *rows)?;
            if price < best.1 {
                best = (at, price);
            }
        }
        Ok(best.0)
    }

    /// Rows of a unit alone.
    pub(super) fn unit_rows(&self, level: usize, unit: &Unit) -> Result<f64> {
        let mut sources = Vec::new();
        unit.tree.sources(&mut sources);
        let mut rows = 1.0;
        for source in &sources {
            rows *= match &self.blocks[level].sources[*source].kind {
                SourceKind::Table(_) if sources.len() == 1 => {
                    let request = Request::alone(level, *source, &unit.conditions);
                    self.choose_path(&request)?.rows
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
        let price = match by_index {
            Some((choice, _)) => {
                (outer.rows * (choice.cost + 1.0)).min(alone * 1.5) + outer.rows * choice.rows.min(rows)
            }
            None if connected.is_empty() => outer.rows * rows,
            None => alone + outer.rows.max(rows),
        };
        Ok(if connected.is_empty() {
            price + UNCONNECTED
        } else {
            price
        })
    }
}
