//! What comes from outside and is another each time: chance, and the time of day. Both are the operating system's,
//! unless the thread was given others: a simulation, whose seed has to determine everything, does that.
//!
//! The time of day is for people only (since when something is retried). Nothing may be decided by it but on one node
//! and against itself; what nodes agree on is in store time.

use std::cell::RefCell;
use std::time::{SystemTime, UNIX_EPOCH};

use rand::rngs::StdRng;
use rand::{Rng, RngCore};

/// A replacement for both, for one thread.
pub struct Ambient {
    pub chance: StdRng,
    /// Milliseconds since 1970.
    pub wall_ms: Box<dyn Fn() -> u64>,
}

thread_local! {
    static REPLACED: RefCell<Option<Ambient>> = const { RefCell::new(None) };
}

/// From now on this thread has these; `None`: the operating system's again.
pub fn replace(ambient: Option<Ambient>) {
    REPLACED.with(|replaced| *replaced.borrow_mut() = ambient);
}

fn with<T>(ours: impl FnOnce(&mut Ambient) -> T, real: impl FnOnce() -> T) -> T {
    REPLACED.with(|replaced| match &mut *replaced.borrow_mut() {
        Some(ambient) => ours(ambient),
        None => real(),
    })
}

/// Milliseconds since 1970 by this machine's clock.
pub fn wall_ms() -> u64 {
    let real = || {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_millis() as u64)
    };
    with(|ambient| (ambient.wall_ms)(), real)
}

/// From 0, inclusive, to 1, exclusive: for the jitter of pauses.
pub fn fraction() -> f64 {
    with(|ambient| ambient.chance.random(), || rand::rng().random())
}

/// For ids that nobody else has.
pub fn random_bytes() -> [u8; 16] {
    fn drawn(mut rng: impl RngCore) -> [u8; 16] {
        let mut bytes = [0; 16];
        rng.fill_bytes(&mut bytes);
        bytes
    }
    with(|ambient| drawn(&mut ambient.chance), || drawn(rand::rng()))
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn a_thread_with_a_seed_repeats_itself() {
        let draw = || {
            replace(Some(Ambient {
                chance: StdRng::seed_from_u64(7),
                wall_ms: Box::new(|| 42),
            }));
            let drawn = (fraction(), random_bytes(), wall_ms());
            replace(None);
            drawn
        };
        assert_eq!(draw(), draw());
        assert_eq!(draw().2, 42);
        assert_ne!(random_bytes(), random_bytes());
        assert!(wall_ms() > 1_600_000_000_000);
        assert!((0.0..1.0).contains(&fraction()));
    }
}
