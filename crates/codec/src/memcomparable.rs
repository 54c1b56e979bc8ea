//! Values as bytes that compare the way the values do: what keys are made of.
//!
//! Each value is a flag byte and a body. Signed integers have their sign bit flipped, floats likewise (negative ones
//! inverted), byte strings are cut into groups of eight, each followed by a byte that tells how much of it is padding.

use ilmenite_types::uvarint::read_uvarint;
use ilmenite_types::{Error, Result};

pub const NULL_FLAG: u8 = 0;
pub const BYTES_FLAG: u8 = 1;
pub const COMPACT_BYTES_FLAG: u8 = 2;
pub const INT_FLAG: u8 = 3;
pub const UINT_FLAG: u8 = 4;
pub const FLOAT_FLAG: u8 = 5;
pub const DECIMAL_FLAG: u8 = 6;
pub const DURATION_FLAG: u8 = 7;
pub const VARINT_FLAG: u8 = 8;
pub const UVARINT_FLAG: u8 = 9;
pub const JSON_FLAG: u8 = 10;
/// Sorts after every value: the end of a range that has no other.
pub const MAX_FLAG: u8 = 250;

const GROUP: usize = 8;
const SIGN: u64 = 1 << 63;

/// Eight bytes that compare as signed integers do.
pub fn i64_bytes(value: i64) -> [u8; 8] {
    (value as u64 ^ SIGN).to_be_bytes()
}

/// The inverse of [`i64_bytes`]; `None` when `bytes` is shorter than eight.
pub fn read_i64(bytes: &[u8]) -> Option<i64> {
    read_u64(bytes).map(|n| (n ^ SIGN) as i64)
}

/// The first eight bytes as a big-endian number.
pub fn read_u64(bytes: &[u8]) -> Option<u64> {
    bytes.first_chunk::<8>().map(|b| u64::from_be_bytes(*b))
}

/// Eight bytes that compare as doubles do. -0.0 is stored as 0.0.
pub fn f64_bytes(value: f64) -> [u8; 8] {
    let bits = (value + 0.0).to_bits();
    let ordered = if bits & SIGN == 0 { bits | SIGN } else { !bits };
    ordered.to_be_bytes()
}

/// The inverse of [`f64_bytes`].
pub fn read_f64(bytes: &[u8]) -> Option<f64> {
    let ordered = read_u64(bytes)?;
    let bits = if ordered & SIGN == 0 {
        !ordered
    } else {
        ordered ^ SIGN
    };
    Some(f64::from_bits(bits))
}

/// Appends groups of eight bytes, zero-padded, each followed by 0xff less the count of padding bytes; a string whose
/// length is a multiple of eight (so also an empty one) ends in a group that is all padding.
pub fn encode_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    let (groups, rest) = bytes.as_chunks::<GROUP>();
    out.resize(start + (groups.len() + 1) * (GROUP + 1), 0xff);
    let (out, _) = out[start..].as_chunks_mut::<{ GROUP + 1 }>();
    for (out, group) in out.iter_mut().zip(groups) {
        out[..GROUP].copy_from_slice(group);
    }
    if let [.., last] = out {
        last[..GROUP].fill(0);
        last[..rest.len()].copy_from_slice(rest);
        last[GROUP] = 0xff - (GROUP - rest.len()) as u8;
    }
}

/// Appends what [`encode_bytes`] encoded, and returns how many bytes of `encoded` it took.
pub fn decode_bytes(encoded: &[u8], out: &mut Vec<u8>) -> Result<usize> {
    let mut at = 0;
    // Full groups, most of a long string, are of a length known beforehand.
    while let Some([group @ .., 0xff]) = encoded[at..].first_chunk::<{ GROUP + 1 }>() {
        out.extend_from_slice(group);
        at += GROUP + 1;
    }
    let Some(group) = encoded.get(at..at + GROUP + 1) else {
        return Err(corrupt("a byte string is cut short"));
    };
    let padding = usize::from(0xff - group[GROUP]);
    if padding > GROUP {
        return Err(corrupt("a byte string has a bad marker"));
    }
    let (data, zeros) = group[..GROUP].split_at(GROUP - padding);
    if zeros.iter().any(|b| *b != 0) {
        return Err(corrupt("a byte string has padding other than zeros"));
    }
    out.extend_from_slice(data);
    Ok(at + GROUP + 1)
}

/// Bytes of one encoded byte string at the start of `encoded`, without decoding it.
fn bytes_len(encoded: &[u8]) -> Result<usize> {
    let mut at = 0;
    loop {
        match encoded.get(at + GROUP) {
            None => return Err(corrupt("a byte string is cut short")),
            Some(0xff) => at += GROUP + 1,
            Some(marker) if 0xff - marker <= GROUP as u8 => return Ok(at + GROUP + 1),
            Some(_) => return Err(corrupt("a byte string has a bad marker")),
        }
    }
}

/// The length of the first encoded value, flag included.
pub fn skip_one(encoded: &[u8]) -> Result<usize> {
    let Some((flag, body)) = encoded.split_first() else {
        return Err(corrupt("a value is missing"));
    };
    let len = match *flag {
        NULL_FLAG | MAX_FLAG => 0,
        INT_FLAG | UINT_FLAG | FLOAT_FLAG | DURATION_FLAG => 8,
        BYTES_FLAG => bytes_len(body)?,
        COMPACT_BYTES_FLAG => {
            let (len, used) = read_varint(body)?;
            let len = usize::try_from(len).map_err(|_| corrupt("a negative length"))?;
            used.checked_add(len)
                .ok_or_else(|| corrupt("a length too large"))?
        }
        DECIMAL_FLAG => match body {
            [precision, scale, ..] => 2 + ilmenite_types::decimal::bin_size(*precision, *scale)?,
            _ => return Err(corrupt("a decimal is cut short")),
        },
        VARINT_FLAG | UVARINT_FLAG => read_uvarint(body)?.1,
        JSON_FLAG => ilmenite_types::json::encoded_len(body)?,
        other => return Err(corrupt(&format!("unknown flag {other}"))),
    };
    if body.len() < len {
        return Err(corrupt("a value is cut short"));
    }
    Ok(1 + len)
}

/// Splits off the first encoded value, flag included.
pub fn cut_one(encoded: &[u8]) -> Result<(&[u8], &[u8])> {
    Ok(encoded.split_at(skip_one(encoded)?))
}

/// A zigzag LEB128 number and the bytes it took.
pub fn read_varint(bytes: &[u8]) -> Result<(i64, usize)> {
    let (raw, used) = read_uvarint(bytes)?;
    Ok(((raw >> 1) as i64 ^ -((raw & 1) as i64), used))
}

pub(crate) fn corrupt(detail: &str) -> Error {
    Error::Corrupt {
        what: "encoded value",
        detail: detail.into(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bytes(text: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        encode_bytes(text, &mut out);
        out
    }

    #[test]
    fn golden() {
        assert_eq!(hex::encode(bytes(b"")), "0000000000000000f7");
        assert_eq!(hex::encode(bytes(&[1, 2, 3])), "0102030000000000fa");
        assert_eq!(hex::encode(bytes(&[1, 2, 3, 0])), "0102030000000000fb");
        assert_eq!(
            hex::encode(bytes(&[1, 2, 3, 4, 5, 6, 7, 8])),
            "0102030405060708ff0000000000000000f7"
        );
        assert_eq!(i64_bytes(1), [0x80, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!(i64_bytes(-1), [0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
        assert_eq!(f64_bytes(1.0), [0xbf, 0xf0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(f64_bytes(-1.0), [0x40, 0x0f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
        assert_eq!(f64_bytes(-0.0), f64_bytes(0.0));
    }

    #[test]
    fn skipping() {
        assert_eq!(skip_one(&[NULL_FLAG, 9]).unwrap(), 1);
        assert_eq!(skip_one(&[INT_FLAG, 0, 0, 0, 0, 0, 0, 0, 1, 7]).unwrap(), 9);
        assert_eq!(skip_one(&[DECIMAL_FLAG, 5, 2, 0x80, 1, 2, 3]).unwrap(), 6);
        assert_eq!(skip_one(&[COMPACT_BYTES_FLAG, 4, b'a', b'b', b'c']).unwrap(), 4);
        assert_eq!(skip_one(&[UVARINT_FLAG, 0x80, 1, 3]).unwrap(), 3);
        assert!(skip_one(&[INT_FLAG, 0]).is_err());
        assert!(skip_one(&[]).is_err());
        assert!(skip_one(&[99]).is_err());
    }

    proptest! {
        #[test]
        fn integers_keep_order(a in any::<i64>(), b in any::<i64>()) {
            prop_assert_eq!(i64_bytes(a).cmp(&i64_bytes(b)), a.cmp(&b));
            prop_assert_eq!(read_i64(&i64_bytes(a)), Some(a));
        }

        #[test]
        fn floats_keep_order(a in any::<f64>(), b in any::<f64>()) {
            if let Some(order) = a.partial_cmp(&b) {
                prop_assert_eq!(f64_bytes(a).cmp(&f64_bytes(b)), order);
            }
            prop_assert_eq!(read_f64(&f64_bytes(a)), Some(a + 0.0));
        }

        #[test]
        fn bytes_keep_order(
            a in proptest::collection::vec(0u8..3, 0..20),
            b in proptest::collection::vec(0u8..3, 0..20),
            tail in proptest::collection::vec(any::<u8>(), 0..5),
        ) {
            prop_assert_eq!(bytes(&a).cmp(&bytes(&b)), a.cmp(&b));
            let mut encoded = vec![BYTES_FLAG];
            encode_bytes(&a, &mut encoded);
            let len = encoded.len();
            encoded.extend(tail);
            prop_assert_eq!(skip_one(&encoded).unwrap(), len);
            let mut back = Vec::new();
            prop_assert_eq!(decode_bytes(&encoded[1..], &mut back).unwrap(), len - 1);
            prop_assert_eq!(back, a);
        }

        #[test]
        fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = skip_one(&bytes);
            let _ = decode_bytes(&bytes, &mut Vec::new());
        }
    }
}
