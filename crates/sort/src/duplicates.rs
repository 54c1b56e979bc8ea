//! Equal keys in a sorted stream: found, counted, shown, never silently dropped.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::run::hex_bytes;
use ilmenite_store::EntryDigest;

/// How many duplicates are kept with their keys and values; the rest is counted.
pub const MAX_DUPLICATE_SAMPLES: usize = 100;

/// Most bytes that the samples together take.
const MAX_SAMPLE_BYTES: usize = 4 << 20;

/// What to do with equal keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DuplicatePolicy {
    /// They all pass.
    Allow,
    /// The first passes. One with another value is reported. One with the same value is left out as the same entry
    /// read twice when `collapse_equal`, else reported, too.
    Detect { collapse_equal: bool },
}

/// Two entries with one key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Duplicate {
    #[serde(with = "hex_bytes")]
    pub key: Bytes,
    /// The value of the entry that stayed in the stream.
    #[serde(with = "hex_bytes")]
    pub first: Bytes,
    #[serde(with = "hex_bytes")]
    pub second: Bytes,
}

/// What was left out of a stream. What went in = what came out + `conflicting` + `collapsed`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Duplicates {
    /// The first of them.
    pub samples: Vec<Duplicate>,
    /// All entries reported as duplicates.
    pub conflicting: EntryDigest,
    /// Entries left out because the very same entry was there already.
    pub collapsed: EntryDigest,
}

impl Duplicates {
    pub fn is_empty(&self) -> bool {
        self.conflicting.entries == 0
    }

    pub fn count(&self) -> u64 {
        self.conflicting.entries
    }

    pub fn merge(&mut self, other: Duplicates) {
        self.conflicting.merge(&other.conflicting);
        self.collapsed.merge(&other.collapsed);
        for sample in other.samples {
            self.keep(sample);
        }
    }

    fn keep(&mut self, sample: Duplicate) {
        if self.samples.len() < MAX_DUPLICATE_SAMPLES {
            let held: usize = self.samples.iter().map(Duplicate::bytes).sum();
            // One sample is always kept, so that the error can name it.
            if self.samples.is_empty() || held + sample.bytes() <= MAX_SAMPLE_BYTES {
                self.samples.push(sample);
            }
        }
    }
}

impl Duplicate {
    fn bytes(&self) -> usize {
        self.key.len() + self.first.len() + self.second.len()
    }
}

/// Applies the policy to neighbours of a sorted stream.
#[derive(Debug)]
pub(crate) struct DuplicateFilter {
    policy: DuplicatePolicy,
    pub found: Duplicates,
}

impl DuplicateFilter {
    pub(crate) fn new(policy: DuplicatePolicy) -> Self {
        DuplicateFilter {
            policy,
            found: Duplicates::default(),
        }
    }

    /// Whether neighbours have to be compared at all.
    #[inline]
    pub(crate) fn detects(&self) -> bool {
        self.policy != DuplicatePolicy::Allow
    }

    /// Called for an entry with the key of the one that passed before it. Whether this one passes, too.
    #[cold]
    pub(crate) fn equal_keys(&mut self, key: &[u8], first: &[u8], second: &[u8]) -> bool {
        let DuplicatePolicy::Detect { collapse_equal } = self.policy else {
            return true;
        };
        if collapse_equal && first == second {
            self.found.collapsed.add(key, second);
            return false;
        }
        self.found.conflicting.add(key, second);
        if self.found.samples.len() < MAX_DUPLICATE_SAMPLES {
            self.found.keep(Duplicate {
                key: Bytes::copy_from_slice(key),
                first: Bytes::copy_from_slice(first),
                second: Bytes::copy_from_slice(second),
            });
        }
        false
    }
}
