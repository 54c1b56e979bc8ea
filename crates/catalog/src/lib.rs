//! Schemas, tables, indexes; schema states and versions; each node's cached view; node leases; the metadata lock.

mod model;

pub use model::*;
