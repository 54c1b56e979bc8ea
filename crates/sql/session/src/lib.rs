//! Sessions: from a statement's text to its results.
//!
//! A packet's text comes in at [`Session`] (`session`); `dispatch` runs one statement after another and knows what every one
//! has around it. Queries and DML go to `statement`, in the transaction of `txn`; schema changes through `ddl_translate` to
//! the DDL worker; SET to `variables`; GRANT and its kin to `privilege` and `account`; ADMIN and SHOW to the modules of that
//! name, and what `information_schema` shows is `infoschema`. What all sessions of a node share is [`Engine`].
//!
//! Knows nothing of sockets: the server hands text in and takes rows out through `ResultSink`.

#![warn(unreachable_pub)]

mod account;
mod admin;
mod context;
mod ddl_translate;
mod dispatch;
mod engine;
mod infoschema;
mod prepared;
mod privilege;
mod quote;
mod registry;
mod row_counts;
mod rowset;
mod session;
mod show;
mod statement;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod txn;
mod user_locks;
mod variables;
mod wildcard;

pub use account::Login;
pub use engine::{Engine, EngineConfig};
pub use prepared::PreparedInfo;
pub use session::{ConnectionInfo, Session};
