//! Sessions, parsing, transactions, DML, queries, SHOW/ADMIN, information_schema, variables, privileges.
//!
//! Knows nothing of sockets: the server hands text in and takes rows out through `ResultSink`.
