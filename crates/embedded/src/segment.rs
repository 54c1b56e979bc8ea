//! Ranges of keys, cut where keyspaces begin.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::format;
use crate::keyspaces::{Keyspaces, VersionedKeyspace};
use ilmenite_store::{KeyRange, Result, prefix_end};

/// The part of a range that lies in one keyspace.
pub(crate) struct Segment {
    pub keyspace: Arc<VersionedKeyspace>,
    /// Stored keys from here, inclusive …
    pub start: Vec<u8>,
    /// … to here, exclusive; `None`: to the end of the keyspace.
    pub end: Option<Vec<u8>>,
}

impl Segment {
    fn of(keyspace: Arc<VersionedKeyspace>, start: &[u8], end: &[u8]) -> Segment {
        if keyspace.is_default() {
            let bound = |key: &[u8]| {
                let mut out = Vec::with_capacity(key.len() + 2);
                format::encode_default(key, &mut out);
                out
            };
            return Segment {
                start: bound(start),
                end: (!end.is_empty()).then(|| bound(end)),
                keyspace,
            };
        }
        let prefix = &keyspace.prefix;
        Segment {
            start: start.strip_prefix(&prefix[..]).unwrap_or_default().to_vec(),
            end: end.strip_prefix(&prefix[..]).map(<[u8]>::to_vec),
            keyspace,
        }
    }

    /// The user's key at which it begins.
    pub(crate) fn first_key(&self) -> Vec<u8> {
        let mut key = Vec::new();
        if self.keyspace.is_default() {
            // A bound is the encoding of a key, so it decodes.
            format::decode_default(&self.start, &mut key);
        } else {
            key.extend_from_slice(&self.keyspace.prefix);
            key.extend_from_slice(&self.start);
        }
        key
    }

    /// The user's key of a stored key.
    pub(crate) fn decode_key(&self, stored: &[u8], out: &mut Vec<u8>) -> Result<()> {
        if self.keyspace.is_default() {
            if !format::decode_default(stored, out) {
                return Err(self.keyspace.damaged("a key that does not decode"));
            }
        } else {
            out.clear();
            out.extend_from_slice(&self.keyspace.prefix);
            out.extend_from_slice(stored);
        }
        Ok(())
    }
}

/// Splits `range` by keyspace, in key order.
pub(crate) fn segments(keyspaces: &Keyspaces, range: &KeyRange) -> VecDeque<Segment> {
    let segments = split(keyspaces, range);
    debug_assert!(
        segments.iter().is_sorted_by(|a, b| a.first_key() < b.first_key()),
        "a scan of {range:?} goes from one keyspace to the next"
    );
    segments
}

fn split(keyspaces: &Keyspaces, range: &KeyRange) -> VecDeque<Segment> {
    let mut out = VecDeque::new();
    if range.is_empty() {
        return out;
    }
    let prefix = keyspaces.partition_of(&range.start);
    if !prefix.is_empty() {
        let prefix_end = prefix_end(prefix);
        let within = !range.end.is_empty() && (prefix_end.is_empty() || range.end <= prefix_end);
        if within {
            if let Some(keyspace) = keyspaces.lookup(prefix) {
                out.push_back(Segment::of(keyspace, &range.start, &range.end));
            }
            return out;
        }
    }
    let mut at = range.start.clone();
    for keyspace in keyspaces.overlapping(range) {
        if at < keyspace.prefix {
            out.push_back(Segment::of(keyspaces.default.clone(), &at, &keyspace.prefix));
        }
        let start = at.max(keyspace.prefix.clone());
        at = prefix_end(&keyspace.prefix);
        let beyond = at.is_empty() || (!range.end.is_empty() && at >= range.end);
        let end = if beyond { &range.end } else { &at };
        out.push_back(Segment::of(keyspace, &start, end));
        if beyond {
            return out;
        }
    }
    out.push_back(Segment::of(keyspaces.default.clone(), &at, &range.end));
    out
}
