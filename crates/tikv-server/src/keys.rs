//! Keys as PD and region bounds have them: memcomparable-encoded. An empty one is the bound of everything.

use bytes::Bytes;
use ilmenite_codec::memcomparable;

pub(crate) fn encode(raw: &[u8]) -> Bytes {
    if raw.is_empty() {
        return Bytes::new();
    }
    let mut out = Vec::with_capacity(raw.len() + raw.len() / 8 + 9);
    memcomparable::encode_bytes(raw, &mut out);
    out.into()
}

/// `None`: not a whole encoded key.
pub(crate) fn decode(encoded: &[u8]) -> Option<Bytes> {
    if encoded.is_empty() {
        return Some(Bytes::new());
    }
    let mut out = Vec::with_capacity(encoded.len());
    let used = memcomparable::decode_bytes(encoded, &mut out).ok()?;
    (used == encoded.len()).then(|| out.into())
}

/// A copy of its own: what is kept must not keep the request it came in.
pub(crate) fn own(key: &[u8]) -> Bytes {
    Bytes::copy_from_slice(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_keys_come_back() {
        for raw in [&b""[..], b"a", b"12345678", b"123456789", b"\0\xff"] {
            assert_eq!(decode(&encode(raw)).as_deref(), Some(raw));
        }
        assert_eq!(decode(b"short"), None);
        let with_tail = [&encode(b"a")[..], b"x"].concat();
        assert_eq!(decode(&with_tail), None);
    }
}
