//! Chance: the jitter of pauses, and ids that nobody else has.

use rand::{Rng, RngCore};

use crate::simulated;

/// From 0, inclusive, to 1, exclusive.
pub fn fraction() -> f64 {
    simulated::with(|s| s.rng.random(), || rand::rng().random())
}

/// For ids that nobody else has.
pub fn bytes() -> [u8; 16] {
    fn drawn(mut rng: impl RngCore) -> [u8; 16] {
        let mut bytes = [0; 16];
        rng.fill_bytes(&mut bytes);
        bytes
    }
    simulated::with(|s| drawn(&mut s.rng), || drawn(rand::rng()))
}

/// The same as text: 32 hexadecimal digits.
pub fn hex_id() -> String {
    bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}
