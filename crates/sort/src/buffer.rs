//! Entries in memory, within a budget, and their sorting: bytes in an arena of chunks, and for each entry 16 bytes that
//! the sort moves instead of them.

use ilmenite_base::background;

use crate::error::{Error, Result};
use crate::format::MAX_ENTRY_BYTES;
use crate::run::{common_prefix_len, key_word};

/// Lengths of key and value, before them in the arena.
const RECORD_HEADER: usize = 8;

/// Where an entry lies, and eight bytes of its key.
#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    /// While sorting: the key's bytes past those that all entries around it share.
    word: u64,
    chunk: u32,
    offset: u32,
}

/// Slots allocated at first.
const FIRST_SLOTS: usize = 64;

const SLOT_BYTES: usize = size_of::<Slot>();

/// Equal words up to here are told apart word by word; longer common parts by whole comparisons.
const MAX_WORDS: usize = 64;

/// Groups of so many or fewer entries with equal words are sorted by whole comparisons.
const SMALL_GROUP: usize = 12;

/// Slots sorted, or partitioned, between two offers of the processor to others: a fifth of a millisecond.
const PIECE: usize = 8 << 10;
/// Keys looked at between two such offers.
const PIECE_KEYS: usize = 1 << 10;

/// See [`SortBuffer::touch`].
pub(crate) const TOUCHED_AT_ONCE: usize = 16;
const MAX_TOUCHED_LINES: usize = 4;
const CACHE_LINE_BYTES: usize = 64;

pub(crate) struct SortBuffer {
    chunks: Vec<Vec<u8>>,
    /// The chunk being filled; those before are full.
    filling: usize,
    chunk_bytes: usize,
    slots: Vec<Slot>,
    /// Capacities of the chunks.
    arena_bytes: usize,
    /// Of them, what entries were pushed with.
    used_bytes: usize,
    limit_bytes: usize,
    /// No key is less than the one before it.
    ascending: bool,
    /// Length of the prefix that all keys share.
    common: usize,
}

impl SortBuffer {
    /// Never holds more than `limit_bytes` of capacity.
    pub(crate) fn new(limit_bytes: usize) -> SortBuffer {
        SortBuffer {
            chunks: Vec::new(),
            filling: 0,
            chunk_bytes: (limit_bytes / 16).clamp(4 << 10, 1 << 20),
            slots: Vec::new(),
            arena_bytes: 0,
            used_bytes: 0,
            limit_bytes,
            ascending: true,
            common: usize::MAX,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Memory held, by capacity.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.arena_bytes + self.slots.capacity() * SLOT_BYTES
    }

    /// Adds an entry. `Ok(false)`: it does not fit, nothing has changed; sort, take the entries away and clear.
    pub(crate) fn push(&mut self, key: &[u8], value: &[u8]) -> Result<bool> {
        let len = key.len().saturating_add(value.len());
        if len > MAX_ENTRY_BYTES {
            let (size, limit) = (len as u64, MAX_ENTRY_BYTES as u64);
            return Err(Error::TooLarge {
                what: "index entry",
                size,
                limit,
            });
        }
        if !self.reserve_slot() || !self.reserve_bytes(RECORD_HEADER + len) {
            return Ok(false);
        }
        if let Some(last) = self.slots.last() {
            let last = self.key(last);
            let (mut common, mut ascending) = (self.common.min(last.len()), self.ascending);
            if last.get(..common) != key.get(..common) {
                common = common_prefix_len(last, key);
            }
            if ascending {
                ascending = last <= key;
            }
            self.common = common;
            self.ascending = ascending;
        }
        let chunk = &mut self.chunks[self.filling];
        let offset = chunk.len() as u32;
        chunk.extend_from_slice(&(key.len() as u32).to_le_bytes());
        chunk.extend_from_slice(&(value.len() as u32).to_le_bytes());
        chunk.extend_from_slice(key);
        chunk.extend_from_slice(value);
        self.used_bytes += RECORD_HEADER + len;
        self.slots.push(Slot {
            word: 0,
            chunk: self.filling as u32,
            offset,
        });
        Ok(true)
    }

    /// Room for one more slot. Growing holds the old and the new array at once, which has to fit the limit, too.
    fn reserve_slot(&mut self) -> bool {
        let capacity = self.slots.capacity();
        if self.slots.len() < capacity {
            return true;
        }
        let held = self.arena_bytes + capacity * SLOT_BYTES;
        for wanted in [(capacity * 2).max(FIRST_SLOTS), capacity + capacity / 4 + 16] {
            if capacity == 0 || held + wanted * SLOT_BYTES <= self.limit_bytes {
                self.slots.reserve_exact(wanted - self.slots.len());
                return true;
            }
        }
        false
    }

    /// Makes `chunks[filling]` have room for `len` more bytes.
    fn reserve_bytes(&mut self, len: usize) -> bool {
        while let Some(chunk) = self.chunks.get(self.filling) {
            if chunk.capacity() - chunk.len() >= len {
                return true;
            }
            if self.filling + 1 >= self.chunks.len() {
                break;
            }
            self.filling += 1;
        }
        let wanted = len.max(self.chunk_bytes);
        if self.memory_bytes() + wanted > self.limit_bytes {
            if !self.is_empty() {
                return false;
            }
            // An entry longer than the chunks kept from before: give them up for it.
            self.chunks = Vec::new();
            self.arena_bytes = 0;
            self.slots = Vec::with_capacity(FIRST_SLOTS);
            if self.memory_bytes() + wanted > self.limit_bytes {
                return false;
            }
        }
        self.chunks.push(Vec::with_capacity(wanted));
        self.filling = self.chunks.len() - 1;
        self.arena_bytes += wanted;
        true
    }

    #[inline]
    fn entry(&self, slot: &Slot) -> (&[u8], &[u8]) {
        let record = &self.chunks[slot.chunk as usize][slot.offset as usize..];
        let (key_len, value_len) = (length(record, 0), length(record, 4));
        let body = &record[RECORD_HEADER..];
        (&body[..key_len], &body[key_len..key_len + value_len])
    }

    #[inline]
    fn key(&self, slot: &Slot) -> &[u8] {
        self.entry(slot).0
    }

    /// The entry at `index`, in pushed order, or after `sort` in that of keys, then values.
    #[inline]
    pub(crate) fn get(&self, index: usize) -> (&[u8], &[u8]) {
        self.entry(&self.slots[index])
    }

    /// Reads entries from `from` on into the processor's cache. In sorted order each lies somewhere else, and waiting for
    /// [`TOUCHED_AT_ONCE`] at the same time takes little longer than waiting for one.
    pub(crate) fn touch(&self, from: usize) {
        let to = self.slots.len().min(from + TOUCHED_AT_ONCE);
        let typical_bytes = self.used_bytes / self.slots.len().max(1);
        let lines = (typical_bytes / CACHE_LINE_BYTES + 1).min(MAX_TOUCHED_LINES);
        let mut sum = 0u8;
        for slot in self.slots.get(from..to).unwrap_or_default() {
            let record = &self.chunks[slot.chunk as usize][slot.offset as usize..];
            for line in record.iter().step_by(CACHE_LINE_BYTES).take(lines) {
                sum ^= line;
            }
        }
        std::hint::black_box(sum);
    }

    /// Sorts by key, then value. Returns whether there was nothing to do.
    pub(crate) fn sort(&mut self) -> bool {
        if self.slots.len() < 2 {
            return true;
        }
        let mut slots = std::mem::take(&mut self.slots);
        if self.ascending {
            // Equal keys may still be out of the order of their values.
            self.order_equal_keys(&mut slots);
        } else {
            let common = self.common;
            self.sort_from(&mut slots, common, 0);
        }
        self.slots = slots;
        std::mem::replace(&mut self.ascending, true)
    }

    /// Sorts entries whose keys are equal up to `at`, by words from there.
    fn sort_from(&self, slots: &mut [Slot], at: usize, depth: usize) {
        if slots.len() <= SMALL_GROUP || depth == MAX_WORDS {
            slots.sort_unstable_by(|a, b| self.entry(a).cmp(&self.entry(b)));
            return;
        }
        for piece in slots.chunks_mut(PIECE_KEYS) {
            background::let_others_run();
            for slot in piece {
                slot.word = key_word(self.key(slot), at);
            }
        }
        sort_by_word(slots);
        let mut rest = slots;
        while !rest.is_empty() {
            let word = rest[0].word;
            let len = rest
                .iter()
                .position(|slot| slot.word != word)
                .unwrap_or(rest.len());
            let (group, others) = rest.split_at_mut(len);
            rest = others;
            if group.len() < 2 {
                continue;
            }
            if group.iter().all(|slot| self.key(slot).len() <= at + 8) {
                // Nothing follows: keys of one length are equal, a shorter one was filled up with zeroes.
                group.sort_unstable_by(|a, b| self.tail(a).cmp(&self.tail(b)));
            } else {
                self.sort_from(group, at + 8, depth + 1);
            }
        }
    }

    fn tail(&self, slot: &Slot) -> (usize, &[u8]) {
        let (key, value) = self.entry(slot);
        (key.len(), value)
    }

    fn order_equal_keys(&self, slots: &mut [Slot]) {
        let mut begin = 0;
        while begin + 1 < slots.len() {
            let key = self.key(&slots[begin]);
            let mut end = begin + 1;
            while end < slots.len() && self.key(&slots[end]) == key {
                end += 1;
            }
            if end - begin > 1 {
                slots[begin..end].sort_unstable_by(|a, b| self.entry(a).1.cmp(self.entry(b).1));
            }
            begin = end;
        }
    }

    /// Puts the entry at `from` in the place of the one at `to`, which is not after it.
    pub(crate) fn move_entry(&mut self, from: usize, to: usize) {
        self.slots[to] = self.slots[from];
    }

    /// Forgets the entries from `len` on.
    pub(crate) fn truncate(&mut self, len: usize) {
        self.slots.truncate(len);
    }

    /// Forgets the entries, keeps the memory.
    pub(crate) fn clear(&mut self) {
        for chunk in &mut self.chunks {
            chunk.clear();
        }
        // A chunk made for one huge entry would be wasted on small ones, and could keep a later huge one out.
        let chunk_bytes = self.chunk_bytes;
        self.chunks.retain(|chunk| chunk.capacity() <= 2 * chunk_bytes);
        self.arena_bytes = self.chunks.iter().map(Vec::capacity).sum();
        self.filling = 0;
        self.used_bytes = 0;
        self.slots.clear();
        self.ascending = true;
        self.common = usize::MAX;
    }
}

/// Sorts by the slots' words: a large number of them in pieces, between which others may run.
///
/// A quicksort down to pieces for the standard library's sort; the partition without branches is Lomuto's, as N. Lomuto
/// and B. Stroustrup, "Branchless Lomuto Partitioning" have it.
fn sort_by_word(mut slots: &mut [Slot]) {
    // Pivots may be bad all the time, by intent; the standard library's sort is not impressed.
    let mut rounds = 2 * slots.len().max(2).ilog2();
    while slots.len() > PIECE && rounds > 0 {
        rounds -= 1;
        let pivot = median_word(slots);
        let mut at = partition(slots, |word| word < pivot);
        if at == 0 {
            // The pivot is the least: all that equal it come first, and are in order.
            at = partition(slots, |word| word <= pivot);
            slots = &mut slots[at..];
            continue;
        }
        let (below, rest) = slots.split_at_mut(at);
        let (shorter, longer) = if below.len() < rest.len() {
            (below, rest)
        } else {
            (rest, below)
        };
        sort_by_word(shorter);
        slots = longer;
    }
    background::let_others_run();
    slots.sort_unstable_by_key(|slot| slot.word);
}

/// Of some words spread over the slots.
fn median_word(slots: &[Slot]) -> u64 {
    let mut words = [0; 63];
    let step = slots.len() / words.len();
    for (word, slot) in words.iter_mut().zip(slots.iter().step_by(step)) {
        *word = slot.word;
    }
    words.sort_unstable();
    words[words.len() / 2]
}

/// Moves the slots that go `left` to the front; how many they are.
fn partition(slots: &mut [Slot], left: impl Fn(u64) -> bool) -> usize {
    let mut at = 0;
    for index in 0..slots.len() {
        if index.is_multiple_of(PIECE) {
            background::let_others_run();
        }
        let goes = left(slots[index].word);
        slots.swap(index, at);
        at += usize::from(goes);
    }
    at
}

#[inline]
fn length(record: &[u8], at: usize) -> usize {
    u32::from_le_bytes([record[at], record[at + 1], record[at + 2], record[at + 3]]) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What makes pivots bad, and what needs more than one piece.
    #[test]
    fn words_in_any_pattern_are_sorted() {
        let n = 5 * PIECE as u64 + 7;
        let patterns: [fn(u64, u64) -> u64; 7] = [
            |i, _| i.wrapping_mul(0x9e37_79b9_7f4a_7c15),
            |i, _| i,
            |i, n| n - i,
            |_, _| 5,
            |i, _| i % 3,
            |i, n| i.min(n - i),
            |i, _| if i % 1000 == 0 { i } else { u64::MAX },
        ];
        for (which, word) in patterns.iter().enumerate() {
            let mut slots: Vec<Slot> = (0..n)
                .map(|i| Slot {
                    word: word(i, n),
                    chunk: 0,
                    offset: i as u32,
                })
                .collect();
            let mut expected: Vec<u64> = slots.iter().map(|slot| slot.word).collect();
            expected.sort_unstable();
            sort_by_word(&mut slots);
            let words: Vec<u64> = slots.iter().map(|slot| slot.word).collect();
            assert!(words == expected, "pattern {which}");
            let mut offsets: Vec<u32> = slots.iter().map(|slot| slot.offset).collect();
            offsets.sort_unstable();
            assert!(
                offsets.into_iter().eq(0..n as u32),
                "pattern {which}: a slot was lost"
            );
        }
    }
}
