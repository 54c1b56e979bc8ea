//! Statements as parsed. Queries and DML keep sqlparser's tree; the rest has trees of its own, MySQL's shape.

// One tree a statement, made once and passed by reference: boxing every expression would buy nothing.
#![allow(clippy::large_enum_variant)]

use std::sync::Arc;

use sqlparser::ast as sql;

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

/// `db.table` or `table`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableName {
    pub database: Option<String>,
    pub name: String,
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

/// LOAD DATA LOCAL INFILE.
#[derive(Debug, Clone, PartialEq)]
pub struct LoadData {
    pub local: bool,
    pub file: String,
    pub on_duplicate: OnDuplicate,
    pub table: TableName,
    pub charset: Option<String>,
    /// FIELDS TERMINATED BY; a tab by default.
    pub fields_terminated_by: String,
    /// Empty: fields are not enclosed.
    pub fields_enclosed_by: String,
    pub fields_optionally_enclosed: bool,
    /// Empty: nothing escapes.
    pub fields_escaped_by: String,
    pub lines_starting_by: String,
    pub lines_terminated_by: String,
    pub ignore_lines: u64,
    /// Empty: all columns, in order.
    pub columns: Vec<LoadTarget>,
    /// SET column = expression.
    pub assignments: Vec<(String, sql::Expr)>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum LoadTarget {
    Column(String),
    /// A user variable, without the `@`, lower case.
    Variable(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnDuplicate {
    /// The default: IGNORE when LOCAL, else an error.
    Default,
    Replace,
    Ignore,
}

// --- schema changes ------------------------------------------------------------------------------------------------

#[derive(Debug, Clone, PartialEq)]
pub enum Ddl {
    CreateDatabase {
        name: String,
        if_not_exists: bool,
        options: CharsetOptions,
    },
    AlterDatabase {
        /// The current one when not said.
        name: Option<String>,
        options: CharsetOptions,
    },
    DropDatabase {
        name: String,
        if_exists: bool,
    },
    CreateTable(CreateTable),
    DropTables {
        tables: Vec<TableName>,
        if_exists: bool,
        temporary: bool,
    },
    DropViews {
        views: Vec<TableName>,
        if_exists: bool,
    },
    Truncate(TableName),
    RenameTables(Vec<(TableName, TableName)>),
    AlterTable {
        table: TableName,
        actions: Vec<AlterAction>,
        online: OnlineOptions,
    },
    CreateIndex {
        table: TableName,
        index: IndexDef,
        online: OnlineOptions,
    },
    DropIndex {
        table: TableName,
        name: String,
        if_exists: bool,
        online: OnlineOptions,
    },
    /// A statement MySQL has and we do not; the words that name it.
    Unsupported(&'static str),
}

/// `ALGORITHM =` and `LOCK =`, upper case.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OnlineOptions {
    pub algorithm: Option<String>,
    pub lock: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CharsetOptions {
    pub charset: Option<String>,
    pub collate: Option<String>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct CreateTable {
    pub table: TableName,
    pub temporary: bool,
    pub if_not_exists: bool,
    pub like: Option<TableName>,
    pub columns: Vec<ColumnDef>,
    pub indexes: Vec<IndexDef>,
    pub foreign_keys: usize,
    pub checks: usize,
    pub options: TableOptions,
    pub partitioned: bool,
    /// CREATE TABLE … AS SELECT.
    pub select: Option<Box<sql::Query>>,
}

/// Those that mean something here. The others of MySQL's are read and dropped.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TableOptions {
    pub charset: CharsetOptions,
    pub comment: Option<String>,
    pub auto_increment: Option<u64>,
    pub engine: Option<String>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct ColumnDef {
    pub name: String,
    pub data_type: DataType,
    pub nullable: Option<bool>,
    pub default: Option<sql::Expr>,
    /// ON UPDATE CURRENT_TIMESTAMP[(fsp)].
    pub on_update: Option<sql::Expr>,
    pub auto_increment: bool,
    pub primary: bool,
    /// CLUSTERED or NONCLUSTERED after PRIMARY KEY.
    pub clustered: Option<bool>,
    pub unique: bool,
    pub comment: String,
    pub generated: bool,
    pub check: bool,
    pub references: bool,
}

/// A column's type as written.
#[derive(Debug, Clone, PartialEq)]
pub struct DataType {
    pub name: TypeName,
    /// `(n)` or the first of `(n, m)`.
    pub length: Option<u64>,
    pub scale: Option<u64>,
    pub unsigned: bool,
    pub zerofill: bool,
    /// `CHAR … BINARY`: the character set's binary collation.
    pub binary: bool,
    pub charset: Option<String>,
    pub collate: Option<String>,
    /// Of ENUM and SET.
    pub members: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TypeName {
    TinyInt,
    SmallInt,
    MediumInt,
    Int,
    BigInt,
    /// BIGINT UNSIGNED NOT NULL AUTO_INCREMENT UNIQUE.
    Serial,
    Bool,
    Float,
    Double,
    Decimal,
    Bit,
    Date,
    Time,
    DateTime,
    Timestamp,
    Year,
    Char,
    Varchar,
    Binary,
    Varbinary,
    TinyText,
    Text,
    MediumText,
    LongText,
    TinyBlob,
    Blob,
    MediumBlob,
    LongBlob,
    Enum,
    Set,
    Json,
    /// GEOMETRY and its kin: read, to say that they are not supported.
    Spatial,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IndexKind {
    Plain,
    Unique,
    Primary,
    Fulltext,
    Spatial,
}

#[derive(Debug, Clone, PartialEq)]
pub struct IndexDef {
    pub kind: IndexKind,
    pub name: Option<String>,
    pub if_not_exists: bool,
    pub parts: Vec<IndexPartDef>,
    pub comment: String,
    pub invisible: bool,
    pub clustered: Option<bool>,
    /// GLOBAL, WHERE and the like: what we would have to know to honour it.
    pub unsupported: Option<&'static str>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum IndexPartDef {
    Column {
        name: String,
        length: Option<u64>,
        /// Read and not honoured, as in TiDB: entries are ascending.
        descending: bool,
    },
    Expression(sql::Expr),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ColumnPosition {
    First,
    After(String),
}

#[derive(Debug, Clone, PartialEq)]
pub enum AlterAction {
    AddColumn {
        column: ColumnDef,
        position: Option<ColumnPosition>,
        if_not_exists: bool,
    },
    DropColumn {
        name: String,
        if_exists: bool,
    },
    /// MODIFY (the name stays) and CHANGE.
    ModifyColumn {
        name: String,
        column: ColumnDef,
        position: Option<ColumnPosition>,
    },
    RenameColumn {
        from: String,
        to: String,
    },
    SetDefault {
        column: String,
        default: sql::Expr,
    },
    DropDefault {
        column: String,
    },
    AddIndex(IndexDef),
    DropIndex {
        name: String,
        if_exists: bool,
    },
    DropPrimaryKey,
    RenameIndex {
        from: String,
        to: String,
    },
    IndexVisibility {
        name: String,
        invisible: bool,
    },
    RenameTable(TableName),
    Options(TableOptions),
    ConvertCharset(CharsetOptions),
    /// DISABLE KEYS, ENABLE KEYS, FORCE, ORDER BY …: accepted, and of no consequence.
    Nothing,
    /// Foreign keys, checks, partitions; the words that name it.
    Unsupported(&'static str),
}

// --- SHOW, ADMIN, SET ------------------------------------------------------------------------------------------------

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

#[derive(Debug, Clone, PartialEq)]
pub enum SetItem {
    Variable {
        scope: SetScope,
        name: String,
        value: SetExpr,
    },
    /// Without the `@`, lower case.
    UserVariable { name: String, value: sql::Expr },
    /// SET NAMES; `None` is DEFAULT.
    Names {
        charset: Option<String>,
        collate: Option<String>,
    },
    /// SET CHARACTER SET; `None` is DEFAULT.
    CharacterSet(Option<String>),
    Transaction {
        scope: SetScope,
        isolation: Option<String>,
        read_only: Option<bool>,
    },
    Password {
        account: Option<AccountName>,
        password: String,
    },
    /// SET ROLE, SET DEFAULT ROLE: accepted when it asks for none.
    RoleNone,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetScope {
    /// Not said: the session, or for SET TRANSACTION the next transaction only.
    Unsaid,
    Session,
    Global,
}

#[derive(Debug, Clone, PartialEq)]
pub enum SetExpr {
    Default,
    /// A word without quotes, as in `SET x = utf8mb4`.
    Word(String),
    Expr(sql::Expr),
}

// --- accounts ---------------------------------------------------------------------------------------------------------

/// `'user'@'host'`; the host is `%` when not said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountName {
    pub user: String,
    pub host: String,
    /// CURRENT_USER[()].
    pub current: bool,
}

/// How an account is to prove itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AuthSpec {
    /// IDENTIFIED WITH.
    pub plugin: Option<String>,
    /// IDENTIFIED BY 'password'.
    pub password: Option<String>,
    /// IDENTIFIED … AS 'hash'.
    pub hash: Option<String>,
}

/// What follows the users. Options that would have to be kept, and are not, are refused when read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct UserOptions {
    /// ACCOUNT LOCK or UNLOCK.
    pub locked: Option<bool>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GrantLevel {
    Global,
    /// `None`: the current database.
    Database(Option<String>),
    Table(TableName),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Account {
    Create {
        users: Vec<(AccountName, AuthSpec)>,
        if_not_exists: bool,
        options: UserOptions,
    },
    Alter {
        users: Vec<(AccountName, AuthSpec)>,
        if_exists: bool,
        options: UserOptions,
    },
    Drop {
        users: Vec<AccountName>,
        if_exists: bool,
    },
    Rename(Vec<(AccountName, AccountName)>),
    Grant {
        /// Upper case; `ALL` alone for all.
        privileges: Vec<String>,
        level: GrantLevel,
        users: Vec<AccountName>,
        with_grant_option: bool,
    },
    Revoke {
        privileges: Vec<String>,
        level: GrantLevel,
        users: Vec<AccountName>,
    },
    RevokeAll {
        users: Vec<AccountName>,
    },
}
