//! The engine against a fake of PD and TiKV in this process.

mod fake;
mod gc;
mod ingest;
mod outcomes;
mod pd;
mod refusals;

mod rules {
    use ilmenite_store::StoreRef;

    use crate::fake::Fake;

    /// One region, one store.
    mod whole {
        use super::*;

        async fn fixture() -> (Fake, StoreRef) {
            let fake = Fake::start(1).await;
            let store = fake.connect().await;
            (fake, store)
        }

        ilmenite_store::conformance_tests!(fixture());
    }

    /// Regions cut through the tests' keys, led by several stores.
    mod parts {
        use super::*;

        async fn fixture() -> (Fake, StoreRef) {
            let fake = Fake::start(3).await;
            {
                let mut world = fake.world.lock();
                for (at, store) in [
                    ("a0003", 2),
                    ("b", 3),
                    ("m", 1),
                    ("pA1", 2),
                    ("pA2", 3),
                    ("pB1", 1),
                    ("z", 2),
                ] {
                    world.split(at.as_bytes());
                    world.lead(at.as_bytes(), store);
                }
            }
            let store = fake.connect().await;
            (fake, store)
        }

        ilmenite_store::conformance_tests!(fixture());
    }
}
