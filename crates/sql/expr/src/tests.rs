//! Expressions against what MySQL says.

mod aggregates;
mod columns;
mod conversion;
mod errors;
mod extremes;
mod functions;
mod values;

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use ilmenite_types::{Collation, Datum, FieldFlags, FieldType, TypeCode};
use parking_lot::Mutex;
use sqlparser::ast::{Expr as Ast, SelectItem, SetExpr, Statement as SqlStatement};

use super::*;
use ilmenite_error::Warning;
use ilmenite_error::{Error, Result};
use ilmenite_parser::{self as parse, LexMode, Statement};

/// The select list's only expression.
pub(super) fn parse_expr(text: &str) -> Result<Ast> {
    parse_expr_in(text, LexMode::default())
}

pub(super) fn parse_expr_in(text: &str, mode: LexMode) -> Result<Ast> {
    let parsed = parse::parse_single(format!("SELECT {text}").as_bytes(), mode)?;
    let statement = match parsed.statement {
        Statement::Query(statement) => statement,
        other => return Err(Error::bug(format!("not a query: {other:?}"))),
    };
    let SqlStatement::Query(query) = *statement else {
        return Err(Error::bug("not a query"));
    };
    let SetExpr::Select(select) = *query.body else {
        return Err(Error::bug("not a select"));
    };
    match select.projection.into_iter().next() {
        Some(SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }) => Ok(expr),
        other => Err(Error::bug(format!("not an expression: {other:?}"))),
    }
}

/// A table's columns, in slots from 0, and aggregates as they come.
#[derive(Default)]
pub(super) struct Table {
    pub(super) columns: Vec<(String, FieldType)>,
    pub(super) calls: Vec<AggregateCall>,
}

impl Table {
    pub(super) fn new(columns: &[(&str, FieldType)]) -> Table {
        Table {
            columns: columns
                .iter()
                .map(|(n, ty)| (n.to_string(), ty.clone()))
                .collect(),
            calls: Vec::new(),
        }
    }
}

impl Scope for Table {
    fn column(&mut self, name: &ColumnName<'_>) -> Result<Expr> {
        let mut found = self
            .columns
            .iter()
            .enumerate()
            .filter(|(_, (column, _))| column.eq_ignore_ascii_case(name.column));
        match (found.next(), found.next()) {
            (Some((slot, (column, ty))), None) => Ok(Expr::column(slot, ty.clone(), column)),
            (None, _) => Err(Error::unknown_column(name, "field list")),
            (Some(_), Some(_)) => Err(Error::ambiguous_column(name, "field list")),
        }
    }

    fn aggregate(&mut self, call: AggregateCall) -> Result<Expr> {
        let ty = call.field_type().clone();
        let name = call.to_string();
        self.calls.push(call);
        Ok(Expr::aggregate(self.calls.len() - 1, ty, &name))
    }

    fn parameter(&mut self, index: usize) -> Result<Expr> {
        Ok(Expr::param(index, ty(TypeCode::LongLong)))
    }

    fn system_variable(&mut self, name: &str, _global: bool) -> Result<FieldType> {
        match name {
            "sql_mode" => Ok(ty(TypeCode::VarString)),
            "max_allowed_packet" => Ok(ty(TypeCode::LongLong)),
            other => Err(Error::unknown_system_variable(other)),
        }
    }
}

pub(super) fn ty(tp: TypeCode) -> FieldType {
    let mut ty = FieldType::new(tp);
    ty.decimal = match tp {
        TypeCode::Float | TypeCode::Double => -1,
        _ => 0,
    };
    ty
}

pub(super) fn unsigned(tp: TypeCode) -> FieldType {
    let mut ty = ty(tp);
    ty.flags.set(FieldFlags::UNSIGNED, true);
    ty
}

pub(super) fn varchar(flen: i32, collate: &str) -> FieldType {
    let mut ty = FieldType::new(TypeCode::Varchar);
    ty.flen = flen;
    ty.collation = Collation::by_name(collate).unwrap();
    ty
}

pub(super) fn sized(tp: TypeCode, flen: i32, decimal: i32) -> FieldType {
    let mut ty = FieldType::new(tp);
    ty.flen = flen;
    ty.decimal = decimal;
    ty
}

pub(super) fn members(tp: TypeCode, names: &[&str]) -> FieldType {
    let mut ty = FieldType::new(tp);
    ty.elems = Some(names.iter().map(|n| n.to_string()).collect());
    ty
}

#[derive(Default)]
pub(super) struct TestVariables(Mutex<HashMap<String, Datum>>);

impl Variables for TestVariables {
    fn user_variable(&self, name: &str) -> Datum {
        self.0.lock().get(name).cloned().unwrap_or(Datum::Null)
    }

    fn set_user_variable(&self, name: &str, value: Datum) -> Result<()> {
        self.0.lock().insert(name.into(), value);
        Ok(())
    }

    fn system_variable(&self, name: &str, _global: bool) -> Result<Datum> {
        match name {
            "sql_mode" => Ok(Datum::Bytes("ANSI".into())),
            "max_allowed_packet" => Ok(Datum::Int(64 << 20)),
            other => Err(Error::unknown_system_variable(other)),
        }
    }
}

/// 2024-03-15 10:20:30.123456 UTC.
pub(super) const NOW_MICROS: i64 = 1_710_498_030_123_456;

pub(super) fn facts() -> StatementFacts {
    let variables = TestVariables::default();
    variables.0.lock().insert("a".into(), Datum::Bytes("5".into()));
    StatementFacts {
        now_micros: NOW_MICROS,
        connection_id: 7,
        users: Arc::new(UserNames {
            user: "root@localhost".into(),
            account: "root@%".into(),
        }),
        database: Some("test".into()),
        version: "8.0.36-Ilmenite-0.1",
        variables: OnceLock::from(Arc::new(variables) as Arc<dyn Variables>),
        ..StatementFacts::default()
    }
}

pub(super) fn context() -> EvalContext {
    EvalContext::new(facts())
}

pub(super) fn options() -> BuildOptions {
    BuildOptions {
        database: Some("test".into()),
        ..BuildOptions::default()
    }
}

pub(super) fn build_in(scope: &mut dyn Scope, text: &str) -> Result<Expr> {
    let options = options();
    ExprBuilder::new(scope, &options).build(&parse_expr(text)?)
}

pub(super) fn build(text: &str) -> Result<Expr> {
    build_in(&mut Table::default(), text)
}

/// What a client sees: the text of the value, `NULL` for NULL.
pub(super) fn shown(value: &Datum, ty: &FieldType) -> String {
    match value {
        Datum::Null => "NULL".into(),
        other => String::from_utf8_lossy(&text_of(other, ty)).into_owned(),
    }
}

pub(super) fn run(text: &str, ctx: &EvalContext) -> String {
    let result = build(text).and_then(|e| e.eval(&[], ctx).map(|v| shown(&v, e.field_type())));
    match result {
        Ok(shown) => shown,
        Err(e) => format!("ERROR {}: {}", e.code, e.message),
    }
}

pub(super) fn warnings_of(text: &str) -> Vec<Warning> {
    let ctx = context();
    let _shown = run(text, &ctx);
    ctx.warnings.list()
}
