//! The engine against an `ilmenite store` in this process, over a socket: the rules of the trait, and the same while
//! regions move and requests fail.

mod support;

mod restarts;
mod trouble;

mod rules {
    use ilmenite_store::StoreRef;

    use crate::support::Served;

    mod whole {
        use super::*;

        async fn fixture() -> (Served, StoreRef) {
            let served = Served::start().await;
            let store = served.connect().await;
            (served, store)
        }

        ilmenite_store::conformance_tests!(fixture());
    }

    mod parts {
        use super::*;

        async fn fixture() -> (Served, StoreRef) {
            let served = Served::start().await;
            for (at, store) in [
                ("a0003", 2),
                ("b", 3),
                ("m", 1),
                ("pA1", 2),
                ("pA2", 3),
                ("pB1", 1),
                ("z", 2),
            ] {
                let region = served.split(at).await;
                served.lead(region, store).await;
            }
            let store = served.connect().await;
            (served, store)
        }

        ilmenite_store::conformance_tests!(fixture());
    }
}
