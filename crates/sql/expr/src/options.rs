//! What the session says about how expressions are read.

use ilmenite_types::Collation;

use crate::mode::SqlMode;
use crate::types;

/// What the session says about how expressions are read.
#[derive(Debug, Clone)]
pub struct BuildOptions {
    pub sql_mode: SqlMode,
    /// For 1305.
    pub database: Option<String>,
    /// `collation_connection`: that of string literals.
    pub collation: Collation,
    pub div_precision_increment: u8,
}

impl Default for BuildOptions {
    fn default() -> Self {
        BuildOptions {
            sql_mode: SqlMode::default(),
            database: None,
            collation: types::DEFAULT_COLLATION,
            div_precision_increment: 4,
        }
    }
}
