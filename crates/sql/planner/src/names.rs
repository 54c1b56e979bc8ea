//! What names in expressions mean: columns of the block, of the blocks around it, aliases of the select list.

use ilmenite_types::{Datum, FieldType, TypeCode};
use sqlparser::ast::Query;

use super::binder::{Binder, same_name};
use crate::SubqueryPlan;
use ilmenite_error::{Error, Result};
use ilmenite_expr::{AggregateCall, BoundSubquery, ColumnName, Expr, ExprBuilder, Scope, SubqueryId};

/// The clause an expression stands in, as messages name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Clause {
    Fields,
    On,
    Where,
    GroupBy,
    Having,
    OrderBy,
}

impl Clause {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Clause::Fields => "field list",
            Clause::On => "on clause",
            Clause::Where => "where clause",
            Clause::GroupBy => "group statement",
            Clause::Having => "having clause",
            Clause::OrderBy => "order clause",
        }
    }
}

/// An entry of the select list that other clauses may name.
pub(crate) struct Alias {
    pub name: String,
    pub expr: Expr,
}

/// One block's view, for `ExprBuilder`.
pub(crate) struct BlockScope<'s, 'a> {
    pub binder: &'s mut Binder<'a>,
    pub level: usize,
    pub clause: Clause,
    pub aliases: &'s [Alias],
}

impl Binder<'_> {
    /// Compiles an expression of block `level`.
    pub(crate) fn expr(&mut self, level: usize, clause: Clause, ast: &sqlparser::ast::Expr) -> Result<Expr> {
        self.expr_with_aliases(level, clause, &[], ast)
    }

    pub(crate) fn expr_with_aliases(
        &mut self,
        level: usize,
        clause: Clause,
        aliases: &[Alias],
        ast: &sqlparser::ast::Expr,
    ) -> Result<Expr> {
        let options = &self.env.options;
        let mut scope = BlockScope {
            binder: &mut *self,
            level,
            clause,
            aliases,
        };
        let built = ExprBuilder::new(&mut scope, options).build(ast)?;
        if super::condition::is_volatile(&built) {
            self.volatile_calls += 1;
        }
        Ok(built)
    }

    /// The column of that name in block `level` itself; an error when several fit.
    pub(crate) fn find_in_block(
        &self,
        level: usize,
        name: &ColumnName<'_>,
        clause: Clause,
    ) -> Result<Option<(usize, usize)>> {
        let block = &self.blocks[level];
        let mut found = None;
        let ambiguous = || Err(Error::ambiguous_column(name, clause.as_str()));
        let Some(table) = name.table else {
            if let Some(visible) = &block.visible {
                for column in visible {
                    if same_name(block.sources[column.source].column(column.column).0, name.column) {
                        if found.is_some() {
                            return ambiguous();
                        }
                        found = Some((column.source, column.column));
                    }
                }
                return Ok(found);
            }
            for (at, source) in block.sources.iter().enumerate() {
                if let Some(column) = source.find(name.column) {
                    if found.is_some() {
                        return ambiguous();
                    }
                    found = Some((at, column));
                }
            }
            return Ok(found);
        };
        for (at, source) in block.sources.iter().enumerate() {
            if !same_name(&source.alias, table) {
                continue;
            }
            if let Some(schema) = name.schema
                && !source
                    .database
                    .as_deref()
                    .is_some_and(|database| same_name(database, schema))
            {
                continue;
            }
            if let Some(column) = source.find(name.column) {
                if found.is_some() {
                    return ambiguous();
                }
                found = Some((at, column));
            }
        }
        Ok(found)
    }

    /// The column as an expression of block `level`, looked for outwards.
    pub(crate) fn resolve(
        &mut self,
        level: usize,
        name: &ColumnName<'_>,
        clause: Clause,
    ) -> Result<Option<Expr>> {
        if let Some((source, column)) = self.find_in_block(level, name, clause)? {
            return Ok(Some(self.blocks[level].column_expr(source, column)));
        }
        let Some(parent) = self.blocks[level].parent else {
            return Ok(None);
        };
        let Some(expr) = self.resolve(parent, name, clause)? else {
            return Ok(None);
        };
        if self.blocks[parent].carrier {
            return Ok(Some(expr));
        }
        Ok(Some(self.outer(level, expr)))
    }

    /// What stands in block `level` for an expression of its parent.
    fn outer(&mut self, level: usize, expr: Expr) -> Expr {
        let outer = &mut self.blocks[level].outer;
        let ty = expr.field_type().clone();
        let at = match outer
            .iter()
            .position(|known| super::condition::same_expr(known, &expr))
        {
            Some(at) => at,
            None => {
                outer.push(expr);
                outer.len() - 1
            }
        };
        Expr::outer(at, ty, &super::text::expr_text(&self.blocks[level].outer[at]))
    }

    /// Binds a subquery of block `level`.
    pub(crate) fn subquery(&mut self, level: usize, query: &Query) -> Result<BoundSubquery> {
        self.enter()?;
        let id = self.subqueries.len();
        self.subqueries.push(None);
        let block = self.open_block(Some(level));
        self.blocks[block].carrier = true;
        let volatile_before = self.volatile_calls;
        let plan = self.query_under(query, Some(block))?;
        let carrier = self.close_block()?;
        let types: Vec<FieldType> = plan.columns.iter().map(|c| c.field_type.clone()).collect();
        let volatile = self.volatile_calls > volatile_before;
        let subquery = SubqueryPlan {
            plan,
            outer: carrier.outer,
            types: types.clone(),
            volatile,
        };
        self.subqueries[id] = Some(subquery);
        self.leave();
        Ok(BoundSubquery {
            id: SubqueryId(id),
            columns: types,
        })
    }

    pub(crate) fn parameter(&self, index: usize) -> Result<Expr> {
        if self.env.mode.describing {
            return Ok(Expr::param(index, FieldType::new(TypeCode::Null)));
        }
        let value = self
            .env
            .eval
            .params()
            .get(index)
            .ok_or_else(|| Error::wrong_arguments("EXECUTE"))?;
        Ok(Expr::param(index, type_of_value(value)))
    }
}

/// The type of a value that comes without one: a parameter, a user variable.
fn type_of_value(value: &Datum) -> FieldType {
    let mut ty = FieldType::new(match value {
        Datum::Null => TypeCode::Null,
        Datum::Int(_) | Datum::UInt(_) | Datum::Enum(_) | Datum::Set(_) => TypeCode::LongLong,
        Datum::Bit(_) => TypeCode::Bit,
        Datum::Float(_) => TypeCode::Float,
        Datum::Double(_) => TypeCode::Double,
        Datum::Decimal(_) => TypeCode::NewDecimal,
        Datum::Bytes(_) => TypeCode::VarString,
        Datum::Time(time) => match time.kind() {
            ilmenite_types::TimeKind::Date => TypeCode::Date,
            _ => TypeCode::DateTime,
        },
        Datum::Duration(_) => TypeCode::Duration,
        Datum::Json(_) => TypeCode::Json,
    });
    match value {
        Datum::UInt(_) | Datum::Enum(_) | Datum::Set(_) => {
            ty.flags.set(ilmenite_types::FieldFlags::UNSIGNED, true);
            ty.flen = 20;
        }
        Datum::Int(_) => ty.flen = 20,
        Datum::Bit(_) => ty.flen = 64,
        Datum::Decimal(d) => {
            ty.flen = i32::from(d.precision());
            ty.decimal = i32::from(d.scale());
        }
        Datum::Bytes(bytes) => ty.flen = i32::try_from(bytes.len()).unwrap_or(i32::MAX),
        Datum::Time(time) => ty.decimal = i32::from(time.fsp()),
        Datum::Duration(duration) => ty.decimal = i32::from(duration.fsp()),
        _ => {}
    }
    ty
}

impl Scope for BlockScope<'_, '_> {
    fn column(&mut self, name: &ColumnName<'_>) -> Result<Expr> {
        let alias = |aliases: &[Alias]| -> Result<Option<Expr>> {
            if name.table.is_some() {
                return Ok(None);
            }
            let mut found: Option<&Alias> = None;
            for alias in aliases.iter().filter(|alias| same_name(&alias.name, name.column)) {
                if let Some(first) = found
                    && !super::condition::same_expr(&first.expr, &alias.expr)
                {
                    return Err(Error::ambiguous_column(name, self.clause.as_str()));
                }
                found = found.or(Some(alias));
            }
            Ok(found.map(|alias| alias.expr.clone()))
        };
        // ORDER BY and HAVING prefer what is selected, GROUP BY the tables' columns.
        if matches!(self.clause, Clause::OrderBy | Clause::Having)
            && let Some(expr) = alias(self.aliases)?
        {
            return Ok(expr);
        }
        if self.clause == Clause::GroupBy
            && let Some((source, column)) = self.binder.find_in_block(self.level, name, self.clause)?
        {
            return Ok(self.binder.blocks[self.level].column_expr(source, column));
        }
        if self.clause == Clause::GroupBy
            && let Some(expr) = alias(self.aliases)?
        {
            return Ok(expr);
        }
        self.binder
            .resolve(self.level, name, self.clause)?
            .ok_or_else(|| match name.table {
                Some(_) | None => Error::unknown_column(name, self.clause.as_str()),
            })
    }

    fn inserted_value(&mut self, name: &ColumnName<'_>) -> Result<Expr> {
        let block = &self.binder.blocks[self.level];
        let new_row = block
            .sources
            .iter()
            .position(|source| matches!(source.kind, super::binder::SourceKind::NewRow { .. }));
        let found = new_row.and_then(|source| {
            let super::binder::SourceKind::NewRow { table, .. } = &block.sources[source].kind else {
                return None;
            };
            let column = table
                .public_columns()
                .position(|column| same_name(&column.name.original, name.column))?;
            Some((source, column))
        });
        match found {
            Some((source, column)) => Ok(self.binder.blocks[self.level].column_expr(source, column)),
            // Elsewhere VALUES() is NULL, as in MySQL.
            None if new_row.is_none() => Ok(Expr::null()),
            None => Err(Error::unknown_column(name, self.clause.as_str())),
        }
    }

    fn default_value(&mut self, name: &ColumnName<'_>) -> Result<Expr> {
        let (source, column) = self
            .binder
            .find_in_block(self.level, name, self.clause)?
            .ok_or_else(|| Error::unknown_column(name, self.clause.as_str()))?;
        let info = match &self.binder.blocks[self.level].sources[source].kind {
            super::binder::SourceKind::Table(table) => table.info.clone(),
            super::binder::SourceKind::NewRow { table, .. } => table.clone(),
            _ => return Err(Error::no_default_for_field(name.column)),
        };
        super::defaults::default_expr(self.binder.env, &info.columns[column])
    }

    fn subquery(&mut self, query: &Query) -> Result<BoundSubquery> {
        self.binder.subquery(self.level, query)
    }

    fn aggregate(&mut self, call: AggregateCall) -> Result<Expr> {
        if matches!(self.clause, Clause::Where | Clause::On | Clause::GroupBy) {
            return Err(Error::invalid_group_func());
        }
        let aggregates = &mut self.binder.blocks[self.level].aggregates;
        let ty = call.field_type().clone();
        let name = call.to_string();
        let index = match aggregates
            .iter()
            .position(|known| super::condition::same_call(known, &call))
        {
            Some(at) => at,
            None => {
                aggregates.push(call);
                aggregates.len() - 1
            }
        };
        Ok(Expr::aggregate(index, ty, &name))
    }

    fn parameter(&mut self, index: usize) -> Result<Expr> {
        self.binder.parameter(index)
    }

    fn user_variable(&mut self, name: &str) -> FieldType {
        self.binder.env.variables.borrow_mut().user = true;
        match self.binder.env.context.user_variable(name) {
            Some(value) => type_of_value(value),
            // Never set: NULL now, and text when something sets it meanwhile.
            None => FieldType::new(TypeCode::LongBlob),
        }
    }

    fn system_variable(&mut self, name: &str, global: bool) -> Result<FieldType> {
        let mut variables = self.binder.env.variables.borrow_mut();
        let used = (name.to_owned(), global);
        if !variables.system.contains(&used) {
            variables.system.push(used);
        }
        drop(variables);
        self.binder.env.context.system_variable_type(name)
    }
}
