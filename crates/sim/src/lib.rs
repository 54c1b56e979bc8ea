//! A cluster in one thread, by seed: real catalogs, task frameworks and DDL workers of several nodes over one simulated
//! store and one simulated object store, in virtual time, under clients that write, clients that change schemas, and
//! troubles of every kind. A seed determines everything, so a failure is repeated by its number alone.
//!
//! - `settings`: what a seed means; `run`: its course, from the first table to the verdict;
//! - `world`: what nodes share: `core` and `objects`, the state of the two stores, seen through `store` and `bucket`; `link`: a node's way there, where all that befalls it does;
//! - `node`: what a node is made of, `kinds`: its kinds of task; `sim`: those there are;
//! - `dml`, `jobs`: the clients; `oracle`: what is known by them; `nemesis`: the troubles; `check`: what must hold;
//! - `mutation`: deliberately broken code, which must be found.
//!
//! How it stays repeatable: one thread; tokio's paused clock, which goes to the next timer whenever nothing else can
//! happen; chance and the time of day by `ilmenite_base::simulate`; no `select!` without `biased` and no iteration over
//! a hash map in what is under test. That it does is itself tested: the same seed twice has the same hash of events.

pub mod bucket;
pub mod check;
pub mod core;
pub mod dml;
pub mod jobs;
pub mod kinds;
pub mod link;
pub mod log;
pub mod mutation;
pub mod nemesis;
pub mod node;
pub mod objects;
pub mod oracle;
pub mod run;
pub mod settings;
pub mod sim;
pub mod store;
pub mod table;
pub mod world;
