//! Reading one source by itself: a table by some path, a virtual table, or a query in FROM.

use std::sync::Arc;

use super::unit::Joined;
use crate::access::{Request, WantedOrder};
use crate::binder::{Binder, SourceKind};
use crate::condition::is_fixed;
use crate::context::VirtualTable;
use crate::{DerivedScan, Node, NodeKind, Slot, VirtualScan, cost};
use ilmenite_error::{Error, Result};
use ilmenite_expr::{CmpOp, Expr, Op};

impl Binder<'_> {
    pub(super) fn plan_source(
        &mut self,
        level: usize,
        source: usize,
        conditions: Vec<Expr>,
        order: &WantedOrder,
        limit: Option<u64>,
    ) -> Result<Joined> {
        let node = match &self.blocks[level].sources[source].kind {
            SourceKind::Table(_) => {
                return self.plan_table(&Request {
                    order,
                    limit,
                    ..Request::alone(level, source, &conditions)
                });
            }
            SourceKind::Virtual { table } => {
                let table = table.clone();
                self.plan_virtual(level, source, table, conditions)
            }
            SourceKind::Derived { .. } => self.plan_derived(level, source, conditions)?,
            SourceKind::NewRow { .. } => {
                return Err(Error::bug("the row being inserted is no table to read"));
            }
        };
        Ok(Joined {
            node,
            ordered: order.is_empty(),
        })
    }

    fn plan_table(&self, request: &Request<'_>) -> Result<Joined> {
        let choice = self.choose_path(request)?;
        let (rows, ordered) = (choice.rows, choice.ordered);
        let mut scan = self.table_scan(request.level, request.source, choice)?;
        if ordered && scan.filter.is_empty() && scan.index_filter.is_empty() {
            scan.limit = request.limit;
        }
        let rows = scan.limit.map_or(rows, |limit| rows.min(limit as f64));
        let node = Node::new(rows, NodeKind::Table(Arc::new(scan)));
        Ok(Joined { node, ordered })
    }

    fn plan_virtual(
        &self,
        level: usize,
        source: usize,
        table: Arc<dyn VirtualTable>,
        filter: Vec<Expr>,
    ) -> Node {
        let block = &self.blocks[level];
        let columns = block.used_columns(source);
        let mut equals = Vec::new();
        for condition in &filter {
            for (column, slot) in &columns {
                if let Some(values) = values_of(condition, *slot) {
                    equals.push((table.columns()[*column].name.to_lowercase(), values));
                }
            }
        }
        let scan = VirtualScan {
            table,
            alias: block.sources[source].alias.clone(),
            width: block.width,
            columns,
            equals,
            filter,
        };
        Node::new(100.0, NodeKind::Virtual(Arc::new(scan)))
    }

    fn plan_derived(&mut self, level: usize, source: usize, filter: Vec<Expr>) -> Result<Node> {
        let block = &mut self.blocks[level];
        let (width, columns) = (block.width, block.used_columns(source));
        let SourceKind::Derived { plan, .. } = &mut block.sources[source].kind else {
            return Err(Error::bug("a derived table that is none"));
        };
        let query = *plan
            .take()
            .ok_or_else(|| Error::bug("a derived table planned twice"))?;
        let rows = query.root.rows * cost::selectivity(&filter);
        let scan = DerivedScan {
            query,
            width,
            columns,
            filter,
        };
        Ok(Node::new(rows, NodeKind::Derived(Box::new(scan))))
    }
}

/// The values a column must be one of, by this condition.
fn values_of(condition: &Expr, slot: Slot) -> Option<Vec<Expr>> {
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
