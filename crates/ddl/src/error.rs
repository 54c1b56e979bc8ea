//! Everything that can go wrong with a schema change. Kept in the job's row, so it is serialisable, and every variant
//! has the number a MySQL client expects.

use ilmenite_store::ErrorClass;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::JobId;

#[derive(Debug, Clone, PartialEq, Eq, Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum DdlError {
    // --- what the statement says does not fit the schema -------------------------------------------------------
    #[error("Can't create database '{name}'; database exists")]
    DatabaseExists { name: String },
    #[error("Can't drop database '{name}'; database doesn't exist")]
    DropUnknownDatabase { name: String },
    #[error("Unknown database '{name}'")]
    UnknownDatabase { name: String },
    #[error("Table '{name}' already exists")]
    TableExists { name: String },
    /// DROP TABLE of tables that are not there; the names as `db.table`, comma-separated.
    #[error("Unknown table '{names}'")]
    UnknownTables { names: String },
    #[error("Table '{schema}.{table}' doesn't exist")]
    NoSuchTable { schema: String, table: String },
    #[error("Duplicate column name '{name}'")]
    DuplicateColumn { name: String },
    #[error("Duplicate key name '{name}'")]
    DuplicateKeyName { name: String },
    #[error("Unknown column '{column}' in '{place}'")]
    UnknownColumn { column: String, place: String },
    #[error("Incorrect database name '{name}'")]
    WrongDatabaseName { name: String },
    #[error("Incorrect table name '{name}'")]
    WrongTableName { name: String },
    #[error("Incorrect column name '{name}'")]
    WrongColumnName { name: String },
    #[error("Incorrect index name '{name}'")]
    WrongIndexName { name: String },
    #[error("Identifier name '{name}' is too long")]
    NameTooLong { name: String },
    #[error("Comment for {what} '{name}' is too long (max = {max})")]
    CommentTooLong {
        what: CommentedObject,
        name: String,
        max: usize,
    },
    #[error("Invalid default value for '{column}'")]
    InvalidDefault { column: String },
    #[error("BLOB, TEXT, GEOMETRY or JSON column '{column}' can't have a default value")]
    BlobDefault { column: String },
    #[error("Multiple primary key defined")]
    MultiplePrimaryKey,
    #[error("Too many keys specified; max {max} keys allowed")]
    TooManyKeys { max: usize },
    #[error("Too many key parts specified; max {max} parts allowed")]
    TooManyKeyParts { max: usize },
    #[error("Specified key was too long ({length} bytes); max key length is {max} bytes")]
    KeyTooLong { length: usize, max: usize },
    #[error("Key column '{column}' doesn't exist in table")]
    KeyColumnMissing { column: String },
    #[error(
        "Incorrect prefix key; the used key part isn't a string, the used length is longer than the key part, or the storage engine doesn't support unique prefix keys"
    )]
    WrongPrefixKey,
    #[error("Key part '{column}' length cannot be 0")]
    KeyPartZero { column: String },
    #[error("The used storage engine can't index column '{column}'")]
    CannotIndexColumn { column: String },
    #[error("BLOB/TEXT column '{column}' used in key specification without a key length")]
    BlobKeyWithoutLength { column: String },
    #[error("JSON column '{column}' supports indexing only via generated columns on a specified JSON path.")]
    JsonKey { column: String },
    #[error("All parts of a PRIMARY KEY must be NOT NULL; if you need NULL in a key, use UNIQUE instead")]
    PrimaryKeyNull,
    #[error("A primary key index cannot be invisible")]
    InvisiblePrimaryKey,
    #[error("You can't delete all columns with ALTER TABLE; use DROP TABLE instead")]
    CannotDropAllColumns,
    #[error("Can't DROP '{name}'; check that column/key exists")]
    CannotDrop { name: String },
    #[error("Key '{key}' doesn't exist in table '{table}'")]
    KeyMissing { key: String, table: String },
    #[error("A table must have at least 1 column")]
    NoColumns,
    #[error("Too many columns")]
    TooManyColumns,
    #[error("Incorrect table definition; there can be only one auto column and it must be defined as a key")]
    WrongAutoKey,
    #[error("Invalid use of NULL value")]
    NullInNotNull,
    /// What this server does not do; `what` completes "Unsupported …".
    #[error("Unsupported {what}")]
    Unsupported { what: String },

    // --- what the data says ---------------------------------------------------------------------------------------
    /// `entry` is decoded (`v1-v2`), `key` is `table.index`.
    #[error("Duplicate entry '{entry}' for key '{key}'")]
    DuplicateEntry { entry: String, key: String },
    /// Table and index disagree. `detail` is the whole text after the fixed beginning.
    #[error("data inconsistency in table: {table}, index: {index}, {detail}")]
    Inconsistent {
        table: String,
        index: String,
        detail: String,
    },

    // --- what was asked of a job ------------------------------------------------------------------------------------
    #[error("Cancelled DDL job")]
    JobCancelled,
    #[error("DDL Job:{id} not found")]
    JobNotFound { id: JobId },
    #[error("This job:{id} is finished, so can't be cancelled")]
    CancelFinished { id: JobId },
    #[error("This job:{id} is almost finished, can't be cancelled now")]
    CannotCancel { id: JobId },
    #[error("Job [{id}] can't be paused: {reason}")]
    CannotPause { id: JobId, reason: String },
    #[error("Job [{id}] can't be resumed: {reason}")]
    CannotResume { id: JobId, reason: String },
    #[error("Job [{id}] has already been paused")]
    AlreadyPaused { id: JobId },
    #[error("Job [{id}] can't be altered: {reason}")]
    CannotAlter { id: JobId, reason: String },
    /// The wait was given up; the job goes on by itself.
    #[error("Query execution was interrupted; DDL job {id} goes on in the background")]
    Detached { id: JobId },

    // --- what the world says ----------------------------------------------------------------------------------------
    #[error("Check ingest environment failed: {detail}")]
    IngestEnvironment { detail: String },
    /// A lower crate's error, as text, with its class.
    #[error("{message}")]
    Internal { class: ErrorClass, message: String },
}

/// What a comment that is too long belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CommentedObject {
    Table,
    Field,
    Index,
}

impl std::fmt::Display for CommentedObject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            CommentedObject::Table => "table",
            CommentedObject::Field => "field",
            CommentedObject::Index => "index",
        })
    }
}

pub type Result<T, E = DdlError> = std::result::Result<T, E>;

impl DdlError {
    /// A broken invariant of ours.
    pub fn bug(message: impl Into<String>) -> Self {
        DdlError::Internal {
            class: ErrorClass::Bug,
            message: message.into(),
        }
    }

    pub fn permanent(message: impl Into<String>) -> Self {
        DdlError::Internal {
            class: ErrorClass::Permanent,
            message: message.into(),
        }
    }

    pub fn unsupported(what: impl Into<String>) -> Self {
        DdlError::Unsupported { what: what.into() }
    }

    /// MySQL's or TiDB's number for it.
    pub fn code(&self) -> u16 {
        use DdlError::*;
        match self {
            DatabaseExists { .. } => 1007,
            DropUnknownDatabase { .. } => 1008,
            UnknownDatabase { .. } => 1049,
            TableExists { .. } => 1050,
            UnknownTables { .. } => 1051,
            NoSuchTable { .. } => 1146,
            UnknownColumn { .. } => 1054,
            NameTooLong { .. } => 1059,
            DuplicateColumn { .. } => 1060,
            DuplicateKeyName { .. } => 1061,
            DuplicateEntry { .. } => 1062,
            InvalidDefault { .. } => 1067,
            MultiplePrimaryKey => 1068,
            TooManyKeys { .. } => 1069,
            TooManyKeyParts { .. } => 1070,
            KeyTooLong { .. } => 1071,
            KeyColumnMissing { .. } => 1072,
            WrongAutoKey => 1075,
            WrongPrefixKey => 1089,
            CannotDropAllColumns => 1090,
            CannotDrop { .. } => 1091,
            BlobDefault { .. } => 1101,
            WrongDatabaseName { .. } => 1102,
            WrongTableName { .. } => 1103,
            NoColumns => 1113,
            TooManyColumns => 1117,
            NullInNotNull => 1138,
            WrongColumnName { .. } => 1166,
            CannotIndexColumn { .. } => 1167,
            BlobKeyWithoutLength { .. } => 1170,
            PrimaryKeyNull => 1171,
            KeyMissing { .. } => 1176,
            WrongIndexName { .. } => 1280,
            KeyPartZero { .. } => 1391,
            CommentTooLong {
                what: CommentedObject::Table,
                ..
            } => 1628,
            CommentTooLong {
                what: CommentedObject::Field,
                ..
            } => 1629,
            CommentTooLong {
                what: CommentedObject::Index,
                ..
            } => 1688,
            Detached { .. } => 1317,
            JsonKey { .. } => 3152,
            InvisiblePrimaryKey => 3522,
            Unsupported { .. } => 8200,
            JobCancelled => 8214,
            Inconsistent { .. } => 8223,
            JobNotFound { .. } => 8224,
            CancelFinished { .. } => 8225,
            CannotCancel { .. } => 8226,
            IngestEnvironment { .. } => 8256,
            CannotPause { .. } => 8260,
            CannotResume { .. } => 8261,
            AlreadyPaused { .. } => 8262,
            CannotAlter { .. } => 8265,
            Internal { .. } => 1105,
        }
    }

    pub fn class(&self) -> ErrorClass {
        match self {
            DdlError::Internal { class, .. } => *class,
            DdlError::Inconsistent { .. } => ErrorClass::Permanent,
            DdlError::IngestEnvironment { .. } => ErrorClass::Permanent,
            DdlError::JobCancelled | DdlError::Detached { .. } => ErrorClass::Cancelled,
            _ => ErrorClass::User,
        }
    }
}

impl From<ilmenite_store::Error> for DdlError {
    fn from(error: ilmenite_store::Error) -> Self {
        DdlError::Internal {
            class: error.class(),
            message: error.to_string(),
        }
    }
}

impl From<ilmenite_codec::Error> for DdlError {
    fn from(error: ilmenite_codec::Error) -> Self {
        DdlError::Internal {
            class: ErrorClass::Permanent,
            message: error.to_string(),
        }
    }
}

impl From<ilmenite_catalog::Error> for DdlError {
    fn from(error: ilmenite_catalog::Error) -> Self {
        DdlError::Internal {
            class: error.class(),
            message: error.to_string(),
        }
    }
}

impl From<ilmenite_sort::Error> for DdlError {
    fn from(error: ilmenite_sort::Error) -> Self {
        DdlError::Internal {
            class: error.class(),
            message: error.to_string(),
        }
    }
}

impl From<ilmenite_task::Error> for DdlError {
    fn from(error: ilmenite_task::Error) -> Self {
        DdlError::Internal {
            class: error.class(),
            message: error.to_string(),
        }
    }
}
