//! Notes on unique indexes being built: which row wrote or left which key.
//!
//! `i/note/<table id><index id>` `<key, encoded so that none is a prefix of another>` `<handle>` → empty.

use bytes::Bytes;
use ilmenite_catalog::{IndexId, TableId};
use ilmenite_codec::Handle;
use ilmenite_store::KeyRange;

use crate::error::{Error, Result};

const NOTE_PREFIX: &[u8] = b"i/note/";

fn index_prefix(table: TableId, index: IndexId, out: &mut Vec<u8>) {
    out.extend_from_slice(NOTE_PREFIX);
    out.extend_from_slice(&(table as u64).to_be_bytes());
    out.extend_from_slice(&(index as u64).to_be_bytes());
}

/// All notes on an index.
pub fn note_range(table: TableId, index: IndexId) -> KeyRange {
    let mut prefix = Vec::with_capacity(NOTE_PREFIX.len() + 16);
    index_prefix(table, index, &mut prefix);
    KeyRange::prefix(&prefix)
}

/// Every note, for the scrubber.
pub fn all_notes() -> KeyRange {
    KeyRange::prefix(NOTE_PREFIX)
}

/// Table and index of a note.
pub fn note_owner(key: &[u8]) -> Option<(TableId, IndexId)> {
    let ids = key.strip_prefix(NOTE_PREFIX)?.get(..16)?;
    let table = u64::from_be_bytes(ids[..8].try_into().ok()?) as TableId;
    let index = u64::from_be_bytes(ids[8..].try_into().ok()?) as IndexId;
    Some((table, index))
}

/// Appends the part that all notes on one index key share.
pub fn append_note_prefix(table: TableId, index: IndexId, index_key: &[u8], out: &mut Vec<u8>) {
    index_prefix(table, index, out);
    ilmenite_codec::memcomparable::encode_bytes(index_key, out);
}

/// The index key and the handle of a note.
pub fn split_note(note: &[u8]) -> Result<(Vec<u8>, Handle)> {
    let rest = note
        .get(NOTE_PREFIX.len() + 16..)
        .ok_or_else(|| Error::Damaged("a note cut short".into()))?;
    let mut index_key = Vec::with_capacity(rest.len());
    let used = ilmenite_codec::memcomparable::decode_bytes(rest, &mut index_key)?;
    let handle = match &rest[used..] {
        id if id.len() == 8 => {
            let id = ilmenite_codec::memcomparable::read_i64(id);
            Handle::Int(id.ok_or_else(|| Error::Damaged("a note with a damaged handle".into()))?)
        }
        bytes => Handle::Common(Bytes::copy_from_slice(bytes)),
    };
    Ok((index_key, handle))
}

/// The note of one handle on one key.
pub(crate) fn append_note(
    table: TableId,
    index: IndexId,
    index_key: &[u8],
    handle: &Handle,
    out: &mut Vec<u8>,
) {
    append_note_prefix(table, index, index_key, out);
    handle.as_ref().encode(out);
}
