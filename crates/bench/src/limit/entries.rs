//! Index entries in memory: extracted from encoded rows, sorted by (8 bytes, place) pairs.

use ilmenite_codec::row::Cell;
use ilmenite_codec::{RowView, encode_bytes, memcomparable};

/// A row's handle in its key: eight bytes that compare as they are.
pub(super) const HANDLE_BYTES: usize = 8;
/// Of a version's key, behind the key itself.
pub(super) const SUFFIX_BYTES: usize = 8;
/// The first byte of the value of a version that is no delete marker.
pub(super) const PUT: u8 = 1;
/// How values begin in a key: integers and strings.
const INT_FLAG: u8 = 3;
const BYTES_FLAG: u8 = 1;
/// Ids of the columns in a table made as the harness makes it.
const K_ID: i64 = 2;
const C_ID: i64 = 3;

/// An indexed column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Column {
    /// an integer
    K,
    /// a string of 119 characters
    C,
}

/// Writes the entry's key, without the index's prefix, for the row stored as `row` under `handle`.
pub(super) fn encode(column: Column, handle: &[u8], row: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
    let view = RowView::new(row).map_err(|e| e.to_string())?;
    let id = match column {
        Column::K => K_ID,
        Column::C => C_ID,
    };
    let Cell::Value(cell) = view.find(id).map_err(|e| e.to_string())? else {
        return Err(format!("a row without column {id}: the table is not sysbench's"));
    };
    out.clear();
    match column {
        Column::K => {
            let Some(value) = int(cell) else {
                return Err(format!("an integer of {} bytes", cell.len()));
            };
            out.push(INT_FLAG);
            out.extend_from_slice(&memcomparable::i64_bytes(value));
        }
        Column::C => {
            out.push(BYTES_FLAG);
            encode_bytes(cell, out);
        }
    }
    out.push(INT_FLAG);
    out.extend_from_slice(handle);
    Ok(())
}

/// An integer as rows hold it: 1, 2, 4 or 8 bytes.
fn int(cell: &[u8]) -> Option<i64> {
    Some(match *cell {
        [a] => i64::from(a as i8),
        [a, b] => i64::from(i16::from_le_bytes([a, b])),
        [a, b, c, d] => i64::from(i32::from_le_bytes([a, b, c, d])),
        _ => i64::from_le_bytes(cell.try_into().ok()?),
    })
}

/// Keys in one buffer; what the sort moves is 16 bytes an entry.
#[derive(Default)]
pub(super) struct Entries {
    /// Each key with its length before it.
    data: Vec<u8>,
    slots: Vec<Slot>,
}

#[derive(Clone, Copy)]
struct Slot {
    /// The key's bytes after the flag that all of them begin with.
    word: u64,
    offset: u64,
}

impl Entries {
    pub(super) fn push(&mut self, key: &[u8]) -> Result<(), String> {
        let len = u16::try_from(key.len()).map_err(|_| "a key of over 64 KiB")?;
        let mut word = [0; 8];
        let rest = &key[1..key.len().min(9)];
        word[..rest.len()].copy_from_slice(rest);
        self.slots.push(Slot {
            word: u64::from_be_bytes(word),
            offset: self.data.len() as u64,
        });
        self.data.extend_from_slice(&len.to_le_bytes());
        self.data.extend_from_slice(key);
        Ok(())
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    fn key_of(data: &[u8], slot: Slot) -> &[u8] {
        let at = slot.offset as usize;
        let len = usize::from(u16::from_le_bytes([data[at], data[at + 1]]));
        &data[at + 2..at + 2 + len]
    }

    pub(super) fn key(&self, at: usize) -> &[u8] {
        Self::key_of(&self.data, self.slots[at])
    }

    pub(super) fn word(&self, at: usize) -> u64 {
        self.slots[at].word
    }

    pub(super) fn sort(&mut self) {
        let data = &self.data;
        self.slots.sort_unstable_by(|a, b| {
            a.word
                .cmp(&b.word)
                .then_with(|| Self::key_of(data, *a).cmp(Self::key_of(data, *b)))
        });
    }

    /// In sorted entries: how many have keys less than `key`.
    pub(super) fn rank(&self, key: &[u8]) -> usize {
        self.slots
            .partition_point(|slot| Self::key_of(&self.data, *slot) < key)
    }
}

#[cfg(test)]
mod tests {
    use ilmenite_codec::row::RowWriter;

    use super::*;

    fn row(k: i32, c: &str) -> Vec<u8> {
        let mut writer = RowWriter::new();
        let written = writer.value(2, |out| {
            out.extend_from_slice(&k.to_le_bytes());
            Ok(())
        });
        written.unwrap();
        let written = writer.value(3, |out| {
            out.extend_from_slice(c.as_bytes());
            Ok(())
        });
        written.unwrap();
        let mut out = Vec::new();
        writer.finish(&mut out);
        out
    }

    #[test]
    fn entries_sort_as_their_values_and_then_by_handle() {
        let rows = [(7, "b"), (-1, "aaaaaaaaaab"), (7, "aaaaaaaaaaa"), (300, "a")];
        let order = |column| {
            let mut entries = Entries::default();
            for (handle, (k, c)) in rows.iter().enumerate() {
                let mut key = Vec::new();
                let handle = memcomparable::i64_bytes(handle as i64);
                encode(column, &handle, &row(*k, c), &mut key).unwrap();
                entries.push(&key).unwrap();
            }
            entries.sort();
            let handles: Vec<u8> = (0..entries.len())
                .map(|at| *entries.key(at).last().unwrap())
                .collect();
            assert_eq!(entries.rank(entries.key(2)), 2);
            handles
        };
        assert_eq!(order(Column::K), [1, 0, 2, 3]);
        assert_eq!(order(Column::C), [3, 2, 1, 0]);
    }

    #[test]
    fn integers_of_all_lengths() {
        assert_eq!(int(&[0xff]), Some(-1));
        assert_eq!(int(&300i16.to_le_bytes()), Some(300));
        assert_eq!(int(&(-70_000i32).to_le_bytes()), Some(-70_000));
        assert_eq!(int(&i64::MIN.to_le_bytes()), Some(i64::MIN));
        assert_eq!(int(&[1, 2, 3]), None);
        let mut key = Vec::new();
        let empty = RowWriter::new();
        let mut out = Vec::new();
        { empty }.finish(&mut out);
        assert!(encode(Column::K, &[0; 8], &out, &mut key).is_err());
    }
}
