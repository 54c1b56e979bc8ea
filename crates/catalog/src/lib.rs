//! Schemas, tables, indexes; schema states and versions; each node's cached view; node leases; the metadata lock.
//!
//! - `model`, `meta`: what is stored, and where;
//! - `bootstrap`: what a new store begins with; `format`: of which version its rows are, and how older ones become that;
//! - `view`: one schema version as a node sees it;
//! - `pins`, `mdl`: which transactions use which version of a table; `local`: what they see of this node;
//! - `wake`: telling other nodes that there is something new;
//! - `catalog`: one node's catalog, with the background tasks. What it does stands by subject: `node`, `owner` (who is there,
//!   and who decides), `sync` (the owner's wait for all others), `auto_id` (auto-increment values), `settings` (global
//!   variables and users). Each has the state of its subject and the methods on it, and the catalog has all of them: so
//!   these few files name each other.
//!
//! Of jobs it knows an id, under which an owner's wait and whoever is in its way are shown, and that there is a topic to
//! wake others for; nothing of what a job is or does.

// A seed of the simulation has to repeat itself.
#![deny(clippy::iter_over_hash_type)]

mod auto_id;
mod bootstrap;
mod catalog;
mod clock;
mod error;
mod format;
mod keys;
mod local;
mod mdl;
mod meta;
mod metrics;
mod model;
mod node;
mod owner;
mod pins;
mod settings;
mod sync;
mod view;
mod wake;

pub use catalog::{Catalog, CatalogConfig};
pub use clock::{Clock, SystemClock};
pub use error::{Error, Result};
pub use mdl::{Pinned, TransactionPins};
pub use meta::{AffectedTable, Meta, MetaReader, SchemaDiff};
pub use model::*;
pub use node::NodeInfo;
pub use owner::{OwnerInfo, OwnerTerm};
pub use pins::Blocker;
pub use settings::Settings;
pub use view::SchemaView;
pub use wake::{Topic, WakeTransport};

#[cfg(test)]
mod tests;
