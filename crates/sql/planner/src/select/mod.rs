//! One SELECT: its clauses in the order they mean something, and the operators that do them.
//!
//! `clauses` binds them (`items` the select list); here FROM and WHERE are read in whatever order helps what comes after;
//! `group` puts the grouping over that, and `shape` the select list, DISTINCT, ORDER BY and LIMIT.

mod clauses;
mod group;
mod items;
mod shape;

use ilmenite_types::{FieldType, TypeCode};
use sqlparser::ast::Select;

use crate::binder::Binder;
use crate::ops::{filter, limited};
use crate::query::Tail;
use crate::{Limit, Node, NodeKind, Privilege, QueryPlan};
use clauses::Clauses;
use group::pinned_columns;
use ilmenite_error::{Error, Result};
use ilmenite_expr::{AggregateKind, Expr, Op};
use items::Item;

impl Binder<'_> {
    pub(crate) fn select(
        &mut self,
        select: &Select,
        parent: Option<usize>,
        tail: Tail<'_>,
    ) -> Result<QueryPlan> {
        refuse_unknown(select)?;
        let level = self.open_block(parent);
        let plan = self.select_in(level, select, tail);
        let block = self.close_block()?;
        let plan = plan?;
        if let Some(parent) = parent {
            self.pass_outer(parent, block)?;
        }
        Ok(plan)
    }

    fn select_in(&mut self, level: usize, select: &Select, tail: Tail<'_>) -> Result<QueryPlan> {
        let mut clauses = self.clauses(level, select, &tail)?;
        if tail.lock.is_some() {
            self.carry_keys(level);
        }
        let pinned = pinned_columns(&self.blocks[level], &clauses.conditions);
        let (mut node, ordered) = self.read(level, &mut clauses, tail.limit.as_ref())?;
        if clauses.grouped {
            node = self.group(level, node, &mut clauses, &pinned)?;
        }
        node = filter(node, std::mem::take(&mut clauses.having));
        self.shape(level, node, clauses, tail, ordered)
    }

    /// FROM and WHERE; whether the rows come in the order of ORDER BY.
    fn read(&mut self, level: usize, clauses: &mut Clauses, limit: Option<&Limit>) -> Result<(Node, bool)> {
        let conditions = std::mem::take(&mut clauses.conditions);
        let Some(tree) = clauses.tree.take() else {
            let dual = Node::new(1.0, NodeKind::Dual { width: 0 });
            return Ok((filter(dual, conditions), false));
        };
        let extreme = if clauses.keys.is_empty() {
            self.extreme(level)
        } else {
            None
        };
        if let Some((present, order)) = extreme {
            // The first row that has a value, in the order of an index, is all that MIN or MAX needs.
            let conditions = conditions.into_iter().chain([present]).collect();
            let joined = self.plan_from(level, tree, conditions, &[order], Some(1))?;
            let node = if joined.ordered {
                limited(joined.node, Limit::one())
            } else {
                joined.node
            };
            return Ok((node, false));
        }
        let single = !clauses.grouped && !clauses.distinct;
        let wanted = if single {
            self.wanted_order(level, &clauses.order)
        } else {
            None
        };
        let in_order = clauses.order.is_empty() || wanted.is_some();
        let may_stop = single && clauses.having.is_empty() && !clauses.calc_found_rows && in_order;
        let enough = limit.and_then(|limit| limit.known_rows).filter(|_| may_stop);
        let order = wanted.as_deref().unwrap_or(&[]);
        let joined = self.plan_from(level, tree, conditions, order, enough)?;
        Ok((joined.node, joined.ordered && wanted.is_some()))
    }

    /// The one aggregate there is, when it is MIN or MAX of a column of the one table: that the column has a value, and the
    /// order whose first row gives it.
    fn extreme(&self, level: usize) -> Option<(Expr, (usize, bool))> {
        let block = &self.blocks[level];
        let [call] = &block.aggregates[..] else {
            return None;
        };
        let descending = match call.kind {
            AggregateKind::Min => false,
            AggregateKind::Max => true,
            _ => return None,
        };
        let [arg] = &call.args[..] else { return None };
        let Op::Column { slot, .. } = &arg.op else {
            return None;
        };
        let (source, column) = block.owner(*slot)?;
        if block.sources.len() != 1 || block.sources[source].table().is_none() {
            return None;
        }
        let present = Expr::new(
            Op::IsNull { negated: true },
            vec![arg.clone()],
            FieldType::new(TypeCode::LongLong),
        );
        Some((present, (column, descending)))
    }

    fn mode(&self, mode: u64) -> bool {
        self.env.options.sql_mode.has(mode)
    }

    /// The rows of tables carry their keys, to be locked by.
    fn carry_keys(&mut self, level: usize) {
        for source in 0..self.blocks[level].sources.len() {
            if self.blocks[level].sources[source].table().is_some() {
                self.blocks[level].key_slot(source);
            }
        }
    }

    /// ORDER BY as columns of the one table there is.
    fn wanted_order(&self, level: usize, order: &[(Expr, bool)]) -> Option<Vec<(usize, bool)>> {
        let block = &self.blocks[level];
        if order.is_empty() {
            return None;
        }
        let mut only = None;
        let mut wanted = Vec::with_capacity(order.len());
        for (expr, descending) in order {
            let Op::Column { slot, .. } = &expr.op else {
                return None;
            };
            let (source, column) = block.owner(*slot)?;
            if only.is_some_and(|first| first != source) || block.sources[source].table().is_none() {
                return None;
            }
            only = Some(source);
            wanted.push((column, *descending));
        }
        (block.sources.len() == 1).then_some(wanted)
    }

    /// TABLE t
    pub(crate) fn whole_table(
        &mut self,
        database: Option<&str>,
        name: &str,
        parent: Option<usize>,
    ) -> Result<QueryPlan> {
        let level = self.open_block(parent);
        let database = match database {
            Some(database) => database.to_owned(),
            None => self.env.current_database()?.to_owned(),
        };
        self.env.context.check(Privilege::Select, &database, name)?;
        let source = self.table_source(&database, name, name.to_owned(), &[])?;
        let (tree, visible) = self.add_source(level, source)?;
        let items: Vec<Item> = visible
            .iter()
            .map(|v| self.column_item(level, v.source, v.column))
            .collect();
        let joined = self.plan_from(level, tree, Vec::new(), &[], None)?;
        let columns = items.into_iter().map(|item| item.column).collect();
        self.close_block()?;
        Ok(QueryPlan::of(joined.node, columns))
    }
}

fn refuse_unknown(select: &Select) -> Result<()> {
    let unknown = if select.into.is_some() {
        "SELECT … INTO"
    } else if !select.named_window.is_empty() || select.qualify.is_some() {
        "window functions"
    } else if select.top.is_some()
        || !select.lateral_views.is_empty()
        || select.prewhere.is_some()
        || !select.connect_by.is_empty()
        || !select.cluster_by.is_empty()
        || !select.distribute_by.is_empty()
        || !select.sort_by.is_empty()
    {
        "this clause"
    } else {
        return Ok(());
    };
    Err(Error::not_supported_yet(unknown))
}
