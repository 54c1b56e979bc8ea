//! Column types as text: what COLUMN_TYPE, DESCRIBE and SHOW CREATE TABLE print.

use std::fmt::Write;

use crate::quote::quoted;
use ilmenite_types::{FieldFlags, FieldType, TypeCode};

/// The type without length or attributes: DATA_TYPE.
pub(crate) fn type_name(field_type: &FieldType) -> &'static str {
    use TypeCode::*;
    let binary = field_type.collation.is_binary();
    match field_type.tp {
        Tiny => "tinyint",
        Short => "smallint",
        Int24 => "mediumint",
        Long => "int",
        LongLong => "bigint",
        Float => "float",
        Double => "double",
        Null => "null",
        Timestamp => "timestamp",
        DateTime => "datetime",
        Date => "date",
        Duration => "time",
        Year => "year",
        Bit => "bit",
        Json => "json",
        NewDecimal => "decimal",
        Enum => "enum",
        Set => "set",
        TinyBlob if binary => "tinyblob",
        TinyBlob => "tinytext",
        Blob if binary => "blob",
        Blob => "text",
        MediumBlob if binary => "mediumblob",
        MediumBlob => "mediumtext",
        LongBlob if binary => "longblob",
        LongBlob => "longtext",
        Varchar | VarString if binary => "varbinary",
        Varchar | VarString => "varchar",
        String if binary => "binary",
        String => "char",
    }
}

/// The whole type as MySQL 8.0 prints it: `int unsigned`, `decimal(10,2)`, `enum('a','b')`. Display widths of integers
/// are gone, but for `tinyint(1)` and with ZEROFILL.
pub(crate) fn type_text(field_type: &FieldType) -> String {
    use TypeCode::*;
    let mut text = type_name(field_type).to_string();
    let unsigned = field_type.is_unsigned();
    let zerofill = field_type.flags.has(FieldFlags::ZEROFILL);
    // Writing to a string cannot fail.
    let _ = match field_type.tp {
        Tiny if field_type.flen == 1 && !unsigned => write!(text, "(1)"),
        Tiny | Short | Int24 | Long | LongLong if zerofill && field_type.flen >= 0 => {
            write!(text, "({})", field_type.flen)
        }
        Float | Double if field_type.decimal >= 0 && field_type.flen >= 0 => {
            write!(text, "({},{})", field_type.flen, field_type.decimal)
        }
        NewDecimal => write!(text, "({},{})", field_type.flen.max(1), field_type.decimal.max(0)),
        Timestamp | DateTime | Duration if field_type.decimal > 0 => {
            write!(text, "({})", field_type.decimal)
        }
        Bit => write!(text, "({})", field_type.flen.max(1)),
        Varchar | VarString | String if field_type.flen >= 0 => write!(text, "({})", field_type.flen),
        Enum | Set => {
            let members = field_type.elems.as_deref().unwrap_or_default();
            let members: Vec<_> = members.iter().map(|m| quoted(m)).collect();
            write!(text, "({})", members.join(","))
        }
        _ => Ok(()),
    };
    if unsigned {
        text.push_str(" unsigned");
    }
    if zerofill {
        text.push_str(" zerofill");
    }
    text
}
