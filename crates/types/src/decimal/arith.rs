//! Arithmetic, with MySQL's rules for the scale of the result.

use ethnum::{I256, U256};

use super::wide::Wide;
use super::{Decimal, MAX_SCALE, digit_count, div_round, out_of_range, pow10};
use crate::Result;

/// Digits a division adds to the dividend's scale: `div_precision_increment`.
pub(super) const DIV_SCALE_INCREMENT: u8 = 4;

impl Decimal {
    /// Sum at the larger scale.
    pub fn checked_add(&self, other: &Decimal) -> Result<Decimal> {
        let (a, b, scale) = aligned(self, other)?;
        Decimal::fitted(a.checked_add(b).ok_or_else(out_of_range)?, scale)
    }

    /// Difference at the larger scale.
    pub fn checked_sub(&self, other: &Decimal) -> Result<Decimal> {
        self.checked_add(&other.negated())
    }

    /// Product at the sum of the scales, at most 30.
    pub fn checked_mul(&self, other: &Decimal) -> Result<Decimal> {
        let scale = u32::from(self.scale) + u32::from(other.scale);
        if let Some(product) = self.unscaled.checked_mul(other.unscaled) {
            return Decimal::fitted(product, scale);
        }
        // Too many digits, though most may lie behind the point: drop those past the scale that can be kept.
        let int_digits = u32::from(self.int_digits()) + u32::from(other.int_digits());
        let keep = scale
            .min(u32::from(MAX_SCALE))
            .min(75u32.saturating_sub(int_digits));
        let wide = Wide::product(self.unscaled.unsigned_abs(), other.unscaled.unsigned_abs());
        let (quotient, remainder) = wide
            .div_rem(pow10(scale - keep).unsigned_abs())
            .ok_or_else(out_of_range)?;
        let magnitude = round_up_half(quotient, remainder, pow10(scale - keep).unsigned_abs());
        signed(magnitude, self.is_negative() != other.is_negative(), keep)
    }

    /// Quotient at the dividend's scale + 4 (at most 30), rounded half away from zero; `None` when `other` is zero.
    pub fn checked_div(&self, other: &Decimal) -> Result<Option<Decimal>> {
        self.div_to_scale(other, self.scale.saturating_add(DIV_SCALE_INCREMENT))
    }

    /// Quotient at a chosen scale (at most 30). A division inside a longer expression wants more digits than it
    /// would show: MySQL computes with at least 9 behind the point.
    pub fn div_to_scale(&self, other: &Decimal, scale: u8) -> Result<Option<Decimal>> {
        if other.is_zero() {
            return Ok(None);
        }
        let scale = u32::from(scale.min(MAX_SCALE));
        // self / other = (a / 10^s) / (b / 10^t) = a * 10^(t - s) / b; times 10^scale to get the unscaled result.
        let shift = i64::from(scale) + i64::from(other.scale) - i64::from(self.scale);
        let mut numerator = self.unscaled.unsigned_abs();
        let mut divisor = other.unscaled.unsigned_abs();
        let mut factor = U256::ONE;
        if shift >= 0 {
            factor = pow10(shift as u32).unsigned_abs();
        } else {
            divisor = divisor
                .checked_mul(pow10((-shift) as u32).unsigned_abs())
                .ok_or_else(out_of_range)?;
        }
        let (quotient, remainder) = match numerator.checked_mul(factor) {
            Some(product) => {
                numerator = product;
                (numerator / divisor, numerator % divisor)
            }
            None => Wide::product(numerator, factor)
                .div_rem(divisor)
                .ok_or_else(out_of_range)?,
        };
        let magnitude = round_up_half(quotient, remainder, divisor);
        signed(magnitude, self.is_negative() != other.is_negative(), scale).map(Some)
    }

    /// Remainder with the sign of the dividend, at the larger scale; `None` when `other` is zero.
    pub fn checked_rem(&self, other: &Decimal) -> Result<Option<Decimal>> {
        if other.is_zero() {
            return Ok(None);
        }
        let scale = self.scale.max(other.scale);
        let up_self = pow10(u32::from(scale - self.scale)).unsigned_abs();
        let up_other = pow10(u32::from(scale - other.scale)).unsigned_abs();
        let Some(divisor) = other.unscaled.unsigned_abs().checked_mul(up_other) else {
            // The divisor is larger than any dividend at this scale.
            return Ok(Some(*self));
        };
        let remainder = match self.unscaled.unsigned_abs().checked_mul(up_self) {
            Some(dividend) => dividend % divisor,
            // Reduce first: (a * u) mod d = ((a mod d) * u) mod d, the product taken in 512 bits.
            None => Wide::product(self.unscaled.unsigned_abs() % divisor, up_self)
                .div_rem(divisor)
                .map(|(_, r)| r)
                .ok_or_else(out_of_range)?,
        };
        signed(remainder, self.is_negative(), u32::from(scale)).map(Some)
    }

    /// Quotient without its fraction (`DIV`), truncated towards zero; `None` when `other` is zero.
    pub fn int_div(&self, other: &Decimal) -> Result<Option<Decimal>> {
        let Some(remainder) = self.checked_rem(other)? else {
            return Ok(None);
        };
        self.checked_sub(&remainder)?
            .div_to_scale(other, 0)
            .map(|q| q.map(|q| q.truncate_to(0)))
    }

    pub fn negated(&self) -> Decimal {
        Decimal {
            unscaled: -self.unscaled,
            scale: self.scale,
        }
    }

    pub fn abs(&self) -> Decimal {
        if self.is_negative() { self.negated() } else { *self }
    }

    /// Rounded half away from zero to `frac` digits after the point; a negative `frac` rounds before the point
    /// (`round_to(-2)` of 1250 is 1300). A number with fewer digits is returned as it is.
    pub fn round_to(&self, frac: i32) -> Decimal {
        self.cut(frac, div_round)
    }

    /// Like [`Decimal::round_to`], but towards zero.
    pub fn truncate_to(&self, frac: i32) -> Decimal {
        self.cut(
            frac,
            |n, power| {
                if power > 76 { I256::ZERO } else { n / pow10(power) }
            },
        )
    }

    fn cut(&self, frac: i32, divide: impl Fn(I256, u32) -> I256) -> Decimal {
        let scale = i32::from(self.scale);
        if frac >= scale {
            return *self;
        }
        // Past this many digits before the point nothing is left of any number.
        let frac = frac.max(-i32::from(super::MAX_PRECISION) - 1);
        let cut = divide(self.unscaled, (scale - frac) as u32);
        if frac >= 0 {
            return Decimal {
                unscaled: cut,
                scale: frac as u8,
            };
        }
        let unscaled = cut.checked_mul(pow10((-frac) as u32)).unwrap_or(I256::ZERO);
        // Rounding up 65 nines carries past what a decimal can hold; MySQL saturates there.
        Decimal::fitted(unscaled, 0).unwrap_or_else(|_| {
            let max = Decimal::max_value(super::MAX_PRECISION, 0);
            if self.is_negative() { max.negated() } else { max }
        })
    }

    /// The least integer not below the number.
    pub fn ceil(&self) -> Result<Decimal> {
        let whole = self.truncate_to(0);
        if whole < *self {
            whole.checked_add(&Decimal::from(1i64))
        } else {
            Ok(whole)
        }
    }

    /// The greatest integer not above the number.
    pub fn floor(&self) -> Result<Decimal> {
        let whole = self.truncate_to(0);
        if whole > *self {
            whole.checked_sub(&Decimal::from(1i64))
        } else {
            Ok(whole)
        }
    }

    /// The number shown with exactly `scale` digits after the point: rounded, or padded with zeros as far as 65
    /// digits allow.
    pub fn with_scale(&self, scale: u8) -> Decimal {
        let scale = scale.min(MAX_SCALE);
        if scale <= self.scale {
            return self.round_to(i32::from(scale));
        }
        let room = super::MAX_PRECISION - self.int_digits();
        let scale = scale.min(room).max(self.scale);
        Decimal {
            unscaled: self.unscaled * pow10(u32::from(scale - self.scale)),
            scale,
        }
    }
}

/// Both numbers at one scale: the larger, or less when 75 digits do not allow for it.
fn aligned(a: &Decimal, b: &Decimal) -> Result<(I256, I256, u32)> {
    let scale = a.scale.max(b.scale);
    let int_digits = a.int_digits().max(b.int_digits());
    let scale = u32::from(scale).min(75 - u32::from(int_digits));
    let bring = |d: &Decimal| {
        let own = u32::from(d.scale);
        if own <= scale {
            d.unscaled
                .checked_mul(pow10(scale - own))
                .ok_or_else(out_of_range)
        } else {
            Ok(div_round(d.unscaled, own - scale))
        }
    };
    Ok((bring(a)?, bring(b)?, scale))
}

fn round_up_half(quotient: U256, remainder: U256, divisor: U256) -> U256 {
    if remainder != U256::ZERO && remainder >= divisor - remainder {
        quotient.saturating_add(U256::ONE)
    } else {
        quotient
    }
}

fn signed(magnitude: U256, negative: bool, scale: u32) -> Result<Decimal> {
    if digit_count(magnitude) > 76 {
        return Err(out_of_range());
    }
    let value = magnitude.as_i256();
    Decimal::fitted(if negative { -value } else { value }, scale)
}
