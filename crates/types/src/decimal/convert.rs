//! Decimals from and to text, integers and doubles.

use std::fmt;
use std::str::FromStr;

use ethnum::{I256, U256};

use super::{Decimal, MAX_PRECISION, MAX_SCALE, div_round, out_of_range, pow10};
use crate::{Error, Result};

/// What [`Decimal::parse_prefix`] made of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParsedDecimal {
    /// The number the text starts with; zero when it starts with none.
    pub value: Decimal,
    /// Bytes of the text that belong to the number, leading spaces included; 0 when there is none.
    pub consumed: usize,
    /// Nothing but spaces follows the number, and there is one.
    pub complete: bool,
    /// The number was too large, and `value` is the largest (or least) there is.
    pub overflow: bool,
}

impl Decimal {
    /// The number a text starts with, as MySQL converts strings: leading spaces, a sign, digits with an optional
    /// point, an optional exponent; whatever follows is reported, not refused.
    pub fn parse_prefix(text: &[u8]) -> ParsedDecimal {
        let mut at = 0;
        while at < text.len() && is_space(text[at]) {
            at += 1;
        }
        let negative = match text.get(at) {
            Some(b'-') => {
                at += 1;
                true
            }
            Some(b'+') => {
                at += 1;
                false
            }
            _ => false,
        };
        let int_start = at;
        while at < text.len() && text[at].is_ascii_digit() {
            at += 1;
        }
        let int_part = &text[int_start..at];
        let mut frac_part: &[u8] = &[];
        if text.get(at) == Some(&b'.') {
            let start = at + 1;
            let mut end = start;
            while end < text.len() && text[end].is_ascii_digit() {
                end += 1;
            }
            frac_part = &text[start..end];
            if !(int_part.is_empty() && frac_part.is_empty()) {
                at = end;
            }
        }
        if int_part.is_empty() && frac_part.is_empty() {
            return ParsedDecimal {
                value: Decimal::ZERO,
                consumed: 0,
                complete: false,
                overflow: false,
            };
        }
        let mut exponent = 0i64;
        if matches!(text.get(at), Some(b'e' | b'E')) {
            let mut end = at + 1;
            let negative_exponent = text.get(end) == Some(&b'-');
            if matches!(text.get(end), Some(b'+' | b'-')) {
                end += 1;
            }
            let start = end;
            while end < text.len() && text[end].is_ascii_digit() {
                exponent = (exponent * 10 + i64::from(text[end] - b'0')).min(1_000_000);
                end += 1;
            }
            if end > start {
                at = end;
                if negative_exponent {
                    exponent = -exponent;
                }
            }
        }
        let complete = text[at..].iter().all(|b| is_space(*b));
        match assemble(int_part, frac_part, exponent, negative) {
            Some(value) => ParsedDecimal {
                value,
                consumed: at,
                complete,
                overflow: false,
            },
            None => {
                let max = Decimal::max_value(MAX_PRECISION, 0);
                ParsedDecimal {
                    value: if negative { max.negated() } else { max },
                    consumed: at,
                    complete,
                    overflow: true,
                }
            }
        }
    }

    /// A number and nothing else (spaces around it aside). Digits past the 30th after the point are rounded away.
    pub fn parse(text: &str) -> Result<Decimal> {
        let parsed = Decimal::parse_prefix(text.as_bytes());
        if !parsed.complete {
            return Err(Error::Invalid {
                what: "DECIMAL",
                value: text.to_string(),
            });
        }
        if parsed.overflow {
            return Err(Error::OutOfRange {
                what: "DECIMAL",
                value: text.to_string(),
            });
        }
        Ok(parsed.value)
    }

    /// The decimal with the shortest digits that mean this double, as MySQL converts. NaN and infinities are refused.
    pub fn from_f64(value: f64) -> Result<Decimal> {
        if !value.is_finite() {
            return Err(Error::OutOfRange {
                what: "DECIMAL",
                value: value.to_string(),
            });
        }
        Decimal::parse(&format!("{value:e}"))
    }

    /// The nearest double.
    pub fn to_f64(&self) -> f64 {
        const EXACT: [f64; 23] = [
            1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17,
            1e18, 1e19, 1e20, 1e21, 1e22,
        ];
        // Both sides exact in a double, so one correctly rounded division is the nearest.
        if self.unscaled.unsigned_abs() < U256::from(1u64 << 53)
            && let Some(power) = EXACT.get(usize::from(self.scale))
        {
            return self.unscaled.as_i64() as f64 / power;
        }
        format!("{}e-{}", self.unscaled, self.scale)
            .parse()
            .unwrap_or(f64::NAN)
    }

    /// Rounded half away from zero. `OutOfRange` when it does not fit.
    pub fn to_i64(&self) -> Result<i64> {
        match self.to_i64_saturating() {
            (value, false) => Ok(value),
            _ => Err(self.int_overflow("BIGINT")),
        }
    }

    /// Rounded half away from zero and clamped; true when it was clamped.
    pub fn to_i64_saturating(&self) -> (i64, bool) {
        let whole = div_round(self.unscaled, u32::from(self.scale));
        match i64::try_from(whole) {
            Ok(value) => (value, false),
            Err(_) if self.is_negative() => (i64::MIN, true),
            Err(_) => (i64::MAX, true),
        }
    }

    /// Rounded half away from zero. `OutOfRange` when negative or too large.
    pub fn to_u64(&self) -> Result<u64> {
        match self.to_u64_saturating() {
            (value, false) => Ok(value),
            _ => Err(self.int_overflow("BIGINT UNSIGNED")),
        }
    }

    /// Rounded half away from zero and clamped; true when it was clamped.
    pub fn to_u64_saturating(&self) -> (u64, bool) {
        let whole = div_round(self.unscaled, u32::from(self.scale));
        match u64::try_from(whole) {
            Ok(value) => (value, false),
            Err(_) if whole < I256::ZERO => (0, true),
            Err(_) => (u64::MAX, true),
        }
    }

    fn int_overflow(&self, what: &'static str) -> Error {
        Error::OutOfRange {
            what,
            value: self.to_string(),
        }
    }
}

fn is_space(b: u8) -> bool {
    matches!(b, b' ' | b'\t' | b'\n' | 0x0b | 0x0c | b'\r')
}

/// The number `int.frac * 10^exponent`, or `None` when its integer part has more than 65 digits.
fn assemble(int_part: &[u8], frac_part: &[u8], exponent: i64, negative: bool) -> Option<Decimal> {
    let mut unscaled = U256::ZERO;
    let ten = U256::new(10);
    let digits = int_part.iter().chain(frac_part);
    let total = int_part.len() + frac_part.len();
    // The first significant 70 digits decide; one more is never needed to round to 65.
    let (mut taken, mut significant) = (0usize, 0u32);
    let mut small = 0u64;
    for digit in digits {
        if significant >= 70 {
            break;
        }
        let d = u64::from(digit - b'0');
        if significant < 18 {
            small = small * 10 + d;
        } else {
            if significant == 18 {
                unscaled = U256::from(small);
            }
            unscaled = unscaled * ten + U256::from(d);
        }
        if significant > 0 || d != 0 {
            significant += 1;
        }
        taken += 1;
    }
    if significant <= 18 {
        unscaled = U256::from(small);
    }
    // Digits not taken are a factor of ten each; those after the point and the exponent shift it back.
    let mut scale = frac_part.len() as i64 - exponent - (total - taken) as i64;
    if unscaled == U256::ZERO {
        let shown = (frac_part.len() as i64 - exponent).clamp(0, i64::from(MAX_SCALE));
        return Some(Decimal {
            unscaled: I256::ZERO,
            scale: shown as u8,
        });
    }
    let mut value = unscaled.as_i256();
    if scale < 0 {
        if -scale > i64::from(MAX_PRECISION) {
            return None;
        }
        value = value.checked_mul(pow10((-scale) as u32))?;
        scale = 0;
    }
    if scale > 150 {
        return Some(Decimal {
            unscaled: I256::ZERO,
            scale: MAX_SCALE,
        });
    }
    Decimal::fitted(if negative { -value } else { value }, scale as u32).ok()
}

impl FromStr for Decimal {
    type Err = Error;

    fn from_str(text: &str) -> Result<Decimal> {
        Decimal::parse(text)
    }
}

impl From<i64> for Decimal {
    fn from(value: i64) -> Self {
        Decimal {
            unscaled: I256::from(value),
            scale: 0,
        }
    }
}

impl From<u64> for Decimal {
    fn from(value: u64) -> Self {
        Decimal {
            unscaled: I256::from(value),
            scale: 0,
        }
    }
}

impl TryFrom<(i128, u8)> for Decimal {
    type Error = Error;

    /// `unscaled` / 10^`scale`.
    fn try_from((unscaled, scale): (i128, u8)) -> Result<Self> {
        if scale > MAX_SCALE {
            return Err(out_of_range());
        }
        Decimal::fitted(I256::from(unscaled), u32::from(scale))
    }
}

/// Room for the digits of any 256-bit number.
pub(super) const DIGITS_LEN: usize = 78;

/// Writes the decimal digits of `n` at the end of `buf`, without leading zeros, and returns where they start.
pub(super) fn digits(mut n: U256, buf: &mut [u8; DIGITS_LEN]) -> usize {
    const CHUNK: u64 = 1_000_000_000_000_000_000;
    let mut at = DIGITS_LEN;
    while n > U256::from(u64::MAX) {
        let chunk = U256::from(CHUNK);
        let mut low = (n % chunk).as_u64();
        n /= chunk;
        for _ in 0..18 {
            at -= 1;
            buf[at] = b'0' + (low % 10) as u8;
            low /= 10;
        }
    }
    let mut low = n.as_u64();
    while low > 0 {
        at -= 1;
        buf[at] = b'0' + (low % 10) as u8;
        low /= 10;
    }
    at
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut buf = [b'0'; DIGITS_LEN];
        let start = digits(self.unscaled.unsigned_abs(), &mut buf);
        let scale = usize::from(self.scale);
        // The buffer is filled with zeros, so a number below one has its leading zeros for the asking.
        let start = start.min(DIGITS_LEN - scale - 1);
        let text = |bytes: &[u8]| -> std::result::Result<String, fmt::Error> {
            String::from_utf8(bytes.to_vec()).map_err(|_| fmt::Error)
        };
        let mut out = String::with_capacity(DIGITS_LEN + 2);
        if self.is_negative() {
            out.push('-');
        }
        let (whole, frac) = buf[start..].split_at(DIGITS_LEN - start - scale);
        out.push_str(&text(whole)?);
        if scale > 0 {
            out.push('.');
            out.push_str(&text(frac)?);
        }
        f.pad(&out)
    }
}
