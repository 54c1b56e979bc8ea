//! What a session asks for: schema changes by name, as the statement says them. Names become ids in the job's first
//! step, never earlier, since jobs queued before it may create, rename or drop what it names.

use ilmenite_catalog::{ColumnInfo, Name, TableInfo};
use serde::{Deserialize, Serialize};

use crate::ids::JobId;

/// One table by name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TableName {
    pub schema: Name,
    pub table: Name,
}

impl TableName {
    pub fn new(schema: impl Into<String>, table: impl Into<String>) -> Self {
        TableName {
            schema: Name::new(schema),
            table: Name::new(table),
        }
    }
}

impl std::fmt::Display for TableName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.schema, self.table)
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DdlStatement {
    CreateDatabase {
        name: Name,
        charset: String,
        collate: String,
        if_not_exists: bool,
    },
    AlterDatabase {
        name: Name,
        charset: String,
        collate: String,
    },
    DropDatabase {
        name: Name,
        if_exists: bool,
    },
    CreateTable(Box<CreateTable>),
    /// CREATE TABLE … LIKE …
    CreateTableLike {
        table: TableName,
        like: TableName,
        if_not_exists: bool,
    },
    /// All of them or, when one is missing and `if_exists` is not said, none.
    DropTables {
        tables: Vec<TableName>,
        if_exists: bool,
    },
    TruncateTable {
        table: TableName,
    },
    /// In order, as one change: `a TO b, b TO c` works, and so does swapping two tables through a third name.
    RenameTables {
        renames: Vec<(TableName, TableName)>,
    },
    /// All actions as one change: they become visible together or not at all.
    AlterTable {
        table: TableName,
        actions: Vec<AlterAction>,
    },
}

/// A table to be made. Ids, offsets, states, key flags and the kind of handle are the job's to fill in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CreateTable {
    pub schema: Name,
    /// Name, charset, collation, comment, `auto_inc_id` and columns are read (of a column: name, type with NOT NULL,
    /// UNSIGNED, AUTO_INCREMENT and ON UPDATE flags, default, comment); the rest is ignored.
    pub table: TableInfo,
    /// All keys, whether given with the table or with a column.
    pub indexes: Vec<IndexSpec>,
    /// CLUSTERED or NONCLUSTERED, when said. Clustered otherwise.
    pub clustered: Option<bool>,
    pub if_not_exists: bool,
}

/// A key to be made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct IndexSpec {
    /// `None`: named after its first column, with `_2`, `_3`… when taken.
    pub name: Option<Name>,
    pub columns: Vec<IndexPart>,
    pub unique: bool,
    /// PRIMARY KEY; implies `unique`.
    pub primary: bool,
    pub invisible: bool,
    pub comment: String,
    pub if_not_exists: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct IndexPart {
    pub column: Name,
    /// `col(n)`: characters, or bytes of a binary string.
    pub length: Option<u32>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ColumnPosition {
    First,
    After(Name),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlterAction {
    /// ADD INDEX, ADD UNIQUE, ADD PRIMARY KEY (nonclustered).
    AddIndex(IndexSpec),
    DropIndex {
        name: Name,
        if_exists: bool,
    },
    DropPrimaryKey,
    RenameIndex {
        from: Name,
        to: Name,
    },
    IndexVisibility {
        name: Name,
        invisible: bool,
    },
    /// `column.origin_default` is what existing rows read as: the default's value at this statement, as text; for
    /// NOT NULL without a default it may be `None` and the type's zero value is taken.
    AddColumn {
        column: Box<ColumnInfo>,
        position: Option<ColumnPosition>,
        if_not_exists: bool,
    },
    DropColumn {
        name: Name,
        if_exists: bool,
    },
    /// MODIFY (name unchanged) and CHANGE.
    ModifyColumn {
        name: Name,
        column: Box<ColumnInfo>,
        position: Option<ColumnPosition>,
    },
    RenameColumn {
        from: Name,
        to: Name,
    },
    SetDefault {
        column: Name,
        default: Option<String>,
        is_expr: bool,
    },
    DropDefault {
        column: Name,
    },
    Comment(String),
    /// AUTO_INCREMENT = n: the next value given out is at least n.
    AutoIncrement(i64),
    RenameTable(TableName),
    /// DEFAULT CHARACTER SET: for columns added later. Existing columns keep theirs.
    Charset {
        charset: String,
        collate: String,
    },
}

/// How the index is verified before it becomes public.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verify {
    /// Counts and hashes of what was read and what was ingested agree, and table and index agree at a fresh snapshot.
    #[default]
    Full,
    /// Only the first of the two.
    Sort,
    Off,
}

/// What the session's and the cluster's variables say about how the job is to be run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct JobSettings {
    /// `tidb_ddl_reorg_worker_cnt`: subtasks at once on a node; 0: as many as it has slots.
    pub concurrency: u32,
    /// `tidb_ddl_reorg_batch_size`, rows.
    pub batch_size: u32,
    /// `tidb_ddl_reorg_max_write_speed`, bytes a second and node; 0: no limit.
    pub max_write_speed_bytes: u64,
    /// `tidb_cloud_storage_uri`, with its secrets; never kept in the job's row. Empty: sort in a local directory.
    #[serde(skip_serializing)]
    pub cloud_storage_uri: String,
    pub verify: Verify,
    /// `tidb_service_scope` of the session's node at submission.
    pub service_scope: String,
}

impl Default for JobSettings {
    fn default() -> Self {
        JobSettings {
            concurrency: 4,
            batch_size: 256,
            max_write_speed_bytes: 0,
            cloud_storage_uri: String::new(),
            verify: Verify::Full,
            service_scope: String::new(),
        }
    }
}

/// A schema change to be queued.
#[derive(Debug, Clone, PartialEq)]
pub struct JobRequest {
    pub statement: DdlStatement,
    /// The statement's text, for people. Passwords in it must have been masked.
    pub query: String,
    pub settings: JobSettings,
}

/// What `ADMIN ALTER DDL JOBS` changes of a running job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct JobChange {
    pub concurrency: Option<u32>,
    pub batch_size: Option<u32>,
    pub max_write_speed_bytes: Option<u64>,
}

/// A note the statement ends with (IF EXISTS of what is not there).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobWarning {
    /// MySQL's number of the error it would have been.
    pub code: u16,
    pub message: String,
}

/// How a job ended, when it ended well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobOutcome {
    pub job_id: JobId,
    /// Level: Note.
    pub warnings: Vec<JobWarning>,
    /// The schema version at which the change is visible.
    pub schema_version: ilmenite_catalog::SchemaVersion,
}
