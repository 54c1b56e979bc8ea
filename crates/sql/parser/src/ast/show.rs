//! SHOW and ADMIN.

use sqlparser::ast as sql;

use super::name::{AccountName, TableName};

/// `LIKE 'pattern'` or `WHERE condition`.
#[derive(Debug, Clone, PartialEq)]
pub enum ShowFilter {
    Like(String),
    Where(sql::Expr),
}

#[derive(Debug, Clone, PartialEq)]
pub struct Show {
    pub what: ShowWhat,
    pub filter: Option<ShowFilter>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum ShowWhat {
    Databases,
    Tables {
        database: Option<String>,
        full: bool,
    },
    TableStatus {
        database: Option<String>,
    },
    OpenTables {
        database: Option<String>,
    },
    Columns {
        table: TableName,
        full: bool,
        /// DESCRIBE t column.
        column: Option<String>,
    },
    Indexes {
        table: TableName,
    },
    CreateTable(TableName),
    CreateView(TableName),
    CreateDatabase {
        name: String,
        if_not_exists: bool,
    },
    CreateUser(AccountName),
    Variables {
        global: bool,
    },
    Status {
        global: bool,
    },
    Warnings {
        errors_only: bool,
        limit: Option<(u64, u64)>,
    },
    WarningCount {
        errors_only: bool,
    },
    ProcessList {
        full: bool,
    },
    Engines,
    Charset,
    Collation,
    Plugins,
    Privileges,
    Grants(Option<AccountName>),
    /// SHOW TABLE t [INDEX i] REGIONS.
    Regions {
        table: TableName,
        index: Option<String>,
    },
    /// Known, and always without rows here: the columns it has.
    Empty(EmptyShow),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EmptyShow {
    Triggers,
    Events,
    ProcedureStatus,
    FunctionStatus,
    BinaryLogs,
    BinaryLogStatus,
    ReplicaStatus,
    Replicas,
    Profiles,
    Profile,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Admin {
    ShowDdl,
    ShowDdlJobs {
        /// How many jobs of history; 10 when not said.
        limit: Option<u64>,
        filter: Option<sql::Expr>,
    },
    ShowDdlJobQueries {
        ids: Vec<i64>,
    },
    ShowDdlJobQueriesLimit {
        limit: u64,
        offset: u64,
    },
    CancelJobs(Vec<i64>),
    PauseJobs(Vec<i64>),
    ResumeJobs(Vec<i64>),
    AlterJob {
        id: i64,
        thread: Option<sql::Expr>,
        batch_size: Option<sql::Expr>,
        max_write_speed: Option<sql::Expr>,
    },
    CheckTables(Vec<TableName>),
    CheckIndex {
        table: TableName,
        index: String,
    },
    ChecksumTables(Vec<TableName>),
    /// ADMIN RECOVER INDEX and the like: the words that name it.
    Unsupported(&'static str),
}
