//! Everything that can go wrong with a schema change. Kept in the job's row, so it is serialisable; its number and text are
//! those of the table of errors in `ilmenite_error`.

use ilmenite_base::ErrorClass;
use ilmenite_error::Error;
use ilmenite_store::rows::RowError;
use serde::{Deserialize, Serialize};

use crate::ids::JobId;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum DdlError {
    // --- what the statement says does not fit the schema -------------------------------------------------------
    DatabaseExists {
        name: String,
    },
    DropUnknownDatabase {
        name: String,
    },
    UnknownDatabase {
        name: String,
    },
    TableExists {
        name: String,
    },
    /// DROP TABLE of tables that are not there; the names as `db.table`, comma-separated.
    UnknownTables {
        names: String,
    },
    NoSuchTable {
        schema: String,
        table: String,
    },
    DuplicateColumn {
        name: String,
    },
    DuplicateKeyName {
        name: String,
    },
    UnknownColumn {
        column: String,
        place: String,
    },
    WrongDatabaseName {
        name: String,
    },
    WrongTableName {
        name: String,
    },
    WrongColumnName {
        name: String,
    },
    WrongIndexName {
        name: String,
    },
    NameTooLong {
        name: String,
    },
    CommentTooLong {
        what: CommentedObject,
        name: String,
        max: usize,
    },
    InvalidDefault {
        column: String,
    },
    BlobDefault {
        column: String,
    },
    MultiplePrimaryKey,
    TooManyKeys {
        max: usize,
    },
    TooManyKeyParts {
        max: usize,
    },
    KeyTooLong {
        length: usize,
        max: usize,
    },
    KeyColumnMissing {
        column: String,
    },
    WrongPrefixKey,
    KeyPartZero {
        column: String,
    },
    CannotIndexColumn {
        column: String,
    },
    BlobKeyWithoutLength {
        column: String,
    },
    JsonKey {
        column: String,
    },
    PrimaryKeyNull,
    InvisiblePrimaryKey,
    CannotDropAllColumns,
    CannotDrop {
        name: String,
    },
    KeyMissing {
        key: String,
        table: String,
    },
    NoColumns,
    TooManyColumns,
    WrongAutoKey,
    NullInNotNull,
    /// What this server does not do; `what` completes "Unsupported …".
    Unsupported {
        what: String,
    },

    // --- what the data says ---------------------------------------------------------------------------------------
    /// `entry` is decoded (`v1-v2`), `key` is `table.index`.
    DuplicateEntry {
        entry: String,
        key: String,
    },
    /// Table and index disagree. `detail` is the whole text after the fixed beginning.
    Inconsistent {
        table: String,
        index: String,
        detail: String,
    },

    // --- what was asked of a job ------------------------------------------------------------------------------------
    JobCancelled,
    JobNotFound {
        id: JobId,
    },
    CancelFinished {
        id: JobId,
    },
    CannotCancel {
        id: JobId,
    },
    CannotPause {
        id: JobId,
        reason: String,
    },
    CannotResume {
        id: JobId,
        reason: String,
    },
    AlreadyPaused {
        id: JobId,
    },
    CannotAlter {
        id: JobId,
        reason: String,
    },
    /// The wait was given up; the job goes on by itself.
    Detached {
        id: JobId,
    },

    // --- what the world says ----------------------------------------------------------------------------------------
    IngestEnvironment {
        detail: String,
    },
    /// A lower crate's error, as text, with its class.
    Internal {
        class: ErrorClass,
        message: String,
    },
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
        Error::from(self.clone()).code
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

impl std::fmt::Display for DdlError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&Error::from(self.clone()).message)
    }
}

impl std::error::Error for DdlError {}

impl From<DdlError> for Error {
    fn from(error: DdlError) -> Self {
        use DdlError as D;
        match error {
            D::DatabaseExists { name } => Error::database_exists(name),
            D::DropUnknownDatabase { name } => Error::drop_unknown_database(name),
            D::UnknownDatabase { name } => Error::unknown_database(name),
            D::TableExists { name } => Error::table_exists(name),
            D::UnknownTables { names } => Error::unknown_table_drop(names),
            D::NoSuchTable { schema, table } => Error::no_such_table(schema, table),
            D::DuplicateColumn { name } => Error::duplicate_column(name),
            D::DuplicateKeyName { name } => Error::duplicate_key_name(name),
            D::UnknownColumn { column, place } => Error::unknown_column(column, place),
            D::WrongDatabaseName { name } => Error::wrong_db_name(name),
            D::WrongTableName { name } => Error::wrong_table_name(name),
            D::WrongColumnName { name } => Error::wrong_column_name(name),
            D::WrongIndexName { name } => Error::wrong_index_name(name),
            D::NameTooLong { name } => Error::identifier_too_long(name),
            D::CommentTooLong { what, name, max } => match what {
                CommentedObject::Table => Error::table_comment_too_long(name, max),
                CommentedObject::Field => Error::field_comment_too_long(name, max),
                CommentedObject::Index => Error::index_comment_too_long(name, max),
            },
            D::InvalidDefault { column } => Error::invalid_default(column),
            D::BlobDefault { column } => Error::blob_cant_have_default(column),
            D::MultiplePrimaryKey => Error::multiple_primary_key(),
            D::TooManyKeys { max } => Error::too_many_keys(max),
            D::TooManyKeyParts { max } => Error::too_many_key_parts(max),
            D::KeyTooLong { max, .. } => Error::key_too_long(max),
            D::KeyColumnMissing { column } => Error::key_column_missing(column),
            D::WrongPrefixKey => Error::wrong_sub_key(),
            D::KeyPartZero { column } => Error::key_part_zero(column),
            D::CannotIndexColumn { column } => Error::wrong_key_column(column),
            D::BlobKeyWithoutLength { column } => Error::blob_key_without_length(column),
            D::JsonKey { column } => Error::json_used_as_key(column),
            D::PrimaryKeyNull => Error::primary_cant_have_null(),
            D::InvisiblePrimaryKey => Error::primary_cant_be_invisible(),
            D::CannotDropAllColumns => Error::cant_remove_all_columns(),
            D::CannotDrop { name } => Error::cant_drop(name),
            D::KeyMissing { key, table } => Error::key_does_not_exist(key, table),
            D::NoColumns => Error::table_must_have_columns(),
            D::TooManyColumns => Error::too_many_columns(),
            D::WrongAutoKey => Error::wrong_auto_key(),
            D::NullInNotNull => Error::invalid_use_of_null(),
            D::Unsupported { what } => Error::unsupported_ddl(what),
            D::DuplicateEntry { entry, key } => Error::duplicate_entry(entry, key),
            D::Inconsistent { table, index, detail } => Error::data_inconsistent(table, index, detail),
            D::JobCancelled => Error::ddl_job_cancelled(),
            D::JobNotFound { id } => Error::ddl_job_not_found(id),
            D::CancelFinished { id } => Error::cancel_finished_job(id),
            D::CannotCancel { id } => Error::cannot_cancel_job(id),
            D::CannotPause { id, reason } => Error::cannot_pause_job(id, reason),
            D::CannotResume { id, reason } => Error::cannot_resume_job(id, reason),
            D::AlreadyPaused { id } => Error::job_paused(id),
            D::CannotAlter { id, reason } => Error::cannot_alter_job(id, reason),
            D::Detached { id } => Error::ddl_job_detached(id),
            D::IngestEnvironment { detail } => Error::ingest_env(detail),
            D::Internal { class, message } => Error::other(class, message),
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

impl From<RowError> for DdlError {
    fn from(error: RowError) -> Self {
        match error {
            RowError::Store(error) => error.into(),
            damaged @ RowError::Damaged(_) => DdlError::permanent(damaged.to_string()),
        }
    }
}

impl From<ilmenite_types::Error> for DdlError {
    fn from(error: ilmenite_types::Error) -> Self {
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

impl From<ilmenite_table::Error> for DdlError {
    fn from(error: ilmenite_table::Error) -> Self {
        use ilmenite_table::Error as E;
        let class = error.class();
        match error {
            E::DuplicateEntry { entry, key } => DdlError::DuplicateEntry { entry, key },
            E::Inconsistent { table, index, detail } => DdlError::Inconsistent { table, index, detail },
            E::KeyMissing { key, table } => DdlError::KeyMissing { key, table },
            other => DdlError::Internal {
                class,
                message: other.to_string(),
            },
        }
    }
}
