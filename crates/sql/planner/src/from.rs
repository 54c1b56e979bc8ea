//! FROM: sources, and how they are joined.

use std::sync::Arc;

use sqlparser::ast::{
    self, Ident, JoinConstraint, JoinOperator, ObjectName, Query, TableAlias, TableFactor,
    TableIndexHintType, TableWithJoins,
};

use super::binder::{Binder, CteDef, IndexHints, Source, SourceKind, VisibleColumn, same_name};
use super::condition::split_and;
use super::names::Clause;
use super::{JoinKind, TableUse};
use crate::Privilege;
use ilmenite_error::{Error, Result};
use ilmenite_expr::{CmpOp, Expr};

/// The joins of FROM as written, with conditions split at AND.
#[derive(Debug)]
pub(crate) enum FromTree {
    Source(usize),
    Join {
        kind: JoinKind,
        left: Box<FromTree>,
        right: Box<FromTree>,
        on: Vec<Expr>,
        straight: bool,
    },
}

impl FromTree {
    pub(crate) fn sources(&self, into: &mut Vec<usize>) {
        match self {
            FromTree::Source(at) => into.push(*at),
            FromTree::Join { left, right, .. } => {
                left.sources(into);
                right.sources(into);
            }
        }
    }
}

impl Binder<'_> {
    /// Binds a whole FROM list into block `level`; `None` when it is empty.
    pub(crate) fn bind_from(&mut self, level: usize, list: &[TableWithJoins]) -> Result<Option<FromTree>> {
        let mut whole: Option<(FromTree, Vec<VisibleColumn>)> = None;
        let mut merged = false;
        for item in list {
            let (tree, visible) = self.table_with_joins(level, item, &mut merged)?;
            whole = Some(match whole {
                None => (tree, visible),
                Some((left, mut columns)) => {
                    columns.extend(visible);
                    let on = Vec::new();
                    let (left, right) = (Box::new(left), Box::new(tree));
                    (
                        FromTree::Join {
                            kind: JoinKind::Inner,
                            left,
                            right,
                            on,
                            straight: false,
                        },
                        columns,
                    )
                }
            });
        }
        let Some((tree, visible)) = whole else {
            return Ok(None);
        };
        if merged {
            self.blocks[level].visible = Some(visible);
        }
        Ok(Some(tree))
    }

    fn table_with_joins(
        &mut self,
        level: usize,
        item: &TableWithJoins,
        merged: &mut bool,
    ) -> Result<(FromTree, Vec<VisibleColumn>)> {
        let (mut tree, mut visible) = self.factor(level, &item.relation, merged)?;
        for join in &item.joins {
            let (right, right_visible) = self.factor(level, &join.relation, merged)?;
            let (constraint, kind, swap, straight) = match &join.join_operator {
                JoinOperator::Join(c) | JoinOperator::Inner(c) | JoinOperator::CrossJoin(c) => {
                    (c, JoinKind::Inner, false, false)
                }
                JoinOperator::StraightJoin(c) => (c, JoinKind::Inner, false, true),
                JoinOperator::Left(c) | JoinOperator::LeftOuter(c) => (c, JoinKind::Left, false, false),
                JoinOperator::Right(c) | JoinOperator::RightOuter(c) => (c, JoinKind::Left, true, false),
                _ => return Err(Error::not_supported_yet("this kind of join")),
            };
            let (on, columns) =
                self.join_condition(level, constraint, &visible, &right_visible, swap, merged)?;
            visible = columns;
            let (left, right) = if swap { (right, tree) } else { (tree, right) };
            tree = FromTree::Join {
                kind,
                left: Box::new(left),
                right: Box::new(right),
                on,
                straight,
            };
        }
        Ok((tree, visible))
    }

    fn join_condition(
        &mut self,
        level: usize,
        constraint: &JoinConstraint,
        left: &[VisibleColumn],
        right: &[VisibleColumn],
        swap: bool,
        merged: &mut bool,
    ) -> Result<(Vec<Expr>, Vec<VisibleColumn>)> {
        let both = || left.iter().chain(right).cloned().collect::<Vec<_>>();
        let names: Vec<String> = match constraint {
            JoinConstraint::None => return Ok((Vec::new(), both())),
            JoinConstraint::On(condition) => {
                let mut on = Vec::new();
                let condition = self.expr(level, Clause::On, condition)?;
                split_and(condition, &mut on);
                return Ok((on, both()));
            }
            JoinConstraint::Using(names) => names.iter().map(last_name).collect::<Result<_>>()?,
            JoinConstraint::Natural => {
                let block = &self.blocks[level];
                let name = |column: &VisibleColumn| block.sources[column.source].column(column.column).0;
                left.iter()
                    .map(|column| name(column).to_owned())
                    .filter(|l| right.iter().any(|column| same_name(name(column), l)))
                    .collect()
            }
        };
        let find = |binder: &Self, columns: &[VisibleColumn], name: &str| -> Result<usize> {
            let block = &binder.blocks[level];
            let mut found = columns
                .iter()
                .enumerate()
                .filter(|(_, column)| same_name(block.sources[column.source].column(column.column).0, name));
            match (found.next(), found.next()) {
                (Some((at, _)), None) => Ok(at),
                (None, _) => Err(Error::unknown_column(name, "from clause")),
                _ => Err(Error::ambiguous_column(name, "from clause")),
            }
        };
        let mut on = Vec::new();
        let mut common = Vec::new();
        let (mut gone_left, mut gone_right) = (Vec::new(), Vec::new());
        for name in &names {
            let (l, r) = (find(self, left, name)?, find(self, right, name)?);
            let block = &mut self.blocks[level];
            let l_expr = block.column_expr(left[l].source, left[l].column);
            let r_expr = block.column_expr(right[r].source, right[r].column);
            on.push(ilmenite_expr::comparison(CmpOp::Eq, l_expr, r_expr)?);
            common.push(if swap { right[r].clone() } else { left[l].clone() });
            gone_left.push(l);
            gone_right.push(r);
        }
        if !names.is_empty() {
            *merged = true;
        }
        let rest = |columns: &[VisibleColumn], gone: &[usize]| {
            let kept = columns.iter().enumerate().filter(|(at, _)| !gone.contains(at));
            kept.map(|(_, column)| column.clone()).collect::<Vec<_>>()
        };
        let mut columns = common;
        if swap {
            columns.extend(rest(right, &gone_right));
            columns.extend(rest(left, &gone_left));
        } else {
            columns.extend(rest(left, &gone_left));
            columns.extend(rest(right, &gone_right));
        }
        Ok((on, columns))
    }

    fn factor(
        &mut self,
        level: usize,
        factor: &TableFactor,
        merged: &mut bool,
    ) -> Result<(FromTree, Vec<VisibleColumn>)> {
        match factor {
            TableFactor::Table {
                name,
                alias,
                args: None,
                partitions,
                index_hints,
                ..
            } => {
                if !partitions.is_empty() {
                    return Err(Error::not_supported_yet("PARTITION (…)"));
                }
                let source = self.named_source(level, name, alias.as_ref(), index_hints)?;
                self.add_source(level, source)
            }
            TableFactor::Derived {
                lateral,
                subquery,
                alias,
                ..
            } => {
                if *lateral {
                    return Err(Error::not_supported_yet("LATERAL"));
                }
                let alias = alias.as_ref().ok_or_else(Error::derived_must_have_alias)?;
                let names: Vec<String> = alias.columns.iter().map(|c| c.name.value.clone()).collect();
                let source = self.derived(subquery, alias.name.value.clone(), &names)?;
                self.add_source(level, source)
            }
            TableFactor::NestedJoin {
                table_with_joins,
                alias: None,
            } => self.table_with_joins(level, table_with_joins, merged),
            other => Err(Error::not_supported_yet(format!("FROM {other}"))),
        }
    }

    pub(crate) fn add_source(
        &mut self,
        level: usize,
        source: Source,
    ) -> Result<(FromTree, Vec<VisibleColumn>)> {
        let sources = &mut self.blocks[level].sources;
        let same = |other: &Source| {
            same_name(&other.alias, &source.alias)
                && match (&other.database, &source.database) {
                    (Some(a), Some(b)) => same_name(a, b),
                    _ => true,
                }
        };
        if sources.iter().any(same) {
            return Err(Error::not_unique_table(&source.alias));
        }
        // Sets of sources are 64 bits wide; MySQL's limit is 61.
        if sources.len() >= 61 {
            return Err(Error::not_supported_yet("more than 61 tables in a join"));
        }
        let at = sources.len();
        let visible = (0..source.column_count())
            .map(|column| VisibleColumn { source: at, column })
            .collect();
        sources.push(source);
        Ok((FromTree::Source(at), visible))
    }

    /// A query in FROM.
    fn derived(&mut self, query: &Query, alias: String, names: &[String]) -> Result<Source> {
        self.enter()?;
        let plan = self.query_under(query, None)?;
        self.leave();
        if !names.is_empty() && names.len() != plan.columns.len() {
            return Err(Error::view_wrong_list());
        }
        let mut columns: Vec<(String, _)> = Vec::with_capacity(plan.columns.len());
        for (at, column) in plan.columns.iter().enumerate() {
            let name = names.get(at).cloned().unwrap_or_else(|| column.name.clone());
            if columns.iter().any(|(known, _)| same_name(known, &name)) {
                return Err(Error::duplicate_column(name));
            }
            columns.push((name, column.field_type.clone()));
        }
        Ok(Source {
            alias,
            database: None,
            slots: vec![None; columns.len()],
            kind: SourceKind::Derived {
                plan: Some(Box::new(plan)),
                columns,
            },
            key_slot: None,
            raw_slot: None,
            hints: IndexHints::default(),
        })
    }

    /// A table, virtual table or CTE by name.
    fn named_source(
        &mut self,
        level: usize,
        name: &ObjectName,
        alias: Option<&TableAlias>,
        hints: &[ast::TableIndexHints],
    ) -> Result<Source> {
        let (database, table) = split_name(name)?;
        let shown = |own: &str| alias.map_or_else(|| own.to_owned(), |alias| alias.name.value.clone());
        if database.is_none()
            && let Some(at) = self.ctes.iter().rposition(|cte| same_name(&cte.name, table))
        {
            let cte = self.ctes[at].clone();
            // It sees only the CTEs before it.
            let later = self.ctes.split_off(cte.visible);
            let bound = self.derived(&cte.query, shown(&cte.name), &cte.columns);
            self.ctes.extend(later);
            return bound;
        }
        let env = self.env;
        let database = match database {
            Some(database) => database,
            None if table.eq_ignore_ascii_case("dual") && env.context.database().is_none() => {
                return Err(Error::no_tables_used());
            }
            None => env.current_database()?,
        };
        if self.changing != Some(level) {
            env.context.check(Privilege::Select, database, table)?;
        }
        self.table_source(database, table, shown(table), hints)
    }

    /// A table or virtual table as a source; what it may be used for is checked by the caller.
    pub(crate) fn table_source(
        &mut self,
        database: &str,
        table: &str,
        alias: String,
        hints: &[ast::TableIndexHints],
    ) -> Result<Source> {
        if let Some(found) = self.env.context.virtual_table(database, table) {
            return Ok(Source {
                alias,
                database: Some(database.to_owned()),
                slots: vec![None; found.columns().len()],
                kind: SourceKind::Virtual { table: found },
                key_slot: None,
                raw_slot: None,
                hints: IndexHints::default(),
            });
        }
        let found: TableUse = self.env.context.table(database, table)?.clone();
        let hints = index_hints(&found, hints)?;
        Ok(Source {
            alias,
            database: Some(database.to_owned()),
            slots: vec![None; found.info.public_columns().count()],
            kind: SourceKind::Table(found),
            key_slot: None,
            raw_slot: None,
            hints,
        })
    }

    /// Defines the CTEs of a WITH; returns how many there were before.
    pub(crate) fn with(&mut self, with: &ast::With) -> Result<usize> {
        let before = self.ctes.len();
        if with.recursive {
            let recursive = with
                .cte_tables
                .iter()
                .any(|cte| refers_to(&cte.query, &cte.alias.name));
            if recursive {
                return Err(Error::not_supported_yet("WITH RECURSIVE"));
            }
        }
        for cte in &with.cte_tables {
            if self.ctes[before..]
                .iter()
                .any(|known| same_name(&known.name, &cte.alias.name.value))
            {
                return Err(Error::not_unique_table(&cte.alias.name.value));
            }
            let visible = self.ctes.len();
            self.ctes.push(CteDef {
                name: cte.alias.name.value.clone(),
                columns: cte.alias.columns.iter().map(|c| c.name.value.clone()).collect(),
                query: Arc::new((*cte.query).clone()),
                visible,
            });
        }
        Ok(before)
    }
}

/// Does the query read from a table of that name?
fn refers_to(query: &Query, name: &Ident) -> bool {
    let mut found = false;
    let _ = ast::visit_relations(query, |relation: &ObjectName| {
        found |= matches!(&relation.0[..], [one] if one.as_ident().is_some_and(|i| same_name(&i.value, &name.value)));
        std::ops::ControlFlow::<()>::Continue(())
    });
    found
}

fn index_hints(table: &TableUse, hints: &[ast::TableIndexHints]) -> Result<IndexHints> {
    let mut result = IndexHints::default();
    for hint in hints {
        let mut names = Vec::with_capacity(hint.index_names.len());
        for name in &hint.index_names {
            let lower = name.value.to_lowercase();
            let clustered_key =
                lower == "primary" && (table.info.pk_is_handle || table.info.is_common_handle);
            let public =
                |index: &ilmenite_catalog::IndexInfo| index.state == ilmenite_catalog::SchemaState::Public;
            if !clustered_key && table.info.index(&lower).is_none_or(|index| !public(index)) {
                return Err(Error::key_does_not_exist(&name.value, &table.info.name));
            }
            names.push(lower);
        }
        // A hint for ORDER BY or GROUP BY alone does not say how to find the rows.
        if matches!(
            hint.for_clause,
            Some(ast::TableIndexHintForClause::OrderBy | ast::TableIndexHintForClause::GroupBy)
        ) {
            continue;
        }
        match hint.hint_type {
            TableIndexHintType::Ignore => result.ignore.extend(names),
            TableIndexHintType::Use | TableIndexHintType::Force => {
                result.only.get_or_insert_default().extend(names);
            }
        }
    }
    Ok(result)
}

/// `[database.]table`
pub fn split_name(name: &ObjectName) -> Result<(Option<&str>, &str)> {
    match &name.0[..] {
        [table] => Ok((None, part(table)?)),
        [database, table] => Ok((Some(part(database)?), part(table)?)),
        _ => Err(Error::syntax(format!("'{name}'"))),
    }
}

fn part(part: &ast::ObjectNamePart) -> Result<&str> {
    part.as_ident()
        .map(|ident| ident.value.as_str())
        .ok_or_else(|| Error::syntax(format!("'{part}'")))
}

fn last_name(name: &ObjectName) -> Result<String> {
    name.0
        .last()
        .map(part)
        .transpose()?
        .map(str::to_owned)
        .ok_or_else(|| Error::syntax("'USING'"))
}
