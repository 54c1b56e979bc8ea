//! Products and quotients whose intermediate value does not fit 256 bits. Rare, so simple rather than fast.

use ethnum::U256;

/// An unsigned number of 512 bits: (high, low).
#[derive(Clone, Copy)]
pub(super) struct Wide {
    high: U256,
    low: U256,
}

impl Wide {
    pub(super) fn product(a: U256, b: U256) -> Wide {
        let mask = U256::from(u128::MAX);
        let (a1, a0) = (a >> 128u32, a & mask);
        let (b1, b0) = (b >> 128u32, b & mask);
        let (low, mid1, mid2, high) = (a0 * b0, a1 * b0, a0 * b1, a1 * b1);
        let (mid, carry_mid) = mid1.overflowing_add(mid2);
        let (low, carry_low) = low.overflowing_add(mid << 128u32);
        let mut high = high + (mid >> 128u32);
        if carry_mid {
            high += U256::ONE << 128u32;
        }
        if carry_low {
            high += U256::ONE;
        }
        Wide { high, low }
    }

    /// Quotient and remainder; `None` when the quotient does not fit 256 bits or the divisor is 2^255 or more.
    pub(super) fn div_rem(self, divisor: U256) -> Option<(U256, U256)> {
        if self.high >= divisor || divisor.leading_zeros() == 0 {
            return None;
        }
        let mut remainder = self.high;
        let mut quotient = U256::ZERO;
        for bit in (0..256u32).rev() {
            remainder = (remainder << 1u32) | ((self.low >> bit) & U256::ONE);
            quotient <<= 1u32;
            if remainder >= divisor {
                remainder -= divisor;
                quotient |= U256::ONE;
            }
        }
        Some((quotient, remainder))
    }
}
