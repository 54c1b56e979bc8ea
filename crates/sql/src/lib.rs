//! Sessions, parsing, transactions, DML, queries, SHOW/ADMIN, information_schema, variables, privileges.
//!
//! Knows nothing of sockets: the server hands text in and takes rows out through `ResultSink`.

pub mod error;
mod result;

pub use error::{Error, Result};
pub use result::{OkInfo, ResultColumn, ResultSink, Row};
