//! The engine: what all sessions of one node share.

use std::sync::Arc;

use ilmenite_catalog::Catalog;
use ilmenite_ddl::Ddl;
use ilmenite_store::StoreRef;

use crate::exec::TableCache;
use crate::variables::Globals;

/// What a node is told at its start.
pub struct EngineConfig {
    pub store: StoreRef,
    /// `host:port` other nodes and people know this node by.
    pub address: String,
}

pub struct Engine {
    pub store: StoreRef,
    pub catalog: Arc<Catalog>,
    pub ddl: Arc<Ddl>,
    pub globals: Arc<Globals>,
    pub table_cache: TableCache,
}

/// `8.0.36-Ilmenite-0.1.0`
pub const SERVER_VERSION: &str = concat!("8.0.36-Ilmenite-", env!("CARGO_PKG_VERSION"));
