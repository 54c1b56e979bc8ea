//! What columns are when nothing is said of them: their defaults as expressions, and the statement's time.

use ilmenite_catalog::{ColumnInfo, TableRef};
use ilmenite_types::{Datum, FieldFlags, FieldType, TypeCode};

use crate::context::PlanEnv;
use ilmenite_error::{Error, Result};
use ilmenite_expr::{Expr, ExprBuilder, NoColumns, convert_for_column};

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
    let expr = expression(env, text)?;
    if ty.is_time() {
        return now(env, ty);
    }
    Ok(expr)
}

/// The statement's time, as a value of a column of type `ty`.
pub(crate) fn now(env: &PlanEnv<'_>, ty: &FieldType) -> Result<Expr> {
    let fsp = ty.decimal.clamp(0, 6);
    expression(env, &format!("now({fsp})"))
}

/// An expression of ours, or kept in the catalog: as sqlparser prints it.
fn expression(env: &PlanEnv<'_>, text: &str) -> Result<Expr> {
    let dialect = sqlparser::dialect::MySqlDialect {};
    let ast = sqlparser::parser::Parser::new(&dialect)
        .try_with_sql(text)
        .and_then(|mut parser| parser.parse_expr())
        .map_err(|e| Error::bug(format!("the default {text} cannot be read: {e}")))?;
    ExprBuilder::new(&mut NoColumns, &env.options).build(&ast)
}

/// Of the public columns.
pub(crate) fn all_defaults(env: &PlanEnv<'_>, table: &TableRef) -> Result<Vec<Option<Expr>>> {
    table
        .public_columns()
        .map(|column| column_default(env, column))
        .collect()
}
