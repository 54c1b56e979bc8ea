//! Keys as PD speaks of them: memcomparable-encoded. Everywhere else in this crate keys are raw. And how long they may be.

use bytes::Bytes;
use ilmenite_codec::memcomparable;
use ilmenite_store::{Error, Result};

/// Greater than every key.
pub(crate) const BEYOND_ALL: [u8; 256] = [0xff; 256];

/// TiKV lets in no encoded key over 8 KiB.
pub(crate) const MAX_KEY_BYTES: usize = 7200;
/// Key and value of one mutation: below what one entry of a region's log may hold.
pub(crate) const MAX_ENTRY_BYTES: usize = 6 << 20;

pub(crate) fn encode(raw: &[u8]) -> Bytes {
    let mut out = Vec::new();
    memcomparable::encode_bytes(raw, &mut out);
    out.into()
}

/// The start of a range: the first key is the empty string, and PD's word for it too.
pub(crate) fn encode_start(raw: &[u8]) -> Bytes {
    if raw.is_empty() { Bytes::new() } else { encode(raw) }
}

/// The end of a range; empty stays empty: to the last key.
pub(crate) fn encode_end(raw: &[u8]) -> Bytes {
    encode_start(raw)
}

/// A region's bound. One that is no encoded key (cut by hand somewhere else) is taken for the raw key just below which
/// it lies; a request that this sends to a neighbour is put right by the region's own refusal.
pub(crate) fn decode_bound(encoded: &[u8]) -> Bytes {
    let mut raw = Vec::with_capacity(encoded.len());
    if encoded.is_empty() || memcomparable::decode_bytes(encoded, &mut raw).is_ok() {
        return raw.into();
    }
    raw.clear();
    for group in encoded.chunks(9) {
        raw.extend_from_slice(&group[..group.len().min(8)]);
    }
    raw.into()
}

/// The first key after `key`.
pub(crate) fn after(key: &[u8]) -> Bytes {
    let mut next = Vec::with_capacity(key.len() + 1);
    next.extend_from_slice(key);
    next.push(0);
    next.into()
}

/// The lesser of two ends of ranges, where empty means "to the last key".
pub(crate) fn least_end(a: &Bytes, b: &Bytes) -> Bytes {
    match (a.is_empty(), b.is_empty()) {
        (true, _) => b.clone(),
        (_, true) => a.clone(),
        _ => a.min(b).clone(),
    }
}

pub(crate) fn check_key(key: &[u8]) -> Result<()> {
    if key.is_empty() {
        return Err(Error::Bug("an empty key".into()));
    }
    if key.len() > MAX_KEY_BYTES {
        return Err(Error::TooLarge {
            what: "key",
            size: key.len(),
            limit: MAX_KEY_BYTES,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_come_back_and_odd_ones_keep_their_order() {
        for raw in [&b""[..], b"a", b"12345678", b"t\x80\0\0\0\0\0\0\x01_r"] {
            assert_eq!(&decode_bound(&encode_start(raw))[..], raw);
        }
        assert_eq!(&decode_bound(b"t\x80")[..], b"t\x80");
        assert_eq!(least_end(&Bytes::new(), &Bytes::from("b")), "b");
        assert_eq!(least_end(&Bytes::from("a"), &Bytes::from("b")), "a");
        assert_eq!(least_end(&Bytes::from("a"), &Bytes::new()), "a");
    }
}
