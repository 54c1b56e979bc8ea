//! Schemas, tables, columns and indexes as stored: TiDB's JSON, field for field where we have the field.

use std::sync::Arc;

use ilmenite_types::FieldType;
use serde::{Deserialize, Deserializer, Serialize};

pub type SchemaId = i64;
pub type TableId = i64;
pub type ColumnId = i64;
pub type IndexId = i64;
pub type SchemaVersion = i64;

/// Fields of a row that this program knows nothing of: written by TiDB or by a newer program, and kept when it is
/// rewritten.
pub type UnknownFields = serde_json::Map<String, serde_json::Value>;

/// For lists. Go writes an empty one as null.
pub(crate) fn null_as_empty<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    input: D,
) -> Result<Vec<T>, D::Error> {
    Ok(Option::deserialize(input)?.unwrap_or_default())
}

/// How much of a schema object is in effect. The numbers are TiDB's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
#[repr(u8)]
pub enum SchemaState {
    #[default]
    None = 0,
    DeleteOnly = 1,
    WriteOnly = 2,
    WriteReorganization = 3,
    DeleteReorganization = 4,
    Public = 5,
}

impl SchemaState {
    /// As ADMIN SHOW DDL JOBS prints it.
    pub fn as_str(self) -> &'static str {
        match self {
            SchemaState::None => "none",
            SchemaState::DeleteOnly => "delete only",
            SchemaState::WriteOnly => "write only",
            SchemaState::WriteReorganization => "write reorganization",
            SchemaState::DeleteReorganization => "delete reorganization",
            SchemaState::Public => "public",
        }
    }

    /// Must DML remove this object's entries when it removes or changes a row?
    pub fn deletes(self) -> bool {
        self != SchemaState::None
    }

    /// Must DML write this object's entries?
    pub fn writes(self) -> bool {
        matches!(
            self,
            SchemaState::WriteOnly | SchemaState::WriteReorganization | SchemaState::Public
        )
    }
}

impl TryFrom<u8> for SchemaState {
    type Error = String;

    fn try_from(n: u8) -> Result<Self, String> {
        use SchemaState::*;
        [
            None,
            DeleteOnly,
            WriteOnly,
            WriteReorganization,
            DeleteReorganization,
            Public,
        ]
        .into_iter()
        .find(|s| *s as u8 == n)
        .ok_or_else(|| format!("unknown schema state {n}"))
    }
}

impl From<SchemaState> for u8 {
    fn from(state: SchemaState) -> u8 {
        state as u8
    }
}

/// A name as written, and lower-cased for comparison: identifiers are case-insensitive.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Name {
    #[serde(rename = "O")]
    pub original: String,
    #[serde(rename = "L")]
    pub lower: String,
}

impl Name {
    pub fn new(name: impl Into<String>) -> Self {
        let original = name.into();
        Name {
            lower: original.to_lowercase(),
            original,
        }
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.original)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SchemaInfo {
    pub id: SchemaId,
    #[serde(rename = "db_name")]
    pub name: Name,
    pub charset: String,
    pub collate: String,
    pub state: SchemaState,
    #[serde(flatten)]
    pub unknown: UnknownFields,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ColumnInfo {
    pub id: ColumnId,
    pub name: Name,
    /// Position in `TableInfo::columns`.
    pub offset: usize,
    #[serde(rename = "type")]
    pub field_type: FieldType,
    pub state: SchemaState,
    /// The default as text, or as an expression when `default_is_expr` (CURRENT_TIMESTAMP and so on).
    pub default: Option<String>,
    #[serde(default)]
    pub default_is_expr: bool,
    /// What rows written before the column existed read as: the default at ADD COLUMN, as text.
    pub origin_default: Option<String>,
    #[serde(default)]
    pub comment: String,
    #[serde(flatten)]
    pub unknown: UnknownFields,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexColumn {
    pub name: Name,
    /// Position in `TableInfo::columns`.
    pub offset: usize,
    /// Prefix length in characters (bytes for binary strings); -1 for the whole column.
    pub length: i32,
    #[serde(flatten)]
    pub unknown: UnknownFields,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct IndexInfo {
    pub id: IndexId,
    #[serde(rename = "idx_name")]
    pub name: Name,
    #[serde(rename = "idx_cols", default, deserialize_with = "null_as_empty")]
    pub columns: Vec<IndexColumn>,
    pub state: SchemaState,
    #[serde(default)]
    pub comment: String,
    #[serde(rename = "is_unique")]
    pub unique: bool,
    #[serde(rename = "is_primary")]
    pub primary: bool,
    #[serde(rename = "is_invisible", default)]
    pub invisible: bool,
    /// Layout of its entries' values where handles are integers: 1 for every index we make now.
    #[serde(rename = "ilmenite_value_version", default)]
    pub value_version: u16,
    /// The commit timestamp its entries were ingested at: an older snapshot must not read through it.
    #[serde(rename = "ilmenite_readable_since", default)]
    pub readable_since: u64,
    /// The job that builds it, until public: DML notes what it writes to a unique index under this id.
    #[serde(
        rename = "ilmenite_building_job",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub building_job: Option<i64>,
    #[serde(flatten)]
    pub unknown: UnknownFields,
}

/// A table. Columns and indexes that are not public are in the lists too: go through `public_columns` and the like.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TableInfo {
    pub id: TableId,
    pub name: Name,
    pub charset: String,
    pub collate: String,
    /// Public columns first, in order; those being added or dropped after them.
    #[serde(rename = "cols", default, deserialize_with = "null_as_empty")]
    pub columns: Vec<ColumnInfo>,
    #[serde(rename = "index_info", default, deserialize_with = "null_as_empty")]
    pub indexes: Vec<IndexInfo>,
    pub state: SchemaState,
    /// The primary key is one integer column, and its value is the row's handle.
    pub pk_is_handle: bool,
    /// The primary key is something else and clustered: its encoded columns are the handle. It is in `indexes` too,
    /// as `primary`, but has no entries of its own.
    pub is_common_handle: bool,
    /// 1 for every table we make; decides the layout of its indexes' values, where its key is clustered.
    #[serde(default)]
    pub common_handle_version: u16,
    #[serde(default)]
    pub comment: String,
    /// AUTO_INCREMENT = n given at creation; the running allocator is in its own meta key.
    #[serde(default)]
    pub auto_inc_id: i64,
    pub max_col_id: ColumnId,
    pub max_idx_id: IndexId,
    /// Version of the schema at the last change of this table.
    #[serde(rename = "update_timestamp", default)]
    pub update_ts: u64,
    #[serde(flatten)]
    pub unknown: UnknownFields,
}

/// The handle's id in rows of tables without a usable primary key: `_tidb_rowid`.
pub const EXTRA_HANDLE_ID: ColumnId = -1;

impl TableInfo {
    pub fn public_columns(&self) -> impl Iterator<Item = &ColumnInfo> {
        self.columns.iter().filter(|c| c.state == SchemaState::Public)
    }

    /// Indexes that DML must look after: all but the clustered primary key, which is the row itself.
    pub fn maintained_indexes(&self) -> impl Iterator<Item = &IndexInfo> {
        self.indexes
            .iter()
            .filter(|i| i.state != SchemaState::None && !self.is_clustered(i))
    }

    pub fn is_clustered(&self, index: &IndexInfo) -> bool {
        index.primary && (self.is_common_handle || self.pk_is_handle)
    }

    pub fn column(&self, name: &str) -> Option<&ColumnInfo> {
        let lower = name.to_lowercase();
        self.columns.iter().find(|c| c.name.lower == lower)
    }

    pub fn column_by_id(&self, id: ColumnId) -> Option<&ColumnInfo> {
        self.columns.iter().find(|c| c.id == id)
    }

    pub fn index(&self, name: &str) -> Option<&IndexInfo> {
        let lower = name.to_lowercase();
        self.indexes.iter().find(|i| i.name.lower == lower)
    }

    pub fn index_by_id(&self, id: IndexId) -> Option<&IndexInfo> {
        self.indexes.iter().find(|i| i.id == id)
    }

    /// The column that is the handle (`pk_is_handle`).
    pub fn handle_column(&self) -> Option<&ColumnInfo> {
        use ilmenite_types::FieldFlags;
        self.pk_is_handle
            .then(|| {
                self.columns
                    .iter()
                    .find(|c| c.field_type.flags.has(FieldFlags::PRI_KEY))
            })
            .flatten()
    }

    /// The primary key's index (`is_common_handle`, or not clustered).
    pub fn primary_index(&self) -> Option<&IndexInfo> {
        self.indexes.iter().find(|i| i.primary)
    }
}

pub type TableRef = Arc<TableInfo>;
pub type SchemaRef = Arc<SchemaInfo>;
