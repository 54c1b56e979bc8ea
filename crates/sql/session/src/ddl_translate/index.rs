//! Definitions of indexes.

use ilmenite_catalog::Name;
use ilmenite_ddl::{IndexPart, IndexSpec};

use ilmenite_error::{Error, Result};
use ilmenite_parser::{ColumnDef, IndexDef, IndexKind, IndexPartDef};

/// The key a column's own definition asks for, and CLUSTERED or NONCLUSTERED when said.
pub(super) fn column_key(def: &ColumnDef) -> Option<(IndexSpec, Option<bool>)> {
    if !def.primary && !def.unique {
        return None;
    }
    let index = IndexSpec {
        name: None,
        columns: vec![IndexPart {
            column: Name::new(&def.name),
            length: None,
        }],
        unique: true,
        primary: def.primary,
        invisible: false,
        comment: String::new(),
        if_not_exists: false,
    };
    Some((index, def.clustered.filter(|_| def.primary)))
}

pub(super) fn index_spec(def: &IndexDef) -> Result<IndexSpec> {
    match def.kind {
        IndexKind::Fulltext => return Err(Error::not_supported_yet("FULLTEXT indexes")),
        IndexKind::Spatial => return Err(Error::not_supported_yet("SPATIAL indexes")),
        _ => {}
    }
    if let Some(what) = def.unsupported {
        return Err(Error::not_supported_yet(what));
    }
    let mut columns: Vec<IndexPart> = Vec::with_capacity(def.parts.len());
    for part in &def.parts {
        match part {
            IndexPartDef::Column { name, length, .. } => {
                if *length == Some(0) {
                    return Err(Error::key_part_zero(name));
                }
                let column = Name::new(name);
                if columns.iter().any(|c| c.column.lower == column.lower) {
                    return Err(Error::duplicate_column(name));
                }
                let length = length.map(|n| u32::try_from(n).unwrap_or(u32::MAX));
                columns.push(IndexPart { column, length });
            }
            IndexPartDef::Expression(_) => {
                return Err(Error::not_supported_yet("indexes on expressions"));
            }
        }
    }
    Ok(IndexSpec {
        name: def.name.as_deref().map(Name::new),
        columns,
        unique: matches!(def.kind, IndexKind::Unique | IndexKind::Primary),
        primary: def.kind == IndexKind::Primary,
        invisible: def.invisible,
        comment: def.comment.clone(),
        if_not_exists: def.if_not_exists,
    })
}
