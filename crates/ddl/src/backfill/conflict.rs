//! What is kept of rows that have the same values under a unique key being built.

use ilmenite_catalog::{IndexInfo, TableInfo};
use ilmenite_table::{IndexCodec, decode_duplicate, handle_text};

use crate::error::{DdlError, Result};
use crate::job::Conflict;

/// What is kept of entries under one key that are of different rows.
pub(crate) fn conflict_of(
    table: &TableInfo,
    index: &IndexInfo,
    codec: &IndexCodec,
    key: &[u8],
    entries: &[&bytes::Bytes],
) -> Result<Conflict> {
    let Some(first) = entries.first() else {
        return Err(DdlError::bug("a conflict of no entries"));
    };
    let values = codec.values(key, first, None)?;
    let mut handles = Vec::with_capacity(entries.len());
    for value in entries {
        handles.push(handle_text(&codec.handle_of(key, value)?));
    }
    Ok(Conflict {
        index: index.name.original.clone(),
        entry: decode_duplicate(table, index, &values),
        handles,
    })
}
