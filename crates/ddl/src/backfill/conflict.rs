//! What is kept of rows that have the same values under a unique key being built.

use ilmenite_catalog::{IndexInfo, TableInfo};
use ilmenite_sort::Duplicates;
use ilmenite_table::{IndexCodec, decode_duplicate, handle_text};
use ilmenite_task::TaskError;

use super::meta::{BuildFailure, BuildMeta};
use crate::error::{DdlError, Result};
use crate::job::Conflict;

/// What is kept of entries under one key that are of different rows.
fn conflict_of(
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

/// Decodes what the sort found under one key twice.
pub(super) fn add_duplicates(
    meta: &BuildMeta,
    index_id: i64,
    duplicates: &Duplicates,
    failure: &mut Option<BuildFailure>,
) -> Result<(), TaskError> {
    let index = meta
        .table
        .index_by_id(index_id)
        .ok_or_else(|| DdlError::bug("an index without a definition"))?;
    let codec = IndexCodec::new(&meta.table, index).map_err(DdlError::from)?;
    let mut conflicts: Vec<Conflict> = Vec::new();
    for sample in &duplicates.samples {
        let key = [&meta.key_prefix(index_id), &sample.key[..]].concat();
        let entries = [&sample.first, &sample.second];
        conflicts.push(conflict_of(&meta.table, index, &codec, &key, &entries)?);
    }
    let Some(first) = conflicts.first() else {
        return Err(DdlError::bug("duplicates were counted, but none was kept").into());
    };
    let error = DdlError::DuplicateEntry {
        entry: first.entry.clone(),
        key: format!("{}.{}", meta.table.name, index.name),
    };
    let failure = failure.get_or_insert(BuildFailure {
        error,
        conflicts: Vec::new(),
    });
    let room = ilmenite_sort::MAX_DUPLICATE_SAMPLES.saturating_sub(failure.conflicts.len());
    failure.conflicts.extend(conflicts.into_iter().take(room));
    Ok(())
}
