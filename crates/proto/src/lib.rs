//! TiKV's and PD's protocol, as much of it as Ilmenite speaks, for both ends: messages, client stubs, server traits.
//!
//! Everything here is generated (into `generated/`, see `tests/generated.rs`) from the files in `proto/`, which are written
//! by hand and hold the packages, names and
//! field numbers of the protocol, so that a real TiKV (8.5 or later) and other clients of it understand us. A field or
//! message we do not declare is skipped on decoding and lost when encoded again.
//!
//! `bytes` fields are [`bytes::Bytes`]: decoding shares the received buffer, so a small value that is kept long should
//! be copied out of it. Region errors and key errors are boxed. Limits on the size of messages are set by whoever makes
//! the client or server; tonic's default lets none over 4 MiB in.

/// One module to a protobuf package; packages refer to one another as neighbours.
macro_rules! packages {
    ($($(#[$doc:meta])* $name:ident)+) => {
        $(
            $(#[$doc])*
            pub mod $name {
                include!(concat!("../generated/", stringify!($name), ".rs"));
            }
        )+
    };
}

packages! {
    /// Who waits for whom.
    deadlock
    /// TiKV's debugging service: sizes of regions.
    debugpb
    /// Region errors.
    errorpb
    /// What an `ilmenite store` offers beyond TiKV.
    ilmenitepb
    /// TiKV's import service.
    import_sstpb
    /// Messages of TiKV's transactional commands.
    kvrpcpb
    /// Stores, regions, peers.
    metapb
    /// PD's service.
    pdpb
    /// TiKV's service.
    tikvpb
}
