//! Column definitions: from what is written to `ColumnInfo`, with MySQL's limits.

use ilmenite_catalog::{ColumnInfo, Name, SchemaState};
use ilmenite_types::{Collation, DateFlags, Datum, FieldFlags, FieldType, TypeCode};
use sqlparser::ast as sql;

use ilmenite_error::{Error, Result};
use ilmenite_parser::ColumnDef;

use super::field_type::field_type;

/// What a definition may refer to.
pub(super) struct ColumnContext {
    /// The table's, for string columns that do not say.
    pub collation: Collation,
    pub dates: DateFlags,
}

/// The column as the catalog keeps it. Key flags are not set: they follow from the table's keys.
pub(super) fn column_info(def: &ColumnDef, ctx: &ColumnContext) -> Result<ColumnInfo> {
    if def.generated {
        return Err(Error::not_supported_yet("generated columns"));
    }
    if def.check {
        return Err(Error::not_supported_yet("CHECK constraints"));
    }
    if def.references {
        return Err(Error::not_supported_yet("foreign keys"));
    }
    let mut field_type = field_type(&def.name, &def.data_type, ctx.collation)?;
    let numeric = field_type.is_integer() || matches!(field_type.tp, TypeCode::Float | TypeCode::Double);
    if def.auto_increment && !numeric {
        return Err(Error::wrong_column_spec(&def.name));
    }
    let not_null = def.nullable == Some(false) || def.primary;
    if def.primary && def.nullable == Some(true) {
        return Err(Error::primary_cant_have_null());
    }
    field_type.flags.set(FieldFlags::NOT_NULL, not_null);
    field_type
        .flags
        .set(FieldFlags::AUTO_INCREMENT, def.auto_increment);
    if let Some(on_update) = &def.on_update {
        let fits = current_timestamp(on_update) == Some(field_type.decimal.max(0) as u64)
            && matches!(field_type.tp, TypeCode::DateTime | TypeCode::Timestamp);
        if !fits {
            return Err(Error::invalid_on_update(&def.name));
        }
        field_type.flags.set(FieldFlags::ON_UPDATE_NOW, true);
    }
    let default = match &def.default {
        Some(expr) => default_of(&def.name, expr, &field_type, ctx)?,
        None => ColumnDefault::None,
    };
    if def.auto_increment && !matches!(default, ColumnDefault::None) {
        return Err(Error::invalid_default(&def.name));
    }
    if matches!(default, ColumnDefault::Null) && not_null {
        return Err(Error::invalid_default(&def.name));
    }
    let without = not_null && !def.auto_increment && matches!(default, ColumnDefault::None);
    field_type.flags.set(FieldFlags::NO_DEFAULT_VALUE, without);
    let (default, default_is_expr) = match default {
        ColumnDefault::None | ColumnDefault::Null => (None, false),
        ColumnDefault::Literal(text) => (Some(text), false),
        ColumnDefault::Expression(text) => (Some(text), true),
    };
    Ok(ColumnInfo {
        id: 0,
        name: Name::new(&def.name),
        offset: 0,
        field_type,
        state: SchemaState::Public,
        default,
        default_is_expr,
        origin_default: None,
        comment: def.comment.clone(),
        unknown: Default::default(),
    })
}

/// A default as given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ColumnDefault {
    None,
    Null,
    /// The value as text, as the column's type prints it.
    Literal(String),
    /// Evaluated for every row.
    Expression(String),
}

/// The fractional digits asked for when the expression is CURRENT_TIMESTAMP or another name of it.
fn current_timestamp(expr: &sql::Expr) -> Option<u64> {
    let sql::Expr::Function(function) = expr else {
        return match expr {
            sql::Expr::Identifier(ident) if is_now(&ident.value) => Some(0),
            _ => None,
        };
    };
    if !is_now(&function.name.to_string()) {
        return None;
    }
    match &function.args {
        sql::FunctionArguments::None => Some(0),
        sql::FunctionArguments::List(list) => match &list.args[..] {
            [] => Some(0),
            [sql::FunctionArg::Unnamed(sql::FunctionArgExpr::Expr(sql::Expr::Value(value)))] => {
                match &value.value {
                    sql::Value::Number(digits, _) => digits.parse().ok(),
                    _ => None,
                }
            }
            _ => None,
        },
        sql::FunctionArguments::Subquery(_) => None,
    }
}

fn is_now(name: &str) -> bool {
    ["CURRENT_TIMESTAMP", "NOW", "LOCALTIME", "LOCALTIMESTAMP"]
        .iter()
        .any(|known| name.eq_ignore_ascii_case(known))
}

/// Checks a default against the column's type; 1067 when it does not fit.
pub(super) fn default_of(
    column: &str,
    expr: &sql::Expr,
    field_type: &FieldType,
    ctx: &ColumnContext,
) -> Result<ColumnDefault> {
    let invalid = || Error::invalid_default(column);
    if let Some(fsp) = current_timestamp(expr) {
        let fits = matches!(field_type.tp, TypeCode::DateTime | TypeCode::Timestamp)
            && fsp == field_type.decimal.max(0) as u64;
        return if fits {
            Ok(ColumnDefault::Expression(match fsp {
                0 => "CURRENT_TIMESTAMP".into(),
                fsp => format!("CURRENT_TIMESTAMP({fsp})"),
            }))
        } else {
            Err(invalid())
        };
    }
    if let sql::Expr::Nested(inner) = expr {
        return Ok(ColumnDefault::Expression(inner.to_string()));
    }
    let Some(literal) = literal(expr) else {
        return Err(invalid());
    };
    let Some(bytes) = literal else {
        return Ok(ColumnDefault::Null);
    };
    if field_type.is_blob() || field_type.tp == TypeCode::Json {
        return Err(Error::blob_cant_have_default(column));
    }
    let bytes = match (&bytes, field_type.tp) {
        // A number for a BIT is its value; a string, its bytes.
        (Literal::Number(digits), TypeCode::Bit) => {
            let number: u64 = digits.parse().map_err(|_| invalid())?;
            number.to_be_bytes().to_vec()
        }
        (Literal::Binary(bytes), _) if field_type.is_integer() => {
            if bytes.len() > 8 {
                return Err(invalid());
            }
            let number = bytes.iter().fold(0u64, |n, b| n << 8 | u64::from(*b));
            number.to_string().into_bytes()
        }
        (Literal::Number(digits), _) => digits.clone().into_bytes(),
        (Literal::Text(text), _) => text.clone().into_bytes(),
        (Literal::Binary(bytes), _) => bytes.clone(),
    };
    let datum = Datum::parse_text(&bytes, field_type, ctx.dates).map_err(|_| invalid())?;
    let text = datum.to_text(field_type).unwrap_or_default();
    String::from_utf8(text)
        .map(ColumnDefault::Literal)
        .map_err(|_| Error::not_supported_yet("a DEFAULT of bytes that are no text"))
}

enum Literal {
    Number(String),
    Text(String),
    Binary(Vec<u8>),
}

/// A literal's text; `Some(None)` for NULL, `None` for what is no literal.
fn literal(expr: &sql::Expr) -> Option<Option<Literal>> {
    use sql::Value;
    let found = match expr {
        sql::Expr::Value(value) => match &value.value {
            Value::Null => return Some(None),
            Value::Number(digits, _) => Literal::Number(digits.clone()),
            Value::SingleQuotedString(text) | Value::DoubleQuotedString(text) => Literal::Text(text.clone()),
            Value::Boolean(on) => Literal::Number(if *on { "1" } else { "0" }.into()),
            Value::HexStringLiteral(digits) => Literal::Binary(hex::decode(digits).ok()?),
            Value::SingleQuotedByteStringLiteral(bits) => {
                let number = u64::from_str_radix(bits, 2).ok()?;
                Literal::Binary(number.to_be_bytes().to_vec())
            }
            _ => return None,
        },
        sql::Expr::UnaryOp { op, expr } => {
            let Some(Some(Literal::Number(digits))) = literal(expr) else {
                return None;
            };
            match op {
                sql::UnaryOperator::Minus => Literal::Number(format!("-{digits}")),
                sql::UnaryOperator::Plus => Literal::Number(digits),
                _ => return None,
            }
        }
        sql::Expr::TypedString(typed) => return literal(&sql::Expr::Value(typed.value.clone())),
        sql::Expr::Prefixed { value, .. } => return literal(value),
        sql::Expr::Collate { expr, .. } => return literal(expr),
        _ => return None,
    };
    Some(Some(found))
}

/// What rows older than a column read as in it: its default's value now, as text, a TIMESTAMP in UTC.
pub(super) fn origin_default(
    column: &ColumnInfo,
    now: jiff::Timestamp,
    zone: &jiff::tz::TimeZone,
    dates: DateFlags,
) -> Result<Option<String>> {
    use ilmenite_types::{Time, TimeKind};
    let Some(text) = &column.default else {
        return Ok(None);
    };
    let ft = &column.field_type;
    let utc = jiff::tz::TimeZone::UTC;
    let time = if column.default_is_expr {
        if !text.starts_with("CURRENT_TIMESTAMP") {
            return Err(Error::not_supported_yet(
                "ADD COLUMN with a DEFAULT that is an expression, on a table that may have rows",
            ));
        }
        let fsp = ft.decimal.clamp(0, 6) as u8;
        let zone = if ft.tp == TypeCode::Timestamp { &utc } else { zone };
        Time::from_unix_micros(now.as_microsecond(), zone, TimeKind::DateTime, fsp)?.truncate_to_fsp(fsp)
    } else if ft.tp == TypeCode::Timestamp {
        match Datum::parse_text(text.as_bytes(), ft, dates)? {
            Datum::Time(time) if !time.is_zero() => time.convert_zone(zone, &utc)?,
            _ => return Ok(Some(text.clone())),
        }
    } else {
        return Ok(Some(text.clone()));
    };
    let text = Datum::Time(time).to_text(ft).unwrap_or_default();
    Ok(Some(String::from_utf8_lossy(&text).into_owned()))
}
