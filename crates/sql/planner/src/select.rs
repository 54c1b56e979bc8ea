//! One SELECT: its clauses in the order they mean something, and the operators that do them.

use ilmenite_catalog::SchemaState;
use ilmenite_types::{FieldFlags, FieldType, TypeCode};
use sqlparser::ast::{
    Distinct, Expr as Ast, GroupByExpr, Select, SelectItem, SelectItemQualifiedWildcardKind, TableFactor,
};

use super::binder::{Binder, Block, SourceKind, same_name};
use super::condition::{is_fixed, same_expr, split_and};
use super::names::{Alias, Clause};
use super::query::{Tail, limited, ordinal, sort_key};
use super::{Aggregate, Limit, LockMode, Node, NodeKind, QueryPlan, SortKey};
use crate::ResultColumn;
use ilmenite_error::{Error, Result};
use ilmenite_expr::{AggregateKind, CmpOp, Comparer, Expr, Op, SqlMode};

/// An entry of the select list.
struct Item {
    expr: Expr,
    column: ResultColumn,
}

impl Binder<'_> {
    pub fn select(&mut self, select: &Select, parent: Option<usize>, tail: Tail<'_>) -> Result<QueryPlan> {
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
        // SELECT … FROM DUAL is SELECT without FROM.
        let from_dual = matches!(&select.from[..], [one] if one.joins.is_empty() && is_dual(&one.relation));
        let tree = if from_dual {
            None
        } else {
            self.bind_from(level, &select.from)?
        };
        let mut conditions = Vec::new();
        if let Some(selection) = &select.selection {
            let condition = self.expr(level, Clause::Where, selection)?;
            split_and(condition, &mut conditions);
        }
        let mut items = self.items(level, &select.projection, tree.is_some())?;
        let aliases: Vec<Alias> = items
            .iter()
            .map(|item| Alias {
                name: item.column.name.clone(),
                expr: item.expr.clone(),
            })
            .collect();
        let mut keys = self.group_keys(level, &select.group_by, &aliases)?;
        let mut having = Vec::new();
        if let Some(ast) = &select.having {
            let condition = self.expr_with_aliases(level, Clause::Having, &aliases, ast)?;
            split_and(condition, &mut having);
        }
        let mut order: Vec<(Expr, bool)> = Vec::with_capacity(tail.order_by.len());
        for (ast, descending) in &tail.order_by {
            let expr = match ordinal(ast, items.len())? {
                Some(at) => items[at].expr.clone(),
                None => self.expr_with_aliases(level, Clause::OrderBy, &aliases, ast)?,
            };
            order.push((expr, *descending));
        }
        drop(aliases);
        let distinct = match &select.distinct {
            None | Some(Distinct::All) => false,
            Some(Distinct::Distinct) => true,
            Some(Distinct::On(_)) => return Err(Error::syntax("'ON'")),
        };
        let calc_found_rows = select
            .select_modifiers
            .as_ref()
            .is_some_and(|m| m.sql_calc_found_rows);
        let grouped = !keys.is_empty() || !self.blocks[level].aggregates.is_empty();

        if let Some(lock) = tail.lock {
            self.lock_sources(level, lock);
        }
        let wanted = if grouped || distinct {
            None
        } else {
            self.wanted_order(level, &order)
        };
        let limit_rows = tail.limit.as_ref().and_then(|limit| limit.known_rows);
        let pushed = limit_rows.filter(|_| {
            !grouped
                && !distinct
                && having.is_empty()
                && !calc_found_rows
                && (order.is_empty() || wanted.is_some())
        });
        let pinned = pinned_columns(&self.blocks[level], &conditions);
        let key_slots = self.lock_slots(level);
        let extreme = if keys.is_empty() {
            self.extreme(level)
        } else {
            None
        };
        let (mut node, ordered) = match (tree, extreme) {
            (Some(tree), Some((column, order))) => {
                // The first row that has a value, in the order of an index, is all that MIN or MAX needs.
                conditions.push(column);
                let joined = self.plan_from(level, tree, conditions, &[order], Some(1))?;
                let node = if joined.ordered {
                    limited(joined.node, Limit::one())
                } else {
                    joined.node
                };
                (node, false)
            }
            (Some(tree), None) => {
                let joined =
                    self.plan_from(level, tree, conditions, wanted.as_deref().unwrap_or(&[]), pushed)?;
                (joined.node, joined.ordered && wanted.is_some())
            }
            (None, _) => {
                let mut node = Node::new(1.0, NodeKind::Dual { width: 0 });
                if !conditions.is_empty() {
                    node = super::join::filter(node, conditions);
                }
                (node, false)
            }
        };
        if grouped {
            node = self.group(
                level,
                node,
                &mut keys,
                &mut items,
                &mut having,
                &mut order,
                &pinned,
            )?;
        }
        if !having.is_empty() {
            node = super::join::filter(node, having);
        }
        let visible = items.len();
        let mut exprs: Vec<Expr> = items.iter().map(|item| item.expr.clone()).collect();
        let columns: Vec<ResultColumn> = items.into_iter().map(|item| item.column).collect();
        let sorted = ordered || order.is_empty();
        let mut sort: Vec<SortKey> = Vec::new();
        if !sorted {
            sort = order
                .into_iter()
                .map(|(expr, descending)| sort_key(&mut exprs, expr, descending))
                .collect();
            // A key that is fixed sorts nothing.
            sort.retain(|key| !is_constant(&exprs[key.slot]));
        }
        if distinct && exprs.len() > visible && self.mode(SqlMode::ONLY_FULL_GROUP_BY) {
            let at = sort.iter().position(|key| key.slot >= visible).unwrap_or(0);
            let column = sort.get(at).map(|key| key.text.clone()).unwrap_or_default();
            return Err(Error::order_by_not_in_select(
                at + 1,
                "ORDER BY clause",
                column,
                "DISTINCT",
            ));
        }
        // Rows that will be locked carry their keys to the end.
        let lock_from = exprs.len();
        if tail.lock.is_some() && !grouped && !distinct {
            exprs.extend(
                key_slots
                    .iter()
                    .map(|slot| Expr::column(*slot, FieldType::new(TypeCode::Blob), "")),
            );
        }
        let locked = exprs.len() > lock_from;
        let identity = exprs
            .iter()
            .enumerate()
            .all(|(at, expr)| matches!(&expr.op, Op::Column { slot, .. } if *slot == at))
            && exprs.len() == self.blocks[level].width
            && !grouped;
        let rows = node.rows;
        if !identity {
            node = Node::new(
                rows,
                NodeKind::Project {
                    input: Box::new(node),
                    exprs,
                },
            );
        }
        if distinct {
            let keys = columns
                .iter()
                .map(|column| Comparer::for_type(&column.field_type))
                .collect();
            node = Node::new(
                rows * 0.8,
                NodeKind::Distinct {
                    input: Box::new(node),
                    keys,
                },
            );
        }
        let cut = !sort.is_empty() && lock_from > visible;
        if !sort.is_empty() {
            let limit = tail.limit.clone().filter(|_| !calc_found_rows);
            node = Node::new(
                node.rows,
                NodeKind::Sort {
                    input: Box::new(node),
                    keys: sort,
                    limit,
                },
            );
        }
        let calc_limit = tail.limit.clone().filter(|_| calc_found_rows);
        if let Some(limit) = tail.limit.filter(|_| !calc_found_rows) {
            node = limited(node, limit);
        }
        if cut && !locked {
            node = Node::new(
                node.rows,
                NodeKind::Cut {
                    input: Box::new(node),
                    width: visible,
                },
            );
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
        let (source, column) = owner(block, *slot)?;
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

    /// Marks tables for locking: their rows carry their keys.
    fn lock_sources(&mut self, level: usize, _lock: LockMode) {
        for source in 0..self.blocks[level].sources.len() {
            if self.blocks[level].sources[source].table().is_some() {
                self.blocks[level].key_slot(source);
            }
        }
    }

    fn lock_slots(&self, level: usize) -> Vec<usize> {
        self.blocks[level]
            .sources
            .iter()
            .filter_map(|source| source.key_slot)
            .collect()
    }

    fn items(&mut self, level: usize, projection: &[SelectItem], has_from: bool) -> Result<Vec<Item>> {
        let mut items = Vec::with_capacity(projection.len());
        for item in projection {
            match item {
                SelectItem::UnnamedExpr(ast) => {
                    let expr = self.expr(level, Clause::Fields, ast)?;
                    let column = self.result_column(level, &expr, None, ast);
                    items.push(Item { expr, column });
                }
                SelectItem::ExprWithAlias { expr: ast, alias } => {
                    let expr = self.expr(level, Clause::Fields, ast)?;
                    let column = self.result_column(level, &expr, Some(alias.value.clone()), ast);
                    items.push(Item { expr, column });
                }
                SelectItem::Wildcard(_) => {
                    if !has_from {
                        return Err(Error::no_tables_used());
                    }
                    let columns: Vec<(usize, usize)> = match &self.blocks[level].visible {
                        Some(visible) => visible
                            .iter()
                            .map(|column| (column.source, column.column))
                            .collect(),
                        None => {
                            let sources = self.blocks[level].sources.iter().enumerate();
                            sources
                                .flat_map(|(at, s)| (0..s.column_count()).map(move |column| (at, column)))
                                .collect()
                        }
                    };
                    for (source, column) in columns {
                        items.push(self.column_item(level, source, column));
                    }
                }
                SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), _) => {
                    let (database, table) = super::from::split_name(name)?;
                    let found = self.blocks[level].sources.iter().position(|source| {
                        same_name(&source.alias, table)
                            && database.is_none_or(|db| {
                                source.database.as_deref().is_some_and(|own| same_name(own, db))
                            })
                    });
                    let source = found.ok_or_else(|| Error::unknown_table(table, "field list"))?;
                    for column in 0..self.blocks[level].sources[source].column_count() {
                        items.push(self.column_item(level, source, column));
                    }
                }
                other => return Err(Error::syntax(format!("'{other}'"))),
            }
        }
        Ok(items)
    }

    fn column_item(&mut self, level: usize, source: usize, column: usize) -> Item {
        let expr = self.blocks[level].column_expr(source, column);
        let column = column_of(&self.blocks[level], source, column, None);
        Item { expr, column }
    }

    fn result_column(&self, level: usize, expr: &Expr, alias: Option<String>, ast: &Ast) -> ResultColumn {
        let block = &self.blocks[level];
        if let Op::Column { slot, .. } = &expr.op
            && let Some((source, column)) = owner(block, *slot)
        {
            // A name keeps the case it is written in.
            let written = match ast {
                Ast::Identifier(ident) => Some(ident.value.clone()),
                Ast::CompoundIdentifier(parts) => parts.last().map(|ident| ident.value.clone()),
                _ => None,
            };
            return column_of(block, source, column, alias.or(written));
        }
        let name = alias.unwrap_or_else(|| super::text::written(ast));
        ResultColumn::computed(name, expr.field_type().clone())
    }

    fn group_keys(&mut self, level: usize, group_by: &GroupByExpr, aliases: &[Alias]) -> Result<Vec<Expr>> {
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
            super::condition::walk(&expr, &mut |node| {
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
            let (source, column) = owner(block, *slot)?;
            if only.is_some_and(|first| first != source) || block.sources[source].table().is_none() {
                return None;
            }
            only = Some(source);
            wanted.push((column, *descending));
        }
        (block.sources.len() == 1).then_some(wanted)
    }

    /// Puts the grouping under what comes after it, which then reads from its result.
    #[allow(clippy::too_many_arguments)]
    fn group(
        &mut self,
        level: usize,
        input: Node,
        keys: &mut Vec<Expr>,
        items: &mut [Item],
        having: &mut [Expr],
        order: &mut [(Expr, bool)],
        pinned: &[usize],
    ) -> Result<Node> {
        let calls = std::mem::take(&mut self.blocks[level].aggregates);
        let full = self.mode(SqlMode::ONLY_FULL_GROUP_BY);
        let mut firsts: Vec<Expr> = Vec::new();
        let determined = determined_sources(&self.blocks[level], keys, pinned);
        let owners = self.blocks[level].owners.clone();
        let (key_count, call_count) = (keys.len(), calls.len());
        let mut place = |node: &Expr, number: usize, clause: &str| -> Result<Option<Expr>> {
            let moved = |slot: usize| {
                Some(Expr::column(
                    slot,
                    node.field_type().clone(),
                    &super::text::expr_text(node),
                ))
            };
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

    /// TABLE t
    pub fn whole_table(
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
        self.env
            .context
            .check(crate::Privilege::Select, &database, name)?;
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

fn is_dual(factor: &TableFactor) -> bool {
    matches!(factor, TableFactor::Table { name, alias: None, .. }
        if matches!(&name.0[..], [one] if one.as_ident().is_some_and(|i| i.value.eq_ignore_ascii_case("dual"))))
}

fn is_constant(expr: &Expr) -> bool {
    is_fixed(expr) && !matches!(expr.op, Op::Outer { .. })
}

/// Source and column a slot was given to.
fn owner(block: &Block, slot: usize) -> Option<(usize, usize)> {
    let source = *block.owners.get(slot)?;
    let column = block.sources[source]
        .slots
        .iter()
        .position(|s| *s == Some(slot))?;
    Some((source, column))
}

fn column_of(block: &Block, source: usize, column: usize, name: Option<String>) -> ResultColumn {
    let source = &block.sources[source];
    let (own, ty) = source.column(column);
    let original_table = match &source.kind {
        SourceKind::Table(table) => table.info.name.original.clone(),
        SourceKind::Virtual { table } => table.name().to_owned(),
        SourceKind::Derived { .. } | SourceKind::NewRow { .. } => String::new(),
    };
    ResultColumn {
        name: name.unwrap_or_else(|| own.to_owned()),
        original_name: own.to_owned(),
        table: source.alias.clone(),
        original_table,
        schema: source.database.clone().unwrap_or_default(),
        field_type: ty.clone(),
    }
}

/// Slots that WHERE gives one value.
fn pinned_columns(block: &Block, conditions: &[Expr]) -> Vec<usize> {
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

impl QueryPlan {
    pub fn of(root: Node, columns: Vec<ResultColumn>) -> Self {
        QueryPlan {
            root,
            columns: columns.into(),
            lock: None,
            lock_keys: 0,
            calc_found_rows: false,
            calc_limit: None::<Limit>,
        }
    }
}
