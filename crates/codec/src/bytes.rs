//! Integers and byte strings in an order-preserving form: comparing the encoded bytes compares the values.
//!
//! Source: TiDB's `util/codec` (itself after MyRocks' memcomparable format).

use crate::{Error, Result};

const GROUP: usize = 8;
const MARKER: u8 = 0xff;

/// Big-endian with the sign bit flipped.
pub fn encode_i64(value: i64, out: &mut Vec<u8>) {
    out.extend_from_slice(&((value as u64) ^ (1 << 63)).to_be_bytes());
}

pub fn decode_i64(bytes: &mut &[u8]) -> Result<i64> {
    Ok((decode_u64(bytes)? ^ (1 << 63)) as i64)
}

pub fn encode_u64(value: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(&value.to_be_bytes());
}

pub fn decode_u64(bytes: &mut &[u8]) -> Result<u64> {
    let (head, rest) = bytes.split_first_chunk::<8>().ok_or_else(|| short("integer"))?;
    *bytes = rest;
    Ok(u64::from_be_bytes(*head))
}

/// Groups of 8 bytes, zero-padded, each followed by 0xff minus the count of padding bytes; always a last group that is
/// not full, so that no encoding is a prefix of another.
pub fn encode_bytes(value: &[u8], out: &mut Vec<u8>) {
    out.reserve((value.len() / GROUP + 1) * (GROUP + 1));
    let mut chunks = value.chunks_exact(GROUP);
    for chunk in &mut chunks {
        out.extend_from_slice(chunk);
        out.push(MARKER);
    }
    let rest = chunks.remainder();
    out.extend_from_slice(rest);
    let padding = GROUP - rest.len();
    out.extend_from_slice(&[0; GROUP][..padding]);
    out.push(MARKER - padding as u8);
}

/// Appends the decoded string to `out` and moves `bytes` past it.
pub fn decode_bytes(bytes: &mut &[u8], out: &mut Vec<u8>) -> Result<()> {
    loop {
        let (group, rest) = bytes
            .split_first_chunk::<{ GROUP + 1 }>()
            .ok_or_else(|| short("byte string"))?;
        let padding = (MARKER - group[GROUP]) as usize;
        if padding > GROUP || group[GROUP - padding.min(GROUP)..GROUP].iter().any(|b| *b != 0) {
            return Err(Error::Corrupt {
                what: "byte string",
                detail: format!("bad group {group:02x?}"),
            });
        }
        out.extend_from_slice(&group[..GROUP - padding]);
        *bytes = rest;
        if padding > 0 {
            return Ok(());
        }
    }
}

/// How long the encoded string at the head of `bytes` is.
pub fn encoded_bytes_len(bytes: &[u8]) -> Result<usize> {
    let mut at = 0;
    loop {
        let marker = *bytes.get(at + GROUP).ok_or_else(|| short("byte string"))?;
        at += GROUP + 1;
        if marker != MARKER {
            return Ok(at);
        }
    }
}

fn short(what: &'static str) -> Error {
    Error::Corrupt {
        what,
        detail: "too short".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn golden() {
        let encode = |s: &[u8]| {
            let mut out = Vec::new();
            encode_bytes(s, &mut out);
            out
        };
        assert_eq!(encode(b""), [0, 0, 0, 0, 0, 0, 0, 0, 0xf7]);
        assert_eq!(encode(&[1, 2, 3]), [1, 2, 3, 0, 0, 0, 0, 0, 0xfa]);
        assert_eq!(
            encode(&[1, 2, 3, 4, 5, 6, 7, 8]),
            [1, 2, 3, 4, 5, 6, 7, 8, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0xf7]
        );
        let mut out = Vec::new();
        encode_i64(-1, &mut out);
        assert_eq!(out, [0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
    }

    proptest! {
        #[test]
        fn round_trip_and_order(a: Vec<u8>, b: Vec<u8>) {
            let (mut ea, mut eb) = (Vec::new(), Vec::new());
            encode_bytes(&a, &mut ea);
            encode_bytes(&b, &mut eb);
            prop_assert_eq!(a.cmp(&b), ea.cmp(&eb));
            prop_assert_eq!(encoded_bytes_len(&ea).unwrap(), ea.len());
            let mut decoded = Vec::new();
            ea.push(9);
            let mut rest = &ea[..];
            decode_bytes(&mut rest, &mut decoded).unwrap();
            prop_assert_eq!((decoded, rest), (a, &[9][..]));
        }

        #[test]
        fn garbage_never_panics(bytes: Vec<u8>) {
            let _ = decode_bytes(&mut &bytes[..], &mut Vec::new());
            let _ = encoded_bytes_len(&bytes);
            let _ = decode_i64(&mut &bytes[..]);
        }

        #[test]
        fn integers(a: i64, b: i64) {
            let (mut ea, mut eb) = (Vec::new(), Vec::new());
            encode_i64(a, &mut ea);
            encode_i64(b, &mut eb);
            prop_assert_eq!(a.cmp(&b), ea.cmp(&eb));
            prop_assert_eq!(decode_i64(&mut &ea[..]).unwrap(), a);
        }
    }
}
