//! COLUMNS: every column of every table, virtual ones too.

use ilmenite_catalog::ColumnInfo;
use ilmenite_types::{Datum, FieldFlags, FieldType, TypeCode};

use super::define::{Definition, Source, maybe_text, yes_no};
use super::keys::column_key;
use super::objects::table_entries;
use super::{keys, type_name, type_text};
use crate::context::SessionContext;
use ilmenite_error::Result;
use ilmenite_executor::Row;
use ilmenite_executor::VirtualFilter;
use ilmenite_planner::Privilege;

pub(super) const TABLES: &[Definition] = &[Definition {
    schema: "information_schema",
    name: "COLUMNS",
    columns: "
        TABLE_CATALOG varchar(64) not null
        TABLE_SCHEMA varchar(64) not null
        TABLE_NAME varchar(64) not null
        COLUMN_NAME varchar(64)
        ORDINAL_POSITION int unsigned not null
        COLUMN_DEFAULT text
        IS_NULLABLE varchar(3) not null
        DATA_TYPE longtext
        CHARACTER_MAXIMUM_LENGTH bigint
        CHARACTER_OCTET_LENGTH bigint
        NUMERIC_PRECISION bigint unsigned
        NUMERIC_SCALE bigint unsigned
        DATETIME_PRECISION int unsigned
        CHARACTER_SET_NAME varchar(64)
        COLLATION_NAME varchar(64)
        COLUMN_TYPE mediumtext not null
        COLUMN_KEY enum('','PRI','UNI','MUL') not null
        EXTRA varchar(256)
        PRIVILEGES varchar(154)
        COLUMN_COMMENT text not null
        GENERATION_EXPRESSION longtext not null
        SRS_ID int unsigned",
    source: Source::Memory(columns),
}];

/// A column's length in characters and in bytes, of those that have one.
fn lengths(field_type: &FieldType) -> Option<(i64, i64)> {
    let bytes_per_char = i64::from(field_type.charset().max_len);
    let members = || field_type.elems.as_deref().unwrap_or_default().iter();
    let chars = match field_type.tp {
        TypeCode::TinyBlob => return Some((255, 255)),
        TypeCode::Blob => return Some((65_535, 65_535)),
        TypeCode::MediumBlob => return Some((16_777_215, 16_777_215)),
        TypeCode::LongBlob => return Some((4_294_967_295, 4_294_967_295)),
        TypeCode::Varchar | TypeCode::VarString | TypeCode::String => i64::from(field_type.flen.max(0)),
        TypeCode::Enum => members().map(|m| m.chars().count() as i64).max().unwrap_or(0),
        TypeCode::Set => {
            let all: i64 = members().map(|m| m.chars().count() as i64).sum();
            all + (members().count() as i64 - 1).max(0)
        }
        _ => return None,
    };
    Some((chars, chars * bytes_per_char))
}

/// Digits, and digits after the point, of numbers.
fn precision(field_type: &FieldType) -> (Option<u64>, Option<u64>) {
    let unsigned = field_type.is_unsigned();
    let digits = |n: i32| u64::try_from(n).ok();
    match field_type.tp {
        TypeCode::Tiny => (Some(3), Some(0)),
        TypeCode::Short => (Some(5), Some(0)),
        TypeCode::Int24 if unsigned => (Some(8), Some(0)),
        TypeCode::Int24 => (Some(7), Some(0)),
        TypeCode::Long => (Some(10), Some(0)),
        TypeCode::LongLong if unsigned => (Some(20), Some(0)),
        TypeCode::LongLong => (Some(19), Some(0)),
        TypeCode::NewDecimal => (digits(field_type.flen), digits(field_type.decimal)),
        TypeCode::Float if field_type.decimal < 0 => (Some(12), None),
        TypeCode::Double if field_type.decimal < 0 => (Some(22), None),
        TypeCode::Float | TypeCode::Double => (digits(field_type.flen), digits(field_type.decimal)),
        TypeCode::Bit => (digits(field_type.flen.max(1)), None),
        _ => (None, None),
    }
}

/// Has the type characters, and so a character set?
fn has_charset(field_type: &FieldType) -> bool {
    let texts = field_type.is_string() || matches!(field_type.tp, TypeCode::Enum | TypeCode::Set);
    texts && !field_type.collation.is_binary()
}

/// A default as SQL writes it, without quotes: a bit string for BIT.
pub(crate) fn default_text(column: &ColumnInfo) -> Option<String> {
    let text = column.default.as_deref()?;
    if column.field_type.tp == TypeCode::Bit && !column.default_is_expr {
        let number = text.bytes().fold(0u64, |n, byte| n << 8 | u64::from(byte));
        return Some(format!("b'{number:b}'"));
    }
    Some(text.to_string())
}

fn extra(column: &ColumnInfo) -> String {
    let flags = column.field_type.flags;
    let mut parts = Vec::new();
    if flags.has(FieldFlags::AUTO_INCREMENT) {
        parts.push("auto_increment".to_string());
    }
    if column.default_is_expr {
        parts.push("DEFAULT_GENERATED".into());
    }
    if flags.has(FieldFlags::ON_UPDATE_NOW) {
        parts.push(match column.field_type.decimal {
            fsp if fsp > 0 => format!("on update CURRENT_TIMESTAMP({fsp})"),
            _ => "on update CURRENT_TIMESTAMP".into(),
        });
    }
    parts.join(" ")
}

/// What the user may do with columns of the table, as `select,insert`.
fn privileges(ctx: &SessionContext, schema: &str, table: &str) -> String {
    let all = [
        (Privilege::Select, "select"),
        (Privilege::Insert, "insert"),
        (Privilege::Update, "update"),
        (Privilege::References, "references"),
    ];
    let granted = all
        .into_iter()
        .filter(|(privilege, _)| match schema {
            "information_schema" | "performance_schema" => *privilege == Privilege::Select,
            _ => ctx.privileges.grants.has(*privilege, schema, table),
        })
        .map(|(_, name)| name);
    granted.collect::<Vec<_>>().join(",")
}

fn columns(ctx: &SessionContext, filter: &VirtualFilter) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for table in table_entries(ctx, filter, "TABLE_SCHEMA", "TABLE_NAME") {
        let info = table.info();
        let keys = keys(&info);
        let privileges = privileges(ctx, table.schema(), table.name());
        for (at, column) in info.public_columns().enumerate() {
            if !filter.admits("COLUMN_NAME", &column.name.original) {
                continue;
            }
            let ty = &column.field_type;
            let (chars, octets) = lengths(ty).unzip();
            let (digits, scale) = precision(ty);
            let fsp = match ty.tp {
                TypeCode::DateTime | TypeCode::Timestamp | TypeCode::Duration => {
                    Datum::UInt(ty.decimal.max(0) as u64)
                }
                _ => Datum::Null,
            };
            let charset = has_charset(ty);
            rows.push(vec![
                Datum::text("def"),
                Datum::text(table.schema()),
                Datum::text(table.name()),
                Datum::text(&column.name.original),
                Datum::UInt(at as u64 + 1),
                maybe_text(default_text(column)),
                yes_no(!ty.is_not_null()),
                Datum::text(type_name(ty)),
                chars.map_or(Datum::Null, Datum::Int),
                octets.map_or(Datum::Null, Datum::Int),
                digits.map_or(Datum::Null, Datum::UInt),
                scale.map_or(Datum::Null, Datum::UInt),
                fsp,
                maybe_text(charset.then_some(ty.charset().name)),
                maybe_text(charset.then_some(ty.collation.name())),
                Datum::text(type_text(ty)),
                Datum::text(column_key(&keys, column)),
                Datum::text(extra(column)),
                Datum::text(&privileges),
                Datum::text(&column.comment),
                Datum::text(""),
                Datum::Null,
            ]);
        }
    }
    Ok(rows)
}
