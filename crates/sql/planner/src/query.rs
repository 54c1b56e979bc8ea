//! Whole queries: set operations, and what stands after them (ORDER BY, LIMIT, FOR UPDATE).

use ilmenite_types::FieldType;
use sqlparser::ast::{
    Expr as Ast, LimitClause, NonBlock, OrderByKind, Query, SetExpr, SetOperator, SetQuantifier,
};

use super::binder::Binder;
use super::names::{Alias, Clause};
use super::ops::{cut, limited, project, sort, sort_key};
use super::{Limit, LockMode, LockWait, Node, NodeKind, QueryPlan, SetKind, SetOp, SortKey};
use crate::ResultColumn;
use ilmenite_error::{Error, Result};
use ilmenite_expr::coerced;
use ilmenite_expr::{Comparer, Expr, ExprBuilder, common_type};

/// What stands after the body of a query.
pub(crate) struct Tail<'q> {
    pub order_by: Vec<(&'q Ast, bool)>,
    pub limit: Option<Limit>,
    pub lock: Option<LockMode>,
}

impl Binder<'_> {
    /// Binds a query whose columns may also come from the blocks from `parent` outwards.
    pub(crate) fn query_under(&mut self, query: &Query, parent: Option<usize>) -> Result<QueryPlan> {
        if query.fetch.is_some() || query.for_clause.is_some() || query.format_clause.is_some() {
            return Err(Error::not_supported_yet("FETCH and FOR XML"));
        }
        let ctes = match &query.with {
            Some(with) => Some(self.with(with)?),
            None => None,
        };
        let plan = self
            .tail_of(query, parent)
            .and_then(|tail| self.body(&query.body, parent, tail));
        if let Some(before) = ctes {
            self.ctes.truncate(before);
        }
        plan
    }

    fn tail_of<'q>(&mut self, query: &'q Query, parent: Option<usize>) -> Result<Tail<'q>> {
        let order_by = match &query.order_by {
            None => Vec::new(),
            Some(order_by) => match &order_by.kind {
                OrderByKind::Expressions(items) => {
                    items.iter().map(|item| (&item.expr, descending(item))).collect()
                }
                OrderByKind::All(_) => return Err(Error::syntax("'ALL'")),
            },
        };
        let limit = match &query.limit_clause {
            None => None,
            Some(LimitClause::LimitOffset {
                limit,
                offset,
                limit_by,
            }) => {
                if !limit_by.is_empty() {
                    return Err(Error::syntax("'BY'"));
                }
                self.limit(limit.as_ref(), offset.as_ref().map(|offset| &offset.value))?
            }
            Some(LimitClause::OffsetCommaLimit { offset, limit }) => self.limit(Some(limit), Some(offset))?,
        };
        // The store knows no shared locks: FOR SHARE takes what FOR UPDATE takes.
        let lock = match &query.locks[..] {
            [] => None,
            [first, ..] if parent.is_none() => Some(LockMode {
                wait: match first.nonblock {
                    Some(NonBlock::Nowait) => LockWait::Nowait,
                    Some(NonBlock::SkipLocked) => LockWait::SkipLocked,
                    None => LockWait::Wait,
                },
            }),
            _ => None,
        };
        Ok(Tail {
            order_by,
            limit,
            lock,
        })
    }

    /// LIMIT and OFFSET: constants and parameters only.
    pub(crate) fn limit(&mut self, count: Option<&Ast>, offset: Option<&Ast>) -> Result<Option<Limit>> {
        if count.is_none() && offset.is_none() {
            return Ok(None);
        }
        let mut one = |ast: &Ast| -> Result<Expr> {
            let level = self.open_block(None);
            let options = &self.env.options;
            let mut scope = super::names::BlockScope {
                binder: self,
                level,
                clause: Clause::Fields,
                aliases: &[],
            };
            let built = ExprBuilder::new(&mut scope, options).build(ast);
            self.close_block()?;
            built
        };
        let count = count.map(&mut one).transpose()?;
        let offset = offset.map(&mut one).transpose()?;
        let known = |expr: &Option<Expr>, absent: u64| match expr {
            None => Some(absent),
            Some(expr) => {
                let value = match &expr.op {
                    ilmenite_expr::Op::Param(_) if self.env.mode.keep => None,
                    ilmenite_expr::Op::Param(index) => self.env.eval.params().get(*index),
                    _ => expr.const_value(),
                };
                value.and_then(|value| limit_number(value).ok())
            }
        };
        let known_rows = known(&count, u64::MAX)
            .zip(known(&offset, 0))
            .map(|(c, o)| c.saturating_add(o));
        if !self.env.mode.describing {
            for (expr, name) in [(&count, "LIMIT"), (&offset, "OFFSET")] {
                if let Some(expr) = expr
                    && let Some(value) = expr.const_value()
                {
                    limit_number(value).map_err(|_| Error::wrong_arguments(name))?;
                }
            }
        }
        Ok(Some(Limit {
            count,
            offset,
            known_rows: known_rows.filter(|n| *n != u64::MAX),
        }))
    }

    fn body(&mut self, body: &SetExpr, parent: Option<usize>, tail: Tail<'_>) -> Result<QueryPlan> {
        match body {
            SetExpr::Select(select) => self.select(select, parent, tail),
            SetExpr::Query(query) => {
                // `(SELECT … LIMIT 1) ORDER BY …`: the inner query is done before what stands outside of it.
                self.enter()?;
                let inner = self.query_under(query, parent)?;
                self.leave();
                self.finish_rows(inner, tail)
            }
            SetExpr::SetOperation {
                left,
                op,
                set_quantifier,
                right,
            } => {
                let plan = self.set_operation(left, *op, *set_quantifier, right, parent)?;
                self.finish_rows(plan, tail)
            }
            SetExpr::Values(values) => {
                let plan = self.values(values, parent)?;
                self.finish_rows(plan, tail)
            }
            SetExpr::Table(table) => {
                let name = table.table_name.clone().unwrap_or_default();
                let plan = self.whole_table(table.schema_name.as_deref(), &name, parent)?;
                self.finish_rows(plan, tail)
            }
            _ => Err(Error::not_supported_yet("this statement as a query")),
        }
    }

    fn set_operation(
        &mut self,
        left: &SetExpr,
        op: SetOperator,
        quantifier: SetQuantifier,
        right: &SetExpr,
        parent: Option<usize>,
    ) -> Result<QueryPlan> {
        self.enter()?;
        let empty = || Tail {
            order_by: Vec::new(),
            limit: None,
            lock: None,
        };
        let left = self.body(left, parent, empty())?;
        let right = self.body(right, parent, empty())?;
        self.leave();
        if left.columns.len() != right.columns.len() {
            return Err(Error::different_column_counts());
        }
        let all = match quantifier {
            SetQuantifier::All => true,
            SetQuantifier::Distinct | SetQuantifier::None => false,
            _ => return Err(Error::syntax("'BY'")),
        };
        let kind = match op {
            SetOperator::Union => SetKind::Union,
            SetOperator::Except | SetOperator::Minus => SetKind::Except,
            SetOperator::Intersect => SetKind::Intersect,
        };
        let mut columns = Vec::with_capacity(left.columns.len());
        let mut types = Vec::with_capacity(left.columns.len());
        for (l, r) in left.columns.iter().zip(right.columns.iter()) {
            let ty = common_type(&[&l.field_type, &r.field_type]);
            columns.push(ResultColumn::computed(l.name.clone(), ty.clone()));
            types.push(ty);
        }
        let rows = left.root.rows + right.root.rows;
        let (left, right) = (converted(left, &types), converted(right, &types));
        let keys = types.iter().map(Comparer::for_type).collect();
        let set = SetOp {
            kind,
            all,
            left,
            right,
            keys,
        };
        Ok(QueryPlan::of(
            Node::new(rows, NodeKind::SetOp(Box::new(set))),
            columns,
        ))
    }

    fn values(&mut self, values: &sqlparser::ast::Values, parent: Option<usize>) -> Result<QueryPlan> {
        let level = self.open_block(parent);
        let mut rows = Vec::with_capacity(values.rows.len());
        for row in &values.rows {
            let exprs = row
                .iter()
                .map(|ast| self.expr(level, Clause::Fields, ast))
                .collect::<Result<Vec<_>>>()?;
            rows.push(exprs);
        }
        let block = self.close_block()?;
        if let Some(parent) = parent {
            self.pass_outer(parent, block)?;
        }
        let Some(first) = rows.first() else {
            return Err(Error::syntax("'VALUES'"));
        };
        if let Some(at) = rows.iter().position(|row| row.len() != first.len()) {
            return Err(Error::column_count_mismatch(at + 1));
        }
        let mut types: Vec<FieldType> = first.iter().map(|e| e.field_type().clone()).collect();
        for row in &rows[1..] {
            for (ty, expr) in types.iter_mut().zip(row) {
                *ty = common_type(&[ty, expr.field_type()]);
            }
        }
        let columns = types
            .iter()
            .enumerate()
            .map(|(at, ty)| ResultColumn::computed(format!("column_{at}"), ty.clone()))
            .collect();
        let rows: Vec<Vec<Expr>> = rows
            .into_iter()
            .map(|row| {
                row.into_iter()
                    .zip(&types)
                    .map(|(expr, ty)| coerced(expr, ty))
                    .collect()
            })
            .collect();
        let root = Node::new(rows.len() as f64, NodeKind::Values { rows });
        Ok(QueryPlan::of(root, columns))
    }

    /// ORDER BY and LIMIT over the columns of a finished query.
    fn finish_rows(&mut self, plan: QueryPlan, tail: Tail<'_>) -> Result<QueryPlan> {
        let QueryPlan {
            mut root,
            columns,
            calc_found_rows,
            calc_limit,
            ..
        } = plan;
        if !tail.order_by.is_empty() {
            let width = columns.len();
            let (exprs, keys) = self.order_of_columns(&columns, &tail.order_by)?;
            let extra = exprs.len() > width;
            if extra {
                root = project(root, exprs);
            }
            root = sort(root, keys, tail.limit.clone());
            if extra {
                root = cut(root, width);
            }
        }
        if let Some(limit) = tail.limit {
            root = limited(root, limit);
        }
        Ok(QueryPlan {
            root,
            columns,
            lock: None,
            lock_keys: 0,
            calc_found_rows,
            calc_limit,
        })
    }

    /// The columns, with what ORDER BY computes of them after, and the keys.
    fn order_of_columns(
        &mut self,
        columns: &[ResultColumn],
        order_by: &[(&Ast, bool)],
    ) -> Result<(Vec<Expr>, Vec<SortKey>)> {
        let aliases: Vec<Alias> = columns
            .iter()
            .enumerate()
            .map(|(at, column)| Alias {
                name: column.name.clone(),
                expr: Expr::column(at, column.field_type.clone(), &column.name),
            })
            .collect();
        let mut exprs: Vec<Expr> = aliases.iter().map(|alias| alias.expr.clone()).collect();
        let mut keys = Vec::with_capacity(order_by.len());
        for (ast, descending) in order_by {
            let expr = match ordinal(ast, columns.len())? {
                Some(at) => exprs[at].clone(),
                None => {
                    let level = self.open_block(None);
                    let built = self.expr_with_aliases(level, Clause::OrderBy, &aliases, ast);
                    self.close_block()?;
                    built?
                }
            };
            keys.push(sort_key(&mut exprs, expr, *descending));
        }
        Ok((exprs, keys))
    }

    /// Hands the outer names of a block that is done to the block around it.
    pub(crate) fn pass_outer(&mut self, _parent: usize, block: super::binder::Block) -> Result<()> {
        // Blocks under a carrier name the carrier's outer row directly, and have none of their own.
        if block.outer.is_empty() {
            Ok(())
        } else {
            Err(Error::bug("a block lost the names it read outwards"))
        }
    }
}

pub(crate) fn descending(item: &sqlparser::ast::OrderByExpr) -> bool {
    matches!(item.options.sort, Some(sqlparser::ast::OrderBySort::Desc))
}

/// A row count as LIMIT takes it.
pub fn limit_number(value: &ilmenite_types::Datum) -> Result<u64> {
    use ilmenite_types::Datum;
    match value {
        Datum::Int(n) => u64::try_from(*n).map_err(|_| Error::wrong_arguments("LIMIT")),
        Datum::UInt(n) => Ok(*n),
        // Drivers send numbers as text.
        Datum::Bytes(text) => std::str::from_utf8(text)
            .ok()
            .and_then(|text| text.trim().parse().ok())
            .ok_or_else(|| Error::wrong_arguments("LIMIT")),
        _ => Err(Error::wrong_arguments("LIMIT")),
    }
}

/// `ORDER BY 2`: the position, from 0.
pub(crate) fn ordinal(ast: &Ast, columns: usize) -> Result<Option<usize>> {
    let Ast::Value(value) = ast else { return Ok(None) };
    let sqlparser::ast::Value::Number(number, _) = &value.value else {
        return Ok(None);
    };
    match number.to_string().parse::<usize>() {
        Ok(at) if (1..=columns).contains(&at) => Ok(Some(at - 1)),
        Ok(at) => Err(Error::unknown_column(at, Clause::OrderBy.as_str())),
        Err(_) => Ok(None),
    }
}

/// A query's rows with each column brought to the type given.
fn converted(plan: QueryPlan, types: &[FieldType]) -> Node {
    let same = plan
        .columns
        .iter()
        .zip(types)
        .all(|(column, ty)| column.field_type.tp == ty.tp && !is_member(ty));
    if same {
        return plan.root;
    }
    let exprs = plan
        .columns
        .iter()
        .zip(types)
        .enumerate()
        .map(|(at, (column, ty))| coerced(Expr::column(at, column.field_type.clone(), &column.name), ty))
        .collect();
    project(plan.root, exprs)
}

fn is_member(ty: &FieldType) -> bool {
    matches!(
        ty.tp,
        ilmenite_types::TypeCode::Enum | ilmenite_types::TypeCode::Set
    )
}
