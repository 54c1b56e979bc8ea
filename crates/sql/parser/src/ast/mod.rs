//! Statements as parsed. Queries and DML keep sqlparser's tree; the rest has trees of its own, MySQL's shape: those of a few
//! lines here, the others a file for each kind of statement.

// One tree a statement, made once and passed by reference: boxing every expression would buy nothing.
#![allow(clippy::large_enum_variant)]

pub(crate) mod account;
pub(crate) mod ddl;
pub(crate) mod load;
pub(crate) mod name;
pub(crate) mod set;
pub(crate) mod show;

use std::sync::Arc;

use sqlparser::ast as sql;

pub(crate) use {account::*, ddl::*, load::*, name::*, set::*, show::*};

/// One statement of a text.
#[derive(Debug, Clone, PartialEq)]
pub struct Parsed {
    /// As written, without the semicolon.
    pub text: Arc<str>,
    pub statement: Statement,
    /// How many `?` it has.
    pub params: usize,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Statement {
    /// SELECT, VALUES, INSERT, REPLACE, UPDATE, DELETE.
    Query(Box<sql::Statement>),
    /// SELECT … INTO @a, @b: the names without the `@`, lower case.
    QueryInto {
        query: Box<sql::Statement>,
        variables: Vec<String>,
    },
    LoadData(Box<LoadData>),
    Explain(Explain),
    Ddl(Box<Ddl>),
    Show(Box<Show>),
    Admin(Admin),
    Set(Vec<SetItem>),
    Transaction(TransactionStatement),
    Prepare {
        name: String,
        source: PrepareSource,
    },
    Execute {
        name: String,
        /// User variables, without the `@`, lower case.
        using: Vec<String>,
    },
    Deallocate {
        name: String,
    },
    Use(String),
    Kill {
        connection_id: sql::Expr,
        /// The statement only, and the connection stays.
        query_only: bool,
    },
    Do(Vec<sql::Expr>),
    Account(Account),
    /// What is flushed, upper case (`TABLES`, `PRIVILEGES`, …).
    Flush(Vec<String>),
    LockTables(Vec<TableName>),
    UnlockTables,
    Maintain {
        kind: Maintenance,
        tables: Vec<TableName>,
    },
}

impl From<Ddl> for Statement {
    fn from(ddl: Ddl) -> Self {
        Statement::Ddl(Box::new(ddl))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Maintenance {
    Analyze,
    Optimize,
    Check,
    Repair,
    Checksum,
}

#[derive(Debug, Clone, PartialEq)]
pub enum PrepareSource {
    Text(String),
    /// A user variable, without the `@`, lower case.
    Variable(String),
}

#[derive(Debug, Clone, PartialEq)]
pub enum TransactionStatement {
    Begin {
        read_only: Option<bool>,
        consistent_snapshot: bool,
        /// BEGIN PESSIMISTIC | OPTIMISTIC, when said.
        pessimistic: Option<bool>,
    },
    Commit {
        chain: bool,
        release: bool,
    },
    Rollback {
        chain: bool,
        release: bool,
    },
    Savepoint(String),
    RollbackTo(String),
    ReleaseSavepoint(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExplainFormat {
    /// Rows of a table.
    Row,
    Brief,
    Tree,
    Json,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Explain {
    pub format: ExplainFormat,
    /// Run it too, and say what was found.
    pub analyze: bool,
    pub target: ExplainTarget,
}

#[derive(Debug, Clone, PartialEq)]
pub enum ExplainTarget {
    Query(Box<sql::Statement>),
    Ddl(Box<Ddl>),
    Connection(u64),
}
