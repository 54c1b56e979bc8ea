//! The text of a value that a unique key has twice: made in one place, for DML, builds and reconciling alike.

use ilmenite_catalog::{IndexId, IndexInfo, TableInfo};
use ilmenite_codec::Handle;
use ilmenite_types::{Datum, FieldType};

use crate::error::Error;

/// `v1-v2`: the values of the index's columns as MySQL shows them in error 1062.
pub fn decode_duplicate(table: &TableInfo, index: &IndexInfo, values: &[Datum]) -> String {
    let mut text = String::new();
    for (position, (part, value)) in index.columns.iter().zip(values).enumerate() {
        if position > 0 {
            text.push('-');
        }
        match table.columns.get(part.offset) {
            Some(column) => push_value(&column.field_type, part.length, value, &mut text),
            None => text.push('?'),
        }
    }
    text
}

fn push_value(field_type: &FieldType, prefix: i32, value: &Datum, out: &mut String) {
    let mut bytes = Vec::new();
    if !value.write_text(field_type, &mut bytes) {
        out.push_str("NULL");
        return;
    }
    let prefix = usize::try_from(prefix).unwrap_or(usize::MAX);
    if field_type.is_binary_string() {
        bytes.truncate(prefix);
    }
    let mut chars = 0;
    for chunk in bytes.utf8_chunks() {
        let room = prefix.saturating_sub(chars);
        let shown = chunk.valid().chars().take(room);
        out.extend(shown);
        chars += chunk.valid().chars().count();
        // What is no text shows as the bytes it is.
        for byte in chunk.invalid() {
            out.push_str(&format!("\\x{byte:02X}"));
        }
    }
}

/// The error of a row whose values collide in a unique index; `None`: in the clustered primary key.
pub fn duplicate_error(table: &TableInfo, index: Option<IndexId>, datums: &[Datum]) -> Error {
    let index = match index {
        Some(id) => table.index_by_id(id),
        None => table.primary_index(),
    };
    let value_at = |offset: usize| datums.get(offset).cloned().unwrap_or(Datum::Null);
    let (entry, name) = match index {
        Some(index) => {
            let values: Vec<Datum> = index.columns.iter().map(|part| value_at(part.offset)).collect();
            (
                decode_duplicate(table, index, &values),
                index.name.original.clone(),
            )
        }
        None => {
            let mut entry = String::new();
            if let Some(column) = table.handle_column() {
                push_value(&column.field_type, -1, &value_at(column.offset), &mut entry);
            }
            (entry, "PRIMARY".to_owned())
        }
    };
    Error::DuplicateEntry {
        entry,
        key: format!("{}.{name}", table.name),
    }
}

/// A handle for people: the number, or the encoded columns in hex.
pub fn handle_text(handle: &Handle) -> String {
    match handle {
        Handle::Int(id) => id.to_string(),
        Handle::Common(bytes) => bytes.iter().map(|b| format!("{b:02x}")).collect(),
    }
}
