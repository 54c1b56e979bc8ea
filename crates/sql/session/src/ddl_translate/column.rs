//! Column definitions: from what is written to `ColumnInfo`, with MySQL's limits.

use ilmenite_catalog::{ColumnInfo, Name, SchemaState};
use ilmenite_types::{Charset, Collation, DateFlags, Datum, FieldFlags, FieldType, TypeCode};
use sqlparser::ast as sql;

use ilmenite_error::{Error, Result};
use ilmenite_parser::{CharsetOptions, ColumnDef, DataType, TypeName};

/// Bytes a VARCHAR's or VARBINARY's values may have.
const MAX_VARCHAR_BYTES: u64 = 65535;
const MAX_FSP: u64 = 6;

/// What a definition may refer to.
pub(super) struct ColumnContext {
    /// The table's, for string columns that do not say.
    pub collation: Collation,
    pub dates: DateFlags,
}

/// The collation meant by a character set and a collation, each allowed to be missing.
pub(super) fn collation_said(said: &CharsetOptions, default: Collation) -> Result<Collation> {
    collation_of(said.charset.as_deref(), said.collate.as_deref(), default)
}

fn collation_of(charset: Option<&str>, collate: Option<&str>, default: Collation) -> Result<Collation> {
    let charset = charset
        .map(|name| Charset::by_name(name).ok_or_else(|| Error::unknown_charset(name)))
        .transpose()?;
    let collation = collate
        .map(|name| Collation::by_name(name).ok_or_else(|| Error::unknown_collation(name)))
        .transpose()?;
    match (charset, collation) {
        (None, None) => Ok(default),
        (Some(charset), None) => Ok(charset.default_collation()),
        (Some(charset), Some(collation)) if collation.charset() != charset => {
            Err(Error::collation_charset_mismatch(collation, charset.name))
        }
        (_, Some(collation)) => Ok(collation),
    }
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
    let mut field_type = field_type(&def.name, &def.data_type, ctx)?;
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

/// The type of a column as the catalog keeps it.
pub(super) fn field_type(column: &str, data_type: &DataType, ctx: &ColumnContext) -> Result<FieldType> {
    use TypeName as T;
    let mut name = data_type.name;
    let length = data_type.length;
    // A TEXT or BLOB with a length is the smallest that holds it; with charset binary, TEXT is BLOB.
    let binary = data_type
        .charset
        .as_deref()
        .is_some_and(|charset| charset.eq_ignore_ascii_case("binary"));
    if binary {
        name = match name {
            T::Char => T::Binary,
            T::Varchar => T::Varbinary,
            T::TinyText => T::TinyBlob,
            T::Text => T::Blob,
            T::MediumText => T::MediumBlob,
            T::LongText => T::LongBlob,
            other => other,
        };
    }
    let tp = type_code(column, name, data_type, ctx)?;
    let mut ft = FieldType::new(tp);
    let width = |max: u64| match length {
        Some(n) if n > max => Err(Error::too_big_display_width(column, max)),
        other => Ok(other),
    };
    let unsigned = data_type.unsigned || name == T::Serial;
    match name {
        T::TinyInt | T::SmallInt | T::MediumInt | T::Int | T::BigInt | T::Serial | T::Bool => {
            let default = match (tp, unsigned) {
                (TypeCode::Tiny, _) if name == T::Bool => 1,
                (TypeCode::Tiny, false) => 4,
                (TypeCode::Tiny, true) => 3,
                (TypeCode::Short, false) => 6,
                (TypeCode::Short, true) => 5,
                (TypeCode::Int24, false) => 9,
                (TypeCode::Int24, true) => 8,
                (TypeCode::Long, false) => 11,
                (TypeCode::Long, true) => 10,
                _ => 20,
            };
            ft.flen = width(255)?.map_or(default, |n| n as i32);
            ft.decimal = 0;
        }
        T::Float | T::Double => {
            if data_type.scale.is_some() {
                precision_and_scale(column, data_type, 255, 30)?;
                ft.flen = length.map_or(-1, |n| n as i32);
                ft.decimal = data_type.scale.map_or(-1, |n| n as i32);
            } else {
                if length.is_some_and(|p| p > 53) {
                    return Err(Error::wrong_column_spec(column));
                }
                ft.flen = if tp == TypeCode::Float { 12 } else { 22 };
            }
        }
        T::Decimal => {
            precision_and_scale(column, data_type, 65, 30)?;
            let precision = length.filter(|n| *n != 0).unwrap_or(10);
            ft.flen = precision as i32;
            ft.decimal = data_type.scale.unwrap_or(0) as i32;
        }
        T::Bit => {
            let bits = width(64)?.unwrap_or(1);
            if bits == 0 {
                return Err(Error::invalid_field_size(column));
            }
            ft.flen = bits as i32;
            ft.decimal = 0;
        }
        T::Year => {
            if length.is_some_and(|n| n != 4) {
                return Err(Error::invalid_year_length());
            }
            ft.flen = 4;
            ft.decimal = 0;
        }
        T::Date => {
            ft.flen = 10;
            ft.decimal = 0;
        }
        T::Time | T::DateTime | T::Timestamp => {
            let fsp = length.unwrap_or(0);
            if fsp > MAX_FSP {
                return Err(Error::too_big_precision(fsp, column, MAX_FSP));
            }
            let base = if name == T::Time { 10 } else { 19 };
            ft.flen = base + if fsp > 0 { 1 + fsp as i32 } else { 0 };
            ft.decimal = fsp as i32;
        }
        T::Json => {
            ft.flen = i32::MAX;
            ft.decimal = 0;
            ft.collation = Collation::UTF8MB4_BIN;
        }
        T::Spatial => return Err(Error::not_supported_yet("spatial types")),
        _ => string_type(column, name, data_type, ctx, &mut ft)?,
    }
    ft.flags.set(FieldFlags::UNSIGNED, unsigned);
    ft.flags.set(FieldFlags::ZEROFILL, data_type.zerofill);
    ft.flags.set(FieldFlags::BLOB, ft.is_blob());
    ft.flags.set(FieldFlags::ENUM, tp == TypeCode::Enum);
    ft.flags.set(FieldFlags::SET, tp == TypeCode::Set);
    ft.flags.set(FieldFlags::TIMESTAMP, tp == TypeCode::Timestamp);
    let binary_order = !ft.is_string() || ft.collation.is_bin();
    ft.flags.set(FieldFlags::BINARY, binary_order && !ft.is_integer());
    Ok(ft)
}

fn type_code(column: &str, name: TypeName, data_type: &DataType, ctx: &ColumnContext) -> Result<TypeCode> {
    use TypeName as T;
    Ok(match name {
        T::TinyInt | T::Bool => TypeCode::Tiny,
        T::SmallInt => TypeCode::Short,
        T::MediumInt => TypeCode::Int24,
        T::Int => TypeCode::Long,
        T::BigInt | T::Serial => TypeCode::LongLong,
        T::Float if data_type.scale.is_none() && data_type.length.is_some_and(|p| p > 24) => TypeCode::Double,
        T::Float => TypeCode::Float,
        T::Double => TypeCode::Double,
        T::Decimal => TypeCode::NewDecimal,
        T::Bit => TypeCode::Bit,
        T::Date => TypeCode::Date,
        T::Time => TypeCode::Duration,
        T::DateTime => TypeCode::DateTime,
        T::Timestamp => TypeCode::Timestamp,
        T::Year => TypeCode::Year,
        T::Char | T::Binary => TypeCode::String,
        T::Varchar | T::Varbinary => TypeCode::Varchar,
        T::TinyText | T::TinyBlob => TypeCode::TinyBlob,
        T::MediumText | T::MediumBlob => TypeCode::MediumBlob,
        T::LongText | T::LongBlob => TypeCode::LongBlob,
        T::Text | T::Blob => match data_type.length {
            None => TypeCode::Blob,
            Some(n) => {
                let bytes = if name == T::Text {
                    let collation = string_collation(data_type, ctx)?;
                    n.saturating_mul(u64::from(collation.charset().max_len))
                } else {
                    n
                };
                match bytes {
                    0..=255 => TypeCode::TinyBlob,
                    256..=65535 => TypeCode::Blob,
                    65536..=16_777_215 => TypeCode::MediumBlob,
                    16_777_216..=4_294_967_295 => TypeCode::LongBlob,
                    _ => return Err(Error::too_big_display_width(column, u32::MAX)),
                }
            }
        },
        T::Enum => TypeCode::Enum,
        T::Set => TypeCode::Set,
        T::Json => TypeCode::Json,
        T::Spatial => return Err(Error::not_supported_yet("spatial types")),
    })
}

fn precision_and_scale(column: &str, data_type: &DataType, max_m: u64, max_d: u64) -> Result<()> {
    let (m, d) = (data_type.length.unwrap_or(10), data_type.scale.unwrap_or(0));
    if d > max_d {
        return Err(Error::too_big_scale(d, column, max_d));
    }
    if m > max_m {
        return Err(Error::too_big_precision(m, column, max_m));
    }
    if d > m {
        return Err(Error::m_bigger_than_d(column));
    }
    Ok(())
}

fn string_collation(data_type: &DataType, ctx: &ColumnContext) -> Result<Collation> {
    let (charset, collate) = (data_type.charset.as_deref(), data_type.collate.as_deref());
    let collation = collation_of(charset, collate, ctx.collation)?;
    if data_type.binary && collate.is_none() {
        let bin = format!("{}_bin", collation.charset().name);
        return Ok(Collation::by_name(&bin).unwrap_or(collation));
    }
    Ok(collation)
}

fn string_type(
    column: &str,
    name: TypeName,
    data_type: &DataType,
    ctx: &ColumnContext,
    ft: &mut FieldType,
) -> Result<()> {
    use TypeName as T;
    let is_bytes = matches!(
        name,
        T::Binary | T::Varbinary | T::TinyBlob | T::Blob | T::MediumBlob | T::LongBlob
    );
    ft.collation = if is_bytes {
        Collation::BINARY
    } else {
        string_collation(data_type, ctx)?
    };
    // The table's default may be binary too.
    let char_bytes = u64::from(ft.charset().max_len);
    let length = data_type.length;
    match name {
        T::Char | T::Binary => {
            let n = length.unwrap_or(1);
            if n > 255 {
                return Err(Error::column_too_long(column, 255));
            }
            ft.flen = n as i32;
        }
        T::Varchar | T::Varbinary => {
            let n = length.unwrap_or(0);
            let max = MAX_VARCHAR_BYTES / char_bytes;
            if n > max {
                return Err(Error::column_too_long(column, max));
            }
            ft.flen = n as i32;
        }
        T::Enum | T::Set => {
            let kind = if name == T::Enum { "ENUM" } else { "SET" };
            ft.elems = Some(members(column, kind, data_type, ft.collation)?.into());
            let lengths = data_type.members.iter().map(|m| m.chars().count());
            ft.flen = if name == T::Enum {
                lengths.max().unwrap_or(0) as i32
            } else {
                (lengths.sum::<usize>() + data_type.members.len().saturating_sub(1)) as i32
            };
        }
        _ => {
            ft.flen = match ft.tp {
                TypeCode::TinyBlob => 255,
                TypeCode::Blob => 65535,
                TypeCode::MediumBlob => 16_777_215,
                _ => i32::MAX,
            };
        }
    }
    Ok(())
}

/// The members of an ENUM or SET: trailing spaces dropped, none twice, none of a SET with a comma.
fn members(column: &str, kind: &str, data_type: &DataType, collation: Collation) -> Result<Vec<String>> {
    let members: Vec<String> = data_type
        .members
        .iter()
        .map(|m| m.trim_end_matches(' ').to_string())
        .collect();
    if kind == "SET" && members.len() > 64 {
        return Err(Error::too_big_set(column));
    }
    if kind == "SET"
        && let Some(bad) = members.iter().find(|m| m.contains(','))
    {
        return Err(Error::illegal_value_for_type("set", bad));
    }
    let fold = |m: &str| {
        if !collation.is_bin() {
            m.to_lowercase()
        } else {
            m.to_string()
        }
    };
    let mut seen = std::collections::HashSet::new();
    for member in &members {
        if !seen.insert(fold(member)) {
            return Err(Error::duplicated_value_in_type(column, member, kind));
        }
    }
    Ok(members)
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
