//! DECIMAL: up to 65 digits, up to 30 of them after the point.

mod arith;
mod bin;
mod convert;
mod wide;

use std::cmp::Ordering;
use std::hash::{Hash, Hasher};
use std::sync::LazyLock;

use ethnum::{I256, U256};

pub use bin::{bin_size, write_bin};
pub use convert::ParsedDecimal;

use crate::{Error, Result};

/// Most digits a DECIMAL may have.
pub const MAX_PRECISION: u8 = 65;
/// Most digits a DECIMAL may have after the point.
pub const MAX_SCALE: u8 = 30;

/// Powers of ten up to the last that fits; every product of in-range numbers is checked against overflow.
static POW10: LazyLock<[I256; 77]> = LazyLock::new(|| {
    let mut table = [I256::ONE; 77];
    for i in 1..table.len() {
        table[i] = table[i - 1] * I256::new(10);
    }
    table
});

/// 10^`n`; `n` beyond 76 (which no in-range number needs) is taken as 76.
fn pow10(n: u32) -> I256 {
    POW10[(n as usize).min(76)]
}

/// An exact decimal number: `unscaled` / 10^`scale`. At most 65 digits, at most 30 of them after the point.
///
/// Equality, order and hash go by value: 1.0 equals 1.00. `scale` is what is shown.
#[derive(Debug, Clone, Copy)]
pub struct Decimal {
    unscaled: I256,
    scale: u8,
}

impl Decimal {
    pub const ZERO: Decimal = Decimal {
        unscaled: I256::ZERO,
        scale: 0,
    };

    /// The number `unscaled` / 10^`scale`, brought within 65 digits and a scale of 30 by rounding the fraction.
    fn fitted(unscaled: I256, scale: u32) -> Result<Decimal> {
        let mut unscaled = unscaled;
        let mut scale = scale;
        if scale > u32::from(MAX_SCALE) {
            unscaled = div_round(unscaled, scale - u32::from(MAX_SCALE));
            scale = u32::from(MAX_SCALE);
        }
        let digits = digit_count(unscaled.unsigned_abs());
        if digits > u32::from(MAX_PRECISION) {
            let excess = digits - u32::from(MAX_PRECISION);
            if excess > scale {
                return Err(out_of_range());
            }
            unscaled = div_round(unscaled, excess);
            scale -= excess;
            // Rounding up may have carried into one digit more.
            if digit_count(unscaled.unsigned_abs()) > u32::from(MAX_PRECISION) {
                if scale == 0 {
                    return Err(out_of_range());
                }
                unscaled = div_round(unscaled, 1);
                scale -= 1;
            }
        }
        Ok(Decimal {
            unscaled,
            scale: scale as u8,
        })
    }

    /// Digits after the point, as shown.
    pub fn scale(&self) -> u8 {
        self.scale
    }

    /// Digits before the point, leading zeros not counted: 0 for 0.5.
    pub fn int_digits(&self) -> u8 {
        digit_count(self.unscaled.unsigned_abs()).saturating_sub(u32::from(self.scale)) as u8
    }

    /// The least M of a DECIMAL(M,D) that holds the number at its scale; at least 1.
    pub fn precision(&self) -> u8 {
        (self.int_digits() + self.scale).max(1)
    }

    pub fn is_zero(&self) -> bool {
        self.unscaled == I256::ZERO
    }

    pub fn is_negative(&self) -> bool {
        self.unscaled < I256::ZERO
    }

    /// The largest number a DECIMAL(`precision`,`scale`) holds: 999.99 for (5,2).
    pub fn max_value(precision: u8, scale: u8) -> Decimal {
        let precision = precision.clamp(1, MAX_PRECISION);
        Decimal {
            unscaled: pow10(u32::from(precision)) - I256::ONE,
            scale: scale.min(precision).min(MAX_SCALE),
        }
    }

    /// The number as a DECIMAL(`precision`,`scale`) holds it, rounded half away from zero.
    /// `OutOfRange` when the integer part is too long: strict mode reports that, otherwise `max_value` (with the
    /// number's sign) is stored.
    pub fn fit(&self, precision: u8, scale: u8) -> Result<Decimal> {
        let scale = scale.min(MAX_SCALE);
        let unscaled = match self.scale.cmp(&scale) {
            Ordering::Equal => self.unscaled,
            Ordering::Greater => div_round(self.unscaled, u32::from(self.scale - scale)),
            Ordering::Less => self
                .unscaled
                .checked_mul(pow10(u32::from(scale - self.scale)))
                .ok_or_else(out_of_range)?,
        };
        if unscaled.unsigned_abs() >= pow10(u32::from(precision.min(MAX_PRECISION))).unsigned_abs() {
            return Err(out_of_range());
        }
        Ok(Decimal { unscaled, scale })
    }

    /// The same value in its shortest form: 1.500 becomes 1.5, 100 stays.
    pub fn normalized(&self) -> Decimal {
        let mut out = *self;
        let ten = I256::new(10);
        while out.scale > 0 && out.unscaled % ten == I256::ZERO {
            out.unscaled /= ten;
            out.scale -= 1;
        }
        out
    }
}

impl PartialEq for Decimal {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Decimal {}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Decimal {
    fn cmp(&self, other: &Self) -> Ordering {
        if self.scale == other.scale {
            return self.unscaled.cmp(&other.unscaled);
        }
        if self.scale > other.scale {
            return other.cmp(self).reverse();
        }
        match self
            .unscaled
            .checked_mul(pow10(u32::from(other.scale - self.scale)))
        {
            Some(aligned) => aligned.cmp(&other.unscaled),
            // Too large to bring to the other's scale, so larger in magnitude than anything at that scale.
            None if self.is_negative() => Ordering::Less,
            None => Ordering::Greater,
        }
    }
}

impl Hash for Decimal {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let canonical = self.normalized();
        canonical.unscaled.hash(state);
        canonical.scale.hash(state);
    }
}

fn out_of_range() -> Error {
    Error::OutOfRange {
        what: "DECIMAL",
        value: "more digits than it can hold".into(),
    }
}

/// Decimal digits of `n`; 0 for zero.
fn digit_count(n: U256) -> u32 {
    if n == U256::ZERO {
        return 0;
    }
    // log10(2) is 0.30103: exact to within one digit for 256 bits, and then settled by comparison.
    let bits = 256 - n.leading_zeros();
    let guess = bits * 30103 / 100_000;
    if n >= pow10(guess).unsigned_abs() {
        guess + 1
    } else {
        guess
    }
}

/// `n` / 10^`power`, rounded half away from zero.
fn div_round(n: I256, power: u32) -> I256 {
    if power > 76 {
        return I256::ZERO;
    }
    let divisor = pow10(power);
    let quotient = n / divisor;
    let remainder = (n % divisor).unsigned_abs();
    // remainder >= divisor / 2, written so that it cannot overflow
    if remainder >= divisor.unsigned_abs() - remainder && remainder != U256::ZERO {
        if n < I256::ZERO {
            quotient - I256::ONE
        } else {
            quotient + I256::ONE
        }
    } else {
        quotient
    }
}

#[cfg(test)]
mod tests;
