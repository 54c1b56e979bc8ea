//! Sessions, parsing, transactions, DML, queries, SHOW/ADMIN, information_schema, variables, privileges.
//!
//! Knows nothing of sockets: the server hands text in and takes rows out through `ResultSink`.

pub mod account;
pub mod admin;
pub mod context;
pub mod ddl_translate;
pub mod engine;
pub mod error;
mod evaluate;
pub mod exec;
pub mod expr;
pub mod infoschema;
pub mod parse;
mod plan;
pub mod privilege;
mod result;
pub mod rowset;
mod session;
pub mod show;
#[cfg(test)]
mod testing;
pub mod txn;
mod user_locks;
pub mod variables;

pub use context::SessionContext;
pub use engine::{Engine, EngineConfig};
pub use error::{Error, Result};
pub use result::{OkInfo, ResultColumn, ResultSink, Row, StatementOutcome};
pub use session::{ConnectionInfo, PreparedInfo, Process, Session, SessionEntry, SessionStatus};
