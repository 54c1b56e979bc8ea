//! Schema changes.

use sqlparser::ast as sql;

use super::name::TableName;

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
