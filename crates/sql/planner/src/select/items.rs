//! The select list: what is selected, and what the result's columns are called.

use sqlparser::ast::{Expr as Ast, SelectItem, SelectItemQualifiedWildcardKind};

use crate::ResultColumn;
use crate::binder::{Binder, Block, SourceKind, same_name};
use crate::from::split_name;
use crate::names::Clause;
use crate::text::written;
use ilmenite_error::{Error, Result};
use ilmenite_expr::{Expr, Op};

/// An entry of the select list.
pub(super) struct Item {
    pub expr: Expr,
    pub column: ResultColumn,
}

impl Binder<'_> {
    pub(super) fn items(
        &mut self,
        level: usize,
        projection: &[SelectItem],
        has_from: bool,
    ) -> Result<Vec<Item>> {
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
                    let (database, table) = split_name(name)?;
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

    pub(super) fn column_item(&mut self, level: usize, source: usize, column: usize) -> Item {
        let expr = self.blocks[level].column_expr(source, column);
        let column = column_of(&self.blocks[level], source, column, None);
        Item { expr, column }
    }

    fn result_column(&self, level: usize, expr: &Expr, alias: Option<String>, ast: &Ast) -> ResultColumn {
        let block = &self.blocks[level];
        if let Op::Column { slot, .. } = &expr.op
            && let Some((source, column)) = block.owner(*slot)
        {
            // A name keeps the case it is written in.
            let written = match ast {
                Ast::Identifier(ident) => Some(ident.value.clone()),
                Ast::CompoundIdentifier(parts) => parts.last().map(|ident| ident.value.clone()),
                _ => None,
            };
            return column_of(block, source, column, alias.or(written));
        }
        let name = alias.unwrap_or_else(|| written(ast));
        ResultColumn::computed(name, expr.field_type().clone())
    }
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
