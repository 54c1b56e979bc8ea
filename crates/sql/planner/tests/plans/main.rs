//! Plans under test: golden scripts of tables given as text and statements, each with the plan that EXPLAIN shows.
//!
//! There is no store, no catalog and no session behind it: `world` answers what planning asks from tables that `table` makes
//! of CREATE TABLE, and `show` writes a plan out. What a script may say besides SQL is told in `world`.
//!
//! `# wrong:` stands over what gives a wrong result or refuses what is right, `# not good:` over what could be done better: both are
//! kept as they are until somebody mends them.

mod show;
mod table;
mod world;

use std::path::Path;

use world::World;

#[test]
fn plans_are_as_written() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let plans = ilmenite_golden::check(&dir, "plan", World::take);
    assert!(plans >= 800, "only {plans} plans");
}
