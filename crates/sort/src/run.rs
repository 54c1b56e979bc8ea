//! What a row of a subtask keeps of a run file: enough to plan with, without reading any file.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use ilmenite_store::{EntryDigest, KeyRange};

/// Most buckets in a run's histogram.
pub const MAX_BUCKETS: usize = 64;

/// A run file on object storage. Serialises compactly (keys in hex); the sparse index stays in the file's footer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunMeta {
    /// Relative to the storage's prefix.
    pub path: String,
    #[serde(with = "hex_bytes")]
    pub min_key: Bytes,
    /// Inclusive.
    #[serde(with = "hex_bytes")]
    pub max_key: Bytes,
    /// Entries, their raw bytes, and their digest.
    pub digest: EntryDigest,
    /// Length of the object.
    pub stored_bytes: u64,
    /// Length of footer and trailer, so that one ranged get fetches them.
    pub footer_bytes: u64,
    pub blocks: u32,
    /// The largest block decoded: a reader's buffer.
    pub max_block_bytes: u32,
    /// How the entries spread over the keys: at most [`MAX_BUCKETS`] buckets, in key order.
    pub histogram: Vec<Bucket>,
}

impl RunMeta {
    pub fn entries(&self) -> u64 {
        self.digest.entries
    }

    /// Bytes of keys and values.
    pub fn raw_bytes(&self) -> u64 {
        self.digest.bytes
    }

    /// Whether the run can hold keys of `[start, end)`; an empty `end` is no bound.
    pub fn intersects(&self, start: &[u8], end: &[u8]) -> bool {
        &self.max_key[..] >= start && (end.is_empty() || &self.min_key[..] < end)
    }
}

/// Neighbouring entries of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bucket {
    /// No key of the bucket is less, every key of the bucket before is: as short as that allows.
    #[serde(with = "hex_bytes")]
    pub start: Bytes,
    pub entries: u64,
    /// Raw bytes.
    pub bytes: u64,
}

/// Collects buckets of about equal bytes while their number is not known: once there are too many, pairs are joined
/// and each takes twice as much from then on.
#[derive(Debug)]
pub(crate) struct HistogramBuilder {
    buckets: Vec<Bucket>,
    bucket_bytes: u64,
}

impl HistogramBuilder {
    pub(crate) fn new(bucket_bytes: u64) -> Self {
        HistogramBuilder {
            buckets: Vec::new(),
            bucket_bytes,
        }
    }

    /// Adds a block. `start` is wanted only where a bucket begins.
    pub(crate) fn add(&mut self, entries: u64, bytes: u64, start: impl FnOnce() -> Bytes) {
        match self.buckets.last_mut() {
            Some(last) if last.bytes < self.bucket_bytes => {
                last.entries += entries;
                last.bytes += bytes;
            }
            _ => {
                if self.buckets.len() == MAX_BUCKETS {
                    self.halve();
                }
                self.buckets.push(Bucket {
                    start: start(),
                    entries,
                    bytes,
                });
            }
        }
    }

    fn halve(&mut self) {
        let mut joined: Vec<Bucket> = Vec::with_capacity(MAX_BUCKETS);
        for (index, bucket) in self.buckets.drain(..).enumerate() {
            match joined.last_mut() {
                Some(last) if index % 2 == 1 => {
                    last.entries += bucket.entries;
                    last.bytes += bucket.bytes;
                }
                _ => joined.push(bucket),
            }
        }
        self.buckets = joined;
        self.bucket_bytes *= 2;
    }

    pub(crate) fn finish(self) -> Vec<Bucket> {
        self.buckets
    }
}

/// The shortest key that is greater than `before` and not greater than `key` (`before` < `key`; otherwise `key`).
pub(crate) fn separator(before: &[u8], key: &[u8]) -> Bytes {
    let common = common_prefix_len(before, key);
    // At `common`, `key` goes on with a greater byte, or `before` has ended.
    Bytes::copy_from_slice(&key[..(common + 1).min(key.len())])
}

#[inline]
pub(crate) fn common_prefix_len(a: &[u8], b: &[u8]) -> usize {
    let len = a.len().min(b.len());
    let mut at = 0;
    while at + 8 <= len {
        let (x, y) = (&a[at..at + 8], &b[at..at + 8]);
        if x != y {
            break;
        }
        at += 8;
    }
    while at < len && a[at] == b[at] {
        at += 1;
    }
    at
}

/// The 8 bytes of `key` from `at` as a number that orders like them; what the key lacks counts as zero.
#[inline]
pub(crate) fn key_word(key: &[u8], at: usize) -> u64 {
    let rest = key.get(at..).unwrap_or_default();
    match rest.first_chunk::<8>() {
        Some(chunk) => u64::from_be_bytes(*chunk),
        None => {
            let mut word = [0; 8];
            word[..rest.len()].copy_from_slice(rest);
            u64::from_be_bytes(word)
        }
    }
}

pub(crate) mod hex_bytes {
    use bytes::Bytes;
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(crate) fn serialize<S: Serializer>(value: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex::encode(value))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
        let text = String::deserialize(deserializer)?;
        hex::decode(text).map(Bytes::from).map_err(de::Error::custom)
    }
}

/// The greatest number of runs with one key in common, judged by their first and last keys.
pub(crate) fn overlap(runs: &[RunMeta]) -> usize {
    overlap_in(runs, &KeyRange::default())
}

/// The same within a key range, for runs that all reach into it.
pub(crate) fn overlap_in(runs: &[RunMeta], range: &KeyRange) -> usize {
    let mut starts: Vec<&[u8]> = runs
        .iter()
        .map(|run| &run.min_key[..])
        .map(|min| min.max(&range.start[..]))
        .collect();
    let mut ends: Vec<&[u8]> = runs.iter().map(|run| &run.max_key[..]).collect();
    starts.sort_unstable();
    ends.sort_unstable();
    let (mut ended, mut most) = (0, 0);
    for (begun, start) in starts.iter().enumerate() {
        // Last keys are inclusive: a run that ends at `start` still covers it.
        while ends.get(ended).is_some_and(|end| end < start) {
            ended += 1;
        }
        most = most.max(begun + 1 - ended.min(begun + 1));
    }
    most
}
