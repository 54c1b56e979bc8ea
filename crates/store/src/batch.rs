//! Pairs in an arena: what scans return and ingests take, without an allocation a pair.

/// Keys and values one after another in one buffer. Reused from call to call.
#[derive(Debug, Clone, Default)]
pub struct KvBatch {
    data: Vec<u8>,
    /// (start of key, start of value, end of value) in `data`.
    entries: Vec<(u32, u32, u32)>,
}

impl KvBatch {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn with_capacity(pairs: usize, bytes: usize) -> Self {
        KvBatch {
            data: Vec::with_capacity(bytes),
            entries: Vec::with_capacity(pairs),
        }
    }

    pub fn clear(&mut self) {
        self.data.clear();
        self.entries.clear();
    }

    pub fn push(&mut self, key: &[u8], value: &[u8]) {
        let start = self.data.len();
        debug_assert!(start + key.len() + value.len() <= u32::MAX as usize);
        self.data.extend_from_slice(key);
        let mid = self.data.len();
        self.data.extend_from_slice(value);
        self.entries
            .push((start as u32, mid as u32, self.data.len() as u32));
    }

    /// `push` of the key `prefix` followed by `rest`.
    pub fn push_prefixed(&mut self, prefix: &[u8], rest: &[u8], value: &[u8]) {
        let start = self.data.len();
        debug_assert!(start + prefix.len() + rest.len() + value.len() <= u32::MAX as usize);
        self.data.extend_from_slice(prefix);
        self.data.extend_from_slice(rest);
        let mid = self.data.len();
        self.data.extend_from_slice(value);
        self.entries
            .push((start as u32, mid as u32, self.data.len() as u32));
    }

    /// Appends the pairs of `other` at `range`.
    pub fn extend_from(&mut self, other: &KvBatch, range: std::ops::Range<usize>) {
        let Some(&(first, ..)) = other.entries[range.clone()].first() else {
            return;
        };
        let (_, _, end) = other.entries[range.end - 1];
        let at = self.data.len() as u32;
        self.data
            .extend_from_slice(&other.data[first as usize..end as usize]);
        let moved =
            |&(start, mid, end): &(u32, u32, u32)| (start - first + at, mid - first + at, end - first + at);
        self.entries.extend(other.entries[range].iter().map(moved));
    }

    /// Replaces the content by a copy of `other`'s, keeping the memory.
    pub fn copy_from(&mut self, other: &KvBatch) {
        self.data.clear();
        self.data.extend_from_slice(&other.data);
        self.entries.clear();
        self.entries.extend_from_slice(&other.entries);
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes of keys and values held.
    pub fn bytes(&self) -> usize {
        self.data.len()
    }

    /// Bytes of memory taken, for budgets.
    pub fn capacity_bytes(&self) -> usize {
        self.data.capacity() + self.entries.capacity() * std::mem::size_of::<(u32, u32, u32)>()
    }

    pub fn key(&self, i: usize) -> &[u8] {
        let (start, mid, _) = self.entries[i];
        &self.data[start as usize..mid as usize]
    }

    pub fn value(&self, i: usize) -> &[u8] {
        let (_, mid, end) = self.entries[i];
        &self.data[mid as usize..end as usize]
    }

    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.entries.iter().map(|&(start, mid, end)| {
            (
                &self.data[start as usize..mid as usize],
                &self.data[mid as usize..end as usize],
            )
        })
    }

    /// Gives the buffer away, for slicing values out of it without copying; with (key start, value start, end) each.
    pub fn into_parts(self) -> (bytes::Bytes, Vec<(u32, u32, u32)>) {
        (self.data.into(), self.entries)
    }
}
