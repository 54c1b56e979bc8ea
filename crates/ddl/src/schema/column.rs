//! Columns: what may stand in a definition, and which changes need no row to be rewritten.

use ilmenite_catalog::{ColumnInfo, Name, TableInfo};
use ilmenite_types::{FieldFlags, FieldType, TypeCode};

use super::{MAX_COLUMNS, check_name, reorder_columns};
use crate::error::{CommentedObject, DdlError, Result};
use crate::statement::ColumnPosition;

const MAX_COLUMN_COMMENT_CHARS: usize = 1024;

/// Checks of one definition that need nothing but the definition.
pub(super) fn check_column(column: &ColumnInfo) -> Result<()> {
    let name = &column.name.original;
    check_name(name, |name| DdlError::WrongColumnName { name })?;
    if column.comment.chars().count() > MAX_COLUMN_COMMENT_CHARS {
        let name = name.clone();
        return Err(DdlError::CommentTooLong {
            what: CommentedObject::Field,
            name,
            max: MAX_COLUMN_COMMENT_CHARS,
        });
    }
    let ft = &column.field_type;
    check_default(column)?;
    if ft.flags.has(FieldFlags::AUTO_INCREMENT) {
        if column.default.is_some() {
            return Err(DdlError::InvalidDefault { column: name.clone() });
        }
        if !ft.is_integer() && !matches!(ft.tp, TypeCode::Float | TypeCode::Double) {
            return Err(DdlError::unsupported(format!(
                "AUTO_INCREMENT on column '{name}' of this type"
            )));
        }
    }
    Ok(())
}

pub(super) fn check_default(column: &ColumnInfo) -> Result<()> {
    let ft = &column.field_type;
    if column.default.is_some() && !column.default_is_expr && (ft.is_blob() || ft.tp == TypeCode::Json) {
        return Err(DdlError::BlobDefault {
            column: column.name.original.clone(),
        });
    }
    Ok(())
}

/// At most one AUTO_INCREMENT column, and it is the first part of some key.
pub(super) fn check_auto_increment(table: &TableInfo) -> Result<()> {
    let mut auto = table
        .columns
        .iter()
        .filter(|c| c.field_type.flags.has(FieldFlags::AUTO_INCREMENT));
    let Some(column) = auto.next() else { return Ok(()) };
    let keyed = table.handle_column().is_some_and(|c| c.id == column.id)
        || table
            .indexes
            .iter()
            .any(|i| i.columns.first().is_some_and(|p| p.offset == column.offset));
    if auto.next().is_some() || !keyed {
        Err(DdlError::WrongAutoKey)
    } else {
        Ok(())
    }
}

pub(super) fn check_column_count(count: usize) -> Result<()> {
    if count == 0 {
        return Err(DdlError::NoColumns);
    }
    if count > MAX_COLUMNS {
        Err(DdlError::TooManyColumns)
    } else {
        Ok(())
    }
}

/// What rows older than a NOT NULL column without a default read as: MySQL's implicit default.
pub(super) fn implicit_default(ft: &FieldType) -> Option<String> {
    let text = match ft.tp {
        TypeCode::Date => "0000-00-00",
        TypeCode::DateTime | TypeCode::Timestamp => "0000-00-00 00:00:00",
        TypeCode::Duration => "00:00:00",
        TypeCode::Enum => return ft.elems.as_ref().and_then(|e| e.first().cloned()),
        TypeCode::Json => "null",
        _ if ft.is_string() || ft.tp == TypeCode::Set => "",
        _ => "0",
    };
    Some(text.to_owned())
}

/// Moves the column to its place among the public ones; `None`: behind the last of them.
pub(super) fn place_column(table: &mut TableInfo, id: i64, position: Option<&ColumnPosition>) -> Result<()> {
    use ilmenite_catalog::SchemaState::Public;
    if let Some(ColumnPosition::After(name)) = position {
        find_public(table, name, "table definition")?;
    }
    reorder_columns(table, |table| {
        let Some(at) = table.columns.iter().position(|c| c.id == id) else {
            return;
        };
        let column = table.columns.remove(at);
        let target = match position {
            Some(ColumnPosition::First) => 0,
            Some(ColumnPosition::After(name)) => table
                .columns
                .iter()
                .position(|c| c.state == Public && c.name.lower == name.lower)
                .map_or(table.columns.len(), |p| p + 1),
            None => table.columns.iter().take_while(|c| c.state == Public).count(),
        };
        table.columns.insert(target, column);
    })
}

pub(super) fn find_public<'t>(table: &'t TableInfo, name: &Name, place: &str) -> Result<&'t ColumnInfo> {
    table
        .public_columns()
        .find(|c| c.name.lower == name.lower)
        .ok_or_else(|| DdlError::UnknownColumn {
            column: name.original.clone(),
            place: place.to_owned(),
        })
}

/// Can values of `old` be read as `new` just as they are stored, in rows and in index entries?
pub(super) fn check_modify(table: &TableInfo, old: &ColumnInfo, new: &ColumnInfo) -> Result<()> {
    let (o, n) = (&old.field_type, &new.field_type);
    let refuse = |why: &str| {
        let name = &old.name;
        Err(DdlError::unsupported(format!(
            "modify column '{name}': {why} would need its rows to be rewritten"
        )))
    };
    if n.is_not_null() && !o.is_not_null() {
        return refuse("a change from NULL to NOT NULL");
    }
    if o.flags.has(FieldFlags::AUTO_INCREMENT) != n.flags.has(FieldFlags::AUTO_INCREMENT) {
        return refuse("a change of AUTO_INCREMENT");
    }
    if o.is_unsigned() != n.is_unsigned() {
        return refuse("a change of sign");
    }
    if o.collation != n.collation {
        return refuse("a change of character set or collation");
    }
    let width = |tp: TypeCode| match tp {
        TypeCode::Tiny => 1,
        TypeCode::Short => 2,
        TypeCode::Int24 => 3,
        TypeCode::Long => 4,
        TypeCode::LongLong => 8,
        TypeCode::TinyBlob => 11,
        TypeCode::Blob => 12,
        TypeCode::MediumBlob => 13,
        TypeCode::LongBlob => 14,
        _ => 0,
    };
    let same_kind = (o.is_integer() && n.is_integer()) || (o.is_blob() && n.is_blob());
    if same_kind {
        if width(n.tp) < width(o.tp) {
            return refuse("a narrower type");
        }
    } else if o.tp != n.tp {
        return refuse("another type");
    } else {
        match o.tp {
            TypeCode::Varchar | TypeCode::VarString if n.flen < o.flen => return refuse("a shorter length"),
            TypeCode::Varchar | TypeCode::VarString => {}
            // A longer BINARY(n) is padded to another value; of CHAR trailing spaces are not kept.
            TypeCode::String if o.is_binary_string() && o.flen != n.flen => return refuse("another length"),
            TypeCode::String if n.flen < o.flen => return refuse("a shorter length"),
            TypeCode::String => {}
            TypeCode::Enum | TypeCode::Set => {
                let (o, n) = (
                    o.elems.as_deref().unwrap_or(&[]),
                    n.elems.as_deref().unwrap_or(&[]),
                );
                if !n.starts_with(o) {
                    return refuse("other than added members at the end");
                }
            }
            _ if o.flen != n.flen || o.decimal != n.decimal => return refuse("another precision"),
            _ => {}
        }
    }
    // A key over the whole of the column must still fit.
    let mut changed = table.clone();
    changed.columns[old.offset].field_type = n.clone();
    for index in table
        .indexes
        .iter()
        .filter(|i| i.columns.iter().any(|p| p.offset == old.offset))
    {
        super::index::check_parts(&changed, index)?;
    }
    check_column(new)
}
