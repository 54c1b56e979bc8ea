//! The `tikv` engine: the [`Store`](ilmenite_store::Store) trait over PD's and TiKV's gRPC protocol, so over a TiKV
//! cluster (8.5 or later) or an `ilmenite store`.
//!
//! From below: `channel` (connections), `pd` (timestamps, where things are), `links` (the stores), `region` (the cache of that), `request`
//! and `reaction` (one request to one region, and what to do when it is refused), `cluster` (requests by key, retried),
//! `resolve` (locks met on the way; `outcome`: how their transactions ended). On them stand `read` and `scan`, `lock` and `commit` over `registry` (what this
//! node's transactions hold), `ingest`, `admin` (regions, versions, delete range) and `gc`.
//!
//! Every call has a deadline, every retry a bound in count and time. Dropping a future cancels what it waits for;
//! commits and clean-ups, once begun, run on by themselves.

mod admin;
mod backoff;
mod channel;
mod cluster;
mod commit;
mod gc;
mod ingest;
mod key;
mod key_error;
mod links;
mod lock;
mod metrics;
mod options;
mod outcome;
mod pd;
mod reaction;
mod read;
mod region;
mod registry;
mod request;
mod resolve;
mod scan;
mod store;

pub use options::TikvOptions;
pub use store::TikvStore;
