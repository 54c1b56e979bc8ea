//! INSERT, REPLACE, UPDATE, DELETE and LOAD DATA: what is written where, from which rows.

use ilmenite_catalog::{ColumnInfo, TableRef};
use ilmenite_types::{Datum, FieldFlags, FieldType, TypeCode};
use sqlparser::ast::{
    self, Assignment, AssignmentTarget, Delete, Expr as Ast, FromTable, Insert, ObjectName, OnInsert,
    OrderByExpr, SetExpr, TableFactor, TableObject, TableWithJoins, Update,
};

use super::binder::{Binder, IndexHints, Source, SourceKind, VisibleColumn, same_name};
use super::condition::split_and;
use super::from::{FromTree, split_name};
use super::names::Clause;
use super::query::{descending, limited, sort_key};
use super::{Limit, Node, NodeKind, QueryPlan, Slot, SubqueryPlan};
use crate::Privilege;
use crate::context::{PlanEnv, TableUse, virtual_schema};
use ilmenite_error::{Error, Result};
use ilmenite_expr::{Expr, ExprBuilder, NoColumns, convert_for_column};
use ilmenite_parser::{LoadData, LoadTarget, OnDuplicate};

mod change;

pub(crate) use change::{bind_delete, bind_update};

/// A table written to, and where its rows stand in those the plan reads.
#[derive(Debug)]
pub struct TargetTable {
    pub table: TableUse,
    pub key_slot: Slot,
    pub raw_slot: Slot,
}

/// `column = value`.
#[derive(Debug)]
pub struct AssignmentPlan {
    /// Of the targets.
    pub target: usize,
    /// Position in `TableInfo::columns`.
    pub column: usize,
    /// Where the row read has the column, for assignments that come after.
    pub slot: Option<Slot>,
    pub value: Expr,
    /// ON UPDATE CURRENT_TIMESTAMP: only when something else changes.
    pub automatic: bool,
}

#[derive(Debug)]
pub enum InsertSource {
    /// Over the row being made; `None` for DEFAULT.
    Values(Vec<Vec<Option<Expr>>>),
    Query(Box<QueryPlan>),
}

/// ON DUPLICATE KEY UPDATE: expressions over the existing row's columns, then those of the row that was to be inserted.
#[derive(Debug)]
pub struct OnDuplicatePlan {
    pub assignments: Vec<AssignmentPlan>,
    pub width: usize,
}

#[derive(Debug)]
pub struct InsertPlan {
    pub table: TableUse,
    /// Positions of the columns that are given.
    pub columns: Vec<usize>,
    pub source: InsertSource,
    pub on_duplicate: Option<OnDuplicatePlan>,
    pub ignore: bool,
    pub replace: bool,
    /// The default of each public column; `None` where there is none and NULL is not allowed.
    pub defaults: Vec<Option<Expr>>,
    pub subqueries: Vec<SubqueryPlan>,
}

#[derive(Debug)]
pub struct UpdatePlan {
    pub rows: Node,
    pub targets: Vec<TargetTable>,
    pub assignments: Vec<AssignmentPlan>,
    pub ignore: bool,
    pub subqueries: Vec<SubqueryPlan>,
}

#[derive(Debug)]
pub struct DeletePlan {
    pub rows: Node,
    pub targets: Vec<TargetTable>,
    pub subqueries: Vec<SubqueryPlan>,
}

#[derive(Debug)]
pub enum LoadItem {
    Column(usize),
    Variable(String),
}

#[derive(Debug)]
pub struct LoadPlan {
    pub table: TableUse,
    pub items: Vec<LoadItem>,
    /// Over the row being made.
    pub assignments: Vec<AssignmentPlan>,
    pub defaults: Vec<Option<Expr>>,
    pub replace: bool,
    pub ignore: bool,
}

impl LoadPlan {
    pub(crate) fn sets_variables(&self) -> bool {
        let variable = |item: &LoadItem| matches!(item, LoadItem::Variable(_));
        self.items.iter().any(variable)
    }
}

/// The default of a column as an expression: 1364 when it has none.
pub(crate) fn default_expr(env: &PlanEnv<'_>, column: &ColumnInfo) -> Result<Expr> {
    match column_default(env, column)? {
        Some(expr) => Ok(expr),
        None => Err(Error::no_default_for_field(&column.name)),
    }
}

fn column_default(env: &PlanEnv<'_>, column: &ColumnInfo) -> Result<Option<Expr>> {
    let ty = &column.field_type;
    let Some(text) = &column.default else {
        if !ty.flags.has(FieldFlags::NOT_NULL) || ty.flags.has(FieldFlags::AUTO_INCREMENT) {
            return Ok(Some(Expr::constant(Datum::Null, ty.clone())));
        }
        return Ok(None);
    };
    if column.default_is_expr {
        return default_function(env, text, ty).map(Some);
    }
    let value = match ty.tp {
        // Kept as the bytes of the number, or as a literal.
        TypeCode::Bit => Datum::Bit(bit_default(text)),
        _ => convert_for_column(
            Datum::Bytes(text.clone().into_bytes().into()),
            &text_type(),
            ty,
            &column.name.original,
            &env.eval,
        )?,
    };
    Ok(Some(Expr::constant(value, ty.clone())))
}

fn text_type() -> FieldType {
    FieldType::new(TypeCode::VarString)
}

fn bit_default(text: &str) -> u64 {
    if let Some(digits) = text.strip_prefix("b'").and_then(|t| t.strip_suffix('\'')) {
        return u64::from_str_radix(digits, 2).unwrap_or(0);
    }
    text.parse()
        .unwrap_or_else(|_| text.bytes().fold(0, |n, byte| n << 8 | u64::from(byte)))
}

/// CURRENT_TIMESTAMP and other default expressions, at the column's precision.
fn default_function(env: &PlanEnv<'_>, text: &str, ty: &FieldType) -> Result<Expr> {
    let dialect = sqlparser::dialect::MySqlDialect {};
    let ast = sqlparser::parser::Parser::new(&dialect)
        .try_with_sql(text)
        .and_then(|mut parser| parser.parse_expr())
        .map_err(|e| Error::bug(format!("the default {text} cannot be read: {e}")))?;
    let mut scope = NoColumns;
    let expr = ExprBuilder::new(&mut scope, &env.options).build(&ast)?;
    if ty.is_time() {
        return now(env, ty);
    }
    Ok(expr)
}

/// The statement's time, as a value of a column of type `ty`.
pub(crate) fn now(env: &PlanEnv<'_>, ty: &FieldType) -> Result<Expr> {
    let fsp = ty.decimal.clamp(0, 6);
    let text = format!("now({fsp})");
    let dialect = sqlparser::dialect::MySqlDialect {};
    let ast = sqlparser::parser::Parser::new(&dialect)
        .try_with_sql(&text)
        .and_then(|mut parser| parser.parse_expr())
        .map_err(|e| Error::bug(format!("{text} cannot be read: {e}")))?;
    let mut scope = NoColumns;
    ExprBuilder::new(&mut scope, &env.options).build(&ast)
}

fn all_defaults(env: &PlanEnv<'_>, table: &TableRef) -> Result<Vec<Option<Expr>>> {
    table
        .public_columns()
        .map(|column| column_default(env, column))
        .collect()
}

/// The table an INSERT names, with the privilege it takes.
fn target<'e>(
    env: &'e PlanEnv<'_>,
    name: &ObjectName,
    privileges: &[Privilege],
) -> Result<(&'e TableUse, String)> {
    let (database, table) = split_name(name)?;
    let database = match database {
        Some(database) => database,
        None => env.current_database()?,
    };
    target_named(env, database, table, privileges)
}

fn target_named<'e>(
    env: &'e PlanEnv<'_>,
    database: &str,
    table: &str,
    privileges: &[Privilege],
) -> Result<(&'e TableUse, String)> {
    for privilege in privileges {
        env.context.check(*privilege, database, table)?;
    }
    if virtual_schema(database).is_some() {
        let (user, host) = env.context.user();
        return Err(Error::table_access_denied("INSERT", user, host, table));
    }
    Ok((env.context.table(database, table)?, table.to_owned()))
}

fn find_column(table: &TableUse, name: &str) -> Result<usize> {
    table
        .info
        .public_columns()
        .position(|column| same_name(&column.name.original, name))
        .ok_or_else(|| Error::unknown_column(name, Clause::Fields.as_str()))
}

/// The last part of a column's name, after checking that what is before it names the table.
fn own_column(table: &TableUse, alias: &str, name: &ObjectName) -> Result<usize> {
    let parts: Vec<&str> = name
        .0
        .iter()
        .filter_map(|part| part.as_ident().map(|i| i.value.as_str()))
        .collect();
    match &parts[..] {
        [column] => find_column(table, column),
        [owner, column] | [_, owner, column]
            if same_name(owner, alias) || same_name(owner, &table.info.name.original) =>
        {
            find_column(table, column)
        }
        _ => Err(Error::unknown_column(name, Clause::Fields.as_str())),
    }
}

fn assignment_column(target: &AssignmentTarget) -> Result<&ObjectName> {
    match target {
        AssignmentTarget::ColumnName(name) => Ok(name),
        AssignmentTarget::Tuple(_) => Err(Error::syntax("'('")),
    }
}

/// `DEFAULT` alone, as a value.
fn is_default(ast: &Ast) -> bool {
    matches!(ast, Ast::Identifier(ident) if ident.quote_style.is_none() && ident.value.eq_ignore_ascii_case("default"))
}

pub(crate) fn bind_insert(env: &PlanEnv<'_>, insert: &Insert) -> Result<InsertPlan> {
    let TableObject::TableName(name) = &insert.table else {
        return Err(Error::syntax("'('"));
    };
    if insert.partitioned.is_some() || insert.returning.is_some() || insert.overwrite {
        return Err(Error::not_supported_yet("this form of INSERT"));
    }
    let replace = insert.replace_into || matches!(insert.or, Some(ast::SqliteOnConflict::Replace));
    let privileges: &[Privilege] = if replace {
        &[Privilege::Insert, Privilege::Delete]
    } else {
        &[Privilege::Insert]
    };
    let (table, alias) = target(env, name, privileges)?;
    let mut columns = Vec::with_capacity(insert.columns.len());
    for name in &insert.columns {
        columns.push(own_column(table, &alias, name)?);
    }
    for assignment in &insert.assignments {
        columns.push(own_column(table, &alias, assignment_column(&assignment.target)?)?);
    }
    for (at, column) in columns.iter().enumerate() {
        if columns[..at].contains(column) {
            return Err(Error::field_specified_twice(&table.info.columns[*column].name));
        }
    }
    let public = table.info.public_columns().count();
    let explicit = !columns.is_empty();
    if !explicit {
        columns = (0..public).collect();
    }
    let mut binder = Binder::new(env);
    let source = if !insert.assignments.is_empty() {
        let level = row_block(&mut binder, table, &alias)?;
        let row = insert
            .assignments
            .iter()
            .zip(&columns)
            .map(|(assignment, column)| value(&mut binder, level, table, *column, &assignment.value))
            .collect::<Result<Vec<_>>>()?;
        binder.close_block()?;
        InsertSource::Values(vec![row])
    } else {
        let query = insert.source.as_deref().ok_or_else(|| Error::syntax("''"))?;
        match query.body.as_ref() {
            SetExpr::Values(values)
                if query.order_by.is_none() && query.limit_clause.is_none() && query.with.is_none() =>
            {
                let level = row_block(&mut binder, table, &alias)?;
                let mut rows = Vec::with_capacity(values.rows.len());
                for (at, row) in values.rows.iter().enumerate() {
                    // `()`: all defaults.
                    if row.is_empty() && !explicit {
                        rows.push(vec![None; columns.len()]);
                        continue;
                    }
                    if row.len() != columns.len() {
                        return Err(Error::column_count_mismatch(at + 1));
                    }
                    let exprs = row
                        .iter()
                        .zip(&columns)
                        .map(|(ast, column)| value(&mut binder, level, table, *column, ast))
                        .collect::<Result<Vec<_>>>()?;
                    rows.push(exprs);
                }
                binder.close_block()?;
                InsertSource::Values(rows)
            }
            _ => {
                let plan = binder.query_under(query, None)?;
                if plan.columns.len() != columns.len() {
                    return Err(Error::column_count_mismatch(1));
                }
                InsertSource::Query(Box::new(plan))
            }
        }
    };
    let on_duplicate = match &insert.on {
        None => None,
        Some(OnInsert::DuplicateKeyUpdate(assignments)) => {
            env.context
                .check(Privilege::Update, &table.database, &table.info.name.original)?;
            Some(on_duplicate(&mut binder, insert, table, &alias, assignments)?)
        }
        Some(_) => return Err(Error::syntax("'CONFLICT'")),
    };
    let ignore = insert.ignore || matches!(insert.or, Some(ast::SqliteOnConflict::Ignore));
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

/// A block whose slots are the columns of the row being made.
fn row_block(binder: &mut Binder<'_>, table: &TableUse, alias: &str) -> Result<usize> {
    let level = binder.open_block(None);
    let public = table.info.public_columns().count();
    binder.add_source(level, own_source(table, alias, SourceKind::Table(table.clone())))?;
    for column in 0..public {
        binder.blocks[level].slot(0, column);
    }
    Ok(level)
}

fn own_source(table: &TableUse, alias: &str, kind: SourceKind) -> Source {
    Source {
        alias: alias.to_owned(),
        database: Some(table.database.to_string()),
        slots: vec![None; table.info.public_columns().count()],
        kind,
        key_slot: None,
        raw_slot: None,
        hints: IndexHints::default(),
    }
}

fn value(
    binder: &mut Binder<'_>,
    level: usize,
    table: &TableUse,
    column: usize,
    ast: &Ast,
) -> Result<Option<Expr>> {
    if is_default(ast) {
        return Ok(None);
    }
    let expr = binder.expr(level, Clause::Fields, ast)?;
    Ok(Some(expr.into_assignment(&table.info.columns[column].field_type)))
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
    let (row_alias, names) = match &insert.insert_alias {
        Some(aliases) => {
            let (_, row_alias) = split_name(&aliases.row_alias)?;
            let names = aliases
                .col_aliases
                .as_ref()
                .filter(|names| !names.is_empty())
                .map(|names| names.iter().map(|ident| ident.value.clone()).collect::<Vec<_>>());
            if names.as_ref().is_some_and(|names| names.len() != public) {
                return Err(Error::column_count_mismatch(1));
            }
            (row_alias.to_owned(), names)
        }
        // No name can be empty: only VALUES() reaches it.
        None => (String::new(), None),
    };
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
        let value = match value(binder, level, table, column, &assignment.value)? {
            Some(value) => value,
            None => default_expr(binder.env, &table.info.columns[column])?,
        };
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

/// ON UPDATE CURRENT_TIMESTAMP of columns that are not assigned.
fn add_on_update(
    env: &PlanEnv<'_>,
    table: &TableUse,
    target: usize,
    assignments: &mut Vec<AssignmentPlan>,
    slot: impl Fn(usize) -> Option<Slot>,
) -> Result<()> {
    for (at, column) in table.info.public_columns().enumerate() {
        let assigned = assignments.iter().any(|a| a.target == target && a.column == at);
        if column.field_type.flags.has(FieldFlags::ON_UPDATE_NOW) && !assigned {
            let value = now(env, &column.field_type)?;
            assignments.push(AssignmentPlan {
                target,
                column: at,
                slot: slot(at),
                value,
                automatic: true,
            });
        }
    }
    Ok(())
}

pub(crate) fn bind_load(env: &PlanEnv<'_>, load: &LoadData) -> Result<LoadPlan> {
    let database = match &load.table.database {
        Some(database) => database.as_str(),
        None => env.current_database()?,
    };
    let replace = load.on_duplicate == OnDuplicate::Replace;
    let privileges: &[Privilege] = if replace {
        &[Privilege::Insert, Privilege::Delete]
    } else {
        &[Privilege::Insert]
    };
    let (table, alias) = target_named(env, database, &load.table.name, privileges)?;
    let mut items = Vec::with_capacity(load.columns.len());
    for item in &load.columns {
        items.push(match item {
            LoadTarget::Column(name) => LoadItem::Column(find_column(table, name)?),
            LoadTarget::Variable(name) => LoadItem::Variable(name.to_lowercase()),
        });
    }
    if items.is_empty() {
        items = (0..table.info.public_columns().count())
            .map(LoadItem::Column)
            .collect();
    }
    let mut binder = Binder::new(env);
    let level = row_block(&mut binder, table, &alias)?;
    let mut assignments = Vec::with_capacity(load.assignments.len());
    for (name, ast) in &load.assignments {
        let column = find_column(table, name)?;
        let value = match value(&mut binder, level, table, column, ast)? {
            Some(value) => value,
            None => default_expr(env, &table.info.columns[column])?,
        };
        assignments.push(AssignmentPlan {
            target: 0,
            column,
            slot: Some(column),
            value,
            automatic: false,
        });
    }
    binder.close_block()?;
    if !binder.finish()?.is_empty() {
        return Err(Error::not_supported_yet("subqueries in LOAD DATA"));
    }
    // A file on the client cannot be stopped in the middle of a row that fails: such rows are left out, with a warning.
    let ignore = load.on_duplicate == OnDuplicate::Ignore || (load.local && !replace);
    Ok(LoadPlan {
        table: table.clone(),
        items,
        assignments,
        defaults: all_defaults(env, &table.info)?,
        replace,
        ignore,
    })
}
