//! INSERT and REPLACE.

use sqlparser::ast::{
    Assignment, Expr as Ast, Insert, OnInsert, Query, SetExpr, SqliteOnConflict, TableObject, Values,
};

use super::plan::{AssignmentPlan, InsertPlan, InsertSource, OnDuplicatePlan};
use super::row::{
    add_on_update, assignment_column, own_column, own_source, row_block, target, value, value_or_default,
};
use crate::Privilege;
use crate::binder::{Binder, SourceKind, VisibleColumn};
use crate::context::{PlanEnv, TableUse};
use crate::defaults::all_defaults;
use crate::from::split_name;
use ilmenite_error::{Error, Result};
use ilmenite_expr::Expr;

pub(crate) fn bind_insert(env: &PlanEnv<'_>, insert: &Insert) -> Result<InsertPlan> {
    let TableObject::TableName(name) = &insert.table else {
        return Err(Error::syntax("'('"));
    };
    if insert.partitioned.is_some() || insert.returning.is_some() || insert.overwrite {
        return Err(Error::not_supported_yet("this form of INSERT"));
    }
    let replace = insert.replace_into || matches!(insert.or, Some(SqliteOnConflict::Replace));
    let privileges: &[Privilege] = if replace {
        &[Privilege::Insert, Privilege::Delete]
    } else {
        &[Privilege::Insert]
    };
    let (database, alias) = split_name(name)?;
    let database = match database {
        Some(database) => database,
        None => env.current_database()?,
    };
    let table = target(env, database, alias, privileges)?;
    let given = given_columns(insert, table, alias)?;
    let columns = match &given[..] {
        [] => (0..table.info.public_columns().count()).collect(),
        _ => given.clone(),
    };
    let mut binder = Binder::new(env);
    let row = NewRow {
        table,
        alias,
        columns: &columns,
        explicit: !given.is_empty(),
    };
    let source = match insert.source.as_deref() {
        _ if !insert.assignments.is_empty() => row.assigned(&mut binder, &insert.assignments)?,
        Some(query) => row.source(&mut binder, query)?,
        None => return Err(Error::syntax("''")),
    };
    let on_duplicate = match &insert.on {
        None => None,
        Some(OnInsert::DuplicateKeyUpdate(assignments)) => {
            env.context
                .check(Privilege::Update, &table.database, &table.info.name.original)?;
            Some(on_duplicate(&mut binder, insert, table, alias, assignments)?)
        }
        Some(_) => return Err(Error::syntax("'CONFLICT'")),
    };
    let ignore = insert.ignore || matches!(insert.or, Some(SqliteOnConflict::Ignore));
    Ok(InsertPlan {
        table: table.clone(),
        columns,
        source,
        on_duplicate,
        ignore,
        replace,
        defaults: all_defaults(env, &table.info)?,
        subqueries: binder.finish()?,
    })
}

/// The columns that are named, by a list or by SET.
fn given_columns(insert: &Insert, table: &TableUse, alias: &str) -> Result<Vec<usize>> {
    let mut columns = Vec::with_capacity(insert.columns.len());
    for name in &insert.columns {
        columns.push(own_column(table, alias, name)?);
    }
    for assignment in &insert.assignments {
        columns.push(own_column(table, alias, assignment_column(&assignment.target)?)?);
    }
    for (at, column) in columns.iter().enumerate() {
        if columns[..at].contains(column) {
            return Err(Error::field_specified_twice(&table.info.columns[*column].name));
        }
    }
    Ok(columns)
}

/// What is to be inserted into.
struct NewRow<'i> {
    table: &'i TableUse,
    alias: &'i str,
    columns: &'i [usize],
    /// The columns were named.
    explicit: bool,
}

impl NewRow<'_> {
    /// INSERT … SET
    fn assigned(&self, binder: &mut Binder<'_>, assignments: &[Assignment]) -> Result<InsertSource> {
        let level = row_block(binder, self.table, self.alias)?;
        let row = self.values(
            binder,
            level,
            assignments.iter().map(|assignment| &assignment.value),
        )?;
        binder.close_block()?;
        Ok(InsertSource::Values(vec![row]))
    }

    fn source(&self, binder: &mut Binder<'_>, query: &Query) -> Result<InsertSource> {
        match query.body.as_ref() {
            SetExpr::Values(values)
                if query.order_by.is_none() && query.limit_clause.is_none() && query.with.is_none() =>
            {
                self.rows(binder, values)
            }
            _ => {
                let plan = binder.query_under(query, None)?;
                if plan.columns.len() != self.columns.len() {
                    return Err(Error::column_count_mismatch(1));
                }
                Ok(InsertSource::Query(Box::new(plan)))
            }
        }
    }

    fn rows(&self, binder: &mut Binder<'_>, values: &Values) -> Result<InsertSource> {
        let level = row_block(binder, self.table, self.alias)?;
        let mut rows = Vec::with_capacity(values.rows.len());
        for (at, row) in values.rows.iter().enumerate() {
            // `()`: all defaults.
            if row.is_empty() && !self.explicit {
                rows.push(vec![None; self.columns.len()]);
                continue;
            }
            if row.len() != self.columns.len() {
                return Err(Error::column_count_mismatch(at + 1));
            }
            rows.push(self.values(binder, level, row.iter())?);
        }
        binder.close_block()?;
        Ok(InsertSource::Values(rows))
    }

    fn values<'v>(
        &self,
        binder: &mut Binder<'_>,
        level: usize,
        values: impl Iterator<Item = &'v Ast>,
    ) -> Result<Vec<Option<Expr>>> {
        values
            .zip(self.columns)
            .map(|(ast, column)| value(binder, level, self.table, *column, ast))
            .collect()
    }
}

/// The name of the row that was to be inserted, and those of its columns when it has its own.
fn new_row_names(insert: &Insert, public: usize) -> Result<(String, Option<Vec<String>>)> {
    let Some(aliases) = &insert.insert_alias else {
        // No name can be empty: only VALUES() reaches it.
        return Ok((String::new(), None));
    };
    let (_, row_alias) = split_name(&aliases.row_alias)?;
    let names = aliases
        .col_aliases
        .as_ref()
        .filter(|names| !names.is_empty())
        .map(|names| names.iter().map(|ident| ident.value.clone()).collect::<Vec<_>>());
    if names.as_ref().is_some_and(|names| names.len() != public) {
        return Err(Error::column_count_mismatch(1));
    }
    Ok((row_alias.to_owned(), names))
}

fn on_duplicate(
    binder: &mut Binder<'_>,
    insert: &Insert,
    table: &TableUse,
    alias: &str,
    assignments: &[Assignment],
) -> Result<OnDuplicatePlan> {
    let level = row_block(binder, table, alias)?;
    let public = table.info.public_columns().count();
    let (row_alias, names) = new_row_names(insert, public)?;
    let kind = SourceKind::NewRow {
        table: table.info.clone(),
        names,
    };
    let mut source = own_source(table, &row_alias, kind);
    source.database = None;
    binder.add_source(level, source)?;
    for column in 0..public {
        binder.blocks[level].slot(1, column);
    }
    let visible = (0..public)
        .map(|column| VisibleColumn { source: 0, column })
        .collect();
    binder.blocks[level].visible = Some(visible);
    let mut plan = Vec::with_capacity(assignments.len());
    for assignment in assignments {
        let column = own_column(table, alias, assignment_column(&assignment.target)?)?;
        let value = value_or_default(binder, level, table, column, &assignment.value)?;
        plan.push(AssignmentPlan {
            target: 0,
            column,
            slot: Some(column),
            value,
            automatic: false,
        });
    }
    add_on_update(binder.env, table, 0, &mut plan, Some)?;
    let block = binder.close_block()?;
    Ok(OnDuplicatePlan {
        assignments: plan,
        width: block.width,
    })
}
