//! Virtual tables from lists: one line a column, with its name and type as MySQL documents it.

use futures::future::BoxFuture;
use ilmenite_types::{Collation, Datum, FieldFlags, FieldType, TypeCode};

use crate::context::SessionContext;
use ilmenite_error::{Error, Result};
use ilmenite_executor::Row;
use ilmenite_executor::VirtualFilter;
use ilmenite_planner::{VirtualColumn, VirtualTable};

/// Names are compared without regard to case.
pub(crate) const COLLATION: Collation = Collation::UTF8MB4_GENERAL_CI;

/// Where a table's rows come from.
#[derive(Clone, Copy)]
pub(super) enum Source {
    /// Known to clients, and always without rows here.
    Empty,
    /// What memory holds.
    Memory(fn(&SessionContext, &VirtualFilter) -> Result<Vec<Row>>),
    /// What the store has to be asked for.
    Store(for<'a> fn(&'a SessionContext, &'a VirtualFilter) -> BoxFuture<'a, Result<Vec<Row>>>),
}

#[derive(Clone, Copy)]
pub(super) struct Definition {
    pub schema: &'static str,
    pub name: &'static str,
    /// A column a line: name, type, perhaps `not null`.
    pub columns: &'static str,
    pub source: Source,
}

pub(crate) struct Table {
    definition: Definition,
    columns: Vec<VirtualColumn>,
}

impl Table {
    pub(super) fn new(definition: &Definition) -> Table {
        Table {
            definition: *definition,
            columns: parse_columns(definition.columns),
        }
    }

    /// All rows, or only those that `filter` admits. Each has a datum per column.
    pub(crate) async fn rows(&self, ctx: &SessionContext, filter: &VirtualFilter) -> Result<Vec<Row>> {
        let mut rows = match self.definition.source {
            Source::Empty => Vec::new(),
            Source::Memory(make) => make(ctx, filter)?,
            Source::Store(make) => make(ctx, filter).await?,
        };
        rows.iter_mut().try_for_each(|row| self.fit(row))?;
        Ok(rows)
    }

    /// Makes members of ENUM columns out of their names, and checks the width of the row.
    fn fit(&self, row: &mut Row) -> Result<()> {
        if row.len() != self.columns.len() {
            let (name, given, wanted) = (self.definition.name, row.len(), self.columns.len());
            return Err(Error::bug(format!(
                "a row of {name} has {given} values for {wanted} columns"
            )));
        }
        for (datum, column) in row.iter_mut().zip(&self.columns) {
            if let (Datum::Bytes(text), Some(members)) = (&*datum, &column.field_type.elems) {
                let member = members.iter().position(|m| m.as_bytes() == &text[..]);
                *datum = Datum::Enum(member.map_or(0, |at| at as u64 + 1));
            }
        }
        Ok(())
    }
}

impl VirtualTable for Table {
    fn schema(&self) -> &'static str {
        self.definition.schema
    }

    fn name(&self) -> &'static str {
        self.definition.name
    }

    fn columns(&self) -> &[VirtualColumn] {
        &self.columns
    }
}

/// The columns of a list. A type that is none becomes a text, which the tests of the lists do not let pass.
pub(crate) fn parse_columns(list: &'static str) -> Vec<VirtualColumn> {
    list.lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .map(|line| {
            let (name, rest) = line.split_once(' ').unwrap_or((line, "text"));
            let field_type = column_type(rest).unwrap_or_else(|| FieldType::new(TypeCode::Blob));
            VirtualColumn { name, field_type }
        })
        .collect()
}

/// A type, perhaps followed by `not null`.
pub(crate) fn column_type(spec: &str) -> Option<FieldType> {
    let (spec, not_null) = match spec.trim().strip_suffix("not null") {
        Some(spec) => (spec.trim_end(), true),
        None => (spec.trim(), false),
    };
    let mut field_type = field_type(spec)?;
    field_type.flags.set(FieldFlags::NOT_NULL, not_null);
    Some(field_type)
}

/// `varchar(64)`, `bigint unsigned`, `enum('a','b')`, …
fn field_type(spec: &str) -> Option<FieldType> {
    let (name, rest) = match spec.find(|c: char| !c.is_ascii_alphabetic()) {
        Some(at) => spec.split_at(at),
        None => (spec, ""),
    };
    let rest = rest.trim();
    let argument = rest
        .strip_prefix('(')
        .and_then(|r| r.split_once(')'))
        .map(|(a, _)| a);
    let number = argument.and_then(|a| a.parse::<i32>().ok());
    let (tp, flen, decimal) = match name {
        "tinyint" => (TypeCode::Tiny, 4, 0),
        "smallint" => (TypeCode::Short, 6, 0),
        "int" => (TypeCode::Long, 11, 0),
        "bigint" => (TypeCode::LongLong, 20, 0),
        "float" => (TypeCode::Float, 12, -1),
        "double" => (TypeCode::Double, 22, -1),
        "decimal" => {
            let (precision, scale) = argument?.split_once(',')?;
            (
                TypeCode::NewDecimal,
                precision.trim().parse().ok()?,
                scale.trim().parse().ok()?,
            )
        }
        "datetime" | "timestamp" => {
            let tp = if name == "datetime" {
                TypeCode::DateTime
            } else {
                TypeCode::Timestamp
            };
            let fsp = number.unwrap_or(0);
            (tp, if fsp > 0 { 20 + fsp } else { 19 }, fsp)
        }
        "varchar" | "varbinary" => (TypeCode::Varchar, number?, -1),
        "char" | "binary" => (TypeCode::String, number?, -1),
        "text" | "blob" => (TypeCode::Blob, 65_535, -1),
        "mediumtext" => (TypeCode::MediumBlob, 16_777_215, -1),
        "longtext" => (TypeCode::LongBlob, i32::MAX, -1),
        "json" => (TypeCode::Json, i32::MAX, 0),
        "enum" => (TypeCode::Enum, -1, -1),
        _ => return None,
    };
    let mut field_type = FieldType::new(tp);
    field_type.flen = flen;
    field_type.decimal = decimal;
    if matches!(name, "varbinary" | "binary" | "blob") {
        field_type.collation = Collation::BINARY;
    } else if !field_type.collation.is_binary() {
        field_type.collation = COLLATION;
    }
    if tp == TypeCode::Enum {
        let members: Vec<String> = argument?
            .split(',')
            .map(|m| m.trim().trim_matches('\'').to_string())
            .collect();
        field_type.flen = members.iter().map(|m| m.chars().count() as i32).max()?;
        field_type.elems = Some(members.into());
    }
    let flags = &mut field_type.flags;
    flags.set(FieldFlags::UNSIGNED, rest.ends_with("unsigned"));
    flags.set(FieldFlags::ENUM, tp == TypeCode::Enum);
    flags.set(
        FieldFlags::BLOB,
        matches!(tp, TypeCode::Blob | TypeCode::MediumBlob | TypeCode::LongBlob),
    );
    flags.set(FieldFlags::TIMESTAMP, tp == TypeCode::Timestamp);
    Some(field_type)
}

/// A text, or NULL.
pub(super) fn maybe_text(text: Option<impl Into<String>>) -> Datum {
    text.map_or(Datum::Null, Datum::text)
}

pub(super) fn maybe_uint(number: Option<u64>) -> Datum {
    number.map_or(Datum::Null, Datum::UInt)
}

pub(super) fn yes_no(yes: bool) -> Datum {
    Datum::text(if yes { "YES" } else { "NO" })
}
