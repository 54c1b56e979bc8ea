//! An order-free digest of a set of entries: two sets with equal digests are, for all purposes, equal.

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::{xxh3_64, xxh3_128_with_seed};

/// Count, bytes and the sum of the hashes of a multiset of entries. Digests of disjoint parts add up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryDigest {
    pub entries: u64,
    /// Bytes of keys and values.
    pub bytes: u64,
    #[serde(with = "hex_u128")]
    pub sum: u128,
}

impl EntryDigest {
    #[inline]
    pub fn add(&mut self, key: &[u8], value: &[u8]) {
        self.entries += 1;
        self.bytes += (key.len() + value.len()) as u64;
        self.sum = self.sum.wrapping_add(entry_hash(key, value));
    }

    pub fn merge(&mut self, other: &EntryDigest) {
        self.entries += other.entries;
        self.bytes += other.bytes;
        self.sum = self.sum.wrapping_add(other.sum);
    }
}

/// The key's hash seeds the value's: no entry hashes like the same bytes cut elsewhere.
#[inline]
pub fn entry_hash(key: &[u8], value: &[u8]) -> u128 {
    xxh3_128_with_seed(value, xxh3_64(key))
}

mod hex_u128 {
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(super) fn serialize<S: Serializer>(value: &u128, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{value:032x}"))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u128, D::Error> {
        let text = String::deserialize(deserializer)?;
        u128::from_str_radix(&text, 16).map_err(de::Error::custom)
    }
}
