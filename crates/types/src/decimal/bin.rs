//! The sortable binary form of MySQL's decimals, as rows, index keys and JSON hold it.
//!
//! Digits are packed in groups of nine to four bytes, counted from the point outwards, a shorter group at either end
//! to as few bytes as hold it. The first bit is flipped, and a negative number is inverted throughout, so that
//! numbers of one (precision, scale) sort as their bytes.

use ethnum::{I256, U256};

use super::convert::{DIGITS_LEN, digits};
use super::{Decimal, MAX_PRECISION, MAX_SCALE};
use crate::{Error, Result};

const GROUP: usize = 9;
/// Bytes that hold a group of n digits.
const GROUP_BYTES: [usize; GROUP + 1] = [0, 1, 1, 2, 2, 3, 3, 4, 4, 4];

/// Bytes of the binary form of a DECIMAL(`precision`,`scale`).
pub fn bin_size(precision: u8, scale: u8) -> Result<usize> {
    if precision == 0 || precision > MAX_PRECISION || scale > MAX_SCALE || scale > precision {
        return Err(Error::Corrupt {
            what: "decimal",
            detail: format!("precision {precision}, scale {scale}"),
        });
    }
    let (int, frac) = (usize::from(precision - scale), usize::from(scale));
    Ok(int / GROUP * 4 + GROUP_BYTES[int % GROUP] + frac / GROUP * 4 + GROUP_BYTES[frac % GROUP])
}

/// Appends the binary form of a DECIMAL(`precision`,`scale`). The number is rounded to the scale; `OutOfRange` when
/// its integer part does not fit.
pub fn write_bin(value: &Decimal, precision: u8, scale: u8, out: &mut Vec<u8>) -> Result<()> {
    bin_size(precision, scale)?;
    let value = value.fit(precision, scale)?;
    let mut buf = [b'0'; DIGITS_LEN];
    digits(value.unscaled.unsigned_abs(), &mut buf);
    let mut rest = &buf[DIGITS_LEN - usize::from(precision)..];
    let start = out.len();
    let mask = if value.is_negative() { 0xff } else { 0 };
    let (int, frac) = (usize::from(precision - scale), usize::from(scale));
    let mut group = |len: usize| {
        let (head, tail) = rest.split_at(len);
        rest = tail;
        let number = head.iter().fold(0u32, |n, d| n * 10 + u32::from(d - b'0'));
        let size = GROUP_BYTES[len];
        out.extend(number.to_be_bytes()[4 - size..].iter().map(|b| b ^ mask));
    };
    if int % GROUP > 0 {
        group(int % GROUP);
    }
    for _ in 0..int / GROUP + frac / GROUP {
        group(GROUP);
    }
    if frac % GROUP > 0 {
        group(frac % GROUP);
    }
    out[start] ^= 0x80;
    Ok(())
}

impl Decimal {
    /// Appends `precision, scale, binary form`, which is how rows and keys hold decimals.
    pub fn encode(&self, precision: u8, scale: u8, out: &mut Vec<u8>) -> Result<()> {
        out.push(precision);
        out.push(scale);
        let written = write_bin(self, precision, scale, out);
        if written.is_err() {
            out.truncate(out.len() - 2);
        }
        written
    }

    /// Reads `precision, scale, binary form` from the start of `bytes`; returns the number, its precision and the
    /// bytes used.
    pub fn decode(bytes: &[u8]) -> Result<(Decimal, u8, usize)> {
        let corrupt = |detail: &str| Error::Corrupt {
            what: "decimal",
            detail: detail.into(),
        };
        let &[precision, scale, ref body @ ..] = bytes else {
            return Err(corrupt("no precision and scale"));
        };
        let size = bin_size(precision, scale)?;
        let body = body.get(..size).ok_or_else(|| corrupt("cut short"))?;
        let negative = body[0] & 0x80 == 0;
        let mask = if negative { 0xff } else { 0 };
        let mut at = 0;
        let mut unscaled = U256::ZERO;
        let mut small = 0u128;
        let mut is_small = true;
        let (int, frac) = (usize::from(precision - scale), usize::from(scale));
        let mut group = |len: usize| -> Result<()> {
            let size = GROUP_BYTES[len];
            let mut number = 0u32;
            for (i, byte) in body[at..at + size].iter().enumerate() {
                let byte = if at + i == 0 { byte ^ 0x80 } else { *byte };
                number = number << 8 | u32::from(byte ^ mask);
            }
            at += size;
            let base = 10u32.pow(len as u32);
            if number >= base {
                return Err(corrupt("a group of digits is too large"));
            }
            // Up to 38 digits fit 128 bits, which is most of what there is.
            if is_small {
                match small
                    .checked_mul(u128::from(base))
                    .and_then(|n| n.checked_add(u128::from(number)))
                {
                    Some(n) => small = n,
                    None => {
                        is_small = false;
                        unscaled = U256::from(small) * U256::from(base) + U256::from(number);
                    }
                }
            } else {
                unscaled = unscaled * U256::from(base) + U256::from(number);
            }
            Ok(())
        };
        if int % GROUP > 0 {
            group(int % GROUP)?;
        }
        for _ in 0..int / GROUP + frac / GROUP {
            group(GROUP)?;
        }
        if frac % GROUP > 0 {
            group(frac % GROUP)?;
        }
        let unscaled: I256 = if is_small {
            U256::from(small).as_i256()
        } else {
            unscaled.as_i256()
        };
        let unscaled = if negative { -unscaled } else { unscaled };
        Ok((Decimal { unscaled, scale }, precision, 2 + size))
    }
}
