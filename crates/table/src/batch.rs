//! The encoded entries of a batch of rows: all in one arena, frozen once, and handed on as slices of it.

use bytes::Bytes;

/// One record or index entry of one row.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Entry {
    pub present: bool,
    /// An index key without the handle in it: no two rows may have it.
    pub distinct: bool,
    start: u32,
    value: u32,
    end: u32,
}

/// Being filled: `stride` entries a row.
#[derive(Default)]
pub(super) struct Builder {
    data: Vec<u8>,
    entries: Vec<Entry>,
}

impl Builder {
    pub(crate) fn with_capacity(entries: usize) -> Self {
        Builder {
            data: Vec::with_capacity(entries * 48),
            entries: Vec::with_capacity(entries),
        }
    }

    pub(crate) fn absent(&mut self) {
        self.entries.push(Entry::default());
    }

    pub(crate) fn push(&mut self, key: &[u8], value: &[u8], distinct: bool) {
        let start = self.data.len() as u32;
        self.data.extend_from_slice(key);
        let mid = self.data.len() as u32;
        self.data.extend_from_slice(value);
        let end = self.data.len() as u32;
        self.entries.push(Entry {
            present: true,
            distinct,
            start,
            value: mid,
            end,
        });
    }

    /// Bytes in the arena: offsets in it are 32 bits wide.
    pub(crate) fn bytes(&self) -> usize {
        self.data.len()
    }

    pub(crate) fn freeze(self) -> Encoded {
        Encoded {
            data: self.data.into(),
            entries: self.entries,
        }
    }
}

pub(super) struct Encoded {
    data: Bytes,
    entries: Vec<Entry>,
}

impl Encoded {
    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    pub(crate) fn key(&self, entry: &Entry) -> &[u8] {
        &self.data[entry.start as usize..entry.value as usize]
    }

    pub(crate) fn value(&self, entry: &Entry) -> &[u8] {
        &self.data[entry.value as usize..entry.end as usize]
    }

    pub(crate) fn key_bytes(&self, entry: &Entry) -> Bytes {
        self.data.slice(entry.start as usize..entry.value as usize)
    }

    pub(crate) fn value_bytes(&self, entry: &Entry) -> Bytes {
        self.data.slice(entry.value as usize..entry.end as usize)
    }
}
