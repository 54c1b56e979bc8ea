//! A clock and a source of chance instead of the operating system's, for one thread: a simulation, whose seed has to
//! determine everything, installs them.

use std::cell::RefCell;

use rand::rngs::StdRng;

/// A replacement for both.
pub struct Simulated {
    pub rng: StdRng,
    /// Milliseconds since 1970.
    pub wall_ms: Box<dyn Fn() -> u64>,
}

thread_local! {
    static REPLACED: RefCell<Option<Simulated>> = const { RefCell::new(None) };
}

/// From now on this thread has these; `None`: the operating system's again.
pub fn simulate(simulated: Option<Simulated>) {
    REPLACED.with(|replaced| *replaced.borrow_mut() = simulated);
}

pub(crate) fn with<T>(simulated: impl FnOnce(&mut Simulated) -> T, real: impl FnOnce() -> T) -> T {
    REPLACED.with(|replaced| match &mut *replaced.borrow_mut() {
        Some(replacement) => simulated(replacement),
        None => real(),
    })
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;
    use crate::{clock, rng};

    #[test]
    fn a_thread_with_a_seed_repeats_itself() {
        let draw = || {
            simulate(Some(Simulated {
                rng: StdRng::seed_from_u64(7),
                wall_ms: Box::new(|| 42),
            }));
            let drawn = (rng::fraction(), rng::bytes::<16>(), clock::wall_ms());
            simulate(None);
            drawn
        };
        assert_eq!(draw(), draw());
        assert_eq!(draw().2, 42);
        assert_ne!(rng::bytes::<16>(), rng::bytes::<16>());
        assert!(clock::wall_ms() > 1_600_000_000_000);
        assert!((0.0..1.0).contains(&rng::fraction()));
    }
}
