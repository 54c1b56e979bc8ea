//! Numbers of variable length (LEB128), as JSON's binary form and keys have them.

use crate::{Error, Result};

/// A LEB128 number and the bytes it took.
pub fn read_uvarint(bytes: &[u8]) -> Result<(u64, usize)> {
    let mut value = 0u64;
    for (i, byte) in bytes.iter().take(10).enumerate() {
        let bits = u64::from(byte & 0x7f);
        if i == 9 && bits > 1 {
            return Err(corrupt("a variable-length number is too large"));
        }
        value |= bits << (7 * i);
        if byte & 0x80 == 0 {
            return Ok((value, i + 1));
        }
    }
    Err(corrupt("a variable-length number is cut short"))
}

/// Appends a LEB128 number.
pub fn write_uvarint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn corrupt(detail: &str) -> Error {
    Error::Corrupt {
        what: "encoded value",
        detail: detail.into(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn varints(n in any::<u64>()) {
            let mut out = Vec::new();
            write_uvarint(n, &mut out);
            prop_assert_eq!(read_uvarint(&out).unwrap(), (n, out.len()));
        }
    }
}
