//! What went wrong in a schema change, as MySQL's number and text.

use ilmenite_ddl::maintain::WriteError;
use ilmenite_ddl::{CommentedObject, DdlError};
use ilmenite_store::ErrorClass;

use crate::error::Error;

impl From<ilmenite_catalog::Error> for Error {
    fn from(error: ilmenite_catalog::Error) -> Self {
        match error {
            ilmenite_catalog::Error::Store(error) => error.into(),
            other => Error::other(other.class(), other.to_string()),
        }
    }
}

impl From<WriteError> for Error {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Store(error) => error.into(),
            WriteError::Ddl(error) => error.into(),
        }
    }
}

impl From<DdlError> for Error {
    fn from(error: DdlError) -> Self {
        use DdlError as D;
        let class = error.class();
        let mapped = match &error {
            D::DatabaseExists { name } => Error::database_exists(name),
            D::DropUnknownDatabase { name } => Error::drop_unknown_database(name),
            D::UnknownDatabase { name } => Error::unknown_database(name),
            D::TableExists { name } => Error::table_exists(name),
            D::UnknownTables { names } => Error::unknown_table_drop(names),
            D::NoSuchTable { schema, table } => Error::no_such_table(schema, table),
            D::DuplicateColumn { name } => Error::duplicate_column(name),
            D::DuplicateKeyName { name } => Error::duplicate_key_name(name),
            D::UnknownColumn { column, place } => Error::unknown_column(column, place),
            D::KeyTooLong { max, .. } => Error::key_too_long(max),
            D::CommentTooLong { what, name, max } => match what {
                CommentedObject::Table => Error::table_comment_too_long(name, max),
                CommentedObject::Field => Error::field_comment_too_long(name, max),
                CommentedObject::Index => Error::index_comment_too_long(name, max),
            },
            D::DuplicateEntry { entry, key } => Error::duplicate_entry(entry, key),
            D::JobCancelled => Error::ddl_job_cancelled(),
            D::Internal { class, message } => Error::other(*class, message),
            // The other texts are MySQL's or TiDB's as they stand.
            other => Error::new(other.code(), other.to_string()),
        };
        if mapped.class() == ErrorClass::Permanent || class == ErrorClass::Resource {
            mapped.with_class(class)
        } else {
            mapped
        }
    }
}
