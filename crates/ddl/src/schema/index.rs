//! Keys: from their specification to `IndexInfo`, with MySQL's limits.

use ilmenite_catalog::{ColumnInfo, IndexColumn, IndexInfo, Name, SchemaState, TableInfo};
use ilmenite_types::{FieldFlags, FieldType, TypeCode};

use super::{MAX_KEY_BYTES, MAX_KEY_PARTS, MAX_KEYS, check_name};
use crate::error::{CommentedObject, DdlError, Result};
use crate::statement::{IndexPart, IndexSpec};

const MAX_INDEX_COMMENT_CHARS: usize = 1024;
const PRIMARY: &str = "PRIMARY";

/// Makes the key the specification describes, with id 0 and in state `state`. The name must be free in `table`.
pub fn build_index(table: &TableInfo, spec: &IndexSpec, state: SchemaState) -> Result<IndexInfo> {
    if spec.primary {
        if table.pk_is_handle || table.indexes.iter().any(|i| i.primary) {
            return Err(DdlError::MultiplePrimaryKey);
        }
        if spec.invisible {
            return Err(DdlError::InvisiblePrimaryKey);
        }
    }
    if table.indexes.len() >= MAX_KEYS {
        return Err(DdlError::TooManyKeys { max: MAX_KEYS });
    }
    if spec.columns.len() > MAX_KEY_PARTS {
        return Err(DdlError::TooManyKeyParts { max: MAX_KEY_PARTS });
    }
    let name = index_name(table, spec)?;
    if spec.comment.chars().count() > MAX_INDEX_COMMENT_CHARS {
        let name = name.original;
        return Err(DdlError::CommentTooLong {
            what: CommentedObject::Index,
            name,
            max: MAX_INDEX_COMMENT_CHARS,
        });
    }
    Ok(IndexInfo {
        id: 0,
        columns: index_columns(table, &spec.columns, spec.primary)?,
        name,
        state,
        comment: spec.comment.clone(),
        unique: spec.unique || spec.primary,
        primary: spec.primary,
        invisible: spec.invisible,
        value_version: 1,
        readable_since: 0,
        building_job: None,
        unknown: Default::default(),
    })
}

/// The given name, or one made from the first column's.
fn index_name(table: &TableInfo, spec: &IndexSpec) -> Result<Name> {
    if spec.primary {
        return Ok(Name::new(PRIMARY));
    }
    if let Some(name) = &spec.name {
        check_name(&name.original, |name| DdlError::WrongIndexName { name })?;
        if name.lower == PRIMARY.to_lowercase() {
            return Err(DdlError::WrongIndexName {
                name: name.original.clone(),
            });
        }
        if table.index(&name.original).is_some() {
            return Err(DdlError::DuplicateKeyName {
                name: name.original.clone(),
            });
        }
        return Ok(name.clone());
    }
    let Some(first) = spec.columns.first() else {
        return Err(DdlError::WrongIndexName { name: String::new() });
    };
    let base = &first.column.original;
    let free = |name: &str| table.index(name).is_none() && !name.eq_ignore_ascii_case(PRIMARY);
    if free(base) {
        return Ok(first.column.clone());
    }
    // Of MAX_KEYS + 2 names one is free.
    let name = (2..MAX_KEYS + 4)
        .map(|n| format!("{base}_{n}"))
        .find(|name| free(name));
    name.map(Name::new).ok_or(DdlError::TooManyKeys { max: MAX_KEYS })
}

fn index_columns(table: &TableInfo, parts: &[IndexPart], primary: bool) -> Result<Vec<IndexColumn>> {
    if parts.is_empty() {
        return Err(DdlError::KeyColumnMissing {
            column: String::new(),
        });
    }
    let mut columns: Vec<IndexColumn> = Vec::with_capacity(parts.len());
    let mut total_bytes = 0;
    for part in parts {
        let missing = || DdlError::KeyColumnMissing {
            column: part.column.original.clone(),
        };
        let column = table.column(&part.column.original).ok_or_else(missing)?;
        if columns.iter().any(|c| c.offset == column.offset) {
            return Err(DdlError::DuplicateColumn {
                name: part.column.original.clone(),
            });
        }
        if primary && !column.field_type.is_not_null() {
            return Err(DdlError::PrimaryKeyNull);
        }
        let length = part_length(column, part.length)?;
        let bytes = key_bytes(&column.field_type, length);
        if bytes > MAX_KEY_BYTES {
            return Err(DdlError::KeyTooLong {
                length: bytes,
                max: MAX_KEY_BYTES,
            });
        }
        total_bytes += bytes;
        columns.push(IndexColumn {
            name: column.name.clone(),
            offset: column.offset,
            length,
            unknown: Default::default(),
        });
    }
    if total_bytes > MAX_KEY_BYTES {
        return Err(DdlError::KeyTooLong {
            length: total_bytes,
            max: MAX_KEY_BYTES,
        });
    }
    Ok(columns)
}

/// The prefix length to keep: -1 for the whole column.
fn part_length(column: &ColumnInfo, length: Option<u32>) -> Result<i32> {
    let ft = &column.field_type;
    let name = || column.name.original.clone();
    if ft.tp == TypeCode::Json {
        return Err(DdlError::JsonKey { column: name() });
    }
    let Some(length) = length else {
        return if ft.is_blob() {
            Err(DdlError::BlobKeyWithoutLength { column: name() })
        } else {
            Ok(-1)
        };
    };
    if length == 0 {
        return Err(DdlError::KeyPartZero { column: name() });
    }
    if !ft.is_string() {
        return Err(DdlError::WrongPrefixKey);
    }
    let length = i32::try_from(length).map_err(|_| DdlError::WrongPrefixKey)?;
    if ft.is_blob() {
        // TINYBLOB and TINYTEXT hold 255 bytes; a prefix may not be longer than what the type holds.
        let holds = if ft.tp == TypeCode::TinyBlob {
            255
        } else {
            i32::MAX
        };
        return if length > holds {
            Err(DdlError::WrongPrefixKey)
        } else {
            Ok(length)
        };
    }
    match ft.flen {
        flen if flen >= 0 && length > flen => Err(DdlError::WrongPrefixKey),
        flen if length == flen => Ok(-1),
        _ => Ok(length),
    }
}

/// The most bytes a key part of this type takes, by MySQL's reckoning.
fn key_bytes(ft: &FieldType, length: i32) -> usize {
    if ft.is_string() {
        let chars = if length >= 0 { length } else { ft.flen.max(0) } as usize;
        return chars * ft.charset().max_len as usize;
    }
    match ft.tp {
        TypeCode::Tiny | TypeCode::Year => 1,
        TypeCode::Short => 2,
        TypeCode::Int24 | TypeCode::Date | TypeCode::Duration => 3,
        TypeCode::Long | TypeCode::Float | TypeCode::Timestamp => 4,
        TypeCode::Bit => (ft.flen.max(1) as usize).div_ceil(8),
        TypeCode::NewDecimal => {
            // Nine digits take four bytes, on each side of the point.
            let frac = ft.decimal.max(0) as usize;
            let int = (ft.flen.max(0) as usize).saturating_sub(frac);
            let side = |digits: usize| digits / 9 * 4 + [0, 1, 1, 2, 2, 3, 3, 4, 4][digits % 9];
            side(int) + side(frac)
        }
        TypeCode::Enum => 2,
        _ => 8,
    }
}

/// PRI, UNI and MUL as SHOW COLUMNS has them follow from the public keys alone: computed anew after every change.
pub fn recompute_key_flags(table: &mut TableInfo) {
    const KEY_FLAGS: [u32; 3] = [
        FieldFlags::PRI_KEY,
        FieldFlags::UNIQUE_KEY,
        FieldFlags::MULTIPLE_KEY,
    ];
    // An integer primary key that is the handle has no index of its own: its flag is the only trace of it.
    let handle = table.handle_column().map(|c| c.id);
    for column in &mut table.columns {
        for flag in KEY_FLAGS {
            column
                .field_type
                .flags
                .set(flag, flag == FieldFlags::PRI_KEY && handle == Some(column.id));
        }
    }
    for index in table.indexes.iter().filter(|i| i.state == SchemaState::Public) {
        for (position, part) in index.columns.iter().enumerate() {
            let Some(column) = table.columns.get_mut(part.offset) else {
                continue;
            };
            let flag = match (index.primary, position) {
                (true, _) => FieldFlags::PRI_KEY,
                (false, 0) if index.unique && index.columns.len() == 1 => FieldFlags::UNIQUE_KEY,
                (false, 0) => FieldFlags::MULTIPLE_KEY,
                _ => continue,
            };
            column.field_type.flags.set(flag, true);
        }
    }
}

/// Does an existing key still fit its columns' types?
pub(super) fn check_parts(table: &TableInfo, index: &IndexInfo) -> Result<()> {
    let mut total_bytes = 0;
    for part in &index.columns {
        let missing = || DdlError::KeyColumnMissing {
            column: part.name.original.clone(),
        };
        let column = table.columns.get(part.offset).ok_or_else(missing)?;
        if part.length < 0 && column.field_type.is_blob() {
            return Err(DdlError::BlobKeyWithoutLength {
                column: column.name.original.clone(),
            });
        }
        total_bytes += key_bytes(&column.field_type, part.length);
    }
    if total_bytes > MAX_KEY_BYTES {
        return Err(DdlError::KeyTooLong {
            length: total_bytes,
            max: MAX_KEY_BYTES,
        });
    }
    Ok(())
}
