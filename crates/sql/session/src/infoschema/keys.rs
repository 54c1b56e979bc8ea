//! A table's keys as users know them: public ones only, the primary key among them however it is kept.

use ilmenite_catalog::{ColumnInfo, IndexId, SchemaState, TableInfo};

/// One key.
pub(crate) struct Key<'a> {
    /// 0 for a primary key that is the row's handle.
    pub id: IndexId,
    pub name: &'a str,
    pub unique: bool,
    pub primary: bool,
    /// The primary key, and the rows are kept in its order.
    pub clustered: bool,
    pub visible: bool,
    pub comment: &'a str,
    pub parts: Vec<KeyPart<'a>>,
}

pub(crate) struct KeyPart<'a> {
    pub column: &'a ColumnInfo,
    /// Characters (bytes of a binary string) of a prefix.
    pub prefix: Option<u32>,
}

impl Key<'_> {
    fn nullable(&self) -> bool {
        self.parts
            .iter()
            .any(|part| !part.column.field_type.is_not_null())
    }
}

/// In MySQL's order: the primary key, unique keys (those without NULLs first), all others; else as they were made.
pub(crate) fn keys(table: &TableInfo) -> Vec<Key<'_>> {
    let mut keys: Vec<Key<'_>> = table
        .indexes
        .iter()
        .filter(|index| index.state == SchemaState::Public)
        .map(|index| Key {
            id: index.id,
            name: if index.primary {
                "PRIMARY"
            } else {
                &index.name.original
            },
            unique: index.unique || index.primary,
            primary: index.primary,
            clustered: table.is_clustered(index),
            visible: !index.invisible,
            comment: &index.comment,
            parts: index
                .columns
                .iter()
                .filter_map(|part| {
                    let column = table.columns.get(part.offset)?;
                    let prefix = u32::try_from(part.length).ok();
                    Some(KeyPart { column, prefix })
                })
                .collect(),
        })
        .collect();
    if let Some(column) = table.handle_column()
        && !keys.iter().any(|key| key.primary)
    {
        keys.push(Key {
            id: 0,
            name: "PRIMARY",
            unique: true,
            primary: true,
            clustered: true,
            visible: true,
            comment: "",
            parts: vec![KeyPart { column, prefix: None }],
        });
    }
    keys.sort_by_key(|key| match (key.primary, key.unique) {
        (true, _) => 0,
        (false, true) if !key.nullable() => 1,
        (false, true) => 2,
        (false, false) => 3,
    });
    keys
}

/// COLUMN_KEY: how the column takes part in keys.
pub(super) fn column_key(keys: &[Key<'_>], column: &ColumnInfo) -> &'static str {
    let is = |part: &KeyPart<'_>| part.column.id == column.id;
    if keys.iter().any(|key| key.primary && key.parts.iter().any(is)) {
        return "PRI";
    }
    let leading = |key: &&Key<'_>| key.parts.first().is_some_and(is);
    let whole = |key: &Key<'_>| key.parts.len() == 1 && key.parts[0].prefix.is_none();
    match keys.iter().filter(leading).find(|key| key.unique && whole(key)) {
        Some(_) => "UNI",
        None if keys.iter().any(|key| leading(&key)) => "MUL",
        None => "",
    }
}
