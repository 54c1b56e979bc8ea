//! Chance: the jitter of pauses, and ids that nobody else has.

#![expect(clippy::disallowed_methods, reason = "the one place that draws")]

use rand::{Rng, RngCore};

use crate::simulated;

/// From 0, inclusive, to 1, exclusive.
pub fn fraction() -> f64 {
    simulated::with(|s| s.rng.random(), || rand::rng().random())
}

/// For ids that nobody else has, and for secrets: outside of simulations nobody can guess them.
pub fn bytes<const N: usize>() -> [u8; N] {
    fn drawn<const N: usize>(mut rng: impl RngCore) -> [u8; N] {
        let mut bytes = [0; N];
        rng.fill_bytes(&mut bytes);
        bytes
    }
    simulated::with(|s| drawn(&mut s.rng), || drawn(rand::rng()))
}

/// The same as text: 32 hexadecimal digits.
pub fn hex_id() -> String {
    bytes::<16>().iter().map(|byte| format!("{byte:02x}")).collect()
}
