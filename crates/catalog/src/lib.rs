//! Schemas, tables, indexes; schema states and versions; each node's cached view; node leases; the metadata lock.
//!
//! - `model`, `meta`: what is stored, and where;
//! - `view`: one schema version as a node sees it;
//! - `node`, `owner`: who is there, and who decides;
//! - `mdl`, `sync`: which transactions use which version, and the owner's wait for them;
//! - `catalog`: ties these together, with the background tasks;
//! - `auto_id`: auto-increment values; `settings`: global variables and users.
//!
//! Knows nothing of jobs.

mod auto_id;
mod bootstrap;
mod catalog;
mod clock;
mod error;
mod keys;
mod local;
mod mdl;
mod meta;
mod metrics;
mod model;
mod node;
mod owner;
mod settings;
mod sync;
mod view;
mod wake;

pub use catalog::{Catalog, CatalogConfig};
pub use clock::{Clock, SystemClock};
pub use error::{Error, Result};
pub use mdl::{Blocker, Pinned, TransactionPins};
pub use meta::{AffectedTable, Meta, MetaReader, SchemaDiff};
pub use model::*;
pub use node::NodeInfo;
pub use owner::{OwnerInfo, OwnerTerm};
pub use settings::Settings;
pub use view::SchemaView;
pub use wake::{Topic, WakeTransport};

#[cfg(test)]
mod tests;
