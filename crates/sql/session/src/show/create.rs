//! SHOW CREATE TABLE and SHOW CREATE DATABASE: text that makes the same again, as MySQL writes it.

use std::fmt::Write;

use ilmenite_catalog::{ColumnInfo, TableInfo};
use ilmenite_types::{Datum, FieldFlags, TypeCode};

use super::columns;
use crate::context::SessionContext;
use crate::infoschema::{Key, TableLike, auto_increment, default_text, find_table, keys, type_text};
use crate::quote::{identifier, quoted};
use crate::rowset::RowSet;
use ilmenite_error::{Error, Result};
use ilmenite_parser::TableName;
use ilmenite_planner::virtual_schema;

pub(super) async fn table(ctx: &SessionContext, name: &TableName) -> Result<RowSet> {
    let found = find_table(ctx, name)?;
    let info = found.info();
    let next = match &found {
        TableLike::Stored(..) => auto_increment(ctx, &info).await?,
        TableLike::Virtual(_) => None,
    };
    let mut rows = RowSet::new(columns(&[
        ("Table", "varchar(64) not null"),
        ("Create Table", "longtext not null"),
    ]));
    let text = create_table_text(&info, next);
    rows.rows.push(vec![Datum::text(found.name()), Datum::text(text)]);
    Ok(rows)
}

pub(super) fn database(ctx: &SessionContext, name: &str, if_not_exists: bool) -> Result<RowSet> {
    let name = super::database_of(ctx, Some(name))?;
    let view = ctx.engine.catalog.view();
    let (charset, collate) = match view.schema(&name) {
        Some(schema) => (schema.charset.as_str(), schema.collate.as_str()),
        None if virtual_schema(&name).is_some() => ("utf8mb4", "utf8mb4_bin"),
        None => return Err(Error::unknown_database(name)),
    };
    let mut rows = RowSet::new(columns(&[
        ("Database", "varchar(64) not null"),
        ("Create Database", "varchar(1024) not null"),
    ]));
    let condition = if if_not_exists {
        "/*!32312 IF NOT EXISTS*/ "
    } else {
        ""
    };
    let text = format!(
        "CREATE DATABASE {condition}{} /*!40100 DEFAULT CHARACTER SET {charset} COLLATE {collate} */",
        identifier(&name)
    );
    rows.rows.push(vec![Datum::text(&name), Datum::text(text)]);
    Ok(rows)
}

/// The statement that makes the table, in MySQL's words and order: tools take it apart with regular expressions.
/// What only TiDB's dialect knows stands in its comments. `next` is the next AUTO_INCREMENT value.
pub(super) fn create_table_text(table: &TableInfo, next: Option<u64>) -> String {
    let mut lines: Vec<String> = table
        .public_columns()
        .map(|column| column_line(table, column))
        .collect();
    lines.extend(keys(table).iter().map(key_line));
    let mut text = format!(
        "CREATE TABLE {} (\n  {}\n) ENGINE=InnoDB",
        identifier(&table.name.original),
        lines.join(",\n  ")
    );
    // Writing to a string cannot fail.
    if let Some(next) = next.filter(|next| *next > 1) {
        let _ = write!(text, " AUTO_INCREMENT={next}");
    }
    let _ = write!(
        text,
        " DEFAULT CHARSET={} COLLATE={}",
        table.charset, table.collate
    );
    if !table.comment.is_empty() {
        let _ = write!(text, " COMMENT={}", quoted(&table.comment));
    }
    text
}

fn column_line(table: &TableInfo, column: &ColumnInfo) -> String {
    let ty = &column.field_type;
    let mut line = format!("{} {}", identifier(&column.name.original), type_text(ty));
    let texts = ty.is_string() || matches!(ty.tp, TypeCode::Enum | TypeCode::Set);
    if texts && !ty.collation.is_binary() && ty.collation.name() != table.collate {
        let _ = write!(
            line,
            " CHARACTER SET {} COLLATE {}",
            ty.charset().name,
            ty.collation
        );
    }
    if ty.is_not_null() {
        line.push_str(" NOT NULL");
    } else if ty.tp == TypeCode::Timestamp {
        line.push_str(" NULL");
    }
    let auto_increment = ty.flags.has(FieldFlags::AUTO_INCREMENT);
    match default_text(column) {
        Some(text) if column.default_is_expr && is_now(&text) => {
            let _ = write!(line, " DEFAULT {text}");
        }
        Some(text) if column.default_is_expr => {
            let _ = write!(line, " DEFAULT ({text})");
        }
        Some(text) if ty.tp == TypeCode::Bit => {
            let _ = write!(line, " DEFAULT {text}");
        }
        Some(text) => {
            let _ = write!(line, " DEFAULT {}", quoted(&text));
        }
        None if !ty.is_not_null() && !ty.is_blob() && !auto_increment => line.push_str(" DEFAULT NULL"),
        None => {}
    }
    if ty.flags.has(FieldFlags::ON_UPDATE_NOW) {
        line.push_str(" ON UPDATE CURRENT_TIMESTAMP");
        if ty.decimal > 0 {
            let _ = write!(line, "({})", ty.decimal);
        }
    }
    if auto_increment {
        line.push_str(" AUTO_INCREMENT");
    }
    if !column.comment.is_empty() {
        let _ = write!(line, " COMMENT {}", quoted(&column.comment));
    }
    line
}

fn is_now(text: &str) -> bool {
    text.starts_with("CURRENT_TIMESTAMP")
}

fn key_line(key: &Key<'_>) -> String {
    let parts: Vec<String> = key
        .parts
        .iter()
        .map(|part| {
            let name = identifier(&part.column.name.original);
            part.prefix.map_or(name.clone(), |n| format!("{name}({n})"))
        })
        .collect();
    let parts = parts.join(",");
    let mut line = match (key.primary, key.unique) {
        (true, _) => format!("PRIMARY KEY ({parts})"),
        (false, true) => format!("UNIQUE KEY {} ({parts})", identifier(key.name)),
        (false, false) => format!("KEY {} ({parts})", identifier(key.name)),
    };
    if !key.comment.is_empty() {
        let _ = write!(line, " COMMENT {}", quoted(key.comment));
    }
    if key.primary {
        line.push_str(if key.clustered {
            " /*T![clustered_index] CLUSTERED */"
        } else {
            " /*T![clustered_index] NONCLUSTERED */"
        });
    }
    if !key.visible {
        line.push_str(" /*!80000 INVISIBLE */");
    }
    line
}
