//! DECIMAL: up to 65 digits, up to 30 of them after the point.

use ethnum::I256;

/// An exact decimal number: `unscaled` / 10^`scale`.
#[derive(Debug, Clone, Copy)]
pub struct Decimal {
    unscaled: I256,
    scale: u8,
}

impl PartialEq for Decimal {
    /// By value: 1.0 equals 1.00.
    fn eq(&self, other: &Self) -> bool {
        self.unscaled == other.unscaled && self.scale == other.scale
    }
}
